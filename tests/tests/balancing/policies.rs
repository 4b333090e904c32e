//! Each policy, without a hash and with equal or unequal weights, in both forms.

use crate::shares::{CLUSTER, Cluster, compare};

const EQUAL: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST2 } ] }";

const UNEQUAL: &str = "{ lb_endpoints: [ { HOST0, load_balancing_weight: 1 }, \
                       { HOST1, load_balancing_weight: 2 }, { HOST2, load_balancing_weight: 5 } ] }";

const THIRDS: &[f64] = &[33.333, 33.333, 33.333];

const CLUSTERS: &[Cluster] = &[
    Cluster {
        name: "round-robin-by-weight",
        endpoints: UNEQUAL,
        shares: &[12.5, 25.0, 62.5],
        ..CLUSTER
    },
    Cluster {
        name: "least-request",
        fields: "lb_policy: LEAST_REQUEST,",
        endpoints: EQUAL,
        shares: THIRDS,
        ..CLUSTER
    },
    Cluster {
        name: "least-request-by-weight",
        fields: "lb_policy: LEAST_REQUEST, least_request_lb_config: { choice_count: 3, \
                 active_request_bias: { default_value: 1, runtime_key: bias } },",
        endpoints: UNEQUAL,
        shares: &[12.5, 25.0, 62.5],
        ..CLUSTER
    },
    // Random does not know weights.
    Cluster {
        name: "random-has-no-weights",
        fields: "lb_policy: RANDOM,",
        endpoints: UNEQUAL,
        shares: THIRDS,
        ..CLUSTER
    },
    // A request without a hash gets a random one: the table has the shares.
    Cluster {
        name: "maglev",
        fields: "lb_policy: MAGLEV, maglev_lb_config: { table_size: 65537 },",
        endpoints: UNEQUAL,
        shares: &[12.5, 25.0, 62.5],
        ..CLUSTER
    },
    Cluster {
        name: "known-in-second-place",
        fields: "load_balancing_policy: { policies: [ { typed_extension_config: { name: u, \
                 typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
                 filters.http.buffer.v3.Buffer, max_request_bytes: 1 } } }, { typed_extension_config: { name: r, \
                 typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
                 load_balancing_policies.round_robin.v3.RoundRobin } } } ] },",
        endpoints: UNEQUAL,
        shares: &[12.5, 25.0, 62.5],
        ..CLUSTER
    },
    Cluster {
        name: "full-scan",
        fields: "load_balancing_policy: { policies: [ { typed_extension_config: { name: l, \
                 typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
                 load_balancing_policies.least_request.v3.LeastRequest, selection_method: \
                 FULL_SCAN } } } ] },",
        endpoints: EQUAL,
        shares: THIRDS,
        ..CLUSTER
    },
];

#[test]
fn policies_share_as_in_envoy() {
    compare("policies_share_as_in_envoy", CLUSTERS, "");
}
