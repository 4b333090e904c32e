//! Subsets of hosts: which of them a route's `metadata_match` leads to, and
//! what is done where there is none.

use crate::picks::{Expected, Route, Setup, compare, keys};

macro_rules! host {
    ($host:literal, $fields:literal) => {
        host!($host, $fields, "")
    };
    ($host:literal, $fields:literal, $more:literal) => {
        concat!(
            "{ ",
            $host,
            ", metadata: { filter_metadata: { envoy.lb: { ",
            $fields,
            " } } }",
            $more,
            " }"
        )
    };
}

const HOSTS: &str = concat!(
    "{ lb_endpoints: [ ",
    host!("HOST0", "stage: prod, version: '1.0', type: std"),
    ", ",
    host!("HOST1", "stage: prod, version: '1.1', type: std"),
    ", ",
    host!(
        "HOST2",
        "stage: prod, version: '1.1', type: large, number: 7"
    ),
    ", ",
    host!("HOST3", "stage: dev, version: '1.2', type: std, flag: true"),
    ", ",
    host!(
        "HOST4",
        "stage: dev, version: [ '1.0', '1.3' ], type: large"
    ),
    ", ",
    host!("HOST5", "other: x"),
    ", { HOST6 } ] }"
);

const ILL: &str = concat!(
    "{ lb_endpoints: [ ",
    host!("HOST0", "stage: prod", ", health_status: UNHEALTHY"),
    ", ",
    host!("HOST1", "stage: prod", ", health_status: UNHEALTHY"),
    ", ",
    host!("HOST2", "stage: prod"),
    ", ",
    host!("HOST3", "stage: dev", ", health_status: UNHEALTHY"),
    ", ",
    host!("HOST4", "stage: test"),
    ", ",
    host!("HOST5", "stage: test"),
    " ] }, { priority: 1, lb_endpoints: [ ",
    host!("HOST6", "stage: prod"),
    ", ",
    host!("HOST7", "stage: late"),
    " ] }"
);

const LOCALITIES: &str = concat!(
    "{ locality: { zone: a }, load_balancing_weight: 1, lb_endpoints: [ ",
    host!("HOST0", "stage: prod"),
    ", ",
    host!("HOST1", "stage: dev"),
    " ] }, { locality: { zone: b }, load_balancing_weight: 4, lb_endpoints: [ ",
    host!("HOST2", "stage: prod"),
    ", ",
    host!("HOST3", "stage: dev"),
    ", ",
    host!("HOST4", "stage: dev"),
    ", ",
    host!("HOST5", "stage: dev"),
    " ] }"
);

const SELECTORS: &str = "subset_selectors: [ { keys: [ stage ] }, { keys: [ version, stage ] }, \
                         { keys: [ version ] }, { keys: [ type, stage ] }, { keys: [ number ] }, \
                         { keys: [ flag ] } ]";

/// What each cluster is asked for.
const CRITERIA: &[(&str, &str)] = &[
    ("none", ""),
    ("stage", "stage: prod"),
    ("stage-dev", "stage: dev"),
    ("stage-test", "stage: test"),
    ("stage-late", "stage: late"),
    ("stage-unknown", "stage: nowhere"),
    ("stage-number", "stage: 1"),
    ("version", "version: '1.1'"),
    ("version-listed", "version: '1.3'"),
    ("version-of-both", "version: '1.0'"),
    ("version-list", "version: [ '1.0', '1.3' ]"),
    ("version-other-list", "version: [ '1.3', '1.0' ]"),
    ("stage-and-version", "stage: prod, version: '1.1'"),
    ("version-and-stage", "version: '1.0', stage: dev"),
    ("stage-and-type", "type: large, stage: prod"),
    ("stage-and-unknown-type", "type: tiny, stage: prod"),
    ("type-only", "type: std"),
    ("unknown-key", "colour: red"),
    ("one-key-too-many", "stage: prod, colour: red"),
    ("number", "number: 7"),
    ("number-text", "number: '7'"),
    ("flag", "flag: true"),
    ("flag-text", "flag: 'true'"),
    (
        "fallback-list",
        "stage: nowhere, fallback_list: [ { stage: nothing }, { stage: dev }, { stage: prod } ]",
    ),
    (
        "fallback-list-first",
        "fallback_list: [ { stage: prod, version: '1.1' }, {} ]",
    ),
    ("fallback-list-empty", "stage: dev, fallback_list: []"),
    (
        "fallback-list-of-nothing",
        "fallback_list: [ { stage: no } ]",
    ),
];

/// Clusters: their names, their `lb_subset_config`, other fields, and hosts.
fn clusters() -> Vec<(&'static str, String, &'static str, &'static str)> {
    let with = |more: &str| format!("{SELECTORS}, {more}");
    vec![
        ("plain", with(""), "", HOSTS),
        ("any", with("fallback_policy: ANY_ENDPOINT"), "", HOSTS),
        (
            "default",
            with("fallback_policy: DEFAULT_SUBSET, default_subset: { stage: dev, type: std }"),
            "",
            HOSTS,
        ),
        (
            "default-of-all",
            with("fallback_policy: DEFAULT_SUBSET"),
            "",
            HOSTS,
        ),
        (
            "default-of-none",
            with("fallback_policy: DEFAULT_SUBSET, default_subset: { stage: nowhere }"),
            "",
            HOSTS,
        ),
        (
            "default-of-none-panic",
            with(
                "fallback_policy: DEFAULT_SUBSET, default_subset: { stage: nowhere }, \
                 panic_mode_any: true",
            ),
            "",
            HOSTS,
        ),
        ("panic", with("panic_mode_any: true"), "", HOSTS),
        (
            "lists",
            with("list_as_any: true, fallback_policy: ANY_ENDPOINT"),
            "",
            HOSTS,
        ),
        (
            "fallback-lists",
            with("metadata_fallback_policy: FALLBACK_LIST"),
            "",
            HOSTS,
        ),
        (
            "fallback-lists-any",
            with("metadata_fallback_policy: FALLBACK_LIST, fallback_policy: ANY_ENDPOINT"),
            "",
            HOSTS,
        ),
        (
            "by-selector",
            "fallback_policy: ANY_ENDPOINT, default_subset: { stage: dev }, subset_selectors: [ \
             { keys: [ stage ], fallback_policy: NO_FALLBACK }, \
             { keys: [ version ], fallback_policy: DEFAULT_SUBSET }, \
             { keys: [ number ], fallback_policy: ANY_ENDPOINT }, \
             { keys: [ stage, type ], fallback_policy: KEYS_SUBSET, \
             fallback_keys_subset: [ stage ] }, { keys: [ flag ] } ]"
                .into(),
            "",
            HOSTS,
        ),
        (
            "single",
            "subset_selectors: [ { keys: [ version ], single_host_per_subset: true } ]".into(),
            "",
            HOSTS,
        ),
        (
            "without-selectors",
            "fallback_policy: DEFAULT_SUBSET, default_subset: { stage: dev }".into(),
            "",
            HOSTS,
        ),
        ("ill", with("fallback_policy: ANY_ENDPOINT"), "", ILL),
        (
            "ill-no-panic",
            with("fallback_policy: ANY_ENDPOINT"),
            "common_lb_config: { healthy_panic_threshold: { value: 0 } },",
            ILL,
        ),
        (
            "localities",
            with("locality_weight_aware: true"),
            "common_lb_config: { locality_weighted_lb_config: {} },",
            LOCALITIES,
        ),
        (
            "localities-scaled",
            with("locality_weight_aware: true, scale_locality_weight: true"),
            "common_lb_config: { locality_weighted_lb_config: {} },",
            LOCALITIES,
        ),
        (
            "localities-not-aware",
            with(""),
            "common_lb_config: { locality_weighted_lb_config: {} },",
            LOCALITIES,
        ),
    ]
}

/// The newer form, with a key more or less allowed.
const TYPED: &str = "load_balancing_policy: { policies: [ { typed_extension_config: { name: x, \
    typed_config: { \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.\
    subset.v3.Subset, allow_redundant_keys: REDUNDANT, fallback_policy: DEFAULT_SUBSET, \
    default_subset: { type: large }, subset_selectors: [ { keys: [ stage ] }, \
    { keys: [ stage, version ] } ], subset_lb_policy: { policies: [ { typed_extension_config: { \
    name: inner, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
    load_balancing_policies.ring_hash.v3.RingHash } } } ] } } } } ] },";

fn requests() -> Vec<(String, String)> {
    keys(12, "", "x-key: {key}\r\n")
}

fn leak(text: String) -> &'static str {
    text.leak()
}

fn metadata(fields: &str) -> String {
    format!("metadata_match: {{ filter_metadata: {{ envoy.lb: {{ {fields} }} }} }}")
}

fn route(path: String, action: String) -> Route {
    Route {
        path: leak(path),
        action: leak(action),
        requests,
        expected: Expected::Envoys,
    }
}

/// A header says what a request is for.
const MANAGER: &str = r#"
http_filters:
- name: said
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
    request_rules:
    - header: x-stage
      on_header_present: { metadata_namespace: envoy.lb, key: stage, type: STRING }
- name: router
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#;

const HASHED: &str = "hash_policy: [ { header: { header_name: x-key } } ]";

#[test]
fn routes_lead_to_the_subsets_that_envoy_chooses() {
    let mut all = Vec::new();
    for (name, subsets, fields, hosts) in clusters() {
        let fields = format!("lb_policy: RING_HASH, {fields} lb_subset_config: {{ {subsets} }},");
        all.push((name, leak(fields), hosts));
    }
    for (name, allowed) in [("typed", "false"), ("typed-redundant", "true")] {
        all.push((name, leak(TYPED.replace("REDUNDANT", allowed)), HOSTS));
    }
    let mut routes = Vec::new();
    for (cluster, ..) in &all {
        for (name, fields) in CRITERIA {
            let metadata = metadata(fields);
            routes.push(route(
                format!("/{cluster}/{name}/"),
                format!("route: {{ cluster: {cluster}, {HASHED}, {metadata} }}"),
            ));
        }
    }
    // What a weighted cluster asks for takes the place of the route's, key by
    // key.
    for (name, of_route, of_cluster) in [
        ("of-route", "stage: prod", ""),
        ("of-cluster", "", "stage: prod"),
        ("both", "stage: prod, version: '1.0'", "version: '1.1'"),
        ("added", "stage: prod", "type: large"),
    ] {
        let (of_route, of_cluster) = (metadata(of_route), metadata(of_cluster));
        routes.push(route(
            format!("/weighted/{name}/"),
            format!(
                "route: {{ weighted_clusters: {{ clusters: [ {{ name: plain, weight: 1, \
                 {of_cluster} }} ] }}, {HASHED}, {of_route} }}"
            ),
        ));
    }
    // Not what balancers look at.
    routes.push(route(
        "/elsewhere/".into(),
        format!(
            "route: {{ cluster: plain, {HASHED}, metadata_match: {{ filter_metadata: {{ other: {{ \
             stage: prod }} }} }} }}"
        ),
    ));
    // What filters say of a request goes before what its route says.
    for (name, of_route) in [("no", ""), ("same", "stage: dev"), ("more", "type: large")] {
        let metadata = metadata(of_route);
        routes.push(Route {
            requests: || {
                let mut all = keys(6, "", "x-key: {key}\r\nx-stage: prod\r\n");
                all.extend(keys(6, "", "x-key: {key}\r\nx-stage: dev\r\n"));
                all.extend(keys(6, "", "x-key: {key}\r\nx-stage: nowhere\r\n"));
                all.extend(keys(6, "", "x-key: {key}\r\n"));
                all
            },
            ..route(
                format!("/said/{name}/"),
                format!("route: {{ cluster: plain, {HASHED}, {metadata} }}"),
            )
        });
    }
    compare(
        "routes_lead_to_the_subsets_that_envoy_chooses",
        &Setup {
            manager: MANAGER,
            clusters: all.leak(),
            routes: routes.leak(),
            dead: &[],
        },
    );
}
