//! A proxy between a client and one host, whose answer is what it was sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ringway_tests::admin::Stats;
use ringway_tests::intended_differences::{Ledger, Suite};
use ringway_tests::logs;
use ringway_tests::observation;
use ringway_tests::process::{Process, Program, compared_programs};
use socket2::{Domain, Socket, Type};

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request after which the proxy closes.
pub const REQUEST: &[u8] = b"GET /path HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

/// A listener with a connection manager that sends everything to the host.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Its name, statistics and log file.
    pub name: &'static str,
    /// Fields of the listener, at the left margin.
    pub more: &'static str,
    /// Its filter chains: a name and the other fields of each, in one line.
    pub chains: &'static [(&'static str, &'static str)],
    /// More operators of its log.
    pub log: &'static str,
}

/// A listener with one chain and these fields.
pub const fn listener(name: &'static str, more: &'static str) -> Listener {
    Listener {
        name,
        more,
        chains: &[("only", "")],
        log: "",
    }
}

/// What a client does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one by one, so slowly that each is seen by itself: of bytes that come
    /// while it looks at others, Envoy's `http_inspector` may say anything.
    Drip(Vec<u8>),
    /// Waits until what was sent has been seen.
    Wait,
    /// Ends its direction.
    Finish,
}

/// What a client does with a listener.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: String,
    listener: &'static str,
    acts: Vec<Act>,
    from: Ipv4Addr,
}

/// A client that sends bytes and then reads until the proxy closes.
pub fn case(name: impl Into<String>, listener: &'static str, bytes: impl AsRef<[u8]>) -> Case {
    Case {
        name: name.into(),
        listener,
        acts: vec![Act::Send(bytes.as_ref().to_vec())],
        from: Ipv4Addr::LOCALHOST,
    }
}

impl Case {
    /// It does this instead.
    pub fn acts(mut self, acts: impl Into<Vec<Act>>) -> Case {
        self.acts = acts.into();
        self
    }

    /// It has this address.
    pub fn from(mut self, from: [u8; 4]) -> Case {
        self.from = from.into();
        self
    }
}

/// Cases that are played on one configuration.
#[derive(Clone, Copy)]
pub struct Comparison {
    /// Its name in the table of intended differences.
    pub suite: &'static str,
    /// The listeners.
    pub listeners: &'static [Listener],
    /// Fields of the cluster, at the left margin.
    pub cluster: &'static str,
    /// Further fields of the bootstrap.
    pub bootstrap: &'static str,
    /// The cases.
    pub cases: fn() -> Vec<Case>,
}

type Seen = BTreeMap<String, String>;

impl Comparison {
    /// Plays all cases on Envoy and on Ringway with each driver.
    pub fn run(&self, test: &str) {
        let Some(programs) = compared_programs(test) else {
            return;
        };
        let wanted = std::env::var("RINGWAY_CASES").unwrap_or_default();
        let mut cases = (self.cases)();
        cases.retain(|case| case.name.contains(&wanted));
        let cases = &cases;
        let played: Vec<(String, Vec<Seen>)> = thread::scope(|scope| {
            let running: Vec<_> = programs
                .iter()
                .map(|program| scope.spawn(move || (program.name(), self.play(program, cases))))
                .collect();
            let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|one| one.expect("cases were played")).collect()
        });
        let (envoy, ours) = played.split_first().expect("Envoy's");
        let mut ledger = Ledger::new(Suite::Listeners(self.suite));
        for (name, seen) in ours {
            for ((case, theirs), mine) in cases.iter().zip(&envoy.1).zip(seen) {
                for (what, theirs, mine) in observation::compare(theirs, mine) {
                    ledger.note(name, &case.name, &what, &theirs, &mine);
                }
            }
        }
        ledger.judge(wanted.is_empty());
    }

    fn play(&self, program: &Program, cases: &[Case]) -> Vec<Seen> {
        let host = Host::start();
        let process = Process::start(program, &self.configuration(host.port));
        cases
            .iter()
            .map(|case| play(case, &process, &host))
            .collect()
    }

    fn configuration(&self, host: u16) -> String {
        let mut text = String::from(
            "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
             node: { id: test, cluster: test }\n\
             static_resources:\n  listeners:\n",
        );
        for listener in self.listeners {
            add_listener(&mut text, listener);
        }
        text.push_str("  clusters:\n  - name: host\n");
        if !self.cluster.contains("type: ORIGINAL_DST") {
            let _ = writeln!(
                text,
                "    load_assignment: {{ cluster_name: host, endpoints: [ {{ lb_endpoints: [ {{ \
                 endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {host} }} }} }} }} ] }} ] }}"
            );
        }
        indent(&mut text, self.cluster, 4);
        text + self.bootstrap
    }
}

/// What is logged of every request; the ports of the client are masked.
const LOG: &str = "remote=%DOWNSTREAM_REMOTE_ADDRESS% \
    direct_remote=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% local=%DOWNSTREAM_LOCAL_ADDRESS% \
    direct_local=%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% xff=%REQ(X-FORWARDED-FOR)% \
    chain=%FILTER_CHAIN_NAME% code=%RESPONSE_CODE% flags=%RESPONSE_FLAGS% protocol=%PROTOCOL%";

fn add_listener(text: &mut String, listener: &Listener) {
    let Listener {
        name,
        more,
        chains,
        log,
    } = listener;
    // The formatting of a string cannot fail.
    let _ = write!(
        text,
        "  - name: {name}
    address: {{ socket_address: {{ address: {address}, port_value: 0 }} }}
    stat_prefix: {name}
    listener_filters_timeout: 1s
",
        address = if chains.len() > 1 {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        },
    );
    indent(text, more, 4);
    text.push_str("    filter_chains:\n");
    for (chain, more) in *chains {
        let _ = writeln!(text, "    - name: \"{chain}\"");
        indent(text, more, 6);
        let _ = write!(
            text,
            "      filters:
      - name: manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: AUTO
          use_remote_address: true
          generate_request_id: false
          delayed_close_timeout: 0.05s
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{DIR}}/{name}.log
              log_format: {{ text_format_source: {{ inline_string: \"{LOG} {log}\\n\" }} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - {{ match: {{ prefix: / }}, route: {{ cluster: host }} }}
          http_filters:
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"
        );
    }
}

fn indent(text: &mut String, part: &str, by: usize) {
    for line in part.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "{:by$}{line}", "");
    }
}

/// Answers each request with all that came on its connection, and closes.
struct Host {
    port: u16,
}

impl Host {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
        Self { port }
    }
}

fn answer(mut stream: TcpStream) {
    let mut received = Vec::new();
    let mut part = [0; 4096];
    let has =
        |text: &[u8], received: &[u8]| (received.windows(text.len())).any(|bytes| bytes == text);
    while !has(b"\r\n\r\n", &received) || !has(b"GET ", &received) {
        match stream.read(&mut part) {
            Ok(count @ 1..) => received.extend_from_slice(&part[..count]),
            _ => return,
        }
    }
    let body = received.escape_ascii().to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    // Whoever has gone does not read it.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn play(case: &Case, process: &Process, host: &Host) -> Seen {
    let log = process.folder().join(format!("{}.log", case.listener));
    let log_start = std::fs::metadata(&log).map_or(0, |file| file.len() as usize);
    let before = still_stats(process);
    let listener = process.listener(case.listener);
    let mut stream = connect(
        case,
        SocketAddr::from((Ipv4Addr::LOCALHOST, listener.port())),
    );
    let me = stream.local_addr().expect("it is connected").port();
    let masked = |text: &str| {
        let mut text = text.to_owned();
        for (port, name) in [
            (me, "ME"),
            (listener.port(), "LISTENER"),
            (host.port, "HOST"),
        ] {
            text = text.replace(&format!(":{port}"), &format!(":{name}"));
            text = text.replace(&format!("_{port}"), &format!("_{name}"));
            text = text.replace(&format!(" {port}"), &format!(" {name}"));
        }
        text
    };
    let client = masked(&act(case, &mut stream, host.port));
    drop(stream);
    let after = still_stats(process);
    let moved = observation::moved(&before, &after, is_counted);
    let mut seen: Seen = moved
        .iter()
        .map(|(name, by)| (format!("stats.{}", masked(name)), format!("{by:+}")))
        .collect();
    seen.insert("client".into(), client);
    let requests = moved.get(&format!("http.{}.downstream_rq_total", case.listener));
    let requests = requests.map_or(0, |count| *count as usize);
    let lines = logs::await_lines(&log, log_start, requests, PATIENCE);
    for (number, line) in lines.iter().enumerate() {
        seen.insert(format!("log[{number}]"), masked(line));
    }
    seen
}

fn connect(case: &Case, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((case.from, 0));
    socket.bind(&from.into()).expect("a free port");
    socket
        .connect(&to.into())
        .expect("the listener takes connections");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// The first frame of HTTP/2 (RFC 9113 section 6.5).
const SETTINGS: u8 = 4;

/// `{HOST}` is the port of the host.
fn with_port(sent: &[u8], host: u16) -> Vec<u8> {
    // What is no text has no names in it.
    match std::str::from_utf8(sent) {
        Ok(text) => text.replace("{HOST}", &host.to_string()).into_bytes(),
        Err(_) => sent.to_vec(),
    }
}

/// What the client reads.
fn act(case: &Case, stream: &mut TcpStream, host: u16) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    for act in &case.acts {
        // What is not taken is seen by what is answered.
        match act {
            Act::Send(sent) => drop(stream.write_all(&with_port(sent, host))),
            Act::Drip(sent) => {
                for byte in sent {
                    let _ = stream.write_all(&[*byte]);
                    thread::sleep(Duration::from_millis(5));
                }
            }
            Act::Wait => thread::sleep(Duration::from_millis(300)),
            Act::Finish => drop(stream.shutdown(Shutdown::Write)),
        }
    }
    let end = loop {
        match stream.read(&mut part) {
            Ok(0) => break "the end",
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break "a reset",
            Err(_) => break "nothing",
        }
    };
    if matches!(bytes[..], [0, 0, _, SETTINGS, ..]) {
        return format!("frames of HTTP/2 | {end}");
    }
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.lines().next().unwrap_or_default();
    format!("{status} | {body} | {end}")
}

/// The statistics once no connection is left and nothing moves any more.
fn still_stats(process: &Process) -> Stats {
    let is_over = |stats: &Stats| {
        let active = stats.iter().filter(|(name, _)| {
            is_counted(name)
                && ["cx_active", "rq_active"]
                    .iter()
                    .any(|end| name.ends_with(end))
        });
        active.map(|(_, count)| count).sum::<u64>() == 0
    };
    observation::await_still(process.admin(), is_over)
}

fn is_counted(name: &str) -> bool {
    let is_asked = [
        "listener.",
        "http.",
        "http1.",
        "http2.",
        "cluster.",
        "tls_inspector.",
        "http_inspector.",
        "proxy_proto.",
        "downstream_cx_proxy_proto_error",
        "original_dst.",
        "listener_local_ratelimit.",
    ];
    // Whether the client closes first is a matter of time, and sizes are others', but
    // for what a client has sent to whoever serves it.
    let is_size = name.contains("_bytes") && !name.ends_with("downstream_cx_rx_bytes_total");
    let is_left_out = ["listener.admin.", "http.admin."]
        .iter()
        .any(|of| name.starts_with(of))
        || [
            "delayed_close",
            "destroy_local",
            "destroy_remote",
            "nghttp2",
        ]
        .iter()
        .any(|part| name.contains(part));
    is_asked.iter().any(|start| name.starts_with(start)) && !is_left_out && !is_size
}
