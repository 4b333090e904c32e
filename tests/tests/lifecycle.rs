//! Signals, logs, load, and the end of the process.

use ringway_tests::bootstrap::{self, EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::client::{self, Expectation, Step};
use ringway_tests::logs;
use ringway_tests::message::Message;
use ringway_tests::observation::Scene;
use ringway_tests::origin::{Act, Origin};
use ringway_tests::patience;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use ringway_tests::stop::StopOnDrop;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: EVERYTHING_TO_ORIGIN,
}];

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn scene(program: &Program) -> Scene {
    Scene::start(program, LISTENERS, |ports| {
        cluster("origin", ports.origin, "")
    })
}

fn on_every_driver(test: impl Fn(&Program)) {
    for driver in programs::drivers() {
        println!("on {}", driver.name());
        test(&Program::Ringway(driver));
    }
}

#[test]
fn sigterm_lets_a_request_in_flight_finish() {
    on_every_driver(|program| {
        let mut scene = scene(program);
        scene.origin.play(vec![
            Act::Read,
            Act::AwaitRelease,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec()),
        ]);
        let address = scene.address("main");
        // An idle connection must not hold the end up.
        let _idle = TcpStream::connect(address).expect("a connection");
        let request = thread::spawn(move || {
            client::converse(
                address,
                &[Step::Send(GET.to_vec())],
                &Expectation::default(),
            )
        });
        await_true("the request is at the origin", || {
            !scene.origin.seen().is_empty()
        });
        scene.process.signal(libc::SIGTERM);
        await_true("nobody listens any more", || {
            TcpStream::connect(address).is_err()
        });
        scene.origin.witness().release();
        let outcome = request.join().expect("an outcome");
        let answer = outcome
            .finals()
            .next()
            .expect("the answer of a drained request");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text(), "late");
        let status = scene.process.wait(Duration::from_secs(30));
        assert!(status.success(), "{status}");
        assert!(
            TcpStream::connect(address).is_err(),
            "nobody listens after the end"
        );
    });
}

#[test]
fn sigterm_and_quit_are_heard_during_a_graceful_drain() {
    // With the default --drain-time-s of 600 s, waiting for the drain's end
    // would be seen.
    on_every_driver(|program| {
        for end_by_signal in [true, false] {
            let mut scene = scene(program);
            let drained = scene.process.admin().post("/drain_listeners?graceful");
            assert_eq!(drained.status(), 200);
            if end_by_signal {
                scene.process.signal(libc::SIGTERM);
            } else {
                assert_eq!(scene.process.admin().post("/quitquitquit").status(), 200);
            }
            assert!(scene.process.wait(Duration::from_secs(30)).success());
        }
    });
}

#[test]
fn sighup_is_survived() {
    on_every_driver(|program| {
        let mut scene = scene(program);
        scene.process.signal(libc::SIGHUP);
        await_true("the warning", || scene.process.stderr().contains("SIGHUP"));
        assert!(scene.process.is_running());
        assert_eq!(scene.process.admin().get("/ready").status(), 200);
    });
}

#[test]
fn a_request_that_the_end_cuts_off_is_logged() {
    on_every_driver(|program| {
        let upstream = Origin::start();
        upstream.play(vec![Act::Read, Act::Wait(Duration::from_secs(60))]);
        let configuration =
            bootstrap::bootstrap(LISTENERS, &cluster("origin", upstream.address().port(), ""));
        let mut process = Process::start_with(program, &configuration, &["--drain-time-s", "1"]);
        let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
        stream.write_all(GET).expect("a request");
        await_true("the request is at the origin", || {
            !upstream.seen().is_empty()
        });
        process.signal(libc::SIGTERM);
        assert!(process.wait(Duration::from_secs(30)).success());
        let log = std::fs::read_to_string(process.folder().join("main.log")).unwrap_or_default();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("DC"), "{log}");
    });
}

#[test]
fn sigint_ends_an_idle_process_at_once() {
    on_every_driver(|program| {
        let mut scene = scene(program);
        scene.process.signal(libc::SIGINT);
        // The default --drain-time-s is ten minutes.
        assert!(scene.process.wait(Duration::from_secs(30)).success());
    });
}

#[test]
fn sigusr1_reopens_logs_and_no_line_is_lost() {
    const CONNECTIONS: usize = 4;
    // Before the new file is there and behind that.
    const REQUESTS: usize = 200;
    on_every_driver(|program| {
        let scene = scene(program);
        let address = scene.address("main");
        let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let count = || done.load(Ordering::Relaxed);
        let log = scene.process.folder().join("main.log");
        let rotated = scene.process.folder().join("main.log.1");
        thread::scope(|scope| {
            let _stopping = StopOnDrop(&stop);
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(address).expect("a connection");
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(exchange(&mut stream), Some(200));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            await_true("requests", || count() >= REQUESTS);
            std::fs::rename(&log, &rotated).expect("the log can be moved");
            scene.process.signal(libc::SIGUSR1);
            await_true("a new log file", || log.exists());
            let before = count();
            await_true("requests after it", || count() >= before + REQUESTS);
        });
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let lines = |path: &Path| logs::lines(path, 0).len();
        let expected = count();
        await_true("all lines", || lines(&log) + lines(&rotated) >= expected);
        thread::sleep(Duration::from_millis(100));
        let (old, new) = (lines(&rotated), lines(&log));
        for path in [&rotated, &log] {
            assert!(text(path).ends_with('\n'), "a line is whole");
        }
        assert_eq!(
            old + new,
            expected,
            "{old} lines before the rotation, {new} after"
        );
        assert!(
            old > 0 && new > 0,
            "{old} lines before the rotation, {new} after"
        );
    });
}

#[test]
fn client_origin_log_and_counters_agree_on_every_worker() {
    const WORKERS: &str = "3";
    const CONNECTIONS: usize = 12;
    const REQUESTS: usize = 50;
    const ALL: u64 = (CONNECTIONS * REQUESTS) as u64;
    on_every_driver(|program| {
        let upstream = Origin::start();
        upstream.play(vec![Act::Read, Act::Echo]);
        let configuration =
            bootstrap::bootstrap(LISTENERS, &cluster("origin", upstream.address().port(), ""));
        let process = Process::start_with(program, &configuration, &["--concurrency", WORKERS]);
        let address = process.listener("main");
        thread::scope(|scope| {
            for connection in 0..CONNECTIONS {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("a connection");
                    for number in 0..REQUESTS {
                        let line = format!("GET /{connection}/{number} HTTP/1.1");
                        let request = format!("{line}\r\nhost: a\r\n\r\n");
                        let answer = ask(&mut stream, request.as_bytes()).expect("an answer");
                        // Each client gets the answer to its own request.
                        assert_eq!(answer.text(), line);
                    }
                });
            }
        });
        assert_eq!(upstream.seen().len() as u64, ALL);
        let admin = process.admin();
        let (stats, _) = admin.await_stats(Duration::from_secs(30), |stats| {
            stats
                .get("http.main.downstream_cx_active")
                .copied()
                .unwrap_or(0)
                == 0
        });
        for name in [
            "http.main.downstream_rq_total",
            "http.main.downstream_rq_completed",
            "http.main.downstream_rq_2xx",
            "http.main.rq_total",
            "cluster.origin.upstream_rq_total",
            "cluster.origin.upstream_rq_200",
        ] {
            assert_eq!(stats.get(name), Some(&ALL), "{name}");
        }
        let workers: u64 = stats
            .iter()
            .filter(|(name, _)| name.contains(".worker_") && name.ends_with(".downstream_cx_total"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(workers, CONNECTIONS as u64, "connections, worker by worker");
        let log = process.folder().join("main.log");
        await_true("a line for each request", || {
            logs::lines(&log, 0).len() as u64 == ALL
        });
    });
}

/// One request on a connection that is kept; the answer's status.
fn exchange(stream: &mut TcpStream) -> Option<u16> {
    ask(stream, GET).map(|answer| answer.status())
}

/// One request on a connection that is kept.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<Message> {
    stream.write_all(request).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = patience::read(&mut *stream, &mut buffer).ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
        let kind = ringway_tests::message::Kind::Response { to_head: false };
        if let Some((message, _)) = ringway_tests::message::read(&bytes, kind, false)
            && message.complete
        {
            return Some(message);
        }
    }
}

#[test]
fn killing_the_origin_under_load_gives_only_503_and_heals() {
    const ORIGIN: &[Listener] = &[Listener {
        name: "origin",
        manager: "",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "origin" } } }
"#,
    }];
    on_every_driver(|program| {
        // An upstream that is a process of its own, so that it can be killed,
        // on a port of its own choice, to which it comes back.
        let configuration = bootstrap::bootstrap(ORIGIN, "");
        let first = Process::start(program, &configuration);
        let port = first.listener("origin").port();
        let again = configuration.replacen(
            "port_value: 0 } }\n    filter",
            &format!("port_value: {port} }} }}\n    filter"),
            1,
        );
        assert_ne!(again, configuration);
        let proxy = Process::start(
            program,
            &bootstrap::bootstrap(LISTENERS, &cluster("origin", port, "")),
        );
        let address = proxy.listener("main");
        let stop = AtomicBool::new(false);
        let [good, unavailable, other] = [const { AtomicUsize::new(0) }; 3];
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let mut second = None;
        thread::scope(|scope| {
            let _stopping = StopOnDrop(&stop);
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(address).expect("a connection");
                    while !stop.load(Ordering::Relaxed) {
                        let counter = match exchange(&mut stream) {
                            Some(200) => &good,
                            Some(503) => &unavailable,
                            _ => {
                                stream = TcpStream::connect(address).expect("a connection");
                                &other
                            }
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            await_true("good answers", || count(&good) > 100);
            first.signal(libc::SIGKILL);
            await_true("unavailable answers", || count(&unavailable) > 100);
            let before = count(&good);
            second = Some(Process::start(program, &again));
            await_true("good answers again", || count(&good) > before + 100);
        });
        drop(second);
        assert_eq!(count(&other), 0, "neither 200 nor 503");
    });
}

fn await_true(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}
