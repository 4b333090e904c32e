//! What several resources share (`envoy.config.core.v3`): addresses, the
//! node, localities, keep-alive, and the reading of scalar wrappers.
//!
//! Compiled types are on top, their lowering below. Nothing here opens a
//! socket or resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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

impl Address {
    /// Whether the kernel picks the port when a listener binds this.
    pub fn is_any_port(&self) -> bool {
        matches!(self, Address::Socket(address) if address.port() == 0)
    }

    /// Whether both name the same socket, however its file would be made.
    pub fn same_socket(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Socket(a), Address::Socket(b)) => a == b,
            (Address::Pipe { path: a, .. }, Address::Pipe { path: b, .. }) => a == b,
            (Address::Socket(_), Address::Pipe { .. })
            | (Address::Pipe { .. }, Address::Socket(_)) => false,
        }
    }
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

/// An address and what only its socket needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bindable {
    pub address: Address,
    pub ipv4_compat: bool,
}

/// Lowers an address that needs no resolver. `hint` ends the message about
/// something that is not an IP address.
pub(crate) fn address(
    proto: Option<&pb::Address>,
    hint: &str,
    cx: &mut Cx<'_>,
) -> Option<Bindable> {
    match proto.and_then(|proto| proto.address.as_ref()) {
        Some(pb::address::Address::SocketAddress(socket)) => {
            cx.field("socket_address", |cx| socket_address(socket, hint, cx))
        }
        Some(pb::address::Address::Pipe(proto)) => {
            let address = cx.field("pipe", |cx| pipe(proto, cx))?;
            Some(Bindable {
                address,
                ipv4_compat: false,
            })
        }
        Some(pb::address::Address::EnvoyInternalAddress(_)) => {
            cx.error_at("envoy_internal_address", "not supported yet");
            None
        }
        None => {
            cx.error("an address is needed here: socket_address or pipe");
            None
        }
    }
}

/// Lowers an IP address with its port.
pub(crate) fn socket_address(
    proto: &pb::SocketAddress,
    hint: &str,
    cx: &mut Cx<'_>,
) -> Option<Bindable> {
    let ip = match proto.address.parse::<IpAddr>() {
        Ok(ip) => Some(ip),
        Err(_) if is_scoped(&proto.address) => {
            cx.error_at("address", "IPv6 scopes (%) are not supported yet");
            None
        }
        Err(_) => {
            let reason = format!("malformed IP address: {:?}{hint}", proto.address);
            cx.error_at("address", reason);
            None
        }
    };
    let port = port(proto, "an IP address", cx);
    let address = SocketAddr::new(ip?, port?);
    if proto.ipv4_compat && !may_take_ipv4(address.ip()) {
        let reason =
            format!("only `::` or an IPv4-mapped IPv6 address may set this, not {address}");
        cx.error_at("ipv4_compat", reason);
        return None;
    }
    Some(Bindable {
        address: Address::Socket(address),
        ipv4_compat: proto.ipv4_compat,
    })
}

/// A name, or an IP address, that is looked up later, with its port.
pub(crate) fn named_address(proto: Option<&pb::Address>, cx: &mut Cx<'_>) -> Option<(String, u16)> {
    let Some(pb::address::Address::SocketAddress(socket)) =
        proto.and_then(|proto| proto.address.as_ref())
    else {
        cx.error("a socket_address is needed here: only names and IP addresses are looked up");
        return None;
    };
    cx.field("socket_address", |cx| {
        if !socket.resolver_name.is_empty() {
            cx.error_at(
                "resolver_name",
                "a cluster that looks names up must not have a custom resolver name",
            );
        }
        Some((socket.address.clone(), port(socket, "a name", cx)?))
    })
}

/// `what` needs the port.
fn port(proto: &pb::SocketAddress, what: &str, cx: &mut Cx<'_>) -> Option<u16> {
    match &proto.port_specifier {
        Some(pb::socket_address::PortSpecifier::PortValue(port)) => match u16::try_from(*port) {
            Ok(port) => Some(port),
            Err(_) => {
                cx.error_at("port_value", format!("{port} is above 65535"));
                None
            }
        },
        Some(pb::socket_address::PortSpecifier::NamedPort(name)) => {
            let reason = format!("{what} needs port_value, not the port name {name:?}");
            cx.error_at("named_port", reason);
            None
        }
        None => {
            cx.error("a port_value is needed here");
            None
        }
    }
}

fn is_scoped(address: &str) -> bool {
    let unscoped = address.split_once('%').map(|(ip, _scope)| ip);
    unscoped.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

fn may_take_ipv4(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unspecified() || v6.to_ipv4_mapped().is_some(),
    }
}

fn pipe(proto: &pb::Pipe, cx: &mut Cx<'_>) -> Option<Address> {
    if proto.path.len() > PIPE_PATH_BYTES_MAX {
        let reason =
            format!("the path of a Unix socket has at most {PIPE_PATH_BYTES_MAX} bytes on Linux");
        cx.error_at("path", reason);
        return None;
    }
    if proto.mode != 0 && proto.path.starts_with('@') {
        cx.error_at(
            "mode",
            "an abstract socket has no file whose mode could be set",
        );
        return None;
    }
    Some(Address::Pipe {
        path: PathBuf::from(&proto.path),
        mode: proto.mode,
    })
}

/// `sun_path` of Linux has 108 bytes and ends in a zero.
const PIPE_PATH_BYTES_MAX: usize = 107;

pub(crate) fn locality(proto: Option<&pb::Locality>) -> Locality {
    proto.map_or_else(Locality::default, |proto| Locality {
        region: proto.region.as_str().into(),
        zone: proto.zone.as_str().into(),
        sub_zone: proto.sub_zone.as_str().into(),
    })
}

pub(crate) fn node(proto: Option<&pb::Node>) -> Node {
    proto.map_or_else(Node::default, |proto| Node {
        id: proto.id.as_str().into(),
        cluster: proto.cluster.as_str().into(),
        locality: locality(proto.locality.as_ref()),
        metadata: proto.metadata.clone(),
    })
}

pub(crate) fn tcp_keepalive(proto: Option<&pb::TcpKeepalive>) -> Option<TcpKeepalive> {
    let seconds = |value: Option<protobuf::UInt32Value>| {
        value.map(|value| Duration::from_secs(u64::from(value.value)))
    };
    proto.map(|proto| TcpKeepalive {
        probes: proto.keepalive_probes.map(|value| value.value),
        time: seconds(proto.keepalive_time),
        interval: seconds(proto.keepalive_interval),
    })
}

/// The duration in the field `name`, if it is set.
pub fn duration(
    proto: Option<protobuf::Duration>,
    name: &str,
    cx: &mut Cx<'_>,
) -> Option<Duration> {
    let proto = proto?;
    match (u64::try_from(proto.seconds), u32::try_from(proto.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Some(Duration::new(seconds, nanos)),
        _ => {
            cx.error_at(name, "a duration must not be negative");
            None
        }
    }
}

/// The duration in the field `name`: absent means `default`, zero means off.
pub fn duration_or_off(
    proto: Option<protobuf::Duration>,
    name: &str,
    default: Option<Duration>,
    cx: &mut Cx<'_>,
) -> Option<Duration> {
    if proto.is_none() {
        return default;
    }
    duration(proto, name, cx).filter(|value| !value.is_zero())
}

/// A wrapped number or its default.
pub fn u32_or(proto: Option<protobuf::UInt32Value>, default: u32) -> u32 {
    proto.map_or(default, |value| value.value)
}

/// A wrapped number of which zero means no limit.
pub fn u32_or_unlimited(proto: Option<protobuf::UInt32Value>) -> Option<u32> {
    proto.map(|value| value.value).filter(|value| *value != 0)
}

/// A wrapped boolean or its default.
pub fn bool_or(proto: Option<protobuf::BoolValue>, default: bool) -> bool {
    proto.map_or(default, |value| value.value)
}

/// A name as a part of a stat name. Colons would end up in every dashboard
/// query, so Envoy replaces them; so do we, with the same result.
pub fn stat_name(name: &str) -> String {
    name.replace("://", "_")
        .replace(":/", "_")
        .replace([':', '\0'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Diagnostics, Marks};

    fn lower_text(ip: &str, port: u32, ipv4_compat: bool) -> Result<String, String> {
        let proto = pb::Address {
            address: Some(pb::address::Address::SocketAddress(pb::SocketAddress {
                address: ip.into(),
                port_specifier: Some(pb::socket_address::PortSpecifier::PortValue(port)),
                ipv4_compat,
                ..Default::default()
            })),
        };
        let mut diagnostics = Diagnostics::new();
        let (marks, names) = (Marks::default(), crate::Names::default());
        let mut cx = Cx::new(&mut diagnostics, &marks, None, &names);
        match address(Some(&proto), "", &mut cx) {
            Some(bindable) => Ok(bindable.address.to_string()),
            None => Err(diagnostics.to_string()),
        }
    }

    #[test]
    fn socket_addresses() {
        for (ip, port, ipv4_compat, expected) in [
            ("127.0.0.1", 80, false, Ok("127.0.0.1:80")),
            ("::1", 0, false, Ok("[::1]:0")),
            ("::", 80, true, Ok("[::]:80")),
            ("::ffff:1.2.3.4", 80, true, Ok("[::ffff:1.2.3.4]:80")),
            (
                "127.0.0.1",
                80,
                true,
                Err(
                    "socket_address.ipv4_compat: only `::` or an IPv4-mapped IPv6 address may set this, not 127.0.0.1:80",
                ),
            ),
            (
                "localhost",
                80,
                false,
                Err("socket_address.address: malformed IP address: \"localhost\""),
            ),
            (
                "fe80::1%lo",
                80,
                false,
                Err("socket_address.address: IPv6 scopes (%) are not supported yet"),
            ),
            (
                "01.2.3.4",
                80,
                false,
                Err("socket_address.address: malformed IP address: \"01.2.3.4\""),
            ),
            (
                "1.2.3.4",
                65536,
                false,
                Err("socket_address.port_value: 65536 is above 65535"),
            ),
        ] {
            let found = lower_text(ip, port, ipv4_compat);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{ip}");
        }
    }

    #[test]
    fn stat_names_have_no_colons() {
        assert_eq!(stat_name("127.0.0.1:80"), "127.0.0.1_80");
        assert_eq!(stat_name("[::1]:80"), "[__1]_80");
        assert_eq!(stat_name("spiffe://a:/b"), "spiffe_a_b");
    }
}
