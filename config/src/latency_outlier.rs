//! Latency outliers, which Envoy does not have: a host whose requests take much
//! longer than its peers' is left out for a while.
//!
//! The settings are numbers in the cluster's metadata under
//! [`NAMESPACE`], a place that Envoy takes and does not read, so that one file
//! serves both. The type is on top, lowering below.

use std::time::Duration;

use crate::context::Cx;
use crate::metadata::{Metadata, Struct, Value};

/// The namespace in `Cluster.metadata.filter_metadata`.
pub const NAMESPACE: &str = "ringway.latency_outlier";

/// When a host is too slow, and what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyOutlier {
    /// Time between two looks at all hosts.
    pub interval: Duration,
    /// A host is slow when its mean is more than this many times the median of
    /// the means of its peers ...
    pub factor: f64,
    /// ... and by at least so much longer.
    pub min_excess: Duration,
    /// A host needs so many requests in an interval to be looked at.
    pub min_requests: u64,
    /// So many hosts with enough requests make a comparison.
    pub min_hosts: u64,
    /// So many intervals in a row it has to be slow.
    pub intervals: u32,
    /// How long it is left out for the first time.
    pub base_ejection_time: Duration,
    /// However often it was, it is for no longer than this.
    pub max_ejection_time: Duration,
    /// Hosts that may be left out at once, for whatever reason.
    pub max_ejection_percent: u64,
}

impl Default for LatencyOutlier {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            factor: 3.0,
            min_excess: Duration::from_millis(10),
            min_requests: 5,
            min_hosts: 3,
            intervals: 2,
            base_ejection_time: Duration::from_secs(10),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 30,
        }
    }
}

/// Lowers what a cluster's metadata says of it; `cx` is at the cluster.
pub(crate) fn lower(metadata: &Metadata, cx: &mut Cx<'_>) -> Option<LatencyOutlier> {
    let fields = metadata.get(NAMESPACE)?;
    cx.field("metadata", |cx| {
        cx.entry("filter_metadata", NAMESPACE, |cx| {
            Some(lower_fields(fields, cx))
        })
    })
}

fn lower_fields(fields: &Struct, cx: &mut Cx<'_>) -> LatencyOutlier {
    let mut settings = LatencyOutlier::default();
    for (name, value) in fields.iter() {
        let Some((_, least, most)) = FIELDS.iter().find(|(known, ..)| known == &name) else {
            let known: Vec<_> = FIELDS.iter().map(|(name, ..)| *name).collect();
            cx.error_at(
                name,
                format!("no such setting; there are {}", known.join(", ")),
            );
            continue;
        };
        let number = match value {
            Value::Number(number) if (*least..=*most).contains(number) => *number,
            _ => {
                cx.error_at(
                    name,
                    format!("a number from {least} to {most} is needed here"),
                );
                continue;
            }
        };
        let milliseconds = Duration::from_millis(number as u64);
        match name {
            "interval_ms" => settings.interval = milliseconds,
            "factor" => settings.factor = number,
            "min_excess_ms" => settings.min_excess = milliseconds,
            "min_requests" => settings.min_requests = number as u64,
            "min_hosts" => settings.min_hosts = number as u64,
            "intervals" => settings.intervals = number as u32,
            "base_ejection_ms" => settings.base_ejection_time = milliseconds,
            "max_ejection_ms" => settings.max_ejection_time = milliseconds,
            _ => settings.max_ejection_percent = number as u64,
        }
    }
    if settings.max_ejection_time < settings.base_ejection_time {
        cx.error_at("max_ejection_ms", "is shorter than base_ejection_ms");
    }
    settings
}

/// The settings with their least and largest values. A peer's median needs two
/// peers; an interval below 50 ms would look at noise.
const FIELDS: &[(&str, f64, f64)] = &[
    ("interval_ms", 50.0, 60_000.0),
    ("factor", 1.0, 1_000.0),
    ("min_excess_ms", 0.0, 60_000.0),
    ("min_requests", 1.0, 1_000_000.0),
    ("min_hosts", 3.0, 1_000_000.0),
    ("intervals", 1.0, 1_000.0),
    ("base_ejection_ms", 1.0, 86_400_000.0),
    ("max_ejection_ms", 1.0, 86_400_000.0),
    ("max_ejection_percent", 0.0, 100.0),
];
