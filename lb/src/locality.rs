//! Localities: weights (`LocalityWeightedLbConfig`) and zone-aware routing
//! (`ZoneAwareLbConfig`).
//!
//! Which of them, if any, is decided per pick after priority and panic; the
//! answer is the index of a locality in its priority. The rules and the whole
//! numbers are Envoy's.

use std::sync::Arc;

use crate::balancer::Request;
use crate::config::{LocalityBasis, ZoneAware};
use crate::cycle::{cycle, next_of};
use crate::edf::{Schedule, mix};
use crate::events::Events;
use crate::host_set::{HEALTHY, HostSet, HostSets};
use crate::members::{LocalCluster, Members};
use crate::priority::{Availability, is_panic};
use crate::random;

/// The weights of one priority's localities, each in proportion to how many of
/// its hosts are available.
#[derive(Debug, Default)]
pub(crate) struct LocalityWeights {
    /// For healthy and for degraded hosts.
    effective: [Effective; 2],
}

#[derive(Debug, Default)]
struct Effective {
    /// The localities that can take requests.
    localities: Box<[u32]>,
    /// By locality.
    weights: Box<[f64]>,
    /// Their turns until they come round, where weights allow for that: all of a
    /// locality's hosts being available, they are the whole numbers of the
    /// configuration.
    cycle: Option<Arc<[u32]>>,
}

/// Whose turn it is among the localities of one priority, on one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalityTurns([LocalityTurn; 2]);

#[derive(Debug, Clone, Default)]
enum LocalityTurn {
    /// Nothing has been picked.
    #[default]
    First,
    /// The place of the next pick in the cycle.
    Cycle(u32),
    Schedule(Box<Schedule>),
}

impl LocalityWeights {
    /// The weights of a priority; `None` when its localities have none.
    pub(crate) fn new(
        sets: &HostSets,
        set: &HostSet,
        overprovisioning_factor: u32,
    ) -> Option<Self> {
        let weights = set.locality_weights()?;
        let of = |availability: Availability| {
            let weights: Box<[f64]> = set
                .localities
                .iter()
                .zip(weights.clone())
                .map(|(locality, weight)| {
                    if locality.counted == 0 {
                        return 0.0;
                    }
                    let available = sets.hosts(locality.whole[availability.place()]).len();
                    let ratio = available as f64 / f64::from(locality.counted);
                    let factor = f64::from(overprovisioning_factor) / 100.0;
                    f64::from(weight) * (factor * ratio).min(1.0)
                })
                .collect();
            let localities: Box<[u32]> = (0..)
                .zip(&weights)
                .filter(|(_, weight)| **weight > 0.0)
                .map(|(locality, _)| locality)
                .collect();
            let whole = |locality: u32| whole(weights[locality as usize]);
            let are_whole = localities.iter().all(|locality| whole(*locality).is_some());
            Effective {
                cycle: are_whole
                    .then(|| cycle(&localities, |locality| whole(locality).unwrap_or(1)))
                    .flatten(),
                localities,
                weights,
            }
        };
        Some(Self {
            effective: [of(Availability::Healthy), of(Availability::Degraded)],
        })
    }

    /// The locality whose turn it is; `None` when none has a weight.
    #[inline]
    pub(crate) fn pick(
        &self,
        turns: &mut LocalityTurns,
        availability: Availability,
        seed: u64,
    ) -> Option<u32> {
        let place = availability.place() - HEALTHY;
        let effective = &self.effective[place];
        if effective.localities.is_empty() {
            return None;
        }
        let weight = |locality: u32| effective.weights[locality as usize];
        let turn = &mut turns.0[place];
        match (turn, &effective.cycle) {
            (LocalityTurn::Cycle(next), Some(cycle)) => next_of(cycle, next),
            (LocalityTurn::Schedule(schedule), _) => schedule.pick(weight),
            (first, _) => effective.begin(first, seed),
        }
    }
}

impl Effective {
    /// The first turn of a worker.
    #[cold]
    fn begin(&self, turn: &mut LocalityTurn, seed: u64) -> Option<u32> {
        if let Some(cycle) = &self.cycle {
            let mut next = (mix(seed) % cycle.len() as u64) as u32;
            let first = next_of(cycle, &mut next);
            *turn = LocalityTurn::Cycle(next);
            return first;
        }
        let weight = |locality: u32| self.weights[locality as usize];
        let mut schedule = Box::new(Schedule::new(&self.localities, seed, weight));
        let first = schedule.pick(weight);
        *turn = LocalityTurn::Schedule(schedule);
        first
    }
}

/// A weight that is a whole number.
fn whole(weight: f64) -> Option<u32> {
    let whole = weight as u32;
    (f64::from(whole) == weight).then_some(whole)
}

/// Zone-aware routing of priority 0: how much of what this proxy gets can stay
/// in its zone, and which zones have room for the rest.
#[derive(Debug)]
pub(crate) struct ZoneRouting {
    /// `routing_enabled` in whole percent.
    enabled: u64,
    /// The cluster of this proxy is in panic: nothing is known about it.
    local_in_panic: bool,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Everything stays in the own zone, which is locality 0.
    Direct,
    /// A part stays, the rest goes where there is room.
    Residual {
        /// Of 10,000 requests so many stay.
        local: u64,
        /// Sums of the room of all localities up to this one.
        room: Box<[u64]>,
    },
}

/// What zone-aware routing says to a request.
pub(crate) enum Zone {
    /// It does not matter.
    Any,
    /// It is for this locality.
    Locality(u32),
    /// The cluster of this proxy is in panic.
    LocalPanic,
}

impl ZoneRouting {
    /// The state of priority 0; `None` when zones do not matter. What is to be
    /// counted once is added to `events`.
    pub(crate) fn new(
        config: &ZoneAware,
        threshold: u32,
        members: &Members<'_>,
        sets: &HostSets,
        events: &mut Events,
    ) -> Option<Self> {
        let local = members.local?;
        *events |= Events::RECALCULATE_ZONE_STRUCTURES;
        let set = sets.by_priority.first()?;
        if !is_possible(config, local, sets, set, events) {
            return None;
        }
        let shares = shares(config.locality_basis, local, members, sets, set);
        Some(Self {
            // A cast of a float saturates, NaN becomes 0.
            enabled: (config.routing_enabled.round() as u64).min(100),
            local_in_panic: is_panic(
                u64::from(local.available),
                u64::from(local.counted),
                threshold,
            ),
            way: way(config, local, sets, set, &shares),
        })
    }

    /// Where a request goes.
    #[inline]
    pub(crate) fn choose<R: Request>(&self, request: &mut R, events: &mut Events) -> Zone {
        if self.enabled < 100 && request.random() % 100 >= self.enabled {
            return Zone::Any;
        }
        if self.local_in_panic {
            *events |= Events::LOCAL_CLUSTER_NOT_OK;
            return Zone::LocalPanic;
        }
        let Way::Residual { local, room } = &self.way else {
            *events |= Events::ZONE_ROUTING_ALL_DIRECTLY;
            return Zone::Locality(0);
        };
        let whole = room.last().copied().unwrap_or(0);
        let number = request.random();
        let stays = (random::place(SHARE_ALL as usize, number) as u64) < *local;
        if whole == 0 && !stays {
            // Rounding can leave no room anywhere.
            *events |= Events::ZONE_ROUTING_CROSS_ZONE;
            *events |= Events::ZONE_NO_CAPACITY_LEFT;
            let locality = random::place(room.len(), request.random());
            return Zone::Locality(locality as u32);
        }
        // Without branches, because where a request goes cannot be predicted. The
        // low half of the bits, moved up, is a random number too.
        let place = random::place(whole as usize, number << 32) as u64;
        let before: u32 = room.iter().map(|sum| u32::from(*sum <= place)).sum();
        *events |= match stays {
            true => Events::ZONE_ROUTING_SAMPLED,
            false => Events::ZONE_ROUTING_CROSS_ZONE,
        };
        Zone::Locality(if stays { 0 } else { before })
    }
}

/// Whether zones can matter at all.
fn is_possible(
    config: &ZoneAware,
    local: &LocalCluster,
    sets: &HostSets,
    set: &HostSet,
    events: &mut Events,
) -> bool {
    if set.localities.len() < 2 {
        return false;
    }
    let forced = config.force_local_zone_min_size.is_some();
    if local.healthy_by_locality.len() < 2 && !forced {
        return false;
    }
    let mut localities = local.healthy_by_locality.iter();
    if !localities.any(|(id, _)| *id == local.own) {
        *events |= Events::LOCAL_CLUSTER_NOT_OK;
        return false;
    }
    let healthy = sets.hosts(set.whole[HEALTHY]).len() as u64;
    if healthy < config.min_cluster_size {
        *events |= Events::ZONE_CLUSTER_TOO_SMALL;
        return false;
    }
    true
}

/// Of 10,000 parts of the local and of the upstream cluster what is in one
/// locality.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    local: u64,
    upstream: u64,
}

fn shares(
    basis: LocalityBasis,
    local: &LocalCluster,
    members: &Members<'_>,
    sets: &HostSets,
    set: &HostSet,
) -> Vec<Shares> {
    let size = |hosts: &[u32]| -> u64 {
        let weight = |host: &u32| u64::from(members.hosts[*host as usize].weight);
        match basis {
            LocalityBasis::HealthyHostsNum => hosts.len() as u64,
            LocalityBasis::HealthyHostsWeight => hosts.iter().map(weight).sum(),
        }
    };
    let part = |size: u64, whole: u64| (SHARE_ALL * size).checked_div(whole).unwrap_or(0);
    let local_sizes = || local.healthy_by_locality.iter();
    let local_whole: u64 = local_sizes().map(|(_, size)| u64::from(*size)).sum();
    let healthy = || set.localities.iter().map(|l| sets.hosts(l.whole[HEALTHY]));
    let whole: u64 = healthy().map(size).sum();
    set.localities
        .iter()
        .zip(healthy())
        .map(|(locality, hosts)| {
            if hosts.is_empty() {
                return Shares::default();
            }
            let here = local_sizes().find(|(id, _)| *id == locality.id);
            Shares {
                local: part(here.map_or(0, |(_, size)| u64::from(*size)), local_whole),
                upstream: part(size(hosts), whole),
            }
        })
        .collect()
}

fn way(
    config: &ZoneAware,
    local: &LocalCluster,
    sets: &HostSets,
    set: &HostSet,
    shares: &[Shares],
) -> Way {
    // The own locality is the first one, if it has hosts in this cluster.
    let own = set.localities.first().filter(|first| first.id == local.own);
    if let Some(own) = own {
        let healthy = sets.hosts(own.whole[HEALTHY]).len();
        let has_room = shares[0].upstream > 0 && shares[0].upstream >= shares[0].local;
        let forced = config
            .force_local_zone_min_size
            .is_some_and(|min_size| healthy >= min_size as usize);
        if has_room || forced {
            return Way::Direct;
        }
    }
    let stays = own.map_or(0, |_| {
        (shares[0].upstream * SHARE_ALL)
            .checked_div(shares[0].local)
            .unwrap_or(0)
    });
    let mut sum = 0;
    let room = (0..)
        .zip(shares)
        .map(|(locality, share)| {
            // What the own zone can take has been given to it already.
            if locality > 0 || own.is_none() {
                sum += share.upstream.saturating_sub(share.local);
            }
            sum
        })
        .collect();
    Way::Residual { local: stays, room }
}

/// Shares are calculated in parts of so many.
const SHARE_ALL: u64 = 10_000;

#[cfg(test)]
mod tests;
