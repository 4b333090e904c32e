//! What an operator sees and does: endpoints of the admin server, slow readers, hosts
//! that come and go, the end of the process.

use ringway_tests::patience;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ringway_tests::bootstrap::cluster;
use ringway_tests::fleet::Fleet;
use ringway_tests::process::{Process, Program, each_driver};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy of the cluster `hosts`, whose hosts have these ports.
pub fn proxy(program: &Program, ports: &[u16], more: &str) -> Process {
    let mut clusters = cluster("hosts", ports[0], "");
    for port in &ports[1..] {
        clusters += &format!(
            "      - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
        );
    }
    let clusters: String = clusters.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: tcp
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: hosts, {more} }}
  clusters:
{clusters}"
    );
    Process::start(program, &text)
}

pub fn connect(process: &Process) -> TcpStream {
    let stream = TcpStream::connect(process.listener("tcp")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// One request of HTTP through the proxy that knows nothing of it; what came back.
fn ask(stream: &mut TcpStream) -> String {
    if stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .is_err()
    {
        return String::new();
    }
    let mut bytes = [0; 1024];
    match patience::read(&mut *stream, &mut bytes) {
        Ok(count) => String::from_utf8_lossy(&bytes[..count]).into_owned(),
        Err(_) => String::new(),
    }
}

fn resident_kb(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()));
    let status = status.expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn explanations_and_dumps_know_what_a_tcp_proxy_does() {
    let fleet = Fleet::start(2);
    each_driver(|program| {
        let process = proxy(program, &fleet.ports(), "idle_timeout: 7s");
        let told = process.admin().get("/explain").text();
        for part in [
            "TCP proxy",
            "hosts",
            "ROUND_ROBIN",
            "idle: 7s",
            &fleet.address(1).to_string(),
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let dump = process.admin().get("/config_dump").text();
        assert!(dump.contains("tcp_proxy.v3.TcpProxy"), "{dump}");
        assert!(
            process
                .admin()
                .get("/listeners")
                .text()
                .starts_with("tcp::127.0.0.1:")
        );
        let mut stream = connect(&process);
        assert!(ask(&mut stream).contains("x-host: "));
        let clusters = process.admin().get("/clusters").text();
        let active: Vec<_> = clusters
            .lines()
            .filter(|line| line.ends_with("cx_active::1"))
            .collect();
        assert_eq!(active.len(), 1, "{clusters}");
    });
}

/// A host sends what its client does not read: the host is held up, nothing grows.
#[test]
fn a_slow_reader_costs_no_memory() {
    const SENT: usize = 256 * 1024 * 1024;
    each_driver(|program| {
        let host = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = host.local_addr().expect("an address").port();
        let process = proxy(program, &[port], "");
        let stream = connect(&process);
        let (mut sending, _) = host.accept().expect("the proxy's connection");
        let before = resident_kb(&process);
        sending
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("an option");
        let piece = vec![7; 64 * 1024];
        let mut sent = 0;
        let paused = "cluster.hosts.upstream_flow_control_paused_reading_total";
        while sent < SENT {
            match sending.write_all(&piece) {
                Ok(()) => sent += piece.len(),
                // Nobody takes it, because the host is held up and not because the
                // machine is busy.
                Err(_) if process.admin().stat(paused) > 0 => break,
                Err(_) => {}
            }
        }
        assert!(sent < SENT, "somebody took all of it");
        let grown = resident_kb(&process).saturating_sub(before);
        // Receive buffers are used in turn: all 32 MiB of them may have been touched.
        assert!(grown < 40 * 1024, "{grown} kB for {sent} bytes");
        drop(stream);
    });
}

/// Hosts are killed and come back while clients go on: each gets an answer or an end,
/// and every connection is counted to its end.
#[test]
fn clients_go_on_while_hosts_come_and_go() {
    each_driver(|program| {
        let mut fleet = Fleet::start(2);
        let process = proxy(program, &fleet.ports(), "max_connect_attempts: 2");
        let mut open: Vec<TcpStream> = (0..10).map(|_| connect(&process)).collect();
        for stream in &mut open {
            assert!(ask(stream).contains("x-host: "));
        }
        fleet.kill(0);
        // The connections of the host that is gone were reset, the others live.
        let alive = open.iter_mut().filter_map(|stream| {
            let answer = ask(stream);
            (!answer.is_empty()).then_some(answer)
        });
        assert_eq!(
            alive.filter(|answer| answer.contains("x-host: 1")).count(),
            5
        );
        for _ in 0..10 {
            let answer = ask(&mut connect(&process));
            assert!(answer.contains("x-host: 1"), "{answer:?}");
        }
        fleet.revive(0);
        let answers: Vec<_> = (0..4).map(|_| ask(&mut connect(&process))).collect();
        assert!(
            answers.iter().any(|answer| answer.contains("x-host: 0")),
            "{answers:?}"
        );
        drop(open);
        // Its ends of the connections.
        drop(fleet);
        let (stats, over) = process.admin().await_stats(PATIENCE, |stats| {
            stats
                .get("cluster.hosts.upstream_cx_active")
                .copied()
                .unwrap_or(0)
                == 0
                && stats.iter().all(|(name, value)| {
                    !name.starts_with("listener.127") || !name.ends_with("cx_active") || *value == 0
                })
        });
        assert!(over, "{stats:?}");
        assert_eq!(stats["tcp.tcp.downstream_cx_total"], 24, "{stats:?}");
    });
}

/// A drain lets connections go on; the second signal ends them.
#[test]
fn a_drain_waits_for_connections() {
    let fleet = Fleet::start(1);
    each_driver(|program| {
        let mut process = proxy(program, &fleet.ports(), "");
        let address = process.listener("tcp");
        let mut stream = connect(&process);
        assert!(ask(&mut stream).contains("x-host: "));
        process.signal(libc::SIGTERM);
        let begun = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the listener is still open");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(ask(&mut stream).contains("x-host: "));
        assert!(process.is_running());
        process.signal(libc::SIGTERM);
        process.wait(PATIENCE);
        let mut rest = Vec::new();
        // The end, or a reset: nothing more comes in any case.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    });
}

/// When the last connection is over, so is the drain.
#[test]
fn a_drain_ends_with_the_last_connection() {
    let fleet = Fleet::start(1);
    each_driver(|program| {
        let mut process = proxy(program, &fleet.ports(), "check_drain_close: true");
        let mut stream = connect(&process);
        assert!(ask(&mut stream).contains("x-host: "));
        process.signal(libc::SIGTERM);
        // The next bytes are the last ones.
        let begun = Instant::now();
        while !ask(&mut stream).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "the connection is still open");
        }
        let _ = stream.shutdown(Shutdown::Both);
        process.wait(PATIENCE);
    });
}
