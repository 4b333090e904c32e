//! What is told of the host that a request goes to: the hash that decides, the
//! hosts with their health, and what their metadata must be.

use crate::asking::{get, items, line_of};
use ringway_tests::bootstrap::Listener;
use ringway_tests::fleet::Fleet;
use ringway_tests::observation::Scene;
use ringway_tests::process::Program;
use ringway_tests::programs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use xxhash_rust::xxh64::xxh64;

const LISTENER: Listener = Listener {
    name: "hashed",
    manager: "",
    hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - match: { path: \"/hashed\" }
    route:
      cluster: ring
      hash_policy:
      - header: { header_name: x-key }
      - query_parameter: { name: k }
      - cookie: { name: c }
  - match: { path: \"/terminal\" }
    route:
      cluster: ring
      hash_policy:
      - { terminal: true, header: { header_name: x-key } }
      - { cookie: { name: c, ttl: 1s } }
  - match: { path: \"/unhashed\" }
    route: { cluster: ring }
  - match: { path: \"/turns\" }
    route:
      cluster: turns
      metadata_match: { filter_metadata: { envoy.lb: { stage: prod } } }
      hash_policy: [ { header: { header_name: x-key } } ]
  - match: { path: \"/asked\" }
    route: { cluster: asked }
  - match: { path: \"/subset\" }
    route:
      metadata_match: { filter_metadata: { envoy.lb: { stage: dev, version: 1 } } }
      weighted_clusters:
        clusters:
        - name: parts
          weight: 1
          metadata_match: { filter_metadata: { envoy.lb: { stage: prod } } }
",
};

/// The clusters, of which all have the same hosts.
fn clusters(fleet: &Fleet) -> String {
    let mut text = String::new();
    for (name, fields) in [
        (
            "ring",
            "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 64 },",
        ),
        ("turns", ""),
        (
            "asked",
            "load_balancing_policy: { policies: [ { typed_extension_config: { name: o, \
             typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
             load_balancing_policies.override_host.v3.OverrideHost, override_host_sources: [ { \
             header: x-to }, { metadata: { key: said, path: [ { key: k } ] } } ], fallback_policy: { \
             policies: [ { typed_extension_config: { name: r, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random } } } \
             ] } } } } ] },",
        ),
        (
            "parts",
            "lb_policy: MAGLEV, lb_subset_config: { subset_selectors: [ { keys: [ stage ] } ] },",
        ),
    ] {
        let host = |host: usize, more: &str| {
            let port = fleet.address(host).port();
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
                 {port} }} }} }}{more} }}"
            )
        };
        let _ = writeln!(
            text,
            "- {{ name: {name}, type: STATIC, {fields} load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {{ lb_endpoints: [ {}, {} ] }}, {{ priority: 1, lb_endpoints: [ {} ] }} \
             ] }} }}",
            host(0, ""),
            host(1, ", health_status: UNHEALTHY"),
            host(2, ", health_status: DEGRADED"),
        );
    }
    text
}

fn scene(fleet: &Fleet) -> Scene {
    let program = Program::Ringway(programs::drivers()[0]);
    Scene::start(&program, &[LISTENER], |_| clusters(fleet))
}

fn ask(scene: &Scene, path: &'static str, headers: &'static [(&str, &str)]) -> Value {
    get("a", path, headers).ask(scene, "hashed", "")
}

fn hash(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

#[test]
fn the_hash_is_told_with_the_policies_that_made_it() {
    let fleet = Fleet::start(3);
    let scene = scene(&fleet);
    let told = ask(&scene, "/hashed?k=2", &[("x-key", "1")]);
    let key = &told["choice_of_the_host"]["hash_key"];
    let expected = hash("1").rotate_left(1) ^ hash("2");
    assert_eq!(key["value"], json!(expected), "{told:#}");
    let asked: Vec<_> = items(key)
        .iter()
        .map(|policy| (policy["name"].clone(), policy["value"].clone()))
        .collect();
    assert_eq!(
        asked,
        [
            (json!("header x-key"), json!(hash("1"))),
            (json!("query parameter k"), json!(hash("2"))),
            (json!("cookie c"), Value::Null),
        ],
        "{told:#}"
    );
    let line = line_of(&scene, &items(key)[1]["set_at"]);
    assert_eq!(line, "- query_parameter: { name: k }");

    // What is behind a terminal policy is not asked.
    let told = ask(&scene, "/terminal", &[("x-key", "1")]);
    let key = &told["choice_of_the_host"]["hash_key"];
    assert_eq!((&key["value"], items(key).len()), (&json!(hash("1")), 1));
    for (path, note) in [
        ("/hashed", "the request has none: the host is a random one"),
        (
            "/terminal",
            "the client gets a cookie, which is a function of its connection, and its hash counts, \
             too",
        ),
        (
            "/unhashed",
            "the route has no hash_policy: the host is a random one",
        ),
        (
            "/turns",
            "nobody asks for it: the cluster's policy does not hash",
        ),
    ] {
        let told = ask(&scene, path, &[]);
        let key = &told["choice_of_the_host"]["hash_key"];
        assert_eq!(key["note"], note, "{told:#}");
        assert_eq!(key["value"], Value::Null, "{told:#}");
    }
}

#[test]
fn hosts_are_told_with_their_health_and_the_shares_of_priorities() {
    let fleet = Fleet::start(3);
    let scene = scene(&fleet);
    let told = ask(&scene, "/hashed", &[]);
    let cluster = &told["cluster"];
    let balancing = &cluster["balancing"];
    assert_eq!(balancing["value"], "RING_HASH", "{told:#}");
    assert_eq!(balancing["minimum_ring_size"], 64, "{told:#}");
    assert_eq!(balancing["hash_function"], "XX_HASH", "{told:#}");
    let hosts: Vec<_> = items(&cluster["candidate_hosts"])
        .iter()
        .map(|host| {
            let name = host["name"].as_str().expect("an address");
            let port = name.rsplit(':').next().expect("a port").to_owned();
            (port, host["health"].clone())
        })
        .collect();
    let expected = ["healthy", "unhealthy", "degraded"];
    let expected: Vec<_> = (fleet.ports().iter().zip(expected))
        .map(|(port, health)| (port.to_string(), json!(health)))
        .collect();
    assert_eq!(hosts, expected, "{told:#}");
    // Half of the first priority's hosts times 1.4 are 70 %.
    let shares: BTreeMap<_, _> = items(&cluster["priorities"])
        .iter()
        .map(|priority| {
            let share = |of: &str| priority[of].as_u64();
            let name = priority["name"].as_str().expect("a number").to_owned();
            (name, (share("healthy_hosts"), share("degraded_hosts")))
        })
        .collect();
    let expected = [
        ("0".to_owned(), (Some(70), None)),
        ("1".to_owned(), (Some(0), Some(30))),
    ];
    assert_eq!(shares, expected.into(), "{told:#}");
}

#[test]
fn the_metadata_that_a_host_must_have_is_told() {
    let fleet = Fleet::start(3);
    let scene = scene(&fleet);
    let told = ask(&scene, "/subset", &[]);
    let metadata = &told["choice_of_the_host"]["metadata_of_the_host"];
    let fields: Vec<_> = items(metadata)
        .iter()
        .map(|field| (field["name"].clone(), field["value"].clone()))
        .collect();
    // The weighted cluster's go first.
    let expected = [
        (json!("stage"), json!("prod")),
        (json!("version"), json!(1.0)),
    ];
    assert_eq!(fields, expected, "{told:#}");
    let line = line_of(&scene, &metadata["set_at"]);
    assert!(line.contains("stage: prod"), "{line}");
    let subsets = &told["cluster"]["balancing"]["subsets_by"];
    assert_eq!(*subsets, json!([["stage"]]), "{told:#}");

    let told = ask(&scene, "/turns", &[]);
    let metadata = &told["choice_of_the_host"]["metadata_of_the_host"];
    assert_eq!(
        metadata["note"], "nobody asks for it: the cluster has no subsets",
        "{told:#}"
    );
    let told = ask(&scene, "/hashed", &[]);
    assert!(
        told["choice_of_the_host"]["metadata_of_the_host"].is_null(),
        "{told:#}"
    );
}

#[test]
fn the_host_that_a_request_asks_for_is_told() {
    let fleet = Fleet::start(3);
    let scene = scene(&fleet);
    let address = fleet.address(1).to_string();
    let list: &'static str = format!("127.0.0.9:1, {address}").leak();
    let headers: &'static [(&str, &str)] = vec![("x-to", list)].leak();
    let told = ask(&scene, "/asked", headers);
    let choice = &told["choice_of_the_host"];
    assert_eq!(choice["host_asked_for"]["value"], address, "{told:#}");
    assert!(choice["hash_key"].is_null(), "nobody hashes: {told:#}");
    let (_, outcome) = scene.play_with_outcome(&get("a", "/asked", headers).case("hashed"));
    let answer = outcome.finals().next().expect("an answer");
    assert_eq!(
        answer.header("x-host"),
        Some("1"),
        "unhealthy, but asked for"
    );

    for (headers, value, note) in [
        (
            &[("x-to", "127.0.0.9:1")][..],
            json!("127.0.0.9:1"),
            "the cluster has none",
        ),
        (&[], Value::Null, "the request asks for none"),
    ] {
        let told = ask(&scene, "/asked", headers);
        let fact = &told["choice_of_the_host"]["host_asked_for"];
        assert_eq!(fact["value"], value, "{told:#}");
        let said = fact["note"].as_str().expect("a note");
        assert!(said.starts_with(note), "{told:#}");
        assert_eq!(items(fact).len(), 2, "{told:#}");
        let balancing = &told["cluster"]["balancing"];
        assert_eq!(balancing["value"], "RANDOM", "{told:#}");
        assert_eq!(
            balancing["note"],
            "of requests that ask for none of the hosts by the header x-to or the metadata said:k",
            "{told:#}"
        );
    }
}

/// Requests that are told to have one hash go to one host, and to none that is
/// told to be ill. Those that are for degraded hosts fail: policies that hash
/// use none.
#[test]
fn what_is_told_is_what_happens() {
    const PATHS: [&str; 8] = [
        "/hashed?k=1",
        "/hashed?k=2",
        "/hashed?k=3",
        "/hashed?k=4",
        "/hashed?k=1&a",
        "/hashed?a&k=2",
        "/hashed?k=3&k=1",
        "/hashed?k=4",
    ];
    let fleet = Fleet::start(3);
    let scene = scene(&fleet);
    let mut hosts = BTreeMap::new();
    for path in PATHS {
        let request = get("a", path, &[]);
        let told = request.ask(&scene, "hashed", "");
        let key = told["choice_of_the_host"]["hash_key"]["value"].as_u64();
        let (_, outcome) = scene.play_with_outcome(&request.case("hashed"));
        let answer = outcome.finals().next().expect("an answer");
        let host = answer.header("x-host").unwrap_or("none").to_owned();
        assert_ne!(host, "1", "it is unhealthy");
        assert_eq!(*hosts.entry(key).or_insert_with(|| host.clone()), host);
    }
    assert_eq!(hosts.len(), 4, "{hosts:?}");
    assert!(hosts.values().any(|host| host == "0"), "{hosts:?}");
}
