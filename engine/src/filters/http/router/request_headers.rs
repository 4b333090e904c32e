//! What the router does to a request's headers before it goes upstream.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::format_strings::FormatId;
use ringway_config::route::{Forward, PathRewrite, Rewriting};

use super::ConnectionManager;
use super::timeout::{asked_timeout, route_timeout};
use crate::formatter::{AccessLogType, Context};
use crate::http::exchange::Exchange;

/// Applies the route's rewrites and takes off what is meant for us alone.
pub(super) fn finalize_request_headers(
    manager: &ConnectionManager,
    forward: &Forward,
    exchange: &mut Exchange,
) {
    exchange.route_timeout = asked_timeout(&exchange.request).unwrap_or(route_timeout(forward));
    for id in CONSUMED {
        exchange.request.remove(id);
    }
    let envoy_headers = !manager.shared.router.suppress_envoy_headers;
    let weighted = forward.cluster.weighted(exchange.cluster);
    rewriting(manager, exchange, |headers, with| {
        forward.rewrite(weighted, headers, with);
    });
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

/// Puts the name of the host that takes the request into the authority's place,
/// if the route says so and the host has one. For every host that is tried.
pub(super) fn rewrite_host(
    manager: &ConnectionManager,
    forward: &Forward,
    exchange: &mut Exchange,
) {
    if !forward.rewrites_host_to_hostname() {
        return;
    }
    let Some(host) = exchange.info.host.clone() else {
        return;
    };
    rewriting(manager, exchange, |headers, with| {
        forward.rewrite_host_to(&host.hostname, headers, with);
    });
}

/// Rewrites the request's path where the answer is the proxy's own.
pub(super) fn rewrite_path(
    manager: &ConnectionManager,
    rewrite: &PathRewrite,
    exchange: &mut Exchange,
) {
    rewriting(manager, exchange, |headers, with| {
        rewrite.apply(headers, with);
    });
}

/// Calls `rewrite` with the request's headers and what it takes to rewrite them.
fn rewriting(
    manager: &ConnectionManager,
    exchange: &mut Exchange,
    rewrite: impl FnOnce(&mut HeaderMap, &mut Rewriting<'_>),
) {
    let Exchange {
        request,
        response,
        response_trailers,
        info,
        scratch,
        ..
    } = exchange;
    let routes = &manager.shared.config.routes;
    let mut format = |id: FormatId, request: &HeaderMap, out: &mut Vec<u8>| {
        let context = Context {
            info,
            request,
            response,
            trailers: response_trailers,
            local_reply_body: b"",
            kind: AccessLogType::NotSet,
        };
        routes.format(id).write(&context, out);
    };
    let mut with = Rewriting {
        keep_originals: !manager.shared.router.suppress_envoy_headers,
        scratch,
        format: &mut format,
    };
    rewrite(request, &mut with);
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
