//! `/stats?format=json`: written by hand, for numbers are laid out as Envoy's
//! and a list may be long.

use std::fmt::Write;

use super::host_stats::HostValues;
use super::number::shortest_json;
use super::stats::BucketMode;
use super::stats_text::{count_between, merged, percent};
use crate::stats::{Buckets, DEFAULT_BOUNDS, HistogramValue, QUANTILES, Snapshot};

pub(super) fn write(snapshot: &Snapshot, hosts: &HostValues, mode: BucketMode) -> String {
    let mut items: Vec<String> = Vec::new();
    for readout in &snapshot.text_readouts {
        items.push(format!(
            "{{\"name\":{},\"value\":{}}}",
            quoted(&readout.name),
            quoted(&readout.text)
        ));
    }
    let of_hosts = hosts.iter().map(|host| &host.stat);
    for stat in merged(&snapshot.counters, &snapshot.gauges).chain(of_hosts) {
        items.push(format!(
            "{{\"name\":{},\"value\":{}}}",
            quoted(&stat.name),
            stat.value
        ));
    }
    if !snapshot.histograms.is_empty() {
        items.push(format!(
            "{{\"histograms\":{}}}",
            histograms(&snapshot.histograms, mode)
        ));
    }
    format!("{{\"stats\":[{}]}}", items.join(","))
}

fn histograms(histograms: &[HistogramValue], mode: BucketMode) -> String {
    let each = |write: &dyn Fn(&HistogramValue) -> String| {
        let all: Vec<_> = histograms.iter().map(write).collect();
        all.join(",")
    };
    let percents: Vec<_> = QUANTILES.iter().map(|&q| percent(q)).collect();
    let percents = percents.join(",");
    match mode {
        BucketMode::Cumulative => {
            let of = |buckets: &Buckets, n: usize| buckets.count_up_to(DEFAULT_BOUNDS[n]);
            format!("[{}]", each(&|histogram| bounds(histogram, of)))
        }
        BucketMode::Disjoint => {
            format!("[{}]", each(&|histogram| bounds(histogram, count_between)))
        }
        BucketMode::Detailed => {
            let details = each(&|histogram| {
                format!(
                    "{{\"name\":{},\"totals\":[{}],\"intervals\":[{}],\"percentiles\":[{}]}}",
                    quoted(&histogram.name),
                    own_buckets(&histogram.cumulative),
                    own_buckets(&histogram.interval),
                    quantiles(histogram)
                )
            });
            format!("{{\"supported_percentiles\":[{percents}],\"details\":[{details}]}}")
        }
        BucketMode::Summary | BucketMode::PrometheusNative => {
            let computed = each(&|histogram| {
                let name = quoted(&histogram.name);
                format!("{{\"name\":{name},\"values\":[{}]}}", quantiles(histogram))
            });
            format!("{{\"supported_quantiles\":[{percents}],\"computed_quantiles\":[{computed}]}}")
        }
    }
}

fn bounds(histogram: &HistogramValue, of: impl Fn(&Buckets, usize) -> u64) -> String {
    let mut buckets = String::new();
    for (n, &bound) in DEFAULT_BOUNDS.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(
            buckets,
            "{comma}{{\"upper_bound\":{},\"interval\":{},\"cumulative\":{}}}",
            shortest_json(bound),
            of(&histogram.interval, n),
            of(&histogram.cumulative, n)
        );
    }
    format!(
        "{{\"name\":{},\"buckets\":[{buckets}]}}",
        quoted(&histogram.name)
    )
}

fn own_buckets(buckets: &Buckets) -> String {
    let parts: Vec<_> = (buckets.iter())
        .map(|(lower, width, count)| {
            let (lower, width) = (shortest_json(lower), shortest_json(width));
            format!("{{\"lower_bound\":{lower},\"width\":{width},\"count\":{count}}}")
        })
        .collect();
    parts.join(",")
}

fn quantiles(histogram: &HistogramValue) -> String {
    let parts: Vec<_> = (QUANTILES.iter())
        .map(|&q| {
            format!(
                "{{\"cumulative\":{},\"interval\":{}}}",
                shortest_json(histogram.cumulative.quantile(q)),
                shortest_json(histogram.interval.quantile(q))
            )
        })
        .collect();
    parts.join(",")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
