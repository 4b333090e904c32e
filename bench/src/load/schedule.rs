//! When the requests of an open loop are due.
//!
//! The times are fixed before anything is known about the answers. A request that leaves late,
//! because all connections still wait for a stalled server, is timed from when it was due: else
//! the server would choose which requests are measured ("coordinated omission").

use clap::ValueEnum;

/// How due times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// Independent of each other, as many users are: exponential gaps
    Poisson,
    /// Equal gaps
    Uniform,
}

/// An endless ascending sequence of due times in nanoseconds.
pub struct Schedule {
    gap_ns: f64,
    arrivals: Arrivals,
    random: fastrand::Rng,
    /// The next due time. A float keeps the fractions that would make 30,000/s too slow by the
    /// part of a nanosecond lost on every gap.
    next: f64,
}

impl Schedule {
    /// A schedule of `per_second` requests that begins at `start_ns`.
    pub fn new(per_second: f64, arrivals: Arrivals, start_ns: u64, seed: u64) -> Schedule {
        let mut schedule = Schedule {
            gap_ns: 1e9 / per_second,
            arrivals,
            random: fastrand::Rng::with_seed(seed),
            next: start_ns as f64,
        };
        schedule.advance();
        schedule
    }

    /// The time at which the next request is due.
    pub fn next_due(&self) -> u64 {
        self.next as u64
    }

    /// Takes the next request if it is due by `now`, and returns when it was.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due();
        (due <= now).then(|| {
            self.advance();
            due
        })
    }

    fn advance(&mut self) {
        self.next += match self.arrivals {
            Arrivals::Uniform => self.gap_ns,
            // One minus the number, because the logarithm of zero is not a gap.
            Arrivals::Poisson => -(1.0 - self.random.f64()).ln() * self.gap_ns,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn both_spreads_offer_the_asked_rate() {
        for arrivals in [Arrivals::Poisson, Arrivals::Uniform] {
            let mut schedule = Schedule::new(30_000.0, arrivals, 0, 7);
            let mut last = 0;
            let mut count = 0_u32;
            while let Some(due) = schedule.take(10 * SECOND) {
                assert!(due >= last);
                last = due;
                count += 1;
            }
            // Four standard deviations of a Poisson count of 300,000.
            assert!(count.abs_diff(300_000) < 2_200, "{arrivals:?}: {count}");
        }
    }

    #[test]
    fn a_stall_is_counted_against_every_request_that_was_due_during_it() {
        // One connection, 1,000 requests/s, and a server that answers at once except for a stall
        // of one second. Timed from the moment of sending only one request would look slow.
        let mut schedule = Schedule::new(1_000.0, Arrivals::Uniform, 0, 0);
        let (mut slow, mut total) = (0, 0);
        let mut now = 0;
        while total < 3_000 {
            let Some(due) = schedule.take(now) else {
                now = schedule.next_due();
                continue;
            };
            total += 1;
            if total == 1_000 {
                now += SECOND;
            }
            slow += u32::from(now - due > SECOND / 2);
        }
        assert!(
            (499..=501).contains(&slow),
            "{slow} requests waited more than half a second"
        );
    }
}
