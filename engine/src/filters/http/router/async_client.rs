//! Requests of the proxy's own, which Envoy makes with its internal client: copies
//! of requests (`shadow.rs`), and calls that filters make.
//!
//! Such a request has everything of its own: headers, host, connection, deadline. It
//! is tried once. It is counted in its cluster's statistics, as a request from the
//! inside, and in `http.async-client.rq_total`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringway_codecs::header::HeaderMap;
use ringway_config::discovery::Discovery;

use super::async_stream::AsyncStream;
use super::drop_overload::judge;
use super::maintenance;
use super::pick::{Picked, pick_host_of_copy};
use super::sizes::begin_sizes;
use super::timeout::{begin_try, record_budget};
use crate::filters::WorkerContext;
use crate::http::body_copy::BodyCopy;
use crate::http::exchange::Tunnel;
use crate::http::http1::reader::RequestFacts;
use crate::http::timeout_budget::TryBudget;
use crate::reactor::{self, Timer};
use crate::stats::http_connection_manager::RouterStats;
use crate::transport_sockets::options::TransportSocketOptions;
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{self, Lease, PoolFailure, PoolOf};
use crate::upstream::host::Host;
use crate::upstream::outlier_detection::Outcome;

/// A complete response.
#[derive(Debug, Default)]
pub(in crate::filters) struct Response {
    pub status: u16,
    /// Kept, as the body is, where that is wanted.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// Counts a request that is dropped while it waits for a connection.
struct GivenUp<'a>(Option<&'a Cluster>);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = self.0 {
            cluster.stats.upstream_rq_cancelled.inc();
        }
    }
}

/// One request on its way.
pub(in crate::filters) struct AsyncRequest {
    worker: Rc<WorkerContext>,
    pub(super) cluster: Rc<Cluster>,
    pub(super) request: HeaderMap,
    /// The rest of the request; `None` once it has been sent.
    pub(super) body: Option<BodyCopy>,
    pub(super) facts: RequestFacts,
    /// What the request asks its connection to become.
    pub(super) tunnel: Tunnel,
    /// From the end of the request to the end of the response.
    pub timeout: Option<Duration>,
    timer: Timer,
    /// Responses are counted by their codes, as the router of a request wants it.
    pub(super) counts_responses: bool,
    /// The most that is kept of the response's body; `None` keeps nothing of it.
    pub body_bytes_max: Option<usize>,
    /// When the request was complete.
    pub(super) complete_at: Option<Instant>,
    /// How much of its time it takes, where that is recorded.
    budget: Option<TryBudget>,
}

/// Why a request ended without a complete response.
pub(super) enum Failure {
    Pool(PoolFailure),
    Timeout,
    /// The host closed the connection before its response.
    Closed,
    Protocol,
    /// Nobody waits for it any more: its body broke off, or one of the two is more
    /// than can be kept.
    Cancelled,
}

impl AsyncRequest {
    /// A request without a limit of time, whose response nobody waits for.
    pub fn new(
        worker: &Rc<WorkerContext>,
        cluster: Rc<Cluster>,
        request: HeaderMap,
        body: Option<BodyCopy>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            cluster,
            request,
            body,
            facts: RequestFacts::default(),
            tunnel: Tunnel::None,
            timeout: None,
            timer: Timer::new(),
            counts_responses: true,
            body_bytes_max: None,
            complete_at: None,
            budget: None,
        }
    }

    /// Sends it. `None` where there is no complete response; dropping the future
    /// gives it up.
    pub async fn run(mut self, stats: RouterStats) -> Option<Response> {
        stats.rq_total.inc();
        let cluster = Rc::clone(&self.cluster);
        if maintenance::refuses(&self.worker, &cluster) {
            self.count_code(503);
            return None;
        }
        if let Some(drop) = cluster.drop_overload()
            && judge(&self.worker, drop).is_some()
        {
            self.count_code(503);
            return None;
        }
        let Some(picked) = pick_host_of_copy(&self.worker, &cluster, &self.request) else {
            // As in Envoy, such requests look no name up, and that there is no host
            // for them is not counted then.
            if !matches!(cluster.config.discovery, Discovery::DynamicForwardProxy(_)) {
                cluster.stats.upstream_cx_none_healthy.inc();
            }
            self.count_code(503);
            return None;
        };
        let Picked {
            host,
            cluster: of_host,
        } = picked;
        // It is tried once, so nothing else limits a try.
        self.budget = begin_try(&cluster, None);
        let lease = match self.connection(&of_host, &host).await {
            Ok(lease) => lease,
            Err(failure) => {
                if matches!(failure, Failure::Timeout | Failure::Cancelled) {
                    of_host.stats.upstream_rq_cancelled.inc();
                }
                if let Failure::Pool(
                    PoolFailure::Source(_)
                    | PoolFailure::Connect(_)
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
                return None;
            }
        };
        let Some(_permit) = of_host.breakers[PRIORITY].requests.acquire() else {
            of_host.stats.upstream_rq_active_overflow.inc();
            lease.give_back_unused();
            drop(begin_sizes(&cluster, &self.request));
            self.fail(&Failure::Pool(PoolFailure::Overflow), &of_host);
            return None;
        };
        let mut sent = AsyncStream::start(&self, lease);
        match poll_fn(|cx| sent.poll(&mut self, cx)).await {
            Ok(()) => Some(sent.complete(&self)),
            Err(failure) => {
                let stats_of_host = &host.stats;
                match failure {
                    Failure::Timeout => {
                        stats_of_host.rq_timeout.inc();
                        if !sent.has_head() {
                            if self.counts_responses {
                                stats_of_host.rq_error.inc();
                            }
                            host.note(Outcome::TimedOut(504));
                        }
                    }
                    Failure::Closed | Failure::Protocol => {
                        if sent.is_result_open() || !sent.has_head() && self.counts_responses {
                            stats_of_host.rq_error.inc();
                        }
                        host.note(Outcome::Failed);
                    }
                    Failure::Pool(_) | Failure::Cancelled => {}
                }
                if !sent.has_head() {
                    self.fail(&failure, &of_host);
                } else {
                    self.count(&failure, &of_host);
                }
                None
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
        // As in Envoy it is nobody's.
        let mut options = TransportSocketOptions::default();
        if let Some(config) = &self.cluster.config.auto_sni {
            options.read(config, &self.request);
        }
        let speaks = cluster.speaks(None);
        let pool_of = |host: &Rc<Host>| PoolOf::anybody(cluster, host, speaks, &options);
        conn_pool::predict(&self.worker.rng, cluster, PRIORITY, pool_of);
        let of = pool_of(host);
        let mut acquiring = pin!(conn_pool::acquire(cluster, host, PRIORITY, &of));
        let mut waiting = GivenUp(Some(cluster));
        let acquired = poll_fn(|cx| {
            if let Poll::Ready(acquired) = acquiring.as_mut().poll(cx) {
                return Poll::Ready(acquired.map_err(Failure::Pool));
            }
            self.poll_stop(cx).map(Err)
        })
        .await;
        waiting.0 = None;
        acquired
    }

    /// Polls for what ends the request from outside, and starts its clock when
    /// the request is complete.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
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
                PoolFailure::Source(_)
                | PoolFailure::Connect(_)
                | PoolFailure::Handshake(_)
                | PoolFailure::ConnectTimeout,
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

    pub(super) fn record_budget(&self, now: Instant) {
        let took = now.duration_since(self.complete_at.unwrap_or(now));
        record_budget(&self.cluster, took, self.timeout);
    }

    pub(super) fn count_code(&self, status: u16) {
        if self.counts_responses {
            (self.cluster.shared.responses.sent).code(status, true, false);
        }
    }
}

/// They have the usual thresholds, whatever the priority of a route.
const PRIORITY: usize = 0;
