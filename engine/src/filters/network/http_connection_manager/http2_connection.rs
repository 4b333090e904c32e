//! A downstream connection that speaks HTTP/2: taking its streams, and ending
//! it.
//!
//! One task drives the connection; every stream that it accepts is a task of
//! its own (`http2_stream.rs`), so that requests of one connection run side by
//! side.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use h2::Reason;
use h2::server::{Builder, Connection, Handshake};
use ringway_config::runtime::{RuntimeKey, RuntimeValues};

use super::ConnectionManager;
use super::config::Config;
use super::connection::{Carried, End};
use super::http2_clock::{Clock, Verdict};
use crate::filters::Registration;
use crate::http::http2::io::{TokioSocket, send_notice};
use crate::http::http2::observer::Observer;
use crate::http::http2::{RESETS_KNOWN_FOR, RESETS_KNOWN_MAX};
use crate::reactor::{self, Chunk, Timer};
use crate::stream_info::{ConnectionInfo, Protocol};
use crate::transport_sockets::TransportSocket;

/// What a connection and its streams share.
pub(super) struct Http2Connection {
    /// Addresses and number.
    pub info: Rc<ConnectionInfo>,
    /// The listener's.
    pub buffer_limit: u32,
    /// What its frames tell.
    pub observer: Rc<Observer>,
    /// A request did not end well: nobody has seen it, or the connection ended
    /// before it.
    pub has_lost: Cell<bool>,
    timers: RefCell<Timers>,
    active: Cell<usize>,
    /// A response has said that the connection ends.
    ends: Cell<bool>,
    /// Its client asks for too much, and it is closed.
    is_abused: Cell<bool>,
    /// The task that drives the connection.
    waker: RefCell<Option<Waker>>,
    premature: PrematureResets,
}

/// Timers of streams, which later streams take over. All of them are made to
/// expire when the worker ends.
#[derive(Default)]
struct Timers {
    all: Vec<Rc<Timer>>,
    free: Vec<usize>,
}

/// A place among the open streams of a connection.
pub(super) struct StreamSlot {
    connection: Rc<Http2Connection>,
    timer: usize,
}

impl Http2Connection {
    fn new(info: Rc<ConnectionInfo>, buffer_limit: u32, config: &Config) -> Rc<Self> {
        let closes = config.http2.stream_errors != Some(true);
        Rc::new(Self {
            info,
            buffer_limit,
            observer: Observer::of_client(config.http2.frames, closes),
            has_lost: Cell::new(false),
            timers: RefCell::default(),
            active: Cell::new(0),
            ends: Cell::new(false),
            is_abused: Cell::new(false),
            waker: RefCell::default(),
            premature: PrematureResets::default(),
        })
    }

    /// Whether it has no streams.
    pub fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// Whether a response has said that it ends.
    pub fn ends(&self) -> bool {
        self.ends.get()
    }

    /// Counts a stream as open for as long as the returned value lives.
    fn open_stream(self: &Rc<Self>) -> StreamSlot {
        self.active.set(self.active.get() + 1);
        let mut timers = self.timers.borrow_mut();
        let timer = timers.free.pop().unwrap_or_else(|| {
            timers.all.push(Rc::new(Timer::new()));
            timers.all.len() - 1
        });
        StreamSlot {
            connection: Rc::clone(self),
            timer,
        }
    }

    /// Makes the end of the connection known to its client.
    pub(super) fn drain(&self) {
        if !self.ends.replace(true) {
            self.wake();
        }
    }

    /// Closes the connection of a client that asks for too much; false where
    /// that is so already.
    pub(super) fn close(&self) -> bool {
        let is_first = !self.is_abused.replace(true);
        if is_first {
            self.wake();
        }
        is_first
    }

    /// Lets every stream look at its deadlines, and at the end of its worker.
    fn expire_all(&self) {
        let now = reactor::now();
        for timer in &self.timers.borrow().all {
            timer.set(Some(now));
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl StreamSlot {
    /// The connection.
    pub fn connection(&self) -> &Rc<Http2Connection> {
        &self.connection
    }

    /// The stream's timer.
    pub fn timer(&self) -> Rc<Timer> {
        Rc::clone(&self.connection.timers.borrow().all[self.timer])
    }

    /// Counts a stream that has ended, for the rule about those that end too
    /// soon, and says whether its connection is to be closed for it.
    pub fn note_end(&self, since: Instant, by_reset: bool, runtime: &RuntimeValues) -> bool {
        let limits = PrematureLimits::new(runtime);
        let age = reactor::now().duration_since(since);
        self.connection.premature.note(age, by_reset, limits)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.timers.borrow_mut().free.push(self.timer);
        connection.active.set(connection.active.get() - 1);
        if connection.is_idle() {
            connection.wake();
        }
    }
}

/// Envoy's rule against clients that ask and take it back: of many streams on
/// a connection less than a half may be reset while they are young and unanswered.
#[derive(Default)]
struct PrematureResets {
    streams: Cell<u64>,
    premature: Cell<u64>,
}

/// What that means, as the runtime is now.
#[derive(Clone, Copy)]
struct PrematureLimits {
    /// Streams before which nothing is judged.
    streams: u64,
    /// A stream that is older has not been reset too soon, in seconds.
    age_seconds: u64,
}

impl PrematureLimits {
    fn new(runtime: &RuntimeValues) -> Self {
        Self {
            streams: runtime.integer(RuntimeKey::PREMATURE_RESET_STREAMS, 500),
            age_seconds: runtime.integer(RuntimeKey::PREMATURE_RESET_SECONDS, 1),
        }
    }
}

impl PrematureResets {
    fn note(&self, age: Duration, by_reset: bool, limits: PrematureLimits) -> bool {
        let is_premature = by_reset && age.as_secs() <= limits.age_seconds;
        self.streams.set(self.streams.get() + 1);
        let premature = self.premature.get() + u64::from(is_premature);
        self.premature.set(premature);
        // Before that, it may already be certain that it will be a half of so
        // many.
        premature.saturating_mul(2) >= self.streams.get().max(limits.streams)
    }
}

/// h2's connection, from its preface on.
enum Driver {
    Handshake(Box<Handshake<TokioSocket, Chunk>>),
    Open(Box<Connection<TokioSocket, Chunk>>),
}

/// What a connection waits for.
enum Event {
    /// The connection is over.
    Over(End),
    /// A deadline has passed, or something has changed that they depend on.
    Look,
}

impl ConnectionManager {
    /// Serves a connection that begins with the preface of HTTP/2, until it is
    /// closed. What is left of it is closed by the caller.
    pub(super) async fn serve_http2(
        self: &Rc<Self>,
        socket: TransportSocket,
        registration: &Registration,
        opened: Instant,
        info: Rc<ConnectionInfo>,
        buffer_limit: u32,
    ) -> (End, Carried, Option<TransportSocket>) {
        let stats = self.stats();
        stats.downstream_cx_http2_total.inc();
        stats.downstream_cx_http2_active.inc();
        let _ = self.worker.http2_stats();
        let socket = Rc::new(socket);
        let connection = Http2Connection::new(info, buffer_limit, self.config());
        let mut counted = (0, 0);
        let end = self
            .drive_http2(&socket, &connection, registration, opened, &mut counted)
            .await;
        // The streams find out by themselves: what drove them is gone.
        let had_streams = connection.active.get() > 0;
        poll_fn(|cx| {
            connection.watch(cx);
            if connection.is_idle() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
        self.count_socket_bytes(&socket, &mut counted);
        let stats = self.stats();
        stats.downstream_cx_http2_active.dec();
        let is_broken = connection.observer.end_details().is_some();
        if is_broken && (had_streams || connection.has_lost.get()) {
            stats.downstream_cx_destroy_active_rq.inc();
            stats.downstream_cx_destroy_local_active_rq.inc();
        }
        let end = match end {
            End::ByClient if had_streams => End::ByClientWithRequest,
            end => end,
        };
        let (received, sent) = counted;
        let carried = Carried {
            received,
            sent,
            protocol: (received > 0).then_some(Protocol::Http2),
            is_broken: false,
        };
        (end, carried, Rc::into_inner(socket))
    }

    async fn drive_http2(
        self: &Rc<Self>,
        socket: &Rc<TransportSocket>,
        connection: &Rc<Http2Connection>,
        registration: &Registration,
        opened: Instant,
        counted: &mut (u64, u64),
    ) -> End {
        let io = TokioSocket::new(Rc::clone(socket), Rc::clone(&connection.observer));
        let handshake = builder(self.config()).handshake(io);
        let mut driver = Driver::Handshake(Box::new(handshake));
        let timer = registration.timer();
        let mut clock = Clock::new(self.config(), opened);
        loop {
            registration.set_idle(connection.is_idle());
            clock.on_head(connection.observer.unfinished_head());
            clock.on_activity(connection.active.get());
            timer.set(clock.next());
            let event = poll_fn(|cx| {
                connection.watch(cx);
                let driven = self.poll_driver(&mut driver, connection, &mut clock, cx);
                self.count_socket_bytes(socket, counted);
                if let Poll::Ready(end) = driven {
                    return Poll::Ready(Event::Over(end));
                }
                let is_idle = connection.is_idle();
                if is_idle != clock.is_idle()
                    || connection.observer.unfinished_head() != clock.head.stream()
                    || connection.ends() && !clock.is_draining()
                    || connection.is_abused.get()
                {
                    return Poll::Ready(Event::Look);
                }
                timer.poll_expired(cx).map(|()| Event::Look)
            })
            .await;
            if let Event::Over(end) = event {
                return end;
            }
            if self.worker.is_stopping() {
                connection.expire_all();
                return End::ByUs;
            }
            if connection.is_abused.get() {
                return End::ByUs;
            }
            let now = reactor::now();
            match clock.judge(now, connection, self) {
                Verdict::Wait => {}
                Verdict::Notice => {
                    if let Driver::Handshake(_) = driver {
                        // It has not even said that it speaks HTTP/2.
                        self.worker.http2_stats().goaway_sent.inc();
                        return End::ByUs;
                    }
                    clock.announce(now, self);
                    send_notice(socket, &connection.observer);
                }
                Verdict::GoAway => {
                    clock.go_away(now);
                    self.worker.http2_stats().goaway_sent.inc();
                    if let Driver::Open(open) = &mut driver {
                        open.graceful_shutdown();
                    }
                }
                Verdict::Close => return End::ByUsWithUnread,
                Verdict::LateHead => {
                    self.note_late_head(connection);
                    self.worker.http2_stats().goaway_sent.inc();
                    say_goodbye(driver).await;
                    return End::ByUsWithUnread;
                }
                Verdict::PingTimeout => {
                    self.worker.http2_stats().keepalive_timeout.inc();
                    return End::Abort;
                }
            }
        }
    }

    /// Takes every stream that the client has opened; each is a task of its own.
    /// Ready when the connection is over.
    fn poll_driver(
        self: &Rc<Self>,
        driver: &mut Driver,
        connection: &Rc<Http2Connection>,
        clock: &mut Clock,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        if let Driver::Handshake(handshake) = driver {
            match ready!(Pin::new(&mut **handshake).poll(cx)) {
                Ok(mut open) => {
                    clock.pings = open.ping_pong();
                    *driver = Driver::Open(Box::new(open));
                }
                Err(error) => return Poll::Ready(self.end_of(&error, connection)),
            }
        }
        let Driver::Open(open) = driver else {
            return Poll::Pending;
        };
        clock.poll_pong(cx);
        loop {
            let (request, respond) = match open.poll_accept(cx) {
                Poll::Pending => {
                    return self
                        .judge_frames(connection)
                        .map_or(Poll::Pending, Poll::Ready);
                }
                Poll::Ready(Some(Ok(opened))) => opened,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(self.end_of(&error, connection));
                }
                Poll::Ready(None) => break,
            };
            clock.on_stream(reactor::now());
            let slot = connection.open_stream();
            let requests_max = self.config().requests_per_connection_max;
            if requests_max.is_some_and(|max| clock.accepted >= max) {
                self.stats().downstream_cx_max_requests_reached.inc();
                connection.drain();
            }
            // Before the library waits: it is not one that was refused.
            let observed = connection.observer.take(respond.stream_id().as_u32());
            self.begin_stream(slot, request, respond, observed);
        }
        Poll::Ready(match clock.is_going() {
            true => End::ByUsWithUnread,
            false => End::ByClient,
        })
    }

    /// How a connection ends before its time.
    fn end_of(&self, error: &h2::Error, connection: &Http2Connection) -> End {
        tracing::debug!(%error, "a connection of HTTP/2 ends");
        self.judge_end(error.is_io() || error.is_remote(), connection)
    }

    fn count_socket_bytes(&self, socket: &TransportSocket, counted: &mut (u64, u64)) {
        let sent = socket.bytes_written();
        let received = socket.bytes_received();
        let stats = self.stats();
        stats.downstream_cx_rx_bytes_total.add(received - counted.0);
        // What was queued is forgotten when the connection breaks.
        stats
            .downstream_cx_tx_bytes_total
            .add(sent.saturating_sub(counted.1));
        *counted = (received, sent.max(counted.1));
    }
}

/// Tells the client that the connection ends now, if it has room for it.
async fn say_goodbye(driver: Driver) {
    let Driver::Open(mut open) = driver else {
        return;
    };
    open.abrupt_shutdown(Reason::NO_ERROR);
    poll_fn(|cx| {
        let _ = open.poll_closed(cx);
        Poll::Ready(())
    })
    .await;
}

/// What h2 is told of the configuration.
fn builder(config: &Config) -> Builder {
    let options = &config.http2;
    let mut builder = Builder::new();
    builder
        .initial_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_concurrent_streams(options.streams_max)
        .header_table_size(options.header_table_bytes)
        .max_header_list_size(header_list_max(config))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESETS_KNOWN_MAX)
        .reset_stream_duration(RESETS_KNOWN_FOR)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX);
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// What h2 holds of one response at most before the socket takes it.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Streams that a client may reset before we have seen them, which h2 keeps: as
/// many as may be open by default. The rule about resets that come too soon
/// ends the connection of who resets a few hundred, once they are seen.
const PENDING_RESETS_MAX: usize = 1024;

/// The size of a header list, as HTTP/2 counts it, that h2 refuses by itself
/// and tells nobody. Requests that are too large but not as large as this are
/// counted and logged.
fn header_list_max(config: &Config) -> u32 {
    let fields = config
        .request
        .headers_max
        .saturating_mul(FIELD_OVERHEAD_BYTES);
    let bytes = config.request.head_bytes_max.saturating_add(fields);
    u32::try_from(bytes.saturating_mul(2)).unwrap_or(u32::MAX)
}

/// What a field counts for besides its name and value (RFC 9113 section
/// 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;
