//! `header_key_format`: how names of headers look on the wire, on either side.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

/// The fields of a connection manager whose HTTP/1 options have these names.
macro_rules! names {
    ($names:literal) => {
        concat!(
            "via: me\nproxy_100_continue: true\nhttp_protocol_options:\n  enable_trailers: true\n",
            "  accept_http_10: true\n",
            $names
        )
    };
}

macro_rules! proper {
    () => {
        "  header_key_format: { proper_case_words: {} }\n"
    };
}

macro_rules! preserved {
    ($options:literal) => {
        concat!(
            "  header_key_format: { stateful_formatter: { name: any, typed_config: { \"@type\": ",
            "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.",
            "PreserveCaseFormatterConfig",
            $options,
            " } } }\n"
        )
    };
}

const HOSTS: &str = include_str!("header_names/routes.yaml");

const LISTENERS: &[Listener] = &[
    Listener {
        name: "usual",
        manager: names!(""),
        hosts: HOSTS,
    },
    Listener {
        name: "proper",
        manager: concat!(names!(""), proper!()),
        hosts: HOSTS,
    },
    Listener {
        name: "preserved",
        manager: concat!(names!(""), preserved!("")),
        hosts: HOSTS,
    },
    Listener {
        name: "preserved_and_proper",
        manager: concat!(
            names!(""),
            preserved!(", formatter_type_on_envoy_headers: PROPER_CASE")
        ),
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    let named = |name: &str, port, names: &str| {
        let options = format!(
            "typed_extension_protocol_options:\n  \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n    \
             \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n    \
             explicit_http_config:\n      http_protocol_options:\n        enable_trailers: true\n      {names}"
        );
        cluster(name, port, &options)
    };
    let full =
        preserved!(", forward_reason_phrase: true, formatter_type_on_envoy_headers: PROPER_CASE");
    [
        named("origin", ports.origin, ""),
        named("proper", ports.origin, proper!()),
        named("preserved", ports.origin, preserved!("")),
        named("full", ports.origin, full),
        named("mirror", ports.mirror, ""),
        named("proper_mirror", ports.mirror, proper!()),
    ]
    .concat()
}

const ANSWER: &str = "HTTP/1.1 200 Very GOOD\r\nX-FOO: a\r\nx-fOO: b\r\ncontent-Length: 2\r\n\
                      SERVER: x\r\nfoo_bar: 1\r\nx--a-: 2\r\nX1y.z: 3\r\nDATE: d\r\n\r\nok";

/// The name of a case on a listener, in the order of [`LISTENERS`].
type Names = [&'static str; 4];

fn on_each(names: Names, request: &str, answer: &str) -> Vec<Case> {
    let each = names.iter().zip(LISTENERS);
    each.map(|(name, listener)| case(name, listener.name, request).answer(answer))
        .collect()
}

fn cases() -> Vec<Case> {
    let get = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHOST: h\r\nX-My-HEADER: 1\r\nx-MY-header: 2\r\nx_Y-z: 3\r\n\
             USER-agent: u\r\nX-REQUEST-ID: abc\r\nfoo!bar-baz1q: 4\r\nX-Remove: 5\r\nX-A: 6\r\n\
             {more}\r\n"
        )
    };
    let mut all = vec![];
    for (names, path) in [
        (
            ["usual", "proper", "preserved", "preserved and proper"],
            "/origin",
        ),
        (
            [
                "usual to proper",
                "proper to proper",
                "preserved to proper",
                "preserved and proper to proper",
            ],
            "/proper",
        ),
        (
            [
                "usual to preserved",
                "proper to preserved",
                "preserved to preserved",
                "preserved and proper to preserved",
            ],
            "/preserved",
        ),
        (
            [
                "usual to full",
                "proper to full",
                "preserved to full",
                "preserved and proper to full",
            ],
            "/full",
        ),
        (
            [
                "usual, mirrored",
                "proper, mirrored",
                "preserved, mirrored",
                "preserved and proper, mirrored",
            ],
            "/mirrored",
        ),
        (
            [
                "usual, mirrored to proper",
                "proper, mirrored to proper",
                "preserved, mirrored to proper",
                "preserved and proper, mirrored to proper",
            ],
            "/mirrored-proper",
        ),
        (
            [
                "usual, direct",
                "proper, direct",
                "preserved, direct",
                "preserved and proper, direct",
            ],
            "/direct",
        ),
        (
            [
                "usual, nothing",
                "proper, nothing",
                "preserved, nothing",
                "preserved and proper, nothing",
            ],
            "/nothing",
        ),
    ] {
        all.extend(on_each(names, &get(path, ""), ANSWER));
    }
    all.extend(on_each(
        [
            "usual, refused",
            "proper, refused",
            "preserved, refused",
            "preserved and proper, refused",
        ],
        "GET / HTTP/1.1\r\nHOST: a b\r\nX-A: 1\r\n\r\n",
        ANSWER,
    ));
    all.extend(on_each(
        [
            "usual, trailers",
            "proper, trailers",
            "preserved, trailers",
            "preserved and proper, trailers",
        ],
        "POST /full HTTP/1.1\r\nhOst: h\r\nTRANSFER-encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\
         X-TRailer: 1\r\nY-tr: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-ENCODING: chunked\r\n\r\n2\r\nok\r\n0\r\nX-TRailer: 1\r\n\r\n",
    ));
    all.extend(on_each(
        [
            "usual, without length",
            "proper, without length",
            "preserved, without length",
            "preserved and proper, without length",
        ],
        "POST /proper HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n",
        "HTTP/1.1 200 OK\r\nCONTENT-length: 0\r\n\r\n",
    ));
    all.extend(statuses());
    all.extend(upgrades());
    all.push(
        case("redirected", "preserved", get("/redirected", "")).origin(vec![
            Act::Read,
            Act::Turns(vec![
                vec![Act::Send(
                    b"HTTP/1.1 302 Found\r\nLocation: /full\r\ncontent-length: 0\r\n\r\n".to_vec(),
                )],
                vec![Act::Send(ANSWER.into())],
            ]),
        ]),
    );
    all.push(
        case("two requests", "preserved", get("/full", ""))
            .then(Step::Await(1))
            .then_send("GET /full HTTP/1.1\r\nhoST: a\r\nX-other: 1\r\n\r\n")
            .answers(2)
            .answer(ANSWER),
    );
    all.push(case("cut", "preserved", get("/full", "")).in_pieces(7));
    all.push(case(
        "whole URL",
        "preserved",
        "GET http://b/full HTTP/1.1\r\nhOsT: a\r\n\r\n",
    ));
    all
}

fn statuses() -> Vec<Case> {
    let get = |name, answer: &str| {
        case(name, "usual", "GET /full HTTP/1.1\r\nhost: a\r\n\r\n").answer(answer)
    };
    vec![
        get(
            "no reason",
            "HTTP/1.1 200\r\nX-FOO: b\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get(
            "empty reason",
            "HTTP/1.1 200 \r\nX-FOO: b\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get("reason of 204", "HTTP/1.1 204 Nothing\r\nX-FOO: b\r\n\r\n"),
        get(
            "unknown status",
            "HTTP/1.1 299 Odd\r\nX-FOO: b\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get(
            "continued",
            "HTTP/1.1 100 Go on\r\nX-FOO: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get(
            "early hints",
            "HTTP/1.1 103 Hints\r\nX-FOO: b\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get(
            "processing",
            "HTTP/1.1 102 Wait\r\nX-FOO: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        get(
            "two interim responses",
            "HTTP/1.1 103 A\r\nX-FOO: b\r\n\r\nHTTP/1.1 100 B\r\nX-FOO: c\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
        case(
            "processing, usual",
            "usual",
            "GET /origin HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answer("HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n"),
        case(
            "early hints, usual",
            "usual",
            "GET /origin HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answer(
            "HTTP/1.1 103 Hints\r\nX-FOO: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n",
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    let upgrade = |name, listener, path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHOST: h\r\nUPGRADE: websocket\r\nconnectION: upgrade\r\n\r\n"
        );
        case(name, listener, request)
            .then(Step::Await(1))
            .origin(vec![
                Act::Read,
                Act::Send(
                    b"HTTP/1.1 101 Switch\r\nConnection: UPGRADE\r\nupGRADE: websocket\r\n\r\n"
                        .to_vec(),
                ),
                Act::Close,
            ])
            .answers(0)
    };
    vec![
        upgrade("upgrade, usual", "usual", "/websocket"),
        upgrade("upgrade, proper", "proper", "/websocket"),
        upgrade("upgrade, preserved", "preserved", "/websocket"),
    ]
}

#[test]
fn names_look_as_envoys_do() {
    let suite = Comparison {
        suite: Suite::Routing("header_names"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("names_look_as_envoys_do");
}
