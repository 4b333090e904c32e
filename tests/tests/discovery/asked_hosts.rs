//! Requests that ask for their host (the policy `override_host`) while hosts
//! come and go.

use super::live::PATIENCE;
use super::removal::Scene;
use super::traffic::ask_with;
use ringway_tests::comparison;
use ringway_tests::fleet::Fleet;
use ringway_tests::process::{Program, compared_programs};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

const FIELDS: &str = "load_balancing_policy: { policies: [ { typed_extension_config: { name: o, \
     typed_config: { \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.\
     override_host.v3.OverrideHost, override_host_sources: [ { header: x-to } ], fallback_policy: { \
     policies: [ { typed_extension_config: { name: r, typed_config: { \"@type\": \
     type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin } } } ] \
     } } } } ] },";

/// The hosts that there are, one set after the other, by their numbers.
const SETS: &[&[usize]] = &[
    &[0, 1],
    &[1, 2],
    // The same in another order.
    &[2, 1],
    &[2],
    &[],
    &[0, 1, 2],
    &[1],
];

fn addresses(fleet: &Fleet, hosts: &[usize]) -> Vec<SocketAddr> {
    hosts.iter().map(|host| fleet.address(*host)).collect()
}

fn to(fleet: &Fleet, host: usize) -> String {
    format!("x-to: {}\r\n", fleet.address(host))
}

/// For each set of hosts, what becomes of a request that asks for each host:
/// its status, and whether that host has answered.
fn play(program: &Program) -> Vec<Vec<(u16, bool)>> {
    let fleet = Fleet::start(3);
    let scene = Scene::start_with(program, &addresses(&fleet, SETS[0]), FIELDS);
    let mut stream = scene.connect();
    let mut seen = Vec::new();
    for (number, hosts) in SETS.iter().enumerate() {
        if number > 0 {
            scene.name(&addresses(&fleet, hosts));
        }
        let mut ask_for = |host: usize| {
            let answer = ask_with(&mut stream, &to(&fleet, host));
            let by_it = answer.header("x-host") == Some(&host.to_string());
            (answer.status(), by_it)
        };
        // Workers hear of other hosts a moment later than the gauge.
        let begun = Instant::now();
        loop {
            let found: Vec<_> = (0..3).map(&mut ask_for).collect();
            if found == expected(hosts) || begun.elapsed() > PATIENCE {
                seen.push(found);
                break;
            }
        }
    }
    seen
}

/// What should become of the requests for each host.
fn expected(hosts: &[usize]) -> Vec<(u16, bool)> {
    let one = |host: usize| match hosts {
        [] => (503, false),
        _ => (200, hosts.contains(&host)),
    };
    (0..3).map(one).collect()
}

#[test]
fn who_is_asked_for_answers_while_it_is_there() {
    let test = "who_is_asked_for_answers_while_it_is_there";
    let Some(seen) = comparison::as_in_envoy(test, play) else {
        return;
    };
    for (hosts, seen) in SETS.iter().zip(seen) {
        assert_eq!(seen, expected(hosts), "{hosts:?}");
    }
}

/// A host that stays has all requests that ask for it, whoever comes and goes
/// beside it meanwhile.
#[test]
fn who_stays_keeps_those_who_ask_for_it() {
    let Some(programs) = compared_programs("who_stays_keeps_those_who_ask_for_it") else {
        return;
    };
    for program in &programs {
        let fleet = Fleet::start(3);
        let scene = Scene::start_with(program, &addresses(&fleet, &[1]), FIELDS);
        let (scene, fleet, over) = (&scene, &fleet, &AtomicBool::new(false));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(move || {
                        let (mut stream, mut count) = (scene.connect(), 0);
                        while !over.load(SeqCst) {
                            let answer = ask_with(&mut stream, &to(fleet, 1));
                            let answered = (answer.status(), answer.header("x-host"));
                            assert_eq!(answered, (200, Some("1")), "{}", program.name());
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            for _ in 0..10 {
                for hosts in [&[0, 1, 2][..], &[1], &[2, 1], &[1, 0]] {
                    scene.name(&addresses(fleet, hosts));
                }
            }
            over.store(true, SeqCst);
            for client in clients {
                let count = client.join().expect("a client's requests were answered");
                assert!(count > 0, "{}", program.name());
            }
        });
    }
}
