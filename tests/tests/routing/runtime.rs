//! Runtime values: what texts and numbers mean, layers, keys by cluster, access
//! logs, `/runtime` and `/runtime_modify`, and a shift of traffic under load.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::{Comparison, as_in_envoy};
use ringway_tests::intended_differences::Suite;
use ringway_tests::message::Message;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs;
use ringway_tests::stop::StopOnDrop;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Values of a percentage that leave nothing to chance, in YAML: with each of
/// them, all requests are aborted, none, or what the default says.
const PERCENTAGES: &[(&str, &str)] = &[
    ("zero", "0"),
    ("hundred", "100"),
    ("more", "101"),
    ("huge", "4294967396"),
    ("negative", "-3"),
    ("half", "0.5"),
    ("one and more", "100.7"),
    ("largest", "18446744073709551615"),
    ("too large", "1e20"),
    ("true", "true"),
    ("false text", "\"false\""),
    ("text", "hello"),
    ("empty text", "\"\""),
    ("spaces", "\" 100 \""),
    ("plus", "\"+100\""),
    ("hexadecimal", "\"0x64\""),
    ("exponent", "\"1e2\""),
    ("digits and more", "\"100abc\""),
    ("fraction", "{ numerator: 100 }"),
    ("no fraction", "{ numerator: 0 }"),
    (
        "all of it",
        "{ numerator: 10000, denominator: TEN_THOUSAND }",
    ),
    (
        "all of a million",
        "{ numerator: 1000000, denominator: MILLION }",
    ),
    ("nothing but a denominator", "{ denominator: MILLION }"),
    ("numerator as text", "{ numerator: \"100\" }"),
    (
        "denominator as a number",
        "{ numerator: 100, denominator: 2 }",
    ),
    (
        "denominator unknown",
        "{ numerator: 100, denominator: million }",
    ),
    ("fraction with more", "{ numerator: 100, more: 1 }"),
    ("empty struct", "{}"),
    ("fraction as text", "\"numerator: 100\""),
];

/// Keys whose values are no statuses of a response.
const NO_STATUSES: &[&str] = &[
    "zero",
    "one",
    "switching",
    "too_small",
    "too_large",
    "largest",
    "four",
    "bits",
];

/// Values that are not percentages of their own.
const MORE_VALUES: &str = "
        lower: 1
        nested: { status: 418, deeper.dotted: 419 }
        status: { zero: 0, one: 1, switching: 101, too_small: 199, too_large: 600, largest: 999, four: 1000, bits: 66036 }
        grpc: 9
        fault.http:
          one.abort: { abort_percent: 100, http_status: 431 }
          two.abort: { abort_percent: 0 }
          three.delay: { fixed_delay_percent: 100, fixed_duration_ms: 30 }
        log: { all: 100, none: 0, least: 418 }
  - name: upper
    static_layer: { lower: 100 }
  - name: admin
    admin_layer: {}
";

fn layers() -> String {
    let mut text = String::from("layered_runtime:\n  layers:\n  - name: base\n    static_layer:\n");
    for (number, (_, value)) in PERCENTAGES.iter().enumerate() {
        text.push_str(&format!("        p{number}: {value}\n"));
    }
    text + MORE_VALUES.trim_start_matches('\n')
}

/// A route whose requests are aborted as `fault` says.
fn route(path: &str, fault: &str) -> String {
    format!(
        "  - match: {{ path: \"{path}\" }}\n    direct_response: {{ status: 200 }}\n    \
         typed_per_filter_config: {{ fault: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, {fault} }} }}\n"
    )
}

fn hosts() -> String {
    let abort = |percent: u32, key: &str| {
        format!(
            "abort: {{ http_status: 418, percentage: {{ numerator: {percent} }} }}, \
             abort_percent_runtime: {key}"
        )
    };
    let mut text = String::from("- name: all\n  domains: [\"*\"]\n  routes:\n");
    for number in 0..PERCENTAGES.len() {
        let key = format!("p{number}");
        text += &route(&format!("/{key}/never"), &abort(0, &key));
        text += &route(&format!("/{key}/always"), &abort(100, &key));
    }
    text += &route("/lower", &abort(0, "lower"));
    text += &route("/admin", &abort(0, "admin.key"));
    let by_status = |key: &str| {
        format!(
            "abort: {{ http_status: 503, percentage: {{ numerator: 100 }} }}, \
             abort_http_status_runtime: {key}"
        )
    };
    text += &route("/status/nested", &by_status("nested.status"));
    text += &route("/status/dotted", &by_status("nested.deeper.dotted"));
    text += &route("/status/unset", &by_status("nested.nothing"));
    for key in NO_STATUSES {
        text += &route(
            &format!("/status/{key}"),
            &by_status(&format!("status.{key}")),
        );
    }
    text += &route(
        "/grpc",
        "abort: { grpc_status: 3, percentage: { numerator: 100 } }, \
         abort_grpc_status_runtime: grpc",
    );
    text += &route(
        "/by-cluster/always",
        "abort: { http_status: 430, percentage: { numerator: 100 } }",
    );
    text += &route(
        "/by-cluster/never",
        "abort: { http_status: 430, percentage: { numerator: 0 } }, \
         delay: { fixed_delay: 5s, percentage: { numerator: 0 } }",
    );
    text += &route(
        "/by-cluster/uncounted",
        "abort: { http_status: 430, percentage: { numerator: 100 } }, \
         disable_downstream_cluster_stats: true",
    );
    text
}

/// A connection manager that logs what `filter` lets through.
fn manager(name: &str, filter: &str) -> String {
    let log = match filter {
        "" => String::new(),
        filter => format!(
            "access_log:\n- name: file\n  filter: {filter}\n  typed_config:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\n    \
             path: \"{{DIR}}/{name}.log\"\n    \
             log_format: {{ text_format_source: {{ inline_string: \"%RESPONSE_CODE%\\n\" }} }}\n"
        ),
    };
    log + "http_filters:\n- name: fault\n  typed_config:\n    \
           \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault\n\
           - name: router\n  typed_config:\n    \
           \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
}

/// The listeners live as long as the test: a description borrows for ever.
fn listeners() -> &'static [Listener] {
    let hosts: &'static str = hosts().leak();
    let sampled = |key: &str, percent: u32| {
        format!(
            "{{ runtime_filter: {{ runtime_key: {key}, percent_sampled: {{ numerator: {percent} }}, \
             use_independent_randomness: true }} }}"
        )
    };
    let compared = |key: &str| {
        format!(
            "{{ status_code_filter: {{ comparison: {{ op: GE, value: {{ default_value: 500, \
             runtime_key: {key} }} }} }} }}"
        )
    };
    let listeners = [
        ("runtime", String::new()),
        ("log_all", sampled("log.all", 0)),
        ("log_none", sampled("log.none", 100)),
        ("log_default", sampled("log.unset", 100)),
        ("log_status", compared("log.least")),
        ("log_status_default", compared("log.unset")),
    ]
    .map(|(name, filter)| Listener {
        name,
        manager: manager(name, &filter).leak(),
        hosts,
    });
    Box::leak(Box::new(listeners))
}

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    let named = |text: String| -> &'static str { text.leak() };
    let mut all = Vec::new();
    for (number, (name, _)) in PERCENTAGES.iter().enumerate() {
        for default in ["never", "always"] {
            all.push(case(
                named(format!("{name}, by default {default}")),
                "runtime",
                get(&format!("/p{number}/{default}"), ""),
            ));
        }
    }
    for (name, path, headers) in [
        ("the upper layer counts", "/lower", ""),
        ("nested", "/status/nested", ""),
        ("dotted", "/status/dotted", ""),
        ("unset", "/status/unset", ""),
        (
            "a gRPC status",
            "/grpc",
            "content-type: application/grpc\r\n",
        ),
        (
            "cluster one",
            "/by-cluster/always",
            "x-envoy-downstream-service-cluster: one\r\n",
        ),
        (
            "cluster two",
            "/by-cluster/always",
            "x-envoy-downstream-service-cluster: two\r\n",
        ),
        (
            "another cluster",
            "/by-cluster/always",
            "x-envoy-downstream-service-cluster: ten\r\n",
        ),
        (
            "an empty cluster",
            "/by-cluster/always",
            "x-envoy-downstream-service-cluster: \r\n",
        ),
        (
            "cluster one, never",
            "/by-cluster/never",
            "x-envoy-downstream-service-cluster: one\r\n",
        ),
        (
            "cluster three, never",
            "/by-cluster/never",
            "x-envoy-downstream-service-cluster: three\r\n",
        ),
        ("no cluster, never", "/by-cluster/never", ""),
        (
            "uncounted",
            "/by-cluster/uncounted",
            "x-envoy-downstream-service-cluster: one\r\n",
        ),
    ] {
        all.push(case(name, "runtime", get(path, headers)));
    }
    for key in NO_STATUSES {
        let path = format!("/status/{key}");
        all.push(case(
            named(format!("status {key}")),
            "runtime",
            get(&path, ""),
        ));
    }
    for listener in [
        "log_all",
        "log_none",
        "log_default",
        "log_status",
        "log_status_default",
    ] {
        for (what, path) in [("418", "/status/nested"), ("503", "/status/unset")] {
            let name = named(format!("{listener} {what}"));
            all.push(case(name, listener, get(path, "")));
        }
    }
    all
}

#[test]
fn runtime_values_are_envoys() {
    Comparison {
        suite: Suite::Routing("runtime"),
        listeners: listeners(),
        clusters,
        cases,
    }
    .run_with("runtime_values_are_envoys", &layers());
}

/// What is changed, one after the other.
const CHANGES: &[&str] = &[
    "admin.key=100",
    "p0=7&added=x",
    "p0=8&p0=9",
    "added=",
    "never=",
    "alone",
    "document=numerator%3A%205",
    "quoted=%22%205%20%22",
    "listed=%5B1%5D",
    "empty=%7B%7D",
    "",
];

/// Layers, entries and statistics after each change.
fn changed(program: &Program) -> Vec<String> {
    let scene = Scene::start_with(program, listeners(), clusters, &layers());
    let admin = scene.process.admin();
    let mut seen = shown(&admin.get("/runtime"));
    for change in CHANGES {
        let answer = admin.post(&format!("/runtime_modify?{change}"));
        seen.push(format!("{change}: {} {:?}", answer.status(), answer.text()));
        seen.extend(shown(&admin.get("/runtime")));
        let stats = admin.stats();
        let runtime: BTreeMap<_, _> = stats
            .iter()
            .filter(|(name, _)| name.starts_with("runtime."))
            .collect();
        seen.push(format!("{runtime:?}"));
    }
    seen
}

/// `/runtime`, an entry a line, sorted. Envoy puts a warning before a struct,
/// which changes from process to process.
fn shown(answer: &Message) -> Vec<String> {
    let json: Value = serde_json::from_str(&answer.text()).expect("JSON");
    let unmarked = |text: &str| match text.strip_prefix("goo.gle/") {
        Some(rest) => rest
            .split_once('\n')
            .map_or("", |(_, rest)| rest)
            .to_owned(),
        None => text.to_owned(),
    };
    let entries = json["entries"].as_object().expect("entries");
    let mut lines: Vec<_> = entries
        .iter()
        .map(|(key, entry)| {
            let layers: Vec<_> = entry["layer_values"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|text| unmarked(text.as_str().expect("text")))
                .collect();
            let last = unmarked(entry["final_value"].as_str().expect("text"));
            format!("{key}: {layers:?} {last:?}")
        })
        .collect();
    lines.sort();
    lines.push(json["layers"].to_string());
    lines
}

#[test]
fn changes_are_shown_as_envoy_shows_them() {
    let _ = as_in_envoy("changes_are_shown_as_envoy_shows_them", changed);
}

#[test]
fn a_change_that_is_no_yaml_changes_nothing() {
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let scene = Scene::start_with(&program, listeners(), clusters, &layers());
        let admin = scene.process.admin();
        let before = shown(&admin.get("/runtime"));
        let refused = admin.post("/runtime_modify?p0=1&p1=%5B1");
        assert_eq!(refused.status(), 503, "{}", refused.text());
        assert_eq!(shown(&admin.get("/runtime")), before);
    }
}

/// Requests that are looked at for a share.
const DRAWS: usize = 4000;

/// Of these, so many at a time.
const PIECE: usize = 200;

/// Traffic is moved by a runtime key while requests flow: none of them fails,
/// and the shares are those that were asked for. The numbers come from the
/// process, which has no seed; five standard deviations are exceeded once in
/// two million runs.
#[test]
fn traffic_shifts_under_load_without_a_failed_request() {
    let hosts = "
- name: all
  domains: [\"*\"]
  routes:
  - match: { prefix: \"/\", runtime_fraction: { runtime_key: shift, default_value: { numerator: 0 } } }
    direct_response: { status: 200, body: { inline_string: \"new\" } }
  - match: { prefix: \"/\" }
    direct_response: { status: 200, body: { inline_string: \"old\" } }
";
    let listener = Listener {
        name: "shift",
        manager: "",
        hosts,
    };
    const LAYERS: &str = "layered_runtime: { layers: [{ name: admin, admin_layer: {} }] }\n";
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let scene = Scene::start_with(&program, &[listener], clusters, LAYERS);
        let address = scene.address("shift");
        let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let stopping = StopOnDrop(&stop);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        served.fetch_add(ask(address, 50).len(), Ordering::Relaxed);
                    }
                });
            }
            for percent in [0, 50, 0, 1, 0, 99, 0, 100, 0] {
                let change = format!("/runtime_modify?shift={percent}");
                assert_eq!(scene.process.admin().post(&change).status(), 200);
                let to_come = match percent {
                    0 => "old",
                    _ => "new",
                };
                await_answer(address, to_come);
                // In pieces: each has its own time, beside the others' load.
                let new = (0..DRAWS / PIECE)
                    .flat_map(|_| ask(address, PIECE))
                    .filter(|one| one == "new")
                    .count();
                let share = f64::from(percent) / 100.0;
                let draws = DRAWS as f64;
                let deviation = (draws * share * (1.0 - share)).sqrt();
                let off = (new as f64 - draws * share).abs();
                assert!(
                    off <= 5.0 * deviation,
                    "{driver:?} {percent} %: {new} of {DRAWS}"
                );
            }
            drop(stopping);
        });
        let (stats, all) = (scene.process.admin()).await_stats(Duration::from_secs(30), |stats| {
            let count = |name: &str| stats.get(&format!("http.shift.downstream_rq_{name}"));
            count("2xx") == count("total")
        });
        assert!(all, "{driver:?}: {stats:?}");
        assert!(
            served.load(Ordering::Relaxed) > 1000,
            "{driver:?}: there was no load"
        );
    }
}

/// Bodies of the answers to so many requests on one connection, all of which
/// succeed.
fn ask(address: SocketAddr, requests: usize) -> Vec<String> {
    let expected = Expectation {
        answers: requests,
        watch: Some(Duration::ZERO),
        ..Expectation::default()
    };
    let bytes = get("/", "").repeat(requests).into_bytes();
    let outcome = converse(address, &[Step::Send(bytes)], &expected);
    let bodies: Vec<_> = outcome
        .finals()
        .map(|answer| {
            assert_eq!(answer.status(), 200, "{answer:?}");
            answer.text()
        })
        .collect();
    assert_eq!(bodies.len(), requests, "{:?}", outcome.end);
    bodies
}

/// Waits until the last change has reached the worker.
fn await_answer(address: SocketAddr, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answers = ask(address, 200);
        let reached = match wanted {
            "old" => answers.iter().all(|one| one == "old"),
            other => answers.iter().any(|one| one == other),
        };
        if reached {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the change did not reach the worker"
        );
    }
}
