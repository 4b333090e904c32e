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
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use ringway_codecs::header::NameCase;
use ringway_codecs::http1::{HeadersWithUnderscores, RequestOptions};
use ringway_config::cidr::CidrRange;
use ringway_config::core::{self, Node};
use ringway_config::header_key_format::HeaderNames;
use ringway_config::http2_protocol_options::Http2ProtocolOptions;
use ringway_config::listener::{Extension, check_terminal};
use ringway_config::route::{Forward, StringMatcher};
use ringway_config::support::is_known;
use ringway_config::{Cx, type_name, unpack};

use super::local_reply_config::LocalReplyConfig;
use super::log_flushes::LogFlushes;
use super::proxy_status::ProxyStatus;
use super::routes::Routes;
use super::upgrade::{self, UpgradeConfig};
use crate::access_loggers::{self, AccessLog};
use crate::http::conn_manager_utility::{Edge, Scheme, ServerHeader};
use crate::http::forward_client_cert::{Details, Format, ForwardClientCert, Mode};
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
    /// How names of responses look.
    pub response_names: NameCase,
    /// HTTP/2 on the client's side.
    pub http2: Http2ProtocolOptions,
    /// Access logs of every request.
    pub access_logs: Vec<AccessLog>,
    /// One of them tells how much was sent to the client.
    pub logs_sent_bytes: bool,
    /// When they are written besides the end of a request.
    pub log_flushes: LogFlushes,
    /// All time limits.
    pub timeouts: Timeouts,
    /// Requests after which a connection is closed; `None` is no limit.
    pub requests_per_connection_max: Option<u32>,

    /// `Expect: 100-continue` goes upstream; otherwise it is answered here.
    pub proxy_100_continue: bool,
    /// `user-agent` and `x-envoy-downstream-service-cluster` are set from
    /// the node: see [`Config::edge`].
    pub add_user_agent: bool,
    /// A request that is answered with 400 need not cost the client its
    /// connection (`stream_error_on_invalid_http_message`).
    pub stays_after_bad_request: bool,
    /// What clients are told of errors, if anything.
    pub proxy_status: Option<ProxyStatus>,
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
    /// A request without progress, from its first byte on; routes may override it.
    pub stream_idle: Option<Duration>,
    /// A response that waits for the client to read, where it is said.
    pub stream_flush: Option<Option<Duration>>,
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

/// Which limit a request's head has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadTimeout {
    /// [`Timeouts::request_headers`]
    Headers,
    /// [`Timeouts::request`]
    Request,
    /// [`Timeouts::stream_idle`]: a head that is not whole is no progress.
    Idle,
}

impl Timeouts {
    /// How long a request's head may take, and what ends it then.
    #[must_use]
    pub fn head(&self) -> Option<(Duration, HeadTimeout)> {
        let all = [
            (self.request_headers, HeadTimeout::Headers),
            (self.request, HeadTimeout::Request),
            (self.stream_idle, HeadTimeout::Idle),
        ];
        let limits = all.into_iter().filter_map(|(limit, of)| Some((limit?, of)));
        limits.min_by_key(|(limit, _)| *limit)
    }

    /// How long a response to a request of this route may wait for the client
    /// to read it: what is said of that, the route's word first, and else of
    /// requests without progress.
    #[must_use]
    pub fn flush(&self, route: Option<&Forward>) -> Option<Duration> {
        let of_route = route.and_then(|route| route.flush_timeout);
        let idle = || route.and_then(|route| route.idle_timeout);
        let said = of_route.or(self.stream_flush).or_else(idle);
        said.unwrap_or(self.stream_idle)
    }
}

/// `codec_type`. HTTP/3 is refused by the support table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Found out from the first bytes.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
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
    let edge = edge(&proto, &http1, cx);
    let proxy_status = proto.proxy_status_config.as_ref().map(|config| {
        cx.field("proxy_status_config", |cx| {
            ProxyStatus::compile(config, &edge.server_name, cx)
        })
    });
    let local_replies = match &proto.local_reply_config {
        None => Some(None),
        Some(config) => cx
            .field("local_reply_config", |cx| {
                LocalReplyConfig::compile(config, cx)
            })
            .map(Some),
    };
    let names = cx.field("http_protocol_options", |cx| {
        HeaderNames::lower(http1.header_key_format.as_ref(), cx)
    });
    let mut http2 = match &proto.http2_protocol_options {
        None => Http2ProtocolOptions::default(),
        Some(options) => cx.field("http2_protocol_options", |cx| {
            Http2ProtocolOptions::lower(options, cx)
        }),
    };
    let stream_errors = core::bool_or(proto.stream_error_on_invalid_http_message, false);
    http2.stream_errors.get_or_insert(stream_errors);
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
            allow_custom_methods: http1.allow_custom_methods,
            preserve_case: names.preserved,
        },
        response_names: names.case,
        http2,
        logs_sent_bytes: access_logs.iter().any(AccessLog::tells_sent_bytes),
        access_logs,
        log_flushes: LogFlushes::lower(&proto, cx),
        timeouts,
        requests_per_connection_max: common.requests_per_connection_max,
        proxy_status,
        proxy_100_continue: proto.proxy_100_continue,
        stays_after_bad_request: core::bool_or(
            http1.override_stream_error_on_invalid_http_message,
            stream_errors,
        ),
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
        CodecType::Http2 => Some(Codec::Http2),
        CodecType::Http3 => {
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
        stream_flush: proto.stream_flush_timeout.map(|_| {
            let timeout = proto.stream_flush_timeout;
            core::duration_or_off(timeout, "stream_flush_timeout", None, cx)
        }),
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
fn edge(
    proto: &pb::HttpConnectionManager,
    http1: &core_pb::Http1ProtocolOptions,
    cx: &mut Cx<'_>,
) -> Edge {
    let scheme = proto.scheme_header_transformation.as_ref();
    Edge {
        use_remote_address: core::bool_or(proto.use_remote_address, false),
        xff_num_trusted_hops: proto.xff_num_trusted_hops,
        skip_xff_append: proto.skip_xff_append,
        append_x_forwarded_port: proto.append_x_forwarded_port,
        internal_addresses: internal_addresses(proto.internal_address_config.as_ref(), cx),
        ignored_upgrades: ignored_upgrades(http1, cx),
        scheme_to_overwrite: scheme.and_then(scheme_to_overwrite),
        generate_request_id: core::bool_or(proto.generate_request_id, true),
        preserve_external_request_id: proto.preserve_external_request_id,
        pack_trace_reason: packs_trace_reason(proto.request_id_extension.as_ref(), cx),
        always_set_request_id_in_response: proto.always_set_request_id_in_response,
        via: proto.via.as_bytes().into(),
        user_agent: None,
        node_id: Box::default(),
        local_address: None,
        client_cert: client_cert(proto),
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

/// What the next hop learns of the client's certificate.
fn client_cert(proto: &pb::HttpConnectionManager) -> ForwardClientCert {
    use pb::http_connection_manager::{ForwardClientCertDetails, ForwardClientCertFormat};
    let details = proto.set_current_client_cert_details.unwrap_or_default();
    ForwardClientCert {
        mode: match proto.forward_client_cert_details() {
            ForwardClientCertDetails::Sanitize => Mode::Sanitize,
            ForwardClientCertDetails::ForwardOnly => Mode::ForwardOnly,
            ForwardClientCertDetails::AppendForward => Mode::AppendForward,
            ForwardClientCertDetails::SanitizeSet => Mode::SanitizeSet,
            ForwardClientCertDetails::AlwaysForwardOnly => Mode::AlwaysForwardOnly,
        },
        format: match details.format() {
            ForwardClientCertFormat::Text => Format::Text,
            ForwardClientCertFormat::Json => Format::Json,
        },
        details: Details {
            cert: details.cert,
            chain: details.chain,
            subject: core::bool_or(details.subject, false),
            uri: details.uri,
            dns: details.dns,
            issuer: details.issuer,
        },
    }
}

/// The one kind of request ids that there is.
fn packs_trace_reason(proto: Option<&pb::RequestIdExtension>, cx: &mut Cx<'_>) -> bool {
    let Some(any) = proto.and_then(|proto| proto.typed_config.as_ref()) else {
        return true;
    };
    let config: Option<UuidRequestIdConfig> = cx.field("request_id_extension", |cx| {
        cx.field("typed_config", |cx| unpack(any, cx))
    });
    core::bool_or(config.unwrap_or_default().pack_trace_reason, true)
}

fn ignored_upgrades(
    proto: &core_pb::Http1ProtocolOptions,
    cx: &mut Cx<'_>,
) -> Arc<[StringMatcher]> {
    let mut ignored = Vec::with_capacity(proto.ignore_http_11_upgrade.len());
    cx.field("http_protocol_options", |cx| {
        for (i, matcher) in proto.ignore_http_11_upgrade.iter().enumerate() {
            ignored.extend(cx.index("ignore_http_11_upgrade", i, |cx| {
                StringMatcher::lower(matcher, cx)
            }));
        }
    });
    ignored.into()
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
mod tests;
