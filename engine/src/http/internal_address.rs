//! `HttpConnectionManager.internal_address_config`: which client addresses
//! are inside the trusted network.

use std::net::IpAddr;

use ringway_config::cidr::CidrRange;

/// Address ranges that count as internal. Without any, no address does, which
/// is Envoy's default since 1.33.
#[derive(Debug, Clone, Default)]
pub struct InternalAddresses {
    ranges: Box<[CidrRange]>,
    /// Whether clients over Unix sockets count as internal.
    pub unix_sockets: bool,
}

impl InternalAddresses {
    /// The ranges of the configuration.
    pub fn new(ranges: impl IntoIterator<Item = CidrRange>, unix_sockets: bool) -> Self {
        InternalAddresses {
            ranges: ranges.into_iter().collect(),
            unix_sockets,
        }
    }

    /// Whether `address` is internal.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}
