//! When bytes of connections to hosts are counted: while a request is in flight.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::patience;
use ringway_tests::process::{Process, Program};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: "
- name: v
  domains: ['*']
  routes:
  - { match: { prefix: / }, route: { cluster: origin } }
",
}];

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc";

/// Waits until the counter says this many bytes; the last that it said is
/// returned.
fn counted(process: &Process, name: &str, wanted: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = format!("cluster.origin.{name}");
        let now = process.admin().stat(&stat);
        if now == wanted || Instant::now() > deadline {
            return now;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is counted less what the host has received of the request, and has sent
/// of its response, while the other side waits.
fn missing(program: &Program) -> [u64; 2] {
    let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = host.local_addr().expect("it is bound").port();
    let text = bootstrap(LISTENERS, &cluster("origin", port, ""));
    let process = Process::start(program, &text);
    let mut client = TcpStream::connect(process.listener("main")).expect("it listens");
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("it is read");
    let (mut upstream, _) = host.accept().expect("a connection");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut more = [0; 4096];
        let length = patience::read(&mut upstream, &mut more).expect("a request");
        assert!(length > 0, "the request ends within its head");
        request.extend_from_slice(&more[..length]);
    }
    let length = request.len() as u64;
    let sent = length.abs_diff(counted(&process, "upstream_cx_tx_bytes_total", length));
    upstream.write_all(HALF).expect("the proxy reads");
    let length = HALF.len() as u64;
    let received = length.abs_diff(counted(&process, "upstream_cx_rx_bytes_total", length));
    upstream.write_all(b"def").expect("the proxy reads");
    let mut response = Vec::new();
    while !response.ends_with(b"abcdef") {
        let mut more = [0; 4096];
        let length = patience::read(&mut client, &mut more).expect("a response");
        assert!(length > 0, "the response is cut short");
        response.extend_from_slice(&more[..length]);
    }
    [sent, received]
}

#[test]
fn bytes_count_when_they_are_sent_as_in_envoy() {
    let test = "bytes_count_when_they_are_sent_as_in_envoy";
    if let Some(missing) = as_in_envoy(test, missing) {
        assert_eq!(missing, [0, 0]);
    }
}
