//! Hosts that call themselves degraded in their responses
//! (`detect_degraded_hosts`), beside the real Envoy: who counts as degraded, who gets
//! the requests then, how it ends, what is logged of it.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::logs;
use ringway_tests::process::{Process, Program};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// So many that the others are enough without the first.
const HOSTS: usize = 4;

/// One worker, so that turns are predictable.
const FLAGS: &[&str] = &["--concurrency", "1"];

/// How often hosts are asked in turns before their shares are compared.
const PATIENCE: usize = 10;

struct Case {
    name: &'static str,
    /// Fields of `outlier_detection`.
    detection: &'static str,
    /// What the first of the hosts answers.
    answer: &'static str,
    /// What it is known for then.
    flags: &'static str,
    /// What the cluster counts at last of all that it is asked.
    counted: &'static [(&'static str, u64)],
}

const DEGRADED: &str = "/degraded_outlier_detection";

const DETECTED: &[(&str, u64)] = &[
    ("membership_degraded", 1),
    ("outlier_detection.ejections_detected_degradation", 1),
];

const CASES: &[Case] = &[
    Case {
        name: "degraded",
        detection: "detect_degraded_hosts: true",
        answer: "HTTP/1.1 200 OK\r\nx-envoy-degraded: true\r\ncontent-length: 0\r\n\r\n",
        flags: DEGRADED,
        counted: DETECTED,
    },
    Case {
        name: "empty_header",
        detection: "detect_degraded_hosts: true, split_external_local_origin_errors: true",
        answer: "HTTP/1.1 200 OK\r\nx-envoy-degraded:\r\ncontent-length: 0\r\n\r\n",
        flags: DEGRADED,
        counted: DETECTED,
    },
    Case {
        name: "client_error",
        detection: "detect_degraded_hosts: true",
        answer: "HTTP/1.1 404 No\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n",
        flags: DEGRADED,
        counted: DETECTED,
    },
    Case {
        name: "no_limit",
        detection: "detect_degraded_hosts: true, max_ejection_percent: 0",
        answer: "HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n",
        flags: DEGRADED,
        counted: DETECTED,
    },
    Case {
        name: "server_error",
        detection: "detect_degraded_hosts: true",
        answer: "HTTP/1.1 500 No\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n",
        flags: "healthy",
        counted: &[
            ("outlier_detection.ejections_consecutive_5xx", 4),
            ("outlier_detection.ejections_detected_consecutive_5xx", 4),
            ("outlier_detection.ejections_overflow", 4),
        ],
    },
    Case {
        name: "not_asked_for",
        detection: "consecutive_5xx: 5",
        answer: "HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n",
        flags: "healthy",
        counted: &[],
    },
];

fn routes() -> &'static str {
    let mut text = String::from("- name: all\n  domains: [\"*\"]\n  routes:\n");
    for Case { name, .. } in CASES {
        let _ = writeln!(
            text,
            "  - match: {{ path: /{name} }}\n    route: {{ cluster: {name} }}"
        );
    }
    text.leak()
}

fn clusters(fleets: &[Fleet], ends: &str) -> String {
    let mut text = String::new();
    for (case, fleet) in CASES.iter().zip(fleets) {
        let hosts = fleet.ports().into_iter().map(|port| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }} }}, "
            )
        });
        let _ = writeln!(
            text,
            "- {{ name: {0}, type: STATIC, load_assignment: {{ cluster_name: {0}, endpoints: [ {{ \
             lb_endpoints: [ {1} ] }} ] }}, outlier_detection: {{ {ends}, {2} }} }}",
            case.name,
            hosts.collect::<String>(),
            case.detection
        );
    }
    text
}

fn ask(process: &Process, path: &str, times: usize) {
    let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let request = Step::Send(request.into_bytes());
    let mut steps: Vec<_> = (1..=times)
        .flat_map(|number| [request.clone(), Step::Await(number)])
        .collect();
    steps.push(Step::Leave);
    let expected = Expectation {
        answers: times,
        ..Expectation::default()
    };
    let outcome = converse(process.listener("main"), &steps, &expected);
    assert_eq!(outcome.finals().count(), times);
}

/// The flags of a cluster's first host, once they are as wanted or as long as one may
/// wait for that.
fn await_flags(process: &Process, cluster: &str, port: u16, wanted: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    let prefix = format!("{cluster}::127.0.0.1:{port}::health_flags::");
    loop {
        let text = process.admin().get("/clusters").text();
        let flags = text.lines().find_map(|line| line.strip_prefix(&prefix));
        let flags = flags.unwrap_or_default();
        if flags == wanted || Instant::now() > deadline {
            return flags.to_owned();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(program: &Program, ends: &str) -> (Process, Vec<Fleet>) {
    let fleets: Vec<_> = CASES.iter().map(|_| Fleet::start(HOSTS)).collect();
    for (case, fleet) in CASES.iter().zip(&fleets) {
        fleet.set(0, Manner::Bytes(case.answer.into()));
    }
    let listeners = [Listener {
        name: "main",
        manager: "access_log: []",
        hosts: routes(),
    }];
    let text = bootstrap(&listeners, &clusters(&fleets, ends))
        + "cluster_manager: { outlier_detection: { event_log_path: \"{DIR}/outliers\" } }\n";
    (Process::start_with(program, &text, FLAGS), fleets)
}

/// What a cluster counts of outliers and of its members' health, once there is as much
/// as is `awaited`: the main thread judges what workers have told it a moment ago.
fn counts(process: &Process, cluster: &str, awaited: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let prefix = format!("cluster.{cluster}.");
    let (stats, _) = process
        .admin()
        .await_stats(Duration::from_secs(30), |stats| {
            let is_there = |(name, value): &(&str, u64)| {
                stats.get(&format!("{prefix}{name}")).copied().unwrap_or(0) >= *value
            };
            awaited.iter().all(is_there)
        });
    let own = stats.into_iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(&prefix)?;
        let wanted = name.starts_with("outlier_detection.") || name.starts_with("membership_");
        (wanted && name != "membership_change").then(|| (name.to_owned(), value))
    });
    own.collect()
}

/// The health of the first host as `/clusters` says it in JSON.
fn health_in_json(process: &Process, cluster: &str, port: u16) -> serde_json::Value {
    let text = process.admin().get("/clusters?format=json").text();
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let clusters = json["cluster_statuses"].as_array().expect("clusters");
    let own = clusters.iter().find(|one| one["name"] == cluster);
    let hosts = own.expect("the cluster")["host_statuses"].as_array();
    let is_first =
        |host: &&serde_json::Value| host["address"]["socket_address"]["port_value"] == port;
    let first = hosts.expect("hosts").iter().find(is_first);
    first.expect("the host")["health_status"].clone()
}

#[test]
fn hosts_that_call_themselves_degraded_are_spared() {
    let play = |program: &Program| {
        let (process, fleets) = start(program, "interval: 300s, base_ejection_time: 300s");
        let all = CASES.iter().zip(&fleets).map(|(case, fleet)| {
            let port = fleet.ports()[0];
            // Each host gets one of them.
            ask(&process, case.name, HOSTS);
            let flags = await_flags(&process, case.name, port, case.flags);
            let turns = || {
                let before = fleet.requests(0);
                ask(&process, case.name, 2 * HOSTS);
                fleet.requests(0) - before
            };
            // Workers get to know it a moment after admin.
            let got = (0..PATIENCE).map(|_| turns());
            let got = match case.flags {
                DEGRADED => got.min(),
                _ => got.max(),
            };
            let json = health_in_json(&process, case.name, port);
            (flags, got, json, counts(&process, case.name, case.counted))
        });
        all.collect::<Vec<_>>()
    };
    let test = "hosts_that_call_themselves_degraded_are_spared";
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    for (case, (flags, got, ..)) in CASES.iter().zip(seen) {
        assert_eq!(flags, case.flags, "{}", case.name);
        let expected = if case.flags == DEGRADED { 0 } else { 2 };
        assert_eq!(got, Some(expected), "{}", case.name);
    }
}

#[test]
fn degradation_ends_and_is_logged_as_envoy_does() {
    let play = |program: &Program| {
        let (process, fleets) = start(program, "interval: 0.2s, base_ejection_time: 2s");
        let (name, port) = (CASES[0].name, fleets[0].ports()[0]);
        let mut flags = Vec::new();
        for _ in 0..2 {
            // The worker may not know yet that the host may be used again.
            let before = fleets[0].requests(0);
            while fleets[0].requests(0) == before {
                ask(&process, name, HOSTS);
            }
            flags.push(await_flags(&process, name, port, DEGRADED));
            flags.push(await_flags(&process, name, port, "healthy"));
        }
        let counted = [("outlier_detection.ejections_detected_degradation", 2)];
        (flags, events(&process, 4), counts(&process, name, &counted))
    };
    let test = "degradation_ends_and_is_logged_as_envoy_does";
    if let Some((flags, ..)) = as_in_envoy(test, play) {
        assert_eq!(flags, [DEGRADED, "healthy", DEGRADED, "healthy"]);
    }
}

/// So many events, without their times.
fn events(process: &Process, count: usize) -> Vec<serde_json::Value> {
    let path = process.folder().join("outliers");
    let lines = logs::await_lines(&path, 0, count, Duration::from_secs(20));
    let events = lines.iter().map(|line| {
        let mut event: serde_json::Value = serde_json::from_str(line).expect("an event is JSON");
        event["timestamp"] = "then".into();
        event["upstream_url"] = "host".into();
        event
    });
    events.collect()
}
