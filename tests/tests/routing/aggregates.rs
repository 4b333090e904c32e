//! Aggregate clusters: which cluster takes a request, and what is counted and
//! limited where.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const LISTENERS: &[Listener] = &[Listener {
    name: "all",
    manager: "",
    hosts: r#"
- name: all
  domains: ["*"]
  virtual_clusters: [ { name: everything, headers: [ { name: ":path", string_match: { prefix: "/" } } ] } ]
  routes:
  - match: { path: /retry }
    route:
      cluster_header: x-cluster
      timeout: 0s
      retry_policy: { retry_on: "5xx", num_retries: 2, retry_back_off: { base_interval: 0.001s } }
  - match: { path: /previous }
    route:
      cluster_header: x-cluster
      timeout: 0s
      retry_policy:
        retry_on: "5xx"
        num_retries: 3
        retry_back_off: { base_interval: 0.001s }
        retry_priority:
          name: previous
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig
            update_frequency: 1
  - match: { path: /timeout }
    route: { cluster_header: x-cluster, timeout: 0.2s }
  - match: { path: /per-try }
    route:
      cluster_header: x-cluster
      retry_policy: { retry_on: "5xx", num_retries: 0, per_try_timeout: 0.2s }
  - match: { path: /mirror }
    route:
      cluster: origin
      request_mirror_policies: [ { cluster: mirrored } ]
  - match: { path: /high }
    route: { cluster_header: x-cluster, priority: HIGH }
  - match: { prefix: / }
    route: { cluster_header: x-cluster }
"#,
}];

fn aggregate(name: &str, clusters: &str, more: &str) -> String {
    format!(
        "- {{ name: {name}, lb_policy: CLUSTER_PROVIDED, connect_timeout: 1s, cluster_type: {{ name: \
         envoy.clusters.aggregate, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, clusters: [ \
         {clusters} ] }} }}{more} }}\n"
    )
}

/// A cluster of hosts by priority: their port, and their health.
fn hosts(name: &str, hosts: &[(u32, u16, &str)], more: &str) -> String {
    let endpoints = hosts.iter().map(|(priority, port, health)| {
        format!(
            "{{ priority: {priority}, lb_endpoints: [ {{ health_status: {health}, endpoint: {{ \
             address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }}"
        )
    });
    let endpoints: Vec<_> = endpoints.collect();
    format!(
        "- {{ name: {name}, load_assignment: {{ cluster_name: {name}, endpoints: [ {} ] }}{more} }}\n",
        endpoints.join(", ")
    )
}

fn clusters(ports: Ports) -> String {
    let none = ", circuit_breakers: { thresholds: [ { max_requests: 0, max_pending_requests: 0, \
                max_retries: 0 }, { priority: HIGH, max_requests: 0 } ] }";
    let options = |fields: &str| {
        format!(
            ", typed_extension_protocol_options: {{ \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: {{ http_protocol_options: {{}} }}, {fields} }} }}"
        )
    };
    let (origin, refused) = (ports.origin, ports.refused);
    let no_panic = ", common_lb_config: { healthy_panic_threshold: { value: 0 } }";
    [
        cluster("origin", origin, ""),
        hosts("live", &[(0, origin, "HEALTHY")], ""),
        hosts("dead", &[(0, refused, "UNHEALTHY")], ""),
        hosts("dead_origin", &[(0, origin, "UNHEALTHY")], ""),
        hosts("dead_for_good", &[(0, origin, "UNHEALTHY")], no_panic),
        hosts("refusing", &[(0, refused, "HEALTHY")], ""),
        hosts(
            "stuck",
            &[(0, ports.stuck, "HEALTHY")],
            ", connect_timeout: 0.6s",
        ),
        hosts("empty", &[], ""),
        hosts("degraded", &[(0, refused, "DEGRADED")], ""),
        hosts("degraded_origin", &[(0, origin, "DEGRADED")], ""),
        hosts(
            "second",
            &[(0, refused, "UNHEALTHY"), (1, origin, "HEALTHY")],
            "",
        ),
        hosts("gap", &[(1, origin, "HEALTHY")], ""),
        hosts("ring", &[(0, origin, "HEALTHY")], ", lb_policy: RING_HASH"),
        hosts("closed", &[(0, origin, "HEALTHY")], none),
        hosts(
            "slow",
            &[(0, origin, "HEALTHY")],
            &options("common_http_protocol_options: { max_stream_duration: 0.2s }"),
        ),
        hosts(
            "once",
            &[(0, origin, "HEALTHY")],
            &options("common_http_protocol_options: { max_requests_per_connection: 1 }"),
        ),
        hosts("mirror", &[(0, ports.mirror, "HEALTHY")], ""),
        aggregate("mirrored", "dead, mirror", ""),
        aggregate("one", "live", ""),
        aggregate("dead_first", "dead, live", ""),
        aggregate("live_first", "live, dead", ""),
        aggregate("all_dead", "dead_origin", ""),
        aggregate("all_dead_without_panic", "dead_for_good, dead_for_good", ""),
        aggregate("own_panic", "dead_origin", no_panic),
        aggregate("empty_first", "empty, live", ""),
        aggregate("all_empty", "empty", ""),
        aggregate("unknown_first", "nobody, live", ""),
        aggregate("all_unknown", "nobody", ""),
        aggregate("nested", "one, dead_first", ""),
        aggregate("nested_first", "one, dead_origin", ""),
        aggregate("self", "self", ""),
        aggregate("loop", "pool", ""),
        aggregate("pool", "loop", ""),
        aggregate("degraded_first", "degraded, live", ""),
        aggregate("all_degraded", "degraded_origin, dead", ""),
        aggregate("of_second", "dead, second", ""),
        aggregate("of_gap", "gap", ""),
        aggregate("twice", "live, live", ""),
        aggregate("of_ring", "dead, ring", ""),
        aggregate("refusing_first", "refusing, live", ""),
        aggregate("all_refusing", "refusing", ""),
        aggregate("of_stuck", "stuck", ""),
        aggregate("of_closed", "closed", ""),
        aggregate("closed_itself", "live", none),
        aggregate("closed_refusing", "refusing", none),
        aggregate("of_slow", "slow", ""),
        aggregate(
            "slow_itself",
            "live",
            &options("common_http_protocol_options: { max_stream_duration: 0.2s }"),
        ),
        aggregate("of_once", "once", ""),
        aggregate(
            "once_itself",
            "live",
            &options("common_http_protocol_options: { max_requests_per_connection: 1 }"),
        ),
        aggregate(
            "named",
            "live",
            ", alt_stat_name: other, metadata: { filter_metadata: { a: { b: c } } }",
        ),
    ]
    .concat()
}

fn get(path: &str, cluster: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-cluster: {cluster}\r\n\r\n")
}

fn cases() -> Vec<Case> {
    let to = |name, cluster| case(name, "all", get("/", cluster));
    let on = |name, path, cluster| case(name, "all", get(path, cluster));
    let unavailable = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    let late = [Act::Read, Act::Drain];
    vec![
        to("one", "one"),
        to("dead first", "dead_first"),
        to("live first", "live_first"),
        to("all dead", "all_dead"),
        to("all dead without panic", "all_dead_without_panic"),
        to("own panic", "own_panic"),
        to("empty first", "empty_first"),
        to("all empty", "all_empty"),
        to("unknown first", "unknown_first"),
        to("all unknown", "all_unknown"),
        to("nested", "nested"),
        to("nested first", "nested_first"),
        to("self", "self"),
        to("loop", "loop"),
        to("degraded first", "degraded_first"),
        to("all degraded", "all_degraded"),
        to("second priority", "of_second"),
        to("gap", "of_gap"),
        to("twice", "twice"),
        to("ring", "of_ring"),
        to("refusing first", "refusing_first"),
        to("connect timeout", "of_stuck"),
        to("limits of the cluster", "of_closed"),
        to("limits of the aggregate", "closed_itself"),
        on("limits of high priority", "/high", "of_closed"),
        on(
            "limits of the aggregate of high priority",
            "/high",
            "closed_itself",
        ),
        to("stream duration of the cluster", "of_slow").origin(late.clone()),
        to("stream duration of the aggregate", "slow_itself").origin(late.clone()),
        to("requests of a connection", "of_once"),
        to("requests of a connection of the aggregate", "once_itself"),
        to("other name", "named"),
        to("error", "one").answer(unavailable),
        to("broken off", "one").origin([Act::Read, Act::Close]),
        to("bad response", "one").answer("HTTP/1.1 banana\r\n\r\n"),
        to("two requests", "one")
            .then(Step::Await(1))
            .then_send(get("/", "one"))
            .answers(2),
        on("retries", "/retry", "all_refusing"),
        on("retries of an answer", "/retry", "one").answer(unavailable),
        on("retries of nobody", "/retry", "all_empty"),
        on("retries without room", "/retry", "closed_refusing"),
        on("retries in a closed cluster", "/retry", "of_closed"),
        on("previous priorities", "/previous", "refusing_first"),
        on("previous priorities of one", "/previous", "all_refusing"),
        on(
            "previous priorities of degraded",
            "/previous",
            "degraded_first",
        ),
        on("timeout", "/timeout", "one").origin(late.clone()),
        // The connection is given up later than the request, and counted then.
        on("timeout while connecting", "/timeout", "of_stuck")
            .then(Step::Await(1))
            .then(Step::AwaitStat(
                "cluster.stuck.upstream_cx_active".into(),
                0,
                None,
            )),
        on("timeout of a try", "/per-try", "one").origin(late),
        on("mirror", "/mirror", "one"),
        case(
            "body",
            "all",
            "POST / HTTP/1.1\r\nhost: a\r\nx-cluster: one\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case(
            "retries with a body",
            "all",
            "POST /previous HTTP/1.1\r\nhost: a\r\nx-cluster: refusing_first\r\ncontent-length: 5\r\n\r\nhello",
        ),
    ]
}

/// Aggregates compared with the real Envoy.
#[test]
fn aggregates() {
    Comparison {
        suite: Suite::Routing("aggregates"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("aggregates");
}
