//! What the router does to a request's headers before it goes upstream.

use std::time::Duration;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::format_strings::FormatId;
use ringway_config::route::{Forward, MutationLevels, PathRewrite, Rewriting};

use super::super::super::network::http_connection_manager::Shared;
use super::ConnectionManager;
use super::timeout::{is_expected, set_expected_timeout};
use crate::formatter::{AccessLogType, Context};
use crate::http::exchange::Exchange;
use crate::http::host_utility::restore_port;
use crate::upstream::host::Host;

/// Says what the host should know, and applies the route's changes, which
/// `mutate` makes, and rewrites.
pub fn finalize_request_headers(
    shared: &Shared,
    forward: &Forward,
    hedged: bool,
    exchange: &mut Exchange,
    mutate: impl Fn(MutationLevels, &mut Exchange),
) {
    let router = *shared.router_of(exchange);
    // What does not count is not taken off either.
    if !is_expected(router, &exchange.request) {
        exchange.request.remove(HeaderId::XEnvoyUpstreamRqTimeoutMs);
    }
    set_expected_timeout(
        &exchange.limits,
        hedged,
        Duration::ZERO,
        !router.suppress_envoy_headers,
        &mut exchange.request,
    );
    if forward.resilience.attempt_count_in_request {
        set_attempt_count(exchange);
    }
    exchange.request.remove(HeaderId::XEnvoyUpstreamAltStatName);
    mutate_and_set_weighted_host(forward, exchange, mutate);
    if let Some(port) = exchange.connect_port {
        restore_port(&mut exchange.request, port);
    }
    rewrite_request(shared, forward, exchange);
}

/// Takes off what is meant for the router alone.
pub fn remove_consumed(exchange: &mut Exchange) {
    for id in CONSUMED {
        exchange.request.remove(id);
    }
}

/// Tells the host which try this is.
pub(super) fn set_attempt_count(exchange: &mut Exchange) {
    let count = exchange.info.attempt_count;
    exchange
        .request
        .set_decimal(HeaderId::XEnvoyAttemptCount, count);
}

/// Applies the changes and gives the request the authority that goes with the
/// cluster that was picked by weight. Without a trace of what it was: as in
/// Envoy, only that cluster's own changes see the client's, all others and the
/// rewrites take this one for the original.
fn mutate_and_set_weighted_host(
    forward: &Forward,
    exchange: &mut Exchange,
    mutate: impl Fn(MutationLevels, &mut Exchange),
) {
    let levels = exchange.header_mutations;
    let weighted = forward.cluster.weighted(exchange.cluster);
    let Some(host) = weighted.and_then(|cluster| cluster.host_rewrite.as_ref()) else {
        mutate(levels, exchange);
        return;
    };
    let (of_weighted, of_others) = levels.split();
    mutate(of_weighted, exchange);
    exchange.request.set(HeaderId::Authority, host);
    mutate(of_others, exchange);
}

/// Rewrites the request's host and path as the route says.
fn rewrite_request(shared: &Shared, forward: &Forward, exchange: &mut Exchange) {
    rewriting(shared, exchange, |headers, with| {
        forward.rewrite(headers, with);
    });
}

/// Puts the name of the host that takes the request into the authority's place,
/// if the route says so and the host has one. For every host that is tried.
pub(super) fn rewrite_host(
    manager: &ConnectionManager,
    forward: &Forward,
    host: &Host,
    exchange: &mut Exchange,
) {
    if forward.rewrites_host_to_hostname() {
        rewrite_host_to(&manager.shared, forward, &host.info().hostname, exchange);
    }
}

/// Puts the name of a host into the authority's place, if it has one.
pub fn rewrite_host_to(
    shared: &Shared,
    forward: &Forward,
    hostname: &str,
    exchange: &mut Exchange,
) {
    rewriting(shared, exchange, |headers, with| {
        forward.rewrite_host_to(hostname, headers, with);
    });
}

/// Rewrites the request's path where the answer is the proxy's own.
pub(super) fn rewrite_path(shared: &Shared, rewrite: &PathRewrite, exchange: &mut Exchange) {
    rewriting(shared, exchange, |headers, with| {
        rewrite.apply(headers, with);
    });
}

/// Calls `rewrite` with the request's headers and what it takes to rewrite them.
fn rewriting(
    shared: &Shared,
    exchange: &mut Exchange,
    rewrite: impl FnOnce(&mut HeaderMap, &mut Rewriting<'_>),
) {
    let routes = shared.routes_of(exchange);
    let keep_originals = !shared.router_of(exchange).suppress_envoy_headers;
    let Exchange {
        request,
        response,
        response_trailers,
        info,
        scratch,
        ..
    } = exchange;
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
        keep_originals,
        scratch,
        format: &mut format,
    };
    rewrite(request, &mut with);
}

/// Headers that speak to the router; the upstream never sees them. Only those
/// of internal clients get this far. Those that were read before the route's
/// changes are gone by now: what the route says in their place is for the host,
/// as in Envoy.
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
