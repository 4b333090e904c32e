//! Latency outliers: one of five hosts turns 100 ms slow under load, and the
//! clients' p99 recovers. The same file in Envoy, which does not read the
//! setting, shows what it is without.

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, bootstrap};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::patience;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs::{self, Driver};
use ringway_tests::tries::one_of_some;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: EVERYTHING_TO_ORIGIN,
}];

const HOSTS: usize = 5;

/// Clients, each with one request at a time.
const CLIENTS: usize = 12;

/// How long the load runs before the host turns slow, and after.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(4);

/// The time in which the p99 has to recover.
const RECOVERY_MAX: Duration = Duration::from_secs(2);

const WINDOW: Duration = Duration::from_millis(500);

/// A host that does nothing but sleep for this long before it answers.
const SLOW: Duration = Duration::from_millis(100);

fn clusters(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports
        .iter()
        .map(|port| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }} }}"
            )
        })
        .collect();
    format!(
        "- name: origin\n  type: STATIC\n  metadata: {{ filter_metadata: {{ \
         ringway.latency_outlier: {{ interval_ms: 250 }} }} }}\n  load_assignment: {{ cluster_name: \
         origin, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}\n",
        hosts.join(", ")
    )
}

/// A request.
struct Sample {
    /// When it began, since the start.
    begun: Duration,
    /// How long it took.
    took: Duration,
    /// Whether the host answered that turns slow.
    is_of_slow_host: bool,
}

/// What was seen in a window.
struct Window {
    p99: Duration,
    /// The part of the requests that went to the host that turned slow.
    slow_share: f64,
}

fn client(address: SocketAddr, start: Instant, ending: &AtomicBool) -> Vec<Sample> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    let mut samples = Vec::new();
    let mut received = [0; 4096];
    while !ending.load(SeqCst) {
        let begun = Instant::now();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("a request");
        let mut answer = Vec::new();
        // The body is the host's number, one digit.
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") || answer.ends_with(b"\r\n\r\n") {
            let size = patience::read(&mut stream, &mut received).expect("an answer");
            assert!(size > 0, "the proxy closed the connection");
            answer.extend_from_slice(&received[..size]);
        }
        samples.push(Sample {
            begun: begun.duration_since(start),
            took: begun.elapsed(),
            is_of_slow_host: answer.ends_with(b"0"),
        });
        // Enough load to see a host, and no more than a test machine has.
        thread::sleep(Duration::from_millis(1));
    }
    samples
}

/// What was seen in each window from the moment on at which the host turned
/// slow, the p99 until then, and `/outliers` in the end.
fn play(program: &Program) -> (Vec<Window>, Duration, String) {
    let fleet = Fleet::start(HOSTS);
    let process = Process::start(program, &bootstrap(LISTENERS, &clusters(&fleet.ports())));
    let address = process.listener("main");
    let (start, ending) = (Instant::now(), AtomicBool::new(false));
    let samples: Vec<Sample> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(address, start, &ending)))
            .collect();
        thread::sleep(BEFORE);
        fleet.set(0, Manner::Slow(SLOW));
        thread::sleep(AFTER);
        ending.store(true, SeqCst);
        let all = clients
            .into_iter()
            .flat_map(|one| one.join().expect("a client"));
        all.collect()
    });
    let seen = |from: Duration, to: Duration| {
        let within = samples.iter().filter(|one| (from..to).contains(&one.begun));
        let slow = within.clone().filter(|one| one.is_of_slow_host).count();
        let mut took: Vec<_> = within.map(|one| one.took).collect();
        took.sort();
        Window {
            p99: took.get(took.len() * 99 / 100).copied().unwrap_or_default(),
            // A machine that stands still has no requests.
            slow_share: slow as f64 / took.len().max(1) as f64,
        }
    };
    let windows = (0..AFTER.as_millis() / WINDOW.as_millis()).map(|window| {
        let from = BEFORE + WINDOW * window as u32;
        seen(from, from + WINDOW)
    });
    let outliers = process.admin().get("/outliers").text();
    let before = seen(Duration::ZERO, BEFORE).p99;
    (windows.collect(), before, outliers)
}

fn row(name: &str, before: Duration, windows: &[Window]) -> String {
    let ms = |time: &Duration| format!("{:>7.1}", time.as_secs_f64() * 1e3);
    let windows: Vec<_> = windows.iter().map(|window| ms(&window.p99)).collect();
    format!("{name:<10} {} |{}", ms(&before), windows.join(""))
}

#[test]
fn a_host_that_turns_slow_is_left_out_within_two_seconds() {
    let name = "a_host_that_turns_slow_is_left_out_within_two_seconds";
    programs::say("p99 in ms before a host turns slow | and after, by half seconds");
    if let Some(envoy) = programs::envoy(name) {
        let (windows, before, _) = play(&Program::Envoy(envoy));
        programs::say(&row("envoy", before, &windows));
    }
    for driver in programs::drivers() {
        one_of_some(|| recovers(driver));
    }
}

/// Plays on a driver, and looks at what was seen.
fn recovers(driver: Driver) {
    let (windows, before, outliers) = play(&Program::Ringway(driver));
    programs::say(&row(driver.name(), before, &windows));
    assert!(outliers.contains("::detector::LATENCY\n"), "{outliers}");
    assert!(
        outliers.contains("::reason::mean ") && outliers.contains("::ejections::1\n"),
        "{outliers}"
    );
    programs::say(outliers.lines().nth(1).unwrap_or_default());
    let recovered = (RECOVERY_MAX.as_millis() / WINDOW.as_millis()) as usize;
    // Of a hundred requests at most one still goes there, so the p99 is that
    // of the others. How long these take depends on what else the machine
    // does, and is only shown.
    for (number, window) in windows.iter().enumerate().skip(recovered) {
        let share = window.slow_share;
        assert!(share <= 0.01, "{share} in window {number}");
    }
    assert!(windows[0].slow_share > 0.01, "it had its share before");
}
