//! The admin server beside Envoy's: the same requests to both, with the same
//! configuration and after the same traffic. Compared are statuses, content
//! types, and the shape of the answers: lines with their numbers masked, keys of
//! JSON with the types of their values, names of statistics.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::case;
use ringway_tests::comparison;
use ringway_tests::intended_differences::{Ledger, Suite};
use ringway_tests::message::Message;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs::{self, Driver};
use serde_json::Value;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

/// How the body of an answer is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Not at all.
    Any,
    /// As text.
    Exact,
    /// As a set of lines in which numbers are masked.
    Lines,
    /// As a set of names before the last colon.
    Names,
    /// The same without the admin server's own, which depend on how often it
    /// was asked whether it is ready.
    UsedNames,
    /// As a set of JSON paths with types.
    Json,
}

/// What is asked, in order.
const REQUESTS: &[(&str, &str, Body)] = &[
    ("GET", "/", Body::Any),
    ("GET", "/help", Body::Names),
    ("GET", "/nothing", Body::Names),
    ("HEAD", "/ready", Body::Exact),
    ("GET", "/ready", Body::Exact),
    ("POST", "/ready", Body::Exact),
    ("GET", "/listeners", Body::Lines),
    ("GET", "/listeners?format=json", Body::Json),
    ("GET", "/clusters", Body::Lines),
    ("GET", "/clusters?format=json", Body::Json),
    ("GET", "/certs", Body::Json),
    ("GET", "/server_info", Body::Json),
    ("GET", "/memory", Body::Json),
    ("GET", "/config_dump", Body::Json),
    ("GET", "/config_dump?resource=static_clusters", Body::Json),
    ("GET", "/config_dump?resource=nothing", Body::Lines),
    ("GET", "/config_dump?mask=bootstrap.node", Body::Json),
    ("GET", "/config_dump?mask=version_info", Body::Json),
    ("GET", "/config_dump?mask=bootstrap.node.none", Body::Exact),
    (
        "GET",
        "/config_dump?mask=static_clusters.cluster",
        Body::Exact,
    ),
    (
        "GET",
        "/config_dump?mask=static_clusters,last_updated",
        Body::Exact,
    ),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=cluster.name,last_updated",
        Body::Json,
    ),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=,",
        Body::Json,
    ),
    // The words in which Envoy repeats a mask are protobuf's for debugging.
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=cluster",
        Body::Any,
    ),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=cluster.none",
        Body::Any,
    ),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=none",
        Body::Any,
    ),
    (
        "GET",
        "/config_dump?resource=static_listeners&mask=listener.name",
        Body::Json,
    ),
    (
        "GET",
        "/config_dump?resource=static_listeners&mask=listener.filter_chains.name",
        Body::Any,
    ),
    (
        "GET",
        "/config_dump?resource=dynamic_active_clusters&mask=none",
        Body::Json,
    ),
    ("GET", "/config_dump?name_regex=origin", Body::Json),
    ("GET", "/config_dump?include_eds", Body::Json),
    ("GET", "/init_dump", Body::Json),
    ("GET", "/hot_restart_version", Body::Any),
    ("GET", "/contention", Body::Exact),
    ("GET", "/runtime", Body::Json),
    ("GET", "/stats", Body::Names),
    ("GET", "/stats?usedonly&type=Counters", Body::UsedNames),
    ("GET", "/stats?filter=downstream_rq_.xx", Body::Names),
    ("GET", "/stats?filter=(", Body::Lines),
    ("GET", "/stats?type=Gauges&filter=^cluster", Body::Names),
    ("GET", "/stats?type=Histograms&usedonly", Body::Names),
    ("GET", "/stats?filter=max_host_weight", Body::Exact),
    ("GET", "/stats?type=nothing", Body::Lines),
    ("GET", "/stats?format=nothing", Body::Lines),
    (
        "GET",
        "/stats?format=json&filter=^http.a.downstream_rq_[0-9]",
        Body::Json,
    ),
    (
        "GET",
        "/stats?format=json&type=Histograms&filter=upstream_cx_connect_ms",
        Body::Json,
    ),
    (
        "GET",
        "/stats?histogram_buckets=cumulative&filter=upstream_cx_connect_ms",
        Body::Names,
    ),
    ("GET", "/stats?histogram_buckets=nothing", Body::Lines),
    ("GET", "/stats/prometheus", Body::Lines),
    (
        "GET",
        "/stats/prometheus?usedonly&filter=rq_xx",
        Body::Lines,
    ),
    ("GET", "/stats?format=prometheus&filter=rq_xx", Body::Lines),
    ("GET", "/stats/recentlookups", Body::Any),
    ("GET", "/logging", Body::Any),
    ("POST", "/logging", Body::Any),
    ("POST", "/logging?level=warning", Body::Any),
    ("POST", "/logging?level=nothing", Body::Any),
    ("POST", "/logging?nothing=info", Body::Any),
    ("GET", "/healthcheck/fail", Body::Lines),
    ("GET", "/ready", Body::Exact),
    ("POST", "/healthcheck/fail", Body::Exact),
    ("GET", "/ready", Body::Exact),
    ("GET", "/server_info", Body::Json),
    ("GET", "/healthcheck/ok", Body::Lines),
    ("POST", "/healthcheck/ok", Body::Exact),
    ("GET", "/ready", Body::Exact),
    ("GET", "/reopen_logs", Body::Lines),
    ("POST", "/reopen_logs", Body::Exact),
    ("GET", "/runtime_modify?a=b", Body::Lines),
    ("POST", "/runtime_modify?a=b", Body::Any),
    ("GET", "/cpuprofiler?enable=y", Body::Lines),
    ("GET", "/reset_counters", Body::Lines),
    (
        "GET",
        "/stats?filter=^http.a.downstream_rq_total",
        Body::Exact,
    ),
    ("POST", "/reset_counters", Body::Exact),
    (
        "GET",
        "/stats?filter=^http.a.downstream_rq_total",
        Body::Exact,
    ),
    ("GET", "/drain_listeners", Body::Lines),
    ("GET", "/quitquitquit", Body::Lines),
    ("GET", "/ready", Body::Exact),
    ("POST", "/drain_listeners", Body::Exact),
    ("POST", "/quitquitquit", Body::Exact),
];

const LISTENERS: &[Listener] = &[Listener {
    name: "a",
    manager: "",
    hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { prefix: "/empty" }, route: { cluster: empty } }
  - { match: { prefix: "/refused" }, route: { cluster: refused } }
  - { match: { path: "/direct" }, direct_response: { status: 302 } }
  - { match: { prefix: "/to" }, route: { cluster: origin } }
"#,
}];

#[test]
fn admin_answers_as_envoys_does() {
    let Some(envoy) = programs::envoy("admin_answers_as_envoys_does") else {
        return;
    };
    let programs = [Program::Envoy(envoy), Program::Ringway(Driver::Epoll)];
    let [theirs, ours] = thread::scope(|scope| {
        programs
            .each_ref()
            .map(|program| scope.spawn(move || ask_everything(program)))
            .map(|one| one.join().expect("a program was asked"))
    });
    let mut ledger = Ledger::new(Suite::Admin);
    for ((number, (method, path, body)), (theirs, ours)) in
        REQUESTS.iter().enumerate().zip(theirs.iter().zip(&ours))
    {
        let name = format!("{number} {method} {path}");
        let mut note = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours {
                ledger.note("epoll", &name, what, theirs, ours);
            }
        };
        note(
            "status",
            &theirs.status().to_string(),
            &ours.status().to_string(),
        );
        for header in [
            "content-type",
            "cache-control",
            "x-content-type-options",
            "server",
        ] {
            note(
                header,
                theirs.header(header).unwrap_or("-"),
                ours.header(header).unwrap_or("-"),
            );
        }
        let (theirs, ours) = (parts(theirs, *body), parts(ours, *body));
        for missing in theirs.difference(&ours) {
            note(&format!("missing: {missing}"), "has it", "has not");
        }
        for extra in ours.difference(&theirs) {
            note(&format!("extra: {extra}"), "has not", "has it");
        }
    }
    ledger.judge(true);
}

/// Histograms count as used when an interval with values is over, and not
/// before. The interval here is longer than the test.
#[test]
fn histograms_are_used_when_their_interval_is_over() {
    let test = "histograms_are_used_when_their_interval_is_over";
    let play = |program: &Program| {
        let more = "stats_flush_interval: 200s\n";
        let clusters = |ports: Ports| {
            [
                cluster("origin", ports.origin, ""),
                cluster("refused", ports.refused, ""),
                empty_cluster("empty"),
            ]
            .concat()
        };
        let scene = Scene::start_with(program, LISTENERS, clusters, more);
        let _ = scene.play(&case("/to", "a", "GET /to HTTP/1.1\r\nhost: a\r\n\r\n"));
        ["usedonly&type=Histograms", "type=Histograms"].map(|query| {
            let answer = scene.process.admin().get(&format!("/stats?{query}"));
            let names = answer.text();
            let names = names.lines().map(name);
            // Ours only: of the admin server and of the loops.
            let wanted = |name: &String| {
                ["cluster.", "http.a."]
                    .iter()
                    .any(|of| name.starts_with(of))
            };
            names.filter(wanted).collect::<BTreeSet<_>>()
        })
    };
    let Some([used, listed]) = comparison::as_in_envoy(test, play) else {
        return;
    };
    assert!(
        used.is_empty() && listed.contains("http.a.downstream_rq_time"),
        "{used:?} {listed:?}"
    );
}

/// Traffic, then every request of the table.
fn ask_everything(program: &Program) -> Vec<Message> {
    let mut scene = Scene::start(program, LISTENERS, |ports| {
        [
            cluster("origin", ports.origin, ""),
            cluster("refused", ports.refused, ""),
            empty_cluster("empty"),
        ]
        .concat()
    });
    for path in ["/to", "/to", "/empty", "/refused", "/direct", "/none"] {
        let _ = scene.play(&case(
            path,
            "a",
            format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"),
        ));
    }
    // Histograms are merged every five seconds.
    let admin = scene.process.admin().clone();
    let merged = (0..600).any(|_| {
        thread::sleep(Duration::from_millis(50));
        let text = admin.get("/stats?filter=upstream_rq_time&usedonly").text();
        text.contains("cluster.origin.upstream_rq_time: P0")
    });
    assert!(merged, "{}: histograms are not merged", program.name());
    let answers: Vec<_> = REQUESTS
        .iter()
        .map(|(method, path, _)| {
            let answer = admin
                .request(method, path)
                .unwrap_or_else(|error| panic!("{}: {method} {path}: {error}", program.name()));
            masked(&scene, answer)
        })
        .collect();
    let status = scene.process.wait(Duration::from_secs(10));
    assert!(
        status.success(),
        "{}: /quitquitquit ends with {status}",
        program.name()
    );
    answers
}

/// Ports by numbers that are the same in both, folders by a name.
fn masked(scene: &Scene, mut answer: Message) -> Message {
    let mut text = answer.text();
    let folder = scene.process.folder().to_string_lossy().into_owned();
    text = text.replace(&folder, "DIR");
    for (port, name) in [
        (scene.address("a").port(), "1111"),
        (scene.origin.address().port(), "2222"),
        (scene.ports().refused, "3333"),
        (scene.process.admin().address().port(), "4444"),
    ] {
        text = text.replace(&port.to_string(), name);
    }
    answer.body = text.into_bytes();
    answer
}

/// The parts of a body that are compared.
fn parts(answer: &Message, body: Body) -> BTreeSet<String> {
    let text = answer.text();
    match body {
        Body::Any => BTreeSet::new(),
        Body::Exact => BTreeSet::from([format!("{text:?}")]),
        Body::Lines => text.lines().map(without_numbers).collect(),
        Body::Names => text.lines().map(name).collect(),
        Body::UsedNames => text
            .lines()
            .map(name)
            .filter(|name| !name.contains(".admin."))
            .collect(),
        Body::Json => {
            let mut all = BTreeSet::new();
            match serde_json::from_str(&text) {
                Ok(value) => shape(&value, "", &mut all),
                Err(_) => {
                    all.insert(format!("not JSON: {text:.200}"));
                }
            }
            all
        }
    }
}

fn name(line: &str) -> String {
    line.split_once(": ")
        .map_or(line, |(name, _)| name)
        .to_owned()
}

/// Digits that stand for a value, not for a name's part.
fn without_numbers(line: &str) -> String {
    let is_value = |word: &str| word.parse::<f64>().is_ok() && word != "Inf";
    line.split_inclusive([' ', ':', '\t'])
        .map(|piece| {
            let word = piece.trim_end_matches([' ', ':', '\t']);
            if is_value(word) {
                piece.replace(word, "N")
            } else {
                piece.to_owned()
            }
        })
        .collect()
}

/// Paths in a JSON value, each with the type of what is there. Elements of a
/// list share their paths, unless they have an `@type`.
fn shape(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if fields.is_empty() {
                all.insert(format!("{path} {{}}"));
            }
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), all);
            }
        }
        Value::Array(values) => {
            if values.is_empty() {
                all.insert(format!("{path} []"));
            }
            for value in values {
                let kind = value
                    .get("@type")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let kind = kind.rsplit('.').next().unwrap_or_default();
                shape(value, &format!("{path}[{kind}]"), all);
            }
        }
        Value::String(_) => {
            all.insert(format!("{path} string"));
        }
        Value::Number(_) => {
            all.insert(format!("{path} number"));
        }
        Value::Bool(_) => {
            all.insert(format!("{path} bool"));
        }
        Value::Null => {
            all.insert(format!("{path} null"));
        }
    }
}
