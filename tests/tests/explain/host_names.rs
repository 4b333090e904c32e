//! Where the name of the host becomes the authority, it is told if it is
//! certain, and is the one that the host gets.

use crate::asking::{Request, get, text};
use crate::headers::Result;
use ringway_tests::bootstrap::{Listener, empty_cluster};
use ringway_tests::name_server::NameServer;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::{CONFIGURATION, Program};
use ringway_tests::programs;
use serde_json::Value;
use std::fmt::Write as _;
use std::process::Command;

const LISTENER: Listener = Listener {
    name: "rewriting",
    manager: "http_filters:
- name: router
  typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
",
    hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - { match: { path: /empty }, route: { cluster: empty, auto_host_rewrite: true } }
  - match: { path: /hashed }
    route: { cluster: ring, auto_host_rewrite: true, hash_policy: [ { header: { header_name: x-key } } ] }
  - { match: { path: /appended }, route: { cluster: named, auto_host_rewrite: true, append_x_forwarded_host: true } }
  - { match: { path: /kept }, route: { cluster: named, auto_host_rewrite: false } }
  - { match: { prefix: / }, route: { cluster_header: x-cluster, auto_host_rewrite: true } }
",
};

/// A ring of names.
macro_rules! ring {
    ($more:literal) => {
        concat!(
            "load_balancing_policy: { policies: [ { typed_extension_config: { name: r, typed_config: \
             { \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.\
             RingHash, consistent_hashing_lb_config: { use_hostname_for_hashing: true",
            $more,
            " } } } } ] },"
        )
    };
}

/// The clusters, and the names of their hosts, which are all the origin.
const CLUSTERS: &[(&str, &str, &[&str])] = &[
    ("named", "", &["one.example"]),
    ("unnamed", "", &[""]),
    ("same", "", &["both.example", "both.example"]),
    ("mixed", "", &["one.example", "two.example"]),
    ("ring", ring!(""), &["one.example", "two.example"]),
    (
        "bounded",
        ring!(", hash_balance_factor: 150"),
        &["one.example", "two.example"],
    ),
    (
        "asked",
        "load_balancing_policy: { policies: [ { typed_extension_config: { name: o, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.override_host.v3.\
         OverrideHost, override_host_sources: [ { header: x-to } ], fallback_policy: { policies: [ \
         { typed_extension_config: { name: r, typed_config: { \"@type\": type.googleapis.com/\
         envoy.extensions.load_balancing_policies.random.v3.Random } } } ] } } } } ] },",
        &["one.example", "two.example"],
    ),
];

fn clusters(ports: Ports, names: &NameServer) -> String {
    let mut text = empty_cluster("empty");
    let address = |address: &str| {
        let port = ports.origin;
        format!("address: {{ socket_address: {{ address: {address}, port_value: {port} }} }}")
    };
    for (name, fields, hosts) in CLUSTERS {
        let hosts = hosts.iter().map(|host| {
            let address = address("127.0.0.1");
            format!("{{ endpoint: {{ hostname: \"{host}\", {address} }} }}")
        });
        let hosts: Vec<_> = hosts.collect();
        let _ = writeln!(
            text,
            "- {{ name: {name}, {fields} load_assignment: {{ cluster_name: {name}, endpoints: [ {{ \
             lb_endpoints: [ {} ] }} ] }} }}",
            hosts.join(", ")
        );
    }
    let _ = writeln!(
        text,
        "- {{ name: looked-up, type: STRICT_DNS, {}, load_assignment: {{ cluster_name: looked-up, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ {} }} }} ] }} ] }} }}",
        names.resolver(),
        address("origin.test")
    );
    text.push_str(
        "- { name: anywhere, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, \
         original_dst_lb_config: { use_http_header: true } }\n",
    );
    let _ = writeln!(
        text,
        "- {{ name: forward, lb_policy: CLUSTER_PROVIDED, cluster_type: {{ name: \
         envoy.clusters.dynamic_forward_proxy, typed_config: {{ \"@type\": type.googleapis.com/\
         envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: {{ \
         name: cache, dns_lookup_family: V4_ONLY, {} }} }} }} }}",
        names.resolver()
    );
    text
}

struct Setting {
    scene: Scene,
    _names: NameServer,
}

fn setting() -> Setting {
    let names = NameServer::start();
    names.set_addresses("origin.test", &["127.0.0.1"]);
    let program = Program::Ringway(programs::drivers()[0]);
    Setting {
        scene: Scene::start(&program, &[LISTENER], |ports| clusters(ports, &names)),
        _names: names,
    }
}

/// A request for a cluster, with another header.
fn to(cluster: &'static str, name: &'static str, value: String) -> Request {
    let headers = vec![("x-cluster", cluster), (name, &*value.leak())];
    get("a", "/", headers.leak())
}

const UNCERTAIN: &str = "with the name of the host that is picked, if it has one, as its authority";

#[test]
fn the_name_that_the_host_gets_is_told() {
    let setting = setting();
    let port = setting.scene.ports().origin;
    let plain = |cluster| to(cluster, "x-other", String::new());
    let address = format!("127.0.0.1:{port}");
    let mut requests = vec![
        plain("named"),
        plain("unnamed"),
        plain("same"),
        plain("looked-up"),
        to("asked", "x-to", address.clone()),
        to("anywhere", "x-envoy-original-dst-host", address.clone()),
        Request {
            host: address.leak(),
            ..plain("forward")
        },
        get("a", "/appended", &[("x-forwarded-host", "b")]),
        get("a", "/kept", &[]),
    ];
    for key in ["1", "2", "3", "4"] {
        let headers = vec![("x-key", key)];
        requests.push(get("a", "/hashed", headers.leak()));
    }
    let mut names = Vec::new();
    for request in &requests {
        let case = request.case("rewriting");
        let seen = setting
            .scene
            .play(&case.answer("HTTP/1.1 418 Tea\r\ncontent-length: 0\r\n\r\n"));
        let told = request.ask(&setting.scene, "rewriting", "");
        let result = Result::told(&told).masked(port);
        assert_eq!(
            result,
            Result::seen(&seen),
            "{request:?}\n{told:#}\n{seen:#?}"
        );
        let sent = &told["request_as_it_is_sent_upstream"];
        assert!(sent["note"].is_null(), "{told:#}");
        names.push(result.host());
    }
    assert_eq!(names[0], "one.example");
    assert_eq!(names[1], "a");
    let hashed = &names[names.len() - 4..];
    assert!(
        hashed.iter().any(|name| name != &hashed[0]),
        "the keys decide: {hashed:?}"
    );
}

#[test]
fn what_is_not_certain_is_told_to_be_so() {
    let setting = setting();
    for cluster in ["mixed", "ring", "bounded", "asked"] {
        let request = to(cluster, "x-other", String::new());
        let told = request.ask(&setting.scene, "rewriting", "");
        let sent = &told["request_as_it_is_sent_upstream"];
        assert_eq!(sent["note"], UNCERTAIN, "{told:#}");
        assert_eq!(Result::told(&told).host(), "a", "{told:#}");
    }
    let told = get("a", "/empty", &[]).ask(&setting.scene, "rewriting", "");
    assert_eq!(text(&told["answer"]["value"]), "503", "{told:#}");
}

/// The name is known before it is looked up.
#[test]
fn the_command_tells_the_name_too() {
    let setting = setting();
    let output = Command::new(programs::ringway())
        .arg("explain")
        .arg("-c")
        .arg(setting.scene.process.folder().join(CONFIGURATION))
        .args([
            "--host",
            "a",
            "-H",
            "x-cluster: looked-up",
            "--format",
            "json",
        ])
        .output()
        .expect("ringway runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let told = &told["listeners"]["items"][0];
    assert_eq!(Result::told(told).host(), "origin.test", "{told:#}");
}
