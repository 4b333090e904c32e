//! Where responses are counted: canaries, names that requests bring, and
//! routers that count none.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::{self, Comparison};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::origin::{self, Act};
use ringway_tests::process::Program;
use std::collections::BTreeSet;
use std::time::Duration;

/// A router, and what comes before it.
macro_rules! filters {
    ($before:literal, $router:literal) => {
        concat!(
            "internal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }\n",
            "http_filters:\n",
            $before,
            "- name: router\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n",
            $router
        )
    };
}

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: include_str!("counting/routes.yaml"),
    }
}

const LISTENERS: &[Listener] = &[
    listener("counting", filters!("", "")),
    listener("uncounted", filters!("", "    dynamic_stats: false\n")),
    listener("counted", filters!("", "    dynamic_stats: true\n")),
    listener(
        "checked",
        filters!(
            "- name: health\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck\n    pass_through_mode: true\n    headers: [{ name: x-check, present_match: true }]\n",
            ""
        ),
    ),
];

fn clusters(ports: Ports) -> String {
    let described = |name, canary| {
        format!(
            "- name: {name}\n  type: STATIC\n  load_assignment:\n    cluster_name: {name}\n    \
             endpoints: [{{ lb_endpoints: [{{ metadata: {{ filter_metadata: {{ envoy.lb: {{ canary: \
             {canary} }} }} }}, endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, \
             port_value: {} }} }} }} }}] }}]\n",
            ports.origin
        )
    };
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.1s"),
        cluster("renamed", ports.origin, "alt_stat_name: other_name"),
        described("canary", "true"),
        described("no_canary", "\"true\""),
    ]
    .concat()
}

fn asks(name: &'static str, listener: &'static str, path: &str, headers: &str) -> Case {
    case(
        name,
        listener,
        format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n"),
    )
}

/// An answer with these headers.
fn said(code: u16, headers: &str) -> Vec<Act> {
    let answer = format!("HTTP/1.1 {code} Some\r\n{headers}content-length: 0\r\n\r\n");
    vec![Act::Send(answer.into_bytes())]
}

/// Such an answer to a request.
fn with(code: u16, headers: &str) -> Vec<Act> {
    let mut acts = said(code, headers);
    acts.insert(0, Act::Read);
    acts
}

const CANARY: &str = "x-envoy-upstream-canary: true\r\n";
const INTERNAL: &str = "x-forwarded-for: 10.0.0.1\r\n";

/// Answers after interim ones.
fn interims() -> Vec<Case> {
    const LAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let after = |name, codes: &[u16]| {
        let heads = codes
            .iter()
            .map(|code| format!("HTTP/1.1 {code} Some\r\n\r\n"));
        let mut text: String = heads.collect();
        text.push_str(LAST);
        asks(name, "counting", "/", "x-marked: 1\r\n").origin(origin::answer(text))
    };
    vec![
        after("interim", &[103]),
        after("interim twice", &[103, 103]),
        after("interim of two kinds", &[102, 103]),
        after("interim of two kinds, 100 last", &[103, 100]),
        after("interim 100 twice", &[100, 100]),
        after("interim 104", &[104]),
        after("interim 105", &[105]),
        after("interim 150", &[150]),
        after("interim 199, then 103", &[199, 103]),
        after("interim 150 in between", &[102, 150, 103]),
    ]
}

fn cases() -> Vec<Case> {
    let mut all = interims();
    all.extend(responses());
    all
}

fn responses() -> Vec<Case> {
    let canary = |name, path, acts: Vec<Act>| asks(name, "counting", path, "").origin(acts);
    let named = |name, path, alt: &str| {
        let headers = format!("{INTERNAL}x-envoy-upstream-alt-stat-name: {alt}\r\n");
        asks(name, "counting", path, &headers)
    };
    let twice = |first, second| vec![Act::Read, Act::Turns(vec![first, second])];
    vec![
        canary("no canary", "/", with(200, "")),
        canary("canary", "/", with(200, CANARY)),
        canary("canary with an error", "/", with(503, CANARY)),
        canary(
            "canary not",
            "/",
            with(200, "x-envoy-upstream-canary: false\r\n"),
        ),
        canary(
            "canary in capitals",
            "/",
            with(200, "x-envoy-upstream-canary: TRUE\r\n"),
        ),
        canary("canary that the route hides", "/unsaid", with(200, CANARY)),
        canary(
            "canary, retried",
            "/retried",
            twice(said(503, CANARY), said(200, "")),
        ),
        canary(
            "retried, then canary",
            "/retried",
            twice(said(503, ""), said(200, CANARY)),
        ),
        canary(
            "canary, redirected",
            "/redirected",
            twice(
                said(302, &format!("{CANARY}location: http://a/\r\n")),
                said(200, ""),
            ),
        ),
        canary(
            "canary before the response",
            "/",
            origin::answer(format!(
                "HTTP/1.1 103 Early\r\n{CANARY}\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            )),
        ),
        asks("canary by its metadata", "counting", "/canary", ""),
        asks(
            "canary by its metadata, no answer",
            "counting",
            "/canary",
            "",
        )
        .origin(vec![Act::Read, Act::Close]),
        asks("no canary by its metadata", "counting", "/no-canary", ""),
        asks("canary of an internal client", "counting", "/", INTERNAL).origin(with(200, CANARY)),
        asks(
            "canary in a virtual cluster",
            "counting",
            "/",
            "x-marked: 1\r\n",
        )
        .origin(with(200, CANARY)),
        named("named", "/", "name"),
        named("named again", "/", "name"),
        named("named with dots", "/", "two.parts"),
        named("named with dots at the end", "/", "name.."),
        named("named dot", "/", "."),
        named("named nothing", "/", ""),
        named("named with spaces", "/", "a b"),
        named("named with marks", "/", "a:b/c,d"),
        named("named canary", "/", "name").origin(with(200, CANARY)),
        named("named at a cluster with another name", "/renamed", "name"),
        named("named without connection", "/refused", "name"),
        named("named, retried", "/retried", "name").origin(twice(said(503, ""), said(200, ""))),
        named("named, redirected", "/redirected", "name")
            .origin(twice(said(302, "location: http://a/\r\n"), said(200, ""))),
        asks("named by the route", "counting", "/added", INTERNAL),
        asks(
            "named twice",
            "counting",
            "/",
            &format!(
                "{INTERNAL}x-envoy-upstream-alt-stat-name: one\r\nx-envoy-upstream-alt-stat-name: two\r\n"
            ),
        ),
        asks(
            "named by an external client",
            "counting",
            "/",
            "x-envoy-upstream-alt-stat-name: name\r\n",
        ),
        asks("uncounted", "uncounted", "/", ""),
        asks(
            "uncounted, virtual cluster",
            "uncounted",
            "/",
            "x-marked: 1\r\n",
        ),
        asks("uncounted canary", "uncounted", "/", "").origin(with(200, CANARY)),
        asks("uncounted retry", "uncounted", "/retried", "")
            .origin(twice(said(503, ""), said(200, ""))),
        asks("uncounted, no connection", "uncounted", "/refused", ""),
        asks(
            "uncounted, named",
            "uncounted",
            "/",
            &format!("{INTERNAL}x-envoy-upstream-alt-stat-name: name\r\n"),
        ),
        asks("counted", "counted", "/", ""),
        asks("no health check", "checked", "/", ""),
        asks("health check", "checked", "/", "x-check: 1\r\n"),
        asks(
            "health check, retried",
            "checked",
            "/retried",
            "x-check: 1\r\n",
        )
        .origin(twice(said(503, ""), said(200, ""))),
        asks(
            "health check, no connection",
            "checked",
            "/refused",
            "x-check: 1\r\n",
        ),
    ]
}

#[test]
fn responses_are_counted_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("counting"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("responses_are_counted_as_envoy_does");
}

/// Cases that end well or not for their hosts, and how many there are of each.
fn cases_of_hosts() -> Vec<Case> {
    let grpc = "content-type: application/grpc\r\n";
    let twice = |name, path| asks(name, "counting", path, "");
    vec![
        asks("an answer", "counting", "/", ""),
        asks("an error", "counting", "/", "").origin(with(503, "")),
        asks("an error that is retried", "counting", "/retried", "").origin(vec![
            Act::Read,
            Act::Turns(vec![said(503, ""), said(200, "")]),
        ]),
        asks("no answer", "counting", "/", "").origin(vec![Act::Read, Act::Close]),
        asks("no answer in time", "counting", "/late", "")
            .origin(vec![Act::Read, Act::Wait(Duration::from_millis(300))]),
        twice("refused", "/refused"),
        twice("refused again", "/refused"),
        twice("refused and retried", "/refused-retried"),
        asks("refused gRPC", "counting", "/refused", grpc),
        twice("stuck", "/stuck"),
        twice("stuck longer than the route", "/stuck-late"),
        twice("copy that is refused", "/copied-refused"),
        twice("copy that is stuck", "/copied-stuck"),
    ]
}

/// What each of the cases changes in what `/clusters` says of requests to hosts.
fn requests_of_hosts(program: &Program) -> Vec<(&'static str, Vec<String>)> {
    let scene = Scene::start(program, LISTENERS, clusters);
    let ports = scene.ports();
    let named = |line: &str| {
        line.replace(&format!(":{}:", ports.refused), ":REFUSED:")
            .replace(&format!(":{}:", ports.origin), ":ORIGIN:")
            .replace(&format!(":{}:", ports.stuck), ":STUCK:")
    };
    let look = || -> BTreeSet<String> {
        let text = scene.process.admin().get("/clusters").text();
        let lines = text.lines().filter(|line| line.contains("::rq_"));
        lines.map(named).collect()
    };
    let mut before = look();
    let mut seen = Vec::new();
    for case in cases_of_hosts() {
        drop(scene.play(&case));
        let after = look();
        seen.push((case.name, after.difference(&before).cloned().collect()));
        before = after;
    }
    seen
}

#[test]
fn hosts_count_their_requests_as_envoy_does() {
    let test = "hosts_count_their_requests_as_envoy_does";
    let Some(seen) = comparison::as_in_envoy(test, requests_of_hosts) else {
        return;
    };
    let of = |case: &str| {
        let mut found = seen.iter().filter(|(name, _)| *name == case);
        found.next().map(|(_, lines)| lines.join(" "))
    };
    let refused = of("refused").expect("the case was played");
    assert_eq!(refused, "refused::127.0.0.1:REFUSED::rq_error::1");
    let stuck = of("stuck").expect("the case was played");
    assert_eq!(stuck, "stuck::127.0.0.1:STUCK::rq_error::1");
}
