//! The event log: `envoy.data.core.v3.HealthCheckEvent` as JSON, a line an
//! event, with all fields in the order of their numbers.

use std::time::SystemTime;

use ringway_config::core::Address;
use ringway_config::health_check::Checker;
use serde_json::{Map, Value, json};

use super::Shared;
use super::progress::{Failure, Progress};
use crate::formatter::timestamp;
use crate::upstream::host::SharedHost;

/// What has happened.
#[derive(Clone, Copy)]
pub(super) enum Event {
    EjectUnhealthy(Failure),
    /// With whether it was the first check.
    AddHealthy(bool),
    /// With whether it was the first check.
    Failure(Failure, bool),
    Degraded,
    NoLongerDegraded,
    Successful,
}

/// Writes the event to the logs of the cluster's checks.
pub(super) fn log(shared: &Shared, host: &SharedHost, progress: &Progress, event: Event) {
    if shared.logs.is_empty() {
        return;
    }
    let line = Value::from(message(shared, host, progress, event)).to_string();
    for log in &shared.logs {
        log.write(&line);
    }
}

fn message(
    shared: &Shared,
    host: &SharedHost,
    progress: &Progress,
    event: Event,
) -> Map<String, Value> {
    let (number, name, what) = match event {
        Event::EjectUnhealthy(failure) => (
            4,
            "eject_unhealthy_event",
            json!({ "failure_type": failure.kind.name(), "http_status_code": failure.status }),
        ),
        Event::AddHealthy(first) => (5, "add_healthy_event", json!({ "first_check": first })),
        Event::Failure(failure, first) => (
            7,
            "health_check_failure_event",
            json!({
                "failure_type": failure.kind.name(),
                "first_check": first,
                "http_status_code": failure.status,
            }),
        ),
        Event::Degraded => (8, "degraded_healthy_host", json!({})),
        Event::NoLongerDegraded => (9, "no_longer_degraded_host", json!({})),
        Event::Successful => (12, "successful_health_check_event", json!({})),
    };
    let kind = match shared.check.checker {
        Checker::Http(_) => "HTTP",
        Checker::Grpc(_) => "GRPC",
        Checker::Tcp(_) => "TCP",
        Checker::Redis(_) => "REDIS",
        Checker::Thrift(_) => "THRIFT",
    };
    let locality = &progress.locality;
    let mut fields: Vec<(u32, &str, Value)> = vec![
        (1, "health_checker_type", kind.into()),
        (2, "host", address(host.address())),
        (3, "cluster_name", (&*shared.cluster.name).into()),
        (6, "timestamp", timestamp(SystemTime::now()).into()),
        (
            11,
            "locality",
            json!({
                "region": &*locality.region,
                "zone": &*locality.zone,
                "sub_zone": &*locality.sub_zone,
            }),
        ),
        (number, name, what),
    ];
    fields.sort_by_key(|(number, ..)| *number);
    let named = fields.into_iter();
    named
        .map(|(_, name, value)| (name.to_owned(), value))
        .collect()
}

/// `envoy.config.core.v3.Address` with all its fields.
fn address(address: &Address) -> Value {
    match address {
        Address::Socket(socket) => json!({ "socket_address": {
            "protocol": "TCP",
            "address": socket.ip().to_string(),
            "port_value": socket.port(),
            "resolver_name": "",
            "ipv4_compat": false,
            "network_namespace_filepath": "",
        } }),
        Address::Pipe { path, mode } => json!({ "pipe": {
            "path": path.to_string_lossy(),
            "mode": mode,
        } }),
    }
}
