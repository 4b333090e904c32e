//! What expressions know of a request: Envoy's attributes by name, and their
//! values.

use super::super::metadata::Owner;
use super::super::operator::Side;
use super::super::tls::{self, TlsAttribute};
use super::super::{AccessLogType, Context, grpc, query};
use super::value::Value;
use crate::stream_info::{StreamInfo, TimePoint};
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::metadata::Metadata;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

/// A name that stands for attributes. It is no value by itself here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Request,
    Response,
    Connection,
    Upstream,
    Source,
    Destination,
    Xds,
    FilterState,
    /// A message of metadata.
    Metadata(Owner),
    /// `filter_metadata` of one.
    Namespaces(Owner),
    Headers(Side),
}

/// A fact with a value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    RequestHeader(HeaderId),
    UrlPath,
    Query,
    RequestTime,
    RequestProtocol,
    RequestDuration,
    RequestSize,
    RequestTotalSize,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseGrpcStatus,
    ResponseSize,
    ResponseTotalSize,
    BackendLatency,
    SourceAddress,
    SourcePort,
    DestinationAddress,
    DestinationPort,
    ConnectionId,
    Mtls,
    Tls(TlsAttribute),
    RequestedServerName,
    TerminationDetails,
    UpstreamAddress,
    UpstreamPort,
    UpstreamLocalAddress,
    UpstreamTransportFailureReason,
    RequestAttemptCount,
    ClusterName,
    RouteName,
    FilterChainName,
}

/// What a name after a dot leads to.
pub(super) enum Selected {
    Root(Root),
    Attribute(Attribute),
    /// Never set on the connections that exist so far, or no attribute at all.
    Never,
    /// Envoy knows it.
    NotYet,
}

impl Root {
    /// The root that a name stands for.
    pub fn from_name(name: &str) -> Option<Root> {
        Some(match name {
            "request" => Root::Request,
            "response" => Root::Response,
            "connection" => Root::Connection,
            "upstream" => Root::Upstream,
            "source" => Root::Source,
            "destination" => Root::Destination,
            "xds" => Root::Xds,
            "filter_state" => Root::FilterState,
            "metadata" => Root::Metadata(Owner::Request),
            _ => return None,
        })
    }

    /// What it has under a name; `None` if its names are known at run time only.
    pub fn select(self, name: &str) -> Option<Selected> {
        Some(match self {
            Root::Request => request(name),
            Root::Response => response(name),
            Root::Connection => connection(name),
            Root::Upstream => upstream(name),
            Root::Source => match name {
                "address" => Selected::Attribute(Attribute::SourceAddress),
                "port" => Selected::Attribute(Attribute::SourcePort),
                _ => Selected::Never,
            },
            Root::Destination => match name {
                "address" => Selected::Attribute(Attribute::DestinationAddress),
                "port" => Selected::Attribute(Attribute::DestinationPort),
                _ => Selected::Never,
            },
            Root::Xds => xds(name),
            Root::Metadata(owner) => match name {
                "filter_metadata" => Selected::Root(Root::Namespaces(owner)),
                "typed_filter_metadata" => Selected::NotYet,
                _ => Selected::Never,
            },
            Root::FilterState | Root::Namespaces(_) | Root::Headers(_) => return None,
        })
    }
}

fn request(name: &str) -> Selected {
    Selected::Attribute(match name {
        "path" => Attribute::RequestHeader(HeaderId::Path),
        "host" => Attribute::RequestHeader(HeaderId::Authority),
        "scheme" => Attribute::RequestHeader(HeaderId::Scheme),
        "method" => Attribute::RequestHeader(HeaderId::Method),
        "referer" => Attribute::RequestHeader(HeaderId::Referer),
        "useragent" => Attribute::RequestHeader(HeaderId::UserAgent),
        "id" => Attribute::RequestHeader(HeaderId::XRequestId),
        "url_path" => Attribute::UrlPath,
        "query" => Attribute::Query,
        "time" => Attribute::RequestTime,
        "protocol" => Attribute::RequestProtocol,
        "duration" => Attribute::RequestDuration,
        "size" => Attribute::RequestSize,
        "total_size" => Attribute::RequestTotalSize,
        "headers" => return Selected::Root(Root::Headers(Side::Request)),
        _ => return Selected::Never,
    })
}

fn response(name: &str) -> Selected {
    Selected::Attribute(match name {
        "code" => Attribute::ResponseCode,
        "code_details" => Attribute::ResponseCodeDetails,
        "flags" => Attribute::ResponseFlags,
        "grpc_status" => Attribute::ResponseGrpcStatus,
        "size" => Attribute::ResponseSize,
        "total_size" => Attribute::ResponseTotalSize,
        "backend_latency" => Attribute::BackendLatency,
        "headers" => return Selected::Root(Root::Headers(Side::Response)),
        "trailers" => return Selected::Root(Root::Headers(Side::Trailers)),
        _ => return Selected::Never,
    })
}

fn connection(name: &str) -> Selected {
    Selected::Attribute(match name {
        "id" => Attribute::ConnectionId,
        "mtls" => Attribute::Mtls,
        "requested_server_name" => Attribute::RequestedServerName,
        "termination_details" => Attribute::TerminationDetails,
        _ => match tls::attribute(name, false) {
            Some(attribute) => Attribute::Tls(attribute),
            None => return Selected::Never,
        },
    })
}

fn upstream(name: &str) -> Selected {
    Selected::Attribute(match name {
        "address" => Attribute::UpstreamAddress,
        "port" => Attribute::UpstreamPort,
        "local_address" => Attribute::UpstreamLocalAddress,
        "transport_failure_reason" => Attribute::UpstreamTransportFailureReason,
        "request_attempt_count" => Attribute::RequestAttemptCount,
        "locality" | "cx_pool_ready_duration" => return Selected::NotYet,
        _ => match tls::attribute(name, true) {
            Some(attribute) => Attribute::Tls(attribute),
            None => return Selected::Never,
        },
    })
}

fn xds(name: &str) -> Selected {
    let owner = match name {
        "route_metadata" => Owner::Route,
        "virtual_host_metadata" => Owner::VirtualHost,
        "cluster_metadata" => Owner::Cluster,
        "upstream_host_metadata" => Owner::UpstreamHost,
        "listener_metadata" => Owner::Listener,
        "cluster_name" => return Selected::Attribute(Attribute::ClusterName),
        "route_name" => return Selected::Attribute(Attribute::RouteName),
        "filter_chain_name" => return Selected::Attribute(Attribute::FilterChainName),
        "virtual_host_name" | "listener_direction" | "node" | "upstream_host_locality_metadata" => {
            return Selected::NotYet;
        }
        _ => return Selected::Never,
    };
    Selected::Root(Root::Metadata(owner))
}

/// The metadata of an owner, which is empty if nothing is configured; `None`
/// without something that could have some. Operators look it up otherwise
/// (`MetadataValue`), as in Envoy: to them nothing and nobody are the same.
pub(super) fn metadata(owner: Owner, info: &StreamInfo) -> Option<&Metadata> {
    let of_route = info.route_metadata.as_ref().map(|shared| &*shared.0);
    let listener = info.connection.listener_metadata.as_deref();
    let filter_chain = info.connection.filter_chain_metadata.as_deref();
    match owner {
        Owner::Request => Some(info.metadata()),
        Owner::Route if !info.has_route => None,
        Owner::Route => Some(of_route.map_or(Metadata::EMPTY, |of| &of.route)),
        Owner::VirtualHost if !info.has_virtual_host => None,
        Owner::VirtualHost => Some(of_route.map_or(Metadata::EMPTY, |of| &of.virtual_host)),
        Owner::Cluster => Some(&info.cluster.as_ref()?.metadata),
        // As in Envoy, a host without a connection has an address only.
        Owner::UpstreamHost => {
            info.upstream_connection.as_ref()?;
            Some(&info.host.as_ref()?.metadata)
        }
        Owner::Listener => Some(listener.unwrap_or(Metadata::EMPTY)),
        Owner::FilterChain => Some(filter_chain.unwrap_or(Metadata::EMPTY)),
    }
}

impl Attribute {
    /// Its value for a request.
    pub fn value<'a>(self, cx: &Context<'a>) -> Option<Value<'a>> {
        let info = cx.info;
        // A request whose head was not understood has no headers.
        let has_head = !cx.request.is_empty();
        Some(match self {
            Attribute::RequestHeader(id) => borrowed(cx.request.get(id)?),
            Attribute::UrlPath if !has_head => return None,
            Attribute::UrlPath => borrowed(query::without(path(cx))),
            Attribute::Query if !has_head => return None,
            Attribute::Query => borrowed(query_of(path(cx))),
            Attribute::RequestTime => {
                let since = info.start_wall.duration_since(UNIX_EPOCH).ok()?;
                // Envoy's clock counts microseconds.
                Value::Timestamp(since.as_micros().cast_signed() * 1_000)
            }
            Attribute::RequestProtocol => borrowed(info.protocol?.as_str().as_bytes()),
            // Headers are written before the request is over.
            Attribute::RequestDuration if cx.kind == AccessLogType::NotSet => return None,
            Attribute::RequestDuration => {
                Value::Duration(info.nanos(TimePoint::RequestComplete)?.into())
            }
            Attribute::RequestSize => match cx.request.get(HeaderId::ContentLength) {
                Some(text) => Value::Int(super::value::parse_whole(text)?),
                None => int(info.bytes_received),
            },
            Attribute::RequestTotalSize => int(info.bytes_received + size_of(cx.request)),
            Attribute::ResponseCode => match info.response_code {
                0 => return None,
                code => Value::Int(code.into()),
            },
            Attribute::ResponseCodeDetails => not_empty(info.details.as_str())?,
            Attribute::ResponseFlags => int(info.flags.bits().into()),
            Attribute::ResponseGrpcStatus => Value::Int(grpc::any_status(cx)?.0),
            Attribute::ResponseSize => int(info.bytes_sent),
            Attribute::ResponseTotalSize => {
                int(info.bytes_sent + size_of(cx.response) + size_of(cx.trailers))
            }
            Attribute::BackendLatency => {
                let end = info.nanos(TimePoint::UpstreamRxEnd)?;
                Value::Duration((end - info.nanos(TimePoint::UpstreamTxBegin)?).into())
            }
            Attribute::SourceAddress if is_pipe(info) && info.remote_address.is_none() => {
                Value::Text(Cow::Borrowed(b""))
            }
            Attribute::SourceAddress => composed(format_args!("{}", info.remote())),
            Attribute::SourcePort if is_pipe(info) && info.remote_address.is_none() => return None,
            Attribute::SourcePort => Value::Int(info.remote().port().into()),
            Attribute::DestinationAddress => match &info.connection.pipe {
                Some(path) => borrowed(path.as_bytes()),
                None => composed(format_args!("{}", info.connection.local)),
            },
            Attribute::DestinationPort if is_pipe(info) => return None,
            Attribute::DestinationPort => Value::Int(info.connection.local.port().into()),
            Attribute::ConnectionId => Value::Uint(info.connection.id),
            Attribute::Mtls => {
                let tls = info.connection.tls.as_deref();
                Value::Bool(tls.is_some_and(|tls| !tls.peer.is_empty()))
            }
            Attribute::Tls(attribute) => borrowed(attribute.text(info)?.as_bytes()),
            Attribute::RequestedServerName => {
                let name = info.connection.requested_server_name.as_deref();
                borrowed(name.unwrap_or_default().as_bytes())
            }
            Attribute::TerminationDetails => {
                not_empty(info.connection_termination_details.as_str())?
            }
            Attribute::UpstreamAddress => borrowed(host_address(info)?.as_bytes()),
            Attribute::UpstreamPort => {
                let address: SocketAddr = host_address(info)?.parse().ok()?;
                Value::Int(address.port().into())
            }
            Attribute::UpstreamLocalAddress => {
                let local = info.upstream_connection.as_deref()?.local?;
                composed(format_args!("{local}"))
            }
            Attribute::UpstreamTransportFailureReason => {
                info.host.as_ref()?;
                borrowed(info.upstream_transport_failure_reason.as_str().as_bytes())
            }
            Attribute::RequestAttemptCount => Value::Uint(info.attempt_count.into()),
            Attribute::ClusterName => borrowed(info.cluster.as_ref()?.name.as_bytes()),
            Attribute::RouteName => info
                .has_route
                .then(|| borrowed(info.route_name.as_str().as_bytes()))?,
            Attribute::FilterChainName => borrowed(info.connection.filter_chain_name.as_bytes()),
        })
    }
}

/// The headers of one side.
pub(super) fn headers<'a>(side: Side, cx: &Context<'a>) -> &'a HeaderMap {
    match side {
        Side::Request => cx.request,
        Side::Response => cx.response,
        Side::Trailers => cx.trailers,
    }
}

/// The values of a header, joined with commas.
pub(super) fn header<'a>(side: Side, name: &[u8], cx: &Context<'a>) -> Option<Value<'a>> {
    let headers = headers(side, cx);
    let lower = name.to_ascii_lowercase();
    let id = match HeaderId::from_lower(&lower) {
        // The codecs keep one name for the two.
        Some(HeaderId::Host) if side == Side::Request => Some(HeaderId::Authority),
        id => id,
    };
    // The values live as long as the headers, their names' spelling does not.
    match id {
        Some(id) => joined(headers.get_all(id)),
        None => {
            joined(headers.iter().filter_map(|(found, value)| {
                (found.as_bytes() == lower.as_slice()).then_some(value)
            }))
        }
    }
}

fn joined<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Value<'a>> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(borrowed(first));
    };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Some(Value::Text(Cow::Owned(all)))
}

fn borrowed(bytes: &[u8]) -> Value<'_> {
    Value::Text(Cow::Borrowed(bytes))
}

fn not_empty(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then(|| borrowed(text.as_bytes()))
}

fn composed(text: std::fmt::Arguments<'_>) -> Value<'static> {
    let mut out = Vec::new();
    // Writing to a vector cannot fail.
    let _ = out.write_fmt(text);
    Value::Text(Cow::Owned(out))
}

fn int(value: u64) -> Value<'static> {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn size_of(headers: &HeaderMap) -> u64 {
    headers.byte_size() as u64
}

fn path<'a>(cx: &Context<'a>) -> &'a [u8] {
    cx.request.get(HeaderId::Path).unwrap_or_default()
}

/// What is behind the question mark, without a fragment.
fn query_of(path: &[u8]) -> &[u8] {
    let Some(mark) = path.iter().position(|byte| *byte == b'?') else {
        return b"";
    };
    let query = &path[mark + 1..];
    let end = query.iter().position(|byte| *byte == b'#');
    &query[..end.unwrap_or(query.len())]
}

fn is_pipe(info: &StreamInfo) -> bool {
    info.connection.pipe.is_some()
}

fn host_address(info: &StreamInfo) -> Option<&str> {
    Some(&info.host.as_deref()?.address_text)
}
