//! TLS on both sides: the same files and the same clients for Envoy and Ringway.
//! What curl gets, what is counted and what is logged must be alike.

mod alpn;
mod auto_sni;
mod checks;
mod client_cert_header;
mod files;
mod filter_chains;
mod fingerprints;
mod hostile;
mod ocsp;
mod rotation;
mod sds;
mod sds_refusals;
mod server;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use files::Files;
use ringway_tests::process::{Process, Program, each_driver};
use ringway_tests::programs;

const PATIENCE: Duration = Duration::from_secs(20);

/// What is logged of every request: all that does not change from run to run.
const LOG: &str = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
    failure=%UPSTREAM_TRANSPORT_FAILURE_REASON% v=%DOWNSTREAM_TLS_VERSION% \
    c=%DOWNSTREAM_TLS_CIPHER% g=%DOWNSTREAM_TLS_GROUP% sni=%REQUESTED_SERVER_NAME% \
    scheme=%REQ(:SCHEME)% proto=%REQ(X-FORWARDED-PROTO)% \
    ls=%DOWNSTREAM_LOCAL_SUBJECT% lu=%DOWNSTREAM_LOCAL_URI_SAN% ld=%DOWNSTREAM_LOCAL_DNS_SAN% \
    ps=%DOWNSTREAM_PEER_SUBJECT% pi=%DOWNSTREAM_PEER_ISSUER% pn=%DOWNSTREAM_PEER_SERIAL% \
    pu=%DOWNSTREAM_PEER_URI_SAN% pd=%DOWNSTREAM_PEER_DNS_SAN% \
    pf=%DOWNSTREAM_PEER_FINGERPRINT_256% p1=%DOWNSTREAM_PEER_FINGERPRINT_1% \
    pc=%DOWNSTREAM_PEER_CERT% b=%DOWNSTREAM_PEER_CERT_V_START% e=%DOWNSTREAM_PEER_CERT_V_END% \
    uv=%UPSTREAM_TLS_VERSION% uc=%UPSTREAM_TLS_CIPHER% us=%UPSTREAM_PEER_SUBJECT% \
    ui=%UPSTREAM_PEER_ISSUER% uu=%UPSTREAM_PEER_URI_SAN% ul=%UPSTREAM_LOCAL_URI_SAN%";

/// A listener with a connection manager that logs to `NAME.log`.
fn listener(name: &str, chain: &str, routes: &str) -> String {
    listener_with(name, chain, "", LOG, routes)
}

/// The same, with more fields of the connection manager (lines of ten spaces) and
/// another log.
fn listener_with(name: &str, chain: &str, fields: &str, log: &str, routes: &str) -> String {
    format!(
        "  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    stat_prefix: {name}
    filter_chains:
    - {chain}
      filters:
      - name: manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
{fields}          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{DIR}}/{name}.log
              log_format: {{ text_format_source: {{ inline_string: \"{log}\\n\" }} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - {{ match: {{ path: /direct }}, direct_response: {{ status: 200, body: {{ inline_string: hello }} }} }}
{routes}
          http_filters:
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
"
    )
}

/// The transport socket of a filter chain; `FILES` is the folder of certificates.
fn server_tls(context: &str) -> String {
    tls("DownstreamTlsContext", context)
}

fn client_tls(context: &str) -> String {
    tls("UpstreamTlsContext", context)
}

fn tls(message: &str, context: &str) -> String {
    format!(
        "transport_socket: {{ name: envoy.transport_sockets.tls, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{message}, {context} }} }}"
    )
}

fn certificate(name: &str) -> String {
    format!(
        "{{ certificate_chain: {{ filename: FILES/{name}.pem }}, \
         private_key: {{ filename: FILES/{name}.key }} }}"
    )
}

fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    format!(
        "  - name: {name}
    type: STATIC
    {more}
    load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }} ] }} ] }}
",
        address.ip(),
        address.port()
    )
}

fn start(program: &Program, files: &Files, listeners: &str, clusters: &str) -> Process {
    let clusters = match clusters {
        "" => " []",
        clusters => &format!("\n{clusters}"),
    };
    let text = format!(
        "node: {{ id: me, cluster: mine }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
{listeners}
  clusters:{clusters}"
    );
    Process::start(
        program,
        &text.replace("FILES", &files.folder().to_string_lossy()),
    )
}

/// The servers that clients of these tests talk to.
fn back(program: &Program, files: &Files) -> Process {
    let server = certificate("server");
    let both = format!("{server}, {}", certificate("server-rsa"));
    let chain = |context: &str| server_tls(context);
    let listeners = [
        (
            "any",
            format!(
                "common_tls_context: {{ alpn_protocols: [ http/1.1 ], tls_certificates: [ {both} ] }}"
            ),
        ),
        (
            "old",
            format!(
                "common_tls_context: {{ tls_params: {{ tls_maximum_protocol_version: TLSv1_2 }}, tls_certificates: [ {server} ] }}"
            ),
        ),
        (
            "new",
            format!(
                "common_tls_context: {{ tls_params: {{ tls_minimum_protocol_version: TLSv1_3 }}, tls_certificates: [ {server} ] }}"
            ),
        ),
        (
            "mutual",
            format!(
                "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }} }} }}"
            ),
        ),
        (
            "named",
            format!(
                "require_client_certificate: true, common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }}, match_typed_subject_alt_names: [ {{ san_type: URI, matcher: {{ prefix: \"spiffe://y/\" }} }} ] }} }}"
            ),
        ),
        (
            "lenient",
            format!(
                "common_tls_context: {{ tls_certificates: [ {server} ], validation_context: {{ trusted_ca: {{ filename: FILES/ca.pem }}, trust_chain_verification: ACCEPT_UNTRUSTED }} }}"
            ),
        ),
    ];
    let listeners: String = listeners
        .iter()
        .map(|(name, context)| listener(name, &chain(context), ""))
        .collect();
    start(program, files, &listeners, "")
}

/// `200 hello`, or why not.
fn curl(files: &Files, address: SocketAddr, host: &str, arguments: &[&str]) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .current_dir(files.folder())
        .args(["-s", "-k", "--max-time", "20", "-w", " %{http_code}"])
        .args(["--resolve", &format!("{host}:{}:127.0.0.1", address.port())])
        .args(arguments)
        .arg(format!("https://{host}:{}/direct", address.port()))
        .output()
        .expect("curl runs");
    match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).into_owned(),
        false => "no answer".to_owned(),
    }
}

/// What openssl prints of a connection, errors included.
fn s_client(files: &Files, address: SocketAddr, arguments: &[&str]) -> String {
    let openssl = programs::optional("tls", "openssl").expect("openssl, as all tests of TLS");
    let output = Command::new(openssl)
        .current_dir(files.folder())
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", "a.test"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let texts = [&output.stdout[..], &output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

/// Statistics of TLS that are not 0, those aside that only Envoy has.
fn moved(process: &Process) -> BTreeMap<String, u64> {
    let text = process.admin().get("/stats").text();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.contains(".ssl.") || name.contains("_ssl_"))
        .filter(|(name, _)| !name.contains(".ssl.certificate."))
        // Connections may be on their way out.
        .filter(|(name, _)| !name.ends_with("_active"))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .filter(|(_, value)| *value != 0)
        .collect()
}

fn log_of(process: &Process, name: &str, lines: usize) -> String {
    let path = process.folder().join(format!("{name}.log"));
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.lines().count() >= lines {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Both drivers and, where there is one, Envoy: what each of them gives, which must
/// be the same.
fn all_alike(test_name: &str, observe: impl Fn(&Program) -> String) {
    let envoy = programs::envoy(test_name).map(|path| observe(&Program::Envoy(path)));
    each_driver(|program| {
        let ours = observe(program);
        if let Some(envoy) = &envoy {
            let only = |of: &str, other: &str| -> Vec<String> {
                let lines = of
                    .lines()
                    .filter(|line| !other.lines().any(|one| one == *line));
                lines.map(str::to_owned).collect()
            };
            let (ours_only, envoys_only) = (only(&ours, envoy), only(envoy, &ours));
            assert!(
                ours == *envoy,
                "{}: {ours_only:#?}\nEnvoy: {envoys_only:#?}",
                program.name()
            );
        }
    });
}

/// What a client asks of which listener.
const CLIENTS: &[(&str, &str, &[&str])] = &[
    (
        "any",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    (
        "any",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_CHACHA20_POLY1305_SHA256",
            "--curves",
            "P-256",
        ],
    ),
    (
        "any",
        "x.b.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ],
    ),
    (
        "any",
        "r.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ],
    ),
    (
        "any",
        "r.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ],
    ),
    (
        "any",
        "nobody.test",
        &["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
    ),
    (
        "any",
        "a.test",
        &["--tls-max", "1.2", "--ciphers", "AES128-SHA"],
    ),
    ("any", "a.test", &["--curves", "P-521"]),
    (
        "old",
        "a.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ],
    ),
    ("old", "a.test", &["--tlsv1.3"]),
    (
        "new",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    ("new", "a.test", &["--tls-max", "1.2"]),
    (
        "mutual",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
    (
        "mutual",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_AES_128_GCM_SHA256",
            "--cert",
            "client.pem",
            "--key",
            "client.key",
        ],
    ),
    (
        "mutual",
        "a.test",
        &[
            "--tls-max",
            "1.2",
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "--cert",
            "client.pem",
            "--key",
            "client.key",
        ],
    ),
    (
        "mutual",
        "a.test",
        &["--cert", "stranger.pem", "--key", "stranger.key"],
    ),
    (
        "named",
        "a.test",
        &["--cert", "client.pem", "--key", "client.key"],
    ),
    (
        "lenient",
        "a.test",
        &[
            "--tls13-ciphers",
            "TLS_AES_128_GCM_SHA256",
            "--cert",
            "stranger.pem",
            "--key",
            "stranger.key",
        ],
    ),
    (
        "lenient",
        "a.test",
        &["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
    ),
];

#[test]
fn clients_get_what_envoys_get() {
    let files = Files::new();
    all_alike("clients_get_what_envoys_get", |program| {
        let process = back(program, &files);
        let mut seen = String::new();
        let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
        for (listener, host, arguments) in CLIENTS {
            let got = curl(&files, process.listener(listener), host, arguments);
            *answered.entry(listener).or_default() += usize::from(got == "hello 200");
            seen += &format!("{listener} {host} {arguments:?}: {got}\n");
        }
        for (listener, lines) in answered {
            seen += &log_of(&process, listener, lines);
        }
        for (name, value) in moved(&process) {
            seen += &format!("{name}: {value}\n");
        }
        // Contexts come in any order.
        let certificates = process.admin().get("/certs").text();
        let certificates: serde_json::Value =
            serde_json::from_str(&certificates).expect("a JSON document");
        let contexts = certificates["certificates"].as_array().expect("a list");
        let mut contexts: Vec<String> = contexts.iter().map(ToString::to_string).collect();
        contexts.sort();
        seen + &contexts.join("\n")
    });
}

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

/// A request without TLS: status and body.
fn get(address: SocketAddr, path: &str) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let output = Command::new(curl)
        .args(["-s", "--max-time", "20", "-w", " %{http_code}"])
        .arg(format!("http://{address}{path}"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once(' ').unwrap_or_default();
    format!("{status} {body}")
}

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

/// Asks a server by `openssl s_client` and gives what that has said of the connection,
/// with which it ends.
fn ask_by_openssl(
    openssl: &Path,
    files: &Files,
    address: SocketAddr,
    arguments: &[&str],
) -> String {
    let mut client = Command::new(openssl)
        .current_dir(files.folder())
        .args(["s_client", "-ign_eof", "-servername", "a.test"])
        .args(["-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut request = client.stdin.take().expect("its input");
    request
        .write_all(b"GET /direct HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
        .expect("openssl reads");
    let output = client.wait_with_output().expect("openssl ends");
    drop(request);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sessions are taken up again, with tickets and without.
#[test]
fn sessions_are_taken_up_again() {
    let files = Files::new();
    let Some(openssl) = programs::optional("sessions_are_taken_up_again", "openssl") else {
        return;
    };
    let connect =
        |address, arguments: &[&str]| ask_by_openssl(&openssl, &files, address, arguments);
    each_driver(|program| {
        let process = back(program, &files);
        let address = process.listener("any");
        for flags in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"], &["-tls1_3"]] {
            let before = moved(&process);
            let first = connect(address, &[flags, &["-sess_out", "session"]].concat());
            assert!(first.contains("\nNew, "), "{flags:?}: {first}");
            let second = connect(address, &[flags, &["-sess_in", "session"]].concat());
            assert!(second.contains("\nReused, "), "{flags:?}: {second}");
            let reused = |stats: &BTreeMap<String, u64>| {
                let count = stats.get("listener.any.ssl.session_reused");
                count.copied().unwrap_or(0)
            };
            assert_eq!(reused(&moved(&process)), reused(&before) + 1, "{flags:?}");
        }
    });
}
