//! What hosts do wrong while traffic runs: every request gets the answer that
//! Envoy gives, nothing hangs, and nothing is left behind.

use crate::client::{Answer, Client};
use crate::origin::{Origin, Reply};
use crate::{await_true, on_all_programs, proxy, stat};
use ringway_tests::bootstrap::cluster;
use ringway_tests::ports::Reserved;
use ringway_tests::process::Process;
use ringway_tests::stop::StopOnDrop;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const CLIENTS: usize = 6;

/// Asks on several connections until the test says stop, and returns the
/// answers. A connection that the proxy closes is replaced.
fn traffic(address: SocketAddr, path: &str, meanwhile: impl FnOnce()) -> Vec<io::Result<Answer>> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopping = StopOnDrop(&stop);
        let running: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut answers = Vec::new();
                    let mut client = Client::connect(address);
                    while !stop.load(SeqCst) {
                        let answer = client.get(path);
                        if answer.is_err() {
                            client = Client::connect(address);
                        }
                        answers.push(answer);
                    }
                    answers
                })
            })
            .collect();
        meanwhile();
        drop(stopping);
        running
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    })
}

/// Nothing of the requests is left.
fn check_quiet(process: &Process) {
    for gauge in [
        "upstream_rq_active",
        "upstream_rq_pending_active",
        "circuit_breakers.default.rq_open",
        "circuit_breakers.default.cx_open",
    ] {
        await_true(gauge, || stat(process, gauge) == 0);
    }
    await_true("all connections are accounted for", || {
        let ended = stat(process, "upstream_cx_destroy");
        stat(process, "upstream_cx_total") == ended + stat(process, "upstream_cx_active")
    });
}

fn statuses(answers: &[io::Result<Answer>]) -> (usize, usize) {
    let count = |status| {
        let is = |answer: &&io::Result<Answer>| {
            answer.as_ref().is_ok_and(|answer| answer.status == status)
        };
        answers.iter().filter(is).count()
    };
    (count(200), count(503))
}

#[test]
fn an_origin_is_killed_and_comes_back() {
    on_all_programs("an_origin_is_killed_and_comes_back", |program| {
        let origin = Origin::start(|_| Reply::Ok);
        let address = origin.address;
        let process = proxy(program, &cluster("origin", address.port(), ""), 2);
        let mut again = None;
        let answers = traffic(process.listener("main"), "/", || {
            let served = |origin: &Origin| origin.requests() > 50;
            await_true("requests are served", || served(&origin));
            drop(origin);
            let reserved = Reserved::after(address);
            await_true("connections are refused", || {
                stat(&process, "upstream_cx_connect_fail") > 20
            });
            let origin = Origin::listen(reserved.listen(), |_| Reply::Ok);
            await_true("requests are served again", || served(&origin));
            again = Some(origin);
        });
        let (ok, unavailable) = statuses(&answers);
        assert!(
            ok > 100 && unavailable > 20,
            "{ok} served, {unavailable} not"
        );
        assert_eq!(ok + unavailable, answers.len(), "{answers:?}");
        check_quiet(&process);
        let mut client = Client::connect(process.listener("main"));
        assert_eq!(client.get("/").expect("an answer").status, 200);
    });
}

#[test]
fn half_of_the_hosts_refuse() {
    on_all_programs("half_of_the_hosts_refuse", |program| {
        let origin = Origin::start(|_| Reply::Ok);
        let refusing = Reserved::new();
        let more = "load_assignment: { cluster_name: origin, endpoints: [ { lb_endpoints: [ ";
        let host = |address: SocketAddr| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
                 port_value: {} }} }} }} }}",
                address.port()
            )
        };
        let clusters = format!(
            "- name: origin\n  type: STATIC\n  {more}{}, {} ] }} ] }}\n",
            host(origin.address),
            host(refusing.address())
        );
        let process = proxy(program, &clusters, 2);
        let answers = traffic(process.listener("main"), "/", || {
            await_true("some are served", || origin.requests() > 150);
        });
        let (ok, unavailable) = statuses(&answers);
        assert_eq!(ok + unavailable, answers.len());
        let difference = ok.abs_diff(unavailable);
        // Turn by turn on each worker: they differ by what is in flight.
        assert!(difference <= 2 * CLIENTS, "{ok} served, {unavailable} not");
        check_quiet(&process);
    });
}

#[test]
fn a_host_accepts_and_never_answers() {
    on_all_programs("a_host_accepts_and_never_answers", |program| {
        let origin = Origin::start(|_| Reply::Silence);
        let process = proxy(program, &cluster("origin", origin.address.port(), ""), 2);
        let answers = traffic(process.listener("main"), "/short/", || {
            await_true("some were given up", || {
                stat(&process, "upstream_rq_timeout") >= 2 * CLIENTS as u64
            });
        });
        for answer in answers {
            let answer = answer.expect("an answer");
            assert_eq!(
                (answer.status, &*answer.body),
                (504, "upstream request timeout")
            );
        }
        check_quiet(&process);
        // Each was closed: its answer could come still.
        await_true("no connection is left", || {
            stat(&process, "upstream_cx_active") == 0
        });
    });
}

#[test]
fn a_host_resets_within_its_answer() {
    on_all_programs("a_host_resets_within_its_answer", |program| {
        let origin = Origin::start(|asked| match asked.before % 2 {
            0 => Reply::Ok,
            _ => Reply::HalfThenReset,
        });
        let process = proxy(program, &cluster("origin", origin.address.port(), ""), 2);
        let answers = traffic(process.listener("main"), "/", || {
            await_true("some were cut off", || {
                stat(&process, "upstream_cx_destroy_with_active_rq") > 20
            });
        });
        let cut_off = answers.iter().filter(|answer| answer.is_err()).count();
        let (ok, _) = statuses(&answers);
        assert!(cut_off >= 20, "{cut_off}");
        assert_eq!(ok + cut_off, answers.len(), "half an answer is none");
        check_quiet(&process);
        assert_eq!(stat(&process, "upstream_rq_resent"), 0);
    });
}

/// Two hosts that are asked for their health, and say that they are well or not.
fn checked(origins: &[Origin; 2], panic_threshold: u32) -> String {
    let hosts = origins.iter().map(|origin| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} \
             }} }} }}",
            origin.address.port()
        )
    });
    format!(
        "- name: origin\n  type: STATIC\n  common_lb_config: {{ healthy_panic_threshold: {{ value: \
         {panic_threshold} }} }}\n  health_checks: [ {{ timeout: 3s, interval: 0.05s, \
         no_traffic_interval: 0.05s, unhealthy_threshold: 1, healthy_threshold: 1, \
         http_health_check: {{ path: /health }} }} ]\n  load_assignment: {{ cluster_name: origin, \
         endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}\n",
        hosts.collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn all_hosts_are_unhealthy_for_a_while() {
    on_all_programs("all_hosts_are_unhealthy_for_a_while", |program| {
        for panic_threshold in [50, 0] {
            let well = Arc::new(AtomicBool::new(true));
            let origins = [(); 2].map(|()| {
                let well = Arc::clone(&well);
                Origin::start(move |asked| {
                    let is_check = asked.line.contains("/health");
                    match is_check && !well.load(SeqCst) {
                        true => Reply::Close,
                        false => Reply::Ok,
                    }
                })
            });
            let process = proxy(program, &checked(&origins, panic_threshold), 2);
            let healthy = |count| {
                await_true("hosts have been checked", || {
                    stat(&process, "membership_healthy") == count
                });
            };
            healthy(2);
            let answers = traffic(process.listener("main"), "/", || {
                let served = |more| {
                    let before = stat(&process, "upstream_rq_200");
                    await_true("requests are served", || {
                        stat(&process, "upstream_rq_200") >= before + more
                    });
                };
                served(50);
                well.store(false, SeqCst);
                healthy(0);
                let told = match panic_threshold {
                    0 => "upstream_cx_none_healthy",
                    _ => "lb_healthy_panic",
                };
                await_true("requests come meanwhile", || stat(&process, told) > 50);
                if panic_threshold > 0 {
                    served(50);
                }
                well.store(true, SeqCst);
                healthy(2);
                served(50);
            });
            let (ok, unavailable) = statuses(&answers);
            assert_eq!(ok + unavailable, answers.len(), "{answers:?}");
            match panic_threshold {
                0 => assert!(unavailable > 50, "{unavailable} of {}", answers.len()),
                _ => assert_eq!(unavailable, 0, "in panic all hosts are used"),
            }
            let none: Vec<_> = answers
                .iter()
                .flatten()
                .filter(|one| one.status == 503)
                .collect();
            assert!(none.iter().all(|one| one.body == "no healthy upstream"));
            check_quiet(&process);
        }
    });
}
