//! Start, signals, logs, and the end of the process; and the guide's first
//! walk-through as a user would do it.

use ringway_tests::bootstrap::{self, EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::client::{self, Expectation, Step};
use ringway_tests::message::Message;
use ringway_tests::observation::Scene;
use ringway_tests::origin::{Act, Origin};
use ringway_tests::process::{Process, Program, end_with_parent};
use ringway_tests::programs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
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
            Act::Wait(Duration::from_millis(600)),
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
        let outcome = request.join().expect("an outcome");
        let answer = outcome
            .finals()
            .next()
            .expect("the answer of a drained request");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text(), "late");
        let status = scene.process.wait(Duration::from_secs(10));
        assert!(status.success(), "{status}");
        assert!(
            TcpStream::connect(address).is_err(),
            "nobody listens after the end"
        );
    });
}

#[test]
fn sigint_ends_an_idle_process_at_once() {
    on_every_driver(|program| {
        let mut scene = scene(program);
        let started = Instant::now();
        scene.process.signal(libc::SIGINT);
        assert!(scene.process.wait(Duration::from_secs(10)).success());
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn sigusr1_reopens_logs_and_no_line_is_lost() {
    const CONNECTIONS: usize = 4;
    const REQUESTS: usize = 100;
    on_every_driver(|program| {
        let scene = scene(program);
        let address = scene.address("main");
        let done = AtomicUsize::new(0);
        let log = scene.process.folder().join("main.log");
        let rotated = scene.process.folder().join("main.log.1");
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(address).expect("a connection");
                    for _ in 0..REQUESTS {
                        assert_eq!(exchange(&mut stream), Some(200));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            await_true("half of the requests", || {
                done.load(Ordering::Relaxed) >= CONNECTIONS * REQUESTS / 2
            });
            std::fs::rename(&log, &rotated).expect("the log can be moved");
            scene.process.signal(libc::SIGUSR1);
        });
        let lines = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            assert!(text.is_empty() || text.ends_with('\n'), "a line is whole");
            text.lines().count()
        };
        await_true("a new log file", || log.exists());
        let expected = CONNECTIONS * REQUESTS;
        await_true("all lines", || lines(&log) + lines(&rotated) >= expected);
        thread::sleep(Duration::from_millis(100));
        let (old, new) = (lines(&rotated), lines(&log));
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
        let (stats, _) = admin.await_stats(Duration::from_secs(5), |stats| {
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
            std::fs::read_to_string(&log)
                .unwrap_or_default()
                .lines()
                .count() as u64
                == ALL
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
        let count = stream.read(&mut buffer).ok()?;
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
            stop.store(true, Ordering::Relaxed);
        });
        drop(second);
        assert_eq!(count(&other), 0, "neither 200 nor 503");
    });
}

fn await_true(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

// What keeps it from starting.

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    end_with_parent(&mut command);
    command
        .args(arguments)
        .output()
        .expect("the program can be run")
}

fn text(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    file.write_all(text.as_bytes())
        .expect("the file can be written");
    file
}

#[test]
fn an_address_in_use_names_listener_and_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let configuration = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, ""))
        .replace("{DIR}", "/tmp")
        .replacen(
            "port_value: 0 } }\n    filter",
            &format!("port_value: {port} }} }}\n    filter"),
            1,
        )
        .replace("/tmp/main.log", "/dev/null");
    let line = configuration
        .lines()
        .position(|line| line.contains(&format!("port_value: {port}")))
        .expect("the address is in the file")
        + 1;
    let file = file_with(&configuration);
    let path = file.path().to_string_lossy().into_owned();
    let output = run(&programs::ringway(), &["-c", &path]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["main", &format!("127.0.0.1:{port}"), "in use"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let place = format!("{path}:{line}:");
    let near = format!("{path}:{}:", line - 1);
    assert!(
        text.contains(&place) || text.contains(&near),
        "no {place} in: {text}"
    );
}

#[test]
fn an_unwritable_log_names_the_path() {
    let configuration = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, ""))
        .replace("{DIR}", "/nonexistent-folder");
    let file = file_with(&configuration);
    let output = run(
        &programs::ringway(),
        &["-c", &file.path().to_string_lossy()],
    );
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/nonexistent-folder/main.log"), "{text}");
}

#[test]
fn validate_says_what_envoy_says() {
    let good = bootstrap::bootstrap(LISTENERS, &cluster("origin", 1, "")).replace("{DIR}", "/tmp");
    let good = good.replace("/tmp/main.log", "/dev/null");
    let table = [
        ("good", good.clone(), true),
        ("unknown field", good.replacen("node:", "nodes:", 1), false),
        (
            "no stat prefix",
            good.replacen("stat_prefix: main", "", 1),
            false,
        ),
        (
            "unknown type",
            good.replacen("v3.Router", "v3.Rooter", 1),
            false,
        ),
        ("syntax", good.replacen("node: {", "node: {{", 1), false),
        (
            "port too large",
            good.replacen("port_value: 1 ", "port_value: 70000 ", 1),
            false,
        ),
        ("empty", String::new(), false),
    ];
    let envoy = programs::envoy("validate_says_what_envoy_says");
    for (name, configuration, valid) in table {
        let file = file_with(&configuration);
        let path = file.path().to_string_lossy().into_owned();
        let code = Some(i32::from(!valid));
        for flags in [
            ["--mode", "validate", "-c", &path].as_slice(),
            &["--config-validate", "-c", &path],
        ] {
            let output = run(&programs::ringway(), flags);
            assert_eq!(
                output.status.code(),
                code,
                "{name} {flags:?}: {}",
                text(&output)
            );
            if valid {
                let line = format!("configuration '{path}' OK\n");
                assert_eq!(String::from_utf8_lossy(&output.stdout), line, "{name}");
            } else {
                assert!(text(&output).contains(&path), "{name}: {}", text(&output));
            }
        }
        if let Some(envoy) = &envoy {
            let output = run(envoy, &["--mode", "validate", "-c", &path]);
            assert_eq!(
                output.status.code(),
                code,
                "envoy, {name}: {}",
                text(&output)
            );
            if valid {
                let line = format!("configuration '{path}' OK\n");
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    line,
                    "envoy, {name}"
                );
            }
        }
    }
}

#[test]
fn help_and_version_are_there() {
    let help = run(&programs::ringway(), &["--help"]);
    assert!(help.status.success());
    let help = text(&help);
    for flag in [
        "--config-path",
        "--mode",
        "--concurrency",
        "--io-driver",
        "--drain-time-s",
        "--log-level",
    ] {
        assert!(help.contains(flag), "{flag} is not in:\n{help}");
    }
    assert!(
        help.lines().all(|line| line.chars().count() <= 100),
        "{help}"
    );
    let version = run(&programs::ringway(), &["--version"]);
    assert!(version.status.success());
    assert!(text(&version).contains("ringway"), "{}", text(&version));
    let unknown = run(&programs::ringway(), &["--confg-path", "x"]);
    assert_eq!(
        unknown.status.code(),
        Some(1),
        "as Envoy: {}",
        text(&unknown)
    );
}

// The guide's third chapter: a proxy on one port, an upstream on another, curl.

/// The file of section 3.2. The guide's text has lost two slashes to a copying
/// mistake; `prefix` and `log` are what stands there. The ports are free ones.
fn guide_file(prefix: &str, log: &str, upstream: u16) -> String {
    format!(
        r#"# Static bootstrap configuration for Envoy
static_resources:
  listeners:
  - name: listener_0 # A unique name for the listener
    address:
      socket_address:
        protocol: TCP
        address: 0.0.0.0 # Listen on all network interfaces
        port_value: 0
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          codec_type: AUTO
          route_config:
            name: local_route
            virtual_hosts:
            - name: backend
              domains: ["*"]
              routes:
              - match: {{ prefix: "{prefix}" }}
                route:
                  cluster: service1_cluster
                  timeout: 5s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: service1_cluster
    connect_timeout: 0.5s
    lb_policy: ROUND_ROBIN
    type: STATIC
    load_assignment:
      cluster_name: service1_cluster
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: 127.0.0.1
                port_value: {upstream}
admin:
  access_log_path: "{log}"
  address:
    socket_address:
      protocol: TCP
      address: 127.0.0.1
      port_value: 0
"#
    )
}

/// GET with curl where there is one, as the guide says, else by ourselves.
fn fetch(curl: Option<&Path>, port: u16, path: &str) -> String {
    if let Some(curl) = curl {
        let output = Command::new(curl)
            .args(["-s", "--max-time", "10", &format!("localhost:{port}{path}")])
            .stdin(Stdio::null())
            .output()
            .expect("curl can be run");
        assert!(output.status.success(), "curl: {}", text(&output));
        return text(&output);
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    let outcome = client::converse(
        address,
        &[Step::Send(request.into_bytes())],
        &Expectation::default(),
    );
    outcome
        .finals()
        .next()
        .map_or_else(String::new, Message::text)
}

#[test]
fn the_guides_walk_through_works_as_printed() {
    let curl = programs::optional("the guide's walk-through under curl", "curl");
    on_every_driver(|program| {
        let upstream = Origin::start();
        // The guide's upstream answers like Python's simple server: HTTP/1.0,
        // until the connection closes.
        upstream.play(vec![
            Act::Read,
            Act::Send(
                b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.12\r\n\
                  Content-type: text/html\r\n\r\nHello from Upstream Service!"
                    .to_vec(),
            ),
            Act::Close,
        ]);
        let file = guide_file("/", "/dev/stdout", upstream.address().port());
        let process = Process::start(program, &file);
        let port = process.listener("listener_0").port();
        let body = fetch(curl.as_deref(), port, "/test_path");
        assert_eq!(body, "Hello from Upstream Service!");
        assert_eq!(
            upstream.seen()[0].request.first_line,
            "GET /test_path HTTP/1.1"
        );
        let stats = fetch(curl.as_deref(), process.admin().address().port(), "/stats");
        let found: Vec<_> = stats
            .lines()
            .filter(|line| line.contains("ingress_http.downstream_rq_total"))
            .collect();
        assert_eq!(found, ["http.ingress_http.downstream_rq_total: 1"]);
        await_true("the admin server's log", || {
            process.stdout().contains("/stats")
        });
        assert!(
            process.stderr().contains("access_log_path"),
            "a deprecated field is warned of"
        );
    });
}

#[test]
fn the_guides_file_as_it_stands_gives_404() {
    on_every_driver(|program| {
        let upstream = Origin::start();
        let file = guide_file("/techblog/en/", "/dev/stdout", upstream.address().port());
        let process = Process::start(program, &file);
        let address = SocketAddr::from(([127, 0, 0, 1], process.listener("listener_0").port()));
        let outcome = client::converse(
            address,
            &[Step::Send(
                b"GET /test_path HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            )],
            &Expectation::default(),
        );
        assert_eq!(outcome.finals().next().map(Message::status), Some(404));
        assert!(upstream.seen().is_empty());
        assert_eq!(process.admin().stat("http.ingress_http.no_route"), 1);
    });
}
