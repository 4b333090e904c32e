//! Clusters, the share of the requests that each of their hosts has to get, and
//! the statistics that must be Envoy's.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::fleet::Fleet;
use ringway_tests::message::{self, Kind, Message};
use ringway_tests::patience;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;

/// A cluster, and what becomes of the requests to it.
pub struct Cluster {
    pub name: &'static str,
    /// Fields of `Cluster` in flow style, each with its comma. `PORT0` is the
    /// port of the first host.
    pub fields: &'static str,
    /// `endpoints` in flow style.
    pub endpoints: &'static str,
    /// Fields of `load_assignment.policy` in flow style.
    pub policy: &'static str,
    /// Percent of the requests by host; what is missing to 100 gets a 503.
    pub shares: &'static [f64],
}

/// For the fields that a test does not care about.
pub const CLUSTER: Cluster = Cluster {
    name: "",
    fields: "",
    endpoints: "",
    policy: "",
    shares: &[],
};

/// Requests to each cluster, and how many of them come on one connection: with
/// several workers each gets some connections.
const REQUESTS: usize = 600;
const REQUESTS_PER_CONNECTION: usize = 30;

/// What happened to the requests to one cluster.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    by_host: Vec<usize>,
    by_status: BTreeMap<u16, usize>,
    stats: BTreeMap<String, u64>,
}

/// Plays all clusters on Envoy and on Ringway, each with one worker.
pub fn compare(test: &str, clusters: &[Cluster], more: &str) {
    compare_workers(test, clusters, more, "1");
}

/// The same with so many workers.
pub fn compare_workers(test: &str, clusters: &[Cluster], more: &str, workers: &str) {
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    let theirs = play(&Program::Envoy(envoy), clusters, more, workers);
    for (cluster, outcome) in clusters.iter().zip(&theirs) {
        check(cluster, outcome, "Envoy");
    }
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let ours = play(&program, clusters, more, workers);
        for ((cluster, ours), theirs) in clusters.iter().zip(&ours).zip(&theirs) {
            check(cluster, ours, &program.name());
            assert_eq!(
                ours.stats,
                theirs.stats,
                "{} of {}",
                cluster.name,
                program.name()
            );
        }
    }
    programs::say(&format!("{test}: {} clusters", clusters.len()));
}

/// Each host has its share of the requests, as far as chance goes: five
/// standard deviations, one failure in some million hosts.
fn check(cluster: &Cluster, outcome: &Outcome, program: &str) {
    let say = format!("{} of {program}: {outcome:?}", cluster.name);
    let mut answered = 0;
    for (host, count) in outcome.by_host.iter().enumerate() {
        let share = cluster.shares.get(host).copied().unwrap_or_default() / 100.0;
        let expected = share * REQUESTS as f64;
        let deviation = (expected * (1.0 - share)).sqrt();
        let off = (*count as f64 - expected).abs();
        assert!(
            off <= 5.0 * deviation,
            "host {host}, {expected} expected, {say}"
        );
        answered += count;
    }
    let failed = outcome.by_status.get(&503).copied().unwrap_or_default();
    assert_eq!(answered + failed, REQUESTS, "{say}");
}

fn play(program: &Program, clusters: &[Cluster], more: &str, workers: &str) -> Vec<Outcome> {
    let hosts = clusters.iter().map(|cluster| cluster.shares.len());
    let fleet = Fleet::start(hosts.max().unwrap_or_default());
    let mut routes = String::from("- name: all\n  domains: [\"*\"]\n  routes:\n");
    let mut yaml = String::new();
    for Cluster {
        name,
        fields,
        endpoints,
        policy,
        ..
    } in clusters
    {
        let _ = writeln!(
            routes,
            "  - {{ match: {{ path: \"/{name}\" }}, route: {{ cluster: {name} }} }}"
        );
        let mut text = format!(
            "- {{ name: {name}, type: STATIC, {fields} load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {endpoints} ], policy: {{ {policy} }} }} }}\n"
        );
        for (host, port) in fleet.ports().iter().enumerate() {
            let address = format!(
                "endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} \
                 }} }} }}"
            );
            text = text.replace(&format!("HOST{host}"), &address);
        }
        yaml += &text;
    }
    let listener = Listener {
        name: "shares",
        manager: "",
        hosts: routes.leak(),
    };
    let file = format!("{}{more}", bootstrap(&[listener], &yaml));
    let file = file.replace("cluster: test }", "cluster: test, locality: { zone: a } }");
    let process = Process::start_with(program, &file, &["--concurrency", workers]);
    clusters
        .iter()
        .map(|cluster| ask(&process, &fleet, cluster))
        .collect()
}

fn ask(process: &Process, fleet: &Fleet, cluster: &Cluster) -> Outcome {
    let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", cluster.name);
    let connect = || TcpStream::connect(process.listener("shares")).expect("a connection");
    let mut stream = connect();
    let answers = (0..REQUESTS).map(|number| {
        if number % REQUESTS_PER_CONNECTION == 0 {
            stream = connect();
        }
        exchange(&mut stream, request.as_bytes())
    });
    let mut found = Outcome {
        by_host: vec![0; fleet.ports().len()],
        ..Outcome::default()
    };
    for answer in answers {
        *found.by_status.entry(answer.status()).or_default() += 1;
        if let Some(host) = answer.header("x-host") {
            found.by_host[host.parse::<usize>().expect("a number")] += 1;
        }
    }
    let prefix = format!("cluster.{}.", cluster.name);
    for (name, value) in process.admin().stats() {
        if let Some(name) = name.strip_prefix(&prefix)
            && (name.starts_with("membership_") || name.starts_with("lb_"))
            // How often a table is built is nobody's business: Envoy does it
            // more than once for each host set.
            && name != "lb_recalculate_zone_structures"
        {
            // Where some requests stay and others go, chance decides which.
            let by_chance = ["lb_zone_routing_sampled", "lb_zone_routing_cross_zone"];
            let name = if by_chance.contains(&name) {
                "lb_zone_routing_*"
            } else {
                name
            };
            *found.stats.entry(name.to_owned()).or_default() += value;
        }
    }
    found
}

/// The kind of an answer to a GET.
const GET: Kind = Kind::Response { to_head: false };

/// One request on a connection that stays open, and its answer.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> Message {
    stream.write_all(request).expect("the proxy reads");
    let mut received = Vec::new();
    loop {
        if let Some((answer, _)) = message::read(&received, GET, false)
            && answer.complete
        {
            return answer;
        }
        let mut piece = [0; 4096];
        let size = patience::read(&mut *stream, &mut piece).expect("the proxy answers");
        assert!(size > 0, "the proxy closed after {received:?}");
        received.extend_from_slice(&piece[..size]);
    }
}
