//! Formats and filters of access logs, and the filters that speak of health.

use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::origin::Act;

pub fn cases() -> Vec<Case> {
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n")
    };
    let full = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
                x-a: \"quoted\"\r\ncontent-length: 2\r\n\r\nok";
    let bad = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    vec![
        case(
            "log default",
            "default_log",
            get("/p?q=1", "user-agent: test\r\n"),
        ),
        case("log default of little", "default_log", get("/", "")),
        case(
            "log default of odd bytes",
            "default_log",
            b"GET / HTTP/1.1\r\nhost: a\r\nuser-agent: \"\\\xff\t\r\nx-request-id: a\"b\r\n\r\n",
        ),
        case(
            "log default of an error",
            "default_log",
            "GET / HTTP/1.1\r\n\r\n",
        ),
        case(
            "log default of a post",
            "default_log",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case(
            "log JSON",
            "json_log",
            get("/p?q=1", "user-agent: test\r\n"),
        ),
        case(
            "log JSON of odd bytes",
            "json_log",
            b"GET /\"\\ HTTP/1.1\r\nhost: a\r\nuser-agent: \"\\\xff\xc3\xa4\t/\x20<&>\r\n\r\n",
        ),
        case("log JSON of an error", "json_log", "GET / HTTP/1.1\r\n\r\n"),
        case(
            "log odd operators",
            "odd_log",
            get("/p?q=1&r=2", "user-agent: long agent\r\nx-c: c\r\n"),
        )
        .answer(full),
        case(
            "log odd operators of little",
            "odd_log",
            get("/", "x-other: o\r\n"),
        ),
        case("log odd operators with trailers", "odd_log", get("/p", "")).answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: v\r\n\r\n",
        ),
        case(
            "log odd operators of an error",
            "odd_log",
            "GET / HTTP/1.1\r\n\r\n",
        ),
        case("log filter of statuses, not", "errors_log", get("/", "")),
        case("log filter of statuses", "errors_log", get("/", "")).answer(bad),
        case(
            "log filter of status and header",
            "errors_log",
            get("/", "x-log: 1\r\n"),
        ),
        case("log filter of a header", "header_log", get("/logged", "")),
        case(
            "log filter of a header, not",
            "header_log",
            get("/other", ""),
        ),
        case("log filter of flags", "flag_log", get("/", "")).origin(vec![Act::Read, Act::Close]),
        case("log filter of flags, not", "flag_log", get("/", "")),
        case("health check", "health", get("/healthz", "")),
        case(
            "health check by HEAD",
            "health",
            "HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case(
            "health check with body",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "health check with body, then another",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        )
        .then(Step::Await(1))
        .then_send(get("/healthz", ""))
        .answers(2),
        case(
            "health check with body that comes later",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab",
        )
        // Its first part is there by itself.
        .then(Step::AwaitStat(
            "http.health.downstream_rq_active".into(),
            1,
            None,
        ))
        .then_send("cd"),
        case(
            "health check whose body never comes",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab",
        )
        .then(Step::AwaitStat(
            "http.health.downstream_rq_active".into(),
            1,
            None,
        ))
        .then(Step::Leave),
        case(
            "health check in chunks",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nab\r\n0\r\n\r\n",
        ),
        case(
            "health check in bad chunks",
            "health",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        ),
        case(
            "health check of gRPC",
            "health",
            get("/healthz", "content-type: application/grpc\r\n"),
        ),
        case("health check, mapped", "health_mapped", get("/healthz", "")),
        case(
            "health check by HEAD, mapped",
            "health_mapped",
            "HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case(
            "health check with body, mapped",
            "health_mapped",
            "POST /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case("health check not", "health", get("/other", "")),
        case("suppressed headers", "suppressed", get("/", "")),
        case(
            "suppressed headers of a timeout",
            "suppressed",
            get("/timeout", ""),
        )
        .origin(vec![Act::Read, Act::Drain]),
        case(
            "suppressed headers of an overflow",
            "suppressed",
            get("/no-requests", ""),
        ),
    ]
}
