//! Hosts of one cluster that are connected to in different ways, by their metadata,
//! and health checks that are made in another way still.

use std::fmt::Write as _;
use std::net::SocketAddr;

use ringway_tests::bootstrap::bootstrap;
use ringway_tests::fleet::Fleet;
use ringway_tests::process::{Process, Program};

use super::files::Files;
use super::scene::{await_checks, check};
use super::server::{Manner, Server};
use super::{all_alike, certificate, client_tls, get, listener_with, log_of, moved};

/// The labels of a host, as metadata.
fn labels(labels: &str) -> String {
    format!("metadata: {{ filter_metadata: {{ envoy.transport_socket_match: {{ {labels} }} }} }},")
}

/// Three ways to connect; what has no labels of theirs gets the cluster's own.
fn matches() -> String {
    let trusted = "sni: trusted.b.test, common_tls_context: { validation_context: { trusted_ca: { \
         filename: FILES/ca.pem } } }";
    let own = format!(
        "sni: mutual.b.test, common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("client")
    );
    let plain = "transport_socket: { name: envoy.transport_sockets.raw_buffer, typed_config: { \
         \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }";
    [
        ("both", "kind: tls, level: 2", client_tls(&own)),
        ("tls", "kind: tls", client_tls(trusted)),
        ("plain", "kind: plain", plain.to_owned()),
        ("number", "level: 3.0", plain.to_owned()),
    ]
    .map(|(name, labels, socket)| {
        format!("    - {{ name: {name}, match: {{ {labels} }}, {socket} }}\n")
    })
    .concat()
}

fn endpoint(address: SocketAddr, labelled: &str) -> String {
    format!(
        "{{ {labelled} endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} \
         }} }} }} }}",
        address.ip(),
        address.port()
    )
}

fn cluster(name: &str, fields: &str, endpoints: &[String]) -> String {
    format!(
        "  - name: {name}\n    {}\n    {fields}\n    transport_socket_matches:\n{}    \
         load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {} ] }} ] }}\n",
        client_tls("sni: own.b.test"),
        matches(),
        endpoints.join(", ")
    )
}

/// How hosts with these labels are connected to.
#[test]
fn hosts_have_the_socket_of_their_labels() {
    let test = "hosts_have_the_socket_of_their_labels";
    let files = Files::new();
    let cases = [
        ("none", String::new(), true),
        ("tls", labels("kind: tls"), true),
        ("more", labels("kind: tls, level: 1, other: x"), true),
        ("both", labels("kind: tls, level: 2"), true),
        ("other", labels("kind: other"), true),
        ("plain", labels("kind: plain"), false),
        ("number", labels("level: 3"), false),
        ("untyped", labels("level: \"3\""), true),
    ];
    all_alike(test, |program| {
        let fleet = Fleet::start(1);
        let servers: Vec<_> = (cases.iter())
            .map(|_| Server::start(&files, Manner::Answer))
            .collect();
        let (mut routes, mut clusters) = (String::new(), String::new());
        for ((name, labelled, is_tls), server) in cases.iter().zip(&servers) {
            let address = if *is_tls {
                server.address
            } else {
                fleet.address(0)
            };
            clusters += &cluster(name, "", &[endpoint(address, labelled)]);
            let _ = writeln!(
                routes,
                "              - {{ match: {{ path: /{name} }}, route: {{ cluster: {name} }} }}"
            );
        }
        let log = "%REQ(:PATH)% %RESPONSE_CODE% %UPSTREAM_TRANSPORT_FAILURE_REASON% \
             %UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_SUBJECT% %UPSTREAM_LOCAL_URI_SAN%";
        let listener = listener_with("front", "name: plain", "", log, &routes);
        let front = super::start(program, &files, &listener, &clusters);
        let mut seen = String::new();
        for ((name, ..), server) in cases.iter().zip(&servers) {
            let answer = get(front.listener("front"), &format!("/{name}"));
            let _ = writeln!(seen, "{name}: {answer} {:?}", server.seen());
        }
        seen += &log_of(&front, "front", cases.len());
        let text = front.admin().get("/stats").text();
        let counted = text
            .lines()
            .filter(|line| line.contains("total_match_count"));
        seen += &counted.collect::<Vec<_>>().join("\n");
        let _ = write!(seen, "\n{:#?}", moved(&front));
        assert!(
            seen.contains("cluster.both.both.total_match_count: 1"),
            "{seen}"
        );
        assert!(
            seen.contains("mutual.b.test") && seen.contains("own.b.test"),
            "{seen}"
        );
        seen
    });
}

/// Cases of localities: what their cluster is called, what they and their host say.
fn localities() -> [(&'static str, String, String); 5] {
    [
        ("silent", labels("kind: plain"), String::new()),
        ("both", labels("kind: plain"), labels("level: 3")),
        ("other", labels("kind: plain"), labels("kind: other")),
        ("host", labels("kind: tls"), labels("kind: plain")),
        ("neither", labels("kind: other"), labels("kind: another")),
    ]
}

/// An assignment with one host, and labels of its locality.
fn assignment(name: &str, of_locality: &str, of_host: &str, host: SocketAddr) -> String {
    format!(
        "cluster_name: {name}, endpoints: [ {{ {of_locality} lb_endpoints: [ {} ] }} ]",
        endpoint(host, of_host)
    )
}

/// A locality speaks for hosts that have no labels that fit.
#[test]
fn hosts_have_the_socket_of_their_locality() {
    let test = "hosts_have_the_socket_of_their_locality";
    let files = Files::new();
    let folder = tempfile::tempdir().expect("a folder");
    all_alike(test, |program| {
        let fleet = Fleet::start(1);
        let server = Server::start(&files, Manner::Answer);
        let (mut routes, mut clusters) = (String::new(), String::new());
        for (name, of_locality, of_host) in localities() {
            let host = match name {
                "neither" => server.address,
                _ => fleet.address(0),
            };
            let head = format!(
                "    {}\n    transport_socket_matches:\n",
                client_tls("sni: o.test")
            );
            let _ = write!(
                clusters,
                "  - name: {name}\n{head}{}    load_assignment: {{ {} }}\n",
                matches(),
                assignment(name, &of_locality, &of_host, host)
            );
            let path = folder.path().join(format!("{name}.yaml"));
            let text = format!(
                "resources: [ {{ \"@type\": \
                 type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, {} }} ]",
                assignment(&format!("{name}_eds"), &of_locality, &of_host, host)
            );
            std::fs::write(&path, text).expect("a file");
            let _ = write!(
                clusters,
                "  - name: {name}_eds\n    type: EDS\n    eds_cluster_config: {{ eds_config: {{ \
                 resource_api_version: V3, path_config_source: {{ path: {path:?} }} }} }}\n{head}{}",
                matches()
            );
            for cluster in [name.to_owned(), format!("{name}_eds")] {
                let _ = writeln!(
                    routes,
                    "              - {{ match: {{ path: /{cluster} }}, route: {{ cluster: \
                     {cluster} }} }}"
                );
            }
        }
        let log = "%REQ(:PATH)% %RESPONSE_CODE% %UPSTREAM_TLS_VERSION%";
        let listener = listener_with("front", "name: plain", "", log, &routes);
        let front = super::start(program, &files, &listener, &clusters);
        let mut seen = String::new();
        for (name, ..) in localities() {
            for cluster in [name.to_owned(), format!("{name}_eds")] {
                let answer = get(front.listener("front"), &format!("/{cluster}"));
                let status = answer.split_whitespace().next().unwrap_or_default();
                let _ = writeln!(seen, "{cluster}: {status}");
                assert_eq!(status, "200", "{cluster} on {}", program.name());
            }
        }
        seen += &log_of(&front, "front", 2 * localities().len());
        let text = front.admin().get("/stats").text();
        let counted = text
            .lines()
            .filter(|line| line.contains("total_match_count"));
        let mut counted: Vec<_> = counted.collect();
        counted.sort_unstable();
        seen + &counted.join("\n")
    });
}

/// Checks have the socket of their own labels, where they have some.
#[test]
fn checks_have_the_socket_of_their_labels() {
    let test = "checks_have_the_socket_of_their_labels";
    let files = Files::new();
    let plain = "transport_socket_match_criteria: { kind: plain },";
    let tls = "transport_socket_match_criteria: { kind: tls },";
    let cases = [
        ("host", String::new(), labels("kind: plain")),
        ("told", plain.to_owned(), labels("kind: tls")),
        ("wrong", tls.to_owned(), labels("kind: plain")),
        (
            "nobody",
            "transport_socket_match_criteria: { kind: x },".to_owned(),
            labels("kind: plain"),
        ),
    ];
    all_alike(test, |program| {
        // It speaks no TLS.
        let fleet = Fleet::start(1);
        let clusters: String = (cases.iter())
            .map(|(name, criteria, labelled)| {
                let endpoint = endpoint(fleet.address(0), labelled);
                cluster(name, &check(criteria), &[endpoint])
            })
            .collect();
        let process = start_with_clusters(program, &files, &clusters);
        let names: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
        let stats = await_checks(&process, &names);
        let mut seen = String::new();
        for (name, value) in &stats {
            if name.contains("total_match_count") || name.ends_with(".success") {
                let _ = writeln!(seen, "{name}: {value}");
            }
        }
        let listed = process.admin().get("/clusters").text();
        let flags = listed.lines().filter(|line| line.contains("health_flags"));
        let mut flags: Vec<_> = flags
            .map(|line| line.replace(&fleet.address(0).to_string(), "HOST"))
            .collect();
        flags.sort();
        seen += &flags.join("\n");
        assert!(seen.contains("told::HOST::health_flags::healthy"), "{seen}");
        assert!(
            !seen.contains("wrong::HOST::health_flags::healthy"),
            "{seen}"
        );
        seen
    });
}

/// A proxy without listeners.
fn start_with_clusters(program: &Program, files: &Files, clusters: &str) -> Process {
    let text = bootstrap(&[], "");
    let text = text.replace("  listeners:\n", &format!("  clusters:\n{clusters}"));
    Process::start(
        program,
        &text.replace("FILES", &files.folder().to_string_lossy()),
    )
}
