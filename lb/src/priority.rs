//! Priorities: which share of the requests each one gets, and when hosts are
//! used whatever their health (panic).
//!
//! The rules are Envoy's ("Priority levels" and "Panic threshold" of its
//! documentation), with its whole numbers and roundings, because 1 % of the
//! requests is visible.

use crate::config::Common;
use crate::members::{Health, Host};

/// Shares of the requests by priority, in percent. All shares together are
/// 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// What goes to a priority's healthy hosts.
    pub healthy: Vec<u32>,
    /// What goes to a priority's degraded hosts.
    pub degraded: Vec<u32>,
}

/// Which hosts of a priority a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The healthy ones.
    Healthy,
    /// The degraded ones.
    Degraded,
}

impl Loads {
    /// All requests are for these hosts of one of so many priorities.
    #[must_use]
    pub fn only(priority: u32, availability: Availability, priorities: usize) -> Self {
        let mut loads = Self {
            healthy: vec![0; priorities],
            degraded: vec![0; priorities],
        };
        let of = match availability {
            Availability::Healthy => &mut loads.healthy,
            Availability::Degraded => &mut loads.degraded,
        };
        if let Some(load) = of.get_mut(priority as usize) {
            *load = 100;
        }
        loads
    }

    /// The priority and the hosts for a number that is either random or the
    /// hash of the request. Healthy hosts of all priorities come first.
    #[must_use]
    pub fn choose(&self, number: u64) -> (u32, Availability) {
        let percent = (number % 100 + 1) as u32;
        let mut sum = 0u32;
        let both = [
            (&self.healthy, Availability::Healthy),
            (&self.degraded, Availability::Degraded),
        ];
        for (loads, availability) in both {
            for (priority, load) in (0..).zip(loads) {
                sum = sum.saturating_add(*load);
                if percent <= sum {
                    return (priority, availability);
                }
            }
        }
        // Loads that somebody else made may be less than 100.
        (0, Availability::Healthy)
    }
}

/// The state of all priorities of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityLoads {
    /// The shares of the requests.
    pub loads: Loads,
    /// Availability in percent by priority: how much of a whole load its
    /// healthy hosts can take.
    pub healthy: Vec<u32>,
    /// The same for its degraded hosts.
    pub degraded: Vec<u32>,
    /// Whether a priority is in panic: all its hosts are used.
    pub panic: Vec<bool>,
    /// Its hosts, by priority.
    pub counts: Vec<Counts>,
}

impl PriorityLoads {
    /// Calculates the loads of the priorities that these hosts are in.
    /// `priorities` is their number, at least 1.
    pub(crate) fn new<'a>(
        common: &Common,
        priorities: usize,
        hosts: impl Iterator<Item = &'a Host>,
    ) -> Self {
        let mut counts = vec![Counts::default(); priorities.max(1)];
        for host in hosts {
            counts[host.priority as usize].add(host);
        }
        let factor = u64::from(common.overprovisioning_factor);
        let by_weight = common.weighted_priority_health;
        let (healthy, degraded): (Vec<_>, Vec<_>) = counts
            .iter()
            .map(|counts| counts.availability(factor, by_weight))
            .unzip();
        Self::of(counts, healthy, degraded, common.healthy_panic_threshold)
    }

    /// The loads of priorities of which it is known how much they can take;
    /// at least one.
    fn of(
        counts: Vec<Counts>,
        healthy: Vec<u32>,
        degraded: Vec<u32>,
        healthy_panic_threshold: f64,
    ) -> Self {
        let available = normalized(&healthy, &degraded);
        let mut loads = distribute(&healthy, &degraded, available);
        let threshold = panic_threshold(healthy_panic_threshold);
        let panic: Vec<_> = counts
            .iter()
            .map(|counts| available < 100 && counts.is_in_panic(threshold))
            .collect();
        if panic.iter().all(|panic| *panic) {
            loads = distribute_by_number(&counts);
        }
        if loads.healthy.iter().chain(&loads.degraded).all(|l| *l == 0) {
            // Nothing is available and panic is off: all requests are for
            // hosts that are not there.
            loads.healthy[0] = 100;
        }
        Self {
            loads,
            healthy,
            degraded,
            panic,
            counts,
        }
    }

    /// The priorities of several clusters one behind the other, as those of an
    /// aggregate cluster with this panic threshold; and where each was before,
    /// as places of `parts` and priorities there. Priorities without hosts are
    /// left out. `None` if there are no hosts at all.
    #[must_use]
    pub fn joined<'a>(
        parts: impl Iterator<Item = &'a PriorityLoads>,
        healthy_panic_threshold: f64,
    ) -> Option<(Self, Vec<(usize, u32)>)> {
        let (mut counts, mut healthy, mut degraded) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = Vec::new();
        for (place, part) in parts.enumerate() {
            for (priority, of_priority) in part.counts.iter().enumerate() {
                if of_priority.hosts > 0 {
                    counts.push(*of_priority);
                    healthy.push(part.healthy[priority]);
                    degraded.push(part.degraded[priority]);
                    before.push((place, priority as u32));
                }
            }
        }
        if counts.is_empty() {
            return None;
        }
        let joined = Self::of(counts, healthy, degraded, healthy_panic_threshold);
        Some((joined, before))
    }
}

/// The panic threshold in whole percent.
pub(crate) fn panic_threshold(percent: f64) -> u32 {
    // A cast of a float saturates, NaN becomes 0.
    (percent.round() as u32).min(100)
}

/// Whether this many available hosts are so few that all must be used.
pub(crate) fn is_panic(available: u64, counted: u64, threshold: u32) -> bool {
    let percent = match counted {
        0 => 0.0,
        _ => 100.0 * available as f64 / counted as f64,
    };
    percent < f64::from(threshold)
}

/// Numbers and weights of the hosts of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    hosts: u64,
    all: Sums,
    healthy: Sums,
    degraded: Sums,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    number: u64,
    weight: u64,
}

impl Counts {
    fn add(&mut self, host: &Host) {
        let weight = u64::from(host.weight.max(1));
        let add = |sums: &mut Sums| {
            sums.number += 1;
            sums.weight += weight;
        };
        self.hosts += 1;
        if !host.excluded {
            add(&mut self.all);
        }
        match host.health {
            Health::Healthy => add(&mut self.healthy),
            Health::Degraded => add(&mut self.degraded),
            Health::Unhealthy => {}
        }
    }

    /// Availability of healthy and of degraded hosts, in percent.
    fn availability(&self, factor: u64, by_weight: bool) -> (u32, u32) {
        let of = |sums: Sums| if by_weight { sums.weight } else { sums.number };
        let total = of(self.all);
        let percent = |sums: Sums| match total {
            0 => 0,
            total => (factor.saturating_mul(of(sums)) / total).min(100) as u32,
        };
        (percent(self.healthy), percent(self.degraded))
    }

    fn is_in_panic(&self, threshold: u32) -> bool {
        let available = self.healthy.number + self.degraded.number;
        is_panic(available, self.all.number, threshold)
    }
}

/// The sum of all availabilities, at most 100.
fn normalized(healthy: &[u32], degraded: &[u32]) -> u32 {
    healthy.iter().chain(degraded).sum::<u32>().min(100)
}

/// Every priority takes as much as it can, the first one first, healthy hosts
/// before degraded ones; what rounding leaves goes to the first available.
fn distribute(healthy: &[u32], degraded: &[u32], available: u32) -> Loads {
    let mut left = 100;
    let mut take = |availability: &[u32]| -> Vec<u32> {
        availability
            .iter()
            .map(|percent| {
                let share = (percent * 100).checked_div(available).unwrap_or(0);
                let load = share.min(left);
                left -= load;
                load
            })
            .collect()
    };
    let mut loads = Loads {
        healthy: take(healthy),
        degraded: take(degraded),
    };
    let first = |availability: &[u32]| availability.iter().position(|percent| *percent > 0);
    if let Some(priority) = first(healthy) {
        loads.healthy[priority] += left;
    } else if let Some(priority) = first(degraded) {
        loads.degraded[priority] += left;
    }
    loads
}

/// Total panic: shares by the number of hosts, whatever their health.
fn distribute_by_number(counts: &[Counts]) -> Loads {
    let total: u64 = counts.iter().map(|counts| counts.hosts).sum();
    let mut healthy: Vec<u32> = counts
        .iter()
        .map(|counts| (100 * counts.hosts).checked_div(total).unwrap_or(0) as u32)
        .collect();
    let left = 100 - healthy.iter().sum::<u32>();
    let first = counts.iter().position(|counts| counts.hosts > 0);
    healthy[first.unwrap_or(0)] += left;
    Loads {
        degraded: vec![0; healthy.len()],
        healthy,
    }
}

#[cfg(test)]
mod tests;
