//! PROXY protocol: the header in front of a connection's bytes that tells where
//! they come from (HAProxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! `decode.rs` reads headers, `encode.rs` writes them.

mod decode;
mod encode;
pub mod fuzz;

use std::net::{Ipv6Addr, SocketAddr};

pub use decode::{Accepted, HEADER_BYTES_MAX, Header, Progress, Refusal, Tlvs, decode};
pub use encode::{encode_v1, encode_v2};

/// The versions of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What version 1 begins with.
const LINE_SIGNATURE: &[u8] = b"PROXY ";
/// What version 2 begins with, and no other protocol.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The commands of version 2: of no client, and of one.
const LOCAL_COMMAND: u8 = 0;
const PROXY_COMMAND: u8 = 1;

/// The connection that a header tells of: not the one that carries it, but the
/// one in front of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// Who opened it.
    pub source: SocketAddr,
    /// The address that it was opened to.
    pub destination: SocketAddr,
}

impl Endpoints {
    /// Both as addresses of one family, for a header has no other: where they
    /// differ, the IPv4 one is written as an IPv6 one.
    fn of_one_family(&self) -> Self {
        if self.source.is_ipv4() == self.destination.is_ipv4() {
            return *self;
        }
        let mapped = |address: SocketAddr| SocketAddr::new(v6(&address).into(), address.port());
        Self {
            source: mapped(self.source),
            destination: mapped(self.destination),
        }
    }
}

/// The address as one of IPv6.
fn v6(address: &SocketAddr) -> Ipv6Addr {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped(),
        SocketAddr::V6(address) => *address.ip(),
    }
}
