//! Mirrored requests (`request_mirror_policies`), which Envoy calls shadows:
//! copies that go to other clusters, and whose responses nobody sees.
//!
//! A shadow is a task of the worker with everything of its own
//! ([`AsyncRequest`]). All that ties it to the client's request is the copy
//! of the body ([`body_copy`]), whose writer never waits. Envoy stops reading
//! from the client while a shadow cannot take more; here such a shadow is given
//! up and counted in the cluster's `retry_or_shadow_abandoned`.

use std::net::IpAddr;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::clusters::ClusterId;
use ringway_config::route::{Forward, MirrorHost, MirrorTarget, RequestMirrorPolicy, port_start};
use ringway_config::runtime::RuntimeValues;

use super::ConnectionManager;
use super::async_client::AsyncRequest;
use crate::http::body_copy::{BodyFeed, body_copy};
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::forwarded_for;
use crate::http::header_parser;
use crate::reactor;
use crate::upstream::cluster::Cluster;

/// Starts the shadows of a request, once: when its headers are ready to be sent
/// and it was not turned away for want of room.
#[inline]
pub(super) fn start(manager: &ConnectionManager, forward: &Forward, exchange: &mut Exchange) {
    // Set from the start where there is nothing to do.
    if !std::mem::replace(&mut exchange.mirrored, true) {
        let chosen = exchange.cluster.cluster;
        let cluster = chosen.and_then(|id| manager.worker.clusters.get(id));
        let policies =
            (cluster.as_ref()).and_then(|cluster| cluster.config.request_policies.mirror(forward));
        start_each(manager, policies.unwrap_or_default(), exchange);
    }
}

/// Copies a part of the request's body to its shadows. `cluster` is the
/// request's own, which counts what is given up.
#[inline]
pub(super) fn data(cluster: &Cluster, exchange: &Exchange, data: &[u8]) {
    for feed in &exchange.shadows {
        if !feed.data(data) {
            cluster.stats.retry_or_shadow_abandoned.inc();
        }
    }
}

/// Tells the shadows that the request is complete.
#[inline]
pub(super) fn end(exchange: &Exchange) {
    for feed in &exchange.shadows {
        feed.end(&exchange.request_trailers);
    }
}

fn start_each(
    manager: &ConnectionManager,
    policies: &[RequestMirrorPolicy],
    exchange: &mut Exchange,
) {
    let worker = &manager.worker;
    let find = |name: &[u8]| worker.clusters.find(name).map(|found| found.config.id);
    for policy in policies {
        let target = mirror_target(policy, exchange, &worker.runtime.borrow(), find);
        let Some(cluster) = target.ok().and_then(|id| worker.clusters.get(id)) else {
            continue;
        };
        let request = headers_of_copy(manager, policy, exchange);
        // What follows a request for another protocol is copied as it is.
        let body = (!exchange.is_request_over() || exchange.has_body()).then(|| {
            let (feed, copy) = body_copy();
            begin_copy(manager, &feed, exchange);
            exchange.shadows.push(feed);
            copy
        });
        let mut shadow = AsyncRequest::new(worker, cluster, request, body);
        shadow.facts = exchange.facts;
        shadow.tunnel = exchange.tunnel;
        shadow.timeout = exchange.limits.route;
        shadow.counts_responses = manager.shared.router_of(exchange).dynamic_stats;
        let stats = *worker.async_client_stats();
        // Nobody sees the response.
        drop(reactor::spawn(async move { drop(shadow.run(stats).await) }));
    }
}

/// Copies what is here of the body already.
fn begin_copy(manager: &ConnectionManager, feed: &BodyFeed, exchange: &Exchange) {
    if !feed.data(&exchange.replay)
        && let Some(id) = exchange.cluster.cluster
        && let Some(cluster) = manager.worker.clusters.get(id)
    {
        cluster.stats.retry_or_shadow_abandoned.inc();
    }
    if exchange.is_request_over() {
        feed.end(&exchange.request_trailers);
    }
}

/// Why a policy does not copy a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMirrored {
    /// What follows a CONNECT is no body that could be copied.
    Connect,
    /// It is not among the share of requests that are copied.
    NotInShare,
    /// It names no cluster that exists.
    NoCluster,
}

/// The cluster, which need not exist, that gets a copy of the request. `find`
/// gives the number of a cluster's name.
pub fn mirror_target(
    policy: &RequestMirrorPolicy,
    exchange: &Exchange,
    runtime: &RuntimeValues,
    find: impl Fn(&[u8]) -> Option<ClusterId>,
) -> Result<ClusterId, NotMirrored> {
    if exchange.facts.is_connect || exchange.tunnel == Tunnel::Connect {
        return Err(NotMirrored::Connect);
    }
    let fraction = policy.fraction.as_ref();
    if fraction.is_some_and(|fraction| !fraction.takes(runtime, exchange.random)) {
        return Err(NotMirrored::NotInShare);
    }
    match &policy.target {
        MirrorTarget::Cluster(id) => Ok(*id),
        MirrorTarget::Header(name) => {
            let name = exchange.request.get_name(name).unwrap_or_default();
            find(name).ok_or(NotMirrored::NoCluster)
        }
    }
}

/// The headers of a request's shadow. The formats of their changes show the
/// shadow's as the request's.
fn headers_of_copy(
    manager: &ConnectionManager,
    policy: &RequestMirrorPolicy,
    exchange: &mut Exchange,
) -> HeaderMap {
    let worker = &manager.worker;
    let mut request = exchange.request.clone();
    // As in Envoy, whose copies are made without it.
    request.forget_spelling();
    let changes = !policy.header_mutations.is_empty();
    if changes {
        std::mem::swap(&mut request, &mut exchange.request);
        header_parser::apply_mutations(
            &policy.header_mutations,
            manager.shared.routes_of(exchange).formats(),
            exchange,
            &mut worker.header_scratch.borrow_mut(),
        );
        std::mem::swap(&mut request, &mut exchange.request);
    }
    rewrite(policy, worker.local_address, &mut request);
    // Envoy's internal client says how long it waits, whatever was said before.
    if changes && let Some(limit) = exchange.request.get(HeaderId::XEnvoyExpectedRqTimeoutMs) {
        request.set(HeaderId::XEnvoyExpectedRqTimeoutMs, limit);
    }
    request
}

/// Makes a request another one for the mirror.
fn rewrite(policy: &RequestMirrorPolicy, local_address: IpAddr, request: &mut HeaderMap) {
    set_mirror_authority(policy, request);
    request.set(HeaderId::XEnvoyInternal, b"true");
    forwarded_for::append(request, local_address);
}

/// Gives the headers of a copy the authority that the policy says.
pub fn set_mirror_authority(policy: &RequestMirrorPolicy, request: &mut HeaderMap) {
    match &policy.host {
        MirrorHost::AsIs => {}
        MirrorHost::Literal(host) => request.set(HeaderId::Authority, host),
        MirrorHost::Suffixed => {
            let host = request.get(HeaderId::Authority).unwrap_or_default();
            let port = port_start(host).unwrap_or(host.len());
            let suffixed = [&host[..port], b"-shadow", &host[port..]].concat();
            request.set(HeaderId::Authority, &suffixed);
        }
    }
}

#[cfg(test)]
mod tests;
