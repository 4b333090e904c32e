//! Hosts that are taken away while they answer, and what is left of hosts that
//! were there once.

use super::eds::put;
use super::traffic::{Traffic, ask};
use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::fleet::{Fleet, Manner};
use ringway_tests::process::{Process, Program, compared_programs, each_driver};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LISTENER: Listener = Listener {
    name: "removal",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: / }, route: { cluster: named } }\n",
};

/// Long enough for a loaded machine; nothing waits for all of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy in front of a cluster whose hosts a file names.
pub struct Scene {
    pub process: Process,
    _folder: TempDir,
    place: PathBuf,
}

impl Scene {
    fn start(program: &Program, hosts: &[SocketAddr]) -> Self {
        Self::start_with(program, hosts, "")
    }

    /// `fields` are further ones of the cluster, in flow style, each with its
    /// comma.
    pub fn start_with(program: &Program, hosts: &[SocketAddr], fields: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("hosts.json");
        put(&place, &assignment(hosts));
        let clusters = format!(
            "- {{ name: named, type: EDS, {fields} eds_cluster_config: {{ eds_config: {{ \
             path_config_source: {{ path: {} }} }} }} }}\n",
            place.display()
        );
        // A worker lets go of a host's numbers when it hands over what it
        // counted.
        let often = "stats_flush_interval: 0.05s\n";
        let configuration = often.to_owned() + &bootstrap(&[LISTENER], &clusters);
        let process = Process::start(program, &configuration);
        let scene = Self {
            process,
            _folder: folder,
            place,
        };
        scene.await_stat("update_success", 1);
        scene
    }

    /// Names other hosts and waits until they are known.
    pub fn name(&self, hosts: &[SocketAddr]) {
        let updates = self.stat("update_success");
        put(&self.place, &assignment(hosts));
        self.await_stat("update_success", updates + 1);
        self.await_stat("membership_total", hosts.len() as u64);
    }

    fn stat(&self, name: &str) -> u64 {
        self.process.admin().stat(&format!("cluster.named.{name}"))
    }

    fn await_stat(&self, name: &str, value: u64) {
        let full = format!("cluster.named.{name}");
        let (stats, reached) = (self.process.admin()).await_stats(PATIENCE, |stats| {
            stats.get(&full).copied().unwrap_or(0) == value
        });
        assert!(reached, "{name} is not {value}: {:?}", stats.get(&full));
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.process.listener("removal")).expect("a connection")
    }

    /// The host that answers a request now.
    fn who_answers(&self) -> Vec<u8> {
        ask(&mut self.connect()).body
    }
}

fn assignment(hosts: &[SocketAddr]) -> String {
    let endpoint = |host: &SocketAddr| {
        let (ip, port) = (host.ip(), host.port());
        format!(
            "{{ \"endpoint\": {{ \"address\": {{ \"socket_address\": {{ \"address\": \
             \"{ip}\", \"port_value\": {port} }} }} }} }}"
        )
    };
    let endpoints: Vec<_> = hosts.iter().map(endpoint).collect();
    format!(
        "{{ \"resources\": [ {{ \"@type\": \
         \"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\", \
         \"cluster_name\": \"named\", \"endpoints\": [ {{ \"lb_endpoints\": [ {} ] }} ] }} ] }}",
        endpoints.join(", ")
    )
}

/// What a host that is gone has begun it finishes; it gets nothing new, and its
/// connections close.
#[test]
fn a_host_goes_with_requests_in_flight() {
    let Some(programs) = compared_programs("a_host_goes_with_requests_in_flight") else {
        return;
    };
    for program in &programs {
        let fleet = Fleet::start(2);
        let scene = Scene::start(program, &[fleet.address(0)]);
        fleet.set(0, Manner::Slow(Duration::from_secs(1)));
        let in_flight: Vec<_> = (0..4)
            .map(|_| {
                let mut stream = scene.connect();
                thread::spawn(move || ask(&mut stream))
            })
            .collect();
        let begun = Instant::now();
        while fleet.requests(0) < 4 {
            assert!(begun.elapsed() < PATIENCE, "{}", program.name());
            thread::sleep(Duration::from_millis(2));
        }
        scene.name(&[fleet.address(1)]);
        for _ in 0..10 {
            assert_eq!(scene.who_answers(), b"1", "{}", program.name());
        }
        for answer in in_flight {
            let answer = answer.join().expect("an answer");
            assert_eq!((answer.status(), &*answer.body), (200, &b"0"[..]));
        }
        assert_eq!(fleet.requests(0), 4, "{}", program.name());
        // What the new host needs: its requests came one after the other.
        let (stats, closed) = scene.process.admin().await_stats(PATIENCE, |stats| {
            let active = stats.get("cluster.named.upstream_cx_active");
            active.copied().unwrap_or(0) <= 2
        });
        assert!(closed, "{}: {stats:?}", program.name());
    }
}

/// Hosts come and go by the thousand, each with connections and requests; the
/// memory does not remember them, and no request fails.
#[test]
fn memory_returns_to_its_base() {
    each_driver(|program| {
        let fleet = Fleet::start_on_one_port(HOSTS);
        let all: Vec<_> = (0..HOSTS).map(|host| fleet.address(host.into())).collect();
        let scene = Scene::start(program, &all[..1]);
        let traffic = Traffic::start(scene.process.listener("removal"));
        // Half of them, never the half that was there before.
        let round = |round: usize| {
            let (first, second) = all.split_at(all.len() / 2);
            scene.name([first, second][round % 2]);
        };
        let batch = || {
            (0..ROUNDS).for_each(round);
            thread::sleep(UNTIL_FREE);
            resident_bytes(&scene.process)
        };
        let base = batch();
        let grown = batch().saturating_sub(base);
        let statuses = traffic.stop();
        assert_eq!(statuses.keys().collect::<Vec<_>>(), [&200], "{statuses:?}");
        assert!(grown < GROWTH_MAX, "{grown} bytes more than {base}");
        let seen = (0..usize::from(HOSTS)).filter(|host| fleet.requests(*host) > 0);
        assert_eq!(seen.count(), usize::from(HOSTS), "hosts that had requests");
    });
}

const HOSTS: u8 = 60;

/// Changes of the hosts, one after the other, until the memory has settled, and again
/// until it would have grown.
const ROUNDS: usize = 400;

/// Every thread has let go of the numbers of hosts that are gone.
const UNTIL_FREE: Duration = Duration::from_millis(2500);

/// What a process may grow meanwhile. The hosts that are named would take 12 MB on each
/// worker if each left a kilobyte behind.
const GROWTH_MAX: u64 = 4 << 20;

fn resident_bytes(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.pid());
    let status = fs::read_to_string(path).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.expect("a number") << 10
}
