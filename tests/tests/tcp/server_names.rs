//! Filter chains by the server that a client asks for, in a tree of domains
//! (`xds.type.matcher.v3.ServerNameMatcher`).

use crate::acts::{client_hello, whole};
use crate::scene::{Case, Listener, Suite, case, listener, proxied};

/// A chain with this name.
macro_rules! chain {
    ($name:literal) => {
        concat!(
            "- name: ",
            $name,
            "\n  filters:\n  - { name: tcp, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: {NAME}, {LOG}, cluster: host0 } }\n"
        )
    };
}

const CHAINS: &str = concat!(chain!("name"), chain!("domain"), chain!("any"));

/// Leads to a chain.
macro_rules! to {
    ($name:literal) => {
        concat!(
            "{ action: { name: chain, typed_config: { \"@type\": \
             type.googleapis.com/google.protobuf.StringValue, value: ",
            $name,
            " } } }"
        )
    };
    ($name:literal, only from $address:literal) => {
        concat!(
            "{ matcher: { matcher_tree: { input: { name: input, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, \
             custom_match: { name: ranges, typed_config: { \"@type\": \
             type.googleapis.com/xds.type.matcher.v3.IPMatcher, range_matchers: [ { ranges: [ { \
             address_prefix: ",
            $address,
            ", prefix_len: 32 } ], on_match: ",
            to!($name),
            " } ] } } } } }"
        )
    };
}

/// Lists of domains, each with where it leads, and where others go.
macro_rules! domains {
    ([ $(($domains:literal, $on_match:expr)),* $(,)? ], $others:expr) => {
        concat!(
            "
listener_filters:
- { name: inspector, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }
filter_chain_matcher:
  matcher_tree:
    input: { name: input, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput } }
    custom_match:
      name: names
      typed_config:
        \"@type\": type.googleapis.com/xds.type.matcher.v3.ServerNameMatcher
        domain_matchers:
",
            $("        - { domains: [ ", $domains, " ], on_match: ", $on_match, " }\n",)*
            $others
        )
    };
}

const ALL: &str = domains!(
    [
        ("\"*\"", to!("any")),
        ("\"*.com\", b.net", to!("domain")),
        ("www.a.com", to!("name")),
        ("far.a.com, \"*.b.com\"", to!("name", only from "127.0.0.2")),
        ("\"*.near.com\"", to!("name", only from "127.0.0.1")),
    ],
    ""
);

const SOME: &str = domains!(
    [("\"*.com\", Name.Org", to!("domain"))],
    concat!("  on_no_match: ", to!("any"), "\n")
);

const LISTENERS: &[Listener] = &[
    Listener {
        more: ALL,
        chains: CHAINS,
        ..listener("all", proxied!("cluster: host0"))
    },
    Listener {
        more: SOME,
        chains: CHAINS,
        ..listener("some", proxied!("cluster: host0"))
    },
];

const CLUSTERS: &str = "
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for listener in ["all", "some"] {
        for name in [
            "www.a.com",
            "WWW.a.com",
            "x.www.a.com",
            "a.com",
            "com",
            "b.net",
            "c.b.net",
            "far.a.com",
            "x.b.com",
            "x.y.near.com",
            "name.org",
        ] {
            cases.push(case(name, listener, &whole(0, client_hello(name))));
        }
    }
    // Whoever asks for no server is in no domain.
    cases.push(case("no server", "some", &whole(0, "hello")));
    cases
}

#[test]
fn domains_lead_where_envoys_do() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("domains_lead_where_envoys_do");
}
