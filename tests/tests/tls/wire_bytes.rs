//! When bytes of connections to hosts with TLS are counted: while a request is in
//! flight. What is counted is what the records carry.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustls::{ServerConnection, StreamOwned};

use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};

use super::files::Files;
use super::{PATIENCE, client_tls, cluster, listener, server, start};

/// Of several records.
const REQUEST_BODY: usize = 40_000;
const RESPONSE_BODY: usize = 70_000;

/// Waits until the counter says this many bytes, and says how many are missing.
fn missing_of(process: &Process, name: &str, wanted: usize) -> u64 {
    let name = format!("cluster.origin.{name}");
    let wanted = wanted as u64;
    let (stats, _) =
        (process.admin()).await_stats(PATIENCE, |stats| stats.get(&name) == Some(&wanted));
    wanted.abs_diff(stats.get(&name).copied().unwrap_or(0))
}

fn read_until(stream: &mut impl Read, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    while !is_enough(&all) {
        let mut more = [0; 16 * 1024];
        let length = stream.read(&mut more).expect("there is more");
        assert!(length > 0, "it ends after {} bytes", all.len());
        all.extend_from_slice(&more[..length]);
    }
    all
}

/// What is counted less what the host has received of the request, and has sent of
/// its response, while the other side waits.
fn missing(program: &Program, version: &str) -> [u64; 4] {
    let files = Files::new();
    let host = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = host.local_addr().expect("it is bound");
    let context = format!(
        "common_tls_context: {{ tls_params: {{ tls_minimum_protocol_version: {version}, \
         tls_maximum_protocol_version: {version} }} }}"
    );
    let route = "              - { match: { prefix: / }, route: { cluster: origin } }";
    let process = start(
        program,
        &files,
        &listener("main", "name: plain", route),
        &cluster("origin", address, &client_tls(&context)),
    );
    let mut client = TcpStream::connect(process.listener("main")).expect("it listens");
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {REQUEST_BODY}\r\n\r\n");
    client.write_all(head.as_bytes()).expect("it is read");
    let (socket, _) = host.accept().expect("a connection");
    let config = server::config(&files, "server");
    let session = ServerConnection::new(config).expect("a session");
    let mut upstream = StreamOwned::new(session, socket);

    let received = read_until(&mut upstream, |all| all.ends_with(b"\r\n\r\n"));
    let head = missing_of(&process, "upstream_cx_tx_bytes_total", received.len());
    client
        .write_all(&vec![b'x'; REQUEST_BODY])
        .expect("it is read");
    let body = read_until(&mut upstream, |all| all.len() >= REQUEST_BODY);
    let sent = received.len() + body.len();
    let all = missing_of(&process, "upstream_cx_tx_bytes_total", sent);

    let head_of_response = format!("HTTP/1.1 200 OK\r\ncontent-length: {RESPONSE_BODY}\r\n\r\n");
    upstream
        .write_all(head_of_response.as_bytes())
        .expect("the proxy reads");
    let mut came = head_of_response.len();
    let begun = missing_of(&process, "upstream_cx_rx_bytes_total", came);
    // All but the last byte, which ends the request.
    upstream
        .write_all(&vec![b'y'; RESPONSE_BODY - 1])
        .expect("the proxy reads");
    came += RESPONSE_BODY - 1;
    let carried = missing_of(&process, "upstream_cx_rx_bytes_total", came);
    upstream.write_all(b"z").expect("the proxy reads");
    let response = read_until(&mut client, |all| all.ends_with(b"z"));
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n"));
    [head, all, begun, carried]
}

#[test]
fn bytes_within_tls_count_when_they_are_sent_as_in_envoy() {
    for version in ["TLSv1_2", "TLSv1_3"] {
        let test = "bytes_within_tls_count_when_they_are_sent_as_in_envoy";
        if let Some(missing) = as_in_envoy(test, |program| missing(program, version)) {
            assert_eq!(missing, [0; 4], "{version}");
        }
    }
}
