//! Localities: weights (`LocalityWeightedLbConfig`) and zone-aware routing
//! (`ZoneAwareLbConfig`).
//!
//! Which of them, if any, is decided per pick after priority and panic; the
//! answer is the index of a locality in its priority. The rules and the whole
//! numbers are Envoy's.

use crate::balancer::Request;
use crate::config::{LocalityBasis, ZoneAware};
use crate::edf::Schedule;
use crate::events::Events;
use crate::host_set::{HEALTHY, HostSet, HostSets};
use crate::members::{LocalCluster, Members};
use crate::priority::{Availability, is_panic};

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
}

/// Whose turn it is among the localities of one priority, on one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalityTurns([Option<Box<Schedule>>; 2]);

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
            let localities = (0..)
                .zip(&weights)
                .filter(|(_, weight)| **weight > 0.0)
                .map(|(locality, _)| locality)
                .collect();
            Effective {
                localities,
                weights,
            }
        };
        Some(Self {
            effective: [of(Availability::Healthy), of(Availability::Degraded)],
        })
    }

    /// The locality whose turn it is; `None` when none has a weight.
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
        turns.0[place]
            .get_or_insert_with(|| Box::new(Schedule::new(&effective.localities, seed, weight)))
            .pick(weight)
    }
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
        if request.random() % SHARE_ALL < *local {
            *events |= Events::ZONE_ROUTING_SAMPLED;
            return Zone::Locality(0);
        }
        *events |= Events::ZONE_ROUTING_CROSS_ZONE;
        let whole = room.last().copied().unwrap_or(0);
        if whole == 0 {
            // Rounding can leave no room anywhere.
            *events |= Events::ZONE_NO_CAPACITY_LEFT;
            let locality = request.random() % room.len() as u64;
            return Zone::Locality(locality as u32);
        }
        let place = request.random() % whole;
        Zone::Locality(room.partition_point(|sum| *sum <= place) as u32)
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
