//! PROXY protocol: the header in front of a connection's bytes that tells where
//! they come from (HAProxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! `encode.rs` writes headers.

mod encode;

use std::net::{Ipv6Addr, SocketAddr};

pub use encode::{encode_v1, encode_v2};

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
