//! Connections that have no end of ours to begin at: no port is left, or the address is
//! not to be had. The ports are few because the cluster's sockets are told so
//! (`IP_LOCAL_PORT_RANGE`), and taken because the test has bound them.

use ringway_tests::patience;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use ringway_tests::bootstrap::{bootstrap, cluster};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::logs;
use ringway_tests::observation::{await_still, moved};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs::say;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::{LISTENERS, await_true, stat};

const PATIENCE: Duration = Duration::from_secs(30);

/// A listener in front of the same cluster that knows nothing of HTTP.
const TCP: &str = r#"  - name: tcp
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: origin
          max_connect_attempts: 2
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{DIR}/tcp.log"
              log_format: { text_format_source: { inline_string: "flags=%RESPONSE_FLAGS% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT% host=%UPSTREAM_HOST%\n" } }
  clusters:
"#;

/// A request has a connection of its own.
const HTTP2: &str = "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.\
                     HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.\
                     upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { \
                     http2_protocol_options: { max_concurrent_streams: 1 } } } }\n";

/// The option's number, which the crate `libc` does not have.
const IP_LOCAL_PORT_RANGE: i32 = 51;

/// Two ports, one behind the other, which nobody else gets.
struct Ports {
    first: Socket,
    second: Socket,
    number: u16,
}

impl Ports {
    fn take() -> Self {
        let bound = |port: u16| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            socket.bind(&at.into()).ok().map(|()| socket)
        };
        for _ in 0..1000 {
            let first = bound(0).expect("a free port");
            let address = first.local_addr().expect("it is bound");
            let number = address.as_socket().expect("an IP address").port();
            if let Some(second) = number.checked_add(1).and_then(bound) {
                return Self {
                    first,
                    second,
                    number,
                };
            }
        }
        panic!("no two ports that are free");
    }

    /// Has the kernel choose one of them.
    fn option(&self) -> String {
        let range = self.range();
        format!(
            "upstream_bind_config: {{ socket_options: [ {{ level: {}, name: {IP_LOCAL_PORT_RANGE}, \
             int_value: {range} }} ] }}\n",
            libc::IPPROTO_IP
        )
    }

    fn range(&self) -> i32 {
        let range = u32::from(self.number + 1) << 16 | u32::from(self.number);
        range.cast_signed()
    }

    /// Whether the kernel knows of such ranges (Linux 6.3).
    fn is_supported(&self, test: &str) -> bool {
        let range = self.range();
        // SAFETY: a plain system call with a pointer to four bytes that live on.
        let taken = unsafe {
            libc::setsockopt(
                self.first.as_raw_fd(),
                libc::IPPROTO_IP,
                IP_LOCAL_PORT_RANGE,
                (&raw const range).cast(),
                4,
            )
        };
        if taken != 0 {
            say(&format!(
                "skipped: {test}: no IP_LOCAL_PORT_RANGE in this kernel"
            ));
        }
        taken == 0
    }
}

fn start(program: &Program, host: &TcpListener, more: &str) -> Process {
    let port = host.local_addr().expect("it is bound").port();
    let text = bootstrap(LISTENERS, &cluster("origin", port, more));
    Process::start(program, &text.replacen("  clusters:\n", TCP, 1))
}

fn host() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn ask(process: &Process, path: &str) -> String {
    let answer = Client::connect(process.listener("main")).get(path);
    let answer = answer.expect("an answer");
    format!("{} {}", answer.status, answer.body)
}

/// What becomes of requests and of a connection that does not get through, in answers,
/// logs and statistics.
fn failures(process: &Process, ports: &[(u16, &str)]) -> Vec<String> {
    let before = process.admin().stats();
    let mut seen = vec![ask(process, "/"), ask(process, "/again/")];
    let mut client = TcpStream::connect(process.listener("tcp")).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    seen.push(format!("{:?}", patience::read(&mut client, &mut [0]).ok()));
    for (log, lines) in [("main.log", 2), ("tcp.log", 1)] {
        let log = process.folder().join(log);
        seen.extend(logs::await_lines(&log, 0, lines, PATIENCE));
    }
    let after = await_still(process.admin(), |_| true);
    let is_counted = |name: &str| {
        let is_pace = name.contains("bytes") || name.contains("nghttp2");
        name.starts_with("cluster.origin.") && !is_pace
    };
    let counted = moved(&before, &after, is_counted);
    seen.extend(counted.iter().map(|(name, by)| format!("{name} {by:+}")));
    for text in &mut seen {
        for (port, name) in ports {
            *text = text.replace(&format!("127.0.0.1:{port}"), name);
        }
    }
    seen
}

/// A request that gets through, so that its connection is there until it is dropped.
fn held(process: &Process, host: &TcpListener) -> (Client, TcpStream) {
    let mut client = Client::connect(process.listener("main"));
    client.send("GET", "/");
    host.set_nonblocking(true).expect("an option");
    let mut stream = None;
    await_true("the proxy has connected", || {
        stream = host.accept().ok();
        stream.is_some()
    });
    (client, stream.expect("a connection").0)
}

fn as_in_envoy_with_few_ports(test: &str, more: &str) {
    if !Ports::take().is_supported(test) {
        return;
    }
    let _ = as_in_envoy(test, |program| {
        let (host, ports) = (host(), Ports::take());
        let process = start(program, &host, &format!("{}{more}", ports.option()));
        let of_host = host.local_addr().expect("it is bound").port();
        let mut seen = failures(&process, &[(of_host, "HOST")]);
        // One port is free again, and a connection takes it.
        drop(ports.second);
        let (_client, stream) = held(&process, &host);
        // With HTTP/2 Envoy has a request wait for the connection that there is.
        if more.is_empty() {
            seen.push(ask(&process, "/"));
        }
        // When that one ends, there is the next.
        drop(stream);
        await_true("the connection has ended", || {
            stat(&process, "upstream_cx_active") == 0
        });
        drop(held(&process, &host));
        seen
    });
}

#[test]
fn ports_that_run_out_are_as_in_envoy() {
    as_in_envoy_with_few_ports("ports_that_run_out_are_as_in_envoy", "");
}

#[test]
fn ports_that_run_out_with_http2_are_as_in_envoy() {
    as_in_envoy_with_few_ports("ports_that_run_out_with_http2_are_as_in_envoy", HTTP2);
}

/// Checks of hosts have the same ports as requests.
#[test]
fn checks_without_a_port_fail_as_in_envoy() {
    let test = "checks_without_a_port_fail_as_in_envoy";
    if !Ports::take().is_supported(test) {
        return;
    }
    let _ = as_in_envoy(test, |program| {
        let (host, ports) = (host(), Ports::take());
        let check = "health_checks: [ { timeout: 30s, interval: 0.05s, no_traffic_interval: \
                     0.05s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} } ]\n";
        let process = start(program, &host, &format!("{}{check}", ports.option()));
        await_true("checks have failed", || {
            stat(&process, "health_check.network_failure") > 1
        });
        let names = ["membership_healthy", "health_check.success", "bind_errors"];
        let failed = names.map(|name| stat(&process, name));
        drop(ports);
        await_true("the host is well", || {
            stat(&process, "membership_healthy") == 1
        });
        failed
    });
}

/// Our end has a port that is somebody else's, or an option that there is not.
#[test]
fn ends_that_are_not_to_be_had_are_as_in_envoy() {
    let _ = as_in_envoy("ends_that_are_not_to_be_had_are_as_in_envoy", |program| {
        let (host, ports) = (host(), Ports::take());
        let of_host = host.local_addr().expect("it is bound").port();
        let sources = [
            format!("port_value: {} }}", ports.number),
            "port_value: 0 }, socket_options: [ { level: 6, name: 9999, int_value: 1 } ]".into(),
        ];
        sources.map(|source| {
            let more = format!(
                "upstream_bind_config: {{ source_address: {{ address: 127.0.0.1, {source} }}\n"
            );
            let process = start(program, &host, &more);
            let seen = failures(&process, &[(of_host, "HOST"), (ports.number, "SOURCE")]);
            // Envoy tells of each connection.
            if matches!(program, Program::Ringway(_)) && source.contains("9999") {
                let told = process.stderr();
                let lines = told.matches("the socket option 9999 of level 6");
                assert_eq!(lines.count(), 1, "{told}");
            }
            seen
        })
    });
}

/// There is no way to the host from our end, which is the machine's own: that is known
/// before anything is sent.
#[test]
fn ends_from_which_no_way_leads_are_as_in_envoy() {
    let test = "ends_from_which_no_way_leads_are_as_in_envoy";
    let seen = as_in_envoy(test, |program| {
        // RFC 5737: nobody is there.
        let cluster = cluster("origin", 9, "SOURCE\n").replace("127.0.0.1", "198.51.100.1");
        let source =
            "upstream_bind_config: { source_address: { address: 127.0.0.1, port_value: 0 } }";
        let text = bootstrap(LISTENERS, &cluster.replace("SOURCE", source));
        let process = Process::start(program, &text.replacen("  clusters:\n", TCP, 1));
        failures(&process, &[])
    });
    if let Some(seen) = seen {
        let has = |part: &str| seen.iter().any(|line| line.contains(part));
        assert!(has("immediate"), "{seen:#?}");
    }
}
