//! A proxy between a client and hosts of our own, which one thread plays: what
//! happens first is always the same, for every program.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringway_tests::admin::Stats;
use ringway_tests::bootstrap;
use ringway_tests::logs;
use ringway_tests::observation;
use ringway_tests::ports::{Reserved, Stuck};
use ringway_tests::process::{Process, Program, compared_programs};
use ringway_tests::programs;
use socket2::SockRef;

/// rustls asks hosts for a response of OCSP, BoringSSL does not, and a listener of the
/// same proxy sees that.
const NOT_COMPARED: &[&str] = &["ssl.ocsp_staple_"];

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hosts that a scene has.
const HOSTS: usize = 4;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The client.
    Client,
    /// The host that has accepted a connection last.
    Host,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Act {
    /// The client connects.
    Connect,
    /// A host takes a connection.
    Accept(usize),
    /// Whichever host takes a connection first.
    AcceptAny,
    /// A host takes no connections any more.
    Deafen(usize),
    /// Sends these bytes.
    Send(Who, Vec<u8>),
    /// Sends something again and again until nobody takes it any more.
    SendToEnd(Who),
    /// The client sends the first bytes and the host the second, both at once, and
    /// each reads what the other has sent.
    Exchange(Vec<u8>, Vec<u8>),
    /// The host sends these bytes and ends its direction, and the client reads to the end
    /// a moment later.
    Say(Vec<u8>),
    /// Reads so many bytes, or to an end that comes before.
    Read(Who, usize),
    /// Reads so many bytes, whatever they are.
    Skip(Who, usize),
    /// Reads to the end.
    ReadToEnd(Who),
    /// Ends its direction.
    Finish(Who),
    /// Closes the connection.
    Close(Who),
    /// Resets the connection.
    Reset(Who),
    /// Nothing is done for a while.
    Wait(Duration),
    /// Until a statistic of the proxy has this value.
    Await(&'static str, u64),
    /// Until a statistic of the proxy has grown by this much since the case began.
    AwaitMore(&'static str, u64),
    /// Until the log has so many lines of the case.
    AwaitLog(usize),
}

/// What a client and hosts do with one listener.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its suite.
    pub name: &'static str,
    /// The listener.
    pub listener: &'static str,
    /// What happens.
    pub acts: Vec<Act>,
    /// How many lines the access log has of it.
    pub log_lines: usize,
    /// Statistics and parts of log lines with one of these in them are not compared.
    pub uncertain: &'static [&'static str],
}

/// A case with one line in the log, in which the client connects first.
pub fn case(name: &'static str, listener: &'static str, acts: &[Act]) -> Case {
    Case {
        name,
        listener,
        acts: [&[Act::Connect], acts].concat(),
        log_lines: 1,
        uncertain: &[],
    }
}

impl Case {
    /// Statistics and parts of log lines with one of these in them are not compared.
    pub fn without(mut self, uncertain: &'static [&'static str]) -> Case {
        self.uncertain = uncertain;
        self
    }

    /// It has so many lines in the log.
    pub fn log_lines(mut self, lines: usize) -> Case {
        self.log_lines = lines;
        self
    }
}

pub fn client_sends(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(Who::Client, bytes.as_ref().to_vec())
}

pub fn host_sends(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(Who::Host, bytes.as_ref().to_vec())
}

/// The listener's own part of a suite.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Its name, statistics and log file.
    pub name: &'static str,
    /// The filters of its chain, a YAML list at the left margin. `{NAME}` is its
    /// name, `{LOG}` an access log.
    pub filters: &'static str,
    /// Fields of the listener, at the left margin, in which `{LOG}` is the same.
    pub more: &'static str,
    /// Fields of its filter chain, at the left margin.
    pub chain: &'static str,
    /// Other chains before it, a YAML list at the left margin, in which `{LOG}` is
    /// the same.
    pub chains: &'static str,
    /// It is at `{DIR}/NAME.sock`, where clients of a suite do not get.
    pub at_path: bool,
}

/// A listener with nothing but filters.
pub const fn listener(name: &'static str, filters: &'static str) -> Listener {
    Listener {
        name,
        filters,
        more: "",
        chain: "",
        chains: "",
        at_path: false,
    }
}

/// The filters of a chain that ends in a TCP proxy with these fields.
macro_rules! proxied {
    ($fields:expr) => {
        concat!(
            "- name: tcp\n  typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
             filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: {NAME}, {LOG}, ",
            $fields,
            " }\n"
        )
    };
}
pub(crate) use proxied;

/// A filter, and a TCP proxy that logs.
macro_rules! before_proxy {
    ($type:literal, $fields:expr) => {
        concat!(
            "\n- { name: first, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.",
            $type,
            ", ",
            $fields,
            " } }\n",
            proxied!("cluster: host0")
        )
    };
}
pub(crate) use before_proxy;

/// Cases that are played on one configuration.
#[derive(Clone, Copy)]
pub struct Suite {
    /// The listeners.
    pub listeners: &'static [Listener],
    /// The clusters, a YAML list at the left margin. `{HOST0}` and so on are
    /// ports of hosts, `{REFUSED}` refuses connections, `{STUCK}` answers none.
    /// `{CERTIFICATE}` is a `TlsCertificate` for `a.test`, here and in listeners, and
    /// `{TRUSTED}` is what trusts it.
    pub clusters: &'static str,
    /// Filters of a listener of an Envoy behind the program, at `{BEHIND}`, which has
    /// the first of these hosts in its cluster `one`; empty is no such Envoy.
    pub behind: &'static str,
    /// The cases.
    pub cases: fn() -> Vec<Case>,
}

/// Operators of the access log; nothing that differs from run to run.
const OPERATORS: &[(&str, &str)] = &[
    ("flags", "%RESPONSE_FLAGS%"),
    ("code", "%RESPONSE_CODE%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("termination", "%CONNECTION_TERMINATION_DETAILS%"),
    ("received", "%BYTES_RECEIVED%"),
    ("sent", "%BYTES_SENT%"),
    ("cluster", "%UPSTREAM_CLUSTER%"),
    ("host", "%UPSTREAM_HOST%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("protocol", "%PROTOCOL%"),
    ("upstream_protocol", "%UPSTREAM_PROTOCOL%"),
    ("kind", "%ACCESS_LOG_TYPE%"),
    ("server_name", "%REQUESTED_SERVER_NAME%"),
    ("chain", "%FILTER_CHAIN_NAME%"),
    (
        "upstream_wire",
        "%UPSTREAM_WIRE_BYTES_SENT%/%UPSTREAM_WIRE_BYTES_RECEIVED%",
    ),
    (
        "downstream_wire",
        "%DOWNSTREAM_WIRE_BYTES_SENT%/%DOWNSTREAM_WIRE_BYTES_RECEIVED%",
    ),
    ("named", "%FILTER_STATE(envoy.tcp_proxy.cluster:PLAIN)%"),
    ("object", "%FILTER_STATE(test.object:PLAIN)%"),
    (
        "headers",
        "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers)%",
    ),
    (
        "trailers",
        "%FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers:TYPED)%",
    ),
    (
        "plain_headers",
        "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:PLAIN)%",
    ),
    ("tried", "%DYNAMIC_METADATA(envoy.filters.network.rbac)%"),
    ("hint", "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"),
];

/// Statistics that cases may move.
const COUNTED: &[&str] = &[
    "tcp.",
    "cluster.",
    "listener.",
    "connection_limit.",
    "local_rate_limit.",
    "rbac",
];

/// What was seen: of each case its lines.
type Seen = Vec<(&'static str, Vec<String>)>;

impl Suite {
    /// Plays all cases on Envoy and on Ringway with each driver. `test` is the
    /// name of the test, for the message where there is no Envoy.
    ///
    /// # Panics
    /// When there is a difference.
    pub fn run(&self, test: &str) {
        let Some(programs) = compared_programs(test) else {
            return;
        };
        let wanted = std::env::var("RINGWAY_CASES").unwrap_or_default();
        let seen: Vec<(String, Seen)> = std::thread::scope(|scope| {
            let playing: Vec<_> = programs
                .into_iter()
                .map(|program| {
                    let wanted = &wanted;
                    scope.spawn(move || (program.name(), self.play(&program, wanted)))
                })
                .collect();
            playing
                .into_iter()
                .map(|one| one.join().expect("all cases were played"))
                .collect()
        });
        let (envoy, ours) = seen.split_first().expect("Envoy's part");
        let mut text = String::new();
        for (name, mine) in ours {
            for ((case, theirs), (_, mine)) in envoy.1.iter().zip(mine) {
                let only = |these: &[String], those: &[String]| -> Vec<String> {
                    let missing = these.iter().filter(|line| !those.contains(line));
                    missing.cloned().collect()
                };
                let (lost, new) = (only(theirs, mine), only(mine, theirs));
                if !lost.is_empty() || !new.is_empty() {
                    let _ = writeln!(
                        text,
                        "{name}, {case}:\n  envoy: {}\n  ours:  {}",
                        lost.join("\n         "),
                        new.join("\n         ")
                    );
                }
            }
        }
        assert!(text.is_empty(), "{test}:\n{text}");
    }

    fn play(&self, program: &Program, wanted: &str) -> Seen {
        let mut scene = Scene::start(program, self);
        let cases = (self.cases)();
        let cases = cases.into_iter().filter(|case| case.name.contains(wanted));
        cases.map(|case| (case.name, scene.play(&case))).collect()
    }
}

/// A proxy with its hosts.
pub struct Scene {
    /// The proxy.
    pub process: Process,
    /// The Envoy behind it.
    _behind: Option<Process>,
    hosts: Vec<TcpListener>,
    names: Vec<(u16, String)>,
    _refusing: Reserved,
    _stuck: Stuck,
}

impl Scene {
    /// Starts `program` with the configuration of a suite.
    pub fn start(program: &Program, suite: &Suite) -> Scene {
        let hosts: Vec<_> = (0..HOSTS)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let refusing = Reserved::new();
        let stuck = Stuck::new();
        let mut names = vec![
            (refusing.port(), "REFUSED".to_owned()),
            (stuck.port(), "STUCK".to_owned()),
        ];
        for (number, host) in hosts.iter().enumerate() {
            let address = host.local_addr().expect("an address");
            names.push((address.port(), format!("HOST{number}")));
        }
        let behind = (!suite.behind.is_empty()).then(|| behind(suite.behind, &hosts[0]));
        if let Some(behind) = &behind {
            names.push((behind.listener("behind").port(), "BEHIND".to_owned()));
        }
        let mut text = suite.configuration();
        if text.contains("{CERTIFICATE}") {
            let (certificate, trusted) = certificate();
            text = text.replace("{CERTIFICATE}", &certificate);
            text = text.replace("{TRUSTED}", &trusted);
        }
        for (port, name) in &names {
            text = text.replace(&format!("{{{name}}}"), &port.to_string());
        }
        Scene {
            process: Process::start(program, &text),
            _behind: behind,
            hosts,
            names,
            _refusing: refusing,
            _stuck: stuck,
        }
    }

    /// Plays a case: what was read, logged and counted.
    pub fn play(&mut self, case: &Case) -> Vec<String> {
        let log = self.process.folder().join(format!("{}.log", case.listener));
        let log_start = std::fs::metadata(&log).map_or(0, |file| file.len() as usize);
        let before = self.still_stats(|_| true);
        let mut seen = Vec::new();
        let mut players = Players::default();
        for act in &case.acts {
            match act {
                Act::AwaitLog(lines) => {
                    let _ = logs::await_lines(&log, log_start, *lines, PATIENCE);
                }
                Act::AwaitMore(name, by) => {
                    let old = before.get(*name).copied().unwrap_or(0);
                    self.await_stat(name, old + by, &mut seen);
                }
                act => self.act(case, act, &mut players, &mut seen),
            }
        }
        drop(players);
        // Nobody is to look before the connection has been taken.
        let lines = logs::await_lines(&log, log_start, case.log_lines, PATIENCE);
        let of_listener = format!("listener.{}.", case.listener);
        let after = self.still_stats(|stats| {
            let moved = observation::moved(&before, stats, |name| name.starts_with(&of_listener));
            !moved.is_empty()
        });
        for (name, by) in observation::moved(&before, &after, is_counted) {
            let is_uncertain = |part: &&str| name.contains(*part);
            if NOT_COMPARED.iter().chain(case.uncertain).any(is_uncertain) {
                continue;
            }
            seen.push(self.masked(&format!("{name} {by:+}")));
        }
        for line in lines {
            let is_certain = |word: &&str| !case.uncertain.iter().any(|part| word.contains(part));
            let words: Vec<_> = line.split(' ').filter(is_certain).collect();
            seen.push(self.masked(&format!("log {}", words.join(" "))));
        }
        seen
    }

    fn act(&self, case: &Case, act: &Act, players: &mut Players, seen: &mut Vec<String>) {
        match act {
            Act::Connect => {
                let address = self.process.listener(case.listener);
                let stream = TcpStream::connect(address).unwrap_or_else(|error| {
                    let words = self.process.stderr();
                    panic!("{}: the listener is not there: {error}\n{words}", case.name)
                });
                players.take(Who::Client, stream);
            }
            Act::Accept(host) => match accept(&self.hosts[*host]) {
                Some(stream) => players.take(Who::Host, stream),
                None => seen.push(format!("host {host}: nobody came")),
            },
            Act::Deafen(host) => {
                // It is bound still, so that nobody else gets its port.
                let socket = SockRef::from(&self.hosts[*host]);
                socket
                    .shutdown(Shutdown::Both)
                    .expect("a socket that listens");
            }
            Act::AcceptAny => match accept_any(&self.hosts) {
                Some((host, stream)) => {
                    seen.push(format!("host {host}"));
                    players.take(Who::Host, stream);
                }
                None => seen.push("nobody came to any host".to_owned()),
            },
            // `play` has the log, and what there was before.
            Act::AwaitLog(_) | Act::AwaitMore(..) => {}
            Act::Wait(time) => std::thread::sleep(*time),
            Act::Await(name, value) => self.await_stat(name, *value, seen),
            Act::Send(who, bytes) => {
                if let Some(stream) = players.of(*who) {
                    // What is not taken is seen by whoever does not get it.
                    let _ = stream.write_all(bytes);
                }
            }
            Act::SendToEnd(who) => seen.push(players.send_to_end(*who)),
            Act::Exchange(of_client, of_host) => {
                seen.extend(players.exchange(of_client, of_host));
            }
            Act::Say(of_host) => seen.push(players.say(of_host)),
            Act::Read(who, count) => seen.push(self.shown(&players.read(*who, *count), players)),
            Act::Skip(who, count) => drop(players.read(*who, *count)),
            Act::ReadToEnd(who) => {
                seen.push(self.shown(&players.read(*who, usize::MAX), players));
            }
            Act::Finish(who) => {
                if let Some(stream) = players.of(*who) {
                    // It may be closed already.
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
            Act::Close(who) => players.drop(*who),
            Act::Reset(who) => {
                if let Some(stream) = players.of(*who) {
                    let linger = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                    linger.expect("an option");
                }
                players.drop(*who);
            }
        }
    }

    fn await_stat(&self, name: &str, value: u64, seen: &mut Vec<String>) {
        let there = |stats: &Stats| stats.get(name).copied().unwrap_or(0) == value;
        let (_, came) = self.process.admin().await_stats(PATIENCE, there);
        if !came {
            seen.push(format!("{name} was never {value}"));
        }
    }

    /// What was read, with the names of ports that a header tells.
    fn shown(&self, read: &str, players: &Players) -> String {
        let Some(client) = &players.client else {
            return read.to_owned();
        };
        let mut shown = read.to_owned();
        for (address, name) in [
            (client.local_addr(), "CLIENT"),
            (client.peer_addr(), "LISTENER"),
        ] {
            let port = address.map_or(0, |address| address.port());
            shown = shown.replace(&format!(" {port}"), &format!(" {name}"));
        }
        shown
    }

    /// The statistics once they are as wanted, no connection is left, and nothing moves
    /// any more.
    fn still_stats(&self, is_wanted: impl Fn(&Stats) -> bool) -> Stats {
        let is_over = |stats: &Stats| {
            let active = stats.iter().filter(|(name, _)| {
                name.ends_with("cx_active") && is_counted(name) || name.ends_with("flush_active")
            });
            active.map(|(_, count)| count).sum::<u64>() == 0 && is_wanted(stats)
        };
        observation::await_still_within(self.process.admin(), PATIENCE, is_over)
    }

    fn masked(&self, text: &str) -> String {
        let folder = self.process.folder().to_string_lossy();
        let mut text = text.replace(&*folder, "DIR");
        for (port, name) in &self.names {
            text = text.replace(&format!(":{port}"), &format!(":{name}"));
            text = text.replace(&format!("_{port}"), &format!("_{name}"));
        }
        text
    }
}

impl Suite {
    fn configuration(&self) -> String {
        let format: Vec<_> = OPERATORS
            .iter()
            .map(|(name, operator)| format!("{name}={operator}"))
            .collect();
        let mut text = String::from(
            "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n\
             node: { id: test, cluster: test }\n\
             static_resources:\n  listeners:\n",
        );
        for listener in self.listeners {
            let log = format!(
                "access_log: [{{ name: file, typed_config: {{ \
                 \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
                 path: \"{{DIR}}/{}.log\", \
                 log_format: {{ text_format_source: {{ inline_string: \"{}\\n\" }} }} }} }}]",
                listener.name,
                format.join(" ")
            );
            let name = listener.name;
            let address = match listener.at_path {
                false => "socket_address: { address: 127.0.0.1, port_value: 0 }".to_owned(),
                true => format!("pipe: {{ path: \"{{DIR}}/{name}.sock\" }}"),
            };
            let _ = write!(
                text,
                "  - name: {name}\n    address: {{ {address} }}\n    stat_prefix: {name}\n"
            );
            indent(&mut text, &listener.more.replace("{LOG}", &log), 4);
            text += "    filter_chains:\n";
            let chains = listener.chains.replace("{LOG}", &log);
            indent(&mut text, &chains.replace("{NAME}", name), 4);
            text += "    - name: chain\n";
            indent(&mut text, listener.chain, 6);
            text += "      filters:\n";
            let filters = listener.filters.replace("{LOG}", &log);
            indent(&mut text, &filters.replace("{NAME}", listener.name), 6);
        }
        if !self.clusters.is_empty() {
            text += "  clusters:\n";
            indent(&mut text, self.clusters, 2);
        }
        text
    }
}

/// An Envoy with these filters in front of a host.
fn behind(filters: &str, host: &TcpListener) -> Process {
    let envoy = programs::envoy("what is behind").expect("compared with Envoy");
    let mut text = String::from(
        "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: behind
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
",
    );
    indent(&mut text, filters, 6);
    let port = host.local_addr().expect("an address").port();
    text += "  clusters:\n";
    indent(&mut text, &bootstrap::cluster("one", port, ""), 2);
    Process::start(&Program::Envoy(envoy), &text)
}

/// A certificate with its key, as a `TlsCertificate` in YAML, and the certificate
/// alone, as a `DataSource`.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
    let inline = |pem: String| format!("{{ inline_string: {pem:?} }}");
    let chain = inline(made.cert.pem());
    let key = inline(made.signing_key.serialize_pem());
    let with_key = format!("{{ certificate_chain: {chain}, private_key: {key} }}");
    (with_key, chain)
}

fn indent(text: &mut String, part: &str, by: usize) {
    for line in part.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "{:by$}{line}", "");
    }
}

/// The connections of a case.
#[derive(Default)]
struct Players {
    client: Option<TcpStream>,
    host: Option<TcpStream>,
    /// Earlier connections of hosts, which stay open.
    earlier: Vec<TcpStream>,
}

impl Players {
    fn take(&mut self, who: Who, stream: TcpStream) {
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        let place = match who {
            Who::Client => &mut self.client,
            Who::Host => &mut self.host,
        };
        self.earlier.extend(place.replace(stream));
    }

    fn of(&mut self, who: Who) -> Option<&mut TcpStream> {
        match who {
            Who::Client => self.client.as_mut(),
            Who::Host => self.host.as_mut(),
        }
    }

    fn drop(&mut self, who: Who) {
        match who {
            Who::Client => self.client = None,
            Who::Host => self.host = None,
        }
    }

    fn send_to_end(&mut self, who: Who) -> String {
        let Some(stream) = self.of(who) else {
            return format!("{who:?} has no connection");
        };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match stream.write_all(b"into nothing") {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) =>
                {
                    return format!("{who:?} is sent away");
                }
                Ok(()) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        format!("{who:?} is never sent away")
    }

    fn exchange(&mut self, of_client: &[u8], of_host: &[u8]) -> Vec<String> {
        let (Some(client), Some(host)) = (&self.client, &self.host) else {
            return vec!["somebody has no connection".to_owned()];
        };
        std::thread::scope(|scope| {
            let send = |mut stream: &TcpStream, bytes: &[u8]| {
                // What is not taken is seen by whoever does not get it.
                let _ = stream.write_all(bytes);
            };
            scope.spawn(move || send(client, of_client));
            scope.spawn(move || send(host, of_host));
            let at_host = scope.spawn(|| read(host, Who::Host, of_client.len()));
            let at_client = read(client, Who::Client, of_host.len());
            vec![at_client, at_host.join().expect("the host has read")]
        })
    }

    fn say(&self, of_host: &[u8]) -> String {
        let (Some(client), Some(mut host)) = (&self.client, self.host.as_ref()) else {
            return "somebody has no connection".to_owned();
        };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = host.write_all(of_host);
                let _ = host.shutdown(Shutdown::Write);
            });
            // Until all that is between them is full.
            std::thread::sleep(Duration::from_millis(100));
            read(client, Who::Client, usize::MAX)
        })
    }

    fn read(&mut self, who: Who, count: usize) -> String {
        match self.of(who) {
            Some(stream) => read(stream, who, count),
            None => format!("{who:?} has no connection"),
        }
    }
}

/// Reads so many bytes, or to an end that comes before.
fn read(mut stream: &TcpStream, who: Who, count: usize) -> String {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65536];
    let mut end = "";
    while bytes.len() < count {
        let room = buffer.len().min(count - bytes.len());
        match stream.read(&mut buffer[..room]) {
            Ok(0) => {
                end = ", then the end";
                break;
            }
            Ok(taken) => bytes.extend_from_slice(&buffer[..taken]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                end = match error.kind() {
                    ErrorKind::ConnectionReset => ", then a reset",
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => ", then nothing",
                    _ => ", then an error",
                };
                break;
            }
        }
    }
    let shown = match bytes.len() {
        0..=200 => format!("{:?}", String::from_utf8_lossy(&bytes)),
        length => {
            let sum = bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            format!("{length} bytes with the sum {sum}")
        }
    };
    format!("{who:?} reads {shown}{end}")
}

/// The next connection to a host.
fn accept(host: &TcpListener) -> Option<TcpStream> {
    let (_, stream) = accept_any(std::slice::from_ref(host))?;
    Some(stream)
}

/// The next connection to any of these, and whose it is.
fn accept_any(hosts: &[TcpListener]) -> Option<(usize, TcpStream)> {
    let begun = Instant::now();
    loop {
        for (number, host) in hosts.iter().enumerate() {
            host.set_nonblocking(true).expect("an option");
            if let Ok((stream, _)) = host.accept() {
                stream.set_nonblocking(false).expect("an option");
                return Some((number, stream));
            }
        }
        if begun.elapsed() > PATIENCE {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_counted(name: &str) -> bool {
    COUNTED.iter().any(|part| name.starts_with(part)) && !name.starts_with("listener.admin.")
}
