//! Those who speak PROXY protocol to us in earnest: HAProxy, in both versions, and
//! curl.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringway_tests::comparison::as_in_envoy;
use ringway_tests::ports::Reserved;
use ringway_tests::process::{Process, Program, end_with_parent};
use ringway_tests::programs;
use socket2::{Domain, Socket, Type};

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whom clients come from.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// Tells every client who it is.
const CONFIGURATION: &str = r#"
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: told
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    listener_filters:
    - { name: proxy, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }
    filter_chains:
    - filters:
      - name: manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              response_headers_to_add:
              - header: { key: x-told, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% by %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% to %DOWNSTREAM_LOCAL_ADDRESS%" }
              routes:
              - { match: { prefix: / }, direct_response: { status: 200 } }
          http_filters:
          - { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
"#;

/// An HAProxy that ends with its test.
struct HaProxy {
    child: Child,
    ports: [u16; 2],
    _reserved: [Reserved; 2],
}

impl HaProxy {
    /// One that sends each version of the header, each on a port of its own.
    fn start(program: &Path, to: SocketAddr, folder: &Path) -> Self {
        let file = folder.join("haproxy.cfg");
        // It shares ports.
        let reserved = [Reserved::new(), Reserved::new()];
        let ports = [reserved[0].port(), reserved[1].port()];
        let text = format!(
            "defaults
  mode tcp
  timeout connect 20s
  timeout client 20s
  timeout server 20s
listen first
  bind 127.0.0.1:{}
  server told {to} send-proxy
listen second
  bind 127.0.0.1:{}
  server told {to} send-proxy-v2
",
            ports[0], ports[1]
        );
        std::fs::write(&file, text).expect("the configuration can be written");
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        end_with_parent(&mut command);
        let child = command.spawn().expect("HAProxy starts");
        let mut haproxy = Self {
            child,
            ports,
            _reserved: reserved,
        };
        assert!(haproxy.is_ready(), "HAProxy does not listen");
        haproxy
    }

    fn is_ready(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return false;
            }
            let is_there = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
            if self.ports.iter().all(is_there) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an answer says of the client that has got it.
fn told(answer: &str) -> String {
    let line = answer.lines().find(|line| line.starts_with("x-told"));
    line.unwrap_or(answer).trim().to_owned()
}

fn ask(port: u16) -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((CLIENT, 0));
    socket.bind(&from.into()).expect("a free port");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect(&to.into()).expect("HAProxy listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    told(&answer).replace(&format!(":{port}"), ":HAPROXY")
}

#[test]
fn haproxy_tells_who_its_clients_are() {
    let test = "haproxy_tells_who_its_clients_are";
    let Some(haproxy) = programs::optional(test, "haproxy") else {
        return;
    };
    let seen = as_in_envoy(test, |program: &Program| {
        let process = Process::start(program, CONFIGURATION);
        let front = HaProxy::start(&haproxy, process.listener("told"), process.folder());
        front.ports.map(ask).to_vec()
    });
    let Some(seen) = seen else {
        return;
    };
    assert_eq!(
        seen,
        ["x-told: 127.0.0.7 by 127.0.0.1 to 127.0.0.1:HAPROXY"; 2]
    );
}

#[test]
fn curl_tells_who_it_is() {
    let test = "curl_tells_who_it_is";
    let Some(curl) = programs::optional(test, "curl") else {
        return;
    };
    let seen = as_in_envoy(test, |program: &Program| {
        let process = Process::start(program, CONFIGURATION);
        let port = process.listener("told").port();
        let output = Command::new(&curl)
            .args(["-s", "-i", "--haproxy-protocol", "--max-time", "20"])
            .args(["--interface", &CLIENT.to_string()])
            .arg(format!("http://127.0.0.1:{port}/"))
            .output()
            .expect("curl runs");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        told(&answer).replace(&format!(":{port}"), ":LISTENER")
    });
    let Some(seen) = seen else {
        return;
    };
    assert_eq!(seen, "x-told: 127.0.0.7 by 127.0.0.7 to 127.0.0.1:LISTENER");
}
