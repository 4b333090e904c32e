//! Which responses outlier detection takes for errors where a cluster says so by
//! their headers (`error_matcher`): three in a row each.

use ringway_tests::bootstrap::Listener;
use ringway_tests::case::case;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::origin::answer;
use ringway_tests::process::Program;
use std::time::{Duration, Instant};

const LISTENERS: &[Listener] = &[Listener {
    name: "matchers",
    manager: "",
    hosts: "
- name: v
  domains: ['*']
  routes:
  - { match: { prefix: / }, route: { cluster_header: cluster } }
",
}];

const BAD: &str = "200 OK\r\nx-bad: 1";

const REQUEST: &str =
    "{ http_request_headers_match: { headers: [ { name: host, present_match: true } ] } }";

const BODY: &str =
    "{ http_response_generic_body_match: { patterns: [ { string_match: nothing } ] } }";

fn headers(list: &str) -> String {
    format!("{{ http_response_headers_match: {{ headers: [ {list} ] }} }}")
}

fn status(code: u16) -> String {
    format!("{{ name: ':status', string_match: {{ exact: '{code}' }} }}")
}

/// A name, the matcher, the response, and whether a run of errors and a run of
/// failures of gateways is seen.
type Case = (&'static str, String, &'static str, [bool; 2]);

fn cases() -> Vec<Case> {
    let bad = "{ name: x-bad, present_match: true }";
    let not = |of: &str| format!("{{ not_match: {of} }}");
    let set =
        |kind: &str, of: [&str; 2]| format!("{{ {kind}: {{ rules: [ {}, {} ] }} }}", of[0], of[1]);
    let any = "{ any_match: true }";
    let both = format!("{}, {bad}", status(200));
    vec![
        (
            "client_error",
            headers(&status(404)),
            "404 No",
            [true, false],
        ),
        (
            "other_error",
            headers(&status(404)),
            "503 No",
            [false, false],
        ),
        (
            "gateway_error",
            headers(&status(503)),
            "503 No",
            [true, true],
        ),
        ("success", headers(&status(200)), "200 OK", [true, false]),
        ("both", headers(&both), BAD, [true, false]),
        ("one_of_both", headers(&both), "200 OK", [false, false]),
        (
            "not_success",
            not(&headers(&status(200))),
            "404 No",
            [true, false],
        ),
        (
            "not_this_success",
            not(&headers(&status(200))),
            "200 OK",
            [false, false],
        ),
        ("any", any.to_owned(), "200 OK", [true, false]),
        ("none", not(any), "503 No", [false, false]),
        (
            "or",
            set("or_match", [&headers(&status(500)), &headers(bad)]),
            BAD,
            [true, false],
        ),
        (
            "or_unseen",
            set("or_match", [REQUEST, &headers(bad)]),
            BAD,
            [true, false],
        ),
        (
            "and",
            set("and_match", [any, &headers(bad)]),
            BAD,
            [true, false],
        ),
        (
            "and_unseen",
            set("and_match", [REQUEST, &headers(bad)]),
            BAD,
            [false, false],
        ),
        (
            "of_the_request",
            REQUEST.to_owned(),
            "503 No",
            [false, false],
        ),
        ("not_of_the_body", not(BODY), "200 OK", [true, false]),
        ("usual", String::new(), "503 No", [true, true]),
    ]
}

fn clusters(ports: Ports) -> String {
    let cluster = |(name, matcher, _, _): Case| {
        let matcher = match &*matcher {
            "" => String::new(),
            matcher => format!(", outlier_detection: {{ error_matcher: {matcher} }}"),
        };
        format!(
            "- {{ name: {name}, outlier_detection: {{ consecutive_5xx: 3, consecutive_gateway_failure: 3, \
             enforcing_consecutive_gateway_failure: 0, enforcing_consecutive_5xx: 0, interval: 3600s }}, \
             typed_extension_protocol_options: {{ envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \
             '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: {{ http_protocol_options: {{}} }}{matcher} }} }}, \
             load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ \
             address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }} }} }} ] }} ] }} }}\n",
            ports.origin
        )
    };
    cases().into_iter().map(cluster).collect()
}

/// The runs that were seen, by case.
fn play(program: &Program) -> Vec<(&'static str, [bool; 2])> {
    let scene = Scene::start_with(program, LISTENERS, clusters, "");
    for (name, _, response, _) in cases() {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\ncluster: {name}\r\n\r\n");
        let response = format!("HTTP/1.1 {response}\r\ncontent-length: 0\r\n\r\n");
        for _ in 0..3 {
            let once = case(name, "matchers", &request).origin(answer(&response));
            drop(scene.play(&once));
        }
    }
    let seen = || {
        let text = scene
            .process
            .admin()
            .get("/stats?filter=ejections_detected")
            .text();
        let count = |name: &str, what: &str| {
            let line = format!(
                "cluster.{name}.outlier_detection.ejections_detected_consecutive_{what}: 1"
            );
            text.lines().any(|found| found == line)
        };
        let of = |(name, ..): Case| {
            (
                name,
                ["5xx", "gateway_failure"].map(|what| count(name, what)),
            )
        };
        cases().into_iter().map(of).collect::<Vec<_>>()
    };
    // They are seen by another thread than the one that answers.
    let wanted: Vec<_> = cases()
        .into_iter()
        .map(|(name, _, _, runs)| (name, runs))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let seen = seen();
        if seen == wanted || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn responses_are_errors_by_their_headers_as_in_envoy() {
    let test = "responses_are_errors_by_their_headers_as_in_envoy";
    let Some(seen) = as_in_envoy(test, play) else {
        return;
    };
    for ((name, runs), case) in seen.into_iter().zip(cases()) {
        assert_eq!(runs, case.3, "{name}");
    }
}
