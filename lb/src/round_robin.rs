//! Weighted round robin (`envoy.load_balancing_policies.round_robin`).
//!
//! Equal weights are a plain rotation. Unequal weights are an earliest
//! deadline first schedule. Where it comes round soon enough it is laid down
//! once for all workers and is a rotation, too; otherwise it is one of hosts or
//! of classes of equal weight, which a worker builds when it first picks from
//! the list.
//!
//! Every worker starts its rotation at its own random offset. Otherwise the
//! first host would take the first request of every worker, which is visible
//! as a burst whenever a configuration is applied.

use crate::cycle::next_of;
use crate::edf::{Schedule, mix};
use crate::host_set::Source;
use crate::weight_classes::WeightClasses;

/// Whose turn it is in one list of hosts, on one worker.
#[derive(Debug, Clone, Default)]
pub(crate) enum Turn {
    /// Nothing has been picked from the list.
    #[default]
    First,
    /// All hosts weigh the same: the place of the next pick.
    Rotation(u32),
    /// The place of the next pick in the list's cycle.
    Cycle(u32),
    /// Few different weights, which do not change.
    Classes(Box<WeightClasses>),
    /// Hosts weigh differently.
    Schedule(Box<Schedule>),
}

/// Whether the weights of hosts stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// They do.
    Fixed,
    /// They depend on time or on requests in flight.
    Changing,
}

#[cfg(test)]
impl Turn {
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::First | Self::Rotation(_) | Self::Cycle(_) => 0,
            Self::Classes(classes) => classes.heap_bytes(),
            Self::Schedule(schedule) => schedule.heap_bytes(),
        }
    }
}

/// Picks the host whose turn it is. `seed` decides where the turns begin.
#[inline]
pub(crate) fn pick(
    turn: &mut Turn,
    source: &Source,
    seed: u64,
    weights: Weights,
    weight: impl Fn(u32) -> f64,
) -> Option<u32> {
    match turn {
        Turn::Rotation(next) => next_of(&source.hosts, next),
        Turn::Cycle(next) => next_of(source.cycle.as_deref()?, next),
        Turn::Classes(classes) => classes.pick(),
        Turn::Schedule(schedule) => schedule.pick(weight),
        Turn::First => first(turn, source, seed, weights, weight),
    }
}

#[cold]
fn first(
    turn: &mut Turn,
    source: &Source,
    seed: u64,
    weights: Weights,
    weight: impl Fn(u32) -> f64,
) -> Option<u32> {
    let hosts = &source.hosts;
    let start = |turns: &[u32]| Some(mix(seed).checked_rem(turns.len() as u64)? as u32);
    if let Some(cycle) = &source.cycle {
        *turn = Turn::Cycle(start(cycle)?);
        return pick(turn, source, seed, weights, weight);
    }
    let classes = (source.weighted && weights == Weights::Fixed)
        .then(|| WeightClasses::new(hosts, seed, &weight))
        .flatten();
    *turn = match classes {
        Some(classes) => Turn::Classes(Box::new(classes)),
        None if source.weighted => Turn::Schedule(Box::new(Schedule::new(hosts, seed, &weight))),
        None => Turn::Rotation(start(hosts)?),
    };
    pick(turn, source, seed, weights, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns over hosts with these weights.
    struct RoundRobin<'a> {
        weights: &'a [u32],
        source: Source,
        seed: u64,
        turn: Turn,
    }

    impl<'a> RoundRobin<'a> {
        fn new(weights: &'a [u32], seed: u64) -> Self {
            Self {
                weights,
                source: Source {
                    hosts: (0..weights.len() as u32).collect(),
                    weighted: weights.windows(2).any(|pair| pair[0] != pair[1]),
                    cycle: None,
                },
                seed,
                turn: Turn::First,
            }
        }

        fn pick(&mut self) -> Option<usize> {
            let weight = |host: u32| f64::from(self.weights[host as usize]);
            let host = pick(
                &mut self.turn,
                &self.source,
                self.seed,
                Weights::Fixed,
                weight,
            )?;
            Some(host as usize)
        }
    }

    fn counts(weights: &[u32], offset: u64, picks: usize) -> Vec<u32> {
        let mut cursor = RoundRobin::new(weights, offset);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            counts[cursor.pick().expect("there are hosts")] += 1;
        }
        counts
    }

    #[test]
    fn no_hosts_give_no_pick() {
        assert_eq!(RoundRobin::new(&[], 7).pick(), None);
    }

    #[test]
    fn equal_weights_rotate_from_some_offset() {
        let mut starts = std::collections::HashSet::new();
        for offset in 0..32 {
            let mut cursor = RoundRobin::new(&[1, 1, 1], offset);
            let picks: Vec<_> = (0..7).filter_map(|_| cursor.pick()).collect();
            starts.insert(picks[0]);
            let rotation: Vec<_> = (picks[0]..picks[0] + 7).map(|pick| pick % 3).collect();
            assert_eq!(picks, rotation);
        }
        assert_eq!(starts.len(), 3, "offsets start at every host");
    }

    #[test]
    fn equal_weights_differ_by_at_most_one() {
        for offset in 0..5 {
            let counts = counts(&[4, 4, 4], offset, 1000);
            let (min, max) = (counts.iter().min(), counts.iter().max());
            assert!(max.unwrap() - min.unwrap() <= 1, "{counts:?}");
        }
    }

    #[test]
    fn unequal_weights_are_exact_over_whole_cycles() {
        // A cycle of weights 1:2:5 is 8 picks; any 800 picks in a row hold
        // each host's share to within one pick a host.
        for offset in 0..20 {
            let counts = counts(&[1, 2, 5], offset, 800);
            for (count, share) in counts.iter().zip([100u32, 200, 500]) {
                assert!(count.abs_diff(share) <= 1, "{counts:?} at offset {offset}");
            }
        }
    }

    #[test]
    fn a_heavy_host_is_spread_out() {
        let mut cursor = RoundRobin::new(&[1, 3], 0);
        let picks: Vec<_> = (0..40).filter_map(|_| cursor.pick()).collect();
        let longest = picks.split(|&host| host == 0).map(<[usize]>::len).max();
        // Three in a row are its share; one more is the rounding of 1/3.
        assert!(longest <= Some(4), "a burst of the heavy host in {picks:?}");
    }
}
