//! Hosts that call themselves degraded in a response (`x-envoy-degraded`,
//! `detect_degraded_hosts`): they are used when others cannot be, for a time that
//! grows with how often it happens, like an ejection's.
//!
//! As in Envoy the limit of ejections does not hold for them, active health checks
//! that pass do not end it, and the event of its end has the type and the number of
//! an ejection that there was not.

use std::sync::Arc;
use std::time::Duration;

use super::{OutlierDetector, Scene, event};
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;
use crate::upstream::outlier_detection::Degradation;

impl OutlierDetector {
    /// A response of the host said `x-envoy-degraded`. True when that changes its
    /// health.
    pub fn on_degraded(&mut self, host: &Arc<SharedHost>, scene: Scene<'_>) -> bool {
        let Some(monitor) = host.monitor() else {
            return false;
        };
        let is_member = |member: &Member| Arc::ptr_eq(&member.shared, host);
        // It may have been removed, or noted by another worker, while the report was
        // on its way.
        if !scene.members.iter().any(is_member)
            || !host.set_health(HealthFlag::DegradedOutlierDetection, true)
        {
            return false;
        }
        if let Some(stats) = &self.stats {
            stats.ejections_detected_degradation.inc();
        }
        let (base, max) = self.degradation_times(scene);
        monitor.record(|record| {
            let degradation = &mut record.degradation;
            degradation.since = Some(scene.now);
            if base.saturating_mul(degradation.backoff) < max + base {
                degradation.backoff += 1;
            }
            if let Some(log) = &self.log {
                log.write(&event::degraded(&self.config.name, host, record, scene.now));
            }
        });
        true
    }

    /// Ends the degradation of a host whose time is over.
    pub(super) fn restore_if_due(&self, host: &SharedHost, scene: Scene<'_>) -> bool {
        let Some(monitor) = host.monitor() else {
            return false;
        };
        let (base, max) = self.degradation_times(scene);
        monitor.record(|record| {
            let Degradation { since, backoff, .. } = record.degradation;
            let lasts = base.saturating_mul(backoff).min(max);
            if since.is_none_or(|since| since + lasts > scene.now) {
                return false;
            }
            record.degradation.since = None;
            record.degradation.ended = Some(scene.now);
            host.set_health(HealthFlag::DegradedOutlierDetection, false);
            if let Some(log) = &self.log {
                log.write(&event::unejected(
                    &self.config.name,
                    host,
                    record,
                    scene.now,
                ));
            }
            true
        })
    }

    /// How long a degradation lasts for the first time, and at most.
    fn degradation_times(&self, scene: Scene<'_>) -> (Duration, Duration) {
        self.detection().map_or_else(Default::default, |config| {
            (
                config.base_ejection_time_ms.duration(scene.runtime),
                config.max_ejection_time_ms.duration(scene.runtime),
            )
        })
    }
}

impl Degradation {
    /// An interval has passed: who has called itself degraded no more for as long is
    /// so for less time when it happens again.
    pub(super) fn relax(&mut self, interval: Duration, scene: Scene<'_>) {
        if self.since.is_none()
            && let Some(ended) = self.ended
            && scene.now.duration_since(ended) >= interval
        {
            self.backoff = self.backoff.saturating_sub(1);
        }
    }
}
