//! How evenly a ring of 65,536 points is shared, by number of hosts: 4.5, 7.4
//! and 11.3 % of standard deviation are recorded for Envoy with 100, 200 and
//! 500 hosts.

use ringway_lb::config::{HashFunction, Policy};
use serde_json::{Value, json};

use super::{balancer, picks, random};

const SIZE: u64 = 65_536;

/// Keys as in Envoy's benchmark.
const KEYS: u64 = 100_000;

fn policy() -> Policy {
    Policy::RingHash {
        min_size: SIZE,
        max_size: 8 << 20,
        function: HashFunction::XxHash,
        balance_factor: None,
    }
}

/// The standard deviation of the hosts' shares in percent of their mean.
fn deviation(hosts: usize, keys: u64) -> f64 {
    let mut seed = 1;
    let hashes = (0..keys).map(|_| random(&mut seed));
    let mut counts = vec![0.0; hosts];
    for host in picks(&balancer(&policy(), hosts, &[]), hashes) {
        counts[host as usize] += 1.0;
    }
    let mean = keys as f64 / hosts as f64;
    let variance: f64 = counts
        .iter()
        .map(|count: &f64| (count - mean).powi(2))
        .sum();
    (variance / hosts as f64).sqrt() / mean * 100.0
}

/// What chance gives: a host has so many arcs of random length, and so many
/// keys fall on them at random.
fn expected(hosts: usize, keys: u64) -> f64 {
    let points = SIZE as f64 / hosts as f64;
    let keys = keys as f64 / hosts as f64;
    (1.0 / points + 1.0 / keys).sqrt() * 100.0
}

const RECORDED: [(usize, f64); 3] = [(100, 4.5), (200, 7.4), (500, 11.3)];

pub fn table() -> Value {
    let rows = RECORDED.map(|(hosts, envoy)| {
        json!({
            "hosts": hosts,
            "deviation_percent": deviation(hosts, KEYS),
            "expected_percent": expected(hosts, KEYS),
            "recorded_for_envoy_percent": envoy,
        })
    });
    json!({ "size": SIZE, "keys": KEYS, "rows": rows })
}

#[test]
fn shares_deviate_as_recorded_for_envoy() {
    for (hosts, envoy) in RECORDED {
        let found = deviation(hosts, KEYS);
        let expected = expected(hosts, KEYS);
        // The deviation of a sample of n has itself one of 1/sqrt(2n): three
        // of them, once around what chance gives and once around what another
        // sample was.
        let scatter = 3.0 / (2.0 * hosts as f64).sqrt();
        assert!(
            (found / expected - 1.0).abs() < scatter,
            "{hosts}: {found} %, {expected} %"
        );
        assert!(
            (found / envoy - 1.0).abs() < scatter,
            "{hosts}: {found} %, {envoy} %"
        );
    }
}
