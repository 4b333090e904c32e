//! The server as clients see it: over a socket, with a process made up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::explain::{Fact, Question};
use crate::stats::Store;

/// A process with one listener and one cluster that remembers what it was told.
struct Fake {
    state: Mutex<ServerState>,
    actions: Mutex<Vec<Action>>,
}

impl ServerView for Fake {
    fn explain(&self, question: &Question) -> Result<Fact, String> {
        Ok(Fact::new("request").value(question.path.as_str()))
    }

    fn state(&self) -> ServerState {
        *self.state.lock().expect("not poisoned")
    }

    fn listeners(&self) -> Vec<ListenerStatus> {
        vec![
            ListenerStatus {
                name: "main".into(),
                local_address: Address::Socket("127.0.0.1:18099".parse().expect("an address")),
                additional_local_addresses: vec![Address::Socket(
                    "[::1]:18095".parse().expect("an address"),
                )],
            },
            ListenerStatus {
                name: "unix".into(),
                local_address: Address::Pipe("/run/x.sock".into()),
                additional_local_addresses: Vec::new(),
            },
        ]
    }

    fn clusters(&self) -> Vec<ClusterStatus> {
        vec![ClusterStatus {
            name: "svc".into(),
            observability_name: "alt".into(),
            hosts: vec![HostStatus {
                address: Address::Socket("127.0.0.1:18098".parse().expect("an address")),
                hostname: "one".into(),
                stats: HostStats {
                    cx_total: 2,
                    rq_total: 7,
                    rq_success: 6,
                    rq_error: 1,
                    cx_active: 1,
                    ..HostStats::default()
                },
                health: HealthFlags {
                    failed_active_hc: true,
                    failed_eds_health: true,
                    ..HealthFlags::default()
                },
                weight: 3,
                locality: Locality {
                    zone: "z".into(),
                    ..Locality::default()
                },
                canary: true,
                priority: 1,
                success_rate: None,
                local_origin_success_rate: None,
            }],
            ..ClusterStatus::default()
        }]
    }

    fn config_dump(&self, include_eds: bool) -> Value {
        json!({ "configs": [{
            "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
            "bootstrap": { "node": { "id": if include_eds { "eds" } else { "n" } } },
        }] })
    }

    fn server_info(&self) -> ServerInfo {
        ServerInfo {
            version: "0/1.40.0/Clean/RELEASE/none".into(),
            uptime_current_epoch: Duration::from_millis(5_900),
            uptime_all_epochs: Duration::from_secs(6),
            hot_restart_version: "11.104".into(),
            command_line_options: json!({ "concurrency": 2 }),
            node: json!({ "id": "n" }),
        }
    }

    fn connections(&self) -> u64 {
        3
    }

    fn loggers(&self) -> Vec<(String, LogLevel)> {
        vec![
            ("http".into(), LogLevel::Info),
            ("main".into(), LogLevel::Warning),
        ]
    }

    fn act(&self, action: Action) {
        self.actions.lock().expect("not poisoned").push(action);
    }
}

struct Running {
    address: SocketAddr,
    fake: Arc<Fake>,
    store: Store,
    log: Arc<Mutex<Vec<Access>>>,
    handle: Handle,
}

fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let fake = Arc::new(Fake {
        state: Mutex::new(ServerState::Live),
        actions: Mutex::new(Vec::new()),
    });
    let store = Store::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let sink: AccessSink = Box::new(move |access: &Access| {
        sink.lock().expect("not poisoned").push(access.clone());
    });
    let view: Arc<dyn ServerView> = fake.clone();
    let handle = spawn(listener, view, store.clone(), Some(sink)).expect("it starts");
    Running {
        address,
        fake,
        store,
        log,
        handle,
    }
}

/// An answer, taken apart.
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Running {
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("the time is not zero");
        stream.write_all(request).expect("it reads");
        let mut answer = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).expect("answers are text")
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nuser-agent: t\r\nconnection: close\r\n\r\n"
        );
        let raw = self.raw(request.as_bytes());
        let (head, body) = raw.split_once("\r\n\r\n").expect("an answer has a head");
        let (status, headers) = head.split_once("\r\n").expect("and a status line");
        let chunked = headers.contains("transfer-encoding: chunked");
        Answer {
            status: status[9..12].parse().expect("a status is a number"),
            headers: headers.to_owned(),
            body: if chunked {
                dechunked(body)
            } else {
                body.to_owned()
            },
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    fn actions(&self) -> Vec<Action> {
        self.fake.actions.lock().expect("not poisoned").clone()
    }
}

fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk has a size");
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

#[test]
fn answers_have_envoys_headers() {
    let server = start();
    for (path, content_type) in [
        ("/ready", "text/plain; charset=UTF-8"),
        ("/", "text/html; charset=UTF-8"),
        ("/server_info", "application/json"),
        ("/stats?format=json", "application/json"),
        ("/config_dump?resource=foo", "text/plain"),
    ] {
        let answer = server.get(path);
        for header in [
            &format!("content-type: {content_type}\r\n"),
            "cache-control: no-cache, max-age=0\r\n",
            "x-content-type-options: nosniff\r\n",
            "server: envoy\r\n",
            "transfer-encoding: chunked",
            "date: ",
        ] {
            assert!(
                answer.headers.contains(header),
                "{path}: {}",
                answer.headers
            );
        }
    }
    server.handle.stop();
}

/// Statuses and bodies that Envoy 1.40 gave.
#[test]
fn simple_answers_are_envoys() {
    let server = start();
    for (method, path, status, body) in [
        ("GET", "/ready", 200, "LIVE\n"),
        ("GET", "//ready", 200, "LIVE\n"),
        ("PUT", "/ready?x=y", 200, "LIVE\n"),
        ("HEAD", "/ready", 200, ""),
        (
            "GET",
            "/quitquitquit",
            405,
            "Method GET not allowed, POST required.",
        ),
        (
            "PUT",
            "/logging",
            405,
            "Method PUT not allowed, POST required.",
        ),
        ("GET", "/hot_restart_version", 200, "11.104"),
        ("GET", "/certs", 200, "{\n \"certificates\": []\n}\n"),
        ("GET", "/init_dump", 200, "{}\n"),
        (
            "GET",
            "/runtime",
            200,
            "{\n \"entries\": {},\n \"layers\": []\n}\n",
        ),
        (
            "POST",
            "/runtime_modify?a=b",
            503,
            "No admin layer specified",
        ),
        ("POST", "/cpuprofiler", 400, "?enable=<y|n>\n"),
        (
            "POST",
            "/cpuprofiler?enable=y",
            500,
            "failure to start the profiler",
        ),
        (
            "POST",
            "/heapprofiler",
            501,
            "The current build does not support heap profiler",
        ),
        ("GET", "/stats?filter=server.live", 200, "server.live: 1\n"),
        (
            "GET",
            "/stats?filter=server.total_c",
            200,
            "server.total_connections: 3\n",
        ),
        ("GET", "/stats?type=TextReadouts", 200, ""),
        ("GET", "/stats?type=counters", 400, "invalid &type= param"),
        (
            "GET",
            "/stats?format=foo",
            400,
            "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
        ),
        (
            "GET",
            "/stats?histogram_buckets=foo",
            400,
            "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n",
        ),
        (
            "GET",
            "/stats?hidden=foo",
            400,
            "usage: /stats?hidden=(include|only|exclude)\n\n",
        ),
        (
            "GET",
            "/stats/prometheus?histogram_buckets=detailed",
            400,
            "unsupported prometheus histogram bucket mode",
        ),
        ("GET", "/stats/prometheus?filter=nothing", 200, ""),
        (
            "GET",
            "/stats?format=json&filter=nothing",
            200,
            "{\"stats\":[]}",
        ),
        (
            "GET",
            "/stats?format=json&filter=server.state",
            200,
            "{\"stats\":[{\"name\":\"server.state\",\"value\":0}]}",
        ),
        ("GET", "/clusters?filter=nope", 200, ""),
        ("GET", "/clusters?filter=nope&format=json", 200, "{}\n"),
        ("GET", "/clusters?filter=[", 400, "Invalid re2 regex\n"),
        (
            "GET",
            "/listeners",
            200,
            "main::127.0.0.1:18099\nmain::[::1]:18095\nunix::/run/x.sock\n",
        ),
        (
            "GET",
            "/config_dump?resource=foo",
            404,
            "foo not found in config dump",
        ),
    ] {
        let answer = server.ask(method, path);
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {path}"
        );
    }
    assert!(server.actions().is_empty(), "nothing was changed");
    server.handle.stop();
}

#[test]
fn unknown_paths_list_the_known_ones() {
    let server = start();
    let help = server.get("/help");
    assert_eq!(help.status, 200);
    assert!(help.body.starts_with("admin commands are:\n  /: "));
    assert!(help.body.contains("\n  /quitquitquit (POST): "));
    assert!(help.body.contains("\n      usedonly: "));
    for (method, path) in [
        ("GET", "/foo"),
        ("POST", "/stats/"),
        ("GET", "/%zz"),
        ("DELETE", "/x"),
    ] {
        let answer = server.ask(method, path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.body, format!("invalid path. {}", help.body));
    }
    let index = server.get("/").body;
    assert!(index.contains("<a href='/stats'>") && index.contains("action='/reset_counters'"));
    server.handle.stop();
}

#[test]
fn ready_follows_the_state() {
    let server = start();
    for (state, status, body) in [
        (ServerState::PreInitializing, 503, "PRE_INITIALIZING\n"),
        (ServerState::Initializing, 503, "INITIALIZING\n"),
        (ServerState::Live, 200, "LIVE\n"),
        (ServerState::Draining, 503, "DRAINING\n"),
    ] {
        *server.fake.state.lock().expect("not poisoned") = state;
        let answer = server.get("/ready");
        assert_eq!((answer.status, &*answer.body), (status, body));
        let live = server.get("/stats?filter=server.live").body;
        assert_eq!(
            live,
            format!("server.live: {}\n", u8::from(state == ServerState::Live))
        );
    }
    server.handle.stop();
}

#[test]
fn posts_reach_the_process() {
    let server = start();
    let drain = |graceful, inbound_only, skip_exit| Action::DrainListeners {
        graceful,
        inbound_only,
        skip_exit,
    };
    for path in [
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/reopen_logs",
        "/drain_listeners",
        "/drain_listeners?graceful",
        "/drain_listeners?inboundonly&skip_exit",
        "/quitquitquit",
    ] {
        let answer = server.ask("POST", path);
        assert_eq!((answer.status, &*answer.body), (200, "OK\n"), "{path}");
    }
    assert_eq!(
        server.actions(),
        [
            Action::HealthcheckFail,
            Action::HealthcheckOk,
            Action::ReopenLogs,
            drain(false, false, false),
            drain(true, false, false),
            drain(false, true, true),
            Action::Quit,
        ]
    );
    server.handle.stop();
}

#[test]
fn logging_lists_and_changes() {
    let server = start();
    let listing = "active loggers:\n  http: info\n  main: warning\n\n";
    let answer = server.ask("POST", "/logging");
    assert_eq!((answer.status, &*answer.body), (200, listing));
    assert_eq!(
        server
            .ask("POST", "/logging?paths=http:off,main:debug")
            .status,
        200
    );
    let refused = server.ask("POST", "/logging?http=loud");
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .body
            .starts_with("error: unknown logger level\n\nusage: /logging?<name>")
    );
    assert!(
        refused.body.ends_with(&format!("critical off \n{listing}")),
        "{}",
        refused.body
    );
    let set = |logger: &str, level| Action::SetLogLevel {
        logger: Some(logger.to_owned()),
        level,
    };
    assert_eq!(
        server.actions(),
        [set("http", LogLevel::Off), set("main", LogLevel::Debug)]
    );
    server.handle.stop();
}

#[test]
fn counters_are_reset() {
    let server = start();
    server.store.add(server.store.counter("c"), 5);
    assert_eq!(server.get("/stats?filter=^c$").body, "c: 5\n");
    assert_eq!(server.ask("POST", "/reset_counters").body, "OK\n");
    assert_eq!(server.get("/stats?filter=^c$").body, "c: 0\n");
    assert_eq!(server.get("/stats?filter=^c$&usedonly").body, "c: 0\n");
    server.handle.stop();
}

#[test]
fn statistics_can_be_narrowed() {
    let server = start();
    let store = &server.store;
    let (_, _, gauge) = (
        store.counter("z.c"),
        store.counter("z.unused"),
        store.gauge("z.g"),
    );
    store.add(store.counter("z.c"), 1);
    store.set(gauge, 0);
    store.text_readout("z.text", "a \"b\"");
    for (query, body) in [
        (
            "filter=^z",
            "z.text: \"a \\\"b\\\"\"\nz.c: 1\nz.g: 0\nz.unused: 0\n",
        ),
        (
            "filter=^z&usedonly",
            "z.text: \"a \\\"b\\\"\"\nz.c: 1\nz.g: 0\n",
        ),
        ("filter=^z&type=Gauges", "z.g: 0\n"),
        ("filter=%5Ez.%28c%7Cg%29$&type=All", "z.c: 1\nz.g: 0\n"),
        (
            "filter=^[^z]&invert_filter&type=Counters",
            "z.c: 1\nz.unused: 0\n",
        ),
        ("filter=^z&hidden=only", ""),
    ] {
        assert_eq!(server.get(&format!("/stats?{query}")).body, body, "{query}");
    }
    let prometheus = server
        .get("/stats/prometheus?filter=^z&text_readouts&usedonly")
        .body;
    assert_eq!(
        prometheus,
        "# TYPE envoy_z_c counter\nenvoy_z_c{} 1\n\
         # TYPE envoy_z_g gauge\nenvoy_z_g{} 0\n\
         # TYPE envoy_z_text gauge\nenvoy_z_text{text_value=\"a \\\"b\\\"\"} 0\n"
    );
    let page = server.get("/stats?format=html&filter=^z.c").body;
    assert!(page.contains("<pre>\nz.c: 1\n</pre>"), "{page}");
    server.handle.stop();
}

#[test]
fn clusters_are_listed_with_their_hosts() {
    let server = start();
    let text = server.get("/clusters").body;
    let expected = "\
svc::observability_name::alt
svc::default_priority::max_connections::1024
svc::default_priority::max_pending_requests::1024
svc::default_priority::max_requests::1024
svc::default_priority::max_retries::3
svc::high_priority::max_connections::1024
svc::high_priority::max_pending_requests::1024
svc::high_priority::max_requests::1024
svc::high_priority::max_retries::3
svc::added_via_api::false
svc::127.0.0.1:18098::cx_active::1
svc::127.0.0.1:18098::cx_connect_fail::0
svc::127.0.0.1:18098::cx_total::2
svc::127.0.0.1:18098::rq_active::0
svc::127.0.0.1:18098::rq_error::1
svc::127.0.0.1:18098::rq_pending_active::0
svc::127.0.0.1:18098::rq_success::6
svc::127.0.0.1:18098::rq_timeout::0
svc::127.0.0.1:18098::rq_total::7
svc::127.0.0.1:18098::hostname::one
svc::127.0.0.1:18098::health_flags::/failed_active_hc/failed_eds_health
svc::127.0.0.1:18098::weight::3
svc::127.0.0.1:18098::region::
svc::127.0.0.1:18098::zone::z
svc::127.0.0.1:18098::sub_zone::
svc::127.0.0.1:18098::canary::true
svc::127.0.0.1:18098::priority::1
svc::127.0.0.1:18098::success_rate::-1
svc::127.0.0.1:18098::local_origin_success_rate::-1
";
    assert_eq!(text, expected);
    let answer = server.get("/clusters?format=json").body;
    let clusters: Value = serde_json::from_str(&answer).expect("it is JSON");
    let thresholds = json!({
        "max_connections": 1024, "max_pending_requests": 1024,
        "max_requests": 1024, "max_retries": 3,
    });
    let mut high = thresholds.clone();
    high["priority"] = "HIGH".into();
    let expected = json!({ "cluster_statuses": [{
        "name": "svc",
        "host_statuses": [{
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 18098 } },
            "stats": [
                { "name": "cx_connect_fail" },
                { "value": "2", "name": "cx_total" },
                { "value": "1", "name": "rq_error" },
                { "value": "6", "name": "rq_success" },
                { "name": "rq_timeout" },
                { "value": "7", "name": "rq_total" },
                { "type": "GAUGE", "value": "1", "name": "cx_active" },
                { "type": "GAUGE", "name": "rq_active" },
                { "type": "GAUGE", "name": "rq_pending_active" },
            ],
            "health_status": {
                "failed_active_health_check": true,
                "eds_health_status": "UNHEALTHY",
            },
            "weight": 3,
            "hostname": "one",
            "priority": 1,
            "locality": { "zone": "z" },
        }],
        "circuit_breakers": { "thresholds": [thresholds, high] },
        "observability_name": "alt",
    }] });
    assert_eq!(clusters, expected);
    server.handle.stop();
}

#[test]
fn listeners_and_server_info_are_json() {
    let server = start();
    let of =
        |path: &str| -> Value { serde_json::from_str(&server.get(path).body).expect("it is JSON") };
    let socket = |address: &str, port: u16| json!({ "socket_address": { "address": address, "port_value": port } });
    assert_eq!(
        of("/listeners?format=json"),
        json!({ "listener_statuses": [
            {
                "name": "main",
                "local_address": socket("127.0.0.1", 18099),
                "additional_local_addresses": [socket("::1", 18095)],
            },
            { "name": "unix", "local_address": { "pipe": { "path": "/run/x.sock" } } },
        ] })
    );
    assert_eq!(
        of("/server_info"),
        json!({
            "version": "0/1.40.0/Clean/RELEASE/none",
            "state": "LIVE",
            "uptime_current_epoch": "5s",
            "uptime_all_epochs": "6s",
            "hot_restart_version": "11.104",
            "hot_restart_initializing": false,
            "command_line_options": { "concurrency": 2 },
            "node": { "id": "n" },
        })
    );
    assert_eq!(
        of("/config_dump?include_eds")["configs"][0]["bootstrap"]["node"]["id"],
        "eds"
    );
    let memory = of("/memory");
    let physical = memory["total_physical_bytes"].as_str().expect("a string");
    assert!(physical.parse::<u64>().expect("of digits") > 0);
    server.handle.stop();
}

#[test]
fn bad_requests_are_refused_and_the_server_goes_on() {
    let server = start();
    let long = "a".repeat(100_000);
    let request = |line: &str| format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n");
    for (request, status) in [
        (request("GET /stats?filter=%zz HTTP/1.1"), 400),
        (request("GET /stats?filter=%ff HTTP/1.1"), 400),
        (request("GET /stats?filter=[ HTTP/1.1"), 400),
        (request("GET /stats?filter=(a{1000}){1000} HTTP/1.1"), 400),
        (request("FOO /ready HTTP/1.1"), 400),
        ("GET /ready HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("BLAH\r\n\r\n".to_owned(), 400),
        (
            "GET /re\u{1}ady HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /ready HTTP/1.0\r\nhost: x\r\n\r\n".to_owned(), 426),
        (request(&format!("GET /{long} HTTP/1.1")), 431),
        (
            format!("GET /ready HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
            431,
        ),
    ] {
        let answer = server.raw(request.as_bytes());
        let line: String = request.chars().take(60).collect();
        assert!(
            answer
                .get(8..)
                .is_some_and(|rest| rest.starts_with(&format!(" {status} "))),
            "{line:?}: {answer}"
        );
    }
    assert_eq!(server.get("/ready").status, 200);
    server.handle.stop();
}

#[test]
fn a_slow_reader_does_not_hold_others_up() {
    let server = start();
    for n in 0..20_000 {
        let _ = server
            .store
            .counter(&format!("many.statistics.with.long.names.{n}"));
    }
    // Asks for megabytes and reads nothing.
    let mut slow = TcpStream::connect(server.address).expect("it listens");
    for _ in 0..4 {
        slow.write_all(b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("it reads");
    }
    for _ in 0..3 {
        assert_eq!(server.get("/ready").body, "LIVE\n");
    }
    drop(slow);
    server.handle.stop();
}

#[test]
fn requests_are_counted_and_logged() {
    let server = start();
    assert_eq!(server.get("/ready?a=b").status, 200);
    assert_eq!(server.get("/foo").status, 404);
    let value = |name: &str| server.store.value(name);
    assert_eq!(value("http.admin.downstream_rq_total"), Some(2));
    assert_eq!(value("http.admin.downstream_rq_2xx"), Some(1));
    assert_eq!(
        value("listener.admin.http.admin.downstream_rq_4xx"),
        Some(1)
    );
    assert_eq!(
        value("listener.admin.main_thread.downstream_cx_total"),
        Some(2)
    );
    assert!(value("http.admin.downstream_cx_tx_bytes_total") > Some(200));
    let log = server.log.lock().expect("not poisoned").clone();
    let lines: Vec<_> = (log.iter())
        .map(|access| {
            let Access {
                method,
                path,
                protocol,
                response_code,
                bytes_sent,
                user_agent,
                ..
            } = access;
            format!("{method} {path} {protocol} {response_code} {bytes_sent} {user_agent}")
        })
        .collect();
    assert_eq!(lines[0], "GET /ready?a=b HTTP/1.1 200 5 t");
    assert!(
        lines[1].starts_with("GET /foo HTTP/1.1 404 "),
        "{}",
        lines[1]
    );
    assert!(log[0].remote.is_some() && log[0].authority == "x");
    server.handle.stop();
}

#[test]
fn it_listens_on_a_unix_socket_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("admin.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("the path is free");
    let fake = Arc::new(Fake {
        state: Mutex::new(ServerState::Live),
        actions: Mutex::new(Vec::new()),
    });
    let handle = spawn(listener, fake, Store::new(), None).expect("it starts");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    stream
        .write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer is text");
    assert!(answer.contains("LIVE\n"), "{answer}");
    handle.stop();
}
