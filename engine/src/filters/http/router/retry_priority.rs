//! `retry_priority`: which priorities of a cluster another try goes to.

use std::rc::Rc;

use ringway_lb::priority::{Loads, PriorityLoads};

use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;

/// `envoy.retry_priorities.previous_priorities`: tries keep away from the
/// priorities of the hosts before them, until none is left.
pub(super) struct PreviousPriorities {
    /// The loads change after so many tries, at least 1.
    update_frequency: usize,
    attempted: Vec<Rc<Host>>,
    /// By priority; those behind the end are not excluded.
    excluded: Vec<bool>,
    /// The loads that were calculated last.
    adjusted: Option<Loads>,
    /// Whether they hold for the next try.
    in_force: bool,
}

impl PreviousPriorities {
    pub fn new(update_frequency: u32) -> Self {
        Self {
            update_frequency: update_frequency.max(1) as usize,
            attempted: Vec::new(),
            excluded: Vec::new(),
            adjusted: None,
            in_force: false,
        }
    }

    /// Remembers the host of a try.
    pub fn note_host(&mut self, host: &Rc<Host>) {
        self.attempted.push(Rc::clone(host));
    }

    /// The loads of the next try, where they are not the cluster's own.
    pub fn loads(&self) -> Option<&Loads> {
        self.adjusted.as_ref().filter(|_| self.in_force)
    }

    /// Another try is about to be made.
    pub fn update(&mut self, cluster: &Cluster) {
        let tries = self.attempted.len();
        self.in_force = tries >= self.update_frequency;
        if !self.in_force || !tries.is_multiple_of(self.update_frequency) {
            return;
        }
        for host in &self.attempted {
            if let Some(priority) = cluster.priority_of(host) {
                let priority = priority as usize;
                if self.excluded.len() <= priority {
                    self.excluded.resize(priority + 1, false);
                }
                self.excluded[priority] = true;
            }
        }
        let adjusted = cluster.with_priorities(|priorities| self.adjust(priorities));
        self.in_force = adjusted.is_some();
        self.adjusted = adjusted;
    }

    /// The loads without the excluded priorities, or of all when nothing else
    /// is available; `None` when nothing is at all.
    fn adjust(&mut self, priorities: &PriorityLoads) -> Option<Loads> {
        if let Some(loads) = without(priorities, &self.excluded) {
            return Some(loads);
        }
        self.excluded.clear();
        self.attempted.clear();
        without(priorities, &[])
    }
}

/// Loads in which every priority that is not excluded takes as much as it can,
/// healthy hosts before degraded ones, until the whole is given away.
fn without(priorities: &PriorityLoads, excluded: &[bool]) -> Option<Loads> {
    let usable = |availability: &[u32]| -> Vec<u32> {
        let of = |(priority, percent): (usize, &u32)| match excluded.get(priority) {
            Some(true) => 0,
            _ => *percent,
        };
        availability.iter().enumerate().map(of).collect()
    };
    let (healthy, degraded) = (usable(&priorities.healthy), usable(&priorities.degraded));
    let available = healthy.iter().chain(&degraded).sum::<u32>().min(100);
    if available == 0 {
        return None;
    }
    let mut left = 100;
    let mut loads = Loads {
        healthy: vec![0; healthy.len()],
        degraded: vec![0; degraded.len()],
    };
    // What rounding leaves goes round once more.
    while left > 0 {
        let mut give = |loads: &mut [u32], availability: &[u32]| {
            for (load, percent) in loads.iter_mut().zip(availability) {
                let share = (percent * 100 / available).min(left);
                *load += share;
                left -= share;
            }
        };
        give(&mut loads.healthy, &healthy);
        give(&mut loads.degraded, &degraded);
    }
    Some(loads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priorities(healthy: &[u32], degraded: &[u32]) -> PriorityLoads {
        PriorityLoads {
            counts: Vec::new(),
            loads: Loads::default(),
            healthy: healthy.to_vec(),
            degraded: degraded.to_vec(),
            panic: vec![false; healthy.len()],
        }
    }

    #[test]
    fn what_is_excluded_gets_nothing() {
        for (healthy, degraded, excluded, expected) in [
            (&[100, 100][..], &[0, 0][..], &[][..], Some([100, 0, 0, 0])),
            (&[100, 100], &[0, 0], &[true], Some([0, 100, 0, 0])),
            (&[100, 100], &[0, 0], &[false, true], Some([100, 0, 0, 0])),
            (&[100, 100], &[0, 0], &[true, true], None),
            (&[0, 0], &[0, 0], &[], None),
            (&[70, 100], &[0, 0], &[], Some([70, 30, 0, 0])),
            // A part is scaled up to the whole.
            (&[70, 30], &[0, 0], &[false, true], Some([100, 0, 0, 0])),
            (&[40, 20], &[0, 0], &[], Some([67, 33, 0, 0])),
            (&[0, 50], &[100, 0], &[], Some([0, 50, 50, 0])),
            (&[0, 50], &[100, 0], &[false, true], Some([0, 0, 100, 0])),
            (&[0, 50], &[100, 0], &[true], Some([0, 100, 0, 0])),
        ] {
            let loads = without(&priorities(healthy, degraded), excluded);
            let loads = loads.map(|loads| [loads.healthy, loads.degraded].concat());
            let expected = expected.map(|loads| loads.to_vec());
            assert_eq!(loads, expected, "{healthy:?} {degraded:?} {excluded:?}");
        }
    }

    #[test]
    fn when_none_is_left_all_are_tried_again() {
        let mut state = PreviousPriorities::new(1);
        let all = priorities(&[100, 100], &[0, 0]);
        state.excluded = vec![true, true];
        let loads = state.adjust(&all).expect("loads");
        assert_eq!(loads.healthy, [100, 0]);
        assert!(state.excluded.is_empty());
        assert_eq!(state.adjust(&priorities(&[0], &[0])), None);
    }
}
