//! What leads to a route other than a list, and what is counted by route:
//! matcher trees, scopes, virtual clusters, `stat_prefix`, `require_tls`.

mod counted;
mod tls;

use ringway_tests::bootstrap::{Listener, cluster, empty_cluster};
use ringway_tests::case::Case;
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;

const LISTENERS: &[Listener] = &[
    Listener {
        name: "counted",
        manager: "",
        hosts: include_str!("trees/counted.yaml"),
    },
    Listener {
        name: "tls",
        manager: "",
        hosts: include_str!("trees/tls.yaml"),
    },
    Listener {
        name: "tls_edge",
        manager: "use_remote_address: true",
        hosts: include_str!("trees/tls.yaml"),
    },
];

fn clusters(ports: Ports) -> String {
    [
        cluster("origin", ports.origin, ""),
        cluster("refused", ports.refused, ""),
        cluster(
            "no_requests",
            ports.origin,
            "circuit_breakers: { thresholds: [{ max_requests: 0 }] }",
        ),
        cluster(
            "no_retries",
            ports.origin,
            "circuit_breakers: { thresholds: [{ max_retries: 0 }] }",
        ),
        cluster(
            "no_pending",
            ports.origin,
            "circuit_breakers: { thresholds: [{ max_pending_requests: 0 }] }",
        ),
        empty_cluster("empty"),
    ]
    .concat()
}

fn get(path: &str) -> String {
    get_with(path, "")
}

fn get_with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: own\r\n{headers}\r\n")
}

fn cases() -> Vec<Case> {
    let mut all = counted::cases();
    all.extend(tls::cases());
    all
}

#[test]
fn trees_lead_where_envoys_do() {
    Comparison {
        suite: Suite::Routing("trees"),
        listeners: LISTENERS,
        clusters,
        cases,
    }
    .run("trees_lead_where_envoys_do");
}
