//! Ring hash and Maglev pick the hosts that the real Envoy picked: a golden
//! table of Envoy 1.40.0, 300 keys a cluster (60 requests in flight for the
//! clusters with bounded loads), and its gauges of the tables.

use std::borrow::Cow;

use ringway_lb::balancer::{Balancer, Request};
use ringway_lb::config::{Common, Config, HashFunction, LocalityMode, Policy};
use ringway_lb::consistent_hashing::TableSizes;
use ringway_lb::events::Events;
use ringway_lb::members::{Describe, Health, Host, Locality, Members};
use ringway_lb::metadata::Value;
use xxhash_rust::xxh64::xxh64;

const PICKS: &str = include_str!("data/envoy-1.40-picks.txt");

/// Host N is `host-N`.
struct Named;

impl Describe for Named {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        Cow::Owned(format!("host-{host}"))
    }
    fn metadata(&self, _: u32, _: &str) -> Option<Value> {
        None
    }
}

/// A request with a hash, and the requests that are in flight.
struct Hashed<'a> {
    hash: u64,
    active: &'a [u32],
}

impl Request for Hashed<'_> {
    fn hash(&mut self) -> Option<u64> {
        Some(self.hash)
    }
    fn random(&mut self) -> u64 {
        panic!("a request with a hash needs no random number")
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn active_requests(&self, host: u32) -> u32 {
        self.active[host as usize]
    }
    fn active_requests_total(&self) -> u32 {
        self.active.iter().sum()
    }
}

/// One cluster of the table.
struct Cluster {
    name: &'static str,
    policy: Policy,
    common: Common,
    hosts: Vec<Host>,
    localities: Vec<Locality>,
    sizes: TableSizes,
}

fn ring(function: HashFunction, min_size: u64, max_size: u64) -> Policy {
    Policy::RingHash {
        min_size,
        max_size,
        function,
        balance_factor: None,
    }
}

fn default_ring() -> Policy {
    ring(HashFunction::XxHash, 1024, 8 << 20)
}

fn maglev(table_size: u32) -> Policy {
    Policy::Maglev {
        table_size,
        balance_factor: None,
    }
}

fn bounded_ring() -> Policy {
    Policy::RingHash {
        min_size: 1024,
        max_size: 8 << 20,
        function: HashFunction::XxHash,
        balance_factor: Some(120),
    }
}

fn bounded_maglev() -> Policy {
    Policy::Maglev {
        table_size: 65_537,
        balance_factor: Some(120),
    }
}

fn weighted(weights: &[u32]) -> Vec<Host> {
    weights
        .iter()
        .map(|weight| Host {
            weight: *weight,
            ..Host::default()
        })
        .collect()
}

fn with_health(priorities: &[&[Health]]) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (priority, healths) in (0..).zip(priorities) {
        hosts.extend(healths.iter().map(|health| Host {
            priority,
            health: *health,
            ..Host::default()
        }));
    }
    hosts
}

fn sizes(size: u64, min_per_host: u64, max_per_host: u64) -> TableSizes {
    TableSizes {
        size,
        min_per_host,
        max_per_host,
    }
}

fn clusters() -> Vec<Cluster> {
    use Health::{Degraded, Healthy, Unhealthy};
    let mut clusters = Vec::new();
    let mut add = |name, policy, hosts, sizes| {
        clusters.push(Cluster {
            name,
            policy,
            common: Common::default(),
            hosts,
            localities: Vec::new(),
            sizes,
        });
    };
    let names = [
        [
            "ring_xx_5",
            "ring_xx_5_weighted",
            "ring_xx_7_carry",
            "ring_xx_40",
        ],
        [
            "ring_murmur_5",
            "ring_murmur_5_weighted",
            "ring_murmur_7_carry",
            "ring_murmur_40",
        ],
    ];
    let functions = [HashFunction::XxHash, HashFunction::MurmurHash2];
    let five = [1, 2, 3, 4, 5];
    for ([equal, by_weight, carry, many], function) in names.into_iter().zip(functions) {
        let ring = |min, max| ring(function, min, max);
        add(
            equal,
            ring(1024, 8 << 20),
            weighted(&[1; 5]),
            sizes(1025, 205, 205),
        );
        add(
            by_weight,
            ring(1024, 8 << 20),
            weighted(&five),
            sizes(1035, 69, 345),
        );
        add(
            carry,
            ring(10, 17),
            weighted(&[3, 1, 4, 1, 5, 9, 2]),
            sizes(17, 0, 6),
        );
        add(
            many,
            ring(4096, 8 << 20),
            weighted(&[1; 40]),
            sizes(4120, 103, 103),
        );
    }
    add(
        "maglev_5",
        maglev(65_537),
        weighted(&[1; 5]),
        sizes(65_537, 13_107, 13_108),
    );
    add(
        "maglev_5_weighted",
        maglev(65_537),
        weighted(&five),
        sizes(65_537, 4370, 21_845),
    );
    add(
        "maglev_40_small",
        maglev(1021),
        weighted(&[1; 40]),
        sizes(1021, 25, 26),
    );
    let mixed: Vec<u32> = (0..40).map(|host| 1 + host * 7 % 11).collect();
    add(
        "maglev_40_weighted",
        maglev(65_537),
        weighted(&mixed),
        sizes(65_537, 271, 2978),
    );
    let priorities = with_health(&[
        &[Healthy, Unhealthy, Unhealthy, Degraded],
        &[Healthy, Healthy, Unhealthy],
    ]);
    let panic = with_health(&[&[Healthy, Unhealthy, Unhealthy, Unhealthy], &[Unhealthy; 3]]);
    let uneven = weighted(&[1, 1, 2, 2, 3, 3]);
    add(
        "ring_priorities",
        default_ring(),
        priorities.clone(),
        sizes(1024, 512, 512),
    );
    add(
        "maglev_priorities",
        maglev(65_537),
        priorities,
        sizes(65_537, 32_768, 32_769),
    );
    add(
        "ring_panic",
        default_ring(),
        panic.clone(),
        sizes(1026, 342, 342),
    );
    add(
        "maglev_panic",
        maglev(65_537),
        panic,
        sizes(65_537, 21_845, 21_846),
    );
    add(
        "ring_bounded",
        bounded_ring(),
        uneven.clone(),
        sizes(1032, 86, 258),
    );
    add(
        "maglev_bounded",
        bounded_maglev(),
        uneven,
        sizes(65_537, 5462, 16_384),
    );
    for (name, policy, sizes) in [
        ("ring_locality", default_ring(), sizes(1024, 128, 384)),
        (
            "maglev_locality",
            maglev(65_537),
            sizes(65_537, 8192, 24_575),
        ),
    ] {
        clusters.push(in_localities(name, policy, sizes));
    }
    clusters
}

/// Three localities of weight 1, 3 and none; hosts of the second differ.
fn in_localities(name: &'static str, policy: Policy, sizes: TableSizes) -> Cluster {
    let hosts = [(0, 1), (0, 1), (1, 1), (1, 2), (1, 3), (2, 1)]
        .map(|(locality, weight)| Host {
            locality,
            weight,
            ..Host::default()
        })
        .to_vec();
    let localities = [(1, Some(1)), (2, Some(3)), (3, None)]
        .map(|(id, weight)| Locality {
            id,
            priority: 0,
            weight,
        })
        .to_vec();
    Cluster {
        name,
        policy,
        common: Common {
            locality: LocalityMode::Weighted,
            ..Common::default()
        },
        hosts,
        localities,
        sizes,
    }
}

/// What Envoy picked.
fn golden(name: &str) -> Vec<u32> {
    let line = PICKS
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("{name} is not in the table"));
    let digits = ('0'..='9').chain('a'..='z').chain('A'..='Z');
    let digits: Vec<char> = digits.collect();
    line.chars()
        .map(|c| {
            digits
                .iter()
                .position(|digit| *digit == c)
                .expect("a digit") as u32
        })
        .collect()
}

#[test]
fn hosts_are_those_of_envoy() {
    let clusters = clusters();
    for cluster in &clusters {
        let config = Config {
            policy: cluster.policy.clone(),
            common: cluster.common,
            subset: None,
        };
        let members = Members {
            hosts: &cluster.hosts,
            localities: &cluster.localities,
            local: None,
            describe: &Named,
        };
        let balancer = Balancer::new(&config, &members);
        assert_eq!(
            balancer.table_sizes(),
            Some(cluster.sizes),
            "{}",
            cluster.name
        );
        let is_bounded = cluster.name.ends_with("_bounded");
        let expected = golden(cluster.name);
        assert_eq!(expected.len(), if is_bounded { 60 } else { 300 });
        let mut cursor = balancer.cursor(0);
        let mut active = vec![0; cluster.hosts.len()];
        for (number, expected) in expected.into_iter().enumerate() {
            let key = if is_bounded { number % 7 } else { number };
            let mut request = Hashed {
                hash: xxh64(format!("key-{key}").as_bytes(), 0),
                active: &active,
            };
            let pick = balancer.pick(&mut cursor, &mut request);
            assert_eq!(pick.host, Some(expected), "{} key-{key}", cluster.name);
            let panics = cluster.name.ends_with("_panic");
            assert_eq!(pick.events == Events::HEALTHY_PANIC, panics);
            if is_bounded {
                active[expected as usize] += 1;
            }
        }
    }
    let lines = PICKS.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.count(), clusters.len(), "every line is used");
}
