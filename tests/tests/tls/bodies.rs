//! Large bodies.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use ringway_tests::process::each_driver;
use ringway_tests::programs;

use super::files::Files;
use super::{certificate, client_tls, cluster, listener, moved, server_tls, start};

/// A megabyte up and down, over TLS on both sides of two proxies, on connections
/// that are used again.
#[test]
fn bodies_pass_through_tls_on_both_sides() {
    let files = Files::new();
    let body: Vec<u8> = (0..1_000_003u32).map(|n| (n * 31 % 251) as u8).collect();
    std::fs::write(files.path("body"), &body).expect("a file");
    let echo = echo();
    let server = server_tls(&format!(
        "common_tls_context: {{ tls_certificates: [ {} ] }}",
        certificate("server")
    ));
    let route = "              - { match: { prefix: / }, route: { cluster: next, timeout: 0s } }";
    each_driver(|program| {
        let second = start(
            program,
            &files,
            &listener("second", &server, route),
            &cluster("next", echo, ""),
        );
        for version in ["TLSv1_2", "TLSv1_3"] {
            let context = format!(
                "sni: a.test, common_tls_context: {{ tls_params: {{ \
                 tls_maximum_protocol_version: {version} }} }}"
            );
            let first = start(
                program,
                &files,
                &listener("first", &server, route),
                &cluster("next", second.listener("second"), &client_tls(&context)),
            );
            let address = first.listener("first");
            for flags in [["--tls-max", "1.2"], ["--tls-max", "1.3"]] {
                let curl = programs::optional("tls", "curl").expect("curl");
                let url = format!("https://{address}/echo");
                let output = Command::new(curl)
                    .current_dir(files.folder())
                    .args(["-s", "-k", "--fail", "--max-time", "60", "-H", "expect:"])
                    .args(flags)
                    .args(["--data-binary", "@body", &url, &url, &url])
                    .output()
                    .expect("curl runs");
                assert!(output.status.success(), "{version} {flags:?}: {output:?}");
                assert!(output.stdout == body.repeat(3), "{version} {flags:?}");
            }
            let stats = moved(&first);
            assert_eq!(stats["listener.first.ssl.handshake"], 2);
            assert_eq!(stats["cluster.next.ssl.handshake"], 1);
        }
    });
}

/// An origin that answers with the body of the request.
fn echo() -> SocketAddr {
    use std::io::{BufRead as _, BufReader, Read as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let mut length = 0;
                    let mut line = String::new();
                    loop {
                        line.clear();
                        match reader.read_line(&mut line) {
                            Ok(1..) => {}
                            _ => return,
                        }
                        if let Some(value) = line.strip_prefix("content-length: ") {
                            length = value.trim().parse().unwrap_or(0);
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    if reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    let answer = [head.as_bytes(), &body].concat();
                    if reader.get_mut().write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
