//! What a listener asks of its sockets, as far as a client sees it.

use std::net::{SocketAddr, TcpStream};

use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};
use socket2::SockRef;

/// A listener with these fields, whose connections are ended at once.
fn listener(name: &str, more: &str) -> String {
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
{more}
    filter_chains:
    - filters:
      - {{ name: direct, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config }} }}
"
    )
}

/// The largest segment that the listener takes (level 6, name 2) is told to
/// clients.
const CASES: &[(&str, &str)] = &[
    ("plain", ""),
    (
        "before",
        "    socket_options: [ { level: 6, name: 2, int_value: 600, state: STATE_PREBIND } ]",
    ),
    (
        "bound",
        "    socket_options: [ { level: 6, name: 2, int_value: 700, state: STATE_BOUND } ]",
    ),
    (
        "listening",
        "    socket_options: [ { level: 6, name: 2, buf_value: IAMAAA==, state: STATE_LISTENING } ]",
    ),
    (
        "of_the_other_family",
        "    socket_options: [ { level: 6, name: 2, int_value: 900, \
         ip_version: SOCKET_IP_VERSION_IPV6 } ]",
    ),
    (
        "of_another_kind",
        "    socket_options: [ { level: 6, name: 2, int_value: 900, type: { datagram: {} } } ]",
    ),
    (
        "kinds",
        "    freebind: true\n    tcp_fast_open_queue_length: 5",
    ),
    (
        "one_socket",
        "    enable_reuse_port: false\n    tcp_backlog_size: 3",
    ),
    (
        "balanced",
        "    connection_balance_config: { exact_balance: {} }",
    ),
];

/// All wishes are below it, and what the kernel likes is above.
const WISHES: u32 = 1000;

/// The largest segments that clients may send, where a listener has a wish; what the
/// kernel likes depends on what else it is doing.
fn observe(program: &Program) -> Vec<(String, Option<u32>)> {
    let listeners: String = (CASES.iter())
        .map(|(name, more)| listener(name, more))
        .collect();
    let process = Process::start(
        program,
        &format!(
            "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
{listeners}"
        ),
    );
    let told = |address: SocketAddr| {
        let stream = TcpStream::connect(address).expect("the listener takes connections");
        let segment = SockRef::from(&stream).tcp_mss().expect("an option");
        (segment < WISHES).then_some(segment)
    };
    CASES
        .iter()
        .map(|(name, _)| ((*name).to_owned(), told(process.listener(name))))
        .collect()
}

#[test]
fn options_are_those_of_envoys_sockets() {
    let seen = as_in_envoy("options_are_those_of_envoys_sockets", observe);
    let Some(seen) = seen else {
        return;
    };
    let wished = seen.iter().filter(|(_, segment)| segment.is_some());
    let wished: Vec<_> = wished.map(|(case, _)| case.as_str()).collect();
    assert_eq!(wished, ["before", "bound", "listening"]);
}
