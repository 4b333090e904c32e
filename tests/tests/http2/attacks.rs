//! Frames that break the rules, and frames that are allowed and too many.

use crate::{PATIENCE, answers, ask, await_quiet, on_every_driver};
use ringway_tests::client::{self, Step};
use ringway_tests::http2::{self, END_HEADERS, END_STREAM, data, frame, get, kind, request, reset};
use ringway_tests::observation::Scene;
use ringway_tests::origin::Act;
use ringway_tests::patience;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Memory that an attack may cost the proxy beyond what it had, in KiB: the
/// windows of one connection allow no more, whatever is sent.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

fn post(stream: u32) -> Vec<u8> {
    request(stream, "POST", "/x", "", false)
}

fn four(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Each is sent on a connection of its own and ends it with this GOAWAY, or its
/// stream with this reset.
fn wrong_frames() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    const BROKEN: &str = "GOAWAY PROTOCOL_ERROR";
    const RESET: &str = "RST_STREAM PROTOCOL_ERROR";
    let lines = ":method: GET\n:scheme: http\n:path: /direct\n:authority: a\n";
    let fields = http2::block(lines);
    let with = |more: &[u8]| {
        let block = [&fields[..], more].concat();
        frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &block)
    };
    let field = |name: &[u8], value: &[u8]| {
        let mut block = Vec::new();
        ringway_tests::hpack::encode(name, value, &mut block);
        block
    };
    let bare = |fields: &[(&[u8], &[u8])]| {
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| field(name, value))
            .collect();
        frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &block)
    };
    let said = |more: &str| get(1, "/direct", more);
    let settings = |id: u16, value: u32| {
        frame(
            kind::SETTINGS,
            0,
            0,
            &[&id.to_be_bytes()[..], &four(value)].concat(),
        )
    };
    let all = |frames: &[Vec<u8>]| frames.concat();
    vec![
        ("56 index 0", frame(kind::HEADERS, 5, 1, &[0x80]), BROKEN),
        (
            "56 index out of range",
            frame(kind::HEADERS, 5, 1, &[0xff, 0xff, 0x7f]),
            BROKEN,
        ),
        (
            "56 table too large",
            frame(kind::HEADERS, 5, 1, &[0x3f, 0xff, 0xff, 0x7f]),
            BROKEN,
        ),
        (
            "56 padding of a word",
            with(&[0, 1, b'x', 0x82, 0xff, 0xff]),
            BROKEN,
        ),
        (
            "56 integer overflow",
            with(&[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            BROKEN,
        ),
        ("57 no name", with(&[0, 0, 1, b'x']), BROKEN),
        ("58 upper case", said("X: 1"), BROKEN),
        ("58 NUL", said("x: a\0b"), BROKEN),
        ("58 space in a name", with(&field(b"x y", b"a")), BROKEN),
        ("58 CR", said("x: a\rb"), BROKEN),
        ("59 unknown pseudo header", said(":x: 1"), BROKEN),
        ("59 second path", said(":path: /x"), RESET),
        ("59 status", said(":status: 200"), RESET),
        (
            "59 pseudo header behind",
            with(&field(b":path", b"/")),
            RESET,
        ),
        (
            "59 no path",
            bare(&[(b":method", b"GET"), (b":scheme", b"http")]),
            RESET,
        ),
        ("59 empty path", request(1, "GET", "", "", true), RESET),
        (
            "59 space in the method",
            request(1, "G T", "/direct", "", true),
            BROKEN,
        ),
        ("60 connection", said("connection: close"), RESET),
        ("60 keep-alive", said("keep-alive: 1"), RESET),
        (
            "60 proxy-connection",
            said("proxy-connection: close"),
            RESET,
        ),
        (
            "60 transfer-encoding",
            said("transfer-encoding: chunked"),
            RESET,
        ),
        ("60 upgrade", said("upgrade: h2c"), RESET),
        ("60 te", said("te: gzip"), RESET),
        ("61 length without a body", said("content-length: 2"), RESET),
        (
            "61 less than said",
            all(&[
                request(1, "POST", "/x", "content-length: 2", false),
                data(1, b"x", true),
            ]),
            RESET,
        ),
        (
            "61 more than said",
            all(&[
                request(1, "POST", "/x", "content-length: 2", false),
                data(1, b"xyz", true),
            ]),
            RESET,
        ),
        ("63 even stream", get(2, "/direct", ""), BROKEN),
        (
            "63 decreasing stream",
            all(&[get(3, "/x", ""), get(1, "/x", "")]),
            BROKEN,
        ),
        (
            "63 stream used again",
            all(&[get(1, "/direct", ""), get(1, "/direct", "")]),
            BROKEN,
        ),
        ("63 data of an idle stream", data(1, b"x", false), BROKEN),
        (
            "63 data behind the end",
            all(&[get(1, "/direct", ""), data(1, b"x", true)]),
            BROKEN,
        ),
        ("63 reset of an idle stream", reset(1, 8), BROKEN),
        (
            "64 frame too large",
            data(1, &[0; 16_385], false),
            "GOAWAY FRAME_SIZE_ERROR",
        ),
        (
            "64 headers too large",
            frame(kind::HEADERS, 5, 1, &[0; 16_385]),
            "GOAWAY FRAME_SIZE_ERROR",
        ),
        (
            "64 padding",
            frame(kind::HEADERS, 13, 1, &[200, 0x82]),
            BROKEN,
        ),
        (
            "64 length of PRIORITY",
            frame(kind::PRIORITY, 0, 1, &[0]),
            BROKEN,
        ),
        (
            "64 length of RST_STREAM",
            all(&[get(1, "/x", ""), frame(kind::RST_STREAM, 0, 1, &[0])]),
            BROKEN,
        ),
        ("64 length of PING", frame(kind::PING, 0, 0, &[0]), BROKEN),
        (
            "64 length of SETTINGS",
            frame(kind::SETTINGS, 0, 0, &[0; 5]),
            BROKEN,
        ),
        ("65 window by 0", http2::window_update(0, 0), BROKEN),
        (
            "65 window too large",
            http2::window_update(0, (1 << 31) - 1),
            "GOAWAY FLOW_CONTROL_ERROR",
        ),
        (
            "65 window of an idle stream",
            http2::window_update(1, 1),
            BROKEN,
        ),
        ("66 ENABLE_PUSH", settings(2, 2), BROKEN),
        ("66 INITIAL_WINDOW_SIZE", settings(4, 1 << 31), BROKEN),
        ("66 MAX_FRAME_SIZE", settings(5, 1), BROKEN),
        (
            "66 SETTINGS of a stream",
            frame(kind::SETTINGS, 0, 1, &[]),
            BROKEN,
        ),
        (
            "66 ACK with a payload",
            frame(kind::SETTINGS, 1, 0, &[0; 6]),
            BROKEN,
        ),
        (
            "67 data within headers",
            all(&[
                frame(kind::HEADERS, END_STREAM, 1, &fields),
                data(1, b"x", false),
            ]),
            BROKEN,
        ),
        (
            "67 other headers within headers",
            all(&[
                frame(kind::HEADERS, END_STREAM, 1, &fields),
                frame(kind::CONTINUATION, END_HEADERS, 3, &[]),
            ]),
            BROKEN,
        ),
        (
            "67 CONTINUATION of nothing",
            frame(kind::CONTINUATION, END_HEADERS, 1, &fields),
            BROKEN,
        ),
        (
            "67 PUSH_PROMISE",
            frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            BROKEN,
        ),
        ("69 second line of the preface", Vec::new(), ""),
    ]
}

#[test]
fn frames_that_break_the_rules_end_their_stream_or_connection() {
    on_every_driver(|scene| {
        let address = scene.address("plain");
        for (name, frames, expected) in wrong_frames() {
            if expected.is_empty() {
                // Not even SETTINGS follow it.
                let mut client = TcpStream::connect(address).expect("a connection");
                client
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
                    .expect("it is read");
                client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                assert!(client.read_to_end(&mut Vec::new()).is_ok(), "{name}");
                continue;
            }
            let answers = usize::from(expected.starts_with("RST"));
            let seen = ask(address, frames, answers);
            let rest = String::from_utf8_lossy(&seen.rest).into_owned();
            let mut told = seen.messages.iter().map(|one| one.first_line.as_str());
            let is_told = match answers {
                0 => rest.trim_end().ends_with(expected),
                _ => told.any(|line| line == expected),
            };
            assert!(is_told, "{name}: {seen:?}");
        }
        is_served(scene);
        await_quiet(scene);
    });
}

/// What is sent again and again, for the n-th time.
type Unit = fn(u32) -> Vec<u8>;

struct Flood {
    name: &'static str,
    before: Vec<u8>,
    unit: Unit,
    count: u32,
    /// The connection is closed for it.
    ends: bool,
}

fn nth(n: u32) -> u32 {
    2 * n + 1
}

fn floods() -> Vec<Flood> {
    let flood = |name, before: Vec<u8>, unit: Unit, ends| Flood {
        name,
        before,
        unit,
        count: 20_000,
        ends,
    };
    let open_headers = || {
        let lines = ":method: GET\n:scheme: http\n:path: /direct\n:authority: a\n";
        frame(kind::HEADERS, END_STREAM, 1, &http2::block(lines))
    };
    vec![
        flood(
            "45 rapid reset",
            vec![],
            |n| [get(nth(n), "/x", ""), reset(nth(n), 8)].concat(),
            true,
        ),
        flood(
            "46 lengths that are wrong",
            vec![],
            |n| {
                [
                    request(nth(n), "POST", "/x", "content-length: 9", false),
                    data(nth(n), b"abc", true),
                ]
                .concat()
            },
            true,
        ),
        flood(
            "46 windows by 0",
            vec![],
            |n| [get(nth(n), "/x", ""), http2::window_update(nth(n), 0)].concat(),
            true,
        ),
        flood(
            "47 CONTINUATION",
            open_headers(),
            |_| {
                let mut block = Vec::new();
                ringway_tests::hpack::encode(b"x", &[b'y'; 100], &mut block);
                frame(kind::CONTINUATION, 0, 1, &block)
            },
            true,
        ),
        flood(
            "47 empty CONTINUATION",
            open_headers(),
            |_| frame(kind::CONTINUATION, 0, 1, &[]),
            true,
        ),
        flood(
            "48 PING",
            vec![],
            |_| frame(kind::PING, 0, 0, b"12345678"),
            false,
        ),
        flood(
            "48 SETTINGS",
            vec![],
            |_| frame(kind::SETTINGS, 0, 0, &[]),
            false,
        ),
        flood("49 empty DATA", post(1), |_| data(1, b"", false), true),
        flood(
            "50 PRIORITY",
            vec![],
            |n| frame(kind::PRIORITY, 0, nth(n), &[0, 0, 0, 0, 1]),
            true,
        ),
        flood(
            "51 WINDOW_UPDATE",
            vec![],
            |_| http2::window_update(0, 1),
            true,
        ),
        flood(
            "52 requests that are none",
            vec![],
            |n| get(nth(n), "/x", "te: gzip"),
            true,
        ),
        flood(
            "54 DATA of a byte",
            post(1),
            |_| data(1, b"x", false),
            false,
        ),
        flood(
            "55 crumbs",
            vec![],
            |n| get(nth(n % 50), "/direct", &"cookie: a=1\n".repeat(500)),
            true,
        ),
    ]
}

/// Whether or not it ends the connection, no flood costs much memory, none keeps
/// others from being served, and nothing is left of it.
#[test]
fn floods_end_or_do_no_harm() {
    on_every_driver(|scene| {
        let before = resident_kib(scene);
        for flood in floods() {
            scene.origin.play(vec![Act::ReadHead, Act::Drain]);
            let mut client = TcpStream::connect(scene.address("plain")).expect("a connection");
            let ended = pour(&mut client, &flood);
            assert_eq!(ended, flood.ends, "{}", flood.name);
            is_served(scene);
            drop(client);
            await_quiet(scene);
            let growth = resident_kib(scene).saturating_sub(before);
            assert!(growth < GROWTH_KIB_MAX, "{}: {growth} KiB", flood.name);
        }
    });
}

/// Sends a flood and reads what comes meanwhile; says whether the connection was
/// closed for it.
fn pour(client: &mut TcpStream, flood: &Flood) -> bool {
    let mut bytes = [http2::preface(), flood.before.clone()].concat();
    client.set_nonblocking(true).expect("a socket");
    let begun = Instant::now();
    let mut sent = 0;
    let mut read = vec![0; 65_536];
    loop {
        while bytes.len() < 65_536 && sent < flood.count {
            bytes.extend((flood.unit)(sent));
            sent += 1;
        }
        if bytes.is_empty() {
            break;
        }
        match client.write(&bytes) {
            Ok(count) => drop(bytes.drain(..count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
        match patience::read(&mut *client, &mut read) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
        assert!(begun.elapsed() < PATIENCE, "{} is not taken", flood.name);
    }
    // Whether what was sent last is what ends it.
    client.set_nonblocking(false).expect("a socket");
    client
        .set_read_timeout(Some(match flood.ends {
            true => PATIENCE,
            false => Duration::from_millis(300),
        }))
        .expect("a timeout");
    loop {
        match patience::read(&mut *client, &mut read) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                let kinds = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
                return !kinds.contains(&error.kind());
            }
        }
    }
}

/// More streams than were agreed on are refused, and the others are served.
#[test]
fn streams_beyond_the_limit_are_refused() {
    on_every_driver(|scene| {
        scene.origin.play(vec![
            Act::Read,
            Act::AwaitRelease,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ]);
        let four: Vec<u8> = (0..4).flat_map(|n| get(nth(n), "/x", "")).collect();
        let steps = [
            Step::Send(http2::preface()),
            Step::Send(four),
            // Those that are refused.
            Step::Await(2),
            Step::Release,
            Step::Release,
        ];
        let address = scene.address("few");
        let seen = client::converse_on(Some(&scene.stage()), address, &steps, &answers(4));
        let lines: Vec<_> = seen
            .messages
            .iter()
            .map(|one| one.first_line.as_str())
            .collect();
        assert_eq!(
            lines,
            [
                "HTTP/2 200",
                "HTTP/2 200",
                "RST_STREAM REFUSED_STREAM",
                "RST_STREAM REFUSED_STREAM",
            ]
        );
        await_quiet(scene);
    });
}

/// Another client gets its answer.
fn is_served(scene: &Scene) {
    let seen = ask(scene.address("plain"), get(1, "/direct", ""), 1);
    assert_eq!(seen.messages[0].text(), "direct", "{seen:?}");
}

fn resident_kib(scene: &Scene) -> u64 {
    let path = format!("/proc/{}/status", scene.process.pid());
    let status = std::fs::read_to_string(path).expect("a running process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("its memory");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("a number")
}
