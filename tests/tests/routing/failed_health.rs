//! What is said while the health check of the process is failed by hand.

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

/// The filter, answering itself or letting the host answer, and the router.
macro_rules! checked {
    ($before:literal, $pass_through:literal) => {
        concat!(
            $before,
            "drain_timeout: 0.1s\nhttp_filters:\n- name: health\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck\n",
            "    pass_through_mode: ",
            $pass_through,
            "\n    headers: [{ name: \":path\", string_match: { exact: \"/check\" } }]\n",
            "- name: router\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
        )
    };
}

/// Two of them: the first lets the host answer.
const TWICE: &str = "\
drain_timeout: 0.1s
http_filters:
- name: first
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
    pass_through_mode: false
    headers: [{ name: \":path\", string_match: { exact: \"/first\" } }]
- name: second
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck
    pass_through_mode: true
    headers: [{ name: \":path\", string_match: { exact: \"/second\" } }]
- name: router
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
";

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: EVERYTHING_TO_ORIGIN,
    }
}

const LISTENERS: &[Listener] = &[
    listener("unchecked", "drain_timeout: 0.1s"),
    listener(
        "old",
        "drain_timeout: 0.1s\nhttp_protocol_options: { accept_http_10: true }",
    ),
    listener(
        "once",
        "drain_timeout: 0.1s\ncommon_http_protocol_options: { max_requests_per_connection: 1 }",
    ),
    listener(
        "upgrading",
        "drain_timeout: 0.1s\nupgrade_configs: [{ upgrade_type: websocket }]",
    ),
    listener("checked", checked!("", "false")),
    listener("passed", checked!("", "true")),
    listener("twice", TWICE),
    listener(
        "mapped",
        checked!(
            "local_reply_config: { body_format: { text_format_source: { inline_string: \"failed\" } } }\n",
            "false"
        ),
    ),
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn cases() -> Vec<Case> {
    let get = |name, listener, path: &str, headers: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        case(name, listener, request)
    };
    const GRPC: &str = "content-type: application/grpc\r\n";
    vec![
        get("no filter", "unchecked", "/check", ""),
        get("check", "checked", "/check", ""),
        get("check of gRPC", "checked", "/check", GRPC),
        get("no check", "checked", "/other", ""),
        get("no check, said already", "checked", "/other", "").answer(
            "HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: no\r\ncontent-length: 0\r\n\r\n",
        ),
        get("check passed on", "passed", "/check", ""),
        get("first of two", "twice", "/first", ""),
        get("second of two", "twice", "/second", ""),
        get("none of two", "twice", "/other", ""),
        get("second of two, said already", "twice", "/second", "").answer(
            "HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: no\r\nx-envoy-upstream-healthchecked-cluster: x\r\ncontent-length: 0\r\n\r\n",
        ),
        get("check, mapped", "mapped", "/check", ""),
        case(
            "check with body",
            "checked",
            "POST /check HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "check by HEAD",
            "checked",
            "HEAD /check HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
    ]
}

/// Responses after which the connection would be closed anyway.
fn closing_cases() -> Vec<Case> {
    let asks = |name, listener, request: &'static str| case(name, listener, request);
    const UPGRADE: &str =
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    vec![
        asks(
            "the client closes",
            "unchecked",
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        ),
        asks("upgrade failed", "unchecked", UPGRADE),
        asks("upgrade not agreed", "upgrading", UPGRADE),
        asks("upgrade agreed", "upgrading", UPGRADE)
            .answer("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        asks(
            "CONNECT without route",
            "unchecked",
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
        ),
        asks("no host", "unchecked", "GET / HTTP/1.1\r\n\r\n"),
        asks(
            "no header",
            "unchecked",
            "GET / HTTP/1.1\r\nhost: a\r\nnothing\r\n\r\n",
        ),
        asks("HTTP/1.0", "old", "GET / HTTP/1.0\r\nhost: a\r\n\r\n"),
        asks(
            "HTTP/1.0 that stays",
            "old",
            "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        ),
        asks(
            "the last request of a connection",
            "once",
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}

#[test]
fn failed_health_is_told_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("failed_health"),
        listeners: LISTENERS,
        clusters,
        cases: || [cases(), closing_cases()].concat(),
    };
    let test = "failed_health_is_told_as_envoy_does";
    suite.run_after(test, "", &["/healthcheck/fail"]);
}
