//! What the router does to a request's headers before it goes upstream.

use std::io::Write as _;
use std::time::Duration;

use ringway_codecs::header::HeaderId;
use ringway_config::route::{Forward, SelectedRoute};

use super::ConnectionManager;
use super::timeout::set_expected_timeout;
use crate::http::exchange::Exchange;
use crate::http::header_parser::Message;

/// Says what the host should know, and applies the route's changes and
/// rewrites.
pub(super) fn finalize_request_headers(
    manager: &ConnectionManager,
    selected: &SelectedRoute<'_>,
    forward: &Forward,
    hedged: bool,
    exchange: &mut Exchange,
) {
    let envoy_headers = !manager.shared.router_of(exchange).suppress_envoy_headers;
    if forward.resilience.attempt_count_in_request {
        set_attempt_count(exchange);
    }
    if envoy_headers {
        set_expected_timeout(
            &exchange.limits,
            hedged,
            Duration::ZERO,
            &mut exchange.request,
        );
    }
    for id in CONSUMED_FIRST {
        exchange.request.remove(id);
    }
    manager.apply_route_mutations(Message::Request, exchange);
    selected
        .route
        .rewrite(forward, &mut exchange.request, envoy_headers);
}

/// Takes off what is meant for the router alone.
pub(super) fn remove_consumed(exchange: &mut Exchange) {
    for id in CONSUMED {
        exchange.request.remove(id);
    }
}

/// Tells the host which try this is.
pub(super) fn set_attempt_count(exchange: &mut Exchange) {
    let count = exchange.info.attempt_count;
    exchange
        .request
        .set_with(HeaderId::XEnvoyAttemptCount, |out| {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{count}");
        });
}

/// Headers that speak to the router; the upstream never sees them. Only those
/// of internal clients get this far.
const CONSUMED: [HeaderId; 9] = [
    HeaderId::XEnvoyMaxRetries,
    HeaderId::XEnvoyRetryOn,
    HeaderId::XEnvoyRetryGrpcOn,
    HeaderId::XEnvoyRetriableHeaderNames,
    HeaderId::XEnvoyRetriableStatusCodes,
    HeaderId::XEnvoyHedgeOnPerTryTimeout,
    HeaderId::XEnvoyUpstreamRqTimeoutAltResponse,
    HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs,
    HeaderId::XEnvoyUpstreamStreamDurationMs,
];

/// Of those, the ones that were read before the route's changes: one that the
/// route adds is for the host, as in Envoy.
const CONSUMED_FIRST: [HeaderId; 2] = [
    HeaderId::XEnvoyUpstreamAltStatName,
    HeaderId::XEnvoyUpstreamRqTimeoutMs,
];
