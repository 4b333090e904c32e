//! `retry_host_predicate`: which host another try goes to.
//!
//! A cluster has a dead host that nearly always has its turn, and a rare one
//! that is alive. Without a predicate that keeps tries away from the first, a
//! request of many fails; with one, none does. Which of the two it is must be
//! the same as in Envoy.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::message::Message;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;
use std::time::Duration;

/// How many turns the dead host has for one of the other.
const DEAD_TURNS: u32 = 50;

/// Requests of each route. Without a predicate that works, the chance that none
/// of them fails is below 1 in 10^30.
const REQUESTS: usize = 20;

const CANARY: &str = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate";
const METADATA: &str = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig";
const PREVIOUS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";

/// The paths, and the predicates of their routes.
fn predicates() -> Vec<(&'static str, Vec<String>)> {
    let of = |name: &str, more: &str| {
        format!("{{ name: p, typed_config: {{ \"@type\": type.googleapis.com/{name}{more} }} }}")
    };
    let with = |fields: &str| {
        let more = format!(", metadata_match: {{ filter_metadata: {{ {fields} }} }}");
        of(METADATA, &more)
    };
    vec![
        ("none", vec![]),
        ("previous", vec![of(PREVIOUS, "")]),
        ("canary", vec![of(CANARY, "")]),
        ("metadata", vec![with("envoy.lb: { stage: old }")]),
        (
            "metadata-all",
            vec![with("envoy.lb: { stage: old, weight: 7 }")],
        ),
        (
            "metadata-more",
            vec![with("envoy.lb: { stage: old, other: 1 }")],
        ),
        (
            "metadata-other-value",
            vec![with("envoy.lb: { stage: new }")],
        ),
        (
            "metadata-other-type",
            vec![with("envoy.lb: { weight: \"7\" }")],
        ),
        ("metadata-elsewhere", vec![with("other: { stage: old }")]),
        ("metadata-of-a-list", vec![with("envoy.lb: { zones: a }")]),
        ("metadata-list", vec![with("envoy.lb: { zones: [ a, b ] }")]),
        (
            "metadata-list-other",
            vec![with("envoy.lb: { zones: [ b, a ] }")],
        ),
        (
            "either",
            vec![with("envoy.lb: { stage: new }"), of(CANARY, "")],
        ),
    ]
}

fn hosts() -> &'static str {
    let mut text = String::from("- name: all\n  domains: [\"*\"]\n  routes:\n");
    for (path, predicates) in predicates() {
        text += &format!(
            "  - match: {{ path: \"/{path}\" }}\n    route: {{ cluster: pair, retry_policy: {{ \
             retry_on: connect-failure, num_retries: 1, retry_back_off: {{ base_interval: 0.001s }}, \
             host_selection_retry_max_attempts: 1000, retry_host_predicate: [ {} ] }} }}\n",
            predicates.join(", ")
        );
    }
    text.leak()
}

fn clusters(ports: Ports) -> String {
    let endpoint = |port: u16, more: &str| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} \
             }} }} }}{more} }}"
        )
    };
    let dead = endpoint(
        ports.refused,
        &format!(
            ", load_balancing_weight: {DEAD_TURNS}, metadata: {{ filter_metadata: {{ envoy.lb: {{ \
             canary: true, stage: old, weight: 7, zones: [ a, b ] }} }} }}"
        ),
    );
    let alive = endpoint(
        ports.origin,
        ", load_balancing_weight: 1, metadata: { filter_metadata: { envoy.lb: { canary: false } } }",
    );
    format!(
        "{}- name: pair\n  type: STATIC\n  load_assignment: {{ cluster_name: pair, endpoints: [ {{ \
         lb_endpoints: [ {dead}, {alive} ] }} ] }}\n",
        cluster("origin", ports.origin, "")
    )
}

/// The paths of which no request failed.
fn kept_away(program: &Program) -> Vec<&'static str> {
    let listener = Listener {
        name: "pair",
        manager: "",
        hosts: hosts(),
    };
    let scene = Scene::start(program, &[listener], clusters);
    let expected = Expectation {
        answers: REQUESTS,
        watch: Some(Duration::ZERO),
        ..Expectation::default()
    };
    let all = predicates();
    let paths = all.iter().map(|(path, _)| *path);
    paths
        .filter(|path| {
            let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let bytes = request.repeat(REQUESTS).into_bytes();
            let outcome = converse(scene.address("pair"), &[Step::Send(bytes)], &expected);
            let statuses: Vec<_> = outcome.finals().map(Message::status).collect();
            assert_eq!(statuses.len(), REQUESTS, "{path}: {:?}", outcome.end);
            statuses.iter().all(|status| *status == 200)
        })
        .collect()
}

#[test]
fn predicates_keep_tries_away_from_hosts_as_in_envoy() {
    let test = "predicates_keep_tries_away_from_hosts_as_in_envoy";
    if let Some(seen) = as_in_envoy(test, kept_away) {
        assert!(
            seen.contains(&"previous") && !seen.contains(&"none"),
            "{seen:?}"
        );
    }
}
