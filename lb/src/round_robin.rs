//! Weighted round robin (`envoy.load_balancing_policies.round_robin`).
//!
//! Equal weights are a plain rotation. Unequal weights are an earliest
//! deadline first schedule: a host of weight `w` is due every `1/w`, so that
//! the picks of a heavy host are spread out instead of coming in a burst.
//!
//! Every worker starts its rotation at its own random offset. Otherwise the
//! first host would take the first request of every worker, which is visible
//! as a burst whenever a configuration is applied.

/// The cursor of one worker over one set of hosts.
#[derive(Debug, Clone)]
pub enum RoundRobin {
    /// All hosts weigh the same: `next` is the index of the next pick.
    Equal {
        /// Number of hosts.
        hosts: usize,
        /// Index of the host that is picked next.
        next: usize,
    },
    /// Hosts weigh differently: the schedule is a binary heap by deadline.
    Weighted(EarliestDeadline),
}

impl RoundRobin {
    /// A cursor over hosts with these weights (in Envoy's range, 1 and up; a
    /// weight of 0 counts as 1). `offset` is any random number; it decides
    /// where the rotation starts.
    #[must_use]
    pub fn new(weights: &[u32], offset: u64) -> Self {
        let hosts = weights.len();
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        if equal {
            let next = (offset % hosts.max(1) as u64) as usize;
            return Self::Equal { hosts, next };
        }
        let mut schedule = EarliestDeadline::new(weights);
        // Walking a random part of one cycle is the weighted counterpart of a
        // random first index.
        for _ in 0..offset % (hosts as u64 * 4) {
            schedule.next();
        }
        Self::Weighted(schedule)
    }

    /// The index of the host that takes the next request; `None` when there
    /// are no hosts.
    pub fn pick(&mut self) -> Option<usize> {
        match self {
            Self::Equal { hosts: 0, .. } => None,
            Self::Equal { hosts, next } => {
                let picked = *next;
                *next = if picked + 1 == *hosts { 0 } else { picked + 1 };
                Some(picked)
            }
            Self::Weighted(schedule) => schedule.next(),
        }
    }
}

/// An earliest-deadline-first schedule over hosts of unequal weight.
#[derive(Debug, Clone)]
pub struct EarliestDeadline {
    heap: Vec<Due>,
}

/// When a host is due, in units of virtual time.
#[derive(Debug, Clone, Copy)]
struct Due {
    deadline: f64,
    /// Ties are taken in the order of insertion, as a rotation would.
    order: u64,
    interval: f64,
    host: usize,
}

impl EarliestDeadline {
    fn new(weights: &[u32]) -> Self {
        let mut schedule = Self {
            heap: Vec::with_capacity(weights.len()),
        };
        for (host, &weight) in weights.iter().enumerate() {
            let interval = 1.0 / f64::from(weight.max(1));
            schedule.heap.push(Due {
                deadline: interval,
                order: host as u64,
                interval,
                host,
            });
        }
        for parent in (0..schedule.heap.len() / 2).rev() {
            schedule.sift_down(parent);
        }
        schedule
    }

    /// Picks the host that is due first and schedules its next turn.
    fn next(&mut self) -> Option<usize> {
        let hosts = self.heap.len() as u64;
        let first = self.heap.first_mut()?;
        first.deadline += first.interval;
        first.order += hosts;
        let host = first.host;
        self.sift_down(0);
        Some(host)
    }

    fn sift_down(&mut self, mut parent: usize) {
        loop {
            let mut least = parent;
            for child in [2 * parent + 1, 2 * parent + 2] {
                if child < self.heap.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == parent {
                return;
            }
            self.heap.swap(parent, least);
            parent = least;
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.heap[a], &self.heap[b]);
        (a.deadline, a.order) < (b.deadline, b.order)
    }
}

#[cfg(test)]
mod tests {
    use super::RoundRobin;

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
    fn equal_weights_rotate_from_the_offset() {
        let mut cursor = RoundRobin::new(&[1, 1, 1], 2);
        let picks: Vec<_> = (0..7).filter_map(|_| cursor.pick()).collect();
        assert_eq!(picks, [2, 0, 1, 2, 0, 1, 2]);
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
