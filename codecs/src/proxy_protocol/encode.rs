//! Headers to bytes.

use std::io::Write;
use std::net::SocketAddr;

use super::{Endpoints, LOCAL_COMMAND, PROXY_COMMAND, SIGNATURE, v6};

/// Appends a header of version 1. Without endpoints it says that nothing is
/// known of the connection.
pub fn encode_v1(out: &mut Vec<u8>, endpoints: Option<&Endpoints>) {
    let Some(endpoints) = endpoints else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let Endpoints {
        source,
        destination,
    } = endpoints.of_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let written = write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    debug_assert!(written.is_ok(), "a vector takes whatever is written");
}

/// Appends a header of version 2 with these types and values behind the
/// addresses. Those for which it has no room are left out; false says that
/// there were such. Without endpoints the header says that the connection is
/// the proxy's own (`LOCAL`), and has nothing else in it.
pub fn encode_v2<'a>(
    out: &mut Vec<u8>,
    endpoints: Option<&Endpoints>,
    tlvs: impl IntoIterator<Item = (u8, &'a [u8])>,
) -> bool {
    out.extend_from_slice(SIGNATURE);
    let Some(endpoints) = endpoints else {
        out.extend_from_slice(&[LOCAL, UNSPECIFIED, 0, 0]);
        return true;
    };
    let Endpoints {
        source,
        destination,
    } = endpoints.of_one_family();
    let is_ipv4 = source.is_ipv4();
    out.extend_from_slice(&[PROXY, if is_ipv4 { TCP4 } else { TCP6 }]);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    for address in [source, destination] {
        match address {
            SocketAddr::V4(address) => out.extend_from_slice(&address.ip().octets()),
            SocketAddr::V6(_) => out.extend_from_slice(&v6(&address).octets()),
        }
    }
    for address in [source, destination] {
        out.extend_from_slice(&address.port().to_be_bytes());
    }
    let body_at = length_at + LENGTH_BYTES;
    let mut complete = true;
    for (kind, value) in tlvs {
        let needed = TLV_HEAD_BYTES + value.len();
        match u16::try_from(value.len()) {
            Ok(length) if out.len() - body_at + needed <= usize::from(u16::MAX) => {
                out.push(kind);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value);
            }
            _ => complete = false,
        }
    }
    let length = u16::try_from(out.len() - body_at).unwrap_or(u16::MAX);
    out[length_at..body_at].copy_from_slice(&length.to_be_bytes());
    complete
}

/// Version 2 with its two commands.
const LOCAL: u8 = 0x20 | LOCAL_COMMAND;
const PROXY: u8 = 0x20 | PROXY_COMMAND;
/// Families, all of them for streams.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Of all that follows it.
const LENGTH_BYTES: usize = 2;
/// Type and length.
const TLV_HEAD_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(source: &str, destination: &str) -> Endpoints {
        let parse = |text: &str| text.parse().expect("an address");
        Endpoints {
            source: parse(source),
            destination: parse(destination),
        }
    }

    #[test]
    fn version_1_is_a_line() {
        for (source, destination, line) in [
            (
                "192.0.2.1:1",
                "198.51.100.7:443",
                "PROXY TCP4 192.0.2.1 198.51.100.7 1 443\r\n",
            ),
            (
                "[::1]:65535",
                "[2001:db8::2]:80",
                "PROXY TCP6 ::1 2001:db8::2 65535 80\r\n",
            ),
            // No other proxy could read a header with an address of each.
            (
                "192.0.2.1:1",
                "[::1]:2",
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
            ),
        ] {
            let mut out = b"before ".to_vec();
            encode_v1(&mut out, Some(&endpoints(source, destination)));
            assert_eq!(String::from_utf8_lossy(&out), format!("before {line}"));
        }
        let mut out = Vec::new();
        encode_v1(&mut out, None);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_addresses_then_types_and_values() {
        let mut out = Vec::new();
        let tlvs: [(u8, &[u8]); 2] = [(0xe0, b"abc"), (5, b"")];
        let of = endpoints("127.0.0.1:258", "10.0.0.2:443");
        assert!(encode_v2(&mut out, Some(&of), tlvs));
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x15\x7f\0\0\x01\x0a\0\0\x02\x01\x02\x01\xbb\
                         \xe0\0\x03abc\x05\0\0";
        assert_eq!(out, expected);

        let mut out = Vec::new();
        let of = endpoints("[::1]:1", "[2001:db8::2]:2");
        assert!(encode_v2(&mut out, Some(&of), []));
        assert_eq!(out[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(
            out[16..32],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        );
        assert_eq!(out[32..36], [0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(out[48..], [0, 1, 0, 2]);

        let mut out = Vec::new();
        assert!(encode_v2(&mut out, None, [(1, &b"x"[..])]));
        assert_eq!(out, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    /// The length of what follows it has 16 bits.
    #[test]
    fn a_value_that_has_no_room_is_left_out_alone() {
        let of = endpoints("127.0.0.1:1", "127.0.0.1:2");
        let room = usize::from(u16::MAX) - 12 - TLV_HEAD_BYTES;
        for (first, second, fits, length) in [
            (room, None, true, u16::MAX),
            (room + 1, None, false, 12),
            (room + 1, Some(1), false, 16),
            (room - 4, Some(1), true, u16::MAX),
            (room - 3, Some(1), false, u16::MAX - 3),
            (70_000, Some(0), false, 15),
        ] {
            let (first, second) = (vec![b'a'; first], second.map(|count| vec![b'b'; count]));
            let tlvs = [(1, &*first)].into_iter();
            let tlvs = tlvs.chain(second.as_deref().map(|value| (2, value)));
            let mut out = Vec::new();
            assert_eq!(encode_v2(&mut out, Some(&of), tlvs), fits);
            assert_eq!(out[14..16], length.to_be_bytes());
            assert_eq!(out.len(), 16 + usize::from(length));
        }
    }
}
