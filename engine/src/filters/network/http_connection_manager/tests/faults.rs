//! Whatever breaks on the way, a client sees the exact response, an answer of
//! the proxy, or a response that is visibly cut off; and nothing is left
//! behind. All choices of a run come from its seed, which is printed.

use super::*;
use crate::reactor::Options;
use crate::reactor::fault::{Plan, Side};
use crate::test_support::client::{Client, Response};
use crate::test_support::origin::in_chunks;

const SEEDS: u64 = 200;

/// The kinds of faults, each of which gets every fifth seed.
fn plan(seed: u64) -> Plan {
    // Heads and bodies of an exchange take some 400 bytes on each connection.
    let position = seed / 5 * 11;
    let pieces = pieces(seed, 97, 89);
    match seed % 5 {
        0 => delayed(pieces),
        kind => broken(kind, position, pieces),
    }
}

/// Everything arrives and leaves in pieces, of at most so many bytes.
pub(super) fn pieces(seed: u64, recv_max: u64, send_max: u64) -> Plan {
    Plan {
        seed,
        recv_max: Some(1 + (seed * 7 % recv_max) as usize),
        send_max: Some(1 + (seed * 13 % send_max) as usize),
        ..Plan::default()
    }
}

/// The same, and late.
pub(super) fn delayed(mut plan: Plan) -> Plan {
    plan.delay = Some(Duration::from_millis(1));
    plan
}

/// The same, and one of four kinds of ends (1 to 4) after `position` bytes: a
/// connection of the client or of the host breaks for both directions, or for
/// what is sent on it.
pub(super) fn broken(kind: u64, position: u64, mut plan: Plan) -> Plan {
    (plan.side, plan.reset_after, plan.reset_sends_after) = match kind {
        1 => (Side::Accepted, Some(position), None),
        2 => (Side::Connected, Some(position), None),
        3 => (Side::Accepted, None, Some(position)),
        4 => (Side::Connected, None, Some(position)),
        _ => panic!("there is no kind {kind}"),
    };
    plan
}

/// Echoes path and body; below `/chunks` without a length.
fn echo() -> Origin {
    Origin::answering(|request| {
        let mut body = request.path().as_bytes().to_vec();
        body.extend_from_slice(&request.body);
        if request.path().starts_with("/chunks") {
            in_chunks(&body, 7)
        } else {
            with_length(&body)
        }
    })
}

/// The requests of a run, each with the body of its answer.
fn requests(seed: u64) -> Vec<(String, String)> {
    (0..6)
        .map(|n| {
            let place = ["length", "chunks"][n % 2];
            let path = format!("/{place}/{seed}/{n}");
            let body = format!("GET /never/{n} HTTP/1.1\r\nhost: test\r\n\r\n");
            let (size, host) = (body.len(), "host: test\r\n");
            let text = match n {
                0 | 1 => return (format!("GET {path} HTTP/1.1\r\n{host}\r\n"), path),
                2 | 3 => format!("content-length: {size}\r\n\r\n{body}"),
                _ => format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"),
            };
            (
                format!("POST {path} HTTP/1.1\r\n{host}{text}"),
                path + &body,
            )
        })
        .collect()
}

/// The answers that are the proxy's own when a side breaks.
fn is_own(response: &Response) -> bool {
    matches!(response.status, 408 | 502 | 503 | 504)
}

#[test]
fn nothing_is_mixed_up_and_nothing_is_left() {
    let impatient = Setup {
        routes: r#"{ match: { prefix: "/" }, route: { cluster: host, timeout: 0.05s } },"#,
        ..Setup::default()
    };
    on_both_drivers(|driver| {
        let origin = echo();
        let mut whole = 0;
        for seed in 0..SEEDS {
            let plan = plan(seed);
            let breaks = seed % 5 != 0;
            // A request that is lost on its way to the host leaves no trace:
            // only its time limit ends it.
            let lossy = seed % 5 == 4;
            let setup = if lossy { &impatient } else { &Setup::default() };
            let options = Options {
                driver,
                faults: Some(plan.clone()),
                ..Options::default()
            };
            let mut proxy = Proxy::start_with(&options, setup, origin.address);
            let mut client: Option<Client> = None;
            for (request, expected) in requests(seed) {
                let connection = client.get_or_insert_with(|| proxy.connect());
                // A connection that is reset already takes nothing.
                let sent = std::io::Write::write_all(&mut connection.socket, request.as_bytes());
                match connection.read_response(false) {
                    Ok(response) if response.status == 200 => {
                        assert_eq!(response.text(), expected, "seed {seed}: {plan:?}");
                        whole += 1;
                        if response.header("connection") == Some("close") {
                            client = None;
                        }
                    }
                    Ok(response) => {
                        assert!(breaks && is_own(&response), "seed {seed}: {response:?}");
                        client = None;
                        if lossy {
                            break;
                        }
                    }
                    Err(broken) => {
                        assert!(breaks, "seed {seed}: {broken:?}, sent: {sent:?}");
                        client = None;
                    }
                }
            }
            drop(client);
            proxy.check_balance();
        }
        assert!(whole > SEEDS, "only {whole} responses were complete");
    });
}

/// The body breaks off at its first byte while the rest of it is there already,
/// in buffers of its own. Reading on after the error would find an end of the
/// body, and behind it a request that nobody sent.
#[test]
fn nothing_is_read_behind_a_broken_body() {
    on_both_drivers(|driver| {
        let origin = echo();
        let options = Options {
            driver,
            faults: Some(Plan {
                recv_max: Some(1),
                side: Side::Accepted,
                ..Plan::default()
            }),
            ..Options::default()
        };
        let mut proxy = Proxy::start_with(&options, &Setup::default(), origin.address);
        let mut client = proxy.connect();
        client.send(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
             -0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n",
        );
        assert_eq!(client.response().status, 400);
        assert!(client.is_at_end(), "the connection ends with the answer");
        drop(client);
        proxy.check_balance();
        assert_eq!(proxy.http("downstream_rq_total"), 1);
    });
}
