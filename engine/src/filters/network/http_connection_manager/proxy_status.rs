//! `Proxy-Status` (RFC 9209): what went wrong with a response, for the client.
//!
//! As in Envoy, the error follows from the response flags: a response without a
//! flag that stands for an error has no such header of ours. Envoy's way of
//! writing it is kept where RFC 9209 has another one, so that whoever reads it
//! can read both: the name is written as it is, and a second `details`
//! parameter is part of the first one's text.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as pb;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::Cx;

use crate::stream_info::{ResponseFlag, ResponseFlags, StreamInfo};

/// The compiled `proxy_status_config`.
#[derive(Debug)]
pub struct ProxyStatus {
    name: Name,
    details: bool,
    connection_termination_details: bool,
    response_flags: bool,
    sets_status: bool,
}

/// How this proxy is called.
#[derive(Debug)]
enum Name {
    Literal(Box<[u8]>),
    NodeId,
}

impl ProxyStatus {
    /// Compiles the field `proxy_status_config` of a connection manager that
    /// calls itself `server_name`.
    pub(super) fn compile(
        proto: &pb::ProxyStatusConfig,
        server_name: &[u8],
        cx: &mut Cx<'_>,
    ) -> ProxyStatus {
        use pb::proxy_status_config::ProxyName;
        if let Some(ProxyName::LiteralProxyName(name)) = &proto.proxy_name
            && name.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        {
            cx.error_at(
                "literal_proxy_name",
                "a header's value has no line ends and no null characters",
            );
        }
        ProxyStatus {
            name: match &proto.proxy_name {
                // As in Envoy, whichever of the two it is.
                Some(ProxyName::UseNodeId(true | false)) => Name::NodeId,
                Some(ProxyName::LiteralProxyName(name)) => Name::Literal(name.as_bytes().into()),
                None => Name::Literal(server_name.into()),
            },
            details: !proto.remove_details,
            connection_termination_details: !proto.remove_connection_termination_details,
            response_flags: !proto.remove_response_flags,
            sets_status: proto.set_recommended_response_code,
        }
    }

    /// Tells the client what went wrong, if something did. Gives the status
    /// that the response is to have instead of its own.
    pub fn tell(&self, response: &mut HeaderMap, info: &StreamInfo, node_id: &str) -> Option<u16> {
        let error = ErrorType::of(info.flags)?;
        crate::http::append_to_list(response, HeaderId::ProxyStatus, b", ", |out| {
            out.extend_from_slice(match &self.name {
                Name::Literal(name) => name,
                Name::NodeId => node_id.as_bytes(),
            });
            out.extend_from_slice(b"; error=");
            out.extend_from_slice(error.name().as_bytes());
            self.write_details(info, out);
        });
        error.recommended_status().filter(|_| self.sets_status)
    }

    fn write_details(&self, info: &StreamInfo, out: &mut Vec<u8>) {
        if !self.details || info.details.as_str().is_empty() {
            return;
        }
        out.extend_from_slice(b"; details=\"");
        escape(info.details.as_str(), out);
        let termination = info.connection_termination_details.as_str();
        if self.connection_termination_details && !termination.is_empty() {
            out.extend_from_slice(b"; ");
            escape(termination, out);
        }
        if self.response_flags {
            out.extend_from_slice(b"; ");
            info.flags.write(ResponseFlag::short, out);
        }
        out.push(b'"');
    }
}

/// The types of errors of RFC 9209 section 2.3 that response flags stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorType {
    DestinationUnavailable,
    HttpResponseTimeout,
    ConnectionTimeout,
    ConnectionTerminated,
    ConnectionRefused,
    ConnectionLimitReached,
    HttpRequestError,
    DestinationNotFound,
    ProxyConfigurationError,
    HttpProtocolError,
    DnsError,
}

/// The first of these flags that a response has says what its error is.
const ERRORS: &[(ResponseFlag, ErrorType)] = {
    use ErrorType::*;
    use ResponseFlag::*;
    &[
        (FailedLocalHealthCheck, DestinationUnavailable),
        (NoHealthyUpstream, DestinationUnavailable),
        (UpstreamRequestTimeout, HttpResponseTimeout),
        (DurationTimeout, ConnectionTimeout),
        (LocalReset, ConnectionTimeout),
        (UpstreamRemoteReset, ConnectionTerminated),
        (UpstreamConnectionFailure, ConnectionRefused),
        (UnauthorizedExternalService, ConnectionRefused),
        (UpstreamConnectionTermination, ConnectionTerminated),
        (OverloadManagerTerminated, ConnectionLimitReached),
        (DropOverload, ConnectionLimitReached),
        (FaultInjected, HttpRequestError),
        (DownstreamConnectionTermination, ConnectionTerminated),
        (DownstreamRemoteReset, ConnectionTerminated),
        (UpstreamOverflow, ConnectionLimitReached),
        (NoRouteFound, DestinationNotFound),
        (RateLimited, ConnectionLimitReached),
        (RateLimitServiceError, ConnectionLimitReached),
        (UpstreamRetryLimitExceeded, DestinationUnavailable),
        (StreamIdleTimeout, HttpResponseTimeout),
        (InvalidEnvoyRequestHeaders, HttpRequestError),
        (DownstreamProtocolError, HttpRequestError),
        (UpstreamMaxStreamDurationReached, HttpResponseTimeout),
        (NoFilterConfigFound, ProxyConfigurationError),
        (UpstreamProtocolError, HttpProtocolError),
        (NoClusterFound, DestinationUnavailable),
        (DnsResolutionFailed, DnsError),
    ]
};

impl ErrorType {
    fn of(flags: ResponseFlags) -> Option<ErrorType> {
        if flags.is_empty() {
            return None;
        }
        let (_, error) = ERRORS.iter().find(|(flag, _)| flags.has(*flag))?;
        Some(*error)
    }

    const fn name(self) -> &'static str {
        match self {
            ErrorType::DestinationUnavailable => "destination_unavailable",
            ErrorType::HttpResponseTimeout => "http_response_timeout",
            ErrorType::ConnectionTimeout => "connection_timeout",
            ErrorType::ConnectionTerminated => "connection_terminated",
            ErrorType::ConnectionRefused => "connection_refused",
            ErrorType::ConnectionLimitReached => "connection_limit_reached",
            ErrorType::HttpRequestError => "http_request_error",
            ErrorType::DestinationNotFound => "destination_not_found",
            ErrorType::ProxyConfigurationError => "proxy_configuration_error",
            ErrorType::HttpProtocolError => "http_protocol_error",
            ErrorType::DnsError => "dns_error",
        }
    }

    /// The status that the RFC recommends; what is the client's fault has none
    /// that is right for all.
    const fn recommended_status(self) -> Option<u16> {
        match self {
            ErrorType::HttpResponseTimeout | ErrorType::ConnectionTimeout => Some(504),
            ErrorType::ConnectionTerminated
            | ErrorType::ConnectionRefused
            | ErrorType::HttpProtocolError
            | ErrorType::DnsError => Some(502),
            ErrorType::DestinationUnavailable | ErrorType::ConnectionLimitReached => Some(503),
            ErrorType::DestinationNotFound | ErrorType::ProxyConfigurationError => Some(500),
            ErrorType::HttpRequestError => None,
        }
    }
}

/// Appends text as it may stand between quotes.
fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_follows_from_the_first_flag_that_stands_for_one() {
        let of = |flags: &[ResponseFlag]| {
            let mut set = ResponseFlags::default();
            flags.iter().for_each(|flag| set.set(*flag));
            ErrorType::of(set).map(|error| (error.name(), error.recommended_status()))
        };
        use ResponseFlag as F;
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[F::DelayInjected]), None);
        assert_eq!(of(&[F::ResponseFromCacheFilter]), None);
        let timeout = Some(("http_response_timeout", Some(504)));
        assert_eq!(
            of(&[F::UpstreamRetryLimitExceeded, F::UpstreamRequestTimeout]),
            timeout
        );
        assert_eq!(
            of(&[F::DelayInjected, F::FaultInjected]),
            Some(("http_request_error", None))
        );
        // Every flag but those that say of no error.
        let known = ERRORS.len();
        assert_eq!(known + 3, F::ALL.len());
        for flag in F::ALL {
            let expected = ERRORS.iter().any(|(known, _)| known == flag);
            assert_eq!(of(&[*flag]).is_some(), expected, "{flag:?}");
        }
    }

    #[test]
    fn quotes_are_escaped() {
        let mut out = Vec::new();
        escape("a \"b\" \\c", &mut out);
        assert_eq!(out, b"a \\\"b\\\" \\\\c");
    }
}
