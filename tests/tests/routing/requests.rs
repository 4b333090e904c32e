//! What requests are on their way to a route and beyond: bodies that are not
//! there, upgrades that nobody has asked for, authorities with ports, URLs of
//! other schemes.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: include_str!("requests/routes.yaml"),
    }
}

const LISTENERS: &[Listener] = &[
    listener("plain", ""),
    listener("upgrades", "upgrade_configs: [{ upgrade_type: known }]"),
    listener("any_port", "strip_any_host_port: true"),
    listener("own_port", "strip_matching_host_port: true"),
    listener("edge", "use_remote_address: true"),
    listener(
        "behind",
        "use_remote_address: true\nxff_num_trusted_hops: 1",
    ),
    listener(
        "no_urls",
        "use_remote_address: true\nhttp_protocol_options: { allow_absolute_url: false }",
    ),
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("mirror", ports.mirror, ""),
    ]
    .concat()
}

fn asks(name: &'static str, listener: &'static str, line: &str, headers: &str) -> Case {
    case(
        name,
        listener,
        format!("{line} HTTP/1.1\r\nhost: a\r\n{headers}\r\n"),
    )
}

fn lengths() -> Vec<Case> {
    const LENGTH: &str = "content-length: 0\r\n";
    let plain = |name, line, headers| asks(name, "plain", line, headers);
    let failed = Act::Send(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let ok = Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
    vec![
        plain("get", "GET /length", "x-a: b\r\n"),
        plain("delete", "DELETE /length", "x-a: b\r\n"),
        plain("post", "POST /length", "x-a: b\r\n"),
        plain("put", "PUT /length", "x-a: b\r\n"),
        plain("patch", "PATCH /length", "x-a: b\r\n"),
        plain("options", "OPTIONS /length", "x-a: b\r\n"),
        plain("trace", "TRACE /length", "x-a: b\r\n"),
        plain("purge", "PURGE /length", "x-a: b\r\n"),
        plain("post with length", "POST /length", LENGTH),
        plain("get with length", "GET /length", LENGTH),
        plain("post with length, sent on", "POST /x", LENGTH),
        plain("post, length removed", "POST /removed", LENGTH),
        plain("get, length removed", "GET /removed", LENGTH),
        plain("post, no length removed", "POST /removed", "")
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        plain("post, no length removed of nothing", "POST /removed", "")
            .answer("HTTP/1.1 204 No\r\n\r\n"),
        plain("head, no length removed", "HEAD /removed", "")
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .to_head(),
        plain("post, retried", "POST /retried", "")
            .origin(vec![Act::Read, Act::Turns(vec![vec![failed], vec![ok]])]),
        plain("post, mirrored", "POST /mirrored", ""),
        plain("get, mirrored", "GET /mirrored", ""),
        case(
            "post without chunks",
            "plain",
            "POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    const UNKNOWN: &str = "connection: upgrade\r\nupgrade: unknown\r\n";
    const KNOWN: &str = "connection: upgrade\r\nupgrade: known\r\n";
    const WEBSOCKET: &str = "connection: upgrade\r\nupgrade: websocket\r\n";
    let to = |name, listener, host: &str, path: &str, headers: &str| {
        case(
            name,
            listener,
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n"),
        )
    };
    vec![
        to("upgrade without route", "plain", "a", "/none", UNKNOWN),
        to("websocket without route", "plain", "a", "/none", WEBSOCKET),
        to(
            "known upgrade without route",
            "upgrades",
            "a",
            "/none",
            KNOWN,
        ),
        to(
            "other upgrade without route",
            "upgrades",
            "a",
            "/none",
            UNKNOWN,
        ),
        case(
            "upgrade without route, then more",
            "plain",
            format!(
                "GET /none HTTP/1.1\r\nhost: a\r\n{UNKNOWN}\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n"
            ),
        ),
        to("upgrade of a route", "plain", "a", "/x", UNKNOWN),
        to("upgrade of a redirect", "plain", "a", "/redirect", UNKNOWN),
        to("upgrade of an answer", "plain", "a", "/answer", UNKNOWN),
        to(
            "upgrade of gRPC without route",
            "plain",
            "a",
            "/none",
            "content-type: application/grpc\r\nconnection: upgrade\r\nupgrade: unknown\r\n",
        ),
        case(
            "connect without route",
            "plain",
            "CONNECT nobody:1 HTTP/1.1\r\nhost: nobody:1\r\n\r\n",
        ),
    ]
}

fn connects() -> Vec<Case> {
    let connect = |name, listener, authority: &str, headers: &str| {
        case(
            name,
            listener,
            format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{headers}\r\n"),
        )
        .answer("HTTP/1.1 200 OK\r\n\r\n")
        .to_head()
        .then(Step::Await(1))
        .then(Step::Finish)
        .answers(0)
    };
    vec![
        connect("connect", "plain", "tunnel:9", ""),
        connect("connect, port not known", "plain", "tunnel:443", ""),
        connect("connect, any port", "any_port", "tunnel:443", ""),
        connect("connect, any port, in zeros", "any_port", "tunnel:0443", ""),
        connect(
            "connect, any port, no host",
            "any_port",
            "nobody:443",
            "x-answer: 1\r\n",
        ),
        connect(
            "connect, any port, refused",
            "any_port",
            "tunnel:443",
            "x-answer: 1\r\n",
        ),
        connect(
            "connect, any port, rewritten",
            "any_port",
            "tunnel:443",
            "x-rewrite: 1\r\n",
        ),
        connect(
            "connect, any port, weighted",
            "any_port",
            "tunnel:443",
            "x-weighted: 1\r\n",
        ),
        connect(
            "connect, any port, ends here",
            "any_port",
            "tunnel:443",
            "x-end: 1\r\n",
        )
        .origin(vec![Act::ReadToEnd]),
        connect("connect, another port", "own_port", "tunnel:443", ""),
        connect("connect, known port", "own_port", "tunnel:9", ""),
        asks(
            "no connect, any port",
            "any_port",
            "GET http://tunnel:443/x",
            "",
        ),
    ]
}

fn urls() -> Vec<Case> {
    let url = |name, listener, url: &str| asks(name, listener, &format!("GET {url}"), "");
    vec![
        url("https", "plain", "https://a/x"),
        url("https at the edge", "edge", "https://a/x"),
        url("https in capitals at the edge", "edge", "HTTPS://a/x"),
        url("https without path at the edge", "edge", "https://a"),
        url("https of nobody at the edge", "edge", "https:///x"),
        url(
            "https of an unknown host at the edge",
            "edge",
            "https://nobody/x",
        ),
        url("http at the edge", "edge", "http://a/x"),
        url("https behind another proxy", "behind", "https://a/x"),
        url("https where URLs are paths", "no_urls", "https://a/x"),
        url("other scheme at the edge", "edge", "ftp://a/x"),
        asks("https by HEAD at the edge", "edge", "HEAD https://a/x", ""),
        asks(
            "https of gRPC at the edge",
            "edge",
            "GET https://a/x",
            "content-type: application/grpc\r\n",
        ),
        case(
            "https at the edge, then more",
            "edge",
            "GET https://a/x HTTP/1.1\r\nhost: a\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case(
            "https with a body at the edge",
            "edge",
            "POST https://a/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        ),
    ]
}

/// By what scheme a client has come, as it says itself.
fn schemes() -> Vec<Case> {
    let plain = |name, headers| asks(name, "plain", "GET /x", headers);
    vec![
        plain("no scheme", "x-forwarded-proto:\r\n"),
        plain(
            "no scheme, then one",
            "x-forwarded-proto:\r\nx-forwarded-proto: https\r\n",
        ),
        plain("unknown scheme", "x-forwarded-proto: x\r\n"),
        plain("two schemes", "x-forwarded-proto: https,http\r\n"),
        asks(
            "no scheme in a URL",
            "plain",
            "GET http://a/x",
            "x-forwarded-proto:\r\n",
        ),
        asks(
            "no scheme at the edge",
            "edge",
            "GET /x",
            "x-forwarded-proto:\r\n",
        ),
        asks(
            "no scheme behind another proxy",
            "behind",
            "GET /x",
            "x-forwarded-proto:\r\n",
        ),
    ]
}

fn cases() -> Vec<Case> {
    [lengths(), upgrades(), connects(), urls(), schemes()].concat()
}

#[test]
fn requests_are_taken_as_envoy_does() {
    let suite = Comparison {
        suite: Suite::Routing("requests"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("requests_are_taken_as_envoy_does");
}
