//! Connections that go through another proxy: what it is asked, what its answers lead
//! to, and how such a connection ends.

use ringway_tests::process::Program;
use ringway_tests::programs;

use crate::scene::{
    Act, Case, Listener, Scene, Suite, Who, case, client_sends, host_sends, listener, proxied,
};

/// A connection manager that takes CONNECT and POST off again.
const BEHIND: &str = r#"
- name: manager
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
    stat_prefix: behind
    http2_protocol_options: { allow_connect: true }
    upgrade_configs: [ { upgrade_type: CONNECT } ]
    route_config:
      virtual_hosts:
      - name: all
        domains: [ "host.example:443" ]
        routes:
        - match: { connect_matcher: {} }
          route: { cluster: one, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: { allow_post: true } } ] }
        - match: { prefix: "/" }
          route: { cluster: one, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: { allow_post: true } } ] }
    http_filters:
    - name: router
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

/// A proxy to a cluster whose connections go through a tunnel, with more fields of its own
/// and of the tunnel.
macro_rules! tunnel {
    ($cluster:literal, $fields:literal, $more:literal) => {
        proxied!(concat!(
            "cluster: ",
            $cluster,
            ", ",
            $fields,
            " tunneling_config: { hostname: \"host.example:443\", ",
            $more,
            " }"
        ))
    };
}

/// A tunnel in a body whose trailers are told.
const POST_TOLD: Listener = listener(
    "post_told",
    tunnel!(
        "one",
        "",
        "use_post: true, post_path: /way, propagate_response_trailers: true"
    ),
);

const LISTENERS: &[Listener] = &[
    listener("connect", tunnel!("one", "", "")),
    listener(
        "told",
        tunnel!(
            "one",
            "max_connect_attempts: 2,",
            "propagate_response_headers: true, propagate_response_trailers: true"
        ),
    ),
    listener(
        "http2_told",
        tunnel!(
            "back",
            "",
            "propagate_response_headers: true, propagate_response_trailers: true"
        ),
    ),
    listener("twice", tunnel!("one", "max_connect_attempts: 2,", "")),
    listener(
        "post",
        tunnel!("one", "", "use_post: true, post_path: /way"),
    ),
    listener(
        "headers",
        proxied!(
            "cluster: one, tunneling_config: { \
             hostname: \"%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%:443\", headers_to_add: [ \
             { header: { key: x-from, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\" } }, \
             { header: { key: x-from, value: two } }, \
             { header: { key: x-from, value: three }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }, \
             { header: { key: x-empty, value: \"\" } } ] }"
        ),
    ),
    listener("refused", tunnel!("refused", "", "")),
    listener("http2", tunnel!("back", "", "")),
    listener("http2_post", tunnel!("back", "", "use_post: true")),
    listener(
        "http2_unknown",
        proxied!("cluster: back, tunneling_config: { hostname: \"nobody.example:443\" }"),
    ),
];

const ONE: &str = r#"
- name: one
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: { http_protocol_options: { enable_trailers: true } }
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
"#;

const CLUSTERS: &str = r#"
- name: one
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: refused
  load_assignment:
    cluster_name: refused
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } }
- name: back
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      # Nothing of one case is left for the next one.
      common_http_protocol_options: { idle_timeout: 0.1s }
      explicit_http_config: { http2_protocol_options: { allow_connect: true } }
  load_assignment:
    cluster_name: back
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {BEHIND} } } }
"#;

/// What the other proxy is asked.
const CONNECT: &str = "CONNECT host.example:443 HTTP/1.1\r\nhost: host.example:443\r\n\r\n";

const POST: &str =
    "POST /way HTTP/1.1\r\nhost: host.example:443\r\ntransfer-encoding: chunked\r\n\r\n";

/// What Envoy counts twice of a tunnel, and what a stream of HTTP/2 takes on the wire.
const UNEQUAL: &[&str] = &[
    "upstream_wire",
    "http2.",
    "_reset",
    "back.upstream_cx_rx_bytes",
    "back.upstream_cx_tx_bytes",
];

/// The same, and words with a digit before a colon, of which one is a time.
const UNEQUAL_AND_TIMES: &[&str] = &[
    "upstream_wire",
    "http2.",
    "_reset",
    "back.upstream_cx_rx_bytes",
    "back.upstream_cx_tx_bytes",
    "0:",
    "1:",
    "2:",
    "3:",
    "4:",
    "5:",
    "6:",
    "7:",
    "8:",
    "9:",
];

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    // How it ends.
    let client_ends = [
        Act::Finish(Client),
        Act::ReadToEnd(Host),
        Act::ReadToEnd(Client),
    ];
    let proxy_ends = [Act::ReadToEnd(Host), Act::ReadToEnd(Client)];
    let client_resets = [Act::Reset(Client), Act::ReadToEnd(Host)];
    let host_resets = [Act::Reset(Host), Act::ReadToEnd(Client)];
    let host_closes = [Act::Close(Host), Act::ReadToEnd(Client)];
    let last = [&client_ends[..2], &[host_sends("last")], &host_closes].concat();
    // What goes through it before.
    let talk = |read, end: &[Act]| [&[Act::Read(Client, 5), Act::Read(Host, read)], end].concat();
    // Another attempt, and its answer.
    let again = |answer: &str, end: &[Act]| {
        let asked = [Act::Accept(0), Act::Read(Host, CONNECT.len())];
        [&asked[..], &[host_sends(answer)], end].concat()
    };
    let ok = "HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nearly";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Odd\r\n\r\nearly";
    let forbidden = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nno";
    let taken_again = again("HTTP/1.1 200 OK\r\n\r\nearly", &talk(5, &client_ends));
    let headers = "HTTP/1.1 200 OK\r\nX-A: b\r\nx-b: \"\\\r\nx-a: c\r\n\r\nearly";
    let busy_told = "HTTP/1.1 503 Busy\r\ncontent-length: 2\r\nx-a: b\r\n\r\nno";
    let refused_again = again(
        "HTTP/1.1 403 No\r\ncontent-length: 2\r\nx-c: d\r\n\r\nno",
        &proxy_ends,
    );
    let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n";
    let asked = [
        (
            "a tunnel whose client ends",
            "connect",
            CONNECT,
            ok,
            talk(5, &client_ends),
        ),
        (
            "a tunnel whose client resets",
            "connect",
            CONNECT,
            ok,
            talk(5, &client_resets),
        ),
        (
            "a tunnel whose host resets",
            "connect",
            CONNECT,
            ok,
            talk(5, &host_resets),
        ),
        (
            "a tunnel behind an interim response",
            "connect",
            CONNECT,
            interim,
            talk(5, &client_ends),
        ),
        (
            "a tunnel that is refused",
            "connect",
            CONNECT,
            forbidden,
            proxy_ends.to_vec(),
        ),
        (
            "a tunnel that is refused once",
            "twice",
            CONNECT,
            busy,
            taken_again,
        ),
        (
            "headers that are told",
            "told",
            CONNECT,
            headers,
            talk(5, &client_ends),
        ),
        (
            "headers of a refusal that are told",
            "told",
            CONNECT,
            busy_told,
            refused_again,
        ),
        ("no answer", "connect", CONNECT, "", host_closes.to_vec()),
        (
            "an answer that is none",
            "connect",
            CONNECT,
            "nonsense\r\n\r\n",
            proxy_ends.to_vec(),
        ),
        (
            "a tunnel in a body",
            "post",
            POST,
            chunk,
            talk(10, &client_ends),
        ),
    ];
    let asked = asked.map(|(name, listener, request, answer, acts)| {
        let begin = [
            Act::Accept(0),
            client_sends("hello"),
            Act::Read(Host, request.len()),
            host_sends(answer),
        ];
        case(name, listener, &[&begin[..], &acts].concat()).without(&["upstream_wire"])
    });
    let streams: [(_, _, &[Act], _); 5] = [
        ("a stream whose client ends first", "http2", &last, UNEQUAL),
        (
            "a stream whose host ends first",
            "http2",
            &host_closes,
            UNEQUAL,
        ),
        (
            "a stream whose headers are told",
            "http2_told",
            &host_closes,
            UNEQUAL_AND_TIMES,
        ),
        (
            "a stream whose client resets",
            "http2",
            &client_resets,
            UNEQUAL,
        ),
        ("a stream in a body", "http2_post", &last, UNEQUAL),
    ];
    let streams = streams.map(|(name, listener, acts, unequal)| {
        let begin = [
            Act::Accept(0),
            client_sends("hello"),
            Act::Read(Host, 5),
            host_sends("early"),
            Act::Read(Client, 5),
        ];
        case(name, listener, &[&begin, acts].concat()).without(unequal)
    });
    let made = [
        Act::Accept(0),
        Act::Read(Host, 81),
        host_sends("HTTP/1.1 200 OK\r\n\r\n"),
        Act::Close(Client),
        Act::ReadToEnd(Host),
    ];
    let refused = [Act::ReadToEnd(Client)];
    let others = [
        case("headers made of the connection", "headers", &made).without(&["upstream_wire"]),
        case("nobody to ask", "refused", &[Act::ReadToEnd(Client)]),
        case("a stream that is refused", "http2_unknown", &refused).without(UNEQUAL),
    ];
    asked.into_iter().chain(streams).chain(others).collect()
}

#[test]
fn tunnels_are_those_of_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: BEHIND,
        cases,
    };
    suite.run("tunnels_are_those_of_envoy");
}

/// A tunnel to a connection manager of the same program, which takes CONNECT off.
const OWN_LISTENERS: &[Listener] = &[
    listener("own", tunnel!("own", "", "")),
    Listener {
        at_path: true,
        ..listener("takes_off", BEHIND)
    },
];

const OWN_CLUSTERS: &str = r#"
- name: one
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: own
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      # Nothing of one case is left for the next one.
      common_http_protocol_options: { idle_timeout: 0.1s }
      explicit_http_config: { http2_protocol_options: { allow_connect: true } }
  load_assignment:
    cluster_name: own
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { pipe: { path: "{DIR}/takes_off.sock" } } }
"#;

/// What is not equal of both ends of a tunnel.
const UNEQUAL_OF_BOTH: &[&str] = &[
    "upstream_wire",
    "http2.",
    "_reset",
    "own.upstream_cx_rx_bytes",
    "own.upstream_cx_tx_bytes",
    "flow_control",
    // Counted when they are on their way, whether or not the client takes them.
    "tcp.own.downstream_cx_tx_bytes_total",
];

/// How much a host sends until it notices depends on who is faster.
const UNEQUAL_OF_RESET: &[&str] = &[
    "sent=",
    "downstream_wire",
    "upstream_wire",
    "http2.",
    "_reset",
    "own.upstream_cx_rx_bytes",
    "own.upstream_cx_tx_bytes",
    "one.upstream_cx_rx_bytes",
    "flow_control",
    "tcp.own.downstream_cx_tx_bytes_total",
];

/// As in `UNEQUAL_OF_BOTH`, and Envoy says that it has closed the connection to the host.
const UNEQUAL_OF_HOST_FIRST: &[&str] = &[
    "upstream_wire",
    "http2.",
    "_reset",
    "own.upstream_cx_rx_bytes",
    "own.upstream_cx_tx_bytes",
    "one.upstream_cx_destroy",
    "flow_control",
    "tcp.own.downstream_cx_tx_bytes_total",
];

/// What a client that has ended is still sent.
fn after_the_end() -> Vec<Case> {
    use Who::{Client, Host};
    let bytes = |count: u32| (0..count).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    let talk = |acts: &[Act]| {
        let begin = [
            Act::Accept(0),
            client_sends("hello"),
            Act::Read(Host, 5),
            host_sends("early"),
            Act::Read(Client, 5),
        ];
        [&begin, acts].concat()
    };
    let answered = |name, count| {
        let acts = talk(&[
            Act::Exchange(bytes(count), Vec::new()),
            Act::Finish(Client),
            Act::ReadToEnd(Host),
            Act::Exchange(Vec::new(), bytes(count)),
            Act::Close(Host),
            Act::ReadToEnd(Client),
        ]);
        case(name, "own", &acts).without(UNEQUAL_OF_BOTH)
    };
    let host_first = |name, count| {
        let acts = talk(&[Act::Say(bytes(count)), Act::Close(Host)]);
        case(name, "own", &acts).without(UNEQUAL_OF_HOST_FIRST)
    };
    let resets = talk(&[
        Act::Finish(Client),
        Act::ReadToEnd(Host),
        Act::Reset(Client),
        Act::SendToEnd(Host),
    ]);
    vec![
        answered("one byte behind the end", 1),
        answered("some bytes behind the end", 65_537),
        answered("many bytes behind the end", 1 << 20),
        case("a reset behind the end", "own", &resets).without(UNEQUAL_OF_RESET),
        host_first("the host ends first", 1),
        host_first("the host says much and ends first", 1 << 20),
        host_first("the host says very much and ends first", 5 << 20),
    ]
}

#[test]
fn streams_end_by_halves_as_in_envoy() {
    let suite = Suite {
        listeners: OWN_LISTENERS,
        clusters: OWN_CLUSTERS,
        behind: "",
        cases: after_the_end,
    };
    suite.run("streams_end_by_halves_as_in_envoy");
}

/// Envoy 1.40 does not survive a host that ends the body of such a tunnel first.
#[test]
fn trailers_of_a_tunnel_are_told() {
    use Who::{Client, Host};
    let suite = Suite {
        listeners: &[POST_TOLD],
        clusters: ONE,
        behind: "",
        cases: Vec::new,
    };
    let case = case(
        "trailers",
        "post_told",
        &[
            Act::Accept(0),
            client_sends("hello"),
            Act::Read(Host, POST.len()),
            host_sends("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n"),
            Act::Read(Client, 5),
            host_sends("0\r\nX-T: u\r\nx-u: v\r\n\r\n"),
            Act::ReadToEnd(Client),
        ],
    );
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let seen = Scene::start(&program, &suite).play(&case).join("\n");
        let told = r#"trailers={"headers":[{"key":"x-t","value":"u"},{"key":"x-u","value":"v"}]}"#;
        assert!(seen.contains(told), "{}: {seen}", program.name());
    }
}
