//! What ring hash and Maglev have in common
//! (`ConsistentHashingLbConfig`): normalised weights, the table of one
//! priority, and bounded loads (`hash_balance_factor`; Mirrokni et al.,
//! arXiv:1608.01350, with random jumps as in arXiv:1908.08762).
//!
//! Floating-point numbers are calculated in Envoy's order, because a weight
//! that differs in its last bit can move an entry of a table.

use crate::balancer::Request;
use crate::config::Policy;
use crate::host_set::{HostSet, HostSets};
use crate::maglev::MaglevTable;
use crate::members::Members;
use crate::mersenne_twister::MersenneTwister;
use crate::ring_hash::{Ring, RingOptions};

/// A host with its share of all hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NormalizedHost {
    pub(crate) host: u32,
    /// All weights of a list add up to 1.
    pub(crate) weight: f64,
}

/// How large a table is, and how evenly it is shared: the gauges
/// `ring_hash_lb.*` and `maglev_lb.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// Points of the ring or entries of the Maglev table.
    pub size: u64,
    /// The fewest that a host has.
    pub min_per_host: u64,
    /// The most that a host has.
    pub max_per_host: u64,
}

/// The table of one priority.
#[derive(Debug)]
pub(crate) struct HashTable {
    table: Table,
    hosts: Box<[u32]>,
    bounded: Option<BoundedLoad>,
    pub(crate) sizes: TableSizes,
}

#[derive(Debug)]
enum Table {
    Ring(Ring),
    Maglev(MaglevTable),
}

/// No host gets more than its part of so many percent of all requests.
#[derive(Debug)]
struct BoundedLoad {
    percent: u32,
    /// By place of the host in the table's list.
    weights: Box<[f64]>,
}

impl HashTable {
    /// The table of the hosts that a priority uses; `None` when there are
    /// none, or the policy does not hash.
    pub(crate) fn new(
        policy: &Policy,
        members: &Members<'_>,
        sets: &HostSets,
        set: &HostSet,
        panic: bool,
    ) -> Option<Self> {
        let hosts = normalized(members, sets, set, panic);
        if hosts.is_empty() {
            return None;
        }
        let key = |place: u32| members.describe.hash_key(hosts[place as usize].host);
        let (table, sizes, balance_factor) = match *policy {
            Policy::RingHash {
                min_size,
                max_size,
                function,
                balance_factor,
            } => {
                let options = RingOptions {
                    min_size,
                    max_size,
                    function,
                };
                let (ring, sizes) = Ring::new(options, &hosts, key);
                (Table::Ring(ring), sizes, balance_factor)
            }
            Policy::Maglev {
                table_size,
                balance_factor,
            } => {
                let (table, sizes) = MaglevTable::new(table_size, &hosts, key);
                (Table::Maglev(table), sizes, balance_factor)
            }
            _ => return None,
        };
        let bounded = balance_factor
            .filter(|percent| *percent > 0)
            .map(|percent| BoundedLoad {
                percent,
                weights: hosts.iter().map(|host| host.weight).collect(),
            });
        Some(Self {
            table,
            hosts: hosts.iter().map(|host| host.host).collect(),
            bounded,
            sizes,
        })
    }

    /// The host for a hash. `order` is memory of the worker that is used when
    /// hosts are overloaded.
    #[inline]
    pub(crate) fn pick<R: Request>(
        &self,
        hash: u64,
        request: &R,
        order: &mut Vec<u32>,
    ) -> Option<u32> {
        let attempt = request.attempt();
        let place = match &self.table {
            Table::Ring(ring) => ring.pick(hash, attempt),
            Table::Maglev(table) => table.pick(hash, attempt),
        }?;
        let place = match &self.bounded {
            None => place,
            Some(bounded) => bounded.avoid_overload(place, hash, &self.hosts, request, order),
        };
        self.hosts.get(place as usize).copied()
    }
}

impl BoundedLoad {
    /// `place`, or another host when that one has too much to do.
    #[inline]
    fn avoid_overload<R: Request>(
        &self,
        place: u32,
        hash: u64,
        hosts: &[u32],
        request: &R,
        order: &mut Vec<u32>,
    ) -> u32 {
        let total = u64::from(request.active_requests_total()) + 1;
        let slots = (total * u64::from(self.percent)).div_ceil(100);
        let load = |place: u32| {
            let slots = ceil(slots as f64 * self.weights[place as usize]).max(1.0);
            let active = request.active_requests(hosts[place as usize]);
            Load {
                active: f64::from(active),
                slots,
            }
        };
        let own = load(place);
        match own.active <= own.slots {
            true => place,
            false => Self::other(place, own, hash, load, hosts.len(), order),
        }
    }

    /// The first host that has not too much to do, in a random order that is a
    /// function of the hash. If all have too much it is the one with the least.
    #[cold]
    fn other(
        place: u32,
        own: Load,
        hash: u64,
        load: impl Fn(u32) -> Load,
        hosts: usize,
        order: &mut Vec<u32>,
    ) -> u32 {
        let overload = |load: Load| load.active / load.slots;
        let mut least = (overload(own), place);
        order.clear();
        order.extend(0..hosts as u32);
        // The generator takes the low bits only, as C++'s does.
        let mut random = MersenneTwister::new(hash as u32);
        for i in 0..order.len() {
            let jump = random.below((order.len() - i) as u32) as usize;
            order.swap(i, i + jump);
            let other = order[i];
            if other == place {
                continue;
            }
            let load = overload(load(other));
            if load <= 1.0 {
                return other;
            }
            if load < least.0 {
                least = (load, other);
            }
        }
        least.1
    }
}

/// What a host has to do, and how much of it is its part.
#[derive(Clone, Copy)]
struct Load {
    active: f64,
    slots: f64,
}

/// The whole number that is not below this one, which is not negative: a few
/// instructions, where [`f64::ceil`] is a call on processors that not all have an
/// instruction for it.
#[inline]
fn ceil(number: f64) -> f64 {
    let whole = number as i64 as f64;
    whole + f64::from(u8::from(whole < number))
}

/// The hosts that a priority uses with their shares: the healthy ones, in
/// panic all. Degraded hosts are never used by policies that hash.
fn normalized(
    members: &Members<'_>,
    sets: &HostSets,
    set: &HostSet,
    panic: bool,
) -> Vec<NormalizedHost> {
    let mut normalized = Vec::new();
    let mut add = |hosts: &[u32], share: f64| {
        let weight = |host: &u32| members.hosts[*host as usize].weight;
        let sum: u64 = hosts.iter().map(|host| u64::from(weight(host))).sum();
        normalized.extend(hosts.iter().map(|host| NormalizedHost {
            host: *host,
            weight: f64::from(weight(host)) * share / sum as f64,
        }));
    };
    let Some(weights) = set.locality_weights() else {
        add(sets.usable(&set.whole, panic), 1.0);
        return normalized;
    };
    let sum: u64 = weights.clone().map(u64::from).sum();
    for (locality, weight) in set.localities.iter().zip(weights) {
        if weight > 0 {
            let share = f64::from(weight) / sum as f64;
            add(sets.usable(&locality.whole, panic), share);
        }
    }
    normalized
}
