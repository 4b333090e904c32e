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

use ringway_config::cluster::{RetryBudget, Thresholds};

use crate::stats::Gauge;
use crate::worker::shared::{Budget, SharedCount};

/// Permits are leased in portions of this part of the limit, so that a few
/// workers cannot sit on a large share of it unused.
const LEASES_PER_LIMIT: u32 = 64;

/// One limit of a cluster as one worker sees it.
pub struct Breaker {
    budget: Arc<Budget>,
    lease: u32,
    /// Permits leased from the budget and not in use.
    spare: Cell<u32>,
    /// `*_open`: 1 while the budget is empty. The worker that takes the last
    /// permit adds one, the one that gives the first back takes it away.
    open: Gauge,
}

impl Breaker {
    /// A worker's share in `budget`.
    #[must_use]
    pub fn new(budget: Arc<Budget>, open: Gauge) -> Rc<Self> {
        let lease = (budget.limit() / LEASES_PER_LIMIT).max(1);
        Rc::new(Self {
            budget,
            lease,
            spare: Cell::new(0),
            open,
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
        if taken.emptied {
            self.open.inc();
        }
        if taken.permits == 0 {
            return None;
        }
        self.spare.set(taken.permits - 1);
        Some(Permit(Rc::clone(self)))
    }

    fn release(&self) {
        let spare = self.spare.get() + 1;
        // One lease is kept for the next request; anything above goes back, so
        // that what one worker holds unused stays below two leases.
        if spare >= 2 * self.lease || self.lease == 1 {
            let back = if self.lease == 1 { spare } else { self.lease };
            self.give_back(back);
            self.spare.set(spare - back);
        } else {
            self.spare.set(spare);
        }
    }

    fn give_back(&self, permits: u32) {
        if self.budget.give_back(permits) {
            self.open.dec();
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.give_back(self.spare.get());
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

/// The limit of retries in flight, which is exact: retries are rare enough to
/// be counted one by one.
pub struct RetryBreaker {
    count: Arc<SharedCount>,
    max_retries: u32,
    budget: Option<RetryBudget>,
    /// `rq_retry_open`: 1 while `max_retries` are in flight, with a budget
    /// too, as in Envoy.
    open: Gauge,
}

impl RetryBreaker {
    /// A worker's view of the process's count.
    #[must_use]
    pub fn new(count: Arc<SharedCount>, thresholds: &Thresholds, open: Gauge) -> Rc<Self> {
        Rc::new(Self {
            count,
            max_retries: thresholds.max_retries,
            budget: thresholds.retry_budget,
            open,
        })
    }

    /// Counts a retry; `None` when the limit is reached. `active` says how
    /// many requests are in flight or waiting, in the whole process; it is
    /// asked only if the limit depends on it.
    #[must_use]
    pub fn acquire(self: &Rc<Self>, active: impl FnOnce() -> u64) -> Option<RetryPermit> {
        let limit = match &self.budget {
            None => self.max_retries,
            Some(budget) => budget_limit(budget, active()),
        };
        let count = self.count.add_below(limit)?;
        if count == self.max_retries {
            self.open.inc();
        }
        Some(RetryPermit(Rc::clone(self)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a number of requests is positive; whatever is above u32 is no limit"
)]
fn budget_limit(budget: &RetryBudget, active: u64) -> u32 {
    let part = (budget.percent / 100.0 * active as f64) as u32;
    part.max(budget.min_concurrency)
}

/// The right to have one retry in flight. Dropping it gives it back.
pub struct RetryPermit(Rc<RetryBreaker>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        if self.0.count.subtract() == self.0.max_retries {
            self.0.open.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Store;

    fn retries(max_retries: u32, retry_budget: Option<RetryBudget>) -> Thresholds {
        Thresholds {
            max_retries,
            retry_budget,
            ..Thresholds::default()
        }
    }

    #[test]
    fn retries_are_limited_across_workers() {
        let store = Store::new();
        store.shard(None).install();
        let open = store.gauge("rq_retry_open");
        let count = Arc::new(SharedCount::default());
        let thresholds = retries(2, None);
        let first = RetryBreaker::new(Arc::clone(&count), &thresholds, open);
        let second = RetryBreaker::new(count, &thresholds, open);
        let none = || unreachable!("a fixed limit depends on nothing");
        let one = first.acquire(none).expect("none is in flight");
        assert_eq!(store.gauge_value(open), 0);
        let two = second.acquire(none).expect("one is in flight");
        assert_eq!(store.gauge_value(open), 1);
        assert!(first.acquire(none).is_none());
        drop(one);
        assert_eq!(store.gauge_value(open), 0);
        assert!(second.acquire(none).is_some());
        drop(two);
    }

    #[test]
    fn a_retry_budget_is_a_part_of_the_requests() {
        let store = Store::new();
        store.shard(None).install();
        let budget = RetryBudget {
            percent: 20.0,
            min_concurrency: 1,
        };
        for (active, allowed) in [(0, 1), (5, 1), (9, 1), (10, 2), (50, 10)] {
            let breaker = RetryBreaker::new(
                Arc::default(),
                &retries(3, Some(budget)),
                store.gauge("rq_retry_open"),
            );
            let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire(|| active)).collect();
            assert_eq!(permits.len(), allowed, "{active} requests");
            drop(permits);
            assert_eq!(store.value("rq_retry_open"), Some(0));
        }
    }

    #[test]
    fn a_limit_of_one_is_exact_across_workers() {
        let store = Store::new();
        store.shard(None).install();
        let open = store.gauge("rq_open");
        let is_open = || store.gauge_value(open);
        let budget = Arc::new(Budget::new(1));
        let (first, second) = (
            Breaker::new(Arc::clone(&budget), open),
            Breaker::new(budget, open),
        );
        let permit = first.acquire().expect("nothing is open");
        assert!(first.acquire().is_none());
        assert!(second.acquire().is_none());
        assert_eq!(is_open(), 1);
        drop(permit);
        assert_eq!(is_open(), 0);
        assert!(second.acquire().is_some(), "the permit was given back");
    }

    #[test]
    fn a_worker_alone_can_use_the_whole_limit() {
        let breaker = Breaker::new(Arc::new(Budget::new(1024)), Store::new().gauge("open"));
        let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire()).collect();
        assert_eq!(permits.len(), 1024);
    }

    #[test]
    fn an_idle_worker_keeps_less_than_two_leases() {
        let budget = Arc::new(Budget::new(1024));
        let open = Store::new().gauge("open");
        let idle = Breaker::new(Arc::clone(&budget), open);
        let permits: Vec<_> = (0..500).filter_map(|_| idle.acquire()).collect();
        drop(permits);
        let busy = Breaker::new(budget, open);
        let permits: Vec<_> = std::iter::from_fn(|| busy.acquire()).collect();
        let kept = 1024 - permits.len() as u32;
        assert!(kept < 2 * idle.lease, "{kept} permits are out of reach");
    }

    #[test]
    fn a_worker_that_ends_gives_back_what_it_leased() {
        let budget = Arc::new(Budget::new(128));
        let open = Store::new().gauge("open");
        drop(Breaker::new(Arc::clone(&budget), open).acquire());
        let breaker = Breaker::new(budget, open);
        let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire()).collect();
        assert_eq!(permits.len(), 128);
    }
}
