//! Dynamic forward proxies that make a cluster of each host that requests name: what
//! is made, how long it stays, and what becomes of requests meanwhile.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::logs;
use ringway_tests::message::Message;
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::process::{Process, Program, all_programs, each_driver};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const TYPE: &str = "\"@type\": type.googleapis.com/envoy.extensions";
const PATIENCE: Duration = Duration::from_secs(20);

/// What is logged: nothing that changes from run to run.
const LOG: &str = "%REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
     %UPSTREAM_CLUSTER% %UPSTREAM_HOST%";

/// The hosts behind names, and who knows these. All programs ask the same.
struct World {
    server: NameServer,
    fleet: RefCell<Fleet>,
    port: u16,
    /// How long the programs wait for the name server.
    dns_seconds: u32,
}

impl World {
    /// `a.test` is host 0, `b.test` host 1, `both.test` is both.
    fn new() -> Self {
        Self::within(1)
    }

    /// The same for programs that wait so long for the name server.
    fn within(dns_seconds: u32) -> Self {
        let (server, fleet) = (NameServer::start(), Fleet::start_on_one_port(2));
        server.set("a.test", addresses(&[0]));
        server.set("b.test", addresses(&[1]));
        server.set("both.test", addresses(&[0, 1]));
        server.set("broken.test", Reply::Error(2));
        server.set("silent.test", Reply::Silence);
        Self {
            server,
            port: fleet.address(0).port(),
            fleet: RefCell::new(fleet),
            dns_seconds,
        }
    }

    fn requests(&self, host: usize) -> usize {
        self.fleet.borrow().requests(host)
    }

    /// A proxy whose cluster `proxy` has these `fields`, each with its comma, and
    /// sub-clusters with these; `filter` is what the filter has.
    fn start(&self, program: &Program, fields: &str, sub: &str, flags: &[&str]) -> Scene<'_> {
        let filter = "sub_cluster_config: { cluster_init_timeout: 15s }";
        self.start_with(program, filter, fields, sub, flags)
    }

    fn start_with(
        &self,
        program: &Program,
        filter: &str,
        fields: &str,
        sub: &str,
        flags: &[&str],
    ) -> Scene<'_> {
        let manager = format!(
            "access_log:\n- {{ name: log, typed_config: {{ {TYPE}.access_loggers.file.v3.FileAccessLog, \
             path: \"{{DIR}}/log\", log_format: {{ text_format_source: {{ inline_string: \
             \"{LOG}\\n\" }} }} }} }}\n\
             http_filters:\n- {{ name: proxy, typed_config: {{ \
             {TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig, {filter} }} }}\n\
             - {{ name: router, typed_config: {{ {TYPE}.filters.http.router.v3.Router }} }}\n"
        );
        let listener = Listener {
            name: "proxy",
            // What listeners are made of lives as long as the process.
            manager: manager.leak(),
            hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
                    - { match: { prefix: / }, route: { cluster: proxy } }\n",
        };
        let cluster = format!(
            "- {{ name: proxy, lb_policy: CLUSTER_PROVIDED, {fields} dns_lookup_family: V4_PREFERRED, \
             dns_refresh_rate: 3600s, {}, cluster_type: {{ name: \
             envoy.clusters.dynamic_forward_proxy, typed_config: {{ \
             {TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig, \
             allow_insecure_cluster_options: true, sub_clusters_config: {{ {sub} }} }} }} }}\n",
            self.server.resolver_within(self.dns_seconds)
        );
        let configuration = bootstrap(&[listener], &cluster);
        Scene {
            process: Process::start_with(program, &configuration, flags),
            world: self,
        }
    }
}

fn addresses(hosts: &[u8]) -> Reply {
    let ips = hosts.iter().map(|host| [127, 0, 0, host + 2].into());
    Reply::Addresses(ips.collect(), 3600)
}

struct Scene<'w> {
    process: Process,
    world: &'w World,
}

impl Scene<'_> {
    /// Asks for a host on a connection of its own.
    fn ask_for(&self, host: &str) -> Message {
        ask(self.process.listener("proxy"), host)
    }

    /// The same, on the hosts' port.
    fn ask(&self, name: &str) -> Message {
        self.ask_for(&format!("{name}:{}", self.world.port))
    }

    fn await_stat(&self, name: &str, value: u64) {
        let (stats, reached) = (self.process.admin()).await_stats(PATIENCE, |stats| {
            stats.get(name).copied().unwrap_or(0) == value
        });
        assert!(reached, "{name} is {:?}, not {value}", stats.get(name));
    }

    /// The sub-clusters of `/clusters`.
    fn listed(&self) -> BTreeSet<String> {
        let text = self.process.admin().get("/clusters").text();
        let lines = text.lines().filter_map(|line| line.split_once("::obs"));
        let names = lines.map(|(name, _)| name.to_owned());
        names
            .filter(|name| name.starts_with("DFPCluster:"))
            .collect()
    }

    /// Names and values in `/stats`, used or not, that have this in them.
    fn counted(&self, part: &str) -> Vec<String> {
        let text = self.process.admin().get("/stats").text();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(str::to_owned).collect()
    }

    /// Waits until no name in `/stats` has this in it.
    fn await_uncounted(&self, part: &str) {
        let begun = Instant::now();
        loop {
            let left = self.counted(part);
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{left:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many requests are logged.
    fn logged(&self, lines: usize) -> Vec<String> {
        let path = self.process.folder().join("log");
        let logged = logs::await_lines(&path, 0, lines, PATIENCE);
        assert!(logged.len() >= lines, "{logged:?}");
        logged
    }

    /// The clusters of `/config_dump` that came at run time, and their hosts.
    fn dumped(&self) -> Vec<Value> {
        let text = self.process.admin().get("/config_dump?include_eds").text();
        let dump: Value = serde_json::from_str(&text).expect("it is JSON");
        let mut found = Vec::new();
        for section in dump["configs"].as_array().expect("sections") {
            for field in ["dynamic_active_clusters", "dynamic_endpoint_configs"] {
                found.extend(section[field].as_array().into_iter().flatten().cloned());
            }
        }
        for one in &mut found {
            if let Some(fields) = one.as_object_mut() {
                fields.remove("last_updated");
            }
            // Who they are: what is said of them is that of all clusters of names.
            one["endpoint_config"]["policy"] = Value::Null;
            let groups = &one["endpoint_config"]["endpoints"];
            if groups.is_array() {
                let hosts = groups[0]["lb_endpoints"].as_array().into_iter().flatten();
                let addresses = hosts.map(|host| host["endpoint"]["address"].clone());
                let addresses: Vec<_> = addresses.collect();
                one["endpoint_config"]["endpoints"] = addresses.into();
            }
        }
        found.iter_mut().for_each(Value::sort_all_objects);
        found.sort_by_key(Value::to_string);
        found
    }
}

fn ask(address: std::net::SocketAddr, host: &str) -> Message {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let steps = [Step::Send(request.into_bytes())];
    let expected = Expectation {
        patience: PATIENCE,
        ..Expectation::default()
    };
    let outcome = converse(address, &steps, &expected);
    let answer = outcome.messages.into_iter().next();
    answer.unwrap_or_else(|| panic!("{host}: {:?} after {:?}", outcome.end, outcome.took))
}

/// Statistics that do not change from run to run.
fn is_steady(line: &str) -> bool {
    [
        "_ms",
        "_time",
        "bytes",
        "lb_recalculate",
        "cx_lent",
        "rq_resent",
        "_length",
        "inflated",
    ]
    .iter()
    .all(|part| !line.contains(part))
        && !line.ends_with(": 0")
}

const SUB: &str = "max_sub_clusters: 5, sub_cluster_ttl: 3600s";
const MANY: &str = "max_sub_clusters: 20, sub_cluster_ttl: 3600s";

/// Everything that is seen of names of all kinds.
fn play(world: &World, program: &Program, fields: &str, sub: &str) -> Vec<String> {
    let scene = world.start(program, fields, sub, &["--concurrency", "1"]);
    let mut seen = Vec::new();
    let port = world.port;
    let asked = [
        format!("a.test:{port}"),
        format!("a.test:{port}"),
        format!("A.TEST:{port}"),
        format!("127.0.0.2:{port}"),
        "[::1]".to_owned(),
        format!("nobody.test:{port}"),
        // One too many.
        format!("b.test:{port}"),
        format!("a.test:{port}"),
    ];
    for host in &asked {
        let answer = scene.ask_for(host);
        seen.push(format!("{host} {} {}", answer.status(), answer.text()));
    }
    seen.extend(scene.logged(asked.len()));
    let text = scene.process.admin().get("/clusters").text();
    let lines = text.lines().filter(|line| line.contains("_name::"));
    seen.extend(lines.map(str::to_owned).collect::<BTreeSet<_>>());
    let counted = scene.counted("cluster");
    seen.extend(counted.into_iter().filter(|line| is_steady(line)));
    seen.extend(scene.dumped().iter().map(Value::to_string));
    seen
}

#[test]
fn a_cluster_is_made_of_each_host_as_in_envoy() {
    let test = "a_cluster_is_made_of_each_host_as_in_envoy";
    let world = World::new();
    if let Some(seen) = as_in_envoy(test, |program| play(&world, program, "", SUB)) {
        let has = |part: &str| seen.iter().any(|line| line.contains(part));
        assert!(
            has("sub_cluster_overflow") && has("DFPCluster:::1:80"),
            "{seen:#?}"
        );
    }
}

/// Names that are written in another way: a port with zeros before it is the same
/// port, and a name with a dot at its end is asked for whatever the hosts file says.
#[test]
fn names_are_taken_as_in_envoy() {
    let test = "names_are_taken_as_in_envoy";
    let world = World::new();
    let known = name_of_this_machine();
    if let Some(known) = &known {
        world.server.set(known, addresses(&[1]));
    } else {
        println!("skipped: {test} (a name in the hosts file)");
    }
    world.server.set("localhost", addresses(&[1]));
    let seen = as_in_envoy(test, |program| {
        let scene = world.start(program, "", MANY, &["--concurrency", "1"]);
        let port = world.port;
        let mut asked = vec![
            format!("a.test:{port}"),
            // Nobody is there.
            "a.test:9".to_owned(),
            "a.test:09".to_owned(),
            "a.test:0009".to_owned(),
            "a.test:0000009".to_owned(),
            "[::1]:09".to_owned(),
            format!("[127.0.0.2]:0000{port}"),
            // Nobody is at this address of the machine.
            format!("x.localhost:{port}"),
            format!("localhost.:{port}"),
        ];
        if let Some(known) = &known {
            asked.push(format!("{known}.:{port}"));
        }
        let mut seen = Vec::new();
        for host in &asked {
            let answer = scene.ask_for(host);
            seen.push(format!("{host} {}", answer.status()));
        }
        seen.extend(scene.logged(asked.len()));
        seen.extend(scene.listed());
        // The filter has a cache of no name, which nobody asks.
        seen.extend(scene.counted("dns_cache."));
        seen
    });
    if let Some(seen) = seen {
        let has = |part: &str| seen.iter().any(|line| line.contains(part));
        assert!(has("DFPCluster:a.test:9"), "{seen:#?}");
        assert!(
            has("localhost.:") && has("DFPCluster:127.0.0.2:"),
            "{seen:#?}"
        );
        assert!(has("dns_cache.num_hosts: 0"), "{seen:#?}");
        if let Some(known) = known {
            assert!(has(&format!("{known}.:{} 200", world.port)), "{seen:#?}");
        }
    }
}

/// A name in the hosts file that is not known to be this machine without it.
fn name_of_this_machine() -> Option<String> {
    let text = fs::read_to_string("/etc/hosts").ok()?;
    let names = text.lines().filter(|line| line.starts_with("127."));
    let mut names = names.flat_map(|line| line.split_whitespace().skip(1));
    let name = names.find(|name| !name.contains(['#', '.']) && *name != "localhost")?;
    Some(name.to_lowercase())
}

/// What the cluster says beside is said of its sub-clusters, too.
#[test]
fn sub_clusters_are_as_their_parent_as_in_envoy() {
    let test = "sub_clusters_are_as_their_parent_as_in_envoy";
    let world = World::new();
    let fields = "connect_timeout: 2s, circuit_breakers: { thresholds: [ { max_connections: 7, \
         track_remaining: true } ] }, load_assignment: { cluster_name: proxy, policy: { \
         overprovisioning_factor: 100 } }, typed_extension_protocol_options: { \
         envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
         common_http_protocol_options: { max_requests_per_connection: 1 }, \
         explicit_http_config: { http_protocol_options: {} } } },";
    for more in [
        "lb_policy: LEAST_REQUEST",
        "dns_cluster_config: { dns_lookup_family: V6_ONLY }",
        "dns_cluster_config: { dns_lookup_family: V4_PREFERRED }",
    ] {
        let sub = format!("{SUB}, {more}");
        let seen = as_in_envoy(test, |program| play(&world, program, fields, &sub));
        if let Some(seen) = seen {
            let has = |part: &str| seen.iter().any(|line| line.contains(part));
            assert!(
                has("remaining_cx: 7") && has("max_connections"),
                "{seen:#?}"
            );
        }
    }
}

/// Requests wait so long for a name of which nothing is heard, and for one that
/// cannot be looked up no longer than that is known.
#[test]
fn names_that_are_not_answered_as_in_envoy() {
    let test = "names_that_are_not_answered_as_in_envoy";
    // Long enough for no program to be slower than the other side.
    let world = World::within(15);
    let seen = as_in_envoy(test, |program| {
        // The other one is never reached.
        let limits = [
            (3, &["silent.test"][..]),
            (60, &["broken.test", "broken.test"]),
        ];
        limits.map(|(seconds, names)| {
            let filter = format!("sub_cluster_config: {{ cluster_init_timeout: {seconds}s }}");
            let flags = ["--concurrency", "1"];
            let scene = world.start_with(program, &filter, "", SUB, &flags);
            let answers = names.iter().map(|name| scene.ask(name));
            let answers: Vec<_> = answers
                .map(|answer| (answer.status(), answer.text()))
                .collect();
            (answers, scene.logged(names.len()))
        })
    });
    if let Some([(silent, _), (broken, _)]) = seen {
        let late = "Sub cluster warming timeout";
        assert_eq!(silent[0].1, late);
        assert!(broken.iter().all(|(_, text)| text != late), "{broken:?}");
    }
}

/// A cache in the filter is nothing to a cluster that makes clusters.
#[test]
fn a_filter_with_a_cache_as_in_envoy() {
    let test = "a_filter_with_a_cache_as_in_envoy";
    let world = World::new();
    let cache = format!(
        "dns_cache_config: {{ name: names, {} }}",
        world.server.resolver()
    );
    let seen = as_in_envoy(test, |program| {
        let flags = ["--concurrency", "1"];
        let scene = world.start_with(program, &cache, "", SUB, &flags);
        let answer = scene.ask("a.test");
        (
            answer.status(),
            answer.text(),
            scene.listed(),
            scene.logged(1),
        )
    });
    if let Some((status, _, listed, _)) = seen {
        assert_eq!((status, listed.len()), (200, 1));
    }
}

/// First requests for a name that come at once on all workers have one cluster made.
#[test]
fn a_cluster_is_made_once_for_all_workers() {
    for program in all_programs("a_cluster_is_made_once_for_all_workers") {
        let world = World::new();
        let scene = world.start(&program, "", SUB, &["--concurrency", "4"]);
        let address = scene.process.listener("proxy");
        let host = format!("both.test:{}", world.port);
        let clients: Vec<_> = (0..40)
            .map(|_| {
                let host = host.clone();
                thread::spawn(move || ask(address, &host).status())
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().expect("an answer"), 200, "{}", program.name());
        }
        assert_eq!(world.server.asked().len(), 1, "{}", program.name());
        let admin = scene.process.admin();
        assert_eq!(admin.stat("cluster_manager.cluster_added"), 2);
        assert_eq!(admin.stat("cluster_manager.active_clusters"), 2);
        // Its hosts take turns.
        let requests = [world.requests(0), world.requests(1)];
        assert!(requests[0] + requests[1] == 40 && requests[0] > 0 && requests[1] > 0);
    }
}

/// A cluster that nobody uses ends. What has begun there it finishes, and then
/// nothing is left of it, until somebody asks for it again.
#[test]
fn a_cluster_ends_with_requests_in_flight() {
    for program in all_programs("a_cluster_ends_with_requests_in_flight") {
        let world = World::new();
        let sub = "sub_cluster_ttl: 0.5s";
        let scene = world.start(&program, "", sub, &["--concurrency", "2"]);
        world.fleet.borrow().set(0, Manner::Hang);
        let address = scene.process.listener("proxy");
        let host = format!("a.test:{}", world.port);
        let stuck: Vec<_> = (0..3)
            .map(|_| {
                let host = host.clone();
                thread::spawn(move || ask(address, &host))
            })
            .collect();
        let begun = Instant::now();
        while world.requests(0) < 3 {
            assert!(begun.elapsed() < PATIENCE, "{}", program.name());
            thread::sleep(Duration::from_millis(2));
        }
        scene.await_stat("cluster_manager.cluster_removed", 1);
        scene.await_stat("cluster_manager.active_clusters", 1);
        assert!(scene.listed().is_empty(), "{}", program.name());
        assert!(scene.dumped().is_empty(), "{}", program.name());
        let prefix = format!("cluster.DFPCluster_a.test_{}.", world.port);
        // It counts as long as it has something to count.
        let active = format!("{prefix}upstream_rq_active: 3");
        assert!(
            scene.counted(&prefix).contains(&active),
            "{}",
            program.name()
        );
        // One who asks now gets another cluster, and the hosts as they are now.
        world.server.set("a.test", addresses(&[1]));
        let answer = scene.ask("a.test");
        assert_eq!((answer.status(), answer.text()), (200, "1".to_owned()));
        assert_eq!(
            scene.process.admin().stat("cluster_manager.cluster_added"),
            3
        );
        scene.await_stat("cluster_manager.cluster_removed", 2);
        // Requests that fail do so in the cluster that they have begun in.
        world.fleet.borrow_mut().kill(0);
        for answer in stuck {
            assert_eq!(answer.join().expect("an answer").status(), 503);
        }
        scene.await_uncounted(&prefix);
    }
}

/// Clusters come and go while requests run: none fails but those that are told that
/// there are too many.
#[test]
fn clusters_come_and_go_under_load() {
    // Envoy ends clusters whose hosts are still looked for, and leaves requests waiting.
    each_driver(|program| {
        let world = World::new();
        let sub = "sub_cluster_ttl: 0.1s, max_sub_clusters: 100";
        let scene = world.start(program, "", sub, &["--concurrency", "2"]);
        for number in 0..60 {
            let name = format!("{number}.test");
            world.server.set(&name, addresses(&[(number % 2) as u8]));
        }
        let address = scene.process.listener("proxy");
        let port = world.port;
        let clients: Vec<_> = (0..6)
            .map(|client| {
                thread::spawn(move || {
                    for round in 0..60 {
                        let number = (client * 10 + round) % 60;
                        let answer = ask(address, &format!("{number}.test:{port}"));
                        let told = (answer.status(), answer.text());
                        assert_eq!(told, (200, (number % 2).to_string()), "{number}");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().expect("all is answered");
        }
        scene.await_stat("cluster_manager.active_clusters", 1);
        let stats = scene.process.admin().stats();
        let [added, removed] = ["cluster_added", "cluster_removed"]
            .map(|name| stats.get(&format!("cluster_manager.{name}")).copied());
        assert!(added >= Some(61), "{}: {added:?}", program.name());
        assert_eq!(removed.map(|removed| removed + 1), added);
        scene.await_uncounted("cluster.DFPCluster_");
    });
}
