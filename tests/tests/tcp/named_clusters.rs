//! Clusters that filters before a TCP proxy name, and what else they leave for it
//! (`sni_cluster`, `set_filter_state`).

use crate::acts::{client_hello, whole};
use crate::scene::{Act, Case, Listener, Suite, Who, before_proxy, case, listener, proxied};

const INSPECTED: &str = r#"
listener_filters:
- name: inspector
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
"#;

const LISTENERS: &[Listener] = &[
    Listener {
        more: INSPECTED,
        ..listener("sni", before_proxy!("sni_cluster.v3.SniCluster", ""))
    },
    listener(
        "set",
        before_proxy!(
            "set_filter_state.v3.Config",
            "on_new_connection: [ { object_key: envoy.tcp_proxy.cluster, \
             format_string: { text_format_source: { inline_string: two } } } ]"
        ),
    ),
    // A server that nobody asks for names no cluster.
    Listener {
        more: INSPECTED,
        ..listener(
            "set_by_name",
            before_proxy!(
                "set_filter_state.v3.Config",
                "on_new_connection: [ { object_key: envoy.tcp_proxy.cluster, skip_if_empty: true, \
                 format_string: { omit_empty_values: true, text_format_source: \
                 { inline_string: \"%REQUESTED_SERVER_NAME%\" } } } ]"
            ),
        )
    },
    // The cluster is chosen before the client has sent anything.
    listener(
        "set_late",
        before_proxy!(
            "set_filter_state.v3.Config",
            "on_downstream_data: [ { object_key: envoy.tcp_proxy.cluster, \
             format_string: { text_format_source: { inline_string: two } } } ]"
        ),
    ),
    // Without TLS its handshake is over at once. One object is made of another.
    listener(
        "set_twice",
        before_proxy!(
            "set_filter_state.v3.Config",
            "on_new_connection: [ { object_key: test.object, factory_key: envoy.string, \
             format_string: { text_format_source: { inline_string: first } } } ], \
             on_downstream_tls_handshake: [ { object_key: test.object, factory_key: envoy.string, \
             format_string: { text_format_source: \
             { inline_string: \"%FILTER_STATE(test.object:PLAIN)%-second\" } } } ]"
        ),
    ),
    listener("front", proxied!("cluster: back")),
    Listener {
        chain: "
transport_socket:
  name: tls
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context: { tls_certificates: [ {CERTIFICATE} ] }
",
        at_path: true,
        ..listener(
            "back",
            before_proxy!(
                "set_filter_state.v3.Config",
                "on_downstream_tls_handshake: [ { object_key: test.object, factory_key: envoy.string, \
                 format_string: { text_format_source: { inline_string: \"%DOWNSTREAM_TLS_VERSION%\" } } } ] } }\n\
                 - { name: who, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, \
                 stat_prefix: rbac_back, rules: { policies: { p: { permissions: [ { any: true } ], \
                 principals: [ { filter_state: { key: test.object, string_match: { exact: TLSv1.3 } } } ] } } }"
            ),
        )
    },
];

const CLUSTERS: &str = r#"
- name: host0
  load_assignment: { cluster_name: host0, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } } } ] } ] }
- name: two
  load_assignment: { cluster_name: two, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST1} } } } } ] } ] }
- name: back
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      max_session_keys: 0
      common_tls_context: { tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 } }
  load_assignment:
    cluster_name: back
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { pipe: { path: "{DIR}/back.sock" } } }
"#;

fn cases() -> Vec<Case> {
    let nowhere = |name, listener, sent: &[u8]| {
        let acts = [
            Act::Send(Who::Client, sent.to_vec()),
            Act::ReadToEnd(Who::Client),
        ];
        case(name, listener, &acts)
    };
    vec![
        case(
            "a server that is a cluster",
            "sni",
            &whole(1, client_hello("two")),
        ),
        case(
            "letters do not count",
            "sni",
            &whole(1, client_hello("TWO")),
        ),
        nowhere("a server that is none", "sni", &client_hello("three")),
        case("no server", "sni", &whole(0, "no TLS at all")),
        case("a cluster by a text", "set", &whole(1, "hello")),
        case(
            "a cluster by a text of the client",
            "set_by_name",
            &whole(1, client_hello("two")),
        ),
        case("no text of the client", "set_by_name", &whole(0, "hello")),
        case("a cluster too late", "set_late", &whole(0, "hello")),
        case("an object of another", "set_twice", &whole(0, "hello")),
        case("what a handshake agreed on", "front", &whole(0, "hello")),
    ]
}

#[test]
fn filters_name_clusters_as_in_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("filters_name_clusters_as_in_envoy");
}
