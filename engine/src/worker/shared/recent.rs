//! How many things have happened of late, on one core as it counts and on all
//! of them for whoever asks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How finely a span of time is told apart: what has happened counts up to this
/// part of the span longer than it should.
const PARTS: u64 = 128;

/// A span of time as numbers of its parts.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    part_ms: u64,
    parts: u64,
}

impl Span {
    /// As Envoy's, a span is one of milliseconds; less is none.
    #[must_use]
    pub fn new(span: Duration) -> Option<Self> {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let part_ms = ms.div_ceil(PARTS).max(1);
        (ms > 0).then(|| Self {
            part_ms,
            // One more, for the part that has not ended.
            parts: ms.div_ceil(part_ms) + 1,
        })
    }

    /// The number of the part in which something happens, `at` being the time
    /// since a start that all have in common.
    fn part(self, at: Duration) -> u32 {
        (at.as_millis() as u64 / self.part_ms) as u32
    }
}

/// What has happened on one core in each part of a span: one thread, the owner,
/// counts; any thread reads. A word is the number of a part and a count, so a
/// reader sees both of one moment.
#[derive(Debug)]
pub struct Recent(Box<[AtomicU64]>);

impl Recent {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Self((0..span.parts).map(|_| AtomicU64::new(0)).collect())
    }

    /// Counts one that happens now; the owner only.
    pub fn note(&self, span: Span, now: Duration) {
        let part = span.part(now);
        let cell = &self.0[part as usize % self.0.len()];
        let before = cell.load(Relaxed);
        let count = if number(before) == part {
            count(before)
        } else {
            0
        };
        let after = u64::from(part) << 32 | u64::from(count.saturating_add(1));
        cell.store(after, Relaxed);
    }

    /// How many have happened within the span that ends now.
    #[must_use]
    pub fn count(&self, span: Span, now: Duration) -> u64 {
        let part = span.part(now);
        let words = self.0.iter().map(|cell| cell.load(Relaxed));
        // A number may be one ahead: clocks of cores are read at their turns.
        let recent = words.filter(|word| {
            part.wrapping_sub(number(*word)).wrapping_add(1) as usize <= self.0.len()
        });
        recent.map(|word| u64::from(count(word))).sum()
    }
}

fn number(word: u64) -> u32 {
    (word >> 32) as u32
}

fn count(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_happened_counts_for_the_span_and_no_longer() {
        for span in [1, 2, 10, 127, 128, 129, 1000, 10_000, 3_600_000] {
            let parts = Span::new(ms(span)).unwrap();
            for start in [0, 1, 77, 1_000_003] {
                let recent = Recent::new(parts);
                for _ in 0..3 {
                    recent.note(parts, ms(start));
                }
                let counted = |after| recent.count(parts, ms(start + after));
                let longest = span + 2 * span.div_ceil(PARTS);
                assert_eq!(counted(0), 3);
                assert_eq!(counted(span), 3, "{span} from {start}");
                assert_eq!(counted(longest), 0, "{span} from {start}");
                recent.note(parts, ms(start + longest));
                assert_eq!(counted(longest), 1, "{span} from {start}");
            }
        }
    }

    #[test]
    fn less_than_a_millisecond_is_no_span() {
        assert!(Span::new(Duration::ZERO).is_none());
        assert!(Span::new(Duration::from_micros(999)).is_none());
        assert!(Span::new(Duration::MAX).is_some());
    }
}
