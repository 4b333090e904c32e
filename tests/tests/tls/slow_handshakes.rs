//! Handshakes that take too long (`transport_socket_connect_timeout`): who has closed such
//! a connection, in statistics and logs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ringway_tests::observation::await_still;
use ringway_tests::programs;

use super::failures::{carrier, host, served};
use super::files::Files;
use super::hostile::client_hello_of;
use super::{PATIENCE, all_alike, certificate, cluster, log_of, start};

/// What is counted of a connection by whoever has it.
fn is_of_connections(name: &str) -> bool {
    let is_told = [
        "listener.carrier.",
        "listener.served.",
        "http.served.",
        "tcp.",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix));
    // How much is carried is the size of certificates and of signatures.
    is_told && !name.contains("bytes") && !name.contains("worker_")
}

#[test]
fn handshakes_that_take_too_long_are_told_of_as_in_envoy() {
    let test = "handshakes_that_take_too_long_are_told_of_as_in_envoy";
    if programs::optional(test, "openssl").is_none() {
        return;
    }
    let files = Files::new();
    let (old, new) = (client_hello_of("-tls1_2"), client_hello_of("-tls1_3"));
    let clients: [(&str, &[u8]); 5] = [
        ("nothing", b""),
        ("a byte", &[0x16]),
        ("a part of a hello", &new[..new.len() - 1]),
        ("a hello", &new),
        ("a hello of TLS 1.2", &old),
    ];
    let host = host();
    let context = format!(
        "common_tls_context: {{ tls_params: {{ cipher_suites: [ ECDHE-ECDSA-AES128-GCM-SHA256 ] }}, \
         tls_certificates: [ {} ] }}",
        certificate("server")
    );
    all_alike(test, |program| {
        let listeners = [carrier("carrier", &context), served("served", &context)];
        let hosts = cluster("host", host, "");
        let process = start(program, &files, &listeners.concat(), &hosts);
        let mut seen = String::new();
        let names = ["carrier", "served"];
        // All of them at once: each takes as long as it may.
        let all = names
            .iter()
            .flat_map(|name| clients.map(|client| (*name, client)));
        let streams = all.map(|(name, (what, sent))| {
            let mut stream = TcpStream::connect(process.listener(name)).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("an option");
            stream.write_all(sent).expect("it is sent");
            (name, what, stream)
        });
        for (name, what, mut stream) in streams.collect::<Vec<_>>() {
            let mut answer = Vec::new();
            let end = stream.read_to_end(&mut answer).is_ok();
            // Not even an alert where nothing was said before.
            let first = answer.first();
            seen += &format!("{name}, {what}: ends {end}, first byte {first:?}\n");
        }
        for name in names {
            let log = log_of(&process, name, clients.len());
            let mut lines: Vec<_> = log.lines().collect();
            lines.sort_unstable();
            seen += &format!("{}\n", lines.join("\n"));
        }
        let stats = await_still(process.admin(), |stats| {
            let is_zero = |name: &&str| stats.get(*name).copied().unwrap_or_default() == 0;
            [
                "listener.carrier.downstream_cx_active",
                "listener.served.downstream_cx_active",
            ]
            .iter()
            .all(is_zero)
        });
        for (name, value) in &stats {
            if is_of_connections(name) && *value > 0 {
                seen += &format!("{name}: {value}\n");
            }
        }
        for part in [
            "downstream_cx_destroy_local: 5",
            "transport_socket_connect_timeout: 5",
        ] {
            assert!(seen.contains(part), "{seen}");
        }
        seen
    });
}
