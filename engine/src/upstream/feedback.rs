//! What the requests to a host tell the balancer of its cluster, where the
//! policy wants to know: how long they take (peak EWMA), or how loaded the host
//! says that it is (client-side weighted round robin).
//!
//! It is part of a host's [`Monitor`](super::outlier_detection::Monitor), so
//! that hosts of clusters that want nothing pay for nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_codecs::header::HeaderMap;
use ringway_codecs::orca::{self, Metric};
use ringway_config::load_balancing::Balancing;
use ringway_lb::client_side_weighted_round_robin::{LoadReport, ReportedWeight, WeightConfig};
use ringway_lb::config::Policy;
use ringway_lb::peak_ewma::{Ewma, Latency};

use crate::reactor;
use crate::worker::shared::SharedWord;

/// What the policy of a cluster wants to know of its hosts.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Where the clock of the cluster's balancers starts.
    start: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A moving average of latencies.
    Latency {
        /// `decay_time`.
        decay_us: u64,
    },
    /// Load reports.
    Load(Arc<WeightConfig>),
}

impl Wanted {
    /// `None` for a policy that wants to know nothing.
    pub(super) fn new(balancing: &Balancing, start: Instant) -> Option<Self> {
        let what = match balancing.policy() {
            Policy::PeakEwma { decay_us, .. } => What::Latency {
                decay_us: *decay_us,
            },
            _ => What::Load(Arc::clone(balancing.reported_weights.as_ref()?)),
        };
        Some(Self { start, what })
    }

    /// `now` on the clock of the cluster's balancers.
    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// The worker's clock.
    fn now_us(&self) -> u64 {
        self.since_start(reactor::now()).as_micros() as u64
    }
}

/// What is known of one host. All workers have the one value; where two have
/// something to say at the same moment one of them is enough.
#[derive(Debug)]
pub(super) enum Feedback {
    /// The bits of an [`Ewma`], or [`UNKNOWN`].
    Latency(SharedWord),
    /// What its load reports say.
    Load(ReportedLoad),
}

impl Feedback {
    /// Of a host that is new.
    pub(super) fn new(wanted: &Wanted) -> Self {
        match wanted.what {
            What::Latency { .. } => Self::Latency(SharedWord::new(UNKNOWN)),
            What::Load(_) => Self::Load(ReportedLoad::default()),
        }
    }

    /// Whether times are wanted.
    pub(super) fn is_latency(&self) -> bool {
        matches!(self, Self::Latency(_))
    }

    /// The host began to answer after this time, or did not even then.
    pub(super) fn on_latency(&self, wanted: &Wanted, took: Duration) {
        self.change(wanted, |average, decay_us| {
            average.observe(took.as_secs_f64() * 1e3, wanted.now_us(), decay_us)
        });
    }

    /// A request failed, which says nothing of the host's latency. That the
    /// average falls with time is for hosts that get nothing; one that fails
    /// would look better and better.
    pub(super) fn on_failure(&self, wanted: &Wanted) {
        self.change(wanted, |average, _| average.keep(wanted.now_us()));
    }

    fn change(&self, wanted: &Wanted, f: impl FnOnce(Ewma, u64) -> Ewma) {
        if let (Self::Latency(average), What::Latency { decay_us }) = (self, &wanted.what) {
            average.replace_with(|bits| f(Ewma::from_bits(bits), *decay_us).to_bits());
        }
    }

    /// What is known of its latency at this moment.
    pub(super) fn latency(&self, wanted: &Wanted) -> Option<Latency> {
        match (self, &wanted.what) {
            (Self::Latency(average), What::Latency { decay_us }) => {
                let bits = average.get();
                if bits == UNKNOWN {
                    // What is assumed of it falls from now on.
                    let new = Ewma::new(wanted.now_us());
                    average.replace_with(|_| new.to_bits());
                    return Some(Latency::Assumed(1.0));
                }
                let latency = Ewma::from_bits(bits).latency(wanted.now_us(), *decay_us);
                Some(latency)
            }
            _ => None,
        }
    }

    /// Looks for a load report, and says whether there was one that says
    /// something.
    pub(super) fn on_headers(
        &self,
        wanted: &Wanted,
        headers: &HeaderMap,
        reader: &mut LoadReader,
    ) -> bool {
        let (Self::Load(load), What::Load(config)) = (self, &wanted.what) else {
            return false;
        };
        let Some(weight) = reader.weight(headers, config) else {
            return false;
        };
        load.set(
            weight,
            wanted.since_start(reactor::now()).as_millis() as u64,
        );
        true
    }

    /// What its load reports say, if they are wanted.
    pub(super) fn load(&self) -> Option<&ReportedLoad> {
        match self {
            Self::Load(load) => Some(load),
            Self::Latency(_) => None,
        }
    }
}

/// The average of a host that nobody has asked about yet.
const UNKNOWN: u64 = 0;

/// What a host's load reports say. Workers write it with every report, the
/// control plane reads it once a period.
#[derive(Debug)]
pub struct ReportedLoad {
    /// The weight of the last report and, below it, the millisecond in which it
    /// came, in 32 bits each.
    last: SharedWord,
    /// The millisecond of the first report after a long time without one, plus
    /// one; 0 if there is none.
    since: SharedWord,
}

impl Default for ReportedLoad {
    fn default() -> Self {
        Self {
            last: SharedWord::new(0),
            since: SharedWord::new(0),
        }
    }
}

impl ReportedLoad {
    fn set(&self, weight: u32, now_ms: u64) {
        self.last
            .replace_with(|_| u64::from(weight) << 32 | now_ms & MS_MASK);
        if self.since.get() == 0 {
            self.since.replace_with(|_| now_ms + 1);
        }
    }

    /// What is known at this moment.
    pub fn get(&self, now_ms: u64) -> ReportedWeight {
        let since_ms = self.since.get().checked_sub(1);
        let last = self.last.get();
        // A report is younger than the 49 days in which 32 bits repeat, or
        // long since worth nothing.
        let age_ms = now_ms.wrapping_sub(last) & MS_MASK;
        ReportedWeight {
            weight: (last >> 32) as u32,
            since_ms,
            last_ms: now_ms.saturating_sub(age_ms),
        }
    }

    /// Has the next report count as the first one.
    pub fn forget(&self) {
        self.since.replace_with(|_| 0);
    }
}

const MS_MASK: u64 = u32::MAX as u64;

/// What a worker reads load reports with: memory to reuse.
#[derive(Debug, Default)]
pub struct LoadReader {
    report: LoadReport,
    scratch: Vec<u8>,
}

impl LoadReader {
    /// The weight that the report in these headers makes.
    fn weight(&mut self, headers: &HeaderMap, config: &WeightConfig) -> Option<u32> {
        let Self { report, scratch } = self;
        report.clear();
        let read = orca::read(headers, scratch, &mut |metric, value| match metric {
            Metric::CpuUtilization => report.cpu_utilization = value,
            Metric::MemUtilization => report.mem_utilization = value,
            Metric::ApplicationUtilization => report.application_utilization = value,
            Metric::RpsFractional => report.rps_fractional = value,
            Metric::Eps => report.eps = value,
            Metric::Entry(map, key) => report.set_entry(map.name(), key, value, config),
        });
        match read {
            Ok(true) => report.weight(config),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(?error, "a load report cannot be read");
                None
            }
        }
    }
}
