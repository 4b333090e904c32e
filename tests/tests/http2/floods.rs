//! Frames that cost a client little: how many of them are borne, and what is
//! counted and logged of the one that is too many.

use crate::{LISTENERS, PATIENCE};
use ringway_tests::bootstrap::cluster;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{self, END_STREAM, data, frame, get, kind, request};
use ringway_tests::logs;
use ringway_tests::observation::{self, Scene};
use ringway_tests::origin::Act;
use ringway_tests::patience;
use std::io::Write;
use std::net::TcpStream;

/// A flood: to whom, what comes before and is read before the rest comes, and
/// what comes then, so many times.
type Flood = (&'static str, &'static str, Vec<u8>, Vec<u8>, usize);

fn floods() -> Vec<Flood> {
    let priority = || frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
    let window = || http2::window_update(0, 1);
    let empty = || data(1, b"", false);
    let post = || request(1, "POST", "/x", "", false);
    let padded = || frame(kind::DATA, 8, 1, &[3, 0, 0, 0]);
    let two = || [post(), get(3, "/x", "")].concat();
    let open = || frame(kind::HEADERS, END_STREAM, 1, &http2::block(":method: GET"));
    let more = || frame(kind::CONTINUATION, 0, 1, &[]);
    let closed = || get(1, "/direct", "");
    let mut all: Vec<Flood> = Vec::new();
    let mut add = |name, listener, before: &[u8], unit: &[u8], counts: &[usize]| {
        for count in counts {
            all.push((name, listener, before.to_vec(), unit.to_vec(), *count));
        }
    };
    add("priority", "plain", &[], &priority(), &[100, 101]);
    add(
        "of a stream",
        "plain",
        &get(1, "/x", ""),
        &priority(),
        &[200, 201],
    );
    add(
        "behind a stream",
        "plain",
        &closed(),
        &priority(),
        &[100, 101],
    );
    add("window", "plain", &[], &window(), &[5, 6]);
    add(
        "of a stream",
        "plain",
        &get(1, "/x", ""),
        &window(),
        &[7, 8],
    );
    add("behind a stream", "plain", &closed(), &window(), &[25, 26]);
    add("empty", "plain", &post(), &empty(), &[1, 2]);
    add("padded", "plain", &post(), &padded(), &[1, 2]);
    add("beside another", "plain", &two(), &empty(), &[2]);
    add(
        "headers",
        "plain",
        &[],
        &[open(), more(), more()].concat(),
        &[1],
    );
    add("priority", "bearing", &[], &priority(), &[3, 4]);
    add("window", "bearing", &closed(), &window(), &[7, 8]);
    add("empty", "bearing", &post(), &empty(), &[5, 6]);
    let apart = [data(1, b"", false), data(1, b"x", false)].concat();
    add("apart", "plain", &post(), &apart, &[20]);
    all
}

/// Whether a PING is answered, which is asked for behind these frames.
fn is_answered(client: &mut TcpStream, frames: &[u8]) -> bool {
    let ping = frame(kind::PING, 0, 0, b"12345678");
    if client.write_all(&[frames, &ping].concat()).is_err() {
        return false;
    }
    let mut received = Vec::new();
    let mut part = [0; 4096];
    loop {
        let is_pong = |frame: &http2::Received| frame.kind == kind::PING && frame.flags & 1 != 0;
        if http2::frames(&received).iter().any(is_pong) {
            return true;
        }
        match patience::read(&mut *client, &mut part) {
            Ok(0) | Err(_) => return false,
            Ok(count) => received.extend_from_slice(&part[..count]),
        }
    }
}

/// What a flood leads to, in words.
fn pour(scene: &Scene, (name, listener, before, unit, count): Flood) -> String {
    let admin = scene.process.admin();
    let path = scene.process.folder().join(format!("{listener}.log"));
    let logged = std::fs::read(&path).map_or(0, |log| log.len());
    scene.origin.play(vec![Act::ReadHead, Act::Drain]);
    let was = admin.stats();
    let mut client = TcpStream::connect(scene.address(listener)).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.write_all(&http2::preface()).expect("it is read");
    let flood = unit.repeat(count);
    let asked = http2::frames(&[&before[..], &flood].concat())
        .iter()
        .filter(|one| one.kind == kind::HEADERS)
        .count();
    assert!(is_answered(&mut client, &before), "{name}: before it");
    // A response that is there at once is there before the flood.
    assert!(is_answered(&mut client, &[]), "{name}: before it");
    let is_borne = is_answered(&mut client, &flood);
    drop(client);
    let is_quiet = |stats: &ringway_tests::admin::Stats| {
        let gauge = |name: &str| stats.get(name).copied().unwrap_or_default();
        gauge(&format!("http.{listener}.downstream_cx_active")) == 0
            && gauge(&format!("http.{listener}.downstream_rq_active")) == 0
    };
    let stats = observation::await_still_within(admin, PATIENCE, is_quiet);
    let value = |stats: &ringway_tests::admin::Stats, name: &str| {
        stats.get(name).copied().unwrap_or_default()
    };
    let mut seen = format!("{name} on {listener}, {count}: borne {is_borne}");
    let of_listener = [
        "downstream_cx_destroy_local",
        "downstream_cx_destroy_local_active_rq",
        "downstream_cx_destroy_active_rq",
        "downstream_cx_protocol_error",
        "downstream_rq_total",
        "downstream_rq_rx_reset",
    ];
    let names = of_listener.map(|stat| format!("http.{listener}.{stat}"));
    let of_codec = ["empty_frames", "priority_frames", "window_update_frames"]
        .map(|kind| format!("http2.inbound_{kind}_flood"));
    for name in names.iter().chain(&of_codec) {
        let moved = value(&stats, name) - value(&was, name);
        seen.push_str(&format!(", {name} {moved}"));
    }
    let mut lines = log_of(&path, logged, asked);
    // Streams of one connection end in any order.
    lines.sort();
    for line in lines {
        seen.push_str(&format!("; {line}"));
    }
    seen
}

/// Of each line the parts that a flood decides about.
fn log_of(path: &std::path::Path, start: usize, lines: usize) -> Vec<String> {
    let told = ["path=", "code=", "details=", "flags="];
    let parts = |line: String| {
        let parts = line
            .split('\t')
            .filter(|part| told.iter().any(|t| part.starts_with(t)));
        parts.collect::<Vec<_>>().join(" ")
    };
    let lines = logs::await_lines(path, start, lines, PATIENCE);
    lines.into_iter().map(parts).collect()
}

#[test]
fn as_much_is_borne_as_in_envoy() {
    let _ = as_in_envoy("as_much_is_borne_as_in_envoy", |program| {
        let scene = Scene::start(program, LISTENERS, |ports| {
            cluster("origin", ports.origin, "")
        });
        floods()
            .into_iter()
            .map(|flood| pour(&scene, flood))
            .collect::<Vec<_>>()
    });
}

/// What is refused without being seen by anybody is refused by its name.
#[test]
fn streams_beyond_the_limit_are_counted_as_in_envoy() {
    let _ = as_in_envoy(
        "streams_beyond_the_limit_are_counted_as_in_envoy",
        |program| {
            let scene = Scene::start(program, LISTENERS, |ports| {
                cluster("origin", ports.origin, "")
            });
            scene.origin.play(vec![Act::ReadHead, Act::Drain]);
            let mut client = TcpStream::connect(scene.address("few")).expect("a connection");
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            client.write_all(&http2::preface()).expect("it is read");
            let four = [1, 3, 5, 7].map(|stream| get(stream, "/x", "")).concat();
            assert!(is_answered(&mut client, &four));
            let refused = "http2.stream_refused_errors";
            let admin = scene.process.admin();
            let stats = observation::await_still_within(admin, PATIENCE, |stats| {
                stats.get(refused) == Some(&2)
            });
            [refused, "http2.tx_reset", "http.few.downstream_rq_total"].map(|name| stats[name])
        },
    );
}
