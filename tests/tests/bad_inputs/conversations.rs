//! Inputs that are good or half good by themselves and dangerous in what they
//! do to the next request, to the upstream, or to other clients.

use crate::on_every_driver;
use ringway_tests::case::{Case, case};
use ringway_tests::client::{self, End, Expectation, Step};
use ringway_tests::message::Message;
use ringway_tests::observation::{Observation, Scene};
use ringway_tests::patience;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a client may wait beside others; a second is far more than it takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a case must show: an aspect and its value, `-` for none.
type Shows = (&'static str, &'static str);

fn check(scene: &Scene, case: &Case, shows: &[Shows]) -> Vec<String> {
    let seen = scene.play(case);
    shows
        .iter()
        .filter(|(what, value)| seen.get(*what).map_or("-", String::as_str) != *value)
        .map(|(what, value)| {
            format!(
                "{}: {what} is {:?}, not {value}; all: {}",
                case.name,
                seen.get(*what),
                brief(&seen)
            )
        })
        .collect()
}

fn brief(seen: &Observation) -> String {
    let parts = seen.iter().filter(|(what, _)| {
        what.ends_with(".line") || what.as_str() == "client.end" || what.ends_with("].details")
    });
    parts
        .map(|(what, value)| format!("{what}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn requests_keep_their_bounds() {
    let table = [
        (
            case("10 a leading zero is decimal", "strict", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 010\r\n\r\n0123456789"),
            vec![("response[0].line", "HTTP/1.1 200 OK"), ("upstream[0].body", "0123456789")],
        ),
        (
            case("18 hostile trailers dropped", "strict", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nhost: b\r\nauthorization: c\r\n\r\n"),
            vec![("upstream[0].header.host", "a"), ("upstream[0].header.authorization", "-"), ("upstream[0].header.content-length", "-"), ("upstream[0].trailer.host", "-")],
        ),
        (
            case("18 hostile trailers with trailers", "trailers", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nhost: b\r\nauthorization: c\r\n\r\n"),
            vec![("upstream[0].header.host", "a"), ("upstream[0].header.content-length", "-"), ("upstream[0].trailer.content-length", "-"), ("upstream[0].trailer.transfer-encoding", "-"), ("upstream[0].trailer.host", "-"), ("upstream[0].trailer.authorization", "-")],
        ),
        (
            case("26 the authority of an absolute URI wins", "strict", "GET http://good.example/p HTTP/1.1\r\nhost: evil.example\r\n\r\n"),
            vec![("upstream[0].header.host", "good.example"), ("upstream[0].line", "GET /p HTTP/1.1")],
        ),
        (
            case("30 no tunnel before 101", "strict", "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n").answers(1),
            vec![("response[0].line", "HTTP/1.1 403 Forbidden"), ("upstream[0].line", "-")],
        ),
        (
            case("31 a body after an early answer", "direct", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").answers(0),
            vec![("response[0].line", "HTTP/1.1 200 OK"), ("response[1].line", "-"), ("client.end", "Closed")],
        ),
        (
            case("31 a whole body after an early answer", "direct", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n"),
            vec![("response[0].line", "HTTP/1.1 200 OK"), ("response[2].line", "-")],
        ),
        (
            case("31 chunks after an early answer", "direct", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n23\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n").answers(0),
            vec![("response[0].line", "HTTP/1.1 200 OK"), ("response[1].line", "-"), ("client.end", "Closed")],
        ),
        (
            case("32 a withheld body, answered early", "direct", "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 35\r\n\r\n").answers(1),
            vec![("response[0].line", "HTTP/1.1 100 Continue"),
                ("response[1].line", "HTTP/1.1 200 OK"), ("client.end", "Closed")],
        ),
        (
            case("33 Connection names Authorization", "strict", "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, authorization\r\nauthorization: x\r\n\r\n"),
            vec![("upstream[0].header.host", "a"), ("upstream[0].header.authorization", "-"), ("client.end", "Closed")],
        ),
        (
            case("33 Connection names Host", "strict", "GET / HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n"),
            vec![("response[0].line", "HTTP/1.1 400 Bad Request"), ("upstream[0].line", "-")],
        ),
        (
            case("36 underscores", "edge", "GET / HTTP/1.1\r\nhost: a\r\ncontent_length: 5\r\n\r\n").answers(0),
            vec![("response[0].line", "HTTP/1.1 400 Bad Request"), ("upstream[0].line", "-"), ("stats.http1.requests_rejected_with_underscores_in_headers", "+1")],
        ),
        (
            case("38 CONNECT", "strict", "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"),
            vec![("response[0].line", "HTTP/1.1 404 Not Found"), ("upstream[0].line", "-"), ("response[1].line", "-")],
        ),
    ];
    on_every_driver(|scene| {
        let played = table.iter().flat_map(|(case, shows)| {
            let mut problems = check(scene, case, shows);
            problems.extend(check(scene, &case.clone().in_pieces(1), shows));
            problems
        });
        played.collect()
    });
}

/// Input 34: what a path means is decided once, before routing.
#[test]
fn forbidden_paths_stay_forbidden() {
    const PATHS: &[(&str, &[u16])] = &[
        ("/admin", &[403]),
        ("/x/..%2fadmin", &[307]),
        ("/a/..%2f..%2fadmin", &[307]),
        ("//admin", &[403]),
        ("/%2e%2e/admin", &[403]),
        ("/x/%2E%2E/admin", &[403]),
        ("/./admin", &[403]),
        ("/x/../admin", &[403]),
        ("/x\\..\\admin", &[403, 400, 307]),
        ("/%61dmin", &[403]),
        ("/admin%00", &[400]),
        ("/admin#x", &[400, 403]),
        ("/admin?x", &[403]),
    ];
    on_every_driver(|scene| {
        let mut problems = Vec::new();
        for (path, statuses) in PATHS {
            scene.origin.play(ringway_tests::origin::answer_ok());
            let bytes = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let outcome = client::converse(
                scene.address("edge"),
                &[Step::Send(bytes.into_bytes())],
                &Expectation::default(),
            );
            let status = outcome.finals().next().map_or(0, Message::status);
            if !statuses.contains(&status) {
                problems.push(format!("{path}: {status}, not one of {statuses:?}"));
            }
            if let Some(seen) = scene.origin.seen().first() {
                problems.push(format!("{path}: forwarded as {}", seen.request.first_line));
            }
        }
        problems
    });
}

/// Input 35: what only a proxy may say is not believed when a client says it.
#[test]
fn spoofed_headers_are_replaced_at_the_edge() {
    let spoofed = case(
        "35 spoofed headers",
        "edge",
        "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-envoy-internal: true\r\n\
         x-envoy-external-address: 10.0.0.1\r\nx-envoy-retry-on: 5xx\r\n\
         x-forwarded-client-cert: By=x\r\nx-request-id: spoofed\r\nx-forwarded-proto: https\r\n\r\n",
    );
    on_every_driver(|scene| {
        let seen = scene.play(&spoofed);
        let mut problems = Vec::new();
        for name in [
            "x-envoy-internal",
            "x-envoy-retry-on",
            "x-forwarded-client-cert",
        ] {
            if let Some(value) = seen.get(&format!("upstream[0].header.{name}")) {
                problems.push(format!("{name}: {value} was forwarded"));
            }
        }
        for (name, spoofed) in [
            ("x-request-id", "spoofed"),
            ("x-envoy-external-address", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "10.0.0.1"),
        ] {
            match seen.get(&format!("upstream[0].header.{name}")) {
                Some(value) if value != spoofed => {}
                other => problems.push(format!("{name} is {other:?}")),
            }
        }
        problems
    });
}

/// Input 37: many pipelined requests are answered in order, and others are
/// served meanwhile.
#[test]
fn ten_thousand_pipelined_requests_starve_nobody() {
    const REQUESTS: usize = 10_000;
    on_every_driver(|scene| {
        scene.origin.play(ringway_tests::origin::answer_ok());
        let address = scene.address("strict");
        let mut problems = Vec::new();
        std::thread::scope(|scope| {
            let flood = scope.spawn(move || {
                let mut stream = TcpStream::connect(address).expect("a connection");
                let mut writer = stream.try_clone().expect("a second handle");
                let all: String = (0..REQUESTS)
                    .map(|number| format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"))
                    .collect();
                std::thread::spawn(move || writer.write_all(all.as_bytes()));
                stream
                    .set_read_timeout(Some(Duration::from_secs(60)))
                    .expect("a timeout");
                let mut answers = 0;
                let mut buffer = vec![0; 1 << 20];
                let mut carry = Vec::new();
                while answers < REQUESTS {
                    let count = patience::read(&mut stream, &mut buffer).unwrap_or(0);
                    if count == 0 {
                        break;
                    }
                    carry.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&carry).into_owned();
                    answers += text.matches("HTTP/1.1 200").count();
                    // The start of the next answer may be cut anywhere.
                    let keep = text.rfind("\r\n").map_or(0, |at| at + 2);
                    carry.drain(..keep.min(carry.len()));
                }
                answers
            });
            std::thread::sleep(Duration::from_millis(100));
            let started = Instant::now();
            let other = client::converse(
                address,
                &[Step::Send(
                    b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
                )],
                &Expectation::default(),
            );
            if other.finals().next().map(Message::status) != Some(200) {
                problems.push(format!("another client got {:?}", other.end));
            }
            if started.elapsed() > PATIENCE {
                problems.push(format!("another client waited {:?}", started.elapsed()));
            }
            let answers = flood.join().expect("the flood ended");
            if answers != REQUESTS {
                problems.push(format!(
                    "{answers} of {REQUESTS} pipelined requests were answered"
                ));
            }
        });
        let paths: Vec<_> = scene
            .origin
            .seen()
            .into_iter()
            .filter_map(|seen| {
                let path = seen
                    .request
                    .first_line
                    .split(' ')
                    .nth(1)?
                    .get(1..)?
                    .to_owned();
                path.parse::<usize>().ok()
            })
            .collect();
        if !paths.is_sorted() {
            problems.push("requests went upstream out of order".into());
        }
        problems
    });
}

/// Input 70: a client that sends its head too slowly must not keep others from
/// being served, and one that stops may be dropped without a trace.
#[test]
fn slow_heads_hold_nobody_up() {
    on_every_driver(|scene| {
        scene.origin.play(ringway_tests::origin::answer_ok());
        let address = scene.address("strict");
        let slow: Vec<_> = (0..200)
            .map(|_| {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream
                    .write_all(b"GET / HTTP/1.1\r\nho")
                    .expect("a few bytes");
                stream
            })
            .collect();
        let started = Instant::now();
        let other = client::converse(
            address,
            &[Step::Send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec())],
            &Expectation::default(),
        );
        let mut problems = Vec::new();
        if other.finals().next().map(Message::status) != Some(200) || other.end != End::Open {
            problems.push(format!("another client: {other:?}"));
        }
        if started.elapsed() > PATIENCE {
            problems.push(format!("another client waited {:?}", started.elapsed()));
        }
        drop(slow);
        let (stats, quiet) = scene
            .process
            .admin()
            .await_stats(Duration::from_secs(5), |stats| {
                stats
                    .get("http.strict.downstream_cx_active")
                    .copied()
                    .unwrap_or(0)
                    == 0
            });
        if !quiet {
            problems.push(format!(
                "connections left: {:?}",
                stats.get("http.strict.downstream_cx_active")
            ));
        }
        problems
    });
}
