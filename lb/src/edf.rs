//! Earliest deadline first: the schedule that spreads picks by weight.
//!
//! A host of weight `w` is due every `1/w` of virtual time, so that the picks
//! of a heavy host are spread out instead of coming in a burst. Weights are
//! asked for when a host is scheduled again, so that they may change between
//! picks (least request, slow start).

/// A schedule of one worker over one list of hosts: 16 bytes a host.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// A heap, the host that is due first on top.
    heap: Vec<Due>,
    next_order: u32,
    /// Picks since virtual time was last set back.
    picks: u32,
}

/// When a host is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// In virtual time.
    deadline: f64,
    /// Of two hosts that are due at the same time the one that has waited
    /// longer is first, as in a rotation.
    order: u32,
    host: u32,
}

impl Schedule {
    /// A schedule of these hosts that begins at a random point of its cycle,
    /// so that workers do not all begin with the same hosts. `seed` decides
    /// at which one, `weight` tells weights above 0.
    pub(crate) fn new(hosts: &[u32], seed: u64, weight: impl Fn(u32) -> f64) -> Self {
        let start = mix(seed);
        let longest = hosts
            .iter()
            .map(|host| interval(weight(*host)))
            .fold(1.0, f64::max);
        let begin = longest * (start >> 11) as f64 / (1u64 << 53) as f64;
        let mut schedule = Self {
            heap: Vec::with_capacity(hosts.len()),
            next_order: hosts.len() as u32,
            picks: 0,
        };
        // Hosts of equal weight are due at the same time: a random one of them
        // is first.
        let turned = mix(start) as usize % hosts.len().max(1);
        let (last, first) = hosts.split_at(turned);
        for (order, host) in (0..).zip(first.iter().chain(last)) {
            // Every host has been due at each multiple of its interval before.
            let interval = interval(weight(*host));
            let turns = (begin / interval).floor() + 1.0;
            schedule.heap.push(Due {
                deadline: (turns * interval - begin).max(0.0),
                order,
                host: *host,
            });
        }
        for parent in (0..schedule.heap.len().div_ceil(CHILDREN)).rev() {
            schedule.sift_down(parent);
        }
        schedule
    }

    /// Picks the host that is due first and schedules its next turn by the
    /// weight that it has now.
    pub(crate) fn pick(&mut self, weight: impl FnOnce(u32) -> f64) -> Option<u32> {
        let first = self.heap.first_mut()?;
        let now = first.deadline;
        let host = first.host;
        first.deadline += interval(weight(host));
        first.order = self.next_order;
        self.next_order = self.next_order.wrapping_add(1);
        self.sift_down(0);
        self.picks = self.picks.saturating_add(1);
        if now >= TIME_MAX && self.picks as usize >= self.heap.len() {
            self.set_back(now);
        }
        Some(host)
    }

    /// Virtual time starts again from 0, because sums of large and small
    /// numbers lose the small one.
    #[cold]
    fn set_back(&mut self, now: f64) {
        self.picks = 0;
        for due in &mut self.heap {
            due.deadline -= now;
        }
    }

    fn sift_down(&mut self, mut parent: usize) {
        let heap = &mut self.heap[..];
        let moved = heap[parent];
        loop {
            let begin = CHILDREN * parent + 1;
            let end = (begin + CHILDREN).min(heap.len());
            if begin >= end {
                break;
            }
            let child = match &heap[begin..end] {
                // In pairs: the two comparisons do not wait for each other.
                [a, b, c, d] => {
                    let left = usize::from(b.is_before(a));
                    let right = 2 + usize::from(d.is_before(c));
                    let is_right = heap[begin + right].is_before(&heap[begin + left]);
                    begin + if is_right { right } else { left }
                }
                some => first_of(some) + begin,
            };
            if !heap[child].is_before(&moved) {
                break;
            }
            heap[parent] = heap[child];
            parent = child;
        }
        heap[parent] = moved;
    }
}

#[cfg(test)]
impl Schedule {
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.heap.capacity() * size_of::<Due>()
    }
}

impl Due {
    fn is_before(&self, other: &Self) -> bool {
        // Orders wrap around: the difference says which one is younger. Without
        // short circuits, because which host is first cannot be predicted.
        let earlier = self.deadline < other.deadline;
        let same = self.deadline == other.deadline;
        earlier | (same & ((self.order.wrapping_sub(other.order) as i32) < 0))
    }
}

/// Which of a few is due first.
fn first_of(due: &[Due]) -> usize {
    let mut first = 0;
    for other in 1..due.len() {
        let before = due[other].is_before(&due[first]);
        first = if before { other } else { first };
    }
    first
}

/// Makes neighbouring seeds different ones (the finalizer of splitmix64).
pub(crate) fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

fn interval(weight: f64) -> f64 {
    1.0 / weight.max(WEIGHT_MIN)
}

/// Children of a place in the heap: four of them are a cache line, and the
/// heap is half as deep as with two.
const CHILDREN: usize = 4;

/// When virtual time is set back: with 2^16 whole rounds behind it a double
/// still tells a round's 2^-36th part.
const TIME_MAX: f64 = 65536.0;

/// Smaller weights count as this one, so that every deadline is finite.
const WEIGHT_MIN: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::{Due, Schedule};

    fn picks(weights: &[f64], seed: u64, number: usize) -> Vec<usize> {
        let hosts: Vec<u32> = (0..weights.len() as u32).collect();
        let weight = |host: u32| weights[host as usize];
        let mut schedule = Schedule::new(&hosts, seed, weight);
        (0..number)
            .map(|_| schedule.pick(weight).expect("there are hosts") as usize)
            .collect()
    }

    #[test]
    fn a_host_costs_sixteen_bytes() {
        assert_eq!(size_of::<Due>(), 16);
    }

    #[test]
    fn no_hosts_give_no_pick() {
        let mut schedule = Schedule::new(&[], 1, |_| 1.0);
        assert_eq!(schedule.pick(|_| 1.0), None);
    }

    #[test]
    fn any_window_holds_each_share_to_within_one_pick() {
        let weights = [1.0, 2.0, 5.0, 0.5];
        let sum: f64 = weights.iter().sum();
        for seed in 0..50u64 {
            let picks = picks(&weights, seed, 1700);
            for window in [17, 170, 850] {
                for begin in [0, 1, 5, 300, 800] {
                    let part = &picks[begin..begin + window];
                    for (host, weight) in weights.iter().enumerate() {
                        let count = part.iter().filter(|pick| **pick == host).count();
                        let share = window as f64 * weight / sum;
                        // A window of picks is a window of time, give or take
                        // the picks that are due at its edges.
                        assert!(
                            (count as f64 - share).abs() <= 2.0,
                            "host {host}: {count} of {share} in {window} picks, seed {seed}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn starts_differ_and_cover_all_hosts() {
        let weights = [1.0, 2.0, 3.0, 4.0];
        let mut first = [0u32; 4];
        for seed in 0..1000u64 {
            first[picks(&weights, seed, 1)[0]] += 1;
        }
        assert!(first.iter().all(|count| *count > 20), "{first:?}");
    }

    #[test]
    fn equal_weights_rotate() {
        let picks = picks(&[3.0; 4], u64::MAX / 3, 400);
        for turn in picks.chunks(4) {
            let mut turn = turn.to_vec();
            turn.sort_unstable();
            assert_eq!(turn, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn setting_time_back_changes_no_share() {
        // Intervals of 1000 and 2000: time is set back every few picks.
        let picks = picks(&[1e-3, 5e-4], 0, 30_000);
        let light = picks.iter().filter(|pick| **pick == 1).count();
        assert!(light.abs_diff(10_000) <= 1, "{light}");
    }

    #[test]
    fn a_weight_that_changes_takes_effect_at_the_next_turn() {
        let hosts = [0, 1];
        let mut schedule = Schedule::new(&hosts, 0, |_| 1.0);
        let heavy = |host: u32| if host == 0 { 9.0 } else { 1.0 };
        let picks: Vec<_> = (0..1002).map(|_| schedule.pick(heavy)).collect();
        let light = picks.iter().filter(|pick| **pick == Some(1)).count();
        assert!(light.abs_diff(100) <= 1, "{light}");
    }

    #[test]
    fn weights_of_nothing_and_of_everything_are_survived() {
        let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1.0];
        let picks = picks(&odd, 12345, 1000);
        assert!(picks.iter().all(|pick| *pick < odd.len()));
    }
}
