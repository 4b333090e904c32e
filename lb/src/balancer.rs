//! The balancer of one cluster: what the control plane builds, what a worker
//! keeps, and one pick.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::among::{Among, Which};
use crate::config::{Common, Config, LocalityMode, Policy, SlowStart};
use crate::consistent_hashing::TableSizes;
use crate::events::Events;
use crate::group::{Group, GroupCursor};
use crate::host_set::ByLocality;
use crate::members::{Health, Host, Members, PRIORITY_MAX};
use crate::metadata::Value;
use crate::peak_ewma::Latency;
use crate::priority::{Loads, PriorityLoads};
use crate::round_robin::Weights;
use crate::slow_start::SlowStarts;
use crate::subset::{SubsetCursor, Subsets};

/// Balances the requests of one cluster. Built once by the control plane,
/// never changed, shared by all workers.
#[derive(Debug)]
pub struct Balancer {
    shared: Shared,
    /// All hosts.
    group: Group,
    subsets: Option<Subsets>,
    built: Events,
    /// How many healthy hosts there are, in all priorities.
    healthy: usize,
}

/// One worker's place in the turns of a balancer. It belongs to the balancer
/// that made it.
#[derive(Debug)]
pub struct Cursor {
    group: GroupCursor,
    subsets: Option<Box<SubsetCursor>>,
    /// Picks that were looked at and that the next requests get.
    ahead: VecDeque<Pick>,
}

/// How many subsets there are: the gauges `lb_subsets_active` and
/// `lb_subsets_single_host_per_subset_duplicate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubsetCounts {
    /// Subsets that have hosts.
    pub active: usize,
    /// Hosts that cannot be reached because another one has the same metadata.
    pub duplicates: u32,
}

/// What a pick found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// Index in [`Members::hosts`]; `None` when no host may be used.
    pub host: Option<u32>,
    /// What the cluster has to count.
    pub events: Events,
}

/// What a policy may ask about the request that it picks a host for. Nothing
/// is asked that the policy does not need.
pub trait Request {
    /// The hash that the route's hash policies made; `None` picks at random
    /// where the policy hashes.
    fn hash(&mut self) -> Option<u64> {
        None
    }

    /// A random number, another one at each call.
    fn random(&mut self) -> u64;

    /// The cached clock of the event loop.
    fn now_ms(&self) -> u64;

    /// The requests that all workers have in flight to a host.
    fn active_requests(&self, host: u32) -> u32;

    /// The requests that all workers have in flight to the cluster; asked
    /// where `hash_balance_factor` is set and a host has requests.
    fn active_requests_total(&self) -> u32 {
        0
    }

    /// How many hosts have been picked for this try and not been wanted
    /// (`retry_host_predicate`): the pick is repeated with a number that is
    /// one higher, because the same hash would find the same host again.
    fn attempt(&self) -> u32 {
        0
    }

    /// What is known of a host's latency.
    fn latency(&self, _host: u32) -> Latency {
        Latency::Assumed(1.0)
    }

    /// `metadata_match` of the route (`envoy.lb`), sorted by key.
    fn subset(&self) -> &[(Arc<str>, Value)] {
        &[]
    }

    /// Priority loads to use instead of the balancer's own (`retry_priority`).
    fn priority_loads(&self) -> Option<&Loads> {
        None
    }

    /// Told the hosts that are picked from, before they are; more than once
    /// where one choice finds nobody. For explanations: requests do not listen.
    fn among(&mut self, _among: Among<'_>) {}
}

/// What all groups of a balancer have in common.
pub(crate) struct Shared {
    pub(crate) policy: Policy,
    pub(crate) common: Common,
    /// Number of priorities, at least 1.
    pub(crate) priorities: usize,
    /// Weight by host.
    weights: Box<[u32]>,
    slow_starts: Option<SlowStarts>,
}

impl Balancer {
    /// Builds the tables for these hosts.
    #[must_use]
    pub fn new(config: &Config, members: &Members<'_>) -> Self {
        let slow_start = config.policy.slow_start();
        let hosts: Vec<Host> = members
            .hosts
            .iter()
            .map(|host| normal(host, slow_start.is_some()))
            .collect();
        let members = Members {
            hosts: &hosts,
            ..*members
        };
        let priorities = hosts.iter().map(|host| host.priority);
        let groups = members.localities.iter().map(|group| group.priority);
        let last = priorities.chain(groups).max().unwrap_or(0);
        let shared = Shared {
            policy: config.policy.clone(),
            common: config.common,
            priorities: last.min(PRIORITY_MAX) as usize + 1,
            weights: hosts.iter().map(|host| host.weight).collect(),
            slow_starts: SlowStarts::new(slow_start, &hosts),
        };
        let by_locality = by_locality(config, &members);
        let mut built = Events::NONE;
        let subsets = config
            .subset
            .as_ref()
            .and_then(|config| Subsets::new(config, &shared, &members, by_locality, &mut built));
        let all: Vec<u32> = (0..hosts.len() as u32).collect();
        let group = Group::new(&shared, &members, &all, by_locality, &mut built);
        Self {
            shared,
            group,
            subsets,
            built,
            healthy: (hosts.iter())
                .filter(|host| host.health == Health::Healthy)
                .count(),
        }
    }

    /// What happened while it was built: each event is counted once a worker.
    #[must_use]
    pub fn built(&self) -> Events {
        self.built
    }

    /// How large the ring or the Maglev table is; `None` for other policies
    /// and without hosts.
    #[must_use]
    pub fn table_sizes(&self) -> Option<TableSizes> {
        self.group.table_sizes()
    }

    /// The cursor of one worker. `seed` is any random number: it decides where
    /// the turns begin, so that workers do not all begin with the same host.
    #[must_use]
    pub fn cursor(&self, seed: u64) -> Cursor {
        let subsets = self.subsets.as_ref();
        Cursor {
            group: self.group.cursor(&self.shared, seed),
            subsets: subsets.map(|subsets| Box::new(subsets.cursor(seed))),
            ahead: VecDeque::new(),
        }
    }

    /// Picks the host for a request.
    #[inline]
    pub fn pick<R: Request>(&self, cursor: &mut Cursor, request: &mut R) -> Pick {
        // What was looked at was picked by the balancer's own loads.
        if !cursor.ahead.is_empty()
            && request.priority_loads().is_none()
            && let Some(pick) = cursor.ahead.pop_front()
        {
            return pick;
        }
        self.pick_now(cursor, request)
    }

    /// The pick that a request gets which comes after all those whose picks
    /// were looked at before. There is no host in it where that depends on the
    /// request or on its moment, and when the picks of as many requests are
    /// known as there are healthy hosts, which is Envoy's limit.
    pub fn peek<R: Request>(&self, cursor: &mut Cursor, request: &mut R) -> Pick {
        if !self.is_foreseeable() || cursor.ahead.len() >= self.healthy {
            return Pick::default();
        }
        let pick = self.pick_now(cursor, request);
        cursor.ahead.push_back(pick);
        pick
    }

    /// Whether the next requests' hosts can be told before they are there. As
    /// in Envoy, which looks ahead in schedules by weight even where weights
    /// depend on what is in flight.
    fn is_foreseeable(&self) -> bool {
        let is_by_turns = match self.shared.policy {
            Policy::RoundRobin { .. }
            | Policy::ClientSideWeightedRoundRobin { .. }
            | Policy::Random => true,
            Policy::LeastRequest { .. } => {
                let weights = &self.shared.weights;
                weights.iter().any(|weight| *weight != weights[0])
            }
            Policy::PeakEwma { .. } | Policy::RingHash { .. } | Policy::Maglev { .. } => false,
        };
        is_by_turns && self.subsets.is_none()
    }

    #[inline]
    fn pick_now<R: Request>(&self, cursor: &mut Cursor, request: &mut R) -> Pick {
        let mut events = Events::NONE;
        let group = &mut cursor.group;
        let host = match (&self.subsets, &mut cursor.subsets) {
            (Some(subsets), Some(cursor)) => subsets.pick(
                &self.shared,
                &self.group,
                group,
                cursor,
                request,
                &mut events,
            ),
            _ => {
                request.among(Among::group(Which::All, &self.group));
                self.group.pick(&self.shared, group, request, &mut events)
            }
        };
        Pick { host, events }
    }

    /// How many subsets there are; `None` where there are no selectors.
    #[must_use]
    pub fn subsets(&self) -> Option<SubsetCounts> {
        self.subsets.as_ref().map(|subsets| SubsetCounts {
            active: subsets.len(),
            duplicates: subsets.duplicates,
        })
    }

    /// The loads of the cluster's priorities.
    #[must_use]
    pub fn priorities(&self) -> &PriorityLoads {
        &self.group.priorities
    }
}

impl Shared {
    /// The weight of a host at this moment.
    #[inline]
    pub(crate) fn weight<R: Request>(&self, host: u32, request: &R) -> f64 {
        let weight = f64::from(self.weights[host as usize]);
        match &self.slow_starts {
            None => weight,
            Some(starts) => weight * starts.factor(host, request.now_ms()),
        }
    }

    /// Whether weights stay what they are, requests in flight apart.
    #[inline]
    pub(crate) fn weights_are(&self) -> Weights {
        match self.slow_starts {
            None => Weights::Fixed,
            Some(_) => Weights::Changing,
        }
    }

    /// Whether a request fails where panic would use all hosts.
    pub(crate) fn fails_in_panic(&self) -> bool {
        match self.common.locality {
            LocalityMode::ZoneAware(zone) => zone.fail_traffic_on_panic,
            LocalityMode::None | LocalityMode::Weighted => false,
        }
    }
}

impl Policy {
    fn slow_start(&self) -> Option<SlowStart> {
        match *self {
            Self::RoundRobin { slow_start }
            | Self::ClientSideWeightedRoundRobin { slow_start }
            | Self::LeastRequest { slow_start, .. } => {
                slow_start.filter(|config| config.window_ms > 0)
            }
            Self::Random | Self::PeakEwma { .. } | Self::RingHash { .. } | Self::Maglev { .. } => {
                None
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("policy", &self.policy)
            .field("common", &self.common)
            .field("hosts", &self.weights.len())
            .finish_non_exhaustive()
    }
}

/// What lists by locality are wanted for.
fn by_locality(config: &Config, members: &Members<'_>) -> ByLocality {
    let subset = config.subset.as_ref();
    let subset = subset.filter(|subset| !subset.selectors.is_empty());
    match config.common.locality {
        LocalityMode::None => ByLocality::No,
        LocalityMode::Weighted if subset.is_none_or(|subset| subset.locality_weight_aware) => {
            ByLocality::Weights
        }
        LocalityMode::Weighted | LocalityMode::ZoneAware(_) if members.local.is_none() => {
            ByLocality::No
        }
        LocalityMode::Weighted | LocalityMode::ZoneAware(_) => ByLocality::Zones,
    }
}

/// The host with every number in its range, and in slow start only where that
/// matters.
fn normal(host: &Host, slow_start: bool) -> Host {
    let starts = slow_start && host.health == Health::Healthy;
    Host {
        weight: host.weight.max(1),
        priority: host.priority.min(PRIORITY_MAX),
        slow_start_since_ms: host.slow_start_since_ms.filter(|_| starts),
        ..*host
    }
}

#[cfg(test)]
mod tests;
