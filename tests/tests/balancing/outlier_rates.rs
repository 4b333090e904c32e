//! Outlier detection at the ends of intervals: success rates, failure
//! percentages, and how ejections end, beside the real Envoy.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::logs;
use ringway_tests::process::{Process, Program, compared_programs};
use ringway_tests::programs;
use ringway_tests::tries::one_of_some;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "access_log: []",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n\
            \x20 - match: { prefix: / }\n    route: { cluster: c }\n",
}];

/// One worker, so that turns are predictable.
const FLAGS: &[&str] = &["--concurrency", "1"];

struct Case {
    name: &'static str,
    /// Fields of `outlier_detection`.
    detection: &'static str,
    /// The statuses of the hosts; 0 is a reset.
    hosts: &'static [u16],
    /// Rounds of requests, one a host each.
    rounds: usize,
    /// Hosts that are ejected.
    ejected: &'static [usize],
    /// What is logged of each ejection.
    event: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "success rate",
        detection: "success_rate_request_volume: 5, success_rate_minimum_hosts: 5",
        hosts: &[200, 200, 200, 200, 500, 200],
        rounds: 12,
        ejected: &[4],
        event: "SUCCESS_RATE",
    },
    Case {
        name: "success rate of few hosts",
        detection: "success_rate_request_volume: 5",
        hosts: &[200, 200, 200, 500],
        rounds: 12,
        ejected: &[],
        event: "",
    },
    Case {
        name: "success rate of few requests",
        detection: "success_rate_minimum_hosts: 3",
        hosts: &[200, 200, 200, 200, 500],
        rounds: 12,
        ejected: &[],
        event: "",
    },
    Case {
        name: "success rate within the factor",
        detection: "success_rate_request_volume: 5, success_rate_stdev_factor: 3000",
        hosts: &[200, 200, 200, 200, 500, 200],
        rounds: 12,
        ejected: &[],
        event: "",
    },
    Case {
        name: "failure percentage",
        detection: "enforcing_failure_percentage: 100, failure_percentage_request_volume: 5, \
                    failure_percentage_minimum_hosts: 2",
        hosts: &[200, 503, 200],
        rounds: 12,
        ejected: &[1],
        event: "FAILURE_PERCENTAGE",
    },
    Case {
        name: "failure percentage not enforced",
        detection: "failure_percentage_request_volume: 5, failure_percentage_minimum_hosts: 2",
        hosts: &[200, 503, 200],
        rounds: 12,
        ejected: &[],
        event: "FAILURE_PERCENTAGE",
    },
    Case {
        name: "failure percentage of local origin",
        detection: "split_external_local_origin_errors: true, \
                    consecutive_local_origin_failure: 1000, \
                    enforcing_failure_percentage_local_origin: 100, \
                    failure_percentage_request_volume: 5, failure_percentage_minimum_hosts: 2, \
                    failure_percentage_threshold: 40",
        hosts: &[200, 0, 200],
        rounds: 12,
        ejected: &[1],
        event: "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
    },
];

fn configuration(case: &Case, fleet: &Fleet, interval: &str) -> String {
    let hosts: Vec<_> = fleet
        .ports()
        .iter()
        .map(|port| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }} }}"
            )
        })
        .collect();
    let cluster = format!(
        "- {{ name: c, type: STATIC, load_assignment: {{ cluster_name: c, endpoints: [ {{ \
         lb_endpoints: [ {} ] }} ] }}, outlier_detection: {{ consecutive_5xx: 1000, \
         max_ejection_percent: 60, {interval}, {} }} }}\n",
        hosts.join(", "),
        case.detection
    );
    bootstrap(LISTENERS, &cluster)
        + "cluster_manager: { outlier_detection: { event_log_path: \"{DIR}/outliers\" } }\n"
}

fn set(fleet: &Fleet, hosts: &[u16]) {
    for (host, status) in hosts.iter().enumerate() {
        fleet.set(
            host,
            match status {
                0 => Manner::Reset,
                status => Manner::Status(*status),
            },
        );
    }
}

/// Sends requests one after the other, on one connection.
fn ask(process: &Process, times: usize) {
    let request = Step::Send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec());
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

/// The numbers of the hosts that are ejected.
fn ejected(process: &Process, fleet: &Fleet) -> Vec<usize> {
    let text = process.admin().get("/clusters").text();
    let is_ejected = |port: &u16| {
        text.contains(&format!(
            "127.0.0.1:{port}::health_flags::/failed_outlier_check"
        ))
    };
    let ports = fleet.ports();
    let ports = ports
        .iter()
        .enumerate()
        .filter(|(_, port)| is_ejected(port));
    ports.map(|(host, _)| host).collect()
}

/// What outlier detection counts, apart from how often it looked.
fn counts(process: &Process) -> BTreeMap<String, u64> {
    let stats = process.admin().stats().into_iter();
    stats
        .filter(|(name, _)| name.contains(".outlier_detection."))
        .collect()
}

fn events(process: &Process) -> Vec<serde_json::Value> {
    let lines = logs::lines(&process.folder().join("outliers"), 0);
    let mut events: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("an event is JSON"))
        .collect();
    for event in &mut events {
        let time = event["timestamp"].as_str().expect("a time");
        assert_eq!(time.len(), "2026-01-01T00:00:00.000Z".len(), "{time}");
        event["timestamp"] = "then".into();
        event["upstream_url"] = "host".into();
    }
    events
}

/// What was seen: hosts that are ejected, counts, events.
type Seen = (Vec<usize>, BTreeMap<String, u64>, Vec<serde_json::Value>);

fn play(program: &Program, case: &Case) -> Seen {
    let fleet = Fleet::start(case.hosts.len());
    set(&fleet, case.hosts);
    let settings = "interval: 2s, base_ejection_time: 100s, consecutive_gateway_failure: 1000";
    let text = configuration(case, &fleet, settings);
    let process = Process::start_with(program, &text, FLAGS);
    ask(&process, case.rounds * case.hosts.len());
    // The interval ends two seconds after the start, at the latest the next, and what
    // it brings is logged last of all.
    let max = match case.event {
        "" => Duration::from_millis(2500),
        _ => Duration::from_secs(6),
    };
    let deadline = Instant::now() + max;
    while events(&process).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    (
        ejected(&process, &fleet),
        counts(&process),
        events(&process),
    )
}

#[test]
fn rates_are_compared_as_envoy_compares_them() {
    let Some(listed) = compared_programs("rates_are_compared_as_envoy_compares_them") else {
        return;
    };
    // Which requests an interval has is a matter of time.
    let compare = |case: &Case| {
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let running: Vec<_> = listed
                .iter()
                .map(|program| scope.spawn(move || play(program, case)))
                .collect();
            running
                .into_iter()
                .map(|one| one.join().expect("a case"))
                .collect()
        });
        for (program, (ejected, counts, events)) in listed.iter().zip(&seen) {
            let what = format!("{} in {}", case.name, program.name());
            assert_eq!(ejected, case.ejected, "{what}: {counts:?}");
            let types: Vec<_> = events.iter().map(|event| &event["type"]).collect();
            match case.event {
                "" => assert!(types.is_empty(), "{what}: {types:?}"),
                event => assert_eq!(types, [event], "{what}"),
            }
            assert_eq!((counts, events), (&seen[0].1, &seen[0].2), "{what}");
        }
    };
    for case in CASES {
        one_of_some(|| compare(case));
    }
}

/// An ejection lasts base_ejection_time times their number, and ends at the end
/// of an interval; what happens is logged.
#[test]
fn ejections_end_and_last_longer_each_time() {
    let Some(envoy) = programs::envoy("ejections_end_and_last_longer_each_time") else {
        return;
    };
    let case = Case {
        name: "comes back",
        detection: "enforcing_consecutive_gateway_failure: 100, consecutive_gateway_failure: 2",
        hosts: &[503, 200],
        rounds: 0,
        ejected: &[0],
        event: "",
    };
    let play = |program: &Program| -> Vec<serde_json::Value> {
        let fleet = Fleet::start(2);
        set(&fleet, case.hosts);
        let text = configuration(&case, &fleet, "interval: 2s, base_ejection_time: 1s");
        let process = Process::start(program, &text);
        let active = || {
            let name = "cluster.c.outlier_detection.ejections_active";
            process.admin().stat(name)
        };
        let mut lasted = Vec::new();
        for _ in 0..2 {
            let deadline = Instant::now() + Duration::from_secs(30);
            let mut since = Instant::now();
            // The worker may still be about to learn that the host is back.
            while active() == 0 {
                // It is seen some time after it has begun, but not before this.
                since = Instant::now();
                ask(&process, 2);
                assert!(Instant::now() < deadline, "{:?}", counts(&process));
            }
            while active() == 1 {
                std::thread::sleep(Duration::from_millis(5));
                assert!(Instant::now() < deadline, "{:?}", counts(&process));
            }
            lasted.push(since.elapsed());
        }
        assert!(lasted[0] >= Duration::from_secs(1), "{lasted:?}");
        assert!(lasted[1] >= Duration::from_secs(2), "{lasted:?}");
        // Lines are written a moment after what they tell of.
        let deadline = Instant::now() + Duration::from_secs(20);
        while events(&process).len() < 4 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        events(&process)
    };
    let mut theirs = play(&Program::Envoy(envoy));
    let without_seconds = |events: &mut Vec<serde_json::Value>| {
        for event in events {
            if let Some(seconds) = event.get_mut("secs_since_last_action") {
                assert!(seconds.is_string());
                *seconds = "some".into();
            }
        }
    };
    without_seconds(&mut theirs);
    let types: Vec<_> = theirs.iter().map(|event| event["action"].clone()).collect();
    assert_eq!(types, ["EJECT", "UNEJECT", "EJECT", "UNEJECT"]);
    for driver in programs::drivers() {
        let mut ours = play(&Program::Ringway(driver));
        without_seconds(&mut ours);
        assert_eq!(ours, theirs);
    }
}
