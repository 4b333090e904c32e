//! The numbers that Ringway is meant to reach, and whether a run has seen them.

use serde::Serialize;

use super::results::{Results, ratio};
use super::scenario::{
    BYTES_PER_CONNECTION, CPU_PER_GB, CPU_PER_HANDSHAKE, CPU_PER_REQUEST, P50, P99, Scenario,
};

/// A limit on one of Ringway's figures, or on its ratio to another row's.
struct Goal {
    text: &'static str,
    scenario: Scenario,
    key: &'static str,
    over: Option<&'static str>,
    limit: f64,
}

/// A goal and what was measured; no value when a row that it needs is missing.
#[derive(Serialize)]
pub struct Verdict {
    pub goal: &'static str,
    pub limit: f64,
    pub value: Option<f64>,
    pub met: Option<bool>,
}

const GOALS: &[Goal] = &[
    Goal {
        text: "closed loop: CPU per request ÷ the byte forwarder's",
        scenario: Scenario::Closed,
        key: CPU_PER_REQUEST,
        over: Some("floor"),
        limit: 1.5,
    },
    Goal {
        text: "closed loop: CPU per request ÷ HAProxy's",
        scenario: Scenario::Closed,
        key: CPU_PER_REQUEST,
        over: Some("haproxy"),
        limit: 0.8,
    },
    Goal {
        text: "closed loop: CPU per request ÷ Envoy's",
        scenario: Scenario::Closed,
        key: CPU_PER_REQUEST,
        over: Some("envoy"),
        limit: 0.25,
    },
    Goal {
        text: "open loop: p50 ÷ HAProxy's",
        scenario: Scenario::Open,
        key: P50,
        over: Some("haproxy"),
        limit: 1.0,
    },
    Goal {
        text: "open loop: p99 ÷ HAProxy's",
        scenario: Scenario::Open,
        key: P99,
        over: Some("haproxy"),
        limit: 1.0,
    },
    Goal {
        text: "1 MiB bodies: CPU per GB ÷ HAProxy's",
        scenario: Scenario::Bodies,
        key: CPU_PER_GB,
        over: Some("haproxy"),
        limit: 0.8,
    },
    Goal {
        text: "bytes per idle connection",
        scenario: Scenario::Idle,
        key: BYTES_PER_CONNECTION,
        over: None,
        limit: 2_000.0,
    },
    Goal {
        text: "TLS handshakes: CPU ÷ HAProxy's",
        scenario: Scenario::TlsHandshakes,
        key: CPU_PER_HANDSHAKE,
        over: Some("haproxy"),
        limit: 1.0,
    },
    Goal {
        text: "TLS handshakes: CPU ÷ nginx's",
        scenario: Scenario::TlsHandshakes,
        key: CPU_PER_HANDSHAKE,
        over: Some("nginx"),
        limit: 1.0,
    },
    Goal {
        text: "TLS sessions taken up again: CPU ÷ HAProxy's",
        scenario: Scenario::TlsResumptions,
        key: CPU_PER_HANDSHAKE,
        over: Some("haproxy"),
        limit: 1.0,
    },
    Goal {
        text: "TLS sessions taken up again: CPU ÷ nginx's",
        scenario: Scenario::TlsResumptions,
        key: CPU_PER_HANDSHAKE,
        over: Some("nginx"),
        limit: 1.0,
    },
    Goal {
        text: "HTTP/2, 1 × 100 streams: CPU per request ÷ Envoy's",
        scenario: Scenario::H2cOne,
        key: CPU_PER_REQUEST,
        over: Some("envoy"),
        limit: 0.35,
    },
    Goal {
        text: "HTTP/2, 1 × 100 streams: CPU per request ÷ HAProxy's",
        scenario: Scenario::H2cOne,
        key: CPU_PER_REQUEST,
        over: Some("haproxy"),
        limit: 1.1,
    },
    Goal {
        text: "HTTP/2, 10 × 100 streams: CPU per request ÷ Envoy's",
        scenario: Scenario::H2cTen,
        key: CPU_PER_REQUEST,
        over: Some("envoy"),
        limit: 0.35,
    },
    Goal {
        text: "HTTP/2, 10 × 100 streams: CPU per request ÷ HAProxy's",
        scenario: Scenario::H2cTen,
        key: CPU_PER_REQUEST,
        over: Some("haproxy"),
        limit: 1.1,
    },
    Goal {
        text: "HTTP/2 over TLS, 1 × 100 streams: CPU per request ÷ Envoy's",
        scenario: Scenario::H2TlsOne,
        key: CPU_PER_REQUEST,
        over: Some("envoy"),
        limit: 0.35,
    },
    Goal {
        text: "HTTP/2 over TLS, 1 × 100 streams: CPU per request ÷ HAProxy's",
        scenario: Scenario::H2TlsOne,
        key: CPU_PER_REQUEST,
        over: Some("haproxy"),
        limit: 1.1,
    },
    Goal {
        text: "HTTP/2 over TLS, 10 × 100 streams: CPU per request ÷ Envoy's",
        scenario: Scenario::H2TlsTen,
        key: CPU_PER_REQUEST,
        over: Some("envoy"),
        limit: 0.35,
    },
    Goal {
        text: "HTTP/2 over TLS, 10 × 100 streams: CPU per request ÷ HAProxy's",
        scenario: Scenario::H2TlsTen,
        key: CPU_PER_REQUEST,
        over: Some("haproxy"),
        limit: 1.1,
    },
    Goal {
        text: "bytes per idle TLS connection",
        scenario: Scenario::TlsIdle,
        key: BYTES_PER_CONNECTION,
        over: None,
        limit: 10_000.0,
    },
    Goal {
        text: "TCP bytes: CPU per GB ÷ HAProxy's with splice",
        scenario: Scenario::TcpBytes,
        key: CPU_PER_GB,
        over: Some("haproxy (splice)"),
        limit: 1.0,
    },
];

/// Judges every goal whose scenario was run.
pub fn judge(results: &Results) -> Vec<Verdict> {
    let judged = GOALS.iter().filter_map(|goal| {
        let table = results.table(goal.scenario)?;
        let own = table.median("ringway", goal.key);
        let value = match goal.over {
            None => own,
            Some(other) => own
                .zip(table.median(other, goal.key))
                .and_then(|(a, b)| ratio(a, b)),
        };
        let met = value.map(|value| value <= goal.limit);
        Some(Verdict {
            goal: goal.text,
            limit: goal.limit,
            value,
            met,
        })
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::results::{Row, Table};
    use super::super::scenario::Sample;
    use super::*;

    #[test]
    fn goals_are_met_missed_or_not_measured() {
        let row = |name, cpu| {
            let values = vec![1.0, 1.0, 1.0, cpu];
            Row::new(name, Scenario::Closed, &[Sample { values, faults: 0 }])
        };
        let rows = vec![
            row("ringway", 12.0),
            row("floor", 10.0),
            row("haproxy", 13.0),
        ];
        let results = Results {
            label: String::new(),
            date: String::new(),
            kernel: String::new(),
            cores: 2,
            rounds: 1,
            seconds_per_round: 1.0,
            versions: BTreeMap::new(),
            tables: vec![Table {
                scenario: Scenario::Closed,
                title: String::new(),
                rows,
            }],
            goals: Vec::new(),
            notes: Vec::new(),
        };
        let met: Vec<_> = judge(&results).iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
    }
}
