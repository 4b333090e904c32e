//! Hosts that are balanced as one: all hosts of a cluster, or one subset.
//!
//! A pick first chooses a list of hosts (priority, panic, locality), then the
//! policy chooses from the list. Policies that hash have a table a priority
//! instead of lists.

use crate::balancer::{Request, Shared};
use crate::config::{LocalityMode, Policy, Selection, ZoneAware};
use crate::consistent_hashing::{HashTable, TableSizes};
use crate::events::Events;
use crate::host_set::{ALL, ByLocality, HostSets, SourceId};
use crate::least_request;
use crate::locality::{LocalityTurns, LocalityWeights, Zone, ZoneRouting};
use crate::members::Members;
use crate::peak_ewma;
use crate::priority::{Availability, Loads, PriorityLoads, panic_threshold};
use crate::random;
use crate::round_robin::{self, Turn, Weights};

/// A group: its lists and tables, and the loads of its priorities.
#[derive(Debug)]
pub(crate) struct Group {
    sets: HostSets,
    pub(crate) priorities: PriorityLoads,
    /// The only list that requests are for, where there is only one.
    sole: Option<SourceId>,
    /// The only hosts that there is a load for, where it is all of it.
    sole_share: Option<(u32, Availability)>,
    /// By priority, where localities have weights.
    weights: Box<[Option<LocalityWeights>]>,
    zones: Option<ZoneRouting>,
    /// By priority, for policies that hash.
    tables: Box<[Option<HashTable>]>,
}

/// One worker's place in a group.
#[derive(Debug)]
pub(crate) struct GroupCursor {
    seed: u64,
    /// By list, where the policy takes turns.
    turns: Box<[Turn]>,
    /// By priority, where localities have weights.
    localities: Box<[LocalityTurns]>,
    /// Memory for the order in which bounded loads try hosts.
    order: Vec<u32>,
}

impl Group {
    /// A group of `hosts`, which are indices in the members. What is to be
    /// counted once is added to `events`.
    pub(crate) fn new(
        shared: &Shared,
        members: &Members<'_>,
        hosts: &[u32],
        by_locality: ByLocality,
        events: &mut Events,
    ) -> Self {
        let sets = HostSets::new(members, hosts, shared.priorities, by_locality);
        let of_group = hosts.iter().map(|host| &members.hosts[*host as usize]);
        let priorities = PriorityLoads::new(&shared.common, shared.priorities, of_group);
        let mut group = Self {
            sets,
            priorities,
            sole: None,
            sole_share: None,
            weights: Box::default(),
            zones: None,
            tables: Box::default(),
        };
        if shared.policy.hashes() {
            group.tables = group.tables(shared, members);
        } else {
            if shared.policy.turns_by_weight() && shared.weights_are() == Weights::Fixed {
                group.sets.add_cycles(members);
            }
            group.add_localities(shared, members, by_locality, events);
            group.sole = group.sole_list(shared);
            group.sole_share = group.priorities.loads.sole();
        }
        group
    }

    fn tables(&self, shared: &Shared, members: &Members<'_>) -> Box<[Option<HashTable>]> {
        self.sets
            .by_priority
            .iter()
            .zip(&self.priorities.panic)
            .map(|(set, panic)| HashTable::new(&shared.policy, members, &self.sets, set, *panic))
            .collect()
    }

    fn add_localities(
        &mut self,
        shared: &Shared,
        members: &Members<'_>,
        by_locality: ByLocality,
        events: &mut Events,
    ) {
        let zone = match shared.common.locality {
            LocalityMode::None => return,
            // Zones come after weights.
            LocalityMode::Weighted => ZoneAware::default(),
            LocalityMode::ZoneAware(zone) => zone,
        };
        let threshold = panic_threshold(shared.common.healthy_panic_threshold);
        self.zones = ZoneRouting::new(&zone, threshold, members, &self.sets, events);
        if by_locality == ByLocality::Weights {
            let factor = shared.common.overprovisioning_factor;
            let of = |set| LocalityWeights::new(&self.sets, set, factor);
            self.weights = self.sets.by_priority.iter().map(of).collect();
        }
    }

    /// The only list that requests can be for.
    fn sole_list(&self, shared: &Shared) -> Option<SourceId> {
        let (priority, availability) = self.priorities.loads.sole()?;
        let panic = self.priorities.panic[priority as usize];
        let localities = self.zones.is_some() || !self.weights.is_empty();
        if panic || localities || shared.fails_in_panic() {
            return None;
        }
        Some(self.sets.by_priority[priority as usize].whole[availability.place()])
    }

    pub(crate) fn cursor(&self, shared: &Shared, seed: u64) -> GroupCursor {
        let turns = if shared.policy.takes_turns() {
            self.sets.sources.len()
        } else {
            0
        };
        GroupCursor {
            seed,
            turns: vec![Turn::default(); turns].into(),
            localities: vec![LocalityTurns::default(); self.weights.len()].into(),
            order: Vec::new(),
        }
    }

    /// All hosts, by priority.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = u32> {
        let lists = self.sets.by_priority.iter();
        lists.flat_map(|set| self.sets.hosts(set.whole[ALL]).iter().copied())
    }

    /// How large the tables of a policy that hashes are: the last one's, as
    /// Envoy's gauges have it.
    pub(crate) fn table_sizes(&self) -> Option<TableSizes> {
        let last = self.tables.iter().flatten().next_back()?;
        Some(last.sizes)
    }

    /// Picks a host; what happened is added to `events`.
    #[inline]
    pub(crate) fn pick<R: Request>(
        &self,
        shared: &Shared,
        cursor: &mut GroupCursor,
        request: &mut R,
        events: &mut Events,
    ) -> Option<u32> {
        if shared.policy.hashes() {
            return self.pick_by_hash(cursor, request, events);
        }
        let list = match self.sole {
            Some(list) if request.priority_loads().is_none() => list,
            _ => self.choose_list(shared, cursor, request, events)?,
        };
        let source = &self.sets.sources[list as usize];
        let seed = cursor.seed ^ u64::from(list);
        match shared.policy {
            Policy::RoundRobin { .. } | Policy::ClientSideWeightedRoundRobin { .. } => {
                let turn = &mut cursor.turns[list as usize];
                let weight = |host| shared.weight(host, request);
                round_robin::pick(turn, source, seed, shared.weights_are(), weight)
            }
            Policy::LeastRequest { bias, .. } if source.weighted => {
                let bias = least_request::valid_bias(bias);
                let weight = |host| {
                    let active = request.active_requests(host);
                    least_request::weight(shared.weight(host, request), active, bias)
                };
                let turn = &mut cursor.turns[list as usize];
                round_robin::pick(turn, source, seed, Weights::Changing, weight)
            }
            Policy::LeastRequest {
                choices, selection, ..
            } => match selection {
                Selection::NChoices => {
                    least_request::pick_of_choices(&source.hosts, choices, request)
                }
                Selection::FullScan => least_request::pick_of_all(&source.hosts, request),
            },
            Policy::PeakEwma {
                default_rtt_ms,
                penalty,
                ..
            } => peak_ewma::pick(&source.hosts, default_rtt_ms, penalty, request),
            Policy::Random => random::pick(&source.hosts, request.random()),
            Policy::RingHash { .. } | Policy::Maglev { .. } => None,
        }
    }

    /// One hash chooses priority and host. Degraded hosts, the loads of a
    /// retry and a failure in panic are nothing that these policies know.
    #[inline]
    fn pick_by_hash<R: Request>(
        &self,
        cursor: &mut GroupCursor,
        request: &mut R,
        events: &mut Events,
    ) -> Option<u32> {
        let hash = match request.hash() {
            Some(hash) => hash,
            None => request.random(),
        };
        let (priority, _) = self.priorities.loads.choose(hash);
        if self.priorities.panic[priority as usize] && request.attempt() == 0 {
            *events |= Events::HEALTHY_PANIC;
        }
        let table = self.tables[priority as usize].as_ref()?;
        table.pick(hash, request, &mut cursor.order)
    }

    /// The list that this pick is made from; `None` when the request has to
    /// fail instead.
    #[inline]
    fn choose_list<R: Request>(
        &self,
        shared: &Shared,
        cursor: &mut GroupCursor,
        request: &mut R,
        events: &mut Events,
    ) -> Option<SourceId> {
        let (priority, availability) = match self.sole_share {
            Some(sole) if request.priority_loads().is_none() => sole,
            _ => {
                let number = request.random();
                let loads = request.priority_loads().unwrap_or(&self.priorities.loads);
                loads.choose(number)
            }
        };
        let set = self.sets.by_priority.get(priority as usize)?;
        if self.priorities.panic[priority as usize] {
            *events |= Events::HEALTHY_PANIC;
            return (!shared.fails_in_panic()).then_some(set.whole[ALL]);
        }
        let lists = match self.choose_locality(cursor, priority, availability, request, events) {
            Zone::Locality(locality) => &set.localities.get(locality as usize)?.whole,
            Zone::LocalPanic if shared.fails_in_panic() => return None,
            Zone::Any | Zone::LocalPanic => &set.whole,
        };
        Some(lists[availability.place()])
    }

    #[inline]
    fn choose_locality<R: Request>(
        &self,
        cursor: &mut GroupCursor,
        priority: u32,
        availability: Availability,
        request: &mut R,
        events: &mut Events,
    ) -> Zone {
        if let Some(Some(weights)) = self.weights.get(priority as usize) {
            let turns = &mut cursor.localities[priority as usize];
            let seed = cursor.seed ^ !u64::from(priority);
            if let Some(locality) = weights.pick(turns, availability, seed) {
                return Zone::Locality(locality);
            }
        }
        match &self.zones {
            Some(zones) if priority == 0 => zones.choose(request, events),
            _ => Zone::Any,
        }
    }
}

#[cfg(test)]
impl GroupCursor {
    /// What the cursor has allocated.
    pub(crate) fn heap_bytes(&self) -> usize {
        let turns: usize = self.turns.iter().map(Turn::heap_bytes).sum();
        size_of_val(&*self.turns) + turns
    }
}

impl Policy {
    /// Whether hosts are in tables instead of lists.
    fn hashes(&self) -> bool {
        matches!(self, Self::RingHash { .. } | Self::Maglev { .. })
    }

    /// Whether hosts of a list take turns by their weights alone.
    fn turns_by_weight(&self) -> bool {
        matches!(
            self,
            Self::RoundRobin { .. } | Self::ClientSideWeightedRoundRobin { .. }
        )
    }

    /// Whether hosts of a list take turns.
    fn takes_turns(&self) -> bool {
        matches!(
            self,
            Self::RoundRobin { .. }
                | Self::ClientSideWeightedRoundRobin { .. }
                | Self::LeastRequest { .. }
        )
    }
}

impl Loads {
    /// The only priority and availability with a load.
    fn sole(&self) -> Option<(u32, Availability)> {
        let healthy = self.healthy.iter().position(|load| *load >= 100);
        let degraded = self.degraded.iter().position(|load| *load >= 100);
        match (healthy, degraded) {
            (Some(priority), _) => Some((priority as u32, Availability::Healthy)),
            (None, Some(priority)) => Some((priority as u32, Availability::Degraded)),
            (None, None) => None,
        }
    }
}
