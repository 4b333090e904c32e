//! Earliest deadline first for weights that do not change and are whole: the
//! schedule comes round, so all of its turns can be laid down.
//!
//! The order is that of Envoy's schedule. A host of weight `w` is due at each
//! multiple of `1/w`. Of several that are due at the same time the one that
//! has waited longest is first, which is the lightest; of equal ones the first
//! of the list.

use std::sync::Arc;

/// The turns of these hosts until they come round; `None` when that takes too
/// many. `weight` tells weights above 0.
pub(crate) fn cycle(hosts: &[u32], weight: impl Fn(u32) -> u32) -> Option<Arc<[u32]>> {
    let weights = || hosts.iter().map(|host| u64::from(weight(*host)));
    let unit = weights().fold(0, greatest_common_divisor);
    let length: u64 = weights()
        .map(|weight| weight.checked_div(unit))
        .sum::<Option<u64>>()?;
    let max = (hosts.len() * TURNS_A_HOST_MAX).max(TURNS_MIN);
    if hosts.is_empty() || length > max as u64 {
        return None;
    }
    let mut turns = Vec::with_capacity(length as usize);
    for (host, weight) in hosts.iter().zip(weights()) {
        let weight = weight / unit;
        turns.extend((1..=weight).map(|turn| Turn {
            turn,
            weight,
            host: *host,
        }));
    }
    // A stable sort: equal ones stay in the order of the list.
    turns.sort_by(|a, b| {
        let time = (a.turn * b.weight).cmp(&(b.turn * a.weight));
        time.then(a.weight.cmp(&b.weight))
    });
    Some(turns.into_iter().map(|turn| turn.host).collect())
}

/// Whose turn it is in a list that begins again at its end; `next` moves on.
#[inline]
pub(crate) fn next_of(turns: &[u32], next: &mut u32) -> Option<u32> {
    let one = *turns.get(*next as usize)?;
    *next += 1;
    if *next as usize == turns.len() {
        *next = 0;
    }
    Some(one)
}

/// The host is due at `turn / weight`.
struct Turn {
    turn: u64,
    weight: u64,
    host: u32,
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => greatest_common_divisor(b, a % b),
    }
}

/// With so many turns a host costs what it costs in a schedule of each worker,
/// 16 bytes, but all workers share them.
const TURNS_A_HOST_MAX: usize = 4;

/// Few hosts may have so many turns: they are a KiB.
const TURNS_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use super::cycle;
    use crate::edf::{Schedule, mix};

    fn turns(weights: &[u32]) -> Option<Vec<u32>> {
        let hosts: Vec<u32> = (0..weights.len() as u32).collect();
        cycle(&hosts, |host| weights[host as usize]).map(|turns| turns.to_vec())
    }

    #[test]
    fn turns_are_those_of_the_schedule() {
        for (weights, expected) in [
            (&[1, 3, 1][..], &[1, 1, 0, 2, 1][..]),
            (&[10, 30, 10], &[1, 1, 0, 2, 1]),
            (&[1, 2], &[1, 0, 1]),
            (&[2, 1], &[0, 1, 0]),
            (&[5], &[0]),
            (&[2, 3], &[1, 0, 1, 0, 1]),
            (&[1, 2, 4, 2], &[2, 1, 3, 2, 2, 0, 1, 3, 2]),
        ] {
            assert_eq!(turns(weights).as_deref(), Some(expected), "{weights:?}");
        }
    }

    /// As many turns as weight, and spread as the schedule of single hosts
    /// spreads them.
    #[test]
    fn any_window_holds_each_share_to_within_one_turn() {
        for round in 0..200 {
            let number = |place: u64, below: u64| mix(round << 8 | place) % below;
            let count = number(0, 38) + 2;
            let weight = |host: u64| number(host + 1, 6) as u32 + 1;
            let weights: Vec<u32> = (0..count).map(weight).collect();
            let turns = turns(&weights).expect("they come round soon");
            let twice = [&turns[..], &turns[..]].concat();
            let sum: u32 = weights.iter().sum();
            for window in [1, turns.len() / 3, turns.len() / 2, turns.len()] {
                for begin in [0, 1, turns.len() / 2, turns.len() - 1] {
                    let part = &twice[begin..begin + window];
                    for (host, weight) in (0..).zip(&weights) {
                        let count = part.iter().filter(|turn| **turn == host).count() as f64;
                        let share = window as f64 * f64::from(*weight) / f64::from(sum);
                        let bound = 2.0 * (weights.len() as f64 / f64::from(sum)).max(1.0);
                        assert!((count - share).abs() <= bound, "{weights:?}: {host}");
                    }
                }
            }
            let hosts: Vec<u32> = (0..weights.len() as u32).collect();
            let weight = |host: u32| f64::from(weights[host as usize]);
            let mut schedule = Schedule::new(&hosts, 7, weight);
            let mut counts = vec![0; weights.len()];
            for _ in 0..turns.len() * 3 {
                counts[schedule.pick(weight).expect("a host") as usize] += 1;
            }
            for (host, count) in (0..).zip(counts) {
                let own = turns.iter().filter(|turn| **turn == host).count() * 3;
                assert!(own.abs_diff(count) <= 1, "{weights:?}: {host}");
            }
        }
    }

    #[test]
    fn what_does_not_come_round_soon_is_left_to_the_schedule() {
        assert_eq!(turns(&[]), None);
        assert_eq!(turns(&[128, 129]), None);
        assert!(turns(&[127, 129]).is_some());
        assert!(turns(&[u32::MAX, u32::MAX]).is_some());
        assert_eq!(turns(&[u32::MAX, 1]), None);
        let many: Vec<u32> = (0..1000).map(|host| host % 7 + 1).collect();
        assert_eq!(turns(&many).map(|turns| turns.len()), Some(3997));
        let heavier: Vec<u32> = (0..1000).map(|host| host % 8 + 1).collect();
        assert_eq!(turns(&heavier), None);
    }
}
