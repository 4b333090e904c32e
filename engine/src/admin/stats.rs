//! `/stats`: all statistics, as text, JSON or a page; and the parameters that
//! it shares with `/stats/prometheus`.

use hyper::StatusCode;
use regex::Regex;

use super::endpoint::{Endpoint, Process};
use super::host_stats::HostValues;
use super::memory::Memory;
use super::reply::{HTML, Reply};
use super::request::Query;
use super::{stats_json, stats_prometheus, stats_text};
use crate::stats::Snapshot;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/stats",
    mutates: false,
    help: "print statistics",
    params: &[
        ("usedonly", "only those that were ever written"),
        ("filter", "only names that match this regular expression"),
        ("invert_filter", "only names that do not match it"),
        (
            "format",
            "layout; One of (html, active-html, text, json, prometheus)",
        ),
        (
            "type",
            "kind; One of (All, Counters, Histograms, Gauges, TextReadouts)",
        ),
        (
            "histogram_buckets",
            "what to show of histograms; One of (cumulative, disjoint, detailed, summary)",
        ),
        ("hidden", "hidden ones too; One of (include, only, exclude)"),
    ],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let params = match Params::parse(query) {
        Ok(params) => params,
        Err(reply) => return reply,
    };
    match params.format {
        Format::Prometheus => stats_prometheus::answer(process, &params, query),
        _ if params.buckets == Some(BucketMode::PrometheusNative) => {
            Reply::bad_request("Invalid histogram_buckets type for non prometheus stats type")
        }
        Format::Json => Reply::json_text(stats_json::write(
            &params.snapshot(process),
            &params.host_values(process),
            params.buckets.unwrap_or(BucketMode::Summary),
        )),
        Format::Text => Reply::text(as_text(process, &params)),
        Format::Html => {
            let text = as_text(process, &params);
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            Reply {
                content_type: HTML,
                ..Reply::text(format!(
                    "<!DOCTYPE html>\n<title>Ringway Admin</title>\n<pre>\n{text}</pre>\n"
                ))
            }
        }
    }
}

fn as_text(process: &Process, params: &Params) -> String {
    let buckets = params.buckets.unwrap_or(BucketMode::Summary);
    let hosts = params.host_values(process);
    stats_text::write(&params.snapshot(process), &hosts, buckets)
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Params {
    used_only: bool,
    filter: Option<Regex>,
    invert_filter: bool,
    format: Format,
    kind: Option<Kind>,
    pub(super) buckets: Option<BucketMode>,
    hidden_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Prometheus,
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counters,
    Gauges,
    Histograms,
    TextReadouts,
}

/// How histograms are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketMode {
    /// Counts up to each of the default bounds.
    Cumulative,
    /// Counts between the default bounds.
    Disjoint,
    /// The buckets themselves, and quantiles.
    Detailed,
    /// Quantiles.
    Summary,
    /// Only in Prometheus' protobuf format, which is not spoken.
    PrometheusNative,
}

impl Params {
    pub(super) fn parse(query: &Query) -> Result<Self, Reply> {
        let filter =
            match query.non_empty("filter") {
                Some(filter) => Some(parse_regex(filter).map_err(|reason| {
                    Reply::bad_request(format!("Invalid re2 regex: {reason}\n"))
                })?),
                None => None,
            };
        Ok(Self {
            used_only: query.has("usedonly"),
            filter,
            invert_filter: query.has("invert_filter"),
            format: match query.get("format") {
                None | Some("" | "text") => Format::Text,
                Some("json") => Format::Json,
                Some("prometheus") => Format::Prometheus,
                Some("html" | "active-html") => Format::Html,
                Some(_) => {
                    return Err(Reply::bad_request(
                        "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
                    ));
                }
            },
            kind: match query.get("type") {
                None | Some("" | "All") => None,
                Some("Counters") => Some(Kind::Counters),
                Some("Gauges") => Some(Kind::Gauges),
                Some("Histograms") => Some(Kind::Histograms),
                Some("TextReadouts") => Some(Kind::TextReadouts),
                Some(_) => return Err(Reply::bad_request("invalid &type= param")),
            },
            buckets: match query.get("histogram_buckets") {
                None | Some("" | "none") => None,
                Some("cumulative") => Some(BucketMode::Cumulative),
                Some("disjoint") => Some(BucketMode::Disjoint),
                Some("detailed") => Some(BucketMode::Detailed),
                Some("summary") => Some(BucketMode::Summary),
                Some("prometheusnative") => Some(BucketMode::PrometheusNative),
                Some(_) => {
                    return Err(Reply::bad_request(
                        "usage: /stats?histogram_buckets=\
                     (cumulative|disjoint|detailed|summary|prometheusnative)\n",
                    ));
                }
            },
            hidden_only: match query.get("hidden") {
                None | Some("" | "include" | "exclude") => false,
                Some("only") => true,
                Some(_) => {
                    return Err(Reply::bad_request(
                        "usage: /stats?hidden=(include|only|exclude)\n\n",
                    ));
                }
            },
        })
    }

    /// The statistics asked for, of the kind asked for.
    fn snapshot(&self, process: &Process) -> Snapshot {
        let mut snapshot = self.snapshot_of_all_kinds(process);
        if let Some(kind) = self.kind {
            let keep = |this| kind == this;
            if !keep(Kind::Counters) {
                snapshot.counters.clear();
            }
            if !keep(Kind::Gauges) {
                snapshot.gauges.clear();
            }
            if !keep(Kind::Histograms) {
                snapshot.histograms.clear();
            }
            if !keep(Kind::TextReadouts) {
                snapshot.text_readouts.clear();
            }
        }
        snapshot
    }

    /// The statistics of hosts asked for, of the kind asked for.
    fn host_values(&self, process: &Process) -> HostValues {
        let mut values = self.host_values_of_all_kinds(process);
        values.retain(|value| match self.kind {
            None => true,
            Some(Kind::Counters) => !value.is_gauge,
            Some(Kind::Gauges) => value.is_gauge,
            Some(Kind::Histograms | Kind::TextReadouts) => false,
        });
        values
    }

    /// The same; Prometheus' format ignores `type`.
    pub(super) fn host_values_of_all_kinds(&self, process: &Process) -> HostValues {
        if self.hidden_only {
            return HostValues::default();
        }
        let mut values = HostValues::of(&process.view.clusters());
        values.retain(|value| self.wants(&value.stat.name));
        values
    }

    fn wants(&self, name: &str) -> bool {
        match &self.filter {
            Some(filter) => filter.is_match(name) != self.invert_filter,
            None => true,
        }
    }

    /// The statistics asked for; Prometheus' format ignores `type`.
    pub(super) fn snapshot_of_all_kinds(&self, process: &Process) -> Snapshot {
        update(process);
        // Nothing listed is hidden: what is has no name.
        if self.hidden_only {
            return Snapshot::default();
        }
        let mut snapshot = process.store.snapshot(|name| self.wants(name));
        if self.used_only {
            snapshot.counters.retain(|counter| counter.used);
            snapshot.gauges.retain(|gauge| gauge.used);
            snapshot.histograms.retain(|histogram| histogram.used);
        }
        snapshot
    }
}

/// A regular expression in linear time, as RE2's; the reason in one line.
pub(super) fn parse_regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        format!("{}: {pattern}", reason.trim_start_matches("error: "))
    })
}

/// Brings the gauges up to date that nobody moves as things happen.
fn update(process: &Process) {
    let (store, stats) = (&process.store, &process.stats);
    let memory = Memory::now();
    let state = process.view.state();
    let live = u64::from(state == super::view::ServerState::Live);
    store.set(stats.state, state.number());
    store.set(stats.live, live);
    store.set(stats.uptime, process.view.uptime().as_secs());
    store.set(stats.total_connections, process.view.connections());
    let expiry = process.view.expiry();
    let days = expiry.certificate_days.into();
    store.set(stats.days_until_first_cert_expiring, days);
    if let Some(seconds) = expiry.ocsp_seconds {
        store.set(stats.seconds_until_first_ocsp_response_expiring, seconds);
    }
    store.set(stats.memory_allocated, memory.allocated_bytes);
    store.set(stats.memory_heap_size, memory.heap_bytes);
    store.set(stats.memory_physical_size, memory.physical_bytes);
}

/// 400 for a way to show histograms that a format does not have.
pub(super) fn unsupported_buckets(text: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, text)
}
