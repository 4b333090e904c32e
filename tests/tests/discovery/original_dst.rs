//! Hosts that are made as requests ask for them: one an address whichever
//! worker makes it, and gone when nobody uses it.

use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::client::{Expectation, Step, converse};
use ringway_tests::fleet::Fleet;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use std::net::SocketAddr;
use std::time::Duration;

const LISTENER: Listener = Listener {
    name: "asked",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: / }, route: { cluster: asked } }\n",
};

const PATIENCE: Duration = Duration::from_secs(20);

fn cluster(fields: &str) -> String {
    format!(
        "- {{ name: asked, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, {fields} \
         original_dst_lb_config: {{ use_http_header: true }} }}\n"
    )
}

/// Asks for a host on a connection of its own, which one of the workers takes.
fn ask(process: &Process, host: SocketAddr) -> u16 {
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-envoy-original-dst-host: {host}\r\n\r\n");
    let steps = [Step::Send(request.into_bytes())];
    let outcome = converse(process.listener("asked"), &steps, &Expectation::default());
    outcome
        .messages
        .first()
        .map_or(0, ringway_tests::message::Message::status)
}

fn listed(process: &Process) -> String {
    process.admin().get("/clusters").text()
}

/// What `/clusters` says of a host.
fn of_host(process: &Process, host: SocketAddr, key: &str) -> Vec<String> {
    let prefix = format!("asked::{host}::{key}::");
    let listed = listed(process);
    let lines = listed.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.map(str::to_owned).collect()
}

#[test]
fn an_address_has_one_host_on_all_workers() {
    let fleet = Fleet::start(2);
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let configuration = bootstrap(&[LISTENER], &cluster("cleanup_interval: 3600s,"));
        let process = Process::start_with(&program, &configuration, &["--concurrency", "4"]);
        // On 40 connections of 4 workers, one of which has none with a chance
        // of less than 1 in 10^4.
        for _ in 0..40 {
            assert_eq!(ask(&process, fleet.address(0)), 200);
        }
        assert_eq!(ask(&process, fleet.address(1)), 200);
        let (stats, both) = process.admin().await_stats(PATIENCE, |stats| {
            stats.get("cluster.asked.membership_total") == Some(&2)
        });
        assert!(both, "{stats:?}");
        assert_eq!(stats.get("cluster.asked.membership_change"), Some(&2));
        assert_eq!(of_host(&process, fleet.address(0), "rq_total"), ["40"]);
        assert_eq!(of_host(&process, fleet.address(1), "rq_total"), ["1"]);
        let name = format!("asked{}", fleet.address(0));
        assert_eq!(of_host(&process, fleet.address(0), "hostname"), [name]);
        let explained = process.admin().get(&format!(
            "/explain?path=/&h.x-envoy-original-dst-host={}",
            fleet.address(1)
        ));
        let explained = explained.text();
        let destination = format!("destination: {}", fleet.address(1));
        assert!(explained.contains(&destination), "{explained}");
        assert!(explained.contains("CLUSTER_PROVIDED"), "{explained}");
    }
}

#[test]
fn a_host_goes_when_nobody_uses_it() {
    let fleet = Fleet::start(2);
    for driver in programs::drivers() {
        let program = Program::Ringway(driver);
        let fields = "cleanup_interval: 0.2s, typed_extension_protocol_options: { \
                      envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": \
                      type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
                      explicit_http_config: { http_protocol_options: {} }, \
                      common_http_protocol_options: { idle_timeout: 1s } } },";
        let process = Process::start(&program, &bootstrap(&[LISTENER], &cluster(fields)));
        let admin = process.admin();
        let total = |count: u64| {
            let (stats, reached) = admin.await_stats(PATIENCE, |stats| {
                stats.get("cluster.asked.membership_total") == Some(&count)
                    && stats.get("cluster.asked.membership_change") > Some(&0)
            });
            assert!(reached, "not {count} hosts: {stats:?}");
            stats
        };
        assert_eq!(ask(&process, fleet.address(0)), 200);
        assert_eq!(ask(&process, fleet.address(1)), 200);
        // While there is a connection to them they stay, however often it is
        // looked; each clean-up in between would have taken them.
        let with_connections = total(2);
        assert_eq!(
            with_connections.get("cluster.asked.upstream_cx_active"),
            Some(&2)
        );
        let gone = total(0);
        assert_eq!(gone.get("cluster.asked.upstream_cx_active"), Some(&0));
        assert_eq!(gone.get("cluster.asked.upstream_cx_idle_timeout"), Some(&2));
        assert!(!listed(&process).contains("rq_total"), "nothing is listed");
        // Whoever asks again has a new one.
        assert_eq!(ask(&process, fleet.address(0)), 200);
        total(1);
        assert_eq!(of_host(&process, fleet.address(0), "rq_total"), ["1"]);
    }
}
