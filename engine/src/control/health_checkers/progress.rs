//! From results to health: how many successes or failures in a row a host
//! needs, and how long it is until the next check.

use std::sync::Arc;
use std::time::Duration;

use ringway_config::core::Locality;
use ringway_config::health_check::Intervals;
use ringway_config::runtime::RuntimeValues;

use super::Shared;
use super::event::{Event, log};
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The host is well, or says that it is degraded.
    Passed { degraded: bool },
    /// It is not.
    Failed(Failure),
}

/// How a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub kind: FailureKind,
    /// One such answer is not enough to take the host for unhealthy.
    pub retriable: bool,
    /// Of an HTTP response; 0 without one.
    pub status: u16,
}

/// `envoy.data.core.v3.HealthCheckFailureType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The host answered that it is not well.
    Active,
    /// A response to another request said so.
    Passive,
    /// It could not be asked.
    Network,
    /// It did not answer in time.
    NetworkTimeout,
}

impl FailureKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Passive => "PASSIVE",
            Self::Network => "NETWORK",
            Self::NetworkTimeout => "NETWORK_TIMEOUT",
        }
    }

    fn is_of_network(self) -> bool {
        matches!(self, Self::Network | Self::NetworkTimeout)
    }
}

/// What a result changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// Nothing.
    Unchanged,
    /// Nothing yet: there have to be more of the same.
    Pending,
    /// Whether the host is healthy, degraded or excluded.
    Changed,
}

/// How far a host is on its way to another health.
pub(super) struct Progress {
    successes: u32,
    failures: u32,
    is_first: bool,
    /// Where the host is, for events.
    pub locality: Arc<Locality>,
}

impl Progress {
    pub fn new(locality: Arc<Locality>) -> Self {
        Self {
            successes: 0,
            failures: 0,
            is_first: true,
            locality,
        }
    }

    /// Whether there has been no result.
    pub fn is_first(&self) -> bool {
        self.is_first
    }
}

impl Shared {
    /// A check has passed.
    pub(super) fn passed(
        &self,
        host: &SharedHost,
        progress: &mut Progress,
        degraded: bool,
    ) -> Transition {
        progress.failures = 0;
        let mut transition = Transition::Unchanged;
        if host.has(HealthFlag::FailedActiveHc) {
            progress.successes += 1;
            // One success is enough at the start: that is better than a
            // cluster without hosts.
            if progress.is_first || progress.successes == self.check.healthy_threshold {
                for flag in [
                    HealthFlag::ActiveHcTimeout,
                    HealthFlag::ExcludedViaImmediateHcFail,
                    HealthFlag::FailedActiveHc,
                ] {
                    host.set_health(flag, false);
                }
                self.stats.healthy.inc();
                transition = Transition::Changed;
                log(self, host, progress, Event::AddHealthy(progress.is_first));
            } else {
                transition = Transition::Pending;
            }
        }
        if transition != Transition::Changed && self.check.always_log_success {
            log(self, host, progress, Event::Successful);
        }
        transition = not_pending(host, transition);
        if host.set_health(HealthFlag::DegradedActiveHc, degraded) {
            if degraded {
                self.stats.degraded.inc();
                log(self, host, progress, Event::Degraded);
            } else {
                self.stats.degraded.dec();
                log(self, host, progress, Event::NoLongerDegraded);
            }
            if transition == Transition::Unchanged {
                transition = Transition::Changed;
            }
        }
        self.stats.success.inc();
        progress.is_first = false;
        transition
    }

    /// A check has failed.
    pub(super) fn failed(
        &self,
        host: &SharedHost,
        progress: &mut Progress,
        failure: Failure,
    ) -> Transition {
        progress.successes = 0;
        let mut transition = Transition::Unchanged;
        if !host.has(HealthFlag::FailedActiveHc) {
            // An answer leaves no doubt; what fails on the way there may be an
            // accident.
            let is_certain = !failure.kind.is_of_network() && !failure.retriable;
            progress.failures += u32::from(!is_certain);
            if is_certain || progress.failures == self.check.unhealthy_threshold {
                host.set_health(HealthFlag::FailedActiveHc, true);
                self.stats.healthy.dec();
                transition = Transition::Changed;
                log(self, host, progress, Event::EjectUnhealthy(failure));
            } else {
                transition = Transition::Pending;
            }
        }
        let timed_out = failure.kind == FailureKind::NetworkTimeout;
        let is_unhealthy = host.has(HealthFlag::FailedActiveHc);
        host.set_health(HealthFlag::ActiveHcTimeout, timed_out && is_unhealthy);
        transition = not_pending(host, transition);
        if progress.is_first || self.check.always_log_failures {
            log(
                self,
                host,
                progress,
                Event::Failure(failure, progress.is_first),
            );
        }
        self.stats.failure.inc();
        if failure.kind.is_of_network() {
            self.stats.network_failure.inc();
        } else if failure.kind == FailureKind::Passive {
            self.stats.passive_failure.inc();
        }
        progress.is_first = false;
        transition
    }
}

/// A host that waited for its first result takes part from now on.
fn not_pending(host: &SharedHost, transition: Transition) -> Transition {
    match host.set_health(HealthFlag::PendingActiveHc, false) {
        true => Transition::Changed,
        false => transition,
    }
}

/// How long it is until the next check. `has_traffic` says that the cluster has
/// ever had a connection; without, hosts are asked less often.
pub(super) fn interval(
    intervals: &Intervals,
    passed: bool,
    transition: Transition,
    has_traffic: bool,
) -> Duration {
    let pending = transition == Transition::Pending;
    match (has_traffic, passed, pending) {
        (true, true, false) => intervals.healthy,
        (true, true, true) => intervals.healthy_edge,
        (true, false, false) => intervals.unhealthy,
        (true, false, true) => intervals.unhealthy_edge,
        (false, true, false) => intervals.no_traffic_healthy,
        (false, ..) => intervals.no_traffic,
    }
}

/// An interval with its random parts, within what the runtime allows.
pub(super) fn with_jitter(
    base: Duration,
    jitter: Duration,
    intervals: &Intervals,
    runtime: &RuntimeValues,
    rng: &mut fastrand::Rng,
) -> Duration {
    let base = base.as_millis() as u64;
    let part = base * u64::from(intervals.jitter_percent) / 100;
    let mut random = |below: u64| if below > 0 { rng.u64(..below) } else { 0 };
    let interval = base + random(part) + random(jitter.as_millis() as u64);
    let least = runtime.integer(intervals.min_key, 0);
    let most = runtime.integer(intervals.max_key, u64::MAX);
    // Never 0, or nothing else would happen on this thread.
    Duration::from_millis(interval.min(most).max(least).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals() -> Intervals {
        let keys = ringway_config::runtime::RuntimeKeys::default();
        let seconds = Duration::from_secs;
        Intervals {
            healthy: seconds(1),
            healthy_edge: seconds(2),
            unhealthy: seconds(3),
            unhealthy_edge: seconds(4),
            no_traffic: seconds(5),
            no_traffic_healthy: seconds(6),
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: 0,
            min_key: keys.id("health_check.min_interval"),
            max_key: keys.id("health_check.max_interval"),
        }
    }

    #[test]
    fn every_state_has_its_interval() {
        use Transition::{Changed, Pending, Unchanged};
        for (passed, transition, has_traffic, seconds) in [
            (true, Unchanged, true, 1),
            (true, Changed, true, 1),
            (true, Pending, true, 2),
            (false, Unchanged, true, 3),
            (false, Changed, true, 3),
            (false, Pending, true, 4),
            (true, Unchanged, false, 6),
            (true, Changed, false, 6),
            (true, Pending, false, 5),
            (false, Unchanged, false, 5),
            (false, Pending, false, 5),
        ] {
            assert_eq!(
                interval(&intervals(), passed, transition, has_traffic),
                Duration::from_secs(seconds),
                "{passed} {transition:?} {has_traffic}"
            );
        }
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_reaches_them() {
        let mut rng = fastrand::Rng::with_seed(7);
        let runtime = RuntimeValues::default();
        let intervals = Intervals {
            jitter_percent: 50,
            ..intervals()
        };
        let base = Duration::from_millis(100);
        let jitter = Duration::from_millis(20);
        let all: Vec<_> = (0..2000)
            .map(|_| with_jitter(base, jitter, &intervals, &runtime, &mut rng).as_millis())
            .collect();
        // 100 and up to 49 and up to 19 more.
        assert!(all.iter().all(|ms| (100..=168).contains(ms)));
        assert!(all.iter().any(|ms| *ms < 105) && all.iter().any(|ms| *ms > 160));
        let none = with_jitter(
            Duration::ZERO,
            Duration::ZERO,
            &intervals,
            &runtime,
            &mut rng,
        );
        assert_eq!(none, Duration::from_millis(1), "never 0");
    }
}
