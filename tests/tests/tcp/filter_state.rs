//! Objects of Envoy's own that a filter leaves for a TCP proxy (`set_filter_state`):
//! what becomes of a connection because of them.

use crate::acts::{exchange, whole};
use crate::scene::{
    Act, Case, Listener, Suite, Who, before_proxy, case, host_sends, listener, proxied,
};

/// A TCP proxy behind objects.
macro_rules! with {
    ($objects:expr, $proxy:literal) => {
        concat!(
            "\n- { name: first, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config, \
             on_new_connection: [ ",
            $objects,
            " ] } }\n",
            proxied!($proxy)
        )
    };
}

/// An object of a text.
macro_rules! object {
    ($key:literal, $text:literal) => {
        concat!(
            "{ object_key: ",
            $key,
            ", format_string: { text_format_source: { inline_string: \"",
            $text,
            "\" } } }, "
        )
    };
}

/// An object of one kind under the name of another.
macro_rules! other_kind {
    ($key:literal, $factory:literal, $text:literal) => {
        concat!(
            "{ object_key: ",
            $key,
            ", factory_key: ",
            $factory,
            ", format_string: { text_format_source: { inline_string: \"",
            $text,
            "\" } } }, "
        )
    };
}

const LISTENERS: &[Listener] = &[
    listener(
        "no_tunnel",
        with!(
            object!("envoy.tcp_proxy.disable_tunneling", "true"),
            "cluster: host0, tunneling_config: { hostname: \"h:1\" }"
        ),
    ),
    listener(
        "tunnel",
        with!(
            object!("envoy.tcp_proxy.disable_tunneling", "TRUE"),
            "cluster: host0, tunneling_config: { hostname: \"h:1\" }"
        ),
    ),
    listener(
        "idle",
        with!(
            object!("envoy.tcp_proxy.per_connection_idle_timeout_ms", "100"),
            "cluster: host0"
        ),
    ),
    listener(
        "idle_soon",
        with!(
            object!("envoy.tcp_proxy.per_connection_idle_timeout_ms", "100"),
            "cluster: host0, idle_timeout: 0s"
        ),
    ),
    listener(
        "idle_never",
        with!(
            object!("envoy.tcp_proxy.per_connection_idle_timeout_ms", "never"),
            "cluster: host0, idle_timeout: 0.1s"
        ),
    ),
    listener(
        "idle_of_other_kind",
        with!(
            other_kind!(
                "envoy.tcp_proxy.per_connection_idle_timeout_ms",
                "envoy.string",
                "3600000"
            ),
            "cluster: host0, idle_timeout: 0.1s"
        ),
    ),
    listener(
        "cluster_of_other_kind",
        with!(
            other_kind!("envoy.tcp_proxy.cluster", "envoy.string", "two"),
            "cluster: host0"
        ),
    ),
    listener(
        "cluster_of_its_kind",
        with!(
            other_kind!("envoy.tcp_proxy.cluster", "envoy.tcp_proxy.cluster", "two"),
            "cluster: host0"
        ),
    ),
    listener(
        "name",
        with!(
            object!("envoy.network.upstream_server_name", "two"),
            "cluster: back"
        ),
    ),
    listener(
        "no_name",
        with!(
            object!("envoy.network.upstream_server_name", ""),
            "cluster: back_two"
        ),
    ),
    listener(
        "name_of_other_kind",
        with!(
            other_kind!("envoy.network.upstream_server_name", "envoy.string", "two"),
            "cluster: back"
        ),
    ),
    listener("name_of_cluster", with!("", "cluster: back_two")),
    listener(
        "protocols",
        with!(
            object!("envoy.network.application_protocols", "none,other"),
            "cluster: back"
        ),
    ),
    listener(
        "certificate",
        with!(
            object!("envoy.network.upstream_subject_alt_names", "b.test,a.test"),
            "cluster: trusting"
        ),
    ),
    listener(
        "other_certificate",
        with!(
            object!("envoy.network.upstream_subject_alt_names", "b.test,c.test"),
            "cluster: trusting"
        ),
    ),
    listener(
        "untrusting",
        with!(
            object!("envoy.network.upstream_subject_alt_names", "a.test"),
            "cluster: back"
        ),
    ),
    listener(
        "shown",
        with!(
            concat!(
                object!("envoy.network.upstream_server_name", "a.b"),
                object!("envoy.network.application_protocols", "a,b"),
                object!("envoy.network.upstream_subject_alt_names", "a,b"),
                object!("envoy.tcp_proxy.disable_tunneling", "true"),
                object!("envoy.tcp_proxy.per_connection_idle_timeout_ms", "5000"),
                object!("envoy.upstream.dynamic_host", "a.b"),
                object!("envoy.upstream.dynamic_port", "5000"),
                object!("envoy.network.transport_socket.original_dst_address", "1.2.3.4:5"),
                "{ object_key: test.object, factory_key: envoy.string, format_string: { text_format_source: { inline_string: \"\
                 %FILTER_STATE(envoy.network.upstream_server_name:PLAIN)%,%FILTER_STATE(envoy.network.upstream_server_name)%,\
                 %FILTER_STATE(envoy.network.application_protocols:PLAIN)%,%FILTER_STATE(envoy.network.application_protocols)%,\
                 %FILTER_STATE(envoy.network.upstream_subject_alt_names:PLAIN)%,%FILTER_STATE(envoy.network.upstream_subject_alt_names)%,\
                 %FILTER_STATE(envoy.tcp_proxy.disable_tunneling:PLAIN)%,%FILTER_STATE(envoy.tcp_proxy.disable_tunneling)%,\
                 %FILTER_STATE(envoy.tcp_proxy.per_connection_idle_timeout_ms:PLAIN)%,%FILTER_STATE(envoy.tcp_proxy.per_connection_idle_timeout_ms)%,\
                 %FILTER_STATE(envoy.upstream.dynamic_host:PLAIN)%,%FILTER_STATE(envoy.upstream.dynamic_host)%,\
                 %FILTER_STATE(envoy.upstream.dynamic_port:PLAIN)%,%FILTER_STATE(envoy.upstream.dynamic_port)%,\
                 %FILTER_STATE(envoy.network.transport_socket.original_dst_address:PLAIN)%,\
                 %FILTER_STATE(envoy.network.transport_socket.original_dst_address:FIELD:ip)%,\
                 %FILTER_STATE(envoy.network.transport_socket.original_dst_address:FIELD:port)%,\
                 %FILTER_STATE(envoy.network.transport_socket.original_dst_address:FIELD:else)%\" } } }"
            ),
            "cluster: host0"
        ),
    ),
    listener(
        "shown_cluster",
        with!(
            concat!(
                object!("envoy.tcp_proxy.cluster", "two"),
                "{ object_key: test.object, factory_key: envoy.string, format_string: { text_format_source: { inline_string: \"\
                 %FILTER_STATE(envoy.tcp_proxy.cluster:PLAIN)%,%FILTER_STATE(envoy.tcp_proxy.cluster)%\" } } }"
            ),
            "cluster: host0"
        ),
    ),
    // What a client has sent is known where its first bytes are.
    listener(
        "received",
        before_proxy!(
            "set_filter_state.v3.Config",
            "on_new_connection: [ { object_key: test.early, factory_key: envoy.string, \
             format_string: { text_format_source: { inline_string: \"%BYTES_RECEIVED%\" } } } ], \
             on_downstream_data: [ { object_key: test.object, factory_key: envoy.string, \
             format_string: { text_format_source: { inline_string: \
             \"%FILTER_STATE(test.early:PLAIN)%-%BYTES_RECEIVED%-%BYTES_SENT%\" } } } ]"
        ),
    ),
    Listener {
        more: "
listener_filters:
- { name: inspector, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }
",
        chains: "
- name: protocols
  filter_chain_match: { application_protocols: [ other ] }
  filters:
  - { name: tcp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: other, cluster: two } }
  transport_socket:
    name: tls
    typed_config:
      \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      common_tls_context: { tls_certificates: [ {CERTIFICATE} ] }
",
        chain: "
transport_socket:
  name: tls
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    common_tls_context: { tls_certificates: [ {CERTIFICATE} ] }
",
        at_path: true,
        ..listener("back", before_proxy!("sni_cluster.v3.SniCluster", ""))
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
  load_assignment: { cluster_name: back, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/back.sock" } } } } ] } ] }
- name: back_two
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: two
      max_session_keys: 0
  load_assignment: { cluster_name: back_two, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/back.sock" } } } } ] } ] }
- name: trusting
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      max_session_keys: 0
      common_tls_context: { validation_context: { trusted_ca: {TRUSTED} } }
  load_assignment: { cluster_name: trusting, endpoints: [ { lb_endpoints: [ { endpoint: { address: { pipe: { path: "{DIR}/back.sock" } } } } ] } ] }
"#;

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let idle = |name, listener| {
        let ends = [Act::ReadToEnd(Client), Act::ReadToEnd(Host)];
        case(
            name,
            listener,
            &[exchange(0, "hello"), ends.to_vec()].concat(),
        )
    };
    let to = |host, name, listener| case(name, listener, &whole(host, "hello"));
    // The listener behind connects to its host before the handshake is over.
    let nowhere = |name, listener| {
        let ends = [Act::Accept(0), Act::ReadToEnd(Client), Act::ReadToEnd(Host)];
        case(name, listener, &ends)
    };
    let asked = "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n";
    vec![
        to(0, "no tunnel", "no_tunnel"),
        case(
            "a tunnel",
            "tunnel",
            &[
                Act::Accept(0),
                Act::Read(Host, asked.len()),
                host_sends("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"),
                Act::ReadToEnd(Client),
                Act::ReadToEnd(Host),
            ],
        )
        .without(&["upstream_wire"]),
        idle("an idle time of its own", "idle"),
        idle("an idle time where there is none", "idle_soon"),
        idle("an idle time that is none", "idle_never"),
        idle("an idle time of another kind", "idle_of_other_kind"),
        to(0, "a cluster of another kind", "cluster_of_other_kind"),
        to(1, "a cluster of its kind", "cluster_of_its_kind"),
        to(1, "a name of TLS", "name"),
        to(1, "no name of TLS", "no_name"),
        to(0, "a name of TLS of another kind", "name_of_other_kind"),
        to(1, "a name of TLS of the cluster", "name_of_cluster"),
        to(1, "protocols of TLS", "protocols"),
        to(0, "a name of the certificate", "certificate"),
        nowhere("no name of the certificate", "other_certificate"),
        nowhere("nobody to trust", "untrusting"),
        to(0, "objects as texts", "shown"),
        to(1, "a cluster as a text", "shown_cluster"),
        to(0, "bytes that are received", "received"),
    ]
}

#[test]
fn objects_of_envoys_own_do_what_they_do_there() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("objects_of_envoys_own_do_what_they_do_there");
}
