//! Connections that get no host, or lose it.

use ringway_tests::tries::one_of_some;

use crate::scene::{Act, Case, Listener, Suite, Who, case, client_sends, listener, proxied};

const LISTENERS: &[Listener] = &[
    listener("refused", proxied!("cluster: refused")),
    listener(
        "refused_often",
        proxied!("cluster: refused, max_connect_attempts: 3"),
    ),
    listener(
        "refused_slowly",
        proxied!(
            "cluster: refused, max_connect_attempts: 3, \
             backoff_options: { base_interval: 0.02s, max_interval: 0.03s }"
        ),
    ),
    listener("stuck", proxied!("cluster: stuck")),
    listener(
        "stuck_twice",
        proxied!("cluster: stuck, max_connect_attempts: 2"),
    ),
    listener(
        "stuck_short",
        proxied!("cluster: stuck_long, max_downstream_connection_duration: 0.2s"),
    ),
    listener("unknown", proxied!("cluster: unknown")),
    listener("empty", proxied!("cluster: empty")),
    listener("unhealthy", proxied!("cluster: unhealthy")),
    listener("limited", proxied!("cluster: limited")),
    listener("no_waiting", proxied!("cluster: no_waiting")),
    listener(
        "no_waiting_twice",
        proxied!("cluster: no_waiting, max_connect_attempts: 2"),
    ),
];

const CLUSTERS: &str = "
- name: refused
  load_assignment:
    cluster_name: refused
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } }
- name: stuck
  connect_timeout: 0.2s
  load_assignment:
    cluster_name: stuck
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {STUCK} } } }
- name: stuck_long
  connect_timeout: 20s
  load_assignment:
    cluster_name: stuck_long
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {STUCK} } } }
- name: empty
  load_assignment: { cluster_name: empty }
- name: unhealthy
  common_lb_config: { healthy_panic_threshold: { value: 0 } }
  load_assignment:
    cluster_name: unhealthy
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
        health_status: UNHEALTHY
- name: pair
  load_assignment:
    cluster_name: pair
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } }
    - priority: 1
      lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
  outlier_detection: { consecutive_local_origin_failure: 1, split_external_local_origin_errors: true, enforcing_consecutive_local_origin_failure: 100, max_ejection_percent: 100, base_ejection_time: 60s }
- name: limited
  circuit_breakers: { thresholds: [ { max_connections: 1 } ] }
  load_assignment:
    cluster_name: limited
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: no_waiting
  circuit_breakers: { thresholds: [ { max_pending_requests: 0 } ] }
  load_assignment:
    cluster_name: no_waiting
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
";

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let mut cases: Vec<Case> = [
        ("a host that refuses", "refused"),
        ("a host that refuses three times", "refused_often"),
        ("a host that refuses with time between", "refused_slowly"),
        ("a host that does not answer", "stuck"),
        ("a host that does not answer twice", "stuck_twice"),
        ("a host that does not answer in a short time", "stuck_short"),
        ("no cluster", "unknown"),
        ("no host", "empty"),
        ("no healthy host", "unhealthy"),
        ("no place to wait", "no_waiting"),
        ("no place to wait, twice", "no_waiting_twice"),
    ]
    .into_iter()
    .map(|(name, listener)| case(name, listener, &[Act::ReadToEnd(Client)]))
    .collect();
    cases.extend([
        case(
            "a client that has spoken to nobody",
            "stuck",
            &[client_sends("hello"), Act::ReadToEnd(Client)],
        ),
        case(
            "a client that has ended before",
            "stuck",
            &[
                client_sends("hello"),
                Act::Finish(Client),
                Act::ReadToEnd(Client),
            ],
        ),
        case(
            "a client that has left before",
            "stuck",
            &[
                client_sends("hello"),
                Act::Await("cluster.stuck.upstream_cx_active", 1),
                Act::Reset(Client),
            ],
        ),
        case(
            "a client that is refused a host that others have",
            "limited",
            &[
                Act::Accept(0),
                client_sends("first"),
                Act::Read(Host, 5),
                Act::Connect,
                Act::Await("cluster.limited.upstream_cx_overflow", 1),
                Act::ReadToEnd(Client),
                Act::Close(Host),
            ],
        )
        .log_lines(2),
        case(
            "one connection too many",
            "limited",
            &[
                Act::Accept(0),
                client_sends("first"),
                Act::Read(Host, 5),
                Act::Connect,
                Act::ReadToEnd(Client),
                Act::Close(Host),
            ],
        )
        .log_lines(2),
    ]);
    cases
}

#[test]
fn connections_without_a_host_end_as_envoys() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("connections_without_a_host_end_as_envoys");
}

const PAIR_LISTENERS: &[Listener] = &[listener(
    "pair",
    proxied!(
        "cluster: pair, max_connect_attempts: 2, \
         backoff_options: { base_interval: 1s, max_interval: 1s }"
    ),
)];

fn pair_cases() -> Vec<Case> {
    use Who::{Client, Host};
    let acts = [
        Act::Accept(0),
        client_sends("hello"),
        Act::Read(Host, 5),
        Act::Close(Client),
        Act::ReadToEnd(Host),
        Act::Close(Host),
    ];
    vec![case("the second host takes it", "pair", &acts)]
}

/// The first one is ejected meanwhile. That takes a moment, which the wait for the next
/// attempt is usually longer than: it is anything up to a second.
#[test]
fn the_next_attempt_finds_another_host() {
    one_of_some(|| {
        let suite = Suite {
            listeners: PAIR_LISTENERS,
            clusters: CLUSTERS,
            behind: "",
            cases: pair_cases,
        };
        suite.run("the_next_attempt_finds_another_host");
    });
}

const CHECKED_LISTENERS: &[Listener] = &[
    listener("checked", proxied!("cluster: checked")),
    listener("kept", proxied!("cluster: kept")),
];

const CHECKED: &str = "
- name: checked
  close_connections_on_host_health_failure: true
  common_lb_config: { healthy_panic_threshold: { value: 0 } }
  health_checks: [ { timeout: 1s, interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]
  load_assignment:
    cluster_name: checked
    endpoints:
    - lb_endpoints:
      - endpoint:
          address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } }
          health_check_config: { port_value: {HOST1} }
- name: kept
  common_lb_config: { healthy_panic_threshold: { value: 0 } }
  health_checks: [ { timeout: 1s, interval: 0.1s, no_traffic_interval: 0.1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]
  load_assignment:
    cluster_name: kept
    endpoints:
    - lb_endpoints:
      - endpoint:
          address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } }
          health_check_config: { port_value: {HOST2} }
";

/// A host whose checks fail while a connection to it is in use.
fn checked() -> Vec<Case> {
    use Who::{Client, Host};
    let checks = &["health_check", "lb_", "membership"];
    vec![
        case(
            "a host that fails a check",
            "checked",
            &[
                Act::Accept(0),
                client_sends("hello"),
                Act::Read(Host, 5),
                Act::Deafen(1),
                Act::ReadToEnd(Client),
                Act::ReadToEnd(Host),
            ],
        )
        .without(checks),
        case(
            "a host that fails a check, which is its own business",
            "kept",
            &[
                Act::Accept(0),
                client_sends("hello"),
                Act::Read(Host, 5),
                Act::Deafen(2),
                Act::Await("cluster.kept.membership_healthy", 0),
                client_sends("again"),
                Act::Read(Host, 5),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        )
        .without(checks),
    ]
}

#[test]
fn connections_to_hosts_that_fail_end_where_they_should() {
    let suite = Suite {
        listeners: CHECKED_LISTENERS,
        clusters: CHECKED,
        behind: "",
        cases: checked,
    };
    suite.run("connections_to_hosts_that_fail_end_where_they_should");
}
