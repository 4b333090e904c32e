//! Which hosts a request may go to, and whether it finds one, is what is told
//! of it.

use crate::asking::{Headers, Request, get, items, text};
use ringway_tests::bootstrap::Listener;
use ringway_tests::case::Case;
use ringway_tests::client::converse;
use ringway_tests::fleet::Fleet;
use ringway_tests::name_server::NameServer;
use ringway_tests::observation::Scene;
use ringway_tests::process::{CONFIGURATION, Program};
use ringway_tests::programs;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

const LISTENER: Listener = Listener {
    name: "hosts",
    manager: "",
    hosts: "
- name: all
  domains: [\"*\"]
  routes:
  - { match: { path: /by-header }, route: { cluster_header: x-cluster } }
  - match: { path: /by-weight }
    route: { weighted_clusters: { clusters: [ { cluster_header: x-cluster, weight: 1 } ] } }
  - match: { path: /hashed }
    route: { cluster: ring, hash_policy: [ { header: { header_name: x-key } }, { query_parameter: { name: k } } ] }
  - match: { path: /bounded }
    route: { cluster: bounded, hash_policy: [ { header: { header_name: x-key } } ] }
  - match: { path: /maglev }
    route: { cluster: maglev, hash_policy: [ { header: { header_name: x-key } } ] }
  - match: { path: /a }
    route: { cluster: PARTS, metadata_match: { filter_metadata: { envoy.lb: { stage: a } } } }
  - match: { path: /none }
    route: { cluster: PARTS, metadata_match: { filter_metadata: { envoy.lb: { stage: none } } } }
  - match: { path: /any }
    route: { cluster: any, metadata_match: { filter_metadata: { envoy.lb: { stage: none } } } }
  - match: { path: /default }
    route: { cluster: default, metadata_match: { filter_metadata: { envoy.lb: { stage: none } } } }
  - match: { path: /ill }
    route: { cluster: any, metadata_match: { filter_metadata: { envoy.lb: { stage: b } } } }
  - match: { path: /single }
    route: { cluster: single, metadata_match: { filter_metadata: { envoy.lb: { stage: a } } } }
  - { match: { path: /panic }, route: { cluster: panic } }
  - { match: { path: /no-panic }, route: { cluster: no-panic } }
  - { match: { path: /half }, route: { cluster: half } }
  - { match: { path: /checked }, route: { cluster: checked } }
  - { match: { path: /names }, route: { cluster: names } }
  - { match: { path: /nobody }, route: { cluster: nobody } }
",
};

/// A list of hosts: their numbers, and what is said of them.
fn endpoints(fleet: &Fleet, hosts: &[(usize, &str)]) -> String {
    let host = |(host, more): &(usize, &str)| {
        let port = fleet.address(*host).port();
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: \
             {port} }} }} }}{more} }}"
        )
    };
    let hosts: Vec<_> = hosts.iter().map(host).collect();
    format!("lb_endpoints: [ {} ]", hosts.join(", "))
}

const STAGE_A: &str = ", metadata: { filter_metadata: { envoy.lb: { stage: a } } }";
const STAGE_B: &str =
    ", health_status: UNHEALTHY, metadata: { filter_metadata: { envoy.lb: { stage: b } } }";
const ILL: &str = ", health_status: UNHEALTHY";
const DEGRADED: &str = ", health_status: DEGRADED";
const SELECTORS: &str = "subset_selectors: [ { keys: [ stage ] } ]";

fn clusters(fleet: &Fleet, names: &NameServer) -> String {
    let all = [(0, ""), (1, ""), (2, "")];
    let staged = [(0, STAGE_A), (1, STAGE_A), (2, STAGE_B)];
    let ill = [(0, ILL), (1, ILL)];
    let mut text = String::new();
    let mut add = |name: &str, fields: &str, endpoints: &str| {
        let _ = writeln!(
            text,
            "- {{ name: {name}, {fields} load_assignment: {{ cluster_name: {name}, endpoints: [ \
             {endpoints} ] }} }}"
        );
    };
    let one = |hosts: &[(usize, &str)]| format!("{{ {} }}", endpoints(fleet, hosts));
    add("ring", "lb_policy: RING_HASH,", &one(&all));
    add("maglev", "lb_policy: MAGLEV,", &one(&all));
    add(
        "bounded",
        "lb_policy: RING_HASH, common_lb_config: { consistent_hashing_lb_config: { \
         hash_balance_factor: 150 } },",
        &one(&all),
    );
    let subset = |more: &str| format!("lb_subset_config: {{ {SELECTORS}{more} }},");
    add("PARTS", &subset(""), &one(&staged));
    add(
        "any",
        &subset(", fallback_policy: ANY_ENDPOINT"),
        &one(&staged),
    );
    add(
        "default",
        &subset(", fallback_policy: DEFAULT_SUBSET, default_subset: { stage: a }"),
        &one(&staged),
    );
    add(
        "single",
        "lb_subset_config: { fallback_policy: NO_FALLBACK, subset_selectors: [ { keys: [ stage ], \
         single_host_per_subset: true } ] },",
        &one(&staged[..1]),
    );
    add("panic", "", &one(&ill));
    const NO_PANIC: &str = "common_lb_config: { healthy_panic_threshold: { value: 0 } },";
    add("no-panic", NO_PANIC, &one(&ill));
    // Policies that hash use no degraded hosts, though these get a share.
    add(
        "half",
        &format!("lb_policy: RING_HASH, {NO_PANIC}"),
        &format!(
            "{{ {} }}, {{ priority: 1, {} }}",
            endpoints(fleet, &[(0, ""), (1, ILL)]),
            endpoints(fleet, &[(2, DEGRADED)])
        ),
    );
    add(
        "checked",
        "health_checks: [ { timeout: 1s, interval: 60s, no_traffic_interval: 60s, \
         unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: / } } ],",
        &one(&all),
    );
    let dns = format!("type: STRICT_DNS, {},", names.resolver());
    let named = |name: &str| {
        let port = fleet.address(0).port();
        format!(
            "{{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {name}, \
             port_value: {port} }} }} }} }} ] }}"
        )
    };
    add("names", &dns, &named("origin.test"));
    add("nobody", &dns, &named("nowhere.test"));
    text
}

struct Setting {
    fleet: Fleet,
    scene: Scene,
    _names: NameServer,
}

impl Setting {
    fn start() -> Self {
        let names = NameServer::start();
        names.set_addresses("origin.test", &["127.0.0.1"]);
        names.set_addresses("nowhere.test", &[]);
        let fleet = Fleet::start(4);
        let program = Program::Ringway(programs::drivers()[0]);
        let scene = Scene::start(&program, &[LISTENER], |_| clusters(&fleet, &names));
        Self {
            fleet,
            scene,
            _names: names,
        }
    }

    fn ask(&self, path: &'static str, headers: Headers) -> Value {
        get("a", path, headers).ask(&self.scene, "hosts", "")
    }

    /// The statuses and hosts of some requests.
    fn play(&self, request: &Request) -> BTreeSet<(u16, String)> {
        let Case {
            steps, expected, ..
        } = request.case("hosts");
        let address = self.scene.address("hosts");
        let once = || {
            let outcome = converse(address, &steps, &expected);
            let answer = outcome.finals().next().expect("an answer");
            let host = answer.header("x-host").unwrap_or("none");
            (answer.status(), host.to_owned())
        };
        (0..REQUESTS).map(|_| once()).collect()
    }

    /// The hosts that are told, by their numbers.
    fn candidates(&self, told: &Value) -> BTreeSet<String> {
        let hosts = items(&told["cluster"]["candidate_hosts"]).iter();
        hosts.map(|host| self.number(&host["name"])).collect()
    }

    fn number(&self, address: &Value) -> String {
        let address = text(address);
        let port = address.rsplit(':').next().expect("a port");
        let ports = self.fleet.ports();
        let place = ports.iter().position(|one| one.to_string() == port);
        place.expect("a host of the fleet").to_string()
    }
}

/// Enough for each of two or three hosts to get one, where they take turns.
const REQUESTS: usize = 4;

#[test]
fn requests_find_a_host_where_that_is_told() {
    let setting = Setting::start();
    for (path, hosts, which) in [
        ("/a", "01", "those of the subset that is asked for"),
        (
            "/none",
            "",
            "none: no subset is what is asked for, and nothing stands in for it",
        ),
        ("/any", "012", "all, without a subset"),
        ("/default", "01", "those of the default subset"),
        ("/ill", "2", "those of the subset that is asked for"),
        ("/single", "0", "those of the subset that is asked for"),
        ("/panic", "01", ""),
        ("/no-panic", "01", ""),
        ("/names", "0", ""),
        ("/nobody", "", ""),
        ("/checked", "012", ""),
    ] {
        let request = get("a", path, &[]);
        let told = setting.ask(path, &[]);
        let expected: BTreeSet<_> = hosts.chars().map(String::from).collect();
        assert_eq!(setting.candidates(&told), expected, "{path} {told:#}");
        let note = &told["cluster"]["candidate_hosts"]["note"];
        assert_eq!(note.as_str().unwrap_or_default(), which, "{path} {told:#}");
        let seen = setting.play(&request);
        let is_refused = !told["answer"].is_null();
        for (status, host) in seen {
            assert_eq!(is_refused, status == 503, "{path} {status} {told:#}");
            assert!(is_refused || expected.contains(&host), "{path} {host}");
        }
        if is_refused {
            let answer = &told["answer"];
            assert_eq!(answer["note"], "flag UH, details no_healthy_upstream");
            let share = &told["choice_of_the_host"]["requests_without_a_host"];
            assert_eq!(share["value"], "100 percent", "{told:#}");
        }
    }
    let told = setting.ask("/panic", &[]);
    let note = "in panic: all hosts are used, whatever their health";
    assert_eq!(items(&told["cluster"]["priorities"])[0]["note"], note);
}

/// Where the hash of a request alone decides, its host is told.
#[test]
fn the_host_of_a_hash_is_told() {
    const KEYS: [Headers; 6] = [
        &[("x-key", "1")],
        &[("x-key", "2")],
        &[("x-key", "3")],
        &[("x-key", "4")],
        &[("x-key", "5")],
        &[("x-key", "6")],
    ];
    let setting = Setting::start();
    for path in ["/hashed", "/maglev", "/bounded"] {
        let mut hosts = BTreeSet::new();
        for headers in KEYS {
            let told = setting.ask(path, headers);
            let choice = &told["choice_of_the_host"];
            let key = &choice["hash_key"];
            assert_eq!(key["note"], "by header x-key", "{told:#}");
            let host = setting.number(match path {
                "/bounded" => &choice["host"]["value"],
                _ => &choice["host"],
            });
            let expected = BTreeSet::from([(200, host.clone())]);
            let seen = setting.play(&get("a", path, headers));
            assert_eq!(seen, expected, "{path} {headers:?} {told:#}");
            hosts.insert(host);
        }
        assert!(hosts.len() > 1, "{path} {hosts:?}");
    }
    let told = setting.ask("/bounded", KEYS[0]);
    let note = "unless it has more than its part of the requests";
    assert_eq!(told["choice_of_the_host"]["host"]["note"], note);
    let told = get("a", "/hashed?k=1", KEYS[0]).ask(&setting.scene, "hosts", "");
    let key = &told["choice_of_the_host"]["hash_key"];
    assert!(told["route"].is_object(), "{told:#}");
    assert_eq!(key["note"], "by header x-key and query parameter k");
    // Without a hash it is any.
    let told = setting.ask("/hashed", &[]);
    assert!(told["choice_of_the_host"]["host"].is_null(), "{told:#}");
}

/// A part of the requests may find a host when another one does not.
#[test]
fn the_share_without_a_host_is_told() {
    let setting = Setting::start();
    let told = setting.ask("/half", &[]);
    assert!(told["answer"].is_null(), "{told:#}");
    // Half of the hosts times 1.4 are 70 %.
    let share = &told["choice_of_the_host"]["requests_without_a_host"];
    assert_eq!(share["value"], "30 percent", "{told:#}");
}

#[test]
fn who_names_the_cluster_is_told() {
    let setting = Setting::start();
    for (path, headers, cluster, note) in [
        (
            "/by-header",
            &[("x-cluster", "ring")][..],
            json!("ring"),
            "the request's header x-cluster is \"ring\"",
        ),
        (
            "/by-header",
            &[("x-cluster", "rong")],
            Value::Null,
            "the request's header x-cluster is \"rong\", which is no cluster",
        ),
        (
            "/by-header",
            &[],
            Value::Null,
            "the request has no header x-cluster",
        ),
        (
            "/by-weight",
            &[("x-cluster", "ring")],
            json!("ring"),
            "picked by weight: 1 of 1; the request's header x-cluster is \"ring\"",
        ),
    ] {
        let told = get("a", path, &[]).ask(
            &setting.scene,
            "hosts",
            &headers
                .iter()
                .map(|(name, value)| format!("&h.{name}={value}"))
                .collect::<String>(),
        );
        assert_eq!(told["cluster"]["value"], cluster, "{told:#}");
        assert_eq!(told["cluster"]["note"], note, "{told:#}");
        assert_eq!(told["answer"].is_null(), !cluster.is_null(), "{told:#}");
    }
}

/// Without a running proxy nobody looks names up or checks hosts.
#[test]
fn the_command_says_what_is_not_known() {
    let setting = Setting::start();
    let file = setting.scene.process.folder().join(CONFIGURATION);
    let ask = |path: &str| {
        let output = Command::new(programs::ringway())
            .arg("explain")
            .arg("-c")
            .arg(&file)
            .args(["--path", path, "--host", "a", "--format", "json"])
            .output()
            .expect("ringway runs");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        items(&told["listeners"])[0].clone()
    };
    for (path, name) in [("/names", "origin.test"), ("/nobody", "nowhere.test")] {
        let told = ask(path);
        let port = setting.fleet.address(0).port();
        let note = format!("looked up at run time: {name}:{port}");
        let hosts = &told["cluster"]["candidate_hosts"];
        assert_eq!(hosts["note"], note, "{told:#}");
        assert!(told["answer"].is_null(), "{told:#}");
        assert!(told["request_as_it_is_sent_upstream"].is_object());
    }
    let told = ask("/checked");
    let hosts = &told["cluster"]["candidate_hosts"];
    assert_eq!(hosts["note"], "as if all had passed their health checks");
    assert_eq!(items(hosts)[0]["health"], "healthy", "{told:#}");
    assert!(told["answer"].is_null(), "{told:#}");
    let told = ask("/no-panic");
    assert_eq!(told["answer"]["value"], 503, "{told:#}");
    let told = ask("/none");
    assert_eq!(told["answer"]["value"], 503, "{told:#}");
}
