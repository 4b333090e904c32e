//! What the router filter itself can be told, and the older forms of what
//! routes say.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

/// A connection manager whose router has these fields. One of the addresses in
/// x-forwarded-for makes a request internal.
macro_rules! router {
    ($name:literal, $fields:literal) => {
        Listener {
            name: $name,
            manager: concat!(
                "internal_address_config: { cidr_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ] }\n",
                "upgrade_configs: [ { upgrade_type: CONNECT }, { upgrade_type: foo } ]\n",
                "http_filters:\n- name: router\n  typed_config:\n",
                "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n",
                $fields
            ),
            hosts: include_str!("router/routes.yaml"),
        }
    };
}

const LISTENERS: &[Listener] = &[
    router!("plain", ""),
    router!("quiet", "    suppress_envoy_headers: true\n"),
    router!(
        "strict",
        "    strict_check_headers: [ x-envoy-retry-grpc-on, x-envoy-retry-on, x-envoy-max-retries, x-envoy-upstream-rq-timeout-ms, x-envoy-upstream-rq-per-try-timeout-ms ]\n"
    ),
    router!(
        "half_strict",
        "    strict_check_headers: [ x-envoy-max-retries ]\n"
    ),
    router!("respecting", "    respect_expected_rq_timeout: true\n"),
    router!(
        "respecting_quietly",
        "    respect_expected_rq_timeout: true\n    suppress_envoy_headers: true\n"
    ),
    router!("patient", "    reject_connect_request_early_data: true\n"),
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 1s"),
        empty_cluster("empty"),
    ]
    .concat()
}

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A request from the inside.
fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\n{headers}\r\n")
}

fn grpc(path: &str, headers: &str) -> String {
    get(
        path,
        &format!("content-type: application/grpc\r\n{headers}"),
    )
}

fn silent() -> Vec<Act> {
    vec![Act::Read, Act::Drain]
}

/// The origin answers one request after the other with these heads.
fn turns(heads: &[&str]) -> Vec<Act> {
    let turn = |head: &&str| {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
        vec![Act::Send(answer.into_bytes())]
    };
    vec![Act::Read, Act::Turns(heads.iter().map(turn).collect())]
}

fn cases() -> Vec<Case> {
    let mut all = strict();
    all.extend(expected());
    all.extend(older_grpc_timeouts());
    all.extend(older_redirects());
    all.extend(too_early());
    all.extend(typed());
    all.extend(early_data());
    all
}

fn strict() -> Vec<Case> {
    let strict = |name, headers: &str| case(name, "strict", get("/plain", headers));
    vec![
        strict("strict", ""),
        strict("strict timeout", "x-envoy-upstream-rq-timeout-ms: 9000\r\n"),
        strict(
            "strict timeout of none",
            "x-envoy-upstream-rq-timeout-ms: 0\r\n",
        ),
        strict(
            "strict timeout with a plus",
            "x-envoy-upstream-rq-timeout-ms: +9000\r\n",
        ),
        strict(
            "strict timeout with a minus",
            "x-envoy-upstream-rq-timeout-ms: -1\r\n",
        ),
        strict(
            "strict timeout that is none",
            "x-envoy-upstream-rq-timeout-ms: soon\r\n",
        ),
        strict(
            "strict timeout that is empty",
            "x-envoy-upstream-rq-timeout-ms:\r\n",
        ),
        strict(
            "strict timeout of a fraction",
            "x-envoy-upstream-rq-timeout-ms: 1.5\r\n",
        ),
        strict(
            "strict timeout that is too long",
            "x-envoy-upstream-rq-timeout-ms: 18446744073709551616\r\n",
        ),
        strict(
            "strict timeout twice",
            "x-envoy-upstream-rq-timeout-ms: 9000\r\nx-envoy-upstream-rq-timeout-ms: 9000\r\n",
        ),
        strict(
            "strict time of a try",
            "x-envoy-upstream-rq-per-try-timeout-ms: x y\r\n",
        ),
        strict("strict retries", "x-envoy-max-retries: 3\r\n"),
        strict(
            "strict retries that are none",
            "x-envoy-max-retries: three\r\n",
        ),
        strict("strict conditions", "x-envoy-retry-on: 5xx, reset,\r\n"),
        strict(
            "strict conditions with nonsense",
            "x-envoy-retry-on: 5xx,nonsense\r\n",
        ),
        strict(
            "strict conditions of gRPC among others",
            "x-envoy-retry-on: cancelled\r\n",
        ),
        strict(
            "strict conditions twice",
            "x-envoy-retry-on: 5xx\r\nx-envoy-retry-on: nonsense\r\n",
        ),
        strict(
            "strict conditions of gRPC",
            "x-envoy-retry-grpc-on: cancelled\r\n",
        ),
        strict(
            "strict conditions of gRPC with others",
            "x-envoy-retry-grpc-on: 5xx\r\n",
        ),
        strict(
            "strict and all wrong",
            "x-envoy-retry-on: a\r\nx-envoy-retry-grpc-on: b\r\nx-envoy-max-retries: c\r\n\
             x-envoy-upstream-rq-per-try-timeout-ms: d\r\nx-envoy-upstream-rq-timeout-ms: e\r\n",
        ),
        strict(
            "strict and some wrong",
            "x-envoy-retry-grpc-on: b\r\nx-envoy-retry-on: a\r\n",
        ),
        case(
            "strict with a client from outside",
            "strict",
            "GET /plain HTTP/1.1\r\nhost: a\r\nx-envoy-max-retries: x\r\n\r\n",
        ),
        case(
            "strict with gRPC",
            "strict",
            grpc("/plain", "x-envoy-max-retries: x\r\n"),
        ),
        case(
            "strict with a body",
            "strict",
            "POST /plain HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\nx-envoy-max-retries: x\r\n\
             content-length: 5\r\n\r\nhello",
        ),
        case(
            "strict without a cluster",
            "strict",
            get("/nowhere", "x-envoy-max-retries: x\r\n"),
        ),
        case(
            "strict without a host",
            "strict",
            get("/empty", "x-envoy-max-retries: x\r\n"),
        ),
        case(
            "strict direct response",
            "strict",
            get("/direct", "x-envoy-max-retries: x\r\n"),
        ),
        case(
            "strict with headers of the route",
            "strict",
            get("/added", ""),
        ),
        case(
            "half strict",
            "half_strict",
            get("/plain", "x-envoy-retry-on: nonsense\r\n"),
        ),
        case(
            "half strict and wrong",
            "half_strict",
            get("/plain", "x-envoy-max-retries: x\r\n"),
        ),
        case(
            "not strict",
            "plain",
            get("/plain", "x-envoy-max-retries: x\r\n"),
        ),
    ]
}

const EXPECTED: &str = "x-envoy-expected-rq-timeout-ms: 7000\r\n";
const ASKED: &str = "x-envoy-upstream-rq-timeout-ms: 8000\r\n";

fn expected() -> Vec<Case> {
    let both = format!("{EXPECTED}{ASKED}");
    let on = |name, listener, path: &str, headers: &str| case(name, listener, get(path, headers));
    vec![
        on("expected", "respecting", "/plain", EXPECTED),
        on("expected and asked", "respecting", "/plain", &both),
        on("asked", "respecting", "/plain", ASKED),
        on("neither expected nor asked", "respecting", "/plain", ""),
        on(
            "expected, quietly",
            "respecting_quietly",
            "/plain",
            EXPECTED,
        ),
        on(
            "expected and asked, quietly",
            "respecting_quietly",
            "/plain",
            &both,
        ),
        on("expected, where nobody cares", "plain", "/plain", EXPECTED),
        on(
            "expected and asked, where nobody cares",
            "plain",
            "/plain",
            &both,
        ),
        on(
            "nonsense expected",
            "respecting",
            "/plain",
            "x-envoy-expected-rq-timeout-ms: soon\r\n",
        ),
        on(
            "nonsense expected and asked",
            "respecting",
            "/plain",
            &format!("x-envoy-expected-rq-timeout-ms: soon\r\n{ASKED}"),
        ),
        on(
            "nothing expected",
            "respecting",
            "/plain",
            "x-envoy-expected-rq-timeout-ms: 0\r\n",
        ),
        on(
            "expected without limit",
            "respecting",
            "/unlimited",
            EXPECTED,
        ),
        on(
            "expected with a duration",
            "respecting",
            "/duration",
            EXPECTED,
        ),
        on(
            "expected with headers of the route",
            "respecting",
            "/added",
            &both,
        ),
        on(
            "expected shorter than a try",
            "respecting",
            "/retried",
            "x-envoy-expected-rq-timeout-ms: 2000\r\n",
        ),
        case(
            "expected from outside",
            "respecting",
            format!("GET /plain HTTP/1.1\r\nhost: a\r\n{both}\r\n"),
        ),
        on(
            "expected and over",
            "respecting",
            "/plain",
            "x-envoy-expected-rq-timeout-ms: 1000\r\n",
        )
        .origin(silent()),
        on(
            "expected beyond the route",
            "respecting",
            "/short",
            EXPECTED,
        )
        .origin([
            Act::Read,
            // Longer than the route's own time.
            Act::Wait(MS(1500)),
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ]),
    ]
}

fn older_grpc_timeouts() -> Vec<Case> {
    macro_rules! asked {
        ($($path:literal $timeout:literal;)*) => {
            vec![$(
                case(
                    concat!($path, " ", $timeout),
                    "plain",
                    grpc($path, concat!("grpc-timeout: ", $timeout, "\r\n")),
                ),
            )*]
        };
    }
    let mut all = asked! {
        "/grpc" "1S"; "/grpc" "9S"; "/grpc" "0S"; "/grpc" "bad"; "/grpc" "2S"; "/grpc" "1500m";
        "/grpc-any" "1S"; "/grpc-any" "99999999H"; "/grpc-any" "0S"; "/grpc-any" "bad";
        "/grpc-earlier" "1S"; "/grpc-earlier" "9S"; "/grpc-earlier" "2050m";
        "/grpc-any-earlier" "1S"; "/grpc-any-earlier" "0S";
        "/grpc-only-earlier" "1S"; "/grpc-both" "1S"; "/grpc-try" "3S"; "/grpc-try" "500m";
        "/grpc-long-try" "9S"; "/grpc-long-try" "500m";
    };
    let on = |name, path: &str, headers: &str| case(name, "plain", grpc(path, headers));
    all.extend([
        on("grpc asks for nothing", "/grpc", ""),
        on("grpc asks for nothing of any", "/grpc-any", ""),
        on("grpc asks for nothing earlier", "/grpc-earlier", ""),
        on(
            "grpc with a header",
            "/grpc",
            &format!("grpc-timeout: 1S\r\n{ASKED}"),
        ),
        on(
            "grpc with a header of none",
            "/grpc",
            "grpc-timeout: 1S\r\nx-envoy-upstream-rq-timeout-ms: 0\r\n",
        ),
        on(
            "grpc with a try's header",
            "/grpc",
            "grpc-timeout: 1S\r\nx-envoy-upstream-rq-per-try-timeout-ms: 500\r\n",
        ),
        case(
            "grpc, quietly",
            "quiet",
            grpc("/grpc", "grpc-timeout: 1S\r\n"),
        ),
        case(
            "grpc of no gRPC",
            "plain",
            get("/grpc", "grpc-timeout: 1S\r\n"),
        ),
        case(
            "grpc expected",
            "respecting",
            grpc("/grpc", &format!("grpc-timeout: 1S\r\n{EXPECTED}")),
        ),
        on("grpc and over", "/grpc-short", "grpc-timeout: 9S\r\n").origin(silent()),
        on("grpc and over as asked", "/grpc", "grpc-timeout: 200m\r\n").origin(silent()),
        on(
            "grpc and over earlier",
            "/grpc-earlier",
            "grpc-timeout: 150m\r\n",
        )
        .origin(silent()),
    ]);
    all
}

fn older_redirects() -> Vec<Case> {
    const THERE: &str = "302 Found\r\nlocation: http://a/twice";
    let on = |name, path: &str| case(name, "plain", get(path, ""));
    vec![
        on("redirect followed", "/followed").origin(turns(&[THERE, "200 OK"])),
        on("redirect followed to a redirect", "/followed").origin(turns(&[THERE, THERE, "200 OK"])),
        on("redirects followed", "/twice").origin(turns(&[THERE, THERE, "200 OK"])),
        on("redirects followed too often", "/twice").origin(turns(&[THERE])),
        on("redirect passed on", "/passed").origin(turns(&[THERE, "200 OK"])),
        on("redirects only numbered", "/number").origin(turns(&[THERE, "200 OK"])),
        on("redirect of a policy", "/policy").origin(turns(&[THERE, "200 OK"])),
        on("redirect of a policy's code", "/policy")
            .origin(turns(&["307 T\r\nlocation: http://a/plain", "200 OK"])),
        on("redirect of another code", "/followed")
            .origin(turns(&["307 T\r\nlocation: http://a/plain", "200 OK"])),
        on("redirect to https", "/followed")
            .origin(turns(&["302 F\r\nlocation: https://a/plain", "200 OK"])),
    ]
}

fn too_early() -> Vec<Case> {
    const EARLY: &str = "425 Too Early\r\nretry-after: 60\r\nx-again: y";
    let on = |name, path: &str, headers: &str| case(name, "plain", get(path, headers));
    vec![
        on("too early", "/early", "").origin(turns(&[EARLY, "200 OK"])),
        on("too early twice", "/early", "").origin(turns(&[EARLY, EARLY, "200 OK"])),
        on("too early for ever", "/early", "").origin(turns(&[EARLY])),
        on("too early for early data", "/early", "early-data: 1\r\n")
            .origin(turns(&[EARLY, "200 OK"])),
        on("too early for no early data", "/early", "early-data: 0\r\n")
            .origin(turns(&[EARLY, "200 OK"])),
        on("too early with a policy", "/early-policy", "").origin(turns(&[EARLY, "200 OK"])),
        on("too early and told", "/early-told", "").origin(turns(&[EARLY, "200 OK"])),
        on("too early by a header", "/early-header", "").origin(turns(&[EARLY, "200 OK"])),
        on(
            "too early by a header for early data",
            "/early-header",
            "early-data: 1\r\n",
        )
        .origin(turns(&[EARLY, "200 OK"])),
        on(
            "too early as asked",
            "/early-asked",
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 425\r\n",
        )
        .origin(turns(&[EARLY, "200 OK"])),
        on("too early, nobody cares", "/plain", "").origin(turns(&[EARLY, "200 OK"])),
    ]
}

fn typed() -> Vec<Case> {
    let on = |name, path: &str| case(name, "plain", get(path, ""));
    vec![
        on("typed policy", "/typed").origin(turns(&["503 No", "200 OK"])),
        on("typed policy beside another", "/typed-too").origin(turns(&["503 No", "503 No"])),
        case(
            "typed policy of the virtual host",
            "plain",
            "GET / HTTP/1.1\r\nhost: typed\r\n\r\n",
        )
        .origin(turns(&["503 No", "200 OK"])),
        on("flush timeout", "/flush"),
    ]
}

const CONNECT: &str = "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n";

fn early_data() -> Vec<Case> {
    let agrees = || {
        vec![
            Act::ReadHead,
            // So that what is sent early comes before this, most of the time.
            Act::Wait(MS(200)),
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]
    };
    let on = |name, bytes: &str| case(name, "patient", bytes).to_head();
    let to = |host: &str| format!("CONNECT {host}:80 HTTP/1.1\r\nhost: {host}:80\r\n\r\nping");
    vec![
        on("connect patiently", CONNECT)
            .then(Step::Await(1))
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(agrees()),
        on("connect with early data", &format!("{CONNECT}ping")).origin(vec![
            Act::ReadHead,
            Act::ReadToEnd,
            Act::Close,
        ]),
        on("connect and send early data", CONNECT)
            .then(Step::AwaitRequest(0))
            .then_send("ping")
            .origin(vec![Act::ReadHead, Act::ReadToEnd, Act::Close]),
        case(
            "connect with early data, where it may",
            "plain",
            format!("{CONNECT}ping"),
        )
        .to_head()
        .then(Step::Await(1))
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(agrees()),
        on("connect with early data to nowhere", &to("stuck")),
        on("connect with early data to nowhere, again", &to("retried")),
        on("connect with early data, ended here", &to("ended"))
            .then(Step::Await(1))
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadBytes(4),
                Act::Send(b"pong".to_vec()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        on(
            "connect with early data, ended here, to nowhere",
            &to("ended-stuck"),
        ),
        on(
            "upgrade with early data",
            "GET /plain HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\nping",
        )
        .then(Step::Await(1))
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin({
            let mut acts = agrees();
            acts[2] = Act::Send(
                b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n".to_vec(),
            );
            acts
        }),
    ]
}

#[test]
fn routers_do_as_they_are_told() {
    Comparison {
        suite: Suite::Routing("router"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("routers_do_as_they_are_told");
}
