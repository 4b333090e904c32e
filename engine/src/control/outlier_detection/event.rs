//! The event log: `envoy.data.cluster.v3.OutlierDetectionEvent` as JSON, a
//! line an event.

use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::formatter::timestamp;
use crate::upstream::host::SharedHost;
use crate::upstream::outlier_detection::{Average, Detector, Record};

/// What a detector found, for the event.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// Errors in a row.
    Run,
    /// A success rate in percent, and what it was compared with.
    Rate(f64, Average),
    /// A success rate in percent, and the percentage of failures that is too
    /// high.
    Percentage(f64, f64),
}

pub(super) fn ejected(
    cluster: &str,
    host: &SharedHost,
    record: &Record,
    detector: Detector,
    found: Found,
    enforced: bool,
    now: Instant,
) -> String {
    let common = Common {
        kind: detector.name(),
        since: record.last_unejection,
        action: "EJECT",
        enforced,
    };
    let mut event = common.event(cluster, host, record, now);
    // Percentages are whole numbers in the message.
    let (name, what) = match found {
        Found::Run => ("eject_consecutive_event", json!({})),
        Found::Rate(rate, average) => (
            "eject_success_rate_event",
            json!({
                "host_success_rate": rate as u32,
                "cluster_average_success_rate": average.mean as u32,
                "cluster_success_rate_ejection_threshold": average.threshold as u32,
            }),
        ),
        Found::Percentage(rate, _) => (
            "eject_failure_percentage_event",
            json!({ "host_success_rate": rate as u32 }),
        ),
    };
    event.insert(name.into(), what);
    Value::from(event).to_string()
}

pub(super) fn unejected(cluster: &str, host: &SharedHost, record: &Record, now: Instant) -> String {
    let common = Common {
        kind: UNEJECTED,
        since: record.last_ejection,
        action: "UNEJECT",
        enforced: false,
    };
    Value::from(common.event(cluster, host, record, now)).to_string()
}

/// The host calls itself degraded.
pub(super) fn degraded(cluster: &str, host: &SharedHost, record: &Record, now: Instant) -> String {
    let common = Common {
        kind: "DEGRADED",
        since: record.last_unejection,
        action: "EJECT",
        enforced: true,
    };
    let mut event = common.event(cluster, host, record, now);
    event.insert("eject_consecutive_event".into(), json!({}));
    Value::from(event).to_string()
}

/// Envoy leaves the type out, which is its first.
const UNEJECTED: &str = "CONSECUTIVE_5XX";

struct Common {
    /// The type, an `envoy.data.cluster.v3.OutlierEjectionType`.
    kind: &'static str,
    /// When the last event of the other kind was.
    since: Option<Instant>,
    action: &'static str,
    enforced: bool,
}

impl Common {
    fn event(
        &self,
        cluster: &str,
        host: &SharedHost,
        record: &Record,
        now: Instant,
    ) -> Map<String, Value> {
        let timestamp = timestamp(SystemTime::now());
        let mut event = Map::new();
        event.insert("type".into(), self.kind.into());
        event.insert("timestamp".into(), timestamp.into());
        if let Some(since) = self.since {
            // A 64-bit number, which proto JSON writes as a text.
            let seconds = now.duration_since(since).as_secs().to_string();
            event.insert("secs_since_last_action".into(), seconds.into());
        }
        event.insert("cluster_name".into(), cluster.into());
        event.insert("upstream_url".into(), host.address().to_string().into());
        event.insert("action".into(), self.action.into());
        event.insert("num_ejections".into(), record.ejections.into());
        event.insert("enforced".into(), self.enforced.into());
        event
    }
}
