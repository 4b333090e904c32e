//! The operators that take no arguments, by name, and those that are not
//! there yet.

use super::operator::{AddressPart, GrpcFormat, Number, Operator, Peer, Span, Text};
use super::tls;
use crate::stream_info::TimePoint;

/// Operators without arguments.
pub(super) fn plain(name: &str) -> Option<Operator> {
    let operator = match name {
        "PROTOCOL" => Operator::Text(Text::Protocol),
        "UPSTREAM_PROTOCOL" => Operator::Text(Text::UpstreamProtocol),
        "CONNECTION_TERMINATION_DETAILS" => Operator::Text(Text::ConnectionTerminationDetails),
        "RESPONSE_FLAGS" => Operator::Text(Text::ResponseFlags),
        "RESPONSE_FLAGS_LONG" => Operator::Text(Text::ResponseFlagsLong),
        "ROUTE_NAME" => Operator::Text(Text::RouteName),
        "VIRTUAL_CLUSTER_NAME" => Operator::Text(Text::VirtualClusterName),
        "UPSTREAM_HOST" => Operator::Text(Text::UpstreamHost),
        "UPSTREAM_HOST_NAME" => Operator::Text(Text::UpstreamHostName),
        "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Operator::Text(Text::UpstreamHostNameWithoutPort),
        "UPSTREAM_HOSTS_ATTEMPTED" => Operator::Text(Text::UpstreamHostAttempted),
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" => {
            Operator::Text(Text::UpstreamHostAttemptedWithoutPort)
        }
        "UPSTREAM_HOST_NAMES_ATTEMPTED" => Operator::Text(Text::UpstreamHostNameAttempted),
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" => {
            Operator::Text(Text::UpstreamHostNameAttemptedWithoutPort)
        }
        "UPSTREAM_CONNECTION_IDS_ATTEMPTED" => Operator::Text(Text::UpstreamConnectionIdAttempted),
        "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" => {
            Operator::Text(Text::UpstreamRemoteAddressEndpointId)
        }
        "UPSTREAM_CLUSTER" => Operator::Text(Text::UpstreamCluster),
        "UPSTREAM_CLUSTER_RAW" => Operator::Text(Text::UpstreamClusterRaw),
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::Text(Text::UpstreamTransportFailureReason),
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => {
            Operator::Text(Text::DownstreamTransportFailureReason)
        }
        "STREAM_ID" => Operator::Text(Text::StreamId),
        "UNIQUE_ID" => Operator::Text(Text::UniqueId),
        "TLS_JA3_FINGERPRINT" => Operator::Text(Text::Ja3),
        "TLS_JA4_FINGERPRINT" => Operator::Text(Text::Ja4),
        "FILTER_CHAIN_NAME" => Operator::Text(Text::FilterChainName),
        "ACCESS_LOG_TYPE" => Operator::Text(Text::AccessLogType),
        "LOCAL_REPLY_BODY" => Operator::Text(Text::LocalReplyBody),
        // Set by filters, none of which exists.
        "CUSTOM_FLAGS" => Operator::Fixed(Box::default()),
        "HOSTNAME" => Operator::Fixed(hostname()),
        "UPSTREAM_LOCAL_ADDRESS" => Operator::Address(Peer::UpstreamLocal, AddressPart::WithPort),
        "UPSTREAM_LOCAL_PORT" => Operator::Port(Peer::UpstreamLocal),
        "UPSTREAM_REMOTE_ADDRESS" => Operator::Address(Peer::UpstreamRemote, AddressPart::WithPort),
        "UPSTREAM_REMOTE_PORT" => Operator::Port(Peer::UpstreamRemote),
        "DOWNSTREAM_REMOTE_ADDRESS" => {
            Operator::Address(Peer::DownstreamRemote, AddressPart::WithPort)
        }
        "DOWNSTREAM_REMOTE_PORT" => Operator::Port(Peer::DownstreamRemote),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => {
            Operator::Address(Peer::DownstreamDirectRemote, AddressPart::WithPort)
        }
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::Port(Peer::DownstreamDirectRemote),
        "DOWNSTREAM_LOCAL_ADDRESS" => {
            Operator::Address(Peer::DownstreamLocal, AddressPart::WithPort)
        }
        "DOWNSTREAM_LOCAL_PORT" => Operator::Port(Peer::DownstreamLocal),
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => {
            Operator::Address(Peer::DownstreamDirectLocal, AddressPart::WithPort)
        }
        "DOWNSTREAM_DIRECT_LOCAL_PORT" => Operator::Port(Peer::DownstreamDirectLocal),
        "GRPC_STATUS_NUMBER" => Operator::GrpcStatus(GrpcFormat::Number),
        "TRACE_ID" | "SPAN_ID" => Operator::Unset,
        // Known of QUIC connections only.
        "ROUNDTRIP_DURATION" => Operator::Unset,
        "DOWNSTREAM_HANDSHAKE_DURATION" => Operator::HandshakeDuration,
        _ if NEVER_SET.contains(&name) => Operator::Unset,
        _ => {
            return number(name)
                .or_else(|| duration(name))
                .or_else(|| tls::operator(name));
        }
    };
    Some(operator)
}

fn number(name: &str) -> Option<Operator> {
    let number = match name {
        "RESPONSE_CODE" => Number::ResponseCode,
        "BYTES_RECEIVED" => Number::BytesReceived,
        "BYTES_SENT" => Number::BytesSent,
        "REQUEST_HEADERS_BYTES" => Number::RequestHeadersBytes,
        "RESPONSE_HEADERS_BYTES" => Number::ResponseHeadersBytes,
        "RESPONSE_TRAILERS_BYTES" => Number::ResponseTrailersBytes,
        "UPSTREAM_WIRE_BYTES_SENT" => Number::UpstreamWireSent,
        "UPSTREAM_WIRE_BYTES_RECEIVED" => Number::UpstreamWireReceived,
        "DOWNSTREAM_WIRE_BYTES_SENT" => Number::DownstreamWireSent,
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Number::DownstreamWireReceived,
        "UPSTREAM_HEADER_BYTES_SENT" => Number::UpstreamHeaderSent,
        "UPSTREAM_HEADER_BYTES_RECEIVED" => Number::UpstreamHeaderReceived,
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Number::UpstreamFieldsSent,
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => Number::UpstreamFieldsReceived,
        "DOWNSTREAM_HEADER_BYTES_SENT" => Number::DownstreamHeaderSent,
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Number::DownstreamHeaderReceived,
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => Number::DownstreamFieldsSent,
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => Number::DownstreamFieldsReceived,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Number::AttemptCount,
        "CONNECTION_ID" => Number::ConnectionId,
        "UPSTREAM_CONNECTION_ID" => Number::UpstreamConnectionId,
        _ => return None,
    };
    Some(Operator::Number(number))
}

fn duration(name: &str) -> Option<Operator> {
    let (from, to) = match name {
        "DURATION" => (TimePoint::DownstreamRxBegin, TimePoint::RequestComplete),
        "REQUEST_DURATION" => (TimePoint::DownstreamRxBegin, TimePoint::DownstreamRxEnd),
        "REQUEST_TX_DURATION" => (TimePoint::DownstreamRxBegin, TimePoint::UpstreamTxEnd),
        "RESPONSE_DURATION" => (TimePoint::DownstreamRxBegin, TimePoint::UpstreamRxBegin),
        "RESPONSE_TX_DURATION" => (TimePoint::UpstreamRxBegin, TimePoint::DownstreamTxEnd),
        "UPSTREAM_CONNECTION_POOL_READY_DURATION" => {
            (TimePoint::DownstreamRxBegin, TimePoint::UpstreamPoolReady)
        }
        _ => return None,
    };
    Some(Operator::Duration(Span {
        from: Some(from),
        to: Some(to),
        unit_ns: 1_000_000,
    }))
}

/// Operators whose facts nobody finds out: rustls tells no ids of sessions.
const NEVER_SET: &[&str] = &["DOWNSTREAM_TLS_SESSION_ID", "UPSTREAM_TLS_SESSION_ID"];

/// Operators of Envoy 1.40 whose facts Ringway does not record yet.
pub(super) const NOT_YET: &[&str] = &[
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_LOCAL_CLOSE_REASON",
];

/// Whose address `X_ADDRESS_WITHOUT_PORT` is.
pub(super) fn address_without_port(name: &str) -> Option<Peer> {
    Some(match name.strip_suffix("_ADDRESS_WITHOUT_PORT")? {
        "UPSTREAM_LOCAL" => Peer::UpstreamLocal,
        "UPSTREAM_REMOTE" => Peer::UpstreamRemote,
        "DOWNSTREAM_REMOTE" => Peer::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE" => Peer::DownstreamDirectRemote,
        "DOWNSTREAM_LOCAL" => Peer::DownstreamLocal,
        "DOWNSTREAM_DIRECT_LOCAL" => Peer::DownstreamDirectLocal,
        _ => return None,
    })
}

fn hostname() -> Box<[u8]> {
    match std::fs::read("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim_ascii().is_empty() => name.trim_ascii().into(),
        _ => Box::from(*b"-"),
    }
}
