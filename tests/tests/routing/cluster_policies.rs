//! Policies for requests that a cluster has: how it retries, copies and hashes
//! them, in the place of what their routes say.

use ringway_tests::bootstrap::{Listener, cluster};
use ringway_tests::case::{Case, case};
use ringway_tests::comparison::{self, Comparison};
use ringway_tests::intended_differences::Suite;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::origin::Act;
use ringway_tests::process::Program;
use std::time::Duration;

const LISTENERS: &[Listener] = &[Listener {
    name: "policies",
    manager: "internal_address_config: { cidr_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ] }",
    hosts: include_str!("cluster_policies/routes.yaml"),
}];

/// The clusters, what their protocol options say, and what else they have.
const CLUSTERS: &[(&str, &str, &str)] = &[
    ("origin", "", ""),
    ("nothing", "retry_policy: {}", ""),
    (
        "twice",
        "retry_policy: { retry_on: 5xx, num_retries: 2, retry_back_off: { base_interval: 0.001s } }",
        "",
    ),
    (
        "limited",
        "retry_policy: { retry_on: 5xx, num_retries: 1, per_try_timeout: 0.4s, \
         retry_back_off: { base_interval: 0.001s } }",
        "",
    ),
    (
        "idle",
        "retry_policy: { retry_on: 5xx, num_retries: 1, per_try_idle_timeout: 0.4s, \
         retry_back_off: { base_interval: 0.001s } }",
        "",
    ),
    (
        "statuses",
        "retry_policy: { retry_on: retriable-status-codes, retriable_status_codes: [404], \
         retry_back_off: { base_interval: 0.001s } }",
        "",
    ),
    (
        "copied",
        "request_mirror_policies: [ { cluster: mirror, disable_shadow_host_suffix_append: true } ]",
        "",
    ),
    (
        "copied_elsewhere",
        "request_mirror_policies: [ { cluster: nowhere }, { cluster: mirror, host_rewrite_literal: b } ]",
        "",
    ),
    (
        "copied_by_header",
        "request_mirror_policies: [ { cluster_header: x-copy } ]",
        "",
    ),
    (
        "copied_never",
        "request_mirror_policies: [ { cluster: mirror, runtime_fraction: { default_value: {} } } ]",
        "",
    ),
    ("hashed_by_route", "", "lb_policy: RING_HASH"),
    (
        "hashed",
        "hash_policy: [ { cookie: { name: of_cluster, ttl: 0s } } ]",
        "lb_policy: RING_HASH",
    ),
    (
        "hashed_by_nothing",
        "hash_policy: [ { header: { header_name: x-missing } } ]",
        "lb_policy: MAGLEV",
    ),
    (
        "hashed_for_nothing",
        "hash_policy: [ { cookie: { name: of_cluster, ttl: 0s } } ]",
        "",
    ),
    (
        "hashed_by_balancing",
        "hash_policy: [ { cookie: { name: of_cluster, ttl: 0s } } ]",
        "load_balancing_policy: { policies: [ { typed_extension_config: { \
         name: envoy.load_balancing_policies.ring_hash, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash, \
         consistent_hashing_lb_config: { hash_policy: [ { cookie: { name: of_balancing, ttl: 0s } } ] \
         } } } } ] }",
    ),
];

fn clusters(ports: Ports) -> String {
    let all = CLUSTERS.iter().map(|(name, policies, more)| {
        let options = format!(
            "typed_extension_protocol_options: {{ \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
             explicit_http_config: {{ http_protocol_options: {{}} }}, {policies} }} }}\n{more}"
        );
        cluster(name, ports.origin, &options)
    });
    all.chain([cluster("mirror", ports.mirror, "")]).collect()
}

fn asks(name: &'static str, path: &str, cluster: &str, headers: &str) -> Case {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n{headers}\r\n");
    case(name, "policies", request)
}

fn status(code: u16) -> Vec<Act> {
    let answer = format!("HTTP/1.1 {code} Some\r\ncontent-length: 0\r\n\r\n");
    vec![Act::Send(answer.into_bytes())]
}

/// The answers to one try after the other; 0 is none.
fn turns(codes: &[u16]) -> Vec<Act> {
    let turns = codes.iter().map(|code| match code {
        0 => vec![Act::Drain],
        code => status(*code),
    });
    vec![Act::Read, Act::Turns(turns.collect())]
}

fn cases() -> Vec<Case> {
    const INTERNAL: &str = "x-forwarded-for: 10.0.0.1\r\n";
    let failing =
        |name, path, cluster| asks(name, path, cluster, "").origin(turns(&[503, 503, 503, 503]));
    let asked = |name, cluster, headers: &str| {
        asks(name, "/", cluster, &format!("{INTERNAL}{headers}")).origin(turns(&[503; 6]))
    };
    vec![
        failing("no policy at all", "/", "origin"),
        failing("the route's retries", "/own", "origin"),
        failing("the cluster's retries", "/", "twice"),
        failing("the cluster's retries, not the route's", "/own", "twice"),
        failing("no retries of the cluster", "/own", "nothing"),
        failing("no retries of the cluster or the route", "/", "nothing"),
        asked(
            "retries that the request asks for",
            "nothing",
            "x-envoy-retry-on: 5xx\r\n",
        ),
        asked(
            "more retries than the cluster's",
            "twice",
            "x-envoy-max-retries: 4\r\n",
        ),
        asks("a status of the cluster's", "/", "statuses", "").origin(turns(&[404, 200])),
        asks("no status of the cluster's", "/own", "statuses", "").origin(turns(&[503, 200])),
        asks("the cluster's time of a try", "/", "limited", "").origin(turns(&[0, 200])),
        asks("not the route's time of a try", "/tried", "twice", "").origin([
            Act::Read,
            // The first try ends when the route's time is over.
            Act::Turns(vec![
                vec![Act::Wait(Duration::from_secs(1)), Act::Close],
                status(200),
            ]),
        ]),
        asks(
            "the cluster's time of a try, not the route's",
            "/tried",
            "limited",
            "",
        )
        .origin(turns(&[0, 200])),
        asks(
            "the cluster's time of a try, hedged",
            "/hedged",
            "limited",
            "",
        )
        .origin(turns(&[0, 200])),
        asks("the cluster's idle time of a try", "/", "idle", "").origin(turns(&[0, 200])),
        asks("the time of the route after a try", "/short", "limited", "").origin(turns(&[0, 0])),
        asks("a copy", "/", "copied", ""),
        asks(
            "the cluster's copy, not the route's",
            "/copied",
            "copied",
            "",
        ),
        asks("the route's copy", "/copied", "origin", ""),
        asks("a copy of two", "/", "copied_elsewhere", ""),
        asks(
            "a copy for whom the request names",
            "/",
            "copied_by_header",
            "x-copy: mirror\r\n",
        ),
        asks("a copy for nobody", "/", "copied_by_header", ""),
        asks("a copy in no case", "/copied", "copied_never", ""),
    ]
}

/// Requests whose hosts are chosen by a cookie that is made for them.
fn cases_of_hashes() -> Vec<Case> {
    vec![
        asks("hashed by the route", "/own", "hashed_by_route", ""),
        asks("hashed by the cluster", "/", "hashed", ""),
        asks("hashed by the cluster, not the route", "/own", "hashed", ""),
        asks("hashed by nothing", "/own", "hashed_by_nothing", ""),
        asks("hashed for nothing", "/", "hashed_for_nothing", ""),
        asks("hashed by the balancing", "/own", "hashed_by_balancing", ""),
    ]
}

#[test]
fn policies_of_clusters_are_as_in_envoy() {
    let suite = Comparison {
        suite: Suite::Routing("cluster_policies"),
        listeners: LISTENERS,
        clusters,
        cases,
    };
    suite.run("policies_of_clusters_are_as_in_envoy");
}

/// The names of the cookies that each case makes: their values are the ports'.
fn cookies(program: &Program) -> Vec<(&'static str, String)> {
    let scene = Scene::start(program, LISTENERS, clusters);
    let cases = cases_of_hashes().into_iter().map(|case| {
        let seen = scene.play(&case);
        let cookie = seen.get("response[0].header.set-cookie");
        let name = cookie.and_then(|cookie| cookie.split('=').next());
        (case.name, name.unwrap_or_default().to_owned())
    });
    cases.collect()
}

#[test]
fn the_hash_policies_of_a_cluster_come_before_its_routes_as_in_envoy() {
    let test = "the_hash_policies_of_a_cluster_come_before_its_routes_as_in_envoy";
    let Some(seen) = comparison::as_in_envoy(test, cookies) else {
        return;
    };
    let names: Vec<_> = seen.iter().map(|(_, name)| &**name).collect();
    assert_eq!(
        names,
        [
            "of_route",
            "of_cluster",
            "of_cluster",
            "",
            "",
            "of_balancing"
        ]
    );
}
