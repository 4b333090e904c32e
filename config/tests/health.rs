//! Mistakes in health checks and in what is said of outliers: where, and in
//! which words.

use ringway_config::load::{Format, LoadOptions, load};
use ringway_config::{Diagnostics, Snapshot, bootstrap};

fn lower(cluster: &str) -> Result<Snapshot, Diagnostics> {
    let text = format!("static_resources: {{ clusters: [ {{ name: c, {cluster} }} ] }}");
    let options = LoadOptions::default();
    bootstrap::lower(&load(&text, "f.yaml", Format::Yaml, &options)?)
}

/// What is wrong, without places and the path of the cluster.
fn errors(cluster: &str) -> Vec<String> {
    match lower(cluster) {
        Ok(_) => panic!("accepted: {cluster}"),
        Err(found) => (found.errors())
            .map(|one| {
                let line = one.to_string();
                let (_, said) = line.split_once("clusters[0].").expect("a path");
                said.to_owned()
            })
            .collect(),
    }
}

fn check(fields: &str) -> String {
    format!(
        "health_checks: [ {{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, \
         healthy_threshold: 1, {fields} }} ]"
    )
}

#[test]
fn mistakes_in_health_checks() {
    for (fields, expected) in [
        (
            "http_health_check: { path: /, expected_statuses: [ { start: 200, end: 200 } ] }",
            "http_health_check.expected_statuses[0]: no status is in here: start has to be less \
             than end",
        ),
        (
            "http_health_check: { path: /, retriable_statuses: [ { start: 99, end: 200 } ] }",
            "http_health_check.retriable_statuses[0].start: no status is less than 100",
        ),
        (
            "http_health_check: { path: /, expected_statuses: [ { start: 200, end: 601 } ] }",
            "http_health_check.expected_statuses[0].end: 600, the end of all statuses, is the \
             largest",
        ),
        (
            "http_health_check: { path: /, send: { text: '00' } }",
            "http_health_check.send: a request of method GET has no body",
        ),
        (
            "http_health_check: { path: /, receive: [ { text: abc } ] }",
            "http_health_check.receive[0].text: pairs of hexadecimal digits are needed here",
        ),
        (
            "http_health_check: { path: /, response_buffer_size: 1, receive: [ { text: abcd } ] }",
            "http_health_check.receive: 2 bytes are never found in the 1 of response_buffer_size",
        ),
        (
            "http_health_check: { path: /, request_headers_to_add: [ { header: { key: ':path', \
             value: a } } ] }",
            "http_health_check.request_headers_to_add[0].header.key: :-prefixed or host headers \
             may not be modified",
        ),
        (
            "http_health_check: { path: /, request_headers_to_add: [ { header: { key: a, \
             value: '%PROTOCOL%' } } ] }",
            "http_health_check.request_headers_to_add[0].header.value: operators are not \
             supported in health checks yet",
        ),
        (
            "tcp_health_check: { send: { text: '0' } }",
            "tcp_health_check.send.text: pairs of hexadecimal digits are needed here",
        ),
        (
            "custom_health_check: { name: envoy.health_checkers.redis }",
            "custom_health_check: a typed_config is needed here: its type selects the checker",
        ),
    ] {
        let found = errors(&check(fields));
        assert_eq!(found, [format!("health_checks[0].{expected}")], "{fields}");
    }
    let one = check("tcp_health_check: {}");
    let inner = one
        .trim_start_matches("health_checks: [ ")
        .trim_end_matches(" ]");
    assert_eq!(
        errors(&format!("health_checks: [ {inner}, {inner} ]")),
        ["health_checks[1]: a cluster may have one health check, in Envoy too"]
    );
}

#[test]
fn what_is_not_there_yet_is_refused_by_path() {
    for (fields, path) in [
        (
            "grpc_health_check: {}",
            "health_checks[0].grpc_health_check",
        ),
        (
            "http_health_check: { path: /, codec_client_type: HTTP3 }",
            "health_checks[0].http_health_check.codec_client_type",
        ),
    ] {
        let found = errors(&check(fields));
        assert!(found.iter().any(|one| one.starts_with(path)), "{found:?}");
    }
    let found = errors("outlier_detection: { monitors: [ { name: m } ] }");
    let path = "outlier_detection.monitors";
    assert!(found.iter().any(|one| one.starts_with(path)), "{found:?}");
}

#[test]
fn mistakes_in_what_is_said_of_outliers() {
    assert_eq!(
        errors("outlier_detection: { max_ejection_time: 10s }"),
        [
            "outlier_detection.max_ejection_time: 10000 ms is shorter than base_ejection_time, \
             30000 ms: the first ejection would already last too long"
        ]
    );
    let latency = |fields: &str| {
        errors(&format!(
            "metadata: {{ filter_metadata: {{ ringway.latency_outlier: {{ {fields} }} }} }}"
        ))
    };
    let path = "metadata.filter_metadata[\"ringway.latency_outlier\"]";
    for (fields, expected) in [
        (
            "interval: 5",
            ".interval: no such setting; there are interval_ms, factor, min_excess_ms, \
             min_requests, min_hosts, intervals, base_ejection_ms, max_ejection_ms, \
             max_ejection_percent",
        ),
        (
            "interval_ms: 10",
            ".interval_ms: a number from 50 to 60000 is needed here",
        ),
        (
            "factor: \"3\"",
            ".factor: a number from 1 to 1000 is needed here",
        ),
        (
            "base_ejection_ms: 2000, max_ejection_ms: 1000",
            ".max_ejection_ms: is shorter than base_ejection_ms",
        ),
    ] {
        assert_eq!(latency(fields), [format!("{path}{expected}")], "{fields}");
    }
}

#[test]
fn defaults() {
    let snapshot = lower(
        "outlier_detection: {}, metadata: { filter_metadata: { ringway.latency_outlier: {} } }",
    )
    .expect("a good file");
    let cluster = &snapshot.clusters[0];
    let outliers = cluster.outlier_detection.as_ref().expect("it is there");
    let consecutive = outliers.consecutive.map(|setting| setting.configured);
    assert_eq!(consecutive, [5, 5, 5]);
    let enforcing = outliers.enforcing_consecutive.map(|one| one.configured);
    assert_eq!(enforcing, [100, 0, 100]);
    assert_eq!(outliers.max_ejection_time_ms.configured, 300_000);
    assert_eq!(
        **cluster.latency_outlier.as_ref().expect("it is there"),
        ringway_config::latency_outlier::LatencyOutlier::default()
    );
    // A longer base takes the default of the maximum along.
    let snapshot = lower("outlier_detection: { base_ejection_time: 400s }").expect("a good file");
    let outliers = snapshot.clusters[0].outlier_detection.as_ref();
    let max = outliers.expect("it is there").max_ejection_time_ms;
    assert_eq!(max.configured, 400_000);
    assert!(snapshot.clusters[0].health_check.is_none());
}
