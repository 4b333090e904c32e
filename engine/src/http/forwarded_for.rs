//! `X-Forwarded-For`: whom to believe, and what to add.

use ringway_codecs::header::{HeaderId, HeaderMap};
use std::io::Write;
use std::net::IpAddr;

/// An address taken from the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Believed {
    /// The address.
    pub address: IpAddr,
    /// Whether it is the only one in the header. Only then may the request be
    /// internal: every proxy on the way adds an address.
    pub alone: bool,
}

/// The address that is `skip` places from the right. `None` when there are too
/// few elements or it is not an IP address without a port.
pub fn believed_address(headers: &HeaderMap, skip: u32) -> Option<Believed> {
    let list = headers.get(HeaderId::XForwardedFor)?;
    let mut elements = list.rsplit(|byte| *byte == b',');
    let element = elements.nth(skip as usize)?.trim_ascii();
    let address = std::str::from_utf8(element).ok()?.parse().ok()?;
    Some(Believed {
        address,
        alone: skip == 0 && elements.next().is_none(),
    })
}

/// Adds the peer's address at the right.
pub fn append(headers: &mut HeaderMap, address: IpAddr) {
    headers.append_with(HeaderId::XForwardedFor, |out| write_address(out, address));
}

/// Appends an address as text.
pub fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (i, byte) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
            }
        }
        IpAddr::V6(address) => write!(out, "{address}").expect("writing to memory cannot fail"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_headers::{headers, text};
    use super::*;

    /// What Envoy logged as the remote address, or `None` where it fell back
    /// to the peer's.
    #[test]
    fn believed() {
        for (fields, skip, expected) in [
            ("a: b", 0, None),
            ("x-forwarded-for: 10.0.0.9", 0, Some(("10.0.0.9", true))),
            ("x-forwarded-for: 10.0.0.9", 1, None),
            ("x-forwarded-for:  10.0.0.9\t", 0, Some(("10.0.0.9", true))),
            (
                "x-forwarded-for: 10.0.0.7, 10.0.0.8,10.0.0.9",
                0,
                Some(("10.0.0.9", false)),
            ),
            (
                "x-forwarded-for: 10.0.0.7, 10.0.0.8,10.0.0.9",
                1,
                Some(("10.0.0.8", false)),
            ),
            (
                "x-forwarded-for: 10.0.0.7, 10.0.0.8,10.0.0.9",
                2,
                Some(("10.0.0.7", false)),
            ),
            ("x-forwarded-for: 10.0.0.7, 10.0.0.8,10.0.0.9", 3, None),
            ("x-forwarded-for: 10.0.0.7, bad,10.0.0.9", 1, None),
            ("x-forwarded-for: 10.0.0.7, 10.0.0.9, ", 0, None),
            (
                "x-forwarded-for: 10.0.0.7, 10.0.0.9, ",
                1,
                Some(("10.0.0.9", false)),
            ),
            (
                "x-forwarded-for: 1.2.3.4\nx-forwarded-for: 10.0.0.1",
                0,
                Some(("10.0.0.1", false)),
            ),
            (
                "x-forwarded-for: 1.2.3.4\nx-forwarded-for: 10.0.0.1",
                1,
                Some(("1.2.3.4", false)),
            ),
            ("x-forwarded-for: fd00::1", 0, Some(("fd00::1", true))),
            ("x-forwarded-for: [fd00::1]:80", 0, None),
            ("x-forwarded-for: 10.0.0.9:99", 0, None),
            ("x-forwarded-for: bad", 0, None),
            ("x-forwarded-for: 1.2.3.4", u32::MAX, None),
        ] {
            let expected = expected.map(|(address, alone)| Believed {
                address: address.parse().unwrap(),
                alone,
            });
            assert_eq!(
                believed_address(&headers(fields), skip),
                expected,
                "{fields} {skip}"
            );
        }
    }

    #[test]
    fn appended() {
        for (fields, address, expected) in [
            ("a: b", "192.0.2.2", "a: b | x-forwarded-for: 192.0.2.2"),
            (
                "x-forwarded-for:",
                "127.0.0.2",
                "x-forwarded-for: 127.0.0.2",
            ),
            (
                "x-forwarded-for: 1.2.3.4, 10.0.0.1",
                "192.0.2.2",
                "x-forwarded-for: 1.2.3.4, 10.0.0.1,192.0.2.2",
            ),
            (
                "x-forwarded-for: 1.2.3.4\nx-forwarded-for: 10.0.0.1",
                "255.100.9.0",
                "x-forwarded-for: 1.2.3.4,10.0.0.1,255.100.9.0",
            ),
            (
                "x-forwarded-for: a",
                "fd00::1",
                "x-forwarded-for: a,fd00::1",
            ),
        ] {
            let mut map = headers(fields);
            append(&mut map, address.parse().unwrap());
            assert_eq!(text(&map), expected);
        }
    }
}
