//! TLS in front of a TCP proxy, behind it, and through it: chains by the name of the
//! server that a client asks for, without taking the TLS off.

use crate::acts::client_hello;
use crate::scene::{
    Act, Case, Listener, Suite, Who, case, client_sends, host_sends, listener, proxied,
};

const TERMINATED: &str = "
transport_socket:
  name: tls
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context: { tls_certificates: [ {CERTIFICATE} ] }
";

const LISTENERS: &[Listener] = &[
    // Plain on the client's side, TLS to `back`, which takes it off again.
    listener("front", proxied!("cluster: back")),
    Listener {
        chain: TERMINATED,
        at_path: true,
        ..listener("back", proxied!("cluster: one"))
    },
    Listener {
        chain: TERMINATED,
        ..listener("terminated", proxied!("cluster: one"))
    },
    // Its host speaks no TLS.
    listener("mistaken", proxied!("cluster: mistaken")),
    Listener {
        more: "
listener_filters:
- name: inspector
  typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
",
        chains: concat!(
            "- name: first\n  filter_chain_match: { server_names: [ a.com ] }\n  filters:\n  ",
            "- { name: tcp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, {LOG}, cluster: one } }\n",
            "- name: second\n  filter_chain_match: { server_names: [ \"*.b.com\" ] }\n  filters:\n  ",
            "- { name: tcp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: b, {LOG}, cluster: two } }\n",
        ),
        chain: "filter_chain_match: { transport_protocol: raw_buffer }",
        ..listener("by_name", proxied!("cluster: three"))
    },
];

const CLUSTERS: &str = r#"
- name: one
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
- name: two
  load_assignment:
    cluster_name: two
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST1} } } }
- name: three
  load_assignment:
    cluster_name: three
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST2} } } }
- name: back
  transport_socket: &tls
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      # When sessions are taken up again is another test's subject.
      max_session_keys: 0
  load_assignment:
    cluster_name: back
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { pipe: { path: "{DIR}/back.sock" } } }
- name: mistaken
  transport_socket: *tls
  load_assignment:
    cluster_name: mistaken
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST3} } } }
"#;

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let through = |name: &'static str, server: &str, host: usize| {
        let hello = client_hello(server);
        let acts = [
            client_sends(&hello),
            Act::Accept(host),
            Act::Read(Host, hello.len()),
            host_sends("not TLS at all, which is nobody's business here"),
            Act::Read(Client, 47),
            Act::Close(Client),
            Act::ReadToEnd(Host),
            Act::Close(Host),
        ];
        case(name, "by_name", &acts)
    };
    let large: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
    vec![
        case(
            "TLS to the host, and the client ends first",
            "front",
            &[
                Act::Accept(0),
                client_sends("question"),
                Act::Read(Host, 8),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                host_sends("answer"),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
            ],
        ),
        case(
            "TLS to the host, and the host ends first",
            "front",
            &[
                Act::Accept(0),
                host_sends("welcome"),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
                client_sends("thanks"),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
            ],
        )
        // Envoy lets the client go before its host has got all; ours waits for that.
        .without(&["upstream_flush"]),
        case(
            "TLS to the host, and much in both directions",
            "front",
            &[
                Act::Accept(0),
                Act::Exchange(large.clone(), large),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
            ],
        )
        .without(&["flow_control"]),
        case(
            "a client that shakes no hands",
            "terminated",
            &[
                Act::Accept(0),
                client_sends("this is no TLS"),
                Act::ReadToEnd(Host),
                Act::Finish(Host),
            ],
        ),
        case(
            "a client that says nothing",
            "terminated",
            &[
                Act::Accept(0),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Finish(Host),
            ],
        ),
        case(
            "a host that shakes no hands",
            "mistaken",
            &[
                Act::Accept(3),
                host_sends("this is no TLS"),
                Act::ReadToEnd(Client),
            ],
        ),
        through("a server by its name", "a.com", 0),
        through("a server by a part of its name", "x.b.com", 1),
        case(
            "a client without TLS",
            "by_name",
            &[
                client_sends("GET / HTTP/1.0\r\n\r\n"),
                Act::Accept(2),
                Act::Read(Host, 18),
                Act::Close(Client),
                Act::ReadToEnd(Host),
                Act::Close(Host),
            ],
        ),
        case(
            "a server that nobody knows",
            "by_name",
            &[client_sends(client_hello("c.com")), Act::Skip(Client, 1)],
        )
        .log_lines(0),
    ]
}

#[test]
fn tls_is_taken_off_put_on_and_carried_as_by_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("tls_is_taken_off_put_on_and_carried_as_by_envoy");
}
