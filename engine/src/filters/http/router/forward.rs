//! Forwarding: a request to a host of the route's cluster and its response to
//! the client.
//!
//! The whole story is [`forward`]: cluster, host, limits, connection, then one
//! loop, [`relay`], that moves whatever is ready in either direction until the
//! response is out. A request that may be tried again takes the way through
//! `tries.rs` from the host to the response's head, and then the same loop.
//! Nothing is read from one side while the other has too much to send, so
//! what a request buffers is bounded by the send queues.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::{Framing, ResponseHead};
use ringway_config::discovery::Discovery;
use ringway_config::route::{Forward, SelectedRoute};

use super::charge::Clusters;
use super::drop_overload::{judge, refuse};
use super::failure::{Failure, reply_for_host};
use super::hash_policy;
use super::host_result;
use super::interim::is_interim;
use super::look_up::look_up;
use super::pick::{Picked, pick_host};
use super::request_headers::{finalize_request_headers, remove_consumed, rewrite_host};
use super::sizes::record_unsent;
use super::timeout::{begin_try, limits, poll_deadline, set_deadlines};
use super::tries::{forward_with_tries, is_hedging, may_try_again};
use super::upstream_request::{Event, UpstreamRequest, note_unconnected};
use super::{
    ConnectionManager, Handled, LocalReply, Sent, connect, maintenance, shadow, strict_headers,
    tunnel,
};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::header_parser::Message;
use crate::http::http1::reader::BodyPart;
use crate::reactor;
use crate::stream_info::{ResponseFlag, TimePoint, details};
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, Lease, PoolFailure, PoolOf, Speaks};
use crate::upstream::host::Host;

/// Sends the request to the route's cluster and the response to the client.
pub(super) async fn forward<'a>(
    manager: &'a ConnectionManager,
    selected: &'a SelectedRoute<'a>,
    forward: &'a Forward,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let chosen = exchange.cluster.cluster;
    let Some(cluster) = chosen.and_then(|id| manager.worker.clusters.get(id)) else {
        return no_cluster(
            manager,
            forward.cluster_not_found_status,
            downstream,
            exchange,
        );
    };
    manager.begin_charging(selected, &cluster, exchange);
    let router = *manager.shared.router_of(exchange);
    if let Some(wrong) = router.strict_headers.first_wrong(&exchange.request) {
        return strict_headers::refuse(wrong, manager, downstream, exchange);
    }
    exchange.rejects_early_data =
        exchange.tunnel == Tunnel::Connect && router.reject_early_connect_data;
    if maintenance::refuses(&manager.worker, &cluster) {
        return maintenance::refuse(&cluster, manager, downstream, exchange);
    }
    if let Some(drop) = cluster.drop_overload()
        && let Some(refused) = judge(&manager.worker, drop)
    {
        return refuse(refused, &cluster, manager, downstream, exchange);
    }
    exchange.info.attempt_count = 1;
    exchange.tell_attempts = forward.resilience.attempt_count_in_response;
    let policies = &cluster.config.request_policies;
    exchange.mirrored = policies.mirror(forward).is_none();
    exchange.limits = limits(forward, router, &exchange.request);
    let hedging = is_hedging(forward, &exchange.request);
    // Before a host is picked: format strings know none.
    let mutate = |levels, exchange: &mut Exchange| {
        manager.apply_route_mutations(levels, Message::Request, exchange);
    };
    finalize_request_headers(&manager.shared, forward, hedging, exchange, mutate);
    // Before the host's own name takes the authority's place.
    if let Some(config) = &cluster.config.auto_sni {
        exchange.socket_options.read(config, &exchange.request);
    }
    let said = exchange.info.filter_state();
    exchange.socket_options.read_said(said);
    let mut picked = pick_host(manager, forward, None, &cluster, exchange);
    let mut why_not = details::NO_HEALTHY_UPSTREAM;
    if picked.is_none()
        && let Discovery::DynamicForwardProxy(cache) = cluster.config.discovery
    {
        // In a box: few requests wait for a name.
        let asked = (cache, cluster.config.default_port());
        let looking = look_up(manager, asked, selected, downstream, exchange);
        match Box::pin(looking).await {
            Ok(true) => picked = pick_host(manager, forward, None, &cluster, exchange),
            Ok(false) => why_not = "",
            Err(handled) => return handled,
        }
    }
    let Some(picked) = picked else {
        cluster.stats.upstream_cx_none_healthy.inc();
        let reply = LocalReply::new(503, "no healthy upstream", why_not)
            .flag(ResponseFlag::NoHealthyUpstream);
        return reply_for_host(Some(&cluster), manager, downstream, exchange, reply);
    };
    exchange.info.host = Some(picked.host.info());
    set_deadlines(manager, forward, downstream, exchange);

    if may_try_again(forward, &cluster, exchange) {
        let at = (&cluster, picked, hedging);
        return forward_with_tries(manager, selected, forward, at, downstream, exchange).await;
    }
    exchange.try_budget = begin_try(&cluster, exchange.limits.per_try);
    let Picked {
        host,
        cluster: of_host,
    } = picked;
    let clusters = Clusters {
        route: &cluster,
        host: &of_host,
    };
    remove_consumed(exchange);
    let speaks = connect::speaks(forward, &of_host, exchange);
    let lease = match connection(
        manager, &of_host, &host, forward, speaks, downstream, exchange,
    )
    .await
    {
        Ok(lease) => lease,
        Err(failure) => {
            if matches!(failure, Failure::Overflow | Failure::NoPool) {
                // No host was asked.
                exchange.info.host = None;
            }
            fail_unconnected(manager, (&cluster, &host), &failure, exchange);
            exchange.forget_body();
            return failure.answer(manager, clusters, downstream, exchange);
        }
    };
    let permit = of_host.breakers[forward.priority as usize]
        .requests
        .acquire();
    if permit.is_none() && speaks != Speaks::Bytes {
        of_host.stats.upstream_rq_active_overflow.inc();
        lease.give_back_unused();
        record_unsent(&cluster, &Failure::Overflow, exchange);
        return Failure::Overflow.answer(manager, clusters, downstream, exchange);
    }
    shadow::start(manager, forward, exchange);
    rewrite_host(manager, forward, &host, exchange);
    let stream_max = of_host.config.stream_duration_max;
    if let Some(limit) = exchange.limits.upstream_stream(stream_max) {
        exchange.deadlines.upstream = Some(reactor::now() + limit);
        downstream.timer.set(exchange.deadlines.next());
    }
    // Made here and not handed in: what is moved into an async function takes
    // its place twice in every connection's task.
    let has_body = exchange.has_body();
    manager.charge_request(exchange);
    let mut upstream =
        UpstreamRequest::start(manager, lease, &cluster, has_body, downstream, exchange);
    exchange.forget_body();
    let first = connect::head_of_bytes(&mut upstream, downstream, exchange);
    let relayed = relay(manager, &mut upstream, first, downstream, exchange).await;
    if let Relayed::Failed(failure) = &relayed
        && !has_body
        && upstream.may_be_resent(failure, exchange)
    {
        upstream.set_aside(exchange);
        let again = (&cluster, &of_host, &host);
        let resent = resend(manager, again, forward, downstream, exchange);
        return Box::pin(resent).await;
    }
    finish(relayed, upstream, manager, downstream, exchange)
}

/// Sends a request again, on another connection: the one that it was sent on
/// was closed by its host in the same moment, or its host does nothing with it
/// any more (see [`UpstreamRequest::may_be_resent`]). No client needs to know of
/// that.
async fn resend(
    manager: &ConnectionManager,
    (cluster, of_host, host): (&Rc<Cluster>, &Rc<Cluster>, &Rc<Host>),
    forward: &Forward,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let speaks = connect::speaks(forward, of_host, exchange);
    let options = &exchange.socket_options;
    let of = PoolOf::requests(of_host, host, speaks, &downstream.info, options);
    let mut left = RESENDS_MAX;
    loop {
        left -= 1;
        of_host.stats.upstream_rq_resent.inc();
        let acquiring = conn_pool::acquire_new(of_host, host, forward.priority as usize, &of);
        let acquired = granted(acquiring, manager, of_host, forward, downstream, exchange).await;
        let lease = match acquired {
            Ok(lease) => lease,
            Err(failure) => {
                let clusters = Clusters {
                    route: cluster,
                    host: of_host,
                };
                fail_unconnected(manager, (cluster, host), &failure, exchange);
                return failure.answer(manager, clusters, downstream, exchange);
            }
        };
        let mut upstream =
            UpstreamRequest::start(manager, lease, cluster, false, downstream, exchange);
        let relayed = relay(manager, &mut upstream, None, downstream, exchange).await;
        if let Relayed::Failed(failure) = &relayed
            && left > 0
            && upstream.may_be_resent(failure, exchange)
        {
            upstream.set_aside(exchange);
            continue;
        }
        return finish(relayed, upstream, manager, downstream, exchange);
    }
}

/// How often a request is sent again at most: a host that announces the end of
/// one connection after the other answers nobody.
pub(super) const RESENDS_MAX: u32 = 3;

/// Notes a host that could not be connected to. That a request's own time ends
/// before it is says nothing of the host.
fn fail_unconnected(
    manager: &ConnectionManager,
    (cluster, host): (&Cluster, &Host),
    failure: &Failure,
    exchange: &Exchange,
) {
    note_unconnected(host, failure);
    record_unsent(cluster, failure, exchange);
    if !matches!(failure, Failure::Expired(_)) {
        host_result::on_failure(manager, host, failure, false, exchange);
    }
}

/// Answers a request whose cluster does not exist.
pub(super) fn no_cluster(
    manager: &ConnectionManager,
    status: u16,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    manager.shared.router_stats.no_cluster.inc();
    let reply =
        LocalReply::new(status, "", details::CLUSTER_NOT_FOUND).flag(ResponseFlag::NoClusterFound);
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// Waits for a connection, as long as the client and the deadlines allow.
async fn connection(
    manager: &ConnectionManager,
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    forward: &Forward,
    speaks: Speaks,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Result<Lease, Failure> {
    let options = &exchange.socket_options;
    let pool_of = |host: &_| PoolOf::requests(cluster, host, speaks, &downstream.info, options);
    let priority = forward.priority as usize;
    conn_pool::predict(&manager.worker.rng, cluster, priority, pool_of);
    let of = pool_of(host);
    let acquiring = conn_pool::acquire(cluster, host, priority, &of);
    granted(acquiring, manager, cluster, forward, downstream, exchange).await
}

/// Waits for a connection that was asked for.
async fn granted(
    acquiring: impl Future<Output = Result<Lease, PoolFailure>>,
    manager: &ConnectionManager,
    cluster: &Cluster,
    forward: &Forward,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Result<Lease, Failure> {
    let mut acquiring = pin!(acquiring);
    let acquired = poll_fn(|cx| {
        if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(acquired.map_err(Failure::from));
        }
        shadow::start(manager, forward, exchange);
        if let Poll::Ready(failure) = connect::poll_client(downstream, exchange, cx) {
            return Poll::Ready(Err(failure));
        }
        poll_deadline(manager, downstream, exchange, cx).map(Err)
    })
    .await;
    if let Err(
        Failure::DownstreamClosed | Failure::EarlyData | Failure::Stopped | Failure::Expired(_),
    ) = &acquired
    {
        cluster.stats.upstream_rq_cancelled.inc();
    }
    acquired
}

/// How [`relay`] ended.
pub(super) enum Relayed {
    /// The response is out to its end; its head says what becomes of the
    /// connection.
    Complete(Option<ResponseHead>),
    /// A filter has answered in the place of the response with this head.
    Replaced(ResponseHead),
    /// It cannot be completed, or not begun.
    Failed(Failure),
    /// It is over, and so is the connection.
    Closed,
}

impl Relayed {
    /// How it ends where a filter has stopped the response's body.
    #[cold]
    fn of_stopped(stopped: Sent, head: Option<ResponseHead>) -> Self {
        match (stopped, head) {
            (Sent::Queued | Sent::Replaced, Some(head)) => Self::Replaced(head),
            _ => Self::Failed(Failure::Refused),
        }
    }
}

/// Moves both messages until the response is complete or cannot be. `first` is
/// a head that was received already.
pub(super) async fn relay(
    manager: &ConnectionManager,
    upstream: &mut UpstreamRequest,
    first: Option<ResponseHead>,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Relayed {
    let mut had_interim = false;
    let mut head: Option<ResponseHead> = None;
    let mut received = first;
    loop {
        let event = match received.take() {
            Some(head) => Event::Head(head),
            None => {
                poll_fn(|cx| upstream.poll_event(manager, head.is_some(), downstream, exchange, cx))
                    .await
            }
        };
        let now = reactor::now();
        exchange.deadlines.progress(now);
        match event {
            Event::Head(interim) if is_interim(interim.status) => {
                // As in Envoy, what follows the first is not told of.
                if !std::mem::replace(&mut had_interim, true) {
                    manager.charge_code(upstream.route_cluster(), interim.status, exchange);
                    if manager.shared.config.proxy_100_continue {
                        manager.send_interim(downstream, exchange, interim.status);
                    }
                }
                exchange.response.clear();
            }
            Event::Head(head) if tunnel::begins(&head, exchange) => {
                let tunnel = tunnel::run(manager, upstream, head, downstream, exchange);
                return Box::pin(tunnel).await;
            }
            Event::Head(head) if tunnel::is_unsuccessful_handshake(&head, exchange) => {
                upstream.on_head(&head, manager, exchange);
                tunnel::refuse_handshake(manager, &head, downstream, exchange);
                return Relayed::Closed;
            }
            // Nobody asked for another protocol: what follows would be bytes
            // that no side agreed on.
            Event::Head(switching) if switching.status == 101 => {
                exchange.response.clear();
                return Relayed::Failed(Failure::UpstreamProtocol);
            }
            Event::Head(response) => {
                upstream.on_head(&response, manager, exchange);
                if !send_head(
                    manager,
                    upstream.route_cluster(),
                    &response,
                    downstream,
                    exchange,
                ) {
                    return Relayed::Replaced(response);
                }
                head = Some(response);
                host_moved(now, exchange);
            }
            Event::ResponseBody(BodyPart::Data(data)) => {
                exchange
                    .info
                    .mark_first(TimePoint::UpstreamRxBodyBegin, now);
                match manager.send_data(downstream, exchange, data) {
                    Sent::Queued => host_moved(now, exchange),
                    stopped => return Relayed::of_stopped(stopped, head),
                }
            }
            Event::ResponseBody(BodyPart::End) => {
                return match manager.send_end(downstream, exchange) {
                    Sent::Queued | Sent::Replaced => Relayed::Complete(head),
                    Sent::Broken => Relayed::Failed(Failure::Refused),
                };
            }
            Event::RequestBody(BodyPart::Data(data)) => {
                shadow::data(upstream.route_cluster(), exchange, &data);
                upstream.send_data(data, is_last(downstream, exchange));
            }
            Event::RequestBody(BodyPart::End) => {
                request_ended(downstream, exchange);
                upstream.send_end(exchange);
            }
            Event::Failed(failure) => return Relayed::Failed(failure),
        }
    }
}

/// Ends the upstream request as [`relay`] left it.
pub(super) fn finish(
    relayed: Relayed,
    upstream: UpstreamRequest,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    match relayed {
        Relayed::Complete(head) => {
            upstream.complete(head.as_ref(), manager, exchange);
            Handled::Answered
        }
        Relayed::Replaced(head) => {
            upstream.release(&head, exchange);
            Handled::Answered
        }
        Relayed::Failed(failure) => upstream.fail(failure, manager, downstream, exchange),
        Relayed::Closed => {
            upstream.cancel(exchange);
            Handled::Answered
        }
    }
}

/// Whether nothing follows the part of the request's body that was taken last.
/// Where filters see bodies, they may have something to add.
pub(super) fn is_last(downstream: &Downstream, exchange: &Exchange) -> bool {
    exchange.bodies.is_none() && exchange.tunnel == Tunnel::None && downstream.is_request_read()
}

/// The request is complete: the host's time begins, unless it asks for another
/// protocol (see [`set_deadlines`]).
pub(super) fn request_ended(downstream: &Downstream, exchange: &mut Exchange) {
    let now = reactor::now();
    exchange.request_complete = true;
    exchange.info.mark(TimePoint::DownstreamRxEnd, now);
    shadow::end(exchange);
    exchange.deadlines.request = None;
    exchange.begin_upstream_time(now);
    if exchange.is_request_over() {
        exchange.deadlines.route = exchange.limits.route.map(|limit| now + limit);
    }
    downstream.timer.set(exchange.deadlines.next());
}

/// The host has sent something: `per_try_idle_timeout` begins again. The timer
/// need not be set for it: it comes too early and looks again.
fn host_moved(now: Instant, exchange: &mut Exchange) {
    if exchange.deadlines.try_idle.is_some() {
        exchange.deadlines.try_idle = exchange.limits.per_try_idle.map(|limit| now + limit);
    }
}

/// Turns the host's response head into the client's; false when a filter has
/// answered in its place.
pub(super) fn send_head(
    manager: &ConnectionManager,
    cluster: &Cluster,
    head: &ResponseHead,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> bool {
    let now = reactor::now();
    exchange.info.details.set(details::VIA_UPSTREAM);
    if let Some(took) = exchange.upstream_time(now)
        && !manager.shared.router_of(exchange).suppress_envoy_headers
    {
        exchange
            .response
            .set_decimal(HeaderId::XEnvoyUpstreamServiceTime, took.as_millis() as u64);
    }
    hash_policy::set_cookies(exchange);
    manager.charge_code(cluster, head.status, exchange);
    exchange.info.response_code = head.status;
    let tunnelled = tunnel::begins(head, exchange);
    manager.apply_route_mutations(exchange.header_mutations, Message::Response, exchange);
    let described = exchange.response.contains(HeaderId::ContentLength);
    let framing = match head.framing {
        Framing::None if tunnelled => ResponseFraming::Tunnel,
        // Envoy says how the body of the GET would be framed.
        Framing::None if exchange.facts.is_head && !described => ResponseFraming::Unknown,
        // The route took the length off. As in Envoy, a response without a
        // body says so all the same.
        Framing::Length(0) if !described => ResponseFraming::Empty,
        Framing::Length(_) if !described => ResponseFraming::Unknown,
        Framing::None | Framing::Length(_) => ResponseFraming::Described,
        Framing::Chunked | Framing::UntilClose => ResponseFraming::Unknown,
    };
    exchange.set_attempt_count();
    manager.send_response_head(downstream, exchange, head.status, framing)
}

impl From<PoolFailure> for Failure {
    fn from(failure: PoolFailure) -> Self {
        match failure {
            PoolFailure::NoPool => Self::NoPool,
            PoolFailure::Overflow => Self::Overflow,
            PoolFailure::ConnectTimeout => Self::ConnectTimeout,
            PoolFailure::Source(reason) => Self::Source(reason),
            PoolFailure::Connect(error) => Self::Connect(error),
            PoolFailure::Handshake(reason) => Self::Handshake(reason),
        }
    }
}
