//! Where connections wanted to go: `envoy.filters.listener.original_dst`, and
//! clusters whose hosts are where a connection was led away from.

use crate::scene::{Case, Comparison, Listener, REQUEST, case, listener};

const LISTENERS: &[Listener] = &[
    listener(
        "asked",
        r#"
listener_filters:
- { name: dst, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst } }
"#,
    ),
    listener(
        "told",
        r#"
listener_filters:
- { name: dst, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst } }
- { name: proxy, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }
"#,
    ),
];

fn cases() -> Vec<Case> {
    let told = |text: &str| [format!("PROXY {text}\r\n").as_bytes(), REQUEST].concat();
    vec![
        // Nobody has led it here.
        case("a connection of its own", "asked", REQUEST),
        case("nowhere else", "told", told("UNKNOWN")),
        case(
            "to the host",
            "told",
            told("TCP4 1.2.3.4 127.0.0.1 9 {HOST}"),
        ),
        case("to nobody", "told", told("TCP4 1.2.3.4 127.0.0.1 9 1")),
    ]
}

const COMPARISON: Comparison = Comparison {
    suite: "original_dst",
    listeners: LISTENERS,
    cluster: "",
    bootstrap: "",
    cases,
};

#[test]
fn connections_that_nobody_has_led_here_are_served() {
    COMPARISON.run("connections_that_nobody_has_led_here_are_served");
}

#[test]
fn hosts_are_where_clients_wanted_to_go() {
    let comparison = Comparison {
        cluster: "type: ORIGINAL_DST\nlb_policy: CLUSTER_PROVIDED\n",
        ..COMPARISON
    };
    comparison.run("hosts_are_where_clients_wanted_to_go");
}
