//! Ring hash and Maglev: the same hosts and the same keys lead to the same
//! picks as in Envoy, whatever goes into the table.

use crate::picks::{Expected, Route, Setup, compare, keys};

const SIX: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1 }, { HOST2 }, { HOST3 }, { HOST4 }, \
                   { HOST5 } ] }";
const WEIGHTS: &str = "{ lb_endpoints: [ { HOST0, load_balancing_weight: 1 }, \
                       { HOST1, load_balancing_weight: 2 }, { HOST2, load_balancing_weight: 3 }, \
                       { HOST3, load_balancing_weight: 5 }, { HOST4, load_balancing_weight: 8 }, \
                       { HOST5 } ] }";
const NAMES: &str = "{ lb_endpoints: [ { endpoint: { hostname: a.example, ADDRESS0 } }, \
                     { endpoint: { hostname: b.example, ADDRESS1 } }, \
                     { endpoint: { hostname: c.example, ADDRESS2 } }, \
                     { endpoint: { hostname: d.example, ADDRESS3 } } ] }";
// Text counts, and only if there is some.
const HASH_KEYS: &str = "{ lb_endpoints: [ \
    { HOST0, metadata: { filter_metadata: { envoy.lb: { hash_key: one } } } }, \
    { HOST1, metadata: { filter_metadata: { envoy.lb: { hash_key: two } } } }, \
    { HOST2, metadata: { filter_metadata: { envoy.lb: { hash_key: \"\" } } } }, \
    { HOST3, metadata: { filter_metadata: { envoy.lb: { hash_key: 7 } } } }, \
    { HOST4, metadata: { filter_metadata: { other: { hash_key: three } } } } ] }";
const PRIORITIES: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY } ] }, \
                          { priority: 1, lb_endpoints: [ { HOST2 }, { HOST3 } ] }, \
                          { priority: 2, lb_endpoints: [ { HOST4 } ] }";
const DEGRADED: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: DEGRADED }, \
                        { HOST2, health_status: UNHEALTHY } ] }, \
                        { priority: 1, lb_endpoints: [ { HOST3, health_status: DEGRADED }, \
                        { HOST4 } ] }";
const PANIC: &str = "{ lb_endpoints: [ { HOST0 }, { HOST1, health_status: UNHEALTHY }, \
                     { HOST2, health_status: UNHEALTHY }, { HOST3, health_status: DRAINING }, \
                     { HOST4, health_status: TIMEOUT } ] }";
const LOCALITIES: &str = "{ locality: { zone: a }, load_balancing_weight: 1, \
                          lb_endpoints: [ { HOST0 }, { HOST1, load_balancing_weight: 3 } ] }, \
                          { locality: { zone: b }, load_balancing_weight: 4, \
                          lb_endpoints: [ { HOST2 } ] }, \
                          { locality: { zone: c }, lb_endpoints: [ { HOST3 } ] }, \
                          { locality: { zone: d }, load_balancing_weight: 2, \
                          lb_endpoints: [ { HOST4, health_status: UNHEALTHY }, { HOST5 } ] }";

const RING: &str = "lb_policy: RING_HASH,";
const MAGLEV: &str = "lb_policy: MAGLEV,";

macro_rules! typed {
    ($name:literal, $message:literal, $fields:literal) => {
        concat!(
            "load_balancing_policy: { policies: [ { typed_extension_config: { name: x, ",
            "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.",
            "load_balancing_policies.",
            $name,
            ".v3.",
            $message,
            ", ",
            $fields,
            " } } } ] },"
        )
    };
}

const CLUSTERS: &[(&str, &str, &str)] = &[
    ("ring", RING, SIX),
    ("ring-weights", RING, WEIGHTS),
    (
        "ring-murmur",
        "lb_policy: RING_HASH, ring_hash_lb_config: { hash_function: MURMUR_HASH_2 },",
        SIX,
    ),
    (
        "ring-small",
        "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 20, \
         maximum_ring_size: 23 },",
        WEIGHTS,
    ),
    (
        "ring-large",
        "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 65536 },",
        SIX,
    ),
    ("ring-hash-keys", RING, HASH_KEYS),
    (
        "ring-factor",
        "lb_policy: RING_HASH, common_lb_config: { consistent_hashing_lb_config: { \
         hash_balance_factor: 100 } },",
        SIX,
    ),
    ("ring-priorities", RING, PRIORITIES),
    ("ring-degraded", RING, DEGRADED),
    ("ring-panic", RING, PANIC),
    (
        "ring-no-panic",
        "lb_policy: RING_HASH, common_lb_config: { healthy_panic_threshold: { value: 0 } },",
        PANIC,
    ),
    (
        "ring-localities",
        "lb_policy: RING_HASH, common_lb_config: { locality_weighted_lb_config: {} },",
        LOCALITIES,
    ),
    ("ring-zones", RING, LOCALITIES),
    (
        "ring-typed",
        typed!(
            "ring_hash",
            "RingHash",
            "hash_function: MURMUR_HASH_2, minimum_ring_size: 100, consistent_hashing_lb_config: \
             { use_hostname_for_hashing: true }, locality_weighted_lb_config: {}"
        ),
        NAMES,
    ),
    (
        "ring-typed-old",
        typed!(
            "ring_hash",
            "RingHash",
            "use_hostname_for_hashing: true, hash_balance_factor: 120"
        ),
        NAMES,
    ),
    ("maglev", MAGLEV, SIX),
    ("maglev-weights", MAGLEV, WEIGHTS),
    (
        "maglev-small",
        "lb_policy: MAGLEV, maglev_lb_config: { table_size: 11 },",
        WEIGHTS,
    ),
    (
        "maglev-large",
        "lb_policy: MAGLEV, maglev_lb_config: { table_size: 655373 },",
        SIX,
    ),
    ("maglev-hash-keys", MAGLEV, HASH_KEYS),
    ("maglev-priorities", MAGLEV, PRIORITIES),
    ("maglev-degraded", MAGLEV, DEGRADED),
    ("maglev-panic", MAGLEV, PANIC),
    (
        "maglev-localities",
        "lb_policy: MAGLEV, common_lb_config: { locality_weighted_lb_config: {} },",
        LOCALITIES,
    ),
    (
        "maglev-typed",
        typed!(
            "maglev",
            "Maglev",
            "table_size: 1009, consistent_hashing_lb_config: { use_hostname_for_hashing: true, \
             hash_balance_factor: 200 }"
        ),
        NAMES,
    ),
];

/// Keys for each cluster.
const KEYS: usize = 400;

macro_rules! routes {
    ($($cluster:literal),* $(,)?) => {
        &[$(Route {
            path: concat!("/", $cluster, "/"),
            action: concat!(
                "route: { cluster: ", $cluster,
                ", hash_policy: [ { header: { header_name: x-key } } ] }"
            ),
            requests: || keys(KEYS, "", "x-key: {key}\r\n"),
            expected: Expected::Envoys,
        }),*]
    };
}

const ROUTES: &[Route] = routes!(
    "ring",
    "ring-weights",
    "ring-murmur",
    "ring-small",
    "ring-large",
    "ring-hash-keys",
    "ring-factor",
    "ring-priorities",
    "ring-degraded",
    "ring-panic",
    "ring-no-panic",
    "ring-localities",
    "ring-zones",
    "ring-typed",
    "ring-typed-old",
    "maglev",
    "maglev-weights",
    "maglev-small",
    "maglev-large",
    "maglev-hash-keys",
    "maglev-priorities",
    "maglev-degraded",
    "maglev-panic",
    "maglev-localities",
    "maglev-typed",
);

#[test]
fn keys_lead_to_the_hosts_that_envoy_chooses() {
    assert_eq!(ROUTES.len(), CLUSTERS.len());
    compare(
        "keys_lead_to_the_hosts_that_envoy_chooses",
        &Setup {
            manager: "",
            clusters: CLUSTERS,
            routes: ROUTES,
            dead: &[],
        },
    );
}
