//! What becomes of a request, as its host's successes and errors that
//! `/clusters` shows.
//!
//! As in Envoy an error is counted together with the code that the client is
//! answered, so where that code is not counted the error is not either; a try
//! that another one follows is an error in any case. Of an answer to gRPC its
//! status decides, which may come as late as in the trailers.

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::{Framing, ResponseHead};

use super::{ConnectionManager, Failure};
use crate::formatter::grpc;
use crate::http::exchange::{Exchange, Expired};
use crate::upstream::host::{Host, HostStats};

/// Counts a response that is sent on. True means that only its end tells.
pub(super) fn on_head(
    stats: &HostStats,
    head: &ResponseHead,
    request: &HeaderMap,
    response: &HeaderMap,
    counts_responses: bool,
) -> bool {
    if head.status >= 500 {
        if counts_responses {
            stats.rq_error.inc();
        }
        return false;
    }
    if !grpc::is_grpc(request) {
        stats.rq_success.inc();
        return false;
    }
    let is_all = matches!(head.framing, Framing::None | Framing::Length(0));
    if is_all {
        on_end(stats, response);
    }
    !is_all
}

/// Counts an answer to gRPC whose status is in these headers or trailers, if it
/// has one.
pub(super) fn on_end(stats: &HostStats, fields: &HeaderMap) {
    match grpc::http_status(fields) {
        Some(..500) => stats.rq_success.inc(),
        _ => stats.rq_error.inc(),
    }
}

/// Counts a try that failed before its response, and that another one follows
/// if it is `retried`.
pub(super) fn on_failure(
    manager: &ConnectionManager,
    host: &Host,
    failure: &Failure,
    retried: bool,
    exchange: &Exchange,
) {
    let status = match failure {
        Failure::Source(_)
        | Failure::Connect(_)
        | Failure::ConnectTimeout
        | Failure::Handshake(_)
        | Failure::UpstreamClosed
        | Failure::UpstreamReset
        | Failure::UpstreamRefused
        | Failure::UpstreamUnprocessed
        | Failure::UpstreamProtocol => 503,
        Failure::Expired(Expired::Route | Expired::Try | Expired::TryIdle) => {
            exchange.limits.timeout_status
        }
        Failure::Expired(Expired::Upstream) if retried => 504,
        _ => return,
    };
    if exchange.response_started {
        return;
    }
    if retried || status < 500 || manager.counts_responses(exchange) {
        host.stats.rq_error.inc();
    }
}
