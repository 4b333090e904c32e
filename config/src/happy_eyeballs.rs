//! The order in which the addresses of a host are tried
//! (`envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig`,
//! after RFC 8305 section 4).

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::upstream_connection_options as pb;
use envoy_types::pb::envoy::config::cluster::v3::upstream_connection_options::FirstAddressFamilyVersion as Version;

use crate::core::{self, Address};

/// How the families of a host's addresses alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HappyEyeballs {
    /// The family that begins, true is IPv6; without it, the first address's.
    first_is_ipv6: Option<bool>,
    /// So many of that family come before each one of the other.
    first_count: usize,
}

/// Envoy's order where the configuration says nothing.
impl Default for HappyEyeballs {
    fn default() -> Self {
        HappyEyeballs {
            first_is_ipv6: None,
            first_count: 1,
        }
    }
}

impl HappyEyeballs {
    /// The order of a cluster.
    pub(crate) fn of_cluster(proto: &Cluster) -> Self {
        let options = proto.upstream_connection_options.as_ref();
        Self::lower(options.and_then(|options| options.happy_eyeballs_config.as_ref()))
    }

    fn lower(proto: Option<&pb::HappyEyeballsConfig>) -> Self {
        proto.map_or_else(Self::default, |proto| HappyEyeballs {
            first_is_ipv6: match proto.first_address_family_version() {
                // The support table refuses the last two.
                Version::Default | Version::Pipe | Version::Internal => None,
                Version::V4 => Some(false),
                Version::V6 => Some(true),
            },
            first_count: core::u32_or(proto.first_address_family_count, 1).max(1) as usize,
        })
    }

    /// Puts a host's addresses into the order in which they are tried.
    #[must_use]
    pub fn order(&self, addresses: Vec<Address>) -> Vec<Address> {
        let is_ipv6 = |address: &Address| match address {
            Address::Socket(address) => address.is_ipv6(),
            Address::Pipe { .. } => false,
        };
        let Some(first) = addresses.first() else {
            return addresses;
        };
        let first_is_ipv6 = self.first_is_ipv6.unwrap_or(is_ipv6(first));
        let count = addresses.len();
        let (first, other): (Vec<_>, Vec<_>) = addresses
            .into_iter()
            .partition(|address| is_ipv6(address) == first_is_ipv6);
        let (mut first, mut other) = (first.into_iter(), other.into_iter());
        let mut ordered = Vec::with_capacity(count);
        while ordered.len() < count {
            ordered.extend(first.by_ref().take(self.first_count));
            ordered.extend(other.next());
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses as a family and a number each: `6a` is the first of IPv6.
    fn ordered(options: HappyEyeballs, names: &str) -> String {
        let address = |name: &str| {
            let number = name.as_bytes()[1];
            let text = match name.as_bytes()[0] {
                b'4' => format!("127.0.0.{number}:80"),
                _ => format!("[ff02::{number:x}]:80"),
            };
            Address::Socket(text.parse().unwrap())
        };
        let names: Vec<_> = names.split(' ').collect();
        let addresses: Vec<_> = names.iter().map(|name| address(name)).collect();
        let ordered = options.order(addresses.clone());
        let name = |one: &Address| {
            let place = addresses.iter().position(|other| other == one);
            names[place.expect("it is one of them")]
        };
        ordered.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_alternate() {
        let default = HappyEyeballs::default();
        let two_of_v4 = HappyEyeballs {
            first_is_ipv6: Some(false),
            first_count: 2,
        };
        for (options, given, expected) in [
            (default, "4a 4b 4c", "4a 4b 4c"),
            (default, "6a 6b 4a 4b", "6a 4a 6b 4b"),
            (default, "6a 6b 6c 4a", "6a 4a 6b 6c"),
            (default, "4a 6a 6b", "4a 6a 6b"),
            (two_of_v4, "6a 6b", "6a 6b"),
            (two_of_v4, "6a 4a 6b 4b", "4a 4b 6a 6b"),
            (two_of_v4, "6a 6b 6c 4a", "4a 6a 6b 6c"),
            (
                two_of_v4,
                "6a 6b 6c 4a 4b 4c 4d 6d",
                "4a 4b 6a 4c 4d 6b 6c 6d",
            ),
        ] {
            assert_eq!(ordered(options, given), expected, "{given}");
        }
    }
}
