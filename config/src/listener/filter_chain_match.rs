//! Which filter chain a connection runs through
//! (`listener.v3.FilterChainMatch`).
//!
//! Envoy's order of criteria: the port and address that the client connected
//! to, the server name, what carries the bytes, the protocols above, the
//! peer's address, the kind of source, the client's address, its port. At each
//! step the most specific value that some chain names is taken, and there is
//! no way back: a chain that names less is not found where another one names
//! more and then does not fit.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3::CidrRange as CidrRangePb;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;

use crate::cidr::CidrRange;
use crate::context::Cx;
use crate::filter_state::FilterState;

/// What is known of a connection when its chain is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The address that it came to; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// The client's address, if a proxy before us has told another one than
    /// the peer's.
    pub remote: Option<SocketAddr>,
    /// The peer's address; `None` for a Unix socket.
    pub direct_remote: Option<SocketAddr>,
    /// The server that was asked for, in lower case; empty for none.
    pub server_name: &'a str,
    /// `tls` or `raw_buffer`, or what else a listener filter has found.
    pub transport_protocol: &'a str,
    /// The protocols that the client speaks, best first.
    pub application_protocols: &'a [Box<[u8]>],
    /// What listener filters have left for others.
    pub filter_state: &'a FilterState,
}

impl Arrival<'_> {
    /// The client's address.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.or(self.direct_remote)
    }

    /// `SAME_IP_OR_LOOPBACK`: of the loopback network its one address, as in
    /// Envoy. A Unix socket is as near.
    #[must_use]
    pub fn is_local(&self) -> bool {
        const LOOPBACK: [IpAddr; 2] = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let (local, remote) = (ip(self.local), ip(self.remote()));
        remote.is_none_or(|remote| LOOPBACK.contains(&remote) || Some(remote) == local)
    }
}

/// An address of IPv4 is one also where the socket is one of IPv6.
fn ip(address: Option<SocketAddr>) -> Option<IpAddr> {
    address.map(|address| address.ip().to_canonical())
}

/// The chains of a listener by what they match.
#[derive(Debug, Clone, Default)]
pub struct FilterChainIndex {
    ports: ByValue<u16, ByDestination>,
}

type ByDestination = ByRange<ByServerName>;
/// Names as they are; those with any label in front begin with a dot.
type ByServerName = ByValue<Box<str>, ByTransportProtocol>;
type ByTransportProtocol = ByValue<Box<str>, ByApplicationProtocol>;
type ByApplicationProtocol = ByValue<Box<[u8]>, ByDirectSource>;
type ByDirectSource = ByRange<BySourceType>;
type BySource = ByRange<BySourcePort>;
/// The place of the chain in its list.
type BySourcePort = ByValue<u16, Option<usize>>;

/// What follows for each value that chains name, and for chains that name none.
#[derive(Debug, Clone)]
struct ByValue<K, V> {
    named: HashMap<K, V>,
    any: Option<Box<V>>,
}

/// The same for ranges of addresses, the smallest range first.
#[derive(Debug, Clone)]
struct ByRange<V> {
    named: Vec<(CidrRange, V)>,
    any: Option<Box<V>>,
}

/// The same for the kinds of sources.
#[derive(Debug, Clone, Default)]
struct BySourceType {
    same_ip_or_loopback: Option<BySource>,
    external: Option<BySource>,
    any: Option<BySource>,
}

impl<K, V> Default for ByValue<K, V> {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            any: None,
        }
    }
}

impl<V> Default for ByRange<V> {
    fn default() -> Self {
        Self {
            named: Vec::new(),
            any: None,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Default> ByValue<K, V> {
    fn entry(&mut self, key: Option<&K>) -> &mut V {
        match key {
            Some(key) => self.named.entry(key.clone()).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    fn any(&self) -> Option<&V> {
        self.any.as_deref()
    }
}

impl<V: Default> ByRange<V> {
    fn entry(&mut self, range: Option<&CidrRange>) -> &mut V {
        let Some(range) = range else {
            return self.any.get_or_insert_default();
        };
        let place = self.named.iter().position(|(known, _)| known == range);
        let place = place.unwrap_or_else(|| {
            let bits = range.prefix_bits();
            let place = self
                .named
                .partition_point(|(known, _)| known.prefix_bits() >= bits);
            self.named.insert(place, (*range, V::default()));
            place
        });
        &mut self.named[place].1
    }

    fn find(&self, address: Option<IpAddr>) -> Option<&V> {
        let named = address.and_then(|address| {
            let mut named = self.named.iter();
            named.find(|(range, _)| range.contains(address))
        });
        named.map(|(_, found)| found).or(self.any.as_deref())
    }
}

impl BySourceType {
    fn entry(&mut self, kind: ConnectionSourceType) -> &mut BySource {
        let place = match kind {
            ConnectionSourceType::Any => &mut self.any,
            ConnectionSourceType::SameIpOrLoopback => &mut self.same_ip_or_loopback,
            ConnectionSourceType::External => &mut self.external,
        };
        place.get_or_insert_default()
    }
}

impl FilterChainIndex {
    /// The place of the chain that a connection runs through; `None` when no
    /// chain matches.
    #[must_use]
    pub fn find(&self, arrival: &Arrival<'_>) -> Option<usize> {
        let remote = arrival.remote();
        let by_port = arrival
            .local
            .and_then(|local| self.ports.named.get(&local.port()));
        let by_destination = by_port.or(self.ports.any())?;
        let by_name = by_destination.find(ip(arrival.local))?;
        let by_transport = find_name(by_name, arrival.server_name)?;
        let transport = by_transport.named.get(arrival.transport_protocol);
        let by_protocol = transport.or(by_transport.any())?;
        let mut protocols = arrival.application_protocols.iter();
        let protocol = protocols.find_map(|protocol| by_protocol.named.get(protocol));
        let by_direct_source = protocol.or(by_protocol.any())?;
        let by_type = by_direct_source.find(ip(arrival.direct_remote))?;
        let of_kind = match arrival.is_local() {
            true => by_type.same_ip_or_loopback.as_ref(),
            false => by_type.external.as_ref(),
        };
        let by_source = of_kind.or(by_type.any.as_ref())?;
        let by_port = by_source.find(ip(remote))?;
        let port = remote.and_then(|remote| by_port.named.get(&remote.port()));
        *port.or(by_port.any())?
    }

    /// Adds the chain at `place` of its list. Says which chain, and no other
    /// than that, gets some of its connections already.
    fn insert(&mut self, place: usize, rule: &Rule) -> Result<(), usize> {
        let mut conflict = None;
        for port in some_or_any(&rule.destination_port) {
            let by_destination = self.ports.entry(port);
            for range in some_or_any(&rule.destinations) {
                let by_name = by_destination.entry(range);
                for name in some_or_any(&rule.server_names) {
                    let by_transport = by_name.entry(name.filter(|name| !name.is_empty()));
                    for transport in some_or_any(&rule.transport_protocol) {
                        let by_protocol = by_transport.entry(transport);
                        for protocol in some_or_any(&rule.application_protocols) {
                            let by_direct =
                                by_protocol.entry(protocol.filter(|name| !name.is_empty()));
                            rule.insert_source(by_direct, place, &mut conflict);
                        }
                    }
                }
            }
        }
        conflict.map_or(Ok(()), Err)
    }
}

/// The values of a criterion, or that there are none.
fn some_or_any<T>(values: &[T]) -> impl Iterator<Item = Option<&T>> {
    let any = values.is_empty().then_some(None);
    values.iter().map(Some).chain(any)
}

/// The name itself, the longest end of it that follows a dot, or none.
fn find_name<'a>(names: &'a ByServerName, name: &str) -> Option<&'a ByTransportProtocol> {
    if names.named.is_empty() || name.is_empty() {
        return names.any();
    }
    let dots = name.match_indices('.').map(|(dot, _)| dot);
    // What ends in a dot has no label behind it.
    let dots = dots.filter(|dot| *dot > 0 && *dot + 1 < name.len());
    std::iter::once(name)
        .chain(dots.map(|dot| &name[dot..]))
        .find_map(|end| names.named.get(end))
        .or(names.any())
}

/// One chain's criteria. A list that is empty is no criterion, and so is an
/// empty name.
struct Rule {
    destination_port: Vec<u16>,
    destinations: Vec<CidrRange>,
    server_names: Vec<Box<str>>,
    transport_protocol: Vec<Box<str>>,
    application_protocols: Vec<Box<[u8]>>,
    direct_sources: Vec<CidrRange>,
    source_type: ConnectionSourceType,
    sources: Vec<CidrRange>,
    source_ports: Vec<u16>,
}

impl Rule {
    fn insert_source(
        &self,
        by_direct: &mut ByDirectSource,
        place: usize,
        conflict: &mut Option<usize>,
    ) {
        for direct in some_or_any(&self.direct_sources) {
            let by_source = by_direct.entry(direct).entry(self.source_type);
            for source in some_or_any(&self.sources) {
                let by_port = by_source.entry(source);
                for port in some_or_any(&self.source_ports) {
                    match by_port.entry(port) {
                        Some(other) => *conflict = conflict.or(Some(*other)),
                        free => *free = Some(place),
                    }
                }
            }
        }
    }

    fn lower(proto: &pb::FilterChainMatch, cx: &mut Cx<'_>) -> Self {
        // Their ranges are checked with the message.
        let port = |value: u32| value as u16;
        let transport = Some(proto.transport_protocol.as_str()).filter(|name| !name.is_empty());
        Self {
            destination_port: (proto.destination_port.iter())
                .map(|value| port(value.value))
                .collect(),
            destinations: ranges(&proto.prefix_ranges, "prefix_ranges", cx),
            server_names: server_names(&proto.server_names, cx),
            transport_protocol: transport.map(Box::from).into_iter().collect(),
            application_protocols: (proto.application_protocols.iter())
                .map(|name| name.as_bytes().into())
                .collect(),
            direct_sources: ranges(
                &proto.direct_source_prefix_ranges,
                "direct_source_prefix_ranges",
                cx,
            ),
            source_type: proto.source_type(),
            sources: ranges(&proto.source_prefix_ranges, "source_prefix_ranges", cx),
            source_ports: proto.source_ports.iter().copied().map(port).collect(),
        }
    }
}

fn ranges(protos: &[CidrRangePb], field: &str, cx: &mut Cx<'_>) -> Vec<CidrRange> {
    let lowered = CidrRange::lower_all(protos, field, cx);
    lowered.unwrap_or_default().into_vec()
}

/// Names in lower case, `*.a` as `.a`.
fn server_names(names: &[String], cx: &mut Cx<'_>) -> Vec<Box<str>> {
    let mut lowered = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        lowered.extend(match name.strip_prefix('*') {
            Some(end) if end.starts_with('.') => Some(Box::from(end)),
            _ if name.contains('*') => {
                cx.index("server_names", i, |cx| {
                    cx.error("partial wildcards are not supported, only *. in front");
                });
                None
            }
            _ => Some(name.into_boxed_str()),
        });
    }
    lowered
}

/// Lowers what the chains of a listener match, in their order.
pub(super) fn lower(protos: &[pb::FilterChain], cx: &mut Cx<'_>) -> FilterChainIndex {
    let mut index = FilterChainIndex::default();
    let mut sources = Vec::with_capacity(protos.len());
    for (place, proto) in protos.iter().enumerate() {
        cx.index("filter_chains", place, |cx| {
            sources.push(cx.source());
            let default = pb::FilterChainMatch::default();
            let matching = proto.filter_chain_match.as_ref().unwrap_or(&default);
            let rule = cx.field("filter_chain_match", |cx| Rule::lower(matching, cx));
            match index.insert(place, &rule) {
                Ok(()) => {}
                Err(other) if other == place => cx.error_at(
                    "filter_chain_match",
                    "names something twice, which would match the same connections",
                ),
                Err(other) => cx.error(format!(
                    "matches connections that filter_chains[{other}] ({}) matches as well",
                    sources[other]
                )),
            }
        });
    }
    index
}

#[cfg(test)]
mod tests;
