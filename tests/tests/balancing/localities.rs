//! Localities: their weights, and zones of a proxy that knows its own.

use crate::shares::{CLUSTER, Cluster, compare, compare_workers};

const WEIGHTED: &str = "common_lb_config: { locality_weighted_lb_config: {} },";

const THREE: &str = "{ locality: { zone: a }, load_balancing_weight: 1, \
                     lb_endpoints: [ { HOST0 }, { HOST1 } ] }, \
                     { locality: { zone: b }, load_balancing_weight: 3, lb_endpoints: [ { HOST2 } \
                     ] }, { locality: { zone: c }, lb_endpoints: [ { HOST3 } ] }";

const CLUSTERS: &[Cluster] = &[
    Cluster {
        name: "localities-do-not-matter",
        endpoints: THREE,
        shares: &[25.0, 25.0, 25.0, 25.0],
        ..CLUSTER
    },
    Cluster {
        name: "weights-of-localities",
        fields: WEIGHTED,
        endpoints: THREE,
        shares: &[12.5, 12.5, 75.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "least-request-by-locality",
        fields: "lb_policy: LEAST_REQUEST, common_lb_config: { locality_weighted_lb_config: {} },",
        endpoints: THREE,
        shares: &[12.5, 12.5, 75.0, 0.0],
        ..CLUSTER
    },
    // Half of its hosts times 1.4: the locality keeps 70 % of its weight.
    Cluster {
        name: "a-locality-half-dead",
        fields: WEIGHTED,
        endpoints: "{ locality: { zone: a }, load_balancing_weight: 50, \
                    lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY } ] }, \
                    { locality: { zone: b }, load_balancing_weight: 50, lb_endpoints: [ { HOST2 }, \
                    { HOST3 } ] }",
        shares: &[41.176, 0.0, 29.412, 29.412],
        ..CLUSTER
    },
];

#[test]
fn localities_share_as_in_envoy() {
    compare("localities_share_as_in_envoy", CLUSTERS, "");
}

const ZONES: &[Cluster] = &[
    // Who we are: half of us in zone a, as we are.
    Cluster {
        name: "ours",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST1 } ] }",
        shares: &[50.0, 50.0],
        ..CLUSTER
    },
    Cluster {
        name: "too-small",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST1 } ] }",
        shares: &[50.0, 50.0],
        ..CLUSTER
    },
    Cluster {
        name: "all-in-the-own-zone",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1 } },",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0 }, { HOST1 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST2 }, { HOST3 } ] }",
        shares: &[50.0, 50.0, 0.0, 0.0],
        ..CLUSTER
    },
    // A third of the hosts is here for a half of the requests.
    Cluster {
        name: "some-go-elsewhere",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1 } },",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST1 }, { HOST2 } ] }",
        shares: &[66.667, 16.667, 16.667],
        ..CLUSTER
    },
    Cluster {
        name: "never",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, \
                 routing_enabled: { value: 0 } } },",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST1 } ] }",
        shares: &[50.0, 50.0],
        ..CLUSTER
    },
    // Zone b has its own requests to serve, zone c has none.
    Cluster {
        name: "no-host-here",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1 } },",
        endpoints: "{ locality: { zone: c }, lb_endpoints: [ { HOST0 } ] }, \
                    { locality: { zone: b }, lb_endpoints: [ { HOST1 } ] }",
        shares: &[100.0, 0.0],
        ..CLUSTER
    },
    Cluster {
        name: "no-requests-in-panic",
        fields: "common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1, \
                 fail_traffic_on_panic: true } },",
        endpoints: "{ locality: { zone: a }, lb_endpoints: [ { HOST0, health_status: UNHEALTHY } ] \
                    }, { locality: { zone: b }, lb_endpoints: [ { HOST1, health_status: UNHEALTHY \
                    } ] }",
        shares: &[0.0, 0.0],
        ..CLUSTER
    },
];

const LOCAL: &str = "cluster_manager: { local_cluster_name: ours }\n";

#[test]
fn zones_share_as_in_envoy() {
    compare("zones_share_as_in_envoy", ZONES, LOCAL);
}

/// What workers count adds up to what Envoy's do.
#[test]
fn zones_share_as_in_envoy_on_four_workers() {
    let test = "zones_share_as_in_envoy_on_four_workers";
    compare_workers(test, ZONES, LOCAL, "4");
}
