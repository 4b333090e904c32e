//! A downstream connection: waiting for its requests, and ending it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringway_codecs::http1::{BodyOptions, Http1Error, RequestHead};

use super::config::Codec;
use super::{ConnectionManager, Handled};
use crate::filters::Registration;
use crate::filters::network::Closed;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::http1::reader::ReadError;
use crate::http::http1::server::ServerConnection;
use crate::reactor::{self, Timer};
use crate::stream_info::{ConnectionInfo, Protocol, ResponseFlag};
use crate::transport_sockets::TransportSocket;
use crate::upstream::conn_pool;

/// Requests of one connection that are answered before others get a turn. A
/// client may pipeline ten thousand of them in one segment.
const REQUESTS_PER_TURN: u32 = 32;

/// Bytes that are read and thrown away from a connection that is being closed,
/// so that its client can read the response: a reset would destroy it.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;

/// How long a new connection has for its first request when its worker drains
/// already: the client knows nothing of it, and the request is on its way.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed it between requests, or it failed.
    ByClient,
    /// The client went away within a request.
    ByClientWithRequest,
    /// We close it, and nothing that the client sends is of interest.
    ByUs,
    /// We close it while the client may still be sending: it must get the
    /// chance to read the response first.
    ByUsWithUnread,
    /// The response cannot be completed.
    Abort,
    /// The client takes nothing of its response.
    Stuck,
    /// It is none: the client speaks HTTP/2.
    ToHttp2,
}

/// Why there is no next request.
enum NoRequest {
    End(End),
    /// It broke the protocol; the exchange is there for the answer.
    Invalid(Box<Exchange>, Http1Error),
    /// Its head did not arrive in time.
    HeadTimeout(Box<Exchange>),
    /// The client left within its head.
    Abandoned(Box<Exchange>),
}

/// A connection that was accepted, and is counted as open.
pub struct Visit {
    registration: Registration,
    opened: Instant,
    over_tls: bool,
}

/// What a connection has carried, for whoever tells of it when it is over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// Bytes of the client.
    pub received: u64,
    /// Bytes for the client.
    pub sent: u64,
    /// What the client speaks, as its first request has it.
    pub protocol: Option<Protocol>,
    /// The client has sent what is no request.
    pub is_broken: bool,
}

impl Visit {
    /// The connection's timer, which the worker makes expire when it ends.
    #[must_use]
    pub fn timer(&self) -> Rc<Timer> {
        self.registration.timer()
    }
}

impl ConnectionManager {
    /// Counts a connection that was accepted.
    pub fn begin_connection(&self, over_tls: bool) -> Visit {
        let stats = self.stats();
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        if over_tls {
            stats.downstream_cx_ssl_total.inc();
            stats.downstream_cx_ssl_active.inc();
        }
        Visit {
            registration: self.worker.register(),
            opened: reactor::now(),
            over_tls,
        }
    }

    /// Counts a connection that ended before its first request.
    pub fn give_up_connection(&self, visit: &Visit, closed: Closed) {
        let end = match closed {
            Closed::ByUs => End::ByUs,
            Closed::ByClient => End::ByClient,
        };
        self.count_closed(visit, end);
    }

    /// Waits for a client's first bytes on behalf of the filters before, as long as a
    /// connection may wait for its first request, and says how many there are.
    ///
    /// # Errors
    /// It is not waited for any longer.
    pub async fn await_data(
        &self,
        visit: &Visit,
        arrival: impl Future<Output = usize>,
    ) -> Result<usize, Closed> {
        let timeouts = &self.config().timeouts;
        let idle = timeouts.idle.map(|idle| reactor::now() + idle);
        let age = timeouts.connection.map(|age| visit.opened + age);
        let draining = self.worker.is_draining();
        let drain = draining.then_some(visit.opened + FIRST_REQUEST_GRACE);
        let timer = visit.timer();
        timer.set(earliest([idle, age, drain]));
        visit.registration.set_idle(true);
        let waited = reactor::timeout(&timer, arrival).await;
        visit.registration.set_idle(false);
        timer.set(None);
        if let Ok(bytes) = waited {
            return Ok(bytes);
        }
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= reactor::now());
        if passed(idle) {
            self.stats().downstream_cx_idle_timeout.inc();
        } else if passed(age) {
            self.stats().downstream_cx_max_duration_reached.inc();
        }
        Err(Closed::ByUs)
    }

    /// Serves a connection until it is closed, and says what it has carried.
    pub async fn serve(
        self: Rc<Self>,
        visit: Visit,
        stream: TransportSocket,
        info: Rc<ConnectionInfo>,
        buffer_limit: u32,
    ) -> Carried {
        let body_options = BodyOptions {
            trailers: self.config().request.trailers,
            ..BodyOptions::default()
        };
        let connection = ServerConnection::new(stream, body_options, self.config().response_names);
        let timer = visit.registration.timer();
        let mut downstream = Downstream::http1(connection, timer, info, buffer_limit);
        let mut carried = Carried::default();
        let end = match self.speaks_http2(&downstream.info) {
            true => End::ToHttp2,
            false => {
                self.serve_requests(
                    &mut downstream,
                    &visit.registration,
                    visit.opened,
                    &mut carried,
                )
                .await
            }
        };
        if end == End::ToHttp2 {
            // In a box: connections of HTTP/1 would have room for it.
            return Box::pin(self.change_to_http2(visit, downstream)).await;
        }
        conn_pool::own::release(downstream.info.id);
        self.count_buffered(&mut downstream, true);
        if downstream.as_http1().has_received() {
            self.stats().downstream_cx_http1_active.dec();
            if carried.protocol.is_none() && !carried.is_broken {
                carried.protocol = Some(Protocol::Http11);
            }
        }
        self.count_closed(&visit, end);
        let timer = Rc::clone(&downstream.timer);
        let ServerConnection {
            stream,
            ends_with_connection,
            ..
        } = downstream.into_http1();
        match end {
            // A FIN would tell the client that the response is complete.
            End::Abort if ends_with_connection => stream.abort(),
            end => self.close(stream, &timer, end).await,
        }
        carried
    }

    /// Whether it is known before the first byte that a client speaks HTTP/2.
    fn speaks_http2(&self, info: &ConnectionInfo) -> bool {
        let agreed = || info.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        match self.config().codec {
            Codec::Http1 => false,
            Codec::Http2 => true,
            Codec::Auto => agreed() == Some(b"h2"),
        }
    }

    async fn change_to_http2(self: Rc<Self>, visit: Visit, downstream: Downstream) -> Carried {
        let Downstream {
            info, buffer_limit, ..
        } = &downstream;
        let (info, limit) = (Rc::clone(info), *buffer_limit);
        let id = info.id;
        let socket = downstream.into_http1().into_socket();
        let (end, carried, socket) = self
            .serve_http2(socket, &visit.registration, visit.opened, info, limit)
            .await;
        conn_pool::own::release(id);
        self.count_closed(&visit, end);
        if let Some(socket) = socket {
            self.close(socket, &visit.registration.timer(), end).await;
        }
        carried
    }

    async fn serve_requests(
        &self,
        downstream: &mut Downstream,
        registration: &Registration,
        opened: Instant,
        carried: &mut Carried,
    ) -> End {
        let mut served: u32 = 0;
        loop {
            let next = self
                .next_request(downstream, registration, opened, served)
                .await;
            let (mut exchange, handled) = match next {
                Ok((mut exchange, head)) => {
                    served += 1;
                    if served == 1 {
                        carried.protocol = Some(exchange.protocol);
                    }
                    if self.config().requests_per_connection_max == Some(served) {
                        self.stats().downstream_cx_max_requests_reached.inc();
                        exchange.connection_ends = true;
                        exchange.keep_alive = false;
                    }
                    let rooms = &self.worker.request_rooms;
                    let handled = rooms
                        .run(|| self.handle(downstream, &mut exchange, &head))
                        .await;
                    (exchange, handled)
                }
                Err(NoRequest::Invalid(mut exchange, error)) => {
                    carried.is_broken = true;
                    self.reply_to_invalid(downstream, &mut exchange, error);
                    (exchange, Handled::Answered)
                }
                Err(NoRequest::HeadTimeout(mut exchange)) => {
                    self.reply_to_head_timeout(downstream, &mut exchange);
                    (exchange, Handled::Answered)
                }
                Err(NoRequest::Abandoned(mut exchange)) => {
                    self.begin_abandoned(&mut exchange);
                    (exchange, Handled::Aborted)
                }
                Err(NoRequest::End(End::ToHttp2)) => return End::ToHttp2,
                Err(NoRequest::End(end)) => {
                    self.count_bytes(downstream, carried);
                    return end;
                }
            };
            self.count_bytes(downstream, carried);
            self.finish(downstream, &mut exchange);
            let complete = exchange.is_request_over();
            let keep_alive = exchange.keep_alive;
            let client_gone = exchange
                .info
                .flags
                .has(ResponseFlag::DownstreamConnectionTermination);
            downstream.flush_limit = exchange.flush_limit;
            self.worker.exchanges.borrow_mut().put(exchange);
            if handled == Handled::Aborted {
                return if client_gone {
                    End::ByClientWithRequest
                } else {
                    End::Abort
                };
            }
            if !complete {
                return End::ByUsWithUnread;
            }
            if !keep_alive {
                let unread = downstream.as_http1().has_unread();
                return if unread {
                    End::ByUsWithUnread
                } else {
                    End::ByUs
                };
            }
            if served.is_multiple_of(REQUESTS_PER_TURN) {
                reactor::yield_now().await;
            }
        }
    }

    /// Waits for the next request's head. Between requests the connection owns
    /// no exchange and no buffer.
    async fn next_request(
        &self,
        downstream: &mut Downstream,
        registration: &Registration,
        opened: Instant,
        served: u32,
    ) -> Result<(Box<Exchange>, RequestHead), NoRequest> {
        let timeouts = &self.config().timeouts;
        if downstream.queued() > 0 {
            self.flush(downstream).await?;
        }
        let idle_since = reactor::now();
        let idle_deadline = timeouts.idle.map(|idle| idle_since + idle);
        let age_deadline = timeouts.connection.map(|age| opened + age);
        let drained_at = match served {
            0 => opened + FIRST_REQUEST_GRACE,
            _ => idle_since,
        };
        // The worker only knows of connections that were idle when it began.
        let drain_deadline = self.worker.is_draining().then_some(drained_at);
        // Set once a drain of this connection has begun: Envoy keeps an idle
        // HTTP/1 connection for `drain_timeout` more before it closes it.
        let mut close_at: Option<Instant> = None;
        let mut head_deadline: Option<Instant> = None;
        let mut exchange: Option<Box<Exchange>> = None;
        registration.set_idle(true);
        downstream
            .timer
            .set(earliest([drain_deadline, idle_deadline, age_deadline]));

        let outcome = poll_fn(|cx| {
            loop {
                match downstream.as_http1().poll_readable(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(no_request(&error))),
                    Poll::Ready(Ok(())) => {}
                }
                let connection = downstream.as_http1();
                if !connection.has_received()
                    && self.config().codec == Codec::Auto
                    && connection.begins_http2()
                {
                    return Poll::Ready(Err(Stop::End(End::ToHttp2)));
                }
                if connection.note_received() {
                    // The codec is chosen by the first byte.
                    self.stats().downstream_cx_http1_total.inc();
                    self.stats().downstream_cx_http1_active.inc();
                    let _ = self.worker.http1_stats();
                }
                let now = reactor::now();
                let slot = exchange.get_or_insert_with(|| {
                    let mut taken = self.worker.exchanges.borrow_mut().take(
                        Rc::clone(&downstream.info),
                        now,
                        reactor::wall_clock(),
                    );
                    self.begin_log_interval(&mut taken);
                    taken
                });
                let (options, headers) = (&self.config().request, &mut slot.request);
                let parsed = downstream.as_http1().poll_request(options, headers, cx);
                match parsed {
                    Poll::Ready(Ok(head)) => return Poll::Ready(Ok(head)),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(no_request(&error))),
                    Poll::Pending => {
                        // Empty lines belong to no request.
                        if !downstream.as_http1().is_within_head() {
                            continue;
                        }
                        if head_deadline.is_none()
                            && let Some((timeout, _)) = timeouts.head()
                        {
                            head_deadline = Some(now + timeout);
                        }
                        let log = slot.deadlines.log;
                        if head_deadline.is_some() || log.is_some() {
                            downstream
                                .timer
                                .set(earliest([head_deadline, age_deadline, log]));
                        }
                        registration.set_idle(false);
                    }
                }
            }
            loop {
                if downstream.timer.poll_expired(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = reactor::now();
                let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
                if downstream.as_http1().is_within_head() {
                    if passed(head_deadline) {
                        return Poll::Ready(Err(Stop::HeadTimeout));
                    }
                    let mut log = None;
                    if let Some(exchange) = &mut exchange {
                        // As in Envoy, until the head says something else.
                        exchange.info.protocol = Some(Protocol::Http11);
                        self.log_if_due(now, downstream, exchange);
                        log = exchange.deadlines.log;
                    }
                    downstream.timer.set(earliest([head_deadline, log]));
                    continue;
                }
                let draining = self.is_draining();
                if draining && drained_at <= now {
                    return Poll::Ready(Err(Stop::End(End::ByUs)));
                }
                if passed(close_at) {
                    return Poll::Ready(Err(Stop::End(End::ByUs)));
                }
                if close_at.is_none() && (passed(idle_deadline) || passed(age_deadline)) {
                    if passed(idle_deadline) {
                        self.stats().downstream_cx_idle_timeout.inc();
                    } else {
                        self.stats().downstream_cx_max_duration_reached.inc();
                    }
                    // Nobody knows yet what it would speak.
                    if !downstream.as_http1().has_received() {
                        return Poll::Ready(Err(Stop::End(End::ByUs)));
                    }
                    close_at = Some(now + timeouts.drain);
                }
                downstream.timer.set(earliest([
                    draining.then_some(drained_at),
                    close_at.or(idle_deadline),
                    close_at.or(age_deadline),
                ]));
            }
        })
        .await;
        registration.set_idle(false);

        let mut taken = || {
            exchange.take().unwrap_or_else(|| {
                self.worker.exchanges.borrow_mut().take(
                    Rc::clone(&downstream.info),
                    reactor::now(),
                    reactor::wall_clock(),
                )
            })
        };
        match outcome {
            Ok(head) => {
                let mut exchange = taken();
                let is_old = |age| opened + age <= reactor::now();
                exchange.connection_ends =
                    close_at.is_some() || timeouts.connection.is_some_and(is_old);
                exchange.keep_alive = head.keep_alive && !exchange.connection_ends;
                Ok((exchange, head))
            }
            Err(Stop::Invalid(error)) => Err(NoRequest::Invalid(taken(), error)),
            Err(Stop::HeadTimeout) => Err(NoRequest::HeadTimeout(taken())),
            Err(Stop::End(End::ByClientWithRequest)) => Err(NoRequest::Abandoned(taken())),
            Err(Stop::End(end)) => {
                if let Some(exchange) = exchange {
                    self.worker.exchanges.borrow_mut().put(exchange);
                }
                Err(NoRequest::End(end))
            }
        }
    }

    /// Gives a client that reads nothing of its response only so long
    /// (`flush_timeout`): what waits in its queue is memory of others.
    async fn flush(&self, downstream: &mut Downstream) -> Result<(), NoRequest> {
        let limit = downstream.flush_limit;
        loop {
            // Pipelined requests need not wait for the last byte. A client
            // that sends them without reading waits here, not in memory.
            let queued = downstream.queued();
            let has_room = queued <= downstream.send_queue_max;
            if queued == 0 || has_room && downstream.as_http1().has_unread() {
                return Ok(());
            }
            downstream
                .timer
                .set(limit.map(|limit| reactor::now() + limit));
            let progress = poll_fn(|cx| {
                if downstream.poll_writable(cx, queued).is_ready()
                    || has_room && downstream.poll_closed(cx).is_ready()
                {
                    return Poll::Ready(true);
                }
                downstream.timer.poll_expired(cx).map(|()| false)
            })
            .await;
            if !progress {
                self.stats().downstream_rq_idle_timeout.inc();
                return Err(NoRequest::End(End::Stuck));
            }
            if downstream.write_error().is_some() {
                return Err(NoRequest::End(End::ByClient));
            }
            if has_room && downstream.as_http1().stream.is_closed() {
                return Ok(());
            }
        }
    }

    fn count_bytes(&self, downstream: &mut Downstream, counted: &mut Carried) {
        let connection = downstream.as_http1();
        let now = (connection.stream.bytes_received(), connection.bytes_sent());
        self.stats()
            .downstream_cx_rx_bytes_total
            .add(now.0 - counted.received);
        // What is counted stays counted, also if the connection breaks.
        self.stats()
            .downstream_cx_tx_bytes_total
            .add(now.1.saturating_sub(counted.sent));
        (counted.received, counted.sent) = (now.0, now.1.max(counted.sent));
        self.count_buffered(downstream, false);
    }

    fn count_buffered(&self, downstream: &mut Downstream, is_over: bool) {
        let by = downstream.as_http1().take_buffered(is_over);
        if by != 0 {
            self.stats().downstream_cx_rx_bytes_buffered.add(by);
        }
    }

    fn count_closed(&self, visit: &Visit, end: End) {
        let stats = self.stats();
        stats.downstream_cx_destroy.inc();
        stats.downstream_cx_active.dec();
        if visit.over_tls {
            stats.downstream_cx_ssl_active.dec();
        }
        let remote = matches!(end, End::ByClient | End::ByClientWithRequest);
        if remote {
            stats.downstream_cx_destroy_remote.inc();
        } else {
            stats.downstream_cx_destroy_local.inc();
        }
        if end == End::ByClientWithRequest {
            stats.downstream_cx_destroy_active_rq.inc();
            stats.downstream_cx_destroy_remote_active_rq.inc();
        }
        let open_ms = reactor::now().duration_since(visit.opened).as_millis() as u64;
        stats.downstream_cx_length_ms.record(open_ms);
    }

    /// Ends the connection so that the client can read what was sent.
    async fn close(&self, stream: TransportSocket, timer: &Timer, end: End) {
        match end {
            // What waits for this client has waited long enough.
            End::Stuck => stream.abort(),
            // The stream's own end flushes what is queued.
            End::ByClient | End::ByClientWithRequest | End::ByUs | End::Abort | End::ToHttp2 => {
                drop(stream);
            }
            End::ByUsWithUnread => {
                let Some(delay) = self.config().timeouts.delayed_close else {
                    return;
                };
                // Closing with unread data in the kernel makes it send a
                // reset, which would overtake the response. So the write side
                // is closed first and the rest is read and thrown away.
                stream.shutdown_write();
                timer.set(Some(reactor::now() + delay));
                let discard = async {
                    let before = stream.bytes_received();
                    while let Ok(Some(_)) = stream.recv().await {
                        if stream.bytes_received() - before > LINGER_BYTES_MAX {
                            return;
                        }
                    }
                };
                if reactor::timeout(timer, discard).await.is_err() {
                    self.stats().downstream_cx_delayed_close_timeout.inc();
                }
            }
        }
    }
}

/// Why waiting for a request stopped without one.
enum Stop {
    End(End),
    Invalid(Http1Error),
    HeadTimeout,
}

fn no_request(error: &ReadError) -> Stop {
    match error {
        ReadError::Protocol(error) => Stop::Invalid(*error),
        ReadError::Closed | ReadError::Io(_) | ReadError::Http2(_) | ReadError::Refused => {
            Stop::End(End::ByClient)
        }
        ReadError::Truncated => Stop::End(End::ByClientWithRequest),
    }
}

pub(super) fn earliest<T: Ord, const N: usize>(deadlines: [Option<T>; N]) -> Option<T> {
    deadlines.into_iter().flatten().min()
}
