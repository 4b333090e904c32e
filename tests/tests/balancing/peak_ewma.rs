//! Peak EWMA with real hosts. Envoy has the policy in its contributed
//! extensions, which its usual builds are without, so that this is what Ringway
//! promises and not a comparison: bounds that hold however busy the machine is,
//! because what a host is slow by is far more than that.

use crate::shares::exchange;
use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, bootstrap};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::process::{Process, Program, each_driver};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: EVERYTHING_TO_ORIGIN,
}];

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// What a slow host takes longer.
const SLOW: Duration = Duration::from_millis(100);

/// How long something may take that is a matter of chance and time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of the hosts of `fleet`, with these fields of the policy.
fn start(program: &Program, fleet: &Fleet, policy: &str, flags: &[&str]) -> Process {
    let hosts: Vec<_> = (fleet.ports().iter())
        .map(|port| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }} }}"
            )
        })
        .collect();
    let clusters = format!(
        "- name: origin\n  type: STATIC\n  load_balancing_policy: {{ policies: [ {{ \
         typed_extension_config: {{ name: envoy.load_balancing_policies.peak_ewma, typed_config: \
         {{ \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.peak_ewma.\
         v3alpha.PeakEwma, {policy} }} }} }} ] }}\n  load_assignment: {{ cluster_name: origin, \
         endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}\n",
        hosts.join(", ")
    );
    Process::start_with(program, &bootstrap(LISTENERS, &clusters), flags)
}

/// So many clients send so many requests each, one at a time; how many went to
/// each host.
fn load(process: &Process, hosts: usize, clients: usize, requests: usize) -> Vec<usize> {
    let address = process.listener("main");
    let client = || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut counts = vec![0; hosts];
        for _ in 0..requests {
            let answer = exchange(&mut stream, GET);
            let host = answer.header("x-host").expect("a host answered");
            counts[host.parse::<usize>().expect("a number")] += 1;
        }
        counts
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let mut sum = vec![0; hosts];
        for counts in clients.into_iter().map(|one| one.join().expect("a client")) {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        sum
    })
}

/// How fast hosts are depends on what else the machine does.
fn each_driver_in_some_tries(play: impl Fn(&Program)) {
    each_driver(|program| one_of_some(|| play(program)));
}

const ONE_WORKER: &[&str] = &["--concurrency", "1"];

#[test]
fn a_slow_host_gets_next_to_nothing_and_its_share_back_when_it_is_fast_again() {
    // Two workers have one average.
    let flags = &["--concurrency", "2"];
    each_driver_in_some_tries(|program| {
        let fleet = Fleet::start(4);
        fleet.set(0, Manner::Slow(SLOW));
        let process = start(program, &fleet, "decay_time: 0.5s", flags);
        let _first = load(&process, 4, 8, 20);
        let counts = load(&process, 4, 8, 100);
        programs::say(&format!("{}: slow {counts:?}", process.name()));
        assert!(counts[0] <= 16, "2 of 100 for the slow host: {counts:?}");
        let fewest = counts[1..].iter().min();
        assert!(fewest >= Some(&30), "the others share: {counts:?}");

        fleet.set(0, Manner::Answer);
        let begun = Instant::now();
        let counts = loop {
            let counts = load(&process, 4, 8, 50);
            // A quarter is its share.
            if counts[0] >= 50 {
                break counts;
            }
            assert!(begun.elapsed() < PATIENCE, "still {counts:?}");
        };
        programs::say(&format!(
            "{}: after {:?} {counts:?}",
            process.name(),
            begun.elapsed()
        ));
    });
}

#[test]
fn a_host_that_is_not_known_is_tried_in_the_end() {
    each_driver_in_some_tries(|program| {
        let fleet = Fleet::start(2);
        // Of two hosts both are compared each time, and the one that has
        // answered is faster than what is assumed of the other.
        let process = start(
            program,
            &fleet,
            "default_rtt: 10s, decay_time: 0.3s",
            ONE_WORKER,
        );
        let counts = load(&process, 2, 1, 20);
        assert!(counts.contains(&0), "one of them is known: {counts:?}");
        let begun = Instant::now();
        while fleet.requests(0).min(fleet.requests(1)) == 0 {
            load(&process, 2, 1, 20);
            assert!(begun.elapsed() < PATIENCE, "the other is never tried");
        }
        // Its first answer may have been a slow one.
        loop {
            let counts = load(&process, 2, 4, 100);
            programs::say(&format!("{}: known {counts:?}", process.name()));
            if counts.iter().all(|count| *count >= 20) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{counts:?}");
        }
    });
}

#[test]
fn where_nobody_has_answered_yet_the_one_with_fewer_requests_is_taken() {
    each_driver_in_some_tries(|program| {
        let fleet = Fleet::start(3);
        for host in 0..3 {
            fleet.set(host, Manner::Slow(SLOW * 5));
        }
        let process = start(program, &fleet, "", ONE_WORKER);
        // All are sent before the first is answered.
        let counts = load(&process, 3, 12, 1);
        programs::say(&format!("{}: pending {counts:?}", process.name()));
        assert!(
            counts.iter().all(|count| (2..=6).contains(count)),
            "{counts:?}"
        );
    });
}

#[test]
fn a_host_that_does_not_answer_in_time_is_slow() {
    each_driver_in_some_tries(|program| {
        let fleet = Fleet::start(2);
        let process = start(program, &fleet, "decay_time: 1s", ONE_WORKER);
        // Both are known and fast.
        while fleet.requests(0).min(fleet.requests(1)) < 5 {
            load(&process, 2, 4, 5);
        }
        fleet.set(0, Manner::Hang);
        let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nx-envoy-upstream-rq-timeout-ms: 200\r\n\r\n";
        let begun = Instant::now();
        while exchange(&mut stream, request).status() != 504 {
            assert!(begun.elapsed() < PATIENCE, "host 0 is never tried");
        }
        let asked = fleet.requests(0);
        fleet.set(0, Manner::Answer);
        let counts = load(&process, 2, 1, 20);
        assert!(counts[0] <= 2, "{counts:?}, {asked} before");
    });
}
