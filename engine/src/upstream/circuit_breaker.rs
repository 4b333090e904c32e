//! Circuit breakers (`envoy.config.cluster.v3.CircuitBreakers`): how much a
//! cluster may have open at once.
//!
//! The limits hold for the whole process, not for each worker. A request must
//! not touch a counter that other cores write, so each worker leases a few
//! permits of the shared [`Budget`] at a time and reuses them; it hands back
//! what it has not used when it runs idle. Small limits are leased one by one,
//! which makes them exact at the cost of that shared counter.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::worker::shared::Budget;

/// Permits are leased in portions of this part of the limit, so that a few
/// workers cannot sit on a large share of it unused.
const LEASES_PER_LIMIT: u32 = 64;

/// One limit of a cluster as one worker sees it.
pub struct Breaker {
    budget: Arc<Budget>,
    lease: u32,
    /// Permits leased from the budget and not in use.
    spare: Cell<u32>,
}

impl Breaker {
    /// A worker's share in `budget`.
    #[must_use]
    pub fn new(budget: Arc<Budget>) -> Rc<Self> {
        let lease = (budget.limit() / LEASES_PER_LIMIT).max(1);
        Rc::new(Self {
            budget,
            lease,
            spare: Cell::new(0),
        })
    }

    /// Takes one permit; `None` when the limit is reached.
    #[must_use]
    pub fn acquire(self: &Rc<Self>) -> Option<Permit> {
        let spare = self.spare.get();
        if spare > 0 {
            self.spare.set(spare - 1);
            return Some(Permit(Rc::clone(self)));
        }
        let taken = self.budget.take(self.lease);
        if taken == 0 {
            return None;
        }
        self.spare.set(taken - 1);
        Some(Permit(Rc::clone(self)))
    }

    /// Whether the limit is reached, as the `*_open` gauges show it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.spare.get() == 0 && self.budget.is_exhausted()
    }

    fn release(&self) {
        let spare = self.spare.get() + 1;
        // One lease is kept for the next request; anything above goes back, so
        // that what one worker holds unused stays below two leases.
        if spare >= 2 * self.lease || self.lease == 1 {
            let back = if self.lease == 1 { spare } else { self.lease };
            self.budget.give_back(back);
            self.spare.set(spare - back);
        } else {
            self.spare.set(spare);
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.budget.give_back(self.spare.get());
    }
}

/// The right to have one connection, pending request or request open. Dropping
/// it gives it back.
pub struct Permit(Rc<Breaker>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_one_is_exact_across_workers() {
        let budget = Arc::new(Budget::new(1));
        let (first, second) = (Breaker::new(Arc::clone(&budget)), Breaker::new(budget));
        let permit = first.acquire().expect("nothing is open");
        assert!(first.acquire().is_none());
        assert!(second.acquire().is_none());
        assert!(second.is_open());
        drop(permit);
        assert!(!second.is_open());
        assert!(second.acquire().is_some(), "the permit was given back");
    }

    #[test]
    fn a_worker_alone_can_use_the_whole_limit() {
        let breaker = Breaker::new(Arc::new(Budget::new(1024)));
        let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire()).collect();
        assert_eq!(permits.len(), 1024);
    }

    #[test]
    fn an_idle_worker_keeps_less_than_two_leases() {
        let budget = Arc::new(Budget::new(1024));
        let idle = Breaker::new(Arc::clone(&budget));
        let permits: Vec<_> = (0..500).filter_map(|_| idle.acquire()).collect();
        drop(permits);
        let busy = Breaker::new(budget);
        let permits: Vec<_> = std::iter::from_fn(|| busy.acquire()).collect();
        let kept = 1024 - permits.len() as u32;
        assert!(kept < 2 * idle.lease, "{kept} permits are out of reach");
    }

    #[test]
    fn a_worker_that_ends_gives_back_what_it_leased() {
        let budget = Arc::new(Budget::new(128));
        drop(Breaker::new(Arc::clone(&budget)).acquire());
        let breaker = Breaker::new(budget);
        let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire()).collect();
        assert_eq!(permits.len(), 128);
    }
}
