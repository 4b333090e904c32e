//! Connections to a host that not all requests may use: those that begin with a
//! header of PROXY protocol, and those of a cluster that keeps downstream
//! connections apart. Envoy sends the same headers and shares the same
//! connections.

use crate::client::Client;
use crate::{await_true, on_every_driver};
use ringway_tests::bootstrap::{Listener, bootstrap};
use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const LISTENERS: &[Listener] = &[Listener {
    name: "main",
    manager: "",
    hosts: "- name: all\n  domains: [\"*\"]\n  routes:\n  \
            - { match: { prefix: \"/copied\" }, route: { cluster: origin, \
            request_mirror_policies: [ { cluster: copies } ] } }\n  \
            - { match: { prefix: \"/again\" }, route: { cluster: origin, \
            retry_policy: { retry_on: 5xx } } }\n  \
            - { match: { connect_matcher: {} }, route: { cluster: origin, \
            upgrade_configs: [ { upgrade_type: CONNECT, connect_config: {} } ] } }\n  \
            - { match: { prefix: \"/\" }, route: { cluster: origin } }\n",
}];

/// What an origin was sent on one connection.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sent {
    peer: Option<SocketAddr>,
    /// What came before the first request.
    header: Vec<u8>,
    /// The paths of the requests.
    paths: Vec<String>,
}

/// An origin that answers 200 and keeps what comes before the first request.
struct Origin {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Sent>>>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let all = Arc::clone(&connections);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let place = {
                    let mut all = all.lock().unwrap();
                    all.push(Sent {
                        peer: stream.peer_addr().ok(),
                        ..Sent::default()
                    });
                    all.len() - 1
                };
                let all = Arc::clone(&all);
                std::thread::spawn(move || {
                    serve(stream, |change| {
                        change(&mut all.lock().unwrap()[place]);
                    });
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// What came on the connections whose requests have such a path, in the
    /// order of their headers' text.
    fn sent(&self, path: &str) -> Vec<Sent> {
        let all = self.connections.lock().unwrap();
        let of_path = |sent: &&Sent| sent.paths.iter().any(|one| one.starts_with(path));
        all.iter().filter(of_path).cloned().collect()
    }
}

fn serve(mut stream: TcpStream, mut note: impl FnMut(&mut dyn FnMut(&mut Sent))) {
    let mut received = Vec::new();
    let mut is_first = true;
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        received.extend_from_slice(&part[..count]);
        let at = |text: &[u8], received: &[u8]| {
            (received.windows(text.len())).position(|bytes| bytes == text)
        };
        let Some(begin) = at(b"GET ", &received) else {
            continue;
        };
        let Some(length) = at(b"\r\n\r\n", &received[begin..]) else {
            continue;
        };
        let head = String::from_utf8_lossy(&received[begin..begin + length]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        note(&mut |sent| {
            if is_first {
                sent.header = received[..begin].to_vec();
            } else {
                assert_eq!(begin, 0, "nothing is between two requests");
            }
            sent.paths.push(path.clone());
        });
        is_first = false;
        received.clear();
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .is_err()
        {
            return;
        }
    }
}

/// A header with its addresses by their names: as text, or in hexadecimal where
/// it is none.
fn named(header: &[u8], names: &[(SocketAddr, &str)]) -> String {
    if header.starts_with(b"PROXY") {
        let mut text = String::from_utf8_lossy(header).into_owned();
        for (address, name) in names {
            text = text.replace(&format!(" {}", address.port()), &format!(" {name}"));
        }
        return text;
    }
    let hex = |bytes: &[u8]| -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    if header.len() < 28 {
        return hex(header);
    }
    let mut text = hex(&header[..24]);
    for port in header[24..28].chunks(2) {
        let port = u16::from_be_bytes([port[0], port[1]]);
        let name = names.iter().find(|(address, _)| address.port() == port);
        let _ = write!(text, " {}", name.map_or("unknown", |(_, name)| name));
    }
    text + " " + &hex(&header[28..])
}

/// Fields of a cluster whose connections begin with a header.
fn header(config: &str) -> String {
    let transport = "type.googleapis.com/envoy.extensions.transport_sockets";
    format!(
        "transport_socket: {{ name: envoy.transport_sockets.upstream_proxy_protocol, \
         typed_config: {{ \"@type\": \
         {transport}.proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: {{ {config} }}, \
         transport_socket: {{ name: raw, typed_config: {{ \"@type\": \
         {transport}.raw_buffer.v3.RawBuffer }} }} }} }}"
    )
}

/// The clusters `origin` and `copies` with the same fields.
fn clusters(origin: &Origin, host: &str, more: &str) -> String {
    let port = origin.address.port();
    let one = |name: &str| {
        format!(
            "- name: {name}\n  type: STATIC\n  {more}\n  load_assignment: {{ cluster_name: x, \
             endpoints: [ {{ lb_endpoints: [ {{ {host} endpoint: {{ address: {{ \
             socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }}\n"
        )
    };
    one("origin") + &one("copies")
}

/// Each cluster's fields, and its host's.
fn variants() -> Vec<(String, &'static str)> {
    let apart = "connection_pool_per_downstream_connection: true";
    vec![
        (String::new(), ""),
        (apart.into(), ""),
        (header(""), ""),
        (
            header("version: V1, added_tlvs: [ { type: 5, value: YWJj } ]"),
            "",
        ),
        (header("version: V2"), ""),
        (format!("{apart}\n  {}", header("version: V2")), ""),
        (
            header(
                "version: V2, added_tlvs: [ { type: 224, value: YWJj }, \
                 { type: 224, value: YWJk }, { type: 225, value: aA== } ]",
            ),
            "metadata: { typed_filter_metadata: { envoy.transport_sockets.proxy_protocol: { \
             \"@type\": type.googleapis.com/envoy.config.core.v3.PerHostConfig, added_tlvs: [ \
             { type: 225, value: ZGVm }, { type: 225, value: ZGVn } ] } } },",
        ),
        (
            header(
                "version: V2, added_tlvs: [ \
                 { type: 224, format_string: { text_format_source: { inline_string: 'a%%b' } } }, \
                 { type: 225, format_string: { text_format_source: { inline_string: '' } } } ]",
            ),
            "metadata: { typed_filter_metadata: { envoy.transport_sockets.proxy_protocol: { \
             \"@type\": type.googleapis.com/envoy.config.core.v3.PerHostConfig, added_tlvs: [ \
             { type: 226, format_string: { text_format_source: { inline_string: x } } } ] } } },",
        ),
        (header(&too_long()), ""),
    ]
}

/// A value for which a header has no room, and one behind it.
fn too_long() -> String {
    let long = "AAAA".repeat(65_536 / 3);
    format!("version: V2, added_tlvs: [ {{ type: 1, value: {long} }}, {{ type: 2, value: aA== }} ]")
}

/// What the connections of a cluster carried: their headers and paths.
type Carried = Vec<(String, Vec<String>)>;

fn start(program: &Program, host: &str, more: &str) -> (Origin, Process) {
    let origin = Origin::start();
    let text = bootstrap(LISTENERS, &clusters(&origin, host, more));
    let process = Process::start_with(program, &text, &["--concurrency", "1"]);
    (origin, process)
}

fn play(program: &Program, host: &str, more: &str) -> (Carried, Carried, Vec<u64>) {
    let (origin, process) = start(program, host, more);
    let listener = process.listener("main");
    let mut clients = [Client::connect(listener), Client::connect(listener)];
    for (client, path) in [
        (0, "/one"),
        (0, "/two"),
        (1, "/three"),
        (0, "/again/four"),
        (1, "/again/five"),
        (1, "/six"),
    ] {
        let answer = clients[client].get(path).expect("an answer");
        assert_eq!(answer.status, 200);
    }
    let (first, second) = (clients[0].local_address(), clients[1].local_address());
    let mut names = vec![(first, "first"), (second, "second"), (listener, "listener")];
    let of_clients: Carried = origin
        .sent("/")
        .into_iter()
        .map(|sent| (named(&sent.header, &names), sent.paths))
        .collect();
    let answer = clients[0].get("/copied").expect("an answer");
    assert_eq!(answer.status, 200);
    await_true("the copy is there", || {
        let copied = |sent: &Sent| sent.paths.iter().filter(|path| *path == "/copied").count();
        origin.sent("/copied").iter().map(copied).sum::<usize>() == 2
    });
    // A copy is on a connection of its own.
    let copy = origin
        .sent("/copied")
        .into_iter()
        .find(|sent| sent.paths.len() == 1);
    let copy = copy.expect("a connection of copies");
    names.push((copy.peer.expect("an address"), "own"));
    names.push((origin.address, "origin"));
    let of_copies = vec![(named(&copy.header, &names), copy.paths)];
    let stat = |name: &str| process.admin().stat(&format!("cluster.{name}"));
    let mut counts = vec![
        stat("origin.upstream_cx_total"),
        stat("origin.upstream_cx_http1_total"),
        stat("origin.upstream_rq_pending_total"),
        stat("copies.upstream_cx_total"),
    ];
    if more.contains("ProxyProtocol") {
        counts.push(stat(
            "origin.upstream.proxyprotocol.v2_tlvs_exceed_max_length",
        ));
    }
    (of_clients, of_copies, counts)
}

#[test]
fn requests_share_the_connections_that_are_good_for_them() {
    let test = "requests_share_the_connections_that_are_good_for_them";
    let shared = |carried: &Carried| carried.len() == 1;
    for (place, (more, host)) in variants().into_iter().enumerate() {
        let seen = as_in_envoy(test, |program| play(program, host, &more));
        if let Some((of_clients, ..)) = seen {
            assert_eq!(shared(&of_clients), place == 0, "{more}");
        }
    }
}

/// Envoy keeps them, although nobody can use them again.
#[test]
fn connections_end_with_those_who_could_use_them() {
    on_every_driver(|program| {
        for more in [
            "connection_pool_per_downstream_connection: true",
            &header(""),
        ] {
            let (_origin, process) = start(program, "", more);
            let open = || process.admin().stat("cluster.origin.upstream_cx_active");
            let listener = process.listener("main");
            let mut clients = [Client::connect(listener), Client::connect(listener)];
            for client in &mut clients {
                assert_eq!(client.get("/").expect("an answer").status, 200);
            }
            assert_eq!(open(), 2);
            let [first, mut second] = clients;
            drop(first);
            await_true("the first client's connection is closed", || open() == 1);
            assert_eq!(second.get("/").expect("an answer").status, 200);
            assert_eq!(process.admin().stat("cluster.origin.upstream_cx_total"), 2);
            drop(second);
            await_true("the second client's connection is closed", || open() == 0);
        }
    });
}

#[test]
fn what_follows_connect_has_a_header_before_it() {
    let test = "what_follows_connect_has_a_header_before_it";
    as_in_envoy(test, |program| {
        let (origin, process) = start(program, "", &header("version: V1"));
        let listener = process.listener("main");
        let mut stream = TcpStream::connect(listener).expect("the proxy listens");
        let address = stream.local_addr().expect("it is connected");
        stream
            .write_all(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n")
            .expect("it is written");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
            .write_all(b"GET /tunnel HTTP/1.1\r\n\r\n")
            .expect("it is written");
        await_true("the origin was asked", || {
            !origin.sent("/tunnel").is_empty()
        });
        let sent = origin.sent("/tunnel").remove(0);
        named(&sent.header, &[(address, "client"), (listener, "listener")])
    });
}

#[test]
fn health_checks_say_that_nobody_is_behind_them() {
    let test = "health_checks_say_that_nobody_is_behind_them";
    for version in ["V1", "V2"] {
        as_in_envoy(test, |program| {
            let header = header(&format!(
                "version: {version}, added_tlvs: [ {{ type: 224, value: YWJj }} ]"
            ));
            let more = format!(
                "{header}\n  health_checks: [ {{ timeout: 5s, interval: 0.1s, \
                 no_traffic_interval: 0.1s, unhealthy_threshold: 1, healthy_threshold: 1, \
                 http_health_check: {{ path: /check }} }} ]"
            );
            let (origin, process) = start(program, "", &more);
            await_true("two checks on a connection", || {
                origin
                    .sent("/check")
                    .first()
                    .is_some_and(|sent| sent.paths.len() >= 2)
            });
            drop(process);
            let sent = origin.sent("/check").remove(0);
            let peer = sent.peer.expect("an address");
            named(&sent.header, &[(peer, "own"), (origin.address, "origin")])
        });
    }
}
