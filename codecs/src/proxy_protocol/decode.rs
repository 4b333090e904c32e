//! Bytes to headers.
//!
//! [`decode`] is shown all that has arrived so far, whenever more has, and says
//! as soon as it can what it is. It keeps nothing and copies nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Endpoints, LINE_SIGNATURE, LOCAL_COMMAND, PROXY_COMMAND, SIGNATURE, Version};

/// What may come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// A header of version 1.
    pub v1: bool,
    /// A header of version 2.
    pub v2: bool,
    /// Something else than a header.
    pub nothing: bool,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The beginning of a header, as far as can be said.
    Incomplete,
    /// A whole one.
    Complete(Header<'a>),
    /// None, and none is needed.
    NotFound,
    /// What must not come first.
    Refused(Refusal),
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no header.
    NoHeader,
    /// A header of a version that is not accepted.
    Disallowed(Version),
    /// A header that is broken.
    Broken(Version),
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which kind.
    pub version: Version,
    /// Its bytes: what is behind them is the connection's.
    pub length: usize,
    /// The connection that it tells of; `None` is the one that carries it.
    pub endpoints: Option<Endpoints>,
    /// What else it says.
    pub tlvs: Tlvs<'a>,
}

/// Types and values behind the addresses of version 2, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, value, rest) = split_tlv(self.0)?;
        self.0 = rest;
        Some((kind, value))
    }
}

/// The most bytes that a header can have.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + u16::MAX as usize;

/// The longest header of version 1, its end included. `proxy-protocol.txt` has
/// one less, since it counts a zero behind it.
const LINE_BYTES_MAX: usize = 108;
/// Where the end of a line is looked for: a line that ends here is too long, and
/// what has no end is none. That is what Envoy looks at before it knows more.
const LINE_SOUGHT_MAX: usize = 232;
/// Signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
/// Two addresses and two ports.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

/// Says what all bytes that have arrived so far are.
#[must_use]
pub fn decode(bytes: &[u8], accepted: Accepted) -> Progress<'_> {
    let may_become = |signature: &[u8]| {
        let length = signature.len().min(bytes.len());
        bytes[..length] == signature[..length]
    };
    let may_be_header =
        (accepted.v2 && may_become(SIGNATURE)) || (accepted.v1 && may_become(LINE_SIGNATURE));
    if accepted.nothing && !may_be_header {
        return Progress::NotFound;
    }
    if bytes.len() >= FIXED_BYTES {
        if bytes.starts_with(SIGNATURE) {
            return match accepted.v2 {
                true => binary(bytes),
                false => Progress::Refused(Refusal::Disallowed(Version::V2)),
            };
        }
        if !bytes.starts_with(LINE_SIGNATURE) {
            return Progress::Refused(Refusal::NoHeader);
        }
    }
    let sought = &bytes[..bytes.len().min(LINE_SOUGHT_MAX)];
    match sought.windows(2).position(|pair| pair == b"\r\n") {
        // So begins version 2.
        Some(0) => Progress::Incomplete,
        None if bytes.len() <= LINE_BYTES_MAX => Progress::Incomplete,
        None => Progress::Refused(Refusal::NoHeader),
        Some(end) if end + 2 > LINE_BYTES_MAX => broken(Version::V1),
        Some(_) if !accepted.v1 => Progress::Refused(Refusal::Disallowed(Version::V1)),
        Some(end) => match line(&bytes[..end]) {
            Some(endpoints) => Progress::Complete(Header {
                version: Version::V1,
                length: end + 2,
                endpoints,
                tlvs: Tlvs::default(),
            }),
            None => broken(Version::V1),
        },
    }
}

fn broken<'a>(version: Version) -> Progress<'a> {
    Progress::Refused(Refusal::Broken(version))
}

/// What a line without its end tells of; the outer `None` is a broken one.
fn line(line: &[u8]) -> Option<Option<Endpoints>> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == VERTICAL_TAB;
    let end = line.iter().rposition(|byte| !is_space(byte))? + 1;
    let mut parts = line[..end].split(|byte| *byte == b' ');
    if parts.next()? != b"PROXY" {
        return None;
    }
    let family = parts.next()?;
    if family == b"UNKNOWN" {
        return Some(None);
    }
    let mut text = || std::str::from_utf8(parts.next()?).ok();
    let (source, destination) = (text()?, text()?);
    let (source_port, destination_port) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let parse = |text: &str| match family {
        b"TCP4" => text.parse().ok().map(IpAddr::V4),
        b"TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let endpoints = Endpoints {
        source: SocketAddr::new(parse(source)?, source_port),
        destination: SocketAddr::new(parse(destination)?, destination_port),
    };
    (parts.next().is_none() && are_unicast(&endpoints)).then_some(Some(endpoints))
}

/// Which Rust does not count as white space, and Envoy does.
const VERTICAL_TAB: u8 = 0x0b;

/// A header that begins with the signature and has its fixed part.
fn binary(bytes: &[u8]) -> Progress<'_> {
    const BROKEN: Progress<'static> = Progress::Refused(Refusal::Broken(Version::V2));
    let [version_and_command, family_and_protocol, high, low] = [0, 1, 2, 3]
        .map(|place| bytes.get(SIGNATURE.len() + place).copied())
        .map(Option::unwrap_or_default);
    let (version, command) = (version_and_command >> 4, version_and_command & 0xf);
    let body_length = usize::from(u16::from_be_bytes([high, low]));
    if version != 2 {
        return BROKEN;
    }
    let is_local = command == LOCAL_COMMAND;
    let address_length = match family_and_protocol >> 4 {
        _ if is_local => 0,
        1 => IPV4_BYTES,
        2 => IPV6_BYTES,
        _ => return BROKEN,
    };
    let is_known =
        is_local || (command == PROXY_COMMAND && matches!(family_and_protocol & 0xf, 1 | 2));
    if body_length < address_length || !is_known {
        return BROKEN;
    }
    let length = FIXED_BYTES + body_length;
    let Some(body) = bytes.get(FIXED_BYTES..length) else {
        return Progress::Incomplete;
    };
    let (addresses, tlvs) = body.split_at(address_length);
    let header = |endpoints, tlvs| {
        Progress::Complete(Header {
            version: Version::V2,
            length,
            endpoints,
            tlvs,
        })
    };
    if is_local {
        // What it says of a connection is not to be looked at.
        return header(None, Tlvs::default());
    }
    let Some(endpoints) = endpoints(addresses).filter(are_unicast) else {
        return BROKEN;
    };
    let mut rest = tlvs;
    while let Some((_, _, behind)) = split_tlv(rest) {
        rest = behind;
    }
    match rest.is_empty() {
        true => header(Some(endpoints), Tlvs(tlvs)),
        false => BROKEN,
    }
}

fn endpoints(bytes: &[u8]) -> Option<Endpoints> {
    let (addresses, ports) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let (source, destination) = addresses.split_at_checked(addresses.len() / 2)?;
    let ip = |bytes: &[u8]| match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    let [from_high, from_low, to_high, to_low] = *ports.first_chunk::<4>()?;
    let port = |high, low| u16::from_be_bytes([high, low]);
    Some(Endpoints {
        source: SocketAddr::new(ip(source)?, port(from_high, from_low)),
        destination: SocketAddr::new(ip(destination)?, port(to_high, to_low)),
    })
}

/// The first type, its value, and what follows them.
fn split_tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some((*kind, value, rest))
}

/// No connection has another kind of end.
fn are_unicast(endpoints: &Endpoints) -> bool {
    [endpoints.source, endpoints.destination]
        .iter()
        .all(|address| match address.ip() {
            IpAddr::V4(ip) => {
                ip != Ipv4Addr::UNSPECIFIED && ip != Ipv4Addr::BROADCAST && !ip.is_multicast()
            }
            IpAddr::V6(ip) => ip != Ipv6Addr::UNSPECIFIED && !ip.is_multicast(),
        })
}

#[cfg(test)]
mod tests;
