//! `/stats/prometheus`: statistics in Prometheus' text format, grouped by what
//! is left of the name when the labels are taken out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::endpoint::{Endpoint, Process};
use super::host_stats::HostValues;
use super::number::general;
use super::reply::Reply;
use super::request::Query;
use super::stats::{BucketMode, Params, unsupported_buckets};
use crate::stats::{
    DEFAULT_BOUNDS, HistogramValue, QUANTILES, Snapshot, Tagged, TextReadout, Value,
};

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/stats/prometheus",
    mutates: false,
    help: "print statistics in Prometheus' format",
    params: &[
        ("usedonly", "only those that were ever written"),
        (
            "text_readouts",
            "texts too, each as a gauge of value 0 with the text as a label",
        ),
        ("filter", "only names that match this regular expression"),
        ("invert_filter", "only names that do not match it"),
        (
            "histogram_buckets",
            "what to show of histograms; One of (cumulative, summary)",
        ),
    ],
    handle: |process: &Process, query: &Query| match Params::parse(query) {
        Ok(params) => answer(process, &params, query),
        Err(reply) => reply,
    },
};

pub(super) fn answer(process: &Process, params: &Params, query: &Query) -> Reply {
    let summary = match params.buckets {
        None | Some(BucketMode::Cumulative) => false,
        Some(BucketMode::Summary) => true,
        Some(BucketMode::Disjoint | BucketMode::Detailed) => {
            return unsupported_buckets("unsupported prometheus histogram bucket mode");
        }
        Some(BucketMode::PrometheusNative) => {
            return unsupported_buckets(
                "unsupported prometheusnative histogram type when not using protobuf \
                 exposition format",
            );
        }
    };
    let mut snapshot = params.snapshot_of_all_kinds(process);
    if !query.has("text_readouts") {
        snapshot.text_readouts.clear();
    }
    let mut text = write(&snapshot, summary);
    write_hosts(&mut text, &params.host_values_of_all_kinds(process));
    Reply::text(text)
}

pub(super) fn write(snapshot: &Snapshot, summary: bool) -> String {
    let mut text = String::new();
    let name_of = |value: &Value| value.name.to_string();
    write_groups(
        &mut text,
        "counter",
        &snapshot.counters,
        name_of,
        write_value,
    );
    write_groups(&mut text, "gauge", &snapshot.gauges, name_of, write_value);
    let name_of = |readout: &TextReadout| readout.name.to_string();
    write_groups(
        &mut text,
        "gauge",
        &snapshot.text_readouts,
        name_of,
        write_text_readout,
    );
    let name_of = |histogram: &HistogramValue| histogram.name.to_string();
    let (kind, write): (_, WriteOne<HistogramValue>) = match summary {
        true => ("summary", write_summary),
        false => ("histogram", write_histogram),
    };
    write_groups(&mut text, kind, &snapshot.histograms, name_of, write);
    text
}

/// Writes the statistics of hosts behind all others, the counters first.
fn write_hosts(text: &mut String, hosts: &HostValues) {
    for (is_gauge, kind) in [(false, "counter"), (true, "gauge")] {
        let mut metrics: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        for host in hosts.iter().filter(|host| host.is_gauge == is_gauge) {
            let labels = host.labels.iter();
            let labels: Vec<_> = labels
                .map(|(name, value)| label(&sanitized(name), value))
                .collect();
            let metric = metrics.entry(&host.metric).or_default();
            metric.insert(labels.join(","), host.stat.value);
        }
        for (name, values) in metrics {
            let metric = metric_name(name);
            let _ = writeln!(text, "# TYPE {metric} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "{metric}{{{labels}}} {value}");
            }
        }
    }
}

/// Writes one statistic, given its metric's name and its labels.
type WriteOne<T> = fn(&mut String, &str, &str, &T);

/// Writes the statistics of one kind by metric, in the order of their names.
fn write_groups<T>(
    text: &mut String,
    kind: &str,
    stats: &[T],
    name_of: impl Fn(&T) -> String,
    write_one: WriteOne<T>,
) {
    let mut groups: BTreeMap<String, Vec<(String, &T)>> = BTreeMap::new();
    for stat in stats {
        let full = name_of(stat);
        let tagged = Tagged::new(&full);
        let labels = labels(&tagged);
        groups.entry(tagged.name).or_default().push((labels, stat));
    }
    for (name, stats) in &groups {
        let metric = metric_name(name);
        let _ = writeln!(text, "# TYPE {metric} {kind}");
        for (labels, stat) in stats {
            write_one(text, &metric, labels, stat);
        }
    }
}

fn write_value(text: &mut String, metric: &str, labels: &str, stat: &Value) {
    let _ = writeln!(text, "{metric}{{{labels}}} {}", stat.value);
}

fn write_text_readout(text: &mut String, metric: &str, labels: &str, readout: &TextReadout) {
    let label = label("text_value", &readout.text);
    let _ = writeln!(text, "{metric}{{{}}} 0", with(labels, &label));
}

fn write_histogram(text: &mut String, metric: &str, labels: &str, histogram: &HistogramValue) {
    let values = &histogram.cumulative;
    for bound in DEFAULT_BOUNDS {
        let le = label("le", &general(bound, PRECISION));
        let count = values.count_up_to(bound);
        let _ = writeln!(text, "{metric}_bucket{{{}}} {count}", with(labels, &le));
    }
    let le = label("le", "+Inf");
    let _ = writeln!(
        text,
        "{metric}_bucket{{{}}} {}",
        with(labels, &le),
        values.count()
    );
    let _ = writeln!(
        text,
        "{metric}_sum{{{labels}}} {}",
        general(values.sum(), PRECISION)
    );
    let _ = writeln!(text, "{metric}_count{{{labels}}} {}", values.count());
}

fn write_summary(text: &mut String, metric: &str, labels: &str, histogram: &HistogramValue) {
    let values = &histogram.interval;
    for q in QUANTILES {
        let quantile = label("quantile", &q.to_string());
        let value = general(values.quantile(q), PRECISION);
        let _ = writeln!(text, "{metric}{{{}}} {value}", with(labels, &quantile));
    }
    let _ = writeln!(
        text,
        "{metric}_sum{{{labels}}} {}",
        general(values.sum(), PRECISION)
    );
    let _ = writeln!(text, "{metric}_count{{{labels}}} {}", values.count());
}

/// `envoy_`, then the name with everything but letters, digits and `_` made `_`.
fn metric_name(name: &str) -> String {
    format!("envoy_{}", sanitized(name))
}

fn labels(tagged: &Tagged<'_>) -> String {
    let labels: Vec<_> = (tagged.tags.iter())
        .map(|tag| label(&sanitized(tag.name), tag.value))
        .collect();
    labels.join(",")
}

fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"");
    format!("{name}=\"{value}\"")
}

fn with(labels: &str, last: &str) -> String {
    match labels.is_empty() {
        true => last.to_owned(),
        false => format!("{labels},{last}"),
    }
}

fn sanitized(name: &str) -> String {
    let ok = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars()
        .map(|character| if ok(character) { character } else { '_' })
        .collect()
}

/// Significant digits that Envoy writes: more than a number has.
const PRECISION: usize = 32;
