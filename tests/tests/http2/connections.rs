//! Connections and streams under load, with slow clients, and at their end.

use crate::{LISTENERS, PATIENCE, ask, await_quiet, on_every_driver};
use ringway_tests::bootstrap::cluster;
use ringway_tests::client::{self, End, Expectation, Step};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{self, get, kind, window_update};
use ringway_tests::observation::Scene;
use ringway_tests::origin::Act;
use ringway_tests::patience;
use ringway_tests::programs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// More than anything that is sent here.
const WINDOW: u32 = 1 << 30;

/// A hundred streams on each of ten connections at once, some from the host and
/// some from the proxy, and nothing is left of them.
#[test]
fn many_streams_on_many_connections() {
    const CONNECTIONS: usize = 10;
    const STREAMS: u32 = 100;
    on_every_driver(|scene| {
        let address = scene.address("plain");
        let ask_all = || {
            let frames = (0..STREAMS).flat_map(|n| {
                let path = if n % 4 == 0 { "/x" } else { "/direct" };
                get(2 * n + 1, path, "")
            });
            ask(address, frames.collect(), STREAMS as usize)
        };
        let outcomes = thread::scope(|scope| {
            let running: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask_all)).collect();
            let ended = running
                .into_iter()
                .map(|one| one.join().expect("a client ended"));
            ended.collect::<Vec<_>>()
        });
        for outcome in outcomes {
            let good = |one: &&ringway_tests::message::Message| one.first_line == "HTTP/2 200";
            let count = outcome.messages.iter().filter(good).count();
            assert_eq!(count, STREAMS as usize, "{:?}", outcome.end);
        }
        await_quiet(scene);
    });
}

fn large_answer(bytes: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

/// What a host has sent before it broke off comes before the reset, however slowly
/// its client reads.
#[test]
fn what_came_before_an_early_end_is_sent() {
    const BYTES: usize = 2_000_000;
    let _ = as_in_envoy("what_came_before_an_early_end_is_sent", |program| {
        let scene = Scene::start(program, LISTENERS, |ports| {
            cluster("origin", ports.origin, "")
        });
        let mut answer = large_answer(BYTES + 1);
        answer.pop();
        scene
            .origin
            .play(vec![Act::Read, Act::Send(answer), Act::Close]);
        let mut client = TcpStream::connect(scene.address("plain")).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let asked = [
            http2::preface_with(&[(4, WINDOW)]),
            window_update(0, WINDOW / 2),
            get(1, "/x", ""),
        ];
        client.write_all(&asked.concat()).expect("it is read");
        let mut received = Vec::new();
        let mut part = [0; 16_384];
        loop {
            let count = patience::read(&mut client, &mut part).expect("a response");
            assert!(count > 0, "the connection ends");
            received.extend_from_slice(&part[..count]);
            thread::sleep(Duration::from_micros(200));
            // A reset is short, and the last that comes.
            if count < part.len()
                && let Some(last) = http2::frames(&received).pop()
                && (last.kind, last.stream) == (kind::RST_STREAM, 1)
            {
                let frames = http2::frames(&received).into_iter();
                let data = frames.filter(|frame| frame.kind == kind::DATA);
                let bytes: usize = data.map(|frame| frame.payload.len()).sum();
                return (bytes, http2::reason(&last.payload));
            }
        }
    });
}

/// A client whose window stays shut costs its stream, and only that.
#[test]
fn a_client_that_takes_nothing_loses_its_stream() {
    on_every_driver(|scene| {
        scene
            .origin
            .play(vec![Act::Read, Act::Send(large_answer(100_000))]);
        let steps = [
            Step::Send(http2::preface_with(&[(4, 1000)])),
            Step::Send(get(1, "/x", "")),
            Step::Await(1),
            Step::Send(get(3, "/direct", "")),
        ];
        let expected = Expectation {
            answers: 2,
            http2: true,
            patience: PATIENCE,
            ..Expectation::default()
        };
        let seen = client::converse(scene.address("flush"), &steps, &expected);
        let [stuck, other] = &seen.messages[..] else {
            panic!("{seen:?}");
        };
        assert_eq!((stuck.status(), stuck.body.len()), (200, 1000));
        let reset = ("(reset)".to_owned(), "INTERNAL_ERROR".to_owned());
        assert_eq!(stuck.trailers, [reset]);
        assert_eq!(other.text(), "direct");
        assert_eq!(scene.process.admin().stat("http2.tx_flush_timeout"), 1);
        await_quiet(scene);
    });
}

/// A window that is opened drop by drop gets the whole body.
#[test]
fn a_window_that_opens_slowly_gets_everything() {
    const BYTES: usize = 200_000;
    on_every_driver(|scene| {
        scene
            .origin
            .play(vec![Act::Read, Act::Send(large_answer(BYTES))]);
        let mut steps = vec![
            Step::Send(http2::preface_with(&[(4, 1)])),
            Step::Send([window_update(0, 1 << 20), get(1, "/x", "")].concat()),
        ];
        for by in [1, 10, 100, 1000, 10_000, 100_000, 100_000] {
            steps.push(Step::Wait(Duration::from_millis(5)));
            steps.push(Step::Send(window_update(1, by)));
        }
        let expected = Expectation {
            http2: true,
            patience: PATIENCE,
            ..Expectation::default()
        };
        let seen = client::converse(scene.address("plain"), &steps, &expected);
        assert_eq!(seen.messages[0].body.len(), BYTES);
        await_quiet(scene);
    });
}

/// What ends a connection is announced, and it is closed when nothing is left.
#[test]
fn idle_and_old_connections_are_drained() {
    on_every_driver(|scene| {
        for (listener, stat) in [
            ("idle", "http.idle.downstream_cx_idle_timeout"),
            ("aged", "http.aged.downstream_cx_max_duration_reached"),
        ] {
            let seen = ask(scene.address(listener), get(1, "/direct", ""), 0);
            assert_eq!(seen.end, End::Closed, "{listener}: {seen:?}");
            assert_eq!(seen.messages[0].text(), "direct");
            let said = String::from_utf8_lossy(&seen.rest).into_owned();
            assert!(said.starts_with("GOAWAY NO_ERROR"), "{listener}: {said}");
            assert_eq!(scene.process.admin().stat(stat), 1, "{listener}");
        }
        await_quiet(scene);
    });
}

/// A client that answers pings keeps its connection, another one loses it.
#[test]
fn pings_find_out_who_is_gone() {
    on_every_driver(|scene| {
        let address = scene.address("pinged");
        let expected = Expectation {
            http2: true,
            watch: Some(Duration::from_secs(4)),
            ..Expectation::default()
        };
        let steps = [
            Step::Send(http2::preface()),
            Step::Send(get(1, "/direct", "")),
        ];
        let seen = client::converse(address, &steps, &expected);
        assert_eq!(seen.end, End::Open, "{seen:?}");
        let timeouts = || scene.process.admin().stat("http2.keepalive_timeout");
        assert_eq!(timeouts(), 0);

        let mut silent = TcpStream::connect(address).expect("a connection");
        silent.write_all(&http2::preface()).expect("it is taken");
        silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut received = Vec::new();
        silent
            .read_to_end(&mut received)
            .expect("the connection is closed");
        let pings = http2::frames(&received);
        assert!(
            pings.iter().any(|frame| frame.kind == kind::PING),
            "{pings:?}"
        );
        assert_eq!(timeouts(), 1);
        await_quiet(scene);
    });
}

/// A proxy that ends says so; what is under way is answered first.
#[test]
fn a_proxy_that_ends_answers_what_is_under_way() {
    on_every_driver(|scene| {
        scene.origin.play(vec![
            Act::Read,
            Act::AwaitRelease,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()),
        ]);
        let address = scene.address("plain");
        let seen = thread::scope(|scope| {
            let client = scope.spawn(|| ask(address, get(1, "/x", ""), 0));
            let (_, asked) = scene.process.admin().await_stats(PATIENCE, |stats| {
                stats.get("http2.streams_active") == Some(&1)
            });
            assert!(asked);
            scene.process.admin().post("/drain_listeners?graceful");
            scene.origin.witness().release();
            client.join().expect("a client ended")
        });
        assert_eq!(seen.messages[0].text(), "late", "{seen:?}");
        assert!(seen.rest.starts_with(b"GOAWAY NO_ERROR"), "{seen:?}");
        assert_eq!(seen.end, End::Closed);
    });
}

/// Clients that others have written.
#[test]
fn curl_and_nghttp_are_served() {
    let test = "curl_and_nghttp_are_served";
    let clients = [
        ("curl", &["-s", "--http2-prior-knowledge"][..]),
        ("curl", &["-s", "--http2-prior-knowledge", "-d", "body"]),
        ("nghttp", &[]),
    ];
    on_every_driver(|scene| {
        for (program, arguments) in clients {
            let Some(program) = programs::optional(test, program) else {
                continue;
            };
            // Some curls take the reset behind an early answer, which tells
            // them not to send the rest, for an error: Envoy's, too.
            let sends = arguments.contains(&"-d");
            let paths = if sends { &["x"][..] } else { &["direct", "x"] };
            for path in paths.iter().copied() {
                scene.origin.play(ringway_tests::origin::answer_ok());
                let url = format!("http://{}/{path}", scene.address("plain"));
                let output = Command::new(&program).args(arguments).arg(url).output();
                let output = output.expect("the client can be run");
                assert!(output.status.success(), "{output:?}");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(!text.is_empty(), "{program:?} {path}");
                if path == "direct" {
                    assert_eq!(text, "direct");
                }
            }
        }
        await_quiet(scene);
    });
}

/// What load generators do: many requests on few connections, all answered.
#[test]
fn h2load_gets_all_its_answers() {
    let Some(program) = programs::optional("h2load_gets_all_its_answers", "h2load") else {
        return;
    };
    on_every_driver(|scene| {
        let url = format!("http://{}/direct", scene.address("plain"));
        let output = Command::new(&program)
            .args(["-n", "5000", "-c", "10", "-m", "100", &url])
            .output()
            .expect("h2load can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("5000 succeeded, 0 failed, 0 errored"),
            "{text}"
        );
        await_quiet(scene);
    });
}
