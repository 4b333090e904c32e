//! What is counted of each host, in `/stats` and in Prometheus' format.

use ringway_tests::bootstrap::Listener;
use ringway_tests::case::case;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::observation::{Ports, Scene};
use ringway_tests::process::Program;

const LISTENERS: &[Listener] = &[Listener {
    name: "hosts",
    manager: "",
    hosts: "
- name: v
  domains: ['*']
  routes:
  - { match: { prefix: / }, route: { cluster_header: cluster } }
",
}];

/// Pages of the admin server that show them, all or some.
const PAGES: &[&str] = &[
    "/stats?filter=endpoint",
    "/stats?filter=endpoint&type=Counters",
    "/stats?filter=endpoint&type=Gauges",
    "/stats?filter=endpoint&type=Histograms",
    "/stats?filter=endpoint&usedonly",
    "/stats?filter=endpoint&format=json",
    "/stats?filter=endpoint&hidden=only",
    "/stats?filter=healthy",
    "/stats/prometheus?filter=endpoint",
    "/stats/prometheus?filter=endpoint.*rq_&usedonly",
];

fn clusters(ports: Ports) -> String {
    let Ports {
        origin, refused, ..
    } = ports;
    // So much that one healthy host of four is enough.
    let cluster = |name: &str, fields: &str, hosts: &str| {
        format!(
            "- {{ name: {name}, {fields}, load_assignment: {{ cluster_name: {name}, policy: {{ \
             overprovisioning_factor: 1000 }}, endpoints: [ {{ lb_endpoints: [ {hosts} ] }} ] }} }}\n"
        )
    };
    let host = |address: &str, port: u16, more: &str, endpoint: &str| {
        format!(
            "{{ {more} endpoint: {{ {endpoint} address: {{ socket_address: {{ address: '{address}', \
             port_value: {port} }} }} }} }}, "
        )
    };
    let listed = "track_cluster_stats: { per_endpoint_stats: true }";
    let all = [
        host("127.0.0.1", origin, "", ""),
        host(
            "127.0.0.2",
            origin,
            "health_status: UNHEALTHY,",
            "hostname: 'not.well',",
        ),
        host("127.0.0.3", origin, "health_status: DEGRADED,", ""),
        host("127.0.0.4", origin, "health_status: DRAINING,", ""),
    ];
    let odd_name = format!("alt_stat_name: 'odd:name.x', {listed}");
    [
        cluster("served", listed, &all.concat()),
        cluster(
            "refused",
            &odd_name,
            &host("127.0.0.1", refused, "", "hostname: 'some.host',"),
        ),
        cluster(
            "unlisted",
            "track_cluster_stats: {}",
            &host("127.0.0.1", origin, "", ""),
        ),
    ]
    .concat()
}

/// The pages, after a request to each cluster.
fn pages(program: &Program) -> Vec<String> {
    let mut known = None;
    let scene = Scene::start_with(
        program,
        LISTENERS,
        |ports| {
            known = Some(ports);
            clusters(ports)
        },
        "",
    );
    let ports = known.expect("the clusters were asked for");
    for cluster in ["served", "refused", "unlisted"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\ncluster: {cluster}\r\n\r\n");
        drop(scene.play(&case(cluster, "hosts", request)));
    }
    let shown = |page: &&str| {
        let text = scene.process.admin().get(page).text();
        let text = text
            .replace(&ports.origin.to_string(), "ORIGIN")
            .replace(&ports.refused.to_string(), "REFUSED")
            .replace("{\"stats\":[", "")
            .replace("]}", "")
            .replace("},", "}\n");
        // A connection may be kept for a moment or not. Envoy has its clusters in
        // any order.
        let lines = text.lines().filter(|line| !line.contains("cx_active"));
        let mut lines: Vec<_> = lines.collect();
        lines.sort_unstable();
        format!("{page}\n{}\n", lines.join("\n"))
    };
    PAGES.iter().map(shown).collect()
}

#[test]
fn hosts_are_listed_in_statistics_as_in_envoy() {
    let test = "hosts_are_listed_in_statistics_as_in_envoy";
    let Some(pages) = as_in_envoy(test, pages) else {
        return;
    };
    for line in [
        "cluster.served.endpoint.127.0.0.1_ORIGIN.rq_success: 1",
        "cluster.served.endpoint.127.0.0.2_ORIGIN.healthy: 0",
        "cluster.odd_name.x.endpoint.127.0.0.1_REFUSED.cx_connect_fail: 1",
    ] {
        assert!(pages[0].contains(line), "{line}\n{}", pages[0]);
    }
    assert!(!pages[0].contains("unlisted"), "{}", pages[0]);
}
