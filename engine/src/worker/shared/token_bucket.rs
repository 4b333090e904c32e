//! A token bucket of all workers.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringway_config::token_bucket::TokenBucket;

/// Tokens that come back one after the other, at an even pace.
///
/// One word says since when the bucket fills: that long ago it was empty. Taking a
/// token moves that moment. `Relaxed`: the word is all there is. Time is counted in
/// nanoseconds, or in as many of them as let the word hold a full bucket.
#[derive(Debug)]
pub struct SharedTokenBucket {
    /// Time since `origin`.
    empty_at: AtomicU64,
    /// When a token was taken first: until then it was full.
    origin: OnceLock<Instant>,
    /// Nanoseconds in a unit of time, as a power of two.
    unit: u32,
    /// The time of one token.
    token: u64,
    /// The time of all of them.
    full: u64,
}

impl SharedTokenBucket {
    /// A full one.
    #[must_use]
    pub fn new(config: TokenBucket) -> Self {
        let interval = u64::try_from(config.fill_interval.as_nanos()).unwrap_or(u64::MAX);
        // Not less than a nanosecond: a token must have a price.
        let token = (interval / u64::from(config.tokens_per_fill.max(1))).max(1);
        let tokens_max = u64::from(config.tokens_max);
        let full = u128::from(token) * u128::from(tokens_max);
        let unit = (u128::BITS - full.leading_zeros()).saturating_sub(FULL_BITS);
        let token = token >> unit;
        Self {
            empty_at: AtomicU64::new(0),
            origin: OnceLock::new(),
            unit,
            token,
            full: token * tokens_max,
        }
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let origin = *self.origin.get_or_init(|| now);
        let elapsed = now.saturating_duration_since(origin).min(FOR_EVER);
        // As if it had filled before it was made.
        let now = (elapsed.as_nanos() as u64 >> self.unit) + self.full;
        self.empty_at
            .fetch_update(Relaxed, Relaxed, |empty_at| {
                let empty_at = empty_at.max(now - self.full);
                let after = empty_at.checked_add(self.token)?;
                (after <= now).then_some(after)
            })
            .is_ok()
    }
}

/// Bits of a word that a full bucket may take. There are fewer than 2^32 tokens, so
/// that what a coarser unit takes off one is less than a part in 2^29.
const FULL_BITS: u32 = 62;

/// Longer than any process runs, and short enough for a word that has a full bucket
/// in it already.
const FOR_EVER: Duration = Duration::from_secs(1 << 33);

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(tokens_max: u32, tokens_per_fill: u32, seconds: u64) -> SharedTokenBucket {
        SharedTokenBucket::new(TokenBucket {
            tokens_max,
            tokens_per_fill,
            fill_interval: Duration::from_secs(seconds),
        })
    }

    fn taken(bucket: &SharedTokenBucket, now: Instant) -> usize {
        (0..1000).take_while(|_| bucket.take(now)).count()
    }

    #[test]
    fn tokens_come_back_evenly_and_are_no_more_than_there_is_room_for() {
        let bucket = bucket(4, 2, 1);
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(taken(&bucket, at(0)), 4);
        assert_eq!(taken(&bucket, at(499)), 0);
        assert_eq!(taken(&bucket, at(500)), 1);
        assert_eq!(taken(&bucket, at(1600)), 2);
        assert_eq!(taken(&bucket, at(2000)), 1);
        assert_eq!(taken(&bucket, at(1_000_000)), 4);
    }

    #[test]
    fn an_empty_bucket_stays_empty_and_a_huge_one_has_all() {
        let now = Instant::now();
        let none = bucket(0, 1, 1);
        assert_eq!(taken(&none, now), 0);
        assert_eq!(taken(&none, now + Duration::from_secs(100)), 0);
        let huge = bucket(u32::MAX, u32::MAX, 1);
        assert_eq!(taken(&huge, now), 1000);
        // Tokens that take longer than a process runs.
        let slow = bucket(u32::MAX, 1, u64::from(u32::MAX));
        assert_eq!(taken(&slow, now), 1000);
    }

    #[test]
    fn threads_share_what_there_is() {
        let bucket = bucket(100, 1, 1000);
        let now = Instant::now();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| taken(&bucket, now)))
                .collect();
            threads
                .into_iter()
                .map(|one| one.join().expect("it counts"))
                .sum::<usize>()
        });
        assert_eq!(all, 100);
    }
}
