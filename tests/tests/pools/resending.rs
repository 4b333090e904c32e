//! A pooled connection that its host closes costs the client nothing, and no
//! request is done twice that must not be.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_every_driver, proxy, stat};
use ringway_tests::bootstrap::cluster;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CLIENTS: usize = 8;
const REQUESTS: usize = 150;

/// A number that looks random and depends on nothing but `seed`.
fn mix(seed: usize) -> u64 {
    let mut x = (seed as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Closes connections whenever a host may: after an answer, a moment later, or
/// when the next request comes, unanswered.
fn capricious(line: &str, before: usize) -> Reply {
    let chance = mix(line.len() * 31 + line.bytes().map(usize::from).sum::<usize>() * 7 + before);
    match chance % 10 {
        0 => Reply::OkThenClose(Duration::ZERO),
        1 | 2 => Reply::OkThenClose(Duration::from_micros(chance / 10 % 800)),
        3 if before > 0 => Reply::Close,
        4 if before > 0 => Reply::Reset,
        _ => Reply::Ok,
    }
}

#[test]
fn a_host_that_closes_connections_costs_no_client_an_answer() {
    on_every_driver(|program| {
        let origin = Origin::start(|asked| capricious(asked.line, asked.before));
        let process = proxy(program, &cluster("origin", origin.address.port(), ""), 2);
        let address = process.listener("main");
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    for n in 0..REQUESTS {
                        let answer = client.get(&format!("/{number}/{n}"));
                        let answer = answer.expect("a safe request is answered");
                        assert_eq!((answer.status, &*answer.body), (200, "ok"));
                    }
                });
            }
        });
        let resent = stat(&process, "upstream_rq_resent");
        assert!(resent > 0, "no request had to be sent again");
        println!("{resent} of {} were sent again", CLIENTS * REQUESTS);
        await_true("no request is left", || {
            stat(&process, "upstream_rq_active") == 0
                && stat(&process, "upstream_rq_pending_active") == 0
        });
    });
}

#[test]
fn what_is_not_idempotent_is_done_once_at_most() {
    on_every_driver(|program| {
        let times: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let counted = Arc::clone(&times);
        let origin = Origin::start(move |asked| {
            let mut times = counted.lock().unwrap();
            *times.entry(asked.line.to_owned()).or_default() += 1;
            capricious(asked.line, asked.before)
        });
        let process = proxy(program, &cluster("origin", origin.address.port(), ""), 2);
        let mut client = Client::connect(process.listener("main"));
        let mut failed = 0;
        for n in 0..2 * REQUESTS {
            client.send("POST", &format!("/{n}"));
            match client.answer().expect("an answer").status {
                200 => {}
                503 => failed += 1,
                other => panic!("{other}"),
            }
        }
        assert!(failed > 0, "the host has closed no connection");
        let times = times.lock().unwrap();
        assert!(times.values().all(|times| *times == 1));
    });
}

/// A host that closes a connection on which it has never answered is broken:
/// who sends again for ever helps nobody.
#[test]
fn a_new_connection_without_an_answer_is_a_failure() {
    on_every_driver(|program| {
        let origin = Origin::start(|asked| match asked.before {
            0 if asked.line == "GET /first HTTP/1.1" => Reply::Ok,
            _ => Reply::Close,
        });
        let process = proxy(program, &cluster("origin", origin.address.port(), ""), 1);
        let mut client = Client::connect(process.listener("main"));
        assert_eq!(client.get("/first").expect("an answer").status, 200);
        let answer = client.get("/second").expect("an answer");
        assert_eq!(answer.status, 503);
        assert!(
            answer.body.contains("connection termination"),
            "{}",
            answer.body
        );
        assert_eq!(origin.requests(), 3);
        assert_eq!(stat(&process, "upstream_rq_resent"), 1);
    });
}
