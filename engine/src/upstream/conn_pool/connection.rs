//! A pooled connection: opening it, watching it while it is idle, closing it.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::dial::{DialError, dial};
use super::http2::{self, Session};
use super::lending::{self, Travelling};
use super::preconnect::preconnect;
use super::proxy_header::write_header;
use super::{
    ConnectionPermit, Open, Pool, PoolOf, Speaks, WaitFailure, fail_waiters, open_for_waiters, put,
};
use ringway_config::core::Address;

use crate::network::listen_socket::kernel_keepalive;
use crate::reactor::{self, Stream, Timer, WireCount};
use crate::stats::Counter;
use crate::stream_info::UpstreamConnectionInfo;
use crate::transport_sockets::TransportSocket;
use crate::transport_sockets::tls::failure;
use crate::transport_sockets::tls::handshake::HandshakeError;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;

thread_local! {
    /// Numbers this worker's upstream connections (`%UPSTREAM_CONNECTION_ID%`).
    static NEXT_ID: Cell<u64> = const { Cell::new(1) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the pool.
    Idle,
    /// Used by a request.
    Busy,
    /// On its way to another worker, which counts it from then on.
    Gone,
    /// Counted as closed; the socket goes with the last reference.
    Closed,
}

/// What a connection's watcher was woken by.
enum Woken {
    /// The host closed it.
    Closed,
    /// Bytes came although no request is out.
    Unasked,
    /// The timer, or somebody who let the watcher go.
    Timer,
}

/// An open connection to a host.
pub struct Connection {
    /// The socket.
    pub stream: TransportSocket,
    /// Its addresses and number, for logs.
    pub info: Rc<UpstreamConnectionInfo>,
    pub(super) cluster: Rc<Cluster>,
    pub(super) host: Rc<Host>,
    pub(super) priority: usize,
    pub(super) of: PoolOf,
    /// What it has besides when HTTP/2 is spoken on it.
    pub(super) http2: OnceCell<Box<Session>>,
    state: Cell<State>,
    pub(super) requests: Cell<u32>,
    /// The host's when it was opened.
    generation: u32,
    opened: Instant,
    pub(super) idle_since: Cell<Instant>,
    /// Of the task that watches the connection while it is idle.
    watcher: RefCell<Option<Waker>>,
    /// Wakes the watcher: at the end of the idle time, or to let it go.
    pub(super) timer: Timer,
    buffered_counted: Cell<u32>,
    permit: Cell<Option<ConnectionPermit>>,
}

/// Opens a connection, hands it out, and watches it until it is closed.
pub(super) async fn open(
    cluster: Rc<Cluster>,
    host: Rc<Host>,
    priority: usize,
    permit: ConnectionPermit,
    of: PoolOf,
) {
    let started = reactor::now();
    cluster.stats.upstream_cx_total.inc();
    cluster.stats.upstream_cx_active.inc();
    match of.speaks {
        Speaks::Http1 => count_http1(&cluster),
        Speaks::Http2 => cluster.stats.upstream_cx_http2_total.inc(),
        Speaks::Negotiated | Speaks::Bytes => {}
    }
    host.stats.cx_total.inc();
    host.stats.cx_active.inc();

    let generation = host.generation();
    let timer = Timer::new();
    timer.set(Some(started + cluster.config.connect_timeout));
    let pool = of.pool(&host);
    let connecting = connect(&cluster, &host, &of, started);
    let connecting = pool.unless_abandoned(of.speaks, connecting);
    let connected = reactor::timeout(&timer, connecting).await;
    timer.set(None);

    pool.connecting.set(pool.connecting.get() - 1);
    pool.forget_abandoned();
    let failure = match connected {
        Ok(Some(Ok((stream, info)))) => {
            let elapsed = reactor::now().duration_since(started);
            cluster
                .stats
                .upstream_cx_connect_ms
                .record(elapsed.as_millis() as u64);
            let connection = Rc::new(Connection {
                info: Rc::new(info),
                stream,
                cluster,
                host,
                priority,
                of,
                http2: OnceCell::new(),
                state: Cell::new(State::Busy),
                requests: Cell::new(0),
                generation,
                opened: started,
                idle_since: Cell::new(started),
                watcher: RefCell::new(None),
                timer,
                buffered_counted: Cell::new(0),
                permit: Cell::new(Some(permit)),
            });
            let open = &connection.pool().open;
            open.set(open.get() + 1);
            connection.begin_counting();
            connection.apply_keepalive();
            if connection.is_http2() {
                // In a box: it is large, and most connections need none.
                return Box::pin(http2::drive(connection)).await;
            }
            lending::note(&connection.host);
            put(Rc::clone(&connection));
            return connection.watch().await;
        }
        Ok(Some(Err(failure))) => Some(failure),
        Ok(None) => None,
        Err(_elapsed) => {
            cluster.stats.upstream_cx_connect_timeout.inc();
            Some(WaitFailure::ConnectTimeout)
        }
    };
    match &failure {
        Some(WaitFailure::Connect(..) | WaitFailure::Handshake(_)) => {
            cluster.stats.upstream_cx_destroy_remote.inc();
        }
        Some(WaitFailure::ConnectTimeout | WaitFailure::Source(_)) | None => {
            cluster.stats.upstream_cx_destroy_local.inc();
        }
    }
    let open_ms = reactor::now().duration_since(started).as_millis() as u64;
    cluster.stats.upstream_cx_length_ms.record(open_ms);
    cluster.stats.upstream_cx_active.dec();
    cluster.stats.upstream_cx_destroy.inc();
    host.stats.cx_active.dec();
    drop(permit);
    if let Some(failure) = failure {
        cluster.stats.upstream_cx_connect_fail.inc();
        host.stats.cx_connect_fail.inc();
        fail_waiters(of.pool(&host), &failure);
    }
    of.pool(&host).leave_if_empty();
}

fn count_http1(cluster: &Cluster) {
    cluster.stats.upstream_cx_http1_total.inc();
    let _ = cluster.http1_stats();
}

/// Connects to a host as its cluster wants it.
async fn connect(
    cluster: &Rc<Cluster>,
    host: &Host,
    of: &PoolOf,
    started: Instant,
) -> Result<(TransportSocket, UpstreamConnectionInfo), WaitFailure> {
    let dialled = dial(cluster, host, of.source()).await;
    let (stream, address) = dialled.map_err(|error| match error {
        DialError::Source(error) => WaitFailure::Source(error.reason().into()),
        DialError::Connect(error) => WaitFailure::Connect(error.kind(), error.raw_os_error()),
    })?;
    let mut info = UpstreamConnectionInfo {
        id: NEXT_ID.with(|next| next.replace(next.get() + 1)),
        local: stream.local_addr().ok(),
        remote: socket_address(&address),
        connect_begin: Some(started),
        connect_end: Some(reactor::now()),
        handshake_end: None,
        tls: None,
    };
    if let Some(config) = &cluster.config.proxy_protocol {
        write_header(config, &stream, &info, (cluster, host, of));
    }
    let Some(tls) = cluster.tls(host) else {
        return Ok((stream.into(), info));
    };
    let ip = info.remote.map(|address| address.ip());
    // In a box: it is large, and over soon.
    let alpn = alpn(of.speaks);
    let asked = of.asked();
    match Box::pin(tls.connect(stream, &host.info().hostname, ip, alpn, asked)).await {
        Ok(secured) => {
            info.handshake_end = Some(reactor::now());
            info.tls = Some(secured.info);
            Ok((TransportSocket::Tls(secured.stream), info))
        }
        Err(HandshakeError::Io(error)) => {
            Err(WaitFailure::Connect(error.kind(), error.raw_os_error()))
        }
        Err(error) => Err(WaitFailure::Handshake(failure::reason(&error).into())),
    }
}

/// What a host is offered where the cluster does not say so itself, the
/// preferred one first.
fn alpn(speaks: Speaks) -> &'static [&'static [u8]] {
    match speaks {
        Speaks::Http1 => &[b"http/1.1"],
        Speaks::Http2 => &[b"h2"],
        Speaks::Negotiated => &[b"h2", b"http/1.1"],
        Speaks::Bytes => &[],
    }
}

fn socket_address(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Socket(address) => Some(*address),
        Address::Pipe { .. } => None,
    }
}

impl Connection {
    /// The cluster that it belongs to.
    #[must_use]
    pub fn cluster(&self) -> &Rc<Cluster> {
        &self.cluster
    }

    /// The host that it leads to.
    #[must_use]
    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    pub(super) fn pool(&self) -> &Pool {
        self.of.pool(&self.host)
    }

    /// Whether it was opened before the host failed.
    pub(super) fn is_of_before(&self) -> bool {
        self.generation != self.host.generation()
    }

    /// Whether it is to be closed because its host has failed since it was opened,
    /// where the cluster asks for that.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.cluster.config.close_connections_on_host_health_failure && self.is_of_before()
    }

    /// Has its user woken when it is given up.
    pub fn watch_health(&self, waker: &Waker) {
        if self.cluster.config.close_connections_on_host_health_failure {
            self.host.watch_renewal(self.info.id, waker);
        }
    }

    /// What is spoken on it.
    #[must_use]
    pub fn speaks(&self) -> Speaks {
        match self.of.speaks {
            Speaks::Negotiated if self.http2.get().is_some() => Speaks::Http2,
            Speaks::Negotiated => Speaks::Http1,
            speaks => speaks,
        }
    }

    /// Whether HTTP/2 is to begin on a connection that was just opened. Where
    /// the host had the choice, what it chose is counted.
    fn is_http2(&self) -> bool {
        match self.of.speaks {
            Speaks::Http1 | Speaks::Bytes => false,
            Speaks::Http2 => true,
            Speaks::Negotiated => {
                let tls = self.info.tls.as_ref();
                let is_http2 = tls.is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2"));
                // Envoy makes another client of the connection, and counts that one, too.
                self.cluster.stats.upstream_cx_total.inc();
                self.host.stats.cx_total.inc();
                match is_http2 {
                    true => self.cluster.stats.upstream_cx_http2_total.inc(),
                    false => count_http1(&self.cluster),
                }
                self.pool().is_http1.set(!is_http2);
                is_http2
            }
        }
    }

    /// Whether it was closed, or is another worker's.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.get(), State::Closed | State::Gone)
    }

    /// Has the task that watches it look at it.
    pub(super) fn wake(&self) {
        self.timer.set(Some(reactor::now()));
    }

    /// Waits while the connection is idle or busy, and takes it out of the
    /// pool when the host closes it or its idle time is over.
    pub(super) async fn watch(self: Rc<Self>) {
        let idle_timeout = self.cluster.config.idle_timeout;
        loop {
            let woken = poll_fn(|cx| {
                self.watch_receive(cx.waker());
                if self.stream.poll_closed(cx).is_ready() {
                    return Poll::Ready(Woken::Closed);
                }
                if self.state.get() == State::Idle && self.stream.has_unread() {
                    return Poll::Ready(Woken::Unasked);
                }
                self.timer.poll_expired(cx).map(|()| Woken::Timer)
            })
            .await;
            match (self.state.get(), woken) {
                (State::Closed | State::Gone, _) => return,
                // The request that uses the connection sees the end of it too,
                // and closes it when it gives the lease up.
                (State::Busy, Woken::Closed) => return,
                (State::Busy, _) => self.timer.set(None),
                (State::Idle, Woken::Closed) => {
                    self.leave_pool();
                    self.close_remote();
                    return;
                }
                (State::Idle, Woken::Unasked) => {
                    // Nobody asked for these bytes: they would be taken for
                    // the next request's response.
                    self.cluster.stats.upstream_cx_protocol_error.inc();
                    self.leave_pool();
                    self.close_local();
                    return;
                }
                (State::Idle, Woken::Timer) => {
                    let now = reactor::now();
                    let due = idle_timeout.map(|timeout| self.idle_since.get() + timeout);
                    let idle_too_long = due.is_some_and(|due| due <= now);
                    if idle_too_long || self.is_too_old() {
                        let stats = &self.cluster.stats;
                        if idle_too_long {
                            stats.upstream_cx_idle_timeout.inc();
                        } else {
                            stats.upstream_cx_max_duration_reached.inc();
                        }
                        self.leave_pool();
                        self.close_local();
                        return;
                    }
                    self.timer
                        .set([due, self.too_old_at()].into_iter().flatten().min());
                }
            }
        }
    }

    /// Whether the next request may be sent on this connection: open, and with
    /// nothing received since the last response. Bytes that nobody asked for
    /// would be taken for the next request's response (response splitting).
    pub(super) fn is_reusable(&self) -> bool {
        let reusable = self.state.get() == State::Idle
            && !self.stream.is_closed()
            && !self.stream.has_unread();
        if reusable {
            self.became_busy();
        }
        reusable
    }

    pub(super) fn became_busy(&self) {
        self.state.set(State::Busy);
    }

    pub(super) fn became_idle(&self) {
        self.state.set(State::Idle);
        self.idle_since.set(reactor::now());
        if let Some(watcher) = self.watcher.borrow().as_ref() {
            self.watch_receive(watcher);
        }
        let due = self
            .cluster
            .config
            .idle_timeout
            .map(|timeout| reactor::now() + timeout);
        self.timer
            .set([due, self.too_old_at()].into_iter().flatten().min());
    }

    /// No request is on it; its task reads it in any case.
    pub(super) fn became_unused(&self) {
        self.state.set(State::Idle);
        self.idle_since.set(reactor::now());
    }

    /// Has the watcher woken when something arrives. Whoever used the
    /// connection last has taken the place of its waker.
    fn watch_receive(&self, waker: &Waker) {
        if self.state.get() != State::Idle {
            *self.watcher.borrow_mut() = Some(waker.clone());
            return;
        }
        match self.stream.poll_recv(&mut Context::from_waker(waker)) {
            Poll::Ready(Ok(Some(unasked))) => self.stream.unread(unasked),
            // An end or an error is seen by `poll_closed`.
            Poll::Ready(_) | Poll::Pending => {}
        }
    }

    /// Whether a request before this one was sent on it. Those of HTTP/2 count
    /// from their beginning.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.requests.get() > u32::from(self.http2.get().is_some())
    }

    /// `max_connection_duration`.
    pub(super) fn too_old_at(&self) -> Option<Instant> {
        let limit = self.cluster.config.connection_duration_max?;
        Some(self.opened + limit)
    }

    pub(super) fn is_too_old(&self) -> bool {
        self.too_old_at().is_some_and(|at| at <= reactor::now())
    }

    /// Counts a request, and says whether the connection may take another one.
    pub(super) fn request_done(&self) -> bool {
        let requests = self.requests.get() + 1;
        self.requests.set(requests);
        match self.cluster.config.requests_per_connection_max {
            Some(max) if requests >= max => {
                self.cluster.stats.upstream_cx_max_requests.inc();
                false
            }
            _ if self.is_too_old() => {
                self.cluster.stats.upstream_cx_max_duration_reached.inc();
                false
            }
            _ => true,
        }
    }

    /// How long nobody has used it.
    pub(super) fn idle_for(&self) -> Duration {
        reactor::now().saturating_duration_since(self.idle_since.get())
    }

    /// Leaves this worker for another one, which goes on counting it. The
    /// connection was taken out of the pool. `None` when it was not fit for
    /// another request after all; then it is closed.
    pub(super) async fn leave(&self) -> Option<Travelling> {
        let Ok(socket) = self.stream.detach().await else {
            self.close_unusable();
            return None;
        };
        // Somebody may have closed all connections meanwhile.
        if self.state.get() != State::Busy {
            return None;
        }
        self.state.set(State::Gone);
        self.count_buffered(0);
        self.cluster.stats.upstream_cx_active.dec();
        self.host.stats.cx_active.dec();
        let pool = self.pool();
        pool.open.set(pool.open.get() - 1);
        pool.leave_if_empty();
        // Lets the watcher go.
        self.timer.set(Some(reactor::now()));
        Some(Travelling {
            socket,
            info: UpstreamConnectionInfo::clone(&self.info),
            priority: self.priority,
            requests: self.requests.get(),
            opened: self.opened,
            permit: self.permit.take(),
        })
    }

    /// A connection that another worker has given away.
    pub(super) fn arrive(cluster: &Rc<Cluster>, host: &Rc<Host>, from: Travelling) -> Rc<Self> {
        cluster.stats.upstream_cx_active.inc();
        host.stats.cx_active.inc();
        let connection = Rc::new(Self {
            stream: Stream::from_socket(from.socket.into()).into(),
            info: Rc::new(from.info),
            cluster: Rc::clone(cluster),
            host: Rc::clone(host),
            priority: from.priority,
            of: Speaks::Http1.into(),
            http2: OnceCell::new(),
            generation: host.generation(),
            state: Cell::new(State::Busy),
            requests: Cell::new(from.requests),
            opened: from.opened,
            idle_since: Cell::new(reactor::now()),
            watcher: RefCell::new(None),
            timer: Timer::new(),
            buffered_counted: Cell::new(0),
            permit: Cell::new(from.permit),
        });
        connection.begin_counting();
        let open = &connection.pool().open;
        open.set(open.get() + 1);
        lending::note(host);
        connection
    }

    /// Counts what has come and gone already, and has all that follows counted as it
    /// comes and goes: as in Envoy a request counts while its response is awaited.
    fn begin_counting(&self) {
        let stats = &self.cluster.stats;
        (stats.upstream_cx_rx_bytes_total).add(self.stream.bytes_received());
        (stats.upstream_cx_tx_bytes_total).add(self.stream.bytes_sent());
        self.note_received();
        let count = WireCount {
            received: Some(stats.upstream_cx_rx_bytes_total.slot()),
            sent: stats.upstream_cx_tx_bytes_total.slot(),
            add: Counter::add_to,
        };
        self.stream.count_wire(Some(count));
    }

    /// Looks at what the connection's last receive has brought.
    pub fn note_received(&self) {
        self.count_buffered(self.stream.last_received());
    }

    /// Says what the connection's last receive has brought: as in Envoy that
    /// counts as buffered until there is another one, or the connection closes.
    fn count_buffered(&self, now: u32) {
        let before = self.buffered_counted.replace(now);
        if now != before {
            let by = i64::from(now) - i64::from(before);
            self.cluster.stats.upstream_cx_rx_bytes_buffered.add(by);
        }
    }

    /// Closes the connection for a reason of ours.
    pub(super) fn close_local(&self) {
        if self.close() {
            self.cluster.stats.upstream_cx_destroy_local.inc();
        }
    }

    /// Closes a connection that the host has closed.
    pub(super) fn close_remote(&self) {
        if self.close() {
            self.cluster.stats.upstream_cx_destroy_remote.inc();
        }
    }

    /// Closes an idle connection that turned out unfit for the next request.
    pub(super) fn close_unusable(&self) {
        if self.stream.is_closed() {
            self.close_remote();
        } else {
            self.cluster.stats.upstream_cx_protocol_error.inc();
            self.close_local();
        }
    }

    /// Counts the end of the connection once, and lets the watcher go, whose
    /// reference keeps the socket open.
    fn close(&self) -> bool {
        if self.state.replace(State::Closed) == State::Closed {
            return false;
        }
        self.stream.count_wire(None);
        self.count_buffered(0);
        if let Some(session) = self.http2.get() {
            self.leave_pool();
            if !session.is_settled.replace(true) {
                let unsettled = &self.pool().unsettled;
                unsettled.set(unsettled.get() - 1);
            }
        }
        self.host.forget_renewal(self.info.id);
        let stats = &self.cluster.stats;
        stats.upstream_cx_destroy.inc();
        stats.upstream_cx_active.dec();
        stats
            .upstream_rq_per_cx
            .record(u64::from(self.requests.get()));
        let open_ms = reactor::now().duration_since(self.opened).as_millis() as u64;
        stats.upstream_cx_length_ms.record(open_ms);
        self.host.stats.cx_active.dec();
        let pool = self.pool();
        pool.open.set(pool.open.get() - 1);
        self.timer.set(Some(reactor::now()));
        // Not with the last reference: the next connection needs it now.
        drop(self.permit.take());
        // Requests that waited for this connection need another one.
        open_for_waiters(
            &self.cluster,
            &self.host,
            self.priority,
            &self.of,
            Open::OrBorrow,
        );
        preconnect(&self.cluster, &self.host, self.priority, &self.of);
        pool.leave_if_empty();
        true
    }

    pub(super) fn leave_pool(&self) {
        if let Some(session) = self.http2.get()
            && !session.is_listed.replace(false)
        {
            return;
        }
        let mut ready = self.pool().ready.borrow_mut();
        if let Some(index) = ready
            .iter()
            .position(|other| std::ptr::eq(&raw const **other, self))
        {
            ready.remove(index);
        }
    }

    /// TCP keepalive as the cluster asks for it; a socket that refuses it is
    /// no worse than one without.
    fn apply_keepalive(&self) {
        let Some(keepalive) = &self.cluster.config.tcp_keepalive else {
            return;
        };
        let options = kernel_keepalive(keepalive);
        if let Err(error) = self.stream.set_tcp_keepalive(&options) {
            tracing::debug!(%error, "TCP keepalive was refused");
        }
    }
}
