//! `local_reply_config`, and what gRPC clients are told: every kind of answer
//! that the proxy makes itself.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const ROUTES: &str = include_str!("local_replies/routes.yaml");

const fn replies(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: ROUTES,
    }
}

const LISTENERS: &[Listener] = &[
    replies("plain", ""),
    replies("mapped", include_str!("local_replies/mappers.yaml")),
    replies("bytes", include_str!("local_replies/bytes.yaml")),
    replies(
        "json",
        "local_reply_config: { body_format: { json_format: { code: \"%RESPONSE_CODE%\", text: \"%LOCAL_REPLY_BODY%\", path: \"%REQ(:path)%\" } } }",
    ),
    replies(
        "headers_only",
        "local_reply_config: { mappers: [{ filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: none } } } }, headers_to_add: [{ header: { key: content-type, value: text/mapper }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }] }] }",
    ),
    replies(
        "escaped",
        "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT\nlocal_reply_config: { body_format: { text_format_source: { inline_string: \"%RESPONSE_CODE% %RESP(location)%\" } } }",
    ),
    replies(
        "head_timeout",
        "request_headers_timeout: 0.1s\nlocal_reply_config: { body_format: { text_format_source: { inline_string: \"%RESPONSE_CODE% %LOCAL_REPLY_BODY% %REQ(:path)%\" } } }",
    ),
    replies(
        "flags",
        "local_reply_config: { mappers: [{ filter: { response_flag_filter: { flags: [DPE] } }, headers_to_add: [{ header: { key: x-filter, value: matched } }] }, { filter: { not_health_check_filter: {} }, headers_to_add: [{ header: { key: x-flags, value: \"%RESPONSE_FLAGS%\" } }] }], body_format: { text_format_source: { inline_string: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\" } } }",
    ),
    replies(
        "server_pass",
        "server_header_transformation: PASS_THROUGH\nserver_name: named\nlocal_reply_config: { mappers: [{ filter: { not_health_check_filter: {} }, headers_to_add: [{ header: { key: server, value: mapper } }] }] }",
    ),
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster(
            "full",
            ports.refused,
            "circuit_breakers: { thresholds: [ { max_pending_requests: 0 } ] }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

fn format(path: &str, format: &str) -> String {
    get_with(path, &format!("x-format: {format}\r\n"))
}

const GRPC: &str = "content-type: application/grpc\r\n";

fn grpc(path: &str) -> String {
    get_with(path, GRPC)
}

fn cases() -> Vec<Case> {
    let mut all = mapped();
    all.extend(formats());
    all.extend(errors());
    all.extend(grpc_requests());
    all.extend(logged_bytes());
    all
}

/// What the log says of the size of a reply's head, which is that of its
/// headers as they are before the codec adds its own.
fn logged_bytes() -> Vec<Case> {
    let asks = |name, line: &str, headers: &str| {
        case(name, "bytes", format!("{line}\r\nhost: a\r\n{headers}\r\n"))
    };
    let get = |name, path: &str, headers| asks(name, &format!("GET {path} HTTP/1.1"), headers);
    const CLOSE: &str = "connection: close\r\n";
    const GRPC: &str = "content-type: application/grpc\r\n";
    vec![
        get("bytes", "/direct", ""),
        get("bytes of nothing", "/unauthorized", ""),
        get("bytes of no content", "/no-content", ""),
        get("bytes of a redirect", "/redirect", ""),
        get("bytes and the end", "/direct", CLOSE),
        get("bytes of nothing and the end", "/unauthorized", CLOSE),
        get("bytes of a bad request", "/bad", ""),
        get("bytes of gRPC", "/none", GRPC),
        get("bytes of gRPC and the end", "/bad", GRPC),
        get("bytes of gRPC without message", "/unauthorized", GRPC),
        asks("bytes by HEAD", "HEAD /direct HTTP/1.1", "").to_head(),
        asks(
            "bytes of nothing by HEAD",
            "HEAD /unauthorized HTTP/1.1",
            "",
        )
        .to_head(),
        asks("bytes of gRPC by HEAD", "HEAD /none HTTP/1.1", GRPC).to_head(),
        asks(
            "bytes of a body not read",
            "POST /direct HTTP/1.1",
            "content-length: 3\r\n",
        ),
        asks("bytes of HTTP/1.0", "GET /direct HTTP/1.0", ""),
        asks(
            "bytes of nothing in HTTP/1.0",
            "GET /unauthorized HTTP/1.0",
            "",
        ),
        asks(
            "bytes of HTTP/1.0 that stays",
            "GET /direct HTTP/1.0",
            "connection: keep-alive\r\n",
        ),
        asks(
            "bytes of nothing by HEAD in HTTP/1.0",
            "HEAD /unauthorized HTTP/1.0",
            "",
        )
        .to_head(),
        case(
            "bytes of no request",
            "bytes",
            "GET / HTTP/1.1\r\nhost\r\n\r\n",
        ),
    ]
}

fn mapped() -> Vec<Case> {
    vec![
        case("flags of no request", "flags", "garbage\r\n\r\n"),
        case(
            "flags of a request without host",
            "flags",
            "GET / HTTP/1.1\r\n\r\n",
        ),
        case(
            "flags of two lengths",
            "flags",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        ),
        case(
            "flags of a bad chunk",
            "flags",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .then(Step::AwaitRequest(0))
        .then_send("zz\r\n")
        .origin([Act::ReadHead, Act::Drain]),
        case(
            "flags of a large head",
            "flags",
            get_with("/", &format!("x: {}\r\n", "y".repeat(62_000))),
        ),
        case("flags of a path with a fragment", "flags", get("/a#b")),
        case("flags of a relative path", "flags", get("*")),
        case(
            "flags of a refused upgrade",
            "flags",
            get_with("/", "connection: upgrade\r\nupgrade: foo\r\n"),
        ),
        case("flags of no connection", "flags", get("/refused")),
        case("mapped status", "mapped", get("/none")),
        case(
            "mapped no host",
            "mapped",
            "GET / HTTP/1.1\r\nhost: other\r\n\r\n",
        ),
        case("mapped to no content", "mapped", get("/gone")),
        case("mapped no content", "mapped", get("/no-content")),
        case("mapped by flag", "mapped", get("/refused")),
        case("mapped by duration", "mapped", get("/slow")).origin([Act::Read, Act::Drain]),
        case("mapped not", "mapped", get("/direct")),
        case("mapped redirect", "mapped", get("/redirect")),
        case(
            "mapped to HEAD",
            "mapped",
            "HEAD /none HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case("mapped no healthy host", "mapped", get("/empty")),
        case("mapped not upstream", "mapped", get("/"))
            .answer("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"),
        case(
            "mapped pipelined",
            "mapped",
            [get("/none"), get("/direct")].concat(),
        )
        .answers(2),
        case("headers only", "headers_only", get("/none")),
        case(
            "headers only of a typed body",
            "headers_only",
            get("/typed"),
        ),
        case("headers only of nothing", "headers_only", get("/teapot")),
        case("headers of the server", "server_pass", get("/direct")),
    ]
}

fn formats() -> Vec<Case> {
    vec![
        case("format json", "mapped", format("/direct", "json")),
        case(
            "format json of a redirect",
            "mapped",
            format("/redirect", "json"),
        ),
        case("format json of bytes", "mapped", format("/bad", "json")),
        case("format problem", "mapped", format("/direct", "problem")),
        case("format empty", "mapped", format("/direct", "empty")),
        case("format empty typed", "mapped", format("/typed", "empty")),
        case("format typed", "mapped", format("/direct", "typed")),
        case("format typed twice", "mapped", format("/typed", "typed")),
        case(
            "format retyped the same",
            "mapped",
            format("/typed", "retyped"),
        ),
        case("format bodiless", "mapped", format("/direct", "bodiless")),
        case("format same", "mapped", format("/typed", "same")),
        case("format same untyped", "mapped", format("/direct", "same")),
        case("format of a typed body", "mapped", get("/typed")),
        case("format facts", "mapped", format("/direct", "facts")),
        case(
            "format facts of no host",
            "mapped",
            format("/empty", "facts"),
        ),
        case("format omit", "mapped", format("/direct", "omit")),
        case("format json for all", "json", get("/direct?q=\"%22")),
        case("format json for all typed", "json", get("/typed")),
        case("format json for all refused", "json", get("/refused")),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        case(
            "error NUL",
            "mapped",
            "GET / HTTP/1.1\r\nhost: a\r\na: b\0c\r\n\r\n",
        ),
        case("error nonsense", "mapped", "nonsense\r\n\r\n"),
        case(
            "error version",
            "mapped",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        ),
        case(
            "error coding",
            "json",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        ),
        case("error no host header", "json", "GET / HTTP/1.1\r\n\r\n"),
        case(
            "error upgrade",
            "mapped",
            get_with("/", "connection: upgrade\r\nupgrade: other\r\n"),
        ),
        case("error escaped slash", "escaped", get("/a%2fb")),
        case("error escaped slash of gRPC", "escaped", grpc("/a%2fb")),
        case(
            "error escaped slash of grpc with parameters",
            "escaped",
            get_with("/a%2fb", "content-type: application/grpc; x=1\r\n"),
        ),
        case(
            "error head timeout",
            "head_timeout",
            "GET /x HTTP/1.1\r\nhost: a\r\n",
        ),
        case("error reset", "mapped", get("/")).origin([Act::Read, Act::Reset]),
        case("error of the host", "json", get("/")).answer("nonsense\r\n\r\n"),
        case(
            "error large head",
            "mapped",
            get_with("/", &format!("x: {}\r\n", "v".repeat(62_000))),
        ),
    ]
}

fn grpc_requests() -> Vec<Case> {
    let mut all = vec![
        case(
            "grpc json",
            "mapped",
            get_with("/direct", &format!("x-format: json\r\n{GRPC}")),
        ),
        case(
            "grpc problem",
            "mapped",
            get_with("/direct", &format!("x-format: problem\r\n{GRPC}")),
        ),
        case(
            "grpc to HEAD",
            "plain",
            format!("HEAD /direct HTTP/1.1\r\nhost: a\r\n{GRPC}\r\n"),
        )
        .to_head(),
        case("grpc mapped", "mapped", grpc("/none")),
        case("grpc mapped no content", "mapped", grpc("/gone")),
        case(
            "grpc by post",
            "mapped",
            format!("POST /none HTTP/1.1\r\nhost: a\r\n{GRPC}content-length: 5\r\n\r\nhello"),
        ),
        case(
            "grpc upgrade",
            "plain",
            get_with(
                "/",
                &format!("{GRPC}connection: upgrade\r\nupgrade: other\r\n"),
            ),
        ),
        case("grpc upstream", "plain", grpc("/"))
            .answer("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"),
        case("grpc timeout", "plain", grpc("/slow")).origin([Act::Read, Act::Drain]),
        case("grpc reset", "plain", grpc("/")).origin([Act::Read, Act::Reset]),
    ];
    for (name, path) in [
        ("grpc direct", "/direct"),
        ("grpc redirect", "/redirect"),
        ("grpc typed", "/typed"),
        ("grpc 204", "/no-content"),
        ("grpc 400", "/bad"),
        ("grpc 401", "/unauthorized"),
        ("grpc 403", "/forbidden"),
        ("grpc 404", "/none"),
        ("grpc 418", "/teapot"),
        ("grpc 429 with a status", "/busy"),
        ("grpc refused", "/refused"),
        ("grpc no healthy host", "/empty"),
        ("grpc overflow", "/full"),
        ("grpc no cluster", "/no-cluster"),
    ] {
        all.push(case(name, "plain", grpc(path)));
    }
    for (name, content_type) in [
        ("grpc proto", "application/grpc+proto"),
        ("grpc capitals", "Application/gRPC"),
        ("grpc parameters", "application/grpc; x=1"),
        ("grpc web", "application/grpc-web"),
    ] {
        let headers = format!("content-type: {content_type}\r\n");
        all.push(case(name, "plain", get_with("/none", &headers)));
    }
    all
}

#[test]
fn local_replies() {
    Comparison {
        suite: Suite::Routing("local_replies"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("local_replies");
}
