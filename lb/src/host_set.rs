//! The lists that a pick may be made from: by priority all hosts, the healthy
//! and the degraded ones.

use std::sync::Arc;

use crate::members::{Health, Host, Members};
use crate::priority::Availability;

/// One list of hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    /// Which hosts, in the order of the configuration. Lists that hold the
    /// same are one.
    pub(crate) hosts: Arc<[u32]>,
    /// Whether a pick has to look at weights: they differ, or one of the hosts
    /// is in its slow start.
    pub(crate) weighted: bool,
}

/// The lists of one priority.
#[derive(Debug, Clone)]
pub(crate) struct HostSet {
    /// All hosts, those that are healthy, those that are degraded.
    pub(crate) whole: [SourceId; 3],
}

/// Index of a list in [`HostSets::sources`].
pub(crate) type SourceId = u32;

/// Places in `whole`.
pub(crate) const ALL: usize = 0;
const HEALTHY: usize = 1;
const DEGRADED: usize = 2;

/// All lists of a group of hosts.
#[derive(Debug, Clone)]
pub(crate) struct HostSets {
    pub(crate) sources: Vec<Source>,
    pub(crate) by_priority: Vec<HostSet>,
}

impl Availability {
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Healthy => HEALTHY,
            Self::Degraded => DEGRADED,
        }
    }
}

impl HostSets {
    /// The lists of `hosts`, which are indices in the members.
    pub(crate) fn new(members: &Members<'_>, hosts: &[u32], priorities: usize) -> Self {
        let mut by_priority = vec![Vec::new(); priorities];
        for host in hosts {
            by_priority[members.hosts[*host as usize].priority as usize].push(*host);
        }
        let mut sets = Self {
            sources: Vec::new(),
            by_priority: Vec::with_capacity(priorities),
        };
        for hosts in by_priority {
            let whole = sets.add(members, &hosts);
            sets.by_priority.push(HostSet { whole });
        }
        sets
    }

    /// Adds the three lists of these hosts.
    fn add(&mut self, members: &Members<'_>, hosts: &[u32]) -> [SourceId; 3] {
        let all: Arc<[u32]> = hosts.into();
        let filter = |health: Health| -> Arc<[u32]> {
            let is = |host: &u32| members.hosts[*host as usize].health == health;
            if hosts.iter().all(is) {
                return Arc::clone(&all);
            }
            hosts.iter().copied().filter(is).collect()
        };
        let lists = [
            Arc::clone(&all),
            filter(Health::Healthy),
            filter(Health::Degraded),
        ];
        lists.map(|hosts| {
            let weighted = is_weighted(hosts.iter().map(|host| &members.hosts[*host as usize]));
            self.sources.push(Source { hosts, weighted });
            (self.sources.len() - 1) as SourceId
        })
    }
}

fn is_weighted<'a>(hosts: impl Iterator<Item = &'a Host> + Clone) -> bool {
    let first = hosts.clone().next().map(|host| host.weight);
    hosts
        .clone()
        .any(|host| Some(host.weight) != first || host.slow_start_since_ms.is_some())
        && hosts.count() > 1
}
