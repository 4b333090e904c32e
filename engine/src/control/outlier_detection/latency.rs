//! Hosts that take much longer than their peers.
//!
//! At every interval the mean time of each host is compared with the median of
//! its peers' means. A median does not move when one of them is slow itself,
//! and neither does it when all hosts become slow together: then nobody is an
//! outlier. The mean of an interval, not a smoothed one, so that a host that
//! turned slow is found within two intervals and one that recovered is not
//! held to its past.

use std::sync::Arc;
use std::time::Duration;

use ringway_config::latency_outlier::LatencyOutlier;

use super::event::Found;
use super::{OutlierDetector, Scene, standing};
use crate::upstream::host::SharedHost;
use crate::upstream::outlier_detection::Detector;

/// A host with enough requests in the last interval.
struct Timed<'a> {
    host: &'a Arc<SharedHost>,
    requests: u64,
    mean: f64,
}

impl OutlierDetector {
    /// Ejects hosts that were slow often enough, and takes back those whose
    /// time is over.
    pub(super) fn look_at_latency(&mut self, scene: Scene<'_>) -> bool {
        let Some(config) = self.config.latency_outlier.as_deref().copied() else {
            return false;
        };
        let mut changed = false;
        let ejected_by_latency = |host: &SharedHost| {
            host.monitor()?.record(|record| {
                let ejection = record.ejected.as_ref()?;
                Some(ejection.by == Detector::Latency)
            })
        };
        for member in scene.members {
            if ejected_by_latency(&member.shared) == Some(true) {
                changed |= self.take_back_if_due(&member.shared, scene);
            }
        }
        self.relax(&config, scene);
        let mut timed: Vec<Timed<'_>> = standing(scene.members)
            .filter_map(|(host, monitor)| {
                let now = monitor.latency(scene.store);
                let before =
                    monitor.record(|record| std::mem::replace(&mut record.latency_counted, now));
                let requests = now.0 - before.0;
                (requests >= config.min_requests).then(|| Timed {
                    host,
                    requests,
                    mean: (now.1 - before.1) as f64 / requests as f64,
                })
            })
            .collect();
        if (timed.len() as u64) < config.min_hosts {
            return changed;
        }
        timed.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        let means: Vec<f64> = timed.iter().map(|one| one.mean).collect();
        // The slowest first: room for ejections is for those who need it most.
        for (place, one) in timed.iter().enumerate().rev() {
            let median = median_without(&means, place);
            let limit = limit(&config, median);
            let Some(monitor) = one.host.monitor() else {
                continue;
            };
            let slow_intervals = monitor.record(|record| {
                record.slow_intervals = match one.mean > limit {
                    true => record.slow_intervals + 1,
                    false => 0,
                };
                record.slow_intervals
            });
            if slow_intervals < config.intervals {
                continue;
            }
            let reason = || {
                format!(
                    "mean {:.1} ms over {} requests in {} ms, {slow_intervals} intervals in a \
                     row; the median of {} peers is {:.1} ms, the limit {:.1} ms",
                    one.mean / 1000.0,
                    one.requests,
                    config.interval.as_millis(),
                    means.len() - 1,
                    median / 1000.0,
                    limit / 1000.0,
                )
            };
            changed |= self.eject(one.host, Detector::Latency, Found::Run, &reason, scene);
        }
        changed
    }

    /// A host that behaves is ejected for less time when it happens again. In
    /// clusters with Envoy's detectors their interval does this.
    fn relax(&self, config: &LatencyOutlier, scene: Scene<'_>) {
        if self.detection().is_some() {
            return;
        }
        for (_, monitor) in standing(scene.members) {
            monitor.record(|record| {
                let since = record.last_relaxed.max(record.last_unejection);
                if record.backoff > 0
                    && since.is_some_and(|since| scene.now - since >= config.base_ejection_time)
                {
                    record.backoff -= 1;
                    record.last_relaxed = Some(scene.now);
                }
            });
        }
    }
}

/// The mean in microseconds that is too long among peers with this median.
fn limit(config: &LatencyOutlier, median: f64) -> f64 {
    let excess = |time: Duration| time.as_micros() as f64;
    (median * config.factor).max(median + excess(config.min_excess))
}

/// The median of sorted numbers without the one at `place`; there are others.
fn median_without(sorted: &[f64], place: usize) -> f64 {
    let peer = |n: usize| sorted[if n < place { n } else { n + 1 }];
    let peers = sorted.len() - 1;
    match peers % 2 {
        0 => f64::midpoint(peer(peers / 2 - 1), peer(peers / 2)),
        _ => peer(peers / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_leaves_the_host_itself_out() {
        let sorted = [1.0, 2.0, 4.0, 8.0, 100.0];
        let medians: Vec<_> = (0..5).map(|place| median_without(&sorted, place)).collect();
        assert_eq!(medians, [6.0, 6.0, 5.0, 3.0, 3.0]);
        let sorted = [1.0, 2.0, 9.0, 100.0];
        let medians: Vec<_> = (0..4).map(|place| median_without(&sorted, place)).collect();
        assert_eq!(medians, [9.0, 9.0, 2.0, 2.0]);
    }

    #[test]
    fn the_limit_is_the_larger_of_factor_and_excess() {
        let config = LatencyOutlier::default();
        assert_eq!(limit(&config, 1000.0), 11_000.0, "1 ms and 10 ms more");
        assert_eq!(limit(&config, 50_000.0), 150_000.0, "three times 50 ms");
    }
}
