//! Handshakes that fail: what logs tell of them, and of those that do not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringway_tests::process::Process;
use ringway_tests::programs;

use super::files::Files;
use super::{
    PATIENCE, all_alike, certificate, cluster, curl, listener_with, log_of, s_client, server_tls,
    start,
};

/// What TLS knows of a connection, with or without a handshake.
const FACTS: &str = "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_LOCAL_SUBJECT% \
    %DOWNSTREAM_LOCAL_DNS_SAN%";

/// A listener whose connections are carried to a host, and logged.
pub(super) fn carrier(name: &str, context: &str) -> String {
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    stat_prefix: {name}
    filter_chains:
    - {}
      transport_socket_connect_timeout: 2s
      filters:
      - name: proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: host
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{DIR}}/{name}.log
              log_format: {{ text_format_source: {{ inline_string: \"%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %CONNECTION_TERMINATION_DETAILS% %RESPONSE_FLAGS% %DOWNSTREAM_HANDSHAKE_DURATION% {FACTS}\\n\" }} }}
",
        server_tls(context)
    )
}

/// A listener of HTTP that logs its connections.
pub(super) fn served(name: &str, context: &str) -> String {
    let tls = server_tls(context);
    let chain = format!("{tls}\n      transport_socket_connect_timeout: 2s");
    let log =
        format!("%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %CONNECTION_TERMINATION_DETAILS% {FACTS}");
    let logged = format!(
        "    access_log:
    - name: log
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
        path: {{DIR}}/{name}.log
        log_format: {{ text_format_source: {{ inline_string: \"{log}\\n\" }} }}
    filter_chains:"
    );
    listener_with(name, &chain, "", &log, "").replacen("    filter_chains:", &logged, 1)
}

/// A host that takes what comes.
pub(super) fn host() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    address
}

const CLIENTS: &[(&str, &[&str])] = &[
    ("no certificate", &[]),
    (
        "no certificate, TLS 1.2",
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ),
    (
        "a stranger",
        &["-cert", "stranger.pem", "-key", "stranger.key"],
    ),
    (
        "a stranger, TLS 1.2",
        &[
            "-tls1_2",
            "-cipher",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "-cert",
            "stranger.pem",
            "-key",
            "stranger.key",
        ],
    ),
    ("too old", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
    ("a good one", &["-cert", "client.pem", "-key", "client.key"]),
];

/// What a listener logs of handshakes that fail, and of one that does not.
fn failures(files: &Files, process: &Process, name: &str) -> String {
    let address = process.listener(name);
    let mut seen = String::new();
    let mut lines = 0;
    let mut logged = |what: &str| {
        lines += 1;
        let log = log_of(process, name, lines);
        let last = log.lines().last().unwrap_or_default();
        seen += &format!("{what}: {last}\n");
    };
    for (what, arguments) in CLIENTS {
        let _ = s_client(files, address, arguments);
        logged(what);
    }
    let announced = [0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    let long = [&announced[..], &[0; 0x3ffc]].concat();
    for (what, bytes) in [
        ("HTTP", &b"GET / HTTP/1.1\r\n\r\n"[..]),
        ("another method of HTTP", b"DELETE / HTTP/1.1\r\n\r\n"),
        ("what proxies are asked", b"CONNECT a:1 HTTP/1.1\r\n\r\n"),
        ("data", &[0x17, 3, 3, 0, 1, 7]),
        ("another message", &[0x16, 3, 3, 0, 4, 0x14, 0, 0, 0]),
        ("a long message", &long),
        ("a large record", &[0x16, 3, 1, 0xff, 0xff, 0, 0, 0]),
        ("an alert", &[0x15, 3, 1, 0, 2, 2, 40]),
        ("silence", b""),
    ] {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.write_all(bytes).expect("it is sent");
        let _ = stream.read(&mut [0; 64]);
        logged(what);
    }
    drop(TcpStream::connect(address).expect("a connection"));
    logged("a client that leaves");
    seen
}

#[test]
fn logs_tell_why_there_is_no_handshake() {
    let test = "logs_tell_why_there_is_no_handshake";
    if programs::optional(test, "openssl").is_none() {
        return;
    }
    let files = Files::new();
    let host = host();
    all_alike(test, |program| {
        let context = format!(
            "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {} ], \
             validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }} }} }}",
            certificate("server")
        );
        let listeners = [carrier("carrier", &context), served("served", &context)];
        let hosts = cluster("host", host, "");
        let process = start(program, &files, &listeners.concat(), &hosts);
        let mut seen = String::new();
        for name in ["carrier", "served"] {
            seen += &format!("{name}\n");
            seen += &failures(&files, &process, name);
        }
        seen
    });
}

/// The handshake was before the request: its end is told as less than none.
#[test]
fn logs_of_requests_tell_how_long_ago_the_handshake_was() {
    const AGO: Duration = Duration::from_millis(60);
    let test = "logs_of_requests_tell_how_long_ago_the_handshake_was";
    let Some(openssl) = programs::optional(test, "openssl") else {
        return;
    };
    let files = Files::new();
    all_alike(test, |program| {
        let tls = server_tls(&format!(
            "common_tls_context: {{ tls_certificates: [ {} ] }}",
            certificate("server")
        ));
        let log = "%DOWNSTREAM_HANDSHAKE_DURATION%";
        let listeners = [
            listener_with("secret", &tls, "", log, ""),
            listener_with("plain", "name: plain", "", log, ""),
        ];
        let process = start(program, &files, &listeners.concat(), "");
        let mut client = Command::new(&openssl)
            .args(["s_client", "-quiet", "-connect"])
            .arg(process.listener("secret").to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let name = "listener.secret.ssl.handshake";
        let (stats, shaken) =
            (process.admin()).await_stats(PATIENCE, |stats| stats.get(name) == Some(&1));
        assert!(shaken, "{stats:?}");
        std::thread::sleep(AGO);
        let mut input = client.stdin.take().expect("its input");
        input
            .write_all(b"GET /direct HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
            .expect("openssl reads");
        let log = log_of(&process, "secret", 1);
        let told: i128 = log.trim().parse().expect("a number");
        assert!(told <= -(AGO.as_millis() as i128), "{log}");
        drop(input);
        let _ = client.wait();
        let _ = super::get(process.listener("plain"), "/direct");
        log_of(&process, "plain", 1)
    });
}

/// A host that answers each connection once, and closes it.
fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
        }
    });
    address
}

#[test]
fn connections_after_failed_handshakes_are_carried() {
    let files = Files::new();
    let host = greeter();
    all_alike(
        "connections_after_failed_handshakes_are_carried",
        |program| {
            let server = certificate("server");
            let context = format!("common_tls_context: {{ tls_certificates: [ {server} ] }}");
            let process = start(
                program,
                &files,
                &carrier("carrier", &context),
                &cluster("host", host, ""),
            );
            let address = process.listener("carrier");
            let mut seen = String::new();
            for _ in 0..8 {
                // What was being opened to the host for it is given up.
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_read_timeout(Some(PATIENCE)).expect("an option");
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
                let _ = stream.read(&mut [0; 64]);
                drop(stream);
                for _ in 0..2 {
                    seen += &curl(&files, address, "a.test", &["--http1.1"]);
                    seen.push('\n');
                }
            }
            seen
        },
    );
}

/// Clients that are turned away for their certificates, and the alert that they get.
#[test]
fn certificates_are_refused_with_the_alert_of_envoy() {
    let test = "certificates_are_refused_with_the_alert_of_envoy";
    if programs::optional(test, "openssl").is_none() {
        return;
    }
    let files = Files::new();
    let hash = "verify_certificate_hash: [ \
         \"0000000000000000000000000000000000000000000000000000000000000000\" ]";
    let trusted = "trusted_ca: { filename: FILES/ca.pem }";
    let stranger = ["-cert", "stranger.pem", "-key", "stranger.key"];
    let client = ["-cert", "client.pem", "-key", "client.key"];
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        ("none", "authority", "-tls1_2", &[]),
        ("none", "authority", "-tls1_3", &[]),
        ("none", "pinned", "-tls1_2", &[]),
        ("a stranger", "authority", "-tls1_2", &stranger),
        ("a stranger", "authority", "-tls1_3", &stranger),
        ("another hash", "pinned", "-tls1_2", &client),
    ];
    all_alike(test, |program| {
        let listeners = [("authority", trusted), ("pinned", hash)].map(|(name, asked)| {
            let context = format!(
                "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {} \
                 ], validation_context: {{ {asked} }} }}",
                certificate("server")
            );
            listener_with(name, &server_tls(&context), "", "-", "")
        });
        let process = start(program, &files, &listeners.concat(), "");
        let mut seen = String::new();
        for (what, listener, version, arguments) in cases {
            let arguments = [&[version, "-ign_eof"], arguments].concat();
            let told = s_client(&files, process.listener(listener), &arguments);
            let alert = told
                .lines()
                .filter_map(|line| line.split_once("SSL alert number "))
                .map(|(_, number)| number.trim())
                .next();
            assert!(alert.is_some(), "{what} {listener} {version}: {told}");
            seen += &format!("{what} {listener} {version}: {alert:?}\n");
        }
        seen
    });
}
