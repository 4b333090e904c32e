//! When a connection is logged besides its end.

use crate::scene::{Act, Case, Listener, Suite, Who, case, client_sends, listener, proxied};

const LISTENERS: &[Listener] = &[
    listener(
        "all",
        proxied!(
            "cluster: one, access_log_options: { flush_access_log_on_start: true, \
             flush_access_log_on_connected: true, access_log_flush_interval: 1s }"
        ),
    ),
    listener(
        "connected",
        proxied!("cluster: one, flush_access_log_on_connected: true"),
    ),
    listener(
        "interval",
        proxied!("cluster: stuck, access_log_flush_interval: 1s"),
    ),
    listener(
        "refused",
        proxied!(
            "cluster: refused, access_log_options: { flush_access_log_on_start: true, \
             flush_access_log_on_connected: true }"
        ),
    ),
];

const CLUSTERS: &str = "
- name: one
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: stuck
  connect_timeout: 2.5s
  load_assignment:
    cluster_name: stuck
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {STUCK} } } }
- name: refused
  load_assignment:
    cluster_name: refused
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } }
";

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    // The client leaves when there are so many lines, long before the next.
    let acts = |lines| {
        [
            Act::Accept(0),
            client_sends("hello"),
            Act::Read(Host, 5),
            Act::AwaitLog(lines),
            Act::Close(Client),
            Act::ReadToEnd(Host),
            Act::Close(Host),
        ]
    };
    vec![
        case("a line for everything", "all", &acts(4)).log_lines(5),
        case("a line for the host's connection", "connected", &acts(1)).log_lines(2),
        case(
            "lines while a host is waited for",
            "interval",
            &[Act::ReadToEnd(Client)],
        )
        .log_lines(3),
        case(
            "no line for a connection that is none",
            "refused",
            &[Act::ReadToEnd(Client)],
        )
        .log_lines(2),
    ]
}

#[test]
fn connections_are_logged_when_envoy_does() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("connections_are_logged_when_envoy_does");
}
