//! Connections do not multiply with workers.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_every_driver, proxy, stat};
use ringway_tests::bootstrap::cluster;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::time::Duration;

/// Longer than a connection is kept from other workers.
const PAUSE: Duration = Duration::from_millis(70);
const REQUESTS: usize = 24;

/// One request at a time, each from a new client, which the kernel gives to any
/// of the workers.
fn one_at_a_time(program: &Program, workers: u32) -> (Origin, Process) {
    let origin = Origin::start(|_| Reply::Ok);
    let process = proxy(
        program,
        &cluster("origin", origin.address.port(), ""),
        workers,
    );
    for _ in 0..REQUESTS {
        let answer = Client::connect(process.listener("main")).get("/");
        assert_eq!(answer.expect("an answer").status, 200);
        std::thread::sleep(PAUSE);
    }
    assert_eq!(origin.requests(), REQUESTS);
    (origin, process)
}

#[test]
fn one_connection_serves_all_workers() {
    on_every_driver(|program| {
        for workers in [1, 2, 4] {
            let (origin, process) = one_at_a_time(program, workers);
            let connections = origin.connections();
            let lent = stat(&process, "upstream_cx_lent");
            programs::say(&format!(
                "{} with {workers} workers: {connections} connections, lent {lent} times",
                program.name()
            ));
            // A lender that the machine keeps from running for some
            // milliseconds is not waited for: one connection takes the place
            // of the other.
            await_true("one connection is left", || {
                stat(&process, "upstream_cx_active") == 1
            });
            let closed = stat(&process, "upstream_cx_destroy");
            assert_eq!(connections as u64, 1 + closed);
            // The chance that one worker got all of the requests is below 1e-6.
            assert_eq!(lent > 0, workers > 1, "lent {lent} times");
            assert_eq!(stat(&process, "upstream_cx_total"), connections as u64);
            assert_eq!(stat(&process, "upstream_rq_resent"), 0);
        }
    });
    if let Some(envoy) = programs::envoy("one_connection_serves_all_workers") {
        for workers in [1, 2, 4] {
            let (origin, _process) = one_at_a_time(&Program::Envoy(envoy.clone()), workers);
            let connections = origin.connections();
            programs::say(&format!(
                "envoy with {workers} workers: {connections} connections"
            ));
        }
    }
}

const CLIENTS: usize = 32;

/// Bursts of requests that the kernel spreads differently each time. Returns
/// how many connections are there afterwards.
fn bursts(program: &Program) -> u64 {
    let origin = Origin::start(|_| Reply::Hold);
    let process = proxy(program, &cluster("origin", origin.address.port(), ""), 4);
    for _ in 0..6 {
        origin.hold();
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| Client::connect(process.listener("main")))
            .collect();
        for client in &mut clients {
            client.send("GET", "/");
        }
        await_true("all are at the origin", || origin.held() == CLIENTS);
        origin.release();
        for client in &mut clients {
            assert_eq!(client.answer().expect("an answer").status, 200);
        }
        std::thread::sleep(PAUSE);
    }
    let connections = stat(&process, "upstream_cx_active");
    programs::say(&format!(
        "{}: {CLIENTS} requests at once, six times, 4 workers: {connections} connections",
        program.name()
    ));
    connections
}

/// What a burst leaves to some workers, the others use for the next one.
#[test]
fn connections_of_a_burst_are_shared() {
    on_every_driver(|program| {
        // A worker that the machine keeps from running lends nothing.
        one_of_some(|| {
            let connections = bursts(program);
            // Without lending each worker keeps as many as its largest part was.
            let bound = CLIENTS + CLIENTS / 3;
            assert!(connections <= bound as u64, "{connections}");
        });
    });
    if let Some(envoy) = programs::envoy("connections_of_a_burst_are_shared") {
        let _ = bursts(&Program::Envoy(envoy));
    }
}
