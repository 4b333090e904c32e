//! Section B: upstreams that send what they must not, or stop in the middle.

use crate::on_every_driver;
use ringway_tests::admin::Stats;
use ringway_tests::client::{self, End, Expectation, Step};
use ringway_tests::message::Message;
use ringway_tests::observation::Scene;
use ringway_tests::origin::{self, Act};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An answer that must not reach the client as it is.
struct Bad {
    name: &'static str,
    answer: Vec<u8>,
    status: u16,
}

fn bad(name: &'static str, answer: impl AsRef<[u8]>, status: u16) -> Bad {
    Bad {
        name,
        answer: answer.as_ref().to_vec(),
        status,
    }
}

fn answers() -> Vec<Bad> {
    let many: String = (0..101)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    vec![
        bad(
            "39 length and chunked",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            502,
        ),
        bad(
            "39 two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
            502,
        ),
        bad(
            "39 bad length",
            "HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello",
            502,
        ),
        bad(
            "39 folded header",
            "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "39 chunked not last",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
            502,
        ),
        bad("40 nonsense", "nonsense\r\n\r\n", 502),
        bad("40 HTTP/0.9", "<html>hello</html>\r\n\r\n", 502),
        bad(
            "40 status 99",
            "HTTP/1.1 99 x\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "40 status of four digits",
            "HTTP/1.1 2000 x\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "40 status of letters",
            "HTTP/1.1 2xx x\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "40 large head",
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "v".repeat(81 * 1024)),
            502,
        ),
        bad(
            "40 many headers",
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            502,
        ),
        bad(
            "40 NUL in a value",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "40 space in a name",
            "HTTP/1.1 200 OK\r\na b: c\r\ncontent-length: 0\r\n\r\n",
            502,
        ),
        bad(
            "42 switching protocols unasked",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n",
            502,
        ),
    ]
}

#[test]
fn bad_answers_become_502() {
    on_every_driver(|scene| {
        answers()
            .iter()
            .flat_map(|bad| refused(scene, bad))
            .collect()
    });
}

/// How long something that must happen may take.
const EVENT_MAX: Duration = Duration::from_secs(30);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn ask(scene: &Scene) -> client::Outcome {
    client::converse(
        scene.address("strict"),
        &[Step::Send(GET.to_vec())],
        &Expectation::default(),
    )
}

/// What is wrong with how a bad answer is taken, whole and byte by byte.
fn refused(scene: &Scene, bad: &Bad) -> Vec<String> {
    let mut problems = Vec::new();
    for bytewise in [false, true] {
        if bytewise && bad.answer.len() > 4096 {
            continue;
        }
        let size = if bytewise { 1 } else { bad.answer.len() };
        let pieces = bad
            .answer
            .chunks(size)
            .map(|piece| Act::Send(piece.to_vec()));
        // A second connection must be made for the second request.
        let acts = [Act::OnlyFirstConnection, Act::Read]
            .into_iter()
            .chain(pieces);
        scene.origin.play(acts.collect());
        let counter = "cluster.origin.upstream_cx_protocol_error";
        let before = scene.process.admin().stat(counter);
        let first = ask(scene);
        let mut wrong = |what: String| {
            problems.push(format!("{} (byte by byte: {bytewise}): {what}", bad.name));
        };
        let status = first.finals().next().map_or(0, Message::status);
        if status != bad.status {
            wrong(format!("the client got {status}, not {}", bad.status));
        }
        let after = scene.process.admin().stat(counter);
        if after != before + 1 {
            wrong(format!("{counter} went from {before} to {after}"));
        }
        let second = ask(scene);
        if second.finals().next().map(Message::status) != Some(200) {
            wrong(format!("the next client got {:?}", second.messages));
        }
        if scene.origin.connections() != 2 {
            wrong(format!(
                "{} upstream connections, not 2",
                scene.origin.connections()
            ));
        }
    }
    problems
}

/// Input 41: bytes that nobody asked for on an idle connection are nobody's
/// answer.
#[test]
fn a_poisoned_connection_is_not_used_again() {
    on_every_driver(|scene| {
        scene.origin.play(vec![
            Act::OnlyFirstConnection,
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst".to_vec()),
            Act::AwaitRelease,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison".to_vec()),
        ]);
        let first = ask(scene);
        let is_none = |gauge: &str| {
            let name = format!("cluster.origin.{gauge}");
            let none = |stats: &Stats| stats.get(&name).copied().unwrap_or(0) == 0;
            scene.process.admin().await_stats(EVENT_MAX, none).1
        };
        let idle = is_none("upstream_rq_active");
        scene.origin.witness().release();
        let dropped = is_none("upstream_cx_active");
        let second = ask(scene);
        let texts: Vec<_> = first
            .finals()
            .chain(second.finals())
            .map(Message::text)
            .collect();
        let mut problems = Vec::new();
        if texts != ["first", "ok\n"] {
            problems.push(format!("answers: {texts:?}"));
        }
        if !idle {
            problems.push("the first request was never over".into());
        }
        if !dropped {
            problems.push("the poisoned connection was kept".into());
        }
        problems
    });
}

/// Input 41 without the pause: the poison comes with the answer.
#[test]
fn poison_behind_an_answer_is_not_the_next_answer() {
    on_every_driver(|scene| {
        scene.origin.play(vec![
            Act::OnlyFirstConnection,
            Act::Read,
            Act::Send(
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
                    .to_vec(),
            ),
        ]);
        let texts: Vec<_> = [ask(scene), ask(scene)]
            .iter()
            .flat_map(|outcome| outcome.finals().map(Message::text).collect::<Vec<_>>())
            .collect();
        if texts == ["first", "ok\n"] {
            return Vec::new();
        }
        vec![format!("answers: {texts:?}")]
    });
}

/// Input 42: interim answers are swallowed, but not for ever.
#[test]
fn endless_interim_answers_end() {
    on_every_driver(|scene| {
        let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
        scene.origin.play(vec![
            Act::OnlyFirstConnection,
            Act::Read,
            Act::Send(many),
            Act::Drain,
        ]);
        let outcome = ask(scene);
        let status = outcome.finals().next().map_or(0, Message::status);
        if status == 502 {
            return Vec::new();
        }
        vec![format!(
            "answered {status}, {:?}, after {} interim answers",
            outcome.end,
            outcome.messages.len()
        )]
    });
}

/// Input 43: an answer that is cut never looks whole.
#[test]
fn a_cut_answer_is_not_taken_for_a_whole_one() {
    let cuts: [(&str, &str, bool); 6] = [
        (
            "length, FIN",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
            false,
        ),
        (
            "length, reset",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
            true,
        ),
        (
            "chunked, FIN",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            false,
        ),
        (
            "chunked, reset",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            true,
        ),
        (
            "in a chunk, FIN",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
            false,
        ),
        (
            "bad chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            false,
        ),
    ];
    on_every_driver(|scene| {
        let mut problems = Vec::new();
        for (name, answer, reset) in cuts {
            let end = if reset { Act::Reset } else { Act::Close };
            scene.origin.play(vec![
                Act::Read,
                Act::Send(answer.as_bytes().to_vec()),
                Act::AwaitRelease,
                end,
            ]);
            let outcome = client::converse_on(
                Some(&scene.stage()),
                scene.address("strict"),
                &[Step::Send(GET.to_vec()), Step::AwaitBody(5), Step::Release],
                &Expectation {
                    answers: 0,
                    ..Expectation::default()
                },
            );
            let whole = outcome
                .messages
                .first()
                .is_some_and(|message| message.complete);
            if whole || outcome.end != End::Closed {
                problems.push(format!("{name}: whole: {whole}, {:?}", outcome.end));
            }
        }
        problems
    });
}

/// Two buffers of 1 MiB, and receive buffers that are touched for the first
/// time; far less than what is sent.
const GROWTH_MAX_KIB: u64 = 24 * 1024;

/// Input 44: an upstream that does not read makes the client wait; the proxy
/// does not buffer for it.
#[test]
fn an_upstream_that_does_not_read_stops_the_client() {
    const UPLOAD_BYTES: usize = 200 << 20;
    on_every_driver(|scene| {
        scene
            .origin
            .play(vec![Act::ReadHead, Act::Wait(Duration::from_secs(30))]);
        let before = memory_kib(scene);
        let mut stream = TcpStream::connect(scene.address("strict")).expect("a connection");
        stream
            .set_write_timeout(Some(Duration::from_millis(700)))
            .expect("a timeout");
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {UPLOAD_BYTES}\r\n\r\n");
        stream
            .write_all(head.as_bytes())
            .expect("the head is taken");
        let piece = vec![b'x'; 1 << 16];
        let mut sent = 0;
        while sent < UPLOAD_BYTES {
            match stream.write(&piece) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        let grown = memory_kib(scene).saturating_sub(before);
        let mut problems = Vec::new();
        if sent >= UPLOAD_BYTES / 2 {
            problems.push(format!("{sent} bytes were taken from the client"));
        }
        if grown > GROWTH_MAX_KIB {
            problems.push(format!("the proxy grew by {grown} KiB"));
        }
        let started = Instant::now();
        let other = client::converse(
            scene.address("direct"),
            &[Step::Send(GET.to_vec())],
            &Expectation::default(),
        );
        if other.finals().next().map(Message::status) != Some(200) {
            problems.push(format!(
                "another client got {:?} after {:?}",
                other.end,
                started.elapsed()
            ));
        }
        drop(stream);
        scene.origin.play(origin::answer_ok());
        problems
    });
}

/// The same the other way: a client that does not read stops the upstream.
#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    const ANSWER_BYTES: usize = 200 << 20;
    on_every_driver(|scene| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER_BYTES}\r\n\r\n");
        let mut acts = vec![Act::Read, Act::Send(head.into_bytes())];
        acts.push(Act::Send(vec![b'y'; ANSWER_BYTES]));
        scene.origin.play(acts);
        let before = memory_kib(scene);
        let mut stream = TcpStream::connect(scene.address("strict")).expect("a connection");
        stream.write_all(GET).expect("the request is taken");
        let mut first = [0; 100];
        stream.read_exact(&mut first).expect("the answer begins");
        std::thread::sleep(Duration::from_millis(500));
        let grown = memory_kib(scene).saturating_sub(before);
        drop(stream);
        scene.origin.play(origin::answer_ok());
        if grown > GROWTH_MAX_KIB {
            return vec![format!("the proxy grew by {grown} KiB")];
        }
        Vec::new()
    });
}

fn memory_kib(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.process.pid()))
        .expect("the proxy runs");
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse()
                .ok()
        })
        .expect("the kernel tells the resident size")
}
