//! What a pick costs, and what building the tables costs that picks look into.
//! 1,000 hosts, as in the Maglev paper.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringway_lb::balancer::{Balancer, Request};
use ringway_lb::config::{
    Common, Config, FallbackPolicy, HashFunction, LocalityMode, Policy, Selection, Selector,
    Subset, ZoneAware,
};
use ringway_lb::members::{Describe, Host, LocalCluster, Locality, Members};
use ringway_lb::metadata::Value;
use ringway_lb::peak_ewma::Latency;

const HOSTS: u32 = 1000;

struct Addresses;

impl Describe for Addresses {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        Cow::Owned(format!("10.0.{}.{}:8080", host / 256, host % 256))
    }
    fn metadata(&self, host: u32, key: &str) -> Option<Value> {
        (key == "version").then(|| Value::string(if host.is_multiple_of(2) { "v1" } else { "v2" }))
    }
}

/// A worker's request: a cheap random number, counters in an array.
struct Plain<'a> {
    state: u64,
    active: &'a [u32],
    subset: &'a [(Arc<str>, Value)],
}

impl Plain<'_> {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Request for Plain<'_> {
    fn hash(&mut self) -> Option<u64> {
        Some(self.next())
    }
    fn random(&mut self) -> u64 {
        self.next()
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn active_requests(&self, host: u32) -> u32 {
        self.active[host as usize]
    }
    fn active_requests_total(&self) -> u32 {
        HOSTS
    }
    fn latency(&self, host: u32) -> Latency {
        Latency::Measured(f64::from(host % 7) + 1.0)
    }
    fn subset(&self) -> &[(Arc<str>, Value)] {
        self.subset
    }
}

fn config(policy: Policy) -> Config {
    Config {
        policy,
        common: Common::default(),
        subset: None,
    }
}

fn build(config: &Config, weight: impl Fn(u32) -> u32) -> Balancer {
    let hosts: Vec<Host> = (0..HOSTS)
        .map(|host| Host {
            weight: weight(host),
            locality: host % 3,
            ..Host::default()
        })
        .collect();
    let localities = [1, 2, 3].map(|id| Locality {
        id,
        priority: 0,
        weight: Some(id),
    });
    let local = LocalCluster {
        own: 1,
        healthy_by_locality: vec![(1, 4), (2, 2), (3, 2)],
        counted: 8,
        available: 8,
    };
    let members = Members {
        hosts: &hosts,
        localities: &localities,
        local: Some(&local),
        describe: &Addresses,
    };
    Balancer::new(config, &members)
}

fn maglev(table_size: u32, balance_factor: Option<u32>) -> Policy {
    Policy::Maglev {
        table_size,
        balance_factor,
    }
}

fn ring(min_size: u64, function: HashFunction) -> Policy {
    Policy::RingHash {
        min_size,
        max_size: 8 << 20,
        function,
        balance_factor: None,
    }
}

const ROUND_ROBIN: Policy = Policy::RoundRobin { slow_start: None };

const LEAST_REQUEST: Policy = Policy::LeastRequest {
    choices: 2,
    bias: 1.0,
    selection: Selection::NChoices,
    slow_start: None,
};

fn building(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    for (name, policy) in [
        ("maglev_65537", maglev(65_537, None)),
        ("maglev_655373", maglev(655_373, None)),
        ("ring_65536_xx", ring(65_536, HashFunction::XxHash)),
        ("ring_65536_murmur", ring(65_536, HashFunction::MurmurHash2)),
        ("ring_256000_xx", ring(256_000, HashFunction::XxHash)),
        ("round_robin", ROUND_ROBIN),
    ] {
        let config = config(policy);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| build(black_box(&config), |_| 1));
        });
    }
    group.finish();
}

fn picking(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick");
    let mut bench = |name: &str, config: &Config, weighted: bool| {
        let balancer = build(config, |host| if weighted { host % 7 + 1 } else { 1 });
        let active: Vec<u32> = (0..HOSTS).map(|host| host % 3).collect();
        let subset = [(Arc::from("version"), Value::string("v1"))];
        let mut cursor = balancer.cursor(1);
        let mut request = Plain {
            state: 1,
            active: &active,
            subset: &subset,
        };
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| balancer.pick(&mut cursor, black_box(&mut request)).host);
        });
    };
    bench("round_robin", &config(ROUND_ROBIN), false);
    bench("round_robin_weighted", &config(ROUND_ROBIN), true);
    bench("least_request", &config(LEAST_REQUEST), false);
    bench("least_request_weighted", &config(LEAST_REQUEST), true);
    bench("random", &config(Policy::Random), false);
    let peak_ewma = Policy::PeakEwma {
        decay_us: 10_000_000,
        default_rtt_ms: 10.0,
        penalty: 1_000_000.0,
    };
    bench("peak_ewma", &config(peak_ewma), false);
    bench("maglev_65537", &config(maglev(65_537, None)), false);
    bench(
        "maglev_65537_bounded",
        &config(maglev(65_537, Some(300))),
        false,
    );
    let xx = HashFunction::XxHash;
    bench("ring_65536", &config(ring(65_536, xx)), false);
    bench("ring_256000", &config(ring(256_000, xx)), false);
    let with_locality = |locality| Config {
        common: Common {
            locality,
            ..Common::default()
        },
        ..config(ROUND_ROBIN)
    };
    bench(
        "round_robin_zone_aware",
        &with_locality(LocalityMode::ZoneAware(ZoneAware::default())),
        false,
    );
    bench(
        "round_robin_locality_weighted",
        &with_locality(LocalityMode::Weighted),
        false,
    );
    let subset = Subset {
        selectors: vec![Selector {
            keys: vec!["version".into()],
            ..Selector::default()
        }],
        fallback_policy: FallbackPolicy::AnyEndpoint,
        ..Subset::default()
    };
    let with_subset = Config {
        subset: Some(subset),
        ..config(ROUND_ROBIN)
    };
    bench("round_robin_subset", &with_subset, false);
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = building, picking
}
criterion_main!(benches);
