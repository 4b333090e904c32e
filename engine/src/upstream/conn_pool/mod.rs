//! HTTP/1 connection pools: one a host and worker.
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

mod connection;
mod dial;
mod lease;
pub mod lending;
pub mod own;
mod preconnect;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

pub use connection::Connection;
pub use lease::Lease;
pub use own::PoolOf;

use super::circuit_breaker::Permit;
use super::cluster::Cluster;
use super::host::{Host, HostPermit};
use crate::reactor;
use connection::open;
use preconnect::preconnect;

/// The connections of one worker to one host.
#[derive(Default)]
pub struct Pool {
    /// Unused connections; the last one was used last.
    idle: RefCell<Vec<Rc<Connection>>>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    connecting: Cell<usize>,
    /// Connections that other workers were asked for.
    asking: Cell<usize>,
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

    /// Connections that will be there for requests that wait.
    fn coming(&self) -> usize {
        self.connecting.get() + self.asking.get()
    }

    /// Whether some request takes none that was used before.
    fn wants_new(&self) -> bool {
        let waiting = self.waiting.borrow();
        waiting.iter().any(|waiter| waiter.wants_new.get())
    }

    fn asked_one_less(&self) {
        self.asking.set(self.asking.get() - 1);
    }

    /// Closes the connections that no request uses.
    fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        for connection in idle {
            connection.close_local();
        }
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
    /// Whatever the client of a terminated CONNECT sends: used once.
    Bytes,
}

impl Host {
    /// The pool of the connections on which that is spoken, and that everybody
    /// may use.
    fn shared_pool(&self, speaks: Speaks) -> &Pool {
        match speaks {
            Speaks::Http1 => &self.pool,
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
/// limit forbids a new one, it is any other.
///
/// # Errors
/// As [`acquire`].
pub async fn acquire_new(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    of: &PoolOf,
) -> Result<Lease, PoolFailure> {
    wait(cluster, host, priority, of, true).await
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
    if pool.is_empty() {
        let permit = breakers.pools.acquire();
        if permit.is_none() {
            cluster.stats.upstream_cx_pool_overflow.inc();
            return Err(PoolFailure::NoPool);
        }
        pool.permit.set(permit);
    }
    let Some(_pending) = breakers.pending_requests.acquire() else {
        cluster.stats.upstream_rq_pending_overflow.inc();
        pool.leave_if_empty();
        return Err(PoolFailure::Overflow);
    };
    cluster.stats.upstream_rq_pending_total.inc();
    let _gauge = PendingGauge::new(cluster, host);

    let place = Place::join(pool, wants_new);
    open_for_waiters(cluster, host, priority, of, Open::OrBorrow);
    preconnect(cluster, host, priority, of);
    if wants_new && pool.coming() < pool.waiting.borrow().len() {
        place.waiter.wants_new.set(false);
    }
    match place.turn().await {
        Ok(lease) => Ok(lease),
        Err(WaitFailure::ConnectTimeout) => Err(PoolFailure::ConnectTimeout),
        Err(WaitFailure::Connect(kind, code)) => Err(PoolFailure::Connect(
            code.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error),
        )),
        Err(WaitFailure::Handshake(reason)) => Err(PoolFailure::Handshake(reason)),
    }
}

/// A connection to `host` that nobody uses, if there is one.
#[must_use]
pub fn idle(cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize, of: &PoolOf) -> Option<Lease> {
    let connection = take_idle(of.pool(host))?;
    preconnect(cluster, host, priority, of);
    Some(Lease::new(connection))
}

/// Closes the connections of `host` that no request uses.
pub fn close_idle(host: &Host) {
    for pool in [&host.pool, &host.raw_pool] {
        pool.close_idle();
    }
    if let Some(own) = host.own_pools.get() {
        own.for_each(Pool::close_idle);
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

/// The most recently used idle connection that is still good.
fn take_idle(pool: &Pool) -> Option<Rc<Connection>> {
    loop {
        let connection = pool.idle.borrow_mut().pop()?;
        if connection.is_reusable() {
            return Some(connection);
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
        && cluster.tls.is_none()
        && !pool.wants_new();
    while pool.coming() < pool.waiting.borrow().len() {
        if may_borrow && lending::ask(cluster, host, priority) {
            continue;
        }
        let permit = match ConnectionPermit::acquire(cluster, host, priority) {
            Some(permit) => permit,
            None => {
                cluster.stats.upstream_cx_overflow.inc();
                // As Envoy: a pool without any connection may open one even
                // above the limit. Requests would otherwise wait for nothing.
                if pool.open.get() + pool.coming() > 0 {
                    return;
                }
                ConnectionPermit::above(cluster, host, priority)
            }
        };
        start(cluster, host, priority, permit, of);
    }
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

/// Gives a free connection to the request that waits longest, or keeps it.
fn put(connection: Rc<Connection>) {
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
        pool.idle.borrow_mut().push(connection);
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
