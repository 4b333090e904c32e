//! Writes the value of an operator for one request.
//!
//! Values are appended raw; the caller escapes what was appended when the
//! value came from a peer (see [`Written`]).

use super::operator::{
    AddressPart, GrpcFormat, HeaderKey, Number, Operator, PathFrom, Peer, ServerNameFrom, Side,
    Span, Text,
};
use super::{Context, grpc, query, uuid};
use crate::stream_info::{Fingerprints, HostInfo, ResponseFlag, StreamInfo};
use ringway_codecs::header::{HeaderId, HeaderMap};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// What an operator did to the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing: the fact is not known.
    Nothing,
    /// Something that cannot hold a control byte, or is meant to.
    Safe,
    /// Something that a peer may have chosen.
    Untrusted,
}

impl Operator {
    /// Appends the value.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) -> Written {
        let info = cx.info;
        match self {
            Operator::Fixed(value) => bytes(Some(value), usize::MAX, out),
            Operator::Unset => Written::Nothing,
            Operator::StartTime(format) => {
                format.write(info.start_wall, out);
                Written::Safe
            }
            Operator::EmitTime(format) => {
                format.write(SystemTime::now(), out);
                Written::Safe
            }
            Operator::Text(text) => text.write(cx, out),
            Operator::Tls(value) => value.write(info, out),
            Operator::Number(number) => decimal(number.value(cx), out),
            Operator::Duration(span) => match span.value(info) {
                Some(value) => decimal(value, out),
                None => Written::Nothing,
            },
            Operator::HandshakeDuration => match info.handshake_nanos() {
                Some(nanos) => decimal(nanos / NANOS_PER_MS, out),
                None => Written::Nothing,
            },
            Operator::Header {
                side,
                main,
                alternative,
                length_max,
            } => {
                let map = match side {
                    Side::Request => cx.request,
                    Side::Response => cx.response,
                    Side::Trailers => cx.trailers,
                };
                let value = main
                    .find(map)
                    .or_else(|| alternative.as_ref().and_then(|name| name.find(map)));
                bytes(value, *length_max, out)
            }
            Operator::QueryParam { name, length_max } => {
                let start = out.len();
                match path(cx, PathFrom::Current) {
                    Some(path) if query::write_parameter(path, name, out) => {
                        out.truncate(start.saturating_add(*length_max).min(out.len()));
                        Written::Untrusted
                    }
                    _ => Written::Nothing,
                }
            }
            Operator::QueryParams { length_max } => {
                let path = path(cx, PathFrom::Current).unwrap_or_default();
                bytes(query::of(path), *length_max, out)
            }
            Operator::Path {
                with_query,
                from,
                length_max,
            } => {
                let value = path(cx, *from);
                let value = if *with_query {
                    value
                } else {
                    value.map(query::without)
                };
                bytes(value, *length_max, out)
            }
            Operator::Address(peer, part) => address(*peer, *part, info, out),
            Operator::Port(peer) => match socket(*peer, info) {
                Some(address) if pipe(*peer, info).is_none() => decimal(address.port(), out),
                _ => Written::Nothing,
            },
            Operator::GrpcStatus(format) => match grpc::status(cx) {
                Some(status) => grpc_status(status, *format, out),
                None => Written::Nothing,
            },
            Operator::Metadata(value) => value.write(info, out),
            Operator::FilterState(value) => value.write(info, out),
            Operator::Coalesce(coalesce) => coalesce.write(cx, out),
            Operator::Cel {
                expression,
                length_max,
                ..
            } => match expression.evaluate(cx) {
                None => Written::Nothing,
                Some(value) => {
                    let start = out.len();
                    value.write(out);
                    out.truncate(start.saturating_add(*length_max).min(out.len()));
                    match value.is_text() {
                        true => Written::Untrusted,
                        false => Written::Safe,
                    }
                }
            },
            Operator::ServerName(from) => {
                let sni = info
                    .connection
                    .requested_server_name
                    .as_ref()
                    .map(|name| name.as_bytes())
                    .filter(|name| !name.is_empty());
                let host = || cx.request.get(HeaderId::Authority);
                let value = match from {
                    ServerNameFrom::Sni => sni,
                    ServerNameFrom::SniThenHost => sni.or_else(host),
                    ServerNameFrom::HostThenSni => host().or(sni),
                };
                bytes(value, usize::MAX, out)
            }
        }
    }
}

impl HeaderKey {
    fn find<'a>(&self, map: &'a HeaderMap) -> Option<&'a [u8]> {
        match self {
            HeaderKey::Known(id) => map.get(*id),
            HeaderKey::Other(name) => map.get_name(name),
        }
    }
}

impl Text {
    fn write(self, cx: &Context<'_>, out: &mut Vec<u8>) -> Written {
        let info = cx.info;
        let host = info.host.as_deref();
        let upstream = info.upstream_connection.as_deref();
        let attempted = || upstream.and(host);
        let value = match self {
            Text::Protocol => info.protocol.map_or("", |p| p.as_str()),
            Text::UpstreamProtocol => info.upstream_protocol.map_or("", |p| p.as_str()),
            Text::ResponseCodeDetails => return one_word(info.details.as_str(), out),
            Text::ResponseCodeDetailsAsIs => info.details.as_str(),
            Text::ConnectionTerminationDetails => info.connection_termination_details.as_str(),
            Text::ResponseFlags => return flags(info, ResponseFlag::short, out),
            Text::ResponseFlagsLong => return flags(info, ResponseFlag::long, out),
            Text::RouteName => info.route_name.as_str(),
            Text::VirtualClusterName => info.virtual_cluster_name.as_str(),
            Text::UpstreamHost => host.map_or("", |h| &*h.address_text),
            Text::UpstreamHostName => host.map_or("", host_name),
            Text::UpstreamHostNameWithoutPort => host.map_or("", |h| without_port(host_name(h))),
            Text::UpstreamHostAttempted => attempted().map_or("", |h| &*h.address_text),
            Text::UpstreamHostAttemptedWithoutPort => {
                attempted().map_or("", |h| without_port(&h.address_text))
            }
            Text::UpstreamHostNameAttempted => attempted().map_or("", host_name),
            Text::UpstreamHostNameAttemptedWithoutPort => {
                attempted().map_or("", |h| without_port(host_name(h)))
            }
            Text::UpstreamConnectionIdAttempted => {
                return match upstream {
                    Some(connection) => decimal(connection.id, out),
                    None => Written::Nothing,
                };
            }
            // Only hosts inside of the proxy have such an id: those with a
            // socket have the empty one.
            Text::UpstreamRemoteAddressEndpointId => {
                return match upstream {
                    Some(_) => Written::Safe,
                    None => Written::Nothing,
                };
            }
            Text::UpstreamCluster => info.cluster.as_ref().map_or("", |c| &*c.observability_name),
            Text::UpstreamClusterRaw => info.cluster.as_ref().map_or("", |c| &*c.name),
            Text::UpstreamTransportFailureReason => {
                return one_word(info.upstream_transport_failure_reason.as_str(), out);
            }
            Text::DownstreamTransportFailureReason => {
                return one_word(&info.connection.transport_failure_reason, out);
            }
            Text::StreamId => {
                return bytes(cx.request.get(HeaderId::XRequestId), usize::MAX, out);
            }
            Text::UniqueId => return unique_id(out),
            Text::FilterChainName => &*info.connection.filter_chain_name,
            Text::Ja3 => fingerprint(info, |own| own.ja3.as_deref()),
            Text::Ja4 => fingerprint(info, |own| own.ja4.as_deref()),
            Text::AccessLogType => cx.kind.as_str(),
            Text::LocalReplyBody => {
                // A local reply's own format decides about its line ends.
                out.extend_from_slice(cx.local_reply_body);
                return Written::Safe;
            }
        };
        match value {
            "" => Written::Nothing,
            value => bytes(Some(value.as_bytes()), usize::MAX, out),
        }
    }
}

impl Number {
    fn value(self, cx: &Context<'_>) -> u64 {
        let info = cx.info;
        match self {
            Number::ResponseCode => u64::from(info.response_code),
            Number::BytesReceived => info.bytes_received,
            Number::BytesSent => info.bytes_sent,
            Number::RequestHeadersBytes => cx.request.byte_size() as u64,
            Number::ResponseHeadersBytes => cx.response.byte_size() as u64,
            Number::ResponseTrailersBytes => cx.trailers.byte_size() as u64,
            Number::UpstreamWireSent => info.upstream_bytes.wire_sent,
            Number::UpstreamWireReceived => info.upstream_bytes.wire_received,
            Number::UpstreamHeaderSent => info.upstream_bytes.header_wire_sent(),
            Number::UpstreamHeaderReceived => info.upstream_bytes.header_wire_received(),
            Number::UpstreamFieldsSent => info.upstream_bytes.header_sent,
            Number::UpstreamFieldsReceived => info.upstream_bytes.header_received,
            Number::DownstreamWireSent => info.downstream_bytes.wire_sent,
            Number::DownstreamWireReceived => info.downstream_bytes.wire_received,
            Number::DownstreamHeaderSent => info.downstream_bytes.header_wire_sent(),
            Number::DownstreamHeaderReceived => info.downstream_bytes.header_wire_received(),
            Number::DownstreamFieldsSent => info.downstream_bytes.header_sent,
            Number::DownstreamFieldsReceived => info.downstream_bytes.header_received,
            Number::AttemptCount => u64::from(info.attempt_count),
            Number::ConnectionId => info.connection.id,
            Number::UpstreamConnectionId => info.upstream_connection.as_ref().map_or(0, |c| c.id),
        }
    }
}

const NANOS_PER_MS: i64 = 1_000_000;

impl Span {
    /// The time in units; `None` when a point was not reached, or they were
    /// passed in the other order.
    fn value(&self, info: &StreamInfo) -> Option<u64> {
        let between = info.nanos(self.to?)?.checked_sub(info.nanos(self.from?)?)?;
        u64::try_from(between)
            .ok()
            .map(|nanos| nanos / self.unit_ns.unsigned_abs())
    }
}

fn bytes(value: Option<&[u8]>, length_max: usize, out: &mut Vec<u8>) -> Written {
    match value {
        Some(value) => {
            out.extend_from_slice(&value[..value.len().min(length_max)]);
            Written::Untrusted
        }
        None => Written::Nothing,
    }
}

/// A fingerprint of the client, or nothing.
fn fingerprint(info: &StreamInfo, which: fn(&Fingerprints) -> Option<&str>) -> &str {
    let own = info.connection.fingerprints.as_deref();
    own.and_then(which).unwrap_or_default()
}

/// A text of ours in which white space becomes `_`: lines are cut at white
/// space by those who read them.
fn one_word(text: &str, out: &mut Vec<u8>) -> Written {
    if text.is_empty() {
        return Written::Nothing;
    }
    out.extend(text.bytes().map(|byte| match byte {
        b' ' | b'\t'..=b'\r' => b'_',
        byte => byte,
    }));
    Written::Untrusted
}

fn decimal(value: impl itoa::Integer, out: &mut Vec<u8>) -> Written {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    Written::Safe
}

/// No flag is a dash, in JSON too.
fn flags(info: &StreamInfo, name: fn(ResponseFlag) -> &'static str, out: &mut Vec<u8>) -> Written {
    if info.flags.is_empty() {
        out.push(b'-');
    }
    info.flags.write(name, out);
    Written::Safe
}

fn path<'a>(cx: &Context<'a>, from: PathFrom) -> Option<&'a [u8]> {
    let original = || cx.request.get(HeaderId::XEnvoyOriginalPath);
    let current = || cx.request.get(HeaderId::Path);
    match from {
        PathFrom::Original => original(),
        PathFrom::Current => current(),
        PathFrom::OriginalOrCurrent => original().or_else(current),
    }
}

fn socket(peer: Peer, info: &StreamInfo) -> Option<SocketAddr> {
    let upstream = info.upstream_connection.as_deref();
    match peer {
        Peer::UpstreamLocal => upstream?.local,
        Peer::UpstreamRemote => upstream?.remote,
        Peer::DownstreamRemote => Some(info.remote()),
        Peer::DownstreamDirectRemote => Some(info.connection.direct_remote),
        Peer::DownstreamLocal => Some(info.connection.local),
        Peer::DownstreamDirectLocal => Some(info.connection.direct_local),
    }
}

/// The name of a Unix socket, when the peer is one. A client's end has none.
fn pipe(peer: Peer, info: &StreamInfo) -> Option<&str> {
    let listener = info.connection.pipe.as_deref();
    match peer {
        Peer::DownstreamLocal | Peer::DownstreamDirectLocal => listener,
        Peer::DownstreamDirectRemote => listener.map(|_| ""),
        Peer::DownstreamRemote if info.remote_address.is_none() => listener.map(|_| ""),
        Peer::DownstreamRemote | Peer::UpstreamLocal => None,
        Peer::UpstreamRemote => match info.upstream_connection.as_deref()?.remote {
            Some(_) => None,
            None => Some(&info.host.as_deref()?.address_text),
        },
    }
}

fn address(peer: Peer, part: AddressPart, info: &StreamInfo, out: &mut Vec<u8>) -> Written {
    if let Some(path) = pipe(peer, info) {
        return bytes(Some(path.as_bytes()), usize::MAX, out);
    }
    let Some(address) = socket(peer, info) else {
        return Written::Nothing;
    };
    // Writing to a vector cannot fail.
    let _ = match part {
        AddressPart::WithPort => write!(out, "{address}"),
        AddressPart::WithoutPort => write!(out, "{}", address.ip()),
        AddressPart::Network(bits) => {
            let (network, bits) = network(address.ip(), bits);
            write!(out, "{network}/{bits}")
        }
    };
    Written::Safe
}

/// The address with all but its first `bits` bits cleared.
fn network(address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match address {
        IpAddr::V4(v4) => {
            let bits = bits.min(32);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (IpAddr::V4((v4.to_bits() & mask).into()), bits)
        }
        IpAddr::V6(v6) => {
            let bits = bits.min(128);
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (IpAddr::V6((v6.to_bits() & mask).into()), bits)
        }
    }
}

/// What a host is called: its name, or else its address.
fn host_name(host: &HostInfo) -> &str {
    match &*host.hostname {
        "" => &host.address_text,
        name => name,
    }
}

/// `name:80` and `[::1]:80` without the port; anything else as it is.
fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => text,
    }
}

/// A random UUID (RFC 9562, version 4).
fn unique_id(out: &mut Vec<u8>) -> Written {
    uuid::write(out, fastrand::u128(..));
    Written::Safe
}

fn grpc_status(status: grpc::Status, format: GrpcFormat, out: &mut Vec<u8>) -> Written {
    let name = match format {
        GrpcFormat::Number => None,
        GrpcFormat::Camel => status.camel(),
        GrpcFormat::Snake => status.snake(),
    };
    match name {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            decimal(status.0, out);
        }
    }
    Written::Safe
}
