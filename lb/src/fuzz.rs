//! What must hold for any configuration, any hosts and any requests: shared by
//! the fuzz target and the tests. Not part of the API.
//!
//! A balancer is built from the bytes and picked from. The checks are that
//! nothing panics; that the shares of priorities are 100 % in all; that a host
//! that is picked is there, and unhealthy only in panic (told as an event) or
//! as the only host of its subset; and that the same requests give the same
//! picks again.

use std::borrow::Cow;
use std::sync::Arc;

use crate::balancer::{Balancer, Pick, Request};
use crate::config::{
    Common, Config, FallbackPolicy, HashFunction, LocalityBasis, LocalityMode, Policy, Selection,
    Selector, SelectorFallback, SlowStart, Subset, ZoneAware,
};
use crate::edf::mix;
use crate::events::Events;
use crate::members::{Describe, Health, Host, LocalCluster, Locality, Members};
use crate::metadata::Value;
use crate::peak_ewma::Latency;
use crate::priority::Loads;

/// The fuzz target.
pub fn balance(data: &[u8]) {
    let mut input = Input(data);
    let config = config(&mut input);
    let hosts: Vec<Host> = (0..input.below(48)).map(|_| host(&mut input)).collect();
    let localities: Vec<Locality> = (0..input.below(6)).map(|_| locality(&mut input)).collect();
    let local = (input.byte() & 1 == 1).then(|| local_cluster(&mut input));
    let named = Named::new(&mut input, hosts.len());
    let members = Members {
        hosts: &hosts,
        localities: &localities,
        local: local.as_ref(),
        describe: &named,
    };
    let balancer = Balancer::new(&config, &members);
    let loads = &balancer.priorities().loads;
    let whole: u32 = loads.healthy.iter().chain(&loads.degraded).sum();
    assert_eq!(whole, 100, "shares of the priorities");
    let requests = input.0;
    let first = picks(&config, &balancer, &hosts, requests);
    let second = picks(&config, &balancer, &hosts, requests);
    assert_eq!(first, second, "the same requests");
}

/// Picks for the requests that the bytes are, with the checks of each pick.
fn picks(config: &Config, balancer: &Balancer, hosts: &[Host], requests: &[u8]) -> Vec<Pick> {
    let mut input = Input(requests);
    let mut cursor = balancer.cursor(input.number());
    let mut picks = Vec::new();
    for number in 0..PICKS {
        let mut request = Any::new(&mut input, number);
        let pick = balancer.pick(&mut cursor, &mut request);
        if let Some(host) = pick.host {
            let host = hosts.get(host as usize).expect("a host that is there");
            check(config, host, &request, pick.events);
        } else {
            check_none(config, hosts, &request, pick.events);
        }
        picks.push(pick);
    }
    picks
}

fn check(config: &Config, host: &Host, request: &Any, events: Events) {
    if host.health != Health::Unhealthy {
        return;
    }
    let subset = config.subset.as_ref();
    let mut selectors = subset.iter().flat_map(|subset| &subset.selectors);
    let may_be_single = selectors.any(|selector| selector.single_host_per_subset);
    let told = events.contains(Events::HEALTHY_PANIC) || request.attempt > 0;
    assert!(told || may_be_single, "an unhealthy host without panic");
    if let LocalityMode::ZoneAware(zone) = config.common.locality {
        let hashes = matches!(
            config.policy,
            Policy::RingHash { .. } | Policy::Maglev { .. }
        );
        assert!(
            !zone.fail_traffic_on_panic || hashes || may_be_single,
            "an unhealthy host instead of a failure"
        );
    }
}

/// Where all hosts are healthy and nothing else matters there is one.
fn check_none(config: &Config, hosts: &[Host], request: &Any, events: Events) {
    let plain = config.common.locality == LocalityMode::None
        && config.subset.is_none()
        && request.loads.is_none()
        && !matches!(config.policy, Policy::RingHash { .. });
    let usable = |host: &Host| host.health == Health::Healthy && !host.excluded;
    let all = !hosts.is_empty() && hosts.iter().all(usable);
    // With a factor of less than 100 % requests are lost on purpose.
    let enough = config.common.overprovisioning_factor >= 100;
    assert!(
        !(plain && all && enough),
        "no host, though all are healthy: {events:?}"
    );
}

const PICKS: u32 = 24;

/// The bytes, and zeros after them.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// Small, round and extreme numbers.
    fn number(&mut self) -> u64 {
        let byte = u64::from(self.byte());
        match byte % 8 {
            0..=4 => byte / 8,
            5 => byte << 8 | u64::from(self.byte()),
            6 => u64::MAX >> (byte / 8 % 64),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    fn float(&mut self) -> f64 {
        match self.below(4) {
            0 => f64::from(self.byte()),
            1 => f64::from(self.byte()) / 16.0,
            2 => -f64::from(self.byte()),
            _ => f64::from_bits(self.number()),
        }
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }
}

fn slow_start(input: &mut Input<'_>) -> Option<SlowStart> {
    input.flag().then(|| SlowStart {
        window_ms: input.number(),
        aggression: input.float(),
        min_weight_percent: input.float(),
    })
}

fn balance_factor(input: &mut Input<'_>) -> Option<u32> {
    input.flag().then(|| input.number() as u32)
}

fn config(input: &mut Input<'_>) -> Config {
    let policy = match input.below(7) {
        0 => Policy::RoundRobin {
            slow_start: slow_start(input),
        },
        1 => Policy::LeastRequest {
            choices: u32::from(input.below(9)),
            bias: input.float(),
            selection: [Selection::NChoices, Selection::FullScan][usize::from(input.flag())],
            slow_start: slow_start(input),
        },
        2 => Policy::Random,
        3 => Policy::RingHash {
            min_size: input.number() % 3000,
            max_size: input.number() % 3000,
            function: [HashFunction::XxHash, HashFunction::MurmurHash2][usize::from(input.flag())],
            balance_factor: balance_factor(input),
        },
        4 => Policy::Maglev {
            table_size: (input.number() % 3000) as u32,
            balance_factor: balance_factor(input),
        },
        5 => Policy::PeakEwma {
            decay_us: input.number(),
            default_rtt_ms: input.float(),
            penalty: input.float(),
        },
        _ => Policy::ClientSideWeightedRoundRobin {
            slow_start: slow_start(input),
        },
    };
    Config {
        policy,
        common: common(input),
        subset: input.flag().then(|| subset(input)),
    }
}

fn common(input: &mut Input<'_>) -> Common {
    Common {
        healthy_panic_threshold: input.float(),
        overprovisioning_factor: input.number() as u32,
        weighted_priority_health: input.flag(),
        locality: match input.below(3) {
            0 => LocalityMode::None,
            1 => LocalityMode::Weighted,
            _ => LocalityMode::ZoneAware(ZoneAware {
                routing_enabled: input.float(),
                min_cluster_size: input.number(),
                fail_traffic_on_panic: input.flag(),
                force_local_zone_min_size: input.flag().then(|| input.number() as u32),
                locality_basis: [
                    LocalityBasis::HealthyHostsNum,
                    LocalityBasis::HealthyHostsWeight,
                ][usize::from(input.flag())],
            }),
        },
    }
}

/// Names of keys of metadata, in order.
const KEYS: [&str; 4] = ["a", "b", "c", "fallback_list"];

fn keys(input: &mut Input<'_>) -> Vec<Arc<str>> {
    let set = input.byte();
    let chosen = |(place, _): &(usize, &&str)| set >> place & 1 == 1;
    let names = KEYS.iter().enumerate().filter(chosen);
    names.map(|(_, name)| Arc::from(*name)).collect()
}

fn value(input: &mut Input<'_>, depth: u8) -> Value {
    match input.below(8) {
        0 => Value::Null,
        1 => Value::Bool(input.flag()),
        2 => Value::Number(f64::from(input.below(3))),
        3 | 4 if depth > 0 => {
            let length = input.below(4);
            Value::List((0..length).map(|_| value(input, depth - 1)).collect())
        }
        5 if depth > 0 => Value::Struct(fields(input, depth - 1)),
        _ => Value::string(["x", "y", "z"][usize::from(input.below(3))]),
    }
}

fn fields(input: &mut Input<'_>, depth: u8) -> Vec<(Arc<str>, Value)> {
    let keys = keys(input);
    let with_value = |key| (key, value(input, depth));
    keys.into_iter().map(with_value).collect()
}

fn subset(input: &mut Input<'_>) -> Subset {
    let flags = input.byte();
    let flag = |bit: u8| flags >> bit & 1 == 1;
    Subset {
        selectors: (0..input.below(5)).map(|_| selector(input)).collect(),
        fallback_policy: [
            FallbackPolicy::NoFallback,
            FallbackPolicy::AnyEndpoint,
            FallbackPolicy::DefaultSubset,
        ][usize::from(input.below(3))],
        default_subset: fields(input, 1),
        allow_redundant_keys: flag(0),
        locality_weight_aware: flag(1),
        scale_locality_weight: flag(2),
        panic_mode_any: flag(3),
        list_as_any: flag(4),
        metadata_fallback_list: flag(5),
    }
}

fn selector(input: &mut Input<'_>) -> Selector {
    Selector {
        keys: keys(input),
        single_host_per_subset: input.flag(),
        fallback_policy: match input.below(5) {
            0 => SelectorFallback::NotDefined,
            1 => SelectorFallback::NoFallback,
            2 => SelectorFallback::AnyEndpoint,
            3 => SelectorFallback::DefaultSubset,
            _ => SelectorFallback::KeysSubset(keys(input)),
        },
    }
}

fn host(input: &mut Input<'_>) -> Host {
    let kind = input.byte();
    let rare = kind >> 6 == 3;
    Host {
        weight: if rare { input.number() as u32 } else { 1 },
        priority: match kind & 3 {
            3 if rare => input.number() as u32,
            priority => u32::from(priority),
        },
        locality: u32::from(kind >> 2 & 3),
        health: match kind >> 4 & 3 {
            0 | 1 => Health::Healthy,
            2 => Health::Degraded,
            _ => Health::Unhealthy,
        },
        excluded: rare && input.flag(),
        slow_start_since_ms: (rare && input.flag()).then(|| input.number()),
    }
}

fn locality(input: &mut Input<'_>) -> Locality {
    Locality {
        id: u32::from(input.below(4)),
        priority: u32::from(input.below(3)),
        weight: input.flag().then(|| input.number() as u32),
    }
}

fn local_cluster(input: &mut Input<'_>) -> LocalCluster {
    let entry = |input: &mut Input<'_>| (u32::from(input.below(4)), input.number() as u32);
    LocalCluster {
        own: u32::from(input.below(4)),
        healthy_by_locality: (0..input.below(4)).map(|_| entry(input)).collect(),
        counted: input.number() as u32,
        available: input.number() as u32,
    }
}

/// Names and metadata of hosts; some names are the same.
struct Named(Vec<NamedHost>);

struct NamedHost {
    name: u8,
    metadata: Vec<(Arc<str>, Value)>,
}

impl Named {
    fn new(input: &mut Input<'_>, hosts: usize) -> Self {
        let one = |_| NamedHost {
            name: input.byte(),
            metadata: fields(input, 1),
        };
        Self((0..hosts).map(one).collect())
    }
}

impl Describe for Named {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        match self.0[host as usize].name {
            0 => Cow::Borrowed(""),
            1..=9 => Cow::Borrowed("same"),
            name => Cow::Owned(format!("{name}-{host}")),
        }
    }
    fn metadata(&self, host: u32, key: &str) -> Option<Value> {
        let fields = &self.0[host as usize].metadata;
        let (_, value) = fields.iter().find(|(name, _)| &**name == key)?;
        Some(value.clone())
    }
}

/// A request of any kind.
struct Any {
    seed: u64,
    hash: Option<u64>,
    now_ms: u64,
    active: u32,
    attempt: u32,
    loads: Option<Loads>,
    subset: Vec<(Arc<str>, Value)>,
}

impl Any {
    fn new(input: &mut Input<'_>, number: u32) -> Self {
        let kind = input.byte();
        let of = |input: &mut Input<'_>| (0..input.below(4)).map(|_| input.byte().into()).collect();
        Self {
            seed: u64::from(number) << 8 | u64::from(kind),
            hash: (kind & 1 == 1).then(|| input.number()),
            now_ms: input.number(),
            active: input.number() as u32,
            attempt: if kind & 6 == 6 {
                input.number() as u32
            } else {
                0
            },
            loads: (kind & 0x18 == 0x18).then(|| Loads {
                healthy: of(input),
                degraded: of(input),
            }),
            subset: fields(input, 3),
        }
    }
}

impl Request for Any {
    fn hash(&mut self) -> Option<u64> {
        self.hash
    }
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(1 << 32);
        mix(self.seed)
    }
    fn now_ms(&self) -> u64 {
        self.now_ms
    }
    fn active_requests(&self, host: u32) -> u32 {
        self.active.wrapping_mul(host)
    }
    fn active_requests_total(&self) -> u32 {
        self.active
    }
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn latency(&self, host: u32) -> Latency {
        match host.is_multiple_of(3) {
            true => Latency::Assumed(1.0),
            false => Latency::Measured(f64::from(self.active) * f64::from(host)),
        }
    }
    fn subset(&self) -> &[(Arc<str>, Value)] {
        &self.subset
    }
    fn priority_loads(&self) -> Option<&Loads> {
        self.loads.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::{balance, mix};

    #[test]
    fn random_bytes_are_balanced() {
        for seed in 0..300u64 {
            let length = mix(seed) % 600;
            let bytes: Vec<u8> = (0..length)
                .map(|place| mix(seed << 32 | place) as u8)
                .collect();
            balance(&bytes);
        }
    }

    #[test]
    fn the_corpus_holds() {
        let mut pack = &include_bytes!("../fuzz/corpus/balance.pack")[..];
        let mut inputs = 0;
        while let Some((length, rest)) = pack.split_first_chunk() {
            let (input, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            balance(input);
            pack = rest;
            inputs += 1;
        }
        assert!(pack.is_empty() && inputs > 200, "{inputs} inputs");
    }
}
