//! A proxy whose listeners ask an authorization server, and hosts behind it.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use ringway_tests::admin::Stats;
use ringway_tests::observation;
use ringway_tests::process::{Process, Program};
use socket2::{Domain, SockRef, Socket, Type};

use crate::files::Files;
use crate::script::Script;

/// How long something that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A listener that asks.
#[derive(Clone, Copy)]
pub struct Listener {
    pub name: &'static str,
    /// What the server is told to say.
    pub decision: &'static str,
    /// The cluster of the server.
    pub cluster: &'static str,
    /// More of `grpc_service`.
    pub call: &'static str,
    /// More of the filter.
    pub fields: &'static str,
    /// The filter behind it.
    pub terminal: Terminal,
    /// It speaks TLS and asks for a certificate.
    pub tls: bool,
}

/// What ends a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// To a host that sends back what it gets.
    Tcp,
    /// To a host that speaks first.
    Greeting,
    Echo,
    Http,
}

impl Listener {
    /// A listener in front of the host that sends back what it gets.
    pub const fn new(name: &'static str, decision: &'static str) -> Self {
        Self {
            name,
            decision,
            cluster: "auth",
            call: "",
            fields: "",
            terminal: Terminal::Tcp,
            tls: false,
        }
    }

    fn filters(&self) -> String {
        let Self {
            name,
            decision,
            cluster,
            call,
            fields,
            ..
        } = self;
        let call = match *call {
            "" => "timeout: 20s",
            call => call,
        };
        let mut text = format!(
            "      - {{ name: ext_authz, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz, stat_prefix: {name}, \
             grpc_service: {{ envoy_grpc: {{ cluster_name: {cluster} }}, {call}, initial_metadata: [ {{ key: X-Decision, value: {decision} }} ] }}, {fields} }} }}\n"
        );
        let tcp = |cluster: &str| {
            format!(
                "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: {name}, cluster: {cluster}"
            )
        };
        let config = match self.terminal {
            Terminal::Tcp => tcp("host"),
            Terminal::Greeting => tcp("greeting"),
            Terminal::Echo => "envoy.extensions.filters.network.echo.v3.Echo".to_owned(),
            Terminal::Http => format!(
                "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: {name}, \
                 http_filters: [ {{ name: router, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ], \
                 route_config: {{ virtual_hosts: [ {{ name: all, domains: [ \"*\" ], routes: [ {{ match: {{ prefix: \"/\" }}, direct_response: {{ status: 200, body: {{ inline_string: fine }} }} }} ] }} ] }}"
            ),
        };
        let _ = writeln!(
            text,
            "      - {{ name: last, typed_config: {{ \"@type\": type.googleapis.com/{config} }} }}"
        );
        text
    }
}

/// What differs from run to run in a log is not in it.
const LOG: &str = "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
     received %BYTES_RECEIVED% sent %BYTES_SENT% %UPSTREAM_CLUSTER% \
     %DYNAMIC_METADATA(envoy.filters.network.ext_authz)%";

fn configuration(listeners: &[Listener], files: &Files, ports: &[(&str, u16)]) -> String {
    let mut text = String::from(
        "node: { id: me, cluster: us, metadata: { labels: { a: b, c: d } } }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
",
    );
    for listener in listeners {
        let name = listener.name;
        let _ = writeln!(
            text,
            "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    access_log: [ {{ name: log, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"{{DIR}}/{name}.log\", log_format: {{ text_format_source: {{ inline_string: \"{LOG}\\n\" }} }} }} }} ]
    filter_chains:
    - filters:
{}",
            listener.filters()
        );
        if listener.tls {
            let folder = files.folder().to_string_lossy();
            let _ = writeln!(
                text,
                "      transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, require_client_certificate: true, \
                 common_tls_context: {{ tls_certificates: [ {{ certificate_chain: {{ filename: {folder}/server.pem }}, private_key: {{ filename: {folder}/server.key }} }} ], \
                 validation_context: {{ trusted_ca: {{ filename: {folder}/ca.pem }} }} }} }} }}
    listener_filters: [ {{ name: tls_inspector, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }} ]"
            );
        }
    }
    text += "  clusters:\n";
    const HTTP2: &str = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } },";
    for (name, port) in ports {
        let protocol = match *name {
            "host" | "greeting" | "auth_http1" => "",
            _ => HTTP2,
        };
        let _ = writeln!(
            text,
            "  - {{ name: {name}, {protocol} load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }} }}"
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
    /// Nobody else gets the server's port, nor connects from it.
    _reserved: Socket,
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
        let reserved = reserve_port();
        let server_port = observation::port(&reserved);
        let mut server = start_server(python, server_port);
        assert_eq!(server.ports(), [server_port]);
        let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // Nobody gets a port again so soon that has just been free.
        let down = {
            let gone = TcpListener::bind("127.0.0.1:0").expect("a free port");
            gone.local_addr().expect("an address").port()
        };
        let ports = [
            ("host", host(b"")),
            ("greeting", host(b"greeting")),
            ("auth", server_port),
            ("auth_http1", server_port),
            ("auth_down", down),
            ("auth_mute", mute.local_addr().expect("an address").port()),
        ];
        let text = configuration(listeners, files, &ports);
        Self {
            process: Process::start_with(program, &text, flags),
            server: Some(server),
            server_port,
            python: python.clone(),
            _reserved: reserved,
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
        let mut server = start_server(&self.python, self.server_port);
        assert_eq!(server.ports(), [self.server_port]);
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

/// A port that is bound, but where nobody listens; the library shares it.
fn reserve_port() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a free port");
    socket
}

fn start_server(python: &PathBuf, port: u16) -> Script {
    Script::start(python, "../ext_authz/server.py", port.to_string().as_ref())
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
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
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
        match from.read(&mut buffer) {
            Ok(0) => return format!("{:?}, then the end", String::from_utf8_lossy(&bytes)),
            Ok(taken) => bytes.extend_from_slice(&buffer[..taken]),
            Err(_) => return format!("{:?}, then an error", String::from_utf8_lossy(&bytes)),
        }
    }
    format!("{:?}", String::from_utf8_lossy(&bytes))
}
