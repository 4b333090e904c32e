//! Hosts whose part changes while requests run: slow start and bounded loads,
//! through the proxy and beside Envoy.

use crate::shares::exchange;
use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, bootstrap};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::process::{Process, Program, compared_programs};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: EVERYTHING_TO_ORIGIN,
}];

/// By the header `key`.
const BY_HASH: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  - { match: { prefix: / }, route: { \
            cluster: origin, timeout: 0s, hash_policy: [ { header: { header_name: key } } ] } }\n",
}];

const PATIENCE: Duration = Duration::from_secs(20);

fn start(program: &Program, listeners: &[Listener], fleet: &Fleet, fields: &str) -> Process {
    let hosts: Vec<_> = (fleet.ports().iter())
        .map(|port| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }} }}"
            )
        })
        .collect();
    let clusters = format!(
        "- {{ name: origin, type: STATIC, {fields} load_assignment: {{ cluster_name: origin, \
         endpoints: [ {{ lb_endpoints: [ {} ] }} ] }} }}\n",
        hosts.join(", ")
    );
    Process::start(program, &bootstrap(listeners, &clusters))
}

/// Waits until so many hosts are healthy.
fn await_healthy(process: &Process, count: u64) {
    let name = "cluster.origin.membership_healthy";
    let (stats, reached) = (process.admin()).await_stats(PATIENCE, |stats| {
        stats.get(name).copied().unwrap_or(0) == count
    });
    assert!(reached, "{}: {:?}", process.name(), stats.get(name));
}

/// `slow_start_window`.
const WINDOW: Duration = Duration::from_secs(4);

/// Percent of the requests of this time that a host gets, of a hundred at the
/// least.
fn share(process: &Process, host: &str, time: Duration) -> f64 {
    let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
    let (begun, mut all, mut its) = (Instant::now(), 0, 0);
    while begun.elapsed() < time || all < 100 {
        let answer = exchange(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        all += 1;
        its += usize::from(answer.header("x-host") == Some(host));
        thread::sleep(Duration::from_millis(2));
    }
    f64::from(its as u32) * 100.0 / f64::from(all)
}

#[test]
fn a_host_that_comes_back_gets_its_share_by_and_by() {
    let Some(all) = compared_programs("a_host_that_comes_back_gets_its_share_by_and_by") else {
        return;
    };
    let checks = "health_checks: [ { timeout: 1s, interval: 0.1s, no_traffic_interval: 0.1s, \
                  unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: / } } ], \
                  common_lb_config: { healthy_panic_threshold: { value: 0 } },";
    let slow = "slow_start_config: { slow_start_window: 4s, min_weight_percent: { value: 10 } }";
    for policy in [
        format!("round_robin_lb_config: {{ {slow} }},"),
        format!("lb_policy: LEAST_REQUEST, least_request_lb_config: {{ {slow} }},"),
    ] {
        for program in &all {
            one_of_some(|| {
                let mut fleet = Fleet::start(3);
                fleet.kill(2);
                let process = start(program, LISTENERS, &fleet, &format!("{checks} {policy}"));
                await_healthy(&process, 2);
                assert!(share(&process, "2", Duration::ZERO) < 0.1);
                // The others have begun as slowly.
                thread::sleep(WINDOW);
                fleet.revive(2);
                await_healthy(&process, 3);
                // Its weight is a tenth of theirs, then grows with the time: a
                // quarter at the end of the first second.
                let first = share(&process, "2", Duration::from_secs(1));
                thread::sleep(WINDOW);
                let last = share(&process, "2", Duration::from_secs(1));
                let name = process.name();
                programs::say(&format!("{name}: {first:.1} %, then {last:.1} %: {policy}"));
                assert!(first < 24.0, "{name}: {first}");
                assert!((25.0..42.0).contains(&last), "{name}: {last}");
            });
        }
    }
}

/// Requests of one key that all stay, sent one after the other: how many each
/// host has of the first ones.
fn hold(program: &Program, fleet: &Fleet, fields: &str, key: &str) -> Vec<usize> {
    let process = start(program, BY_HASH, fleet, fields);
    let before: Vec<_> = (0..HOSTS).map(|host| fleet.requests(host)).collect();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nkey: {key}\r\n\r\n");
    let (mut clients, mut order) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let seen: Vec<_> = (0..HOSTS).map(|host| fleet.requests(host)).collect();
        let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
        stream
            .write_all(request.as_bytes())
            .expect("the proxy reads");
        clients.push(stream);
        let begun = Instant::now();
        let host = loop {
            let host = (0..HOSTS).find(|host| fleet.requests(*host) > seen[*host]);
            if let Some(host) = host {
                break host;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} sends nothing",
                process.name()
            );
            thread::sleep(Duration::from_millis(1));
        };
        order.push(host);
    }
    assert!((0..HOSTS).all(|host| fleet.requests(host) >= before[host]));
    order
}

const HOSTS: usize = 4;
const REQUESTS: usize = 14;

#[test]
fn a_host_with_its_bound_of_requests_leaves_them_to_the_next() {
    let Some(all) = compared_programs("a_host_with_its_bound_of_requests_leaves_them_to_the_next")
    else {
        return;
    };
    let fleet = Fleet::start(HOSTS);
    for host in 0..HOSTS {
        fleet.set(host, Manner::Hang);
    }
    for policy in ["RING_HASH", "MAGLEV"] {
        for factor in [100, 150, 300] {
            let fields = format!(
                "lb_policy: {policy}, common_lb_config: {{ consistent_hashing_lb_config: {{ \
                 hash_balance_factor: {factor} }} }},"
            );
            for key in ["a", "some-key", "another one"] {
                let played: Vec<_> = (all.iter())
                    .map(|program| hold(program, &fleet, &fields, key))
                    .collect();
                programs::say(&format!("{policy} {factor} {key}: {:?}", played[0]));
                let different = |order: &[usize]| {
                    let mut hosts = order.to_vec();
                    hosts.sort_unstable();
                    hosts.dedup();
                    hosts.len()
                };
                assert!(different(&played[0]) > 1, "the bound is reached");
                for (program, order) in all.iter().zip(&played) {
                    assert_eq!(order, &played[0], "{} for {key}", program.name());
                }
            }
        }
    }
}
