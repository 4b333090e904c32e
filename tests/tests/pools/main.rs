//! Pools and limits of clusters under load, with one, two and four workers:
//! limits are what they say, connections do not multiply with workers, and
//! what goes wrong at a host stays there as far as it can.

mod buffered;
mod client;
mod connecting;
mod failures;
mod http2;
mod lending;
mod limits;
mod local_ends;
mod origin;
mod own_connections;
mod preconnecting;
mod predicting;
mod resending;
mod shared_limits;
mod wire_bytes;

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::process::{Process, Program, all_programs};
use ringway_tests::programs;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: \"/short/\" }, route: { cluster: origin, timeout: 0.3s } }\n  \
            - { match: { prefix: \"/again/\" }, route: { cluster: origin, timeout: 0s, \
            retry_policy: { retry_on: reset } } }\n  \
            - { match: { prefix: \"/\" }, route: { cluster: origin, timeout: 0s } }\n",
}];

/// A proxy in front of one cluster, `origin`.
fn proxy(program: &Program, clusters: &str, workers: u32) -> Process {
    let text = bootstrap(LISTENERS, clusters);
    Process::start_with(program, &text, &["--concurrency", &workers.to_string()])
}

fn on_every_driver(test: impl Fn(&Program)) {
    for driver in programs::drivers() {
        println!("on {}", driver.name());
        test(&Program::Ringway(driver));
    }
}

/// Envoy too, if there is one: what is expected of ours is what it does.
fn on_all_programs(test_name: &str, test: impl Fn(&Program)) {
    for program in all_programs(test_name) {
        println!("on {}", program.name());
        test(&program);
    }
}

fn await_true(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stat(process: &Process, name: &str) -> u64 {
    process.admin().stat(&format!("cluster.origin.{name}"))
}
