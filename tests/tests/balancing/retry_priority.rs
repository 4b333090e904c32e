//! `retry_priority`: tries keep away from the priorities that failed.

use crate::picks::{Expected, Route, Setup, compare, keys};

// HOST6 and HOST7 are dead, and nobody has told so.
const CLUSTERS: &[(&str, &str, &str)] = &[
    (
        "two",
        "lb_policy: RING_HASH,",
        "{ lb_endpoints: [ { HOST7 } ] }, { priority: 1, lb_endpoints: [ { HOST0 }, { HOST1 } ] }",
    ),
    (
        "three",
        "lb_policy: RING_HASH,",
        "{ lb_endpoints: [ { HOST7 } ] }, { priority: 1, lb_endpoints: [ { HOST6 } ] }, \
         { priority: 2, lb_endpoints: [ { HOST0 } ] }",
    ),
    // Of those that are known to be ill, nobody takes everything.
    (
        "parts",
        "lb_policy: MAGLEV,",
        "{ lb_endpoints: [ { HOST7 }, { HOST1, health_status: UNHEALTHY } ] }, \
         { priority: 1, lb_endpoints: [ { HOST6 }, { HOST2, health_status: UNHEALTHY }, \
         { HOST3, health_status: UNHEALTHY } ] }, \
         { priority: 2, lb_endpoints: [ { HOST4 }, { HOST5, health_status: UNHEALTHY } ] }",
    ),
    (
        "dead",
        "lb_policy: RING_HASH,",
        "{ lb_endpoints: [ { HOST7 } ] }, { priority: 1, lb_endpoints: [ { HOST6 } ] }",
    ),
    (
        "turns",
        "",
        "{ lb_endpoints: [ { HOST7 } ] }, { priority: 1, lb_endpoints: [ { HOST6 } ] }, \
         { priority: 2, lb_endpoints: [ { HOST0 } ] }",
    ),
    // All are in panic: loads are by numbers, and so are those of retries.
    (
        "panic",
        "lb_policy: RING_HASH,",
        "{ lb_endpoints: [ { HOST7, health_status: UNHEALTHY } ] }, \
         { priority: 1, lb_endpoints: [ { HOST0, health_status: UNHEALTHY } ] }",
    ),
    (
        "degraded",
        "lb_policy: MAGLEV,",
        "{ lb_endpoints: [ { HOST7 } ] }, \
         { priority: 1, lb_endpoints: [ { HOST0, health_status: DEGRADED } ] }, \
         { priority: 2, lb_endpoints: [ { HOST1 } ] }",
    ),
];

macro_rules! retries {
    ($path:literal, $cluster:literal, $retries:literal, $priority:literal) => {
        Route {
            path: $path,
            action: concat!(
                "route: { cluster: ",
                $cluster,
                ", hash_policy: [ { header: { header_name: x-key } } ], retry_policy: { ",
                "retry_on: connect-failure, retry_back_off: { base_interval: 0.001s }, ",
                "num_retries: ",
                $retries,
                $priority,
                " } }"
            ),
            requests: || keys(40, "", "x-key: {key}\r\n"),
            expected: Expected::Envoys,
        }
    };
    ($path:literal, $cluster:literal, $retries:literal, every $frequency:literal) => {
        retries!(
            $path,
            $cluster,
            $retries,
            $frequency,
            ", retry_priority: { name: p, typed_config: { \"@type\": type.googleapis.com/\
             envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, \
             update_frequency: "
        )
    };
    ($path:literal, $cluster:literal, $retries:literal, $frequency:literal, $start:literal) => {
        Route {
            path: $path,
            action: concat!(
                "route: { cluster: ",
                $cluster,
                ", hash_policy: [ { header: { header_name: x-key } } ], retry_policy: { ",
                "retry_on: connect-failure, retry_back_off: { base_interval: 0.001s }, ",
                "num_retries: ",
                $retries,
                $start,
                $frequency,
                " } } } }"
            ),
            requests: || keys(40, "", "x-key: {key}\r\n"),
            expected: Expected::Envoys,
        }
    };
}

const ROUTES: &[Route] = &[
    retries!("/without/", "two", "3", ""),
    retries!("/two/", "two", "1", every "1"),
    retries!("/two-late/", "two", "1", every "2"),
    retries!("/two-second/", "two", "2", every "2"),
    retries!("/three/", "three", "2", every "1"),
    retries!("/three-too-few/", "three", "1", every "1"),
    retries!("/three-second/", "three", "4", every "2"),
    retries!("/three-third/", "three", "6", every "3"),
    retries!("/three-never/", "three", "6", every "100"),
    retries!("/parts/", "parts", "1", every "1"),
    retries!("/parts-more/", "parts", "4", every "1"),
    retries!("/parts-second/", "parts", "4", every "2"),
    retries!("/dead/", "dead", "5", every "1"),
    retries!("/turns/", "turns", "2", every "1"),
    retries!("/panic/", "panic", "2", every "1"),
    retries!("/degraded/", "degraded", "2", every "1"),
];

#[test]
fn further_tries_go_to_the_priorities_that_envoy_chooses() {
    compare(
        "further_tries_go_to_the_priorities_that_envoy_chooses",
        &Setup {
            manager: "",
            clusters: CLUSTERS,
            routes: ROUTES,
            dead: &[6, 7],
        },
    );
}
