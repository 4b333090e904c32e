//! What hosts are sent by TCP health checks that begin with a header of PROXY
//! protocol: what Envoy sends.

use ringway_tests::bootstrap::{bootstrap, cluster};
use ringway_tests::process::{Process, all_programs};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

const PING_PONG: &str = "send: { text: 70696e67 }, receive: [ { text: 706f6e67 } ]";
const PONG: &str = "receive: [ { text: 706f6e67 } ]";
const V1: &str = "proxy_protocol_config: { version: V1 }";
/// What is added is for headers that tell of a client.
const V2: &str =
    "proxy_protocol_config: { version: V2, added_tlvs: [ { type: 224, value: YWJj } ] }";

/// Of a connection that is the proxy's own.
const LOCAL: &str = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn each_check_begins_with_a_header() {
    for program in all_programs("each_check_begins_with_a_header") {
        for (payloads, header, sent) in [
            (PING_PONG, V1, "ping"),
            (PONG, V1, ""),
            (PING_PONG, V2, "ping"),
            (PONG, V2, ""),
        ] {
            let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = host.local_addr().expect("it is bound").port();
            let check = format!(
                "health_checks: [ {{ timeout: 20s, interval: 0.1s, no_traffic_interval: 0.1s, \
                 unhealthy_threshold: 1, healthy_threshold: 1, \
                 tcp_health_check: {{ {payloads}, {header} }} }} ]"
            );
            let text = bootstrap(&[], &cluster("origin", port, &check));
            // A proxy is ready when its hosts have been checked.
            let checked = std::thread::spawn(move || {
                let (mut checks, peer) = host.accept().expect("a check");
                let limit = Some(Duration::from_secs(30));
                checks.set_read_timeout(limit).expect("a limit");
                let mut expected = match header {
                    V1 => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", peer.port()),
                    _ => LOCAL.to_owned(),
                };
                expected.push_str(sent);
                // The connection stays, and each check has a header of its own.
                for _ in 0..2 {
                    let mut seen = vec![0; expected.len()];
                    checks.read_exact(&mut seen).expect("a check");
                    assert_eq!(seen, expected.as_bytes(), "{payloads}, {header}");
                    checks.write_all(b"pong").expect("it is open");
                }
            });
            let _process = Process::start(&program, &text);
            let name = program.name();
            assert!(checked.join().is_ok(), "{name}: see the panic before");
        }
    }
}

/// An open connection is enough, and nothing is said on it.
#[test]
fn a_check_that_waits_for_nothing_sends_no_header() {
    for program in all_programs("a_check_that_waits_for_nothing_sends_no_header") {
        let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = host.local_addr().expect("it is bound").port();
        let check = format!(
            "health_checks: [ {{ timeout: 20s, interval: 60s, unhealthy_threshold: 1, \
             healthy_threshold: 1, tcp_health_check: {{ {V1} }} }} ]"
        );
        let text = bootstrap(&[], &cluster("origin", port, &check));
        let _process = Process::start(&program, &text);
        let (mut check, _) = host.accept().expect("a check");
        let mut seen = Vec::new();
        // Envoy resets the connection.
        let _ = check.read_to_end(&mut seen);
        assert!(seen.is_empty(), "{seen:?} to {}", program.name());
    }
}
