//! Who may connect (`envoy.filters.network.rbac`).

use crate::acts::{client_hello, exchange, whole};
use crate::scene::{
    Act, Case, Listener, Suite, Who, before_proxy, case, client_sends, listener, proxied,
};

/// Rules in front of a TCP proxy.
macro_rules! ruled {
    ($fields:expr) => {
        before_proxy!("rbac.v3.RBAC", $fields)
    };
}

/// An action that a matcher leads to.
macro_rules! leads_to {
    ($action:literal) => {
        concat!(
            "action: { name: action, typed_config: { \
             \"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, ",
            $action,
            " } }"
        )
    };
}

/// One test of an input that a matcher makes.
macro_rules! is {
    ($input:literal, $value:literal) => {
        concat!(
            "predicate: { single_predicate: { input: { name: input, typed_config: { \
             \"@type\": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.",
            $input,
            " } }, value_match: ",
            $value,
            " } }"
        )
    };
}

const INSPECTED: &str = r#"
listener_filters:
- name: inspector
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
"#;

/// A chain that wants to know who connects.
const TLS: &str = "
transport_socket:
  name: tls
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context:
      tls_certificates: [ {CERTIFICATE} ]
      validation_context: { trusted_ca: {TRUSTED} }
";

const MANAGER: &str = r#"
- name: rbac
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
    stat_prefix: rbac_http
    rules: { policies: { sni: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }
    shadow_rules: { policies: {} }
- name: manager
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
    stat_prefix: http
    {LOG}
    route_config:
      virtual_hosts:
      - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, direct_response: { status: 204 } } ] }
    http_filters:
    - { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
"#;

const LISTENERS: &[Listener] = &[
    listener(
        "allow",
        ruled!(
            "stat_prefix: rbac_allow, rules: { policies: { p: { \
             permissions: [ { destination_port_range: { start: 1, end: 65536 } } ], \
             principals: [ { remote_ip: { address_prefix: 127.0.0.0, prefix_len: 8 } } ] } } }"
        ),
    ),
    listener(
        "allow_others",
        ruled!(
            "stat_prefix: rbac_allow_others., rules: { policies: { p: { \
             permissions: [ { destination_port: 1 }, { destination_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } } ], \
             principals: [ { any: true } ] } } }"
        ),
    ),
    Listener {
        more: "
listener_filters:
- { name: proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }
",
        ..listener("proxied", ruled!("stat_prefix: rbac_proxied, rules: {}"))
    },
    listener("allow_nobody", ruled!("stat_prefix: rbac, rules: {}")),
    listener("no_rules", ruled!("stat_prefix: rbac_none")),
    listener(
        "deny",
        ruled!(
            "stat_prefix: rbac_deny, rules: { action: DENY, policies: { \
             b policy: { permissions: [ { any: true } ], principals: [ { direct_remote_ip: { address_prefix: 127.0.0.1, prefix_len: 32 } } ] }, \
             c: { permissions: [ { any: true } ], principals: [ { any: true } ] }, \
             a: { permissions: [ { any: true } ], principals: [ { authenticated: {} } ] } } }"
        ),
    ),
    listener(
        "deny_slowly",
        ruled!(
            "stat_prefix: rbac_slow, delay_deny: 0.2s, rules: { action: DENY, policies: { \
             p: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }"
        ),
    ),
    listener(
        "log",
        ruled!(
            "stat_prefix: rbac_log, rules: { action: LOG, policies: { \
             p: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }"
        ),
    ),
    listener(
        "log_others",
        ruled!(
            "stat_prefix: rbac_log_others, rules: { action: LOG, policies: { \
             p: { permissions: [ { destination_port: 1 } ], principals: [ { any: true } ] } } }"
        ),
    ),
    listener(
        "try_denial",
        ruled!(
            "stat_prefix: rbac_try, shadow_rules_stat_prefix: try_, shadow_rules: { action: DENY, policies: { \
             p: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }"
        ),
    ),
    listener(
        "try_both",
        ruled!(
            "stat_prefix: rbac_try_both, \
             rules: { policies: { p: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }, \
             shadow_rules: { action: LOG, policies: { q: { permissions: [ { not_rule: { any: true } } ], principals: [ { any: true } ] } } }"
        ),
    ),
    Listener {
        more: INSPECTED,
        ..listener(
            "server",
            ruled!(
                "stat_prefix: rbac_server, rules: { policies: { p: { \
                 permissions: [ { and_rules: { rules: [ { requested_server_name: { prefix: a. } }, { not_rule: { requested_server_name: { exact: a.b } } } ] } } ], \
                 principals: [ { or_ids: { ids: [ { not_id: { any: true } }, { any: true } ] } } ] } } }"
            ),
        )
    },
    Listener {
        more: INSPECTED,
        ..listener(
            "no_server",
            ruled!(
                "stat_prefix: rbac_no_server, rules: { policies: { p: { \
                 permissions: [ { or_rules: { rules: [ { requested_server_name: { exact: \"\" } } ] } } ], \
                 principals: [ { any: true } ] } } }"
            ),
        )
    },
    listener(
        "paths",
        ruled!(
            "stat_prefix: rbac_paths, rules: { action: DENY, policies: { p: { \
             permissions: [ { url_path: { path: { safe_regex: { regex: \".*\" } } } } ], principals: [ { any: true } ] } } }"
        ),
    ),
    listener(
        "metadata",
        ruled!(
            "stat_prefix: rbac_metadata, rules: { policies: { p: { \
             permissions: [ { sourced_metadata: { metadata_matcher: { filter: a, path: [ { key: b } ], value: { present_match: true }, invert: true } } } ], \
             principals: [ { not_id: { filter_state: { key: test.object, string_match: { safe_regex: { regex: \".*\" } } } } } ] } } }"
        ),
    ),
    listener(
        "matcher",
        ruled!(concat!(
            "stat_prefix: rbac_matcher, rules: {}, matcher: { matcher_list: { matchers: [ { ",
            is!("DestinationIPInput", "{ exact: 127.0.0.2 }"),
            ", on_match: { ",
            leads_to!("name: first, action: DENY"),
            " } }, { ",
            is!("SourceIPInput", "{ prefix: \"127.\" }"),
            ", on_match: { ",
            leads_to!("name: second, action: ALLOW"),
            " } } ] } }",
        )),
    ),
    Listener {
        more: "
listener_filters:
- { name: proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }
",
        ..listener(
            "matcher_of_ranges",
            ruled!(concat!(
                "stat_prefix: rbac_matcher_of_ranges, matcher: { matcher_tree: { input: { name: input, typed_config: { \
                 \"@type\": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, \
                 custom_match: { name: ranges, typed_config: { \"@type\": type.googleapis.com/xds.type.matcher.v3.IPMatcher, \
                 range_matchers: [ { ranges: [ { address_prefix: 127.0.0.0, prefix_len: 8 } ], on_match: { ",
                leads_to!("name: all, action: ALLOW"),
                " } }, { ranges: [ { address_prefix: 127.0.0.2, prefix_len: 32 } ], on_match: { ",
                leads_to!("name: one, action: DENY"),
                " } } ] } } } }",
            )),
        )
    },
    listener(
        "matcher_denies",
        ruled!(concat!(
            "stat_prefix: rbac_matcher_denies, matcher: { matcher_list: { matchers: [ { ",
            is!(
                "DestinationPortInput",
                "{ safe_regex: { google_re2: {}, regex: \".+\" } }"
            ),
            ", on_match: { ",
            leads_to!("name: first match, action: DENY"),
            " } } ] } }",
        )),
    ),
    listener(
        "matcher_of_nothing",
        ruled!(concat!(
            "stat_prefix: rbac_matcher_of_nothing, matcher: { matcher_list: { matchers: [ { ",
            is!("ServerNameInput", "{ exact: a }"),
            ", on_match: { ",
            leads_to!("name: first, action: ALLOW"),
            " } } ] } }",
        )),
    ),
    listener(
        "matcher_logs",
        ruled!(concat!(
            "stat_prefix: rbac_matcher_logs, matcher: { on_no_match: { ",
            leads_to!("name: all, action: LOG"),
            " } }, shadow_matcher: { on_no_match: { ",
            leads_to!("name: tried, action: DENY"),
            " } }",
        )),
    ),
    listener(
        "echo",
        r#"
- name: rbac
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
    stat_prefix: rbac_echo
    rules: { action: DENY, policies: { p: { permissions: [ { any: true } ], principals: [ { any: true } ] } } }
- name: echo
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }
"#,
    ),
    listener("http", MANAGER),
    listener("front_named", proxied!("cluster: named")),
    listener("front_other", proxied!("cluster: other")),
    listener("front_subject", proxied!("cluster: subject")),
    listener("front_anonymous", proxied!("cluster: anonymous")),
    Listener {
        chain: TLS,
        at_path: true,
        ..listener(
            "named",
            ruled!(
                "stat_prefix: rbac_named, rules: { policies: { p: { permissions: [ { any: true } ], \
                 principals: [ { authenticated: { principal_name: { exact: a.test } } } ] } } }"
            ),
        )
    },
    Listener {
        chain: TLS,
        at_path: true,
        ..listener(
            "other",
            ruled!(
                "stat_prefix: rbac_other, rules: { policies: { p: { permissions: [ { any: true } ], \
                 principals: [ { authenticated: { principal_name: { exact: b.test } } } ] } } }"
            ),
        )
    },
    Listener {
        chain: TLS,
        at_path: true,
        ..listener(
            "subject",
            ruled!(
                "stat_prefix: rbac_subject, rules: { policies: { p: { permissions: [ { any: true } ], \
                 principals: [ { authenticated: { principal_name: { prefix: CN=rcgen } } } ] } } }"
            ),
        )
    },
    Listener {
        chain: TLS,
        at_path: true,
        ..listener(
            "anonymous",
            ruled!(
                "stat_prefix: rbac_anonymous, rules: { policies: { p: { permissions: [ { any: true } ], \
                 principals: [ { and_ids: { ids: [ { authenticated: {} }, { not_id: { authenticated: { principal_name: { prefix: a } } } } ] } } ] } } }"
            ),
        )
    },
];

const CLUSTERS: &str = r#"
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: named
  transport_socket: &tls
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      max_session_keys: 0
      common_tls_context: { tls_certificates: [ {CERTIFICATE} ] }
  load_assignment: { cluster_name: named, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/named.sock" } } } } ] } ] }
- name: other
  transport_socket: *tls
  load_assignment: { cluster_name: other, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/other.sock" } } } } ] } ] }
- name: subject
  transport_socket: *tls
  load_assignment: { cluster_name: subject, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/subject.sock" } } } } ] } ] }
- name: anonymous
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      max_session_keys: 0
  load_assignment: { cluster_name: anonymous, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/anonymous.sock" } } } } ] } ] }
"#;

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    // The host is connected before the client has sent anything.
    let denied = |name, listener, sent: &[u8]| {
        let acts = [
            Act::Accept(0),
            client_sends(sent),
            Act::ReadToEnd(Client),
            Act::ReadToEnd(Host),
        ];
        case(name, listener, &acts)
    };
    // Whoever is inspected has sent something before there is a host, which may be
    // connected when it is decided or not.
    let denied_early = |name, listener, sent: &[u8]| {
        let acts = [
            client_sends(sent),
            Act::Accept(0),
            Act::ReadToEnd(Client),
            Act::ReadToEnd(Host),
        ];
        case(name, listener, &acts).without(&["cluster", "host=", "attempts"])
    };
    let allowed = |name, listener| case(name, listener, &whole(0, "hello"));
    let request = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    let more = [
        client_sends("more"),
        Act::Read(Host, 4),
        Act::Close(Client),
        Act::ReadToEnd(Host),
    ];
    vec![
        allowed("one of ours", "allow"),
        // It is decided once.
        case(
            "twice",
            "allow",
            &[exchange(0, "hello"), more.to_vec()].concat(),
        ),
        // The end of a client counts as data.
        case(
            "an end",
            "allow",
            &[
                Act::Accept(0),
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Finish(Host),
                Act::ReadToEnd(Client),
            ],
        ),
        denied("somewhere else", "allow_others", b"hello"),
        denied("nobody", "allow_nobody", b"hello"),
        case(
            "an end that may not be",
            "allow_nobody",
            &[Act::Accept(0), Act::Finish(Client), Act::ReadToEnd(Client)],
        ),
        allowed("no rules", "no_rules"),
        denied("the first policy that matches", "deny", b"hello"),
        denied("a slow denial", "deny_slowly", b"hello"),
        allowed("a hint", "log"),
        allowed("a hint not to log", "log_others"),
        allowed("a denial that is tried", "try_denial"),
        allowed("an allowance that is tried", "try_both"),
        case("a server", "server", &whole(0, client_hello("a.com"))),
        denied_early(
            "nobody, by way of another proxy",
            "proxied",
            b"PROXY TCP4 127.0.0.2 127.0.0.3 9 10\r\nhello",
        ),
        denied_early("another server", "server", &client_hello("a.b")),
        denied_early("no server", "server", b"hello"),
        allowed("no server, wanted", "no_server"),
        denied_early("a server, not wanted", "no_server", &client_hello("a")),
        allowed("no path", "paths"),
        allowed("no metadata", "metadata"),
        allowed("a matcher", "matcher"),
        case(
            "a matcher of ranges",
            "matcher_of_ranges",
            &[
                vec![client_sends("PROXY TCP4 127.0.0.3 127.0.0.3 9 10\r\n")],
                whole(0, "hello"),
            ]
            .concat(),
        ),
        denied_early(
            "a matcher of ranges that denies",
            "matcher_of_ranges",
            b"PROXY TCP4 127.0.0.2 127.0.0.3 9 10\r\nhello",
        ),
        denied("a matcher that denies", "matcher_denies", b"hello"),
        denied("a matcher of nothing", "matcher_of_nothing", b"hello"),
        allowed("a matcher that logs", "matcher_logs"),
        case(
            "no echo",
            "echo",
            &[client_sends("hello"), Act::ReadToEnd(Client)],
        )
        .log_lines(0),
        case(
            "a request",
            "http",
            &[
                client_sends(request),
                Act::Skip(Client, 12),
                Act::Close(Client),
            ],
        )
        .without(&["wire"]),
        case(
            "no request",
            "http",
            &[Act::Finish(Client), Act::ReadToEnd(Client)],
        )
        .log_lines(0),
        case(
            "nothing for an echo",
            "echo",
            &[Act::Finish(Client), Act::ReadToEnd(Client)],
        )
        .log_lines(0),
        allowed("a name", "front_named"),
        denied("another name", "front_other", b"hello"),
        allowed("a subject", "front_subject"),
        allowed("nobody by TLS", "front_anonymous"),
    ]
}

#[test]
fn who_may_connect_is_who_may_with_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("who_may_connect_is_who_may_with_envoy");
}
