//! Where connections start from and which of a host's addresses they reach.
//! Envoy does the same with the same file.

use crate::client::Client;
use crate::origin::{Origin, Reply};
use crate::{on_all_programs, proxy, stat};
use ringway_tests::ports::{Reserved, Stuck};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

fn address(at: SocketAddr) -> String {
    format!(
        "address: {{ socket_address: {{ address: \"{}\", port_value: {} }} }}",
        at.ip(),
        at.port()
    )
}

/// One host with these addresses, and more fields of its cluster.
fn host(addresses: &[SocketAddr], more: &str) -> String {
    let (first, rest) = addresses.split_first().expect("an address");
    let rest: Vec<_> = rest
        .iter()
        .map(|one| format!("{{ {} }}", address(*one)))
        .collect();
    format!(
        "- name: origin\n  type: STATIC\n  {more}\n  load_assignment: {{ cluster_name: origin, \
         endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ {}, additional_addresses: [ {} ] }} }} \
         ] }} ] }}\n",
        address(*first),
        rest.join(", ")
    )
}

fn ask(program: &ringway_tests::process::Program, clusters: &str) -> (u16, u64, Duration) {
    let process = proxy(program, clusters, 1);
    let mut client = Client::connect(process.listener("main"));
    let begin = Instant::now();
    let status = client.get("/").expect("an answer").status;
    let took = begin.elapsed();
    (status, stat(&process, "bind_errors"), took)
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    on_all_programs("the_next_address_is_tried_when_one_refuses", |program| {
        let origin = Origin::start(|_| Reply::Ok);
        let nobody = [Reserved::new(), Reserved::new()];
        let [first, second] = [nobody[0].address(), nobody[1].address()];
        let clusters = host(&[first, second, origin.address], "");
        // Not after the delay that is meant for those who do not answer; on a
        // machine that is busy one of some tries shows it.
        let at_once = (0..10).any(|_| {
            let (status, _, took) = ask(program, &clusters);
            assert_eq!(status, 200);
            took < Duration::from_millis(290)
        });
        assert!(at_once, "always after the delay");
        let (status, ..) = ask(program, &host(&[first, second], ""));
        assert_eq!(status, 503);
    });
}

/// The next address has its try after 300 ms, and the first one may still win
/// then: it is given up when another one has answered, not before.
#[test]
fn the_next_address_is_tried_when_one_is_silent() {
    on_all_programs("the_next_address_is_tried_when_one_is_silent", |program| {
        let origin = Origin::start(|_| Reply::Ok);
        let (silent, other) = (Stuck::new(), Stuck::new());
        let clusters = host(&[silent.address(), origin.address], "connect_timeout: 60s");
        let (status, _, took) = ask(program, &clusters);
        assert_eq!(status, 200);
        // Timers may be some milliseconds early (Envoy's are), never half.
        assert!(took >= Duration::from_millis(150), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
        // The limit of a connection holds for all its addresses together.
        let clusters = host(
            &[silent.address(), other.address()],
            "connect_timeout: 0.5s",
        );
        let (status, _, took) = ask(program, &clusters);
        assert_eq!(status, 503);
        assert!(took >= Duration::from_millis(250), "{took:?}");
    });
}

#[test]
fn the_configured_family_is_tried_first() {
    on_all_programs("the_configured_family_is_tried_first", |program| {
        let four = Origin::start(|_| Reply::Ok);
        let six = Origin::at(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)), |_| {
            Reply::Ok
        });
        for (version, expected) in [("DEFAULT", (1, 0)), ("V4", (1, 0)), ("V6", (0, 1))] {
            let before = (four.requests(), six.requests());
            let options = format!(
                "upstream_connection_options: {{ happy_eyeballs_config: \
                 {{ first_address_family_version: {version} }} }}"
            );
            let clusters = host(&[four.address, six.address], &options);
            assert_eq!(ask(program, &clusters).0, 200);
            let got = (four.requests() - before.0, six.requests() - before.1);
            assert_eq!(got, expected, "{version}");
        }
    });
}

#[test]
fn connections_start_from_the_address_of_the_hosts_family() {
    on_all_programs(
        "connections_start_from_the_address_of_the_hosts_family",
        |program| {
            let four = Origin::start(|_| Reply::Ok);
            let six = Origin::at(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)), |_| {
                Reply::Ok
            });
            let both = "upstream_bind_config: { source_address: { address: 127.0.0.9, \
                        port_value: 0 }, extra_source_addresses: [ { address: { address: \"::1\", \
                        port_value: 0 } } ] }";
            for (origin, from) in [(&four, "127.0.0.9"), (&six, "::1")] {
                assert_eq!(ask(program, &host(&[origin.address], both)).0, 200);
                let from: IpAddr = from.parse().expect("an address");
                assert_eq!(origin.last_peer(), Some(from));
            }
        },
    );
}

#[test]
fn what_the_kernel_refuses_is_counted() {
    on_all_programs("what_the_kernel_refuses_is_counted", |program| {
        let origin = Origin::start(|_| Reply::Ok);
        for (config, expected) in [
            // Not an address of this machine (RFC 5737), without freebind.
            (
                "source_address: { address: 192.0.2.7, port_value: 0 }",
                (503, 1),
            ),
            (
                "source_address: { address: 127.0.0.1, port_value: 0 }, \
                 socket_options: [ { level: 6, name: 1, int_value: 1 }, \
                 { level: 1, name: 9, int_value: 1, state: STATE_BOUND } ]",
                (200, 0),
            ),
            (
                "source_address: { address: 127.0.0.1, port_value: 0 }, \
                 socket_options: [ { level: 41, name: 26, int_value: 1, \
                 ip_version: SOCKET_IP_VERSION_IPV6 } ]",
                (200, 0),
            ),
        ] {
            let more = format!("upstream_bind_config: {{ {config} }}");
            let (status, errors, _) = ask(program, &host(&[origin.address], &more));
            assert_eq!((status, errors), expected, "{config}");
        }
    });
}
