//! What Envoy refuses of health checks and outlier detection is refused here,
//! and what it takes is taken.

use ringway_tests::bootstrap::{bootstrap, cluster};
use ringway_tests::process::Program;
use ringway_tests::programs;

const GOOD: &[&str] = &[
    "outlier_detection: {}",
    "outlier_detection: { base_ejection_time: 400s }",
    "outlier_detection: { max_ejection_percent: 0, consecutive_5xx: 0 }",
    "outlier_detection: { max_ejection_time_jitter: 1s, success_rate_stdev_factor: 0 }",
    "metadata: { filter_metadata: { ringway.latency_outlier: { interval_ms: 300 } } }",
];

const BAD: &[&str] = &[
    "outlier_detection: { max_ejection_time: 1s }",
    "outlier_detection: { interval: 0s }",
    "outlier_detection: { base_ejection_time: 0s }",
    "outlier_detection: { max_ejection_percent: 101 }",
    "outlier_detection: { enforcing_consecutive_5xx: 101 }",
    "outlier_detection: { failure_percentage_threshold: 101 }",
];

const GOOD_CHECKS: &[&str] = &[
    "tcp_health_check: {}",
    "tcp_health_check: { send: { text: 'AB01' } }",
    "http_health_check: { path: / }, interval_jitter_percent: 500",
    "http_health_check: { path: /, response_buffer_size: 0, receive: [ { text: abcd } ] }",
    "http_health_check: { path: /, method: PUT, send: { binary: AA== } }",
    "http_health_check: { path: /, expected_statuses: [ { start: 100, end: 600 } ] }",
    "reuse_connection: false, no_traffic_interval: 1s, tcp_health_check: {}",
];

const BAD_CHECKS: &[&str] = &[
    "always_log_health_check_failures: true",
    "http_health_check: {}",
    "http_health_check: { path: /, expected_statuses: [ { start: 200, end: 200 } ] }",
    "http_health_check: { path: /, expected_statuses: [ { start: 99, end: 200 } ] }",
    "http_health_check: { path: /, retriable_statuses: [ { start: 200, end: 601 } ] }",
    "http_health_check: { path: /, send: { text: '00' } }",
    "http_health_check: { path: /, method: CONNECT }",
    "http_health_check: { path: /, receive: [ { text: abc } ] }",
    "http_health_check: { path: /, receive: [ { text: '' } ] }",
    "http_health_check: { path: /, response_buffer_size: 1, receive: [ { text: abcd } ] }",
    "http_health_check: { path: \"/a\\nb\" }",
    "http_health_check: { path: /, host: \"a\\nb\" }",
    "http_health_check: { path: /, request_headers_to_add: [ { header: { key: ':path', value: a } } ] }",
    "tcp_health_check: { send: { text: 'x' } }",
    "tcp_health_check: {}, unhealthy_interval: 0s",
    "custom_health_check: { name: nobody.knows }",
];

fn is_accepted(program: &Program, fields: &str) -> (bool, String) {
    let text = bootstrap(&[], &cluster("c", 1, fields));
    let mut command = program.command();
    let output = (command
        .args(["--mode", "validate", "--config-yaml", &text])
        .output())
    .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn what_envoy_refuses_of_health_is_refused() {
    let Some(envoy) = programs::envoy("what_envoy_refuses_of_health_is_refused") else {
        return;
    };
    let check = |fields: &&str| {
        format!(
            "health_checks: [ {{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, \
             healthy_threshold: 1, {fields} }} ]"
        )
    };
    let two = "{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, \
               tcp_health_check: {} }";
    let mut cases: Vec<(String, bool)> = vec![
        (format!("health_checks: [ {two}, {two} ]"), false),
        ("health_checks: [ { interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]".into(), false),
        ("health_checks: [ { timeout: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]".into(), false),
        ("health_checks: [ { timeout: 1s, interval: 1s, healthy_threshold: 1, tcp_health_check: {} } ]".into(), false),
        ("health_checks: [ { timeout: 1s, interval: 1s, unhealthy_threshold: 1, tcp_health_check: {} } ]".into(), false),
    ];
    cases.extend(GOOD.iter().map(|fields| ((*fields).to_owned(), true)));
    cases.extend(BAD.iter().map(|fields| ((*fields).to_owned(), false)));
    cases.extend(GOOD_CHECKS.iter().map(|fields| (check(fields), true)));
    cases.extend(BAD_CHECKS.iter().map(|fields| (check(fields), false)));
    let driver = programs::drivers().into_iter().next().expect("a driver");
    let (envoy, ringway) = (Program::Envoy(envoy), Program::Ringway(driver));
    let mut wrong = Vec::new();
    for (fields, wanted) in cases {
        for program in [&envoy, &ringway] {
            let (accepted, said) = is_accepted(program, &fields);
            if accepted != wanted {
                wrong.push(format!(
                    "{} says {accepted} to {fields}: {said}",
                    program.name()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
