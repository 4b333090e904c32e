//! `/outliers`: the hosts that are ejected, and why. Envoy has no such page: it
//! says that a host is ejected, in `/clusters`, and leaves the why to the log.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::view::OutlierStatus;
use crate::formatter::timestamp;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/outliers",
    mutates: false,
    help: "print the hosts that outlier detection has ejected, and why",
    params: &[("format", "layout; One of (text, json)")],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let outliers = process.view.outliers();
    match query.get("format") {
        Some("json") => Reply::json(&as_json(&outliers, SystemTime::now())),
        _ => Reply::text(as_text(&outliers, SystemTime::now())),
    }
}

fn as_text(outliers: &[OutlierStatus], now: SystemTime) -> String {
    let mut text = String::new();
    for one in outliers {
        let (since, until) = times(one, now);
        let key = format!("{}::{}", one.cluster, one.address);
        for (name, value) in [
            ("detector", one.detector),
            ("reason", &one.reason),
            ("since", &since),
            ("until", &until),
        ] {
            let _ = writeln!(text, "{key}::{name}::{value}");
        }
        let _ = writeln!(text, "{key}::ejections::{}", one.ejections);
    }
    text
}

fn as_json(outliers: &[OutlierStatus], now: SystemTime) -> Value {
    let outliers: Vec<Value> = outliers
        .iter()
        .map(|one| {
            let (since, until) = times(one, now);
            json!({
                "cluster": one.cluster,
                "address": one.address.to_json(),
                "detector": one.detector,
                "reason": one.reason,
                "since": since,
                "until": until,
                "ejections": one.ejections,
            })
        })
        .collect();
    json!({ "outliers": outliers })
}

/// When the ejection began and when it ends at the earliest, as proto JSON
/// writes times.
fn times(one: &OutlierStatus, now: SystemTime) -> (String, String) {
    (timestamp(now - one.ejected), timestamp(now + one.remaining))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn outlier() -> OutlierStatus {
        OutlierStatus {
            cluster: "c".to_owned(),
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 80)).into(),
            detector: "LATENCY",
            reason: "mean 103.0 ms".to_owned(),
            ejected: Duration::from_secs(10),
            remaining: Duration::from_secs(20),
            ejections: 2,
        }
    }

    #[test]
    fn each_outlier_has_its_reason_and_its_times() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let text = as_text(&[outlier()], now);
        let expected = [
            "detector::LATENCY",
            "reason::mean 103.0 ms",
            "since::1970-01-01T00:01:30Z",
            "until::1970-01-01T00:02:00Z",
            "ejections::2",
        ];
        let expected: String = expected
            .iter()
            .map(|line| format!("c::127.0.0.1:80::{line}\n"))
            .collect();
        assert_eq!(text, expected);
        assert_eq!(
            as_json(&[outlier()], now)["outliers"][0]["until"],
            "1970-01-01T00:02:00Z"
        );
        assert_eq!(as_json(&[], now), json!({ "outliers": [] }));
    }
}
