//! The hosts that workers make of the addresses that requests ask for
//! (`type: ORIGINAL_DST`): taken note of, and let go when nobody uses them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::discovery::Discovery;

use crate::stats::Store;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;
use crate::upstream::original_dst::Registry;

/// The clean-up of one cluster.
pub struct OnDemand {
    interval: Duration,
    /// When it is due; `None` while there is no host.
    due: Option<Instant>,
    /// Hosts that are not among the cluster's yet.
    made: Vec<Member>,
}

impl OnDemand {
    /// Of a cluster whose workers make hosts.
    #[must_use]
    pub fn new(discovery: &Discovery) -> Option<Self> {
        let Discovery::OriginalDst(config) = discovery else {
            return None;
        };
        Some(Self {
            interval: config.cleanup_interval,
            due: None,
            made: Vec::new(),
        })
    }

    /// A worker has made a host.
    pub fn on_made(&mut self, host: Arc<SharedHost>) {
        self.due = self.due.or_else(|| Some(Instant::now() + self.interval));
        self.made.push(Member {
            config: Arc::clone(host.first()),
            shared: host,
        });
    }

    /// The members with those that were made since this was asked last, of
    /// which there are so many; `None` if there are none.
    pub fn take_made(&mut self, members: &[Member]) -> Option<(Arc<[Member]>, u64)> {
        if self.made.is_empty() {
            return None;
        }
        let made = self.made.len() as u64;
        let all = members.iter().cloned().chain(self.made.drain(..));
        Some((all.collect(), made))
    }

    /// When hosts are to be looked at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Lets those of `members` go that nobody has used since the last clean-up;
    /// gives the others, or `None` if nobody goes. A host that has a
    /// connection, or somebody who waits for one, is in use.
    pub fn clean_up(
        &mut self,
        members: &[Member],
        registry: &Registry,
        store: &Store,
    ) -> Option<Arc<[Member]>> {
        let is_busy = |host: &SharedHost| {
            let stats = host.stats();
            let gauges = [stats.cx_active, stats.rq_active, stats.rq_pending_active];
            gauges.iter().any(|gauge| store.gauge_value(*gauge) > 0)
        };
        let stays = |member: &&Member| {
            let host = &member.shared;
            !registry.let_go(host, || is_busy(host))
        };
        let left: Arc<[Member]> = members.iter().filter(stays).cloned().collect();
        self.due =
            (!left.is_empty() || !self.made.is_empty()).then(|| Instant::now() + self.interval);
        (left.len() < members.len()).then_some(left)
    }
}
