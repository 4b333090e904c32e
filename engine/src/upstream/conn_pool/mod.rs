//! Connection pools: for each host and worker one, and another one for each
//! other thing that is spoken with the host.
//!
//! A request takes the connection that was used last, so that the ones it does
//! not need grow old and are closed. When none is idle it joins the queue of
//! waiting requests and, within the limits, has a connection opened; it is
//! served by whichever connection is free first, new or returned.
//!
//! Life of a connection: `open` (a task of its own) connects it, hands it out
//! and then stays to watch it: an idle connection that the host closes, or
//! that is idle too long, leaves the pool by itself. [`Lease`] is the right to
//! use it for one request.
//!
//! A connection that speaks HTTP/2 carries many requests at once (`http2.rs`).
//! It is ready as long as it has room for another one, and a lease of it is one
//! stream.

mod active_request;
mod connection;
mod dial;
mod http2;
mod lease;
pub mod lending;
pub mod named;
pub mod own;
mod preconnect;
mod proxy_header;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringway_config::http2_protocol_options::Http2ProtocolOptions;

pub use active_request::ActiveRequest;
pub use connection::Connection;
pub use lease::Lease;
pub use own::PoolOf;
pub use preconnect::predict;

use super::circuit_breaker::Permit;
use super::cluster::Cluster;
use super::host::{Host, HostPermit};
use crate::reactor;
use connection::open;
use preconnect::preconnect;

/// The connections of one worker to one host.
#[derive(Default)]
pub struct Pool {
    /// Connections that take a request: unused ones, and those of HTTP/2 that
    /// have room. The last one was used last.
    ready: RefCell<Vec<Rc<Connection>>>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    connecting: Cell<usize>,
    /// Connections of HTTP/2 whose hosts have not yet said how many streams they
    /// take.
    unsettled: Cell<usize>,
    /// How many streams the host takes on a connection; 0 while that is not
    /// known.
    streams_each: Cell<u32>,
    /// A host that had the choice has chosen HTTP/1.1.
    is_http1: Cell<bool>,
    /// Connections that other workers were asked for.
    asking: Cell<usize>,
    /// Connections being opened that nobody waits for any more, and the tasks that
    /// open some.
    abandoned: Cell<usize>,
    opening: RefCell<Vec<Waker>>,
    /// Open connections, idle ones included.
    open: Cell<usize>,
    /// Counts the pool while it has connections or requests that wait.
    permit: Cell<Option<Permit>>,
}

impl Pool {
    /// The request that waits longest and takes this connection.
    fn next_waiter(&self, connection: &Connection) -> Option<Rc<Waiter>> {
        let mut waiting = self.waiting.borrow_mut();
        if !connection.was_used() {
            return waiting.pop_front();
        }
        let place = waiting.iter().position(|one| !one.wants_new.get())?;
        waiting.remove(place)
    }

    /// Whether there is nothing in it: no connection, and nobody who waits.
    fn is_empty(&self) -> bool {
        let coming = self.connecting.get() + self.asking.get();
        self.open.get() + coming == 0 && self.waiting.borrow().is_empty()
    }

    /// Connections that will be there.
    fn coming(&self) -> usize {
        self.connecting.get() + self.asking.get()
    }

    /// Requests that wait and that connections will be there for.
    fn expected(&self, cluster: &Cluster, of: &PoolOf) -> usize {
        let multiplexed = match of.speaks {
            Speaks::Http1 | Speaks::Bytes => false,
            Speaks::Http2 => true,
            Speaks::Negotiated => !self.is_http1.get(),
        };
        match multiplexed {
            true => {
                let each = self.streams_each(&cluster.config.http2) as usize;
                (self.connecting.get() + self.unsettled.get()).saturating_mul(each)
            }
            false => self.coming(),
        }
    }

    /// How many streams a new connection will have, as far as is known.
    fn streams_each(&self, options: &Http2ProtocolOptions) -> u32 {
        match self.streams_each.get() {
            0 => options.streams_max,
            known => known.min(options.streams_max),
        }
    }

    /// Whether some request takes none that was used before.
    fn wants_new(&self) -> bool {
        let waiting = self.waiting.borrow();
        waiting.iter().any(|waiter| waiter.wants_new.get())
    }

    /// One who waited has given up: a connection that was opened for it and would
    /// carry bytes of one client only is given up, too.
    fn abandon(&self) {
        if self.connecting.get() > self.waiting.borrow().len() + self.abandoned.get() {
            self.abandoned.set(self.abandoned.get() + 1);
            for waker in self.opening.borrow_mut().drain(..) {
                waker.wake();
            }
        }
    }

    /// `connecting`, as long as somebody waits for it; `None` once nobody does. Other
    /// connections than those that carry bytes are there for the next request.
    async fn unless_abandoned<T>(
        &self,
        speaks: Speaks,
        connecting: impl Future<Output = T>,
    ) -> Option<T> {
        let mut connecting = pin!(connecting);
        poll_fn(|cx| {
            if speaks == Speaks::Bytes && self.take_abandoned() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Some(connected));
            }
            if speaks != Speaks::Bytes {
                return Poll::Pending;
            }
            let mut opening = self.opening.borrow_mut();
            if !opening.iter().any(|waker| waker.will_wake(cx.waker())) {
                opening.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Whether a connection that is being opened is to be given up. Not one that
    /// somebody waits for who came later.
    fn take_abandoned(&self) -> bool {
        self.forget_abandoned();
        let left = self.abandoned.get().checked_sub(1);
        left.map(|left| self.abandoned.set(left)).is_some()
    }

    /// No more are to be given up than are being opened and nobody waits for.
    fn forget_abandoned(&self) {
        let excess = (self.connecting.get()).saturating_sub(self.waiting.borrow().len());
        self.abandoned.set(self.abandoned.get().min(excess));
    }

    fn asked_one_less(&self) {
        self.asking.set(self.asking.get() - 1);
    }

    /// Closes the connections that no request uses.
    fn close_idle(&self) {
        let ready = std::mem::take(&mut *self.ready.borrow_mut());
        for connection in ready {
            match connection.http2.get() {
                // It is listed again when its requests are over, if it is still
                // good then.
                Some(session) if !session.is_unused() => session.is_listed.set(false),
                _ => connection.close_local(),
            }
        }
    }

    /// Counts a pool that is empty as one that is not any more; `false` when
    /// there are as many as there may be.
    fn begin_if_empty(&self, cluster: &Cluster, priority: usize) -> bool {
        if self.is_empty() {
            let permit = cluster.breakers[priority].pools.acquire();
            if permit.is_none() {
                cluster.stats.upstream_cx_pool_overflow.inc();
                return false;
            }
            self.permit.set(permit);
        }
        true
    }

    /// Gives the pool's permit back if it has become empty.
    fn leave_if_empty(&self) {
        if self.is_empty() {
            drop(self.permit.take());
        }
    }
}

/// What is spoken on a connection. Each has a pool of its own: what was left
/// behind on the one must never be taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// Requests, one after the other.
    Http1,
    /// Requests, many at once.
    Http2,
    /// One of these, as the host chooses when a connection is opened.
    Negotiated,
    /// Whatever the client of a terminated CONNECT sends: used once.
    Bytes,
}

impl Host {
    /// The pool of the connections on which that is spoken, and that everybody
    /// may use.
    fn shared_pool(&self, speaks: Speaks) -> &Pool {
        match speaks {
            Speaks::Http1 => &self.pool,
            // A cluster has one of both.
            Speaks::Http2 | Speaks::Negotiated => self.multiplexed_pool.get_or_init(Box::default),
            Speaks::Bytes => &self.raw_pool,
        }
    }
}

/// Why a request got no connection.
#[derive(Debug)]
pub enum PoolFailure {
    /// There are as many pools as there may be (flag `UH`).
    NoPool,
    /// A circuit breaker refused (flag `UO`).
    Overflow,
    /// The host did not answer within the connect timeout (flag `UF`).
    ConnectTimeout,
    /// There is no end of ours that a connection to it could have, and this is what is
    /// told of it, if anything is (flag `UF` of requests).
    Source(Rc<str>),
    /// The host refused, or could not be reached (flag `UF`).
    Connect(io::Error),
    /// There is no TLS connection to it, and this is why (flag `UF`).
    Handshake(Rc<str>),
}

/// A request in the queue.
struct Waiter {
    /// Takes no connection that was used before.
    wants_new: Cell<bool>,
    outcome: RefCell<Option<Result<Lease, WaitFailure>>>,
    waker: RefCell<Option<Waker>>,
}

/// Why a waiting request is turned away; several may share one cause, so it is
/// cloned, not moved.
#[derive(Debug, Clone)]
enum WaitFailure {
    ConnectTimeout,
    Source(Rc<str>),
    Connect(io::ErrorKind, Option<i32>),
    Handshake(Rc<str>),
}

/// A connection to `host` for one request.
///
/// # Errors
/// See [`PoolFailure`]. Dropping the future gives the place in the queue up.
pub async fn acquire(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    of: &PoolOf,
) -> Result<Lease, PoolFailure> {
    if let Some(lease) = idle(cluster, host, priority, of) {
        return Ok(lease);
    }
    wait(cluster, host, priority, of, false).await
}

/// A connection to `host` that no request has used before, for one that lost a
/// pooled connection: the other idle ones may be as dead. Where the connection
/// limit forbids a new one, or connections carry many requests, it is any other.
///
/// # Errors
/// As [`acquire`].
pub async fn acquire_new(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    of: &PoolOf,
) -> Result<Lease, PoolFailure> {
    match of.speaks {
        // It is known of each of them whether it is still there.
        Speaks::Http2 => acquire(cluster, host, priority, of).await,
        _ => wait(cluster, host, priority, of, true).await,
    }
}

/// Joins the queue of requests that wait.
async fn wait(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    of: &PoolOf,
    wants_new: bool,
) -> Result<Lease, PoolFailure> {
    let breakers = &cluster.breakers[priority];
    let pool = of.pool(host);
    if !pool.begin_if_empty(cluster, priority) {
        return Err(PoolFailure::NoPool);
    }
    let Some(_pending) = breakers.pending_requests.acquire() else {
        cluster.stats.upstream_rq_pending_overflow.inc();
        pool.leave_if_empty();
        return Err(PoolFailure::Overflow);
    };
    cluster.stats.upstream_rq_pending_total.inc();
    let _gauge = PendingGauge::new(cluster, host);

    let place = Place::join(pool, wants_new);
    let _given_up = of.closes_excess.then(|| GivenUp {
        cluster,
        pool,
        waiter: Rc::clone(&place.waiter),
    });
    open_for_waiters(cluster, host, priority, of, Open::OrBorrow);
    preconnect(cluster, host, priority, of);
    if wants_new && pool.expected(cluster, of) < pool.waiting.borrow().len() {
        place.waiter.wants_new.set(false);
    }
    match place.turn().await {
        Ok(lease) => Ok(lease),
        Err(WaitFailure::ConnectTimeout) => Err(PoolFailure::ConnectTimeout),
        Err(WaitFailure::Source(reason)) => Err(PoolFailure::Source(reason)),
        Err(WaitFailure::Connect(kind, code)) => Err(PoolFailure::Connect(
            code.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error),
        )),
        Err(WaitFailure::Handshake(reason)) => Err(PoolFailure::Handshake(reason)),
    }
}

/// A connection to `host` that nobody uses, if there is one.
#[must_use]
pub fn idle(cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize, of: &PoolOf) -> Option<Lease> {
    let lease = take_ready(of.pool(host))?;
    preconnect(cluster, host, priority, of);
    Some(lease)
}

/// Closes the connections of `host` that no request uses.
pub fn close_idle(host: &Host) {
    let multiplexed = host.multiplexed_pool.get().map(|pool| &**pool);
    let pools = [Some(&host.pool), Some(&host.raw_pool), multiplexed];
    pools.into_iter().flatten().for_each(Pool::close_idle);
    if let Some(own) = host.own_pools.get() {
        own.for_each(Pool::close_idle);
    }
    if let Some(named) = host.named_pools.get() {
        named.for_each(Pool::close_idle);
    }
}

/// Has a host's next requests take new connections: idle ones are closed, the
/// others when their request is over.
pub fn renew(host: &Host) {
    host.begin_generation();
    close_idle(host);
}

/// Lets a host go that the cluster has no more: idle connections are closed,
/// the others when their request is over.
pub fn drain(host: &Host) {
    host.set_draining();
    close_idle(host);
}

/// The connection that was used last, of those that are still good.
fn take_ready(pool: &Pool) -> Option<Lease> {
    loop {
        let connection = Rc::clone(pool.ready.borrow().last()?);
        if let Some(session) = connection.http2.get() {
            let has_room = connection.has_room(session);
            if has_room {
                connection.take_stream(session);
            }
            if !connection.has_room(session) {
                connection.leave_pool();
            }
            if has_room {
                return Some(Lease::new(connection));
            }
            // One that is used is closed by its last request.
            if session.is_unused() {
                connection.close_local();
            }
            continue;
        }
        pool.ready.borrow_mut().pop();
        if connection.is_reusable() {
            return Some(Lease::new(connection));
        }
        // The host closed it, or sent bytes that nobody asked for; either way
        // the next response on it could not be trusted.
        connection.close_unusable();
    }
}

/// Where connections for waiting requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Another worker is asked first.
    OrBorrow,
    /// It was asked in vain.
    NewOnly,
}

/// Opens connections until every waiting request has one coming, as far as the
/// connection limit allows.
fn open_for_waiters(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    of: &PoolOf,
    how: Open,
) {
    let pool = of.pool(host);
    // The keys of a TLS connection stay with the worker that has them.
    let may_borrow = how == Open::OrBorrow
        && of.is_shared()
        && of.speaks == Speaks::Http1
        && cluster.tls(host).is_none()
        && !pool.wants_new();
    while pool.expected(cluster, of) < pool.waiting.borrow().len() {
        if may_borrow && lending::ask(cluster, host, priority) {
            continue;
        }
        let permit = ConnectionPermit::acquire(cluster, host, priority)
            .or_else(|| above_limit(cluster, host, priority, pool));
        let Some(permit) = permit else {
            return;
        };
        start(cluster, host, priority, permit, of);
    }
}

/// Counts that a limit is reached. As in Envoy a pool without any connection
/// may open one all the same: requests would otherwise wait for nothing.
fn above_limit(
    cluster: &Cluster,
    host: &Host,
    priority: usize,
    pool: &Pool,
) -> Option<ConnectionPermit> {
    cluster.stats.upstream_cx_overflow.inc();
    let has_none = pool.open.get() + pool.coming() == 0;
    has_none.then(|| ConnectionPermit::above(cluster, host, priority))
}

/// Has a connection opened.
fn start(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    permit: ConnectionPermit,
    of: &PoolOf,
) {
    let connecting = &of.pool(host).connecting;
    connecting.set(connecting.get() + 1);
    let opening = open(
        Rc::clone(cluster),
        Rc::clone(host),
        priority,
        permit,
        of.clone(),
    );
    drop(reactor::spawn(opening));
}

/// Gives a connection that is free, or has room, to the request that waits
/// longest, or keeps it.
fn put(connection: Rc<Connection>) {
    if connection.http2.get().is_some() {
        return put_multiplexed(&connection);
    }
    let host = Rc::clone(connection.host());
    let of = connection.of.clone();
    let pool = of.pool(&host);
    if connection.is_of_before() {
        // Requests that wait get another one opened for them.
        connection.close_local();
        return;
    }
    if let Some(waiter) = pool.next_waiter(&connection) {
        connection.became_busy();
        waiter.finish(Ok(Lease::new(connection)));
    } else if host.is_draining() || of.is_over() {
        connection.close_local();
    } else {
        connection.became_idle();
        pool.ready.borrow_mut().push(connection);
    }
}

/// The same for one that may carry several requests.
fn put_multiplexed(connection: &Rc<Connection>) {
    let Some(session) = connection.http2.get() else {
        return;
    };
    let pool = connection.pool();
    while connection.has_room(session) {
        let Some(waiter) = pool.waiting.borrow_mut().pop_front() else {
            break;
        };
        connection.take_stream(session);
        waiter.finish(Ok(Lease::new(Rc::clone(connection))));
    }
    let is_over = connection.host.is_draining() || connection.of.is_over();
    let is_kept = !is_over && connection.has_room(session);
    if is_kept {
        if !session.is_listed.replace(true) {
            pool.ready.borrow_mut().push(Rc::clone(connection));
        }
        return;
    }
    connection.leave_pool();
    if session.is_unused() {
        // It can only have no room because it is to end.
        connection.close_unused(session);
    }
}

/// Turns every waiting request away, because a connection could not be opened.
fn fail_waiters(pool: &Pool, failure: &WaitFailure) {
    let waiting = std::mem::take(&mut *pool.waiting.borrow_mut());
    for waiter in waiting {
        waiter.finish(Err(failure.clone()));
    }
}

impl Waiter {
    fn finish(&self, outcome: Result<Lease, WaitFailure>) {
        *self.outcome.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A place in the queue of waiting requests; leaving it is dropping it.
struct Place<'a> {
    pool: &'a Pool,
    waiter: Rc<Waiter>,
}

impl<'a> Place<'a> {
    fn join(pool: &'a Pool, wants_new: bool) -> Self {
        let waiter = Rc::new(Waiter {
            wants_new: Cell::new(wants_new),
            outcome: RefCell::new(None),
            waker: RefCell::new(None),
        });
        pool.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        Self { pool, waiter }
    }

    async fn turn(&self) -> Result<Lease, WaitFailure> {
        poll_fn(|cx| match self.waiter.outcome.borrow_mut().take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                *self.waiter.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let queue = &self.pool.waiting;
        let place = queue
            .borrow()
            .iter()
            .position(|other| Rc::ptr_eq(other, &self.waiter));
        if let Some(place) = place {
            queue.borrow_mut().remove(place);
        }
        // A connection that was handed over but not taken goes back unharmed.
        let untaken = self.waiter.outcome.borrow_mut().take();
        if let Some(Ok(lease)) = untaken {
            lease.give_back_unused();
        }
        self.pool.leave_if_empty();
    }
}

/// Gives up what was opened for one who waits for a connection of its own, if it
/// goes while it still waits, or before it has taken what it was given.
struct GivenUp<'a> {
    cluster: &'a Cluster,
    pool: &'a Pool,
    waiter: Rc<Waiter>,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut waiting = self.pool.waiting.borrow_mut();
        let place = waiting
            .iter()
            .position(|other| Rc::ptr_eq(other, &self.waiter));
        let place = place.map(|place| waiting.remove(place));
        drop(waiting);
        let untaken = self.waiter.outcome.borrow_mut().take();
        match (place, untaken) {
            (Some(_), _) => self.pool.abandon(),
            (None, Some(Ok(lease))) => lease.close_unused(),
            (None, _) => return,
        }
        self.cluster.stats.upstream_rq_cancelled.inc();
    }
}

/// Counts a request as pending while it exists.
struct PendingGauge<'a>(&'a Cluster, &'a Host);

impl<'a> PendingGauge<'a> {
    fn new(cluster: &'a Cluster, host: &'a Host) -> Self {
        cluster.stats.upstream_rq_pending_active.inc();
        host.stats.rq_pending_active.inc();
        Self(cluster, host)
    }
}

impl Drop for PendingGauge<'_> {
    fn drop(&mut self) {
        self.0.stats.upstream_rq_pending_active.dec();
        self.1.stats.rq_pending_active.dec();
    }
}

/// What a connection counts as: one of its cluster's, and one of its host's
/// where that has a limit of its own.
struct ConnectionPermit {
    _of_cluster: Permit,
    _of_host: Option<HostPermit>,
}

impl ConnectionPermit {
    /// `None` when a limit is reached.
    fn acquire(cluster: &Cluster, host: &Host, priority: usize) -> Option<Self> {
        let of_host = match cluster.config.circuit_breakers.connections_per_host_max[priority] {
            Some(max) => Some(HostPermit::acquire(host, max)?),
            None => None,
        };
        Some(Self {
            _of_cluster: cluster.breakers[priority].connections.acquire()?,
            _of_host: of_host,
        })
    }

    /// For a connection that is opened although a limit is reached.
    fn above(cluster: &Cluster, host: &Host, priority: usize) -> Self {
        let is_limited =
            cluster.config.circuit_breakers.connections_per_host_max[priority].is_some();
        Self {
            _of_cluster: cluster.breakers[priority].connections.acquire_above(),
            _of_host: is_limited.then(|| HostPermit::above(host)),
        }
    }
}

#[cfg(test)]
mod tests;
