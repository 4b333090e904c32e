//! What clients begin with that is no ClientHello: the alert that they get, and what
//! logs tell of it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::files::Files;
use super::{PATIENCE, all_alike, certificate, listener_with, log_of, moved, server_tls, start};

fn field(length_bytes: usize, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_be_bytes();
    [&length[4 - length_bytes..], data].concat()
}

fn record(kind: u8, plaintext: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &field(2, plaintext)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    record(22, &[&[kind][..], &field(3, body)].concat())
}

/// A ClientHello with this session, these ciphers, and what follows them.
fn hello(session: &[u8], suites: &[u8], rest: &[u8]) -> Vec<u8> {
    let body = [&[3; 34][..], &field(1, session), &field(2, suites), rest];
    message(1, &body.concat())
}

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let suite = [0x13, 1];
    let twice = [0, 10, 0, 4, 0, 2, 0, 29].repeat(2);
    let long = |length: u16, sent: usize| {
        [&[22, 3, 1][..], &length.to_be_bytes(), &vec![0; sent]].concat()
    };
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("DELETE", b"DELETE / HTTP/1.1\r\n\r\n".to_vec()),
        ("OPTIONS", b"OPTIONS * HTTP/1.1\r\n\r\n".to_vec()),
        ("CONNECT", b"CONNECT a:1 HTTP/1.1\r\n\r\n".to_vec()),
        ("rubbish", vec![0xff; 40]),
        ("zeros", vec![0; 40]),
        ("few bytes", vec![0; 4]),
        ("another version", vec![22, 4, 0, 0, 5, 1, 0, 0, 1, 0]),
        ("data", record(23, &[7])),
        ("a change of ciphers", record(20, &[1])),
        ("an unknown kind", record(99, &[1])),
        ("a fatal alert", record(21, &[2, 40])),
        ("close_notify", record(21, &[1, 0])),
        ("a record of 64 kB", long(0xffff, 3)),
        ("a record a byte too long", long(0x4141, 0)),
        ("plaintext a byte too long", long(0x4001, 0x4001)),
        ("nothing", record(22, &[]).repeat(33)),
        ("a ServerHello", message(2, &[0; 4])),
        ("a Finished", message(20, &[])),
        ("two messages", record(22, &[0; 8])),
        ("many messages", record(22, &[0; 4000])),
        (
            "a long message",
            long(0x4000, 0x4000)
                .into_iter()
                .enumerate()
                .map(|(i, byte)| match i {
                    5 => 1,
                    6..9 => 0xff,
                    _ => byte,
                })
                .collect(),
        ),
        ("an empty hello", message(1, &[])),
        ("a short hello", message(1, &[3; 10])),
        ("a long session", hello(&[1; 40], &suite, &[1, 0])),
        ("no ciphers", hello(&[], &[], &[1, 0])),
        ("half a cipher", hello(&[], &[1, 2, 3], &[1, 0])),
        ("no compression", hello(&[], &suite, &[0])),
        ("bytes behind", hello(&[], &suite, &[1, 0, 0, 0, 9])),
        (
            "an extension that is cut",
            hello(&[], &suite, &[1, 0, 0, 3, 0, 10, 9]),
        ),
        (
            "an extension twice",
            hello(&[], &suite, &[&[1, 0, 0, 16][..], &twice].concat()),
        ),
    ]
}

/// What comes back. The client's end is sent too, for what waits for more.
fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no end: {error}"),
    }
    format!("{answer:02x?}")
}

#[test]
fn what_is_no_hello_is_answered_as_in_envoy() {
    let files = Files::new();
    all_alike("what_is_no_hello_is_answered_as_in_envoy", |program| {
        let context = format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            certificate("server")
        );
        let log = "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%";
        let logged = format!(
            "    access_log:
    - name: log
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
        path: {{DIR}}/main.log
        log_format: {{ text_format_source: {{ inline_string: \"{log}\\n\" }} }}
    filter_chains:"
        );
        let listener = listener_with("main", &server_tls(&context), "", log, "").replacen(
            "    filter_chains:",
            &logged,
            1,
        );
        let process = start(program, &files, &listener, "");
        let address = process.listener("main");
        let mut seen = String::new();
        for (lines, (what, bytes)) in cases().into_iter().enumerate() {
            let answer = answer(address, &bytes);
            let log = log_of(&process, "main", lines + 1);
            let last = log.lines().last().unwrap_or_default();
            let _ = writeln!(seen, "{what}: {answer} {last}");
        }
        let _ = write!(seen, "{:#?}", moved(&process));
        assert!(
            seen.contains("DELETE: [15, 03, 01, 00, 02, 02, 46]"),
            "{seen}"
        );
        seen
    });
}
