//! A connection on which HTTP/2 is spoken: it carries many requests at once.
//!
//! The task that has opened it drives it until it is closed ([`drive`]): h2
//! reads and writes there, and whatever else may happen to a connection is
//! looked at after each of its steps. The host says how many streams it takes;
//! until it has, it gets few enough for any. A connection that has room is
//! listed in its pool; one that takes no more requests, because its host or a
//! limit says so, ends with its last stream.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use h2::client::{Builder, Connection as Driver, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::http2_protocol_options::{Http2ProtocolOptions, Keepalive};

use super::connection::Connection;
use super::{Open, open_for_waiters, put};
use crate::http::http2::io::TokioSocket;
use crate::http::http2::observer::{Flood, Observed, Observer};
use crate::http::http2::{RESETS_KNOWN_FOR, RESETS_KNOWN_MAX};
use crate::reactor::{self, Chunk};
use crate::stats::http2::Http2CodecStats;
use crate::stream_info::details;
use crate::transport_sockets::TransportSocket;

/// Streams that a host gets on its first connection before it has said how many
/// it takes: what RFC 9113 section 6.5.2 recommends as the least that any should
/// take.
const STREAMS_BEFORE_SETTINGS: u32 = 100;

/// A frame's head: the first one that a host sends is its settings.
const FRAME_HEAD_BYTES: u64 = 9;

/// Bytes of a request's body that h2 holds for one stream.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// What a connection has that speaks HTTP/2.
pub(super) struct Session {
    sender: RefCell<SendRequest<Chunk>>,
    /// Requests that are on it.
    streams: Cell<u32>,
    /// How many there may be.
    streams_max: Cell<u32>,
    /// The host has said what it takes.
    pub(super) is_settled: Cell<bool>,
    /// It gets no other request.
    is_draining: Cell<bool>,
    /// A request was still on it when the host closed it.
    has_lost: Cell<bool>,
    /// It is in its pool's list.
    pub(super) is_listed: Cell<bool>,
    /// The next stream is begun with a ping.
    wants_ping: Cell<bool>,
    stats: Http2CodecStats,
    /// What its frames tell.
    observer: Rc<Observer>,
}

impl Session {
    /// Whether no request is on it.
    pub(super) fn is_unused(&self) -> bool {
        self.streams.get() == 0
    }

    fn note_flood(&self) {
        match self.observer.flood() {
            Some(Flood::Empty) => self.stats.inbound_empty_frames_flood.inc(),
            Some(Flood::Priority) => self.stats.inbound_priority_frames_flood.inc(),
            Some(Flood::WindowUpdate) => self.stats.inbound_window_update_frames_flood.inc(),
            None => {}
        }
    }

    fn limit(&self, options: &Http2ProtocolOptions) -> u32 {
        let of_host = self.sender.borrow().current_max_send_streams();
        let of_host = u32::try_from(of_host).unwrap_or(u32::MAX);
        of_host.min(options.streams_max)
    }
}

/// The connection, for whoever reads and writes its socket.
pub(super) struct Socket(Rc<Connection>);

impl Deref for Socket {
    type Target = TransportSocket;

    fn deref(&self) -> &TransportSocket {
        &self.0.stream
    }
}

/// How a connection ended.
enum End {
    /// Somebody else has closed it.
    Closed,
    /// The host has not answered a ping.
    Silent,
    /// It has no stream, and its time is over.
    Idle,
    /// The host has broken the protocol.
    Protocol,
    /// It has sent too much that says nothing.
    Flood,
    /// The host has closed it.
    Remote,
}

/// Begins HTTP/2 on a connection that was just opened, and drives it until it is
/// closed.
pub(super) async fn drive(connection: Rc<Connection>) {
    let config = &connection.cluster.config;
    let options = &config.http2;
    let observer = Observer::of_host(options.frames, config.http2_response_head_bytes_max);
    let socket = TokioSocket::new(Socket(Rc::clone(&connection)), Rc::clone(&observer));
    let stats = connection.cluster.http2_stats();
    let Ok((sender, mut driver)) = builder(&connection).handshake(socket).await else {
        connection.close_remote();
        return;
    };
    let probe = sender.clone();
    let session = Session {
        sender: RefCell::new(sender),
        streams: Cell::new(0),
        streams_max: Cell::new(0),
        is_settled: Cell::new(false),
        is_draining: Cell::new(false),
        has_lost: Cell::new(false),
        is_listed: Cell::new(false),
        wants_ping: Cell::new(false),
        stats: *stats,
        observer,
    };
    session.streams_max.set(session.limit(options));
    let pings = driver.ping_pong();
    let mut watch = Watch {
        probe,
        heard: 0,
        pings: options.keepalive.zip(pings).map(Pings::new),
    };
    if connection.http2.set(Box::new(session)).is_err() {
        unreachable!("HTTP/2 begins once");
    }
    let unsettled = &connection.pool().unsettled;
    unsettled.set(unsettled.get() + 1);
    put(Rc::clone(&connection));
    let end = poll_fn(|cx| connection.poll_drive(&mut driver, &mut watch, cx)).await;
    connection.on_end(&end);
}

fn builder(connection: &Connection) -> Builder {
    let config = &connection.cluster.config;
    let options = &config.http2;
    let known = connection.pool().streams_each(options);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_concurrent_streams(options.streams_max)
        .initial_max_send_streams(known.min(STREAMS_BEFORE_SETTINGS) as usize)
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_header_list_size(header_list_max(config))
        .max_concurrent_reset_streams(RESETS_KNOWN_MAX)
        .reset_stream_duration(RESETS_KNOWN_FOR)
        .max_send_buffer_size(SEND_BUFFER_BYTES.min(config.buffer_limit.max(1) as usize));
    if options.header_table_bytes != Http2ProtocolOptions::default().header_table_bytes {
        builder.header_table_size(options.header_table_bytes);
    }
    builder
}

/// The size of a header list, as HTTP/2 counts it, that h2 refuses by itself and
/// calls a broken protocol. Responses that are too large but not as large as this
/// are refused by who reads them.
fn header_list_max(config: &ClusterConfig) -> u32 {
    let fields = (config.response_headers_max).saturating_mul(FIELD_OVERHEAD_BYTES);
    let bytes = config.http2_response_head_bytes_max.saturating_add(fields);
    bytes.saturating_mul(2)
}

/// What a field counts for besides its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD_BYTES: u32 = 32;

/// What the driving task has besides h2.
struct Watch {
    /// Tells of what the host announces: it is an error of what would be sent
    /// next.
    probe: SendRequest<Chunk>,
    /// Bytes that were received when it was looked at last.
    heard: u64,
    pings: Option<Pings>,
}

impl Watch {
    /// Whether the host has announced the end of the connection.
    fn is_end_announced(&mut self, cx: &mut Context<'_>) -> bool {
        match self.probe.poll_ready(cx) {
            Poll::Ready(Err(error)) => error.is_go_away() && error.is_remote(),
            Poll::Ready(Ok(())) | Poll::Pending => false,
        }
    }
}

/// Pings that find out whether the host is still there.
struct Pings {
    keepalive: Keepalive,
    ping_pong: PingPong,
    /// When the next one is due.
    next: Option<Instant>,
    /// One was sent, and has to be answered by then.
    answer_until: Option<Instant>,
}

impl Pings {
    fn new((keepalive, ping_pong): (Keepalive, PingPong)) -> Self {
        let mut pings = Self {
            keepalive,
            ping_pong,
            next: None,
            answer_until: None,
        };
        pings.plan(reactor::now());
        pings
    }

    fn plan(&mut self, now: Instant) {
        let jitter = self.keepalive.jitter_percent / 100.0 * fastrand::f64();
        let interval = self.keepalive.interval;
        self.next = interval.map(|interval| now + interval + interval.mul_f64(jitter));
    }

    fn send(&mut self, now: Instant) {
        self.next = None;
        if self.answer_until.is_none() && self.ping_pong.send_ping(Ping::opaque()).is_ok() {
            self.answer_until = Some(now + self.keepalive.timeout);
        }
    }

    /// Sends what is due; ready when the host is silent for too long. As in
    /// Envoy, a host of which anything is heard is given more time.
    fn poll(&mut self, now: Instant, has_heard: bool, cx: &mut Context<'_>) -> Poll<()> {
        if self.answer_until.is_some()
            && let Poll::Ready(Ok(_)) = self.ping_pong.poll_pong(cx)
        {
            self.answer_until = None;
            self.plan(now);
        }
        if let Some(until) = &mut self.answer_until {
            if has_heard {
                *until = now + self.keepalive.timeout;
            } else if *until <= now {
                return Poll::Ready(());
            }
        }
        if self.next.is_some_and(|next| next <= now) {
            self.send(now);
        }
        Poll::Pending
    }
}

impl Connection {
    /// Begins a request's stream.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn begin_stream(
        &self,
        request: http::Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Chunk>), h2::Error> {
        let Some(session) = self.http2.get() else {
            unreachable!("HTTP/2 is spoken here");
        };
        let mut sender = session.sender.borrow_mut();
        // A handle takes one request at a time while the host takes none.
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => sender.send_request(request, is_whole),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => sender.clone().send_request(request, is_whole),
        }
    }

    /// Counts what moves on a stream that was begun.
    #[must_use]
    pub fn observe(&self, stream: &SendStream<Chunk>) -> Option<Observed> {
        let session = self.http2.get()?;
        Some(session.observer.take(stream.stream_id().as_u32()))
    }

    /// How many requests are on it.
    #[must_use]
    pub fn streams(&self) -> u32 {
        let session = self.http2.get();
        session.map_or(0, |session| session.streams.get())
    }

    /// How many there may be, as far as is known.
    #[must_use]
    pub fn streams_max(&self) -> u32 {
        let session = self.http2.get();
        session.map_or(0, |session| session.streams_max.get())
    }

    /// What its codec counts.
    #[must_use]
    pub fn http2_stats(&self) -> Option<&Http2CodecStats> {
        self.http2.get().map(|session| &session.stats)
    }

    /// How many requests more it takes, one that is listed.
    pub(super) fn room(&self) -> usize {
        match self.http2.get() {
            None => 1,
            // Until the host has said so, its room is expected and not there.
            Some(session) if !session.is_settled.get() => 0,
            Some(session) => {
                (session.streams_max.get()).saturating_sub(session.streams.get()) as usize
            }
        }
    }

    /// Whether it takes another request.
    pub(super) fn has_room(&self, session: &Session) -> bool {
        !session.is_draining.get()
            && session.streams.get() < session.streams_max.get()
            && !self.is_over()
            && !self.is_of_before()
    }

    /// Counts a request that is to be sent on it.
    pub(super) fn take_stream(&self, session: &Session) {
        let stats = &session.stats;
        if session.is_unused() {
            self.became_busy();
            let idle = (self.cluster.config.http2.keepalive).and_then(|on| on.idle_interval);
            if idle.is_some_and(|idle| self.requests.get() > 0 && self.idle_for() >= idle) {
                session.wants_ping.set(true);
                self.wake();
            }
        }
        session.streams.set(session.streams.get() + 1);
        stats.streams_active.inc();
        self.requests.set(self.requests.get() + 1);
        let max = self.cluster.config.requests_per_connection_max;
        if max.is_some_and(|max| self.requests.get() >= max) {
            self.cluster.stats.upstream_cx_max_requests.inc();
            session.is_draining.set(true);
        }
    }

    /// A request is no longer on it. One that was not sent leaves no trace.
    pub(super) fn stream_over(self: Rc<Self>, was_sent: bool) {
        let Some(session) = self.http2.get() else {
            return;
        };
        session.streams.set(session.streams.get() - 1);
        session.stats.streams_active.dec();
        if !was_sent {
            self.requests.set(self.requests.get() - 1);
        }
        if self.is_over() {
            return;
        }
        self.note_received();
        if self.stream.is_closed() {
            session.has_lost.set(true);
        }
        if session.is_unused() {
            self.became_unused();
            self.wake();
        }
        put(self);
    }

    fn poll_drive(
        self: &Rc<Self>,
        driver: &mut Driver<TokioSocket<Socket>, Chunk>,
        watch: &mut Watch,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        let Some(session) = self.http2.get() else {
            return Poll::Ready(End::Closed);
        };
        loop {
            if self.is_over() {
                return Poll::Ready(End::Closed);
            }
            let ended = Pin::new(&mut *driver).poll(cx);
            let was_draining = session.is_draining.get();
            let is_announced = !was_draining && watch.is_end_announced(cx);
            if is_announced {
                self.cluster.stats.upstream_cx_close_notify.inc();
            }
            if session.observer.has_news() {
                let errors = session.observer.take_messaging_errors();
                session.stats.rx_messaging_error.add(errors);
                session.observer.forget_news();
                if session.observer.is_over() {
                    session.observer.end_for(details::HTTP2_CODEC_ERROR);
                    return Poll::Ready(End::Flood);
                }
            }
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(match ended {
                    Err(error) if error.is_library() && !error.is_io() => End::Protocol,
                    Ok(()) | Err(_) => End::Remote,
                });
            }
            let heard = self.stream.bytes_received();
            let has_heard = std::mem::replace(&mut watch.heard, heard) != heard;
            if has_heard {
                self.on_heard(session, heard);
            }
            if is_announced {
                self.drain(session);
            }
            let now = reactor::now();
            if let Some(pings) = &mut watch.pings {
                if session.wants_ping.take() {
                    pings.send(now);
                }
                if pings.poll(now, has_heard, cx).is_ready() {
                    return Poll::Ready(End::Silent);
                }
            }
            if self.is_over() {
                return Poll::Ready(End::Closed);
            }
            if let Poll::Ready(end) = self.poll_age(session, now) {
                return Poll::Ready(end);
            }
            self.timer.set(self.next_look(session, watch));
            // A ping that was just sent is written by the driver's next turn.
            match self.timer.poll_expired(cx) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Something was received: the first thing is what the host takes.
    fn on_heard(self: &Rc<Self>, session: &Session, heard: u64) {
        let limit = session.limit(&self.cluster.config.http2);
        let before = session.streams_max.replace(limit);
        self.pool().streams_each.set(limit.max(1));
        let settles = heard >= FRAME_HEAD_BYTES && !session.is_settled.replace(true);
        if settles {
            let unsettled = &self.pool().unsettled;
            unsettled.set(unsettled.get() - 1);
        }
        if limit > before || settles {
            put(Rc::clone(self));
        }
        if settles {
            // It may take fewer than there are.
            open_for_waiters(
                &self.cluster,
                &self.host,
                self.priority,
                &self.of,
                Open::NewOnly,
            );
        }
    }

    /// What time alone brings about.
    fn poll_age(self: &Rc<Self>, session: &Session, now: Instant) -> Poll<End> {
        if session.is_unused()
            && let Some(timeout) = self.cluster.config.idle_timeout
            && self.idle_since.get() + timeout <= now
        {
            self.cluster.stats.upstream_cx_idle_timeout.inc();
            return Poll::Ready(End::Idle);
        }
        if !session.is_draining.get() && self.is_too_old() {
            self.cluster.stats.upstream_cx_max_duration_reached.inc();
            self.drain(session);
            if self.is_over() {
                return Poll::Ready(End::Closed);
            }
        }
        Poll::Pending
    }

    /// When it has to be looked at although nothing happens.
    fn next_look(&self, session: &Session, watch: &Watch) -> Option<Instant> {
        let idle = self.cluster.config.idle_timeout;
        let idle = idle.filter(|_| session.is_unused());
        let pings = watch.pings.as_ref();
        [
            idle.map(|timeout| self.idle_since.get() + timeout),
            self.too_old_at().filter(|_| !session.is_draining.get()),
            pings.and_then(|pings| pings.next),
            pings.and_then(|pings| pings.answer_until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// It gets no other request, and ends with those that it has.
    fn drain(self: &Rc<Self>, session: &Session) {
        session.is_draining.set(true);
        self.leave_pool();
        if session.is_unused() {
            self.close_unused(session);
            return;
        }
        open_for_waiters(
            &self.cluster,
            &self.host,
            self.priority,
            &self.of,
            Open::OrBorrow,
        );
    }

    /// Closes a connection that has no request and gets none.
    pub(super) fn close_unused(&self, session: &Session) {
        match self.stream.is_closed() {
            true => self.close_lost(session),
            false => self.close_local(),
        }
    }

    /// Closes a connection that the host has closed.
    fn close_lost(&self, session: &Session) {
        if session.has_lost.get() || !session.is_unused() {
            let stats = &self.cluster.stats;
            stats.upstream_cx_destroy_with_active_rq.inc();
            stats.upstream_cx_destroy_remote_with_active_rq.inc();
        }
        self.close_remote();
    }

    fn on_end(self: &Rc<Self>, end: &End) {
        let Some(session) = self.http2.get() else {
            return;
        };
        let stats = &self.cluster.stats;
        match end {
            End::Closed => {}
            End::Idle => self.close_local(),
            End::Protocol => {
                if session.observer.ends_in_headers() {
                    session.stats.rx_messaging_error.inc();
                }
                self.close_local();
            }
            End::Flood => {
                session.note_flood();
                self.close_local();
            }
            End::Silent => {
                session.stats.keepalive_timeout.inc();
                if !session.is_unused() {
                    stats.upstream_cx_destroy_with_active_rq.inc();
                    stats.upstream_cx_destroy_local_with_active_rq.inc();
                }
                self.close_local();
            }
            End::Remote => self.close_lost(session),
        }
    }
}
