//! How long a request may take: what the route, the request's own headers and
//! the connection manager say, as deadlines of the exchange.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{Forward, GrpcTimeout};

use super::failure::Failure;
use super::{Config, ConnectionManager};
use crate::formatter::grpc::is_grpc;
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Limits, StreamLimit, Tunnel};
use crate::http::timeout_budget::{TryBudget, percent_used};
use crate::reactor;
use crate::upstream::cluster::Cluster;

/// How long the upstream may take. Headers of the request that say so win over
/// the route; 0 is no limit.
pub fn limits(forward: &Forward, router: Config, request: &HeaderMap) -> Limits {
    let policy = forward.resilience.retry.as_deref();
    let of_grpc = older_grpc_timeout(forward, request);
    // The route's `max_stream_duration` replaces its timeout.
    let of_route = match forward.replaces_timeout {
        true => None,
        false => of_grpc.unwrap_or(forward.timeout),
    };
    let route = asked_ms(request, route_header(router, request)).unwrap_or(of_route);
    let per_try = asked_ms(request, HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs)
        .unwrap_or_else(|| policy.and_then(|policy| policy.per_try_timeout));
    Limits {
        route,
        // One that the route's timeout cuts off anyway is none.
        per_try: per_try.filter(|per_try| route.is_none_or(|route| *per_try < route)),
        per_try_idle: policy.and_then(|policy| policy.per_try_idle_timeout),
        asked_upstream_stream: asked_ms(request, HeaderId::XEnvoyUpstreamStreamDurationMs),
        tells_grpc: of_grpc.is_some(),
        timeout_status: match request.contains(HeaderId::XEnvoyUpstreamRqTimeoutAltResponse) {
            true => 204,
            false => 504,
        },
    }
}

/// The header that says how long all tries may take together: what another
/// Envoy says that it waits, where it is believed, whatever else is there.
pub fn route_header(router: Config, request: &HeaderMap) -> HeaderId {
    match is_expected(router, request) {
        true => HeaderId::XEnvoyExpectedRqTimeoutMs,
        false => HeaderId::XEnvoyUpstreamRqTimeoutMs,
    }
}

/// Whether another Envoy has said how long it waits, and is believed.
pub(super) fn is_expected(router: Config, request: &HeaderMap) -> bool {
    router.respect_expected_timeout && request.contains(HeaderId::XEnvoyExpectedRqTimeoutMs)
}

/// The limit of a gRPC request to a route with a `max_grpc_timeout`: as much as
/// it asks for and may have. The inner `None` is without limit.
fn older_grpc_timeout(forward: &Forward, request: &HeaderMap) -> Option<Option<Duration>> {
    let rule = forward.older_grpc_timeout.as_ref()?;
    if forward.replaces_timeout || !is_grpc(request) {
        return None;
    }
    let asked = request.get(HeaderId::GrpcTimeout).and_then(grpc_timeout);
    let asked = asked.filter(|asked| !asked.is_zero());
    // As in Envoy, no offset makes a limit of nothing, which would be none.
    let asked = asked.map(|asked| match asked > rule.offset {
        true => asked - rule.offset,
        false => asked,
    });
    Some(match (asked, rule.max) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    })
}

/// A header in milliseconds, of which 0 is no limit; `None` when it is not there
/// or not a number.
pub fn asked_ms(request: &HeaderMap, id: HeaderId) -> Option<Option<Duration>> {
    let asked = std::str::from_utf8(request.get(id)?).ok()?;
    let ms: u64 = asked.trim().parse().ok()?;
    Some((ms > 0).then(|| Duration::from_millis(ms)))
}

/// Tells the host how long it has: what is left of the limits after `elapsed`.
/// A hedged try may use all of the route's time. Only gRPC hosts are told
/// without `envoy_headers`.
pub(super) fn set_expected_timeout(
    limits: &Limits,
    hedged: bool,
    elapsed: Duration,
    envoy_headers: bool,
    request: &mut HeaderMap,
) {
    if !envoy_headers && !limits.tells_grpc {
        return;
    }
    let per_try = limits.per_try.filter(|_| !hedged);
    let Some(mut expected) = per_try.or(limits.route) else {
        return;
    };
    if let Some(route) = limits.route {
        // 0 would be for ever.
        let left = route.saturating_sub(elapsed).max(Duration::from_millis(1));
        expected = expected.min(left);
    }
    if envoy_headers {
        request.set_decimal(
            HeaderId::XEnvoyExpectedRqTimeoutMs,
            expected.as_millis() as u64,
        );
    }
    if limits.tells_grpc {
        set_grpc_timeout(expected, request);
    }
}

fn set_grpc_timeout(limit: Duration, request: &mut HeaderMap) {
    request.set_with(HeaderId::GrpcTimeout, |out| {
        write_grpc_timeout(limit, out);
    });
}

pub(super) fn set_deadlines(
    manager: &ConnectionManager,
    forward: &Forward,
    downstream: &Downstream,
    exchange: &mut Exchange,
) {
    set_stream_deadlines(manager, Some(forward), exchange);
    let now = reactor::now();
    exchange.begin_upstream_time(now);
    // Tunnels have no end that the limit could begin with. Envoy has it begin
    // with a WebSocket's head, and with nothing of the others.
    if exchange.is_request_over() || exchange.tunnel == Tunnel::WebSocket {
        exchange.deadlines.route = exchange.limits.route.map(|limit| now + limit);
    }
    downstream.timer.set(exchange.deadlines.next());
}

/// The limits that hold for a request wherever it goes, `forward` being what
/// its route says.
pub fn set_stream_deadlines(
    manager: &ConnectionManager,
    forward: Option<&Forward>,
    exchange: &mut Exchange,
) {
    let timeouts = &manager.shared.config.timeouts;
    let start = exchange.info.start;
    let stream = exchange.stream_limit.time;
    exchange.flush_limit = timeouts.flush(forward);
    let deadlines = &mut exchange.deadlines;
    deadlines.idle = forward
        .and_then(|forward| forward.idle_timeout)
        .unwrap_or(timeouts.stream_idle);
    deadlines.stream = stream.map(|limit| start + limit);
    // Until it is answered, a tunnel counts as a request that has not arrived
    // in full.
    if !exchange.request_complete || exchange.tunnel != Tunnel::None {
        deadlines.request = timeouts.request.map(|limit| start + limit);
    }
}

/// Notes how long the whole stream may take, now that its route is known: the
/// request's `grpc-timeout` where the route asks for it, else what the route or
/// the connection manager says.
///
/// A route that says anything of it has gRPC hosts told, too: whatever the
/// client has asked for, the limit that holds is what they get.
pub fn set_stream_limit(forward: &Forward, of_manager: Option<Duration>, exchange: &mut Exchange) {
    let limited_before = exchange.stream_limit.time.is_some();
    exchange.stream_limit = StreamLimit {
        time: of_manager,
        is_asked: false,
    };
    if !forward.replaces_timeout {
        return;
    }
    let request = &mut exchange.request;
    let asked = asked_by_grpc(forward, request);
    let limit = asked.or_else(|| forward.max_stream_duration.unwrap_or(of_manager));
    exchange.stream_limit = StreamLimit {
        time: limit,
        is_asked: asked.is_some(),
    };
    if !is_grpc(request) {
        return;
    }
    match limit {
        Some(limit) => set_grpc_timeout(limit, request),
        // As in Envoy, what the client has asked for is forgotten only together
        // with a limit that held until now.
        None if limited_before => {
            request.remove(HeaderId::GrpcTimeout);
        }
        None => {}
    }
}

/// The limit that a gRPC client asks for, as the route allows it.
fn asked_by_grpc(forward: &Forward, request: &HeaderMap) -> Option<Duration> {
    let rule = forward.grpc_timeout.as_ref()?;
    let asked = request.get(HeaderId::GrpcTimeout).and_then(grpc_timeout)?;
    Some(grpc_limit(rule, asked))
}

fn grpc_limit(rule: &GrpcTimeout, asked: Duration) -> Duration {
    let capped = rule.max.map_or(asked, |max| asked.min(max));
    capped.saturating_sub(rule.offset)
}

/// The largest number that a `grpc-timeout` may have: eight digits.
const GRPC_COUNT_MAX: u64 = 99_999_999;

/// `grpc-timeout`: a number and a unit. As in Envoy, less than a millisecond is
/// rounded up, and the number may have a sign and spaces around it.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, number) = value.split_last()?;
    let count: u64 = std::str::from_utf8(number).ok()?.trim().parse().ok()?;
    if count > GRPC_COUNT_MAX {
        return None;
    }
    let ms = match unit {
        b'H' => count * 3_600_000,
        b'M' => count * 60_000,
        b'S' => count * 1000,
        b'm' => count,
        b'u' => count.div_ceil(1000),
        b'n' => count.div_ceil(1_000_000),
        _ => return None,
    };
    Some(Duration::from_millis(ms))
}

/// Appends a limit as `grpc-timeout` has it: in milliseconds, or in the smallest
/// unit that leaves no more than eight digits.
pub fn write_grpc_timeout(limit: Duration, out: &mut Vec<u8>) {
    let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let units = [(1, b'm'), (1000, b'S'), (60_000, b'M'), (3_600_000, b'H')];
    let fits = units.iter().find(|(unit, _)| ms / unit <= GRPC_COUNT_MAX);
    let (count, unit) = fits.map_or((GRPC_COUNT_MAX, b'H'), |(unit, name)| (ms / unit, *name));
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.push(unit);
}

/// The time that a try has (`per_try_timeout`), if how much of it tries use is
/// recorded.
pub(super) fn begin_try(cluster: &Cluster, limit: Option<Duration>) -> Option<TryBudget> {
    let budgets = cluster.shared.timeout_budgets?;
    let recorded = budgets.upstream_rq_timeout_budget_per_try_percent_used;
    Some(TryBudget::begin(recorded, limit))
}

/// Records how much of its time a request has used that is over, where that is
/// recorded.
pub(super) fn record_budget(cluster: &Cluster, took: Duration, limit: Option<Duration>) {
    if let Some(budgets) = cluster.shared.timeout_budgets {
        (budgets.upstream_rq_timeout_budget_percent_used).record(percent_used(took, limit));
    }
}

/// Polls the one timer for whichever deadline is the nearest.
pub fn poll_deadline(
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    match poll_deadline_or(None, manager, downstream, exchange, cx) {
        Poll::Ready(Some(failure)) => Poll::Ready(failure),
        Poll::Ready(None) | Poll::Pending => Poll::Pending,
    }
}

/// [`poll_deadline`] with one more deadline, whose passing is `None`.
pub(super) fn poll_deadline_or(
    other: Option<Instant>,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Option<Failure>> {
    while downstream.timer.poll_expired(cx).is_ready() {
        if manager.worker.is_stopping() {
            return Poll::Ready(Some(Failure::Stopped));
        }
        let now = reactor::now();
        if let Some(expired) = exchange.deadlines.expired(now) {
            return Poll::Ready(Some(Failure::Expired(expired)));
        }
        if other.is_some_and(|at| at <= now) {
            return Poll::Ready(None);
        }
        manager.log_if_due(now, downstream, exchange);
        let next = [other, exchange.deadlines.next()];
        downstream.timer.set(next.into_iter().flatten().min());
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        for (text, ms) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("99999999m", Some(99_999_999)),
            ("1u", Some(1)),
            ("1001u", Some(2)),
            ("1n", Some(1)),
            ("0m", Some(0)),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("1", None),
            ("-1m", None),
            ("-0m", None),
            ("1 m", Some(1)),
            (" +1m", Some(1)),
            ("000000000007m", Some(7)),
            ("0x1m", None),
            ("1m1", None),
            ("1s", None),
        ] {
            let found = grpc_timeout(text.as_bytes());
            assert_eq!(found, ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn limits_are_written_as_grpc_timeouts() {
        for (ms, text) in [
            (0, "0m"),
            (2950, "2950m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (1_000_000_000, "1000000S"),
            (99_999_999_999, "99999999S"),
            (100_000_000_000, "1666666M"),
            (359_999_996_399_950, "99999998H"),
            (u64::MAX, "99999999H"),
        ] {
            let mut out = Vec::new();
            write_grpc_timeout(Duration::from_millis(ms), &mut out);
            assert_eq!(out, text.as_bytes(), "{ms}");
        }
    }

    #[test]
    fn the_expected_timeout_is_what_is_left() {
        let ms = Duration::from_millis;
        for (route, per_try, hedged, elapsed, expected) in [
            (None, None, false, 0, None),
            (Some(100), None, false, 0, Some("100")),
            (Some(100), Some(40), false, 0, Some("40")),
            (Some(100), Some(40), true, 0, Some("100")),
            (Some(100), Some(40), false, 70, Some("30")),
            (Some(100), Some(40), false, 100, Some("1")),
            (None, Some(40), false, 500, Some("40")),
            (None, Some(40), true, 0, None),
        ] {
            let limits = Limits {
                route: route.map(ms),
                per_try: per_try.map(ms),
                ..Limits::default()
            };
            let mut request = HeaderMap::new();
            set_expected_timeout(&limits, hedged, ms(elapsed), true, &mut request);
            let found = request.get(HeaderId::XEnvoyExpectedRqTimeoutMs);
            assert_eq!(found, expected.map(str::as_bytes), "{limits:?}");
        }
    }
}
