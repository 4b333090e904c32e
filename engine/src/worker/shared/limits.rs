//! Limits that hold for the whole process (see `upstream::circuit_breaker`).
//!
//! Only counts matter, nothing is published through them, so `Relaxed` is
//! enough: all changes of one cell have one order, and a permit is never handed
//! out twice because it is taken by compare-and-swap.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::recent::{Recent, Span};

/// A count of things of which there may be as many as whoever adds one says.
#[derive(Debug, Default)]
pub struct SharedCount(AtomicU32);

impl SharedCount {
    /// Counts one if fewer than `limit` are counted.
    #[must_use]
    pub fn try_add_below(&self, limit: u32) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |count| (count < limit).then(|| count + 1))
            .is_ok()
    }

    /// Counts one.
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Takes one away.
    pub fn subtract(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A count with a limit, of things that are rare enough to be counted one by
/// one: connections, requests that wait, retries. The limit may move, and what
/// must not fail may be counted above it.
#[derive(Debug)]
pub struct SharedLimit {
    limit: AtomicU32,
    count: SharedCount,
    used: AtomicBool,
}

impl SharedLimit {
    /// Nothing is counted yet.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            limit: AtomicU32::new(limit),
            count: SharedCount(AtomicU32::new(0)),
            used: AtomicBool::new(false),
        }
    }

    /// The limit as it is now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Moves the limit. What is counted stays, also above it.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Relaxed);
    }

    /// Counts one if that stays within the limit.
    #[must_use]
    pub fn try_add(&self) -> bool {
        self.try_add_below(self.limit())
    }

    /// Counts one if fewer than `limit` are counted, whatever the usual limit.
    #[must_use]
    pub fn try_add_below(&self, limit: u32) -> bool {
        let added = self.count.try_add_below(limit);
        if added {
            self.note_use();
        }
        added
    }

    /// Counts one, also above the limit.
    pub fn add(&self) {
        self.count.add();
        self.note_use();
    }

    /// Takes one away.
    pub fn subtract(&self) {
        self.count.subtract();
    }

    /// Whether nothing more is let in. A limit of zero that nothing has ever
    /// come to is not reached, as in Envoy.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.was_used() && self.left() == 0
    }

    /// How many more there may be.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.limit().saturating_sub(self.count())
    }

    /// How many are counted.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.0.load(Relaxed)
    }

    /// Whether anything was ever counted.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    fn note_use(&self) {
        // Read first: the line stays shared once it is set.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }
}

/// A part of something that varies, in percent, and what it is at least: two
/// numbers that may be replaced while others read them. A reader may see one of
/// the new and one of the old for a moment, which is a limit as good as either.
#[derive(Debug)]
pub struct SharedPart {
    /// The bits of an `f64`; `NO_PART` when there is none.
    percent: AtomicU64,
    at_least: AtomicU32,
    asked: AtomicBool,
}

/// The bits of a number that is none.
const NO_PART: u64 = f64::NAN.to_bits();

impl SharedPart {
    /// The percentage and the minimum, if there is such a part.
    #[must_use]
    pub fn new(part: Option<(f64, u32)>) -> Self {
        let new = Self {
            percent: AtomicU64::new(NO_PART),
            at_least: AtomicU32::new(0),
            asked: AtomicBool::new(false),
        };
        new.set(part);
        new
    }

    /// Replaces both.
    pub fn set(&self, part: Option<(f64, u32)>) {
        if let Some((_, at_least)) = part {
            self.at_least.store(at_least, Relaxed);
        }
        let percent = part.map_or(NO_PART, |(percent, _)| percent.to_bits());
        self.percent.store(percent, Relaxed);
    }

    /// The percentage and the minimum, for a decision.
    #[must_use]
    pub fn ask(&self) -> Option<(f64, u32)> {
        self.asked.store(true, Relaxed);
        self.get()
    }

    /// Whether a decision ever depended on it.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    /// The percentage and the minimum.
    #[must_use]
    pub fn get(&self) -> Option<(f64, u32)> {
        let percent = f64::from_bits(self.percent.load(Relaxed));
        (!percent.is_nan()).then(|| (percent, self.at_least.load(Relaxed)))
    }
}

/// A limit of what every request takes, so that workers must not meet at one
/// counter. The permits that nobody uses lie in a reserve and, where a worker
/// used them last, in that worker's [`Share`]; a worker takes its own first,
/// then the reserve's, then those of other workers, one at a time. So a worker
/// that keeps up its load writes nothing that others write, and still no
/// permit is out of anybody's reach: the limit is what it says, whatever the
/// number of workers.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU32,
    used: AtomicBool,
    /// Below zero after the limit was lowered: so many permits must come back
    /// before any is handed out.
    reserve: Cell,
    first: OnceLock<Arc<Share>>,
    /// For how long permits are counted after they were taken, and where that
    /// clock starts.
    span: Option<(Span, Instant)>,
}

/// A worker's part of a [`Budget`], alone in its cache line: its owner writes it
/// for every request.
#[derive(Debug)]
#[repr(align(64))]
pub struct Share {
    free: Cell,
    recent: Option<Recent>,
    next: OnceLock<Arc<Share>>,
}

impl Budget {
    /// A budget of `limit` permits, none of them used. With a `span` of time it
    /// knows how many were taken within it; `start` is some moment before all of
    /// them.
    #[must_use]
    pub fn new(limit: u32, span: Option<Duration>, start: Instant) -> Self {
        let budget = Self {
            limit: AtomicU32::new(0),
            used: AtomicBool::new(false),
            reserve: Cell::default(),
            first: OnceLock::new(),
            span: span.and_then(Span::new).map(|span| (span, start)),
        };
        budget.set_limit(limit);
        budget
    }

    /// The part of one more worker.
    #[must_use]
    pub fn join(&self) -> Arc<Share> {
        let mut share = Arc::new(Share {
            free: Cell::default(),
            recent: self.span.map(|(span, _)| Recent::new(span)),
            next: OnceLock::new(),
        });
        let joined = Arc::clone(&share);
        let mut end = &self.first;
        while let Err(refused) = end.set(share) {
            share = refused;
            end = match end.get() {
                Some(other) => &other.next,
                None => unreachable!("it was set, or setting it had succeeded"),
            };
        }
        joined
    }

    /// All permits, used or not.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    /// Moves the limit; one thread only. What is in use stays in use.
    pub fn set_limit(&self, limit: u32) {
        let limit = limit.min(LIMIT_MAX);
        let before = self.limit.swap(limit, Relaxed);
        self.reserve.add(limit as i32 - before as i32);
        self.collect();
    }

    /// Takes one permit; false when all are in use.
    #[must_use]
    pub fn take(&self, own: &Share) -> bool {
        if self.reserve.get() >= 0 && own.free.take_one() {
            return true;
        }
        self.take_elsewhere(own)
    }

    /// Notes that a permit was taken, if that is of interest for a while; only
    /// then is the time asked for.
    pub fn note_taken(&self, own: &Share, now: impl FnOnce() -> Instant) {
        if let (Some((span, start)), Some(recent)) = (self.span, &own.recent) {
            recent.note(span, now().duration_since(start));
        }
    }

    /// How many permits all workers have taken within the span, if there is one.
    #[must_use]
    pub fn taken_recently(&self, now: Instant) -> Option<u64> {
        let (span, start) = self.span?;
        let now = now.duration_since(start);
        let shares = self.shares().filter_map(|share| share.recent.as_ref());
        Some(shares.map(|recent| recent.count(span, now)).sum())
    }

    /// Ends the use of one permit.
    pub fn give_back(&self, own: &Share) {
        if self.reserve.get() < 0 {
            self.reserve.add(1);
        } else {
            own.free.add(1);
        }
    }

    /// Gives what a worker that ends has left to the others.
    pub fn leave(&self, own: &Share) {
        self.reserve.add(own.free.take_all());
    }

    /// How many more there may be.
    #[must_use]
    pub fn left(&self) -> u32 {
        let free = self.cells().map(Cell::get).sum::<i32>();
        u32::try_from(free).unwrap_or(0)
    }

    /// Whether all permits are in use, and there was ever a use.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.was_used() && self.left() == 0
    }

    /// Whether any permit was ever used.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    #[cold]
    fn take_elsewhere(&self, own: &Share) -> bool {
        for _ in 0..LOOKS_MAX {
            self.collect();
            let returned = self.returned();
            if self.reserve.get() >= 0 && (own.free.take_one() || self.cells().any(Cell::take_one))
            {
                // A worker's first permit comes this way: its own part is empty.
                self.used.store(true, Relaxed);
                return true;
            }
            // Every cell was seen empty. If none has got anything back since
            // before the first was looked at, all were empty at one time.
            if self.returned() == returned {
                return false;
            }
        }
        false
    }

    /// Pays what the reserve lacks with permits that are not in use.
    fn collect(&self) {
        for share in self.shares() {
            if self.reserve.get() >= 0 {
                return;
            }
            self.reserve.add(share.free.take_all());
        }
    }

    /// Changes whenever a permit comes back anywhere.
    fn returned(&self) -> u64 {
        self.cells().map(|cell| u64::from(cell.version())).sum()
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        std::iter::once(&self.reserve).chain(self.shares().map(|share| &share.free))
    }

    fn shares(&self) -> impl Iterator<Item = &Arc<Share>> {
        std::iter::successors(self.first.get(), |share| share.next.get())
    }
}

/// Limits above this are none.
const LIMIT_MAX: u32 = i32::MAX as u32;

/// How often a worker looks for a permit while others give theirs back. Each
/// new look means that somebody else had one meanwhile.
const LOOKS_MAX: usize = 64;

/// A number of free permits, and in the upper half of the word how often some
/// came here.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    fn get(&self) -> i32 {
        count(self.0.load(Relaxed))
    }

    fn version(&self) -> u32 {
        (self.0.load(Relaxed) >> 32) as u32
    }

    fn add(&self, n: i32) {
        if n != 0 {
            self.update(|word| Some(pack(count(word) + n, ((word >> 32) as u32).wrapping_add(1))));
        }
    }

    fn take_one(&self) -> bool {
        self.update(|word| (count(word) > 0).then(|| word - 1))
            .is_some()
    }

    fn take_all(&self) -> i32 {
        let taken = self.update(|word| (count(word) > 0).then(|| pack(0, (word >> 32) as u32)));
        taken.map_or(0, count)
    }

    /// The word before the change, if there was one to make.
    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        self.0.fetch_update(Relaxed, Relaxed, change).ok()
    }
}

fn count(word: u64) -> i32 {
    word as u32 as i32
}

fn pack(count: i32, version: u32) -> u64 {
    u64::from(version) << 32 | u64::from(count as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_shared_limit_is_never_exceeded_by_threads() {
        let limit = SharedLimit::new(777);
        let counted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| limit.try_add()).count()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(counted, 777);
        assert!(limit.is_reached());
        limit.add();
        limit.subtract();
        assert!(!limit.try_add(), "one is above the limit still");
        limit.set_limit(778);
        assert_eq!(limit.left(), 1);
        assert!(limit.try_add());
    }

    #[test]
    fn a_limit_of_zero_is_reached_when_something_came() {
        let limit = SharedLimit::new(0);
        assert!(!limit.try_add());
        assert!(!limit.is_reached());
        limit.add();
        limit.subtract();
        assert!(limit.is_reached());
    }

    #[test]
    fn a_worker_reaches_what_others_do_not_use() {
        let budget = Budget::new(5, None, Instant::now());
        let (first, second, third) = (budget.join(), budget.join(), budget.join());
        for _ in 0..5 {
            assert!(budget.take(&first));
        }
        assert!(!budget.take(&second));
        assert!(budget.is_reached());
        for _ in 0..5 {
            budget.give_back(&first);
        }
        assert_eq!(budget.left(), 5);
        for taker in [&second, &third, &first, &second, &third] {
            assert!(budget.take(taker));
        }
        assert!(!budget.take(&first));
        budget.give_back(&third);
        budget.leave(&third);
        assert!(budget.take(&first), "a worker that ends keeps nothing");
    }

    #[test]
    fn a_lower_limit_is_paid_for_by_what_comes_back() {
        let budget = Budget::new(4, None, Instant::now());
        let (first, second) = (budget.join(), budget.join());
        assert!(budget.take(&first) && budget.take(&first) && budget.take(&second));
        budget.give_back(&second);
        budget.set_limit(1);
        assert_eq!((budget.limit(), budget.left()), (1, 0));
        assert!(!budget.take(&second), "two are in use");
        budget.give_back(&first);
        assert!(!budget.take(&second), "one is in use");
        budget.give_back(&first);
        assert!(budget.take(&second));
        budget.set_limit(2);
        assert!(budget.take(&first));
        assert!(!budget.take(&second));
        budget.set_limit(u32::MAX);
        assert!(budget.take(&second));
    }

    /// A permit is held by at most one thread, and with as many permits as
    /// threads nobody is ever refused, however they move between threads.
    #[test]
    fn permits_are_neither_lost_nor_hidden_nor_doubled() {
        const THREADS: u32 = 4;
        for limit in [1, 2, 3, THREADS] {
            let budget = Budget::new(limit, None, Instant::now());
            let in_use = AtomicUsize::new(0);
            let shares: Vec<_> = (0..THREADS).map(|_| budget.join()).collect();
            let refused = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for mine in &shares {
                    let (budget, in_use, refused, shares) = (&budget, &in_use, &refused, &shares);
                    scope.spawn(move || {
                        for n in 0..20_000 {
                            if !budget.take(mine) {
                                refused.fetch_add(1, Relaxed);
                                continue;
                            }
                            let others = in_use.fetch_add(1, Relaxed) as u32;
                            assert!(others < limit, "{others} of {limit} were in use");
                            in_use.fetch_sub(1, Relaxed);
                            // Somebody else's part, to have permits move.
                            budget.give_back(&shares[n % shares.len()]);
                        }
                    });
                }
            });
            assert_eq!(budget.left(), limit, "all came back");
            if limit == THREADS {
                assert_eq!(refused.into_inner(), 0, "one was always free");
            }
        }
    }
}
