use std::borrow::Cow;

use super::*;
use crate::members::{Describe, Health, Locality};

/// Hosts that tell nothing about themselves.
struct Anonymous;

impl Describe for Anonymous {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        Cow::Owned(format!("10.0.0.{host}:80"))
    }
    fn metadata(&self, _: u32, _: &str) -> Option<Value> {
        None
    }
}

/// A request without properties; random numbers from a seed.
struct Plain(u64);

impl Request for Plain {
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let seed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        seed ^ (seed >> 31)
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn active_requests(&self, _: u32) -> u32 {
        0
    }
}

fn balancer(policy: Policy, common: Common, hosts: &[Host]) -> Balancer {
    let config = Config { policy, common };
    let members = Members {
        hosts,
        localities: &[Locality {
            id: 0,
            priority: 0,
            weight: None,
        }],
        local: None,
        describe: &Anonymous,
    };
    Balancer::new(&config, &members)
}

const ROUND_ROBIN: Policy = Policy::RoundRobin { slow_start: None };

fn host(priority: u32, health: Health, weight: u32) -> Host {
    Host {
        priority,
        health,
        weight,
        ..Host::default()
    }
}

/// Picks by host; the last number is picks of nothing.
fn counts(balancer: &Balancer, hosts: usize, picks: usize) -> (Vec<usize>, Events) {
    let mut cursor = balancer.cursor(7);
    let mut request = Plain(42);
    let mut counts = vec![0; hosts + 1];
    let mut events = Events::NONE;
    for _ in 0..picks {
        let pick = balancer.pick(&mut cursor, &mut request);
        counts[pick.host.map_or(hosts, |host| host as usize)] += 1;
        events |= pick.events;
    }
    (counts, events)
}

#[test]
fn what_is_shared_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Balancer>();
    sent::<Cursor>();
}

#[test]
fn without_hosts_there_is_no_pick() {
    let found = counts(&balancer(ROUND_ROBIN, Common::default(), &[]), 0, 10);
    assert_eq!(found, (vec![10], Events::HEALTHY_PANIC));
}

#[test]
fn round_robin_turns_over_healthy_hosts_only() {
    use Health::{Healthy, Unhealthy};
    let hosts = [
        host(0, Healthy, 1),
        host(0, Unhealthy, 1),
        host(0, Healthy, 1),
        host(0, Healthy, 1),
    ];
    let balancer = balancer(ROUND_ROBIN, Common::default(), &hosts);
    let (counts, events) = counts(&balancer, 4, 3000);
    assert_eq!(counts, [1000, 0, 1000, 1000, 0]);
    assert!(events.is_empty());
}

#[test]
fn round_robin_by_weight_is_exact() {
    let hosts = [1, 2, 1].map(|weight| host(0, Health::Healthy, weight));
    let balancer = balancer(ROUND_ROBIN, Common::default(), &hosts);
    let (counts, _) = counts(&balancer, 3, 4000);
    for (count, share) in counts.iter().zip([1000usize, 2000, 1000]) {
        assert!(count.abs_diff(share) <= 1, "{counts:?}");
    }
}

#[test]
fn each_list_has_turns_of_its_own() {
    // 70 % of the requests are for the healthy host, 30 % for two degraded
    // ones that take turns.
    let hosts = [
        host(0, Health::Healthy, 1),
        host(0, Health::Healthy, 1),
        host(0, Health::Degraded, 1),
        host(0, Health::Degraded, 1),
    ];
    let balancer = balancer(ROUND_ROBIN, Common::default(), &hosts);
    let (counts, events) = counts(&balancer, 4, 10_000);
    assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
    assert!(counts[2].abs_diff(counts[3]) <= 1, "{counts:?}");
    // Five standard deviations of 10,000 choices of 30 %.
    let degraded = counts[2] + counts[3];
    assert!(degraded.abs_diff(3000) <= 230, "{counts:?}");
    assert!(events.is_empty());
}

#[test]
fn in_panic_all_hosts_are_used_and_it_is_told() {
    let hosts = [
        host(0, Health::Healthy, 1),
        host(0, Health::Unhealthy, 1),
        host(0, Health::Unhealthy, 1),
    ];
    let panic = balancer(ROUND_ROBIN, Common::default(), &hosts);
    assert_eq!(
        counts(&panic, 3, 3000),
        (vec![1000, 1000, 1000, 0], Events::HEALTHY_PANIC)
    );
    let off = Common {
        healthy_panic_threshold: 0.0,
        ..Common::default()
    };
    let (counts, events) = counts(&balancer(ROUND_ROBIN, off, &hosts), 3, 3000);
    assert_eq!((counts, events), (vec![3000, 0, 0, 0], Events::NONE));
}

#[test]
fn a_retry_may_bring_loads_of_its_own() {
    struct Second(Plain, Loads);
    impl Request for Second {
        fn random(&mut self) -> u64 {
            self.0.random()
        }
        fn now_ms(&self) -> u64 {
            0
        }
        fn active_requests(&self, _: u32) -> u32 {
            0
        }
        fn priority_loads(&self) -> Option<&Loads> {
            Some(&self.1)
        }
    }
    let hosts = [host(0, Health::Healthy, 1), host(1, Health::Healthy, 1)];
    let balancer = balancer(ROUND_ROBIN, Common::default(), &hosts);
    assert_eq!(balancer.priorities().loads.healthy, [100, 0]);
    let mut cursor = balancer.cursor(0);
    let mut pick = |healthy: Vec<u32>| {
        let degraded = vec![0; healthy.len()];
        let loads = Loads { healthy, degraded };
        balancer
            .pick(&mut cursor, &mut Second(Plain(1), loads))
            .host
    };
    assert_eq!(pick(vec![0, 100]), Some(1));
    assert_eq!(pick(vec![100, 0]), Some(0));
    assert_eq!(pick(vec![0, 0, 100]), None, "a priority that is not there");
}

#[test]
fn numbers_out_of_range_are_taken_into_it() {
    let hosts = [
        host(u32::MAX, Health::Healthy, 0),
        host(0, Health::Healthy, 1),
    ];
    let balancer = balancer(ROUND_ROBIN, Common::default(), &hosts);
    assert_eq!(balancer.priorities().panic.len(), 129);
    assert_eq!(counts(&balancer, 2, 10).0, [0, 10, 0]);
}

/// Random: chi-square of 10 hosts, which 9 degrees of freedom exceed with a
/// probability of 0.1 % at 27.88.
#[test]
fn random_is_uniform_whatever_the_weights() {
    let hosts: Vec<_> = (1..=10).map(|w| host(0, Health::Healthy, w)).collect();
    let balancer = balancer(Policy::Random, Common::default(), &hosts);
    let (counts, _) = counts(&balancer, 10, 100_000);
    assert_eq!(counts[10], 0);
    let chi_square: f64 = counts[..10]
        .iter()
        .map(|count| (*count as f64 - 10_000.0).powi(2) / 10_000.0)
        .sum();
    assert!(chi_square < 27.88, "{chi_square}: {counts:?}");
    // A deterministic rotation would be suspiciously even.
    assert!(chi_square > 1.15, "{chi_square}: {counts:?}");
}
