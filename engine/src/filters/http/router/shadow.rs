//! Mirrored requests (`request_mirror_policies`), which Envoy calls shadows:
//! copies that go to other clusters, and whose responses nobody sees.
//!
//! A shadow is a task of the worker with everything of its own: headers, host,
//! connection, deadline. All that ties it to the client's request is the copy
//! of the body ([`body_copy`]), whose writer never waits. Envoy stops reading
//! from the client while a shadow cannot take more; here such a shadow is given
//! up and counted in the cluster's `retry_or_shadow_abandoned`.
//!
//! Shadows are counted as Envoy counts requests of its internal client: in
//! their cluster's statistics, as requests from the inside, and in
//! `http.async-client.rq_total`.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringway_codecs::header::{HeaderId, HeaderMap, Lines};
use ringway_codecs::http1::{Framing, HeadEnd, ResponseHead, Version};
use ringway_config::clusters::ClusterId;
use ringway_config::discovery::Discovery;
use ringway_config::route::{Forward, MirrorHost, MirrorTarget, RequestMirrorPolicy, port_start};
use ringway_config::runtime::RuntimeValues;

use super::codec::{Asked, Codec};
use super::drop_overload::judge;
use super::host_result;
use super::interim::{Interims, is_interim, is_known};
use super::pick::{Picked, pick_host_of_copy};
use super::sizes::begin_sizes;
use super::timeout::{begin_try, record_budget};
use super::{ConnectionManager, maintenance};
use crate::filters::WorkerContext;
use crate::http::body_copy::{BodyCopy, BodyFeed, Copied, body_copy};
use crate::http::downstream::SEND_QUEUE_BYTES_MAX;
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::forwarded_for;
use crate::http::header_parser;
use crate::http::http1::reader::{BodyPart, ReadError, RequestFacts};
use crate::http::http2::error::Http2Error;
use crate::http::message_sizes::MessageSizes;
use crate::http::timeout_budget::TryBudget;
use crate::reactor::{self, Timer};
use crate::stats::http_connection_manager::RouterStats;
use crate::transport_sockets::options::TransportSocketOptions;
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, ActiveRequest, Lease, PoolFailure, PoolOf};
use crate::upstream::host::Host;
use crate::upstream::outlier_detection::Outcome;

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
        let shadow = Shadow {
            worker: Rc::clone(worker),
            cluster,
            request,
            body,
            facts: exchange.facts,
            tunnel: exchange.tunnel,
            timeout: exchange.limits.route,
            timer: Timer::new(),
            counts_responses: manager.shared.router_of(exchange).dynamic_stats,
            complete_at: None,
            budget: None,
        };
        drop(reactor::spawn(shadow.run(*worker.async_client_stats())));
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

/// One copy of a request on its way.
struct Shadow {
    worker: Rc<WorkerContext>,
    cluster: Rc<Cluster>,
    request: HeaderMap,
    /// The rest of the request; `None` once it has been sent.
    body: Option<BodyCopy>,
    facts: RequestFacts,
    /// What the request asks its connection to become.
    tunnel: Tunnel,
    /// From the end of the request to the end of the response.
    timeout: Option<Duration>,
    timer: Timer,
    /// The router of the request counts responses, and so those to its copies.
    counts_responses: bool,
    /// When the request was complete.
    complete_at: Option<Instant>,
    /// How much of its time it takes, where that is recorded.
    budget: Option<TryBudget>,
}

/// Why a shadow ended without a complete response.
enum Failure {
    Pool(PoolFailure),
    Timeout,
    /// The host closed the connection before its response.
    Closed,
    Protocol,
    /// The client's request broke off, or was faster than the shadow.
    Cancelled,
}

impl Shadow {
    async fn run(mut self, stats: RouterStats) {
        stats.rq_total.inc();
        let cluster = Rc::clone(&self.cluster);
        if maintenance::refuses(&self.worker, &cluster) {
            self.count_code(503);
            return;
        }
        if let Some(drop) = cluster.drop_overload()
            && judge(&self.worker, drop).is_some()
        {
            self.count_code(503);
            return;
        }
        let Some(picked) = pick_host_of_copy(&self.worker, &cluster, &self.request) else {
            // As in Envoy, copies look no name up, and that there is no host
            // for them is not counted then.
            if !matches!(cluster.config.discovery, Discovery::DynamicForwardProxy(_)) {
                cluster.stats.upstream_cx_none_healthy.inc();
            }
            self.count_code(503);
            return;
        };
        let Picked {
            host,
            cluster: of_host,
        } = picked;
        // A copy is tried once, so nothing else limits a try.
        self.budget = begin_try(&cluster, None);
        let lease = match self.connection(&of_host, &host).await {
            Ok(lease) => lease,
            Err(failure) => {
                if matches!(failure, Failure::Timeout | Failure::Cancelled) {
                    of_host.stats.upstream_rq_cancelled.inc();
                }
                if let Failure::Pool(
                    PoolFailure::Connect(_)
                    | PoolFailure::Handshake(_)
                    | PoolFailure::ConnectTimeout,
                ) = failure
                {
                    if self.counts_responses {
                        host.stats.rq_error.inc();
                    }
                    host.note(Outcome::Failed);
                }
                if !matches!(failure, Failure::Pool(PoolFailure::NoPool)) {
                    drop(begin_sizes(&cluster, &self.request));
                }
                self.fail(&failure, &of_host);
                return;
            }
        };
        let Some(_permit) = of_host.breakers[PRIORITY].requests.acquire() else {
            of_host.stats.upstream_rq_active_overflow.inc();
            lease.give_back_unused();
            drop(begin_sizes(&cluster, &self.request));
            self.fail(&Failure::Pool(PoolFailure::Overflow), &of_host);
            return;
        };
        let mut sent = Sent::start(&self, lease);
        match poll_fn(|cx| sent.poll(&mut self, cx)).await {
            Ok(()) => sent.complete(&self),
            Err(failure) => {
                let stats_of_host = &host.stats;
                match failure {
                    Failure::Timeout => {
                        stats_of_host.rq_timeout.inc();
                        if sent.head.is_none() {
                            if self.counts_responses {
                                stats_of_host.rq_error.inc();
                            }
                            host.note(Outcome::TimedOut(504));
                        }
                    }
                    Failure::Closed | Failure::Protocol => {
                        if sent.is_result_open || sent.head.is_none() && self.counts_responses {
                            stats_of_host.rq_error.inc();
                        }
                        host.note(Outcome::Failed);
                    }
                    Failure::Pool(_) | Failure::Cancelled => {}
                }
                if sent.head.is_none() {
                    self.fail(&failure, &of_host);
                } else {
                    self.count(&failure, &of_host);
                }
            }
        }
    }

    /// Waits for a connection, as long as the client's request and the deadline
    /// allow.
    async fn connection(
        &mut self,
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
    ) -> Result<Lease, Failure> {
        // As in Envoy a copy is nobody's.
        let mut options = TransportSocketOptions::default();
        if let Some(config) = &self.cluster.config.auto_sni {
            options.read(config, &self.request);
        }
        let speaks = cluster.speaks(None);
        let pool_of = |host: &Rc<Host>| PoolOf::anybody(cluster, host, speaks, &options);
        conn_pool::predict(&self.worker.rng, cluster, PRIORITY, pool_of);
        let of = pool_of(host);
        let mut acquiring = pin!(conn_pool::acquire(cluster, host, PRIORITY, &of));
        poll_fn(|cx| {
            if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
                return Poll::Ready(acquired.map_err(Failure::Pool));
            }
            self.poll_stop(cx).map(Err)
        })
        .await
    }

    /// Polls for what ends the shadow from outside, and starts its clock when
    /// the request is complete.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        let complete = match &self.body {
            Some(body) if body.poll_cancelled(cx).is_ready() => {
                return Poll::Ready(Failure::Cancelled);
            }
            Some(body) => body.is_complete(),
            None => true,
        };
        if complete && self.complete_at.is_none() {
            let now = reactor::now();
            self.complete_at = Some(now);
            self.timer.set(self.timeout.map(|limit| now + limit));
        }
        self.timer.poll_expired(cx).map(|()| Failure::Timeout)
    }

    /// Counts a failure and the status that a client would have got for it.
    fn fail(&mut self, failure: &Failure, of_host: &Cluster) {
        self.count(failure, of_host);
        match failure {
            Failure::Pool(_) | Failure::Closed => self.count_code(503),
            Failure::Protocol => self.count_code(502),
            Failure::Timeout => {
                if let Some(budget) = self.budget.take() {
                    budget.forget();
                }
                self.count_code(504);
            }
            Failure::Cancelled => {}
        }
    }

    fn count(&self, failure: &Failure, of_host: &Cluster) {
        let stats = &of_host.stats;
        match failure {
            Failure::Pool(
                PoolFailure::Connect(_) | PoolFailure::Handshake(_) | PoolFailure::ConnectTimeout,
            ) => {
                stats.upstream_rq_pending_failure_eject.inc();
            }
            Failure::Protocol => stats.upstream_cx_protocol_error.inc(),
            Failure::Timeout => {
                self.cluster.stats.upstream_rq_timeout.inc();
                self.record_budget(reactor::now());
            }
            Failure::Pool(PoolFailure::NoPool | PoolFailure::Overflow)
            | Failure::Closed
            | Failure::Cancelled => {}
        }
    }

    fn record_budget(&self, now: Instant) {
        let took = now.duration_since(self.complete_at.unwrap_or(now));
        record_budget(&self.cluster, took, self.timeout);
    }

    fn count_code(&self, status: u16) {
        if self.counts_responses {
            (self.cluster.shared.responses.sent).code(status, true, false);
        }
    }
}

/// A shadow on a connection to a host.
struct Sent {
    active: ActiveRequest,
    codec: Codec,
    send_queue_max: usize,
    head: Option<ResponseHead>,
    interims: Interims,
    is_interim_counted: bool,
    /// The host has agreed to another protocol.
    has_switched: bool,
    /// Only the end of the response tells how the host did.
    is_result_open: bool,
    response: HeaderMap,
    bytes: Vec<u8>,
    /// How much is sent and received, where that is recorded.
    sizes: Option<Box<MessageSizes>>,
}

impl Sent {
    fn start(shadow: &Shadow, lease: Lease) -> Self {
        let end = match shadow.tunnel {
            Tunnel::None => HeadEnd::of_request(&shadow.request, shadow.body.is_some()),
            _ => HeadEnd::Fields,
        };
        let asked = Asked {
            end,
            has_body: shadow.body.is_some(),
            tunnel: shadow.tunnel,
        };
        let (codec, _) = Codec::start(&lease, &shadow.request, asked);
        let limit = lease.cluster().config.buffer_limit.max(1) as usize;
        lease.host().note(Outcome::Connected);
        Self {
            active: ActiveRequest::new(lease),
            codec,
            send_queue_max: limit.min(SEND_QUEUE_BYTES_MAX),
            head: None,
            interims: Interims::default(),
            is_interim_counted: false,
            has_switched: false,
            is_result_open: false,
            response: HeaderMap::of(Lines::Response),
            bytes: Vec::new(),
            sizes: begin_sizes(&shadow.cluster, &shadow.request),
        }
    }

    /// Moves both messages; ready when the response is complete or cannot be.
    fn poll(&mut self, shadow: &mut Shadow, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match self.poll_response(shadow, cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => continue,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            match self.poll_request(shadow, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return shadow.poll_stop(cx).map(Err),
            }
        }
    }

    /// Reads on and forgets; true at the end of the response.
    fn poll_response(
        &mut self,
        shadow: &Shadow,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Failure>> {
        let lease = self.active.lease();
        let step = if self.has_switched {
            self.codec.poll_raw(lease, cx).map(|read| match read? {
                Some(_) => Ok(Step::More),
                None => Err(ReadError::Closed),
            })
        } else if self.head.is_some() {
            self.codec
                .poll_body(lease, &mut self.response, cx)
                .map_ok(|part| match part {
                    BodyPart::Data(data) => {
                        if let Some(sizes) = &mut self.sizes {
                            sizes.on_response_data(data.len());
                        }
                        Step::More
                    }
                    BodyPart::End => Step::End,
                })
        } else {
            self.codec
                .poll_response(lease, shadow.facts, &mut self.response, cx)
                .map_ok(Step::Head)
        };
        step.map(|step| match step {
            Ok(Step::Head(head)) => {
                let taken = self.on_head(head, shadow);
                // Trailers come into it next.
                self.response.clear();
                taken.map(|()| false)
            }
            Ok(Step::More) => Ok(false),
            Ok(Step::End) => Ok(true),
            Err(ReadError::Closed) if self.head.is_none() => Err(Failure::Closed),
            Err(_) if self.has_switched => Err(Failure::Closed),
            Err(ReadError::Io(_)) if self.head.is_none() && !self.codec.is_within_head() => {
                Err(Failure::Closed)
            }
            Err(ReadError::Http2(error)) if error != Http2Error::Protocol => Err(Failure::Closed),
            Err(_) => Err(Failure::Protocol),
        })
    }

    fn on_head(&mut self, head: ResponseHead, shadow: &Shadow) -> Result<(), Failure> {
        match shadow.tunnel {
            // Nobody asked for another protocol.
            Tunnel::None if head.status == 101 => return Err(Failure::Protocol),
            // As in Envoy, no handshake is no response.
            Tunnel::WebSocket if (200..400).contains(&head.status) => {
                return Err(Failure::Cancelled);
            }
            _ => self.has_switched = head.status == 101,
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.on_response(&self.response, self.codec.says_chunked(&head));
        }
        if is_interim(head.status) {
            if is_known(head.status) && !std::mem::replace(&mut self.is_interim_counted, true) {
                shadow.count_code(head.status);
            }
            return self.interims.note().map_err(|_| Failure::Protocol);
        }
        shadow.count_code(head.status);
        let lease = self.active.lease();
        let host = lease.host();
        let status = match &lease.cluster().config.error_matcher {
            Some(matcher) => matcher.status_of(head.status, &self.response),
            None => head.status,
        };
        host.note(Outcome::Response(status));
        let (request, response) = (&shadow.request, &self.response);
        let counts = shadow.counts_responses;
        self.is_result_open = host_result::on_head(&host.stats, &head, request, response, counts);
        self.head = Some(head);
        Ok(())
    }

    /// Sends what has been copied of the body, while the queue has room.
    fn poll_request(
        &mut self,
        shadow: &mut Shadow,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let Some(body) = &shadow.body else {
            return Poll::Pending;
        };
        if shadow.tunnel != Tunnel::None && !self.has_switched {
            return Poll::Pending;
        }
        let lease = self.active.lease();
        match self.codec.poll_room(lease, self.send_queue_max, cx) {
            Poll::Ready(Ok(())) => {}
            // A connection that fails to send says so when it is read.
            Poll::Ready(Err(())) | Poll::Pending => return Poll::Pending,
        }
        match body.poll(&mut self.bytes, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Copied::Data) => {
                self.codec.send_bytes(lease, &self.bytes);
                if let Some(sizes) = &mut self.sizes {
                    sizes.on_request_data(self.bytes.len());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Copied::End(mut trailers)) => {
                self.codec.send_end(lease, &mut trailers);
                shadow.body = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Copied::Cancelled) => Poll::Ready(Err(Failure::Cancelled)),
        }
    }

    /// Gives the connection back after a complete response.
    fn complete(self, shadow: &Shadow) {
        let now = reactor::now();
        let took = now.duration_since(shadow.complete_at.unwrap_or(now));
        shadow.record_budget(now);
        if shadow.counts_responses {
            let responses = &shadow.cluster.shared.responses;
            responses.sent.time(took.as_millis() as u64, true, false);
        }
        if self.is_result_open {
            host_result::on_end(&self.active.lease().host().stats, &self.response);
        }
        let reusable = self.head.as_ref().is_some_and(|head| head.keep_alive);
        let until_close = self.head.as_ref().is_some_and(|head| {
            head.framing == Framing::UntilClose && head.version == Version::Http11
        });
        let stats = &self.active.lease().cluster().stats;
        if !reusable && !until_close {
            stats.upstream_cx_close_notify.inc();
        }
        if self.codec.has_unasked(self.active.lease()) {
            stats.upstream_cx_protocol_error.inc();
        }
        // A response that overtook its request leaves half a request on the
        // connection: dropping the lease closes it.
        if shadow.body.is_none() {
            let clean = self.codec.is_clean();
            self.active.finish().give_back(reusable && clean);
        }
    }
}

/// What a response is read in.
enum Step {
    Head(ResponseHead),
    More,
    End,
}

/// Shadows have the usual thresholds, whatever the route's priority.
const PRIORITY: usize = 0;

#[cfg(test)]
mod tests;
