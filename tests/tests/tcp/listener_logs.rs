//! Access logs of listeners: what is said there of a connection, whoever has ended it.

use crate::acts::{client_hello, exchange, whole};
use crate::scene::{
    Act, Case, Listener, Suite, Who, before_proxy, case, client_sends, listener, proxied,
};

const PROXIED: &str = "
{LOG}
listener_filters_timeout: 0.2s
listener_filters: [ { name: proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } } ]
";

const INSPECTED: &str = "
{LOG}
listener_filters: [ { name: inspector, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } } ]
";

/// A network filter with these fields.
macro_rules! filter {
    ($type:literal, $fields:literal) => {
        concat!(
            "\n- { name: filter, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.",
            $type,
            ", ",
            $fields,
            " } }\n"
        )
    };
}

/// A connection manager that answers by itself.
macro_rules! manager {
    () => {
        filter!(
            "http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix: http, route_config: { virtual_hosts: [ { name: all, domains: [ \"*\" ], \
             routes: [ { match: { prefix: / }, direct_response: { status: 204 } } ] } ] }, \
             http_filters: [ { name: router, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ]"
        )
    };
}

/// A listener that logs, and what it has besides.
const fn logging(name: &'static str, more: &'static str, filters: &'static str) -> Listener {
    Listener {
        more,
        ..listener(name, filters)
    }
}

const OBJECT: &str = before_proxy!(
    "set_filter_state.v3.Config",
    "on_new_connection: [ { object_key: test.object, factory_key: envoy.string, \
     format_string: { text_format_source: { inline_string: left } } } ]"
);

const DENIED: &str = before_proxy!("rbac.v3.RBAC", "stat_prefix: rbac, rules: {}");

const RESPONSE: &str = filter!(
    "direct_response.v3.Config",
    "response: { inline_string: hello }"
);

const REQUESTS_DENIED: &str = concat!(
    filter!("rbac.v3.RBAC", "stat_prefix: rbac, rules: {}"),
    manager!()
);

const LISTENERS: &[Listener] = &[
    logging("bytes", "{LOG}", proxied!("cluster: host0")),
    logging("refused", "{LOG}", proxied!("cluster: refused")),
    logging("denied", "{LOG}", DENIED),
    logging("object", "{LOG}", OBJECT),
    logging("echo", "{LOG}", filter!("echo.v3.Echo", "")),
    logging("response", "{LOG}", RESPONSE),
    logging("requests", "{LOG}", manager!()),
    logging("requests_denied", "{LOG}", REQUESTS_DENIED),
    logging("proxied", PROXIED, proxied!("cluster: host0")),
    logging("proxied_requests", PROXIED, manager!()),
    Listener {
        chain: "filter_chain_match: { server_names: [ a.test ] }",
        ..logging("inspected", INSPECTED, proxied!("cluster: host0"))
    },
];

const CLUSTERS: &str = r#"
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: refused
  load_assignment: { cluster_name: refused, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {REFUSED} } } } } ] } ] }
"#;

const HEADER: &str = "PROXY TCP4 127.0.0.2 127.0.0.3 9 10\r\n";

/// The client sends this, and closes when it has got so many bytes.
fn sends(sent: &str, got: usize) -> Vec<Act> {
    let skip = Act::Skip(Who::Client, got);
    vec![client_sends(sent), skip, Act::Close(Who::Client)]
}

/// The client sends this, and reads to the end.
fn is_ended(sent: impl AsRef<[u8]>) -> Vec<Act> {
    vec![client_sends(sent), Act::ReadToEnd(Who::Client)]
}

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let request = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let old = "GET / HTTP/1.0\r\nhost: h\r\n\r\n";
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let nothing = vec![Act::ReadToEnd(Client)];
    let reset = [Act::Reset(Client), Act::ReadToEnd(Host)];
    let denied = [
        &[Act::Accept(0)],
        &is_ended("hello")[..],
        &[Act::ReadToEnd(Host)],
    ]
    .concat();
    let echo = vec![
        client_sends("hello"),
        Act::Read(Client, 5),
        Act::Close(Client),
    ];
    let leaves = vec![client_sends("PROXY"), Act::Close(Client)];
    let carried = vec![
        client_sends(format!("{HEADER}hello")),
        Act::Accept(0),
        Act::Read(Host, 5),
        Act::Close(Client),
        Act::ReadToEnd(Host),
    ];
    let part = vec![client_sends("GET / HT"), Act::Close(Client)];
    let twice = [&sends(request, 27)[..2], &sends(request, 27)].concat();
    // With the lines that are logged: the proxy's and the listener's, or this one's only.
    let carried = [
        ("bytes", "bytes", whole(0, "hello"), 2),
        (
            "a reset",
            "bytes",
            [&exchange(0, "hello")[..], &reset].concat(),
            2,
        ),
        ("no host", "refused", nothing.clone(), 2),
        ("a denial", "denied", denied, 2),
        ("an object", "object", whole(0, "hello"), 2),
        ("an echo", "echo", echo, 1),
        ("a response", "response", nothing.clone(), 1),
        ("a header of PROXY protocol", "proxied", carried, 2),
        ("another header", "proxied", is_ended("no header\r\n"), 1),
        ("no header in time", "proxied", nothing, 1),
        ("a client that leaves", "proxied", leaves, 1),
        ("a chain", "inspected", whole(0, client_hello("a.test")), 2),
        ("no chain", "inspected", is_ended(client_hello("b.test")), 1),
    ];
    let carried = carried.map(|(name, listener, acts, lines)| {
        let case = case(name, listener, &acts);
        case.log_lines(lines)
    });
    let behind = format!("{HEADER}{request}");
    let requests = [
        ("a request", "requests", sends(request, 27)),
        ("two requests", "requests", twice),
        ("a request of HTTP/1.0", "requests", sends(old, 8)),
        ("no request", "requests", sends("nonsense\r\n\r\n", 12)),
        ("a part of a request", "requests", part),
        ("nothing", "requests", vec![Act::Close(Client)]),
        ("HTTP/2", "requests", sends(http2, 9)),
        (
            "a request that is denied",
            "requests_denied",
            is_ended(request),
        ),
        (
            "a request behind a header",
            "proxied_requests",
            sends(&behind, 27),
        ),
    ];
    // How long a response is, its date and the rest, is others' to compare.
    let requests = requests.map(|(name, listener, acts)| {
        let case = case(name, listener, &acts);
        case.without(&["sent="])
    });
    carried.into_iter().chain(requests).collect()
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
