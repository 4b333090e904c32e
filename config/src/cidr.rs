//! Ranges of addresses: `envoy.config.core.v3.CidrRange` and
//! `xds.core.v3.CidrRange`.

use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3 as pb;

use crate::context::Cx;
use crate::core;

/// All addresses that share their first bits. Equal ranges have the same
/// addresses, however they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CidrRange {
    network: IpAddr,
    prefix_bits: u8,
}

impl CidrRange {
    /// A range of all addresses that share the first `prefix_bits` bits;
    /// `None` when the address does not have so many.
    pub fn new(address: IpAddr, prefix_bits: u32) -> Option<Self> {
        let prefix_bits = u8::try_from(prefix_bits).ok()?;
        (u32::from(prefix_bits) <= width(address)).then(|| CidrRange {
            network: network(address, prefix_bits),
            prefix_bits,
        })
    }

    /// Its first address.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The number of bits that its addresses share.
    #[must_use]
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Compiles a range. A length beyond the address's means the whole
    /// address, as in Envoy.
    pub fn lower(address_prefix: &str, prefix_bits: u32, cx: &mut Cx<'_>) -> Option<Self> {
        let Ok(address) = address_prefix.parse::<IpAddr>() else {
            let reason = format!("malformed IP address: {address_prefix:?}");
            cx.error_at("address_prefix", reason);
            return None;
        };
        CidrRange::new(address, prefix_bits.min(width(address)))
    }

    /// Compiles the list `field`, or reports what is wrong with it.
    pub fn lower_all(
        protos: &[pb::CidrRange],
        field: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Box<[Self]>> {
        let protos = protos.iter().enumerate();
        let ranges: Vec<_> = protos
            .map(|(i, proto)| {
                let bits = core::u32_or(proto.prefix_len, 0);
                cx.index(field, i, |cx| Self::lower(&proto.address_prefix, bits, cx))
            })
            .collect();
        ranges.into_iter().collect()
    }

    /// Whether `address` is in the range. IPv4 and IPv6 never match each
    /// other.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = width(self.network) - u32::from(self.prefix_bits);
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let different = network.to_bits() ^ address.to_bits();
                different.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let different = network.to_bits() ^ address.to_bits();
                different.checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// The address without the bits behind the first `prefix_bits`.
fn network(address: IpAddr, prefix_bits: u8) -> IpAddr {
    let shift = width(address) - u32::from(prefix_bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (network, bits, address, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("10.1.2.3", 8, "10.9.9.9", true),
            ("0.0.0.0", 0, "255.1.2.3", true),
            ("0.0.0.0", 0, "::1", false),
            ("1.2.3.4", 32, "1.2.3.4", true),
            ("1.2.3.4", 32, "1.2.3.5", false),
            ("fd00::", 8, "fdff::1", true),
            ("fd00::", 8, "fe00::1", false),
            ("::", 0, "fe00::1", true),
            ("::1", 128, "::1", true),
            ("::1", 128, "::2", false),
        ] {
            let range = CidrRange::new(network.parse().unwrap(), bits).unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                inside,
                "{network}/{bits} {address}"
            );
        }
        for (one, other) in [
            (("10.1.2.3", 8), ("10.0.0.0", 8)),
            (("fd00::1", 8), ("fd00::", 8)),
        ] {
            let range = |(address, bits): (&str, u32)| {
                CidrRange::new(address.parse().unwrap(), bits).unwrap()
            };
            assert_eq!(range(one), range(other));
        }
        assert_eq!(CidrRange::new("1.2.3.4".parse().unwrap(), 33), None);
        assert_eq!(CidrRange::new("::".parse().unwrap(), 129), None);
    }
}
