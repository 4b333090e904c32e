//! `%CEL(…)%` in headers of requests, of responses and of the proxy's own
//! answers, and in access logs.

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use ringway_tests::origin::Act;

const LISTENERS: &[Listener] = &[Listener {
    name: "cel",
    manager: include_str!("cel/manager.yaml"),
    hosts: include_str!("cel/routes.yaml"),
}];

fn clusters(ports: Ports) -> String {
    let origin = cluster(
        "origin",
        ports.origin,
        "metadata: { filter_metadata: { cns: { k: of cluster } } }",
    );
    let with_host = "lb_endpoints:\n      - metadata: { filter_metadata: { uns: { k: of host } } }\n        endpoint";
    [
        origin.replace("lb_endpoints:\n      - endpoint", with_host),
        cluster("refused", ports.refused, ""),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example:81\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nx-b: one\r\nx-b: two\r\ncontent-length: 2\r\n\r\nok";
    const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\ngrpc-status: 5\r\nx-t: t\r\n\r\n";
    const UNAVAILABLE: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    const SENT: &str = "x-a: Alpha\r\nx-n: 42\r\nx-dup: 1\r\nx-dup: 2\r\nx-name: X-N\r\n\
         cookie: a=1\r\ncookie: b=2\r\nreferer: http://r/\r\nuser-agent: ua/1\r\n";
    vec![
        case("forwarded", "cel", get("/forwarded/a?q=v&b", SENT)).answer(ANSWER),
        case("forwarded without headers", "cel", get("/forwarded", "")).answer(ANSWER),
        case(
            "forwarded with a body",
            "cel",
            "POST /forwarded HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        )
        .answer(ANSWER),
        case(
            "odd bytes",
            "cel",
            get("/forwarded/%20?", "x-odd: \u{e9}\"\\\t.\r\nx-n: 4x\r\n"),
        )
        .answer(ANSWER),
        case("direct", "cel", get("/direct/a?q=v&b", SENT)),
        case("refused", "cel", get("/refused/a?q=v&b", SENT)),
        case("trailers", "cel", get("/logged?a?b", SENT)).answer(WITH_TRAILERS),
        case("HEAD", "cel", "HEAD /logged HTTP/1.1\r\nhost: a\r\n\r\n")
            .answer(ANSWER)
            .to_head(),
        case("retried", "cel", get("/retried", SENT)).origin([
            Act::Read,
            Act::Turns(vec![
                vec![Act::Send(UNAVAILABLE.into())],
                vec![Act::Send(ANSWER.into())],
            ]),
        ]),
        case("all tries fail", "cel", get("/retried", SENT)).answer(UNAVAILABLE),
        case("no host", "cel", get("/empty", SENT)),
        case("no route", "cel", get("/nowhere", SENT)),
        case(
            "no head",
            "cel",
            "GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        ),
    ]
}

#[test]
fn cel() {
    Comparison {
        suite: Suite::Routing("cel"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("cel");
}
