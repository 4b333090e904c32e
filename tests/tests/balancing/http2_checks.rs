//! Health checks over HTTP/2, beside the real Envoy: what hosts are sent, what
//! becomes of them, and when a check needs another connection.

use h2::Reason;
use h2::server::{SendResponse, handshake};
use hyper::body::Bytes;
use hyper::http::{Request, Response};
use ringway_tests::bootstrap::bootstrap;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a host does with a request.
#[derive(Clone, Copy, Debug)]
enum Do {
    Answer(u16),
    /// With a header, and a body.
    Say(u16, (&'static str, &'static str), &'static str),
    Hang,
    ResetStream,
    /// Says that the connection ends, and answers.
    GoAwayAndAnswer,
    /// Says that the connection ends for this reason, and nothing else.
    GoAway(Reason),
    Close,
}

/// What a host has seen.
#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

struct Host {
    address: SocketAddr,
    what: Arc<Mutex<Do>>,
    seen: Arc<Mutex<Seen>>,
}

impl Host {
    fn start(what: Do) -> Self {
        let what = Arc::new(Mutex::new(what));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (tell, told) = std::sync::mpsc::channel();
        let (does, sees) = (Arc::clone(&what), Arc::clone(&seen));
        // Ends with the test's process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
                let listener = listener.expect("a free port");
                tell.send(listener.local_addr().expect("it is bound"))
                    .expect("the test waits");
                while let Ok((stream, _)) = listener.accept().await {
                    sees.lock().unwrap().connections += 1;
                    tokio::spawn(serve(stream, Arc::clone(&does), Arc::clone(&sees)));
                }
            });
        });
        Self {
            address: told.recv().expect("it listens"),
            what,
            seen,
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, what: Arc<Mutex<Do>>, seen: Arc<Mutex<Seen>>) {
    let Ok(mut connection) = handshake(stream).await else {
        return;
    };
    let mut hanging = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let what = *what.lock().unwrap();
        let seen = Arc::clone(&seen);
        match what {
            Do::Hang => hanging.push(respond),
            Do::ResetStream => respond.send_reset(Reason::INTERNAL_ERROR),
            Do::Close => return,
            Do::GoAway(reason) => connection.abrupt_shutdown(reason),
            Do::GoAwayAndAnswer => {
                connection.graceful_shutdown();
                tokio::spawn(answer(request, respond, Do::Answer(200), seen));
            }
            Do::Answer(_) | Do::Say(..) => {
                // It is read while the connection is.
                tokio::spawn(answer(request, respond, what, seen));
            }
        }
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    what: Do,
    seen: Arc<Mutex<Seen>>,
) {
    let (head, mut body) = request.into_parts();
    let mut text = format!("{} {} {:?}", head.method, head.uri, head.headers);
    while let Some(Ok(data)) = body.data().await {
        text += &format!(" {:?}", String::from_utf8_lossy(&data));
    }
    seen.lock().unwrap().requests.push(text);
    let (status, header, body) = match what {
        Do::Answer(status) => (status, None, ""),
        Do::Say(status, header, body) => (status, Some(header), body),
        _ => unreachable!("only answers come here"),
    };
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    let response = response.body(()).expect("a response");
    let Ok(mut stream) = respond.send_response(response, body.is_empty()) else {
        return;
    };
    if !body.is_empty() {
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
    }
}

const HEALTHY: &str = "healthy";
const FAILED: &str = "/failed_active_hc";
const TIMED_OUT: &str = "/failed_active_hc/active_hc_timeout";

struct Case {
    name: &'static str,
    check: &'static str,
    /// What the host does, and what it is then known for.
    steps: &'static [(Do, &'static str)],
}

const PLAIN: &str = "path: /check";

const CASES: &[Case] = &[
    Case {
        name: "statuses",
        check: "path: '/c?a=b', host: www.example, expected_statuses: [ { start: 200, end: 205 } ]",
        steps: &[
            (Do::Answer(204), HEALTHY),
            (Do::Answer(503), FAILED),
            (Do::Answer(200), HEALTHY),
        ],
    },
    Case {
        name: "retriable",
        check: "path: /, retriable_statuses: [ { start: 503, end: 504 } ]",
        steps: &[(Do::Answer(200), HEALTHY), (Do::Answer(503), FAILED)],
    },
    Case {
        name: "payload",
        check: "path: /, method: POST, send: { text: '686f' }, receive: [ { text: '6869' } ], \
                request_headers_to_add: [ { header: { key: X-One, value: one } } ]",
        steps: &[
            (Do::Say(200, ("a", "b"), "-hi-"), HEALTHY),
            (Do::Say(200, ("a", "b"), "-ih-"), FAILED),
        ],
    },
    Case {
        name: "says",
        check: "path: /, method: HEAD",
        steps: &[
            (Do::Answer(200), HEALTHY),
            (
                Do::Say(200, ("x-envoy-degraded", "1"), ""),
                "/degraded_active_hc",
            ),
            (Do::Answer(200), HEALTHY),
            (
                Do::Say(503, ("x-envoy-immediate-health-check-fail", "1"), ""),
                "/failed_active_hc/excluded_via_immediate_hc_fail",
            ),
        ],
    },
    Case {
        name: "hangs",
        check: PLAIN,
        steps: &[
            (Do::Answer(200), HEALTHY),
            (Do::Hang, TIMED_OUT),
            (Do::Answer(200), HEALTHY),
        ],
    },
    Case {
        name: "resets",
        check: PLAIN,
        steps: &[
            (Do::Answer(200), HEALTHY),
            (Do::ResetStream, FAILED),
            (Do::Answer(200), HEALTHY),
        ],
    },
    Case {
        name: "goes_away",
        check: PLAIN,
        steps: &[(Do::GoAwayAndAnswer, HEALTHY)],
    },
    Case {
        name: "goes_away_in_anger",
        check: PLAIN,
        steps: &[
            (Do::Answer(200), HEALTHY),
            (Do::GoAway(Reason::ENHANCE_YOUR_CALM), FAILED),
            (Do::Answer(200), HEALTHY),
        ],
    },
    Case {
        name: "leaves_unanswered",
        check: PLAIN,
        steps: &[
            (Do::Answer(200), HEALTHY),
            (Do::GoAway(Reason::NO_ERROR), FAILED),
            (Do::Close, FAILED),
            (Do::Answer(200), HEALTHY),
        ],
    },
];

fn cluster(name: &str, address: SocketAddr, more: &str, check: &str) -> String {
    format!(
        "  - {{ name: {name}, type: STATIC, load_assignment: {{ cluster_name: {name}, endpoints: [ \
         {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
         port_value: {} }} }} }} }} ] }} ] }}, health_checks: [ {{ timeout: 3s, interval: 0.05s, \
         no_traffic_interval: 0.05s, unhealthy_threshold: 2, healthy_threshold: 2, {more} \
         http_health_check: {{ codec_client_type: HTTP2, {check} }} }} ] }}\n",
        address.port()
    )
}

/// The flags of the one host of `cluster`, once they are as wanted or as long
/// as one may wait for that.
pub(super) fn await_flags(process: &Process, cluster: &str, wanted: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    let prefix = format!("{cluster}::127.0.0.1:");
    loop {
        let text = process.admin().get("/clusters").text();
        let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
        let line = lines.find_map(|line| line.split_once("::health_flags::"));
        let flags = line.map_or("", |(_, flags)| flags);
        if flags == wanted || Instant::now() > deadline {
            return flags.to_owned();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Of each case its flags, its first request, and what it counts.
fn play(program: &Program) -> Vec<(Vec<String>, String, Vec<String>)> {
    let hosts: Vec<_> = CASES
        .iter()
        .map(|case| Host::start(case.steps[0].0))
        .collect();
    let mut text = bootstrap(&[], "") + "  clusters:\n";
    for (case, host) in CASES.iter().zip(&hosts) {
        text += &cluster(case.name, host.address, "", case.check);
    }
    let process = Process::start_with(program, &text, &["--concurrency", "1"]);
    let mut flags = vec![Vec::new(); CASES.len()];
    let longest = CASES.iter().map(|case| case.steps.len()).max().unwrap_or(0);
    for step in 0..longest {
        for (case, host) in CASES.iter().zip(&hosts) {
            if let Some((what, _)) = case.steps.get(step) {
                *host.what.lock().unwrap() = *what;
            }
        }
        for (number, case) in CASES.iter().enumerate() {
            if let Some((_, wanted)) = case.steps.get(step) {
                flags[number].push(await_flags(&process, case.name, wanted));
            }
        }
    }
    let stats = process.admin().stats();
    let all = CASES.iter().zip(&hosts).zip(flags);
    all.map(|((case, host), flags)| {
        let prefix = format!("cluster.{}.", case.name);
        let counts = stats.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(&prefix)?;
            match name {
                "health_check.healthy"
                | "membership_healthy"
                | "upstream_cx_total"
                | "upstream_rq_total" => Some(format!("{name}: {value}")),
                _ => name.starts_with("health_check.").then(|| {
                    let moved = if *value > 0 { "moved" } else { "0" };
                    format!("{name}: {moved}")
                }),
            }
        });
        let mut counts: Vec<_> = counts.collect();
        // Envoy counts up each time that a host calls itself degraded.
        counts.retain(|line| !line.starts_with("health_check.degraded"));
        counts.sort();
        let seen = host.seen.lock().unwrap();
        (
            flags,
            seen.requests.first().cloned().unwrap_or_default(),
            counts,
        )
    })
    .collect()
}

#[test]
fn hosts_are_asked_and_judged_as_envoy_does() {
    let test = "hosts_are_asked_and_judged_as_envoy_does";
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    for (case, (flags, ..)) in CASES.iter().zip(seen) {
        let wanted: Vec<_> = case.steps.iter().map(|(_, flags)| *flags).collect();
        assert_eq!(flags, wanted, "{}", case.name);
    }
}

/// Waits for so many requests to a host, and says how many connections they
/// came on.
fn connections_of(host: &Host, requests: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = host.seen.lock().unwrap();
        if seen.requests.len() >= requests || Instant::now() > deadline {
            assert!(
                seen.requests.len() >= requests,
                "{} requests",
                seen.requests.len()
            );
            return seen.connections * requests / seen.requests.len();
        }
        drop(seen);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn connections_are_kept_as_long_as_envoy_keeps_them() {
    let test = "connections_are_kept_as_long_as_envoy_keeps_them";
    let seen = as_in_envoy(test, |program| {
        let cases = [
            (Do::Answer(200), ""),
            (Do::Answer(503), ""),
            (Do::Say(200, ("a", "b"), "a body"), ""),
            (Do::Answer(200), "reuse_connection: false,"),
            (Do::GoAwayAndAnswer, ""),
        ];
        let hosts = cases.map(|(what, _)| Host::start(what));
        let mut text = bootstrap(&[], "") + "  clusters:\n";
        for (number, ((_, more), host)) in cases.iter().zip(&hosts).enumerate() {
            text += &cluster(&format!("c{number}"), host.address, more, PLAIN);
        }
        let _process = Process::start_with(program, &text, &["--concurrency", "1"]);
        hosts.map(|host| match connections_of(&host, 6) {
            0 | 1 => "one for all",
            6 => "one each",
            other => panic!("{other} connections for 6 requests"),
        })
    });
    if let Some(seen) = seen {
        let (all, each) = ("one for all", "one each");
        assert_eq!(seen, [all, all, all, each, each]);
    }
}
