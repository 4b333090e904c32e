//! Headers that come on several lines, or that the configuration adds to others:
//! of those that Envoy knows there is one line, for hosts and clients, filters
//! and logs.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "plain",
        manager: "http_protocol_options: { enable_trailers: true }\n\
                  server_header_transformation: PASS_THROUGH",
        hosts: include_str!("repeated/routes.yaml"),
    },
    Listener {
        name: "internal",
        manager: "internal_address_config: { cidr_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }] }\n\
                  preserve_external_request_id: true",
        hosts: include_str!("repeated/routes.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    let options = r#"typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: { http_protocol_options: { enable_trailers: true } }
"#;
    cluster("origin", ports.origin, options)
}

/// All names that the proxy knows but those that decide about the framing, in
/// parts that are no larger than a message may be.
const NAMES: &[(&str, &str, &[&str])] = &[
    (
        "request: of the connection and the content",
        "response: of the connection and the content",
        &[
            "keep-alive",
            "proxy-connection",
            "te",
            "http2-settings",
            "content-type",
            "content-encoding",
            "content-language",
            "date",
            "server",
            "via",
            "user-agent",
            "accept",
            "accept-encoding",
            "accept-language",
            "accept-ranges",
            "range",
            "cookie",
            "set-cookie",
            "referer",
            "origin",
            "authorization",
            "authentication",
            "cdn-loop",
            "cache-control",
            "pragma",
            "expires",
            "age",
            "etag",
            "last-modified",
        ],
    ),
    (
        "request: of conditions and access",
        "response: of conditions and access",
        &[
            "location",
            "if-match",
            "if-none-match",
            "if-modified-since",
            "if-unmodified-since",
            "if-range",
            "vary",
            "retry-after",
            "www-authenticate",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-status",
            "forwarded",
            "access-control-allow-origin",
            "access-control-allow-methods",
            "access-control-allow-headers",
            "access-control-allow-credentials",
            "access-control-allow-private-network",
            "access-control-expose-headers",
            "access-control-max-age",
            "access-control-request-method",
            "access-control-request-headers",
            "access-control-request-private-network",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-client-cert",
            "x-client-trace-id",
        ],
    ),
    (
        "request: of the proxy",
        "response: of the proxy",
        &[
            "x-envoy-internal",
            "x-envoy-external-address",
            "x-envoy-downstream-service-cluster",
            "x-envoy-downstream-service-node",
            "x-envoy-attempt-count",
            "x-envoy-is-timeout-retry",
            "x-envoy-original-path",
            "x-envoy-original-host",
            "x-envoy-original-url",
            "x-envoy-original-method",
            "x-envoy-original-dst-host",
            "x-envoy-overloaded",
            "x-envoy-drop-overload",
            "x-envoy-unconditional-drop-overload",
            "x-envoy-degraded",
            "x-envoy-ratelimited",
            "x-envoy-upstream-healthchecked-cluster",
            "x-envoy-decorator-operation",
            "x-envoy-upstream-canary",
            "x-envoy-max-retries",
            "x-envoy-retry-on",
            "x-envoy-retry-grpc-on",
            "x-envoy-retriable-header-names",
            "x-envoy-retriable-status-codes",
            "x-envoy-force-trace",
            "x-envoy-ip-tags",
        ],
    ),
    (
        "request: of times, gRPC and traces",
        "response: of times, gRPC and traces",
        &[
            "x-envoy-upstream-alt-stat-name",
            "x-envoy-upstream-rq-timeout-alt-response",
            "x-envoy-upstream-rq-timeout-ms",
            "x-envoy-upstream-rq-per-try-timeout-ms",
            "x-envoy-upstream-stream-duration-ms",
            "x-envoy-hedge-on-per-try-timeout",
            "grpc-timeout",
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "grpc-accept-encoding",
            "traceparent",
            "tracestate",
            "b3",
            "x-b3-traceid",
            "x-b3-spanid",
            "x-b3-parentspanid",
            "x-b3-sampled",
            "x-b3-flags",
            "x-ot-span-context",
            "x-nobody-knows",
        ],
    ),
];

/// Each of `names` with a value, then each with another.
fn twice(names: &[&str]) -> String {
    let line = |value: &str| -> String {
        let lines = names.iter().map(|name| format!("{name}: {value}\r\n"));
        lines.collect()
    };
    [line("1"), line("2")].concat()
}

fn asks(name: &'static str, listener: &'static str, path: &str, headers: &str) -> Case {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    case(name, listener, request)
}

fn answers(name: &'static str, path: &str, headers: &str) -> Case {
    asks(name, "plain", path, "").answer(format!(
        "HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"
    ))
}

fn every_name() -> Vec<Case> {
    let both = NAMES.iter().flat_map(|(request, response, names)| {
        let lines = twice(names);
        [
            asks(request, "plain", "/all", &lines),
            answers(response, "/all", &lines),
        ]
    });
    both.collect()
}

fn values() -> Vec<Case> {
    vec![
        asks(
            "empty values of requests",
            "plain",
            "/all",
            "user-agent:\r\nx-a: 1\r\nuser-agent: 2\r\naccept: 1\r\naccept:\r\nvia:\r\nvia:\r\n\
             x-b:\r\nx-b: 2\r\nx-b:\r\n",
        ),
        answers(
            "empty values of responses",
            "/seen",
            "etag:\r\nx-a: 1\r\netag: 2\r\nvary: 1\r\nvary:\r\nvia:\r\nvia:\r\nset-cookie:\r\n\
             set-cookie: 2\r\n",
        ),
        asks(
            "three lines",
            "plain",
            "/all",
            "referer: 1\r\nReferer:  2 \r\nREFERER: 1,3\r\norigin: 1\r\nreferer: \"4\r\n",
        ),
        asks("cookies", "plain", "/all", "cookie: a=1\r\ncookie: b=2\r\n"),
        asks(
            "matched",
            "plain",
            "/matched",
            "user-agent: 1\r\nuser-agent: 2\r\n",
        ),
        asks(
            "a line is matched",
            "plain",
            "/matched",
            "accept-language: 1\r\naccept-language: 2\r\n",
        ),
        asks(
            "gRPC, then something else",
            "plain",
            "/grpc",
            "content-type: application/grpc\r\ncontent-type: text/plain\r\n",
        ),
        asks(
            "gRPC with a format, then something else",
            "plain",
            "/grpc",
            "content-type: application/grpc+a\r\ncontent-type: text/plain\r\n",
        ),
        asks(
            "gRPC behind an empty line",
            "plain",
            "/grpc",
            "content-type:\r\ncontent-type: application/grpc\r\n",
        ),
        asks("te", "plain", "/seen", "te: gzip\r\nte: trailers\r\n"),
        asks(
            "connection",
            "plain",
            "/seen",
            "connection: x-a\r\nconnection: x-b\r\nx-a: 1\r\nx-b: 1\r\nx-c: 1\r\n",
        ),
        asks(
            "forwarded for",
            "plain",
            "/all",
            "x-forwarded-for: 10.0.0.1\r\nx-forwarded-for: 192.0.2.1\r\n",
        ),
        asks(
            "expect",
            "plain",
            "/all",
            "expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 0\r\n",
        ),
        asks(
            "expect behind an empty line",
            "plain",
            "/all",
            "expect:\r\nexpect: 100-continue\r\ncontent-length: 0\r\n",
        ),
        case(
            "trailers of requests",
            "plain",
            "POST /all HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
             grpc-status: 1\r\nvia: 1\r\ngrpc-status: 2\r\nvia: 2\r\netag: 1\r\netag: 2\r\n\r\n",
        ),
        asks("trailers of responses", "plain", "/all", "").answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
             grpc-status: 1\r\nvia: 1\r\ngrpc-message: 1\r\ngrpc-status: 2\r\nvia: 2\r\n\
             grpc-message: 2\r\netag: 1\r\netag: 2\r\n\r\n",
        ),
    ]
}

fn obeyed() -> Vec<Case> {
    let inside = |name, path, headers: &str| {
        let headers = format!("x-forwarded-for: 10.0.0.1\r\n{headers}");
        asks(name, "internal", path, &headers)
    };
    vec![
        inside(
            "what the router reads",
            "/seen",
            &twice(&[
                "x-envoy-max-retries",
                "x-envoy-retry-on",
                "x-envoy-retriable-header-names",
                "x-envoy-retriable-status-codes",
                "x-envoy-upstream-rq-timeout-alt-response",
                "x-envoy-upstream-stream-duration-ms",
                "x-envoy-force-trace",
                "x-envoy-ip-tags",
                "x-envoy-original-url",
                "x-envoy-expected-rq-timeout-ms",
            ]),
        ),
        inside(
            "two times are none",
            "/seen",
            "x-envoy-upstream-rq-timeout-ms: 10000\r\nx-envoy-upstream-rq-timeout-ms: 20000\r\n",
        ),
        inside(
            "two times for a try are none",
            "/seen",
            "x-envoy-upstream-rq-per-try-timeout-ms: 1000\r\n\
             x-envoy-upstream-rq-per-try-timeout-ms: 2000\r\n",
        ),
        inside(
            "two reasons to retry",
            "/seen",
            "x-envoy-retry-on: reset\r\nx-envoy-retry-on: 5xx\r\n",
        )
        .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        inside(
            "two numbers of retries are none",
            "/seen",
            "x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 2\r\nx-envoy-max-retries: 3\r\n",
        )
        .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        inside(
            "two names for statistics",
            "/seen",
            "x-envoy-upstream-alt-stat-name: one\r\nx-envoy-upstream-alt-stat-name: two\r\n",
        ),
        inside(
            "two ids",
            "/seen",
            "x-request-id: one\r\nx-request-id: two\r\n",
        ),
        answers("a redirect to two places", "/redirected", "").answer(
            "HTTP/1.1 302 No\r\nlocation: /one\r\nlocation: /two\r\ncontent-length: 0\r\n\r\n",
        ),
        answers("two servers", "/all", "server: one\r\nserver: two\r\n"),
        answers(
            "two times of the host",
            "/all",
            "x-envoy-upstream-service-time: 1\r\nx-envoy-upstream-service-time: 2\r\n",
        ),
    ]
}

fn added() -> Vec<Case> {
    vec![
        asks(
            "added to requests",
            "plain",
            "/added",
            "user-agent: 1\r\nvia: 1\r\nproxy-status: 1\r\ncdn-loop: 1\r\nx-a: 1\r\ncookie: 1\r\nx-z: 1\r\n",
        ),
        asks(
            "added to requests without them",
            "plain",
            "/added",
            "x-via: 1\r\n",
        ),
        answers(
            "added to responses",
            "/added",
            "vary: 1\r\netag:\r\nproxy-status: 1\r\ncontent-type: a/a\r\ngrpc-status: 1\r\n\
             set-cookie: 1\r\nx-a: 1\r\nserver: 1\r\ndate: 1\r\n",
        ),
        answers("added to responses without them", "/added", ""),
    ]
}

fn cases() -> Vec<Case> {
    [every_name(), values(), obeyed(), added()].concat()
}

#[test]
fn repeated_headers_are_one_line_where_envoy_makes_one() {
    let suite = Comparison {
        suite: Suite::Routing("repeated"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("repeated_headers_are_one_line_where_envoy_makes_one");
}
