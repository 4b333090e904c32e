//! How long a request may take: what the route, the request's own headers and
//! the connection manager say, as deadlines of the exchange.

use std::task::{Context, Poll};
use std::time::Duration;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::Forward;

use super::ConnectionManager;
use super::failure::Failure;
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Tunnel};
use crate::reactor;

/// `x-envoy-upstream-rq-timeout-ms`, which replaces the route's timeout; 0 is
/// no limit.
pub(super) fn asked_timeout(request: &HeaderMap) -> Option<Option<Duration>> {
    let asked = request.get(HeaderId::XEnvoyUpstreamRqTimeoutMs)?;
    let ms: u64 = std::str::from_utf8(asked).ok()?.parse().ok()?;
    Some((ms > 0).then(|| Duration::from_millis(ms)))
}

/// The route's timeout, which its `max_stream_duration` replaces.
pub(super) fn route_timeout(forward: &Forward) -> Option<Duration> {
    if forward.max_stream_duration.is_some() {
        return None;
    }
    forward.timeout
}

pub(super) fn set_deadlines(
    manager: &ConnectionManager,
    forward: &Forward,
    downstream: &Downstream,
    exchange: &mut Exchange,
) {
    let timeouts = &manager.shared.config.timeouts;
    let deadlines = &mut exchange.deadlines;
    deadlines.idle = forward.idle_timeout.unwrap_or(timeouts.stream_idle);
    let stream = forward.max_stream_duration.unwrap_or(timeouts.stream);
    let start = exchange.info.start;
    deadlines.stream = stream.map(|limit| start + limit);
    // Until it is answered, a tunnel counts as a request that has not arrived
    // in full. How long a proxy takes to connect is not the route's business.
    if exchange.request_complete && exchange.tunnel != Tunnel::Connect {
        deadlines.route = exchange.route_timeout.map(|limit| reactor::now() + limit);
    }
    if !exchange.request_complete || exchange.tunnel != Tunnel::None {
        deadlines.request = timeouts.request.map(|limit| start + limit);
    }
    downstream.timer.set(deadlines.next());
}

/// Polls the one timer for whichever deadline is the nearest.
pub(super) fn poll_deadline(
    manager: &ConnectionManager,
    downstream: &Downstream,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    while downstream.timer.poll_expired(cx).is_ready() {
        if manager.worker.is_stopping() {
            return Poll::Ready(Failure::Stopped);
        }
        if let Some(expired) = exchange.deadlines.expired(reactor::now()) {
            return Poll::Ready(Failure::Expired(expired));
        }
        downstream.timer.set(exchange.deadlines.next());
    }
    Poll::Pending
}
