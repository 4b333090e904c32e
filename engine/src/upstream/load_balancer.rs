//! What a balancer may ask about the request that it picks a host for, and
//! about the hosts while it picks.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use ringway_lb::balancer::Request;
use ringway_lb::metadata::Value;
use ringway_lb::peak_ewma::Latency;
use ringway_lb::priority::Loads;

use super::host_set::Member;
use super::outlier_detection::Monitor;
use crate::reactor;
use crate::stats::cluster::ClusterStats;
use crate::stats::{Gauge, GaugeReader};

/// A request that needs a host. What a policy does not ask for is not
/// computed.
pub struct LoadBalancerContext<'a> {
    rng: &'a RefCell<fastrand::Rng>,
    hash: Hash<'a>,
    subset: &'a [(Arc<str>, Value)],
    loads: Option<&'a Loads>,
    attempt: u32,
}

/// The hash of a request, computed once however many hosts are picked for a
/// try: it may make a cookie.
enum Hash<'a> {
    Unknown(&'a mut dyn FnMut() -> Option<u64>),
    Known(Option<u64>),
}

impl<'a> LoadBalancerContext<'a> {
    /// A request that says nothing about where it wants to go.
    #[must_use]
    pub fn new(rng: &'a RefCell<fastrand::Rng>) -> Self {
        Self {
            rng,
            hash: Hash::Known(None),
            subset: &[],
            loads: None,
            attempt: 0,
        }
    }

    /// The hash of the request by its route's policies.
    #[must_use]
    pub fn with_hash(mut self, hash: &'a mut dyn FnMut() -> Option<u64>) -> Self {
        self.hash = Hash::Unknown(hash);
        self
    }

    /// What the host's metadata must be, sorted by key.
    #[must_use]
    pub fn with_subset(mut self, subset: &'a [(Arc<str>, Value)]) -> Self {
        self.subset = subset;
        self
    }

    /// Priority loads that take the place of the cluster's.
    #[must_use]
    pub fn with_loads(mut self, loads: Option<&'a Loads>) -> Self {
        self.loads = loads;
        self
    }

    /// The host that was picked is not wanted: another one is to be picked for
    /// the same try.
    pub fn pick_another(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    /// The same among these hosts, on a clock that showed 0 at `start`.
    pub(super) fn among<'b>(
        &'b mut self,
        members: &'b [Member],
        cluster: &'b ClusterStats,
        gauges: &'b GaugeReader,
        start: Instant,
    ) -> Picking<'b, 'a> {
        Picking {
            context: self,
            members,
            cluster,
            gauges,
            start,
        }
    }
}

/// A request among the hosts of a cluster.
pub(super) struct Picking<'b, 'a> {
    context: &'b mut LoadBalancerContext<'a>,
    members: &'b [Member],
    cluster: &'b ClusterStats,
    gauges: &'b GaugeReader,
    start: Instant,
}

impl Picking<'_, '_> {
    /// Requests in flight and requests that wait for a connection: both are
    /// work that a host has been given.
    fn sum(&self, active: Gauge, pending: Gauge) -> u32 {
        let sum = self.gauges.read(active) + self.gauges.read(pending);
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}

impl Request for Picking<'_, '_> {
    fn hash(&mut self) -> Option<u64> {
        let hash = match &mut self.context.hash {
            Hash::Unknown(hash) => hash(),
            Hash::Known(hash) => *hash,
        };
        self.context.hash = Hash::Known(hash);
        hash
    }

    fn random(&mut self) -> u64 {
        self.context.rng.borrow_mut().u64(..)
    }

    fn now_ms(&self) -> u64 {
        let since = reactor::now().saturating_duration_since(self.start);
        since.as_millis() as u64
    }

    fn active_requests(&self, host: u32) -> u32 {
        let stats = self.members[host as usize].shared.stats();
        self.sum(stats.rq_active, stats.rq_pending_active)
    }

    fn active_requests_total(&self) -> u32 {
        let stats = self.cluster;
        self.sum(stats.upstream_rq_active, stats.upstream_rq_pending_active)
    }

    fn attempt(&self) -> u32 {
        self.context.attempt
    }

    fn latency(&self, host: u32) -> Latency {
        let monitor = self.members[host as usize].shared.monitor();
        let latency = monitor.and_then(Monitor::average_latency);
        latency.unwrap_or(Latency::Assumed(1.0))
    }

    fn subset(&self) -> &[(Arc<str>, Value)] {
        self.context.subset
    }

    fn priority_loads(&self) -> Option<&Loads> {
        self.context.loads
    }
}
