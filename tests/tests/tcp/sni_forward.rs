//! Hosts by the server that a client asks for
//! (`envoy.filters.network.sni_dynamic_forward_proxy`).

use crate::acts::{client_hello, whole};
use crate::scene::{Act, Case, Listener, Suite, Who, case, client_sends, listener, proxied};

const INSPECTED: &str = r#"
listener_filters:
- name: inspector
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
"#;

/// A TCP proxy to what is looked up in a cache.
macro_rules! looked_up {
    ($before:expr, $cache:literal, $port:literal, $proxy:literal) => {
        concat!(
            $before,
            "\n- { name: look up, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig, \
             port_value: ",
            $port,
            ", dns_cache_config: { dns_lookup_family: V4_ONLY, ",
            $cache,
            " } } }\n",
            proxied!($proxy)
        )
    };
}

/// Objects of a new connection: the host, and more of them.
macro_rules! says {
    ($host:literal, $more:literal) => {
        concat!(
            "\n- { name: first, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config, \
             on_new_connection: [ { object_key: envoy.upstream.dynamic_host, format_string: \
             { text_format_source: { inline_string: \"",
            $host,
            "\" } } }",
            $more,
            " ] } }"
        )
    };
}

const LISTENERS: &[Listener] = &[
    Listener {
        more: INSPECTED,
        ..listener(
            "by_name",
            looked_up!("", "name: names", "{HOST0}", "cluster: named"),
        )
    },
    Listener {
        more: INSPECTED,
        ..listener(
            "few",
            looked_up!("", "name: few, max_hosts: 1", "{HOST0}", "cluster: few"),
        )
    },
    Listener {
        more: INSPECTED,
        ..listener(
            "none",
            looked_up!(
                "",
                "name: none, dns_cache_circuit_breaker: { max_pending_requests: 0 }",
                "{HOST0}",
                "cluster: none"
            ),
        )
    },
    listener(
        "said",
        looked_up!(
            says!("localhost", ""),
            "name: names",
            "{HOST0}",
            "cluster: named"
        ),
    ),
    Listener {
        more: INSPECTED,
        ..listener(
            "said_with_port",
            looked_up!(
                says!(
                    "127.0.0.1",
                    ", { object_key: envoy.upstream.dynamic_port, format_string: \
                     { text_format_source: { inline_string: \"{HOST1}\" } } }"
                ),
                "name: names",
                "{HOST0}",
                "cluster: named"
            ),
        )
    },
];

const CLUSTERS: &str = r#"
- name: named
  lb_policy: CLUSTER_PROVIDED
  cluster_type: { name: dfp, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: names, dns_lookup_family: V4_ONLY } } }
- name: few
  lb_policy: CLUSTER_PROVIDED
  cluster_type: { name: dfp, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: few, max_hosts: 1, dns_lookup_family: V4_ONLY } } }
- name: none
  lb_policy: CLUSTER_PROVIDED
  cluster_type: { name: dfp, typed_config: { "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: { name: none, dns_cache_circuit_breaker: { max_pending_requests: 0 }, dns_lookup_family: V4_ONLY } } }
"#;

fn cases() -> Vec<Case> {
    let nowhere = |name, listener, sent: &[u8]| {
        let acts = [client_sends(sent), Act::ReadToEnd(Who::Client)];
        case(name, listener, &acts)
    };
    let localhost = client_hello("localhost");
    vec![
        case("a name", "by_name", &whole(0, &localhost)),
        case("a name that is known", "by_name", &whole(0, &localhost)),
        case(
            "an address",
            "by_name",
            &whole(0, client_hello("127.0.0.1")),
        ),
        nowhere("no server", "by_name", b"hello"),
        case("a host that is said", "said", &whole(0, "hello")),
        case(
            "a port that is said",
            "said_with_port",
            &whole(1, &localhost),
        ),
        case("one name", "few", &whole(0, &localhost)),
        nowhere("one too many", "few", &client_hello("127.0.0.1")),
        nowhere("too many at once", "none", &localhost),
    ]
}

#[test]
fn servers_are_looked_up_as_by_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("servers_are_looked_up_as_by_envoy");
}
