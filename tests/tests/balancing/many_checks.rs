//! A thousand hosts are checked every second, and requests do not notice.

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, bootstrap, cluster};
use ringway_tests::fleet::Fleet;
use ringway_tests::patience;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: EVERYTHING_TO_ORIGIN,
}];

const HOSTS: usize = 1000;

/// How long requests are sent in each of the two runs.
const LOAD: Duration = Duration::from_secs(2);

/// How long checks that are due may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster `many`: a thousand endpoints, all at one address, each checked
/// by itself.
fn many(port: u16) -> String {
    let endpoint = format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} \
         }} }} }}"
    );
    format!(
        "- name: many\n  type: STATIC\n  load_assignment: {{ cluster_name: many, endpoints: [ {{ \
         lb_endpoints: [ {} ] }} ] }}\n  health_checks: [ {{ timeout: 5s, interval: 1s, \
         no_traffic_interval: 1s, initial_jitter: 1s, interval_jitter: 0.2s, \
         unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {{}} }} ]\n",
        vec![endpoint; HOSTS].join(", ")
    )
}

/// The median and the 99th percentile of requests one after the other.
fn times(process: &Process) -> (Duration, Duration) {
    let mut stream = TcpStream::connect(process.listener("main")).expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let mut received = [0; 4096];
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < LOAD {
        let begun = Instant::now();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("a request");
        let mut answer = Vec::new();
        // The body is the host's number, one digit.
        while !answer.ends_with(b"\r\n\r\n0") {
            let size = patience::read(&mut stream, &mut received).expect("an answer");
            assert!(size > 0, "the proxy closed the connection");
            answer.extend_from_slice(&received[..size]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        took.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    took.sort();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

#[test]
fn a_thousand_hosts_are_checked_beside_the_traffic() {
    let fleet = Fleet::start(2);
    let ports = fleet.ports();
    let origin = cluster("origin", ports[0], "");
    for driver in programs::drivers() {
        one_of_some(|| {
            let name = driver.name();
            let program = Program::Ringway(driver);
            let alone = times(&Process::start(&program, &bootstrap(LISTENERS, &origin)));
            let both = origin.clone() + &many(ports[1]);
            let process = Process::start(&program, &bootstrap(LISTENERS, &both));
            // Nobody listens before every host has been checked.
            let stat = |name: &str| process.admin().stat(&format!("cluster.many.{name}"));
            assert_eq!(stat("membership_healthy"), HOSTS as u64);
            let before = stat("health_check.attempt");
            assert!(before >= HOSTS as u64);
            let checked = times(&process);
            // A check a second and host, with jitter, and more time where time is short.
            let (stats, came) = process.admin().await_stats(PATIENCE, |stats| {
                let attempts = stats.get("cluster.many.health_check.attempt");
                attempts.copied().unwrap_or(0) >= before + HOSTS as u64
            });
            assert!(came, "{stats:?}");
            let attempts = stat("health_check.attempt") - before;
            programs::say(&format!(
                "{name}: median and p99 {alone:.1?} alone, {checked:.1?} beside {attempts} checks"
            ));
            assert_eq!(stat("membership_healthy"), HOSTS as u64);
            assert_eq!(stat("health_check.failure"), 0);
        });
    }
}
