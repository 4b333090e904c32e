//! A side that takes nothing holds the other one up, and both are told of.

use ringway_tests::admin::Stats;
use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, bootstrap, cluster};
use ringway_tests::process::{Process, compared_programs};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: EVERYTHING_TO_ORIGIN,
}];

/// More than sockets and proxies keep.
const BODY: usize = 64 * 1024 * 1024;

const PATIENCE: Duration = Duration::from_secs(30);

const HOST_NOT_READ: Pauses = Pauses {
    begun: "cluster.origin.upstream_flow_control_paused_reading_total",
    ended: "cluster.origin.upstream_flow_control_resumed_reading_total",
};
const HOST_FULL: Pauses = Pauses {
    begun: "cluster.origin.upstream_flow_control_backed_up_total",
    ended: "cluster.origin.upstream_flow_control_drained_total",
};
const CLIENT_NOT_READ: Pauses = Pauses {
    begun: "http.main.downstream_flow_control_paused_reading_total",
    ended: "http.main.downstream_flow_control_resumed_reading_total",
};

/// Counters of how often something has begun and ended.
struct Pauses {
    begun: &'static str,
    ended: &'static str,
}

impl Pauses {
    fn of(&self, stats: &Stats) -> (u64, u64) {
        let value = |name| stats.get(name).copied().unwrap_or(0);
        (value(self.begun), value(self.ended))
    }

    fn is_on(&self, stats: &Stats) -> bool {
        let (begun, ended) = self.of(stats);
        begun == ended + 1
    }

    /// The last one may have ended with its request, which nobody counts.
    fn has_gone_on(&self, stats: &Stats) -> bool {
        let (begun, ended) = self.of(stats);
        ended > 0 && begun - ended <= 1
    }
}

fn await_that(process: &Process, what: &str, condition: impl Fn(&Stats) -> bool) -> Stats {
    let (stats, came) = process.admin().await_stats(PATIENCE, condition);
    let counted: Vec<_> = stats
        .iter()
        .filter(|(name, _)| name.contains("flow_control"))
        .collect();
    assert!(came, "{}: {what}: {counted:?}", process.name());
    stats
}

/// Each program with a client and a host of its own.
fn each(test: &str, play: impl Fn(&Process, TcpStream, &TcpListener)) {
    for program in compared_programs(test).unwrap_or_default() {
        let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = host.local_addr().expect("an address").port();
        let process = Process::start(
            &program,
            &bootstrap(LISTENERS, &cluster("origin", port, "")),
        );
        let client = TcpStream::connect(process.listener("main")).expect("the listener");
        play(&process, client, &host);
    }
}

/// Reads to the end of a head.
fn read_head(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        read.extend(byte);
    }
}

fn read_body(stream: &mut TcpStream) {
    let read = std::io::copy(&mut stream.take(BODY as u64), &mut std::io::sink());
    assert_eq!(read.expect("a body"), BODY as u64);
}

/// Sends a head and its body. The other side may leave before its end.
fn send(mut stream: TcpStream, head: String) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || {
        stream.write_all(head.as_bytes()).expect("a head is taken");
        let _ = stream.write_all(&vec![b'x'; BODY]);
        stream
    })
}

fn upload() -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY}\r\n\r\n")
}

#[test]
fn a_client_that_reads_nothing_holds_the_host_up() {
    each("flow control of responses", |process, mut client, host| {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("a request is taken");
        let (mut of_host, _) = host.accept().expect("the proxy's connection");
        read_head(&mut of_host);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
        let sending = send(of_host, head);
        await_that(process, "the host is not read", |stats| {
            HOST_NOT_READ.is_on(stats)
        });
        read_head(&mut client);
        read_body(&mut client);
        let stats = await_that(process, "it goes on", |stats| {
            HOST_NOT_READ.has_gone_on(stats)
        });
        sending.join().expect("a host that has sent all");
        assert_eq!(HOST_FULL.of(&stats), (0, 0));
        assert_eq!(CLIENT_NOT_READ.of(&stats), (0, 0));
    });
}

#[test]
fn a_host_that_reads_nothing_holds_the_client_up() {
    each("flow control of requests", |process, client, host| {
        let sending = send(client, upload());
        let (mut of_host, _) = host.accept().expect("the proxy's connection");
        await_that(process, "the client is not read", |stats| {
            CLIENT_NOT_READ.is_on(stats) && HOST_FULL.is_on(stats)
        });
        read_head(&mut of_host);
        read_body(&mut of_host);
        of_host
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .expect("an answer is taken");
        let mut client = sending.join().expect("a client that has sent all");
        read_head(&mut client);
        let stats = await_that(process, "it goes on", |stats| {
            CLIENT_NOT_READ.has_gone_on(stats) && HOST_FULL.has_gone_on(stats)
        });
        assert_eq!(HOST_NOT_READ.of(&stats), (0, 0));
    });
}
