//! Health checks of this proxy that are about its clusters
//! (`cluster_min_healthy_percentages`).

use ringway_tests::bootstrap::{EVERYTHING_TO_ORIGIN, Listener, cluster, empty_cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::Comparison;
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::Ports;
use std::fmt::Write as _;

/// A listener whose health check wants these percentages.
macro_rules! wants {
    ($name:literal, $percentages:literal) => {
        wants!($name, $percentages, "false")
    };
    ($name:literal, $percentages:literal, $pass_through:literal) => {
        Listener {
            name: $name,
            manager: concat!(
                "http_filters:\n- name: health\n  typed_config:\n",
                "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck\n",
                "    pass_through_mode: ",
                $pass_through,
                "\n    headers: [{ name: \":path\", string_match: { exact: \"/check\" } }]\n",
                "    cluster_min_healthy_percentages: {",
                $percentages,
                "}\n",
                "- name: router\n  typed_config:\n",
                "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
            ),
            hosts: EVERYTHING_TO_ORIGIN,
        }
    };
}

const LISTENERS: &[Listener] = &[
    wants!("enough", "half: { value: 50 }"),
    wants!("a_part_more", "half: { value: 50.9 }"),
    wants!("too_few", "half: { value: 51 }"),
    wants!("third", "third: { value: 33 }"),
    wants!("third_part", "third: { value: 33.9 }"),
    wants!("third_too_few", "third: { value: 34 }"),
    wants!("degraded", "degraded: { value: 50 }"),
    wants!("degraded_too_few", "degraded: { value: 51 }"),
    wants!("draining", "draining: { value: 51 }"),
    wants!("none", "none: { value: 0 }"),
    wants!("none_at_all", "none: {}"),
    wants!("one_of_none", "none: { value: 1 }"),
    wants!("empty", "empty: { value: 0 }"),
    wants!("empty_too_few", "empty: { value: 1 }"),
    wants!("unknown", "nowhere: { value: 0 }"),
    wants!("two", "half: { value: 10 }, third: { value: 10 }"),
    wants!(
        "first_by_name",
        "half: { value: 90 }, empty: { value: 1 }, nowhere: { value: 1 }"
    ),
    wants!(
        "second_by_name",
        "third: { value: 90 }, half: { value: 10 }, nowhere: { value: 1 }"
    ),
    wants!("passed", "half: { value: 90 }", "true"),
];

fn clusters(ports: Ports) -> String {
    let of = |name, health: &[&str]| {
        let mut text = format!(
            "- name: {name}\n  type: STATIC\n  load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: ["
        );
        for (i, health) in health.iter().enumerate() {
            let _ = write!(
                text,
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.{}, port_value: {} }} }} }}, \
                 health_status: {health} }}, ",
                i + 1,
                ports.origin
            );
        }
        text + "] } ] }\n"
    };
    [
        cluster("origin", ports.origin, ""),
        empty_cluster("empty"),
        of("half", &["HEALTHY", "UNHEALTHY"]),
        of("third", &["HEALTHY", "UNHEALTHY", "TIMEOUT"]),
        of("degraded", &["DEGRADED", "UNHEALTHY"]),
        of("draining", &["UNKNOWN", "DRAINING"]),
        of("none", &["UNHEALTHY"]),
    ]
    .concat()
}

fn cases() -> Vec<Case> {
    let check = |listener: &Listener| {
        case(
            listener.name,
            listener.name,
            "GET /check HTTP/1.1\r\nhost: a\r\n\r\n",
        )
    };
    let mut all: Vec<_> = LISTENERS.iter().map(check).collect();
    all.extend([
        case(
            "with a body",
            "too_few",
            "POST /check HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab",
        ),
        case(
            "of gRPC",
            "too_few",
            "GET /check HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\n\r\n",
        ),
        case(
            "no check",
            "too_few",
            "GET /other HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]);
    all
}

const SUITE: Comparison = Comparison {
    suite: Suite::Routing("min_healthy"),
    listeners: LISTENERS,
    clusters,
    cases,
};

#[test]
fn checks_look_at_clusters_as_in_envoy() {
    SUITE.run("checks_look_at_clusters_as_in_envoy");
}
