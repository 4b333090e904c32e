//! Headers as proxies write them, and as they must not be. Each is read at once
//! and piece by piece.

use super::super::fuzz::check;
use super::*;
use crate::proxy_protocol::{encode_v1, encode_v2};

const ALL: Accepted = Accepted {
    v1: true,
    v2: true,
    nothing: false,
};

fn told(source: &str, destination: &str) -> Option<Endpoints> {
    let parse = |text: &str| text.parse().expect("an address");
    Some(Endpoints {
        source: parse(source),
        destination: parse(destination),
    })
}

fn binary_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

const IPV4: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10];

#[test]
fn lines() {
    let both = || told("1.2.3.4:9", "5.6.7.8:10");
    for (text, expected) in [
        ("PROXY TCP4 1.2.3.4 5.6.7.8 9 10", Some(both())),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 0009 +10", Some(both())),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 9 10 \t\x0b", Some(both())),
        (
            "PROXY TCP4 240.0.0.1 5.6.7.8 0 65535",
            Some(told("240.0.0.1:0", "5.6.7.8:65535")),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::ffff:5.6.7.8 9 10",
            Some(told("[2001:db8::1]:9", "[::ffff:5.6.7.8]:10")),
        ),
        ("PROXY UNKNOWN", Some(None)),
        ("PROXY UNKNOWN whatever it \u{fc} is", Some(None)),
        ("PROXY ", None),
        ("PROXY UNKNOWNX", None),
        ("PROXY  TCP4 1.2.3.4 5.6.7.8 9 10", None),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 9 10 11", None),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 9", None),
        ("PROXY TCP4 1.2.3.4 5.6.7.8  10", None),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 10", None),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -9 10", None),
        ("PROXY TCP4 1.2.3 5.6.7.8 9 10", None),
        ("PROXY TCP4 01.2.3.4 5.6.7.8 9 10", None),
        ("PROXY TCP4 ::1 ::1 9 10", None),
        ("PROXY TCP6 1.2.3.4 5.6.7.8 9 10", None),
        ("PROXY TCP6 fe80::1%lo ::1 9 10", None),
        ("PROXY TCP4 1.2.3.4\0 5.6.7.8 9 10", None),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 9 10", None),
        // No ends of a connection.
        ("PROXY TCP4 0.0.0.0 5.6.7.8 9 10", None),
        ("PROXY TCP4 1.2.3.4 255.255.255.255 9 10", None),
        ("PROXY TCP4 224.0.0.1 5.6.7.8 9 10", None),
        ("PROXY TCP6 :: ::1 9 10", None),
        ("PROXY TCP6 ::1 ff02::1 9 10", None),
    ] {
        let bytes = format!("{text}\r\nGET / HTTP/1.1\r\n").into_bytes();
        let expected = match expected {
            Some(endpoints) => Progress::Complete(Header {
                version: Version::V1,
                length: text.len() + 2,
                endpoints,
                tlvs: Tlvs::default(),
            }),
            None => broken(Version::V1),
        };
        assert_eq!(decode(&bytes, ALL), expected, "{text:?}");
        check(&bytes);
    }
}

#[test]
fn lines_are_short() {
    let padded = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        line.extend(b"\r\nGET");
        line
    };
    let longest = padded(LINE_BYTES_MAX);
    let Progress::Complete(header) = decode(&longest, ALL) else {
        panic!("not read");
    };
    assert_eq!(header.length, LINE_BYTES_MAX);
    check(&longest);
    let too_long = padded(LINE_BYTES_MAX + 1);
    assert_eq!(decode(&too_long, ALL), broken(Version::V1));
    // The same, but it does not end.
    let endless = padded(400);
    assert_eq!(
        decode(&endless[..LINE_BYTES_MAX], ALL),
        Progress::Incomplete
    );
    for length in [LINE_BYTES_MAX + 1, 300] {
        let refused = Progress::Refused(Refusal::NoHeader);
        assert_eq!(decode(&endless[..length], ALL), refused);
    }
}

#[test]
fn what_is_no_header() {
    const INCOMPLETE: Progress<'static> = Progress::Incomplete;
    const NOT_FOUND: Progress<'static> = Progress::NotFound;
    const NO_HEADER: Progress<'static> = Progress::Refused(Refusal::NoHeader);
    for (bytes, where_needed, elsewhere) in [
        (&b""[..], INCOMPLETE, INCOMPLETE),
        (b"\r\n\r\n", INCOMPLETE, INCOMPLETE),
        (b"GET / HTTP/1", INCOMPLETE, NOT_FOUND),
        (b"\r\n\r\nGET / HTTP", INCOMPLETE, NOT_FOUND),
        (b"GET / HTTP/1.1\r\n", NO_HEADER, NOT_FOUND),
        (b"\r\n\r\nGET / HTTP/1.1", NO_HEADER, NOT_FOUND),
        (b"PROXY\r\nGET / HTTP", NO_HEADER, NOT_FOUND),
        (b"proxy TCP4 1.2.3.4 5.6.7.8 9 10\r\n", NO_HEADER, NOT_FOUND),
        // Whoever sends a line so short can send no header any more.
        (b"GET /\r\n", broken(Version::V1), NOT_FOUND),
    ] {
        let lenient = Accepted {
            nothing: true,
            ..ALL
        };
        for (accepted, expected) in [(ALL, where_needed), (lenient, elsewhere)] {
            let found = decode(bytes, accepted);
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn versions_may_be_refused() {
    let line = b"PROXY UNKNOWN\r\nGET".as_slice();
    let binary = binary_header(0x20, 0, &[]);
    for (nothing, v1, v2) in [(false, true, false), (false, false, true)] {
        let accepted = Accepted { v1, v2, nothing };
        let (refused, version) = match v1 {
            true => (&*binary, Version::V2),
            false => (line, Version::V1),
        };
        let expected = Progress::Refused(Refusal::Disallowed(version));
        assert_eq!(decode(refused, accepted), expected);
        // What needs no header has none that it knows of.
        let lenient = Accepted {
            nothing: true,
            ..accepted
        };
        assert_eq!(decode(refused, lenient), Progress::NotFound);
        assert_eq!(decode(&refused[..1], lenient), Progress::NotFound);
    }
}

#[test]
fn binary_headers() {
    let ipv6 = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 5, 6, 7, 8],
        &[0, 9, 0, 10],
    ]
    .concat();
    let with_tlvs = |tlvs: &[u8]| [IPV4, tlvs].concat();
    let both = told("1.2.3.4:9", "5.6.7.8:10");
    let no_tlvs: &[(u8, &[u8])] = &[];
    for (command, family, body, expected) in [
        (0x21, 0x11, IPV4.to_vec(), Some((both, no_tlvs))),
        // Of datagrams.
        (0x21, 0x12, IPV4.to_vec(), Some((both, no_tlvs))),
        (
            0x21,
            0x21,
            ipv6.clone(),
            Some((told("[2001:db8::1]:9", "[::ffff:5.6.7.8]:10"), no_tlvs)),
        ),
        (0x20, 0, Vec::new(), Some((None, no_tlvs))),
        // Whatever else it says.
        (0x20, 0x77, b"\x01\0".to_vec(), Some((None, no_tlvs))),
        (
            0x21,
            0x11,
            with_tlvs(b"\xea\0\x02hi\x04\0\0\xea\0\x01!"),
            Some((both, &[(0xea, b"hi"), (4, b""), (0xea, b"!")])),
        ),
        (0x21, 0x11, with_tlvs(b"\xea"), None),
        (0x21, 0x11, with_tlvs(b"\xea\0"), None),
        (0x21, 0x11, with_tlvs(b"\xea\0\x02h"), None),
        (0x21, 0x11, IPV4[..8].to_vec(), None),
        (0x21, 0x21, ipv6[..20].to_vec(), None),
        // No version, no command, no family, no protocol.
        (0x11, 0x11, IPV4.to_vec(), None),
        (0x31, 0x11, IPV4.to_vec(), None),
        (0x22, 0x11, IPV4.to_vec(), None),
        (0x21, 0x00, Vec::new(), None),
        (0x21, 0x31, vec![0; 216], None),
        (0x21, 0x10, IPV4.to_vec(), None),
        (0x21, 0x13, IPV4.to_vec(), None),
        // No ends of a connection.
        (0x21, 0x11, [&[0; 4], &IPV4[4..]].concat(), None),
        (0x21, 0x11, [&[0xe0, 0, 0, 1], &IPV4[4..]].concat(), None),
        (0x21, 0x21, [&[0; 16], &ipv6[16..]].concat(), None),
    ] {
        let header = binary_header(command, family, &body);
        let bytes = [&*header, b"GET"].concat();
        let found = decode(&bytes, ALL);
        match expected {
            Some((endpoints, tlvs)) => {
                let Progress::Complete(found) = found else {
                    panic!("{}: {found:?}", bytes.escape_ascii());
                };
                assert_eq!(found.length, header.len());
                assert_eq!(found.endpoints, endpoints);
                assert_eq!(found.tlvs.collect::<Vec<_>>(), tlvs);
            }
            None => assert_eq!(found, broken(Version::V2), "{}", bytes.escape_ascii()),
        }
        check(&bytes);
    }
}

#[test]
fn what_is_written_is_read() {
    let tlvs: Vec<(u8, &[u8])> = vec![(1, b"h2"), (0xea, &[0; 300])];
    for (source, destination) in [
        ("1.2.3.4:9", "5.6.7.8:10"),
        ("[2001:db8::1]:9", "[::1]:65535"),
        ("1.2.3.4:9", "[::1]:10"),
    ] {
        let endpoints = told(source, destination).expect("addresses");
        let mut line = Vec::new();
        encode_v1(&mut line, Some(&endpoints));
        let mut binary = Vec::new();
        assert!(encode_v2(
            &mut binary,
            Some(&endpoints),
            tlvs.iter().copied()
        ));
        for (bytes, tlvs) in [(line, &[][..]), (binary, &tlvs)] {
            let Progress::Complete(header) = decode(&bytes, ALL) else {
                panic!("{}", bytes.escape_ascii());
            };
            assert_eq!(header.length, bytes.len());
            assert_eq!(header.endpoints, Some(endpoints.of_one_family()));
            assert_eq!(header.tlvs.collect::<Vec<_>>(), tlvs);
            check(&bytes);
        }
    }
}
