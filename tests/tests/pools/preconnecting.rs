//! Connections that are opened before there are requests for them
//! (`preconnect_policy`): as many as Envoy opens.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{await_true, on_all_programs, proxy, stat};
use ringway_tests::bootstrap::cluster;
use ringway_tests::process::{Process, Program};

fn start(program: &Program, more: &str) -> (Origin, Process) {
    let origin = Origin::start(|asked| match asked.line {
        line if line.contains("/hold") => Reply::Hold,
        line if line.contains("/close") => Reply::OkThenClose(std::time::Duration::ZERO),
        _ => Reply::Ok,
    });
    let text = cluster("origin", origin.address.port(), more);
    let process = proxy(program, &text, 1);
    (origin, process)
}

/// Waits until so many connections are open, at the origin too.
fn await_connections(process: &Process, origin: &Origin, count: usize) {
    let name = process.name();
    await_true(&format!("{name}: {count} connections"), || {
        stat(process, "upstream_cx_active") == count as u64 && origin.connections() >= count
    });
}

#[test]
fn connections_are_there_before_requests_are() {
    on_all_programs("connections_are_there_before_requests_are", |program| {
        for (ratio, connections) in [
            (1.0, [1, 2, 3, 4]),
            (1.05, [2, 3, 4, 5]),
            (1.5, [2, 3, 5, 6]),
            (2.0, [2, 4, 6, 8]),
            (3.0, [3, 6, 9, 12]),
        ] {
            let more = format!("preconnect_policy: {{ per_upstream_preconnect_ratio: {ratio} }}");
            let (origin, process) = start(program, &more);
            let mut clients = Vec::new();
            for (place, count) in connections.into_iter().enumerate() {
                let mut client = Client::connect(process.listener("main"));
                client.send("GET", "/hold");
                clients.push(client);
                await_true("the request is there", || origin.held() == place + 1);
                await_connections(&process, &origin, count);
                assert_eq!(stat(&process, "upstream_cx_total"), count as u64);
            }
            origin.release();
            for client in &mut clients {
                assert_eq!(client.answer().expect("an answer").status, 200);
            }
            // What is open is enough for what comes now.
            for _ in 0..5 {
                let answer = Client::connect(process.listener("main")).get("/");
                assert_eq!(answer.expect("an answer").status, 200);
            }
            let last = connections[3] as u64;
            assert_eq!(stat(&process, "upstream_cx_total"), last);
            assert_eq!(stat(&process, "upstream_cx_overflow"), 0);
        }
    });
}

#[test]
fn limits_hold_for_connections_without_requests_too() {
    let test = "limits_hold_for_connections_without_requests_too";
    on_all_programs(test, |program| {
        let more = "preconnect_policy: { per_upstream_preconnect_ratio: 3 }\n\
                    circuit_breakers: { thresholds: [ { max_connections: 4 } ] }";
        let (origin, process) = start(program, more);
        let mut clients: Vec<_> = (0..3)
            .map(|_| Client::connect(process.listener("main")))
            .collect();
        for (place, client) in clients.iter_mut().enumerate() {
            client.send("GET", "/hold");
            await_true("the request is there", || origin.held() == place + 1);
        }
        await_connections(&process, &origin, 4);
        assert_eq!(stat(&process, "upstream_cx_total"), 4);
        // The second request wanted three more, the third one too.
        assert_eq!(stat(&process, "upstream_cx_overflow"), 2);
        origin.release();
        for client in &mut clients {
            assert_eq!(client.answer().expect("an answer").status, 200);
        }
    });
}

#[test]
fn a_connection_that_is_lost_under_load_is_replaced() {
    let test = "a_connection_that_is_lost_under_load_is_replaced";
    on_all_programs(test, |program| {
        let more = "preconnect_policy: { per_upstream_preconnect_ratio: 2 }";
        let (origin, process) = start(program, more);
        let mut held = Client::connect(process.listener("main"));
        held.send("GET", "/hold");
        await_true("the request is there", || origin.held() == 1);
        await_connections(&process, &origin, 2);
        // This one takes the second connection, has two more opened, and its
        // own is closed.
        let answer = Client::connect(process.listener("main")).get("/close");
        assert_eq!(answer.expect("an answer").status, 200);
        await_true("four connections", || {
            stat(&process, "upstream_cx_total") == 4
        });
        await_connections(&process, &origin, 3);
        origin.release();
        assert_eq!(held.answer().expect("an answer").status, 200);
    });
}
