//! Requests, and the hosts that they go to: those that Envoy chooses.

use crate::shares::exchange;
use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::fleet::Fleet;
use ringway_tests::message::Message;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpStream;

/// Clusters and the routes to them.
pub struct Setup {
    /// Fields of the connection manager, at the left margin.
    pub manager: &'static str,
    /// Clusters: their names, their fields and `endpoints`, both in flow
    /// style. `HOST0` is the `endpoint` of the first host, `ADDRESS0` its
    /// address.
    pub clusters: &'static [(&'static str, &'static str, &'static str)],
    /// Routes, each with some requests.
    pub routes: &'static [Route],
    /// Hosts that refuse connections.
    pub dead: &'static [usize],
}

/// A route: `path` is what its requests begin with.
pub struct Route {
    pub path: &'static str,
    /// The rest of the route, in flow style.
    pub action: &'static str,
    /// What follows the path in the request line, and header lines.
    pub requests: fn() -> Vec<(String, String)>,
    pub expected: Expected,
}

/// Which hosts a route's requests go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Those that Envoy chooses.
    Envoys,
    /// Any: there is nothing to tell requests apart by.
    Chance,
}

/// Hosts of every setup.
const HOSTS: usize = 8;

/// What chance must not give all of: the same host. With three hosts or more
/// the probability is below 1 in 10^13.
const DRAWS: usize = 30;

/// What every thread of Envoy counts for itself.
const SUBSETS_BY_THREAD: [&str; 2] = [".lb_subsets_active", ".lb_subsets_created"];

/// A request for each of some keys, with `{key}` in its header lines replaced.
pub fn keys(count: usize, target: &str, lines: &str) -> Vec<(String, String)> {
    let fill = |text: &str, key: usize| text.replace("{key}", &format!("key-{key}"));
    (0..count)
        .map(|key| (fill(target, key), fill(lines, key)))
        .collect()
}

/// The same request often enough for chance to show.
pub fn draws(target: &str, lines: &str) -> Vec<(String, String)> {
    vec![(target.to_owned(), lines.to_owned()); DRAWS]
}

/// What was seen of a setup.
struct Seen {
    /// The hosts of each route's requests, or the status where there is none,
    /// and how many were asked.
    picks: Vec<Vec<String>>,
    /// What the clusters count of balancing.
    stats: BTreeMap<String, u64>,
}

/// Plays a setup on Envoy and on Ringway, with the same hosts on the same
/// ports.
pub fn compare(test: &str, setup: &Setup) {
    let Some(envoy) = programs::envoy(test) else {
        return;
    };
    let mut fleet = Fleet::start(HOSTS);
    for host in setup.dead {
        fleet.kill(*host);
    }
    let mut theirs = play(&Program::Envoy(envoy), setup, &fleet);
    for (name, value) in &mut theirs.stats {
        // Envoy's main thread and its worker have each their own; in Ringway
        // all workers share them.
        if SUBSETS_BY_THREAD.iter().any(|stat| name.ends_with(stat)) {
            *value /= 2;
        }
    }
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let ours = play(&program, setup, &fleet);
        assert_eq!(ours.stats, theirs.stats, "{}", program.name());
        for ((route, theirs), ours) in setup.routes.iter().zip(&theirs.picks).zip(&ours.picks) {
            let path = route.path;
            if route.expected == Expected::Chance {
                for (name, picks) in [("Envoy", theirs), (&*program.name(), ours)] {
                    assert!(
                        picks.iter().any(|pick| pick != &picks[0]),
                        "{path}: {name} has chosen {} every time",
                        picks[0]
                    );
                }
                continue;
            }
            for (request, (theirs, ours)) in (route.requests)().iter().zip(theirs.iter().zip(ours))
            {
                assert_eq!(ours, theirs, "{path} {request:?} on {}", program.name());
            }
        }
    }
    let requests: usize = theirs.picks.iter().map(Vec::len).sum();
    programs::say(&format!(
        "{test}: {} routes, {requests} requests",
        setup.routes.len()
    ));
}

fn play(program: &Program, setup: &Setup, fleet: &Fleet) -> Seen {
    let process = start(program, setup, fleet);
    let play = |route: &Route| {
        let mut stream = TcpStream::connect(process.listener("picks")).expect("a connection");
        let requests = (route.requests)();
        let picks = requests.iter().map(|(target, lines)| {
            let answer = ask(&mut stream, &format!("{}{target}", route.path), lines);
            let attempts = answer.header("x-envoy-attempt-count").unwrap_or("none");
            let host = answer.header("x-host").unwrap_or(&answer.first_line);
            format!("{host}, attempts {attempts}")
        });
        picks.collect()
    };
    Seen {
        picks: setup.routes.iter().map(play).collect(),
        stats: (process.admin().stats().into_iter())
            .filter(|(name, _)| name.starts_with("cluster.") && name.contains(".lb_"))
            .collect(),
    }
}

/// One request on a connection that stays open.
pub fn ask(stream: &mut TcpStream, target: &str, lines: &str) -> Message {
    let host = match lines.contains("host:") {
        true => "",
        false => "host: a\r\n",
    };
    let request = format!("GET {target} HTTP/1.1\r\n{host}{lines}\r\n");
    exchange(stream, request.as_bytes())
}

/// A program with the setup's clusters and routes, on the listener `picks`.
pub fn start(program: &Program, setup: &Setup, fleet: &Fleet) -> Process {
    let mut routes = String::from(
        "- name: all\n  domains: [\"*\"]\n  include_attempt_count_in_response: true\n  routes:\n",
    );
    for Route { path, action, .. } in setup.routes {
        let _ = writeln!(
            routes,
            "  - {{ match: {{ prefix: \"{path}\" }}, {action} }}"
        );
    }
    let mut clusters = String::new();
    for (name, fields, endpoints) in setup.clusters {
        let mut text = format!(
            "- {{ name: {name}, type: STATIC, {fields} load_assignment: {{ cluster_name: {name}, \
             endpoints: [ {endpoints} ] }} }}\n"
        );
        for (host, port) in fleet.ports().iter().enumerate() {
            let address = format!(
                "address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}"
            );
            text = text.replace(
                &format!("HOST{host}"),
                &format!("endpoint: {{ ADDRESS{host} }}"),
            );
            text = text.replace(&format!("ADDRESS{host}"), &address);
        }
        clusters += &text;
    }
    let listener = Listener {
        name: "picks",
        manager: setup.manager,
        hosts: routes.leak(),
    };
    Process::start(program, &bootstrap(&[listener], &clusters))
}
