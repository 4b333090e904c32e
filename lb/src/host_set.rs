//! The lists that a pick may be made from: by priority all hosts, the healthy
//! and the degraded ones, and the same by locality.

use std::sync::Arc;

use crate::cycle::cycle;
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
    /// Turns by weight that begin again at their end, where weights allow for
    /// that; only for policies that take turns by weights that do not change.
    pub(crate) cycle: Option<Arc<[u32]>>,
}

/// Index of a list in [`HostSets::sources`].
pub(crate) type SourceId = u32;

/// All hosts, those that are healthy, those that are degraded.
pub(crate) type Lists = [SourceId; 3];

/// The lists of one priority.
#[derive(Debug, Clone)]
pub(crate) struct HostSet {
    pub(crate) whole: Lists,
    /// The localities that have hosts here, the own one of this proxy first;
    /// empty where localities do not matter.
    pub(crate) localities: Box<[LocalitySet]>,
    /// Whether the localities have weights.
    weighted: bool,
}

/// The lists of one locality in one priority.
#[derive(Debug, Clone)]
pub(crate) struct LocalitySet {
    /// `Locality::id`.
    pub(crate) id: u32,
    /// `load_balancing_weight` of the group, 0 without one.
    weight: u32,
    /// How many hosts it has that are not excluded.
    pub(crate) counted: u32,
    pub(crate) whole: Lists,
}

/// All lists of a group of hosts.
#[derive(Debug, Clone)]
pub(crate) struct HostSets {
    pub(crate) sources: Vec<Source>,
    pub(crate) by_priority: Vec<HostSet>,
}

/// What lists by locality are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByLocality {
    /// For nothing.
    No,
    /// For zones.
    Zones,
    /// For weights, and for zones where there are no weights.
    Weights,
}

/// Places in [`Lists`].
pub(crate) const ALL: usize = 0;
pub(crate) const HEALTHY: usize = 1;
const DEGRADED: usize = 2;

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
    pub(crate) fn new(
        members: &Members<'_>,
        hosts: &[u32],
        priorities: usize,
        by_locality: ByLocality,
    ) -> Self {
        let mut by_priority = vec![Vec::new(); priorities];
        for host in hosts {
            by_priority[members.hosts[*host as usize].priority as usize].push(*host);
        }
        let mut sets = Self {
            sources: Vec::new(),
            by_priority: Vec::with_capacity(priorities),
        };
        for hosts in by_priority {
            let set = HostSet {
                whole: sets.add(members, &hosts),
                localities: match by_locality {
                    ByLocality::No => Box::default(),
                    ByLocality::Zones | ByLocality::Weights => sets.add_localities(members, &hosts),
                },
                weighted: by_locality == ByLocality::Weights,
            };
            sets.by_priority.push(set);
        }
        sets
    }

    pub(crate) fn hosts(&self, source: SourceId) -> &[u32] {
        &self.sources[source as usize].hosts
    }

    /// The hosts that are used: the healthy ones, in panic all.
    pub(crate) fn usable(&self, lists: &Lists, panic: bool) -> &[u32] {
        self.hosts(lists[if panic { ALL } else { HEALTHY }])
    }

    /// Lays the turns of weighted lists down.
    pub(crate) fn add_cycles(&mut self, members: &Members<'_>) {
        for place in 0..self.sources.len() {
            let (before, from) = self.sources.split_at_mut(place);
            let source = &mut from[0];
            if !source.weighted {
                continue;
            }
            let same = (before.iter()).find(|other| Arc::ptr_eq(&other.hosts, &source.hosts));
            source.cycle = match same {
                Some(same) => same.cycle.clone(),
                None => cycle(&source.hosts, |host| members.hosts[host as usize].weight),
            };
        }
    }

    /// Adds the three lists of these hosts.
    fn add(&mut self, members: &Members<'_>, hosts: &[u32]) -> Lists {
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
            self.sources.push(Source {
                hosts,
                weighted,
                cycle: None,
            });
            (self.sources.len() - 1) as SourceId
        })
    }

    fn add_localities(&mut self, members: &Members<'_>, hosts: &[u32]) -> Box<[LocalitySet]> {
        let group_of = |host: &u32| members.hosts[*host as usize].locality;
        let group = |host: &u32| members.localities.get(group_of(host) as usize);
        let id = |host: &u32| group(host).map_or(0, |group| group.id);
        let own = members.local.map(|local| local.own);
        // A stable sort: inside a locality hosts keep their order.
        let mut by_locality = hosts.to_vec();
        by_locality.sort_by_key(group_of);
        let mut groups: Vec<&[u32]> = by_locality
            .chunk_by(|a, b| group_of(a) == group_of(b))
            .collect();
        groups.sort_by_key(|hosts| Some(id(&hosts[0])) != own);
        groups
            .into_iter()
            .map(|hosts| {
                let counted = hosts
                    .iter()
                    .filter(|host| !members.hosts[**host as usize].excluded)
                    .count();
                LocalitySet {
                    id: id(&hosts[0]),
                    weight: group(&hosts[0]).and_then(|group| group.weight).unwrap_or(0),
                    counted: counted as u32,
                    whole: self.add(members, hosts),
                }
            })
            .collect()
    }
}

impl HostSet {
    /// The weights of the localities, where they have a meaning.
    pub(crate) fn locality_weights(&self) -> Option<impl Iterator<Item = u32> + Clone> {
        let weights = self.localities.iter().map(|locality| locality.weight);
        (self.weighted && !self.localities.is_empty()).then_some(weights)
    }
}

fn is_weighted<'a>(hosts: impl Iterator<Item = &'a Host> + Clone) -> bool {
    let first = hosts.clone().next().map(|host| host.weight);
    hosts
        .clone()
        .any(|host| Some(host.weight) != first || host.slow_start_since_ms.is_some())
        && hosts.count() > 1
}
