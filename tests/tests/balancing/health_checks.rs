//! Active health checks: what becomes of hosts that answer, fail, hang, die and
//! come back, beside the real Envoy.
//!
//! Each case is a cluster with a host of its own, which is led through some
//! manners. After each of them both programs must come to the same flags in
//! `/clusters`, and in the end to the same kinds of counts and to the same
//! events in the log.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::logs;
use ringway_tests::origin::{Act, Origin};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// One worker, so that turns are predictable.
const FLAGS: &[&str] = &["--concurrency", "1"];

struct Case {
    name: &'static str,
    /// Fields of the health check.
    check: &'static str,
    /// Fields of the endpoint.
    endpoint: &'static str,
    /// What the host does, and what it is then known for.
    steps: &'static [(Do, &'static str)],
}

/// What happens to a case's host.
#[derive(Clone, Copy)]
enum Do {
    Answer,
    Status(u16),
    Say(&'static str),
    Hang,
    Reset,
    AnswerAndClose,
    Kill,
    Revive,
}

const HEALTHY: &str = "healthy";
const FAILED: &str = "/failed_active_hc";
const TIMED_OUT: &str = "/failed_active_hc/active_hc_timeout";
const EXCLUDED: &str = "/failed_active_hc/excluded_via_immediate_hc_fail";
const DEGRADED: &str = "/degraded_active_hc";

const HTTP: &str = "http_health_check: { path: /check }";

const CASES: &[Case] = &[
    Case {
        name: "http",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Status(503), FAILED),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "first_fails",
        check: HTTP,
        endpoint: "",
        steps: &[(Do::Status(500), FAILED), (Do::Answer, HEALTHY)],
    },
    Case {
        name: "other_status",
        check: HTTP,
        endpoint: "",
        steps: &[(Do::Answer, HEALTHY), (Do::Status(201), FAILED)],
    },
    Case {
        name: "expected",
        check: "http_health_check: { path: /, expected_statuses: [ \
        { start: 201, end: 204 }, { start: 503, end: 504 } ] }",
        endpoint: "",
        steps: &[
            (Do::Status(503), HEALTHY),
            (Do::Answer, FAILED),
            (Do::Status(203), HEALTHY),
            (Do::Status(204), FAILED),
        ],
    },
    Case {
        name: "retriable",
        check: "http_health_check: { path: /, retriable_statuses: [ \
        { start: 503, end: 504 } ] }",
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Status(503), FAILED),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "hangs",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Hang, TIMED_OUT),
            (Do::Status(500), FAILED),
            (Do::Hang, TIMED_OUT),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "killed",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Kill, FAILED),
            (Do::Revive, HEALTHY),
        ],
    },
    Case {
        name: "resets",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Reset, FAILED),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "no_http",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Say("nothing of HTTP\r\n\r\n"), FAILED),
        ],
    },
    Case {
        name: "degraded",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Say(OK_DEGRADED), DEGRADED),
            (Do::Answer, HEALTHY),
            (Do::Say(OK_DEGRADED), DEGRADED),
            (Do::Status(500), "/failed_active_hc/degraded_active_hc"),
        ],
    },
    Case {
        name: "at_once",
        check: HTTP,
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Say(FAIL_AT_ONCE), EXCLUDED),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "service",
        check: "http_health_check: { path: /, service_name_matcher: { \
        prefix: loc } }",
        endpoint: "",
        steps: &[
            (Do::Say(SERVICE), HEALTHY),
            (Do::Answer, FAILED),
            (Do::Say(SERVICE), HEALTHY),
        ],
    },
    Case {
        name: "body",
        check: "http_health_check: { path: /, receive: [ { text: '6869' }, \
        { binary: eW8= } ] }",
        endpoint: "",
        steps: &[
            (
                Do::Say("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n-hi-yo"),
                HEALTHY,
            ),
            (
                Do::Say("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n-yo-hi"),
                FAILED,
            ),
            (Do::Say(CHUNKED), HEALTHY),
        ],
    },
    Case {
        name: "body_beyond",
        check: "http_health_check: { path: /, response_buffer_size: 4, \
        receive: [ { text: '6869' } ] }",
        endpoint: "",
        steps: &[
            (
                Do::Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12hi5"),
                HEALTHY,
            ),
            (
                Do::Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123hi"),
                FAILED,
            ),
        ],
    },
    Case {
        name: "interim",
        check: HTTP,
        endpoint: "",
        steps: &[(
            Do::Say("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            HEALTHY,
        )],
    },
    Case {
        name: "until_close",
        check: HTTP,
        endpoint: "",
        steps: &[(Do::AnswerAndClose, HEALTHY)],
    },
    Case {
        name: "no_reuse",
        check: "reuse_connection: false, http_health_check: { path: / }",
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Status(500), FAILED),
            (Do::Answer, HEALTHY),
        ],
    },
    Case {
        name: "head",
        check: "http_health_check: { path: /, method: HEAD }",
        endpoint: "",
        steps: &[(
            Do::Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            HEALTHY,
        )],
    },
    Case {
        name: "tcp",
        check: "tcp_health_check: {}",
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Kill, FAILED),
            (Do::Revive, HEALTHY),
        ],
    },
    // GET / HTTP/1.1 CR LF CR LF, and x-host.
    Case {
        name: "tcp_payload",
        check: "tcp_health_check: { send: { \
        text: 474554202f20485454502f312e310d0a0d0a }, receive: [ { text: 782d686f7374 } ] }",
        endpoint: "",
        steps: &[
            (Do::Answer, HEALTHY),
            (Do::Say("something else"), TIMED_OUT),
            (Do::Answer, HEALTHY),
            (Do::Reset, FAILED),
        ],
    },
    Case {
        name: "not_checked",
        check: HTTP,
        endpoint: "health_check_config: { \
        disable_active_health_check: true }",
        steps: &[(Do::Status(500), HEALTHY)],
    },
    Case {
        name: "two_logs",
        check: "always_log_health_check_failures: true, \
        http_health_check: { path: / }",
        endpoint: "",
        steps: &[(Do::Answer, HEALTHY)],
    },
];

const OK_DEGRADED: &str = "HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n";
const FAIL_AT_ONCE: &str =
    "HTTP/1.1 503 No\r\nx-envoy-immediate-health-check-fail: true\r\ncontent-length: 0\r\n\r\n";
const SERVICE: &str = "HTTP/1.1 200 OK\r\nx-envoy-upstream-healthchecked-cluster: locations\r\n\
                       content-length: 0\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       3\r\nhi,\r\n3\r\n,yo\r\n0\r\n\r\n";

fn configuration(fleet: &Fleet) -> String {
    let mut text = bootstrap(&[], "");
    text.push_str("  clusters:\n");
    for (case, port) in CASES.iter().zip(fleet.ports()) {
        let Case {
            name,
            check,
            endpoint,
            ..
        } = case;
        let comma = if endpoint.is_empty() { "" } else { ", " };
        let _ = writeln!(
            text,
            "  - {{ name: {name}, type: STATIC, connect_timeout: 5s, load_assignment: {{ \
             cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ \
             socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}{comma}{endpoint} }} }} \
             ] }} ] }}, health_checks: [ {{ timeout: 3s, interval: 0.05s, \
             no_traffic_interval: 0.05s, unhealthy_threshold: 2, healthy_threshold: 2, \
             event_logger: [ {{ name: file, typed_config: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink, \
             event_log_path: \"{{DIR}}/{name}.events\" }} }} ], {check} }} ] }}"
        );
    }
    text
}

/// A cluster with one host; `more` are fields of the cluster and of the host's
/// endpoint, each behind a comma, `check` those of its health check.
fn checked(name: &str, port: u16, more: (&str, &str), check: &str) -> String {
    let (fields, own) = more;
    format!(
        "  - {{ name: {name}, type: STATIC{fields}, load_assignment: {{ cluster_name: {name}, endpoints: [ \
         {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
         port_value: {port} }} }}{own} }} }} ] }} ] }}, health_checks: [ {{ {check} }} ] }}\n"
    )
}

/// What a health check says that is made once, when the proxy starts.
const ONCE: &str = "interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1";

/// What was seen of a case.
#[derive(Debug)]
struct Seen {
    flags: Vec<String>,
    /// `health_check.degraded`.
    degraded: u64,
    counts: Vec<String>,
    events: Vec<String>,
}

fn play(program: &Program) -> Vec<Seen> {
    let mut fleet = Fleet::start(CASES.len());
    for (host, case) in CASES.iter().enumerate() {
        act(case.steps[0].0, host, &mut fleet);
    }
    let process = Process::start_with(program, &configuration(&fleet), FLAGS);
    let mut flags: Vec<Vec<String>> = vec![Vec::new(); CASES.len()];
    let steps = CASES.iter().map(|case| case.steps.len()).max().unwrap_or(0);
    for step in 0..steps {
        for (host, case) in CASES.iter().enumerate() {
            if let Some((manner, _)) = case.steps.get(step)
                && step > 0
            {
                act(*manner, host, &mut fleet);
            }
        }
        for (host, case) in CASES.iter().enumerate() {
            if let Some((_, wanted)) = case.steps.get(step) {
                flags[host].push(await_flags(&process, case.name, wanted));
            }
        }
    }
    // What has happened is in the books, and all events are written.
    let (stats, _) = process
        .admin()
        .await_stats(Duration::from_secs(30), |stats| {
            stats
                .get("filesystem.write_total_buffered")
                .is_none_or(|bytes| *bytes == 0)
        });
    CASES
        .iter()
        .zip(flags)
        .map(|(case, flags)| {
            let prefix = format!("cluster.{}.", case.name);
            let counts = stats.iter().filter_map(|(name, value)| {
                let name = name.strip_prefix(&prefix)?;
                match name {
                    // Envoy counts up each time that a host calls itself
                    // degraded, and never down; ours is right, see below.
                    "health_check.degraded" => None,
                    "membership_healthy"
                    | "membership_degraded"
                    | "membership_excluded"
                    | "health_check.healthy" => Some(format!("{name}: {value}")),
                    _ => name.starts_with("health_check.").then(|| name.to_owned()),
                }
            });
            let mut counts: Vec<_> = counts.collect();
            counts.sort();
            let log = process.folder().join(format!("{}.events", case.name));
            let events = logs::lines(&log, 0);
            let degraded = stats.get(&format!("{prefix}health_check.degraded"));
            Seen {
                degraded: degraded.copied().unwrap_or(0),
                flags,
                counts,
                // Failures that change nothing come as often as there is time.
                events: deduplicated(events.iter().map(|line| without_times(line))),
            }
        })
        .collect()
}

fn deduplicated(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = lines.collect();
    all.dedup();
    all
}

fn without_times(line: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(line).expect("an event is JSON");
    event["timestamp"] = "then".into();
    event["host"]["socket_address"]["port_value"] = 0.into();
    event.to_string()
}

fn act(what: Do, host: usize, fleet: &mut Fleet) {
    let manner = match what {
        Do::Kill => return fleet.kill(host),
        Do::Revive => return fleet.revive(host),
        Do::Answer => Manner::Answer,
        Do::Status(status) => Manner::Status(status),
        Do::Say(bytes) => Manner::Bytes(bytes.into()),
        Do::Hang => Manner::Hang,
        Do::Reset => Manner::Reset,
        Do::AnswerAndClose => Manner::AnswerAndClose,
    };
    fleet.set(host, manner);
}

/// The flags of the one host of `cluster`, once they are as wanted or as long
/// as one may wait for that.
fn await_flags(process: &Process, cluster: &str, wanted: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let flags = flags_of(process, cluster);
        if flags == wanted || Instant::now() > deadline {
            return flags;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn flags_of(process: &Process, cluster: &str) -> String {
    let text = process.admin().get("/clusters").text();
    let prefix = format!("{cluster}::127.0.0.1:");
    let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
    let line = lines.find_map(|line| line.split_once("::health_flags::"));
    line.map_or_else(String::new, |(_, flags)| flags.to_owned())
}

#[test]
fn hosts_get_the_flags_that_envoy_gives_them() {
    let Some(envoy) = programs::envoy("hosts_get_the_flags_that_envoy_gives_them") else {
        return;
    };
    let theirs = play(&Program::Envoy(envoy));
    for driver in programs::drivers() {
        let ours = play(&Program::Ringway(driver));
        for seen in &ours {
            let is_degraded = seen
                .flags
                .last()
                .is_some_and(|last| last.contains("degraded"));
            assert_eq!(seen.degraded, u64::from(is_degraded), "{seen:?}");
        }
        for ((case, theirs), ours) in CASES.iter().zip(&theirs).zip(&ours) {
            let wanted: Vec<_> = case.steps.iter().map(|(_, flags)| *flags).collect();
            assert_eq!(ours.flags, wanted, "{} on {}", case.name, driver.name());
            let what = format!("{} on {}", case.name, driver.name());
            assert_eq!(theirs.flags, ours.flags, "{what}");
            assert_eq!(theirs.counts, ours.counts, "{what}");
            assert_eq!(theirs.events, ours.events, "{what}");
        }
    }
}

/// What hosts are sent.
#[test]
fn requests_are_those_of_envoy() {
    let seen = |program: &Program| -> Vec<String> {
        let checks = [
            "http_health_check: { path: /check }",
            "http_health_check: { path: '/c?a=b', host: www.example, method: HEAD }",
            "http_health_check: { path: /, method: POST, send: { text: '686f' } }",
            "http_health_check: { path: /, request_headers_to_add: [ { header: { key: X-One, \
             value: one } }, { header: { key: user-agent, value: me }, \
             append_action: OVERWRITE_IF_EXISTS_OR_ADD } ] }",
            "http_health_check: { path: /, request_headers_to_remove: [ user-agent ] }",
            // Of the cluster whose names are in proper case.
            "http_health_check: { path: /, method: PUT }",
        ];
        const PROPER: &str = ", typed_extension_protocol_options: { \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: { http_protocol_options: { header_key_format: { \
             proper_case_words: {} } } } } }";
        let origins: Vec<_> = checks.iter().map(|_| Origin::start()).collect();
        let mut text = bootstrap(&[], "") + "  clusters:\n";
        for (number, (check, origin)) in checks.iter().zip(&origins).enumerate() {
            let port = origin.address().port();
            let own = match number {
                0 => ", health_check_config: { hostname: of-the-host }",
                _ => "",
            };
            let check = format!("timeout: 5s, {ONCE}, {check}");
            let fields = match number {
                5 => PROPER,
                _ => "",
            };
            text += &checked(&format!("c{number}"), port, (fields, own), &check);
        }
        let _process = Process::start(program, &text);
        let first = |origin: &Origin| {
            let seen = origin.seen();
            let request = &seen.first().expect("a check").request;
            format!(
                "{} {:?} {:?}",
                request.first_line,
                request.headers,
                request.text()
            )
        };
        origins.iter().map(first).collect()
    };
    let _ = as_in_envoy("requests_are_those_of_envoy", seen);
}

#[test]
fn redis_hosts_are_asked_as_envoy_asks_them() {
    const PING: usize = "*1\r\n$4\r\nPING\r\n".len();
    const EXISTS: usize = "*2\r\n$6\r\nEXISTS\r\n$3\r\nkey\r\n".len();
    let cases: &[(&str, usize, &str, &str)] = &[
        ("", PING, "+PONG\r\n", HEALTHY),
        ("", PING, "+OTHER\r\n", FAILED),
        ("", PING, "-LOADING the set\r\n", FAILED),
        ("key: key", EXISTS, ":0\r\n", HEALTHY),
        ("key: key", EXISTS, ":1\r\n", FAILED),
        ("key: key", EXISTS, "+PONG\r\n", FAILED),
        ("", PING, "nothing of Redis", TIMED_OUT),
    ];
    let play = |program: &Program| -> Vec<String> {
        let mut text = bootstrap(&[], "") + "  clusters:\n";
        let mut origins = Vec::new();
        for (number, (key, request, answer, _)) in cases.iter().enumerate() {
            let origin = Origin::start();
            let once = [
                Act::ReadBytes(*request),
                Act::Send(answer.as_bytes().to_vec()),
            ];
            origin.play([once.to_vec(), vec![Act::Drain]].concat());
            let port = origin.address().port();
            let check = format!(
                "timeout: 2s, {ONCE}, custom_health_check: {{ name: envoy.health_checkers.redis, \
                 typed_config: {{ \"@type\": \
                 type.googleapis.com/envoy.extensions.health_checkers.redis.v3.Redis, {key} }} }}"
            );
            text += &checked(&format!("c{number}"), port, ("", ""), &check);
            origins.push(origin);
        }
        let process = Process::start(program, &text);
        (0..cases.len())
            .map(|number| flags_of(&process, &format!("c{number}")))
            .collect()
    };
    let wanted: Vec<_> = cases.iter().map(|case| case.3).collect();
    if let Some(seen) = as_in_envoy("redis_hosts_are_asked_as_envoy_asks_them", play) {
        assert_eq!(seen, wanted);
    }
}

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n\
            \x20 - match: { path: /panic }\n    route: { cluster: panic }\n\
            \x20 - match: { path: /calm }\n    route: { cluster: calm }\n\
            \x20 - match: { path: /told }\n    route: { cluster: told }\n",
}];

/// What requests get while all hosts are unhealthy, with panic and without, and
/// what a response that tells of its host's end does.
#[test]
fn requests_while_hosts_are_unhealthy_end_as_in_envoy() {
    let play = |program: &Program| -> Vec<String> {
        let fleet = Fleet::start(3);
        fleet.set(0, Manner::Status(500));
        fleet.set(1, Manner::Status(500));
        let mut clusters = String::new();
        for (name, port) in ["panic", "calm", "told"].into_iter().zip(fleet.ports()) {
            let threshold = if name == "panic" { 50 } else { 0 };
            let panic = format!(
                ", common_lb_config: {{ healthy_panic_threshold: {{ value: {threshold} }} }}"
            );
            let check = format!("timeout: 5s, {ONCE}, http_health_check: {{ path: / }}");
            clusters += &checked(name, port, (&panic, ""), &check);
        }
        let process = Process::start(program, &bootstrap(LISTENERS, &clusters));
        let address = process.listener("main");
        let ask = |path: &str| {
            let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let steps = [Step::Send(request.into_bytes())];
            let outcome = converse(address, &steps, &Expectation::default());
            let answer = outcome.finals().next().expect("an answer");
            format!("{} {}", answer.status(), answer.text())
        };
        let mut seen = vec![ask("panic"), ask("calm"), ask("told")];
        fleet.set(
            2,
            Manner::Bytes(
                b"HTTP/1.1 200 OK\r\nx-envoy-immediate-health-check-fail: true\r\n\
                  content-length: 0\r\n\r\n"
                    .to_vec(),
            ),
        );
        seen.push(ask("told"));
        seen.push(await_flags(&process, "told", EXCLUDED));
        seen.push(ask("told"));
        let stats = process.admin().stats();
        for name in [
            "cluster.panic.lb_healthy_panic",
            "cluster.calm.upstream_cx_none_healthy",
            "cluster.told.health_check.passive_failure",
            "cluster.told.membership_excluded",
            "cluster.told.membership_healthy",
        ] {
            seen.push(format!("{name}: {}", stats.get(name).copied().unwrap_or(0)));
        }
        seen
    };
    let _ = as_in_envoy("requests_while_hosts_are_unhealthy_end_as_in_envoy", play);
}
