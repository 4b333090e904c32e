//! The router (`envoy.filters.http.router`): sends a request to a host of the
//! route's cluster and brings the response back.
//!
//! [`route`] does what the route says. Forwarding is the whole story of
//! `forward`: cluster, host, limits, connection, then one loop that moves whatever is ready in either direction until the response is
//! out. Nothing is read from one side while the other has too much to send, so
//! what a request buffers is bounded by the send queues.
//!
//! - `failure.rs`: what the client is told when there is no response.
//! - `upstream_request.rs`: the request's side of the host's connection.

mod failure;
mod upstream_request;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::router::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Framing, ResponseHead};
use ringway_config::context::{Cx, unpack};
use ringway_config::route::{Action, Forward, Route, RouteMatch};

use self::failure::Failure;
use self::upstream_request::{Event, UpstreamRequest};
use super::super::network::http_connection_manager::local_reply::LocalReply;
use super::super::network::http_connection_manager::{ConnectionManager, Handled};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::http::http1::reader::BodyPart;
use crate::http::redirect;
use crate::reactor;
use crate::stream_info::{ResponseFlag, TimePoint, details};
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, Lease, PoolFailure};
use crate::upstream::host::Host;

/// The compiled `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    /// No `x-envoy-*` header is added to requests and responses.
    pub suppress_envoy_headers: bool,
}

impl Config {
    /// Compiles the message.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Router>(any, cx)?;
        Some(Self {
            suppress_envoy_headers: proto.suppress_envoy_headers,
        })
    }
}

/// Interim responses (1xx) that are read before a host is taken to send them
/// for ever. Real ones send one or two.
const INTERIM_RESPONSES_MAX: u32 = 64;

/// Does what the route says: the terminal step of every request that no filter
/// has answered.
pub async fn route(
    manager: &ConnectionManager,
    found: RouteMatch<'_>,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let stats = &manager.shared.router_stats;
    stats.rq_total.inc();
    let RouteMatch::Route(_, route) = found else {
        stats.no_route.inc();
        if exchange.facts.is_connect {
            // What follows a refused CONNECT may be meant for a tunnel, so
            // it is the rest of this request.
            exchange.request_complete = false;
            exchange.keep_alive = false;
        }
        let not_found =
            LocalReply::new(404, "", details::ROUTE_NOT_FOUND).flag(ResponseFlag::NoRouteFound);
        manager.reply(downstream, exchange, not_found);
        return Handled::Answered;
    };
    match &route.action {
        Action::Forward(to) => return forward(manager, route, to, downstream, exchange).await,
        Action::DirectResponse { status, body } => {
            stats.rq_direct_response.inc();
            let mut reply = LocalReply::new(*status, "", details::DIRECT_RESPONSE);
            reply.body = body.as_deref().unwrap_or_default();
            manager.reply(downstream, exchange, reply);
        }
        Action::Redirect(target) => {
            // As Envoy counts it: `rq_redirect` stays for internal ones.
            stats.rq_direct_response.inc();
            let status = redirect::set_location(target, &exchange.request, &mut exchange.response);
            let reply = LocalReply::new(status, "", details::DIRECT_RESPONSE);
            manager.reply(downstream, exchange, reply);
        }
    }
    Handled::Answered
}

/// Sends the request to the route's cluster and the response to the client.
async fn forward(
    manager: &ConnectionManager,
    route: &Route,
    forward: &Forward,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let Some(cluster) = manager.worker.clusters.get(forward.cluster) else {
        manager.shared.router_stats.no_cluster.inc();
        let status = forward.cluster_not_found_status;
        let reply = LocalReply::new(status, "", details::CLUSTER_NOT_FOUND)
            .flag(ResponseFlag::NoClusterFound);
        manager.reply(downstream, exchange, reply);
        return Handled::Answered;
    };
    exchange.info.attempt_count = 1;
    let Some(host) = cluster.pick_host() else {
        cluster.stats.upstream_cx_none_healthy.inc();
        cluster.stats.lb_healthy_panic.inc();
        let reply = LocalReply::new(503, "no healthy upstream", details::NO_HEALTHY_UPSTREAM)
            .flag(ResponseFlag::NoHealthyUpstream);
        return fail(manager, &cluster, downstream, exchange, reply);
    };
    exchange.info.host = Some(Rc::clone(&host.info));
    finalize_request_headers(manager, route, forward, exchange);
    set_deadlines(manager, forward, downstream, exchange);

    let lease = match connection(manager, &cluster, &host, forward, downstream, exchange).await {
        Ok(lease) => lease,
        Err(failure) => {
            if matches!(failure, Failure::Overflow) {
                // No host was asked.
                exchange.info.host = None;
            }
            return failure.answer(manager, &cluster, downstream, exchange);
        }
    };
    let Some(_permit) = cluster.breakers[forward.priority as usize]
        .requests
        .acquire()
    else {
        cluster.stats.upstream_rq_active_overflow.inc();
        lease.give_back_unused();
        return Failure::Overflow.answer(manager, &cluster, downstream, exchange);
    };
    if let Some(limit) = cluster.config.stream_duration_max {
        exchange.deadlines.upstream = Some(reactor::now() + limit);
        downstream.timer.set(exchange.deadlines.next());
    }
    exchange_messages(manager, lease, downstream, exchange).await
}

/// Applies the route's rewrites and takes off what is meant for us alone.
fn finalize_request_headers(
    manager: &ConnectionManager,
    route: &Route,
    forward: &Forward,
    exchange: &mut Exchange,
) {
    exchange.route_timeout = asked_timeout(&exchange.request).unwrap_or(route_timeout(forward));
    for id in CONSUMED {
        exchange.request.remove(id);
    }
    let envoy_headers = !manager.shared.router.suppress_envoy_headers;
    route.rewrite(forward, &mut exchange.request, envoy_headers);
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

/// `x-envoy-upstream-rq-timeout-ms`, which replaces the route's timeout; 0 is
/// no limit.
fn asked_timeout(request: &HeaderMap) -> Option<Option<Duration>> {
    let asked = request.get(HeaderId::XEnvoyUpstreamRqTimeoutMs)?;
    let ms: u64 = std::str::from_utf8(asked).ok()?.parse().ok()?;
    Some((ms > 0).then(|| Duration::from_millis(ms)))
}

/// The route's timeout, which its `max_stream_duration` replaces.
fn route_timeout(forward: &Forward) -> Option<Duration> {
    if forward.max_stream_duration.is_some() {
        return None;
    }
    forward.timeout
}

fn set_deadlines(
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
    if exchange.request_complete {
        deadlines.route = exchange.route_timeout.map(|limit| reactor::now() + limit);
    } else {
        deadlines.request = timeouts.request.map(|limit| start + limit);
    }
    downstream.timer.set(deadlines.next());
}

/// Waits for a connection, as long as the client and the deadlines allow.
async fn connection(
    manager: &ConnectionManager,
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    forward: &Forward,
    downstream: &Downstream,
    exchange: &mut Exchange,
) -> Result<Lease, Failure> {
    let mut acquiring = pin!(conn_pool::acquire(cluster, host, forward.priority as usize));
    let acquired = poll_fn(|cx| {
        if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(acquired.map_err(Failure::from));
        }
        if downstream.stream.poll_closed(cx).is_ready() {
            return Poll::Ready(Err(Failure::DownstreamClosed));
        }
        poll_deadline(manager, downstream, exchange, cx).map(Err)
    })
    .await;
    if let Err(Failure::DownstreamClosed | Failure::Stopped | Failure::Expired(_)) = &acquired {
        cluster.stats.upstream_rq_cancelled.inc();
    }
    acquired
}

/// Polls the one timer for whichever deadline is the nearest.
fn poll_deadline(
    manager: &ConnectionManager,
    downstream: &Downstream,
    exchange: &Exchange,
    cx: &mut std::task::Context<'_>,
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

/// Moves both messages until the response is complete or cannot be.
async fn exchange_messages(
    manager: &ConnectionManager,
    lease: Lease,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    // Made here and not handed in: what is moved into an async function takes
    // its place twice in every connection's task.
    let mut upstream = UpstreamRequest::start(lease, downstream, exchange);
    let mut interim: u32 = 0;
    let mut head: Option<ResponseHead> = None;
    loop {
        let event =
            poll_fn(|cx| upstream.poll_event(manager, head.is_some(), downstream, exchange, cx))
                .await;
        exchange.deadlines.progress(reactor::now());
        match event {
            Event::Head(interim_head) if is_interim(&interim_head) => {
                interim += 1;
                exchange.response.clear();
                let responses = &upstream.cluster().shared.responses;
                responses.code(interim_head.status, exchange.internal, false);
                if interim > INTERIM_RESPONSES_MAX {
                    let failure = Failure::UpstreamProtocol;
                    return upstream.fail(failure, manager, downstream, exchange);
                }
                if interim_head.status == 100 && manager.shared.config.proxy_100_continue {
                    manager.send_continue(downstream);
                }
            }
            // Nobody asked for another protocol: what follows would be bytes
            // that no side agreed on.
            Event::Head(switching) if switching.status == 101 => {
                exchange.response.clear();
                let failure = Failure::UpstreamProtocol;
                return upstream.fail(failure, manager, downstream, exchange);
            }
            Event::Head(response) => {
                upstream.on_head(&response, exchange);
                send_head(manager, upstream.cluster(), &response, downstream, exchange);
                head = Some(response);
            }
            Event::ResponseBody(BodyPart::Data(data)) => {
                exchange
                    .info
                    .mark_first(TimePoint::UpstreamRxBodyBegin, reactor::now());
                downstream.send_data(exchange, data);
            }
            Event::ResponseBody(BodyPart::End) => {
                downstream.send_end(exchange);
                upstream.complete(head.as_ref(), exchange);
                return Handled::Answered;
            }
            Event::RequestBody(BodyPart::Data(data)) => {
                exchange.info.bytes_received += data.len() as u64;
                upstream.send_data(data);
            }
            Event::RequestBody(BodyPart::End) => {
                exchange.request_complete = true;
                let now = reactor::now();
                exchange.info.mark(TimePoint::DownstreamRxEnd, now);
                upstream.send_end(exchange);
                exchange.deadlines.request = None;
                exchange.deadlines.route = exchange.route_timeout.map(|limit| now + limit);
                downstream.timer.set(exchange.deadlines.next());
            }
            Event::Failed(failure) => {
                return upstream.fail(failure, manager, downstream, exchange);
            }
        }
    }
}

fn is_interim(head: &ResponseHead) -> bool {
    (100..200).contains(&head.status) && head.status != 101
}

/// Turns the host's response head into the client's.
fn send_head(
    manager: &ConnectionManager,
    cluster: &Cluster,
    head: &ResponseHead,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) {
    let now = reactor::now();
    exchange.info.details.set(details::VIA_UPSTREAM);
    let sent = exchange.info.elapsed(TimePoint::DownstreamRxEnd);
    if let Some(sent) = sent
        && !manager.shared.router.suppress_envoy_headers
    {
        let since = now.duration_since(exchange.info.start + sent);
        exchange
            .response
            .set_with(HeaderId::XEnvoyUpstreamServiceTime, |out| {
                use std::io::Write as _;
                // Writing to a Vec cannot fail.
                let _ = write!(out, "{}", since.as_millis());
            });
    }
    cluster
        .shared
        .responses
        .code(head.status, exchange.internal, false);
    let described = exchange.response.contains(HeaderId::ContentLength);
    let framing = match head.framing {
        // Envoy says how the body of the GET would be framed.
        Framing::None if exchange.facts.is_head && !described => ResponseFraming::Unknown,
        Framing::None | Framing::Length(_) => ResponseFraming::Described,
        Framing::Chunked | Framing::UntilClose => ResponseFraming::Unknown,
    };
    manager.send_response_head(downstream, exchange, head.status, framing);
}

/// Answers in place of the host, and counts the answer as the cluster's.
fn fail(
    manager: &ConnectionManager,
    cluster: &Cluster,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    reply: LocalReply<'_>,
) -> Handled {
    cluster
        .shared
        .responses
        .code(reply.status, exchange.internal, false);
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

impl From<PoolFailure> for Failure {
    fn from(failure: PoolFailure) -> Self {
        match failure {
            PoolFailure::Overflow => Self::Overflow,
            PoolFailure::ConnectTimeout => Self::ConnectTimeout,
            PoolFailure::Connect(error) => Self::Connect(error),
        }
    }
}
