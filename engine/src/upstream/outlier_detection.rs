//! What workers note of how a host does, for outlier detection.
//!
//! A [`Monitor`] belongs to a host of a cluster that has outlier detection of
//! either kind, or a policy that wants to know how its hosts do; other hosts
//! have none and pay for none. Workers tell it what became of each request
//! ([`Monitor::on_outcome`]). What a success costs is a
//! load of a word that is 0 as long as all goes well, and a count in the
//! worker's own cells. Whether a host is ejected is for the control plane to
//! say (`control::outlier_detection`): it reads the counts at every interval,
//! and is told of a run of errors at once.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_codecs::header::HeaderMap;
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::outlier_detection::{Origin, OutlierDetection, Streak};
use ringway_config::runtime::RuntimeValues;
use ringway_lb::peak_ewma::Latency as AverageLatency;

use super::feedback::{Feedback, LoadReader, ReportedLoad, Wanted};
use super::health::HealthFlag;
use super::host::SharedHost;
use crate::stats::{Counter, Hidden, Store};
use crate::worker::shared::{Locked, Run, SharedLimit};

/// What became of a request to a host, or of the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host answered with this status.
    Response(u16),
    /// A connection is there for the request.
    Connected,
    /// It could not be connected to, or broke the connection or the protocol.
    Failed,
    /// It did not answer in time; the status that stands for that.
    TimedOut(u16),
}

/// What a worker tells the control plane of a host.
pub struct Report {
    /// The cluster.
    pub cluster: ClusterId,
    /// The host.
    pub host: Arc<SharedHost>,
    /// What it has done.
    pub what: Reported,
}

/// What a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// So many errors in a row as make an outlier.
    Run(Streak),
    /// A response said `x-envoy-immediate-health-check-fail`.
    ImmediateHealthCheckFail,
    /// A response said `x-envoy-degraded`.
    Degraded,
}

/// Takes a report to the control plane, from any thread.
pub type Reporter = Box<dyn Fn(Report) + Send + Sync>;

/// What the hosts of a cluster have in common.
pub struct Watch {
    cluster: ClusterId,
    splits: bool,
    has_outlier_detection: bool,
    detects_degraded: bool,
    has_latency_outlier: bool,
    has_health_check: bool,
    /// How many errors in a row are reported, by [`Streak`].
    limits: [SharedLimit; 3],
    /// What the balancer wants to know.
    wanted: Option<Wanted>,
    reporter: Reporter,
    averages: Locked<[Option<Average>; 2]>,
}

/// Success rates of all hosts of a cluster in the last interval, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// Their mean.
    pub mean: f64,
    /// Hosts below this are ejected.
    pub threshold: f64,
}

impl Watch {
    /// The watch of a cluster's hosts; `None` for one without outlier
    /// detection, health checks, and a policy that wants to know something.
    /// `start` is when the clock of the cluster's balancers starts.
    #[must_use]
    pub fn new(config: &ClusterConfig, start: Instant, reporter: Reporter) -> Option<Arc<Self>> {
        let detection = config.outlier_detection.as_deref();
        let has_latency_outlier = config.latency_outlier.is_some();
        let has_health_check = config.health_check.is_some();
        let wanted = Wanted::new(&config.balancing, start);
        let is_needed = detection.is_some() || has_latency_outlier || has_health_check;
        if !is_needed && wanted.is_none() {
            return None;
        }
        let watch = Self {
            cluster: config.id,
            splits: detection.is_some_and(|config| config.split_external_local_origin_errors),
            has_outlier_detection: detection.is_some(),
            detects_degraded: detection.is_some_and(|config| config.detect_degraded_hosts),
            has_latency_outlier,
            has_health_check,
            limits: Default::default(),
            wanted,
            reporter,
            averages: Locked::default(),
        };
        if let Some(detection) = detection {
            watch.set_limits(detection, &RuntimeValues::default());
        }
        Some(Arc::new(watch))
    }

    /// Whether the cluster checks its hosts: they are unhealthy until a check has
    /// passed.
    #[must_use]
    pub fn has_health_check(&self) -> bool {
        self.has_health_check
    }

    /// Whether there is anything to eject hosts for.
    #[must_use]
    pub fn detects_outliers(&self) -> bool {
        self.has_outlier_detection || self.has_latency_outlier
    }

    /// Whether the cluster has Envoy's outlier detection.
    #[must_use]
    pub fn has_outlier_detection(&self) -> bool {
        self.has_outlier_detection
    }

    /// The average of an origin, when enough hosts had enough requests.
    #[must_use]
    pub fn average(&self, origin: Origin) -> Option<Average> {
        self.averages.with(|averages| averages[origin as usize])
    }

    /// Replaces it; the control plane only.
    pub fn set_average(&self, origin: Origin, average: Option<Average>) {
        self.averages
            .with(|averages| averages[origin as usize] = average);
    }

    /// The runtime has other values.
    pub fn set_limits(&self, config: &OutlierDetection, runtime: &RuntimeValues) {
        for (limit, setting) in self.limits.iter().zip(&config.consecutive) {
            limit.set(u32::try_from(setting.get(runtime)).unwrap_or(u32::MAX));
        }
    }
}

/// What is noted of one host.
pub struct Monitor {
    watch: Arc<Watch>,
    /// Errors in a row, by [`Streak`].
    runs: [Run; 3],
    /// By [`Origin`].
    rates: Option<[Rate; 2]>,
    latency: Option<Latency>,
    feedback: Option<Feedback>,
    record: Locked<Record>,
}

/// Slots of one origin's requests.
#[derive(Debug)]
struct Rate(Hidden<2, 0>);

impl Rate {
    fn requests(&self) -> Counter {
        self.0.counter(0)
    }

    fn successes(&self) -> Counter {
        self.0.counter(1)
    }
}

/// Slots of how long a host takes to begin its responses.
#[derive(Debug)]
struct Latency(Hidden<2, 0>);

impl Latency {
    fn samples(&self) -> Counter {
        self.0.counter(0)
    }

    fn microseconds(&self) -> Counter {
        self.0.counter(1)
    }
}

/// What the control plane keeps of a host between two intervals; admin reads
/// it.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Counts up to the last interval, by [`Origin`].
    pub counted: [(u64, u64); 2],
    /// Samples and microseconds up to the last interval.
    pub latency_counted: (u64, u64),
    /// Percent of successes in the last interval, by [`Origin`], when there
    /// were enough requests.
    pub success_rate: [Option<f64>; 2],
    /// Intervals in a row in which the host was slow.
    pub slow_intervals: u32,
    /// How often it has been ejected.
    pub ejections: u32,
    /// Times the base ejection time: how long the next ejection lasts.
    pub backoff: u32,
    /// Comes on top of the ejection time.
    pub jitter: Duration,
    /// When it was ejected last.
    pub last_ejection: Option<Instant>,
    /// When it was taken back last.
    pub last_unejection: Option<Instant>,
    /// When latency outliers lowered `backoff` last.
    pub last_relaxed: Option<Instant>,
    /// Why it is ejected, as long as it is.
    pub ejected: Option<Ejection>,
    /// Since when and how often it has called itself degraded.
    pub degradation: Degradation,
}

/// What the control plane keeps of a host that calls itself degraded.
#[derive(Debug, Clone, Default)]
pub struct Degradation {
    /// When that began, as long as it lasts.
    pub since: Option<Instant>,
    /// When it was over last.
    pub ended: Option<Instant>,
    /// Times the base ejection time: how long it lasts.
    pub backoff: u32,
}

/// Why a host is ejected.
#[derive(Debug, Clone)]
pub struct Ejection {
    /// What found it out.
    pub by: Detector,
    /// The numbers that made it an outlier.
    pub reason: String,
    /// When it is taken back at the earliest.
    pub until: Instant,
}

/// What ejects hosts. The names are `envoy.data.cluster.v3.OutlierEjectionType`'s,
/// and our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// A run of errors.
    Consecutive(Streak),
    /// A success rate far below the others'.
    SuccessRate(Origin),
    /// Too many failures.
    FailurePercentage(Origin),
    /// Much slower than the others.
    Latency,
}

impl Detector {
    /// Its name in events and in `/outliers`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Consecutive(Streak::ServerError) => "CONSECUTIVE_5XX",
            Self::Consecutive(Streak::GatewayFailure) => "CONSECUTIVE_GATEWAY_FAILURE",
            Self::Consecutive(Streak::LocalOrigin) => "CONSECUTIVE_LOCAL_ORIGIN_FAILURE",
            Self::SuccessRate(Origin::External) => "SUCCESS_RATE",
            Self::SuccessRate(Origin::Local) => "SUCCESS_RATE_LOCAL_ORIGIN",
            Self::FailurePercentage(Origin::External) => "FAILURE_PERCENTAGE",
            Self::FailurePercentage(Origin::Local) => "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
            Self::Latency => "LATENCY",
        }
    }
}

impl Monitor {
    /// A monitor that has seen nothing.
    #[must_use]
    pub fn new(watch: &Arc<Watch>, store: &Store) -> Self {
        let rate = || Rate(Hidden::new(store));
        let counts_rates = watch.has_outlier_detection;
        Self {
            runs: Default::default(),
            rates: counts_rates.then(|| [rate(), rate()]),
            latency: (watch.has_latency_outlier).then(|| Latency(Hidden::new(store))),
            feedback: watch.wanted.as_ref().map(Feedback::new),
            record: Locked::default(),
            watch: Arc::clone(watch),
        }
    }

    /// Gives the slots back.
    pub(super) fn release(&self, store: &Store) {
        let rates = self.rates.iter().flatten().map(|rate| &rate.0);
        let latency = self.latency.iter().map(|latency| &latency.0);
        rates.chain(latency).for_each(|slots| slots.release(store));
    }

    /// Notes what became of a request to `host`, whose monitor this is.
    pub fn on_outcome(&self, outcome: Outcome, host: &Arc<SharedHost>) {
        if outcome == Outcome::Failed
            && let Some((feedback, wanted)) = self.feedback()
        {
            feedback.on_failure(wanted);
        }
        if !self.watch.has_outlier_detection {
            return;
        }
        match (outcome, self.watch.splits) {
            (Outcome::Response(status), _) => self.on_status(status, host),
            (Outcome::Connected, false) => {}
            (Outcome::Failed, false) => self.on_status(FAILED_STATUS, host),
            (Outcome::TimedOut(status), false) => self.on_status(status, host),
            (Outcome::Connected, true) => {
                self.count(Origin::Local, true);
                self.run(Streak::LocalOrigin).end();
            }
            (Outcome::Failed | Outcome::TimedOut(_), true) => {
                self.count(Origin::Local, false);
                self.error(Streak::LocalOrigin, host);
            }
        }
    }

    /// Notes how long the host took to begin a response.
    pub fn on_latency(&self, took: impl FnOnce() -> Option<Duration>) {
        let feedback = self.feedback();
        let is_wanted = feedback.is_some_and(|(feedback, _)| feedback.is_latency());
        if self.latency.is_none() && !is_wanted {
            return;
        }
        let Some(took) = took() else {
            return;
        };
        if let Some(slots) = &self.latency {
            slots.samples().inc();
            slots.microseconds().add(took.as_micros() as u64);
        }
        if let Some((feedback, wanted)) = feedback {
            feedback.on_latency(wanted, took);
        }
    }

    /// Notes how long a request waited for a response that did not begin.
    pub fn on_no_response(&self, waited: impl FnOnce() -> Option<Duration>) {
        if let Some((feedback, wanted)) = self.feedback()
            && let Some(waited) = waited()
        {
            feedback.on_latency(wanted, waited);
        }
    }

    /// What is known of the host's latency, where the policy wants to know.
    #[must_use]
    pub fn average_latency(&self) -> Option<AverageLatency> {
        let (feedback, wanted) = self.feedback()?;
        feedback.latency(wanted)
    }

    /// Looks for a load report in the headers or trailers of a response, where
    /// weights are made of them. Says whether there was one that counts.
    pub fn on_headers(&self, headers: &HeaderMap, reader: &RefCell<LoadReader>) -> bool {
        match self.feedback() {
            Some((feedback, wanted)) if !feedback.is_latency() => {
                feedback.on_headers(wanted, headers, &mut reader.borrow_mut())
            }
            _ => false,
        }
    }

    /// What the host has reported of its load, where weights are made of it.
    #[must_use]
    pub fn reported_load(&self) -> Option<&ReportedLoad> {
        self.feedback.as_ref()?.load()
    }

    fn feedback(&self) -> Option<(&Feedback, &Wanted)> {
        self.feedback.as_ref().zip(self.watch.wanted.as_ref())
    }

    /// A response of the host said `x-envoy-immediate-health-check-fail`. It is
    /// told once, until a health check finds the host healthy again.
    pub fn on_immediate_health_check_fail(&self, host: &Arc<SharedHost>) {
        if self.watch.has_health_check && !host.has(HealthFlag::ExcludedViaImmediateHcFail) {
            (self.watch.reporter)(Report {
                cluster: self.watch.cluster,
                host: Arc::clone(host),
                what: Reported::ImmediateHealthCheckFail,
            });
        }
    }

    /// A response of the host that is no error of its own said `x-envoy-degraded`. It
    /// is told while the host does not count as degraded.
    pub fn on_degraded(&self, host: &Arc<SharedHost>) {
        if self.watch.detects_degraded && !host.has(HealthFlag::DegradedOutlierDetection) {
            (self.watch.reporter)(Report {
                cluster: self.watch.cluster,
                host: Arc::clone(host),
                what: Reported::Degraded,
            });
        }
    }

    fn on_status(&self, status: u16, host: &Arc<SharedHost>) {
        if !(500..600).contains(&status) {
            self.count(Origin::External, true);
            self.run(Streak::ServerError).end();
            self.run(Streak::GatewayFailure).end();
            return;
        }
        self.count(Origin::External, false);
        if matches!(status, 502..=504) {
            self.error(Streak::GatewayFailure, host);
        } else {
            self.run(Streak::GatewayFailure).end();
        }
        self.error(Streak::ServerError, host);
    }

    fn run(&self, streak: Streak) -> &Run {
        &self.runs[streak as usize]
    }

    /// One more error in a row. The one that makes the limit is reported, and
    /// those after it are not, so that a host has at most one report of a
    /// streak on the way as long as its run lasts.
    fn error(&self, streak: Streak, host: &Arc<SharedHost>) {
        if self.run(streak).add() == self.watch.limits[streak as usize].get() {
            (self.watch.reporter)(Report {
                cluster: self.watch.cluster,
                host: Arc::clone(host),
                what: Reported::Run(streak),
            });
        }
    }

    fn count(&self, origin: Origin, is_success: bool) {
        let Some(rates) = &self.rates else {
            return;
        };
        let rate = &rates[origin as usize];
        rate.requests().inc();
        if is_success {
            rate.successes().inc();
        }
    }

    /// Begins to count a run anew; the control plane's.
    pub fn end_run(&self, streak: Streak) {
        self.run(streak).end();
    }

    /// Requests and successes of an origin so far.
    #[must_use]
    pub fn counted(&self, origin: Origin, store: &Store) -> (u64, u64) {
        let Some(rates) = &self.rates else {
            return (0, 0);
        };
        let rate = &rates[origin as usize];
        // Successes first: a request that comes in between must not make more
        // successes than requests.
        let successes = store.counter_value(rate.successes());
        (store.counter_value(rate.requests()), successes)
    }

    /// Samples of latency so far, and their sum in microseconds.
    #[must_use]
    pub fn latency(&self, store: &Store) -> (u64, u64) {
        self.latency.as_ref().map_or((0, 0), |slots| {
            let microseconds = store.counter_value(slots.microseconds());
            (store.counter_value(slots.samples()), microseconds)
        })
    }

    /// What the control plane keeps.
    pub fn record<R>(&self, f: impl FnOnce(&mut Record) -> R) -> R {
        self.record.with(f)
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// Envoy counts what fails on the way to a host as this status.
const FAILED_STATUS: u16 = 503;
