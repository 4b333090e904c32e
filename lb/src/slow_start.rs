//! Slow start (`envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig`):
//! the weight of a host that has just become healthy grows to its full size.

use crate::config::SlowStart;
use crate::members::Host;

/// The hosts that are in their window.
#[derive(Debug)]
pub(crate) struct SlowStarts {
    config: SlowStart,
    /// When the window began, by host; [`NEVER`] for hosts that are not in it.
    since_ms: Box<[u64]>,
}

impl SlowStarts {
    /// `None` when no host is in its window.
    pub(crate) fn new(config: Option<SlowStart>, hosts: &[Host]) -> Option<Self> {
        let config = config?;
        if hosts.iter().all(|host| host.slow_start_since_ms.is_none()) {
            return None;
        }
        let since_ms = hosts
            .iter()
            .map(|host| host.slow_start_since_ms.unwrap_or(NEVER))
            .collect();
        Some(Self { config, since_ms })
    }

    /// The part of its weight that a host has now: above 0, at most 1.
    pub(crate) fn factor(&self, host: u32, now_ms: u64) -> f64 {
        let since = self.since_ms[host as usize];
        if since == NEVER {
            return 1.0;
        }
        factor(&self.config, now_ms.saturating_sub(since))
    }
}

/// The part of the weight after so much of the window.
fn factor(config: &SlowStart, elapsed_ms: u64) -> f64 {
    if elapsed_ms >= config.window_ms {
        return 1.0;
    }
    let time = elapsed_ms.max(1) as f64 / config.window_ms as f64;
    let grown = if config.aggression > 0.0 {
        time.powf(1.0 / config.aggression)
    } else {
        time
    };
    grown.max(config.min_weight_percent / 100.0).min(1.0)
}

const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: SlowStart = SlowStart {
        window_ms: 10_000,
        aggression: 1.0,
        min_weight_percent: 10.0,
    };

    #[test]
    fn weight_grows_over_the_window() {
        let table = [
            // Never below the minimum, also at the edge.
            (0, 0.1),
            (1, 0.1),
            (999, 0.1),
            (1000, 0.1),
            (1001, 0.1001),
            (5000, 0.5),
            (9999, 0.9999),
            (10_000, 1.0),
            (u64::MAX, 1.0),
        ];
        for (elapsed, expected) in table {
            let found = factor(&CONFIG, elapsed);
            assert!((found - expected).abs() < 1e-12, "{elapsed} ms: {found}");
        }
    }

    #[test]
    fn aggression_bends_the_curve() {
        let with = |aggression| SlowStart {
            aggression,
            min_weight_percent: 0.0,
            ..CONFIG
        };
        let half = |aggression| factor(&with(aggression), 5000);
        assert!((half(1.0) - 0.5).abs() < 1e-12);
        assert!((half(2.0) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((half(0.5) - 0.25).abs() < 1e-12);
        // What is no number above 0 counts as 1.
        assert!((half(0.0) - 0.5).abs() < 1e-12);
        assert!((half(-3.0) - 0.5).abs() < 1e-12);
        assert!((half(f64::NAN) - 0.5).abs() < 1e-12);
        // Without a minimum the first millisecond is the least.
        assert!((factor(&with(1.0), 0) - 1e-4).abs() < 1e-12);
    }

    #[test]
    fn only_hosts_in_their_window_are_kept() {
        let old = Host::default();
        let new = Host {
            slow_start_since_ms: Some(100),
            ..old
        };
        assert!(SlowStarts::new(Some(CONFIG), &[old, old]).is_none());
        assert!(SlowStarts::new(None, &[old, new]).is_none());
        let starts = SlowStarts::new(Some(CONFIG), &[old, new]).expect("one is new");
        assert!((starts.factor(0, 5100) - 1.0).abs() < 1e-12);
        assert!((starts.factor(1, 5100) - 0.5).abs() < 1e-12);
        // A clock that is behind is one that has not moved.
        assert!((starts.factor(1, 50) - 0.1).abs() < 1e-12);
    }
}
