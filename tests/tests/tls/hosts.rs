//! Hosts: how they are asked, and what becomes of requests where they are not who they
//! should be.

use std::io::Write as _;
use std::net::SocketAddr;

use ringway_tests::process::{Process, Program};
use ringway_tests::programs;

use super::files::Files;
use super::{
    all_alike, back, certificate, client_tls, cluster, get, listener, log_of, moved, start,
};

/// Clusters by what they ask of a server.
const HOSTS: &[(&str, &str, &str)] = &[
    ("unverified", "any", "sni: a.test"),
    (
        "verified",
        "any",
        "sni: a.test, common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem }, match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: a.test } } ] } }",
    ),
    (
        "wildcard",
        "any",
        "sni: q.b.test, auto_sni_san_validation: true, common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem } } }",
    ),
    (
        "rsa",
        "any",
        "sni: r.test, common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem } } }",
    ),
    (
        "new",
        "new",
        "sni: a.test, common_tls_context: { tls_params: { tls_maximum_protocol_version: TLSv1_3, cipher_suites: [ ECDHE-ECDSA-AES128-GCM-SHA256 ] } }",
    ),
    (
        "client",
        "mutual",
        "sni: a.test, common_tls_context: { tls_certificates: [ CLIENT ] }",
    ),
    (
        "other_ca",
        "any",
        "sni: a.test, common_tls_context: { validation_context: { trusted_ca: { filename: FILES/other-ca.pem } } }",
    ),
    (
        "other_name",
        "any",
        "sni: a.test, common_tls_context: { validation_context: { trusted_ca: { filename: FILES/ca.pem }, match_typed_subject_alt_names: [ { san_type: DNS, matcher: { exact: zzz } } ] } }",
    ),
    (
        "other_hash",
        "any",
        "sni: a.test, common_tls_context: { validation_context: { verify_certificate_hash: [ \"0000000000000000000000000000000000000000000000000000000000000000\" ] } }",
    ),
    ("too_old", "new", "sni: a.test"),
    ("plain", "plain", "sni: a.test"),
];

fn front(program: &Program, files: &Files, back: &Process, plain: SocketAddr) -> Process {
    let (mut routes, mut clusters) = (String::new(), String::new());
    for (name, listener, context) in HOSTS {
        routes += &format!(
            "              - {{ match: {{ prefix: /{name} }}, route: {{ cluster: {name}, \
             prefix_rewrite: /direct }} }}\n"
        );
        let address = match *listener {
            "plain" => plain,
            listener => back.listener(listener),
        };
        let context = context.replace("CLIENT", &certificate("client"));
        clusters += &cluster(name, address, &client_tls(&context));
    }
    start(
        program,
        files,
        &listener("front", "name: plain", &routes),
        &clusters,
    )
}

#[test]
fn hosts_are_asked_as_envoy_asks() {
    let files = Files::new();
    let Some(envoy) = programs::envoy("hosts_are_asked_as_envoy_asks") else {
        return;
    };
    // Envoy is the server for all, and the other way round.
    let backs = [
        Program::Envoy(envoy),
        Program::Ringway(programs::drivers()[0]),
    ];
    let plain = not_tls();
    for program in &backs {
        let back = back(program, &files);
        all_alike("hosts_are_asked_as_envoy_asks", |program| {
            let front = front(program, &files, &back, plain);
            let mut seen = String::new();
            for (name, ..) in HOSTS {
                let expected = matches!(
                    *name,
                    "unverified" | "verified" | "wildcard" | "rsa" | "new" | "client"
                );
                // On one connection, the second.
                for _ in 0..2 {
                    let got = get(front.listener("front"), &format!("/{name}"));
                    assert_eq!(got.starts_with("200"), expected, "{name}: {got}");
                    seen += &format!("{name}: {got}\n");
                }
            }
            seen += &log_of(&front, "front", 2 * HOSTS.len());
            for (name, value) in moved(&front) {
                seen += &format!("{name}: {value}\n");
            }
            seen
        });
    }
}

/// A server that answers whatever it is sent as HTTP servers answer TLS.
fn not_tls() -> SocketAddr {
    use std::io::Read as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}
