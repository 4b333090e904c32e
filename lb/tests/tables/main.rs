//! How evenly policies balance, and how little they move: the tables of the
//! Maglev paper, the deviations recorded for Envoy's ring hash, and the theory
//! of two choices.
//!
//! The tests check few runs against bounds. `UPDATE_TABLES=1 cargo test
//! --release -p ringway-lb --test tables` makes many runs and writes them to
//! `perf/results/balancing-statistics.json`.

use std::borrow::Cow;

use ringway_lb::balancer::{Balancer, Request};
use ringway_lb::config::{Common, Config, Policy};
use ringway_lb::members::{Describe, Health, Host, Members};
use ringway_lb::metadata::Value;
use serde_json::json;

mod least_request;
mod maglev;
mod ring_hash;

/// Hosts that are told apart by an address.
struct Addresses;

impl Describe for Addresses {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        Cow::Owned(format!("10.0.{}.{}:8080", host / 256, host % 256))
    }
    fn metadata(&self, _: u32, _: &str) -> Option<Value> {
        None
    }
}

/// A request with a hash, random numbers from a seed, and what hosts have in
/// flight.
struct Simulated<'a> {
    seed: u64,
    hash: Option<u64>,
    active: &'a [u32],
}

impl Request for Simulated<'_> {
    fn hash(&mut self) -> Option<u64> {
        self.hash
    }
    fn random(&mut self) -> u64 {
        random(&mut self.seed)
    }
    fn now_ms(&self) -> u64 {
        0
    }
    fn active_requests(&self, host: u32) -> u32 {
        self.active[host as usize]
    }
}

/// The next number of a seed (splitmix64).
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A balancer over so many hosts; those in `failed` are unhealthy.
fn balancer(policy: &Policy, hosts: usize, failed: &[usize]) -> Balancer {
    let mut members = vec![Host::default(); hosts];
    for host in failed {
        members[*host].health = Health::Unhealthy;
    }
    let config = Config {
        policy: policy.clone(),
        common: Common::default(),
        subset: None,
    };
    let members = Members {
        hosts: &members,
        localities: &[],
        local: None,
        describe: &Addresses,
    };
    Balancer::new(&config, &members)
}

/// The host of each hash.
fn picks(balancer: &Balancer, hashes: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut cursor = balancer.cursor(0);
    hashes
        .map(|hash| {
            let mut request = Simulated {
                seed: 0,
                hash: Some(hash),
                active: &[],
            };
            let pick = balancer.pick(&mut cursor, &mut request);
            pick.host.expect("there are healthy hosts")
        })
        .collect()
}

/// Writes all tables when it is asked for.
#[test]
fn tables_are_written_when_asked_for() {
    if std::env::var_os("UPDATE_TABLES").is_none() {
        return;
    }
    let tables = json!({
        "maglev": maglev::table(200),
        "ring_hash": ring_hash::table(),
        "least_request": least_request::table(200),
    });
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../perf/results/balancing-statistics.json"
    );
    let text = serde_json::to_string_pretty(&tables).expect("a table is JSON");
    std::fs::write(path, text + "\n").expect("the folder of results");
}
