//! `/stats` as text: a name and a value a line.

use std::fmt::Write;
use std::iter::Peekable;

use super::host_stats::HostValues;
use super::number::{general, shortest_text};
use super::stats::BucketMode;
use crate::stats::{Buckets, DEFAULT_BOUNDS, HistogramValue, QUANTILES, Snapshot, Value};

pub(super) fn write(snapshot: &Snapshot, hosts: &HostValues, mode: BucketMode) -> String {
    let mut text = String::new();
    for readout in &snapshot.text_readouts {
        let _ = writeln!(text, "{}: {:?}", readout.name, readout.text);
    }
    let of_hosts = hosts.iter().map(|host| &host.stat);
    for stat in merged(&snapshot.counters, &snapshot.gauges).chain(of_hosts) {
        let _ = writeln!(text, "{}: {}", stat.name, stat.value);
    }
    for histogram in &snapshot.histograms {
        write_histogram(&mut text, histogram, mode);
    }
    text
}

/// Counters and gauges as one list, sorted by name.
pub(super) fn merged<'a>(
    counters: &'a [Value],
    gauges: &'a [Value],
) -> impl Iterator<Item = &'a Value> {
    let (mut counters, mut gauges) = (counters.iter().peekable(), gauges.iter().peekable());
    std::iter::from_fn(move || next_by_name(&mut counters, &mut gauges))
}

fn next_by_name<'a, I: Iterator<Item = &'a Value>>(
    left: &mut Peekable<I>,
    right: &mut Peekable<I>,
) -> Option<&'a Value> {
    match (left.peek(), right.peek()) {
        (Some(one), Some(other)) if other.name < one.name => right.next(),
        (None, _) => right.next(),
        _ => left.next(),
    }
}

fn write_histogram(text: &mut String, histogram: &HistogramValue, mode: BucketMode) {
    let HistogramValue {
        name,
        interval,
        cumulative,
        ..
    } = histogram;
    if cumulative.count() == 0 {
        let _ = writeln!(text, "{name}: No recorded values");
        return;
    }
    match mode {
        BucketMode::Cumulative => {
            let of = |buckets: &Buckets, n: usize| buckets.count_up_to(DEFAULT_BOUNDS[n]);
            let _ = writeln!(text, "{name}: {}", bounds(interval, cumulative, of));
        }
        BucketMode::Disjoint => {
            let _ = writeln!(
                text,
                "{name}: {}",
                bounds(interval, cumulative, count_between)
            );
        }
        BucketMode::Detailed => {
            let _ = writeln!(text, "{name}:");
            let _ = writeln!(text, "  totals={}", own_buckets(cumulative));
            let _ = writeln!(text, "  intervals={}", own_buckets(interval));
            let _ = writeln!(text, "  summary={}", summary(interval, cumulative));
        }
        BucketMode::Summary | BucketMode::PrometheusNative => {
            let _ = writeln!(text, "{name}: {}", summary(interval, cumulative));
        }
    }
}

/// How many values lie between the n-th default bound and the one before.
pub(super) fn count_between(buckets: &Buckets, n: usize) -> u64 {
    let below = match n {
        0 => 0,
        n => buckets.count_up_to(DEFAULT_BOUNDS[n - 1]),
    };
    buckets.count_up_to(DEFAULT_BOUNDS[n]) - below
}

fn bounds(interval: &Buckets, cumulative: &Buckets, of: impl Fn(&Buckets, usize) -> u64) -> String {
    let parts: Vec<_> = (DEFAULT_BOUNDS.iter().enumerate())
        .map(|(n, &bound)| {
            format!(
                "B{}({},{})",
                general(bound, 6),
                of(interval, n),
                of(cumulative, n)
            )
        })
        .collect();
    parts.join(" ")
}

fn own_buckets(buckets: &Buckets) -> String {
    let parts: Vec<_> = (buckets.iter())
        .map(|(lower, width, count)| format!("{},{}:{count}", general(lower, 6), general(width, 6)))
        .collect();
    parts.join(", ")
}

fn summary(interval: &Buckets, cumulative: &Buckets) -> String {
    let parts: Vec<_> = (QUANTILES.iter())
        .map(|&q| {
            format!(
                "P{}({},{})",
                percent(q),
                shortest_text(interval.quantile(q)),
                shortest_text(cumulative.quantile(q))
            )
        })
        .collect();
    parts.join(" ")
}

/// 0.995 is 99.5, without what multiplying leaves behind.
pub(super) fn percent(quantile: f64) -> String {
    general(quantile * 100.0, 6)
}
