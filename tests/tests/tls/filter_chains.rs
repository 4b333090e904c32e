//! Which filter chain a connection runs through: the same chains and the same clients for
//! Envoy and Ringway.

use ringway_tests::patience;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use ringway_tests::process::{Process, Program};
use ringway_tests::programs;

use super::files::Files;
use super::{PATIENCE, all_alike, certificate, server_tls, start};

const INSPECTOR: &str = "    listener_filters:
    - name: inspector
      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector, OPTIONS }
";

/// A listener: its name, whether its chains speak TLS, what they match (`None` is nothing at
/// all), and what it has besides.
struct Case {
    name: &'static str,
    over_tls: bool,
    chains: &'static [Option<&'static str>],
    more: &'static str,
}

const fn case(name: &'static str, over_tls: bool, chains: &'static [Option<&'static str>]) -> Case {
    Case {
        name,
        over_tls,
        chains,
        more: "",
    }
}

const CASES: &[Case] = &[
    case(
        "destination",
        false,
        &[
            Some("prefix_ranges: [ { address_prefix: 127.0.0.2, prefix_len: 32 } ]"),
            Some(
                "prefix_ranges: [ { address_prefix: 127.0.0.0, prefix_len: 8 } ], \
                 source_type: EXTERNAL",
            ),
            None,
        ],
    ),
    case(
        "source",
        false,
        &[
            Some("source_prefix_ranges: [ { address_prefix: 127.0.0.0, prefix_len: 8 } ]"),
            Some("source_prefix_ranges: [ { address_prefix: 127.0.0.3, prefix_len: 32 } ]"),
            Some("source_prefix_ranges: [ { address_prefix: \"::1\", prefix_len: 128 } ]"),
        ],
    ),
    case(
        "direct_source",
        false,
        &[
            Some("direct_source_prefix_ranges: [ { address_prefix: 127.0.0.3, prefix_len: 32 } ]"),
            Some("source_type: SAME_IP_OR_LOOPBACK"),
        ],
    ),
    case(
        "no_way_back",
        false,
        &[
            Some("source_type: SAME_IP_OR_LOOPBACK, source_ports: [ 1 ]"),
            Some("source_type: ANY"),
        ],
    ),
    case(
        "raw",
        false,
        &[
            Some("transport_protocol: tls"),
            Some("transport_protocol: raw_buffer"),
            None,
        ],
    ),
    case(
        "unknown_transport",
        false,
        &[Some("transport_protocol: other"), None],
    ),
    Case {
        name: "default",
        over_tls: false,
        chains: &[Some("destination_port: 1")],
        more: "default",
    },
    case(
        "names",
        true,
        &[
            Some("server_names: [ A.com ]"),
            Some("server_names: [ \"*.com\" ]"),
            Some("server_names: [ \"*.a.com\" ]"),
            Some("server_names: [ b.com ], application_protocols: [ h2 ]"),
            Some("server_names: [ c.com ], transport_protocol: raw_buffer"),
            Some("transport_protocol: tls"),
            None,
        ],
    ),
    case(
        "odd_names",
        true,
        &[
            Some("server_names: [ \"*.\" ]"),
            Some("server_names: [ \"*.a.*\" ]"),
            Some("server_names: [ \".com\", \"\" ]"),
        ],
    ),
    case(
        "protocols",
        true,
        &[
            Some("application_protocols: [ http/1.1 ]"),
            Some("application_protocols: [ h2 ]"),
            None,
        ],
    ),
    Case {
        name: "not_inspected",
        over_tls: true,
        chains: &[
            Some("server_names: [ a.com ]"),
            Some("transport_protocol: tls"),
            Some("application_protocols: [ http/1.1 ]"),
            None,
        ],
        more: "uninspected",
    },
    Case {
        name: "strict",
        over_tls: true,
        chains: &[None],
        more: "max_client_hello_size: 256, close_connection_on_client_hello_parsing_errors: true",
    },
];

const HOSTS: &[&str] = &[
    "a.com",
    "x.com",
    "y.x.com",
    "x.a.com",
    "x.y.a.com",
    "b.com",
    "c.com",
    "d.org",
    "com",
    "x.a.q",
];

fn chain(n: usize, matching: Option<&str>, over_tls: bool) -> String {
    let tls = server_tls(&format!(
        "common_tls_context: {{ alpn_protocols: [ http/1.1 ], tls_certificates: [ {} ] }}",
        certificate("server")
    ));
    format!(
        "name: chain{n}
      {matching}
      {tls}
      transport_socket_connect_timeout: 10s
      filters:
      - name: manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: chains
          access_log:
          - name: log
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {{DIR}}/chains.log
              log_format: {{ text_format_source: {{ inline_string: \"%FILTER_CHAIN_NAME% %REQUESTED_SERVER_NAME%\\n\" }} }}
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - {{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {{ inline_string: chain{n} }} }} }}
          http_filters:
          - name: router
            typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
",
        matching = matching.map_or_else(String::new, |it| format!("filter_chain_match: {{ {it} }}")),
        tls = if over_tls { &*tls } else { "" },
    )
}

fn listeners() -> String {
    let mut text = String::new();
    for case in CASES {
        text += &format!(
            "  - name: {}
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: 0 }} }}
    stat_prefix: {}
    listener_filters_timeout: 3s
    continue_on_listener_filters_timeout: {}
",
            case.name,
            case.name,
            case.name == "protocols",
        );
        text += &match case.more {
            "uninspected" => String::new(),
            "default" => INSPECTOR.replace(", OPTIONS", ""),
            options => INSPECTOR.replace("OPTIONS", options),
        };
        text += "    filter_chains:\n";
        for (n, matching) in case.chains.iter().enumerate() {
            text += &format!("    - {}", chain(n, *matching, case.over_tls));
        }
        if case.more == "default" {
            text += &format!(
                "    default_filter_chain:\n      {}",
                chain(9, None, case.over_tls)
            );
        }
    }
    text
}

/// The chain that answered, or that none has.
fn curl(address: SocketAddr, host: &str, over_tls: bool, more: &[&str]) -> String {
    let curl = programs::optional("tls", "curl").expect("curl, which every machine has");
    let scheme = if over_tls { "https" } else { "http" };
    let port = address.port();
    let output = Command::new(curl)
        .args(["-s", "-k", "--max-time", "20"])
        .args([
            "--connect-to",
            &format!("{host}:{port}:{}:{port}", address.ip()),
        ])
        .args(more)
        .arg(format!("{scheme}://{host}:{port}/"))
        .output()
        .expect("curl runs");
    match output.status.success() {
        true => String::from_utf8_lossy(&output.stdout).into_owned(),
        false => "no answer".to_owned(),
    }
}

/// The type of a record that says what is wrong.
const ALERT: u8 = 0x15;

/// Sends `pieces`, and says whether something came back before the connection was closed.
/// What a listener filter waited for in vain is counted.
fn send(address: SocketAddr, pieces: &[Vec<u8>]) -> &'static str {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut first = [0; 1];
    match patience::read(&mut stream, &mut first) {
        // Whether an alert says why is another matter.
        Ok(1) if first[0] != ALERT => "an answer",
        _ => "closed",
    }
}

fn counted(process: &Process) -> String {
    let text = process.admin().get("/stats").text();
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.ends_with(": 0") && !line.contains("P0("))
        .filter(|line| {
            [
                "tls_inspector.",
                "no_filter_chain_match",
                "_pre_cx_",
                "listener_filter",
            ]
            .iter()
            .any(|part| line.contains(part))
        })
        .collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The first bytes of a TLS connection that asks for `a.com`, with `padding` more bytes.
fn client_hello(padding: usize) -> Vec<u8> {
    let with_length = |bytes: usize, data: &[u8]| {
        let length = (data.len() as u32).to_be_bytes();
        [&length[4 - bytes..], data].concat()
    };
    let name = with_length(2, &[&[0][..], &with_length(2, b"a.com")].concat());
    let extensions = [
        [&[0, 0][..], &with_length(2, &name)].concat(),
        vec![0, 10, 0, 4, 0, 2, 0, 29],
        vec![0, 13, 0, 4, 0, 2, 4, 3],
        vec![0, 43, 0, 3, 2, 3, 4],
        [&[0, 21][..], &with_length(2, &vec![0; padding])].concat(),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_length(2, &[0x13, 1, 0xc0, 0x2b]),
        &with_length(1, &[0]),
        &with_length(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &with_length(2, part)].concat();
    message.chunks(16_000).flat_map(record).collect()
}

/// What clients of a listener's own kind get.
fn usual(case: &Case, port: u16) -> String {
    let mut seen = String::new();
    let address = |host: [u8; 4]| SocketAddr::from((host, port));
    let mut note = |what: &str, got: &str| seen += &format!("{} {what}: {got}\n", case.name);
    if case.over_tls {
        let here = address([127, 0, 0, 1]);
        for host in HOSTS {
            note(host, &curl(here, host, true, &[]));
        }
        note("B.com", &curl(here, "B.com", true, &["--no-alpn"]));
        note("no TLS", &curl(here, "a.com", false, &[]));
    } else {
        for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            note(&format!("{host:?}"), &curl(address(host), "h", false, &[]));
        }
        let from = ["--interface", "127.0.0.3"];
        note("another", &curl(address([127, 0, 0, 1]), "h", false, &from));
    }
    seen
}

/// Clients that do not begin as they should.
fn unusual() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let whole = client_hello(0);
    vec![
        ("silence", vec![]),
        ("half a hello", vec![whole[..20].to_vec()]),
        ("no TLS", vec![b"GET / HTTP/1.0\r\n\r\n".to_vec()]),
        (
            "byte by byte",
            whole.chunks(1).map(<[u8]>::to_vec).collect(),
        ),
        ("a broken hello", vec![vec![22, 3, 1, 0, 4, 1, 0, 0, 0]]),
        ("a long hello", vec![client_hello(300)]),
        ("too long a hello", vec![client_hello(16_300)]),
    ]
}

/// All clients of one process, many at the same time: some wait for what never comes.
fn observe(program: &Program, files: &Files) -> String {
    let process = start(program, files, &listeners(), "");
    let port = |name: &str| process.listener(name).port();
    let unusual = unusual();
    let mut seen = std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for case in CASES {
            let port = port(case.name);
            clients.push(scope.spawn(move || usual(case, port)));
        }
        for name in ["names", "protocols", "strict", "raw"] {
            let address = SocketAddr::from(([127, 0, 0, 1], port(name)));
            for (what, pieces) in &unusual {
                clients.push(scope.spawn(move || {
                    let got = send(address, pieces);
                    format!("{name} {what}: {got}\n")
                }));
            }
            drop(TcpStream::connect(address).expect("a connection"));
        }
        let clients = clients.into_iter();
        let got = clients.map(|client| client.join().expect("it ends"));
        got.collect::<String>()
    });
    // Connections may be on their way out.
    let begun = Instant::now();
    let gone = |counted: &str| {
        !counted.contains("pre_cx_active") && counted.matches("filter_remote_close").count() >= 4
    };
    let mut last = counted(&process);
    while !gone(&last) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        last = counted(&process);
    }
    seen += &last;
    seen
}

#[test]
fn connections_run_through_the_chains_that_envoys_do() {
    let files = Files::new();
    all_alike(
        "connections_run_through_the_chains_that_envoys_do",
        |program| observe(program, &files),
    );
}
