//! A response body that goes out no faster than it may.
//!
//! Whoever sends the response's body does so as ever; while the exchange has a
//! pacer, [`Downstream`] puts the bytes into it instead of the socket's queue.
//! [`Downstream::poll_paced`] moves on what has become due. The router reads no
//! more from the host than the pacer has room for, and when the host is done,
//! the connection manager lets the rest out.
//!
//! As in Envoy, what is due is looked at every 50 ms, and what was not used in
//! quiet times may be caught up with, up to a second's worth.
//!
//! [`Downstream`]: super::downstream::Downstream
//! [`Downstream::poll_paced`]: super::downstream::Downstream::poll_paced

use std::collections::VecDeque;
use std::task::Context;
use std::time::{Duration, Instant};

use crate::reactor::Timer;

/// How often a paced body goes on.
const INTERVAL: Duration = Duration::from_millis(50);

/// The body of a response that is held back.
#[derive(Debug)]
pub struct Pacer {
    allowance: Allowance,
    timer: Timer,
    /// What waits. A copy: receive buffers are too few to keep them for long.
    held: VecDeque<u8>,
    /// Nothing comes behind what waits.
    ended: bool,
}

impl Pacer {
    /// Lets through `kbps` KiB a second from now on.
    #[must_use]
    pub fn new(kbps: u64, now: Instant) -> Self {
        Self {
            allowance: Allowance::new(kbps, now),
            timer: Timer::new(),
            held: VecDeque::new(),
            ended: false,
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether the end of the body waits too.
    #[must_use]
    pub fn has_end(&self) -> bool {
        self.ended
    }

    /// Takes a part of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend(bytes);
    }

    /// Takes the end of the body.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// What may go out now. Wakes the task when more may.
    pub(super) fn due(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Vec<u8>> {
        if self.held.is_empty() {
            return None;
        }
        if self.timer.deadline().is_some() && self.timer.poll_expired(cx).is_pending() {
            return None;
        }
        self.timer.set(None);
        let due = self.allowance.take(self.held.len(), now);
        let bytes: Vec<u8> = self.held.drain(..due).collect();
        if !self.held.is_empty() {
            self.timer.set(Some(now + INTERVAL));
            // Asked so that it wakes the task; it is not due yet.
            let _ = self.timer.poll_expired(cx);
        }
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// How many bytes may go out: a bucket that fills all the time and holds what
/// may go out in a second.
#[derive(Debug)]
struct Allowance {
    bytes_per_second: f64,
    available: f64,
    filled: Instant,
}

impl Allowance {
    fn new(kbps: u64, now: Instant) -> Self {
        let bytes_per_second = kbps as f64 * 1024.0;
        Self {
            bytes_per_second,
            available: bytes_per_second * INTERVAL.as_secs_f64(),
            filled: now,
        }
    }

    /// Takes up to `wanted` bytes.
    fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let fresh = now.duration_since(self.filled).as_secs_f64() * self.bytes_per_second;
        self.filled = now;
        self.available = (self.available + fresh).min(self.bytes_per_second);
        let taken = wanted.min(self.available as usize);
        self.available -= taken as f64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_allowed_goes_out_in_any_time() {
        let start = Instant::now();
        for kbps in [1, 7, 64, 1000] {
            let mut allowance = Allowance::new(kbps, start);
            let mut total = 0;
            for tick in 0..200_u32 {
                let now = start + INTERVAL * tick;
                total += allowance.take(usize::MAX, now);
                let elapsed = f64::from(tick + 1) * INTERVAL.as_secs_f64();
                let most = kbps as f64 * 1024.0 * elapsed;
                assert!(total as f64 <= most, "{kbps} {tick}: {total} > {most}");
                assert!(total as f64 > most - 2.0, "{kbps} {tick}: {total} < {most}");
            }
        }
    }

    #[test]
    fn a_second_of_quiet_can_be_caught_up_with() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, start);
        assert_eq!(allowance.take(100, start), 100);
        let later = start + Duration::from_secs(60);
        assert_eq!(allowance.take(usize::MAX, later), 10 * 1024);
        assert_eq!(allowance.take(usize::MAX, later), 0);
        assert_eq!(allowance.take(1, later + INTERVAL), 1);
    }

    #[test]
    fn a_limit_beyond_measure_is_none() {
        let mut allowance = Allowance::new(u64::MAX, Instant::now());
        assert_eq!(allowance.take(1 << 40, Instant::now()), 1 << 40);
    }
}
