//! The configuration that all cases share: a listener for each set of options.

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, cluster, empty_cluster};
use ringway_tests::observation::Ports;

const fn to_origin(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: EVERYTHING_TO_ORIGIN,
    }
}

const fn routed(name: &'static str, hosts: &'static str) -> Listener {
    Listener {
        name,
        manager: "",
        hosts,
    }
}

pub const LISTENERS: &[Listener] = &[
    to_origin("plain", ""),
    to_origin(
        "http10",
        "http_protocol_options: { accept_http_10: true, default_host_for_http_10: ten.example }",
    ),
    to_origin(
        "http10_no_host",
        "http_protocol_options: { accept_http_10: true }",
    ),
    Listener {
        name: "trailers",
        manager: "http_protocol_options: { enable_trailers: true }",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/" }
    route: { cluster: with_trailers }
"#,
    },
    to_origin("edge", "use_remote_address: true"),
    to_origin(
        "edge_one_hop",
        "use_remote_address: true\nxff_num_trusted_hops: 1",
    ),
    to_origin("one_hop", "xff_num_trusted_hops: 1"),
    to_origin("two_hops", "xff_num_trusted_hops: 2"),
    to_origin(
        "skip_xff",
        "use_remote_address: true\nskip_xff_append: true",
    ),
    to_origin(
        "forwarded_port",
        "use_remote_address: true\nappend_x_forwarded_port: true",
    ),
    to_origin("via", "via: a-via"),
    to_origin(
        "internal",
        "internal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }",
    ),
    to_origin(
        "internal_edge",
        "use_remote_address: true\ninternal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] }",
    ),
    to_origin(
        "keep_request_id",
        "preserve_external_request_id: true\nalways_set_request_id_in_response: true\nuse_remote_address: true",
    ),
    to_origin(
        "response_request_id",
        "always_set_request_id_in_response: true",
    ),
    to_origin("no_request_id", "generate_request_id: false"),
    to_origin("normalize", "normalize_path: true"),
    to_origin("merge", "merge_slashes: true"),
    to_origin(
        "normalize_merge",
        "normalize_path: true\nmerge_slashes: true",
    ),
    to_origin(
        "escaped_reject",
        "path_with_escaped_slashes_action: REJECT_REQUEST",
    ),
    to_origin(
        "escaped_redirect",
        "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
    ),
    to_origin(
        "escaped_forward",
        "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
    ),
    to_origin(
        "server_if_absent",
        "server_header_transformation: APPEND_IF_ABSENT\nserver_name: named",
    ),
    to_origin("server_pass", "server_header_transformation: PASS_THROUGH"),
    to_origin("server_named", "server_name: named"),
    to_origin(
        "small_limits",
        "max_request_headers_kb: 4\ncommon_http_protocol_options: { max_headers_count: 10 }",
    ),
    to_origin(
        "reject_underscores",
        "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
    ),
    to_origin(
        "drop_underscores",
        "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }",
    ),
    to_origin(
        "chunked_length",
        "http_protocol_options: { allow_chunked_length: true }",
    ),
    to_origin("strip_port", "strip_matching_host_port: true"),
    to_origin("strip_any_port", "strip_any_host_port: true"),
    to_origin("strip_dot", "strip_trailing_host_dot: true"),
    to_origin("proxy_100", "proxy_100_continue: true"),
    to_origin(
        "max_requests",
        "common_http_protocol_options: { max_requests_per_connection: 2 }",
    ),
    to_origin(
        "scheme_https",
        "scheme_header_transformation: { scheme_to_overwrite: https }",
    ),
    to_origin(
        "user_agent",
        "add_user_agent: true\nuse_remote_address: true",
    ),
    to_origin("request_timeout", "request_timeout: 1s"),
    to_origin("headers_timeout", "request_headers_timeout: 1s"),
    to_origin("stream_idle", "stream_idle_timeout: 1s"),
    to_origin(
        "idle",
        "common_http_protocol_options: { idle_timeout: 0.2s }\ndrain_timeout: 0.2s",
    ),
    to_origin(
        "idle_unused",
        "common_http_protocol_options: { idle_timeout: 0.2s }\ndrain_timeout: 60s",
    ),
    to_origin(
        "aged_unused",
        "common_http_protocol_options: { max_connection_duration: 0.2s }\ndrain_timeout: 60s",
    ),
    to_origin(
        "max_stream",
        "common_http_protocol_options: { max_stream_duration: 1s }",
    ),
    to_origin(
        "max_connection",
        "common_http_protocol_options: { max_connection_duration: 1s }\ndrain_timeout: 0.2s",
    ),
    to_origin("default_log", include_str!("logs/default.yaml")),
    to_origin("json_log", include_str!("logs/json.yaml")),
    to_origin("odd_log", include_str!("logs/odd.yaml")),
    to_origin("errors_log", include_str!("logs/errors.yaml")),
    to_origin("header_log", include_str!("logs/header.yaml")),
    to_origin("flag_log", include_str!("logs/flag.yaml")),
    to_origin(
        "health",
        concat!(
            include_str!("logs/health.yaml"),
            include_str!("logs/health_filters.yaml")
        ),
    ),
    to_origin(
        "health_mapped",
        concat!(
            "local_reply_config: { body_format: { text_format_source: { inline_string: \
             \"%RESPONSE_CODE% of a check\" } } }\n",
            include_str!("logs/health_filters.yaml")
        ),
    ),
    Listener {
        name: "suppressed",
        manager: "http_filters: [{ name: router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true } }]",
        hosts: include_str!("upstreams.yaml"),
    },
    routed("routes", include_str!("routes.yaml")),
    routed("domains", include_str!("domains.yaml")),
    routed("upstreams", include_str!("upstreams.yaml")),
];

pub fn clusters(ports: Ports) -> String {
    let Ports {
        origin,
        refused,
        stuck,
        ..
    } = ports;
    const OPTIONS: &str = "typed_extension_protocol_options:\n  \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
         \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    ";
    [
        cluster("origin", origin, ""),
        cluster(
            "with_trailers",
            origin,
            &format!("{OPTIONS}explicit_http_config: {{ http_protocol_options: {{ enable_trailers: true }} }}"),
        ),
        cluster("once", origin, &format!(
            "{OPTIONS}explicit_http_config: {{ http_protocol_options: {{}} }}\n    \
             common_http_protocol_options: {{ max_requests_per_connection: 1 }}"
        )),
        cluster("idle", origin, &format!(
            "{OPTIONS}explicit_http_config: {{ http_protocol_options: {{}} }}\n    \
             common_http_protocol_options: {{ idle_timeout: 2s }}"
        )),
        cluster("upstream_max_stream", origin, &format!(
            "{OPTIONS}explicit_http_config: {{ http_protocol_options: {{}} }}\n    \
             common_http_protocol_options: {{ max_stream_duration: 1s }}"
        )),
        cluster("no_requests", origin, "circuit_breakers: { thresholds: [{ max_requests: 0 }] }"),
        cluster("no_pending", origin, "circuit_breakers: { thresholds: [{ max_pending_requests: 0 }] }"),
        cluster("other_stat", origin, "alt_stat_name: renamed"),
        cluster("refused", refused, ""),
        cluster("stuck", stuck, "connect_timeout: 0.3s"),
        cluster("stuck_for_long", stuck, "connect_timeout: 2s"),
        empty_cluster("empty"),
    ]
    .concat()
}
