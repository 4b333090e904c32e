//! What every field of a connection manager becomes, and which are refused.

use super::*;
use crate::test_support::setup::at_manager;
use ringway_codecs::header::PreserveCase;

/// Compiles a connection manager with these lines, or says what is wrong.
fn compile_with(lines: &str) -> Result<Config, String> {
    match at_manager(lines, compile) {
        Ok((Some(config), found)) if !found.has_errors() => Ok(config),
        Ok((_, found)) | Err(found) => Err(found.to_string()),
    }
}

fn error(lines: &str) -> String {
    compile_with(lines)
        .err()
        .unwrap_or_else(|| "accepted".into())
}

#[test]
fn defaults_are_envoys() {
    let config = compile_with("").expect("it is valid");
    assert_eq!(&*config.stat_prefix, "s");
    assert_eq!(config.codec, Codec::Auto);
    assert!(config.http_filters.is_empty());
    assert_eq!(config.request.head_bytes_max, 60 * 1024);
    assert_eq!(config.request.headers_max, 100);
    assert!(!config.request.accept_http_10);
    assert!(!config.request.trailers);
    assert_eq!(config.request.default_host_for_http_10, None);
    assert_eq!(
        config.timeouts,
        Timeouts {
            idle: Some(Duration::from_secs(3600)),
            connection: None,
            stream: None,
            stream_idle: Some(Duration::from_secs(300)),
            stream_flush: None,
            request: None,
            request_headers: None,
            drain: Duration::from_secs(5),
            delayed_close: Some(Duration::from_secs(1)),
        }
    );
    assert!(config.request.allow_absolute_url);
    assert_eq!(config.edge.path, PathRules::default());
    assert_eq!(config.edge.strip_port, StripPort::Never);
    assert!(!config.edge.use_remote_address && config.edge.generate_request_id);
    assert!(
        !config
            .edge
            .internal_addresses
            .contains([10, 0, 0, 1].into())
    );
    assert_eq!(config.edge.server_header, ServerHeader::Overwrite);
    assert_eq!(&*config.edge.server_name, b"envoy");
    assert_eq!(config.edge.scheme_to_overwrite, None);
    assert_eq!(&*config.edge.via, b"");
    assert_eq!(config.requests_per_connection_max, None);
    assert!(!config.request.allow_custom_methods && !config.stays_after_bad_request);
    assert_eq!(config.response_names, NameCase::Lower);
    assert!(config.request.preserve_case.is_none() && config.proxy_status.is_none());
    assert!(config.edge.pack_trace_reason && config.edge.ignored_upgrades.is_empty());
    assert_eq!(config.log_flushes, LogFlushes::default());
}

#[test]
fn names_are_preserved_where_a_formatter_says_so() {
    let config = compile_with(
        "          http_protocol_options:
            header_key_format:
              stateful_formatter:
                name: any
                typed_config:
                  '@type': type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig
                  forward_reason_phrase: true
                  formatter_type_on_envoy_headers: PROPER_CASE
",
    )
    .expect("it is valid");
    assert_eq!(config.response_names, NameCase::Lower);
    let preserved = PreserveCase {
        others: NameCase::Proper,
        reason_phrase: true,
    };
    assert_eq!(config.request.preserve_case, Some(preserved));
}

#[test]
fn the_older_fields_of_log_options_still_work() {
    let config = compile_with(
        "          flush_access_log_on_new_request: true\n          access_log_flush_interval: 2s\n",
    )
    .expect("it is valid");
    assert!(config.log_flushes.on_new_request);
    assert_eq!(config.log_flushes.interval, Some(Duration::from_secs(2)));
}

#[test]
fn what_only_one_side_of_the_codec_or_nobody_does() {
    for (lines, expected) in [
        (
            "          http_protocol_options: {header_key_format: {}}\n",
            "http_protocol_options.header_key_format",
        ),
        (
            "          http_protocol_options: {header_key_format: {stateful_formatter: {name: a}}}\n",
            "header_key_format.stateful_formatter",
        ),
        (
            "          http_protocol_options: {header_key_format: {stateful_formatter: {name: a, \
             typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}\n",
            "header_key_format.stateful_formatter.typed_config: a typed_config of type \
             envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        ),
        (
            "          http_protocol_options: {ignore_http_11_upgrade: [{safe_regex: {regex: '(a'}}]}\n",
            "http_protocol_options.ignore_http_11_upgrade[0].safe_regex",
        ),
        (
            "          request_id_extension: {typed_config: \
             {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n",
            "request_id_extension.typed_config: a typed_config of type \
             envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig is needed here",
        ),
        (
            "          proxy_status_config: {literal_proxy_name: \"a\\nb\"}\n",
            "proxy_status_config.literal_proxy_name: a header's value has no line ends",
        ),
        (
            "          access_log_options: {access_log_flush_interval: 0s}\n",
            "access_log_options.access_log_flush_interval",
        ),
        (
            "          access_log_options: {}\n          flush_access_log_on_new_request: true\n",
            "flush_access_log_on_new_request: access_log_options says it already",
        ),
        (
            "          access_log_options: {}\n          access_log_flush_interval: 1s\n",
            "access_log_flush_interval: access_log_options says it already",
        ),
    ] {
        let found = error(lines);
        assert!(found.contains(expected), "{lines}: {found}");
    }
}

#[test]
fn every_field_arrives() {
    let config = compile_with(
        "          codec_type: HTTP1
          http_filters:
          - name: router
            typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          add_user_agent: true
          common_http_protocol_options:
            idle_timeout: 0s
            max_connection_duration: 10s
            max_stream_duration: 20s
            max_headers_count: 7
            headers_with_underscores_action: DROP_HEADER
            max_requests_per_connection: 3
          http_protocol_options:
            allow_absolute_url: false
            accept_http_10: true
            default_host_for_http_10: old.example
            enable_trailers: true
            allow_chunked_length: true
            header_key_format: {proper_case_words: {}}
            allow_custom_methods: true
            ignore_http_11_upgrade: [{exact: foo}]
            override_stream_error_on_invalid_http_message: true
          proxy_status_config: {use_node_id: true}
          request_id_extension:
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig
              pack_trace_reason: false
          access_log_options:
            access_log_flush_interval: 5s
            flush_access_log_on_new_request: true
            flush_log_on_tunnel_successfully_established: true
          server_name: srv
          server_header_transformation: APPEND_IF_ABSENT
          scheme_header_transformation: {scheme_to_overwrite: https}
          max_request_headers_kb: 8
          stream_idle_timeout: 1s
          request_timeout: 2s
          request_headers_timeout: 3s
          drain_timeout: 4s
          delayed_close_timeout: 0s
          use_remote_address: true
          xff_num_trusted_hops: 2
          internal_address_config:
            unix_sockets: true
            cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]
          skip_xff_append: true
          via: v
          generate_request_id: false
          preserve_external_request_id: true
          always_set_request_id_in_response: true
          proxy_100_continue: true
          normalize_path: true
          stream_flush_timeout: 5s
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          strip_matching_host_port: true
          strip_trailing_host_dot: true
          append_x_forwarded_port: true
",
    )
    .expect("it is valid");
    assert_eq!(config.codec, Codec::Http1);
    assert_eq!(&*config.http_filters[0].name, "router");
    assert_eq!(config.request.head_bytes_max, 8192);
    assert_eq!(config.request.headers_max, 7);
    assert!(config.request.accept_http_10 && config.request.allow_chunked_length);
    assert!(config.request.allow_custom_methods && config.stays_after_bad_request);
    assert_eq!(config.response_names, NameCase::Proper);
    assert_eq!(config.request.preserve_case, None);
    assert!(config.proxy_status.is_some());
    assert_eq!(
        config.log_flushes,
        LogFlushes {
            on_new_request: true,
            interval: Some(Duration::from_secs(5)),
            on_tunnel: true,
        }
    );
    assert!(config.request.trailers);
    assert_eq!(
        config.request.default_host_for_http_10.as_deref(),
        Some("old.example")
    );
    assert!(matches!(
        config.request.underscores,
        HeadersWithUnderscores::DropHeader
    ));
    assert_eq!(config.requests_per_connection_max, Some(3));
    let seconds = |n| Some(Duration::from_secs(n));
    assert_eq!(
        config.timeouts,
        Timeouts {
            idle: None,
            connection: seconds(10),
            stream: seconds(20),
            stream_idle: seconds(1),
            stream_flush: Some(seconds(5)),
            request: seconds(2),
            request_headers: seconds(3),
            drain: Duration::from_secs(4),
            delayed_close: None,
        }
    );
    assert!(!config.request.allow_absolute_url);
    let node = Node {
        id: "n".into(),
        cluster: "c".into(),
        ..Node::default()
    };
    let edge = config.edge(&node, Some([192, 0, 2, 1].into()));
    assert!(edge.path.normalize && edge.path.merge_slashes);
    assert_eq!(edge.path.escaped_slashes, EscapedSlashes::Reject);
    assert_eq!(edge.strip_port, StripPort::Matching);
    assert!(edge.strip_trailing_host_dot && config.proxy_100_continue);
    assert!(edge.use_remote_address && edge.skip_xff_append && edge.append_x_forwarded_port);
    assert_eq!(edge.user_agent.as_deref(), Some(&b"c"[..]));
    assert_eq!(&*edge.node_id, b"n");
    assert_eq!(edge.local_address, Some([192, 0, 2, 1].into()));
    assert_eq!(edge.xff_num_trusted_hops, 2);
    assert!(edge.internal_addresses.unix_sockets);
    assert!(edge.internal_addresses.contains([10, 9, 8, 7].into()));
    assert!(!edge.internal_addresses.contains([11, 9, 8, 7].into()));
    assert_eq!(&*edge.via, b"v");
    assert!(!edge.generate_request_id && edge.preserve_external_request_id);
    assert!(edge.always_set_request_id_in_response && !edge.pack_trace_reason);
    assert!(edge.ignored_upgrades[0].matches(b"foo"));
    assert_eq!(edge.server_header, ServerHeader::AppendIfAbsent);
    assert_eq!(&*edge.server_name, b"srv");
    assert_eq!(edge.scheme_to_overwrite, Some(Scheme::Https));
}

#[test]
fn mistakes_of_local_replies() {
    const PASS: &str = "filter: {not_health_check_filter: {}}";
    for (config, expected) in [
        (
            "mappers: [{status_code: 200}]".to_owned(),
            "mappers[0].filter",
        ),
        (
            format!("mappers: [{{{PASS}, status_code: 100}}]"),
            "status_code",
        ),
        (
            format!("mappers: [{{{PASS}, status_code: 600}}]"),
            "status_code",
        ),
        (
            format!("mappers: [{{{PASS}, body: {{filename: /nonexistent/ringway}}}}]"),
            "mappers[0].body.filename: cannot read",
        ),
        (
            format!("mappers: [{{{PASS}, body: {{filename: /dev/zero}}}}]"),
            "mappers[0].body: a data source has at most 1048576 bytes",
        ),
        (
            format!("mappers: [{{{PASS}, body: {{environment_variable: RINGWAY_NONE}}}}]"),
            "there is no environment variable \"RINGWAY_NONE\"",
        ),
        (
            format!("mappers: [{{{PASS}, headers_to_add: [{{header: {{key: host, value: a}}}}]}}]"),
            "headers_to_add[0].header.key: :-prefixed or host headers may not be modified",
        ),
        (
            format!(
                "mappers: [{{{PASS}, headers_to_add: [{{header: {{key: a, value: '%NONE%'}}}}]}}]"
            ),
            "headers_to_add[0].header.value: Not supported field in StreamInfo: NONE",
        ),
        (
            "body_format: {text_format_source: {inline_string: '%NONE%'}}".to_owned(),
            "body_format.text_format_source.inline_string: Not supported field",
        ),
        ("body_format: {}".to_owned(), "body_format"),
        (
            "body_format: {text_format: a, content_type: \"a\\nb\"}".to_owned(),
            "body_format.content_type",
        ),
    ] {
        let found = error(&format!("          local_reply_config: {{{config}}}\n"));
        let at = "typed_config.local_reply_config.";
        assert!(
            found.contains(at) && found.contains(expected),
            "{config}: {found}"
        );
    }
}

#[test]
fn mistakes() {
    const AT: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    const ROUTER: &str = "typed_config: {'@type': \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}";
    for (lines, expected) in [
        (
            "          strip_matching_host_port: true\n          strip_any_host_port: true\n"
                .to_owned(),
            format!(
                "f.yaml:12:32: {AT}.strip_any_host_port: \
                 only one of strip_matching_host_port and strip_any_host_port may be set"
            ),
        ),
        (
            "          common_http_protocol_options: {max_response_headers_kb: 9}\n".to_owned(),
            format!(
                "f.yaml:11:67: {AT}.common_http_protocol_options.max_response_headers_kb: \
                 cannot be set on a connection manager; it belongs to clusters"
            ),
        ),
        (
            "          internal_address_config: {cidr_ranges: [{address_prefix: ten}]}\n"
                .to_owned(),
            format!(
                "f.yaml:11:68: {AT}.internal_address_config.cidr_ranges[0].address_prefix: \
                 malformed IP address: \"ten\""
            ),
        ),
        (
            format!(
                "          http_filters:\n          - {{name: a, {ROUTER}}}\n          \
                 - {{name: b, {ROUTER}}}\n"
            ),
            format!(
                "f.yaml:12:13: {AT}.http_filters[0]: \
                 terminal filter a must be the last filter in a http filter chain"
            ),
        ),
        (
            "          http_filters: [{name: a}]\n".to_owned(),
            format!(
                "f.yaml:11:26: {AT}.http_filters[0]: \
                 \"a\" needs a typed_config: its type selects the implementation"
            ),
        ),
        (
            "          codec_type: HTTP3\n".to_owned(),
            format!(
                "f.yaml:11:23: {AT}.codec_type: HTTP3 is not supported yet \
                 (only AUTO, HTTP1, HTTP2)"
            ),
        ),
        (
            "          upgrade_configs: [{upgrade_type: a}, {upgrade_type: A}]\n".to_owned(),
            format!(
                "f.yaml:11:63: {AT}.upgrade_configs[1].upgrade_type: \
                 \"A\" is configured by {AT}.upgrade_configs[0] already (f.yaml:11:29)"
            ),
        ),
        (
            "          upgrade_configs: [{upgrade_type: CONNECT-UDP}]\n".to_owned(),
            format!(
                "f.yaml:11:44: {AT}.upgrade_configs[0].upgrade_type: \
                 CONNECT-UDP is not supported yet: it needs HTTP/2 or HTTP/3"
            ),
        ),
        (
            "          upgrade_configs: [{upgrade_type: a, filters: [{name: b}]}]\n".to_owned(),
            format!(
                "f.yaml:11:57: {AT}.upgrade_configs[0].filters[0]: \
                 \"b\" needs a typed_config: its type selects the implementation"
            ),
        ),
    ] {
        assert_eq!(error(&lines), expected);
    }
}
