//! Circuit breakers (`envoy.config.cluster.v3.CircuitBreakers`): how much a
//! cluster may have open at once.
//!
//! The limits hold for the whole process, not for each worker, and exactly: a
//! limit of N lets N in whatever the number of workers. What is rare
//! (connections, requests that wait, retries, pools) is counted one by one in
//! a [`SharedLimit`]. Every request takes a permit of a [`Budget`], which
//! workers do not meet at while they keep up their load.
//!
//! What `circuit_breakers.*` statistics show is read from these counts when
//! somebody asks: keeping gauges would be a write for every request.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::circuit_breakers::{RetryBudget, Thresholds};

use crate::reactor;
use crate::stats::{Computed, Store};
use crate::worker::shared::limits::{Budget, Share, SharedLimit, SharedPart};

/// The process-wide limits of one routing priority.
pub struct Limits {
    /// Connections to all hosts, open or being opened.
    pub connections: Arc<SharedLimit>,
    /// Requests that wait for a connection.
    pub pending_requests: Arc<SharedLimit>,
    /// Requests in flight.
    pub requests: Arc<Budget>,
    /// Retries in flight.
    pub retries: Arc<RetryLimit>,
    /// Pools with connections; the largest number is no limit.
    pub pools: Arc<SharedLimit>,
}

/// The limit of retries in flight.
pub struct RetryLimit {
    count: SharedLimit,
    /// The retry budget: takes the place of the fixed limit.
    part: SharedPart,
}

impl Limits {
    /// The limits of a cluster that was `created` then, before anything is open,
    /// and their statistics under `prefix`.
    #[must_use]
    pub fn new(thresholds: &Thresholds, created: Instant, store: &Store, prefix: &str) -> Self {
        let limit = |max| Arc::new(SharedLimit::new(max));
        let limits = Self {
            connections: limit(thresholds.max_connections),
            pending_requests: limit(thresholds.max_pending_requests),
            requests: Arc::new(Budget::new(
                thresholds.max_requests,
                (thresholds.retry_budget).and_then(|budget| budget.interval),
                created,
            )),
            retries: Arc::new(RetryLimit {
                count: SharedLimit::new(thresholds.max_retries),
                part: SharedPart::new(thresholds.retry_budget.map(part)),
            }),
            pools: limit(pools_max(thresholds)),
        };
        limits.register(thresholds.track_remaining, store, prefix);
        limits
    }

    /// Takes other limits. What is open stays open.
    pub fn set(&self, thresholds: &Thresholds) {
        self.connections.set_limit(thresholds.max_connections);
        (self.pending_requests).set_limit(thresholds.max_pending_requests);
        if self.requests.limit() != thresholds.max_requests {
            self.requests.set_limit(thresholds.max_requests);
        }
        self.retries.count.set_limit(thresholds.max_retries);
        self.retries.part.set(thresholds.retry_budget.map(part));
        self.pools.set_limit(pools_max(thresholds));
    }

    /// The numbers that `/clusters` shows, in the order of the configuration's
    /// fields: connections, pending requests, requests, retries.
    #[must_use]
    pub fn shown(&self) -> [u32; 4] {
        [
            self.connections.limit(),
            self.pending_requests.limit(),
            self.requests.limit(),
            self.retries.count.limit(),
        ]
    }

    fn register(&self, track_remaining: bool, store: &Store, prefix: &str) {
        let shared = |limit: &Arc<SharedLimit>, value: fn(&SharedLimit) -> Computed| {
            let limit = Arc::clone(limit);
            move || value(&limit)
        };
        let gauge = |name: &str| format!("{prefix}{name}");
        let is_open = |limit: &SharedLimit| Computed {
            value: u64::from(limit.is_reached()),
            used: limit.was_used(),
        };
        store.computed_gauge(&gauge("cx_open"), shared(&self.connections, is_open));
        store.computed_gauge(
            &gauge("rq_pending_open"),
            shared(&self.pending_requests, is_open),
        );
        store.computed_gauge(&gauge("cx_pool_open"), shared(&self.pools, is_open));
        let requests = Arc::clone(&self.requests);
        store.computed_gauge(&gauge("rq_open"), move || Computed {
            value: u64::from(requests.is_reached()),
            used: requests.was_used(),
        });
        let retries = Arc::clone(&self.retries);
        store.computed_gauge(&gauge("rq_retry_open"), move || Computed {
            value: u64::from(retries.count.is_reached()),
            used: retries.count.was_used(),
        });
        if !track_remaining {
            return;
        }
        // What remains is something from the start.
        let left = |limit: &SharedLimit| Computed {
            value: u64::from(limit.left()),
            used: true,
        };
        store.computed_gauge(&gauge("remaining_cx"), shared(&self.connections, left));
        store.computed_gauge(
            &gauge("remaining_pending"),
            shared(&self.pending_requests, left),
        );
        store.computed_gauge(
            &gauge("remaining_cx_pools"),
            shared(&self.pools, |limit| Computed {
                value: match limit.limit() {
                    // Envoy's limit of pools is the largest number it has.
                    u32::MAX => u64::MAX - u64::from(u32::MAX - limit.left()),
                    _ => u64::from(limit.left()),
                },
                used: true,
            }),
        );
        let requests = Arc::clone(&self.requests);
        store.computed_gauge(&gauge("remaining_rq"), move || Computed {
            value: u64::from(requests.left()),
            used: true,
        });
        let retries = Arc::clone(&self.retries);
        store.computed_gauge(&gauge("remaining_retries"), move || Computed {
            value: u64::from(retries.left()),
            used: true,
        });
    }
}

fn pools_max(thresholds: &Thresholds) -> u32 {
    thresholds.max_connection_pools.unwrap_or(u32::MAX)
}

impl RetryLimit {
    /// What the statistic of it says. How many a budget allows depends on the
    /// requests of the moment; Envoy shows none once the budget was used.
    fn left(&self) -> u32 {
        match self.part.get() {
            Some(_) if self.part.was_asked() => 0,
            _ => self.count.left(),
        }
    }
}

fn part(budget: RetryBudget) -> (f64, u32) {
    (budget.percent, budget.min_concurrency)
}

/// The limit of connections, or of requests that wait: what one worker has of
/// it is nothing but the way there.
pub struct Breaker(Arc<SharedLimit>);

impl Breaker {
    /// A worker's view of the process's limit.
    #[must_use]
    pub fn new(limit: &Arc<SharedLimit>) -> Self {
        Self(Arc::clone(limit))
    }

    /// Counts one; `None` when the limit is reached.
    #[must_use]
    pub fn acquire(&self) -> Option<Permit> {
        self.0.try_add().then(|| Permit(Arc::clone(&self.0)))
    }

    /// How many the process has.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.count()
    }

    /// Whether there may be no other one.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.0.left() == 0
    }

    /// Counts one, also above the limit.
    #[must_use]
    pub fn acquire_above(&self) -> Permit {
        self.0.add();
        Permit(Arc::clone(&self.0))
    }
}

/// The right to have one connection or one pending request. Dropping it gives
/// it back.
#[derive(Debug)]
pub struct Permit(Arc<SharedLimit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.subtract();
    }
}

/// The limit of requests in flight as one worker sees it.
pub struct RequestBreaker {
    budget: Arc<Budget>,
    /// Made at the first request: of ten thousand clusters a worker may never
    /// use most.
    share: OnceCell<Arc<Share>>,
}

impl RequestBreaker {
    /// A worker's share in `budget`.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Rc<Self> {
        Rc::new(Self {
            budget: Arc::clone(budget),
            share: OnceCell::new(),
        })
    }

    /// Takes one permit; `None` when the limit is reached.
    #[must_use]
    pub fn acquire(self: &Rc<Self>) -> Option<RequestPermit> {
        let share = self.share();
        let taken = self.budget.take(share);
        if taken {
            self.budget.note_taken(share, reactor::now);
        }
        taken.then(|| RequestPermit(Rc::clone(self)))
    }

    /// How many requests have begun in the time for which a retry budget counts
    /// them, in the whole process, if it does that.
    #[must_use]
    pub fn begun_recently(&self) -> Option<u64> {
        self.budget.taken_recently(reactor::now())
    }

    fn share(&self) -> &Share {
        self.share.get_or_init(|| self.budget.join())
    }
}

impl Drop for RequestBreaker {
    fn drop(&mut self) {
        if let Some(share) = self.share.get() {
            self.budget.leave(share);
        }
    }
}

/// The right to have one request in flight. Dropping it gives it back.
pub struct RequestPermit(Rc<RequestBreaker>);

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.0.budget.give_back(self.0.share());
    }
}

/// The limit of retries as one worker sees it.
pub struct RetryBreaker(Arc<RetryLimit>);

impl RetryBreaker {
    /// A worker's view of the process's limit.
    #[must_use]
    pub fn new(limit: &Arc<RetryLimit>) -> Self {
        Self(Arc::clone(limit))
    }

    /// Counts a retry; `None` when the limit is reached. `active` says of how
    /// many requests in the whole process a budget is a part; it is asked only if
    /// the limit depends on it.
    #[must_use]
    pub fn acquire(&self, active: impl FnOnce() -> u64) -> Option<RetryPermit> {
        let count = &self.0.count;
        let counted = match self.0.part.ask() {
            None => count.try_add(),
            Some(part) => count.try_add_below(part_of(part, active())),
        };
        counted.then(|| RetryPermit(Arc::clone(&self.0)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a number of requests is positive; whatever is above u32 is no limit"
)]
fn part_of((percent, at_least): (f64, u32), active: u64) -> u32 {
    ((percent / 100.0 * active as f64) as u32).max(at_least)
}

/// The right to have one retry in flight. Dropping it gives it back.
pub struct RetryPermit(Arc<RetryLimit>);

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.count.subtract();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(thresholds: Thresholds) -> (Limits, Store) {
        let store = Store::new();
        (
            Limits::new(&thresholds, Instant::now(), &store, "x."),
            store,
        )
    }

    fn retries(max_retries: u32, retry_budget: Option<RetryBudget>) -> Thresholds {
        Thresholds {
            max_retries,
            retry_budget,
            track_remaining: true,
            ..Thresholds::default()
        }
    }

    #[test]
    fn retries_are_limited_across_workers() {
        let (limits, store) = limits(retries(2, None));
        let open = || store.value("x.rq_retry_open");
        let first = RetryBreaker::new(&limits.retries);
        let second = RetryBreaker::new(&limits.retries);
        let none = || unreachable!("a fixed limit depends on nothing");
        let one = first.acquire(none).expect("none is in flight");
        assert_eq!(open(), Some(0));
        assert_eq!(store.value("x.remaining_retries"), Some(1));
        let two = second.acquire(none).expect("one is in flight");
        assert_eq!(open(), Some(1));
        assert!(first.acquire(none).is_none());
        drop(one);
        assert_eq!(open(), Some(0));
        assert!(second.acquire(none).is_some());
        drop(two);
    }

    #[test]
    fn a_retry_budget_is_a_part_of_the_requests() {
        let budget = RetryBudget {
            percent: 20.0,
            min_concurrency: 1,
            interval: None,
        };
        for (active, allowed) in [(0, 1), (5, 1), (9, 1), (10, 2), (50, 10)] {
            let (limits, store) = limits(retries(3, Some(budget)));
            assert_eq!(store.value("x.remaining_retries"), Some(3));
            let breaker = RetryBreaker::new(&limits.retries);
            let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire(|| active)).collect();
            assert_eq!(permits.len(), allowed, "{active} requests");
            assert_eq!(store.value("x.remaining_retries"), Some(0));
            drop(permits);
            assert_eq!(store.value("x.rq_retry_open"), Some(0));
        }
    }

    #[test]
    fn limits_follow_the_runtime() {
        let (limits, store) = limits(Thresholds {
            track_remaining: true,
            ..Thresholds::default()
        });
        assert_eq!(store.value("x.remaining_cx_pools"), Some(u64::MAX));
        let (requests, connections) = (
            RequestBreaker::new(&limits.requests),
            Breaker::new(&limits.connections),
        );
        let held = (requests.acquire(), connections.acquire());
        limits.set(&Thresholds {
            max_requests: 1,
            max_connections: 1,
            max_connection_pools: Some(7),
            retry_budget: Some(RetryBudget::default()),
            ..Thresholds::default()
        });
        assert!(requests.acquire().is_none() && connections.acquire().is_none());
        for (gauge, value) in [
            ("rq_open", 1),
            ("cx_open", 1),
            ("remaining_rq", 0),
            ("remaining_cx", 0),
            ("remaining_cx_pools", 7),
        ] {
            assert_eq!(store.value(&format!("x.{gauge}")), Some(value), "{gauge}");
        }
        let retries = RetryBreaker::new(&limits.retries);
        let allowed = std::iter::from_fn(|| retries.acquire(|| 100));
        assert_eq!(allowed.take(100).collect::<Vec<_>>().len(), 20);
        drop(held);
        assert!(requests.acquire().is_some() && connections.acquire().is_some());
    }

    #[test]
    fn a_connection_above_the_limit_counts() {
        let (limits, store) = limits(Thresholds {
            max_connections: 1,
            ..Thresholds::default()
        });
        let breaker = Breaker::new(&limits.connections);
        let within = breaker.acquire().expect("none is open");
        let above = breaker.acquire_above();
        drop(within);
        assert!(breaker.acquire().is_none(), "one is open");
        assert_eq!(store.value("x.cx_open"), Some(1));
        drop(above);
        assert_eq!(store.value("x.cx_open"), Some(0));
    }

    #[test]
    fn a_worker_that_ends_gives_back_what_it_had() {
        let (limits, _) = limits(Thresholds {
            max_requests: 128,
            ..Thresholds::default()
        });
        drop(RequestBreaker::new(&limits.requests).acquire());
        let breaker = RequestBreaker::new(&limits.requests);
        let permits: Vec<_> = std::iter::from_fn(|| breaker.acquire()).collect();
        assert_eq!(permits.len(), 128);
    }
}
