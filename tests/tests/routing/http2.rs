//! Clients that speak HTTP/2, with what they may say and what they may not:
//! what the host gets of it, what they are answered, what is logged and counted.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::http2::{self, data, get, headers, request, reset, window_update};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { prefix: "/direct" }
    direct_response: { status: 200, body: { inline_string: "direct" } }
  - match: { prefix: "/refused" }
    route: { cluster: refused }
  - match: { prefix: "/short" }
    route: { cluster: origin, timeout: 1s }
  - match: { prefix: "/trailers" }
    route: { cluster: with_trailers }
  - match: { prefix: "/nowhere" }
    redirect: { host_redirect: b }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#;

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: HOSTS,
    }
}

const LISTENERS: &[Listener] = &[
    listener("auto", ""),
    listener("only", "codec_type: HTTP2"),
    listener("http1", "codec_type: HTTP1"),
    listener(
        "small",
        "max_request_headers_kb: 1\ncommon_http_protocol_options: { max_headers_count: 10 }",
    ),
    listener(
        "drops",
        "common_http_protocol_options: { headers_with_underscores_action: DROP_HEADER }",
    ),
    listener(
        "rejects",
        "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
    ),
    listener(
        "once",
        "common_http_protocol_options: { max_requests_per_connection: 2 }",
    ),
    listener(
        "drained",
        "common_http_protocol_options: { max_requests_per_connection: 1 }\ndrain_timeout: 0.5s",
    ),
    listener("continued", "proxy_100_continue: true"),
    listener("timed", "stream_idle_timeout: 1s"),
    listener("edge", "use_remote_address: true\nnormalize_path: true"),
    Listener {
        name: "tunnels",
        manager: "http2_protocol_options: { allow_connect: true }\n\
                  upgrade_configs: [ { upgrade_type: websocket }, { upgrade_type: CONNECT } ]",
        hosts: r#"
- name: all
  domains: ["*"]
  routes:
  - match: { connect_matcher: {}, headers: [ { name: x-on, present_match: true } ] }
    route: { cluster: origin }
  - match: { connect_matcher: {} }
    route: { cluster: origin, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: {} } ] }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#,
    },
    // By default the connection of whoever sends a bad message is closed; with
    // this it is as the standard says.
    listener(
        "lenient",
        "http2_protocol_options: { override_stream_error_on_invalid_http_message: true }",
    ),
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
        + &cluster("refused", ports.refused, "")
        + &cluster(
            "with_trailers",
            ports.origin,
            "http_protocol_options: { enable_trailers: true }",
        )
}

fn cases() -> Vec<Case> {
    let mut all = messages();
    all.extend(bodies());
    all.extend(ends());
    all.extend(unread());
    all.extend(limits());
    all.extend(tunnels());
    all.extend(mistakes());
    all.extend(last_mistakes());
    all.extend(numbers());
    all
}

fn await_stat(name: &str, value: u64) -> Step {
    Step::AwaitStat(name.to_owned(), value, None)
}

fn http2(name: &'static str, listener: &'static str, frames: impl AsRef<[u8]>) -> Case {
    case(name, listener, frames).http2()
}

fn messages() -> Vec<Case> {
    vec![
        http2("direct", "auto", get(1, "/direct", "")),
        http2("get", "auto", get(1, "/x?y=z", "x-own: 1")),
        http2("only", "only", get(1, "/x", "")),
        http2("head", "auto", request(1, "HEAD", "/x", "", true)),
        http2(
            "head direct",
            "auto",
            request(1, "HEAD", "/direct", "", true),
        ),
        http2("options", "auto", request(1, "OPTIONS", "*", "", true)),
        http2("redirect", "auto", get(1, "/nowhere", "")),
        http2(
            "cookies",
            "auto",
            get(1, "/x", "cookie: a=1\nx: y\ncookie: b=2"),
        ),
        http2("te", "auto", get(1, "/x", "te: trailers")),
        http2(
            "expect",
            "auto",
            [
                request(1, "POST", "/x", "expect: 100-continue", false),
                data(1, b"abc", true),
            ]
            .concat(),
        ),
        http2(
            "host",
            "auto",
            headers(1, ":method: GET\n:scheme: http\n:path: /x\nhost: h", true),
        ),
        http2("host and authority", "auto", get(1, "/x", "host: h")),
        http2(
            "scheme",
            "auto",
            headers(
                1,
                ":method: GET\n:scheme: https\n:path: /x\n:authority: a",
                true,
            ),
        ),
        http2(
            "edge",
            "edge",
            get(1, "/a/../x", "x-forwarded-for: 1.2.3.4"),
        ),
        http2("spaces", "auto", get(1, "/x", "x:  a ")),
        http2(
            "connect",
            "auto",
            headers(1, ":method: CONNECT\n:authority: a:1", true),
        ),
        http2("not found", "auto", get(1, "/refused", "")),
        http2("interim", "continued", get(1, "/x", "")).answer(
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                     HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        http2(
            "two",
            "auto",
            [get(1, "/x", ""), get(3, "/direct", "")].concat(),
        )
        .answers(2),
        http2("underscores dropped", "drops", get(1, "/x", "a_b: 1\nc: 2")),
        http2(
            "padded",
            "auto",
            http2::frame(
                http2::kind::HEADERS,
                http2::END_STREAM | http2::END_HEADERS | 8,
                1,
                &[
                    &[3][..],
                    &http2::block(":method: GET\n:scheme: http\n:path: /x\n:authority: a"),
                    &[0; 3],
                ]
                .concat(),
            ),
        ),
        case("http/1", "auto", "GET /x HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("http/1 only", "http1", http2::preface()),
        case("not http/2", "auto", "PRI * HTTP/1.1\r\nhost: a\r\n\r\n").answers(1),
    ]
}

fn bodies() -> Vec<Case> {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";
    let large = vec![b'x'; 60_000];
    let mut large_answer = b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n".to_vec();
    large_answer.extend_from_slice(&large);
    vec![
        http2(
            "post",
            "auto",
            [
                request(1, "POST", "/x", "content-length: 3", false),
                data(1, b"abc", true),
            ]
            .concat(),
        ),
        http2(
            "post of unknown length",
            "auto",
            [
                request(1, "POST", "/x", "", false),
                data(1, b"abc", false),
                data(1, b"", true),
            ]
            .concat(),
        ),
        http2(
            "trailers of a request",
            "auto",
            [
                request(1, "POST", "/trailers", "te: trailers", false),
                data(1, b"abc", false),
                headers(1, "x-t: 1", true),
            ]
            .concat(),
        ),
        http2(
            "trailers of a request that the host does not want",
            "auto",
            [
                request(1, "POST", "/x", "", false),
                data(1, b"abc", false),
                headers(1, "x-t: 1", true),
            ]
            .concat(),
        ),
        http2("trailers", "auto", get(1, "/trailers", "")).answer(chunked),
        http2("trailers that are not wanted", "auto", get(1, "/x", "")).answer(chunked),
        http2("no content", "auto", get(1, "/x", "")).answer("HTTP/1.1 204 No Content\r\n\r\n"),
        http2("not modified", "auto", get(1, "/x", ""))
            .answer("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        http2("empty", "auto", get(1, "/x", ""))
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        http2("until close", "auto", get(1, "/x", "")).origin([
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\nall".to_vec()),
            Act::Close,
        ]),
        http2("headers of a connection", "auto", get(1, "/x", "")).answer(
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: 5\r\n\
                     upgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
        ),
        http2("large", "auto", get(1, "/x", "")).answer(&large_answer),
        http2("large, window by window", "auto", get(1, "/x", ""))
            .steps([
                Step::Send(http2::preface_with(&[(4, 10_000)])),
                Step::Send(get(1, "/x", "")),
                Step::AwaitBody(10_000),
                Step::Send(window_update(1, 20_000)),
                Step::AwaitBody(30_000),
                Step::Send(window_update(1, 30_000)),
            ])
            .answer(&large_answer),
        http2(
            "large request",
            "auto",
            [
                request(1, "POST", "/x", "content-length: 48000", false),
                data(1, &large[..16_000], false),
                data(1, &large[..16_000], false),
                data(1, &large[..16_000], true),
            ]
            .concat(),
        ),
    ]
}

/// Exchanges that end before their time.
fn ends() -> Vec<Case> {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    vec![
        http2("reset", "auto", get(1, "/x", ""))
            .then(Step::AwaitRequest(0))
            .then_send(reset(1, 8))
            .origin([Act::Read, Act::ReadToEnd])
            .answers(0)
            .then(await_stat("http.auto.downstream_rq_active", 0))
            .then(Step::Leave),
        http2("gone", "auto", get(1, "/x", ""))
            .then(Step::AwaitRequest(0))
            .then(Step::Leave)
            .origin([Act::Read, Act::ReadToEnd]),
        http2("half a response", "auto", get(1, "/x", "")).origin([
            Act::Read,
            Act::Send(half.into()),
            Act::Close,
        ]),
        http2(
            "a head behind an interim one",
            "continued",
            get(1, "/x", ""),
        )
        .origin([
            Act::Read,
            Act::Send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec()),
            Act::Wait(Duration::from_millis(50)),
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec()),
            Act::Close,
        ]),
        // The last of it comes together with the end.
        http2("half a response, a part late", "auto", get(1, "/x", ""))
            .then(Step::AwaitBody(4))
            .then(Step::Release)
            .origin([
                Act::Read,
                Act::Send(half.into()),
                Act::AwaitRelease,
                Act::Send(b"more".to_vec()),
                Act::Close,
            ]),
        http2("chunks that break off", "auto", get(1, "/x", ""))
            .then(Step::AwaitBody(5))
            .then(Step::Release)
            .origin([
                Act::Read,
                Act::Send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
                Act::Send(b"5\r\nhello\r\n".to_vec()),
                Act::AwaitRelease,
                Act::Send(b"x\r\n".to_vec()),
            ]),
        http2("no response", "auto", get(1, "/x", "")).origin([Act::Read, Act::Close]),
        http2("nonsense", "auto", get(1, "/x", "")).answer("nonsense\r\n\r\n"),
        http2("too slow", "auto", get(1, "/short", "")).origin([Act::Read, Act::ReadToEnd]),
        http2("idle", "timed", get(1, "/x", "")).origin([Act::Read, Act::ReadToEnd]),
        http2("idle request", "timed", request(1, "POST", "/x", "", false)),
        http2(
            "answered before its end",
            "auto",
            request(1, "POST", "/direct", "", false),
        ),
        http2(
            "refused before its end",
            "auto",
            request(1, "POST", "/refused", "", false),
        ),
        http2(
            "last request",
            "once",
            [get(1, "/direct", ""), get(3, "/direct", "")].concat(),
        )
        .answers(2)
        .watch(Duration::from_secs(1)),
        // Its client had begun it before it could know.
        http2(
            "request behind the last one",
            "once",
            [get(1, "/direct", ""), get(3, "/direct", "")].concat(),
        )
        .answers(2)
        .then(Step::Await(2))
        .then(Step::Wait(Duration::from_millis(100)))
        .then_send(get(5, "/direct", ""))
        .then(Step::Await(3)),
        http2("drained", "drained", get(1, "/direct", "")).watch(Duration::from_secs(2)),
    ]
}

/// Clients that read less than there is of a response.
fn unread() -> Vec<Case> {
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        [head.into_bytes(), vec![b'x'; 60_000]].concat()
    };
    let reads_some = |name, listener, rest: &[Step]| {
        let steps = [
            Step::Send(http2::preface_with(&[(4, 10_000)])),
            Step::Send(get(1, "/x", "")),
            Step::AwaitBody(10_000),
        ];
        let whole = http2(name, listener, "").steps([&steps, rest].concat());
        whole.origin([Act::Read, Act::Send(answer(60_000))])
    };
    let goes_on = |case: Case| case.origin([Act::Read, Act::Send(answer(90_000)), Act::ReadToEnd]);
    let over = || await_stat("http.auto.downstream_rq_active", 0);
    let reset = [Step::Send(reset(1, 8)), over(), Step::Leave];
    let late = [
        await_stat("http.timed.downstream_rq_active", 0),
        Step::Leave,
    ];
    vec![
        reads_some("gone before its end", "auto", &[Step::Leave]),
        reads_some("reset before its end", "auto", &reset),
        reads_some("too slow for its end", "timed", &late),
        goes_on(reads_some("gone in the middle", "auto", &[Step::Leave])),
        goes_on(reads_some("reset in the middle", "auto", &reset)),
        goes_on(reads_some("too slow in the middle", "timed", &late)),
    ]
}

/// Other protocols within a stream (RFC 8441, RFC 9113 section 8.5).
fn tunnels() -> Vec<Case> {
    let ask = |name, protocol: &str| {
        let lines = format!(
            ":method: CONNECT\n:protocol: {protocol}\n:scheme: http\n:path: /x\n:authority: a"
        );
        http2(name, "tunnels", headers(1, &lines, false))
    };
    let connect = |name| {
        let lines = ":method: CONNECT\n:authority: a:1";
        http2(name, "tunnels", headers(1, lines, false))
    };
    let passed_on = |name| {
        let lines = ":method: CONNECT\n:authority: a:1\nx-on: 1";
        http2(name, "tunnels", headers(1, lines, false))
    };
    let talk = |case: Case, begin: Vec<Act>, said: usize| {
        let mut acts = begin;
        acts.extend([
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
        ]);
        case.then(Step::AwaitBody(said))
            .then_send(data(1, b"ping", false))
            .then(Step::AwaitBody(said + 4))
            .then(Step::Leave)
            .origin(acts)
    };
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                  connection: upgrade\r\n\r\nhello";
    let ends = |case: Case, agreed: &str, rest: &[Act]| {
        let acts = [
            Act::ReadHead,
            Act::Send(agreed.into()),
            Act::ReadBytes(4),
            Act::Send(b"late".to_vec()),
        ];
        case.then(Step::AwaitBody(5))
            .then_send(data(1, b"ping", true))
            .then(Step::Await(1))
            .origin([&acts, rest].concat())
    };
    let established = "HTTP/1.1 200 OK\r\n\r\nhello";
    let to_end = [Act::ReadToEnd, Act::Send(b"er".to_vec()), Act::Close];
    vec![
        talk(
            ask("websocket", "websocket"),
            vec![Act::ReadHead, Act::Send(agreed.into())],
            5,
        ),
        ask("websocket that the host does not want", "websocket"),
        ask("another protocol", "other"),
        talk(connect("tunnel"), vec![], 0),
        ends(
            ask("websocket, the client ends", "websocket"),
            agreed,
            &[Act::Close],
        ),
        ends(
            passed_on("connect passed on, the client ends"),
            established,
            &to_end,
        ),
        ends(
            passed_on("connect passed on, the client ends, then the host"),
            established,
            &[Act::Close],
        ),
        ends(
            passed_on("connect passed on, the client ends, then the host resets"),
            established,
            &[Act::Wait(Duration::from_millis(100)), Act::Reset],
        ),
    ]
}

fn limits() -> Vec<Case> {
    let count = |fields: usize| -> String { (0..fields).map(|n| format!("h{n}: 1\n")).collect() };
    let long = |bytes: usize| format!("x: {}", "y".repeat(bytes));
    vec![
        http2(
            "as many headers as allowed",
            "small",
            get(1, "/x", &count(6)),
        ),
        http2("one header too many", "small", get(1, "/x", &count(7))),
        http2(
            "headers as large as allowed",
            "small",
            get(1, "/x", &long(950)),
        ),
        http2("headers too large", "small", get(1, "/x", &long(1100))),
        http2("headers far too large", "small", get(1, "/x", &long(9000))),
        http2(
            "the next stream goes on",
            "small",
            [get(1, "/x", &count(7)), get(3, "/x", "")].concat(),
        )
        .answers(2),
    ]
}

/// Requests that are none.
fn mistakes() -> Vec<Case> {
    let with = |name, more: &str| http2(name, "lenient", get(1, "/x", more));
    let only = |name, lines: &str| http2(name, "lenient", headers(1, lines, true));
    vec![
        with("by h2: connection", "connection: close"),
        with("by h2: transfer-encoding", "transfer-encoding: chunked"),
        with("by h2: upgrade", "upgrade: h2c"),
        with("by h2: te gzip", "te: gzip"),
        with("by h2: length without a body", "content-length: 2"),
        with("by h2: length that is no number", "content-length: x"),
        with("by h2: two lengths", "content-length: 0\ncontent-length: 1"),
        http2(
            "by h2: length of a body that is no number",
            "lenient",
            post_of_length("content-length: x"),
        ),
        http2(
            "by h2: two lengths of a body",
            "lenient",
            post_of_length("content-length: 3\ncontent-length: 4"),
        ),
        with("by h2: pseudo header behind", ":path: /y"),
        with("space before a value", "x:  a"),
        with("space behind a value", "x: a "),
        with("tab behind a value", "x: a\t"),
        only(
            "by h2: no method",
            ":scheme: http\n:path: /x\n:authority: a",
        ),
        only("by h2: no scheme", ":method: GET\n:path: /x\n:authority: a"),
        only(
            "by h2: no path",
            ":method: GET\n:scheme: http\n:authority: a",
        ),
        only(
            "by h2: empty path",
            ":method: GET\n:scheme: http\n:path: \n:authority: a",
        ),
        only("no host", ":method: GET\n:scheme: http\n:path: /x"),
        only(
            "by h2: relative path",
            ":method: GET\n:scheme: http\n:path: x\n:authority: a",
        ),
        only(
            "by h2: path with a space",
            ":method: GET\n:scheme: http\n:path: /x y\n:authority: a",
        ),
        only(
            "user",
            ":method: GET\n:scheme: http\n:path: /x\n:authority: u@a",
        ),
        only(
            "by h2: host with a space",
            ":method: GET\n:scheme: http\n:path: /x\n:authority: a b",
        ),
        only(
            "by h2: extended connect",
            ":method: CONNECT\n:protocol: websocket\n:scheme: http\n:path: /x\n:authority: a",
        ),
        http2(
            "shorter than said",
            "lenient",
            [
                request(1, "POST", "/x", "content-length: 5", false),
                data(1, b"abc", true),
            ]
            .concat(),
        ),
        http2(
            "longer than said",
            "lenient",
            [
                request(1, "POST", "/x", "content-length: 2", false),
                data(1, b"abc", true),
            ]
            .concat(),
        ),
        http2("underscores", "rejects", get(1, "/x", "a_b: 1")),
    ]
}

/// A request with a body of three bytes, which it does not say.
fn post_of_length(more: &str) -> Vec<u8> {
    let head = request(1, "POST", "/x", more, false);
    [head, data(1, b"abc", true)].concat()
}

/// Streams that a client may not open.
fn numbers() -> Vec<Case> {
    let mut all = Vec::new();
    let names = [
        ("auto", "even number", "number behind another"),
        (
            "lenient",
            "even number, leniently",
            "number behind another, leniently",
        ),
    ];
    for (listener, even, behind) in names {
        all.push(http2(even, listener, get(2, "/x", "")).answers(0));
        all.push(
            http2(behind, listener, get(5, "/direct", ""))
                .answers(0)
                .then(Step::Await(1))
                .then_send(get(3, "/x", "")),
        );
    }
    all
}

/// The same for who has no patience with them: the connection ends, and other
/// requests with it.
fn last_mistakes() -> Vec<Case> {
    let last = |name, frames: Vec<u8>| http2(name, "auto", frames).answers(0);
    let wrong = |stream| get(stream, "/x", "te: gzip");
    let begun = |case: Case| {
        let acts = [Act::ReadHead, Act::ReadToEnd];
        case.then(Step::AwaitRequest(0))
            .then_send(wrong(3))
            .origin(acts)
    };
    vec![
        last("closed by h2: te gzip", wrong(1)),
        last(
            "closed by h2: pseudo header behind",
            get(1, "/x", ":path: /y"),
        ),
        last(
            "closed by h2: no method",
            headers(1, ":scheme: http\n:path: /x\n:authority: a", true),
        ),
        last(
            "closed by h2: length that is no number",
            get(1, "/x", "content-length: x"),
        ),
        last(
            "closed by h2: length of a body that is no number",
            post_of_length("content-length: x"),
        ),
        last(
            "closed by h2: two lengths of a body",
            post_of_length("content-length: 3\ncontent-length: 4"),
        ),
        last("closed by h2: upper case", get(1, "/x", "X: 1")),
        last("closed by h2: NUL", get(1, "/x", "x: a\0b")),
        last(
            "closed: no host",
            headers(1, ":method: GET\n:scheme: http\n:path: /x", true),
        ),
        begun(last("closed by h2: another is open", get(1, "/x", ""))),
        last(
            "closed by h2: headers for trailers",
            [
                request(1, "POST", "/x", "", false),
                headers(1, "x-t: 1", false),
            ]
            .concat(),
        )
        .origin([Act::ReadHead, Act::ReadToEnd]),
        http2(
            "shorter than said, and it stays",
            "auto",
            [
                request(1, "POST", "/x", "content-length: 5", false),
                data(1, b"abc", true),
            ]
            .concat(),
        ),
    ]
}

#[test]
fn http2_clients_get_what_envoys_get() {
    let comparison = Comparison {
        suite: Suite::Routing("http2"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    comparison.run("http2_clients_get_what_envoys_get");
}
