//! What the tests of this crate share: hosts, requests, counts of picks.

use std::borrow::Cow;
use std::sync::Arc;

use crate::balancer::{Balancer, Request};
use crate::config::{Common, Config, Policy, Subset};
use crate::consistent_hashing::NormalizedHost;
use crate::edf::mix;
use crate::events::Events;
use crate::members::{Describe, Health, Host, LocalCluster, Locality, Members};
use crate::metadata::Value;
use crate::peak_ewma::Latency;
use crate::priority::Loads;

pub(crate) const ROUND_ROBIN: Policy = Policy::RoundRobin { slow_start: None };

/// Metadata of one host.
pub(crate) type Metadata = Vec<(&'static str, Value)>;

/// Host N is `host-N`.
struct Named<'a>(&'a [Metadata]);

impl Describe for Named<'_> {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        Cow::Owned(format!("host-{host}"))
    }
    fn metadata(&self, host: u32, key: &str) -> Option<Value> {
        let metadata = self.0.get(host as usize)?;
        let (_, value) = metadata.iter().find(|(other, _)| *other == key)?;
        Some(value.clone())
    }
}

/// A request whose answers are its fields; random numbers come from a seed.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) seed: u64,
    pub(crate) hash: Option<u64>,
    pub(crate) now_ms: u64,
    /// By host; hosts beyond the end have none.
    pub(crate) active: Vec<u32>,
    pub(crate) attempt: u32,
    /// By host; hosts beyond the end have none.
    pub(crate) latency: Vec<Latency>,
    pub(crate) loads: Option<Loads>,
    pub(crate) subset: Vec<(Arc<str>, Value)>,
}

impl Fake {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self {
            seed: mix(seed),
            ..Self::default()
        }
    }
}

impl Request for Fake {
    fn hash(&mut self) -> Option<u64> {
        self.hash
    }
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.seed)
    }
    fn now_ms(&self) -> u64 {
        self.now_ms
    }
    fn active_requests(&self, host: u32) -> u32 {
        self.active.get(host as usize).copied().unwrap_or(0)
    }
    fn active_requests_total(&self) -> u32 {
        self.active.iter().sum()
    }
    fn latency(&self, host: u32) -> Latency {
        let latency = self.latency.get(host as usize);
        latency.copied().unwrap_or(Latency::Assumed(1.0))
    }
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn subset(&self) -> &[(Arc<str>, Value)] {
        &self.subset
    }
    fn priority_loads(&self) -> Option<&Loads> {
        self.loads.as_ref()
    }
}

/// A cluster to be balanced.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) policy: Policy,
    pub(crate) common: Common,
    pub(crate) hosts: Vec<Host>,
    pub(crate) localities: Vec<Locality>,
    pub(crate) local: Option<LocalCluster>,
    pub(crate) subset: Option<Subset>,
    pub(crate) metadata: Vec<Metadata>,
}

impl Cluster {
    pub(crate) fn new(policy: Policy, hosts: impl IntoIterator<Item = Host>) -> Self {
        Self {
            policy,
            common: Common::default(),
            hosts: hosts.into_iter().collect(),
            localities: Vec::new(),
            local: None,
            subset: None,
            metadata: Vec::new(),
        }
    }

    pub(crate) fn build(&self) -> Balancer {
        let config = Config {
            policy: self.policy.clone(),
            common: self.common,
            subset: self.subset.clone(),
        };
        let members = Members {
            hosts: &self.hosts,
            localities: &self.localities,
            local: self.local.as_ref(),
            describe: &Named(&self.metadata),
        };
        Balancer::new(&config, &members)
    }

    /// Picks by host, the last number is picks of nothing; all events; for
    /// each pick what `before` does to the request.
    pub(crate) fn count_with(
        &self,
        picks: usize,
        mut before: impl FnMut(usize, &mut Fake),
    ) -> (Vec<usize>, Vec<Events>) {
        let balancer = self.build();
        let mut cursor = balancer.cursor(7);
        let mut request = Fake::seeded(42);
        let mut counts = vec![0; self.hosts.len() + 1];
        let mut events = Vec::with_capacity(picks);
        for number in 0..picks {
            before(number, &mut request);
            let pick = balancer.pick(&mut cursor, &mut request);
            counts[pick.host.map_or(self.hosts.len(), |host| host as usize)] += 1;
            events.push(pick.events);
        }
        (counts, events)
    }

    /// Picks by host, the last number is picks of nothing; all events.
    pub(crate) fn count(&self, picks: usize) -> (Vec<usize>, Events) {
        let (counts, events) = self.count_with(picks, |_, _| {});
        let mut all = Events::NONE;
        for event in events {
            all |= event;
        }
        (counts, all)
    }
}

pub(crate) fn host(priority: u32, health: Health, weight: u32) -> Host {
    Host {
        priority,
        health,
        weight,
        ..Host::default()
    }
}

/// Healthy hosts with these weights.
pub(crate) fn weighted(weights: &[u32]) -> impl Iterator<Item = Host> {
    weights
        .iter()
        .map(|weight| host(0, Health::Healthy, *weight))
}

/// Hosts with these parts of the whole, which they need not sum up to.
pub(crate) fn parts(weights: &[f64]) -> Vec<NormalizedHost> {
    let sum: f64 = weights.iter().sum();
    (0..)
        .zip(weights)
        .map(|(host, weight)| NormalizedHost {
            host,
            weight: weight / sum,
        })
        .collect()
}

/// Whether a count is within so many standard deviations of what a binomial
/// distribution expects.
#[track_caller]
pub(crate) fn assert_share(count: usize, of: usize, share: f64, deviations: f64) {
    let expected = of as f64 * share;
    let deviation = (expected * (1.0 - share)).sqrt();
    let off = (count as f64 - expected).abs();
    assert!(
        off <= deviations * deviation + 1e-9,
        "{count} of {of} instead of {expected:.1}: {off:.1} off, a standard deviation is {deviation:.1}"
    );
}

/// The chi-square statistic of counts that should all be the same.
pub(crate) fn chi_square(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let off = |count: &usize| (*count as f64 - expected).powi(2) / expected;
    counts.iter().map(off).sum()
}
