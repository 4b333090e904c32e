//! Hosts that are balanced as one: all hosts of a cluster, or one subset.

use crate::balancer::{Request, Shared};
use crate::config::Policy;
use crate::events::Events;
use crate::host_set::{ALL, HostSets, SourceId};
use crate::members::Members;
use crate::priority::PriorityLoads;
use crate::random;
use crate::round_robin::{self, Turn};

/// A group: its lists and the loads of its priorities.
#[derive(Debug)]
pub(crate) struct Group {
    sets: HostSets,
    pub(crate) priorities: PriorityLoads,
}

/// One worker's place in a group.
#[derive(Debug)]
pub(crate) struct GroupCursor {
    seed: u64,
    /// By list, where the policy takes turns.
    turns: Vec<Turn>,
}

impl Group {
    /// A group of `hosts`, which are indices in the members.
    pub(crate) fn new(shared: &Shared, members: &Members<'_>, hosts: &[u32]) -> Self {
        let priorities = shared.priorities;
        let sets = HostSets::new(members, hosts, priorities);
        let of_group = hosts.iter().map(|host| &members.hosts[*host as usize]);
        Self {
            sets,
            priorities: PriorityLoads::new(&shared.common, priorities, of_group),
        }
    }

    pub(crate) fn cursor(&self, shared: &Shared, seed: u64) -> GroupCursor {
        let turns = match shared.policy {
            Policy::RoundRobin { .. } => self.sets.sources.len(),
            Policy::Random => 0,
        };
        GroupCursor {
            seed,
            turns: vec![Turn::default(); turns],
        }
    }

    /// Picks a host; what happened is added to `events`.
    pub(crate) fn pick<R: Request>(
        &self,
        shared: &Shared,
        cursor: &mut GroupCursor,
        request: &mut R,
        events: &mut Events,
    ) -> Option<u32> {
        let list = self.choose_list(shared, request, events)?;
        let source = &self.sets.sources[list as usize];
        match shared.policy {
            Policy::RoundRobin { .. } => {
                let turn = &mut cursor.turns[list as usize];
                round_robin::pick(turn, source, cursor.seed ^ u64::from(list), |host| {
                    f64::from(shared.weights[host as usize])
                })
            }
            Policy::Random => random::pick(&source.hosts, request.random()),
        }
    }

    /// The list that this pick is made from; `None` when the request has to
    /// fail instead.
    fn choose_list<R: Request>(
        &self,
        shared: &Shared,
        request: &mut R,
        events: &mut Events,
    ) -> Option<SourceId> {
        let number = request.random();
        let loads = request.priority_loads().unwrap_or(&self.priorities.loads);
        let (priority, availability) = loads.choose(number);
        let set = self.sets.by_priority.get(priority as usize)?;
        if self.priorities.panic[priority as usize] {
            *events |= Events::HEALTHY_PANIC;
            return (!shared.fails_in_panic()).then_some(set.whole[ALL]);
        }
        Some(set.whole[availability.place()])
    }
}
