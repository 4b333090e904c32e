//! Statistics as Envoy 1.40 printed them, in every format, beside ours for the
//! same values. The files were recorded from the real program: one HTTP and one
//! TCP listener with several filters, a few requests, and one idle interval.

use serde::Deserialize;

use super::host_stats::HostValues;
use super::stats::BucketMode;
use super::{stats_json, stats_prometheus, stats_text};
use crate::stats::{Shard, Snapshot, Store, Unit};

#[derive(Deserialize)]
struct Recorded {
    gauges: Vec<String>,
    stats: Vec<(String, u64)>,
    /// Values and how often each was recorded.
    histograms: Vec<(String, Vec<(u64, u64)>)>,
}

fn recorded() -> Snapshot {
    let recorded: Recorded =
        serde_json::from_str(include_str!("golden/store.json")).expect("the file is valid");
    let store = Store::new();
    for (name, value) in &recorded.stats {
        match recorded.gauges.contains(name) {
            true => store.set(store.gauge(name), *value),
            false => store.add(store.counter(name), *value),
        }
    }
    store.shard(None).install();
    for (name, values) in &recorded.histograms {
        let histogram = store.histogram(name, Unit::Milliseconds);
        for &(value, count) in values {
            (0..count).for_each(|_| histogram.record(value));
        }
    }
    Shard::flush();
    store.merge();
    // The interval after the values is empty.
    store.merge();
    store.snapshot(|_| true)
}

#[track_caller]
fn assert_same(ours: &str, envoys: &str) {
    for (n, (ours, envoys)) in ours.lines().zip(envoys.lines()).enumerate() {
        assert_eq!(ours, envoys, "line {}", n + 1);
    }
    assert_eq!(ours.lines().count(), envoys.lines().count());
}

#[test]
fn prometheus() {
    let ours = stats_prometheus::write(&recorded(), false);
    assert_same(&ours, include_str!("golden/prometheus.txt"));
}

#[test]
fn text() {
    let snapshot = recorded();
    let summary = stats_text::write(&snapshot, &HostValues::default(), BucketMode::Summary);
    assert_same(&summary, include_str!("golden/summary.txt"));
    let histograms = Snapshot {
        histograms: snapshot.histograms,
        ..Snapshot::default()
    };
    for (mode, envoys) in [
        (
            BucketMode::Cumulative,
            include_str!("golden/cumulative.txt"),
        ),
        (BucketMode::Disjoint, include_str!("golden/disjoint.txt")),
        (BucketMode::Detailed, include_str!("golden/detailed.txt")),
    ] {
        assert_same(
            &stats_text::write(&histograms, &HostValues::default(), mode),
            envoys,
        );
    }
}

#[test]
fn json() {
    let snapshot = recorded();
    let summary = stats_json::write(&snapshot, &HostValues::default(), BucketMode::Summary);
    assert_same_json(&summary, include_str!("golden/summary.json"));
    let histograms = Snapshot {
        histograms: snapshot.histograms,
        ..Snapshot::default()
    };
    for (mode, envoys) in [
        (
            BucketMode::Cumulative,
            include_str!("golden/cumulative.json"),
        ),
        (BucketMode::Disjoint, include_str!("golden/disjoint.json")),
        (BucketMode::Detailed, include_str!("golden/detailed.json")),
    ] {
        assert_same_json(
            &stats_json::write(&histograms, &HostValues::default(), mode),
            envoys,
        );
    }
}

/// JSON is one line: split it, for a failure that can be read.
#[track_caller]
fn assert_same_json(ours: &str, envoys: &str) {
    let split = |json: &str| json.replace("},{", "},\n{");
    assert_same(&split(ours), &split(envoys));
}
