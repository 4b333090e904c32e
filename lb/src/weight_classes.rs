//! Turns of hosts among which few different weights occur, which is the usual
//! case: hosts of equal weight are one class and rotate, and classes are
//! scheduled by the sum of their weights. A host of weight `w` is due every
//! `1/w` as in the schedule of single hosts, but the heap has a place for each
//! weight instead of each host.

use crate::edf::{Schedule, mix};

/// The turns of one worker over one list of hosts.
#[derive(Debug, Clone)]
pub(crate) struct WeightClasses {
    schedule: Schedule,
    classes: Box<[Class]>,
    /// Class by class.
    hosts: Box<[u32]>,
}

#[derive(Debug, Clone)]
struct Class {
    /// Of all its hosts.
    weight: f64,
    begin: u32,
    end: u32,
    next: u32,
}

impl WeightClasses {
    /// The turns of hosts whose weights do not change; `None` when the weights
    /// are too many for classes to save anything. `seed` decides where the
    /// turns begin.
    pub(crate) fn new(hosts: &[u32], seed: u64, weight: impl Fn(u32) -> f64) -> Option<Self> {
        let mut hosts = hosts.to_vec();
        hosts.sort_by(|a, b| weight(*a).total_cmp(&weight(*b)));
        let of_class = |a: &u32, b: &u32| weight(*a).total_cmp(&weight(*b)).is_eq();
        let count = hosts.chunk_by(of_class).count();
        if count * HOSTS_A_CLASS > hosts.len() {
            return None;
        }
        let mut begin = 0;
        let classes: Box<[Class]> = hosts
            .chunk_by(of_class)
            .map(|class| {
                let length = class.len() as u32;
                let first = mix(seed ^ u64::from(begin)) % u64::from(length);
                let class = Class {
                    weight: weight(class[0]) * f64::from(length),
                    begin,
                    end: begin + length,
                    next: begin + first as u32,
                };
                begin += length;
                class
            })
            .collect();
        let numbers: Vec<u32> = (0..classes.len() as u32).collect();
        let schedule = Schedule::new(&numbers, seed, |class| classes[class as usize].weight);
        Some(Self {
            schedule,
            classes,
            hosts: hosts.into(),
        })
    }

    /// The host whose turn it is.
    pub(crate) fn pick(&mut self) -> Option<u32> {
        let classes = &self.classes;
        let weight = |class: u32| classes[class as usize].weight;
        let class = self.schedule.pick(weight)?;
        let class = &mut self.classes[class as usize];
        let host = self.hosts[class.next as usize];
        class.next += 1;
        if class.next == class.end {
            class.next = class.begin;
        }
        Some(host)
    }

    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.schedule.heap_bytes()
            + size_of_val(&*self.classes)
            + size_of_val(&*self.hosts)
    }
}

/// With so many hosts to a class a host costs no more than in a schedule of
/// its own: 4 bytes, and its part of the 40 that a class has.
const HOSTS_A_CLASS: usize = 4;

#[cfg(test)]
mod tests {
    use super::WeightClasses;

    fn classes(weights: &[f64], seed: u64) -> Option<WeightClasses> {
        let hosts: Vec<u32> = (0..weights.len() as u32).collect();
        WeightClasses::new(&hosts, seed, |host| weights[host as usize])
    }

    #[test]
    fn many_different_weights_are_left_to_the_schedule_of_hosts() {
        assert!(classes(&[], 0).is_some_and(|mut none| none.pick().is_none()));
        assert!(classes(&[1.0, 2.0, 1.0], 0).is_none());
        assert!(classes(&[1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0], 0).is_none());
        assert!(classes(&[1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0], 0).is_some());
        assert!(classes(&[f64::NAN; 8], 0).is_some());
    }

    #[test]
    fn any_window_holds_each_share_to_within_two_picks() {
        let weights: Vec<f64> = (0..60).map(|host| f64::from(host * 7 % 5 + 1)).collect();
        let whole: f64 = weights.iter().sum();
        for seed in 0..20 {
            let mut turns = classes(&weights, seed).expect("five classes");
            let picks: Vec<usize> = (0..3600)
                .map(|_| turns.pick().expect("there are hosts") as usize)
                .collect();
            for (begin, window) in [(0, 180), (0, 3600), (77, 360), (500, 1800)] {
                for (host, weight) in weights.iter().enumerate() {
                    let part = &picks[begin..begin + window];
                    let count = part.iter().filter(|pick| **pick == host).count();
                    let share = window as f64 * weight / whole;
                    assert!(
                        (count as f64 - share).abs() <= 2.0,
                        "host {host}: {count} of {share} in {window}, seed {seed}"
                    );
                }
            }
        }
    }

    #[test]
    fn hosts_of_a_class_are_spread_out() {
        // One heavy and nine light ones: never two turns of a light host with
        // less than eight others between.
        let mut weights = vec![1.0; 9];
        weights.extend([9.0; 9]);
        let mut turns = classes(&weights, 3).expect("two classes");
        let picks: Vec<_> = (0..1000).filter_map(|_| turns.pick()).collect();
        let light: Vec<_> = (0..1000).filter(|pick| picks[*pick] == 0).collect();
        assert!(light.len() >= 10, "{light:?}");
        for pair in light.windows(2) {
            assert!((85..=95).contains(&(pair[1] - pair[0])), "{light:?}");
        }
    }

    #[test]
    fn a_host_costs_at_most_sixteen_bytes() {
        let weights: Vec<f64> = (0..10_000).map(|host| f64::from(host / 4)).collect();
        let turns = classes(&weights, 1).expect("2,500 classes");
        let bytes = turns.heap_bytes();
        assert!(bytes <= 16 * 10_000 + 200, "{bytes}");
    }

    #[test]
    fn turns_begin_at_any_host() {
        let weights = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0];
        let mut first = [0; 8];
        for seed in 0..400 {
            let mut turns = classes(&weights, seed).expect("two classes");
            first[turns.pick().expect("there are hosts") as usize] += 1;
        }
        assert!(first.iter().all(|count| *count > 10), "{first:?}");
    }
}
