//! What a request is answered with that is never routed, or that its cluster
//! cannot take, is what is told of it: the status, what a gRPC client is told
//! instead, and the details.

use crate::asking::{Request, connect, get, line_of, text};
use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::observation::{Observation, Ports, Scene};
use ringway_tests::process::Program;
use ringway_tests::programs;
use serde_json::Value;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - { match: { path: "/gone" }, direct_response: { status: 410 } }
  - { match: { path: "/made" }, direct_response: { status: 201 } }
  - { match: { path: "/moved" }, redirect: { path_redirect: /new } }
  - { match: { path: "/empty" }, route: { cluster: empty } }
  - { match: { path: "/nowhere" }, route: { cluster: nowhere } }
  - { match: { path: "/dropped" }, route: { cluster: dropped } }
  - { match: { path: "/partly" }, route: { cluster: partly } }
  - { match: { path: "/nothing" }, non_forwarding_action: {} }
  - { match: { prefix: "/x" }, route: { cluster: origin } }
"#;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "mends",
        manager: "normalize_path: true\n\
                  path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT\n\
                  common_http_protocol_options: { max_headers_count: 10, \
                  headers_with_underscores_action: DROP_HEADER }",
        hosts: HOSTS,
    },
    Listener {
        name: "old",
        manager: "http_protocol_options: { accept_http_10: true, \
                  default_host_for_http_10: old.example }",
        hosts: HOSTS,
    },
    Listener {
        name: "rejects",
        manager: "normalize_path: true\n\
                  path_with_escaped_slashes_action: REJECT_REQUEST\n\
                  proxy_100_continue: true\n\
                  http_protocol_options: { allow_chunked_length: false }\n\
                  common_http_protocol_options: { \
                  headers_with_underscores_action: REJECT_REQUEST }",
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    let dropping = |name: &str, share: &str| {
        format!(
            "- name: {name}\n  type: STATIC\n  load_assignment:\n    cluster_name: {name}\n    \
             endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: \
             127.0.0.1, port_value: {} }} }} }} }} ] }} ]\n    policy:\n      drop_overloads:\n      \
             - {{ category: all, drop_percentage: {share} }}\n",
            ports.origin
        )
    };
    cluster("origin", ports.origin, "")
        + &empty_cluster("empty")
        + &dropping("dropped", "{ numerator: 100 }")
        + &dropping("partly", "{ numerator: 25, denominator: TEN_THOUSAND }")
}

/// What is refused does not depend on the driver.
fn scene() -> Scene {
    let program = Program::Ringway(programs::drivers()[0]);
    Scene::start(&program, LISTENERS, clusters)
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

const fn with(method: &'static str, request: Request) -> Request {
    Request { method, ..request }
}

const fn old(request: Request) -> Request {
    Request {
        protocol: "HTTP/1.0",
        ..request
    }
}

const REQUESTS: &[Request] = &[
    get("a", "/x", &[]),
    get("a", "/gone", &[]),
    get("a", "/gone", &[GRPC]),
    get("a", "/made", &[]),
    get("a", "/moved", &[]),
    get("a", "/moved", &[GRPC]),
    get("a", "/empty", &[]),
    get("a", "/empty", &[GRPC]),
    get("a", "/nowhere", &[]),
    get("a", "/nowhere", &[GRPC]),
    get("a", "/dropped", &[]),
    get("a", "/dropped", &[GRPC]),
    get("a", "/nothing", &[GRPC]),
    get("a", "/none", &[]),
    get("a", "/none", &[GRPC]),
    get("a", "/none", &[("content-type", "application/grpc-web")]),
    with("HEAD", get("a", "/none", &[GRPC])),
    // Hosts.
    get("a b", "/x", &[]),
    get("a/b", "/x", &[]),
    get("a:99999", "/x", &[]),
    get("[::1]:80", "/x", &[]),
    get("a", "/x", &[("host", "b")]),
    get("a", "/x", &[("connection", "host")]),
    // Methods.
    with("FOO", get("a", "/x", &[])),
    with("get", get("a", "/x", &[])),
    with("QUERY", get("a", "/x", &[])),
    with("QUERY", get("a", "/x", &[("content-type", "text/plain")])),
    // Paths.
    get("a", "x", &[]),
    get("a", "/x y", &[]),
    get("a", "/x#y", &[]),
    get("a", "/x#y", &[GRPC]),
    get("a", "*", &[]),
    with("OPTIONS", get("a", "*", &[])),
    with("OPTIONS", get("a", "*", &[GRPC])),
    get("a", "http://b/x?y", &[]),
    get("a", "http://b?y", &[]),
    get("a", "http://b", &[]),
    get("a", "ftp://b/x", &[]),
    get("a", "https://b/x", &[]),
    get("a", "http://u@b/x", &[]),
    get("a", "/x/../gone", &[]),
    get("a", "/x%2Fy", &[]),
    get("a", "/x%2Fy", &[GRPC]),
    get("a", "/x%00y", &[]),
    // Framing.
    with("POST", get("a", "/x", &[("content-length", "zero")])),
    with(
        "POST",
        get(
            "a",
            "/x",
            &[("content-length", "0"), ("content-length", "0")],
        ),
    ),
    with(
        "POST",
        get(
            "a",
            "/x",
            &[("content-length", "1"), ("content-length", "2")],
        ),
    ),
    with("POST", get("a", "/x", &[("content-length", "1, 2")])),
    with("POST", get("a", "/x", &[("content-length", "+1")])),
    with("POST", get("a", "/x", &[("content-length", "")])),
    with("POST", get("a", "/x", &[("content-length", "0x1")])),
    with(
        "POST",
        get("a", "/x", &[("content-length", "99999999999999999999")]),
    ),
    with("POST", get("a", "/x", &[("transfer-encoding", "gzip")])),
    with(
        "POST",
        get(
            "a",
            "/x",
            &[("transfer-encoding", "chunked"), ("content-length", "0")],
        ),
    ),
    with("POST", get("a", "/x", &[("content-length", "0")])),
    connect("a:80", &[("content-length", "9")]),
    connect("a", &[]),
    connect("a:80", &[]),
    // The old protocol, which one listener takes.
    old(get("a", "/x", &[])),
    old(get("", "/x", &[])),
    old(get("", "/moved", &[])),
    old(get("a b", "/x", &[])),
    old(get("a", "/gone", &[])),
    old(get("a", "x", &[])),
    old(get("a", "http://b/moved", &[])),
    old(get("a", "/x", &[("connection", "keep-alive")])),
    old(get(
        "a",
        "/x",
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    )),
    old(with("POST", get("a", "/x", &[("content-length", "0")]))),
    old(with(
        "POST",
        get("a", "/x", &[("transfer-encoding", "chunked")]),
    )),
    // Headers.
    get("a", "/x", &[("x_y", "1"), ("x-y", "2")]),
    get("a", "/x", &[("connection", "x-forwarded-for")]),
    get("a", "/x", &[("connection", ":path")]),
    with(
        "POST",
        get(
            "a",
            "/x",
            &[("expect", "100-continue"), ("content-length", "0")],
        ),
    ),
    with(
        "POST",
        get(
            "a",
            "/gone",
            &[("expect", "100-continue"), ("content-length", "0")],
        ),
    ),
    get(
        "a",
        "/x",
        &[
            ("a1", ""),
            ("a2", ""),
            ("a3", ""),
            ("a4", ""),
            ("a5", ""),
            ("a6", ""),
            ("a7", ""),
            ("a8", ""),
            ("a9", ""),
            ("a10", ""),
        ],
    ),
];

/// What comes of a request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: Option<String>,
    grpc_status: Option<String>,
    location: Option<String>,
    /// Of answers that are told with details.
    details: Option<String>,
    /// Request line, `expect`, and the headers with and without an underscore.
    sent: Option<[Option<String>; 4]>,
}

impl Outcome {
    fn told(told: &Value) -> Self {
        let answer = &told["answer"];
        let value = |value: &Value| (!value.is_null()).then(|| text(value));
        let note = answer["note"].as_str().unwrap_or_default();
        let details = note.split("details ").nth(1);
        let sent = told["request_as_it_is_sent_upstream"]["items"].as_array();
        let header = |name: &str| {
            let found = sent?.iter().find(|line| line["name"] == name)?;
            Some(text(&found["value"]))
        };
        let line = || {
            let target = header(":path").or_else(|| header(":authority"))?;
            Some(format!("{} {target} HTTP/1.1", header(":method")?))
        };
        Self {
            status: value(&answer["value"]),
            grpc_status: value(&answer["grpc_status"]["value"]),
            location: (note.strip_prefix("redirect to "))
                .or_else(|| Some(note.split_once("location ")?.1))
                .map(str::to_owned),
            details: details.map(|rest| rest.split(';').next().unwrap_or(rest).to_owned()),
            sent: sent.map(|_| [line(), header("expect"), header("x_y"), header("x-y")]),
        }
    }

    /// `expected` says which details are told at all.
    fn seen(seen: &Observation, expected: &Self) -> Self {
        let get = |name: &str| seen.get(name).cloned();
        let header = |name: &str| get(&format!("upstream[0].header.{name}"));
        let sent = get("upstream[0].line")
            .map(|line| [Some(line), header("expect"), header("x_y"), header("x-y")]);
        // The last response: a 100 may come before it.
        let last =
            (0..).take_while(|number| seen.contains_key(&format!("response[{number}].line")));
        let last = last.last().unwrap_or_default();
        let of_response = |name: &str| get(&format!("response[{last}].header.{name}"));
        Self {
            status: sent.is_none().then(|| get("log[0].code")).flatten(),
            grpc_status: of_response("grpc-status"),
            location: of_response("location"),
            details: expected.details.as_ref().and(get("log[0].details")),
            sent,
        }
    }
}

/// Which ones they are is a matter of chance, so the rest is told as well.
#[test]
fn the_part_that_a_cluster_refuses_is_told() {
    let scene = scene();
    let told = get("a", "/partly", &[]).ask(&scene, LISTENERS[0].name, "");
    let dropped = &told["drop_overload"];
    assert_eq!(dropped["value"], "0.25%", "{told:#}");
    let line = line_of(&scene, &dropped["set_at"]);
    assert!(line.contains("numerator: 25"), "{line}");
    let note = text(&dropped["note"]);
    assert!(note.contains("flag DO"), "{note}");
    assert!(!told["request_as_it_is_sent_upstream"].is_null());
    let told = get("a", "/x", &[]).ask(&scene, LISTENERS[0].name, "");
    assert!(told["drop_overload"].is_null(), "{told:#}");
}

#[test]
fn refusals_are_what_happens() {
    let scene = scene();
    for listener in LISTENERS {
        for request in REQUESTS {
            let mut case = request.case(listener.name);
            if request.method == "HEAD" {
                case = case.to_head();
            }
            let seen = scene.play(&case);
            let told = request.ask(&scene, listener.name, "");
            let outcome = Outcome::told(&told);
            assert_eq!(
                outcome,
                Outcome::seen(&seen, &outcome),
                "{} {request:?}\n{told:#}\n{seen:#?}",
                listener.name
            );
        }
    }
}

#[test]
fn what_is_taken_off_is_told() {
    let scene = scene();
    let told = get("a", "/x", &[("x_y", "1"), ("a_b", "1")]).ask(&scene, "mends", "");
    let note = "without 2 headers that have an underscore in their names";
    assert_eq!(told["request_as_it_is_routed"]["note"], note, "{told:#}");

    let expecting = get("a", "/x", &[("expect", "100-continue")]);
    let told = expecting.ask(&scene, "mends", "");
    let note = "the proxy tells the client to go on (100); the host is not asked";
    assert_eq!(told["expect"]["note"], note, "{told:#}");
    let told = expecting.ask(&scene, "rejects", "");
    assert!(told["expect"].is_null(), "{told:#}");
}

/// A request that names no host names what the client connects to.
#[test]
fn without_a_host_the_listener_is_the_host() {
    let scene = scene();
    let answer = scene
        .process
        .admin()
        .get("/explain?format=json&listener=mends&path=/moved");
    let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let told = &told["listeners"]["items"][0];
    let expected = format!("redirect to http://{}/new", scene.address("mends"));
    assert_eq!(told["answer"]["note"], expected, "{told:#}");
}
