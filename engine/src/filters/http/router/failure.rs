//! What went wrong between a request and its response, and what the client is
//! told: status, body, response flag and response-code details as Envoy's.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway_codecs::header::HeaderId;

use super::charge::Clusters;
use super::timeout::record_budget;
use super::{ConnectionManager, Handled, LocalReply};
use crate::formatter::grpc;
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired};
use crate::http::http1::reader::ReadError;
use crate::network::source::error_text;
use crate::reactor;
use crate::stream_info::{ResponseFlag, StreamInfo, details};
use crate::upstream::cluster::Cluster;

/// What a client is told when the host was not reached or broke off.
macro_rules! reset_text {
    ($reason:literal, $retried:expr) => {
        match $retried {
            false => concat!(
                "upstream connect error or disconnect/reset before headers. reset reason: ",
                $reason
            ),
            true => concat!(
                "upstream connect error or disconnect/reset before headers. \
                 retried and the latest reset reason: ",
                $reason
            ),
        }
    };
}

/// Why a request got no complete response.
#[derive(Debug)]
pub enum Failure {
    /// There may be no other pool of connections.
    NoPool,
    /// A circuit breaker refused.
    Overflow,
    /// The host did not accept a connection in time.
    ConnectTimeout,
    /// There is no end of ours that a connection could have: what is told of it.
    Source(Rc<str>),
    /// The host refused the connection.
    Connect(io::Error),
    /// There is no TLS connection to the host, and this is why.
    Handshake(Rc<str>),
    /// The host closed or reset the connection before any byte of a response.
    UpstreamClosed,
    /// The host has reset the request's stream.
    UpstreamReset,
    /// The host has refused the request's stream, and did nothing with it.
    UpstreamRefused,
    /// The host did nothing with the request, through no fault of the request:
    /// it has announced the end of the connection, for instance.
    UpstreamUnprocessed,
    /// The host broke the protocol, or closed within its response.
    UpstreamProtocol,
    /// The client broke the protocol in its body.
    DownstreamProtocol,
    /// The client has sent what it should have kept until its CONNECT is answered.
    EarlyData,
    /// A filter does not take a body, and has an answer for it.
    Refused,
    /// The client went away.
    DownstreamClosed,
    /// The worker ends.
    Stopped,
    /// A deadline passed.
    Expired(Expired),
}

impl Failure {
    /// What it means that the client's body could not be read; what was wrong
    /// with it is noted.
    pub fn of_client(error: &ReadError, exchange: &mut Exchange) -> Self {
        match error {
            ReadError::Protocol(error) => {
                exchange.info.details.set(error.details());
                Self::DownstreamProtocol
            }
            ReadError::Closed | ReadError::Truncated | ReadError::Io(_) | ReadError::Http2(_) => {
                Self::DownstreamClosed
            }
            ReadError::Refused => Self::Refused,
        }
    }

    /// Ends the request: with an answer when no response has begun, and
    /// otherwise by giving the connection up.
    pub(super) fn answer(
        self,
        manager: &ConnectionManager,
        clusters: Clusters<'_>,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        self.count(manager, clusters, exchange);
        self.answer_counted(manager, clusters.route, downstream, exchange)
    }

    /// [`Failure::answer`] for a request that no cluster has to do with (any
    /// more): only its client, its deadlines or the worker's end can fail it.
    pub fn answer_alone(
        self,
        manager: &ConnectionManager,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        self.count_of_client(manager);
        self.respond(None, manager, downstream, exchange)
    }

    /// [`Failure::answer`] for a failure that was counted already.
    pub fn answer_counted(
        self,
        manager: &ConnectionManager,
        cluster: &Cluster,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        self.respond(Some(cluster), manager, downstream, exchange)
    }

    /// The answer, which counts as a response of `charged`.
    pub fn respond(
        self,
        charged: Option<&Cluster>,
        manager: &ConnectionManager,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        if matches!(self, Self::DownstreamClosed | Self::Stopped) {
            let (flag, details) = match self {
                Self::Stopped => (
                    ResponseFlag::DownstreamConnectionTermination,
                    details::DOWNSTREAM_LOCAL_DISCONNECT,
                ),
                _ => downstream.why_gone(),
            };
            exchange.info.flags.set(flag);
            exchange.info.details.set(details);
            return Handled::Aborted;
        }
        if let (Self::Expired(Expired::Route | Expired::Try | Expired::TryIdle), Some(cluster)) =
            (&self, charged)
        {
            let took = exchange.upstream_time(reactor::now());
            record_budget(cluster, took.unwrap_or_default(), exchange.limits.route);
        }
        if exchange.response_started {
            return self.abort(manager, exchange);
        }
        if !matches!(self, Self::DownstreamProtocol) {
            downstream.discard_received(exchange);
        }
        exchange.response.clear();
        let retried = exchange.info.attempt_count > 1;
        let reply = match self {
            Self::NoPool => {
                LocalReply::new(503, "no healthy upstream", details::NO_HEALTHY_UPSTREAM)
                    .flag(ResponseFlag::NoHealthyUpstream)
            }
            Self::Overflow => {
                let details = "upstream_reset_before_response_started{overflow}";
                let reply = LocalReply::new(503, reset_text!("overflow", retried), details)
                    .flag(ResponseFlag::UpstreamOverflow);
                let tells = !manager.shared.router_of(exchange).suppress_envoy_headers;
                LocalReply {
                    overloaded: tells.then_some(HeaderId::XEnvoyOverloaded),
                    ..reply
                }
            }
            Self::ConnectTimeout => {
                let details = "upstream_reset_before_response_started{connection_timeout}";
                LocalReply::new(503, reset_text!("connection timeout", retried), details)
                    .flag(ResponseFlag::UpstreamConnectionFailure)
            }
            Self::Connect(error) => {
                let info = &mut exchange.info;
                let address = info.host.as_ref().map(|host| &*host.address_text);
                let reason = connect_error_text(&error, address);
                remote_failure(info, &reason, retried)
            }
            Self::Source(reason) => local_failure(&mut exchange.info, &reason, retried),
            Self::Handshake(reason) => remote_failure(&mut exchange.info, &reason, retried),
            Self::UpstreamClosed => {
                let details = "upstream_reset_before_response_started{connection_termination}";
                LocalReply::new(503, reset_text!("connection termination", retried), details)
                    .flag(ResponseFlag::UpstreamConnectionTermination)
            }
            Self::UpstreamReset => {
                let details = "upstream_reset_before_response_started{remote_reset}";
                LocalReply::new(503, reset_text!("remote reset", retried), details)
                    .flag(ResponseFlag::UpstreamRemoteReset)
            }
            Self::UpstreamRefused | Self::UpstreamUnprocessed => {
                let details = "upstream_reset_before_response_started{remote_refused_stream_reset}";
                let body = reset_text!("remote refused stream reset", retried);
                LocalReply::new(503, body, details).flag(ResponseFlag::UpstreamRemoteReset)
            }
            Self::UpstreamProtocol => {
                let details = "upstream_reset_before_response_started{protocol_error}";
                LocalReply::new(502, reset_text!("protocol error", retried), details)
                    .flag(ResponseFlag::UpstreamProtocolError)
            }
            Self::DownstreamProtocol => {
                // Where this request ends nobody knows: nothing behind it is
                // read as another one.
                exchange.keep_alive = false;
                let reply = LocalReply::new(400, "Bad Request", "");
                manager.reply(downstream, exchange, reply);
                // As in Envoy, the reply itself cannot tell of it yet.
                let flags = &mut exchange.info.flags;
                flags.set(ResponseFlag::DownstreamProtocolError);
                return Handled::Answered;
            }
            Self::Refused => {
                manager.answer_refused(downstream, exchange);
                return Handled::Answered;
            }
            Self::EarlyData => {
                let reply = LocalReply::new(400, "", details::EARLY_CONNECT_DATA);
                manager.reply(downstream, exchange, reply);
                return Handled::Answered;
            }
            Self::Expired(expired) => {
                return self::expired(expired, charged, manager, downstream, exchange);
            }
            Self::DownstreamClosed | Self::Stopped => return Handled::Aborted,
        };
        reply_for_host(charged, manager, downstream, exchange, reply)
    }

    /// A response that has begun cannot be taken back: closing the connection
    /// tells the client that it is not complete.
    fn abort(&self, manager: &ConnectionManager, exchange: &mut Exchange) -> Handled {
        let stats = &manager.shared.stats;
        stats.downstream_rq_tx_reset.inc();
        let info = &mut exchange.info;
        match self {
            Self::UpstreamClosed => {
                info.flags.set(ResponseFlag::UpstreamConnectionTermination);
                info.details
                    .set("upstream_reset_after_response_started{connection_termination}");
            }
            Self::UpstreamReset => {
                info.flags.set(ResponseFlag::UpstreamRemoteReset);
                info.details
                    .set("upstream_reset_after_response_started{remote_reset}");
            }
            Self::UpstreamRefused | Self::UpstreamUnprocessed => {
                info.flags.set(ResponseFlag::UpstreamRemoteReset);
                info.details
                    .set("upstream_reset_after_response_started{remote_refused_stream_reset}");
            }
            Self::UpstreamProtocol => {
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
            Self::Expired(Expired::Try) => {
                info.flags.set(ResponseFlag::UpstreamRequestTimeout);
                info.details.set(details::UPSTREAM_PER_TRY_TIMEOUT);
            }
            Self::Expired(Expired::TryIdle) => {
                info.flags.set(ResponseFlag::UpstreamRequestTimeout);
                info.details.set(details::UPSTREAM_PER_TRY_IDLE_TIMEOUT);
            }
            Self::Expired(Expired::Stream) => info.details.set(details::MAX_DURATION_TIMEOUT),
            Self::Expired(Expired::Request) => info.details.set(details::REQUEST_OVERALL_TIMEOUT),
            Self::NoPool
            | Self::Overflow
            | Self::ConnectTimeout
            | Self::Source(_)
            | Self::Connect(_)
            | Self::EarlyData
            | Self::Refused
            | Self::Handshake(_)
            | Self::DownstreamClosed
            | Self::Stopped => {}
        }
        Handled::Aborted
    }

    /// Counts the failure, whatever comes of it.
    pub(super) fn count(
        &self,
        manager: &ConnectionManager,
        clusters: Clusters<'_>,
        exchange: &Exchange,
    ) {
        let (stats, of_host) = (&clusters.route.stats, &clusters.host.stats);
        match self {
            Self::UpstreamProtocol => of_host.upstream_cx_protocol_error.inc(),
            Self::ConnectTimeout | Self::Source(_) | Self::Connect(_) | Self::Handshake(_) => {
                of_host.upstream_rq_pending_failure_eject.inc();
            }
            Self::Expired(Expired::Route) => {
                stats.upstream_rq_timeout.inc();
                for stats in manager.route_stats(exchange).into_iter().flatten() {
                    stats.requests.upstream_rq_timeout.inc();
                }
            }
            Self::Expired(Expired::Upstream) => of_host.upstream_rq_max_duration_reached.inc(),
            Self::Expired(Expired::Try) => stats.upstream_rq_per_try_timeout.inc(),
            Self::Expired(Expired::TryIdle) => stats.upstream_rq_per_try_idle_timeout.inc(),
            _ => self.count_of_client(manager),
        }
    }

    /// The part of [`Failure::count`] that is the connection manager's.
    fn count_of_client(&self, manager: &ConnectionManager) {
        let stats = &manager.shared.stats;
        match self {
            Self::DownstreamProtocol => stats.downstream_cx_protocol_error.inc(),
            Self::Expired(Expired::Request) => stats.downstream_rq_timeout.inc(),
            Self::Expired(Expired::Stream) => stats.downstream_rq_max_duration_reached.inc(),
            Self::Expired(Expired::Idle) => stats.downstream_rq_idle_timeout.inc(),
            _ => {}
        }
    }
}

/// Answers in place of the host, and counts the answer as the cluster's.
pub(super) fn reply_for_host(
    charged: Option<&Cluster>,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    reply: LocalReply<'_>,
) -> Handled {
    if let Some(cluster) = charged {
        manager.charge_code(cluster, reply.status, exchange);
    }
    let reply = LocalReply {
        tells_attempts: true,
        ..reply
    };
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// The answer when a deadline passed before the response.
fn expired(
    expired: Expired,
    charged: Option<&Cluster>,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    // A request that has not arrived in full is the client's delay (408); one
    // that has is ours or the host's (504).
    let status = if exchange.is_request_over() { 504 } else { 408 };
    if let (Expired::Route, Some(budget)) = (expired, exchange.try_budget.take()) {
        budget.forget();
    }
    let reply = match expired {
        Expired::Route | Expired::Try | Expired::TryIdle => {
            let details = match expired {
                Expired::Try => details::UPSTREAM_PER_TRY_TIMEOUT,
                Expired::TryIdle => details::UPSTREAM_PER_TRY_IDLE_TIMEOUT,
                _ => details::RESPONSE_TIMEOUT,
            };
            let status = exchange.limits.timeout_status;
            let body = if status == 504 {
                "upstream request timeout"
            } else {
                ""
            };
            let reply =
                LocalReply::new(status, body, details).flag(ResponseFlag::UpstreamRequestTimeout);
            return reply_for_host(charged, manager, downstream, exchange, reply);
        }
        Expired::Upstream => {
            let reply = LocalReply::new(
                504,
                "upstream max stream duration reached",
                details::UPSTREAM_MAX_STREAM_DURATION_REACHED,
            )
            .flag(ResponseFlag::UpstreamMaxStreamDurationReached);
            return reply_for_host(None, manager, downstream, exchange, reply);
        }
        Expired::Request => {
            LocalReply::new(status, "request timeout", details::REQUEST_OVERALL_TIMEOUT)
        }
        Expired::Stream => {
            let details = details::MAX_DURATION_TIMEOUT;
            LocalReply {
                grpc_status: Some(grpc::DEADLINE_EXCEEDED),
                ..LocalReply::new(status, "downstream duration timeout", details)
            }
        }
        Expired::Idle => LocalReply::new(status, "stream timeout", details::STREAM_IDLE_TIMEOUT)
            .flag(ResponseFlag::StreamIdleTimeout),
    };
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// Only requests without a connection come here: a text may be formatted.
fn remote_failure(info: &mut StreamInfo, reason: &str, retried: bool) -> LocalReply<'static> {
    info.details.compose(format_args!(
        "upstream_reset_before_response_started{{remote_connection_failure|{reason}}}"
    ));
    info.upstream_transport_failure_reason.copy(reason);
    LocalReply::new(503, reset_text!("remote connection failure", retried), "")
        .flag(ResponseFlag::UpstreamConnectionFailure)
}

/// As [`remote_failure`], of our own end.
fn local_failure(info: &mut StreamInfo, reason: &str, retried: bool) -> LocalReply<'static> {
    match reason {
        "" => {
            (info.details).set("upstream_reset_before_response_started{local_connection_failure}");
        }
        reason => info.details.compose(format_args!(
            "upstream_reset_before_response_started{{local_connection_failure|{reason}}}"
        )),
    }
    info.upstream_transport_failure_reason.copy(reason);
    LocalReply::new(503, reset_text!("local connection failure", retried), "")
        .flag(ResponseFlag::UpstreamConnectionFailure)
}

/// Envoy's words for a failed connect.
pub(in crate::filters) fn connect_error_text(error: &io::Error, address: Option<&str>) -> String {
    let reason = match error.kind() {
        io::ErrorKind::ConnectionRefused => "Connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "No route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "Network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "Connection reset by peer".to_owned(),
        io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        _ => error_text(error),
    };
    // A Unix socket refuses at once, and so does the kernel when there is no port left
    // or no way from our end to the host.
    let is_immediate = |address: &&str| {
        let is_of_kernel = matches!(
            error.kind(),
            io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::PermissionDenied
        );
        is_of_kernel || address.parse::<SocketAddr>().is_err()
    };
    match address.filter(is_immediate) {
        Some(address) => format!("immediate connect error: {reason}|remote address:{address}"),
        None => format!("delayed connect error: {reason}"),
    }
}
