//! Outlier detection of a cluster: which hosts are ejected, why, and when they
//! are taken back.
//!
//! Workers report runs of errors as they happen, the rest is found at every
//! interval in what they have counted (`upstream::outlier_detection`). Here is
//! who is ejected and the bookkeeping of it; `rates.rs` compares rates,
//! `latency.rs` times, `degradation.rs` is about hosts that call themselves degraded,
//! `event.rs` writes the log.

mod degradation;
mod event;
mod latency;
mod rates;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::outlier_detection::{Origin, OutlierDetection, Streak};
use ringway_config::runtime::RuntimeValues;

use crate::access_loggers::EventLog;
use crate::stats::cluster::prefix;
use crate::stats::outlier_detection::{LatencyOutlierStats, OutlierDetectionStats};
use crate::stats::{Counter, Store};
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;
use crate::upstream::outlier_detection::{Detector, Ejection, Monitor, Record, Watch};

use event::Found;

/// What a detector looks at.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The cluster's hosts.
    pub members: &'a [Member],
    /// Where workers count.
    pub store: &'a Store,
    /// The runtime as it is now.
    pub runtime: &'a RuntimeValues,
    /// The time.
    pub now: Instant,
}

/// Outlier detection of a cluster.
pub struct OutlierDetector {
    config: Arc<ClusterConfig>,
    watch: Arc<Watch>,
    stats: Option<OutlierDetectionStats>,
    latency_stats: Option<LatencyOutlierStats>,
    log: Option<EventLog>,
    /// When hosts are looked at next.
    next_sweep: Option<Instant>,
    /// When their latency is.
    next_look: Option<Instant>,
    rng: fastrand::Rng,
}

impl OutlierDetector {
    /// The detector of a cluster whose hosts have `watch`.
    #[must_use]
    pub fn new(
        config: &Arc<ClusterConfig>,
        watch: Arc<Watch>,
        log: Option<EventLog>,
        store: &Store,
    ) -> Self {
        let now = Instant::now();
        let prefix = prefix(&config.stat_name);
        let detection = config.outlier_detection.as_deref();
        let latency = config.latency_outlier.as_deref();
        Self {
            stats: detection
                .map(|_| OutlierDetectionStats::new(store, &format!("{prefix}outlier_detection."))),
            latency_stats: latency
                .map(|_| LatencyOutlierStats::new(store, &format!("{prefix}latency_outlier."))),
            next_sweep: detection
                .map(|config| now + Duration::from_millis(config.interval_ms.configured)),
            next_look: latency.map(|config| now + config.interval),
            config: Arc::clone(config),
            watch,
            log,
            rng: fastrand::Rng::new(),
        }
    }

    /// What is shared with the cluster's hosts.
    #[must_use]
    pub fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// When [`Self::sweep`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.next_sweep, self.next_look]
            .into_iter()
            .flatten()
            .min()
    }

    /// The runtime has other values.
    pub fn set_runtime(&self, runtime: &RuntimeValues) {
        if let Some(config) = self.config.outlier_detection.as_deref() {
            self.watch.set_limits(config, runtime);
        }
    }

    /// A worker has seen a run of errors. True when that ejects the host, and
    /// so for all that return a boolean here: when any host's health changed.
    pub fn on_run(&mut self, host: &Arc<SharedHost>, streak: Streak, scene: Scene<'_>) -> bool {
        let Some(monitor) = host.monitor() else {
            return false;
        };
        let is_member = |member: &Member| Arc::ptr_eq(&member.shared, host);
        // It may have been removed while the report was on its way.
        if !scene.members.iter().any(is_member) || host.has(HealthFlag::FailedOutlierCheck) {
            return false;
        }
        let detector = Detector::Consecutive(streak);
        if streak == Streak::ServerError
            && let Some(stats) = &self.stats
        {
            stats.ejections_consecutive_5xx.inc();
        }
        let limit = self.detection().map_or(0, |config| {
            config.consecutive[streak as usize].get(scene.runtime)
        });
        let reason = || format!("{limit} errors in a row");
        let ejected = self.eject(host, detector, Found::Run, &reason, scene);
        // Another run is found even if no success comes in between.
        monitor.end_run(streak);
        ejected
    }

    /// An active health check of the host has passed, and says nothing against
    /// it.
    pub fn on_check_passed(&mut self, host: &SharedHost, scene: Scene<'_>) -> bool {
        let wanted = self
            .detection()
            .is_some_and(|config| config.successful_active_health_check_uneject_host);
        let ends = wanted && host.has(HealthFlag::FailedOutlierCheck);
        if ends {
            self.take_back(host, scene);
        }
        ends
    }

    /// Hosts have come or gone.
    pub fn on_members(&self, members: &[Member]) {
        self.show_active(members);
    }

    /// Looks at all hosts as far as it is time to.
    pub fn sweep(&mut self, scene: Scene<'_>) -> bool {
        let mut changed = false;
        if self.next_look.is_some_and(|at| at <= scene.now) {
            changed |= self.look_at_latency(scene);
            let interval = self.config.latency_outlier.as_deref();
            self.next_look = interval.map(|config| scene.now + config.interval);
        }
        if self.next_sweep.is_some_and(|at| at <= scene.now)
            && let Some(config) = self.detection().copied()
        {
            changed |= self.sweep_rates(&config, scene);
            self.next_sweep = Some(scene.now + config.interval_ms.duration(scene.runtime));
        }
        changed
    }

    fn sweep_rates(&mut self, config: &OutlierDetection, scene: Scene<'_>) -> bool {
        let mut changed = false;
        for member in scene.members {
            changed |= self.take_back_if_due(&member.shared, scene);
            changed |= self.restore_if_due(&member.shared, scene);
        }
        for origin in [Origin::External, Origin::Local] {
            changed |= self.compare_rates(origin, config, scene);
        }
        // Who has behaved since it was taken back is ejected for less time
        // when it happens again.
        let interval = config.interval_ms.duration(scene.runtime);
        for monitor in scene
            .members
            .iter()
            .filter_map(|member| member.shared.monitor())
        {
            monitor.record(|record| record.degradation.relax(interval, scene));
        }
        for (_, monitor) in standing(scene.members) {
            monitor.record(|record| {
                if let Some(since) = record.last_unejection
                    && scene.now.duration_since(since) >= interval
                {
                    record.backoff = record.backoff.saturating_sub(1);
                }
            });
        }
        changed
    }

    /// Takes a host back whose time is over.
    fn take_back_if_due(&mut self, host: &SharedHost, scene: Scene<'_>) -> bool {
        let Some(monitor) = host.monitor() else {
            return false;
        };
        let due = monitor.record(|record| {
            let by = record.ejected.as_ref().map(|ejection| ejection.by);
            let lasts = by.map(|by| self.ejection_time(by, record.backoff, scene) + record.jitter);
            matches!((lasts, record.last_ejection), (Some(lasts), Some(at)) if at + lasts <= scene.now)
        });
        if due {
            self.take_back(host, scene);
        }
        due
    }

    fn take_back(&mut self, host: &SharedHost, scene: Scene<'_>) {
        let Some(monitor) = host.monitor() else {
            return;
        };
        host.set_health(HealthFlag::FailedOutlierCheck, false);
        // Not to be ejected again for a few errors on top of old ones.
        for streak in [
            Streak::ServerError,
            Streak::GatewayFailure,
            Streak::LocalOrigin,
        ] {
            monitor.end_run(streak);
        }
        self.show_active(scene.members);
        monitor.record(|record| {
            record.ejected = None;
            record.slow_intervals = 0;
            record.last_unejection = Some(scene.now);
            record.latency_counted = monitor.latency(scene.store);
            if let Some(log) = &self.log {
                let name = &self.config.name;
                log.write(&event::unejected(name, host, record, scene.now));
            }
        });
    }

    /// Ejects a host, within the limits. `reason` is for people.
    fn eject(
        &mut self,
        host: &SharedHost,
        detector: Detector,
        found: Found,
        reason: &dyn Fn() -> String,
        scene: Scene<'_>,
    ) -> bool {
        let Some(monitor) = host.monitor() else {
            return false;
        };
        if let Some([detected, _]) = self.counters(detector) {
            detected.inc();
        }
        if !self.has_room(detector, scene) {
            self.count_overflow(detector);
            return false;
        }
        let old_total = matches!(
            detector,
            Detector::Consecutive(Streak::ServerError) | Detector::SuccessRate(Origin::External)
        );
        if let Some(stats) = &self.stats
            && old_total
        {
            stats.ejections_total.inc();
        }
        let enforced = self.rng.u64(..100) < self.enforcing_percent(detector, scene);
        if enforced {
            if let Some([_, enforced]) = self.counters(detector) {
                enforced.inc();
            }
            if let Some(stats) = &self.stats
                && detector != Detector::Latency
            {
                stats.ejections_enforced_total.inc();
            }
            host.set_health(HealthFlag::FailedOutlierCheck, true);
            let jitter = self.jitter(detector, scene);
            monitor.record(|record| self.note_ejection(record, detector, jitter, reason, scene));
            self.show_active(scene.members);
        }
        if let Some(log) = &self.log {
            let (name, now) = (&self.config.name, scene.now);
            let line = monitor.record(|record| {
                event::ejected(name, host, record, detector, found, enforced, now)
            });
            log.write(&line);
        }
        enforced
    }

    fn note_ejection(
        &self,
        record: &mut Record,
        detector: Detector,
        jitter: Duration,
        reason: &dyn Fn() -> String,
        scene: Scene<'_>,
    ) {
        record.ejections += 1;
        record.last_ejection = Some(scene.now);
        record.jitter = jitter;
        let (base, max) = self.ejection_times(detector, scene);
        if base * record.backoff < max + base {
            record.backoff += 1;
        }
        let lasts = self.ejection_time(detector, record.backoff, scene) + jitter;
        record.ejected = Some(Ejection {
            by: detector,
            reason: reason(),
            until: scene.now + lasts,
        });
    }

    /// Whether one more host may be ejected.
    fn has_room(&self, detector: Detector, scene: Scene<'_>) -> bool {
        let (percent, always_one) = match (detector, self.config.latency_outlier.as_deref()) {
            (Detector::Latency, Some(config)) => (config.max_ejection_percent, false),
            _ => self.detection().map_or((0, false), |config| {
                let percent = config.max_ejection_percent.get(scene.runtime).min(100);
                (percent, config.always_eject_one_host)
            }),
        };
        let ejected = ejected(scene.members);
        let share = 100.0 * (ejected + 1) as f64 / scene.members.len() as f64;
        share <= percent as f64 || (always_one && ejected == 0)
    }

    fn enforcing_percent(&self, detector: Detector, scene: Scene<'_>) -> u64 {
        let Some(config) = self.detection() else {
            return 100;
        };
        let setting = match detector {
            Detector::Consecutive(streak) => config.enforcing_consecutive[streak as usize],
            Detector::SuccessRate(origin) => {
                config.per_origin[origin as usize].enforcing_success_rate
            }
            Detector::FailurePercentage(origin) => {
                config.per_origin[origin as usize].enforcing_failure_percentage
            }
            Detector::Latency => return 100,
        };
        setting.get(scene.runtime)
    }

    /// How long an ejection lasts for the first time, and at most.
    fn ejection_times(&self, detector: Detector, scene: Scene<'_>) -> (Duration, Duration) {
        match (detector, self.config.latency_outlier.as_deref()) {
            (Detector::Latency, Some(config)) => {
                (config.base_ejection_time, config.max_ejection_time)
            }
            _ => self.detection().map_or_else(Default::default, |config| {
                (
                    config.base_ejection_time_ms.duration(scene.runtime),
                    config.max_ejection_time_ms.duration(scene.runtime),
                )
            }),
        }
    }

    fn ejection_time(&self, detector: Detector, backoff: u32, scene: Scene<'_>) -> Duration {
        let (base, max) = self.ejection_times(detector, scene);
        base.saturating_mul(backoff).min(max)
    }

    fn jitter(&mut self, detector: Detector, scene: Scene<'_>) -> Duration {
        let setting = match (detector, self.detection()) {
            (Detector::Latency, _) | (_, None) => return Duration::ZERO,
            (_, Some(config)) => config.max_ejection_time_jitter_ms,
        };
        let most = setting.get(scene.runtime);
        Duration::from_millis(self.rng.u64(..=most))
    }

    /// What counts a detector's finds, and those that are acted on.
    fn counters(&self, detector: Detector) -> Option<[Counter; 2]> {
        if detector == Detector::Latency {
            let stats = self.latency_stats.as_ref()?;
            return Some([stats.ejections_detected, stats.ejections_enforced]);
        }
        let stats = self.stats.as_ref()?;
        Some(match detector {
            Detector::Consecutive(Streak::ServerError) => [
                stats.ejections_detected_consecutive_5xx,
                stats.ejections_enforced_consecutive_5xx,
            ],
            Detector::Consecutive(Streak::GatewayFailure) => [
                stats.ejections_detected_consecutive_gateway_failure,
                stats.ejections_enforced_consecutive_gateway_failure,
            ],
            Detector::Consecutive(Streak::LocalOrigin) => [
                stats.ejections_detected_consecutive_local_origin_failure,
                stats.ejections_enforced_consecutive_local_origin_failure,
            ],
            Detector::SuccessRate(Origin::External) => [
                stats.ejections_detected_success_rate,
                stats.ejections_enforced_success_rate,
            ],
            Detector::SuccessRate(Origin::Local) => [
                stats.ejections_detected_local_origin_success_rate,
                stats.ejections_enforced_local_origin_success_rate,
            ],
            Detector::FailurePercentage(Origin::External) => [
                stats.ejections_detected_failure_percentage,
                stats.ejections_enforced_failure_percentage,
            ],
            Detector::FailurePercentage(Origin::Local) => [
                stats.ejections_detected_local_origin_failure_percentage,
                stats.ejections_enforced_local_origin_failure_percentage,
            ],
            Detector::Latency => return None,
        })
    }

    fn count_overflow(&self, detector: Detector) {
        match (detector, &self.stats, &self.latency_stats) {
            (Detector::Latency, _, Some(stats)) => stats.ejections_overflow.inc(),
            (_, Some(stats), _) => stats.ejections_overflow.inc(),
            _ => {}
        }
    }

    fn show_active(&self, members: &[Member]) {
        if let Some(stats) = &self.stats {
            stats.ejections_active.set(ejected(members) as u64);
        }
    }

    fn detection(&self) -> Option<&OutlierDetection> {
        self.config.outlier_detection.as_deref()
    }
}

fn ejected(members: &[Member]) -> usize {
    let is_ejected = |member: &&Member| member.shared.has(HealthFlag::FailedOutlierCheck);
    members.iter().filter(is_ejected).count()
}

/// The hosts that are not ejected.
fn standing(members: &[Member]) -> impl Iterator<Item = (&Arc<SharedHost>, &Monitor)> {
    members
        .iter()
        .filter(|member| !member.shared.has(HealthFlag::FailedOutlierCheck))
        .filter_map(|member| Some((&member.shared, member.shared.monitor()?)))
}

#[cfg(test)]
mod tests;
