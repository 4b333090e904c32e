//! Headers that a client begins and does not end. Envoy answers such a request when its
//! time is over; here its connection ends, and the same is counted and logged.

use crate::{HOSTS, PATIENCE, await_quiet};
use ringway_tests::admin::Stats;
use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{self, END_HEADERS, END_STREAM, frame, get, kind};
use ringway_tests::logs;
use ringway_tests::observation::{Scene, await_still};
use ringway_tests::origin::{self, Act};
use ringway_tests::process::Program;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// What ends such a request, and where that is counted.
const LIMITS: &[(Listener, &str)] = &[
    (
        limited("idle", "stream_idle_timeout: 0.4s"),
        "downstream_rq_idle_timeout",
    ),
    (
        limited("headers", "request_headers_timeout: 0.4s"),
        "downstream_rq_header_timeout",
    ),
    (
        limited("request", "request_timeout: 0.4s"),
        "downstream_rq_timeout",
    ),
];

/// Where they have begun, a connection is not idle.
const UNUSED: Listener = limited(
    "unused",
    "common_http_protocol_options: { idle_timeout: 0.2s }\ndrain_timeout: 0.2s",
);

const fn limited(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: HOSTS,
    }
}

/// The header block of a good request, cut in two.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let lines = ":method: GET\n:scheme: http\n:path: /direct\n:authority: a\n";
    let mut block = http2::block(lines);
    let rest = block.split_off(5);
    (block, rest)
}

/// Ways to leave it there, and how many requests there are.
fn beginnings() -> Vec<(&'static str, usize, Vec<u8>)> {
    let (first, rest) = halves();
    let begun = frame(kind::HEADERS, END_STREAM, 1, &first);
    let more = frame(kind::CONTINUATION, 0, 1, &rest);
    let mut cut = get(1, "/direct", "");
    cut.truncate(cut.len() - 1);
    let behind_another = [get(1, "/direct", ""), frame(kind::HEADERS, 0, 3, &first)].concat();
    vec![
        ("no end", 1, begun.clone()),
        ("a second frame", 1, [begun, more].concat()),
        ("a frame that is cut", 1, cut),
        ("no fields", 1, frame(kind::HEADERS, END_STREAM, 1, b"")),
        ("behind another", 2, behind_another),
    ]
}

fn scene(program: &Program) -> Scene {
    let limited = LIMITS.iter().map(|(listener, _)| *listener);
    let listeners: Vec<_> = limited.chain([UNUSED]).collect();
    // What listeners are made of lives as long as the process.
    Scene::start(program, listeners.leak(), |ports| {
        cluster("origin", ports.origin, "")
    })
}

/// A connection that has said that it speaks HTTP/2. Nobody answers what comes on it:
/// that would come between headers.
fn connect(scene: &Scene, listener: &str) -> TcpStream {
    let mut client = TcpStream::connect(scene.address(listener)).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.write_all(&http2::preface()).expect("it is read");
    client
}

fn rest_of(mut client: TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("its end");
    received
}

/// What is counted and logged of the request whose headers do not come.
fn late(
    (program, scene): (&Program, &Scene),
    (listener, stat): (&str, &str),
    (requests, frames): (usize, &[u8]),
) -> String {
    let admin = scene.process.admin();
    let count = |name: &str| format!("http.{listener}.{name}");
    let log = scene.process.folder().join(format!("{listener}.log"));
    let start = std::fs::read(&log).map_or(0, |log| log.len());
    let was = admin.stats();
    let before = |name: &String| was.get(name).copied().unwrap_or_default();
    let mut client = connect(scene, listener);
    client.write_all(frames).expect("it is read");
    let is_over = |stats: &Stats| {
        // The last that moves.
        let name = count("downstream_rq_rx_reset");
        stats.get(&name).copied() == Some(before(&name) + 1)
            && stats.get(&count("downstream_rq_active")) == Some(&0)
    };
    let stats = await_still(admin, is_over);
    let lines = logs::await_lines(&log, start, requests, PATIENCE);
    let last = lines.last().expect("a line");
    let told = last.split('\t').filter(|part| {
        ["path=", "details=", "flags=", "protocol="]
            .iter()
            .any(|name| part.starts_with(name))
    });
    let told: Vec<_> = told.collect();
    let moved = [stat, "downstream_rq_total", "downstream_rq_rx_reset"].map(|name| {
        let name = count(name);
        stats.get(&name).copied().unwrap_or_default() - before(&name)
    });
    if matches!(program, Program::Ringway(_)) {
        let last = http2::frames(&rest_of(client)).pop().expect("a frame");
        assert_eq!(
            (last.kind, &last.payload[4..8]),
            (kind::GOAWAY, &[0; 4][..])
        );
    }
    format!("{moved:?} {}", told.join(" "))
}

#[test]
fn headers_that_do_not_end_are_late_as_in_envoy() {
    let test = "headers_that_do_not_end_are_late_as_in_envoy";
    let seen = as_in_envoy(test, |program| {
        let scene = scene(program);
        let mut seen = Vec::new();
        for (listener, stat) in LIMITS {
            for (how, requests, frames) in beginnings() {
                let limit = (listener.name, *stat);
                let late = late((program, &scene), limit, (requests, &frames));
                seen.push(format!("{} {how}: {late}", listener.name));
            }
        }
        seen
    });
    if let Some(seen) = seen {
        let all = seen.join("\n");
        assert!(
            all.contains("stream_idle_timeout") && all.contains("SI"),
            "{all}"
        );
    }
}

/// Those that come to their end in time are a request, and one that is under way is
/// answered before its connection ends.
#[test]
fn headers_in_pieces_and_requests_beside_them_are_answered() {
    for driver in ringway_tests::programs::drivers() {
        let scene = scene(&Program::Ringway(driver));
        let (first, rest) = halves();
        let mut client = connect(&scene, "unused");
        let begun = frame(kind::HEADERS, END_STREAM, 1, &first);
        client.write_all(&begun).expect("it is read");
        // Longer than it may be unused.
        thread::sleep(Duration::from_secs(1));
        let end = frame(kind::CONTINUATION, END_HEADERS, 1, &rest);
        client.write_all(&end).expect("it is read");
        let (answers, _) = http2::read(&rest_of(client));
        assert_eq!(answers[0].text(), "direct");

        // Longer than the headers beside it may take.
        let slow = Act::Wait(Duration::from_secs(1));
        let mut acts = origin::answer_ok();
        acts.insert(1, slow);
        scene.origin.play(acts);
        let beside = frame(kind::HEADERS, END_STREAM, 3, &first);
        let mut client = connect(&scene, "headers");
        let frames = [get(1, "/x", ""), beside].concat();
        client.write_all(&frames).expect("it is read");
        let (answers, said) = http2::read(&rest_of(client));
        assert_eq!(answers[0].status(), 200, "{answers:?}");
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.starts_with("GOAWAY NO_ERROR"), "{said}");
        await_quiet(&scene);
    }
}
