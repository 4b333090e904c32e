//! The fault filter, and what routes say to filters.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::client::Step;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

/// A connection manager with the fault filter in front of the router.
macro_rules! manager {
    ($fields:literal, $fault:literal) => {
        concat!(
            "http_filters:\n- name: envoy.filters.http.fault\n",
            $fields,
            "  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault\n",
            $fault,
            "- name: envoy.filters.http.router\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
        )
    };
}

const fn listener(name: &'static str, manager: &'static str) -> Listener {
    Listener {
        name,
        manager,
        hosts: include_str!("fault/routes.yaml"),
    }
}

const LISTENERS: &[Listener] = &[
    listener(
        "abort",
        manager!(
            "",
            "    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "never",
        manager!(
            "",
            "    abort: { http_status: 418, percentage: { numerator: 0 } }\n    delay: { fixed_delay: 5s, percentage: { numerator: 0 } }\n"
        ),
    ),
    listener(
        "by_header",
        manager!(
            "",
            "    abort: { header_abort: {}, percentage: { numerator: 100 } }\n    delay: { header_delay: {}, percentage: { numerator: 100 } }\n    response_rate_limit: { header_limit: {}, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "grpc",
        manager!(
            "",
            "    abort: { grpc_status: 7, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "grpc_mapped",
        concat!(
            "local_reply_config: { mappers: [{ filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 400, runtime_key: none } } } }, status_code: 404, body: { inline_string: \"mapped %\" }, headers_to_add: [{ header: { key: x-mapper, value: m } }] }] }\n",
            manager!(
                "",
                "    abort: { grpc_status: 7, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "delay",
        manager!(
            "",
            "    delay: { fixed_delay: 0.1s, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "both",
        manager!(
            "",
            "    delay: { fixed_delay: 0.1s, percentage: { numerator: 100 } }\n    abort: { http_status: 503, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "headers",
        manager!(
            "",
            "    headers: [{ name: x-fault, string_match: { exact: \"yes\" } }]\n    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "cluster",
        manager!(
            "",
            "    upstream_cluster: other\n    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "nodes",
        manager!(
            "",
            "    downstream_nodes: [n1]\n    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "none_allowed",
        manager!(
            "",
            "    max_active_faults: 0\n    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "slow",
        manager!(
            "",
            "    response_rate_limit: { fixed_limit: { limit_kbps: 64 }, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "delay_long",
        manager!(
            "",
            "    delay: { fixed_delay: 60s, percentage: { numerator: 100 } }\n"
        ),
    ),
    listener(
        "delay_idle",
        concat!(
            "stream_idle_timeout: 0.2s\n",
            manager!(
                "",
                "    delay: { fixed_delay: 8s, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "delay_duration",
        concat!(
            "common_http_protocol_options: { max_stream_duration: 0.2s }\n",
            manager!(
                "",
                "    delay: { fixed_delay: 8s, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "delay_request",
        concat!(
            "request_timeout: 0.2s\n",
            manager!(
                "",
                "    delay: { fixed_delay: 0.5s, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "slow_duration",
        concat!(
            "common_http_protocol_options: { max_stream_duration: 0.3s }\n",
            manager!(
                "",
                "    response_rate_limit: { fixed_limit: { limit_kbps: 1 }, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "metadata",
        concat!(
            "access_log:\n- name: file\n  typed_config:\n",
            "    \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\n",
            "    path: \"{DIR}/metadata.log\"\n",
            "    log_format: { text_format_source: { inline_string: \"%DYNAMIC_METADATA(envoy.filters.http.fault:who)% %RESPONSE_FLAGS%\\n\" } }\n",
            manager!(
                "",
                "    filter_metadata: { who: chaos }\n    abort: { header_abort: {}, percentage: { numerator: 100 } }\n    delay: { header_delay: {}, percentage: { numerator: 100 } }\n    response_rate_limit: { header_limit: {}, percentage: { numerator: 100 } }\n"
            )
        ),
    ),
    listener(
        "turned_off",
        manager!(
            "  disabled: true\n",
            "    abort: { http_status: 418, percentage: { numerator: 100 } }\n"
        ),
    ),
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("other", ports.origin, ""),
        cluster("mirror", ports.mirror, ""),
    ]
    .concat()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const CHUNKS: &str = "5\r\nhello\r\n0\r\nx-a: b\r\n\r\n";
const RETRIED: &str = "x-to: retried\r\ncontent-length: 5\r\n";
const RETRIED_CHUNKED: &str = "x-to: retried\r\ntransfer-encoding: chunked\r\n";
const RETRIED_SMALL: &str = "x-to: retried-small\r\ncontent-length: 5\r\n";
const MIRRORED: &str = "x-to: mirrored\r\ncontent-length: 5\r\n";
const MIRRORED_CHUNKED: &str = "x-to: mirrored\r\ntransfer-encoding: chunked\r\n";

fn post(name: &'static str, listener: &'static str, fields: &str, body: &str) -> Case {
    case(
        name,
        listener,
        format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n{body}"),
    )
}

fn body(bytes: usize) -> String {
    "0123456789".repeat(bytes / 10)
}

/// Answers the second request only.
fn second_answers() -> Vec<Act> {
    let first = Act::Send(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let second = Act::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
    vec![Act::Read, Act::Turns(vec![vec![first], vec![second]])]
}

fn cases() -> Vec<Case> {
    const GRPC: &str = "content-type: application/grpc\r\n";
    let large = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 8000\r\n\r\n{}",
        "x".repeat(8000)
    );
    // It takes a second.
    let larger = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 64000\r\n\r\n{}",
        "x".repeat(64000)
    );
    vec![
        case("abort", "abort", get("/", "")),
        case(
            "abort of HEAD",
            "abort",
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .to_head(),
        case(
            "abort of a body",
            "abort",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        case("abort of gRPC", "abort", get("/", GRPC)),
        case("abort of no route", "abort", get("/nowhere", "")),
        case("abort of a direct response", "abort", get("/direct", "")),
        case("never", "never", get("/", "")),
        case("header abort absent", "by_header", get("/", "")),
        case(
            "header abort",
            "by_header",
            get("/", "x-envoy-fault-abort-request: 429\r\n"),
        ),
        case(
            "header abort too small",
            "by_header",
            get("/", "x-envoy-fault-abort-request: 199\r\n"),
        ),
        case(
            "header abort too large",
            "by_header",
            get("/", "x-envoy-fault-abort-request: 600\r\n"),
        ),
        case(
            "header abort no number",
            "by_header",
            get("/", "x-envoy-fault-abort-request: many\r\n"),
        ),
        case(
            "header abort gRPC",
            "by_header",
            get("/", "x-envoy-fault-abort-grpc-request: 5\r\n"),
        ),
        case(
            "header abort for gRPC",
            "by_header",
            get(
                "/",
                "content-type: application/grpc\r\nx-envoy-fault-abort-grpc-request: 5\r\n",
            ),
        ),
        case(
            "header abort percentage 0",
            "by_header",
            get(
                "/",
                "x-envoy-fault-abort-request: 429\r\nx-envoy-fault-abort-request-percentage: 0\r\n",
            ),
        ),
        case(
            "header abort percentage 100",
            "by_header",
            get(
                "/",
                "x-envoy-fault-abort-request: 429\r\nx-envoy-fault-abort-request-percentage: 100\r\n",
            ),
        ),
        case(
            "header delay",
            "by_header",
            get("/", "x-envoy-fault-delay-request: 50\r\n"),
        ),
        case(
            "header delay no number",
            "by_header",
            get("/", "x-envoy-fault-delay-request: x\r\n"),
        ),
        case(
            "header delay percentage 0",
            "by_header",
            get(
                "/",
                "x-envoy-fault-delay-request: 5000\r\nx-envoy-fault-delay-request-percentage: 0\r\n",
            ),
        ),
        case(
            "header throughput",
            "by_header",
            get("/", "x-envoy-fault-throughput-response: 64\r\n"),
        )
        .answer(&large),
        case(
            "header throughput no number",
            "by_header",
            get("/", "x-envoy-fault-throughput-response: x\r\n"),
        ),
        case("gRPC abort of gRPC", "grpc", get("/", GRPC)),
        case("gRPC abort of others", "grpc", get("/", "")),
        case("gRPC abort mapped", "grpc_mapped", get("/", GRPC)),
        case("gRPC abort mapped of others", "grpc_mapped", get("/", "")),
        case("abort of gRPC with a route's headers", "abort", get("/headers", GRPC)),
        case("abort with a route's headers", "abort", get("/headers", "")),
        case("gRPC abort with a route's headers", "grpc", get("/headers", GRPC)),
        case("gRPC abort of others with a route's headers", "grpc", get("/headers", "")),
        case("gRPC abort with a route's gRPC headers", "grpc", get("/grpc-headers", GRPC)),
        case("abort with a route's gRPC headers", "abort", get("/grpc-headers", GRPC)),
        case("gRPC abort with a route's status", "grpc", get("/grpc-status", GRPC)),
        case("gRPC abort whose status is removed", "grpc", get("/grpc-removed", GRPC)),
        case("gRPC abort mapped with a route's headers", "grpc_mapped", get("/grpc-headers", GRPC)),
        case("no gRPC abort with a route's headers", "never", get("/headers", GRPC)),
        case("delay", "delay", get("/", "")),
        case(
            "delay of a body",
            "delay",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        post("delay of a body in two parts", "delay", "content-length: 10\r\n", "hello")
            .then_send("world"),
        post("delay of half a body", "delay", "content-length: 10\r\n", "hello")
            .then(Step::AwaitRequest(5))
            .then_send("world"),
        post("delay of chunks", "delay", CHUNKED, CHUNKS),
        post("delay of no chunks", "delay", CHUNKED, "0\r\n\r\n"),
        post("delay of trailers alone", "delay", CHUNKED, "0\r\nx-a: b\r\n\r\n"),
        post("delay of broken chunks", "delay", CHUNKED, "5\r\nhello\r\nx\r\n"),
        post("delay of a large body", "delay", "content-length: 300000\r\n", &body(300_000)),
        post("delay of a body and the client leaves", "delay_long", "content-length: 5\r\n", "hello")
            .then(Step::AwaitStat("http.delay_long.fault.active_faults".into(), 1, None))
            .then(Step::Leave),
        post("delay of a body for a second host", "delay", RETRIED, "hello")
            .origin(second_answers()),
        post("delay of no chunks for a second host", "delay", RETRIED_CHUNKED, "0\r\n\r\n")
            .origin(second_answers()),
        post("delay of a body too large for a second host", "delay", RETRIED_SMALL, "hello")
            .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        post("delay of a body with a mirror", "delay", MIRRORED, "hello"),
        post("delay of chunks with a mirror", "delay", MIRRORED_CHUNKED, CHUNKS),
        post("delay and abort of a body", "both", "content-length: 5\r\n", "hello")
            .then(Step::Await(1))
            .then_send(get("/", ""))
            .answers(2),
        post("delay and abort of chunks", "both", CHUNKED, CHUNKS)
            .then(Step::Await(1))
            .then_send(get("/", ""))
            .answers(2),
        post("delay and abort of a body in two parts", "both", "content-length: 10\r\n", "hello")
            .then_send("world")
            .then(Step::Await(1))
            .then_send(get("/", ""))
            .answers(2),
        post("delay and abort of half a body", "both", "content-length: 10\r\n", "hello"),
        post("delay and abort of a large body", "both", "content-length: 300000\r\n", &body(300_000))
            .then(Step::Await(1))
            .then_send(get("/", ""))
            .answers(2),
        case("delay of no route", "delay", get("/nowhere", "")),
        case("delay and abort", "both", get("/", "")),
        case("headers match", "headers", get("/", "x-fault: yes\r\n")),
        case(
            "headers do not match",
            "headers",
            get("/", "x-fault: no\r\n"),
        ),
        case("cluster does not match", "cluster", get("/", "")),
        case("cluster matches", "cluster", get("/other", "")),
        case(
            "node matches",
            "nodes",
            get("/", "x-envoy-downstream-service-node: n1\r\n"),
        ),
        case(
            "node does not match",
            "nodes",
            get("/", "x-envoy-downstream-service-node: n2\r\n"),
        ),
        case("node absent", "nodes", get("/", "")),
        case("too many", "none_allowed", get("/", "")),
        case("slow", "slow", get("/", "")).answer(&large),
        case("slow and empty", "slow", get("/", ""))
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        case("slow direct response", "slow", get("/text", "")),
        case("slow HEAD", "slow", "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
            .to_head()
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 8000\r\n\r\n"),
        case("slow chunks", "slow", get("/", "")).answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        ),
        case("slow until close", "slow", get("/", "")).origin([
            Act::Read,
            Act::Send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
            Act::Close,
        ]),
        case("slow and then another", "slow", get("/text", "").repeat(2))
            .answers(2),
        case("slow beyond the route's timeout", "slow", get("/hurried", "")).answer(larger),
        case("slow beyond the stream's duration", "slow_duration", get("/text", "")).answers(0),
        case("delay beyond the idle timeout", "delay_idle", get("/", "")),
        case(
            "delay of half a request beyond the idle timeout",
            "delay_idle",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe",
        ),
        case("delay beyond a route's idle timeout", "delay_idle", get("/idle", "")),
        case("delay beyond the stream's duration", "delay_duration", get("/", "")),
        case(
            "delay of half a request beyond its timeout",
            "delay_request",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe",
        ),
        case("delay of a whole request beyond its timeout", "delay_request", get("/", "")),
        case("delay beyond the route's timeout", "delay_request", get("/hurried", "")),
        case("delay and the client leaves", "delay_long", get("/", ""))
            .then(Step::AwaitStat("http.delay_long.fault.active_faults".into(), 1, None))
            .then(Step::Leave),
        case("metadata of an abort", "metadata", get("/", "x-envoy-fault-abort-request: 503\r\n")),
        case("metadata of a delay", "metadata", get("/", "x-envoy-fault-delay-request: 20\r\n")),
        case(
            "no metadata of a limit",
            "metadata",
            get("/", "x-envoy-fault-throughput-response: 64\r\n"),
        ),
        case("no metadata without a fault", "metadata", get("/", "")),
        case("off", "turned_off", get("/", "")),
        case("on by a route", "turned_off", get("/on", "")),
        case("route's own", "abort", get("/own", "")),
        case("route turns it off", "abort", get("/off", "")),
        case(
            "virtual host's own",
            "abort",
            "GET / HTTP/1.1\r\nhost: own\r\n\r\n",
        ),
        case(
            "route before virtual host",
            "abort",
            "GET /off HTTP/1.1\r\nhost: own\r\n\r\n",
        ),
    ]
}

#[test]
fn faults_are_envoys() {
    Comparison {
        suite: Suite::Routing("fault"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("faults_are_envoys");
}
