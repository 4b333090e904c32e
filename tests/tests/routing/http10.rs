//! Versions other than HTTP/1.1, accepted and not: what is answered, and what
//! of several mistakes is told.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: include_str!("http10/routes.yaml"),
    }
}

const LISTENERS: &[Listener] = &[
    listener("refused", ""),
    listener(
        "accepted",
        "http_protocol_options: { accept_http_10: true }",
    ),
    listener(
        "continued",
        "http_protocol_options: { accept_http_10: true }\nproxy_100_continue: true",
    ),
    listener(
        "chunked_length",
        "http_protocol_options: { accept_http_10: true, allow_chunked_length: true }",
    ),
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
const BOTH_LENGTHS: &str =
    "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";

fn cases() -> Vec<Case> {
    let mut all = versions();
    all.extend(stays());
    all.extend(expectations());
    all.extend(mistakes());
    all
}

fn versions() -> Vec<Case> {
    let get = |name, listener, version: &str, headers: &str| {
        let request = format!("GET /x {version}\r\nhost: a\r\n{headers}\r\n");
        case(name, listener, request)
    };
    const STAY: &str = "connection: keep-alive\r\n";
    vec![
        get("0.9", "accepted", "HTTP/0.9", ""),
        get("1.0", "accepted", "HTTP/1.0", ""),
        get("1.2", "accepted", "HTTP/1.2", ""),
        get("2.0", "accepted", "HTTP/2.0", ""),
        get("9.9", "accepted", "HTTP/9.9", ""),
        get("2.0 byte by byte", "accepted", "HTTP/2.0", STAY).in_pieces(1),
        get("1.2 that stays", "accepted", "HTTP/1.2", STAY)
            .then(Step::Await(1))
            .then_send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
            .answers(2),
        get("1.2 by HEAD", "accepted", "HTTP/1.2", "")
            .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        get("refused 0.9", "refused", "HTTP/0.9", ""),
        get("refused 1.0", "refused", "HTTP/1.0", ""),
        get("refused 1.2", "refused", "HTTP/1.2", ""),
        get("refused 2.0", "refused", "HTTP/2.0", ""),
        get("two digits", "accepted", "HTTP/1.10", ""),
        get("no digits", "accepted", "HTTP/a.b", ""),
        get("lower case", "accepted", "http/1.0", ""),
    ]
}

/// Clients that want their connection to stay: it does where the response says
/// how long it is.
fn stays() -> Vec<Case> {
    let stays = |name, method: &str, path: &str| {
        let line = format!("{method} {path} HTTP/1.0");
        case(
            name,
            "accepted",
            format!("{line}\r\nhost: a\r\nconnection: keep-alive\r\n\r\n"),
        )
        .watch(Duration::from_millis(100))
    };
    let answered = |name, method, answer: &str| stays(name, method, "/x").answer(answer);
    vec![
        stays("stays", "GET", "/x"),
        stays("stays by HEAD", "HEAD", "/x")
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
            .to_head(),
        stays("stays with a body of ours", "GET", "/body"),
        stays("stays by HEAD of a body of ours", "HEAD", "/body").to_head(),
        stays("ends with no body of ours", "GET", "/empty"),
        stays("ends by HEAD with no body of ours", "HEAD", "/empty").to_head(),
        stays("ends with a 204 of ours", "GET", "/no_content"),
        stays("ends with a redirect", "GET", "/redirect"),
        stays("ends without a route", "GET", "/none"),
        answered("ends with 204", "GET", "HTTP/1.1 204 No\r\n\r\n"),
        answered("ends with 304", "GET", "HTTP/1.1 304 No\r\n\r\n"),
        answered(
            "stays with 304 of a length",
            "GET",
            "HTTP/1.1 304 No\r\ncontent-length: 3\r\n\r\n",
        ),
        answered(
            "stays with an empty body",
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        answered(
            "ends with chunks",
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        answered(
            "ends by HEAD of chunks",
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .to_head(),
        stays("stays for another", "GET", "/body")
            .then(Step::Await(1))
            .then_send("GET /empty HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
            .answers(2),
    ]
}

fn expectations() -> Vec<Case> {
    let post = |name, listener, version: &str, expectation: &str| {
        let head = format!(
            "POST /x {version}\r\nhost: a\r\ncontent-length: 2\r\nexpect: {expectation}\r\n\r\n"
        );
        case(name, listener, head)
            .then(Step::Await(1))
            .then_send("ab")
    };
    let continued = |name, answer: &str| {
        post(name, "continued", "HTTP/1.0", "100-continue").origin(vec![
            Act::ReadHead,
            Act::Send(answer.as_bytes().to_vec()),
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ])
    };
    vec![
        post("expect", "accepted", "HTTP/1.0", "100-continue"),
        post("expect in 1.2", "accepted", "HTTP/1.2", "100-Continue"),
        continued("expect, continued", "HTTP/1.1 100 Continue\r\n\r\n"),
        continued(
            "expect, continued with headers",
            "HTTP/1.1 100 Go on\r\nx-a: b\r\n\r\n",
        ),
        case(
            "expect refused",
            "refused",
            "POST /x HTTP/1.0\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\nab",
        ),
    ]
}

fn mistakes() -> Vec<Case> {
    let say = |name, listener, line: &str, rest: &str| {
        let rest = match rest.contains("\r\n\r\n") {
            true => rest.to_owned(),
            false => format!("{rest}\r\n"),
        };
        case(name, listener, format!("{line}\r\n{rest}"))
    };
    let mut all = vec![
        say(
            "chunked",
            "accepted",
            "POST / HTTP/1.0",
            &format!("host: a\r\n{CHUNKED}"),
        ),
        say(
            "chunked in 1.2",
            "accepted",
            "POST / HTTP/1.2",
            &format!("host: a\r\nconnection: keep-alive\r\n{CHUNKED}"),
        ),
        say(
            "chunked with length, both allowed",
            "chunked_length",
            "POST / HTTP/1.0",
            &format!("host: a\r\n{BOTH_LENGTHS}"),
        ),
    ];
    for (accepted, refused, line, rest) in [
        (
            "no host",
            "refused no host",
            "GET / HTTP/1.0",
            "".to_owned(),
        ),
        (
            "bad host",
            "refused bad host",
            "GET / HTTP/1.0",
            "host: a b\r\n".to_owned(),
        ),
        (
            "bad host in 2.0",
            "refused bad host in 2.0",
            "GET / HTTP/2.0",
            "host: a b\r\n".to_owned(),
        ),
        (
            "fragment",
            "refused fragment",
            "GET /a#b HTTP/1.0",
            "host: a\r\n".to_owned(),
        ),
        (
            "chunked with length",
            "refused chunked with length",
            "POST / HTTP/1.0",
            format!("host: a\r\n{BOTH_LENGTHS}"),
        ),
        (
            "unknown coding",
            "refused unknown coding",
            "POST / HTTP/1.0",
            "host: a\r\ntransfer-encoding: gzip\r\n".to_owned(),
        ),
        (
            "bad length",
            "refused bad length",
            "POST / HTTP/1.0",
            "host: a\r\ncontent-length: x\r\n".to_owned(),
        ),
        (
            "bad scheme",
            "refused bad scheme",
            "GET ftp://a/ HTTP/1.0",
            "host: a\r\n".to_owned(),
        ),
        (
            "QUERY without type",
            "refused QUERY without type",
            "QUERY / HTTP/1.0",
            "host: a\r\n".to_owned(),
        ),
        (
            "CONNECT with body",
            "refused CONNECT with body",
            "CONNECT a:80 HTTP/1.0",
            "host: a:80\r\ncontent-length: 3\r\n".to_owned(),
        ),
        (
            "unknown method",
            "refused unknown method",
            "FOO / HTTP/1.0",
            "host: a\r\n".to_owned(),
        ),
    ] {
        all.push(say(accepted, "accepted", line, &rest));
        all.push(say(refused, "refused", line, &rest));
    }
    for (name, host) in [
        ("host with letters as its port", "a:x"),
        ("host with a port too large", "a:99999"),
        ("host with two ports", "a:1:2"),
        ("host with an open bracket", "[::1"),
        ("host with a slash", "a/b"),
    ] {
        let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nx-a: b\r\n\r\n");
        all.push(case(name, "refused", request));
    }
    all.push(case(
        "two hosts",
        "refused",
        "GET /x HTTP/1.1\r\nhost: a\r\nx-a: b\r\nhost: a\r\n\r\n",
    ));
    all
}

#[test]
fn other_versions_are_answered_as_by_envoy() {
    let suite = Comparison {
        suite: Suite::Routing("http10"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("other_versions_are_answered_as_by_envoy");
}
