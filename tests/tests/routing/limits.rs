//! Circuit breakers: every limit at zero, at one and by the runtime, of both
//! priorities, and the statistics that tell what is left. What happens when
//! several requests meet at a limit is not for one client to show: see the
//! tests of the engine.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "limits",
    manager: "",
    hosts: include_str!("limits/routes.yaml"),
}];

/// What the runtime says of clusters that the file gives other limits.
const RUNTIME: &str = "\
layered_runtime:
  layers:
  - name: static
    static_layer:
      circuit_breakers.by_key_requests.default.max_requests: 0
      circuit_breakers.by_key_connections.default.max_connections: 0
      circuit_breakers.by_key_pending.default.max_pending_requests: 0
      circuit_breakers.by_key_pools.default.max_connection_pools: 0
      circuit_breakers.by_key_high.high.max_requests: 0
      circuit_breakers.by_key_retries.default.max_retries: 0
      circuit_breakers.by_key_budget.default.retry_budget.min_retry_concurrency: 0
      circuit_breakers.by_key_percent.default.retry_budget.budget_percent: 0.0
      circuit_breakers.by_key_more.default.max_requests: 5
      circuit_breakers.by_key_text.default.max_requests: nothing
      circuit_breakers.by_key_half.default.max_requests: 0.5
";

/// The clusters whose only difference is what they allow.
const LIMITED: &[(&str, &str)] = &[
    ("plain", ""),
    ("tracked", "track_remaining: true"),
    ("no_requests", "max_requests: 0, track_remaining: true"),
    (
        "no_connections",
        "max_connections: 0, track_remaining: true",
    ),
    (
        "no_pending",
        "max_pending_requests: 0, track_remaining: true",
    ),
    ("no_retries", "max_retries: 0, track_remaining: true"),
    ("no_pools", "max_connection_pools: 0, track_remaining: true"),
    ("one_pool", "max_connection_pools: 1, track_remaining: true"),
    (
        "nothing",
        "max_connections: 0, max_pending_requests: 0, max_requests: 0, max_retries: 0, \
         max_connection_pools: 0, track_remaining: true",
    ),
    (
        "high",
        "priority: HIGH, max_requests: 0, track_remaining: true",
    ),
    ("budget", "retry_budget: {}, track_remaining: true"),
    (
        "no_budget",
        "retry_budget: { budget_percent: { value: 0 }, min_retry_concurrency: 0 }, \
         track_remaining: true",
    ),
    ("by_key_requests", "track_remaining: true"),
    ("by_key_connections", "track_remaining: true"),
    ("by_key_pending", "track_remaining: true"),
    ("by_key_pools", "track_remaining: true"),
    ("by_key_high", ""),
    ("by_key_retries", "track_remaining: true"),
    ("by_key_budget", "track_remaining: true"),
    ("by_key_percent", ""),
    ("by_key_more", "max_requests: 0, track_remaining: true"),
    ("by_key_text", "max_requests: 0"),
    ("by_key_half", ""),
];

fn clusters(ports: Ports) -> String {
    let mut all = cluster("origin", ports.origin, "");
    for (name, limits) in LIMITED {
        let more = format!("circuit_breakers: {{ thresholds: [ {{ {limits} }} ] }}");
        all += &cluster(name, ports.origin, &more);
    }
    for (name, per_host) in [
        ("none_per_host", "max_connections: 0"),
        ("one_per_host", "max_connections: 1"),
        ("high_per_host", "priority: HIGH, max_connections: 0"),
        ("unlimited_per_host", ""),
    ] {
        let more = format!("circuit_breakers: {{ per_host_thresholds: [ {{ {per_host} }} ] }}");
        all += &cluster(name, ports.origin, &more);
    }
    all += &cluster(
        "twice",
        ports.origin,
        "circuit_breakers: { thresholds: [ { max_requests: 0 }, { max_requests: 1 } ], \
         per_host_thresholds: [ { max_connections: 0 }, { max_connections: 9 } ] }",
    );
    all += &cluster(
        "refused",
        ports.refused,
        "circuit_breakers: { thresholds: [ { max_connection_pools: 1, track_remaining: true } ] }",
    );
    all
}

fn to(cluster: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n\r\n")
}

/// One request to a cluster.
fn asks(name: &'static str, cluster: &str) -> Case {
    case(name, "limits", to(cluster, "/"))
}

/// Two, one after the other, so that the second finds what the first left.
fn twice(name: &'static str, cluster: &str) -> Case {
    asks(name, cluster)
        .then(Step::Await(1))
        .then_send(to(cluster, "/again"))
        .answers(2)
}

/// A request that may be retried, whose first answers are 503.
fn retries(name: &'static str, cluster: &str) -> Case {
    const BAD: &str = "HTTP/1.1 503 Text\r\ncontent-length: 0\r\n\r\n";
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let say = |text: &str| vec![Act::Send(text.into())];
    case(name, "limits", to(cluster, "/retry/")).origin(vec![
        Act::Read,
        Act::Turns(vec![say(BAD), say(BAD), say(OK)]),
    ])
}

fn cases() -> Vec<Case> {
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    vec![
        asks("no limit", "plain"),
        twice("no limit twice", "plain"),
        asks("tracked", "tracked"),
        asks("tracked, the connection ends", "tracked").answer(close),
        case("tracked, high", "limits", to("tracked", "/high/")),
        asks("no requests", "no_requests"),
        twice("no requests twice", "no_requests"),
        case("no requests, high", "limits", to("no_requests", "/high/")),
        retries("no requests, retried", "no_requests"),
        asks("no connections", "no_connections"),
        twice("no connections twice", "no_connections"),
        asks("no connections, the one ends", "no_connections").answer(close),
        asks("no pending requests", "no_pending"),
        twice("no pending requests twice", "no_pending"),
        retries("no pending requests, retried", "no_pending"),
        asks("no pools", "no_pools"),
        twice("no pools twice", "no_pools"),
        retries("no pools, retried", "no_pools"),
        case("no pools, mirrored", "limits", to("origin", "/mirrored/"))
            .watch(Duration::from_millis(200)),
        asks("one pool", "one_pool"),
        twice("one pool twice", "one_pool"),
        asks("one pool, the connection ends", "one_pool").answer(close),
        asks("one pool, refused", "refused"),
        retries("one pool, refused and retried", "refused"),
        asks("nothing", "nothing"),
        asks("high is limited, default asked", "high"),
        case("high is limited and asked", "limits", to("high", "/high/")),
        retries("a budget", "budget"),
        retries("no budget", "no_budget"),
        retries("no retries", "no_retries"),
        retries("three retries", "tracked"),
        asks("none per host", "none_per_host"),
        twice("none per host twice", "none_per_host"),
        asks("none per host, the one ends", "none_per_host").answer(close),
        twice("one per host", "one_per_host"),
        asks("per host of high, default asked", "high_per_host"),
        case("per host of high", "limits", to("high_per_host", "/high/")),
        twice("per host without a number", "unlimited_per_host"),
        asks("the first of two entries counts", "twice"),
        asks("runtime: no requests", "by_key_requests"),
        case(
            "runtime: no requests, high",
            "limits",
            to("by_key_requests", "/high/"),
        ),
        asks("runtime: no connections", "by_key_connections"),
        asks("runtime: no pending requests", "by_key_pending"),
        asks("runtime: no pools", "by_key_pools"),
        asks("runtime: high, default asked", "by_key_high"),
        case("runtime: high", "limits", to("by_key_high", "/high/")),
        retries("runtime: no retries", "by_key_retries"),
        retries("runtime: a minimum of retries", "by_key_budget"),
        retries("runtime: a percentage of retries", "by_key_percent"),
        asks("runtime: more than the file", "by_key_more"),
        asks("runtime: a text", "by_key_text"),
        asks("runtime: a half", "by_key_half"),
    ]
}

#[test]
fn limits_are_envoys() {
    Comparison {
        suite: Suite::Routing("limits"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run_with("limits_are_envoys", RUNTIME);
}
