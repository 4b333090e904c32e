//! Request mirroring: what copies look like, where they go, and that nothing
//! which happens to them is seen by the client.

use ringway_tests::bootstrap::{Listener, bootstrap, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;
use ringway_tests::programs;
use std::time::Duration;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "plain",
        manager: "",
        hosts: include_str!("mirroring/routes.yaml"),
    },
    Listener {
        name: "edge",
        manager: "use_remote_address: true",
        hosts: include_str!("mirroring/routes.yaml"),
    },
    Listener {
        name: "changed",
        manager: "",
        hosts: include_str!("mirroring/mutations.yaml"),
    },
    Listener {
        name: "upgrading",
        manager: "upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: foo }, { upgrade_type: CONNECT }]",
        hosts: include_str!("mirroring/routes.yaml"),
    },
    Listener {
        name: "trailers",
        manager: "http_protocol_options: { enable_trailers: true }",
        hosts: include_str!("mirroring/routes.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    let Ports {
        origin,
        mirror,
        refused,
        stuck,
    } = ports;
    const TRAILERS: &str = "typed_extension_protocol_options:\n  \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
         \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
         explicit_http_config: { http_protocol_options: { enable_trailers: true } }";
    [
        cluster("origin", origin, ""),
        cluster("mirror", mirror, ""),
        cluster("mirror2", mirror, ""),
        cluster("with_trailers", origin, TRAILERS),
        cluster("mirror_with_trailers", mirror, TRAILERS),
        cluster(
            "no_requests",
            mirror,
            "circuit_breakers: { thresholds: [{ max_requests: 0 }] }",
        ),
        cluster(
            "no_pending",
            mirror,
            "circuit_breakers: { thresholds: [{ max_pending_requests: 0 }] }",
        ),
        cluster("refused", refused, ""),
        cluster("stuck", stuck, "connect_timeout: 0.3s"),
        // Longer than anybody looks, however busy the machine is.
        cluster("kept_waiting", stuck, "connect_timeout: 3600s"),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: own\r\n{headers}\r\n")
}

fn to(host: &str) -> String {
    format!("GET /one HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: own\r\ncontent-length: 5\r\n\r\nhello")
}

fn cases() -> Vec<Case> {
    let mut all = copies();
    all.extend(changes());
    all.extend(targets());
    all.extend(failures());
    all.extend(interims());
    all.extend(upgrades());
    // Its connection is still being opened when it is over, which others would wait for.
    let stuck = "mirror is stuck for longer than the timeout";
    all.push(case(stuck, "plain", get("/slow-connect")));
    all
}

/// Mirrors that answer early.
fn interims() -> Vec<Case> {
    let after = |name, codes: &[u16]| {
        let heads = codes
            .iter()
            .map(|code| format!("HTTP/1.1 {code} Some\r\n\r\n"));
        let mut text: String = heads.collect();
        text.push_str("HTTP/1.1 204 Well\r\n\r\n");
        case(name, "plain", get("/one")).mirror(vec![Act::Read, Act::Send(text.into_bytes())])
    };
    vec![
        after("mirror answers 103 twice", &[103, 103]),
        after("mirror answers 102 and 100 first", &[102, 100]),
        after("mirror answers 150 first", &[150]),
        after("mirror answers 150 and 103 first", &[150, 103]),
    ]
}

/// Requests for another protocol.
fn upgrades() -> Vec<Case> {
    let switching = |to: &str| {
        let head = format!("HTTP/1.1 101 Now\r\nconnection: upgrade\r\nupgrade: {to}\r\n\r\n");
        Act::Send(head.into_bytes())
    };
    let talks = |to: &str| {
        let pong = Act::Send(b"pong".to_vec());
        let rest = [Act::ReadBytes(4), pong, Act::ReadToEnd, Act::Close];
        [vec![Act::ReadHead, switching(to)], rest.to_vec()].concat()
    };
    let asks = |name, path, to: &str| {
        let fields = format!("connection: upgrade\r\nupgrade: {to}\r\n");
        case(name, "upgrading", get_with(path, &fields))
    };
    let talk = |name, path, to: &str| {
        asks(name, path, to)
            .then(Step::Await(1))
            // The end of the request is that of the copy as well.
            .then(Step::AwaitStill)
            .then_send("ping")
            .then(Step::AwaitBytes(4))
            .then(Step::AwaitStill)
            .then(Step::Leave)
            .origin(talks(to))
    };
    let no = b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno";
    let refuses = || vec![Act::ReadHead, Act::Send(no.to_vec())];
    let refuses_late = || {
        let mut acts = refuses();
        acts.insert(1, Act::AwaitRelease);
        acts
    };
    let asks_late = |name, path, to: &str| {
        asks(name, path, to)
            .then(Step::AwaitRequest(0))
            .then(Step::AwaitStill)
            .then(Step::Release)
            .origin(refuses_late())
    };
    vec![
        talk("upgrade, mirror answers", "/one", "websocket"),
        talk("upgrade to foo, mirror answers", "/one", "foo"),
        talk("upgrade, mirror refuses", "/one", "websocket").mirror(refuses()),
        talk("upgrade, mirror switches", "/one", "websocket").mirror(vec![
            Act::ReadHead,
            switching("websocket"),
            Act::ReadToEnd,
            Act::Close,
        ]),
        talk("upgrade, mirror switches and closes", "/one", "websocket").mirror(vec![
            Act::ReadHead,
            switching("websocket"),
            Act::Close,
        ]),
        talk("upgrade, mirror closes", "/one", "websocket").mirror(vec![Act::ReadHead, Act::Close]),
        talk("upgrade, several mirrors", "/several", "websocket"),
        asks_late("upgrade refused", "/one", "websocket"),
        asks_late("upgrade refused, mirror switches", "/one", "foo").mirror(vec![
            Act::ReadHead,
            switching("foo"),
            Act::ReadToEnd,
            Act::Close,
        ]),
        case(
            "connect",
            "upgrading",
            "CONNECT connected:443 HTTP/1.1\r\nhost: connected:443\r\n\r\n",
        )
        .to_head()
        .then(Step::Await(1))
        .then_send("ping")
        .then(Step::AwaitBytes(4))
        .then(Step::Leave)
        .origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            Act::ReadBytes(4),
            Act::Send(b"pong".to_vec()),
            Act::ReadToEnd,
            Act::Close,
        ]),
    ]
}

fn copies() -> Vec<Case> {
    let chunked = |path: &str, trailer: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: own\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailer}\r\n"
        )
    };
    vec![
        case("copy", "plain", get("/one?a=b")),
        case(
            "copy behind other proxies",
            "plain",
            get_with("/one", "x-forwarded-for: 1.2.3.4, 10.0.0.1\r\n"),
        ),
        case("copy at the edge", "edge", get("/one")),
        case(
            "copy at the edge of an internal client",
            "edge",
            get_with(
                "/one",
                "x-forwarded-for: 10.0.0.1\r\nx-envoy-internal: true\r\n",
            ),
        ),
        case(
            "copy to head",
            "plain",
            "HEAD /one HTTP/1.1\r\nhost: own\r\n\r\n",
        )
        .to_head(),
        case(
            "copy with a port",
            "plain",
            "GET /one HTTP/1.1\r\nhost: own:8080\r\n\r\n",
        ),
        case("copy with a body", "plain", post("/one")),
        case("copy with a body in pieces", "plain", post("/one")).in_pieces(7),
        case("copy of chunks", "plain", chunked("/one", "")),
        case(
            "copy of trailers not enabled",
            "plain",
            chunked("/one", "t: 1\r\n"),
        ),
        case(
            "copy of trailers",
            "trailers",
            chunked("/trailers", "t: 1\r\n"),
        ),
        case(
            "copy of an empty body",
            "plain",
            "POST /one HTTP/1.1\r\nhost: own\r\ncontent-length: 0\r\n\r\n",
        ),
        case(
            "copy of a large body",
            "plain",
            format!(
                "POST /one HTTP/1.1\r\nhost: own\r\ncontent-length: 300000\r\n\r\n{}",
                "x".repeat(300_000)
            ),
        ),
        case("copy as it is", "plain", get("/as-is")),
        case("copy to another host", "plain", get("/literal")),
        case("copy after rewrites", "plain", get("/rewritten/a")),
        case(
            "copy consumes the headers of the router",
            "edge",
            get_with(
                "/one",
                "x-forwarded-for: 10.0.0.1\r\nx-envoy-max-retries: 0\r\nx-envoy-upstream-rq-timeout-ms: 2000\r\n",
            ),
        ),
        case("copy twice on one connection", "plain", get("/one"))
            .then(Step::Await(1))
            // The first copy is over, and its connection free.
            .then(Step::AwaitStill)
            .then_send(get("/one"))
            .answers(2),
        case("copy of an important request", "plain", get("/important")),
    ]
}

/// `request_headers_mutations`
fn changes() -> Vec<Case> {
    let changed = |name, path: &str| {
        case(
            name,
            "changed",
            get_with(path, "x-in: 1\r\nx-in: 2\r\naccept: a\r\nuser-agent: u\r\n"),
        )
    };
    vec![
        changed("changed by adding", "/append"),
        changed("changed one after the other", "/order"),
        changed("changed by removing", "/remove"),
        changed("changed by what matches", "/match/exact"),
        changed("changed by what matches, most", "/match/prefix"),
        changed("changed by what matches, another case", "/match/case"),
        changed("changed by what matches, any case", "/match/any-case"),
        changed("changed by what matches, regex", "/match/regex"),
        changed("changed by what matches, host", "/match/host"),
        changed("changed by what matches, all", "/match/all"),
        changed("changed by actions", "/actions"),
        changed("changed by empty values", "/empty"),
        changed("changed by joining", "/join"),
        changed("changed by values", "/values/a?b"),
        changed("changed by hostile values", "/hostile?q=a%0d%0ab:%20c"),
        changed("changed expectation removed", "/timeout/removed"),
        changed("changed expectation", "/timeout/changed"),
        changed("changed each in its way", "/each"),
        changed("changed by the virtual host", "/"),
        case("changed by values, with a body", "changed", post("/values")),
        case("changed length", "changed", post("/length")),
        case("changed length in pieces", "changed", post("/length")).in_pieces(60),
        case("changed length by match", "changed", post("/match/length")),
        case("changed length of nothing", "changed", get("/length")),
    ]
}

/// What is wrong with a change is refused, here with the place of it.
#[test]
fn mutations_that_cannot_be_are_refused() {
    let envoy = programs::envoy("mutations_that_cannot_be_are_refused");
    for (mutation, path, envoy_refuses) in [
        ("", "[0]", true),
        (
            "remove_on_match: {}",
            "[0].remove_on_match.key_matcher",
            true,
        ),
        ("append: {}", "[0].append.header", true),
        (
            "append: { header: { key: ':path', value: /a } }",
            "[0].append.header.key",
            true,
        ),
        (
            "append: { header: { key: host, value: a } }",
            "[0].append.header.key",
            true,
        ),
        (
            "append: { header: { key: a, value: '%NONE%' } }",
            "[0].append.header.value",
            true,
        ),
        (
            "append: { header: { key: a, value: a }, append: true, append_action: ADD_IF_ABSENT }",
            "[0].append.append",
            true,
        ),
        (
            "remove_on_match: { key_matcher: { safe_regex: { regex: '(' } } }",
            "[0].remove_on_match.key_matcher.safe_regex.regex",
            true,
        ),
        // Envoy sends what is no request, or not the end of one.
        ("remove: ''", "[0].remove", false),
        ("remove: ':path'", "[0].remove", false),
        ("remove: host", "[0].remove", false),
        (
            "append: { header: { key: 'a b', value: a } }",
            "[0].append.header.key",
            false,
        ),
        (
            "append: { header: { key: content-length, value: '3' } }",
            "[0].append.header.key",
            false,
        ),
    ] {
        let hosts = format!(
            "- name: h\n  domains: ['*']\n  routes:\n  - match: {{ prefix: / }}\n    route: \
             {{ cluster: origin, request_mirror_policies: [{{ cluster: origin, \
             request_headers_mutations: [{{ {mutation} }}] }}] }}\n",
        );
        let listener = Listener {
            name: "l",
            manager: "",
            hosts: hosts.leak(),
        };
        let text = bootstrap(&[listener], &cluster("origin", 1, ""));
        let ours = programs::refusal(&programs::ringway(), &text).expect("refused");
        let path = format!("request_mirror_policies[0].request_headers_mutations{path}");
        assert!(ours.contains(&path), "{mutation}: {ours}");
        if let Some(envoy) = &envoy {
            let theirs = programs::refusal(envoy, &text);
            assert_eq!(theirs.is_some(), envoy_refuses, "{mutation}: {theirs:?}");
        }
    }
}

fn targets() -> Vec<Case> {
    vec![
        case("target of the virtual host", "plain", to("of.host")),
        case("target of nobody", "plain", to("elsewhere")),
        case("targets", "plain", get("/several")),
        case("targets with a body", "plain", post("/several")),
        case(
            "target by header",
            "plain",
            get_with("/header", "x-mirror: mirror\r\n"),
        ),
        case(
            "target by header first value",
            "plain",
            get_with("/header", "x-mirror: mirror\r\nx-mirror: refused\r\n"),
        ),
        case(
            "target by header unknown",
            "plain",
            get_with("/header", "x-mirror: unknown\r\n"),
        ),
        case(
            "target by header empty",
            "plain",
            get_with("/header", "x-mirror:\r\n"),
        ),
        case("target by header absent", "plain", get("/header")),
        case("target unknown", "plain", get("/unknown")),
        case("target never", "plain", get("/never")),
        case("target always", "plain", get("/always")),
        case("target of a direct response", "plain", get("/direct")),
    ]
}

fn failures() -> Vec<Case> {
    let answer = |text: &str| vec![Act::Read, Act::Send(text.as_bytes().to_vec())];
    // It says this, and when that is read, it ends.
    let ends = |name, text: &str| {
        let end = vec![Act::AwaitRelease, Act::Close];
        case(name, "plain", get("/one"))
            .then(Step::Await(1))
            .then(Step::AwaitStill)
            .then(Step::Release)
            .mirror([answer(text), end].concat())
    };
    vec![
        case("mirror refuses", "plain", get("/refused")),
        case("mirror refuses a body", "plain", post("/refused")),
        case("mirror is stuck", "plain", post("/stuck")),
        case("mirror has no hosts", "plain", post("/empty")),
        case("mirror is full", "plain", get("/no-requests")),
        case("mirror is full with a body", "plain", post("/no-requests")),
        case(
            "mirror has no room for waiting requests",
            "plain",
            get("/no-pending"),
        ),
        case("mirror closes", "plain", get("/one")).mirror(vec![Act::Read, Act::Close]),
        case("mirror resets", "plain", post("/one")).mirror(vec![Act::Read, Act::Reset]),
        case("mirror answers nonsense", "plain", get("/one")).mirror(answer("nonsense\r\n\r\n")),
        case("mirror answers 503", "plain", get("/one"))
            .mirror(answer("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno")),
        case("mirror answers 100 first", "plain", get("/one")).mirror(answer(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Well\r\n\r\n",
        )),
        ends(
            "mirror answers and closes",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        ),
        case("mirror answers until it closes", "plain", get("/one")).mirror(vec![
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\nok".to_vec()),
            Act::Close,
        ]),
        ends(
            "mirror breaks off",
            "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok",
        ),
        case("mirror is slower than the timeout", "plain", get("/short")).mirror(vec![
            Act::Read,
            Act::Wait(Duration::from_millis(1500)),
            Act::Close,
        ]),
        case(
            "mirror answers after the client has gone",
            "plain",
            get("/one"),
        )
        .mirror(
            [
                vec![Act::Read, Act::Wait(Duration::from_millis(600))],
                answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")[1..].to_vec(),
            ]
            .concat(),
        ),
        case(
            "client breaks off",
            "plain",
            "POST /one HTTP/1.1\r\nhost: own\r\ncontent-length: 10\r\n\r\nhello",
        )
        .then(Step::AwaitRequest(5))
        .then(Step::AwaitStill)
        .then(Step::Leave),
        case("primary unknown", "plain", get("/primary/unknown")),
        case("primary without hosts", "plain", get("/primary/empty")),
        case("primary refuses", "plain", get("/primary/refused")),
        case("primary refuses a body", "plain", post("/primary/refused")),
        case("primary has no room", "plain", get("/primary/no-pending")),
        case("primary answers 500", "plain", get("/one"))
            .answer("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
        case(
            "primary answers before the body",
            "plain",
            "POST /one HTTP/1.1\r\nhost: own\r\ncontent-length: 10\r\n\r\nabc",
        )
        .origin(vec![
            Act::ReadHead,
            Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
            Act::Drain,
        ]),
    ]
}

#[test]
fn mirroring() {
    Comparison {
        suite: Suite::Routing("mirroring"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("mirroring");
}
