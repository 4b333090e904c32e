//! Requests that may be tried more than once, or whose redirects are followed:
//! everything up to the response that the client gets.
//!
//! [`forward_with_tries`] runs one or more [`Try`]s side by side (more than
//! one only when hedging), keeps the request's body for those to come, and
//! shows every failure to [`RetryState`]. The first good response wins: the
//! others are given up, and the winner is relayed as every response is. Until
//! then nothing of any response has reached the client, so no byte of it can
//! be lost or sent twice.
//!
//! Most requests of routes that may retry have one try, and it must cost no
//! allocation: what tries are made of lies in lists that [`TriesPool`] keeps,
//! and outside of the task, so that no connection is larger for it.

mod body;
mod outcomes;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::ResponseHead;
use ringway_config::route::{BodyLimit, Forward, RetryPolicy, SelectedRoute};

use super::failure::{Failure, reply_for_host};
use super::forward::{RESENDS_MAX, finish, relay};
use super::pick::{Picked, pick_host};
use super::request_headers::{remove_consumed, rewrite_host, set_attempt_count};
use super::retry_state::{RetryState, Wait};
use super::timeout::{begin_try, poll_deadline_or, set_expected_timeout};
use super::upstream_request::{Event, UpstreamRequest};
use super::{ConnectionManager, Handled, LocalReply, connect, shadow};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired, Tunnel};
use crate::http::http1::reader::BodyPart;
use crate::http::timeout_budget::TryBudget;
use crate::reactor;
use crate::stream_info::{ConnectionInfo, ResponseFlag, details};
use crate::upstream::circuit_breaker::RequestPermit;
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, Lease, PoolFailure, PoolOf, Speaks};
use crate::upstream::host::Host;

/// Lists that are kept; beyond this they are freed. As many as exchanges, of
/// which each has one at most.
const POOLED_LISTS_MAX: usize = 1024;

/// Places in a list that is kept: more are for hedging, and rare.
const POOLED_PLACES_MAX: usize = 4;

/// Empty lists of tries for reuse.
#[derive(Default)]
pub struct TriesPool(RefCell<Vec<Vec<Try>>>);

impl TriesPool {
    fn take(&self) -> Vec<Try> {
        let pooled = self.0.borrow_mut().pop();
        pooled.unwrap_or_else(|| Vec::with_capacity(1))
    }

    fn put(&self, mut list: Vec<Try>) {
        list.clear();
        let mut pooled = self.0.borrow_mut();
        if pooled.len() < POOLED_LISTS_MAX && list.capacity() <= POOLED_PLACES_MAX {
            pooled.push(list);
        }
    }
}

/// One request to one host.
struct Try {
    host: Rc<Host>,
    /// The host's.
    cluster: Rc<Cluster>,
    state: State,
    /// `per_try_timeout`, from the end of the request.
    deadline: Option<Instant>,
    /// `per_try_idle_timeout`.
    idle_deadline: Option<Instant>,
    /// The upstream's `max_stream_duration`.
    stream_deadline: Option<Instant>,
    /// It took too long and another try was begun beside it.
    hedged: bool,
    /// How much of its time it takes, where that is recorded.
    budget: Option<TryBudget>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are active, and what they lie in is reused"
)]
enum State {
    /// A connection was idle: the request is about to be sent on it.
    Ready,
    /// No connection was idle.
    Connecting(Pin<Box<dyn Future<Output = Result<Lease, PoolFailure>>>>),
    /// The request is on its way. The permit counts it.
    Active(UpstreamRequest, Option<RequestPermit>),
}

/// What the loop waits for; the number is the try's place.
enum TryEvent {
    Connected(usize, Result<Lease, PoolFailure>),
    Head(usize, ResponseHead),
    Failed(usize, Failure),
    /// The next try is due.
    RetryDue,
    RequestBody(BodyPart),
    /// The request ends without a response.
    Ended(Failure),
}

/// What a step of the loop leads to.
enum Step {
    Wait,
    /// This try's response goes to the client.
    Won(usize, ResponseHead),
    Over(Handled),
}

/// A try that is to begin.
struct Next {
    at: Instant,
    wait: Wait,
    /// The try before took too long.
    late: bool,
}

impl Next {
    fn after(wait: Wait, late: bool) -> Option<Self> {
        let at = reactor::now() + wait.time;
        Some(Self { at, wait, late })
    }
}

struct Tries<'a> {
    manager: &'a ConnectionManager,
    selected: &'a SelectedRoute<'a>,
    forward: &'a Forward,
    cluster: &'a Rc<Cluster>,
    retry: Option<RetryState<'a>>,
    running: Vec<Try>,
    next: Option<Next>,
    hedging: bool,
    /// How often it may be sent again besides.
    resends_left: u32,
    /// The client's connection.
    client: Rc<ConnectionInfo>,
    /// The request has a body, or may have one.
    has_body: bool,
    /// The body is kept for another try.
    keeping: bool,
    body_max: usize,
    /// The body grew too large to be kept.
    overflowed: bool,
}

/// Whether a request needs this path.
pub(super) fn may_try_again(forward: &Forward, cluster: &Cluster, exchange: &Exchange) -> bool {
    let resilience = &forward.resilience;
    let request = &exchange.request;
    cluster.config.request_policies.retry(forward).is_some()
        || resilience.internal_redirect.is_some()
        || exchange.limits.per_try.is_some()
        || request.contains(HeaderId::XEnvoyRetryOn)
        || request.contains(HeaderId::XEnvoyRetryGrpcOn)
}

/// Whether tries that take too long are kept beside the next ones: what the
/// route or the request says.
pub fn is_hedging(forward: &Forward, request: &HeaderMap) -> bool {
    match request.get(HeaderId::XEnvoyHedgeOnPerTryTimeout) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => forward.resilience.hedge_on_per_try_timeout,
    }
}

/// Tries the request, the first time where `picked` says, until there is a response for
/// the client, and sends it on. The request's headers are ready.
pub(super) async fn forward_with_tries<'a>(
    manager: &'a ConnectionManager,
    selected: &'a SelectedRoute<'a>,
    forward: &'a Forward,
    (cluster, picked, hedging): (&'a Rc<Cluster>, Picked, bool),
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let default;
    let policy = match cluster.config.request_policies.retry(forward) {
        Some(policy) => policy,
        None => {
            default = RetryPolicy::default();
            &default
        }
    };
    let retry = RetryState::new(policy, &exchange.request, &manager.worker.runtime.borrow());
    remove_consumed(exchange);
    let mut tries = Tries {
        manager,
        selected,
        forward,
        cluster,
        keeping: retry.is_some() || forward.resilience.internal_redirect.is_some(),
        retry,
        running: manager.worker.tries.take(),
        next: None,
        hedging,
        resends_left: RESENDS_MAX,
        client: Rc::clone(&downstream.info),
        has_body: exchange.has_body(),
        body_max: body_max(forward, downstream),
        overflowed: false,
    };
    if tries.keeping && exchange.replay.len() > tries.body_max {
        tries.stop_keeping();
    }
    let mut step = tries.begin(picked, downstream, exchange);
    let head = loop {
        match step {
            Step::Wait => {}
            Step::Over(handled) => {
                manager.worker.tries.put(tries.running);
                return handled;
            }
            Step::Won(place, head) => {
                tries.keep_only(place, downstream, exchange);
                break head;
            }
        }
        tries.arm(downstream, exchange);
        let event = poll_fn(|cx| tries.poll(downstream, exchange, cx)).await;
        step = tries.on_event(event, downstream, exchange);
    };
    // It stays in its list until the response is out.
    let upstream = tries.winner();
    let relayed = relay(manager, upstream, Some(head), downstream, exchange).await;
    let won = tries.running.pop();
    manager.worker.tries.put(tries.running);
    let Some(State::Active(upstream, _permit)) = won.map(|won| won.state) else {
        unreachable!("the try that won is kept");
    };
    finish(relayed, upstream, manager, downstream, exchange)
}

fn body_max(forward: &Forward, downstream: &Downstream) -> usize {
    let of_connection = downstream.body_bytes_max();
    let as_bytes = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    match forward.resilience.body_limit {
        BodyLimit::Connection => of_connection,
        BodyLimit::AtMost(limit) => as_bytes(limit).min(of_connection),
        BodyLimit::Exactly(limit) => as_bytes(limit),
    }
}

impl Tries<'_> {
    /// Starts a try at a host.
    fn begin(
        &mut self,
        Picked { host, cluster }: Picked,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Step {
        exchange.info.host = Some(host.info());
        // What is told of a try is not what was true of the one before.
        exchange.info.upstream_connection = None;
        exchange.info.upstream_protocol = None;
        if let Some(retry) = &mut self.retry {
            retry.note_host(&host);
        }
        let place = self.running.len();
        let speaks = connect::speaks(self.forward, &cluster, exchange);
        let options = &exchange.socket_options;
        let pool_of = |host: &_| PoolOf::requests(&cluster, host, speaks, &self.client, options);
        let priority = self.forward.priority as usize;
        conn_pool::predict(&self.manager.worker.rng, &cluster, priority, pool_of);
        let of = pool_of(&host);
        let idle = conn_pool::idle(&cluster, &host, priority, &of);
        let state = match idle {
            Some(_) => State::Ready,
            None => self.connect(&cluster, &host, of, false),
        };
        let mut one = Try {
            host,
            cluster,
            state,
            deadline: None,
            idle_deadline: None,
            stream_deadline: None,
            hedged: false,
            budget: begin_try(self.cluster, exchange.limits.per_try),
        };
        // As in Envoy, which counts the time to connect here.
        if exchange.tunnel == Tunnel::WebSocket {
            one.start_clocks(reactor::now(), exchange);
        }
        self.running.push(one);
        match idle {
            Some(lease) => self.on_connected(place, lease, downstream, exchange),
            None => Step::Wait,
        }
    }

    fn connect(
        &self,
        cluster: &Rc<Cluster>,
        host: &Rc<Host>,
        of: PoolOf,
        wants_new: bool,
    ) -> State {
        let (cluster, host) = (Rc::clone(cluster), Rc::clone(host));
        let priority = self.forward.priority as usize;
        State::Connecting(Box::pin(async move {
            if wants_new {
                conn_pool::acquire_new(&cluster, &host, priority, &of).await
            } else {
                conn_pool::acquire(&cluster, &host, priority, &of).await
            }
        }))
    }

    /// Sends the request of a try again whose pooled connection was closed by
    /// the host (see [`UpstreamRequest::may_be_resent`]).
    fn resend(&mut self, mut one: Try, exchange: &Exchange) -> Step {
        self.resends_left -= 1;
        one.cluster.stats.upstream_rq_resent.inc();
        let speaks = connect::speaks(self.forward, &one.cluster, exchange);
        let options = &exchange.socket_options;
        let of = PoolOf::requests(&one.cluster, &one.host, speaks, &self.client, options);
        one.state = self.connect(&one.cluster, &one.host, of, true);
        self.running.push(one);
        Step::Wait
    }

    /// Sends the request, or as much of it as there is.
    fn on_connected(
        &mut self,
        place: usize,
        lease: Lease,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Step {
        let of_host = &self.running[place].cluster;
        let breakers = &of_host.breakers[self.forward.priority as usize];
        let permit = breakers.requests.acquire();
        if permit.is_none() && lease.speaks() != Speaks::Bytes {
            of_host.stats.upstream_rq_active_overflow.inc();
            lease.give_back_unused();
            return self.on_failed(place, Failure::Overflow, downstream, exchange);
        }
        shadow::start(self.manager, self.forward, exchange);
        self.manager.charge_request(exchange);
        let host = &self.running[place].host;
        rewrite_host(self.manager, self.forward, host, exchange);
        let mut upstream = UpstreamRequest::start(
            self.manager,
            lease,
            self.cluster,
            self.has_body,
            downstream,
            exchange,
        );
        if !self.keeping {
            exchange.forget_body();
        }
        let head = connect::head_of_bytes(&mut upstream, downstream, exchange);
        let now = reactor::now();
        let one = &mut self.running[place];
        one.state = State::Active(upstream, permit);
        let stream_max = one.cluster.config.stream_duration_max;
        let stream_max = exchange.limits.upstream_stream(stream_max);
        one.stream_deadline = stream_max.map(|limit| now + limit);
        if exchange.is_request_over() {
            one.start_clocks(now, exchange);
        }
        // A connection that carries bytes has answered by being there.
        head.map_or(Step::Wait, |head| Step::Won(place, head))
    }

    /// Sets the timer to whatever comes first.
    fn arm(&self, downstream: &Downstream, exchange: &Exchange) {
        let first = [self.first_deadline(), exchange.deadlines.next()];
        downstream.timer.set(first.into_iter().flatten().min());
    }

    fn first_deadline(&self) -> Option<Instant> {
        let of_tries = self.running.iter().filter_map(Try::first_deadline);
        of_tries.chain(self.next.as_ref().map(|next| next.at)).min()
    }

    fn poll(
        &mut self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<TryEvent> {
        for (place, one) in self.running.iter_mut().enumerate() {
            let event = match &mut one.state {
                State::Ready => Poll::Pending,
                State::Connecting(connecting) => connecting
                    .as_mut()
                    .poll(cx)
                    .map(|result| TryEvent::Connected(place, result)),
                State::Active(upstream, _) => {
                    upstream
                        .poll_head(downstream, exchange, cx)
                        .map(|event| match event {
                            Ok(head) => TryEvent::Head(place, head),
                            Err(failure) => TryEvent::Failed(place, failure),
                        })
                }
            };
            if event.is_ready() {
                return event;
            }
        }
        if let Poll::Ready(event) = self.poll_request(downstream, exchange, cx) {
            return Poll::Ready(event);
        }
        let first = self.first_deadline();
        poll_deadline_or(first, self.manager, downstream, exchange, cx)
            .map(|failure| failure.map_or_else(|| self.passed(reactor::now()), TryEvent::Ended))
    }

    /// Reads the request while there is a host that takes it. Between two
    /// tries it waits where it is: in the client's connection.
    fn poll_request(
        &mut self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<TryEvent> {
        // While the request arrives there is one try at most.
        let event = match self.running.first_mut() {
            Some(Try {
                state: State::Active(upstream, _),
                ..
            }) => upstream.poll_request(downstream, exchange, cx),
            _ => connect::poll_client(downstream, exchange, cx).map(Event::Failed),
        };
        event.map(|event| match event {
            Event::RequestBody(part) => TryEvent::RequestBody(part),
            Event::Failed(failure) => TryEvent::Ended(failure),
            Event::Head(_) | Event::ResponseBody(_) => {
                unreachable!("only the request was polled")
            }
        })
    }

    /// Which of our own deadlines has passed.
    fn passed(&self, now: Instant) -> TryEvent {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for (place, one) in self.running.iter().enumerate() {
            let expired = if passed(one.stream_deadline) {
                Expired::Upstream
            } else if passed(one.deadline) {
                Expired::Try
            } else if passed(one.idle_deadline) {
                Expired::TryIdle
            } else {
                continue;
            };
            return TryEvent::Failed(place, Failure::Expired(expired));
        }
        TryEvent::RetryDue
    }

    fn on_event(
        &mut self,
        event: TryEvent,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Step {
        exchange.deadlines.progress(reactor::now());
        match event {
            TryEvent::Connected(place, Ok(lease)) => {
                self.on_connected(place, lease, downstream, exchange)
            }
            TryEvent::Connected(place, Err(failure)) => {
                if matches!(failure, PoolFailure::Overflow | PoolFailure::NoPool) {
                    // No host was asked.
                    exchange.info.host = None;
                }
                self.on_failed(place, failure.into(), downstream, exchange)
            }
            TryEvent::Head(place, head) => self.on_head(place, head, exchange),
            TryEvent::Failed(
                place,
                Failure::Expired(expired @ (Expired::Try | Expired::TryIdle)),
            ) if self.hedging => self.on_slow(place, expired, exchange),
            TryEvent::Failed(place, failure) => {
                self.on_failed(place, failure, downstream, exchange)
            }
            TryEvent::RetryDue => self.retry(downstream, exchange),
            TryEvent::RequestBody(part) => {
                self.on_request_body(part, downstream, exchange);
                Step::Wait
            }
            TryEvent::Ended(failure) => Step::Over(self.end(failure, downstream, exchange)),
        }
    }

    /// Begins the next try.
    fn retry(&mut self, downstream: &mut Downstream, exchange: &mut Exchange) -> Step {
        let Some(next) = self.next.take() else {
            return Step::Wait;
        };
        next.wait
            .count(self.cluster, self.manager.route_stats(exchange));
        exchange.info.attempt_count += 1;
        if let Some(retry) = &mut self.retry {
            retry.update_priorities(self.cluster);
        }
        let retry = self.retry.as_ref();
        let picked = pick_host(self.manager, self.forward, retry, self.cluster, exchange);
        let Some(picked) = picked else {
            self.cancel_all(exchange);
            let reply = LocalReply::new(503, "no healthy upstream", details::NO_HEALTHY_UPSTREAM)
                .flag(ResponseFlag::NoHealthyUpstream);
            return Step::Over(reply_for_host(
                Some(self.cluster),
                self.manager,
                downstream,
                exchange,
                reply,
            ));
        };
        let resilience = &self.forward.resilience;
        if resilience.attempt_count_in_request {
            set_attempt_count(exchange);
        }
        if resilience.is_timeout_retry_header {
            let value: &[u8] = if next.late { b"true" } else { b"false" };
            exchange.request.set(HeaderId::XEnvoyIsTimeoutRetry, value);
        }
        let router = self.manager.shared.router_of(exchange);
        let elapsed = exchange.upstream_time(reactor::now());
        set_expected_timeout(
            &exchange.limits,
            self.hedging,
            elapsed.unwrap_or_default(),
            !router.suppress_envoy_headers,
            &mut exchange.request,
        );
        self.begin(picked, downstream, exchange)
    }

    /// Gives up all tries but the one whose response goes to the client, which
    /// has [`Tries::winner`] then.
    fn keep_only(&mut self, place: usize, downstream: &Downstream, exchange: &mut Exchange) {
        let won = self.running.remove(place);
        self.cancel_all(exchange);
        // Lets the retry's permit go: a response is being sent.
        self.retry = None;
        self.forget_body(exchange);
        exchange.info.host = Some(won.host.info());
        exchange.deadlines.upstream = won.stream_deadline;
        exchange.deadlines.try_idle = won.idle_deadline;
        downstream.timer.set(exchange.deadlines.next());
        self.running.push(won);
        self.winner().note_connection(exchange);
    }

    fn winner(&mut self) -> &mut UpstreamRequest {
        match self.running.first_mut().map(|won| &mut won.state) {
            Some(State::Active(upstream, _)) => upstream,
            _ => unreachable!("a try that is connecting has no response"),
        }
    }
}

impl Try {
    /// The request is complete: the limits of the try begin.
    fn start_clocks(&mut self, now: Instant, exchange: &Exchange) {
        self.deadline = exchange.limits.per_try.map(|limit| now + limit);
        self.idle_deadline = exchange.limits.per_try_idle.map(|limit| now + limit);
    }

    fn first_deadline(&self) -> Option<Instant> {
        let all = [self.deadline, self.idle_deadline, self.stream_deadline];
        all.into_iter().flatten().min()
    }
}
