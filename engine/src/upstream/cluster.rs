//! A cluster (`envoy.config.cluster.v3.Cluster`) at run time.
//!
//! [`SharedCluster`] is built once by the control plane and shared by all
//! workers; [`Cluster`] is one worker's: balancer cursor, breakers, pools.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::cluster::{Cluster as ClusterConfig, Thresholds};
use ringway_lb::round_robin::RoundRobin;

use super::circuit_breaker::{Breaker, RetryBreaker, RetryPermit};
use super::conn_pool::{self, Pool};
use super::host::{Host, HostStats, SharedHost};
use crate::network::address::to_sock_addr;
use crate::stats::Store;
use crate::stats::cluster::{
    CircuitBreakerStats, ClusterStats, ResponseStats, TransportSocketMatchStats, prefix,
};
use crate::stats::http_connection_manager::Http1CodecStats;
use crate::stream_info::{ClusterInfo, HostInfo};
use crate::worker::shared::{Budget, SharedCount};

/// What all workers share of a cluster.
pub struct SharedCluster {
    /// The lowered configuration.
    pub config: Arc<ClusterConfig>,
    /// `cluster.NAME.*`.
    pub stats: ClusterStats,
    /// `cluster.NAME.upstream_rq_<code>`, its classes and times.
    pub responses: ResponseStats,
    /// The hosts in the order of the configuration.
    pub hosts: Vec<Arc<SharedHost>>,
    /// The process-wide limits by routing priority: default, high.
    pub budgets: [Budgets; 2],
}

/// The process-wide limits of one routing priority.
pub struct Budgets {
    connections: Arc<Budget>,
    pending_requests: Arc<Budget>,
    requests: Arc<Budget>,
    retries: Arc<SharedCount>,
    /// `cluster.NAME.circuit_breakers.<priority>.*`.
    pub stats: CircuitBreakerStats,
}

impl SharedCluster {
    /// Registers the cluster's statistics and turns its addresses into the
    /// kernel's form.
    ///
    /// # Errors
    /// A Unix socket path that is too long for the kernel.
    pub fn new(config: Arc<ClusterConfig>, store: &Store) -> io::Result<Self> {
        let prefix = prefix(&config.stat_name);
        let hosts = config
            .hosts
            .iter()
            .map(|host| {
                Ok(Arc::new(SharedHost {
                    config: Arc::clone(host),
                    address: to_sock_addr(&host.address)?,
                    stats: HostStats::new(store),
                }))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let budgets = |thresholds: &Thresholds, priority: &str| Budgets {
            connections: Arc::new(Budget::new(thresholds.max_connections)),
            pending_requests: Arc::new(Budget::new(thresholds.max_pending_requests)),
            requests: Arc::new(Budget::new(thresholds.max_requests)),
            retries: Arc::default(),
            stats: CircuitBreakerStats::new(
                store,
                &format!("{prefix}circuit_breakers.{priority}."),
            ),
        };
        let stats = ClusterStats::new(store, &prefix);
        let healthy = hosts.len() as u64;
        stats.membership_total.set(healthy);
        stats.membership_healthy.set(healthy);
        if !hosts.is_empty() {
            stats.membership_change.inc();
        }
        let matches = TransportSocketMatchStats::new(store, &format!("{prefix}default."));
        matches.total_match_count.add(healthy);
        stats.max_host_weight.set(
            config
                .hosts
                .iter()
                .map(|host| u64::from(host.weight))
                .max()
                .unwrap_or(0),
        );
        Ok(Self {
            stats,
            responses: ResponseStats::new(store, &prefix),
            budgets: [
                budgets(&config.thresholds[0], "default"),
                budgets(&config.thresholds[1], "high"),
            ],
            hosts,
            config,
        })
    }
}

/// The breakers of one routing priority on one worker.
pub struct Breakers {
    /// Connections open or being opened.
    pub connections: Rc<Breaker>,
    /// Requests that wait for a connection.
    pub pending_requests: Rc<Breaker>,
    /// Requests in flight.
    pub requests: Rc<Breaker>,
    /// Retries in flight.
    pub retries: Rc<RetryBreaker>,
}

/// A cluster on one worker.
pub struct Cluster {
    /// The lowered configuration.
    pub config: Arc<ClusterConfig>,
    /// `cluster.NAME.*`.
    pub stats: ClusterStats,
    /// Its names, for logs.
    pub info: Rc<ClusterInfo>,
    /// The part that all workers share.
    pub shared: Arc<SharedCluster>,
    /// Limits by routing priority: default, high.
    pub breakers: [Breakers; 2],
    store: Store,
    http1_stats: OnceCell<Http1CodecStats>,
    hosts: Vec<Rc<Host>>,
    balancer: RefCell<RoundRobin>,
}

impl Cluster {
    /// This worker's cluster. `seed` is random: it decides at which host the
    /// rotation starts.
    #[must_use]
    pub fn new(shared: Arc<SharedCluster>, seed: u64, store: &Store) -> Rc<Self> {
        let breakers = |budgets: &Budgets, thresholds: &Thresholds| {
            let stats = &budgets.stats;
            Breakers {
                connections: Breaker::new(Arc::clone(&budgets.connections), stats.cx_open),
                pending_requests: Breaker::new(
                    Arc::clone(&budgets.pending_requests),
                    stats.rq_pending_open,
                ),
                requests: Breaker::new(Arc::clone(&budgets.requests), stats.rq_open),
                retries: RetryBreaker::new(
                    Arc::clone(&budgets.retries),
                    thresholds,
                    stats.rq_retry_open,
                ),
            }
        };
        let weights: Vec<u32> = shared.hosts.iter().map(|host| host.config.weight).collect();
        let hosts = shared
            .hosts
            .iter()
            .map(|host| {
                Rc::new(Host {
                    info: Rc::new(HostInfo {
                        address_text: Arc::clone(&host.config.address_text),
                        hostname: Arc::clone(&host.config.hostname),
                        metadata: Arc::clone(&host.config.metadata),
                    }),
                    stats: host.stats,
                    shared: Arc::clone(host),
                    pool: Pool::default(),
                    raw_pool: Pool::default(),
                })
            })
            .collect();
        Rc::new(Self {
            config: Arc::clone(&shared.config),
            stats: shared.stats,
            info: Rc::new(ClusterInfo {
                name: Arc::clone(&shared.config.name),
                observability_name: Arc::clone(&shared.config.stat_name),
                metadata: Arc::clone(&shared.config.metadata),
            }),
            breakers: [
                breakers(&shared.budgets[0], &shared.config.thresholds[0]),
                breakers(&shared.budgets[1], &shared.config.thresholds[1]),
            ],
            store: store.clone(),
            http1_stats: OnceCell::new(),
            hosts,
            balancer: RefCell::new(RoundRobin::new(&weights, seed)),
            shared,
        })
    }

    /// `cluster.NAME.http1.*`; as Envoy's, they are listed from the first
    /// connection on.
    pub fn http1_stats(&self) -> &Http1CodecStats {
        self.http1_stats.get_or_init(|| {
            let prefix = format!("{}http1.", prefix(&self.config.stat_name));
            Http1CodecStats::new(&self.store, &prefix)
        })
    }

    /// The host that takes the next request; `None` when the cluster has none
    /// (flag `UH`).
    #[must_use]
    pub fn pick_host(&self) -> Option<Rc<Host>> {
        let index = self.balancer.borrow_mut().pick()?;
        Some(Rc::clone(&self.hosts[index]))
    }

    /// The right to try a request again; `None` when too many retries are in
    /// flight. A retry budget counts the requests of both priorities.
    #[must_use]
    pub fn acquire_retry(&self, priority: usize) -> Option<RetryPermit> {
        self.breakers[priority].retries.acquire(|| {
            let gauges = [
                self.stats.upstream_rq_active,
                self.stats.upstream_rq_pending_active,
            ];
            gauges
                .map(|gauge| self.store.gauge_value(gauge))
                .iter()
                .sum()
        })
    }

    /// Closes the connections that no request uses.
    pub fn close_idle(&self) {
        for host in &self.hosts {
            conn_pool::close_idle(host);
        }
    }
}
