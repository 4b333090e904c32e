//! A proxy whose listeners ask an authorization server, and hosts behind it.

use ringway_tests::patience;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringway_tests::admin::Stats;
use ringway_tests::observation;
use ringway_tests::ports::Reserved;
use ringway_tests::process::{Process, Program};
use socket2::SockRef;

use crate::files::Files;
use crate::listener::Listener;
use crate::script::Script;

/// How long something that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the host of a cluster is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Sends back what it gets.
    Host,
    /// Speaks first.
    Greeting,
    /// The server.
    Server,
    /// The server, with TLS.
    SecureServer,
    /// Nobody takes connections.
    Down,
    /// Takes connections and says nothing.
    Mute,
}

/// HTTP/2, as it is configured.
macro_rules! http2 {
    ($config:literal) => {
        concat!(
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, ",
            $config,
            " } }, "
        )
    };
}

const HTTP2: &str = http2!("explicit_http_config: { http2_protocol_options: {} }");

/// HTTP/2, and TLS with this authority.
macro_rules! tls {
    ($ca:literal) => {
        tls!($ca, "", "explicit_http_config: { http2_protocol_options: {} }")
    };
    ($ca:literal, $verified:literal, $config:literal) => {
        concat!(
            http2!($config),
            "transport_socket: { name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: a.test, common_tls_context: { validation_context: { trusted_ca: { filename: {FILES}/",
            $ca,
            ".pem }, ",
            $verified,
            " } } } }, "
        )
    };
}

/// HTTP/2, and these limits.
macro_rules! limited {
    ($limits:literal) => {
        concat!(
            http2!("explicit_http_config: { http2_protocol_options: {} }"),
            "circuit_breakers: { thresholds: [ { ",
            $limits,
            " } ] }, "
        )
    };
}

/// The clusters, and more of each.
const CLUSTERS: &[(&str, At, &str)] = &[
    ("host", At::Host, ""),
    ("greeting", At::Greeting, ""),
    ("auth", At::Server, HTTP2),
    ("auth_http1", At::Server, ""),
    ("auth_down", At::Down, HTTP2),
    ("auth_mute", At::Mute, HTTP2),
    ("auth_tls", At::SecureServer, tls!("ca")),
    (
        "auth_alpn",
        At::SecureServer,
        tls!("ca", "", "auto_config: {}"),
    ),
    ("auth_of_other_ca", At::SecureServer, tls!("other-ca")),
    (
        "auth_of_other_name",
        At::SecureServer,
        tls!(
            "ca",
            "match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: zzz } } ]",
            "explicit_http_config: { http2_protocol_options: {} }"
        ),
    ),
    ("auth_mute_tls", At::Mute, tls!("ca")),
    ("auth_no_requests", At::Server, limited!("max_requests: 0")),
    ("auth_one_request", At::Server, limited!("max_requests: 1")),
    (
        "auth_no_connections",
        At::Server,
        limited!("max_connections: 0"),
    ),
    (
        "auth_one_connection",
        At::Server,
        limited!("max_connections: 1"),
    ),
    (
        "auth_none_waits",
        At::Server,
        limited!("max_pending_requests: 0"),
    ),
    (
        "auth_one_waits",
        At::Mute,
        concat!(
            tls!("ca"),
            "circuit_breakers: { thresholds: [ { max_pending_requests: 1 } ] }, "
        ),
    ),
];

fn configuration(listeners: &[Listener], files: &Files, port: impl Fn(At) -> u16) -> String {
    let mut text = String::from(
        "node: { id: me, cluster: us, metadata: { labels: { a: b, c: d } } }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
",
    );
    let each = listeners.iter();
    text.extend(each.map(|listener| listener.configuration(files)));
    text += "  clusters:\n";
    let folder = files.folder().to_string_lossy();
    for (name, at, more) in CLUSTERS {
        let _ = writeln!(
            text,
            "  - {{ name: {name}, {}load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }} }}",
            more.replace("{FILES}", &folder),
            port(*at)
        );
    }
    text
}

/// A proxy, the server that it asks, and hosts.
pub struct Scene {
    pub process: Process,
    pub server: Option<Script>,
    pub server_port: u16,
    python: PathBuf,
    /// Where the server's certificate is.
    folder: PathBuf,
    /// The server's port, which the library shares, and the one of nobody.
    _reserved: [Reserved; 2],
    /// Takes connections and says nothing.
    _mute: TcpListener,
}

impl Scene {
    pub fn start(
        program: &Program,
        python: &PathBuf,
        files: &Files,
        listeners: &[Listener],
        flags: &[&str],
    ) -> Self {
        let reserved = Reserved::new();
        let server_port = reserved.port();
        let folder = files.folder().to_owned();
        let mut server = start_server(python, server_port, &folder);
        let [plain, secure] = ports(&mut server);
        assert_eq!(plain, server_port);
        let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let down = Reserved::new();
        let (echoing, greeting) = (host(b""), host(b"greeting"));
        let text = configuration(listeners, files, |at| match at {
            At::Host => echoing,
            At::Greeting => greeting,
            At::Server => server_port,
            At::SecureServer => secure,
            At::Down => down.port(),
            At::Mute => mute.local_addr().expect("an address").port(),
        });
        Self {
            process: Process::start_with(program, &text, flags),
            server: Some(server),
            server_port,
            python: python.clone(),
            folder,
            _reserved: [reserved, down],
            _mute: mute,
        }
    }

    /// Ends the server, and gives its calls.
    pub fn stop_server(&mut self) -> Vec<String> {
        let mut server = self.server.take().expect("it runs");
        server.tell("end");
        server.rest()
    }

    /// Starts it again, where it was.
    pub fn restart_server(&mut self) {
        let mut server = start_server(&self.python, self.server_port, &self.folder);
        let [plain, _] = ports(&mut server);
        assert_eq!(plain, self.server_port);
        self.server = Some(server);
    }

    /// Statistics of which nothing moves any more.
    pub fn still_stats(&self) -> Stats {
        let is_over = |stats: &Stats| {
            let active = |name: &str| name.starts_with("ext_authz.") && name.ends_with(".active");
            let active = stats.iter().filter(|(name, _)| active(name));
            active.map(|(_, count)| count).sum::<u64>() == 0
        };
        observation::await_still_within(self.process.admin(), PATIENCE, is_over)
    }
}

fn start_server(python: &PathBuf, port: u16, folder: &Path) -> Script {
    let argument = format!("{port} {}", folder.display());
    Script::start(python, "../ext_authz/server.py", argument.as_ref())
}

/// The server's ports, without TLS and with it.
fn ports(server: &mut Script) -> [u16; 2] {
    server.ports().try_into().expect("two ports")
}

/// A host that greets, and then sends back what it gets.
fn host(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || send_back(stream, greeting));
        }
    });
    port
}

fn send_back(mut stream: TcpStream, greeting: &[u8]) {
    // A proxy that does not take it is seen by its client.
    let _ = stream.write_all(greeting);
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = patience::read(&mut stream, &mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// A connection to the proxy.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the listener is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// Breaks a connection off.
pub fn reset(stream: TcpStream) {
    let socket = SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

/// Reads until there are so many bytes, or the end.
pub fn read(mut from: impl Read, count: usize) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < count {
        match patience::read(&mut from, &mut buffer) {
            Ok(0) => return format!("{:?}, then the end", String::from_utf8_lossy(&bytes)),
            Ok(taken) => bytes.extend_from_slice(&buffer[..taken]),
            // An alert of TLS.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return format!("{:?}, then {error}", String::from_utf8_lossy(&bytes));
            }
            Err(_) => return format!("{:?}, then an error", String::from_utf8_lossy(&bytes)),
        }
    }
    format!("{:?}", String::from_utf8_lossy(&bytes))
}
