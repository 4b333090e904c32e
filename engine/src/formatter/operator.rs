//! The operators of format strings: which names exist, what arguments they
//! take, and what they compile to. `value` writes their values.
//!
//! Error texts are Envoy's, so that a message found on the web fits.

use super::command::Command;
use super::date::DateFormat;
use crate::stream_info::TimePoint;
use ringway_codecs::header::HeaderId;

/// A compiled operator. Names are resolved here; writing a value looks up
/// nothing but header ids.
#[derive(Debug)]
pub(super) enum Operator {
    /// Known since the start: host name, environment.
    Fixed(Box<[u8]>),
    /// Never set on the connections that exist so far (TLS, tracing).
    Unset,
    StartTime(DateFormat),
    EmitTime(DateFormat),
    Text(Text),
    Number(Number),
    Duration(Span),
    Header {
        side: Side,
        main: HeaderKey,
        alternative: Option<HeaderKey>,
        length_max: usize,
    },
    QueryParam {
        name: Box<[u8]>,
        length_max: usize,
    },
    QueryParams {
        length_max: usize,
    },
    Path {
        with_query: bool,
        from: PathFrom,
        length_max: usize,
    },
    Address(Peer, AddressPart),
    Port(Peer),
    GrpcStatus(GrpcFormat),
    ServerName(ServerNameFrom),
}

/// Which map a header is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
    Trailers,
}

/// A header name, resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderKey {
    Known(HeaderId),
    Other(Box<[u8]>),
}

/// Facts that are texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Protocol,
    UpstreamProtocol,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    RouteName,
    VirtualClusterName,
    UpstreamHost,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamTransportFailureReason,
    StreamId,
    UniqueId,
    FilterChainName,
    AccessLogType,
    LocalReplyBody,
}

/// Facts that are numbers, in JSON too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    ResponseCode,
    BytesReceived,
    BytesSent,
    RequestHeadersBytes,
    ResponseHeadersBytes,
    ResponseTrailersBytes,
    UpstreamWireSent,
    UpstreamWireReceived,
    UpstreamHeaderSent,
    UpstreamHeaderReceived,
    DownstreamWireSent,
    DownstreamWireReceived,
    DownstreamHeaderSent,
    DownstreamHeaderReceived,
    AttemptCount,
    ConnectionId,
    UpstreamConnectionId,
}

/// The time between two points, in units of `unit_ns` nanoseconds. A name
/// that is not a point is a custom point in Envoy, which is never reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub from: Option<TimePoint>,
    pub to: Option<TimePoint>,
    pub unit_ns: i64,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    UpstreamLocal,
    UpstreamRemote,
    DownstreamRemote,
    DownstreamDirectRemote,
    DownstreamLocal,
}

/// How much of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressPart {
    WithPort,
    WithoutPort,
    /// The network of so many bits, `10.0.0.0/8`.
    Network(u8),
}

/// Where `%PATH%` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathFrom {
    /// `x-envoy-original-path`.
    Original,
    /// `:path`.
    Current,
    /// The original path if there is one.
    OriginalOrCurrent,
}

/// How `%GRPC_STATUS%` spells the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrpcFormat {
    Camel,
    Snake,
    Number,
}

/// Where `%REQUESTED_SERVER_NAME%` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerNameFrom {
    Sni,
    SniThenHost,
    HostThenSni,
}

impl Operator {
    /// Compiles a command; the error is the reason.
    pub fn compile(command: &Command<'_>) -> Result<Operator, String> {
        let Command {
            name, arguments, ..
        } = *command;
        let operator = match name {
            "START_TIME" => Operator::StartTime(date(command)?),
            "EMIT_TIME" => Operator::EmitTime(date(command)?),
            "REQ" | "REQUEST_HEADER" => header(Side::Request, command)?,
            "RESP" | "RESPONSE_HEADER" => header(Side::Response, command)?,
            "TRAILER" | "RESPONSE_TRAILER" => header(Side::Trailers, command)?,
            "QUERY_PARAM" => Operator::QueryParam {
                name: required(command)?.as_bytes().into(),
                length_max: length_max(command),
            },
            "QUERY_PARAMS" => query_params(command)?,
            "PATH" => path(command)?,
            "ENVIRONMENT" => environment(command)?,
            "RESPONSE_CODE_DETAILS" => {
                no_length(command)?;
                Operator::Text(Text::ResponseCodeDetails)
            }
            "COMMON_DURATION" => common_duration(command)?,
            "GRPC_STATUS" => {
                no_length(command)?;
                grpc_status(arguments)?
            }
            "REQUESTED_SERVER_NAME" => {
                no_length(command)?;
                server_name(arguments)?
            }
            _ => {
                if let Some(peer) = address_without_port(name) {
                    no_length(command)?;
                    return Ok(Operator::Address(peer, network_or_address(arguments)));
                }
                let operator = match plain(name) {
                    Some(operator) => operator,
                    None if NOT_YET.contains(&name) => {
                        return Err(format!("operator {name} is not supported yet"));
                    }
                    None => return Err(format!("Not supported field in StreamInfo: {name}")),
                };
                // Dates of certificates take a date format.
                let dated = name.ends_with("_CERT_V_START") || name.ends_with("_CERT_V_END");
                if (!arguments.is_empty() && !dated) || command.length_max.is_some() {
                    return Err(format!("{name} does not take any parameters or length"));
                }
                operator
            }
        };
        Ok(operator)
    }

    /// In JSON the value is a number.
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Operator::Number(_)
                | Operator::Duration(_)
                | Operator::Port(_)
                | Operator::GrpcStatus(GrpcFormat::Number)
        )
    }
}

/// Operators without arguments.
fn plain(name: &str) -> Option<Operator> {
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
        "UPSTREAM_CLUSTER" => Operator::Text(Text::UpstreamCluster),
        "UPSTREAM_CLUSTER_RAW" => Operator::Text(Text::UpstreamClusterRaw),
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Operator::Text(Text::UpstreamTransportFailureReason),
        "STREAM_ID" => Operator::Text(Text::StreamId),
        "UNIQUE_ID" => Operator::Text(Text::UniqueId),
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
        "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => {
            Operator::Address(Peer::DownstreamLocal, AddressPart::WithPort)
        }
        "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => {
            Operator::Port(Peer::DownstreamLocal)
        }
        "GRPC_STATUS_NUMBER" => Operator::GrpcStatus(GrpcFormat::Number),
        "TRACE_ID" | "SPAN_ID" => Operator::Unset,
        _ if ON_TLS_ONLY.contains(&name) => Operator::Unset,
        _ => return number(name).or_else(|| duration(name)),
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
        // Headers of HTTP/1 are not compressed.
        "UPSTREAM_HEADER_BYTES_SENT" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => {
            Number::UpstreamHeaderSent
        }
        "UPSTREAM_HEADER_BYTES_RECEIVED" | "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => {
            Number::UpstreamHeaderReceived
        }
        "DOWNSTREAM_HEADER_BYTES_SENT" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" => {
            Number::DownstreamHeaderSent
        }
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" | "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" => {
            Number::DownstreamHeaderReceived
        }
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
        "DOWNSTREAM_HANDSHAKE_DURATION" => (
            TimePoint::DownstreamRxBegin,
            TimePoint::DownstreamHandshakeEnd,
        ),
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

/// Facts about TLS, which are not set on a plaintext connection.
const ON_TLS_ONLY: &[&str] = &[
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_GROUP",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
];

/// Operators of Envoy 1.40 whose facts Ringway does not record yet.
const NOT_YET: &[&str] = &[
    "CEL",
    "CLUSTER_METADATA",
    "COALESCE",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DYNAMIC_METADATA",
    "FILTER_STATE",
    "METADATA",
    "ROUNDTRIP_DURATION",
    "START_TIME_LOCAL",
    "EMIT_TIME_LOCAL",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_METADATA",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
];

fn required<'a>(command: &Command<'a>) -> Result<&'a str, String> {
    if command.arguments.is_empty() {
        return Err(format!("{} requires parameters", command.name));
    }
    Ok(command.arguments)
}

fn no_length(command: &Command<'_>) -> Result<(), String> {
    match command.length_max {
        None => Ok(()),
        Some(_) => Err(format!(
            "{} does not allow length to be specified.",
            command.name
        )),
    }
}

fn length_max(command: &Command<'_>) -> usize {
    command.length_max.unwrap_or(usize::MAX)
}

fn date(command: &Command<'_>) -> Result<DateFormat, String> {
    no_length(command)?;
    DateFormat::new(command.arguments)
        .ok_or_else(|| "Invalid header configuration. Format string contains newline.".to_owned())
}

fn header(side: Side, command: &Command<'_>) -> Result<Operator, String> {
    let arguments = required(command)?;
    let mut names = arguments.split('?');
    let (main, alternative) = (names.next().unwrap_or_default(), names.next());
    if names.next().is_some() {
        return Err(format!(
            "More than 1 alternative header specified in token: {arguments}"
        ));
    }
    Ok(Operator::Header {
        side,
        main: HeaderKey::new(side, main)?,
        alternative: alternative
            .filter(|name| !name.is_empty())
            .map(|name| HeaderKey::new(side, name))
            .transpose()?,
        length_max: length_max(command),
    })
}

impl HeaderKey {
    fn new(side: Side, name: &str) -> Result<HeaderKey, String> {
        if !name.bytes().all(is_header_byte) {
            return Err(
                "Invalid header configuration. Format string contains invalid characters."
                    .to_owned(),
            );
        }
        let lower = name.to_ascii_lowercase();
        Ok(match HeaderId::from_lower(lower.as_bytes()) {
            // The codecs keep one name for the two.
            Some(HeaderId::Host) if side == Side::Request => HeaderKey::Known(HeaderId::Authority),
            Some(id) => HeaderKey::Known(id),
            None => HeaderKey::Other(lower.into_bytes().into()),
        })
    }
}

/// A byte of a token (RFC 9110, section 5.6.2), or the colon of `:path`.
fn is_header_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte)
}

fn query_params(command: &Command<'_>) -> Result<Operator, String> {
    match command.arguments {
        "" | "ORIG" => Ok(Operator::QueryParams {
            length_max: length_max(command),
        }),
        "DECODED" => Err("operator QUERY_PARAMS(DECODED) is not supported yet".to_owned()),
        other => Err(format!(
            "Invalid QUERY_PARAMS option: '{other}', only 'ORIG'/'DECODED' are allowed"
        )),
    }
}

fn path(command: &Command<'_>) -> Result<Operator, String> {
    let mut options = command.arguments.split(':');
    let with_query = match options.next().unwrap_or_default() {
        "" | "WQ" => true,
        "NQ" => false,
        other => {
            return Err(format!(
                "Invalid PATH option: '{other}', only 'WQ'/'NQ' are allowed"
            ));
        }
    };
    let from = match options.next().unwrap_or_default() {
        "" | "ORIG_OR_PATH" => PathFrom::OriginalOrCurrent,
        "ORIG" => PathFrom::Original,
        "PATH" => PathFrom::Current,
        other => {
            return Err(format!(
                "Invalid PATH option: '{other}', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed"
            ));
        }
    };
    Ok(Operator::Path {
        with_query,
        from,
        length_max: length_max(command),
    })
}

/// The environment does not change while the process runs. A variable that is
/// not set is a dash, in JSON too.
fn environment(command: &Command<'_>) -> Result<Operator, String> {
    use std::os::unix::ffi::OsStringExt;
    let name = required(command)?;
    // A name with `=` or NUL cannot exist; `var_os` may panic on it.
    let value = (!name.contains(['=', '\0']))
        .then(|| std::env::var_os(name))
        .flatten();
    let mut value = value.map_or_else(|| b"-".to_vec(), OsStringExt::into_vec);
    value.truncate(length_max(command));
    Ok(Operator::Fixed(value.into()))
}

fn hostname() -> Box<[u8]> {
    match std::fs::read("/proc/sys/kernel/hostname") {
        Ok(name) if !name.trim_ascii().is_empty() => name.trim_ascii().into(),
        _ => Box::from(*b"-"),
    }
}

fn common_duration(command: &Command<'_>) -> Result<Operator, String> {
    let arguments = required(command)?;
    no_length(command)?;
    let parts: Vec<&str> = arguments.split(':').collect();
    let (from, to, unit) = match parts[..] {
        [from, to] => (from, to, "ms"),
        [from, to, unit] => (from, to, unit),
        _ => {
            return Err(format!(
                "Invalid common duration configuration: {arguments}."
            ));
        }
    };
    let unit_ns = match unit {
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        _ => return Err(format!("Invalid common duration precision: {unit}.")),
    };
    Ok(Operator::Duration(Span {
        from: TimePoint::from_name(from),
        to: TimePoint::from_name(to),
        unit_ns,
    }))
}

fn grpc_status(arguments: &str) -> Result<Operator, String> {
    let format = match arguments {
        "" | "CAMEL_STRING" => GrpcFormat::Camel,
        "SNAKE_STRING" => GrpcFormat::Snake,
        "NUMBER" => GrpcFormat::Number,
        other => {
            return Err(format!(
                "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: \
                 {other}"
            ));
        }
    };
    Ok(Operator::GrpcStatus(format))
}

fn server_name(arguments: &str) -> Result<Operator, String> {
    let from = match arguments {
        "" | "SNI_ONLY" => ServerNameFrom::Sni,
        "SNI_FIRST" => ServerNameFrom::SniThenHost,
        "HOST_FIRST" => ServerNameFrom::HostThenSni,
        other if other.contains(':') => {
            return Err(format!(
                "operator REQUESTED_SERVER_NAME({other}) is not supported yet"
            ));
        }
        other => {
            return Err(format!(
                "Invalid REQUESTED_SERVER_NAME option: '{other}', only \
                 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' are allowed"
            ));
        }
    };
    Ok(Operator::ServerName(from))
}

/// Whose address `X_ADDRESS_WITHOUT_PORT` is.
fn address_without_port(name: &str) -> Option<Peer> {
    Some(match name.strip_suffix("_ADDRESS_WITHOUT_PORT")? {
        "UPSTREAM_LOCAL" => Peer::UpstreamLocal,
        "UPSTREAM_REMOTE" => Peer::UpstreamRemote,
        "DOWNSTREAM_REMOTE" => Peer::DownstreamRemote,
        "DOWNSTREAM_DIRECT_REMOTE" => Peer::DownstreamDirectRemote,
        "DOWNSTREAM_LOCAL" | "DOWNSTREAM_DIRECT_LOCAL" => Peer::DownstreamLocal,
        _ => return None,
    })
}

/// The length of a network prefix; what is not a number is ignored, as Envoy
/// does.
fn network_or_address(arguments: &str) -> AddressPart {
    match arguments.parse::<u32>() {
        // No address has more bits than 128.
        Ok(bits) => AddressPart::Network(bits.min(128) as u8),
        Err(_) => AddressPart::WithoutPort,
    }
}
