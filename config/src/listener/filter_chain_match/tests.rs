//! Which chain gets which connection. What Envoy 1.40 does with the same chains is
//! compared by the tests of the whole proxy.

use super::*;
use crate::filter_state::FilterState;

fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule {
        destination_port: Vec::new(),
        destinations: Vec::new(),
        server_names: Vec::new(),
        transport_protocol: Vec::new(),
        application_protocols: Vec::new(),
        direct_sources: Vec::new(),
        source_type: ConnectionSourceType::Any,
        sources: Vec::new(),
        source_ports: Vec::new(),
    };
    change(&mut rule);
    rule
}

fn index(rules: &[Rule]) -> FilterChainIndex {
    let mut index = FilterChainIndex::default();
    for (place, rule) in rules.iter().enumerate() {
        index.insert(place, rule).expect("no conflict");
    }
    index
}

fn range(text: &str) -> CidrRange {
    let (address, bits) = text.split_once('/').expect("a length");
    CidrRange::new(address.parse().unwrap(), bits.parse().unwrap()).unwrap()
}

fn from(remote: &str, local: &str) -> Arrival<'static> {
    Arrival {
        local: Some(local.parse().unwrap()),
        remote: None,
        direct_remote: Some(remote.parse().unwrap()),
        server_name: "",
        transport_protocol: "raw_buffer",
        application_protocols: &[],
        filter_state: FilterState::EMPTY,
    }
}

const HERE: &str = "127.0.0.1:80";

#[test]
fn without_rules_every_connection_is_the_same() {
    let one = index(&[rule(|_| {})]);
    assert_eq!(one.find(&from("1.2.3.4:5", HERE)), Some(0));
    let unix = Arrival {
        local: None,
        direct_remote: None,
        ..from("1.2.3.4:5", HERE)
    };
    assert_eq!(one.find(&unix), Some(0));
    assert_eq!(FilterChainIndex::default().find(&unix), None);
}

#[test]
fn ports_come_before_addresses_and_there_is_no_way_back() {
    let chains = index(&[
        rule(|it| it.destinations = vec![range("10.0.0.0/8")]),
        rule(|it| {
            it.destination_port = vec![80];
            it.destinations = vec![range("10.1.0.0/16")];
        }),
        rule(|_| {}),
    ]);
    for (local, expected) in [
        ("10.1.2.3:80", Some(1)),
        ("10.2.2.3:80", None),
        ("11.1.1.1:80", None),
        ("10.1.2.3:81", Some(0)),
        ("11.1.1.1:81", Some(2)),
    ] {
        assert_eq!(chains.find(&from("1.1.1.1:1", local)), expected, "{local}");
    }
}

#[test]
fn the_smallest_range_is_taken() {
    let chains = index(&[
        rule(|it| it.sources = vec![range("0.0.0.0/0")]),
        rule(|it| it.sources = vec![range("10.0.0.0/8"), range("fd00::/8")]),
        rule(|it| it.sources = vec![range("10.1.2.0/24")]),
        rule(|it| it.sources = vec![range("10.1.0.0/16")]),
        rule(|_| {}),
    ]);
    for (remote, expected) in [
        ("9.9.9.9:1", 0),
        ("10.9.9.9:1", 1),
        ("10.1.9.9:1", 3),
        ("10.1.2.9:1", 2),
        ("[fd01::1]:1", 1),
        ("[fe01::1]:1", 4),
        ("[::ffff:10.1.2.9]:1", 2),
    ] {
        assert_eq!(chains.find(&from(remote, HERE)), Some(expected), "{remote}");
    }
}

#[test]
fn names_and_their_ends() {
    let names = |names: &[&str]| {
        let names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        rule(|it| it.server_names = names)
    };
    let chains = index(&[
        names(&["a.com", "b.com"]),
        names(&[".com"]),
        names(&[".a.com", "."]),
        rule(|_| {}),
    ]);
    for (name, expected) in [
        ("a.com", 0),
        ("b.com", 0),
        ("c.com", 1),
        ("x.c.com", 1),
        ("x.a.com", 2),
        ("x.y.a.com", 2),
        ("com", 3),
        ("a.", 3),
        ("", 3),
        (".com", 1),
    ] {
        let arrival = Arrival {
            server_name: name,
            ..from("1.1.1.1:1", HERE)
        };
        assert_eq!(chains.find(&arrival), Some(expected), "{name}");
    }
}

#[test]
fn protocols() {
    let chains = index(&[
        rule(|it| {
            it.transport_protocol = vec!["tls".into()];
            it.application_protocols = vec![(*b"h2").into()];
        }),
        rule(|it| it.application_protocols = vec![(*b"x").into()]),
        rule(|it| it.transport_protocol = vec!["raw_buffer".into()]),
    ]);
    for (transport, protocols, expected) in [
        ("tls", &["h2"][..], Some(0)),
        ("tls", &["y", "h2"], Some(0)),
        ("tls", &["x"], None),
        ("tls", &[], None),
        ("raw_buffer", &["x"], Some(2)),
        ("quic", &["x"], Some(1)),
        ("quic", &["h2"], None),
    ] {
        let protocols: Vec<Box<[u8]>> = protocols.iter().map(|it| it.as_bytes().into()).collect();
        let arrival = Arrival {
            transport_protocol: transport,
            application_protocols: &protocols,
            ..from("1.1.1.1:1", HERE)
        };
        assert_eq!(chains.find(&arrival), expected, "{transport} {protocols:?}");
    }
}

#[test]
fn sources() {
    let chains = index(&[
        rule(|it| it.source_type = ConnectionSourceType::External),
        rule(|it| {
            it.source_type = ConnectionSourceType::SameIpOrLoopback;
            it.source_ports = vec![7, 8];
        }),
        rule(|it| {
            it.direct_sources = vec![range("10.0.0.0/8")];
            it.sources = vec![range("1.0.0.0/8")];
        }),
    ]);
    let told = |direct: &str, remote: &str| Arrival {
        remote: Some(remote.parse().unwrap()),
        ..from(direct, "192.0.2.1:80")
    };
    for (arrival, expected) in [
        (from("1.1.1.1:1", "192.0.2.1:80"), Some(0)),
        (from("127.0.0.1:7", "192.0.2.1:80"), Some(1)),
        (from("192.0.2.1:8", "192.0.2.1:80"), Some(1)),
        (from("[::1]:8", "192.0.2.1:80"), Some(1)),
        (from("127.0.0.2:8", "192.0.2.1:80"), Some(0)),
        (from("192.0.2.1:9", "192.0.2.1:80"), None),
        (told("10.1.1.1:1", "1.1.1.1:1"), Some(2)),
        (told("10.1.1.1:1", "2.1.1.1:1"), None),
        (told("11.1.1.1:1", "1.1.1.1:1"), Some(0)),
        (told("11.1.1.1:1", "127.0.0.1:7"), Some(1)),
    ] {
        assert_eq!(chains.find(&arrival), expected, "{arrival:?}");
    }
}

#[test]
fn the_same_connections_cannot_be_matched_twice() {
    let ports = |ports: &[u16]| {
        let ports = ports.to_vec();
        rule(|it| it.source_ports = ports)
    };
    let mut chains = index(&[ports(&[1, 2]), ports(&[3])]);
    assert_eq!(chains.insert(2, &ports(&[5, 3])), Err(1));
    assert_eq!(chains.insert(3, &ports(&[6, 6])), Err(3));
    assert_eq!(chains.insert(4, &rule(|_| {})), Ok(()));
    assert_eq!(chains.insert(5, &rule(|_| {})), Err(4));
}
