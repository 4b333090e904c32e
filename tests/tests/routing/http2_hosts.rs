//! Hosts that speak HTTP/2: what they are told, and what becomes of what they
//! answer, also of answers that break its rules.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::http2::origin::{Act, End, Script, answer_ok, block, data, head};
use ringway_tests::http2::{self, END_HEADERS, kind};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "http2_protocol_options: { allow_connect: true }\n\
              upgrade_configs: [ { upgrade_type: websocket }, { upgrade_type: CONNECT } ]",
    hosts: "\
- name: all
  domains: [\"*\"]
  include_attempt_count_in_response: true
  routes:
  - { match: { prefix: \"/refused/\" }, route: { cluster: hosts, retry_policy: { retry_on: refused-stream, num_retries: 2, retry_back_off: { base_interval: 0.001s } }, timeout: 0s } }
  - { match: { prefix: \"/reset/\" }, route: { cluster: hosts, retry_policy: { retry_on: reset, num_retries: 2, retry_back_off: { base_interval: 0.001s } }, timeout: 0s } }
  - { match: { prefix: \"/gateway/\" }, route: { cluster: hosts, retry_policy: { retry_on: gateway-error, num_retries: 1, retry_back_off: { base_interval: 0.001s } }, timeout: 0s } }
  - { match: { prefix: \"/once/\" }, route: { cluster: once } }
  - { match: { prefix: \"/few/\" }, route: { cluster: few } }
  - { match: { prefix: \"/small/\" }, route: { cluster: small } }
  - { match: { prefix: \"/old/\" }, route: { cluster: old } }
  - { match: { prefix: \"/mirrored/\" }, route: { cluster: hosts, request_mirror_policies: [ { cluster: mirror } ] } }
  - { match: { prefix: \"/quick/\" }, route: { cluster: hosts, timeout: 1s } }
  - { match: { connect_matcher: {}, headers: [ { name: x-path, present_match: true } ] }, route: { cluster: hosts, prefix_rewrite: \"/p\" } }
  - { match: { connect_matcher: {} }, route: { cluster: hosts } }
  - { match: { prefix: \"/\" }, route: { cluster: hosts } }
",
}];

/// A cluster whose hosts speak HTTP/2.
fn hosts(name: &str, port: u16, http2: &str, common: &str) -> String {
    let options = format!(
        "typed_extension_protocol_options:\n  \
           envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             common_http_protocol_options: {{ {common} }}\n    \
             explicit_http_config: {{ http2_protocol_options: {{ {http2} }} }}\n"
    );
    cluster(name, port, &options)
}

fn clusters(ports: Ports) -> String {
    hosts("hosts", ports.origin, "", "")
        + &hosts("once", ports.origin, "", "max_requests_per_connection: 1")
        + &hosts("few", ports.origin, "max_concurrent_streams: 1", "")
        + &hosts(
            "small",
            ports.origin,
            "initial_stream_window_size: 65535, initial_connection_window_size: 65535",
            "max_headers_count: 5, max_response_headers_kb: 1",
        )
        + &cluster("old", ports.origin, "http2_protocol_options: {}\n")
        + &hosts("mirror", ports.mirror, "", "")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn script(acts: impl Into<Vec<Act>>) -> Vec<origin::Act> {
    vec![origin::Act::Http2(Script {
        settings: Vec::new(),
        acts: acts.into(),
    })]
}

/// A case whose host does this about a GET.
fn host(name: &'static str, acts: impl Into<Vec<Act>>) -> Case {
    case(name, "main", get("/")).origin(script(acts))
}

/// A response with these headers and no body.
fn headers(name: &'static str, fields: &[(&'static str, &str)]) -> Case {
    host(name, [head(fields, End::Last)])
}

fn raw(kind: u8, flags: u8, payload: impl Into<Vec<u8>>) -> Act {
    Act::Frame(kind, flags, payload.into())
}

fn requests() -> Vec<Case> {
    let request = |name, bytes: &str| case(name, "main", bytes).origin(script(answer_ok()));
    vec![
        request("get", &get("/path?query")),
        request("head", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
            .to_head()
            .origin(script([head(&[(":status", "200")], End::Last)])),
        request("options", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        request(
            "length",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        request(
            "chunks",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
        ),
        request(
            "no length and no body",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        ),
        request(
            "trailers",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nx-checked: yes\r\n\r\n",
        ),
        request(
            "headers of the connection",
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x-mine\r\nx-mine: 1\r\n\
             keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: trailers, deflate\r\n\r\n",
        ),
        request("te", "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n"),
        request(
            "cookies",
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2\r\ncookie: c=3\r\n\r\n",
        ),
        request(
            "repeated",
            "GET / HTTP/1.1\r\nhost: a\r\nx-one: 1\r\nx-two: 2\r\nx-one: 3\r\n\r\n",
        ),
        request(
            "authority with a port",
            "GET / HTTP/1.1\r\nhost: a:81\r\n\r\n",
        ),
        request("two requests", &(get("/1") + &get("/2"))).answers(2),
        request("old field", &get("/old/")),
        request(
            "one request a connection",
            &(get("/once/1") + &get("/once/2")),
        )
        .answers(2),
        request("mirrored", &get("/mirrored/")).mirror(script(answer_ok())),
        request(
            "mirrored body",
            "POST /mirrored/ HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .mirror(script(answer_ok())),
        request(
            "large body",
            &format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n{}",
                "x".repeat(300_000)
            ),
        ),
    ]
}

/// A host that agrees, and speaks first.
fn agrees() -> Vec<origin::Act> {
    script([
        Act::AtHead,
        head(&[(":status", "200"), ("x-a", "b")], End::More),
        data("from the host", End::More),
    ])
}

fn upgrades() -> Vec<Case> {
    let handshake = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\n\r\n";
    let talk = |case: Case| {
        case.origin(agrees())
            .then(Step::AwaitBytes(13))
            .then_send("from the client")
            .then(Step::AwaitRequest(15))
            .then(Step::Leave)
    };
    let connect = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n";
    vec![
        talk(case("websocket", "main", handshake)),
        case("websocket, refused", "main", handshake).origin(script([
            Act::AtHead,
            head(&[(":status", "403")], End::Last),
        ])),
        case("websocket, reset, and we are blamed", "main", handshake)
            .origin(script([Act::AtHead, Act::Reset(1)])),
        talk(case("connect", "main", format!("{connect}\r\n")).to_head()),
        talk(
            case(
                "connect, a path is set",
                "main",
                format!("{connect}x-path: 1\r\n\r\n"),
            )
            .to_head(),
        ),
        case("connect, refused", "main", format!("{connect}\r\n")).origin(script([
            Act::AtHead,
            head(&[(":status", "403")], End::Last),
        ])),
    ]
}

/// How tunnels end, from clients of both protocols.
fn ends() -> Vec<Case> {
    let handshake = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\
                     upgrade: websocket\r\n\r\n";
    let connect = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n";
    let stream = |name, ask: &str| case(name, "main", http2::headers(1, ask, false)).http2();
    let websocket2 = |name| {
        let ask = ":method: CONNECT\n:protocol: websocket\n:scheme: http\n\
                   :path: /ws\n:authority: a";
        stream(name, ask)
    };
    let connect2 = |name| stream(name, ":method: CONNECT\n:authority: a:1");
    let begins = |end| {
        [
            Act::AtHead,
            head(&[(":status", "200")], End::More),
            data("hello", end),
        ]
    };
    let host_ends = |case: Case| case.origin(script(begins(End::Last)));
    let host_resets = |case: Case, until: Step| {
        let acts = [Act::AwaitRelease, Act::Reset(8)];
        case.then(until)
            .then(Step::Release)
            .origin(script([&begins(End::More)[..], &acts].concat()))
    };
    let client_ends = |case: Case, said: Vec<u8>, answer: usize| {
        let acts = [Act::AtEnd, data(vec![b'x'; answer], End::Last)];
        case.then(Step::AwaitBody(5))
            .then_send(said)
            .then(Step::Await(1))
            .origin(script([&begins(End::More)[..], &acts].concat()))
    };
    let client_leaves = |case: Case, said: usize| {
        case.then(Step::AwaitBytes(5))
            .then_send(vec![b'y'; said])
            .then(Step::Finish)
            .then(Step::AwaitRequest(said))
            .origin(script(begins(End::More)))
    };
    let ping = || http2::data(1, b"ping", true);
    let parts = || {
        let part = http2::data(1, &[b'y'; 16_384], false);
        [part.repeat(3), http2::data(1, b"", true)].concat()
    };
    let bytes = Step::AwaitBytes(5);
    let body = Step::AwaitBody(5);
    vec![
        host_ends(case("websocket, the host ends", "main", handshake).to_head())
            .then(Step::AwaitEnd),
        host_ends(case("connect, the host ends", "main", connect).to_head()).then(Step::AwaitEnd),
        host_ends(websocket2("websocket on a stream, the host ends")).then(Step::Await(1)),
        host_ends(connect2("connect on a stream, the host ends")).then(Step::Await(1)),
        host_resets(
            case("websocket, the host resets", "main", handshake).to_head(),
            bytes.clone(),
        )
        .then(Step::AwaitEnd),
        host_resets(
            case("connect, the host resets", "main", connect).to_head(),
            bytes,
        )
        .then(Step::AwaitEnd),
        host_resets(
            websocket2("websocket on a stream, the host resets"),
            body.clone(),
        )
        .then(Step::Await(1)),
        host_resets(connect2("connect on a stream, the host resets"), body).then(Step::Await(1)),
        client_leaves(
            case("websocket, the client ends", "main", handshake).to_head(),
            1_000,
        ),
        client_leaves(
            case("connect, the client ends", "main", connect).to_head(),
            1_000,
        ),
        client_leaves(
            case("connect, the client says more and ends", "main", connect).to_head(),
            60_000,
        ),
        client_ends(
            websocket2("websocket on a stream, the client ends"),
            ping(),
            4,
        ),
        client_ends(connect2("connect on a stream, the client ends"), ping(), 4),
        client_ends(
            connect2("connect on a stream, the client says much and ends"),
            parts(),
            40_000,
        ),
    ]
}

fn responses() -> Vec<Case> {
    let ok = (":status", "200");
    vec![
        headers("no body", &[ok]),
        headers("a length of 0", &[ok, ("content-length", "0")]),
        headers("204", &[(":status", "204")]),
        headers("304", &[(":status", "304"), ("etag", "x")]),
        headers("404", &[(":status", "404")]),
        headers("503", &[(":status", "503"), ("x-a", "b")]),
        headers("999", &[(":status", "999")]),
        headers(
            "cookies of the host",
            &[ok, ("set-cookie", "a"), ("x", "y"), ("set-cookie", "b")],
        ),
        host(
            "a body in parts",
            [
                head(&[ok], End::More),
                data("hello", End::More),
                data("", End::More),
                data(" you", End::Last),
            ],
        ),
        host(
            "a length",
            [
                head(&[ok, ("content-length", "5")], End::More),
                data("hello", End::Last),
            ],
        ),
        host(
            "an empty body",
            [head(&[ok], End::More), data("", End::Last)],
        ),
        host(
            "trailers of the host",
            [
                head(&[ok], End::More),
                data("hello", End::More),
                head(&[("x-trailer", "1")], End::Last),
            ],
        ),
        host(
            "trailers without a body",
            [
                head(&[ok], End::More),
                head(&[("x-trailer", "1")], End::Last),
            ],
        ),
        host(
            "interim",
            [
                head(&[(":status", "103"), ("link", "x")], End::More),
                head(&[ok], End::Last),
            ],
        ),
        host(
            "before the end of the request",
            [Act::AtHead, head(&[ok], End::Last)],
        ),
        host(
            "large response",
            [
                head(&[ok], End::More),
                data(vec![b'x'; 60_000], End::More),
                data(vec![b'y'; 5_000], End::Last),
            ],
        ),
        case("response larger than the windows", "main", get("/small/")).origin(script([
            head(&[ok], End::More),
            data(vec![b'x'; 60_000], End::Last),
        ])),
        case(
            "answer to head",
            "main",
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head()
        .origin(script([head(&[ok, ("content-length", "7")], End::Last)])),
        headers(
            "empty and odd values",
            &[ok, ("x-empty", ""), ("x-odd", "\u{e9}\t!")],
        ),
    ]
}

fn failures() -> Vec<Case> {
    let ok = (":status", "200");
    let begun = || head(&[ok], End::More);
    // The host goes on when the client has a part of the body.
    let in_body = |name, acts: Vec<Act>| {
        host(
            name,
            [vec![begun(), data("hello", End::More)], acts].concat(),
        )
        .then(Step::AwaitBody(5))
        .then(Step::Release)
    };
    let connection = |payload: [u32; 2]| {
        let payload = payload.map(u32::to_be_bytes).concat();
        Act::FrameOn(None, kind::GOAWAY, 0, payload)
    };
    vec![
        host("refused", [Act::Reset(7)]),
        host("reset", [Act::Reset(2)]),
        host("reset, and we are blamed", [Act::Reset(1)]),
        host("cancelled", [Act::Reset(8)]),
        host("reset without an error", [Act::Reset(0)]),
        host("closed", [Act::Close]),
        in_body(
            "reset within the body",
            vec![Act::AwaitRelease, Act::Reset(2)],
        ),
        in_body(
            "closed within the body",
            vec![Act::AwaitRelease, Act::Close],
        ),
        // In two pieces, most of the time.
        host(
            "goaway, then the answer",
            [
                Act::GoAway(true, 0),
                Act::Wait(Duration::from_millis(50)),
                head(&[ok], End::Last),
            ],
        ),
        in_body(
            "goaway within the body",
            vec![
                Act::GoAway(true, 0),
                Act::AwaitRelease,
                data(" you", End::Last),
            ],
        ),
        host("goaway and the end", [Act::GoAway(true, 0), Act::Close]),
        host("goaway for every request", [Act::GoAway(false, 0)]),
        host(
            "goaway with an error for every request",
            [Act::GoAway(false, 2)],
        ),
        host(
            "goaway once",
            [Act::Turns(vec![vec![Act::GoAway(false, 0)], answer_ok()])],
        ),
        host(
            "goaway of nothing",
            [connection([0x7fff_ffff, 0]), head(&[ok], End::Last)],
        ),
        case("refused, tried again", "main", get("/refused/"))
            .origin(script([Act::Turns(vec![vec![Act::Reset(7)], answer_ok()])])),
        case("reset, not tried again", "main", get("/refused/"))
            .origin(script([Act::Turns(vec![vec![Act::Reset(2)], answer_ok()])])),
        case("reset, tried again", "main", get("/reset/"))
            .origin(script([Act::Turns(vec![vec![Act::Reset(2)], answer_ok()])])),
        case("reset, tried in vain", "main", get("/reset/")).origin(script([Act::Reset(2)])),
        case(
            "a body, tried again",
            "main",
            "POST /reset/ HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .origin(script([Act::Turns(vec![vec![Act::Reset(2)], answer_ok()])])),
        case("503, tried again", "main", get("/gateway/")).origin(script([Act::Turns(vec![
            vec![
                head(&[(":status", "503")], End::More),
                data("no", End::Last),
            ],
            answer_ok(),
        ])])),
        case("closed, tried again", "main", get("/reset/"))
            .origin(script([Act::Turns(vec![vec![Act::Close], answer_ok()])])),
        case("no answer in time", "main", get("/quick/")).origin(script([])),
        case("no end in time", "main", get("/quick/"))
            .origin(script([begun(), data("x", End::More)])),
        host("slow, and the client leaves", []).steps([
            Step::Send(get("/").into_bytes()),
            Step::AwaitRequest(0),
            Step::Leave,
        ]),
    ]
}

/// Messages that are no good.
fn broken() -> Vec<Case> {
    let ok = (":status", "200");
    let begun = || head(&[ok], End::More);
    let many: Vec<(&'static str, &str)> = [ok].into_iter().chain([("x-many", "1"); 120]).collect();
    let six: Vec<(&'static str, &str)> = [ok].into_iter().chain([("x-many", "1"); 6]).collect();
    let large = "x".repeat(8_000);
    let pushed = [
        &2_u32.to_be_bytes()[..],
        &block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ]),
    ]
    .concat();
    vec![
        headers("bad: no status", &[("x", "y")]),
        headers(
            "bad: a header of the connection",
            &[ok, ("connection", "close")],
        ),
        headers(
            "bad: an encoding of the connection",
            &[ok, ("transfer-encoding", "chunked")],
        ),
        headers("bad: a name in capitals", &[ok, ("X-Name", "y")]),
        headers("bad: a value of two lines", &[ok, ("x", "a\nb: c")]),
        headers("bad: an unknown pseudo header", &[ok, (":other", "y")]),
        headers("bad: a status that is no number", &[(":status", "abc")]),
        headers("bad: a status of four digits", &[(":status", "1000")]),
        headers("bad: 101", &[(":status", "101")]),
        headers("bad: many headers", &many),
        case("bad: headers over a small limit", "main", get("/small/"))
            .origin(script([head(&six, End::Last)])),
        headers(
            "bad: large headers",
            &[ok; 1]
                .into_iter()
                .chain([("x-large", large.as_str()); 9])
                .collect::<Vec<_>>(),
        ),
        case(
            "bad: headers far over a small limit",
            "main",
            get("/small/"),
        )
        .origin(script([head(&[ok, ("x-large", &large)], End::More)])),
        case(
            "bad: whole headers far over a small limit",
            "main",
            get("/small/"),
        )
        .origin(script([head(&[ok, ("x-large", &large)], End::Last)])),
        headers(
            "bad: very large headers",
            &[ok; 1]
                .into_iter()
                .chain([("x-large", large.as_str()); 20])
                .collect::<Vec<_>>(),
        ),
        host(
            "bad: more than its length",
            [
                head(&[ok, ("content-length", "3")], End::More),
                data("hello", End::Last),
            ],
        ),
        host(
            "bad: less than its length",
            [
                head(&[ok, ("content-length", "9")], End::More),
                data("hello", End::Last),
            ],
        ),
        host(
            "bad: 204 with a body",
            [
                head(&[(":status", "204")], End::More),
                data("hello", End::Last),
            ],
        ),
        host("bad: a body without a head", [data("hello", End::Last)]),
        host("bad: a second head", [begun(), begun()]),
        host(
            "bad: another stream",
            [Act::FrameOn(
                Some(100),
                kind::HEADERS,
                END_HEADERS,
                block(&[ok]),
            )],
        ),
        host(
            "bad: a promise",
            [raw(kind::PUSH_PROMISE, END_HEADERS, pushed)],
        ),
        host(
            "bad: headers without end",
            [raw(kind::HEADERS, 0, block(&[ok]))]
                .into_iter()
                .chain(vec![raw(kind::CONTINUATION, 0, []); 2_000])
                .collect::<Vec<_>>(),
        ),
        host(
            "bad: a block that is none",
            [raw(kind::HEADERS, END_HEADERS, [0xff; 20])],
        ),
        host(
            "bad: a frame that is too long",
            [raw(kind::DATA, 0, [b'x'; 20_000])],
        ),
        case("bad: a window that is too large", "main", get("/quick/")).origin(script([
            raw(kind::WINDOW_UPDATE, 0, 0x7fff_ffff_u32.to_be_bytes()),
            raw(kind::WINDOW_UPDATE, 0, 0x7fff_ffff_u32.to_be_bytes()),
        ])),
        host(
            "bad: no frames but bytes",
            [
                raw(b'H', b'T', *b"TP/1.1 400\r\n\r\n"),
                head(&[ok], End::Last),
            ],
        ),
    ]
}

fn cases() -> Vec<Case> {
    let mut all = requests();
    all.extend(upgrades());
    all.extend(ends());
    all.extend(responses());
    all.extend(failures());
    all.extend(broken());
    all
}

#[test]
fn hosts_that_speak_http2() {
    Comparison {
        suite: Suite::Routing("http2_hosts"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("hosts_that_speak_http2");
}
