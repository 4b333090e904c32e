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
        cluster(
            "trailers",
            ports.origin,
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: { http_protocol_options: { enable_trailers: true } } } }",
        ),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.6s"),
        cluster(
            "hurried",
            ports.origin,
            "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             common_http_protocol_options: { max_stream_duration: 1s }, \
             explicit_http_config: { http_protocol_options: {} } } }",
        ),
        cluster("mirror", ports.mirror, ""),
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
        asks("uncounted, copied", "uncounted", "/copied", ""),
        asks(
            "uncounted, copied to no connection",
            "uncounted",
            "/copied-refused",
            "",
        ),
        asks("counted and copied", "counted", "/copied", "").mirror(with(503, "")),
        asks(
            "half an answer to gRPC",
            "counted",
            "/",
            "content-type: application/grpc\r\n",
        )
        .origin(half_an_answer(Act::Close)),
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
        silent("no answer in time", "counting", "/late", ""),
        twice("refused", "/refused"),
        twice("refused again", "/refused"),
        twice("refused and retried", "/refused-retried"),
        asks("refused gRPC", "counting", "/refused", grpc),
        twice("stuck", "/stuck"),
        twice("stuck longer than the route", "/stuck-late"),
        twice("copy that is refused", "/copied-refused"),
        twice("copy that is stuck", "/copied-stuck"),
        silent(
            "no answer in time, which is no error",
            "counting",
            "/late",
            NO_ERROR,
        ),
        silent(
            "longer than the stream may take",
            "counting",
            "/limited",
            "",
        ),
        silent("longer than it may be idle", "counting", "/idle", ""),
        silent("longer than a host may take", "counting", "/hurried", ""),
        silent("longer than each try", "counting", "/tried", ""),
        twice("half an answer", "/").origin(half_an_answer(Act::Close)),
        twice("half an answer in time", "/late").origin(half_an_answer(Act::Drain)),
    ]
}

/// A request that is not answered for a while.
fn silent(name: &'static str, listener: &'static str, path: &str, headers: &str) -> Case {
    let waits = vec![Act::Read, Act::Drain];
    asks(name, listener, path, headers).origin(waits)
}

/// Wants to be answered 204 when there is no answer in time.
const NO_ERROR: &str =
    "x-forwarded-for: 10.0.0.1\r\nx-envoy-upstream-rq-timeout-alt-response: 1\r\n";

/// A head that promises ten bytes, five of them, and then something else.
fn half_an_answer(then: Act) -> Vec<Act> {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345";
    vec![Act::Read, Act::Send(half.into()), then]
}

/// Answers to gRPC, whose own status decides.
fn cases_of_grpc() -> Vec<Case> {
    let grpc = "content-type: application/grpc\r\n";
    let answered = |name, answer: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n{answer}");
        asks(name, "counting", "/trailers", grpc).origin(origin::answer(answer))
    };
    const CHUNKED: &str = "transfer-encoding: chunked\r\n";
    let ends = |trailer: &str| format!("{CHUNKED}\r\n1\r\nx\r\n0\r\n{trailer}\r\n");
    vec![
        answered("gRPC, well", &ends("grpc-status: 0\r\n")),
        answered("gRPC, not found", &ends("grpc-status: 5\r\n")),
        answered("gRPC, internal error", &ends("grpc-status: 13\r\n")),
        answered("gRPC, no number", &ends("grpc-status: x\r\n")),
        answered("gRPC without trailers", &ends("")),
        answered(
            "gRPC by its head, well",
            "grpc-status: 0\r\ncontent-length: 0\r\n\r\n",
        ),
        answered(
            "gRPC by its head, unavailable",
            "grpc-status: 14\r\ncontent-length: 0\r\n\r\n",
        ),
        answered("gRPC by its head, nothing", "content-length: 0\r\n\r\n"),
        answered(
            "gRPC by its head with a body",
            "grpc-status: 14\r\ncontent-length: 1\r\n\r\nx",
        ),
        asks("gRPC, an error of HTTP", "counting", "/", grpc).origin(with(503, "")),
        asks("gRPC, half an answer", "counting", "/", grpc).origin(half_an_answer(Act::Close)),
        asks("gRPC, half an answer in time", "counting", "/late", grpc)
            .origin(half_an_answer(Act::Drain)),
        asks("gRPC, trailers that nobody reads", "counting", "/", grpc).origin(origin::answer(
            format!("HTTP/1.1 200 OK\r\n{}", ends("grpc-status: 0\r\n")),
        )),
        asks("gRPC, copied", "counting", "/copied", grpc)
            .origin(origin::answer(
                "HTTP/1.1 200 OK\r\ngrpc-status: 0\r\ncontent-length: 0\r\n\r\n",
            ))
            .mirror(origin::answer(
                "HTTP/1.1 200 OK\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n",
            )),
    ]
}

/// Errors where the router counts no responses: by itself, and as the request
/// is a health check.
fn cases_that_are_not_counted() -> Vec<Case> {
    let check = "x-check: 1\r\n";
    vec![
        asks("uncounted", "uncounted", "/", ""),
        asks("uncounted error", "uncounted", "/", "").origin(with(503, "")),
        asks("uncounted, retried", "uncounted", "/retried", "").origin(vec![
            Act::Read,
            Act::Turns(vec![said(503, ""), said(200, "")]),
        ]),
        asks("uncounted, no answer", "uncounted", "/", "").origin(vec![Act::Read, Act::Close]),
        silent("uncounted, not in time", "uncounted", "/late", ""),
        silent(
            "uncounted, not in time, no error",
            "uncounted",
            "/late",
            NO_ERROR,
        ),
        asks("uncounted, refused", "uncounted", "/refused", ""),
        asks(
            "uncounted, refused and retried",
            "uncounted",
            "/refused-retried",
            "",
        ),
        asks("uncounted, stuck", "uncounted", "/stuck", ""),
        asks("uncounted, copied", "uncounted", "/copied-refused", ""),
        asks("uncounted, copied to an error", "uncounted", "/copied", "").mirror(with(503, "")),
        asks("check, error", "checked", "/", check).origin(with(503, "")),
        asks("check, refused", "checked", "/refused", check),
        asks("check, no answer", "checked", "/", check).origin(vec![Act::Read, Act::Close]),
        silent("check, not in time", "checked", "/late", check),
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
            .replace(&format!(":{}:", ports.mirror), ":MIRROR:")
    };
    let look = || -> BTreeSet<String> {
        let text = scene.process.admin().get("/clusters").text();
        let lines = text.lines().filter(|line| line.contains("::rq_"));
        lines.map(named).collect()
    };
    let mut before = look();
    let mut seen = Vec::new();
    let cases = [
        cases_of_hosts(),
        cases_of_grpc(),
        cases_that_are_not_counted(),
    ];
    for case in cases.concat() {
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
