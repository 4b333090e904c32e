//! Access logs of listeners: what is said there of a connection, whoever has ended it.

use std::time::Duration;

use crate::acts::{client_hello, exchange, whole};
use crate::scene::{
    Act, Case, Listener, Suite, Who, before_proxy, case, client_sends, listener, proxied,
};

const LOGGED: &str = "{LOG}";

const PROXIED: &str = "
{LOG}
listener_filters_timeout: 0.2s
listener_filters: [ { name: proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } } ]
";

const INSPECTED: &str = "
{LOG}
listener_filters: [ { name: inspector, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ]
";

/// A connection manager that answers by itself.
macro_rules! manager {
    () => {
        r#"
- name: manager
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
    stat_prefix: http
    route_config:
      virtual_hosts:
      - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, direct_response: { status: 204 } } ] }
    http_filters:
    - { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
"#
    };
}

const LISTENERS: &[Listener] = &[
    Listener {
        more: LOGGED,
        ..listener("bytes", proxied!("cluster: host0"))
    },
    Listener {
        more: LOGGED,
        ..listener("refused", proxied!("cluster: refused"))
    },
    Listener {
        more: LOGGED,
        ..listener(
            "denied",
            before_proxy!("rbac.v3.RBAC", "stat_prefix: rbac, rules: {}"),
        )
    },
    Listener {
        more: LOGGED,
        ..listener(
            "object",
            before_proxy!(
                "set_filter_state.v3.Config",
                "on_new_connection: [ { object_key: test.object, factory_key: envoy.string, \
                 format_string: { text_format_source: { inline_string: left } } } ]"
            ),
        )
    },
    Listener {
        more: LOGGED,
        ..listener(
            "echo",
            "
- { name: echo, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }
",
        )
    },
    Listener {
        more: LOGGED,
        ..listener(
            "response",
            "
- { name: response, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: { inline_string: hello } } }
",
        )
    },
    Listener {
        more: LOGGED,
        ..listener("requests", manager!())
    },
    Listener {
        more: LOGGED,
        ..listener(
            "requests_denied",
            concat!(
                "
- { name: rbac, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: rbac, rules: {} } }
",
                manager!()
            ),
        )
    },
    Listener {
        more: PROXIED,
        ..listener("proxied", proxied!("cluster: host0"))
    },
    Listener {
        more: PROXIED,
        ..listener("proxied_requests", manager!())
    },
    Listener {
        more: INSPECTED,
        chain: "filter_chain_match: { server_names: [ a.test ] }",
        ..listener("inspected", proxied!("cluster: host0"))
    },
];

const CLUSTERS: &str = r#"
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: refused
  load_assignment: { cluster_name: refused, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } } } ] } ] }
"#;

const HEADER: &str = "PROXY TCP4 127.0.0.2 127.0.0.3 9 10\r\n";

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let request = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let answered = [
        client_sends(request),
        Act::Skip(Client, 27),
        Act::Close(Client),
    ];
    // How long a response is, its date and the rest, is others' to compare.
    let of_requests = |name, listener, acts: &[Act]| case(name, listener, acts).without(&["sent="]);
    let close = [Act::Close(Client)];
    vec![
        case("bytes", "bytes", &whole(0, "hello")).log_lines(2),
        case(
            "a reset",
            "bytes",
            &[
                exchange(0, "hello"),
                vec![Act::Reset(Client), Act::ReadToEnd(Host)],
            ]
            .concat(),
        )
        .log_lines(2),
        case("no host", "refused", &[Act::ReadToEnd(Client)]).log_lines(2),
        case(
            "a denial",
            "denied",
            &[
                Act::Accept(0),
                client_sends("hello"),
                Act::ReadToEnd(Client),
                Act::ReadToEnd(Host),
            ],
        )
        .log_lines(2),
        case("an object", "object", &whole(0, "hello")).log_lines(2),
        case(
            "an echo",
            "echo",
            &[
                client_sends("hello"),
                Act::Read(Client, 5),
                Act::Close(Client),
            ],
        ),
        case("a response", "response", &[Act::ReadToEnd(Client)]),
        of_requests("a request", "requests", &answered),
        of_requests(
            "two requests",
            "requests",
            &[
                client_sends(request),
                Act::Skip(Client, 27),
                client_sends(request),
                Act::Skip(Client, 27),
                Act::Close(Client),
            ],
        ),
        of_requests(
            "a request of HTTP/1.0",
            "requests",
            &[
                client_sends("GET / HTTP/1.0\r\nhost: h\r\n\r\n"),
                Act::Skip(Client, 8),
                Act::Close(Client),
            ],
        ),
        of_requests(
            "no request",
            "requests",
            &[
                client_sends("nonsense\r\n\r\n"),
                Act::Skip(Client, 12),
                Act::Close(Client),
            ],
        ),
        of_requests(
            "a part of a request",
            "requests",
            &[
                client_sends("GET / HT"),
                Act::Wait(Duration::from_millis(100)),
                Act::Close(Client),
            ],
        ),
        of_requests("nothing", "requests", &close),
        of_requests(
            "HTTP/2",
            "requests",
            &[
                client_sends("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
                Act::Skip(Client, 9),
                Act::Close(Client),
            ],
        ),
        of_requests(
            "a request that is denied",
            "requests_denied",
            &[client_sends(request), Act::ReadToEnd(Client)],
        ),
        case(
            "a header of PROXY protocol",
            "proxied",
            &[
                client_sends(format!("{HEADER}hello")),
                Act::Accept(0),
                Act::Read(Host, 5),
                Act::Close(Client),
                Act::ReadToEnd(Host),
            ],
        )
        .log_lines(2),
        case(
            "another header",
            "proxied",
            &[client_sends("no header\r\n"), Act::ReadToEnd(Client)],
        ),
        case("no header in time", "proxied", &[Act::ReadToEnd(Client)]),
        case(
            "a client that leaves",
            "proxied",
            &[client_sends("PROXY"), Act::Close(Client)],
        ),
        of_requests(
            "a request behind a header",
            "proxied_requests",
            &[
                client_sends(format!("{HEADER}{request}")),
                Act::Skip(Client, 27),
                Act::Close(Client),
            ],
        ),
        case("a chain", "inspected", &whole(0, client_hello("a.test"))).log_lines(2),
        case(
            "no chain",
            "inspected",
            &[client_sends(client_hello("b.test")), Act::ReadToEnd(Client)],
        ),
    ]
}

#[test]
fn listeners_log_what_envoys_do() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("listeners_log_what_envoys_do");
}
