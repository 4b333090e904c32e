//! Clients that ask and take it back: after how many streams that are reset too
//! soon their connection is closed, and what is counted and sent then. And what comes
//! late on streams that were answered before their end.

use crate::{LISTENERS, PATIENCE};
use ringway_tests::admin::Stats;
use ringway_tests::bootstrap::cluster;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{self, END_STREAM, data, frame, get, kind, request, reset};
use ringway_tests::observation::Scene;
use ringway_tests::origin::Act;
use ringway_tests::patience;
use ringway_tests::process::Program;
use ringway_tests::programs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// A client that knows whether its connection is still there.
struct Client {
    socket: TcpStream,
    /// What is no complete frame yet.
    received: Vec<u8>,
    /// The proxy has said that it ends the connection.
    had_goaway: bool,
    stream: u32,
}

impl Client {
    fn new(scene: &Scene) -> Self {
        let mut socket = TcpStream::connect(scene.address("plain")).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(&http2::preface()).expect("it is read");
        Self {
            socket,
            received: Vec::new(),
            had_goaway: false,
            stream: 1,
        }
    }

    /// Sends these frames and says whether a PING behind them is answered.
    fn is_answered(&mut self, frames: &[u8]) -> bool {
        let ping = frame(kind::PING, 0, 0, b"12345678");
        if self.socket.write_all(&[frames, &ping].concat()).is_err() {
            return false;
        }
        self.read_until(|frame| frame.kind == kind::PING)
    }

    /// Reads until there is such a frame; false at the end of the connection.
    fn read_until(&mut self, is_it: impl Fn(&http2::Received) -> bool) -> bool {
        let mut part = [0; 4096];
        loop {
            match patience::read(&mut self.socket, &mut part) {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.received.extend_from_slice(&part[..count]),
            }
            let frames = http2::frames(&self.received);
            let read: usize = frames.iter().map(|frame| 9 + frame.payload.len()).sum();
            self.received.drain(..read);
            self.had_goaway |= frames.iter().any(|frame| frame.kind == kind::GOAWAY);
            if frames.iter().any(&is_it) {
                return true;
            }
        }
    }

    fn next(&mut self) -> u32 {
        self.stream += 2;
        self.stream - 2
    }

    /// Asks for what is answered, and waits for it.
    fn ask(&mut self) -> bool {
        let stream = self.next();
        let ends =
            |frame: &http2::Received| frame.stream == stream && frame.flags & END_STREAM != 0;
        self.socket.write_all(&get(stream, "/good", "")).is_ok() && self.read_until(ends)
    }

    /// Asks for what has an answer without an end, and takes it back.
    fn take_back_answered(&mut self) -> bool {
        let stream = self.next();
        let begins =
            |frame: &http2::Received| frame.stream == stream && frame.kind == kind::HEADERS;
        let is_begun =
            self.socket.write_all(&get(stream, "/x", "")).is_ok() && self.read_until(begins);
        is_begun && self.is_answered(&reset(stream, 8)) && self.is_answered(&[])
    }

    /// Asks for what is not answered, and takes it back after this time.
    fn take_back(&mut self, after: Duration) -> bool {
        let stream = self.next();
        if !self.is_answered(&get(stream, "/x", "")) {
            return false;
        }
        thread::sleep(after);
        // The second one comes when what the reset leads to is done.
        self.is_answered(&reset(stream, 8)) && self.is_answered(&[])
    }
}

/// Streams may be taken back once their response has begun.
#[test]
fn answered_streams_may_be_reset() {
    let _ = as_in_envoy("answered_streams_may_be_reset", |program| {
        let scene = scene(program, &format!("{TOTAL}: 2"));
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_vec();
        (scene.origin).play(vec![Act::ReadHead, Act::Send(head), Act::Drain]);
        let mut client = Client::new(&scene);
        let borne = (0..20).take_while(|_| client.take_back_answered());
        format!("{} are borne", borne.count())
    });
}

/// So many resets, each after `age`, are borne behind so many good requests.
fn borne(scene: &Scene, good: usize, age: Duration, most: usize) -> String {
    let name = "http.plain.downstream_rq_too_many_premature_resets";
    let stat = |stats: &Stats| stats.get(name).copied().unwrap_or_default();
    let before = stat(&scene.process.admin().stats());
    let mut client = Client::new(scene);
    for _ in 0..good {
        assert!(client.ask(), "a good request has ended the connection");
    }
    let borne = (0..most).take_while(|_| client.take_back(age)).count();
    let admin = scene.process.admin();
    let expected = before + u64::from(borne < most);
    let (stats, _) = admin.await_stats(PATIENCE, |stats| stat(stats) >= expected);
    format!(
        "{good} good, {borne} resets after {age:?}, GOAWAY {}, counted {}",
        client.had_goaway,
        stat(&stats) - before
    )
}

fn scene(program: &Program, keys: &str) -> Scene {
    let layers = format!(
        "layered_runtime: {{ layers: [ {{ name: file, static_layer: {{ {keys} }} }} ] }}\n"
    );
    let scene = Scene::start_with(
        program,
        LISTENERS,
        |ports| cluster("origin", ports.origin, "") + &cluster("good", ports.mirror, ""),
        &layers,
    );
    scene.origin.play(vec![Act::ReadHead, Act::Drain]);
    scene
}

const TOTAL: &str = "overload.premature_reset_total_stream_count";
const AGE: &str = "overload.premature_reset_min_stream_lifetime_seconds";

#[test]
fn as_many_resets_are_borne_as_in_envoy() {
    let _ = as_in_envoy("as_many_resets_are_borne_as_in_envoy", |program| {
        let now = Duration::ZERO;
        let mut seen = Vec::new();
        for total in [1, 2, 9, 10] {
            let scene = scene(program, &format!("{TOTAL}: {total}"));
            for good in [0, 3, 8, 20] {
                seen.push(format!("{total}: {}", borne(&scene, good, now, 40)));
            }
        }
        seen
    });
}

#[test]
fn as_many_resets_are_borne_by_default_as_in_envoy() {
    let _ = as_in_envoy(
        "as_many_resets_are_borne_by_default_as_in_envoy",
        |program| borne(&scene(program, ""), 0, Duration::ZERO, 400),
    );
}

#[test]
fn streams_are_young_as_long_as_in_envoy() {
    // The first reset that is one too soon ends the connection.
    let ages = [
        (format!("{TOTAL}: 2"), 1300),
        (format!("{TOTAL}: 2"), 2300),
        (format!("{TOTAL}: 2, {AGE}: 0"), 700),
        (format!("{TOTAL}: 2, {AGE}: 0"), 1300),
    ];
    let _ = as_in_envoy("streams_are_young_as_long_as_in_envoy", |program| {
        thread::scope(|scope| {
            let running = ages.each_ref().map(|(keys, age)| {
                let age = Duration::from_millis(*age);
                scope.spawn(move || borne(&scene(program, keys), 0, age, 1))
            });
            running.map(|one| one.join().expect("it was measured"))
        })
    });
}

/// What a client has sent before it heard that its stream is over is no mistake.
#[test]
fn parts_of_bodies_may_come_late() {
    let _ = as_in_envoy("parts_of_bodies_may_come_late", |program| {
        let scene = scene(program, "");
        let mut client = Client::new(&scene);
        let mut answered = 0;
        for _ in 0..60 {
            let streams: Vec<u32> = (0..30).map(|_| client.next()).collect();
            let all = |of: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
                streams.iter().flat_map(|stream| of(*stream)).collect()
            };
            let asked = all(&|stream| request(stream, "POST", "/direct", "", false));
            // The second one comes when all were answered.
            let is_answered = client.is_answered(&asked) && client.is_answered(&[]);
            let late = all(&|stream| data(stream, b"late", false));
            answered += usize::from(is_answered && client.is_answered(&late));
        }
        format!(
            "{answered}, another one {}, GOAWAY {}",
            client.ask(),
            client.had_goaway
        )
    });
}

/// All of them in one go, as an attack sends them: it is the rule about resets
/// that ends the connection.
#[test]
fn a_burst_of_resets_is_counted_as_what_it_is() {
    for driver in programs::drivers() {
        let scene = scene(&Program::Ringway(driver), "");
        let mut client = Client::new(&scene);
        let mut burst = Vec::new();
        for _ in 0..400 {
            let stream = client.next();
            burst.extend(get(stream, "/x", ""));
            burst.extend(reset(stream, 8));
        }
        let mut ended = !client.is_answered(&burst);
        ended = ended || !client.is_answered(&[]);
        assert!(ended, "{}", driver.name());
        let name = "http.plain.downstream_rq_too_many_premature_resets";
        let admin = scene.process.admin();
        let (stats, counted) = admin.await_stats(PATIENCE, |stats| stats.get(name) == Some(&1));
        assert!(counted, "{}: {stats:?}", driver.name());
        assert_eq!(stats.get("http2.inbound_empty_frames_flood"), None);
    }
}
