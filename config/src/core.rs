//! What several resources share (`envoy.config.core.v3`): addresses, the
//! node, localities, keep-alive, and the reading of scalar wrappers.
//!
//! Compiled types are on top, their lowering below. Nothing here opens a
//! socket or resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::google::protobuf;

use crate::context::Cx;

/// Where a socket listens or connects to (`core.v3.Address`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port; port 0 of a listener lets the kernel pick.
    Socket(SocketAddr),
    /// A Unix stream socket. A path that begins with `@` names a socket in
    /// the abstract namespace.
    Pipe {
        /// The path as written in the configuration.
        path: PathBuf,
        /// Permission bits given to the socket file; 0 leaves them alone.
        mode: u32,
    },
}

/// Envoy's text of an address, as `/listeners`, `/clusters` and access logs
/// show it: `127.0.0.1:80`, `[::1]:80`, `/run/x.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Socket(address) => address.fmt(f),
            Address::Pipe { path, .. } => path.display().fmt(f),
        }
    }
}

/// An IP network (`core.v3.CidrRange`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_len: u8,
}

impl Cidr {
    /// The network of `address`: bits beyond `prefix_len` are cleared, and a
    /// length beyond the family's is cut to it, as Envoy does.
    pub fn new(address: IpAddr, prefix_len: u32) -> Cidr {
        match address {
            IpAddr::V4(v4) => {
                let len = prefix_len.min(32);
                let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
                let network = Ipv4Addr::from_bits(v4.to_bits() & mask);
                Cidr { network: network.into(), prefix_len: len as u8 }
            }
            IpAddr::V6(v6) => {
                let len = prefix_len.min(128);
                let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
                let network = Ipv6Addr::from_bits(v6.to_bits() & mask);
                Cidr { network: network.into(), prefix_len: len as u8 }
            }
        }
    }

    /// Whether `address` lies in this network; never across families.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.network.is_ipv4() == address.is_ipv4()
            && Cidr::new(address, u32::from(self.prefix_len)) == *self
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

/// Where something runs (`core.v3.Locality`); all parts may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// Region, the widest part.
    pub region: Arc<str>,
    /// Zone within the region.
    pub zone: Arc<str>,
    /// Sub-zone within the zone.
    pub sub_zone: Arc<str>,
}

/// Who this proxy is to its control plane and in its logs (`core.v3.Node`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Unique name of this instance (`--service-node` overrides it).
    pub id: Arc<str>,
    /// Name of the service cluster (`--service-cluster` overrides it).
    pub cluster: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// Free-form data for the management server and for `config_dump`.
    pub metadata: Option<protobuf::Struct>,
}

/// TCP keep-alive of a socket (`core.v3.TcpKeepalive`): its presence turns
/// keep-alive on; a missing value leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}
