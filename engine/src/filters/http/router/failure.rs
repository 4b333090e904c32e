//! What went wrong between a request and its response, and what the client is
//! told: status, body, response flag and response-code details as Envoy's.

use std::io;

use ringway_codecs::header::HeaderId;

use super::forward::fail;
use super::{ConnectionManager, Handled, LocalReply};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired};
use crate::stream_info::{ResponseFlag, details};
use crate::upstream::cluster::Cluster;

/// Why a request got no complete response.
#[derive(Debug)]
pub enum Failure {
    /// A circuit breaker refused.
    Overflow,
    /// The host did not accept a connection in time.
    ConnectTimeout,
    /// The host refused the connection.
    Connect(io::Error),
    /// The host closed or reset the connection before any byte of a response.
    UpstreamClosed,
    /// The host broke the protocol, or closed within its response.
    UpstreamProtocol,
    /// The client broke the protocol in its body.
    DownstreamProtocol,
    /// The client went away.
    DownstreamClosed,
    /// The worker ends.
    Stopped,
    /// A deadline passed.
    Expired(Expired),
}

impl Failure {
    /// Ends the request: with an answer when no response has begun, and
    /// otherwise by giving the connection up.
    pub fn answer(
        self,
        manager: &ConnectionManager,
        cluster: &Cluster,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        self.count(manager, cluster, exchange);
        if matches!(self, Self::DownstreamClosed | Self::Stopped) {
            let info = &mut exchange.info;
            info.flags
                .set(ResponseFlag::DownstreamConnectionTermination);
            info.details.set(match self {
                Self::Stopped => details::DOWNSTREAM_LOCAL_DISCONNECT,
                _ => details::DOWNSTREAM_REMOTE_DISCONNECT,
            });
            return Handled::Aborted;
        }
        if exchange.response_started {
            return self.abort(manager, exchange);
        }
        if !matches!(self, Self::DownstreamProtocol) {
            downstream.discard_received(exchange);
        }
        exchange.response.clear();
        let reply = match self {
            Self::Overflow => {
                if !manager.shared.router.suppress_envoy_headers {
                    exchange
                        .response
                        .append(HeaderId::XEnvoyOverloaded, b"true");
                }
                let details = "upstream_reset_before_response_started{overflow}";
                LocalReply::new(503, RESET_OVERFLOW, details).flag(ResponseFlag::UpstreamOverflow)
            }
            Self::ConnectTimeout => {
                let details = "upstream_reset_before_response_started{connection_timeout}";
                LocalReply::new(503, RESET_CONNECT_TIMEOUT, details)
                    .flag(ResponseFlag::UpstreamConnectionFailure)
            }
            Self::Connect(error) => {
                // Only requests without a connection come here: a text may be
                // formatted.
                let reason = connect_error_text(&error);
                let info = &mut exchange.info;
                info.details.compose(format_args!(
                    "upstream_reset_before_response_started{{remote_connection_failure|{reason}}}"
                ));
                info.upstream_transport_failure_reason.copy(&reason);
                LocalReply::new(503, RESET_CONNECT_FAILURE, "")
                    .flag(ResponseFlag::UpstreamConnectionFailure)
            }
            Self::UpstreamClosed => {
                let details = "upstream_reset_before_response_started{connection_termination}";
                LocalReply::new(503, RESET_TERMINATION, details)
                    .flag(ResponseFlag::UpstreamConnectionTermination)
            }
            Self::UpstreamProtocol => {
                let details = "upstream_reset_before_response_started{protocol_error}";
                LocalReply::new(502, RESET_PROTOCOL, details)
                    .flag(ResponseFlag::UpstreamProtocolError)
            }
            Self::DownstreamProtocol => {
                // Where this request ends nobody knows: nothing behind it is
                // read as another one.
                exchange.keep_alive = false;
                let reply = LocalReply::new(400, "Bad Request", "")
                    .flag(ResponseFlag::DownstreamProtocolError);
                manager.reply(downstream, exchange, reply);
                return Handled::Answered;
            }
            Self::Expired(expired) => {
                return self::expired(expired, manager, cluster, downstream, exchange);
            }
            Self::DownstreamClosed | Self::Stopped => return Handled::Aborted,
        };
        fail(manager, cluster, downstream, exchange, reply)
    }

    /// A response that has begun cannot be taken back: closing the connection
    /// tells the client that it is not complete.
    fn abort(&self, manager: &ConnectionManager, exchange: &mut Exchange) -> Handled {
        let stats = &manager.shared.stats;
        stats.downstream_rq_tx_reset.inc();
        let info = &mut exchange.info;
        match self {
            Self::UpstreamClosed | Self::UpstreamProtocol => {
                info.flags.set(ResponseFlag::UpstreamProtocolError);
                info.details
                    .set("upstream_reset_after_response_started{protocol_error}");
            }
            Self::DownstreamProtocol => {
                info.flags.set(ResponseFlag::DownstreamProtocolError);
            }
            Self::Expired(Expired::Route) => {
                info.flags.set(ResponseFlag::UpstreamRequestTimeout);
                info.details.set(details::RESPONSE_TIMEOUT);
            }
            Self::Expired(Expired::Idle) => {
                info.flags.set(ResponseFlag::StreamIdleTimeout);
                info.details.set(details::STREAM_IDLE_TIMEOUT);
            }
            Self::Expired(Expired::Upstream) => {
                info.flags
                    .set(ResponseFlag::UpstreamMaxStreamDurationReached);
                info.details
                    .set(details::UPSTREAM_MAX_STREAM_DURATION_REACHED);
            }
            Self::Expired(Expired::Stream) => info.details.set(details::MAX_DURATION_TIMEOUT),
            Self::Expired(Expired::Request) => info.details.set(details::REQUEST_OVERALL_TIMEOUT),
            Self::Overflow
            | Self::ConnectTimeout
            | Self::Connect(_)
            | Self::DownstreamClosed
            | Self::Stopped => {}
        }
        Handled::Aborted
    }

    fn count(&self, manager: &ConnectionManager, cluster: &Cluster, exchange: &Exchange) {
        let stats = &cluster.stats;
        let of_client = &manager.shared.stats;
        match self {
            Self::UpstreamProtocol => stats.upstream_cx_protocol_error.inc(),
            Self::DownstreamProtocol => manager.shared.stats.downstream_cx_protocol_error.inc(),
            Self::ConnectTimeout | Self::Connect(_) => {
                stats.upstream_rq_pending_failure_eject.inc();
            }
            Self::Expired(Expired::Route) => {
                stats.upstream_rq_timeout.inc();
                for stats in manager.route_stats(exchange) {
                    stats.requests.upstream_rq_timeout.inc();
                }
            }
            Self::Expired(Expired::Upstream) => stats.upstream_rq_max_duration_reached.inc(),
            Self::Expired(Expired::Request) => of_client.downstream_rq_timeout.inc(),
            Self::Expired(Expired::Stream) => of_client.downstream_rq_max_duration_reached.inc(),
            Self::Expired(Expired::Idle) => of_client.downstream_rq_idle_timeout.inc(),
            _ => {}
        }
    }
}

/// The answer when a deadline passed before the response.
fn expired(
    expired: Expired,
    manager: &ConnectionManager,
    cluster: &Cluster,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    // A request that has not arrived in full is the client's delay (408); one
    // that has is ours or the host's (504).
    let status = if exchange.request_complete { 504 } else { 408 };
    let reply = match expired {
        Expired::Route => {
            let reply = LocalReply::new(504, "upstream request timeout", details::RESPONSE_TIMEOUT)
                .flag(ResponseFlag::UpstreamRequestTimeout);
            return fail(manager, cluster, downstream, exchange, reply);
        }
        Expired::Upstream => {
            let reply = LocalReply::new(
                504,
                "upstream max stream duration reached",
                details::UPSTREAM_MAX_STREAM_DURATION_REACHED,
            )
            .flag(ResponseFlag::UpstreamMaxStreamDurationReached);
            manager.reply(downstream, exchange, reply);
            return Handled::Answered;
        }
        Expired::Request => {
            LocalReply::new(408, "request timeout", details::REQUEST_OVERALL_TIMEOUT)
        }
        Expired::Stream => LocalReply::new(
            status,
            "downstream duration timeout",
            details::MAX_DURATION_TIMEOUT,
        ),
        Expired::Idle => LocalReply::new(status, "stream timeout", details::STREAM_IDLE_TIMEOUT)
            .flag(ResponseFlag::StreamIdleTimeout),
    };
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// Envoy's words for a failed connect.
fn connect_error_text(error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused => "Connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "No route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "Network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "Connection reset by peer".to_owned(),
        io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        _ => {
            let text = error.to_string();
            // The standard library adds the number, which Envoy does not.
            match text.find(" (os error") {
                Some(end) => text[..end].to_owned(),
                None => text,
            }
        }
    };
    format!("delayed connect error: {reason}")
}

const RESET_OVERFLOW: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: overflow";
const RESET_CONNECT_FAILURE: &str = "upstream connect error or disconnect/reset before headers. \
                                     reset reason: remote connection failure";
const RESET_CONNECT_TIMEOUT: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: connection timeout";
const RESET_TERMINATION: &str = "upstream connect error or disconnect/reset before headers. \
                                 reset reason: connection termination";
const RESET_PROTOCOL: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: protocol error";
