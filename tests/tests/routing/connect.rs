//! CONNECT: forwarded to a proxy, or ended here and carried on as plain TCP.

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
        name: "forward",
        manager: "upgrade_configs: [{ upgrade_type: CONNECT }]",
        hosts: "
- name: b
  domains: [\"b:*\", \"b\"]
  routes:
  - match: { prefix: \"/\" }
    route: { cluster: origin }
- name: prefix
  domains: [\"prefix:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, prefix_rewrite: /p } }]
- name: prefix_retried
  domains: [\"prefix-retried:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, prefix_rewrite: /p, retry_policy: { retry_on: \"5xx,reset,connect-failure\" } } }]
- name: regex
  domains: [\"regex:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, regex_rewrite: { pattern: { regex: \"^/?\" }, substitution: /q } } }]
- name: path
  domains: [\"path:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, prefix_rewrite: \"/\" } }]
- name: empty
  domains: [\"empty:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: empty } }]
- name: refused
  domains: [\"refused:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: refused } }]
- name: stuck
  domains: [\"stuck:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: stuck } }]
- name: direct
  domains: [\"direct:443\"]
  routes: [{ match: { connect_matcher: {} }, direct_response: { status: 200, body: { inline_string: hello } } }]
- name: moved
  domains: [\"moved:443\"]
  routes: [{ match: { connect_matcher: {} }, redirect: { https_redirect: true } }]
- name: moved_path
  domains: [\"moved-path:443\"]
  routes: [{ match: { connect_matcher: {} }, redirect: { host_redirect: h, path_redirect: /p } }]
- name: moved_prefix
  domains: [\"moved-prefix:443\"]
  routes: [{ match: { connect_matcher: {} }, redirect: { prefix_rewrite: /p } }]
- name: moved_regex
  domains: [\"moved-regex:443\"]
  routes: [{ match: { connect_matcher: {} }, redirect: { regex_rewrite: { pattern: { regex: \"^/?\" }, substitution: /q } } }]
- name: moved_here
  domains: [\"moved-here:443\"]
  routes: [{ match: { connect_matcher: {} }, direct_response: { status: 301 } }]
- name: tls
  domains: [\"tls:443\"]
  require_tls: ALL
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin } }]
- name: slow
  domains: [\"slow:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, timeout: 1s, idle_timeout: 9s } }]
- name: idle
  domains: [\"idle:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, idle_timeout: 1.5s } }]
- name: disabled
  domains: [\"disabled:443\"]
  routes: [{ match: { connect_matcher: {} }, route: { cluster: origin, upgrade_configs: [{ upgrade_type: CONNECT, enabled: false }] } }]
- name: all
  domains: [\"*\"]
  routes:
  - match: { connect_matcher: {}, headers: [{ name: x-other, present_match: true }] }
    route: { cluster: origin, host_rewrite_literal: \"b:1\" }
  - match: { connect_matcher: {} }
    route: { cluster: origin }
  - match: { prefix: \"/\" }
    route: { cluster: origin }
",
    },
    Listener {
        name: "strip_any_port",
        manager: "strip_any_host_port: true\nupgrade_configs: [{ upgrade_type: CONNECT }]\n",
        hosts: STRIPPED,
    },
    Listener {
        name: "strip_own_port",
        manager: "strip_matching_host_port: true\nupgrade_configs: [{ upgrade_type: CONNECT }]\n",
        hosts: STRIPPED,
    },
    Listener {
        name: "terminate",
        manager: "",
        hosts: include_str!("connect/terminate.yaml"),
    },
    Listener {
        name: "not_allowed",
        manager: "",
        hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - match: { connect_matcher: {} }
    route: { cluster: origin }
",
    },
    Listener {
        name: "timeouts",
        manager: "stream_idle_timeout: 1.5s\nrequest_timeout: 1s\n",
        hosts: include_str!("connect/terminate.yaml"),
    },
];

const STRIPPED: &str = "
- name: all
  domains: [\"*\"]
  routes:
  - match: { connect_matcher: {} }
    route: { cluster: origin }
";

fn clusters(ports: Ports) -> String {
    let none = "circuit_breakers: { thresholds: [{ max_requests: 0 }] }";
    let one = "circuit_breakers: { thresholds: [{ max_connections: 0, max_pending_requests: 0 }] }";
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.2s"),
        cluster("no_requests", ports.origin, none),
        cluster("no_connections", ports.origin, one),
        empty_cluster("empty"),
    ]
    .concat()
}

fn connect(authority: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n")
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nx-proxy: p\r\n\r\n";

fn talk(name: &'static str, listener: &'static str, head: impl AsRef<[u8]>) -> Case {
    case(name, listener, head)
        .to_head()
        .then(Step::Await(1))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
}

fn established() -> Vec<Act> {
    vec![Act::ReadHead, Act::Send(ESTABLISHED.into())]
}

/// Ports that the connection manager takes off other requests.
fn stripped() -> Vec<Case> {
    let to = |name, listener, authority| {
        case(name, listener, connect(authority))
            .to_head()
            .origin(established())
            .then(Step::Await(1))
            .then(Step::Leave)
    };
    vec![
        to("any port of a connect", "strip_any_port", "a:8443"),
        to("another port of a connect", "strip_own_port", "a:8443"),
    ]
}

fn forwarded_talk() -> Vec<Act> {
    let mut acts = established();
    acts.extend(plain_talk());
    acts
}

fn plain_talk() -> Vec<Act> {
    vec![
        Act::ReadBytes(4),
        Act::Send(b"pong".to_vec()),
        Act::ReadToEnd,
        Act::Close,
    ]
}

const MS: fn(u64) -> Duration = Duration::from_millis;

fn cases() -> Vec<Case> {
    let mut all = forwarded();
    all.extend(terminated());
    all.extend(refused());
    all.extend(stripped());
    all
}

fn forwarded() -> Vec<Case> {
    let end = |acts: &[Act]| [&[Act::ReadHead], acts].concat();
    let send = |text: &str| Act::Send(text.as_bytes().to_vec());
    vec![
        talk("forwarded", "forward", connect("a:443")).origin(forwarded_talk()),
        talk("forwarded byte by byte", "forward", connect("a:443")).in_pieces(1).origin(forwarded_talk()),
        talk("other host", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: c\r\n\r\n").origin(forwarded_talk()),
        talk("without host", "forward", "CONNECT a:443 HTTP/1.1\r\n\r\n").origin(forwarded_talk()),
        talk("rewritten", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nx-other: 1\r\n\r\n").origin(forwarded_talk()),
        talk("hop by hop", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nconnection: close, x-private\r\nx-private: v\r\nproxy-connection: keep-alive\r\nproxy-authorization: x\r\n\r\n").origin(forwarded_talk()),
        talk("upgrade as well", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").origin(forwarded_talk()),
        case("early data", "forward", connect("a:443") + "early").to_head().then(Step::Await(1)).then(Step::AwaitBytes(4)).then(Step::Leave)
            .origin(end(&[Act::Wait(MS(100)), send(ESTABLISHED), Act::ReadBytes(5), send("pong"), Act::ReadToEnd, Act::Close])),
        case("answered 200 with length", "forward", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::AwaitBytes(4)).then(Step::Leave)
            .origin(end(&[send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close])),
        case("answered 201", "forward", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::AwaitBytes(4)).then(Step::Leave)
            .origin(end(&[send("HTTP/1.1 201 Created\r\n\r\n"), Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close])),
        case("answered with data", "forward", connect("a:443")).to_head().then(Step::AwaitBytes(5)).then(Step::Leave)
            .origin(end(&[send("HTTP/1.1 200 OK\r\n\r\nhello"), Act::ReadToEnd, Act::Close])),
        case("answered 403", "forward", connect("a:443")).answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
        case("answered 407, early data", "forward", connect("a:443") + "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
            .origin(end(&[Act::Wait(MS(100)), send("HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: basic\r\ncontent-length: 2\r\n\r\nno"), Act::ReadToEnd, Act::Close])),
        case("answered 302 chunked", "forward", connect("a:443")).answer("HTTP/1.1 302 Found\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
        case("answered 101", "forward", connect("a:443")).to_head().answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n"),
        case("answered 204", "forward", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::AwaitBytes(4)).then(Step::Leave)
            .origin(end(&[send("HTTP/1.1 204 No Content\r\n\r\n"), Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close])),
        case("answered 204 with length", "forward", connect("a:443")).to_head()
            .origin(end(&[send("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"), Act::ReadToEnd, Act::Close])),
        case("answered 204 with more length", "forward", connect("a:443")).to_head()
            .origin(end(&[send("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"), Act::ReadToEnd, Act::Close])),
        case("answered 200 with length 0", "forward", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::AwaitBytes(4)).then(Step::Leave)
            .origin(end(&[send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close])),
        case("answered 204 in chunks", "forward", connect("a:443")).to_head()
            .origin(end(&[send("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n"), Act::ReadToEnd, Act::Close])),
        case("prefix rewritten", "forward", connect("prefix:443")).to_head().origin(forwarded_talk()),
        case("path rewritten by regex", "forward", connect("regex:443")).to_head().origin(forwarded_talk()),
        case("path rewritten", "forward", connect("path:443")).to_head().origin(forwarded_talk()),
        case("prefix rewritten, retried", "forward", connect("prefix-retried:443")).to_head().origin(forwarded_talk()),
        case("proxy closes", "forward", connect("a:443")).to_head().answers(0).origin(end(&[send(ESTABLISHED), send("bye"), Act::Close])),
        case("proxy finishes", "forward", connect("a:443")).to_head().then(Step::Await(1)).then(Step::AwaitEnd).then_send("late").answers(0)
            .origin(end(&[send(ESTABLISHED), Act::Finish, Act::ReadToEnd])),
        case("proxy resets", "forward", connect("a:443")).to_head().then(Step::Await(1)).then(Step::Release).answers(0).origin(end(&[send(ESTABLISHED), Act::AwaitRelease, Act::Reset])),
        case("proxy closes before", "forward", connect("a:443")).origin(end(&[Act::Close])),
        case("client finishes", "forward", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::Finish).answers(0)
            .origin(end(&[send(ESTABLISHED), Act::ReadToEnd, send("late"), Act::Close])),
        case("client leaves", "forward", connect("a:443")).to_head().then(Step::Await(1)).then(Step::Leave).origin(end(&[send(ESTABLISHED), Act::ReadToEnd, Act::Close])),
        case("client leaves before", "forward", connect("a:443")).then(Step::AwaitRequest(0)).then(Step::Leave).origin(end(&[Act::ReadToEnd, Act::Close])),
        case("late for the route timeout", "forward", connect("slow:443")).origin(end(&[Act::ReadToEnd, Act::Close])),
        talk("longer than the route timeout", "forward", connect("slow:443"))
            .steps([Step::Send(connect("slow:443").into()), Step::Await(1), Step::Wait(MS(1500)), Step::Send(b"ping".to_vec()), Step::AwaitBytes(4), Step::Leave])
            .origin(forwarded_talk()),
        case("idle", "forward", connect("idle:443")).to_head().answers(0).origin(end(&[send(ESTABLISHED), Act::ReadToEnd, Act::Close])),
        case("length 0", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\ncontent-length: 0\r\n\r\n").to_head().then(Step::Await(1)).then(Step::Leave).origin(forwarded_talk()),
        case("a body", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\ncontent-length: 5\r\n\r\nhello"),
        case("chunks", "forward", "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        case("a get", "forward", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ]
}

fn terminated() -> Vec<Case> {
    let send = |text: &str| Act::Send(text.as_bytes().to_vec());
    vec![
        talk("terminated", "terminate", connect("a:443")).origin(plain_talk()),
        talk("terminated byte by byte", "terminate", connect("a:443")).in_pieces(1).origin(plain_talk()),
        case("terminated, early data", "terminate", connect("a:443") + "ping").to_head().then(Step::Await(1)).then(Step::AwaitBytes(4)).then(Step::Leave).origin(plain_talk()),
        case("terminated, origin speaks first", "terminate", connect("a:443")).to_head().then(Step::AwaitBytes(5)).then(Step::Leave)
            .origin(vec![send("hello"), Act::ReadToEnd, Act::Close]),
        case("terminated, origin speaks and closes", "terminate", connect("a:443")).to_head().answers(0)
            .origin(vec![send("hello"), Act::Close]),
        case("terminated, origin finishes", "terminate", connect("a:443")).to_head().then(Step::Await(1)).then(Step::AwaitBytes(5)).then(Step::AwaitEnd).then_send("late").answers(0)
            .origin(vec![send("hello"), Act::Finish, Act::ReadToEnd]),
        case("terminated, origin resets", "terminate", connect("a:443")).to_head().then(Step::Await(1)).then(Step::Release).answers(0)
            .origin(vec![Act::AwaitRelease, Act::Reset]),
        case("terminated, client finishes", "terminate", connect("a:443")).to_head().then(Step::Await(1)).then_send("ping").then(Step::Finish).answers(0)
            .origin(vec![Act::ReadToEnd, send("late"), Act::Close]),
        case("terminated, client leaves", "terminate", connect("a:443")).to_head().then(Step::Await(1)).then(Step::Leave)
            .origin(vec![Act::ReadToEnd, Act::Close]),
        case("terminated, refused", "terminate", connect("refused:443")),
        case("terminated, stuck", "terminate", connect("stuck:443")),
        case("terminated, stuck with early data", "terminate", connect("stuck:443") + "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("terminated, no host", "terminate", connect("empty:443")),
        case("terminated, no cluster", "terminate", connect("unknown:443")),
        case("terminated, no requests", "terminate", connect("no-requests:443")).to_head().then(Step::Await(1)).then(Step::Leave).origin(vec![Act::ReadToEnd, Act::Close]),
        case("terminated, no connections", "terminate", connect("no-connections:443")).origin(vec![Act::ReadToEnd, Act::Close]),
        case("terminated, idle", "terminate", connect("idle:443")).to_head().answers(0).origin(vec![Act::ReadToEnd, Act::Close]),
        case("terminated, idle of the manager", "timeouts", connect("a:443")).to_head().answers(0).origin(vec![Act::ReadToEnd, Act::Close]),
        case("terminated, late", "terminate", connect("slow:443")).to_head().then(Step::Await(1)).then(Step::Wait(MS(1500))).then_send("ping").then(Step::AwaitBytes(4)).then(Step::Leave).origin(plain_talk()),
        case("post terminated", "terminate", "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nping").origin(vec![Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close]),
        case("post terminated, closed", "terminate", "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nping").origin(vec![Act::ReadBytes(4), send("pong"), Act::Close]),
        case("post terminated in chunks", "terminate", "POST /post HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nping\r\n0\r\n\r\n").origin(vec![Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close]),
        case("post terminated, bidirectional", "terminate", "POST /post HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").then(Step::AwaitBody(5)).then_send("4\r\nping\r\n").then(Step::AwaitBody(9)).then_send("0\r\n\r\n")
            .origin(vec![send("hello"), Act::ReadBytes(4), send("pong"), Act::ReadToEnd, Act::Close]),
        case("post terminated, refused", "terminate", "POST /post-refused HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nping"),
        case("get on the way to tcp", "terminate", "GET /post HTTP/1.1\r\nhost: a\r\n\r\n"),
        case("post not allowed", "terminate", "POST /no-post HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nping"),
        case("much terminated", "terminate", connect("a:443")).to_head().then(Step::Await(1)).then_send("x".repeat(1_000_000)).then(Step::AwaitBytes(1_000_000)).then(Step::Leave)
            .origin(vec![Act::ReadBytes(1_000_000), Act::Send("y".repeat(1_000_000).into_bytes()), Act::ReadToEnd, Act::Close]),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case("not allowed", "not_allowed", connect("a:443")),
        case("off", "forward", connect("disabled:443")),
        case(
            "not allowed, early data",
            "not_allowed",
            connect("a:443") + "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case("prefix does not match", "forward", connect("b:443")),
        case("direct response", "forward", connect("direct:443")),
        case("redirect", "forward", connect("moved:443")),
        case("redirect of the path", "forward", connect("moved-path:443")),
        case(
            "redirect of a prefix",
            "forward",
            connect("moved-prefix:443"),
        ),
        case(
            "redirect of a pattern",
            "forward",
            connect("moved-regex:443"),
        ),
        case("direct redirect", "forward", connect("moved-here:443")),
        case("TLS required", "forward", connect("tls:443")),
        case("no host", "forward", connect("empty:443")),
        case("connect refused", "forward", connect("refused:443")),
        case("connect stuck", "forward", connect("stuck:443")),
    ]
}

#[test]
fn connect_is_treated_as_envoy_does() {
    Comparison {
        suite: Suite::Routing("connect"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("connect_is_treated_as_envoy_does");
}
