//! The compiled `HttpConnectionManager`
//! (`envoy.extensions.filters.network.http_connection_manager.v3`).
//!
//! [`Config`] is what a worker reads for every connection and request: no
//! message, no string that still has to be understood. [`compile`] makes it.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::http1::{HeadersWithUnderscores, RequestOptions};
use ringway_config::core::{Cidr, bool_or, cidr, duration, duration_or_off, u32_or};
use ringway_config::listener::{Extension, TerminalCheck, extension};
use ringway_config::route::{self, RouteConfiguration};
use ringway_config::{Cx, unpack};

use crate::access_loggers::{self, AccessLog};

/// A compiled connection manager: immutable, shared by all workers.
pub struct Config {
    /// `<stat_prefix>` in `http.<stat_prefix>.` stats.
    pub stat_prefix: Arc<str>,
    /// Which protocols a connection may speak.
    pub codec: Codec,
    /// Virtual hosts and routes.
    pub routes: Arc<RouteConfiguration>,
    /// HTTP filters in request order; the last is terminal (the router).
    /// Empty when the configuration names none, which Envoy accepts: such a
    /// chain answers no request.
    pub http_filters: Vec<Extension>,
    /// Limits and policies of the HTTP/1 request codec; its `trailers` also
    /// decides whether response trailers are sent downstream.
    pub request: RequestOptions,
    /// Access logs of every request.
    pub access_logs: Vec<AccessLog>,
    /// All time limits.
    pub timeouts: Timeouts,
    /// Requests after which a connection is closed; `None` is no limit.
    pub requests_per_connection_max: Option<u32>,

    // Request line and host.
    /// `GET http://host/path` is taken apart; otherwise it is refused.
    pub allow_absolute_url: bool,
    /// Paths are normalised (RFC 3986 section 6) before routing.
    pub normalize_path: bool,
    /// `//` becomes `/`, after normalisation.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
    /// Whether the port of `:authority` is removed.
    pub strip_port: StripPort,
    /// `example.com.` becomes `example.com`.
    pub strip_trailing_host_dot: bool,
    /// An invalid request gets its error and the connection lives on;
    /// otherwise it is closed.
    pub stream_error_on_invalid_message: bool,
    /// `Expect: 100-continue` goes upstream; otherwise it is answered here.
    pub proxy_100_continue: bool,

    // Who the client is.
    /// The peer's address is the client's, and is appended to
    /// `x-forwarded-for`: this proxy is the edge.
    pub use_remote_address: bool,
    /// Trusted proxies in front, counted from the right of
    /// `x-forwarded-for`.
    pub xff_num_trusted_hops: u32,
    /// `x-forwarded-for` stays as it came.
    pub skip_xff_append: bool,
    /// `x-forwarded-port` is set when absent.
    pub append_x_forwarded_port: bool,
    /// Which addresses make a request internal.
    pub internal_addresses: InternalAddresses,

    // Headers that are added.
    /// `user-agent` and `x-envoy-downstream-service-cluster` are set from
    /// the node's cluster.
    pub add_user_agent: bool,
    /// Appended to `via` of requests and responses.
    pub via: Option<Arc<str>>,
    /// `x-request-id` is made when absent or not trusted.
    pub generate_request_id: bool,
    /// An edge request keeps the `x-request-id` that it came with.
    pub preserve_external_request_id: bool,
    /// Every response carries `x-request-id`.
    pub always_set_request_id_in_response: bool,
    /// What happens to the `server` header of responses.
    pub server_header: ServerHeader,
    /// Value of the `server` header; `envoy` when not configured.
    pub server_name: Arc<str>,
    /// `:scheme` is replaced by this (`http` or `https`).
    pub scheme_to_overwrite: Option<&'static str>,
    /// `:scheme` follows the upstream's transport.
    pub scheme_match_upstream: bool,
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

/// `path_with_escaped_slashes_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay.
    Keep,
    /// 400.
    Reject,
    /// 307 to the unescaped path.
    UnescapeAndRedirect,
    /// The unescaped path is routed and forwarded.
    UnescapeAndForward,
}

/// `strip_matching_host_port` and `strip_any_host_port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripPort {
    /// The port stays.
    Keep,
    /// Removed if it is the listener's.
    Matching,
    /// Removed whatever it is.
    Any,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always [`Config::server_name`].
    Overwrite,
    /// [`Config::server_name`] if the response has none.
    AppendIfAbsent,
    /// Only what the upstream says.
    PassThrough,
}

/// `internal_address_config`. Without it no address is internal: since
/// Envoy 1.33 the private ranges are no longer trusted unasked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InternalAddresses {
    /// Networks whose addresses are internal.
    pub cidrs: Vec<Cidr>,
    /// Peers on Unix sockets are internal.
    pub unix_sockets: bool,
}

impl InternalAddresses {
    /// Whether `address` is internal.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        self.cidrs.iter().any(|cidr| cidr.contains(address))
    }
}
