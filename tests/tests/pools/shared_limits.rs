//! The limits that are counted one by one (connections, requests that wait,
//! retries, pools) hold for all workers together.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_all_programs, on_every_driver, proxy, stat};
use ringway_tests::bootstrap::cluster;
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

const WORKERS: [u32; 3] = [1, 2, 4];

const CLIENTS: usize = 40;

/// Has every client send a request.
fn send_all(clients: &mut [Client], path: impl Fn(usize) -> String) {
    for (number, client) in clients.iter_mut().enumerate() {
        client.send("GET", &path(number));
    }
}

/// How many clients got each of these: 200, 503, and anything else.
fn answers(clients: &mut [Client]) -> [usize; 3] {
    let mut counts = [0; 3];
    for client in clients {
        match client.answer().expect("an answer").status {
            200 => counts[0] += 1,
            503 => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    counts
}

#[test]
fn connections_and_requests_that_wait_are_limited_for_all_workers() {
    on_every_driver(|program| {
        for workers in WORKERS {
            let (connections, waiting) = (6, 5);
            let origin = Origin::start(|_| Reply::Hold);
            let more = format!(
                "circuit_breakers: {{ thresholds: [ {{ max_connections: {connections}, \
                 max_pending_requests: {waiting}, track_remaining: true }} ] }}"
            );
            let text = cluster("origin", origin.address.port(), &more);
            let process = proxy(program, &text, workers);
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| Client::connect(process.listener("main")))
                .collect();
            // One after the other: a request waits for its own connection too.
            for (number, client) in clients.iter_mut().enumerate() {
                client.send("GET", "/");
                await_true("all are held, wait or are refused", || {
                    let held = origin.held();
                    let waiting = stat(&process, "upstream_rq_pending_active") as usize;
                    let refused = stat(&process, "upstream_rq_pending_overflow") as usize;
                    let is_connected = stat(&process, "upstream_cx_active") == held as u64;
                    held + waiting + refused == number + 1 && is_connected
                });
            }
            // As in Envoy a worker that has no connection to the host opens one
            // above the limit: its requests would wait for nothing.
            let held = origin.held();
            let most = connections + workers as usize - 1;
            assert!((connections..=most).contains(&held), "{held} connections");
            assert_eq!(stat(&process, "upstream_cx_active"), held as u64);
            assert_eq!(stat(&process, "upstream_rq_pending_active"), waiting as u64);
            let gauge = |name: &str| stat(&process, &format!("circuit_breakers.default.{name}"));
            assert_eq!((gauge("cx_open"), gauge("rq_pending_open")), (1, 1));
            assert_eq!((gauge("remaining_cx"), gauge("remaining_pending")), (0, 0));
            origin.release();
            let refused = CLIENTS - held - waiting;
            assert_eq!(answers(&mut clients), [held + waiting, refused, 0]);
            await_true("no request waits", || {
                (gauge("rq_pending_open"), gauge("remaining_pending")) == (0, 5)
            });
        }
    });
}

#[test]
fn retries_are_limited_for_all_workers() {
    on_every_driver(|program| {
        for workers in WORKERS {
            let limit = 3;
            let seen = Mutex::<HashSet<String>>::default();
            // The first try of a request fails, the second one stays.
            let origin = Origin::start(move |asked| {
                match seen.lock().expect("no panic").insert(asked.line.to_owned()) {
                    true => Reply::Reset,
                    false => Reply::Hold,
                }
            });
            let more = format!(
                "circuit_breakers: {{ thresholds: [ {{ max_retries: {limit}, track_remaining: true \
                 }} ] }}"
            );
            let text = cluster("origin", origin.address.port(), &more);
            let process = proxy(program, &text, workers);
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| Client::connect(process.listener("main")))
                .collect();
            send_all(&mut clients, |number| format!("/again/{number}"));
            let refused = CLIENTS - limit;
            await_true("all are held or refused", || {
                let refused_now = stat(&process, "upstream_rq_retry_overflow");
                origin.held() == limit && refused_now == refused as u64
            });
            let gauge = |name: &str| stat(&process, &format!("circuit_breakers.default.{name}"));
            assert_eq!((gauge("rq_retry_open"), gauge("remaining_retries")), (1, 0));
            origin.release();
            assert_eq!(answers(&mut clients), [limit, refused, 0]);
            assert_eq!(stat(&process, "upstream_rq_retry"), limit as u64);
            await_true("no retry is under way", || {
                (gauge("rq_retry_open"), gauge("remaining_retries")) == (0, 3)
            });
        }
    });
}

/// A cluster whose retries have a budget of a fifth of its requests.
fn with_budget(origin: &Origin, interval: &str) -> String {
    let more = format!(
        "circuit_breakers: {{ thresholds: [ {{ retry_budget: {{ budget_percent: {{ value: 20 }}, \
         min_retry_concurrency: 0, {interval} }} }} ] }}"
    );
    cluster("origin", origin.address.port(), &more)
}

/// The first try of a request to `/again` fails, the second one is held, and so
/// is what `/held` asks for.
fn failing_once() -> Origin {
    let seen = Mutex::<HashSet<String>>::default();
    Origin::start(move |asked| {
        let is_again = asked.line.contains("/again/");
        let is_first = seen.lock().expect("no panic").insert(asked.line.to_owned());
        match (is_again, is_first) {
            (true, true) => Reply::Reset,
            (true, false) => Reply::Hold,
            _ if asked.line.contains("/held/") => Reply::Hold,
            _ => Reply::Ok,
        }
    })
}

#[test]
fn a_budget_of_retries_counts_requests_that_have_begun_of_late() {
    let test = "a_budget_of_retries_counts_requests_that_have_begun_of_late";
    on_all_programs(test, |program| {
        for workers in [1, 2] {
            let origin = failing_once();
            let text = with_budget(&origin, "budget_interval: 3600s");
            let process = proxy(program, &text, workers);
            let (before, asked) = (40, 20);
            for _ in 0..before {
                let mut client = Client::connect(process.listener("main"));
                client.send("GET", "/");
                assert_eq!(client.answer().expect("an answer").status, 200);
            }
            let mut clients = Vec::new();
            let (mut begun, mut retried, mut refused) = (before, 0, 0);
            for number in 0..asked {
                let mut client = Client::connect(process.listener("main"));
                client.send("GET", &format!("/again/{number}"));
                clients.push(client);
                // What has begun counts, although it is over; the retries, too.
                begun += 1;
                match retried < begun / 5 {
                    true => (retried, begun) = (retried + 1, begun + 1),
                    false => refused += 1,
                }
                await_true("one more is held or refused", || {
                    let refused_now = stat(&process, "upstream_rq_retry_overflow");
                    origin.held() == retried && refused_now == refused
                });
            }
            assert!(retried > asked / 5 && refused > 0, "both have happened");
            origin.release();
            assert_eq!(answers(&mut clients), [retried, refused as usize, 0]);
        }
    });
}

#[test]
fn a_budget_of_retries_forgets_requests_that_began_before_its_interval() {
    let test = "a_budget_of_retries_forgets_requests_that_began_before_its_interval";
    on_all_programs(test, |program| {
        for (interval, retried) in [
            ("", 1),
            ("budget_interval: 0.0009s", 1),
            ("budget_interval: 0.02s", 0),
        ] {
            let origin = failing_once();
            let process = proxy(program, &with_budget(&origin, interval), 1);
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| Client::connect(process.listener("main")))
                .collect();
            send_all(&mut clients, |number| format!("/held/{number}"));
            await_true("all are held", || origin.held() == CLIENTS);
            // They have begun longer ago than the interval, and are not over.
            std::thread::sleep(Duration::from_millis(40));
            let mut client = Client::connect(process.listener("main"));
            client.send("GET", "/again/");
            await_true("the last one is held or refused", || {
                let refused = stat(&process, "upstream_rq_retry_overflow") as usize;
                origin.held() - CLIENTS + refused == 1
            });
            assert_eq!(origin.held() - CLIENTS, retried, "{interval:?}");
            origin.release();
        }
    });
}

#[test]
fn pools_are_limited_for_all_workers() {
    on_every_driver(|program| {
        for workers in WORKERS {
            let limit = 2;
            let origins: Vec<_> = (0..4).map(|_| Origin::start(|_| Reply::Hold)).collect();
            let hosts: Vec<_> = (origins.iter())
                .map(|origin| {
                    format!(
                        "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                         port_value: {} }} }} }} }}",
                        origin.address.port()
                    )
                })
                .collect();
            let text = format!(
                "- {{ name: origin, type: STATIC, circuit_breakers: {{ thresholds: [ {{ \
                 max_connection_pools: {limit}, track_remaining: true }} ] }}, load_assignment: {{ \
                 cluster_name: origin, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }} }}\n",
                hosts.join(", ")
            );
            let process = proxy(program, &text, workers);
            let mut clients: Vec<_> = (0..CLIENTS)
                .map(|_| Client::connect(process.listener("main")))
                .collect();
            send_all(&mut clients, |_| "/".to_owned());
            let held = || origins.iter().map(Origin::held).sum::<usize>();
            await_true("all are held or refused", || {
                held() + stat(&process, "upstream_cx_pool_overflow") as usize == CLIENTS
            });
            let gauge = |name: &str| stat(&process, &format!("circuit_breakers.default.{name}"));
            assert_eq!((gauge("cx_pool_open"), gauge("remaining_cx_pools")), (1, 0));
            // A worker has a pool for each host.
            let used = origins.iter().filter(|origin| origin.held() > 0).count();
            assert!((1..=limit).contains(&used), "{used} hosts");
            let held = held();
            assert!(held > 0 && held < CLIENTS, "{held}");
            for origin in &origins {
                origin.release();
            }
            assert_eq!(answers(&mut clients), [held, CLIENTS - held, 0]);
        }
    });
}
