//! When bytes of connections with TLS are counted: those to hosts while a request
//! is in flight, those of clients when they end. What is counted is what the records
//! carry, and nothing of the handshake.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use ringway_tests::admin::Stats;
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::http2::{self, frame, kind};
use ringway_tests::process::{Process, Program};

use super::files::Files;
use super::rotation::anybody;
use super::{
    PATIENCE, certificate, client_tls, cluster, listener, listener_with, log_of, server,
    server_tls, start,
};

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

/// A question and what ends its answer.
struct Talk {
    alpn: &'static str,
    question: Vec<u8>,
    is_answered: fn(&[u8]) -> bool,
}

fn talks() -> [Talk; 2] {
    let ping = frame(kind::PING, 0, 0, b"12345678");
    let question = [http2::preface(), http2::get(1, "/direct", ""), ping].concat();
    [
        Talk {
            alpn: "h2",
            question,
            // Nothing is sent behind both.
            is_answered: |all| {
                let frames = http2::frames(all);
                let has = |kind, flag| {
                    (frames.iter()).any(|frame| frame.kind == kind && frame.flags & flag != 0)
                };
                has(kind::PING, 1) && has(kind::DATA, 1) && has(kind::SETTINGS, 1)
            },
        },
        Talk {
            alpn: "http/1.1",
            question: b"GET /direct HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            is_answered: |all| all.ends_with(b"hello"),
        },
    ]
}

/// What is logged and counted of a client's connection less what it has received.
fn surplus(program: &Program, version: &str, talk: &Talk) -> [i64; 2] {
    let files = Files::new();
    let context = server_tls(&format!(
        "common_tls_context: {{ alpn_protocols: [ h2, http/1.1 ], tls_certificates: [ {} ], \
         tls_params: {{ tls_minimum_protocol_version: {version}, \
         tls_maximum_protocol_version: {version} }} }}",
        certificate("server")
    ));
    let logged = "    access_log:
    - name: log
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
        path: {DIR}/connections.log
        log_format: { text_format_source: { inline_string: \"%BYTES_SENT%\\n\" } }
    filter_chains:";
    let main = listener_with("main", &context, "", "-", "");
    let main = main.replacen("    filter_chains:", logged, 1);
    let process = start(program, &files, &main, "");
    let socket = TcpStream::connect(process.listener("main")).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut config = anybody();
    config.alpn_protocols = vec![talk.alpn.as_bytes().to_vec()];
    let name = ServerName::try_from("a.test").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut client = StreamOwned::new(session, socket);
    client.write_all(&talk.question).expect("it is read");
    let received = read_until(&mut client, talk.is_answered).len() as i64;
    client
        .sock
        .shutdown(std::net::Shutdown::Both)
        .expect("it is open");
    let line = log_of(&process, "connections", 1);
    let logged: i64 = line.trim().parse().expect("a number");
    let is_over = |stats: &Stats| stats.get("http.main.downstream_cx_active") == Some(&0);
    let (stats, _) = process.admin().await_stats(PATIENCE, is_over);
    let counted = stats["http.main.downstream_cx_tx_bytes_total"] as i64;
    [logged - received, counted - received]
}

#[test]
fn bytes_for_clients_are_without_tickets_as_in_envoy() {
    for version in ["TLSv1_2", "TLSv1_3"] {
        for talk in talks() {
            let test = "bytes_for_clients_are_without_tickets_as_in_envoy";
            if let Some(surplus) = as_in_envoy(test, |program| surplus(program, version, &talk)) {
                assert_eq!(surplus, [0; 2], "{version} {}", talk.alpn);
            }
        }
    }
}
