//! Answers that a filter gives, or the connection manager: their headers run
//! through every filter, also through those behind the one that has answered.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const HOSTS: &str = include_str!("answering_filters/hosts.yaml");

const LISTENERS: &[Listener] = &[
    Listener {
        name: "behind",
        manager: include_str!("answering_filters/behind.yaml"),
        hosts: HOSTS,
    },
    Listener {
        name: "before",
        manager: include_str!("answering_filters/before.yaml"),
        hosts: HOSTS,
    },
];

fn clusters(ports: Ports) -> String {
    cluster("origin", ports.origin, "")
}

const CLOSE: &str = "connection: close\r\n";

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for listener in ["behind", "before"] {
        for (what, line, headers) in [
            ("proxied", "GET /ok HTTP/1.1", ""),
            ("aborted", "GET /ok HTTP/1.1", "x-abort: 1\r\n"),
            (
                "aborted on a route without a page",
                "GET /plain HTTP/1.1",
                "x-abort: 1\r\n",
            ),
            ("aborted by HEAD", "HEAD /ok HTTP/1.1", "x-abort: 1\r\n"),
            (
                "aborted in gRPC",
                "GET /ok HTTP/1.1",
                "x-abort: 1\r\ncontent-type: application/grpc\r\n",
            ),
            ("health", "GET /health HTTP/1.1", ""),
            ("no route", "GET /nowhere HTTP/1.1", ""),
            ("direct", "GET /direct HTTP/1.1", ""),
            ("redirect", "GET /redirect HTTP/1.1", ""),
            ("bad request", "GET /a%zz HTTP/1.1", "content-length: x\r\n"),
            ("bad path", "GET /a%2fb HTTP/1.1", ""),
            (
                "upgrade that nobody wants",
                "GET /ok HTTP/1.1",
                "connection: upgrade\r\nupgrade: x\r\n",
            ),
            ("low version", "GET /ok HTTP/1.0", ""),
        ] {
            let name = format!("{listener}: {what}");
            let host = if line.ends_with("1.0") {
                ""
            } else {
                "host: a\r\n"
            };
            let close = if headers.contains("upgrade") {
                ""
            } else {
                CLOSE
            };
            let bytes = format!("{line}\r\n{host}{headers}{close}\r\n");
            let one = case(name.leak(), listener, bytes);
            all.push(match line.starts_with("HEAD") {
                true => one.to_head(),
                false => one,
            });
        }
    }
    all
}

#[test]
fn answers_run_through_every_filter_as_in_envoy() {
    Comparison {
        suite: Suite::Routing("answering_filters"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("answers_run_through_every_filter_as_in_envoy");
}
