//! Headers that a proxy adds, removes or rewrites because of who its peers are.

use ringway_tests::case::{Case, case};

pub fn cases() -> Vec<Case> {
    let mut all = forwarded_for();
    all.extend(sanitised());
    all.extend(connection_options());
    all.extend(request_ids());
    all.extend(of_the_response());
    all.extend(hosts());
    all
}

fn get(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

const XFF_1: &str = "x-forwarded-for: 10.1.2.3\r\n";
const XFF_3: &str = "x-forwarded-for: 1.2.3.4, 10.1.2.3,5.6.7.8\r\n";

fn forwarded_for() -> Vec<Case> {
    vec![
        case("xff kept", "plain", get(XFF_1)),
        case("xff of three", "plain", get(XFF_3)),
        case(
            "xff twice",
            "plain",
            get("x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n"),
        ),
        case(
            "xff of nonsense",
            "plain",
            get("x-forwarded-for: nonsense\r\n"),
        ),
        case("edge without xff", "edge", get("")),
        case("edge with xff", "edge", get(XFF_1)),
        case("edge with three xff", "edge", get(XFF_3)),
        case("edge with a hop", "edge_one_hop", get(XFF_3)),
        case("edge with a hop too few", "edge_one_hop", get("")),
        case("one hop", "one_hop", get(XFF_3)),
        case("two hops", "two_hops", get(XFF_3)),
        case("two hops too few", "two_hops", get(XFF_1)),
        case("skip xff append", "skip_xff", get(XFF_1)),
        case("forwarded port", "forwarded_port", get("")),
        case(
            "forwarded proto untrusted",
            "plain",
            get("x-forwarded-proto: https\r\n"),
        ),
        case(
            "forwarded proto at the edge",
            "edge",
            get("x-forwarded-proto: https\r\n"),
        ),
        case(
            "forwarded proto with a hop",
            "edge_one_hop",
            get("x-forwarded-proto: https\r\n"),
        ),
        case(
            "forwarded proto nonsense",
            "plain",
            get("x-forwarded-proto: gopher\r\n"),
        ),
        case("scheme overwritten", "scheme_https", get("")),
        case("internal address", "internal", get(XFF_1)),
        case(
            "internal address of two",
            "internal",
            get("x-forwarded-for: 10.1.2.3, 10.1.2.4\r\n"),
        ),
        case("internal edge", "internal_edge", get("")),
        case("user agent added", "user_agent", get("")),
        case("user agent kept", "user_agent", get("user-agent: mine\r\n")),
    ]
}

const ENVOY_HEADERS: &str = "x-envoy-internal: true\r\nx-envoy-external-address: 9.9.9.9\r\n\
     x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 3\r\nx-envoy-upstream-rq-timeout-ms: 5000\r\n\
     x-envoy-upstream-rq-per-try-timeout-ms: 100\r\nx-envoy-expected-rq-timeout-ms: 1\r\n\
     x-envoy-original-path: /spoofed\r\nx-envoy-original-host: spoofed\r\nx-envoy-attempt-count: 9\r\n\
     x-envoy-decorator-operation: x\r\nx-envoy-force-trace: 1\r\nx-envoy-downstream-service-cluster: c\r\n\
     x-envoy-downstream-service-node: n\r\nx-envoy-upstream-alt-stat-name: s\r\nx-envoy-ip-tags: t\r\n\
     x-envoy-is-timeout-retry: 1\r\nx-envoy-unknown: kept\r\n";

fn sanitised() -> Vec<Case> {
    vec![
        case("envoy headers", "plain", get(ENVOY_HEADERS)),
        case("envoy headers at the edge", "edge", get(ENVOY_HEADERS)),
        case(
            "envoy headers of an internal client",
            "internal",
            get(&format!("{XFF_1}{ENVOY_HEADERS}")),
        ),
        case(
            "client certificate header",
            "plain",
            get("x-forwarded-client-cert: By=spoofed\r\n"),
        ),
        case(
            "client certificate header at the edge",
            "edge",
            get("x-forwarded-client-cert: By=spoofed\r\n"),
        ),
        case("referer", "plain", get("referer: http://x.example/\r\n")),
        case(
            "referer of nonsense",
            "plain",
            get("referer: not a url\r\n"),
        ),
        case(
            "trace headers",
            "plain",
            get("traceparent: 00-1-2-01\r\nx-b3-traceid: 1\r\nx-ot-span-context: y\r\n"),
        ),
        case("underscores kept", "plain", get("some_header: v\r\n")),
        case(
            "underscores refused",
            "reject_underscores",
            get("some_header: v\r\n"),
        ),
        case(
            "underscores dropped",
            "drop_underscores",
            get("some_header: v\r\nother: w\r\n"),
        ),
    ]
}

fn connection_options() -> Vec<Case> {
    vec![
        case(
            "connection nominates",
            "plain",
            get("connection: x-mine, keep-alive\r\nx-mine: v\r\nx-other: w\r\n"),
        ),
        case(
            "connection nominates host",
            "plain",
            get("connection: host\r\n"),
        ),
        case(
            "connection nominates authorization",
            "plain",
            get("connection: close, authorization\r\nauthorization: Basic x\r\n"),
        ),
        case(
            "connection nominates x-forwarded-for",
            "plain",
            get("connection: x-forwarded-for\r\nx-forwarded-for: 1.2.3.4\r\n"),
        ),
        case(
            "connection nominates x-forwarded-proto",
            "plain",
            get("connection: x-forwarded-proto\r\n"),
        ),
        case(
            "connection nominates content-length",
            "plain",
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: content-length\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "connection nominates te",
            "plain",
            get("connection: te\r\nte: trailers\r\n"),
        ),
        case(
            "connection nominates te of others",
            "plain",
            get("connection: te\r\nte: gzip, trailers\r\n"),
        ),
        case("te alone", "plain", get("te: gzip\r\n")),
        case(
            "hop by hop",
            "plain",
            get(
                "keep-alive: 5\r\nproxy-connection: close\r\nproxy-authorization: x\r\nproxy-authenticate: y\r\ntrailer: z\r\n",
            ),
        ),
        case(
            "proxy-connection close",
            "plain",
            get("proxy-connection: close\r\n"),
        ),
        case(
            "connection empty tokens",
            "plain",
            get("connection: , keep-alive ,\r\n"),
        ),
        case(
            "repeated headers",
            "plain",
            get("x-a: 1\r\nx-b: 2\r\nX-A: 3\r\ncookie: a=1\r\ncookie: b=2\r\n"),
        ),
        case(
            "white space around values",
            "plain",
            get("x-a: \t  v \t \r\nx-b:v\r\nx-c:\r\n"),
        ),
        case(
            "high bytes in a value",
            "plain",
            b"GET / HTTP/1.1\r\nhost: a\r\nx-a: \xff\x80\r\n\r\n",
        ),
    ]
}

const ID: &str = "x-request-id: 11111111-2222-4333-8444-555555555555\r\n";

fn request_ids() -> Vec<Case> {
    vec![
        case("request id kept", "plain", get(ID)),
        case(
            "request id replaced at the edge",
            "edge",
            get("x-request-id: spoofed\r\n"),
        ),
        case(
            "request id preserved",
            "keep_request_id",
            get("x-request-id: mine\r\n"),
        ),
        case(
            "request id in the response",
            "response_request_id",
            get("x-request-id: mine\r\n"),
        ),
        case("request id not generated", "no_request_id", get("")),
        case(
            "request id odd, inside",
            "plain",
            get("x-request-id: mine\r\n"),
        ),
    ]
}

fn of_the_response() -> Vec<Case> {
    const TWO: &str = "HTTP/1.1 200 OK\r\nserver: one\r\nx-between: 1\r\nserver: two\r\n\
                       content-length: 0\r\n\r\n";
    const WITH_SERVER: &str = "HTTP/1.1 200 OK\r\nserver: origin\r\ncontent-length: 0\r\n\r\n";
    const WITHOUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    vec![
        case("server overwritten", "server_named", get("")).answer(WITH_SERVER),
        case("server if absent, present", "server_if_absent", get("")).answer(WITH_SERVER),
        case("server if absent, absent", "server_if_absent", get("")).answer(WITHOUT),
        case("server passed, present", "server_pass", get("")).answer(WITH_SERVER),
        case("two servers overwritten", "server_named", get("")).answer(TWO),
        case("two servers if absent", "server_if_absent", get("")).answer(TWO),
        case("two servers passed", "server_pass", get("")).answer(TWO),
        case("server passed, absent", "server_pass", get("")).answer(WITHOUT),
        case("server passed, local reply", "server_pass", "GET /none HTTP/1.1\r\n\r\n"),
        case("via", "via", get("")).answer(WITHOUT),
        case("via appended", "via", get("via: first\r\n")).answer("HTTP/1.1 200 OK\r\nvia: last\r\ncontent-length: 0\r\n\r\n"),
        case("upstream service time sent", "plain", get(""))
            .answer("HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: 77\r\nx-envoy-overloaded: true\r\nx-envoy-degraded: true\r\ncontent-length: 0\r\n\r\n"),
        case("date of the upstream", "plain", get(""))
            .answer("HTTP/1.1 200 OK\r\ndate: yesterday\r\ncontent-length: 0\r\n\r\n"),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        case(
            "strip matching port",
            "strip_port",
            "GET / HTTP/1.1\r\nhost: a:80\r\n\r\n",
        ),
        case(
            "strip any port",
            "strip_any_port",
            "GET / HTTP/1.1\r\nhost: a:1234\r\n\r\n",
        ),
        case(
            "strip any port of IPv6",
            "strip_any_port",
            "GET / HTTP/1.1\r\nhost: [::1]:1234\r\n\r\n",
        ),
        case(
            "strip dot",
            "strip_dot",
            "GET / HTTP/1.1\r\nhost: a.example.:80\r\n\r\n",
        ),
        case(
            "user and password in host",
            "plain",
            "GET / HTTP/1.1\r\nhost: u:p@a\r\n\r\n",
        ),
        case("empty host", "plain", "GET / HTTP/1.1\r\nhost:\r\n\r\n"),
    ]
}
