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

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: EVERYTHING_TO_ORIGIN,
    }
}

const LISTENERS: &[Listener] = &[
    listener("unchecked", "drain_timeout: 0.1s"),
    listener("checked", checked!("", "false")),
    listener("passed", checked!("", "true")),
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

#[test]
fn failed_health_is_told_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("failed_health"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    let test = "failed_health_is_told_as_envoy_does";
    suite.run_after(test, "", &["/healthcheck/fail"]);
}
