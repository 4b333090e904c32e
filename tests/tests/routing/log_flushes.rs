//! `access_log_options`: access logs that are written before a request is
//! over.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use std::time::Duration;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  response_headers_to_add: [ { header: { key: x-added, value: a } } ]
  routes:
  - match: { path: /direct }
    name: direct
    direct_response: { status: 201 }
  - match: { path: /redirected }
    name: redirected
    route: { cluster: origin, internal_redirect_policy: {} }
  - match: { path: /websocket }
    name: websocket
    route: { cluster: origin, upgrade_configs: [ { upgrade_type: websocket } ] }
  - match: { connect_matcher: {} }
    name: connect
    route: { cluster: origin, upgrade_configs: [ { upgrade_type: CONNECT, connect_config: {} } ] }
  - match: { path: /timeout }
    name: timeout
    route: { cluster: origin, timeout: 3s }
  - match: { path: /retried }
    name: retried
    route:
      cluster: origin
      timeout: 0s
      retry_policy: { retry_on: 5xx, retry_back_off: { base_interval: 0.001s, max_interval: 0.001s } }
  - match: { prefix: "/origin" }
    name: origin
    route: { cluster: origin }
"#;

/// A connection manager with a log of what is known when it is written, and
/// these options.
macro_rules! logging {
    ($name:literal, $options:literal) => {
        concat!(
            $options,
            "\nvia: me\nupgrade_configs: [ { upgrade_type: CONNECT } ]\n",
            // Times are not of the same length in each run.
            "http_filters:\n- name: router\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n",
            "    suppress_envoy_headers: true\n",
            "access_log:\n- name: file\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\n",
            "    path: \"{DIR}/",
            $name,
            ".log\"\n    log_format:\n      text_format_source:\n        inline_string: \"",
            "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% ",
            "%PROTOCOL% %REQ(:METHOD)% %REQ(:PATH)% %REQ(X-FORWARDED-PROTO)% %ROUTE_NAME% ",
            "%UPSTREAM_CLUSTER% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% ",
            "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %RESP(X-FOO)% %RESP(X-ADDED)% %RESP(SERVER)% ",
            "%RESP(VIA)% %RESP(CONNECTION)% %DOWNSTREAM_WIRE_BYTES_RECEIVED% ",
            "%DOWNSTREAM_HEADER_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_SENT% ",
            "%UPSTREAM_HEADER_BYTES_RECEIVED% %UPSTREAM_WIRE_BYTES_RECEIVED%\\n\"\n"
        )
    };
}

const LISTENERS: &[Listener] = &[
    Listener {
        name: "at_start",
        manager: logging!(
            "at_start",
            "access_log_options: { flush_access_log_on_new_request: true }"
        ),
        hosts: HOSTS,
    },
    Listener {
        name: "at_start_as_before",
        manager: logging!(
            "at_start_as_before",
            "flush_access_log_on_new_request: true"
        ),
        hosts: HOSTS,
    },
    Listener {
        name: "at_tunnel",
        manager: logging!(
            "at_tunnel",
            "access_log_options: { flush_log_on_tunnel_successfully_established: true }"
        ),
        hosts: HOSTS,
    },
    Listener {
        name: "often",
        manager: logging!(
            "often",
            "access_log_options: { access_log_flush_interval: 2s }"
        ),
        hosts: HOSTS,
    },
    Listener {
        name: "often_as_before",
        manager: logging!("often_as_before", "access_log_flush_interval: 2s"),
        hosts: HOSTS,
    },
];

/// No log is due after it.
const BRIEF: Duration = Duration::from_millis(50);
/// Between the first log of [`LISTENERS`] that log often and the second.
const LONG: Duration = Duration::from_secs(3);
/// From there to between the second log and the third.
const INTERVAL: Duration = Duration::from_secs(2);

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn cases() -> Vec<Case> {
    let mut all = at_start();
    all.extend(at_tunnel());
    all.extend(often());
    all
}

fn get(name: &'static str, listener: &'static str, path: &str) -> Case {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    case(name, listener, request)
}

fn at_start() -> Vec<Case> {
    vec![
        get("start", "at_start", "/origin"),
        get("start, as before", "at_start_as_before", "/origin"),
        get("start of direct", "at_start", "/direct"),
        get("start of nothing", "at_start", "/none"),
        get("start of tries", "at_start", "/retried")
            .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        get("start of redirected", "at_start", "/redirected").origin(vec![
            Act::Read,
            Act::Turns(vec![
                vec![Act::Send(
                    b"HTTP/1.1 302 Found\r\nLocation: http://a/origin\r\ncontent-length: 0\r\n\r\n"
                        .to_vec(),
                )],
                vec![Act::Send(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
                )],
            ]),
        ]),
        case(
            "start of body",
            "at_start",
            "POST /origin HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n",
        )
        .then(Step::AwaitRequest(0))
        .then_send("ab"),
        case(
            "start of refused upgrade",
            "at_start",
            "GET /origin HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n",
        ),
        case(
            "no start without host",
            "at_start",
            "GET / HTTP/1.1\r\n\r\n",
        ),
        case(
            "no start of a bad host",
            "at_start",
            "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        ),
    ]
}

/// A host that agrees to another protocol, says something, and goes after
/// `stay`.
fn switching(stay: Duration) -> Vec<Act> {
    vec![
        Act::Read,
        Act::Send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
              x-foo: f\r\n\r\n"
                .to_vec(),
        ),
        Act::ReadBytes(2),
        Act::Send(b"hello".to_vec()),
        Act::Wait(stay),
        Act::Close,
    ]
}

fn websocket(name: &'static str, listener: &'static str, stay: Duration) -> Case {
    case(
        name,
        listener,
        "GET /websocket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )
    .then(Step::Await(1))
    .then_send("hi")
    .then(Step::AwaitBytes(5))
    .origin(switching(stay))
    .answers(0)
}

fn at_tunnel() -> Vec<Case> {
    vec![
        websocket("tunnel", "at_tunnel", BRIEF),
        websocket("start of a tunnel", "at_start", BRIEF),
        case(
            "tunnel of CONNECT",
            "at_tunnel",
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
        )
        .then(Step::Await(1))
        .then_send("hi")
        .then(Step::AwaitBytes(5))
        .origin(vec![
            Act::ReadBytes(2),
            Act::Send(b"hello".to_vec()),
            Act::Wait(BRIEF),
            Act::Close,
        ])
        .answers(0),
        case(
            "no tunnel",
            "at_tunnel",
            "GET /websocket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ),
        get("no tunnel asked for", "at_tunnel", "/origin"),
    ]
}

fn often() -> Vec<Case> {
    let slow = |name, listener| {
        get(name, listener, "/origin").origin(vec![
            Act::Read,
            Act::Wait(LONG),
            Act::Send(b"HTTP/1.1 200 OK\r\nx-foo: f\r\ncontent-length: 4\r\n\r\nab".to_vec()),
            Act::Wait(INTERVAL),
            Act::Send(b"cd".to_vec()),
        ])
    };
    vec![
        slow("slow", "often"),
        slow("slow, as before", "often_as_before"),
        get("quick", "often", "/origin"),
        websocket("often in a tunnel", "often", LONG),
        get("until a timeout", "often", "/timeout").origin([Act::Read, Act::Drain]),
        case("slow head", "often", "GET /origin HTTP/1.1\r\nho")
            .then(Step::Wait(LONG))
            .then_send("st: a\r\n\r\n")
            .origin(vec![
                Act::Read,
                Act::Wait(INTERVAL),
                Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()),
            ]),
        case(
            "slow body",
            "often",
            "POST /origin HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab",
        )
        .then(Step::Wait(LONG))
        .then_send("cd"),
    ]
}

#[test]
fn logs_are_written_when_envoy_writes_them() {
    let suite = Comparison {
        suite: Suite::Routing("log_flushes"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("logs_are_written_when_envoy_writes_them");
}
