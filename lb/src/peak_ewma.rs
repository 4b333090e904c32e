//! Peak EWMA (`envoy.load_balancing_policies.peak_ewma` of Envoy's
//! contributed extensions): of two random hosts the one whose latency times
//! its requests in flight is lower.
//!
//! Latency is an exponentially weighted moving average by time: a sample that
//! comes `t` after the one before it weighs `1 - e^(-t / decay_time)`. Unlike
//! in Envoy the average of a host that gets nothing falls with time (as in
//! Finagle, where the policy is from), and so does the latency that is assumed
//! of a host without samples: a host that was slow once, or that is new among
//! hosts that are faster than `default_rtt`, is tried in the end instead of
//! being avoided for ever.

use crate::balancer::Request;
use crate::random;

/// The moving average of one host's latency: 8 bytes, which a cell that
/// several threads share can hold as [`Ewma::to_bits`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ewma {
    /// 0 before the first sample.
    latency_ms: f32,
    /// When the last sample came, or the host, in ticks that wrap around after
    /// 19 hours.
    at: u32,
}

/// What is known of a host's latency at some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// The moving average in milliseconds.
    Measured(f64),
    /// There was no sample yet; this part of `default_rtt` is assumed.
    Assumed(f64),
}

impl Ewma {
    /// The average of a host that is new.
    #[must_use]
    pub fn new(now_us: u64) -> Self {
        Self {
            latency_ms: 0.0,
            at: ticks(now_us),
        }
    }

    /// The average with one more sample. `decay_us` is `decay_time`.
    #[must_use]
    pub fn observe(self, latency_ms: f64, now_us: u64, decay_us: u64) -> Self {
        let at = ticks(now_us);
        let sample = (latency_ms as f32).max(f32::MIN_POSITIVE);
        if self.latency_ms == 0.0 {
            return Self {
                latency_ms: sample,
                at,
            };
        }
        // Samples of one turn of a loop come at the same time.
        let kept = self.kept(at, decay_us).min(kept(1, decay_us));
        let average = kept * f64::from(self.latency_ms) + (1.0 - kept) * f64::from(sample);
        Self {
            latency_ms: (average as f32).max(f32::MIN_POSITIVE),
            at,
        }
    }

    /// The average as if it had been confirmed at this moment: time before it
    /// does not let it fall any more.
    #[must_use]
    pub fn keep(self, now_us: u64) -> Self {
        Self {
            at: ticks(now_us),
            ..self
        }
    }

    /// What is known at this moment.
    #[must_use]
    pub fn latency(self, now_us: u64, decay_us: u64) -> Latency {
        let kept = self.kept(ticks(now_us), decay_us);
        if self.latency_ms > 0.0 {
            Latency::Measured(f64::from(self.latency_ms) * kept)
        } else {
            Latency::Assumed(kept)
        }
    }

    /// How much of the average is left.
    fn kept(self, at: u32, decay_us: u64) -> f64 {
        // A clock that seems to go back is one that has not moved.
        let elapsed = at.wrapping_sub(self.at) as i32;
        kept(elapsed.max(0).unsigned_abs(), decay_us)
    }

    /// The average as one number.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.latency_ms.to_bits()) << 32 | u64::from(self.at)
    }

    /// The average that was made a number.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self {
            latency_ms: f32::from_bits((bits >> 32) as u32),
            at: bits as u32,
        }
    }
}

/// What is left of an average after so many ticks.
fn kept(elapsed: u32, decay_us: u64) -> f64 {
    let elapsed_us = f64::from(elapsed) * TICK_US as f64;
    (-elapsed_us / decay_us.max(1) as f64).exp()
}

fn ticks(now_us: u64) -> u32 {
    (now_us / TICK_US) as u32
}

/// Microseconds of a tick: 2^32 of them are 19 hours.
const TICK_US: u64 = 16;

/// The one of two different random hosts that costs less.
#[inline]
pub(crate) fn pick<R: Request>(
    hosts: &[u32],
    default_rtt_ms: f64,
    penalty: f64,
    request: &mut R,
) -> Option<u32> {
    if hosts.len() < 2 {
        return hosts.first().copied();
    }
    let number = request.random();
    let first = random::place(hosts.len(), number);
    // The low half of the bits, moved up, is a random number too.
    let others = random::place(hosts.len() - 1, number << 32);
    let second = if others < first { others } else { others + 1 };
    let cost = |place: usize| {
        let host = hosts[place];
        let active = request.active_requests(host);
        (
            cost(request.latency(host), active, default_rtt_ms, penalty),
            host,
        )
    };
    let (first, second) = (cost(first), cost(second));
    // The last bit, which chose neither of them, decides between equals.
    // Without short circuits, because which one wins cannot be predicted.
    let wins = (first.0 < second.0) | ((first.0 == second.0) & (number & 1 == 1));
    Some(if wins { first.1 } else { second.1 })
}

/// What a request to a host costs.
fn cost(latency: Latency, active: u32, default_rtt_ms: f64, penalty: f64) -> f64 {
    let active = f64::from(active);
    match latency {
        Latency::Measured(latency) => latency * (active + 1.0),
        // It has requests and has never answered: it probably fails.
        Latency::Assumed(_) if active > 0.0 => penalty + active,
        Latency::Assumed(part) => default_rtt_ms * part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Policy;
    use crate::testing::{Cluster, assert_share, weighted};

    const DECAY_US: u64 = 10_000_000;

    const POLICY: Policy = Policy::PeakEwma {
        decay_us: DECAY_US,
        default_rtt_ms: 10.0,
        penalty: 1_000_000.0,
    };

    fn assert_near(found: Latency, expected: f64) {
        let Latency::Measured(found) = found else {
            panic!("there were samples");
        };
        let off = (found / expected - 1.0).abs();
        assert!(off < 1e-5, "{found} instead of {expected}");
    }

    #[test]
    fn the_first_sample_is_the_average() {
        let none = Ewma::new(0);
        assert_eq!(none.latency(0, DECAY_US), Latency::Assumed(1.0));
        let one = none.observe(7.0, 1_000_000, DECAY_US);
        assert_near(one.latency(1_000_000, DECAY_US), 7.0);
    }

    #[test]
    fn later_samples_weigh_by_the_time_between() {
        let one = Ewma::default().observe(10.0, 0, DECAY_US);
        for elapsed in [1_600_000u64, 10_000_000, 50_000_000] {
            let kept = (-(elapsed as f64) / DECAY_US as f64).exp();
            let two = one.observe(20.0, elapsed, DECAY_US);
            assert_near(
                two.latency(elapsed, DECAY_US),
                10.0 * kept + 20.0 * (1.0 - kept),
            );
        }
        // At the same time: the least part, not the whole.
        let two = one.observe(1000.0, 0, DECAY_US);
        let Latency::Measured(latency) = two.latency(0, DECAY_US) else {
            panic!("there were samples");
        };
        assert!((10.0..10.01).contains(&latency), "{latency}");
    }

    #[test]
    fn a_host_that_gets_nothing_is_forgiven() {
        let slow = Ewma::default().observe(100.0, 0, DECAY_US);
        assert_near(slow.latency(DECAY_US, DECAY_US), 100.0 / 1f64.exp());
        assert_near(slow.latency(4 * DECAY_US, DECAY_US), 100.0 / 4f64.exp());
    }

    #[test]
    fn an_average_that_is_kept_does_not_fall() {
        let slow = Ewma::default().observe(100.0, 0, DECAY_US);
        let kept = slow.keep(3 * DECAY_US);
        assert_near(kept.latency(3 * DECAY_US, DECAY_US), 100.0);
        assert_near(kept.latency(4 * DECAY_US, DECAY_US), 100.0 / 1f64.exp());
    }

    #[test]
    fn less_and_less_is_assumed_of_a_host_that_is_new() {
        let new = Ewma::new(DECAY_US);
        let assumed = |new: Ewma, at| match new.latency(at, DECAY_US) {
            Latency::Assumed(part) => part,
            Latency::Measured(_) => panic!("there was no sample"),
        };
        assert!((assumed(new, DECAY_US) - 1.0).abs() < 1e-5);
        assert!((assumed(new, 3 * DECAY_US) - (-2f64).exp()).abs() < 1e-5);
        // Unless it fails.
        let failed = new.keep(3 * DECAY_US);
        assert!((assumed(failed, 3 * DECAY_US) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn clocks_may_wrap_around_and_go_back() {
        let near_end = (1u64 << 32) * TICK_US - 1_600_000;
        let one = Ewma::default().observe(10.0, near_end, DECAY_US);
        let kept = (-0.32f64).exp();
        assert_near(one.latency(near_end + 3_200_000, DECAY_US), 10.0 * kept);
        assert_near(one.latency(near_end - 3_200_000, DECAY_US), 10.0);
    }

    #[test]
    fn an_average_is_one_number() {
        let one = Ewma::default().observe(12.5, 123_456_789, DECAY_US);
        assert_eq!(Ewma::from_bits(one.to_bits()), one);
        assert_eq!(size_of::<Ewma>(), 8);
    }

    #[test]
    fn costs_are_those_of_envoy() {
        let table = [
            (Latency::Measured(5.0), 0, 5.0),
            (Latency::Measured(5.0), 3, 20.0),
            (Latency::Assumed(1.0), 0, 10.0),
            (Latency::Assumed(0.5), 0, 5.0),
            (Latency::Assumed(1.0), 2, 1_000_002.0),
        ];
        for (latency, active, expected) in table {
            let found = cost(latency, active, 10.0, 1_000_000.0);
            assert!((found - expected).abs() < 1e-9, "{latency:?}, {active}");
        }
    }

    /// Of two different hosts the better one is always taken, so of `n` hosts
    /// rank `k` gets `2 (n - 1 - k) / (n (n - 1))`.
    #[test]
    fn picks_follow_the_ranks_of_the_costs() {
        let cluster = Cluster::new(POLICY, weighted(&[1; 5]));
        let (counts, _) = cluster.count_with(50_000, |_, request| {
            request.latency = [1.0, 2.0, 4.0, 8.0, 16.0].map(Latency::Measured).into();
            // What is in flight turns the order of the last two around.
            request.active = vec![0, 0, 0, 3, 0];
        });
        let shares = [4.0, 3.0, 2.0, 0.0, 1.0].map(|worse| worse / 10.0);
        for (count, share) in counts.iter().zip(shares) {
            assert_share(*count, 50_000, share, 4.0);
        }
    }

    #[test]
    fn equal_costs_are_shared_evenly() {
        for hosts in [2, 3, 7] {
            let cluster = Cluster::new(POLICY, weighted(&vec![1; hosts]));
            let (counts, _) = cluster.count(50_000);
            for count in &counts[..hosts] {
                assert_share(*count, 50_000, 1.0 / hosts as f64, 4.0);
            }
        }
    }

    #[test]
    fn one_host_needs_no_choice() {
        assert_eq!(Cluster::new(POLICY, weighted(&[1])).count(5).0, [5, 0]);
        assert_eq!(Cluster::new(POLICY, []).count(5).0, [5]);
    }
}
