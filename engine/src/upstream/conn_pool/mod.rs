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
mod lease;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

pub use connection::Connection;
pub use lease::Lease;

use super::circuit_breaker::Permit;
use super::cluster::Cluster;
use super::host::Host;
use crate::reactor;
use connection::open;

/// The connections of one worker to one host.
#[derive(Default)]
pub struct Pool {
    /// Unused connections; the last one was used last.
    idle: RefCell<Vec<Rc<Connection>>>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    connecting: Cell<usize>,
    /// Open connections, idle ones included.
    open: Cell<usize>,
}

/// What is spoken on a connection. Each has a pool of its own: what was left
/// behind on the one must never be taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Requests, one after the other.
    Http1,
    /// Whatever the client of a terminated CONNECT sends: used once.
    Bytes,
}

impl Host {
    /// The pool of the connections on which that is spoken.
    fn pool(&self, speaks: Speaks) -> &Pool {
        match speaks {
            Speaks::Http1 => &self.pool,
            Speaks::Bytes => &self.raw_pool,
        }
    }
}

/// Why a request got no connection.
#[derive(Debug)]
pub enum PoolFailure {
    /// A circuit breaker refused (flag `UO`).
    Overflow,
    /// The host did not answer within the connect timeout (flag `UF`).
    ConnectTimeout,
    /// The host refused, or could not be reached (flag `UF`).
    Connect(io::Error),
}

/// A request in the queue.
struct Waiter {
    outcome: RefCell<Option<Result<Lease, WaitFailure>>>,
    waker: RefCell<Option<Waker>>,
}

/// Why a waiting request is turned away; several may share one cause, so it is
/// copied, not moved.
#[derive(Debug, Clone, Copy)]
enum WaitFailure {
    ConnectTimeout,
    Connect(io::ErrorKind, Option<i32>),
}

/// A connection to `host` for one request.
///
/// # Errors
/// See [`PoolFailure`]. Dropping the future gives the place in the queue up.
pub async fn acquire(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    speaks: Speaks,
) -> Result<Lease, PoolFailure> {
    if let Some(lease) = idle(host, speaks) {
        return Ok(lease);
    }
    let breakers = &cluster.breakers[priority];
    let Some(_pending) = breakers.pending_requests.acquire() else {
        cluster.stats.upstream_rq_pending_overflow.inc();
        return Err(PoolFailure::Overflow);
    };
    cluster.stats.upstream_rq_pending_total.inc();
    let _gauge = PendingGauge::new(cluster, host);

    let place = Place::join(host.pool(speaks));
    open_for_waiters(cluster, host, priority, speaks);
    match place.turn().await {
        Ok(lease) => Ok(lease),
        Err(WaitFailure::ConnectTimeout) => Err(PoolFailure::ConnectTimeout),
        Err(WaitFailure::Connect(kind, code)) => Err(PoolFailure::Connect(
            code.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error),
        )),
    }
}

/// A connection to `host` that nobody uses, if there is one.
#[must_use]
pub fn idle(host: &Host, speaks: Speaks) -> Option<Lease> {
    take_idle(host.pool(speaks)).map(Lease::new)
}

/// Closes the connections of `host` that no request uses.
pub fn close_idle(host: &Host) {
    for pool in [&host.pool, &host.raw_pool] {
        let idle = std::mem::take(&mut *pool.idle.borrow_mut());
        for connection in idle {
            connection.close_local();
        }
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

/// Opens connections until every waiting request has one coming, as far as the
/// connection limit allows.
fn open_for_waiters(cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize, speaks: Speaks) {
    let pool = host.pool(speaks);
    while pool.connecting.get() < pool.waiting.borrow().len() {
        let permit = cluster.breakers[priority].connections.acquire();
        if permit.is_none() {
            cluster.stats.upstream_cx_overflow.inc();
            // As Envoy: a pool without any connection may open one even above
            // the limit. Requests would otherwise wait for nothing.
            if pool.open.get() + pool.connecting.get() > 0 {
                return;
            }
        }
        pool.connecting.set(pool.connecting.get() + 1);
        let opening = open(
            Rc::clone(cluster),
            Rc::clone(host),
            priority,
            permit,
            speaks,
        );
        drop(reactor::spawn(opening));
    }
}

/// Gives a free connection to the request that waits longest, or keeps it.
fn put(connection: Rc<Connection>) {
    let host = Rc::clone(connection.host());
    let pool = host.pool(connection.speaks);
    if connection.is_of_before() {
        // Requests that wait get another one opened for them.
        connection.close_local();
        return;
    }
    let waiter = pool.waiting.borrow_mut().pop_front();
    if let Some(waiter) = waiter {
        connection.became_busy();
        waiter.finish(Ok(Lease::new(connection)));
    } else if host.is_draining() {
        connection.close_local();
    } else {
        connection.became_idle();
        pool.idle.borrow_mut().push(connection);
    }
}

/// Turns every waiting request away, because a connection could not be opened.
fn fail_waiters(pool: &Pool, failure: WaitFailure) {
    let waiting = std::mem::take(&mut *pool.waiting.borrow_mut());
    for waiter in waiting {
        waiter.finish(Err(failure));
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
    fn join(pool: &'a Pool) -> Self {
        let waiter = Rc::new(Waiter {
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

/// The permits that a connection holds; `None` for one above the limit.
type ConnectionPermit = Option<Permit>;

#[cfg(test)]
mod tests;
