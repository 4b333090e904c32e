//! Priorities, health as it is configured, and panic.

use crate::shares::{CLUSTER, Cluster, compare};

const CLUSTERS: &[Cluster] = &[
    Cluster {
        name: "one-priority",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1 } ] }",
        shares: &[50.0, 50.0],
        ..CLUSTER
    },
    Cluster {
        name: "second-is-not-asked",
        endpoints: "{ lb_endpoints: [ { HOST0 } ] }, { priority: 1, lb_endpoints: [ { HOST1 } ] }",
        shares: &[100.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "order-of-the-file",
        endpoints: "{ priority: 1, lb_endpoints: [ { HOST1 } ] }, { lb_endpoints: [ { HOST0 } ] }",
        shares: &[100.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "first-is-dead",
        endpoints: "{ lb_endpoints: [ { HOST0, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST1 } ] }",
        shares: &[0.0, 100.0],
        ..CLUSTER
    },
    Cluster {
        name: "draining-and-timeout",
        endpoints: "{ lb_endpoints: [ { HOST0, health_status: DRAINING }, \
                    { HOST1, health_status: TIMEOUT }, { HOST2 }, { HOST3 } ] }",
        shares: &[0.0, 0.0, 50.0, 50.0],
        ..CLUSTER
    },
    // Half of the hosts times 1.4 are 70 %.
    Cluster {
        name: "spills-over",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST2 } ] }",
        shares: &[70.0, 0.0, 30.0],
        ..CLUSTER
    },
    Cluster {
        name: "factor",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST2 } ] }",
        policy: "overprovisioning_factor: 100",
        shares: &[50.0, 0.0, 50.0],
        ..CLUSTER
    },
    // Degraded hosts get what healthy ones cannot take.
    Cluster {
        name: "degraded",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: DEGRADED } ] }",
        shares: &[70.0, 30.0],
        ..CLUSTER
    },
    Cluster {
        name: "degraded-of-two",
        endpoints: "{ lb_endpoints: [ { HOST0, health_status: DEGRADED }, \
                    { HOST1, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST2 }, { HOST3, health_status: UNHEALTHY } \
                    ] }",
        shares: &[30.0, 0.0, 70.0, 0.0],
        ..CLUSTER
    },
    // Too few are healthy in all: everybody is asked.
    Cluster {
        name: "panic",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY }, \
                    { HOST2, health_status: UNHEALTHY }, { HOST3, health_status: UNHEALTHY } ] }",
        shares: &[25.0, 25.0, 25.0, 25.0],
        ..CLUSTER
    },
    Cluster {
        name: "no-panic",
        fields: "common_lb_config: { healthy_panic_threshold: { value: 20 } },",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY }, \
                    { HOST2, health_status: UNHEALTHY }, { HOST3, health_status: UNHEALTHY } ] }",
        shares: &[100.0, 0.0, 0.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "all-dead",
        endpoints: "{ lb_endpoints: [ { HOST0, health_status: UNHEALTHY }, \
                    { HOST1, health_status: UNHEALTHY } ] }",
        shares: &[50.0, 50.0],
        ..CLUSTER
    },
    Cluster {
        name: "all-dead-no-panic",
        fields: "common_lb_config: { healthy_panic_threshold: { value: 0 } },",
        endpoints: "{ lb_endpoints: [ { HOST0, health_status: UNHEALTHY }, \
                    { HOST1, health_status: UNHEALTHY } ] }",
        shares: &[0.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "two-priorities-in-panic",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY }, \
                    { HOST2, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST3, health_status: UNHEALTHY } ] }",
        shares: &[25.0, 25.0, 25.0, 25.0],
        ..CLUSTER
    },
    Cluster {
        name: "health-by-weight",
        endpoints: "{ lb_endpoints: [ { HOST0, load_balancing_weight: 9 }, \
                    { HOST1, health_status: UNHEALTHY } ] }, \
                    { priority: 1, lb_endpoints: [ { HOST2 } ] }",
        policy: "weighted_priority_health: true",
        shares: &[100.0, 0.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "by-weight",
        endpoints: "{ lb_endpoints: [ { HOST0, load_balancing_weight: 1 }, \
                    { HOST1, load_balancing_weight: 3 } ] }",
        shares: &[25.0, 75.0],
        ..CLUSTER
    },
    Cluster {
        name: "random",
        fields: "lb_policy: RANDOM,",
        endpoints: "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST2 }, \
                    { HOST3, health_status: UNHEALTHY } ] }",
        shares: &[33.333, 33.333, 33.333, 0.0],
        ..CLUSTER
    },
];

#[test]
fn priorities_and_panic_share_as_envoy_does() {
    compare("priorities_and_panic_share_as_envoy_does", CLUSTERS, "");
}
