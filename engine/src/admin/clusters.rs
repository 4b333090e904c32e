//! `/clusters`: clusters, their limits, and their hosts with what was counted.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, Process};
use super::reply::Reply;
use super::request::Query;
use super::stats::parse_regex;
use super::view::{ClusterStatus, HealthFlags, HostStats, HostStatus, Thresholds};

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/clusters",
    mutates: false,
    help: "print the clusters and their hosts",
    params: &[
        (
            "filter",
            "only clusters whose name matches this regular expression",
        ),
        ("format", "layout; One of (text, json)"),
    ],
    handle,
};

fn handle(process: &Process, query: &Query) -> Reply {
    let mut clusters = process.view.clusters();
    if let Some(filter) = query.non_empty("filter") {
        match parse_regex(filter) {
            Ok(filter) => clusters.retain(|cluster| filter.is_match(&cluster.name)),
            Err(_) => return Reply::bad_request("Invalid re2 regex\n"),
        }
    }
    match query.get("format") {
        Some("json") => Reply::json(&as_json(&clusters)),
        _ => Reply::text(as_text(&clusters)),
    }
}

fn as_text(clusters: &[ClusterStatus]) -> String {
    let mut text = String::new();
    for cluster in clusters {
        let name = &cluster.name;
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{name}::{key}::{value}");
        };
        line("observability_name", &cluster.observability_name);
        if let Some(origins) = cluster.success_rates {
            for (origin, rates) in ["", "local_origin_"].into_iter().zip(origins) {
                let (mean, threshold) = rates.unwrap_or((NO_RATE, NO_RATE));
                let key = |what: &str| format!("outlier::{origin}success_rate_{what}");
                line(&key("average"), &mean);
                line(&key("ejection_threshold"), &threshold);
            }
        }
        for (priority, thresholds) in [
            ("default", &cluster.default_thresholds),
            ("high", &cluster.high_thresholds),
        ] {
            for (key, value) in limits(thresholds) {
                line(&format!("{priority}_priority::{key}"), &value);
            }
        }
        line("added_via_api", &cluster.added_via_api);
        if let Some(service) = &cluster.eds_service_name {
            line("eds_service_name", service);
        }
        for host in &cluster.hosts {
            write_host(&mut text, name, host);
        }
    }
    text
}

fn write_host(text: &mut String, cluster: &str, host: &HostStatus) {
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{cluster}::{}::{key}::{value}", host.address);
    };
    let mut stats: Vec<(&str, u64)> = counters(&host.stats).into();
    stats.extend(gauges(&host.stats));
    stats.sort_unstable();
    for (key, value) in stats {
        line(key, &value);
    }
    line("hostname", &host.hostname);
    line("health_flags", &health_text(&host.health));
    line("weight", &host.weight);
    line("region", &host.locality.region);
    line("zone", &host.locality.zone);
    line("sub_zone", &host.locality.sub_zone);
    line("canary", &host.canary);
    line("priority", &host.priority);
    line("success_rate", &host.success_rate.unwrap_or(NO_RATE));
    line(
        "local_origin_success_rate",
        &host.local_origin_success_rate.unwrap_or(NO_RATE),
    );
}

/// What is shown while outlier detection has computed nothing.
const NO_RATE: f64 = -1.0;

fn limits(thresholds: &Thresholds) -> [(&'static str, u32); 4] {
    [
        ("max_connections", thresholds.max_connections),
        ("max_pending_requests", thresholds.max_pending_requests),
        ("max_requests", thresholds.max_requests),
        ("max_retries", thresholds.max_retries),
    ]
}

pub(super) fn counters(stats: &HostStats) -> [(&'static str, u64); 6] {
    [
        ("cx_connect_fail", stats.cx_connect_fail),
        ("cx_total", stats.cx_total),
        ("rq_error", stats.rq_error),
        ("rq_success", stats.rq_success),
        ("rq_timeout", stats.rq_timeout),
        ("rq_total", stats.rq_total),
    ]
}

pub(super) fn gauges(stats: &HostStats) -> [(&'static str, u64); 3] {
    [
        ("cx_active", stats.cx_active),
        ("rq_active", stats.rq_active),
        ("rq_pending_active", stats.rq_pending_active),
    ]
}

fn health_text(health: &HealthFlags) -> String {
    let text: String = [
        (health.failed_active_hc, "/failed_active_hc"),
        (health.failed_outlier_check, "/failed_outlier_check"),
        (health.failed_eds_health, "/failed_eds_health"),
        (health.degraded_active_hc, "/degraded_active_hc"),
        (health.degraded_eds_health, "/degraded_eds_health"),
        (health.pending_dynamic_removal, "/pending_dynamic_removal"),
        (health.pending_active_hc, "/pending_active_hc"),
        (
            health.excluded_via_immediate_hc_fail,
            "/excluded_via_immediate_hc_fail",
        ),
        (health.active_hc_timeout, "/active_hc_timeout"),
        (health.eds_status_draining, "/eds_status_draining"),
        (
            health.degraded_outlier_detection,
            "/degraded_outlier_detection",
        ),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    match text.is_empty() {
        true => "healthy".to_owned(),
        false => text,
    }
}

fn as_json(clusters: &[ClusterStatus]) -> Value {
    if clusters.is_empty() {
        return json!({});
    }
    let statuses: Vec<_> = clusters.iter().map(cluster_json).collect();
    json!({ "cluster_statuses": statuses })
}

// Proto JSON leaves out fields with default values.
fn cluster_json(cluster: &ClusterStatus) -> Value {
    let mut json = Map::new();
    json.insert("name".into(), cluster.name.clone().into());
    if cluster.added_via_api {
        json.insert("added_via_api".into(), true.into());
    }
    if !cluster.hosts.is_empty() {
        json.insert(
            "host_statuses".into(),
            cluster.hosts.iter().map(host_json).collect(),
        );
    }
    let (default, mut high) = (Map::new(), Map::new());
    high.insert("priority".into(), "HIGH".into());
    let thresholds: Vec<Value> = [
        (default, &cluster.default_thresholds),
        (high, &cluster.high_thresholds),
    ]
    .into_iter()
    .map(|(mut json, thresholds)| {
        for (key, value) in limits(thresholds) {
            json.insert(key.into(), value.into());
        }
        json.into()
    })
    .collect();
    json.insert(
        "circuit_breakers".into(),
        json!({ "thresholds": thresholds }),
    );
    json.insert(
        "observability_name".into(),
        cluster.observability_name.clone().into(),
    );
    if let Some(service) = &cluster.eds_service_name {
        json.insert("eds_service_name".into(), service.clone().into());
    }
    json.into()
}

fn host_json(host: &HostStatus) -> Value {
    let stat = |kind: Option<&str>, name: &str, value: u64| {
        let mut json = Map::new();
        if let Some(kind) = kind {
            json.insert("type".into(), kind.into());
        }
        if value > 0 {
            json.insert("value".into(), value.to_string().into());
        }
        json.insert("name".into(), name.into());
        Value::from(json)
    };
    let mut stats: Vec<Value> = Vec::new();
    for (name, value) in counters(&host.stats) {
        stats.push(stat(None, name, value));
    }
    for (name, value) in gauges(&host.stats) {
        stats.push(stat(Some("GAUGE"), name, value));
    }
    let mut json = Map::new();
    json.insert("address".into(), host.address.to_json());
    json.insert("stats".into(), stats.into());
    json.insert("health_status".into(), health_json(&host.health));
    for (name, rate) in [
        ("success_rate", host.success_rate),
        ("local_origin_success_rate", host.local_origin_success_rate),
    ] {
        if let Some(rate) = rate {
            json.insert(name.into(), json!({ "value": rate }));
        }
    }
    json.insert("weight".into(), host.weight.into());
    if !host.hostname.is_empty() {
        json.insert("hostname".into(), host.hostname.clone().into());
    }
    if host.priority > 0 {
        json.insert("priority".into(), host.priority.into());
    }
    let locality: Map<String, Value> = [
        ("region", &host.locality.region),
        ("zone", &host.locality.zone),
        ("sub_zone", &host.locality.sub_zone),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value.clone().into()))
    .collect();
    json.insert("locality".into(), locality.into());
    json.into()
}

fn health_json(health: &HealthFlags) -> Value {
    let mut json = Map::new();
    for (set, name) in [
        (health.failed_active_hc, "failed_active_health_check"),
        (health.failed_outlier_check, "failed_outlier_check"),
        (health.degraded_active_hc, "failed_active_degraded_check"),
        (health.pending_dynamic_removal, "pending_dynamic_removal"),
        (health.pending_active_hc, "pending_active_hc"),
        (
            health.excluded_via_immediate_hc_fail,
            "excluded_via_immediate_hc_fail",
        ),
        (health.active_hc_timeout, "active_hc_timeout"),
        (
            health.degraded_outlier_detection,
            "failed_degraded_outlier_detection",
        ),
    ] {
        if set {
            json.insert(name.into(), true.into());
        }
    }
    let eds = match health {
        HealthFlags {
            eds_status_draining: true,
            ..
        } => "DRAINING",
        HealthFlags {
            failed_eds_health: true,
            ..
        } => "UNHEALTHY",
        HealthFlags {
            degraded_eds_health: true,
            ..
        } => "DEGRADED",
        _ => "HEALTHY",
    };
    json.insert("eds_health_status".into(), eds.into());
    json.into()
}
