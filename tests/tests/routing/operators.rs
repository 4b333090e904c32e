//! Every operator of format strings as a header's value: of the request, of the
//! host's response, and of the proxy's own.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const LISTENERS: &[Listener] = &[Listener {
    name: "operators",
    manager: "",
    hosts: include_str!("operators/routes.yaml"),
}];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
    ]
    .concat()
}

/// Operators whose values differ from run to run, by the paths of their routes.
const VARYING: &[&str] = &[
    "/vary/response-headers-bytes",
    "/vary/duration",
    "/vary/request-duration",
    "/vary/request-tx-duration",
    "/vary/response-duration",
    "/vary/response-tx-duration",
    "/vary/downstream-handshake-duration",
    "/vary/upstream-connection-pool-ready-duration",
    "/vary/connection-id",
    "/vary/upstream-connection-id",
    "/vary/upstream-connection-ids-attempted",
    "/vary/downstream-remote-port",
    "/vary/downstream-direct-remote-port",
    "/vary/upstream-local-port",
    "/vary/start-time-s",
    "/vary/common-duration-ds-rx-beg-ds-rx-end-us",
    "/vary/common-duration-ds-rx-beg-us-cx-beg-ns",
    "/vary/common-duration-ds-rx-beg-us-tx-beg-us",
    "/vary/common-duration-ds-rx-beg-us-rx-beg-us",
    "/vary/unique-id",
    "/vary/stream-id",
    "/vary/req-x-request-id",
];

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example:81\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    const ANSWER: &str =
        "HTTP/1.1 200 OK\r\nx-b: from origin\r\nx-c: c\r\ncontent-length: 2\r\n\r\nok";
    const UNAVAILABLE: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    const SENT: &str = "x-a: from client\r\n";
    const GRPC: &str = "x-a: from client\r\ncontent-type: application/grpc\r\n";
    let mut all = vec![
        case(
            "forwarded",
            "operators",
            get("/forwarded/a?q=value&b", SENT),
        )
        .answer(ANSWER),
        case("forwarded gRPC", "operators", get("/forwarded", GRPC)).answer(ANSWER),
        case(
            "forwarded with a body",
            "operators",
            "POST /forwarded HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .answer(ANSWER),
        case("direct", "operators", get("/direct/a?q=value&b", SENT)),
        case("direct gRPC", "operators", get("/direct", GRPC)),
        case("refused", "operators", get("/refused/a?q=value&b", SENT)),
        case("retried", "operators", get("/retried/a?q=value&b", SENT)).origin([
            Act::Read,
            Act::Turns(vec![
                vec![Act::Send(UNAVAILABLE.into())],
                vec![Act::Send(UNAVAILABLE.into())],
                vec![Act::Send(ANSWER.into())],
            ]),
        ]),
    ];
    all.extend(
        VARYING
            .iter()
            .map(|path| case(path, "operators", get(path, ""))),
    );
    all
}

#[test]
fn operators() {
    Comparison {
        suite: Suite::Routing("operators"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("operators");
}
