//! Hosts: how they are asked, and what becomes of requests where they are not who they
//! should be.

use ringway_tests::patience;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};

use ringway_tests::process::{Process, Program};
use ringway_tests::programs;

use super::files::Files;
use super::{
    PATIENCE, all_alike, back, certificate, client_tls, cluster, get, listener, log_of, moved,
    start,
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
pub(super) fn not_tls() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = patience::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
const BODY: &[u8] = b"hello\n";

/// A host that answers one request with TLS, and sends the body when it is told to.
fn host_in_pieces(files: &Files) -> (SocketAddr, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let config = super::server::config(files, "server");
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a connection");
        let session = rustls::ServerConnection::new(config).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, socket);
        let _ = patience::read(&mut stream, &mut [0; 4096]).expect("a request");
        stream.write_all(HEAD).expect("it is sent");
        told.recv().expect("the test goes on");
        stream.write_all(BODY).expect("it is sent");
        // Until the proxy closes.
        let _ = patience::read(&mut stream, &mut [0; 1]);
    });
    (address, tell)
}

/// What the last receive has brought counts as buffered: plaintext, not records.
#[test]
fn plaintext_of_hosts_counts_as_buffered() {
    let files = Files::new();
    all_alike("plaintext_of_hosts_counts_as_buffered", |program| {
        let (host, tell) = host_in_pieces(&files);
        let route = "              - { match: { prefix: / }, route: { cluster: host } }";
        let process = start(
            program,
            &files,
            &listener("front", "name: plain", route),
            &cluster("host", host, &client_tls("sni: a.test")),
        );
        let mut client = TcpStream::connect(process.listener("front")).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("an option");
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
            .expect("it is sent");
        let mut answer = Vec::new();
        let mut read = |until: &[u8]| {
            while !answer.ends_with(until) {
                let mut buffer = [0; 4096];
                let length = patience::read(&mut client, &mut buffer).expect("an answer");
                assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&buffer[..length]);
            }
        };
        read(b"\r\n\r\n");
        tell.send(()).expect("the host waits");
        read(BODY);
        let name = "cluster.host.upstream_cx_rx_bytes_buffered";
        let body = BODY.len() as u64;
        let (stats, counted) =
            (process.admin()).await_stats(PATIENCE, |stats| stats.get(name) == Some(&body));
        assert!(counted, "{}: {:?}", process.name(), stats.get(name));
        String::new()
    });
}
