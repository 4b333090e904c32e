//! Every file in `config/examples/` works as it says: it passes
//! `--mode validate` as it is, and started with free ports and hosts behind it
//! it answers.
//!
//! The examples listen on port 8080 and have their admin server on 9901 or
//! 9001; any other port is that of a host, and so is the path of a Unix
//! socket. That is what [`Stage`] replaces.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ringway_tests::client::{self, Expectation, Step};
use ringway_tests::http2::origin as http2;
use ringway_tests::logs;
use ringway_tests::message::Message;
use ringway_tests::origin::{Act, Origin};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs::{self, Driver, drivers};
use tempfile::TempDir;

const LISTENER_PORT: u16 = 8080;
const ADMIN_PORTS: [u16; 2] = [9901, 9001];

/// What is asked of an example, and what it must answer.
type Check = fn(&Stage);

/// The examples with what is asked of each.
const EXAMPLES: &[(&str, Check)] = &[
    ("access-logs.yaml", access_logs),
    ("basic-proxy.json", basic_proxy_json),
    ("basic-proxy.yaml", basic_proxy),
    ("clusters.yaml", clusters),
    ("direct-response.yaml", direct_response),
    ("forward-proxy.yaml", forward_proxy),
    ("grpc.yaml", grpc),
    ("guide-chapter-3.yaml", guide_chapter_3),
    ("tcp_proxy.yaml", tcp_proxy),
    ("tls.yaml", tls),
    ("traffic-management.yaml", traffic_management),
    ("virtual-hosts.yaml", virtual_hosts),
];

fn access_logs(stage: &Stage) {
    assert_eq!(stage.get("example.test", "/logged?x=1").status(), 200);
    let line = stage.await_text("the default line", || {
        stage
            .process
            .stdout()
            .lines()
            .find(|line| line.contains("/logged?x=1"))
            .map(str::to_owned)
    });
    assert!(
        line.starts_with('[') && line.contains("] \"GET /logged?x=1 HTTP/1.1\" 200 - 0 3 "),
        "{line}"
    );
    let line = stage.await_text("the line in JSON", || {
        let lines = logs::lines(&stage.path("ringway-access.json"), 0);
        lines.into_iter().next()
    });
    let value: serde_json::Value = serde_json::from_str(&line).expect("a line is one JSON value");
    assert_eq!(value["method"], "GET", "{line}");
    assert_eq!(value["path"], "/logged?x=1", "{line}");
    assert_eq!(value["status"], 200, "{line}");
    assert_eq!(
        value["upstream"],
        stage.origin(9000).address().to_string(),
        "{line}"
    );
    assert!(
        !stage.process.stderr().contains("/logged"),
        "only errors go to stderr"
    );
}

fn basic_proxy_json(stage: &Stage) {
    let answer = stage.get("example.test", "/a");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok\n"));
    assert_eq!(stage.origin(9000).seen().len(), 1);
}

fn basic_proxy(stage: &Stage) {
    for path in ["/a", "/b"] {
        assert_eq!(stage.get("example.test", path).status(), 200);
    }
    // Two hosts in turn.
    assert_eq!(stage.origin(9000).seen().len(), 1);
    assert_eq!(stage.origin(9002).seen().len(), 1);
    // Escaped slashes are answered with where to go instead.
    let answer = stage.get("example.test", "/a%2Fb");
    assert_eq!(
        (answer.status(), answer.header("location")),
        (307, Some("/a/b"))
    );
}

fn clusters(stage: &Stage) {
    let first = stage.get("example.test", "/cart");
    let cookie = first
        .header("set-cookie")
        .expect("a client without one gets one");
    assert!(
        cookie.starts_with("session=") && cookie.contains("Max-Age=3600"),
        "{cookie}"
    );
    for _ in 0..5 {
        assert_eq!(stage.get("example.test", "/").status(), 200);
    }
    // The first priority is healthy: the second is not asked.
    assert!(stage.origin(9003).seen().is_empty());
    let clusters = stage.process.admin().get("/clusters").text();
    assert_eq!(
        clusters.matches("health_flags::healthy").count(),
        5,
        "{clusters}"
    );
    let explained = stage.process.admin().get("/explain?path=/cart").text();
    assert!(explained.contains("MAGLEV"), "{explained}");
}

fn forward_proxy(stage: &Stage) {
    // A host that no port of the file leads to.
    let origin = Origin::start();
    let port = origin.address().port();
    assert_eq!(stage.get(&format!("localhost:{port}"), "/a").status(), 200);
    assert_eq!(stage.get(&format!("127.0.0.1:{port}"), "/b").status(), 200);
    let to = format!("x-to: 127.0.0.1:{port}\r\n");
    assert_eq!(stage.ask("example.test", "/direct", &to).status(), 200);
    assert_eq!(origin.seen().len(), 3);
    assert_eq!(stage.get("example.test", "/direct").status(), 503);
    assert_eq!(stage.get("example.test", "/spare").status(), 200);
    assert_eq!(stage.origin(9003).seen().len(), 1);
    let explained = stage.process.admin().get("/explain?path=/spare").text();
    assert!(explained.contains("priority 0 of second"), "{explained}");
}

fn grpc(stage: &Stage) {
    // HelloReply { message: "hi" } in its frame.
    let message = b"\0\0\0\0\x04\x0a\x02hi";
    let head = [(":status", "200"), ("content-type", "application/grpc")];
    let acts = vec![
        http2::head(&head, http2::End::More),
        http2::data(message, http2::End::More),
        http2::head(&[("grpc-status", "0")], http2::End::Last),
    ];
    stage.origin(9000).play(vec![Act::Http2(http2::Script {
        settings: Vec::new(),
        acts,
    })]);
    let answer = stage.get("example.test", "/hello/world");
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, r#"{"message":"hi"}"#)
    );
    let seen = &stage.origin(9000).seen()[0].request;
    assert_eq!(seen.body, b"\0\0\0\0\x07\x0a\x05world");
    let web = "content-type: application/grpc-web\r\n";
    let answer = stage.ask("example.test", "/greeter.Greeter/SayHello", web);
    let trailers = b"\x80\0\0\0\x0fgrpc-status:0\r\n";
    assert_eq!(answer.body, [&message[..], trailers].concat());
    let stats = stage.process.admin().get("/stats?filter=SayHello").text();
    let total = "cluster.greeter.grpc.greeter.Greeter.SayHello.total: 2";
    assert!(stats.contains(total), "{stats}");
}

fn direct_response(stage: &Stage) {
    let answer = stage.get("example.test", "/healthz");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok\n"));
    let answer = stage.get("example.test", "/old/page");
    assert_eq!(answer.status(), 308);
    assert_eq!(
        answer.header("location"),
        Some("http://example.test/new/page")
    );
    let answer = stage.get("example.test", "/secure");
    assert_eq!(answer.status(), 301);
    assert_eq!(
        answer.header("location"),
        Some("https://example.test/secure")
    );
    assert_eq!(stage.get("example.test", "/teapot/7").status(), 418);
    let answer = stage.get("example.test", "/teapot/x");
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (404, "nothing here\n")
    );
}

fn guide_chapter_3(stage: &Stage) {
    let answer = stage.get("localhost", "/test_path");
    assert_eq!(
        (answer.status(), answer.header("server")),
        (200, Some("envoy"))
    );
    let seen = stage.origin(9000).seen();
    assert_eq!(seen[0].request.first_line, "GET /test_path HTTP/1.1");
    assert_eq!(
        stage
            .process
            .admin()
            .stat("http.ingress_http.downstream_rq_total"),
        1
    );
    // What asks the admin server is logged too.
    stage.await_text("the line of the admin server", || {
        let written = stage.process.stdout();
        let line = written.lines().find(|line| line.contains("GET /stats"));
        line.map(str::to_owned)
    });
}

fn tcp_proxy(stage: &Stage) {
    // HTTP is bytes like any others.
    for _ in 0..4 {
        assert_eq!(stage.get("example.test", "/a").status(), 200);
    }
    let seen = [9000, 9002].map(|port| stage.origin(port).seen().len());
    assert!(
        seen == [4, 0] || seen == [0, 4],
        "one address, one host: {seen:?}"
    );
    // The hosts' side of the connections ends, too.
    for port in [9000, 9002] {
        stage.origin(port).play(Vec::new());
    }
    let line = stage.await_text("a line of the log", || {
        let text = stage.process.stdout();
        text.lines().nth(3).map(str::to_owned)
    });
    assert!(
        line.starts_with("127.0.0.1:") && line.contains(" -> 127.0.0.1:"),
        "{line}"
    );
    let explained = stage.process.admin().get("/explain").text();
    assert!(
        explained.contains("MAGLEV") && explained.contains("idle: 600s"),
        "{explained}"
    );
}

fn tls(stage: &Stage) {
    let answer = stage.get("www.example.com", "/a");
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.header("location"), Some("https://www.example.com/a"));
    let port = stage.listener().port();
    let curl = |host: &str, version: &str| {
        let output = Command::new("curl")
            .args(["-s", "-k", "--max-time", "20", version])
            .args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .arg(format!("https://{host}:{port}/a"))
            .output();
        text(&output.expect("curl can be run").stdout)
    };
    assert_eq!(curl("www.example.com", "--http2"), "200 2");
    assert_eq!(curl("api.example.com", "--http1.1"), "200 1.1");
    // No chain has this name.
    assert_eq!(curl("elsewhere.test", "--http2"), "000 0");
    assert_eq!(stage.origin(9000).seen().len(), 2);
    stage.await_text("the lines of the log", || {
        let written = stage.process.stdout();
        let known = ["HTTP/2 TLSv1.3 TLS_AES", "HTTP/1.1 TLSv1.3 TLS_AES"];
        let all = known.iter().all(|line| written.contains(line));
        all.then_some(written)
    });
}

fn traffic_management(stage: &Stage) {
    let answer = stage.get("example.test", "/");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("x-route"), Some("everything"));
    assert_eq!(answer.header("x-envoy-attempt-count"), Some("1"));
    stage.await_text("the mirrored request", || {
        let mirrored = stage.origin(9003).seen();
        let host = mirrored.first()?.request.header("host")?.to_owned();
        (host == "example.test-shadow").then_some(host)
    });
    // The page of its own, on demand.
    let answer = stage.ask("example.test", "/", "x-envoy-fault-abort-request: 503\r\n");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.text(), "<h1>503</h1><p>fault filter abort</p>\n");
    // All of the searches, once the runtime says so.
    let admin = stage.process.admin();
    assert_eq!(
        admin.post("/runtime_modify?canary.search=100").status(),
        200
    );
    stage.await_text("the runtime on the workers", || {
        let before = stage.origin(9002).seen().len();
        stage.get("example.test", "/search");
        (stage.origin(9002).seen().len() > before).then(String::new)
    });
    for _ in 0..10 {
        let answer = stage.get("example.test", "/search/more");
        assert_eq!(answer.header("x-route"), Some("search-canary"));
    }
    assert_eq!(admin.post("/runtime_modify?canary.search=0").status(), 200);
    let explained = admin.get("/explain?host=example.test&path=/search").text();
    assert!(explained.contains("route: search  ("), "{explained}");
    assert!(explained.contains("\"num_retries\":2"), "{explained}");
}

fn virtual_hosts(stage: &Stage) {
    let first_line = |port| stage.origin(port).seen()[0].request.first_line.clone();
    // The port of the authority does not count.
    assert_eq!(stage.get("api.example.com:8080", "/v1/users").status(), 200);
    assert_eq!(first_line(9000), "GET /users HTTP/1.1");
    assert_eq!(
        stage
            .ask("api.example.com", "/v1/users", "x-canary: yes\r\n")
            .status(),
        200
    );
    assert_eq!(first_line(9002), "GET /users HTTP/1.1");
    // Three of four go to the heavier host, the others through the Unix
    // socket; where the rotation starts is random, so one more or less may.
    let answers: Vec<_> = (0..16)
        .map(|_| stage.get("blog.example.com", "/").text())
        .collect();
    let through_socket = answers.iter().filter(|text| *text == UNIX_TEXT).count();
    assert!((3..=5).contains(&through_socket), "{answers:?}");
    assert_eq!(stage.origin(9003).seen().len(), 16 - through_socket);
    assert_eq!(stage.get("example.org", "/").status(), 200);
    let answer = stage.get("elsewhere.test", "/x");
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.header("location"), Some("http://www.example.com/x"));
}

#[test]
fn every_example_is_tested() {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .expect("there are examples")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter(|name| !name.ends_with(".md"))
        .collect();
    files.sort();
    let tested: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, tested);
    let page = std::fs::read_to_string(folder().join("README.md")).expect("the page about them");
    for name in files {
        assert!(
            page.contains(&format!("]({name})")),
            "README.md does not describe {name}"
        );
    }
}

#[test]
fn every_example_is_valid_as_it_is() {
    for (name, _) in EXAMPLES {
        let file = folder().join(name);
        let output = Command::new(programs::ringway())
            .args(["--mode", "validate", "-c"])
            .arg(&file)
            .output()
            .expect("ringway can be run");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}:\n{err}");
        assert_eq!(
            out,
            format!("configuration '{}' OK\n", file.display()),
            "{name}"
        );
        // The guide's walk-through is kept as it is printed, old fields too.
        let unexpected = err.lines().find(|line| !line.contains(" is deprecated"));
        assert_eq!(unexpected, None, "{name} should not give warnings");
    }
}

#[test]
fn every_example_answers_on_each_driver() {
    for driver in drivers() {
        for (name, check) in EXAMPLES {
            println!("{name} on {}", driver.name());
            check(&Stage::start(name, driver));
        }
    }
}

fn folder() -> PathBuf {
    programs::workspace().join("config/examples")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An example that runs, with the hosts that it names.
struct Stage {
    process: Process,
    origins: BTreeMap<u16, Origin>,
    folder: TempDir,
}

impl Stage {
    fn start(name: &str, driver: Driver) -> Stage {
        let file = std::fs::read_to_string(folder().join(name)).expect("the example can be read");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut origins = BTreeMap::new();
        let mut configuration = String::new();
        for line in file.replace("0.0.0.0", "127.0.0.1").lines() {
            configuration += &replace_port(line, &mut origins);
            configuration.push('\n');
        }
        // Sockets and logs go to a folder of this test.
        let configuration =
            configuration.replace("/tmp/", &format!("{}/", folder.path().display()));
        if let Some(path) = pipe_path(&configuration) {
            serve_unix(Path::new(path));
        }
        let process = Process::start(&Program::Ringway(driver), &configuration);
        Stage {
            process,
            origins,
            folder,
        }
    }

    /// The host that has this port in the file.
    fn origin(&self, port: u16) -> &Origin {
        self.origins
            .get(&port)
            .unwrap_or_else(|| panic!("no host with port {port}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn get(&self, host: &str, path: &str) -> Message {
        self.ask(host, path, "")
    }

    /// Where it listens.
    fn listener(&self) -> SocketAddr {
        let listeners = self.process.admin().get("/listeners").text();
        let address = listeners
            .lines()
            .find_map(|line| line.split_once("::")?.1.parse().ok());
        address.unwrap_or_else(|| panic!("no listener in {listeners:?}"))
    }

    /// One GET on a connection of its own.
    fn ask(&self, host: &str, path: &str, more: &str) -> Message {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n");
        let outcome = client::converse(
            self.listener(),
            &[Step::Send(request.into_bytes())],
            &Expectation::default(),
        );
        let answer = outcome.finals().next().cloned();
        answer.unwrap_or_else(|| panic!("GET {host}{path}: {outcome:?}"))
    }

    /// Waits for text that the process writes a little later.
    fn await_text(&self, what: &str, look: impl Fn() -> Option<String>) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "{what} did not come:\n{}",
                self.process.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Replaces the port in a line: a free one for a listener or the admin server,
/// that of a running host for any other.
fn replace_port(line: &str, origins: &mut BTreeMap<u16, Origin>) -> String {
    let Some((before, after)) = line.split_once("port_value") else {
        return line.to_owned();
    };
    let begin = after
        .find(|c: char| c.is_ascii_digit())
        .expect("a port is a number");
    let length = after[begin..]
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len() - begin);
    let port: u16 = after[begin..begin + length].parse().expect("a port");
    let new = if port == LISTENER_PORT || ADMIN_PORTS.contains(&port) {
        0
    } else {
        origins
            .entry(port)
            .or_insert_with(Origin::start)
            .address()
            .port()
    };
    format!(
        "{before}port_value{}{new}{}",
        &after[..begin],
        &after[begin + length..]
    )
}

/// The path of the Unix socket that a configuration names.
fn pipe_path(configuration: &str) -> Option<&str> {
    let (_, rest) = configuration.split_once("pipe: { path: ")?;
    rest.split([' ', '}']).next()
}

/// What the host behind the Unix socket answers.
const UNIX_TEXT: &str = "unix\n";

/// A host on a Unix socket that answers every request head; it lives as long
/// as the test.
fn serve_unix(path: &Path) {
    let listener = UnixListener::bind(path).expect("the socket's path is free");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut received = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    received.extend_from_slice(&buffer[..count]);
                    if received.ends_with(b"\r\n\r\n") {
                        received.clear();
                        let length = UNIX_TEXT.len();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{UNIX_TEXT}"
                        );
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}
