//! `envoy.filters.listener.http_inspector`, `filter_disabled`.

use crate::scene::{Act, Case, Comparison, Listener, REQUEST, case};

const CHAINS: &[(&str, &str)] = &[
    (
        "1.0",
        "filter_chain_match: { application_protocols: [ http/1.0 ] }",
    ),
    (
        "1.1",
        "filter_chain_match: { application_protocols: [ http/1.1 ] }",
    ),
    (
        "h2c",
        "filter_chain_match: { application_protocols: [ h2c ] }",
    ),
    ("else", ""),
];

const LISTENERS: &[Listener] = &[
    Listener {
        name: "inspected",
        chains: CHAINS,
        log: "",
        more: r#"
listener_filters:
- { name: http, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }
"#,
    },
    Listener {
        name: "waits",
        chains: CHAINS,
        log: "",
        more: r#"
continue_on_listener_filters_timeout: true
listener_filters:
- { name: tls, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }
- { name: http, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }
"#,
    },
    Listener {
        name: "disabled",
        chains: CHAINS,
        log: "",
        more: r#"
listener_filters:
- name: proxy
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol }
- name: http
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
  filter_disabled:
    or_match:
      rules:
      - destination_port_range: { start: 80, end: 82 }
      - and_match:
          rules:
          - not_match: { destination_port_range: { start: 1, end: 1000 } }
          - not_match: { destination_port_range: { start: 2000, end: 65535 } }
"#,
    },
    Listener {
        name: "never",
        chains: CHAINS,
        log: "",
        more: r#"
listener_filters:
- name: http
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
  filter_disabled: { any_match: true }
"#,
    },
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An end of the connection, after the frames of which a server must say
/// something.
const GOAWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "GET / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET / HTTP/1.2",
        "get / HTTP/1.1",
        "GET foo HTTP/1.1",
        "GET http://h/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET  HTTP/1.1",
        "",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
    ] {
        let sent = format!("{line}\r\nhost: h\r\nconnection: close\r\n\r\n");
        cases.push(case(format!("line {line:?}"), "inspected", sent));
    }
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(70_000));
    let goes_away = [PREFACE, GOAWAY].concat();
    for (name, bytes) in [
        ("nothing", &b""[..]),
        ("half a line", b"GET / HT"),
        ("half a preface", &PREFACE[..20]),
        ("a long line", long.as_bytes()),
    ] {
        cases.push(case(name, "inspected", bytes));
    }
    cases.push(case("byte by byte", "inspected", b"").acts([Act::Drip(REQUEST.to_vec())]));
    cases.push(
        case("a preface", "inspected", &goes_away)
            .acts([Act::Drip(goes_away.clone()), Act::Finish]),
    );
    // More than is looked at, of which the end comes with the rest of it.
    let (begin, rest) = long.as_bytes().split_at(60_000);
    cases.push(case("a long line in two pieces", "inspected", b"").acts([
        Act::Send(begin.to_vec()),
        Act::Wait,
        Act::Send(rest.to_vec()),
    ]));
    cases.push(case("the end", "inspected", b"").acts([Act::Send(b"GET".to_vec()), Act::Finish]));
    cases.push(case("behind another", "waits", REQUEST));
    cases.push(case("nobody waits", "never", REQUEST));
    for port in [79, 80, 81, 82, 1000, 1999, 2000, 65535] {
        let header = format!("PROXY TCP4 1.2.3.4 5.6.7.8 9 {port}\r\n");
        let sent = [header.as_bytes(), REQUEST].concat();
        cases.push(case(format!("port {port}"), "disabled", sent));
    }
    cases
}

#[test]
fn http_is_found_where_envoy_finds_it() {
    let comparison = Comparison {
        suite: "http_inspector",
        listeners: LISTENERS,
        cluster: "",
        bootstrap: "",
        cases,
    };
    comparison.run("http_is_found_where_envoy_finds_it");
}
