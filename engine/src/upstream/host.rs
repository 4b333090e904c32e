//! One endpoint of a cluster: what all workers share of it, and what one worker
//! has, which is above all its pools of connections.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::endpoint::Host as HostConfig;
use ringway_config::socket_match::SocketId;
use socket2::SockAddr;

use super::conn_pool::Pool;
use super::conn_pool::named::NamedPools;
use super::conn_pool::own::OwnPools;
use super::health::HealthFlag;
use super::outlier_detection::{Monitor, Outcome, Watch};
use crate::network::address::to_sock_addr;
use crate::stats::{Counter, Gauge, Hidden, Store};
use crate::stream_info::HostInfo;
use crate::worker::shared::limits::SharedCount;
use crate::worker::shared::{HostHealth, Usage};

/// Per-host statistics, shown by `/clusters` and not in `/stats`.
#[derive(Debug, Clone, Copy)]
pub struct HostStats {
    /// Connections opened.
    pub cx_total: Counter,
    /// Connections open.
    pub cx_active: Gauge,
    /// Connections that could not be opened.
    pub cx_connect_fail: Counter,
    /// Requests sent.
    pub rq_total: Counter,
    /// Requests that timed out.
    pub rq_timeout: Counter,
    /// Responses that are not 5xx.
    pub rq_success: Counter,
    /// 5xx responses, resets and timeouts.
    pub rq_error: Counter,
    /// Requests in flight.
    pub rq_active: Gauge,
    /// Requests that wait for a connection.
    pub rq_pending_active: Gauge,
}

/// The slots of a [`HostStats`].
type HostSlots = Hidden<6, 3>;

impl HostStats {
    fn of(slots: &HostSlots) -> Self {
        Self {
            cx_total: slots.counter(0),
            cx_connect_fail: slots.counter(1),
            rq_total: slots.counter(2),
            rq_timeout: slots.counter(3),
            rq_success: slots.counter(4),
            rq_error: slots.counter(5),
            cx_active: slots.gauge(0),
            rq_active: slots.gauge(1),
            rq_pending_active: slots.gauge(2),
        }
    }
}

/// What all workers share of a host: who it is, what it counts and what is
/// known against it. It outlives changes of its weight, metadata or health, and
/// so do the connections to it.
#[derive(Debug)]
pub struct SharedHost {
    /// The configuration that it was first seen with. Its address is the
    /// host's for good; for everything that may change see
    /// [`Member::config`](super::host_set::Member::config).
    first: Arc<HostConfig>,
    slots: HostSlots,
    health: HostHealth,
    /// Whether anybody uses it, where hosts are made on demand.
    pub usage: Usage,
    /// Connections to it, where the cluster limits those of a host: how many
    /// there may be depends on the priority, so the limit is given by who asks.
    connections: SharedCount,
    /// Boxed: most clusters have no outlier detection.
    monitor: Option<Box<Monitor>>,
    store: Store,
}

impl SharedHost {
    /// A host that is seen for the first time. Nothing is known against it but
    /// what its configuration says.
    #[must_use]
    pub fn new(config: Arc<HostConfig>, watch: Option<&Arc<Watch>>, store: &Store) -> Arc<Self> {
        let host = Self {
            slots: HostSlots::new(store),
            health: HostHealth::default(),
            usage: Usage::default(),
            connections: SharedCount::default(),
            monitor: watch.map(|watch| Box::new(Monitor::new(watch, store))),
            store: store.clone(),
            first: config,
        };
        if watch.is_some_and(|watch| watch.has_health_check()) && !host.is_unchecked() {
            host.set_health(HealthFlag::FailedActiveHc, true);
        }
        for (flag, on) in HealthFlag::of_assigned(host.first.health) {
            host.set_health(flag, on);
        }
        Arc::new(host)
    }

    /// What is counted of it.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        HostStats::of(&self.slots)
    }

    /// Whether it is excepted from the cluster's health checks.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        let check = self.first.health_check();
        check.is_some_and(|check| check.disabled)
    }

    /// The configuration that it was first seen with.
    #[must_use]
    pub fn first(&self) -> &Arc<HostConfig> {
        &self.first
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &ringway_config::core::Address {
        &self.first.address
    }

    /// All its addresses in the order in which they are tried; empty when it
    /// has but the one.
    #[must_use]
    pub fn attempts(&self) -> &[ringway_config::core::Address] {
        self.first.attempts()
    }

    /// Its address as the kernel wants it.
    ///
    /// # Errors
    /// A path of a Unix socket that is too long.
    pub fn kernel_address(&self) -> io::Result<SockAddr> {
        to_sock_addr(self.address())
    }

    /// Sets or clears a flag, and says whether that changed anything. The
    /// control plane only; workers learn of it with their next host set.
    pub fn set_health(&self, flag: HealthFlag, on: bool) -> bool {
        self.health.set(flag.bit(), on)
    }

    /// What outlier detection notes of it, if its cluster has any.
    #[must_use]
    pub fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_deref()
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: HealthFlag) -> bool {
        self.health.get() & flag.bit() != 0
    }
}

impl Drop for SharedHost {
    /// Nobody counts for the host any more: the last worker has let it go.
    fn drop(&mut self) {
        self.slots.release(&self.store);
        if let Some(monitor) = &self.monitor {
            monitor.release(&self.store);
        }
    }
}

/// The right to have one connection to a host. Dropping it gives it back.
pub(super) struct HostPermit(Arc<SharedHost>);

impl HostPermit {
    /// `None` when there are `max` connections to the host.
    pub(super) fn acquire(host: &Host, max: u32) -> Option<Self> {
        let counted = host.shared.connections.try_add_below(max);
        counted.then(|| Self(Arc::clone(&host.shared)))
    }

    /// Counts a connection above the limit.
    pub(super) fn above(host: &Host) -> Self {
        host.shared.connections.add();
        Self(Arc::clone(&host.shared))
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        self.0.connections.subtract();
    }
}

/// A host on one worker.
pub struct Host {
    /// The slots of its statistics.
    pub stats: HostStats,
    /// The part that all workers share.
    pub shared: Arc<SharedHost>,
    /// This worker's connections to the host.
    pub pool: Pool,
    /// The ones that carry plain TCP.
    pub raw_pool: Pool,
    /// The ones that may carry several requests at once, where there are any.
    pub multiplexed_pool: OnceCell<Box<Pool>>,
    /// Those that not all requests may use; few clusters have such.
    pub own_pools: OnceCell<Box<OwnPools>>,
    /// Pools of the requests that ask for a name.
    pub named_pools: OnceCell<Box<NamedPools>>,
    info: RefCell<Rc<HostInfo>>,
    config: RefCell<Arc<HostConfig>>,
    /// Which of its cluster's transport sockets it has.
    socket: Cell<SocketId>,
    /// The cluster has it no more: connections are closed instead of kept.
    draining: Cell<bool>,
    /// A check or outlier detection finds it unfit.
    unfit: Cell<bool>,
    /// How often its connections were given up; those of before are not used
    /// again.
    generation: Cell<u32>,
    /// Who is told when that happens, by the numbers of their connections; few
    /// clusters have any.
    renewal_wakers: OnceCell<Box<RefCell<HashMap<u64, Waker>>>>,
}

impl Host {
    /// This worker's part of a host of `cluster`.
    #[must_use]
    pub fn new(
        shared: &Arc<SharedHost>,
        config: &Arc<HostConfig>,
        cluster: &ClusterConfig,
    ) -> Rc<Self> {
        Rc::new(Self {
            stats: shared.stats(),
            shared: Arc::clone(shared),
            pool: Pool::default(),
            raw_pool: Pool::default(),
            multiplexed_pool: OnceCell::new(),
            own_pools: OnceCell::new(),
            named_pools: OnceCell::new(),
            info: RefCell::new(Rc::new(info(config))),
            config: RefCell::new(Arc::clone(config)),
            socket: Cell::new(cluster.socket_matches.of_host(config)),
            draining: Cell::new(false),
            unfit: Cell::new(is_unfit(shared)),
            generation: Cell::new(0),
            renewal_wakers: OnceCell::new(),
        })
    }

    /// Tells outlier detection what became of a request.
    #[inline]
    pub fn note(&self, outcome: Outcome) {
        if let Some(monitor) = self.shared.monitor() {
            monitor.on_outcome(outcome, &self.shared);
        }
    }

    /// Its names, for logs.
    #[must_use]
    pub fn info(&self) -> Rc<HostInfo> {
        Rc::clone(&self.info.borrow())
    }

    /// What the configuration says of it now.
    pub(super) fn config(&self) -> Arc<HostConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Which of its cluster's transport sockets its next connections have.
    pub(super) fn socket(&self) -> SocketId {
        self.socket.get()
    }

    /// Whether the cluster has let it go.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Looks at its health again, and says whether it has become unfit.
    pub(super) fn became_unfit(&self) -> bool {
        let unfit = is_unfit(&self.shared);
        !self.unfit.replace(unfit) && unfit
    }

    /// Which connections are of now.
    pub(super) fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Those that are open are not used again.
    pub(super) fn begin_generation(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        if let Some(wakers) = self.renewal_wakers.get() {
            wakers.borrow().values().for_each(Waker::wake_by_ref);
        }
    }

    /// Has whoever uses a connection woken when those that are open are not used
    /// again.
    pub(super) fn watch_renewal(&self, connection: u64, waker: &Waker) {
        let wakers = self.renewal_wakers.get_or_init(Box::default);
        wakers.borrow_mut().insert(connection, waker.clone());
    }

    /// A connection is over.
    pub(super) fn forget_renewal(&self, connection: u64) {
        if let Some(wakers) = self.renewal_wakers.get() {
            wakers.borrow_mut().remove(&connection);
        }
    }

    /// The cluster lets it go.
    pub(super) fn set_draining(&self) {
        self.draining.set(true);
    }

    /// The configuration says something else of it now. Requests in flight
    /// keep what they started with.
    pub(super) fn reconfigure(&self, config: &Arc<HostConfig>, cluster: &ClusterConfig) {
        (self.socket).set(cluster.socket_matches.of_host(config));
        *self.config.borrow_mut() = Arc::clone(config);
        *self.info.borrow_mut() = Rc::new(info(config));
    }
}

/// Whether something that was seen of the host speaks against it.
fn is_unfit(host: &SharedHost) -> bool {
    host.has(HealthFlag::FailedActiveHc) || host.has(HealthFlag::FailedOutlierCheck)
}

fn info(config: &HostConfig) -> HostInfo {
    HostInfo {
        address_text: config.address.to_string().into(),
        hostname: Arc::clone(&config.hostname),
        metadata: Arc::clone(&config.metadata),
        is_canary: config.canary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::host_set::Member;
    use std::mem::size_of;

    /// Memory of an `Arc`: two counts and what is in it.
    const fn in_arc<T>() -> usize {
        2 * size_of::<usize>() + size_of::<T>()
    }

    /// Clusters have hosts by the ten thousand. The balancer adds some bytes to
    /// each, and each worker a pointer; perf/results/hosts.md has what a process
    /// was measured to need.
    #[test]
    fn an_idle_host_is_small() {
        let host = in_arc::<HostConfig>() + in_arc::<SharedHost>();
        let places = size_of::<Member>() + size_of::<Arc<HostConfig>>();
        assert!(host + places <= 184, "{host} + {places} bytes");
    }
}
