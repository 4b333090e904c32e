//! Names that change, and name servers that fail, while requests run.

use super::traffic::{Traffic, ask};
use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::fleet::Fleet;
use ringway_tests::name_server::{NameServer, Reply};
use ringway_tests::process::{Process, Program, each_driver};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const LISTENER: Listener = Listener {
    name: "live",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: / }, route: { cluster: names } }\n",
};

/// Long enough for a loaded machine; nothing waits for all of it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy in front of a cluster of one name, `a.test`.
pub struct Scene {
    pub process: Process,
    server: NameServer,
    pub fleet: Fleet,
}

impl Scene {
    /// `fields` of the cluster in flow style, each with its comma. At first
    /// the name has the addresses of `hosts`.
    pub fn start(program: &Program, hosts: &[usize], fields: &str) -> Self {
        let server = NameServer::start();
        let fleet = Fleet::start_on_one_port(3);
        let scene = |process, server, fleet| Self {
            process,
            server,
            fleet,
        };
        let port = fleet.address(0).port();
        let clusters = format!(
            "- {{ name: names, {fields} {}, load_assignment: {{ cluster_name: names, endpoints: [ \
             {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: a.test, \
             port_value: {port} }} }} }} }} ] }} ] }} }}\n",
            server.resolver()
        );
        server.set("a.test", addresses(hosts, 1));
        let process = Process::start(program, &bootstrap(&[LISTENER], &clusters));
        scene(process, server, fleet)
    }

    pub fn set(&self, hosts: &[usize]) {
        self.server.set("a.test", addresses(hosts, 1));
    }

    /// When the name was looked up, until there were so many look-ups.
    pub fn await_look_ups(&self, count: usize) -> Vec<Instant> {
        let begun = Instant::now();
        loop {
            let asked = self.server.asked().into_iter();
            let times: Vec<_> = asked.map(|question| question.at).collect();
            if times.len() >= count {
                return times;
            }
            assert!(begun.elapsed() < PATIENCE, "{} look-ups", times.len());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.process.admin().stat(&format!("cluster.names.{name}"))
    }

    /// Waits until the cluster has as many hosts.
    pub fn await_hosts(&self, count: u64) {
        let name = "cluster.names.membership_total";
        let (stats, reached) = (self.process.admin()).await_stats(PATIENCE, |stats| {
            stats.get(name).copied().unwrap_or(0) == count
        });
        assert!(reached, "{:?} hosts, not {count}", stats.get(name));
    }

    /// Waits until a counter has moved by `more`.
    pub fn await_more(&self, stat: &str, more: u64) {
        let name = format!("cluster.names.{stat}");
        let before = self.process.admin().stat(&name);
        let (_, moved) = (self.process.admin()).await_stats(PATIENCE, |stats| {
            stats.get(&name).copied().unwrap_or(0) >= before + more
        });
        assert!(moved, "{stat} has not moved by {more}");
    }

    /// Waits until a host gets requests that come now.
    fn await_requests(&self, host: usize) {
        let before = self.fleet.requests(host);
        let begun = Instant::now();
        while self.fleet.requests(host) == before {
            assert!(begun.elapsed() < PATIENCE, "host {host} gets no requests");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn addresses(hosts: &[usize], ttl: u32) -> Reply {
    let ip = |host: &usize| [127, 0, 0, *host as u8 + 2].into();
    Reply::Addresses(hosts.iter().map(ip).collect(), ttl)
}

const FAST: &str = "type: STRICT_DNS, dns_refresh_rate: 0.05s,";

/// Hosts come and go a hundred times; no request notices.
#[test]
fn records_change_and_no_request_fails() {
    each_driver(|program| {
        let scene = Scene::start(program, &[0], FAST);
        let traffic = Traffic::start(scene.process.listener("live"));
        scene.await_requests(0);
        for round in 0..5 {
            scene.set(&[1, 2]);
            scene.await_hosts(2);
            scene.await_requests(1);
            scene.await_requests(2);
            scene.set(&[round % 3]);
            scene.await_hosts(1);
            scene.await_requests(round % 3);
        }
        let statuses = traffic.stop();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
        // What went to hosts that are gone is closed.
        let (stats, closed) = scene.process.admin().await_stats(PATIENCE, |stats| {
            let active = stats.get("cluster.names.upstream_cx_active");
            active.copied().unwrap_or(0) <= 4
        });
        assert!(closed, "{stats:?}");
    });
}

/// The one host of a logical cluster moves.
#[test]
fn a_logical_host_moves_and_no_request_fails() {
    each_driver(|program| {
        let fields = "type: LOGICAL_DNS, dns_refresh_rate: 0.05s,";
        let scene = Scene::start(program, &[0, 1], fields);
        let traffic = Traffic::start(scene.process.listener("live"));
        for host in [1, 2, 0, 2, 1] {
            scene.set(&[host, (host + 1) % 3]);
            scene.await_requests(host);
            assert_eq!(scene.stat("membership_total"), 1);
        }
        let statuses = traffic.stop();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    });
}

/// Whatever a name server does instead of answering, the hosts stay.
#[test]
fn failures_keep_the_hosts() {
    each_driver(|program| {
        let scene = Scene::start(program, &[0, 1], FAST);
        let traffic = Traffic::start(scene.process.listener("live"));
        for failure in [
            Reply::Error(2),
            Reply::Error(5),
            Reply::Silence,
            Reply::Garbage(vec![]),
            Reply::Garbage(vec![0; 10]),
            Reply::Garbage(vec![0xc0; 300]),
        ] {
            let what = format!("{failure:?}");
            scene.server.set("a.test", failure);
            scene.await_more("update_failure", 1);
            assert_eq!(scene.stat("membership_total"), 2, "{what}");
            scene.await_requests(0);
            scene.await_requests(1);
        }
        scene.set(&[2]);
        scene.await_hosts(1);
        scene.await_requests(2);
        let statuses = traffic.stop();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
    });
}

/// A name that is there, then not, then there again: 503 for as long as it is
/// not, and 200 again afterwards.
#[test]
fn a_name_that_flaps_comes_back() {
    each_driver(|program| {
        let scene = Scene::start(program, &[0], FAST);
        let address = scene.process.listener("live");
        let traffic = Traffic::start(address);
        let mut stream = TcpStream::connect(address).expect("a connection");
        assert_eq!(ask(&mut stream).status(), 200);
        for host in [1, 2, 0] {
            scene.server.set("a.test", Reply::Error(3));
            scene.await_hosts(0);
            let begun = Instant::now();
            // The workers hear of it a moment later than the gauge.
            while ask(&mut stream).status() == 200 {
                assert!(begun.elapsed() < PATIENCE);
            }
            scene.set(&[host]);
            scene.await_hosts(1);
            while ask(&mut stream).status() != 200 {
                assert!(begun.elapsed() < PATIENCE);
            }
        }
        let statuses = traffic.stop();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200, &503]);
    });
}

/// A server without answers delays the start for as long as its questions
/// last, and not for ever; then listeners are open and the cluster is empty.
#[test]
fn the_start_waits_for_names_and_not_for_ever() {
    each_driver(|program| {
        let begun = Instant::now();
        let server = NameServer::start();
        server.set("a.test", Reply::Silence);
        let clusters = format!(
            "- {{ name: names, {FAST} dns_lookup_family: V4_ONLY, {}, load_assignment: {{ \
             cluster_name: names, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ \
             socket_address: {{ address: a.test, port_value: 80 }} }} }} }} ] }} ] }} }}\n",
            server.resolver()
        );
        let process = Process::start(program, &bootstrap(&[LISTENER], &clusters));
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert!(process.admin().stat("cluster.names.update_failure") >= 1);
        let mut stream = TcpStream::connect(process.listener("live")).expect("a connection");
        assert_eq!(ask(&mut stream).status(), 503);
    });
}

/// `respect_dns_ttl`: records that live for a second are asked for again after
/// one, whatever `dns_refresh_rate` says; longer ones are not.
#[test]
fn the_time_to_live_is_respected() {
    each_driver(|program| {
        let fields = "type: STRICT_DNS, dns_refresh_rate: 600s, respect_dns_ttl: true,";
        let scene = Scene::start(program, &[0], fields);
        scene.set(&[1]);
        let begun = Instant::now();
        scene.await_more("update_attempt", 1);
        assert!(begun.elapsed() < Duration::from_secs(60));
        scene.server.set("a.test", addresses(&[1], 300));
        // One more question brings the longer time, at most two.
        let mut asked = 0;
        while asked != scene.stat("update_attempt") {
            assert!(begun.elapsed() < 2 * PATIENCE, "it goes on asking");
            asked = scene.stat("update_attempt");
            thread::sleep(Duration::from_millis(1500));
        }
    });
}

/// `dns_min_refresh_rate`, and a failure that is tried again by its back-off.
#[test]
fn failures_are_asked_again_by_their_back_off() {
    each_driver(|program| {
        let fields = "type: STRICT_DNS, dns_refresh_rate: 600s, \
                      dns_failure_refresh_rate: { base_interval: 0.02s, max_interval: 0.1s },";
        let server_down = Scene::start(program, &[], fields);
        // No addresses are an answer.
        assert_eq!(server_down.stat("update_success"), 1);
        assert_eq!(server_down.stat("update_failure"), 0);
        let server = NameServer::start();
        server.set("a.test", Reply::Error(2));
        let clusters = format!(
            "- {{ name: names, {fields} {}, load_assignment: {{ cluster_name: names, endpoints: \
             [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: a.test, \
             port_value: 80 }} }} }} }} ] }} ] }} }}\n",
            server.resolver()
        );
        let process = Process::start(program, &bootstrap(&[LISTENER], &clusters));
        let failures = "cluster.names.update_failure";
        let (_, often) = process.admin().await_stats(PATIENCE, |stats| {
            stats.get(failures).copied().unwrap_or(0) >= 10
        });
        assert!(often);
        server.set_addresses("a.test", &["127.0.0.2"]);
        let (_, found) = process.admin().await_stats(PATIENCE, |stats| {
            stats.get("cluster.names.membership_total") == Some(&1)
        });
        assert!(found);
        // From here on there is time.
        let attempts = process.admin().stat("cluster.names.update_attempt");
        thread::sleep(Duration::from_millis(500));
        let more = process.admin().stat("cluster.names.update_attempt") - attempts;
        assert_eq!(more, 0);
    });
}

/// 5,000 addresses, which are so many that they go over TCP, come and go while
/// requests run: 4,000 of one family, which is what an answer can carry, and 1,000
/// of the other.
#[test]
fn thousands_of_records_come_and_go() {
    each_driver(|program| {
        let both = format!("{FAST} dns_lookup_family: ALL,");
        let scene = Scene::start(program, &[0], &both);
        let traffic = Traffic::start(scene.process.listener("live"));
        scene.await_requests(0);
        // Only the first three exist; the others would refuse, so they are of
        // no weight in a test of what fails: the cluster retries nothing.
        let many = (0..4000_u16).map(|i| [127, 1, (i / 250) as u8, (i % 250) as u8 + 1].into());
        let more = (1..=1000_u16).map(|i| [0, 0, 0, 0, 0, 0xffff, 0x7f02, i].into());
        let all = many.chain(more).collect();
        scene.server.set("a.test", Reply::Addresses(all, 1));
        scene.await_hosts(5000);
        scene.set(&[0, 1, 2]);
        scene.await_hosts(3);
        scene.await_requests(1);
        let statuses = traffic.stop();
        assert!(
            statuses.keys().all(|status| [200, 503].contains(status)),
            "{statuses:?}"
        );
        let over_tcp = scene
            .server
            .asked()
            .iter()
            .filter(|asked| asked.over_tcp)
            .count();
        assert!(over_tcp > 0);
        let mut stream = TcpStream::connect(scene.process.listener("live")).expect("a connection");
        assert!((0..20).all(|_| ask(&mut stream).status() == 200));
    });
}
