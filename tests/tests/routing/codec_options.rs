//! Options of the HTTP/1 codec: methods that it does not know, upgrades that
//! are not heard, and whether a bad request costs the client its connection.

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const HOSTS: &str = r#"
- name: all
  domains: ["*"]
  routes:
  - match: { path: /foo, headers: [ { name: ":method", string_match: { exact: FOO } } ] }
    direct_response: { status: 200, body: { inline_string: "a custom method" } }
  - match: { path: /direct-400 }
    direct_response: { status: 400, body: { inline_string: "bad" } }
  - match: { prefix: "/" }
    route: { cluster: origin }
"#;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "custom",
        manager: "http_protocol_options: { allow_custom_methods: true }",
        hosts: HOSTS,
    },
    Listener {
        name: "usual",
        manager: "normalize_path: true",
        hosts: HOSTS,
    },
    Listener {
        name: "stays",
        manager: "normalize_path: true\nstream_error_on_invalid_http_message: true\n\
                  common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }",
        hosts: HOSTS,
    },
    Listener {
        name: "stays_by_codec",
        manager: "normalize_path: true\n\
                  http_protocol_options: { override_stream_error_on_invalid_http_message: true }",
        hosts: HOSTS,
    },
    Listener {
        name: "overridden",
        manager: "normalize_path: true\nstream_error_on_invalid_http_message: true\n\
                  http_protocol_options: { override_stream_error_on_invalid_http_message: false }",
        hosts: HOSTS,
    },
    Listener {
        name: "deaf",
        manager: "http_protocol_options:\n  ignore_http_11_upgrade:\n  - exact: foo\n  \
                  - prefix: TLS/\n  - { exact: websocket, ignore_case: true }\n\
                  upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: foo }, { upgrade_type: bar }]",
        hosts: EVERYTHING_TO_ORIGIN,
    },
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

fn cases() -> Vec<Case> {
    let mut all = methods();
    all.extend(upgrades());
    all.extend(bad_requests());
    all
}

fn methods() -> Vec<Case> {
    let ask = |name, method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        case(name, "custom", request)
    };
    vec![
        ask("custom method", "BAR", "/x"),
        ask("custom method that is routed", "FOO", "/foo"),
        ask("lower case", "get", "/x"),
        ask("mixed case", "Head", "/x"),
        ask("token of signs", "A1-_!", "/x"),
        ask("method with a dash", "M-SEARCH", "/x"),
        ask("known method", "GET", "/x"),
        ask("no token", "G=", "/x"),
        ask("control byte", "G\u{1}T", "/x"),
        ask("asterisk", "FOO", "*"),
        ask("the preface's method", "PRI", "/x"),
        ask("the preface's method and target", "PRI", "*"),
        ask("absolute target", "FOO", "http://b/x"),
        ask("CONNECT of a path", "CONNECT", "/x"),
        case(
            "custom method with body",
            "custom",
            "FOO /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "custom method with chunks",
            "custom",
            "FOO /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        ),
        case(
            "custom method where it is not allowed",
            "usual",
            "FOO /x HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}

fn upgrades() -> Vec<Case> {
    let ask = |name, upgrade: &str, connection: &str| {
        let request = format!(
            "GET /x HTTP/1.1\r\nhost: a\r\nupgrade: {upgrade}\r\nconnection: {connection}\r\n\
             x-private: 1\r\nhttp2-settings: b\r\n\r\n"
        );
        case(name, "deaf", request)
    };
    vec![
        ask("ignored", "foo", "upgrade"),
        ask("ignored by prefix", "TLS/1.2", "Upgrade"),
        ask("ignored in any case", "WebSocket", "keep-alive, upgrade"),
        ask("ignored and closed", "foo", "upgrade, close"),
        ask("ignored with nominations", "foo", "upgrade, x-private"),
        ask("all of several ignored", "foo,TLS/1.0", "upgrade"),
        ask("not asked for", "foo", "keep-alive"),
        ask("other case", "FOO", "upgrade"),
        ask("not ignored", "bar", "upgrade"),
        ask("one of several ignored", "foo, bar", "upgrade"),
        ask("two of four ignored", "bar, foo, baz, TLS/1.0", "upgrade"),
        ask("h2c", "h2c", "upgrade, http2-settings"),
        case(
            "ignored, with body",
            "deaf",
            "POST /x HTTP/1.1\r\nhost: a\r\nupgrade: foo\r\nconnection: upgrade\r\n\
             content-length: 2\r\n\r\nab",
        ),
        case(
            "ignored, in two lines",
            "deaf",
            "GET /x HTTP/1.1\r\nhost: a\r\nupgrade: foo\r\nupgrade: TLS/1.0\r\n\
             connection: upgrade\r\n\r\n",
        ),
    ]
}

/// The names of a case on the listeners `usual`, `stays`, `stays_by_codec` and
/// `overridden`, what it sends, and whether the codec lets it through.
type Bad = ([&'static str; 4], &'static str, bool);

const BAD: &[Bad] = &[
    (
        [
            "no host",
            "no host, stays",
            "no host, stays by codec",
            "no host, overridden",
        ],
        "GET /x HTTP/1.1\r\nx-a: b\r\n\r\n",
        true,
    ),
    (
        [
            "fragment",
            "fragment, stays",
            "fragment, stays by codec",
            "fragment, overridden",
        ],
        "GET /x#f HTTP/1.1\r\nhost: a\r\n\r\n",
        true,
    ),
    (
        [
            "bad path",
            "bad path, stays",
            "bad path, stays by codec",
            "bad path, overridden",
        ],
        "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        true,
    ),
    (
        [
            "QUERY",
            "QUERY, stays",
            "QUERY, stays by codec",
            "QUERY, overridden",
        ],
        "QUERY /x HTTP/1.1\r\nhost: a\r\n\r\n",
        true,
    ),
    (
        [
            "direct 400",
            "direct 400, stays",
            "direct 400, stays by codec",
            "direct 400, overridden",
        ],
        "GET /direct-400 HTTP/1.1\r\nhost: a\r\n\r\n",
        true,
    ),
    (
        [
            "bad host",
            "bad host, stays",
            "bad host, stays by codec",
            "bad host, overridden",
        ],
        "GET /x HTTP/1.1\r\nhost: a b\r\n\r\n",
        false,
    ),
    (
        [
            "bad field",
            "bad field, stays",
            "bad field, stays by codec",
            "bad field, overridden",
        ],
        "GET /x HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n",
        false,
    ),
    (
        [
            "coding",
            "coding, stays",
            "coding, stays by codec",
            "coding, overridden",
        ],
        "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        false,
    ),
    (
        [
            "version",
            "version, stays",
            "version, stays by codec",
            "version, overridden",
        ],
        "GET /x HTTP/1.0\r\nhost: a\r\n\r\n",
        false,
    ),
];

const NEXT: &str = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

fn bad_requests() -> Vec<Case> {
    let listeners = ["usual", "stays", "stays_by_codec", "overridden"];
    let mut all = vec![];
    for (names, request, is_let_through) in BAD {
        for (name, listener) in names.iter().zip(listeners) {
            let stays = *is_let_through && listener.starts_with("stays");
            let bad = case(name, listener, request);
            all.push(match stays {
                true => bad.then(Step::Await(1)).then_send(NEXT).answers(2),
                false => bad,
            });
        }
    }
    for (name, listener, answers) in [("pipelined", "usual", 1), ("pipelined, stays", "stays", 2)] {
        let both = format!("GET /x HTTP/1.1\r\nx-a: b\r\n\r\n{NEXT}");
        all.push(case(name, listener, both).answers(answers));
    }
    for (name, listener) in [
        ("body not here yet", "usual"),
        ("body not here yet, stays", "stays"),
    ] {
        let request = "POST /x HTTP/1.1\r\ncontent-length: 2\r\n\r\na";
        all.push(case(name, listener, request));
    }
    for (name, listener) in [("bad chunk", "usual"), ("bad chunk, stays", "stays")] {
        let request = "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        all.push(case(name, listener, request));
    }
    all.push(case(
        "underscore, stays",
        "stays",
        "GET /x HTTP/1.1\r\nhost: a\r\nx_y: 1\r\n\r\n",
    ));
    all
}

#[test]
fn options_of_the_codec_do_what_envoys_do() {
    let suite = Comparison {
        suite: Suite::Routing("codec_options"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("options_of_the_codec_do_what_envoys_do");
}
