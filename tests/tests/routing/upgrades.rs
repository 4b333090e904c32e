//! Upgrades: what is asked for, what is granted, and what goes through.

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
        name: "upgrades",
        manager: "upgrade_configs:\n\
                  - { upgrade_type: websocket }\n\
                  - { upgrade_type: Foo }\n\
                  - { upgrade_type: nothing, enabled: false }\n",
        hosts: include_str!("upgrades/routes.yaml"),
    },
    Listener {
        name: "default_off",
        manager: "upgrade_configs: [{ upgrade_type: websocket, enabled: false }]",
        hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - match: { prefix: \"/on\" }
    route: { cluster: origin, upgrade_configs: [{ upgrade_type: websocket, enabled: true }] }
  - match: { prefix: \"/\" }
    route: { cluster: origin }
",
    },
    Listener {
        name: "h2c",
        manager: "upgrade_configs: [{ upgrade_type: h2c }]",
        hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
    },
    Listener {
        name: "own_filters",
        manager: include_str!("upgrades/own_filters.yaml"),
        hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
    },
    Listener {
        name: "timeouts",
        manager: "upgrade_configs: [{ upgrade_type: websocket }]\n\
                  stream_idle_timeout: 1.5s\n\
                  request_timeout: 1s\n",
        hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
    },
    Listener {
        name: "duration",
        manager: "upgrade_configs: [{ upgrade_type: websocket }]\n\
                  common_http_protocol_options: { max_stream_duration: 1.5s }\n",
        hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
    },
    Listener {
        name: "http10",
        manager: "upgrade_configs: [{ upgrade_type: websocket }]\n\
                  http_protocol_options: { accept_http_10: true }\n",
        hosts: ringway_tests::bootstrap::EVERYTHING_TO_ORIGIN,
    },
];

fn clusters(ports: Ports) -> String {
    let none = "circuit_breakers: { thresholds: [{ max_requests: 0 }] }";
    let short = "typed_extension_protocol_options:\n  \
                 envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
                 \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
                 common_http_protocol_options: { max_stream_duration: 1.5s }\n    \
                 explicit_http_config: { http_protocol_options: {} }\n";
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster("stuck", ports.stuck, "connect_timeout: 0.2s"),
        cluster("stuck_for_long", ports.stuck, "connect_timeout: 0.8s"),
        cluster("no_requests", ports.origin, none),
        cluster("short", ports.origin, short),
        empty_cluster("empty"),
    ]
    .concat()
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
     upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";

/// The head of a request for an upgrade.
fn asks(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         sec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

fn with(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

fn switch() -> Vec<Act> {
    vec![Act::ReadHead, Act::Send(SWITCHING.into())]
}

/// Grants the upgrade, reads four bytes, answers with four, and ends.
fn switch_and_talk() -> Vec<Act> {
    let mut acts = switch();
    acts.extend([
        Act::ReadBytes(4),
        Act::Send(b"pong".to_vec()),
        Act::ReadToEnd,
        Act::Close,
    ]);
    acts
}

/// Does this with the first request, and with the second what
/// [`switch_and_talk`] does.
fn second_switches(first: Vec<Act>) -> Vec<Act> {
    let second = switch_and_talk().split_off(1);
    vec![Act::ReadHead, Act::Turns(vec![first, second])]
}

/// Waits for the upgrade, says four bytes, hears four, and leaves.
fn talk(name: &'static str, listener: &'static str, head: impl AsRef<[u8]>) -> Case {
    case(name, listener, head)
        .then(Step::Await(1))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(switch_and_talk())
}

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Cases in which Envoy waits for what does not come: the answer is there at
/// once or never.
const ENVOY_WAITS: [&str; 4] = [
    "own filters answer",
    "body with length",
    "expect",
    "body, answered 200",
];

fn cases() -> Vec<Case> {
    let mut all = granted();
    all.extend(refused());
    all.extend(not_switched());
    all.extend(ends());
    all.extend(early());
    all.extend(odd());
    all.extend(timeouts());
    for case in &mut all {
        if ENVOY_WAITS.contains(&case.name) {
            case.expected.patience = MS(1500);
        }
    }
    all
}

fn granted() -> Vec<Case> {
    vec![
        talk("talk", "upgrades", asks("/x")),
        talk("talk byte by byte", "upgrades", asks("/x")).in_pieces(1),
        talk("route turns on", "default_off", asks("/on")),
        talk("rewritten", "upgrades", asks("/rewrite/a?b")),
        talk(
            "name in capitals",
            "upgrades",
            with("Connection: keep-alive, UPGRADE\r\nUpgrade: WEBSOCKET\r\n"),
        ),
        talk(
            "another type",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: foo\r\n"),
        ),
        talk(
            "type of the route",
            "upgrades",
            "GET /on HTTP/1.1\r\nhost: a\r\nConnection: upgrade\r\nUpgrade: bar\r\n\r\n",
        ),
        talk(
            "several connection lines",
            "upgrades",
            with("Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"),
        ),
        talk(
            "nominated headers",
            "upgrades",
            with(
                "Connection: upgrade, x-private\r\nUpgrade: websocket\r\nx-private: v\r\nte: trailers\r\nkeep-alive: x\r\n",
            ),
        ),
        talk("own filters", "own_filters", asks("/x")),
        case("own filters answer", "own_filters", asks("/healthz")),
        case(
            "filters of others answer",
            "own_filters",
            "GET /plain HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        case("answered with data at once", "upgrades", asks("/x"))
            .then(Step::AwaitBytes(5))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadHead,
                Act::Send(format!("{SWITCHING}hello").into_bytes()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("much both ways", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send("x".repeat(1_000_000))
            .then(Step::AwaitBytes(1_000_000))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadHead,
                Act::Send(SWITCHING.into()),
                Act::ReadBytes(1_000_000),
                Act::Send("y".repeat(1_000_000).into_bytes()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("early hints before", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadHead,
                Act::Send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec()),
                Act::Send(SWITCHING.into()),
                Act::ReadBytes(4),
                Act::Send(b"pong".to_vec()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        talk("switched by the second host", "upgrades", asks("/retried")).origin(second_switches(
            vec![Act::Send(
                b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
            )],
        )),
        talk(
            "switched where 101 is retriable",
            "upgrades",
            asks("/retried-101"),
        ),
        talk(
            "foo switched where 101 is retriable",
            "upgrades",
            asks_foo("/retried-101"),
        ),
        talk("switched after 426", "upgrades", asks("/retried-101")).origin(second_switches(vec![
            Act::Send(b"HTTP/1.1 426 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ])),
        talk("switched after a reset", "upgrades", asks("/retried"))
            .origin(second_switches(vec![Act::Reset])),
        talk("switched to something else", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(
                b"HTTP/1.1 101 Odd\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n".to_vec(),
            ),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        talk("switched without headers", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case("off by default", "default_off", asks("/x")),
        case("off on the route", "upgrades", asks("/off")),
        case(
            "type that is off",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: nothing\r\n"),
        ),
        case(
            "type that nobody knows",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: baz\r\n"),
        ),
        case(
            "list of types",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: websocket, foo\r\n"),
        ),
        case(
            "two types",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo\r\n"),
        ),
        case(
            "the same type twice",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n"),
        ),
        case(
            "type with version",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: websocket/13\r\n"),
        ),
        case(
            "no route",
            "h2c",
            "GET http://b/ HTTP/1.1\r\nhost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
        ),
        case(
            "h2c is stripped",
            "h2c",
            with("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nhttp2-settings: AAA\r\n"),
        ),
        case(
            "upgrade without connection",
            "upgrades",
            with("Upgrade: websocket\r\n"),
        ),
        case(
            "connection without upgrade",
            "upgrades",
            with("Connection: upgrade\r\n"),
        ),
        case(
            "empty upgrade",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade:\r\n"),
        ),
        case("direct response", "upgrades", asks("/direct")),
        case("redirect", "upgrades", asks("/redirect")),
        case("connect refused", "upgrades", asks("/refused")),
        case("connect stuck", "upgrades", asks("/stuck")),
        case("no host", "upgrades", asks("/empty")),
        case("no cluster", "upgrades", asks("/unknown")),
        case("too many requests", "upgrades", asks("/no-requests")),
    ]
}

fn not_switched() -> Vec<Case> {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        case("answered 200", "upgrades", asks("/x")),
        case("answered 200 without length", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()),
            // So that the end comes by itself.
            Act::Wait(MS(200)),
            Act::Close,
        ]),
        case("answered 200 chunked", "upgrades", asks("/x")).answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        case("answered 200 with upgrade", "upgrades", asks("/x")).answer(
            "HTTP/1.1 200 OK\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\nok",
        ),
        case("redirect not followed", "upgrades", asks("/followed"))
            .answer("HTTP/1.1 302 Found\r\nlocation: http://a/login\r\ncontent-length: 0\r\n\r\n"),
        case("answered 302", "upgrades", asks("/x")).answer(
            "HTTP/1.1 302 Found\r\nlocation: /login\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-type: text/html\r\netag: x\r\ncontent-length: 2\r\n\r\nno",
        ),
        case("answered 304", "upgrades", asks("/x"))
            .answer("HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"),
        case("answered 204", "upgrades", asks("/x")).answer("HTTP/1.1 204 No Content\r\n\r\n"),
        case("answered 403", "upgrades", asks("/x"))
            .answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"),
        case("answered 426", "upgrades", asks("/x"))
            .answer("HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: other\r\ncontent-length: 0\r\n\r\n"),
        case("answered 200, request behind", "upgrades", asks("/x") + smuggled)
            .origin(vec![
                Act::ReadHead,
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("answered 200, request later", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send(smuggled)
            .origin(vec![
                Act::ReadHead,
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("answered with garbage", "upgrades", asks("/x")).answer("garbage\r\n\r\n"),
        case("101 with content-length 0", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadHead,
                Act::Send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n".to_vec()),
                Act::ReadBytes(4),
                Act::Send(b"pong".to_vec()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("101 with content-length", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\nhello".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case("101 chunked", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case("101 unasked", "upgrades", "GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer(SWITCHING),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case("client leaves", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then(Step::Leave)
            .origin(vec![
                Act::ReadHead,
                Act::Send(SWITCHING.into()),
                Act::ReadToEnd,
                Act::Close,
            ]),
        case("client finishes", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send("ping")
            .then(Step::Finish)
            .answers(0)
            .origin(vec![
                Act::ReadHead,
                Act::Send(SWITCHING.into()),
                Act::ReadToEnd,
                Act::Send(b"late".to_vec()),
                Act::Close,
            ]),
        case("origin closes", "upgrades", asks("/x"))
            .answers(0)
            .origin(vec![
                Act::ReadHead,
                Act::Send(format!("{SWITCHING}bye").into_bytes()),
                Act::Close,
            ]),
        case("origin closes, client goes on", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then(Step::AwaitEnd)
            .then_send("late")
            .answers(0)
            .origin(vec![
                Act::ReadHead,
                Act::Send(SWITCHING.into()),
                Act::Finish,
                Act::ReadToEnd,
            ]),
        case("origin resets", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then(Step::Release)
            .answers(0)
            .origin(vec![
                Act::ReadHead,
                Act::Send(SWITCHING.into()),
                Act::AwaitRelease,
                Act::Reset,
            ]),
        case("origin closes before 101", "upgrades", asks("/x"))
            .origin(vec![Act::ReadHead, Act::Close]),
        case("origin resets before 101", "upgrades", asks("/x"))
            .origin(vec![Act::ReadHead, Act::Reset]),
        case("origin closes within 101", "upgrades", asks("/x")).origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 101 Switching Pro".to_vec()),
            Act::Close,
        ]),
        case("client leaves before 101", "upgrades", asks("/x"))
            .then(Step::AwaitRequest(0))
            .then(Step::Leave)
            .origin(vec![Act::ReadHead, Act::ReadToEnd, Act::Close]),
        case("client finishes before 101", "upgrades", asks("/x"))
            .then(Step::AwaitRequest(0))
            .then(Step::Finish)
            .answers(0)
            .origin(vec![
                Act::ReadHead,
                Act::ReadToEnd,
                Act::Send(SWITCHING.into()),
                Act::Close,
            ]),
        case("another request after", "upgrades", asks("/x"))
            .then(Step::Await(1))
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin({
                let mut acts = vec![Act::OnlyFirstConnection];
                acts.extend(switch_and_talk());
                acts
            }),
    ]
}

fn early() -> Vec<Case> {
    let late_switch = || {
        vec![
            Act::ReadHead,
            Act::Wait(MS(100)),
            Act::Send(SWITCHING.into()),
            Act::ReadBytes(5),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]
    };
    vec![
        case("early data", "upgrades", asks("/x") + "early")
            .then(Step::Await(1))
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(late_switch()),
        case("early data in pieces", "upgrades", asks("/x") + "early")
            .in_pieces(1)
            .then(Step::Await(1))
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(late_switch()),
        case(
            "early data of another type",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: foo\r\n") + "early",
        )
        .then(Step::Await(1))
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(late_switch()),
        case("early data, refused", "upgrades", asks("/off") + "early"),
        case("early data, answered 400", "upgrades", asks("/x") + "early").origin(vec![
            Act::ReadHead,
            Act::Wait(MS(100)),
            Act::Send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case(
            "early data of another type, answered 400",
            "upgrades",
            with("Connection: upgrade\r\nUpgrade: foo\r\n") + "early",
        )
        .origin(vec![
            Act::ReadHead,
            Act::Wait(MS(100)),
            Act::Send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case(
            "much early data",
            "upgrades",
            asks("/x") + &"e".repeat(300_000),
        )
        .then(Step::Await(1))
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(vec![
            Act::ReadHead,
            Act::Wait(MS(100)),
            Act::Send(SWITCHING.into()),
            Act::ReadBytes(300_000),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
    ]
}

fn odd() -> Vec<Case> {
    let head = |fields: &str| {
        format!(
            "POST /x HTTP/1.1\r\nhost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        )
    };
    vec![
        talk("post", "upgrades", head("")),
        talk("length 0", "upgrades", head("content-length: 0\r\n")),
        case(
            "body with length",
            "upgrades",
            head("content-length: 5\r\n") + "hello",
        )
        .then(Step::Await(1))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(vec![
            Act::Read,
            Act::Send(SWITCHING.into()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case(
            "body in chunks",
            "upgrades",
            head("transfer-encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        )
        .then(Step::Await(1))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(vec![
            Act::Read,
            Act::Send(SWITCHING.into()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case(
            "expect",
            "upgrades",
            head("expect: 100-continue\r\ncontent-length: 5\r\n"),
        )
        .then(Step::Await(1))
        .then_send("hello")
        .then(Step::Await(2)),
        case(
            "body, answered 200",
            "upgrades",
            head("content-length: 5\r\n") + "hello",
        ),
        talk(
            "HTTP/1.0",
            "http10",
            "GET / HTTP/1.0\r\nhost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        talk(
            "head",
            "upgrades",
            "HEAD /x HTTP/1.1\r\nhost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        talk(
            "close and upgrade",
            "upgrades",
            with("Connection: close, upgrade\r\nUpgrade: websocket\r\n"),
        ),
        case(
            "pipelined before",
            "upgrades",
            String::from("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n") + &asks("/x"),
        )
        .then(Step::Await(2))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .answers(2)
        .origin(vec![
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
            Act::ReadHead,
            Act::Send(SWITCHING.into()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
    ]
}

/// The same for a protocol that is no WebSocket.
fn asks_foo(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
}

/// A [`talk`] with a host that takes its time.
fn late(name: &'static str, head: String) -> Case {
    let mut acts = switch_and_talk();
    acts.insert(1, Act::Wait(MS(2000)));
    talk(name, "upgrades", head).origin(acts)
}

fn timeouts() -> Vec<Case> {
    let silent = || vec![Act::ReadHead, Act::ReadToEnd, Act::Close];
    // Twice more than half of what a try may be quiet.
    let late_twice = || {
        vec![
            Act::ReadHead,
            Act::Wait(MS(1100)),
            Act::Send(SWITCHING.into()),
            Act::Wait(MS(1100)),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]
    };
    let quiet = || {
        let mut acts = switch();
        acts.extend([Act::ReadToEnd, Act::Close]);
        acts
    };
    vec![
        late("101 late for the route timeout", asks("/timeout")),
        case(
            "tunnel longer than the route timeout",
            "upgrades",
            asks("/timeout"),
        )
        .then(Step::Await(1))
        .then(Step::Wait(MS(1500)))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(switch_and_talk()),
        late("late 101 of another type", asks_foo("/timeout")),
        late("late 101 of another type in a try", asks_foo("/try")),
        late(
            "late 101 of another type in a quiet try",
            asks_foo("/quiet-try"),
        ),
        late("late 101 in a try", asks("/try")),
        late("late 101 in a quiet try", asks("/quiet-try")),
        // A tunnel may be quiet for longer than its try.
        case("quiet tunnel of a try", "upgrades", asks("/patient-try"))
            .then(Step::Await(1))
            .then(Step::Wait(MS(2500)))
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(switch_and_talk()),
        case("late 101 and late bytes", "upgrades", asks("/patient-try"))
            .then(Step::Await(1))
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(late_twice()),
        case(
            "late 101 of another type and late bytes",
            "upgrades",
            asks_foo("/patient-try"),
        )
        .then(Step::Await(1))
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(late_twice()),
        case(
            "late answer to another type",
            "upgrades",
            asks_foo("/timeout"),
        )
        .origin(vec![
            Act::ReadHead,
            Act::Wait(MS(2000)),
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case("no connection within a try", "upgrades", asks("/stuck-try")),
        case(
            "no connection for another type",
            "upgrades",
            asks_foo("/stuck-try"),
        ),
        case("no 101 within the idle timeout", "upgrades", asks("/idle")).origin(silent()),
        case("idle tunnel", "upgrades", asks("/idle"))
            .answers(0)
            .origin(quiet()),
        case("tunnel kept busy", "upgrades", asks("/kept-busy"))
            .then(Step::Await(1))
            // Twice more than half of what it may be idle.
            .then(Step::Wait(MS(1100)))
            .then_send("pi")
            .then(Step::Wait(MS(1100)))
            .then_send("ng")
            .then(Step::AwaitBytes(4))
            .then(Step::Leave)
            .origin(switch_and_talk()),
        case("idle tunnel of the manager", "timeouts", asks("/"))
            .answers(0)
            .origin(quiet()),
        case("duration of the route", "upgrades", asks("/duration"))
            .answers(0)
            .origin(quiet()),
        case(
            "duration of the route before 101",
            "upgrades",
            asks("/duration"),
        )
        .origin(silent()),
        case(
            "duration of the cluster",
            "upgrades",
            asks("/cluster-duration"),
        )
        .answers(0)
        .origin(quiet()),
        case("duration of the manager", "duration", asks("/"))
            .answers(0)
            .origin(quiet()),
        case("request timeout before 101", "timeouts", asks("/")).origin(silent()),
    ]
}

#[test]
fn upgrades_are_treated_as_envoy_does() {
    Comparison {
        suite: Suite::Routing("upgrades"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("upgrades_are_treated_as_envoy_does");
}
