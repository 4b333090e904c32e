//! The compiled `HttpConnectionManager`
//! (`envoy.extensions.filters.network.http_connection_manager.v3`).
//!
//! [`Config`] is what a worker reads for every connection and request: no
//! message, no string that still has to be understood. [`compile`] makes it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::config::core::v3::http_protocol_options::HeadersWithUnderscoresAction as Action;
use envoy_types::pb::envoy::config::core::v3::scheme_header_transformation::Transformation;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, InternalAddressConfig, PathWithEscapedSlashesAction,
    ServerHeaderTransformation, StripPortMode,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use ringway_codecs::http1::{HeadersWithUnderscores, RequestOptions};
use ringway_config::cidr::CidrRange;
use ringway_config::core::{self, Node};
use ringway_config::listener::{Extension, check_terminal};
use ringway_config::support::is_known;
use ringway_config::{Cx, type_name, unpack};

use super::local_reply_config::LocalReplyConfig;
use super::routes::Routes;
use super::upgrade::{self, UpgradeConfig};
use crate::access_loggers::{self, AccessLog};
use crate::http::conn_manager_utility::{Edge, Scheme, ServerHeader};
use crate::http::host_utility::StripPort;
use crate::http::internal_address::InternalAddresses;
use crate::http::path_utility::{EscapedSlashes, PathRules};

/// A compiled connection manager: immutable, shared by all workers.
pub struct Config {
    /// `<stat_prefix>` in `http.<stat_prefix>.` stats.
    pub stat_prefix: Arc<str>,
    /// Which protocols a connection may speak.
    pub codec: Codec,
    /// Virtual hosts and routes.
    pub routes: Routes,
    /// HTTP filters in request order; the last is terminal (the router).
    /// Empty when the configuration names none, which Envoy accepts: such a
    /// chain answers no request.
    pub http_filters: Vec<Extension>,
    /// The names of all HTTP filters that were written, of upgrades too, and of
    /// those that were left out.
    pub filter_names: Box<[Arc<str>]>,
    /// What connections may change to.
    pub upgrades: Vec<UpgradeConfig>,
    /// Limits and policies of the HTTP/1 request codec; its `trailers` also
    /// decides whether response trailers are sent downstream.
    pub request: RequestOptions,
    /// Access logs of every request.
    pub access_logs: Vec<AccessLog>,
    /// All time limits.
    pub timeouts: Timeouts,
    /// Requests after which a connection is closed; `None` is no limit.
    pub requests_per_connection_max: Option<u32>,

    /// `Expect: 100-continue` goes upstream; otherwise it is answered here.
    pub proxy_100_continue: bool,
    /// `user-agent` and `x-envoy-downstream-service-cluster` are set from
    /// the node: see [`Config::edge`].
    pub add_user_agent: bool,
    /// What becomes of local replies; `None` leaves them as they are.
    pub local_replies: Option<LocalReplyConfig>,
    edge: Edge,
}

impl Config {
    /// What is done to the headers of requests and responses, for a process
    /// that is `node` and whose peers on loopback are shown as
    /// `local_address` in `x-forwarded-for`.
    pub fn edge(&self, node: &Node, local_address: Option<IpAddr>) -> Edge {
        let mut edge = self.edge.clone();
        if self.add_user_agent {
            edge.user_agent = Some(node.cluster.as_bytes().into());
            edge.node_id = node.id.as_bytes().into();
        }
        edge.local_address = local_address;
        edge
    }
}

/// Time limits of a connection manager; `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection without requests.
    pub idle: Option<Duration>,
    /// A connection from its start until it is drained.
    pub connection: Option<Duration>,
    /// A request from its first byte to the end of its response.
    pub stream: Option<Duration>,
    /// A request without progress; routes may override it.
    pub stream_idle: Option<Duration>,
    /// A response that waits for the client to read.
    pub stream_flush: Option<Duration>,
    /// Receiving a whole request.
    pub request: Option<Duration>,
    /// Receiving a request's head, from its first byte.
    pub request_headers: Option<Duration>,
    /// How long a draining connection still takes requests.
    pub drain: Duration,
    /// How long a connection closed with data in flight waits for the
    /// client to close first; `None` closes at once.
    pub delayed_close: Option<Duration>,
}

/// `codec_type`. HTTP/2 and HTTP/3 are refused by the support table; with
/// `Auto` the HTTP/2 preface is answered as a protocol error so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Found out from the first bytes.
    Auto,
    /// HTTP/1 only.
    Http1,
}

/// Compiles the connection manager that `any` configures.
pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Config> {
    let proto = unpack::<pb::HttpConnectionManager>(any, cx)?;
    let common = CommonOptions::lower(proto.common_http_protocol_options.as_ref(), cx);
    let http1 = proto.http_protocol_options.clone().unwrap_or_default();
    let access_logs = access_loggers::compile(&proto.access_log, cx);
    let http_filters = http_filters(&proto.http_filters, "http_filters", "http", cx);
    let upgrades = upgrade::compile(&proto.upgrade_configs, cx);
    let of_upgrades = proto.upgrade_configs.iter().flat_map(|one| &one.filters);
    let written = proto.http_filters.iter().chain(of_upgrades);
    let filter_names = written.map(|filter| filter.name.as_str().into()).collect();
    let timeouts = timeouts(&proto, &common, cx);
    let edge = edge(&proto, cx);
    let local_replies = match &proto.local_reply_config {
        None => Some(None),
        Some(config) => cx
            .field("local_reply_config", |cx| {
                LocalReplyConfig::compile(config, cx)
            })
            .map(Some),
    };
    let routes = Routes::compile(proto.route_specifier.as_ref(), cx);

    Some(Config {
        stat_prefix: proto.stat_prefix.as_str().into(),
        codec: codec(&proto, cx)?,
        routes: routes?,
        http_filters,
        filter_names,
        upgrades,
        request: RequestOptions {
            head_bytes_max: core::u32_or(proto.max_request_headers_kb, REQUEST_HEADERS_KB) as usize
                * 1024,
            headers_max: common.headers_max as usize,
            allow_absolute_url: core::bool_or(http1.allow_absolute_url, true),
            // As in Envoy: at the edge nobody before us takes TLS off.
            refuse_https_url: edge.use_remote_address && edge.xff_num_trusted_hops == 0,
            accept_http_10: http1.accept_http_10,
            default_host_for_http_10: Some(http1.default_host_for_http_10)
                .filter(|host| !host.is_empty())
                .map(String::into_boxed_str),
            underscores: common.underscores,
            allow_chunked_length: http1.allow_chunked_length,
            trailers: http1.enable_trailers,
        },
        access_logs,
        timeouts,
        requests_per_connection_max: common.requests_per_connection_max,
        proxy_100_continue: proto.proxy_100_continue,
        add_user_agent: core::bool_or(proto.add_user_agent, false),
        local_replies: local_replies?,
        edge,
    })
}

const REQUEST_HEADERS_KB: u32 = 60;

fn codec(proto: &pb::HttpConnectionManager, cx: &mut Cx<'_>) -> Option<Codec> {
    match proto.codec_type() {
        CodecType::Auto => Some(Codec::Auto),
        CodecType::Http1 => Some(Codec::Http1),
        CodecType::Http2 | CodecType::Http3 => {
            cx.error_at("codec_type", "not supported yet");
            None
        }
    }
}

/// The filters of `field`, which must end with a router.
pub(super) fn http_filters(
    protos: &[pb::HttpFilter],
    field: &str,
    chain: &str,
    cx: &mut Cx<'_>,
) -> Vec<Extension> {
    let mut filters = Vec::with_capacity(protos.len());
    let mut left_out = 0;
    for (i, proto) in protos.iter().enumerate() {
        let config = match &proto.config_type {
            Some(pb::http_filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(pb::http_filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        cx.index(field, i, |cx| {
            if proto.is_optional && config.is_some_and(|any| !is_known(type_name(&any.type_url))) {
                // A warning has been given.
                left_out += 1;
                return;
            }
            if let Some(mut filter) = Extension::lower(&proto.name, config, cx) {
                filter.disabled = proto.disabled;
                if proto.disabled && filter.message() == Router::full_name() {
                    cx.error_at("disabled", "the router at the end of the chain always runs");
                }
                filters.push(filter);
            }
        });
    }
    // Places in an incomplete list would be wrong, and its own error is told.
    if filters.len() + left_out == protos.len() {
        let is_terminal = |message: &str| message == Router::full_name();
        check_terminal(&filters, field, chain, is_terminal, cx);
    }
    filters
}

/// `common_http_protocol_options` of the downstream side.
struct CommonOptions {
    idle_timeout: Option<Duration>,
    connection_duration_max: Option<Duration>,
    stream_duration_max: Option<Duration>,
    headers_max: u32,
    underscores: HeadersWithUnderscores,
    requests_per_connection_max: Option<u32>,
}

impl CommonOptions {
    fn lower(proto: Option<&core_pb::HttpProtocolOptions>, cx: &mut Cx<'_>) -> CommonOptions {
        let proto = proto.copied().unwrap_or_default();
        cx.field("common_http_protocol_options", |cx| {
            if proto.max_response_headers_kb.is_some() {
                cx.error_at(
                    "max_response_headers_kb",
                    "cannot be set on a connection manager; it belongs to clusters",
                );
            }
            CommonOptions {
                idle_timeout: core::duration_or_off(
                    proto.idle_timeout,
                    "idle_timeout",
                    Some(IDLE_TIMEOUT),
                    cx,
                ),
                connection_duration_max: core::duration_or_off(
                    proto.max_connection_duration,
                    "max_connection_duration",
                    None,
                    cx,
                ),
                stream_duration_max: core::duration_or_off(
                    proto.max_stream_duration,
                    "max_stream_duration",
                    None,
                    cx,
                ),
                headers_max: core::u32_or(proto.max_headers_count, HEADERS_MAX),
                underscores: match proto.headers_with_underscores_action() {
                    Action::Allow => HeadersWithUnderscores::Allow,
                    Action::RejectRequest => HeadersWithUnderscores::RejectRequest,
                    Action::DropHeader => HeadersWithUnderscores::DropHeader,
                },
                requests_per_connection_max: core::u32_or_unlimited(
                    proto.max_requests_per_connection,
                ),
            }
        })
    }
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const HEADERS_MAX: u32 = 100;

fn timeouts(
    proto: &pb::HttpConnectionManager,
    common: &CommonOptions,
    cx: &mut Cx<'_>,
) -> Timeouts {
    let stream_idle = core::duration_or_off(
        proto.stream_idle_timeout,
        "stream_idle_timeout",
        Some(STREAM_IDLE_TIMEOUT),
        cx,
    );
    Timeouts {
        idle: common.idle_timeout,
        connection: common.connection_duration_max,
        stream: common.stream_duration_max,
        stream_idle,
        stream_flush: core::duration_or_off(
            proto.stream_flush_timeout,
            "stream_flush_timeout",
            stream_idle,
            cx,
        ),
        request: core::duration_or_off(proto.request_timeout, "request_timeout", None, cx),
        request_headers: core::duration_or_off(
            proto.request_headers_timeout,
            "request_headers_timeout",
            None,
            cx,
        ),
        drain: core::duration(proto.drain_timeout, "drain_timeout", cx).unwrap_or(DRAIN_TIMEOUT),
        delayed_close: core::duration_or_off(
            proto.delayed_close_timeout,
            "delayed_close_timeout",
            Some(DELAYED_CLOSE_TIMEOUT),
            cx,
        ),
    }
}

const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
const DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// All of [`Edge`] that does not depend on the process.
fn edge(proto: &pb::HttpConnectionManager, cx: &mut Cx<'_>) -> Edge {
    let scheme = proto.scheme_header_transformation.as_ref();
    Edge {
        use_remote_address: core::bool_or(proto.use_remote_address, false),
        xff_num_trusted_hops: proto.xff_num_trusted_hops,
        skip_xff_append: proto.skip_xff_append,
        append_x_forwarded_port: proto.append_x_forwarded_port,
        internal_addresses: internal_addresses(proto.internal_address_config.as_ref(), cx),
        scheme_to_overwrite: scheme.and_then(scheme_to_overwrite),
        generate_request_id: core::bool_or(proto.generate_request_id, true),
        preserve_external_request_id: proto.preserve_external_request_id,
        always_set_request_id_in_response: proto.always_set_request_id_in_response,
        via: proto.via.as_bytes().into(),
        user_agent: None,
        node_id: Box::default(),
        local_address: None,
        path: PathRules {
            normalize: core::bool_or(proto.normalize_path, false),
            merge_slashes: proto.merge_slashes,
            escaped_slashes: escaped_slashes(proto.path_with_escaped_slashes_action()),
        },
        strip_trailing_host_dot: proto.strip_trailing_host_dot,
        strip_port: strip_port(proto, cx),
        server_header: match proto.server_header_transformation() {
            ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
            ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
            ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
        },
        server_name: match proto.server_name.as_str() {
            "" => SERVER_NAME.into(),
            name => name.as_bytes().into(),
        },
    }
}

/// What Envoy calls itself; scripts and dashboards look for it.
const SERVER_NAME: &[u8] = b"envoy";

fn strip_port(proto: &pb::HttpConnectionManager, cx: &mut Cx<'_>) -> StripPort {
    let any = matches!(
        proto.strip_port_mode,
        Some(StripPortMode::StripAnyHostPort(true))
    );
    match (proto.strip_matching_host_port, any) {
        (true, true) => {
            cx.error_at(
                "strip_any_host_port",
                "only one of strip_matching_host_port and strip_any_host_port may be set",
            );
            StripPort::Any
        }
        (false, true) => StripPort::Any,
        (true, false) => StripPort::Matching,
        (false, false) => StripPort::Never,
    }
}

fn internal_addresses(proto: Option<&InternalAddressConfig>, cx: &mut Cx<'_>) -> InternalAddresses {
    let Some(proto) = proto else {
        return InternalAddresses::default();
    };
    let mut ranges = Vec::with_capacity(proto.cidr_ranges.len());
    cx.field("internal_address_config", |cx| {
        for (i, range) in proto.cidr_ranges.iter().enumerate() {
            let bits = core::u32_or(range.prefix_len, 0);
            ranges.extend(cx.index("cidr_ranges", i, |cx| {
                CidrRange::lower(&range.address_prefix, bits, cx)
            }));
        }
    });
    InternalAddresses::new(ranges, proto.unix_sockets)
}

/// Envoy leaves escaped slashes alone unless told otherwise by its runtime.
fn escaped_slashes(proto: PathWithEscapedSlashesAction) -> EscapedSlashes {
    match proto {
        PathWithEscapedSlashesAction::ImplementationSpecificDefault
        | PathWithEscapedSlashesAction::KeepUnchanged => EscapedSlashes::Keep,
        PathWithEscapedSlashesAction::RejectRequest => EscapedSlashes::Reject,
        PathWithEscapedSlashesAction::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
        PathWithEscapedSlashesAction::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
    }
}

/// The validation rules allow these two only.
fn scheme_to_overwrite(proto: &core_pb::SchemeHeaderTransformation) -> Option<Scheme> {
    match proto.transformation.as_ref()? {
        Transformation::SchemeToOverwrite(scheme) if scheme == "https" => Some(Scheme::Https),
        Transformation::SchemeToOverwrite(_) => Some(Scheme::Http),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::{Diagnostics, Format, LoadOptions, bootstrap, load};

    /// Compiles a connection manager with these lines (indented by eight)
    /// and the fields that every one needs.
    fn compile_with(lines: &str) -> Result<Config, String> {
        let text = format!(
            "\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          route_config: {{}}
{lines}"
        );
        let loaded = load(&text, "f.yaml", Format::Yaml, &LoadOptions::default())
            .map_err(|found| found.to_string())?;
        let snapshot = bootstrap::lower(&loaded).map_err(|found| found.to_string())?;
        let chain = snapshot.listeners[0].filter_chain().expect("it has one");
        let extension = &chain.filters[0];
        let mut found = Diagnostics::new();
        let names = &snapshot.names;
        let mut cx = Cx::new(&mut found, &loaded.marks, loaded.file.clone(), names);
        let config = cx.at(&extension.path, |cx| compile(&extension.config, cx));
        match config {
            Some(config) if !found.has_errors() => Ok(config),
            _ => Err(found.to_string()),
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
                stream_flush: Some(Duration::from_secs(300)),
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
                stream_flush: seconds(1),
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
        assert!(edge.always_set_request_id_in_response);
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
                "mappers[0].body: a body has at most 1048576 bytes",
            ),
            (
                format!("mappers: [{{{PASS}, body: {{environment_variable: RINGWAY_NONE}}}}]"),
                "there is no environment variable \"RINGWAY_NONE\"",
            ),
            (
                format!(
                    "mappers: [{{{PASS}, headers_to_add: [{{header: {{key: host, value: a}}}}]}}]"
                ),
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
                "          codec_type: HTTP2\n".to_owned(),
                format!(
                    "f.yaml:11:23: {AT}.codec_type: HTTP2 is not supported yet (only AUTO, HTTP1)"
                ),
            ),
            (
                "          upgrade_configs: [{upgrade_type: a}, {upgrade_type: A}]\n".to_owned(),
                format!(
                    "f.yaml:11:63: {AT}.upgrade_configs[1].upgrade_type: \
                     \"A\" is configured by upgrade_configs[0] already"
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
}
