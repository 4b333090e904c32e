//! The operators of format strings: what a command compiles to, and which
//! arguments it takes. `names` lists the operators without arguments, `value`
//! writes their values.
//!
//! Error texts are Envoy's, so that a message found on the web fits.

use super::cel::Expression;
use super::command::Command;
use super::date::DateFormat;
use super::filter_state::FilterStateValue;
use super::metadata::{Coalesce, MetadataValue, Owner};
use super::names;
use super::tls::TlsValue;
use super::zone::Zone;
use crate::stream_info::TimePoint;
use ringway_codecs::header::HeaderId;

/// A compiled operator. Names are resolved here; writing a value looks up
/// nothing but header ids.
#[derive(Debug)]
pub(super) enum Operator {
    /// Known since the start: host name, environment.
    Fixed(Box<[u8]>),
    /// Never set on the connections that exist so far (tracing).
    Unset,
    StartTime(DateFormat),
    EmitTime(DateFormat),
    Text(Text),
    Number(Number),
    Duration(Span),
    /// The one time that is before a request: it is told as less than none.
    HandshakeDuration,
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
    Metadata(MetadataValue),
    FilterState(FilterStateValue),
    Tls(TlsValue),
    Coalesce(Coalesce),
    Cel {
        expression: Expression,
        /// In JSON the value has its own type instead of being a text.
        typed: bool,
        length_max: usize,
    },
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
    /// White space is written as `_`.
    ResponseCodeDetails,
    ResponseCodeDetailsAsIs,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    RouteName,
    VirtualClusterName,
    UpstreamHost,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    // Envoy's lists of what was attempted begin anew with each try, so that
    // they hold the host of the last one, once it has a connection.
    UpstreamHostAttempted,
    UpstreamHostAttemptedWithoutPort,
    UpstreamHostNameAttempted,
    UpstreamHostNameAttemptedWithoutPort,
    UpstreamConnectionIdAttempted,
    UpstreamRemoteAddressEndpointId,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamTransportFailureReason,
    DownstreamTransportFailureReason,
    StreamId,
    UniqueId,
    FilterChainName,
    Ja3,
    Ja4,
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
    UpstreamFieldsSent,
    UpstreamFieldsReceived,
    DownstreamWireSent,
    DownstreamWireReceived,
    DownstreamHeaderSent,
    DownstreamHeaderReceived,
    DownstreamFieldsSent,
    DownstreamFieldsReceived,
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
    DownstreamDirectLocal,
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
    pub(super) fn tells_sent_bytes(&self) -> bool {
        matches!(
            self,
            Operator::Number(Number::DownstreamWireSent | Number::DownstreamHeaderSent)
        )
    }

    /// Compiles a command; the error is the reason.
    pub fn compile(command: &Command<'_>) -> Result<Operator, String> {
        let Command {
            name, arguments, ..
        } = *command;
        let operator = match name {
            "START_TIME" => Operator::StartTime(date(command, None)?),
            "EMIT_TIME" => Operator::EmitTime(date(command, None)?),
            "START_TIME_LOCAL" => Operator::StartTime(date(command, Some(Zone::local()))?),
            "EMIT_TIME_LOCAL" => Operator::EmitTime(date(command, Some(Zone::local()))?),
            "REQ" | "REQUEST_HEADER" => header(Side::Request, command)?,
            "RESP" | "RESPONSE_HEADER" => header(Side::Response, command)?,
            "TRAILER" | "RESPONSE_TRAILER" => header(Side::Trailers, command)?,
            "QUERY_PARAM" => Operator::QueryParam {
                name: required(command)?.as_bytes().into(),
                length_max: length_max(command),
            },
            "QUERY_PARAMS" => query_params(command)?,
            "PATH" => path(command)?,
            "DYNAMIC_METADATA" => MetadataValue::compile(Owner::Request, command)?,
            "CLUSTER_METADATA" => MetadataValue::compile(Owner::Cluster, command)?,
            "UPSTREAM_METADATA" => MetadataValue::compile(Owner::UpstreamHost, command)?,
            "METADATA" => MetadataValue::compile_any(command)?,
            "FILTER_STATE" => FilterStateValue::compile(command)?,
            // Nothing is shared with upstream connections.
            "UPSTREAM_FILTER_STATE" => {
                FilterStateValue::compile(command)?;
                Operator::Unset
            }
            "COALESCE" => Coalesce::compile(command)?,
            "CEL" | "TYPED_CEL" => Operator::Cel {
                expression: Expression::compile(arguments)
                    .map_err(|reason| format!("{name}({arguments}): {reason}"))?,
                typed: name == "TYPED_CEL",
                length_max: length_max(command),
            },
            "ENVIRONMENT" => environment(command)?,
            "RESPONSE_CODE_DETAILS" => {
                no_length(command)?;
                Operator::Text(match arguments {
                    "ALLOW_WHITESPACES" => Text::ResponseCodeDetailsAsIs,
                    _ => Text::ResponseCodeDetails,
                })
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
                if let Some(peer) = names::address_without_port(name) {
                    no_length(command)?;
                    return Ok(Operator::Address(peer, network_or_address(arguments)));
                }
                let operator = match names::plain(name) {
                    Some(operator) => operator,
                    None if names::NOT_YET.contains(&name) => {
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

pub(super) fn required<'a>(command: &Command<'a>) -> Result<&'a str, String> {
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

pub(super) fn length_max(command: &Command<'_>) -> usize {
    command.length_max.unwrap_or(usize::MAX)
}

fn date(command: &Command<'_>, zone: Option<&'static Zone>) -> Result<DateFormat, String> {
    no_length(command)?;
    DateFormat::new(command.arguments, zone)
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

/// The length of a network prefix; what is not a number is ignored, as Envoy
/// does.
fn network_or_address(arguments: &str) -> AddressPart {
    match arguments.parse::<u32>() {
        // No address has more bits than 128.
        Ok(bits) => AddressPart::Network(bits.min(128) as u8),
        Err(_) => AddressPart::WithoutPort,
    }
}
