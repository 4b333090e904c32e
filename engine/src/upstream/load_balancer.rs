//! What a balancer may ask about the request that it picks a host for, and
//! about the hosts while it picks.

use std::cell::RefCell;
use std::time::Instant;

use ringway_lb::balancer::Request;

use super::host_set::Member;
use crate::reactor;
use crate::stats::GaugeReader;

/// A request that needs a host. What a policy does not ask for is not
/// computed.
pub struct LoadBalancerContext<'a> {
    rng: &'a RefCell<fastrand::Rng>,
    hash: Option<&'a mut dyn FnMut() -> Option<u64>>,
}

impl<'a> LoadBalancerContext<'a> {
    /// A request that says nothing about where it wants to go.
    #[must_use]
    pub fn new(rng: &'a RefCell<fastrand::Rng>) -> Self {
        Self { rng, hash: None }
    }

    /// The hash of the request by its route's policies.
    #[must_use]
    pub fn with_hash(mut self, hash: &'a mut dyn FnMut() -> Option<u64>) -> Self {
        self.hash = Some(hash);
        self
    }

    /// The same among these hosts, on a clock that showed 0 at `start`.
    pub(super) fn among<'b>(
        &'b mut self,
        members: &'b [Member],
        loads: &'b GaugeReader,
        start: Instant,
    ) -> Picking<'b, 'a> {
        Picking {
            context: self,
            members,
            loads,
            start,
        }
    }
}

/// A request among the hosts of a cluster.
pub(super) struct Picking<'b, 'a> {
    context: &'b mut LoadBalancerContext<'a>,
    members: &'b [Member],
    loads: &'b GaugeReader,
    start: Instant,
}

impl Request for Picking<'_, '_> {
    fn hash(&mut self) -> Option<u64> {
        self.context.hash.as_mut()?()
    }

    fn random(&mut self) -> u64 {
        self.context.rng.borrow_mut().u64(..)
    }

    fn now_ms(&self) -> u64 {
        let since = reactor::now().saturating_duration_since(self.start);
        since.as_millis() as u64
    }

    fn active_requests(&self, host: u32) -> u32 {
        let stats = &self.members[host as usize].shared.stats;
        let active = self.loads.read(stats.rq_active) + self.loads.read(stats.rq_pending_active);
        u32::try_from(active).unwrap_or(u32::MAX)
    }
}
