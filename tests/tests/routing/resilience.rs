//! Retries, hedging, timeouts of every kind, internal redirects.

mod redirects;

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "retries",
        manager: "",
        hosts: include_str!("resilience/routes.yaml"),
    },
    // One of these addresses in x-forwarded-for makes a request internal.
    Listener {
        name: "internal",
        manager: "internal_address_config: { cidr_ranges: [ \
                  { address_prefix: 10.0.0.0, prefix_len: 8 } ] }",
        hosts: include_str!("resilience/routes.yaml"),
    },
    Listener {
        name: "attempts",
        manager: "",
        hosts: include_str!("resilience/attempts.yaml"),
    },
    Listener {
        name: "redirects",
        manager: "",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    Listener {
        name: "redirects_any_port",
        manager: "strip_any_host_port: true",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    Listener {
        name: "redirects_own_port",
        manager: "strip_matching_host_port: true",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    Listener {
        name: "redirects_normal",
        manager: "strip_trailing_host_dot: true\nnormalize_path: true\nmerge_slashes: true\npath_with_escaped_slashes_action: REJECT_REQUEST",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    Listener {
        name: "redirects_unescaped",
        manager: "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    Listener {
        name: "redirects_https",
        manager: "scheme_header_transformation: { scheme_to_overwrite: https }",
        hosts: include_str!("resilience/redirects.yaml"),
    },
    // Nothing is there for hosts that are not listed.
    Listener {
        name: "unknown_hosts",
        manager: "",
        hosts: include_str!("resilience/unknown_hosts.yaml"),
    },
    Listener {
        name: "quiet",
        manager: "http_filters: [ { name: router, typed_config: { \
                  \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, \
                  suppress_envoy_headers: true } } ]",
        hosts: include_str!("resilience/routes.yaml"),
    },
    Listener {
        name: "proxied_continue",
        manager: "proxy_100_continue: true",
        hosts: include_str!("resilience/routes.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    let limits = |fields: &str| format!("circuit_breakers: {{ thresholds: [ {{ {fields} }} ] }}");
    let budget = |percent: u32, min: u32| {
        limits(&format!(
            "retry_budget: {{ budget_percent: {{ value: {percent} }}, min_retry_concurrency: {min} }}"
        ))
    };
    let origin = ports.origin;
    [
        cluster("origin", origin, ""),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.1s"),
        cluster("stuck_for_long", ports.stuck, "connect_timeout: 1s"),
        cluster("no_retries", origin, &limits("max_retries: 0")),
        cluster("no_budget", origin, &budget(0, 0)),
        cluster("budget", origin, &budget(0, 1)),
        cluster(
            "max_stream",
            origin,
            "typed_extension_protocol_options: { \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             common_http_protocol_options: { max_stream_duration: 0.8s }, \
             explicit_http_config: { http_protocol_options: {} } } }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

/// These interim responses, then 200.
fn interim(heads: &[&str]) -> Vec<Act> {
    let mut acts = vec![Act::Read];
    for head in heads {
        acts.push(Act::Send(format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()));
        acts.push(Act::Wait(Duration::from_millis(20)));
    }
    acts.push(Act::Send(
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
    ));
    acts
}

fn interims(name: &'static str, heads: &[&str]) -> Case {
    case(name, "proxied_continue", get("/")).origin(interim(heads))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// A request from inside with these header lines.
fn asking(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.1.1\r\n{lines}\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}")
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A response without a body, which leaves its connection usable.
fn status(code: u16, lines: &str) -> String {
    format!("HTTP/1.1 {code} Text\r\ncontent-length: 0\r\n{lines}\r\n")
}

fn say(bytes: impl AsRef<[u8]>) -> Vec<Act> {
    vec![Act::Send(bytes.as_ref().to_vec())]
}

/// The origin reads requests and does this for each in turn.
fn turns(turns: impl Into<Vec<Vec<Act>>>) -> Vec<Act> {
    vec![Act::Read, Act::Turns(turns.into())]
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Says nothing until nobody waits for it any more. Each time limit leaves some hundred
/// milliseconds to a machine that is busy.
fn silence() -> Vec<Act> {
    vec![Act::Drain]
}

/// A case whose first answers are these and all others 200.
fn answers(name: &'static str, path: &str, first: &[&str]) -> Case {
    let mut all: Vec<_> = first.iter().map(say).collect();
    all.push(say(OK));
    case(name, "retries", get(path)).origin(turns(all))
}

fn cases() -> Vec<Case> {
    let mut all = conditions();
    all.extend(limits());
    all.extend(resets());
    all.extend(bodies());
    all.extend(timeouts());
    all.extend(hedging());
    all.extend(asked_for());
    all.extend(attempts());
    all.extend(redirects::redirects());
    all.extend(redirects::redirects_to_odd_hosts());
    all.extend(redirects::normalized_redirects());
    all.extend(redirects::followed_redirects());
    all.extend(redirects::redirects_to_unknown_hosts());
    all
}

fn conditions() -> Vec<Case> {
    let bad = |code| status(code, "");
    let (e500, e502, e503) = (bad(500), bad(502), bad(503));
    vec![
        answers("no failure", "/5xx", &[]),
        answers("5xx once", "/5xx", &[&e500]),
        answers("5xx twice", "/5xx", &[&e503, &e500]),
        answers("5xx too often", "/5xx", &[&e503, &e503, &e503]),
        answers("599", "/5xx", &[&bad(599)]),
        answers("499 is no 5xx", "/5xx", &[&bad(499)]),
        answers("one retry by default", "/once", &[&e503, &e503]),
        answers("no retries allowed", "/never", &[&e503]),
        answers("gateway error", "/gateway", &[&e502]),
        answers("500 is no gateway error", "/gateway", &[&e500]),
        answers("504 is a gateway error", "/gateway", &[&bad(504)]),
        answers("505 is no gateway error", "/gateway", &[&bad(505)]),
        answers("409", "/4xx", &[&bad(409)]),
        answers("408 is not retriable", "/4xx", &[&bad(408)]),
        answers("listed code", "/codes", &[&bad(418)]),
        answers("other listed code", "/codes", &[&bad(429)]),
        answers("code that is not listed", "/codes", &[&e503]),
        answers(
            "header value",
            "/headers",
            &[&status(200, "x-again: yes\r\n")],
        ),
        answers(
            "header presence",
            "/headers",
            &[&status(404, "X-Other: 1\r\n")],
        ),
        answers(
            "wrong header value",
            "/headers",
            &[&status(200, "x-again: no\r\n")],
        ),
        answers("reset does not mean 5xx", "/reset", &[&e503]),
        answers("connect failure does not mean 5xx", "/connect", &[&e503]),
        answers(
            "refused stream does not mean 5xx",
            "/refused-stream",
            &[&e503],
        ),
        answers(
            "rate limited",
            "/5xx",
            &[&status(503, "x-envoy-ratelimited: true\r\n")],
        ),
        answers(
            "rate limited and asked for",
            "/limited",
            &[&status(429, "x-envoy-ratelimited: true\r\n")],
        ),
        answers(
            "overloaded",
            "/5xx",
            &[&status(503, "x-envoy-overloaded: true\r\n")],
        ),
        answers(
            "grpc cancelled",
            "/grpc",
            &[&status(200, "grpc-status: 1\r\n")],
        ),
        answers(
            "grpc unavailable",
            "/grpc",
            &[&status(200, "grpc-status: 14\r\n")],
        ),
        answers(
            "grpc internal is not listed",
            "/grpc",
            &[&status(200, "grpc-status: 13\r\n")],
        ),
        answers(
            "grpc status that is no number",
            "/grpc",
            &[&status(200, "grpc-status: 14x\r\n")],
        ),
        case(
            "request header that allows it",
            "retries",
            "GET /asked HTTP/1.1\r\nhost: a\r\nx-may-retry: 1\r\n\r\n",
        )
        .origin(turns([say(&e503), say(OK)])),
        answers("request header that is missing", "/asked", &[&e503]),
        answers(
            "failed response with a body",
            "/5xx",
            &["HTTP/1.1 503 Text\r\ncontent-length: 4\r\n\r\nbody"],
        ),
        answers(
            "failed response with an endless body",
            "/5xx",
            &["HTTP/1.1 503 Text\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n"],
        ),
        answers(
            "failed response that closes",
            "/5xx",
            &["HTTP/1.1 503 Text\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"],
        ),
        answers(
            "last response with a body",
            "/once",
            &[
                "HTTP/1.1 503 Text\r\ncontent-length: 3\r\n\r\none",
                "HTTP/1.1 502 Text\r\ncontent-length: 3\r\n\r\ntwo",
            ],
        ),
        case("HEAD", "retries", "HEAD /5xx HTTP/1.1\r\nhost: a\r\n\r\n")
            .origin(turns([
                say("HTTP/1.1 503 Text\r\ncontent-length: 9\r\n\r\n"),
                say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
            ]))
            .to_head(),
        answers(
            "told to wait too long",
            "/told",
            &[&status(503, "retry-after: 3600\r\n")],
        ),
        answers(
            "told to wait",
            "/told",
            &[&status(503, "retry-after: 1\r\n")],
        ),
        answers(
            "told nonsense",
            "/told",
            &[&status(503, "retry-after: soon\r\nx-reset: 12\r\n")],
        ),
        answers(
            "told to wait for nothing",
            "/told",
            &[&status(503, "retry-after: 0\r\n")],
        ),
    ]
}

fn limits() -> Vec<Case> {
    let e503 = status(503, "");
    vec![
        answers("no retries in flight allowed", "/no-retries", &[&e503]),
        answers("no retry budget", "/no-budget", &[&e503]),
        answers("retry budget of one", "/budget", &[&e503]),
        case("two requests on one connection", "retries", "")
            .steps(vec![
                Step::Send(get("/5xx").into_bytes()),
                Step::Await(1),
                Step::Send(get("/5xx").into_bytes()),
            ])
            .answers(2)
            .origin(turns([say(&e503), say(OK), say(&e503), say(OK)])),
        case(
            "two requests at once",
            "retries",
            get("/5xx") + &get("/plain"),
        )
        .answers(2)
        .origin(turns([say(&e503), say(OK)])),
    ]
}

fn resets() -> Vec<Case> {
    let origin = |name, path: &str, first: Vec<Act>| {
        case(name, "retries", get(path)).origin(turns([first, say(OK)]))
    };
    let to = |name, path: &str| case(name, "retries", get(path));
    vec![
        origin("closed before an answer", "/5xx", vec![Act::Close]),
        origin("reset before an answer", "/gateway", vec![Act::Reset]),
        origin("closed, reset only", "/reset", vec![Act::Close]),
        origin(
            "closed, before the request only",
            "/reset-before",
            vec![Act::Close],
        ),
        origin("closed, connect failure only", "/connect", vec![Act::Close]),
        origin(
            "closed, refused stream only",
            "/refused-stream",
            vec![Act::Close],
        ),
        origin("nonsense", "/5xx", say("nonsense\r\n\r\n")),
        origin(
            "half a head",
            "/5xx",
            [say("HTTP/1.1 200 OK\r\nx: "), vec![Act::Close]].concat(),
        ),
        case("closed every time", "retries", get("/5xx")).origin(turns([vec![Act::Close]])),
        case("nonsense every time", "retries", get("/once"))
            .origin(turns([say("nonsense\r\n\r\n")])),
        origin(
            "closed in the body is too late",
            "/5xx",
            vec![
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
                Act::AwaitRelease,
                Act::Close,
            ],
        )
        .then(Step::AwaitBody(4))
        .then(Step::Release),
        to("refused every time", "/refused"),
        to("refused, 5xx", "/refused-late"),
        to("refused, gateway error", "/refused-gateway"),
        to("refused, before the request", "/refused-before"),
        to("refused, 4xx only", "/refused-4xx"),
        to("stuck every time", "/stuck"),
        to("stuck, reset only", "/stuck-reset"),
        to("stuck until the route's timeout", "/route-timeout-stuck"),
        case("client leaves between tries", "retries", get("/told"))
            .origin(turns([say(status(503, "retry-after: 2\r\n")), say(OK)]))
            .then(Step::AwaitRequest(0))
            .then(Step::AwaitStill)
            .then(Step::Leave),
        interims(
            "interim 100 sent on",
            &["100 Continue\r\nx-a: b\r\nlink: c"],
        ),
        interims(
            "interim 102 sent on",
            &["102 Processing\r\nx-a: b\r\nlink: c"],
        ),
        interims(
            "interim 103 sent on",
            &["103 Early Hints\r\nx-a: b\r\nlink: c"],
        ),
        interims("interim 104 sent on", &["104 Odd\r\nx-a: b\r\nlink: c"]),
        interims(
            "interim 103 twice",
            &["103 Early Hints\r\nlink: a", "103 Early Hints\r\nlink: b"],
        ),
        interims(
            "interim 103, then 100",
            &["103 Early Hints\r\nlink: a", "100 Continue\r\nx-a: b"],
        ),
        interims(
            "interim 150, then 103",
            &["150 Odd\r\nx-a: b", "103 Early Hints\r\nlink: a"],
        ),
        interims(
            "interim with headers of the connection",
            &[
                "103 Early Hints\r\nconnection: close, x-a\r\nx-a: b\r\nkeep-alive: 1\r\nproxy-connection: x\r\n\
               upgrade: foo\r\nserver: s\r\ndate: d\r\nvia: v\r\ncontent-length: 0\r\nx-envoy-upstream-service-time: 3",
            ],
        ),
        interims(
            "interim with a length",
            &["103 Early Hints\r\ncontent-length: 3"],
        ),
        interims(
            "interim in chunks",
            &["103 Early Hints\r\ntransfer-encoding: chunked"],
        ),
        case("interim not sent on", "retries", get("/"))
            .origin(interim(&["103 Early Hints\r\nlink: a"])),
        case(
            "interim response ends retries",
            "proxied_continue",
            get("/5xx"),
        )
        .origin(turns([
            [say("HTTP/1.1 100 Continue\r\n\r\n"), say(status(503, ""))].concat(),
            say(OK),
        ])),
        origin(
            "unknown interim response ends no retries",
            "/5xx",
            [say("HTTP/1.1 150 Odd\r\n\r\n"), say(status(503, ""))].concat(),
        ),
        origin(
            "switching protocols unasked",
            "/5xx",
            say("HTTP/1.1 101 Switching\r\n\r\n"),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let e503 = status(503, "");
    let twice = || turns([say(&e503), say(OK)]);
    let large = "b".repeat(200_000);
    vec![
        case("body", "retries", post("/5xx", "some body")).origin(twice()),
        case("large body", "retries", post("/5xx", &large)).origin(twice()),
        case("body in pieces", "retries", post("/5xx", "a longer body"))
            .in_pieces(7)
            .origin(twice()),
        case("body and refused", "retries", post("/refused", "some body")),
        case(
            "chunked body",
            "retries",
            "POST /5xx HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
        .origin(twice()),
        case(
            "body over the limit",
            "retries",
            post("/small", "eleven byte"),
        )
        .origin(twice()),
        case("body at the limit", "retries", post("/small", "ten bytes!")).origin(twice()),
        case(
            "body over the exact limit",
            "retries",
            post("/exact", "eleven byte"),
        )
        .origin(twice()),
        case(
            "body at the exact limit",
            "retries",
            post("/exact", "ten bytes!"),
        )
        .origin(twice()),
        case(
            "body without policy",
            "retries",
            post("/plain", "some body"),
        )
        .origin(twice()),
    ]
}

fn timeouts() -> Vec<Case> {
    let slow =
        |name, path: &str| case(name, "retries", get(path)).origin(turns([silence(), say(OK)]));
    let always_slow =
        |name, path: &str| case(name, "retries", get(path)).origin(turns([silence()]));
    let grpc = |name, path: &str, timeout: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\ngrpc-timeout: {timeout}\r\n\r\n");
        case(name, "retries", request)
            .origin(turns([[vec![Act::Wait(ms(1000))], say(OK)].concat()]))
    };
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    vec![
        slow("slow try", "/per-try"),
        always_slow("every try is slow", "/per-try"),
        slow("slow try without retry_on", "/per-try-no-retry"),
        slow("slow try of another condition", "/per-try-reset"),
        slow("route timeout before the try's", "/long-try"),
        slow("idle try", "/per-try-idle"),
        always_slow("every try is idle", "/per-try-idle"),
        case("idle within the body", "retries", get("/per-try-idle")).origin(turns([[
            say(half),
            silence(),
        ]
        .concat()])),
        case(
            "slow body within the idle limit",
            "retries",
            get("/kept-busy"),
        )
        .origin(turns([[
            say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
            vec![Act::Wait(ms(1100))],
            say("ab"),
            vec![Act::Wait(ms(1100))],
            say("cd"),
        ]
        .concat()])),
        case("slow body after a try's head", "retries", get("/per-try")).origin(turns([[
            say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
            vec![Act::Wait(ms(1300))],
            say("ab"),
        ]
        .concat()])),
        case(
            "route timeout between tries",
            "retries",
            get("/route-timeout-wait"),
        )
        .origin(turns([say(status(503, "retry-after: 2\r\n")), say(OK)])),
        slow("upstream's stream limit", "/stream-limit"),
        always_slow("upstream's stream limit every time", "/stream-limit"),
        slow("no limits", "/no-stream-limit")
            .origin(turns([[vec![Act::Wait(ms(500))], say(OK)].concat()])),
        grpc("grpc timeout", "/grpc-timeout", "200m"),
        grpc("grpc timeout over the maximum", "/grpc-timeout", "5S"),
        grpc("grpc timeout of nothing", "/grpc-timeout", "5x"),
        grpc("grpc timeout without maximum", "/grpc-unlimited", "150m"),
        grpc("grpc timeout not asked for", "/plain", "100m"),
    ]
}

fn hedging() -> Vec<Case> {
    let hedged = |name, path: &str, first: Vec<Act>, second: Vec<Act>| {
        case(name, "retries", get(path)).origin(turns([first, second]))
    };
    let after = |time, answer: &str| [vec![Act::Wait(ms(time))], say(answer)].concat();
    let e503 = status(503, "");
    vec![
        hedged("hedging, hedge not needed", "/hedge", after(0, OK), say(OK)),
        hedged("hedging, second try wins", "/hedge", silence(), say(OK)),
        hedged(
            "hedging, first try wins late",
            "/hedge",
            after(1600, OK),
            after(1600, OK),
        ),
        hedged(
            "hedging, bad second try, good first",
            "/hedge",
            after(1600, OK),
            say(&e503),
        ),
        hedged(
            "hedging, bad first try, good second",
            "/hedge",
            after(1600, &e503),
            after(1600, OK),
        ),
        hedged(
            "hedging, both bad",
            "/hedge",
            after(1600, &e503),
            say(&e503),
        ),
        hedged(
            "hedging, bad before the timeout",
            "/hedge",
            say(&e503),
            say(OK),
        ),
        // What it expects of the host depends on the back-off.
        case("hedging, both silent", "quiet", get("/hedge-late")).origin(turns([silence()])),
        hedged(
            "hedging, second try is closed",
            "/hedge",
            after(1600, OK),
            vec![Act::Close],
        ),
        hedged(
            "hedging, first try is closed late",
            "/hedge",
            vec![Act::Wait(ms(1600)), Act::Close],
            after(1600, OK),
        ),
    ]
}

fn asked_for() -> Vec<Case> {
    let e503 = status(503, "");
    let asked = |name, lines: &str, first: Vec<Act>| {
        case(name, "internal", asking("/plain", lines)).origin(turns([first, say(OK)]))
    };
    vec![
        asked("asked for 5xx", "x-envoy-retry-on: 5xx\r\n", say(&e503)),
        asked(
            "asked for unknown and 5xx",
            "x-envoy-retry-on: bogus, 5xx\r\n",
            say(&e503),
        ),
        asked(
            "asked for unknown",
            "x-envoy-retry-on: bogus\r\n",
            say(&e503),
        ),
        asked(
            "asked for grpc",
            "x-envoy-retry-grpc-on: internal\r\n",
            say(status(200, "grpc-status: 13\r\n")),
        ),
        asked(
            "asked for codes",
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 1, 404,x\r\n",
            say(status(404, "")),
        ),
        asked(
            "asked for header names",
            "x-envoy-retry-on: retriable-headers\r\nx-envoy-retriable-header-names: X-A, x-b\r\n",
            say(status(200, "x-b: 1\r\n")),
        ),
        asked(
            "asked for no retries",
            "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 0\r\n",
            say(&e503),
        ),
        asked(
            "retries only, no condition",
            "x-envoy-max-retries: 3\r\n",
            say(&e503),
        ),
        case(
            "asked for more retries",
            "internal",
            asking("/once", "x-envoy-max-retries: 3\r\n"),
        )
        .origin(turns([say(&e503), say(&e503), say(&e503), say(OK)])),
        case(
            "asked for nonsense retries",
            "internal",
            asking("/once", "x-envoy-max-retries: many\r\n"),
        )
        .origin(turns([say(&e503), say(&e503), say(OK)])),
        // Of a number above 32 bits, these count.
        case(
            "asked for a retry and 32 bits",
            "internal",
            asking("/once", "x-envoy-max-retries: 4294967297\r\n"),
        )
        .origin(turns([say(&e503), say(OK)])),
        case(
            "asked for 32 bits of retries",
            "internal",
            asking("/once", "x-envoy-max-retries: 4294967296\r\n"),
        )
        .origin(turns([say(&e503), say(OK)])),
        case(
            "asked for more than 64 bits of retries",
            "internal",
            asking("/once", "x-envoy-max-retries: 18446744073709551616\r\n"),
        )
        .origin(turns([say(&e503), say(OK)])),
        asked(
            "asked for codes above 32 bits",
            "x-envoy-retry-on: retriable-status-codes\r\nx-envoy-retriable-status-codes: 4294967700\r\n",
            say(status(404, "")),
        ),
        case(
            "asked from outside",
            "retries",
            "GET /plain HTTP/1.1\r\nhost: a\r\nx-envoy-retry-on: 5xx\r\n\r\n",
        )
        .origin(turns([say(&e503), say(OK)])),
        asked(
            "asked for a try's timeout",
            "x-envoy-upstream-rq-per-try-timeout-ms: 200\r\n",
            silence(),
        ),
        asked(
            "asked for a try's timeout and retries",
            "x-envoy-upstream-rq-per-try-timeout-ms: 200\r\nx-envoy-retry-on: reset\r\n",
            silence(),
        ),
        asked(
            "asked for a timeout",
            "x-envoy-upstream-rq-timeout-ms: 200\r\n",
            silence(),
        ),
        asked(
            "asked for a timeout that is no number",
            "x-envoy-upstream-rq-timeout-ms: 1s\r\n",
            vec![],
        )
        .origin(turns([say(OK)])),
        asked(
            "asked for another answer to timeouts",
            "x-envoy-upstream-rq-timeout-ms: 200\r\nx-envoy-upstream-rq-timeout-alt-response: 1\r\n",
            silence(),
        ),
        asked(
            "asked for another answer to a try's timeout",
            "x-envoy-upstream-rq-per-try-timeout-ms: 200\r\n\
             x-envoy-upstream-rq-timeout-alt-response: 1\r\n",
            silence(),
        ),
        asked(
            "asked for a stream limit",
            "x-envoy-upstream-stream-duration-ms: 200\r\n",
            silence(),
        ),
        case(
            "asked for no stream limit",
            "internal",
            asking(
                "/stream-limit",
                "x-envoy-upstream-stream-duration-ms: 0\r\n",
            ),
        )
        .origin(turns([[vec![Act::Wait(ms(1300))], say(OK)].concat()])),
        case(
            "asked for hedging",
            "internal",
            asking(
                "/per-try",
                "x-envoy-hedge-on-per-try-timeout: true\r\nx-envoy-upstream-rq-timeout-ms: 0\r\n",
            ),
        )
        .origin(turns([silence(), say(OK)])),
        case(
            "asked for no hedging",
            "internal",
            asking("/hedge", "x-envoy-hedge-on-per-try-timeout: false\r\n"),
        )
        .origin(turns([silence(), say(OK)])),
        case(
            "expected timeout of a try",
            "internal",
            asking(
                "/plain",
                "x-envoy-upstream-rq-timeout-ms: 9000\r\nx-envoy-upstream-rq-per-try-timeout-ms: 7000\r\n",
            ),
        ),
    ]
}

fn attempts() -> Vec<Case> {
    let e503 = status(503, "");
    let on = |name, path: &str, acts: Vec<Vec<Act>>| {
        case(name, "attempts", get(path)).origin(turns(acts))
    };
    vec![
        on("one attempt", "/", vec![say(OK)]),
        on("three attempts", "/", vec![say(&e503), say(&e503), say(OK)]),
        on("attempt after a timeout", "/", vec![silence(), say(OK)]),
        on("attempts until the limit", "/", vec![say(&e503)]),
        on("own policy instead", "/own", vec![say(status(409, "")), say(OK)]),
        on("own policy hides the other", "/own", vec![say(&e503)]),
        on("attempts at nobody", "/refused", vec![]).origin(turns([say(OK)])),
        on("attempt without hosts", "/empty", vec![say(OK)]),
        on("attempt without cluster", "/nowhere", vec![say(OK)]),
        on("no attempt", "/direct", vec![say(OK)]),
        on(
            "attempt count of the host",
            "/",
            vec![say(status(200, "x-envoy-attempt-count: 7\r\n"))],
        ),
        case(
            "attempt count of the client",
            "attempts",
            "GET / HTTP/1.1\r\nhost: a\r\nx-envoy-attempt-count: 7\r\nx-envoy-is-timeout-retry: true\r\n\r\n",
        )
        .origin(turns([say(&e503), say(OK)])),
    ]
}

#[test]
fn tries_end_as_in_envoy() {
    Comparison {
        suite: Suite::Routing("resilience"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("tries_end_as_in_envoy");
}
