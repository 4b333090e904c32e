//! Connections that carry so much that the kernel moves their bytes: what both sides
//! see, what is counted and logged is what it is without that.

use ringway_tests::patience;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use ringway_tests::admin::Stats;
use ringway_tests::process::{Process, each_driver};
use socket2::SockRef;

use crate::acts::endings;
use crate::operation::{PATIENCE, connect, proxy};
use crate::scene::{
    Act, Case, Listener, Suite, Who, case, client_sends, host_sends, listener, proxied,
};

const LISTENERS: &[Listener] = &[
    listener("one", proxied!("cluster: one")),
    listener("idle", proxied!("cluster: one, idle_timeout: 10s")),
    listener(
        "short",
        proxied!("cluster: one, max_downstream_connection_duration: 15s"),
    ),
];

const CLUSTERS: &str = "
- name: one
  connect_timeout: 5s
  load_assignment:
    cluster_name: one
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: {HOST0} } } }
";

/// A connection on which much has gone both ways, so that both are spliced.
fn busy(acts: &[Act]) -> Vec<Act> {
    let large: Vec<u8> = (0..12_000_000u32).map(|at| (at % 251) as u8).collect();
    let before = [
        Act::Accept(0),
        host_sends("go"),
        Act::Read(Who::Client, 2),
        Act::Exchange(large.clone(), large),
    ];
    [&before, acts].concat()
}

fn cases() -> Vec<Case> {
    use Who::{Client, Host};
    let more: Vec<u8> = (0..1_000_000u32).map(|at| (at % 241) as u8).collect();
    let endings = endings(&more).map(|(name, acts)| case(name, "one", &busy(&acts)));
    let others = vec![
        case(
            "the client resets after it has ended",
            "one",
            &busy(&[
                Act::Finish(Client),
                Act::ReadToEnd(Host),
                Act::Reset(Client),
                Act::SendToEnd(Host),
            ]),
        )
        .without(&["sent=", "tx_bytes", "rx_bytes", "wire="]),
        case(
            "small talk, much, and small talk again",
            "one",
            &busy(
                &[
                    vec![
                        [
                            client_sends("question"),
                            Act::Read(Host, 8),
                            host_sends("answer"),
                            Act::Read(Client, 6),
                        ];
                        10
                    ]
                    .concat(),
                    vec![
                        Act::Exchange(more.clone(), more),
                        Act::Close(Client),
                        Act::ReadToEnd(Host),
                    ],
                ]
                .concat(),
            ),
        ),
        case(
            "nothing moves any more",
            "idle",
            &busy(&[Act::ReadToEnd(Client), Act::ReadToEnd(Host)]),
        ),
        case(
            "it takes too long",
            "short",
            &busy(&[Act::ReadToEnd(Client), Act::ReadToEnd(Host)]),
        ),
    ];
    // How often a side is not read depends on who is faster, and Envoy lets a client
    // go whose host has not taken everything yet.
    endings
        .into_iter()
        .chain(others)
        .map(|case| match case.uncertain {
            [] => case.without(&["flow_control", "upstream_flush"]),
            _ => case.without(&[
                "flow_control",
                "upstream_flush",
                "sent=",
                "tx_bytes",
                "rx_bytes",
                "wire=",
            ]),
        })
        .collect()
}

#[test]
fn much_is_carried_as_by_envoy() {
    let suite = Suite {
        listeners: LISTENERS,
        clusters: CLUSTERS,
        behind: "",
        cases,
    };
    suite.run("much_is_carried_as_by_envoy");
}

/// A stream of bytes in which no stretch is like the one before or after: byte for
/// byte it says where it belongs.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..PATTERN_BYTES / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
});
const PATTERN_BYTES: usize = 1024 * 1024 + 8 * 1021;

/// Sends so many bytes of the pattern from its beginning, or until it cannot.
fn send(mut stream: &TcpStream, bytes: usize) -> usize {
    let mut sent = 0;
    while sent < bytes {
        let rest = &PATTERN[sent % PATTERN.len()..];
        match stream.write(&rest[..rest.len().min(bytes - sent)]) {
            Ok(more) => sent += more,
            Err(_) => break,
        }
    }
    sent
}

/// Sends the pattern again and again, until `done` and nobody takes any more of it.
fn send_until(mut stream: &TcpStream, done: &AtomicBool) {
    let mut sent = 0;
    loop {
        match stream.write(&PATTERN[sent % PATTERN.len()..]) {
            Ok(more) => sent += more,
            Err(_) if done.load(SeqCst) => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
}

/// Reads so many bytes of the pattern, or to an end that comes before: how many.
fn check(mut stream: &TcpStream, bytes: usize) -> usize {
    let mut buffer = vec![0; 256 * 1024];
    let mut got = 0;
    while got < bytes {
        let offset = got % PATTERN.len();
        let room = buffer.len().min(bytes - got).min(PATTERN.len() - offset);
        match patience::read(&mut stream, &mut buffer[..room]) {
            Ok(0) => break,
            Ok(more) => {
                assert!(
                    buffer[..more] == PATTERN[offset..offset + more],
                    "other bytes than were sent, near {got}"
                );
                got += more;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("after {got} bytes: {error}"),
        }
    }
    got
}

fn host() -> (TcpListener, u16) {
    let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = host.local_addr().expect("an address").port();
    (host, port)
}

/// A client and the host's end of its connection.
fn joined(process: &Process, host: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect(process);
    let (host, _) = host.accept().expect("the proxy's connection");
    host.set_read_timeout(Some(PATIENCE)).expect("an option");
    (client, host)
}

/// The descriptors that a process has open, and how many of them are ends of pipes.
fn descriptors(process: &Process) -> (usize, usize) {
    let folder = format!("/proc/{}/fd", process.pid());
    let entries = std::fs::read_dir(folder).expect("the process runs");
    let targets: Vec<_> = entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect();
    let pipes = targets
        .iter()
        .filter(|target| target.to_string_lossy().starts_with("pipe:"));
    (targets.len(), pipes.count())
}

/// Those of a process that has had a connection and has none now.
fn idle_descriptors(process: &Process, host: &TcpListener) -> (usize, usize) {
    drop(joined(process, host));
    await_stat(process, "cluster.hosts.upstream_cx_active", 0);
    let mut before = descriptors(process);
    let mut unchanged = 0;
    while unchanged < 20 {
        std::thread::sleep(Duration::from_millis(10));
        let now = descriptors(process);
        unchanged = if now == before { unchanged + 1 } else { 0 };
        before = now;
    }
    before
}

fn await_descriptors(process: &Process, done: impl Fn((usize, usize)) -> bool) -> (usize, usize) {
    let begun = Instant::now();
    loop {
        let now = descriptors(process);
        if done(now) || begun.elapsed() > PATIENCE {
            assert!(done(now), "{now:?}");
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads to the end, and whether that is a reset.
fn ends_with_reset(mut stream: &TcpStream) -> bool {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match patience::read(&mut stream, &mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Waits until a statistic has this value.
fn await_stat(process: &Process, name: &str, value: u64) {
    let there = |stats: &Stats| stats.get(name) == Some(&value);
    let (stats, came) = process.admin().await_stats(PATIENCE, there);
    assert!(came, "{name} {:?} instead of {value}", stats.get(name));
}

#[test]
fn a_gigabyte_comes_back_as_it_was() {
    const BYTES: usize = 1 << 30;
    each_driver(|program| {
        let (listener, port) = host();
        let process = proxy(program, &[port], "");
        let base = idle_descriptors(&process, &listener);
        let (client, host) = joined(&process, &listener);
        let most = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = vec![0; 1024 * 1024];
                loop {
                    match (&host).read(&mut buffer).expect("bytes or the end") {
                        0 => break,
                        more => (&host).write_all(&buffer[..more]).expect("a reader"),
                    }
                }
                host.shutdown(Shutdown::Write).expect("the end");
            });
            scope.spawn(|| {
                assert_eq!(send(&client, BYTES), BYTES);
                client.shutdown(Shutdown::Write).expect("the end");
            });
            let reading = scope.spawn(|| check(&client, usize::MAX));
            let mut most = 0;
            while !reading.is_finished() {
                most = most.max(descriptors(&process).1);
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(reading.join().expect("the pattern"), BYTES);
            most
        });
        assert!(most > base.1, "nothing was spliced");
        await_stat(
            &process,
            "tcp.tcp.downstream_cx_rx_bytes_total",
            BYTES as u64,
        );
        await_stat(
            &process,
            "tcp.tcp.downstream_cx_tx_bytes_total",
            BYTES as u64,
        );
        await_stat(
            &process,
            "cluster.hosts.upstream_cx_rx_bytes_total",
            BYTES as u64,
        );
        await_stat(
            &process,
            "cluster.hosts.upstream_cx_tx_bytes_total",
            BYTES as u64,
        );
        drop(client);
        await_descriptors(&process, |now| now == base);
    });
}

/// A reader that stops has a pipe, which is gone when everything was read.
#[test]
fn a_slow_reader_gets_all_of_it() {
    const BYTES: usize = 48 * 1024 * 1024;
    each_driver(|program| {
        let (listener, port) = host();
        let process = proxy(program, &[port], "");
        let base = idle_descriptors(&process, &listener);
        let (client, host) = joined(&process, &listener);
        // Whoever sends does not wait for ever if something goes wrong.
        host.set_write_timeout(Some(PATIENCE)).expect("an option");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(send(&host, BYTES), BYTES);
                host.shutdown(Shutdown::Write).expect("the end");
            });
            // With a reader the direction is spliced, and without one a pipe stays as full
            // as it can be: of bytes, or of pieces that are smaller than a page.
            assert_eq!(check(&client, 8 * 1024 * 1024), 8 * 1024 * 1024);
            await_descriptors(&process, |now| now.1 > base.1);
            let buffered = "tcp.tcp.downstream_cx_tx_bytes_buffered";
            let waiting = process.admin().stat(buffered);
            assert!(waiting <= 512 * 1024, "{waiting} bytes wait");
            let skipped = 8 * 1024 * 1024 % PATTERN.len();
            assert_eq!(check_from(&client, skipped), BYTES - 8 * 1024 * 1024);
            let paused = "cluster.hosts.upstream_flow_control_paused_reading_total";
            let resumed = "cluster.hosts.upstream_flow_control_resumed_reading_total";
            let (stats, came) = process
                .admin()
                .await_stats(PATIENCE, |stats| stats.get(paused) == stats.get(resumed));
            assert!(came, "{stats:?}");
            assert_eq!(stats.get(buffered).copied().unwrap_or(0), 0);
        });
        drop((client, host));
        await_descriptors(&process, |now| now == base);
    });
}

/// Reads to the end what begins at this place of the pattern.
fn check_from(mut stream: &TcpStream, offset: usize) -> usize {
    let mut first = vec![0; PATTERN.len() - offset];
    stream.read_exact(&mut first).expect("bytes");
    assert!(first == PATTERN[offset..], "other bytes than were sent");
    first.len() + check(stream, usize::MAX)
}

/// Whoever ends a connection whose reader is slow: what was counted arrives, and no
/// pipe is left.
#[test]
fn an_end_in_the_middle_loses_nothing_that_was_counted() {
    each_driver(|program| {
        let (listener, port) = host();
        let process = proxy(program, &[port], "idle_timeout: 5s");
        let base = idle_descriptors(&process, &listener);
        let (client, host) = joined(&process, &listener);
        // Nobody reads on: what can be sent is sent by then, and if it is not, the pipe
        // is no less there.
        host.set_write_timeout(Some(Duration::from_millis(300)))
            .expect("an option");
        let first = 8 * 1024 * 1024;
        let is_read = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send_until(&host, &is_read));
            assert_eq!(check(&client, first), first);
            is_read.store(true, SeqCst);
            let mut most = 0;
            while !sending.is_finished() {
                most = most.max(descriptors(&process).1);
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        assert!(most > base.1, "nothing was spliced");
        // The pipe is full, nothing moves, and that ends it.
        await_stat(&process, "tcp.tcp.idle_timeout", 1);
        let got = first + check_from(&client, first % PATTERN.len());
        await_stat(&process, "tcp.tcp.downstream_cx_tx_bytes_total", got as u64);
        drop((client, host));
        await_descriptors(&process, |now| now == base);
    });
}

#[test]
fn resets_in_the_middle_reach_the_other_side() {
    each_driver(|program| {
        let (listener, port) = host();
        let process = proxy(program, &[port], "");
        let base = idle_descriptors(&process, &listener);
        for number in 0..8 {
            let (client, host) = joined(&process, &listener);
            let (client_resets, client_sends) = (number % 2 == 0, number % 4 < 2);
            let (sender, reader) = match client_sends {
                true => (&client, &host),
                false => (&host, &client),
            };
            let brief = Some(Duration::from_millis(200));
            sender.set_write_timeout(brief).expect("an option");
            let is_read = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| send_until(sender, &is_read));
                let some = 4 * 1024 * 1024 + number * 100_000;
                assert_eq!(check(reader, some), some);
                is_read.store(true, SeqCst);
            });
            let (breaking, other) = match client_resets {
                true => (client, host),
                false => (host, client),
            };
            let linger = SockRef::from(&breaking).set_linger(Some(Duration::ZERO));
            linger.expect("an option");
            drop(breaking);
            assert!(ends_with_reset(&other), "{number}");
        }
        await_stat(&process, "cluster.hosts.upstream_cx_active", 0);
        await_descriptors(&process, |now| now == base);
    });
}

#[test]
fn two_hundred_at_once() {
    const CONNECTIONS: usize = 200;
    const BYTES: usize = 3 * 1024 * 1024;
    // Of a worker, of which there is one.
    const SPARE_ENDS_MAX: usize = 2 * 16;
    each_driver(|program| {
        let (listener, port) = host();
        let process = proxy(program, &[port], "");
        let base = idle_descriptors(&process, &listener);
        let pairs: Vec<_> = (0..CONNECTIONS)
            .map(|_| joined(&process, &listener))
            .collect();
        std::thread::scope(|scope| {
            for (client, host) in &pairs {
                scope.spawn(|| assert_eq!(send(host, BYTES), BYTES));
                scope.spawn(|| assert_eq!(check(client, BYTES), BYTES));
            }
        });
        // Idle connections have no pipes but those that are kept for all of them.
        let idle = await_descriptors(&process, |now| now.1 <= base.1 + SPARE_ENDS_MAX);
        assert_eq!(idle.0 - idle.1, base.0 - base.1 + 2 * CONNECTIONS);
        for (client, host) in &pairs {
            assert_eq!(send(client, 100), 100);
            assert_eq!(check(host, 100), 100);
        }
        drop(pairs);
        await_descriptors(&process, |now| now == base);
    });
}
