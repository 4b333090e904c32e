//! What the router does to a request's headers before it goes upstream.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{Forward, SelectedRoute};

use super::ConnectionManager;
use super::timeout::{asked_timeout, route_timeout};
use crate::http::exchange::Exchange;

/// Applies the route's rewrites and takes off what is meant for us alone.
pub(super) fn finalize_request_headers(
    manager: &ConnectionManager,
    selected: &SelectedRoute<'_>,
    forward: &Forward,
    exchange: &mut Exchange,
) {
    exchange.route_timeout = asked_timeout(&exchange.request).unwrap_or(route_timeout(forward));
    for id in CONSUMED {
        exchange.request.remove(id);
    }
    let envoy_headers = !manager.shared.router_of(exchange).suppress_envoy_headers;
    selected
        .route
        .rewrite(forward, &mut exchange.request, envoy_headers);
    if let Some(timeout) = exchange.route_timeout
        && envoy_headers
    {
        exchange
            .request
            .set_with(HeaderId::XEnvoyExpectedRqTimeoutMs, |out| {
                use std::io::Write as _;
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", timeout.as_millis());
            });
    }
}

/// Headers that speak to the router; the upstream never sees them. Only those
/// of internal clients get this far.
const CONSUMED: [HeaderId; 11] = [
    HeaderId::XEnvoyMaxRetries,
    HeaderId::XEnvoyRetryOn,
    HeaderId::XEnvoyRetryGrpcOn,
    HeaderId::XEnvoyRetriableHeaderNames,
    HeaderId::XEnvoyRetriableStatusCodes,
    HeaderId::XEnvoyHedgeOnPerTryTimeout,
    HeaderId::XEnvoyUpstreamAltStatName,
    HeaderId::XEnvoyUpstreamRqTimeoutAltResponse,
    HeaderId::XEnvoyUpstreamRqTimeoutMs,
    HeaderId::XEnvoyUpstreamRqPerTryTimeoutMs,
    HeaderId::XEnvoyUpstreamStreamDurationMs,
];
