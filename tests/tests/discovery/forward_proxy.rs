//! Names that requests of a dynamic forward proxy ask for: looked up once for
//! all workers, again when they are old, and forgotten.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::fleet::Fleet;
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::time::{Duration, Instant};

const TYPE: &str = "\"@type\": type.googleapis.com/envoy.extensions";
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    process: Process,
    server: NameServer,
    fleet: Fleet,
    port: u16,
}

impl Scene {
    /// `fields` of the cache, each with its comma. `a.test` is host 0.
    fn start(program: &Program, fields: &str, flags: &[&str]) -> Self {
        let (server, fleet) = (NameServer::start(), Fleet::start_on_one_port(2));
        server.set("a.test", address(0));
        let cache = format!(
            "dns_cache_config: {{ name: names, {fields} dns_lookup_family: V4_ONLY, {} }}",
            server.resolver()
        );
        let manager = format!(
            "http_filters:\n- {{ name: proxy, typed_config: {{ \
             {TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig, {cache} }} }}\n\
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
            "- {{ name: proxy, lb_policy: CLUSTER_PROVIDED, cluster_type: {{ name: x, typed_config: \
             {{ {TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig, {cache} }} }} }}\n"
        );
        let configuration = bootstrap(&[listener], &cluster);
        Self {
            process: Process::start_with(program, &configuration, flags),
            port: fleet.address(0).port(),
            server,
            fleet,
        }
    }

    /// Asks for a host by its name on a connection of its own.
    fn ask(&self, name: &str) -> u16 {
        let request = format!("GET / HTTP/1.1\r\nhost: {name}:{}\r\n\r\n", self.port);
        let steps = [Step::Send(request.into_bytes())];
        let address = self.process.listener("proxy");
        let outcome = converse(address, &steps, &Expectation::default());
        outcome
            .messages
            .first()
            .map_or(0, ringway_tests::message::Message::status)
    }

    fn await_stat(&self, name: &str, value: u64) {
        let (stats, reached) =
            (self.process.admin()).await_stats(PATIENCE, |stats| stats.get(name) == Some(&value));
        assert!(reached, "{name} is {:?}, not {value}", stats.get(name));
    }
}

fn address(host: u8) -> Reply {
    Reply::Addresses(vec![[127, 0, 0, host + 2].into()], 1)
}

#[test]
fn a_name_is_looked_up_once_for_all_workers() {
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let scene = Scene::start(
            &program,
            "dns_min_refresh_rate: 3600s,",
            &["--concurrency", "4"],
        );
        // On 40 connections of 4 workers, one of which has none with a chance
        // of less than 1 in 10^4.
        for _ in 0..40 {
            assert_eq!(scene.ask("a.test"), 200);
        }
        assert_eq!(scene.server.asked().len(), 1);
        assert_eq!(scene.fleet.requests(0), 40);
        let admin = scene.process.admin();
        for (name, value) in [
            ("dns_cache.names.num_hosts", 1),
            ("dns_cache.names.host_added", 1),
            ("dns_cache.names.dns_query_attempt", 1),
            ("cluster.proxy.membership_total", 1),
            ("cluster.proxy.membership_change", 1),
        ] {
            assert_eq!(admin.stat(name), value, "{name}");
        }
        let listed = admin.get("/clusters").text();
        let host = format!("proxy::127.0.0.2:{}", scene.port);
        assert!(
            listed.contains(&format!("{host}::rq_total::40\n")),
            "{listed}"
        );
        let name = format!("{host}::hostname::a.test:{}\n", scene.port);
        assert!(listed.contains(&name), "{listed}");
        let explained = admin.get("/explain?path=/&host=b.test").text();
        assert!(explained.contains("destination: b.test:80"), "{explained}");
    }
}

#[test]
fn requests_follow_a_name_that_moves() {
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let scene = Scene::start(&program, "dns_min_refresh_rate: 1s,", &[]);
        assert_eq!(scene.ask("a.test"), 200);
        scene.server.set("a.test", address(1));
        scene.await_stat("dns_cache.names.host_address_changed", 2);
        // The workers know a moment after it is counted.
        let begun = Instant::now();
        while scene.fleet.requests(1) == 0 {
            assert_eq!(scene.ask("a.test"), 200);
            assert!(begun.elapsed() < PATIENCE, "no request goes there");
        }
        // A server that fails takes nothing away.
        scene.server.set("a.test", Reply::Error(2));
        let failed = "dns_cache.names.dns_query_failure";
        let (_, has_failed) =
            (scene.process.admin()).await_stats(PATIENCE, |stats| stats.get(failed) > Some(&0));
        assert!(has_failed);
        assert_eq!(scene.ask("a.test"), 200);
        assert_eq!(scene.fleet.requests(1), 2);
        // Nor is it a change of members that a host is elsewhere.
        assert_eq!(
            scene
                .process
                .admin()
                .stat("cluster.proxy.membership_change"),
            1
        );
    }
}

#[test]
fn a_name_that_nobody_wants_is_forgotten() {
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let fields = "dns_min_refresh_rate: 1s, host_ttl: 0.5s,";
        let scene = Scene::start(&program, fields, &[]);
        assert_eq!(scene.ask("a.test"), 200);
        scene.await_stat("dns_cache.names.host_removed", 1);
        scene.await_stat("dns_cache.names.num_hosts", 0);
        scene.await_stat("cluster.proxy.membership_total", 0);
        scene.await_stat("cluster.proxy.membership_change", 2);
        assert_eq!(scene.ask("a.test"), 200);
        scene.await_stat("dns_cache.names.host_added", 2);
    }
}
