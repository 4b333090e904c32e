//! How many connections a listener has, whose they are when they wanted to go
//! elsewhere, and whom hosts see as their client.

use ringway_tests::patience;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringway_tests::comparison::as_in_envoy;
use ringway_tests::process::{Process, Program};
use ringway_tests::programs;
use socket2::{Domain, Socket, Type};

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener with these fields, whose chain has these filters, each in one line.
fn listener(name: &str, address: &str, more: &str, filters: &str) -> String {
    format!(
        "  - name: {name}
    stat_prefix: {name}
    address: {{ socket_address: {{ {address} }} }}
{more}    filter_chains:
    - filters:
{filters}"
    )
}

const ANY_PORT: &str = "address: 127.0.0.1, port_value: 0";

/// A filter that says who has the connection.
fn says(text: &str) -> String {
    format!(
        "      - {{ name: direct, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: {{ inline_string: {text} }} }} }}\n"
    )
}

const ECHO: &str = "      - { name: echo, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }\n";

const PROXY_PROTOCOL: &str = "    listener_filters:
    - { name: proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }\n";

fn start(program: &Program, resources: &str, more: &str) -> Process {
    let text = format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
{more}static_resources:
  listeners:
{resources}"
    );
    Process::start(program, &text)
}

fn connect_from(client: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((client, 0)).into())
        .expect("a free port");
    socket
        .connect(&to.into())
        .expect("the listener takes connections");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// What is read until the end, whichever way that comes.
fn read_to_end(mut stream: &TcpStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), [0; 1024]);
    loop {
        match patience::read(&mut stream, &mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return format!("{error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether what is sent comes back; otherwise the proxy has closed.
fn is_served(mut stream: &TcpStream) -> bool {
    let mut answer = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok()
}

fn limited(program: &Program) -> Vec<(String, String)> {
    let resources = ["few", "none", "all"].map(|name| listener(name, ANY_PORT, "", ECHO));
    let process = start(
        program,
        &resources.concat(),
        "layered_runtime:
  layers:
  - name: static
    static_layer: { envoy.resource_limits.listener.few.connection_limit: 2, envoy.resource_limits.listener.none.connection_limit: 0 }
  - { name: admin, admin_layer: {} }
",
    );
    let admin = process.admin();
    let connect = |name: &str| connect_from(Ipv4Addr::LOCALHOST, process.listener(name));
    let open = |name: &str, count: u64| {
        let active = format!("listener.{name}.downstream_cx_active");
        let (_, came) = admin.await_stats(PATIENCE, |stats| stats.get(&active) == Some(&count));
        assert!(came, "{active} was never {count}");
    };
    let mut seen = Vec::new();
    let mut note = |what: &str, stream: &TcpStream| {
        seen.push((what.to_owned(), is_served(stream).to_string()));
    };
    let (first, second) = (connect("few"), connect("few"));
    note("first", &first);
    note("second", &second);
    note("third", &connect("few"));
    drop(first);
    open("few", 1);
    let again = connect("few");
    note("after the first", &again);
    note("none", &connect("none"));
    note("all", &connect("all"));
    // A limit that comes later knows of the connections that there are.
    let changed = admin.post(
        "/runtime_modify?envoy.resource_limits.listener.few.connection_limit=3&\
         envoy.resource_limits.listener.all.connection_limit=0",
    );
    assert_eq!(changed.status(), 200, "{}", changed.text());
    // The worker has the change when it refuses what it took before.
    let begun = Instant::now();
    while is_served(&connect("all")) {
        assert!(begun.elapsed() < PATIENCE, "the worker has not heard of it");
    }
    let third = connect("few");
    note("third after a change", &third);
    note("fourth", &connect("few"));
    note("second, still", &second);
    drop((second, again, third));
    open("few", 0);
    let stats = admin.stats();
    for name in ["few", "none"] {
        for count in ["downstream_cx_overflow", "downstream_cx_total"] {
            let name = format!("listener.{name}.{count}");
            let value = stats.get(&name).copied().unwrap_or(0);
            seen.push((name, value.to_string()));
        }
    }
    seen
}

#[test]
fn a_listener_has_no_more_connections_than_the_runtime_says() {
    let test = "a_listener_has_no_more_connections_than_the_runtime_says";
    let Some(seen) = as_in_envoy(test, limited) else {
        return;
    };
    let served = |what: &str| seen.iter().any(|(of, is)| of == what && is == "true");
    assert!(served("second") && !served("third"), "{seen:?}");
}

fn led(program: &Program) -> Vec<(String, String)> {
    let hands_over = format!("    use_original_dst: true\n{PROXY_PROTOCOL}");
    // Without sockets: these have only what others give them.
    let unbound = "    bind_to_port: false\n";
    let resources = [
        listener("front", ANY_PORT, &hands_over, &says("front")),
        listener("keeping", ANY_PORT, PROXY_PROTOCOL, &says("keeping")),
        listener(
            "exact",
            "address: 10.1.2.3, port_value: 80",
            unbound,
            &says("exact"),
        ),
        listener(
            "more",
            "address: 10.1.2.3, port_value: 81",
            &format!(
                "{unbound}    additional_addresses: [ {{ address: {{ socket_address: {{ address: 10.1.2.4, port_value: 81 }} }} }} ]\n"
            ),
            &says("more"),
        ),
        listener(
            "any",
            "address: 0.0.0.0, port_value: 80",
            unbound,
            &says("any"),
        ),
        // It is asked once more, by filters of its own.
        listener(
            "asking",
            "address: 10.1.2.3, port_value: 82",
            &format!("{unbound}{hands_over}"),
            &says("asking"),
        ),
    ];
    let process = start(program, &resources.concat(), "");
    let mut seen = Vec::new();
    for (listener, header) in [
        ("front", "PROXY TCP4 1.2.3.4 10.1.2.3 9 80\r\n"),
        ("front", "PROXY TCP4 1.2.3.4 10.1.2.4 9 80\r\n"),
        ("front", "PROXY TCP4 1.2.3.4 10.1.2.3 9 81\r\n"),
        ("front", "PROXY TCP4 1.2.3.4 10.1.2.4 9 81\r\n"),
        ("front", "PROXY TCP4 1.2.3.4 10.1.2.5 9 81\r\n"),
        ("front", "PROXY UNKNOWN\r\n"),
        ("front", "PROXY TCP6 ::1 ::2 9 80\r\n"),
        ("keeping", "PROXY TCP4 1.2.3.4 10.1.2.3 9 80\r\n"),
        (
            "front",
            "PROXY TCP4 1.2.3.4 10.1.2.3 9 82\r\nPROXY TCP4 1.2.3.4 10.1.2.3 9 80\r\n",
        ),
    ] {
        let mut stream = connect_from(Ipv4Addr::LOCALHOST, process.listener(listener));
        stream.write_all(header.as_bytes()).expect("it is open");
        seen.push((format!("{listener} {header:?}"), read_to_end(&stream)));
    }
    let stats = process.admin().stats();
    for name in ["front", "keeping", "exact", "more", "any", "asking"] {
        let name = format!("listener.{name}.downstream_cx_total");
        let value = stats.get(&name).copied().unwrap_or(0);
        seen.push((name, value.to_string()));
    }
    seen
}

#[test]
fn connections_are_given_to_the_listener_that_they_wanted() {
    let test = "connections_are_given_to_the_listener_that_they_wanted";
    let Some(seen) = as_in_envoy(test, led) else {
        return;
    };
    let first: Vec<_> = seen.iter().map(|(_, text)| text.as_str()).take(3).collect();
    assert_eq!(first, ["exact", "any", "more"]);
}

/// Two clients with one host, which sees their addresses.
fn imitated(program: &Program) -> Vec<(String, String)> {
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = host.local_addr().expect("it is bound").port();
    let imitating = "    listener_filters:
    - { name: src, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc, bind_port: true, mark: 7 } }\n";
    let proxy = "      - { name: tcp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: host } }\n";
    let manager = "      - { name: http, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: http, route_config: { virtual_hosts: [ { name: all, domains: [ \"*\" ], routes: [ { match: { prefix: / }, route: { cluster: host } } ] } ] }, http_filters: [ { name: router, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } } ] } }\n";
    let resources = format!(
        "{}{}{}  clusters:
  - name: host
    load_assignment: {{ cluster_name: host, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ] }}
",
        listener("bytes", ANY_PORT, imitating, proxy),
        listener("requests", ANY_PORT, imitating, manager),
        listener("plain", ANY_PORT, "", manager),
    );
    let process = start(program, &resources, "");
    let mut seen = Vec::new();
    for name in ["bytes", "requests", "plain"] {
        for client in [[127, 0, 0, 5], [127, 0, 0, 6]] {
            let to = process.listener(name);
            let mut stream = connect_from(client.into(), to);
            let me = stream.local_addr().expect("it is connected").port();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
                .expect("it is open");
            let (mut at_host, from) = host.accept().expect("a connection");
            let mut part = [0; 4096];
            let _ = patience::read(&mut at_host, &mut part).expect("a request");
            at_host
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .expect("it is open");
            drop(at_host);
            let got = !read_to_end(&stream).is_empty();
            let told = format!("{} own port: {} {got}", from.ip(), from.port() == me);
            seen.push((format!("{name} {client:?}"), told));
        }
    }
    seen
}

/// Whether this process may have addresses that are not the machine's, and so those
/// that it starts.
fn may_imitate() -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_ip_transparent_v4(true).is_ok() && socket.set_mark(1).is_ok()
}

#[test]
fn hosts_see_the_clients_own_address() {
    let test = "hosts_see_the_clients_own_address";
    if !may_imitate() {
        return programs::say(&format!("skipped: {test} (no CAP_NET_ADMIN)"));
    }
    let Some(seen) = as_in_envoy(test, imitated) else {
        return;
    };
    let told: Vec<_> = seen.iter().map(|(_, told)| &told[..9]).collect();
    assert_eq!(
        told,
        [
            "127.0.0.5",
            "127.0.0.6",
            "127.0.0.5",
            "127.0.0.6",
            "127.0.0.1",
            "127.0.0.1"
        ]
    );
}
