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

use ringway_codecs::header::{HeaderMap, Lines};
use ringway_codecs::http1::{Framing, HeadEnd, ResponseHead, Version};
use ringway_config::discovery::Discovery;

use super::codec::{Asked, Codec};
use super::drop_overload::judge;
use super::interim::{Interims, is_interim, is_known};
use super::pick::{Picked, pick_host_of_copy};
use super::sizes::begin_sizes;
use super::timeout::{begin_try, record_budget};
use super::{host_result, maintenance};
use crate::filters::WorkerContext;
use crate::http::body_copy::{BodyCopy, Copied};
use crate::http::downstream::SEND_QUEUE_BYTES_MAX;
use crate::http::exchange::Tunnel;
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
    cluster: Rc<Cluster>,
    request: HeaderMap,
    /// The rest of the request; `None` once it has been sent.
    body: Option<BodyCopy>,
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
    complete_at: Option<Instant>,
    /// How much of its time it takes, where that is recorded.
    budget: Option<TryBudget>,
}

/// Why a request ended without a complete response.
enum Failure {
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
        let mut sent = Sent::start(&self, lease);
        match poll_fn(|cx| sent.poll(&mut self, cx)).await {
            Ok(()) => Some(sent.complete(&self)),
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

/// A request on a connection to a host.
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
    /// What is read next: headers, then trailers.
    response: HeaderMap,
    /// What was read before, if somebody wants it.
    kept: Response,
    bytes: Vec<u8>,
    /// How much is sent and received, where that is recorded.
    sizes: Option<Box<MessageSizes>>,
}

impl Sent {
    fn start(request: &AsyncRequest, lease: Lease) -> Self {
        let end = match request.tunnel {
            Tunnel::None => HeadEnd::of_request(&request.request, request.body.is_some()),
            _ => HeadEnd::Fields,
        };
        let asked = Asked {
            end,
            has_body: request.body.is_some(),
            tunnel: request.tunnel,
        };
        let (codec, _) = Codec::start(&lease, &request.request, asked);
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
            kept: Response::default(),
            bytes: Vec::new(),
            sizes: begin_sizes(&request.cluster, &request.request),
        }
    }

    /// Moves both messages; ready when the response is complete or cannot be.
    fn poll(
        &mut self,
        request: &mut AsyncRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.poll_response(request, cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => continue,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
            match self.poll_request(request, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return request.poll_stop(cx).map(Err),
            }
        }
    }

    /// Reads on and forgets; true at the end of the response.
    fn poll_response(
        &mut self,
        request: &AsyncRequest,
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
                        match request.body_bytes_max {
                            None => Step::More,
                            Some(max) if self.kept.body.len() + data.len() > max => Step::TooMuch,
                            Some(_) => {
                                self.kept.body.extend_from_slice(&data);
                                Step::More
                            }
                        }
                    }
                    BodyPart::End => Step::End,
                })
        } else {
            self.codec
                .poll_response(lease, request.facts, &mut self.response, cx)
                .map_ok(Step::Head)
        };
        step.map(|step| match step {
            Ok(Step::Head(head)) => {
                let taken = self.on_head(head, request);
                // Trailers come into it next.
                if self.head.is_some() && request.body_bytes_max.is_some() {
                    self.kept.headers = self.response.clone();
                }
                self.response.clear();
                taken.map(|()| false)
            }
            Ok(Step::More) => Ok(false),
            Ok(Step::TooMuch) => Err(Failure::Cancelled),
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

    fn on_head(&mut self, head: ResponseHead, request: &AsyncRequest) -> Result<(), Failure> {
        match request.tunnel {
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
                request.count_code(head.status);
            }
            return self.interims.note().map_err(|_| Failure::Protocol);
        }
        request.count_code(head.status);
        let lease = self.active.lease();
        let host = lease.host();
        let status = match &lease.cluster().config.error_matcher {
            Some(matcher) => matcher.status_of(head.status, &self.response),
            None => head.status,
        };
        host.note(Outcome::Response(status));
        self.is_result_open = host_result::on_head(
            &host.stats,
            &head,
            &request.request,
            &self.response,
            request.counts_responses,
        );
        self.head = Some(head);
        Ok(())
    }

    /// Sends what has been copied of the body, while the queue has room.
    fn poll_request(
        &mut self,
        request: &mut AsyncRequest,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let Some(body) = &request.body else {
            return Poll::Pending;
        };
        if request.tunnel != Tunnel::None && !self.has_switched {
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
                request.body = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Copied::Cancelled) => Poll::Ready(Err(Failure::Cancelled)),
        }
    }

    /// Gives the connection back after a complete response.
    fn complete(mut self, request: &AsyncRequest) -> Response {
        let now = reactor::now();
        let took = now.duration_since(request.complete_at.unwrap_or(now));
        request.record_budget(now);
        if request.counts_responses {
            let responses = &request.cluster.shared.responses;
            responses.sent.time(took.as_millis() as u64, true, false);
        }
        if self.is_result_open {
            host_result::on_end(&self.active.lease().host().stats, &self.response);
        }
        let response = Response {
            status: self.head.as_ref().map_or(0, |head| head.status),
            trailers: std::mem::take(&mut self.response),
            ..std::mem::take(&mut self.kept)
        };
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
        if request.body.is_none() {
            let clean = self.codec.is_clean();
            self.active.finish().give_back(reusable && clean);
        }
        response
    }
}

/// What a response is read in.
enum Step {
    Head(ResponseHead),
    More,
    /// Its body is longer than it may be.
    TooMuch,
    End,
}

/// They have the usual thresholds, whatever the priority of a route.
const PRIORITY: usize = 0;
