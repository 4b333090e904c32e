//! Clusters whose hosts are wherever each request says that it wants to go
//! (`type: ORIGINAL_DST`). Compiled type on top, lowering below.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{LbConfig, OriginalDstLbConfig};
use ringway_codecs::header::HeaderMap;

use crate::context::Cx;
use crate::core;
use crate::filter_state::{FilterState, Object};
use crate::metadata::Metadata;
use crate::metadata_path::MetadataPath;
use crate::route::HeaderKey;

/// The object of the filter state that says where a request goes, whatever
/// else does. Its factory has the same name.
pub const FILTER_STATE_KEY: &str = "envoy.network.transport_socket.original_dst_address";

/// How a cluster learns where a request goes.
#[derive(Debug, PartialEq)]
pub struct OriginalDst {
    /// The header that says it.
    header: Option<HeaderKey>,
    /// Where in the request's dynamic metadata it is said.
    metadata: Option<MetadataPath>,
    /// Takes the place of the port.
    port: Option<u16>,
    /// How often hosts that nobody uses are let go.
    pub cleanup_interval: Duration,
}

/// Where a request says that it wants to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// There; `None` when nothing says where.
    pub address: Option<SocketAddr>,
    /// How often what was said was no address.
    pub invalid: u8,
}

impl OriginalDst {
    /// Where a request goes: where the filter state says, or the metadata, or
    /// the header, or else where its connection was led away from.
    pub fn destination(
        &self,
        headers: &HeaderMap,
        metadata: &Metadata,
        state: &FilterState,
        connection: Option<SocketAddr>,
    ) -> Destination {
        let mut invalid = 0;
        let mut parse = |text: &[u8]| {
            let address = parse_address(text);
            invalid += u8::from(address.is_none());
            address
        };
        let address = match state.get(FILTER_STATE_KEY) {
            Some(Object::Address(address)) => Some(*address),
            _ => None,
        };
        let of_metadata = || self.metadata.as_ref()?.text(metadata);
        let of_header = || self.header.as_ref()?.first(headers);
        let address = address
            .or_else(|| of_metadata().and_then(&mut parse))
            .or_else(|| of_header().and_then(&mut parse))
            .or(connection);
        Destination {
            address: address.map(|address| match self.port {
                Some(port) => SocketAddr::new(address.ip(), port),
                None => address,
            }),
            invalid,
        }
    }

    /// What may say where requests go, in the order in which it is asked; for
    /// people.
    pub fn sources(&self) -> Vec<String> {
        let mut sources = vec![format!("the filter state {FILTER_STATE_KEY}")];
        sources.extend(self.metadata.as_ref().map(of_metadata));
        sources.extend(self.header.as_ref().map(of_header));
        sources.push("where the client connected to, if it was led away from there".into());
        sources
    }

    /// The port that all hosts have, if it does not matter what requests say.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// A header that says where a request goes; for people.
pub(crate) fn of_header(header: &HeaderKey) -> String {
    format!("the header {}", String::from_utf8_lossy(header.name()))
}

/// The same of metadata.
pub(crate) fn of_metadata(path: &MetadataPath) -> String {
    format!("the metadata {path}")
}

/// An address with its port, as Envoy reads it: `1.2.3.4:80`, `[::1]:80`. The
/// port may have a sign and leading zeros.
pub(crate) fn parse_address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once("]:")?;
            (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (ip, port) = text.rsplit_once(':')?;
            (IpAddr::V4(ip.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// Lowers what a cluster of this type says about where requests go.
pub(crate) fn lower(proto: &pb::Cluster, cx: &mut Cx<'_>) -> OriginalDst {
    if proto.load_assignment.is_some() {
        cx.error_at(
            "load_assignment",
            "an ORIGINAL_DST cluster has no hosts of its own: requests say where they go",
        );
    }
    let none = OriginalDstLbConfig::default();
    let given = match &proto.lb_config {
        Some(LbConfig::OriginalDstLbConfig(given)) => given,
        _ => &none,
    };
    let cleanup_interval = core::duration(proto.cleanup_interval, "cleanup_interval", cx);
    if !given.use_http_header && !given.http_header_name.is_empty() {
        cx.error_at(
            "original_dst_lb_config.http_header_name",
            "has no effect without use_http_header; set that to true, too",
        );
    }
    OriginalDst {
        header: given.use_http_header.then(|| {
            HeaderKey::new(match given.http_header_name.as_str() {
                "" => HEADER,
                name => name,
            })
        }),
        metadata: given.metadata_key.as_ref().map(MetadataPath::lower),
        // The rules refuse numbers that are none of a port.
        port: (given.upstream_port_override).and_then(|port| u16::try_from(port.value).ok()),
        cleanup_interval: cleanup_interval.unwrap_or(CLEANUP_INTERVAL),
    }
}

/// Warns of what only clusters of this type use.
pub(crate) fn warn_of_unused(proto: &pb::Cluster, cx: &mut Cx<'_>) {
    let is_config = matches!(proto.lb_config, Some(LbConfig::OriginalDstLbConfig(_)));
    for (set, name) in [
        (is_config, "original_dst_lb_config"),
        (proto.cleanup_interval.is_some(), "cleanup_interval"),
    ] {
        if set {
            cx.warn_at(name, "has no effect: only an ORIGINAL_DST cluster uses it");
        }
    }
}

/// Envoy's default.
const HEADER: &str = "x-envoy-original-dst-host";

const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Struct, Value};

    fn destination(of: &OriginalDst, header: &str, metadata: &str, state: &str) -> Destination {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.append_name(b"x-to", header.as_bytes());
        }
        let mut said = Metadata::default();
        if !metadata.is_empty() {
            let mut inner = Struct::default();
            inner.set("b", Value::text(metadata.as_bytes()));
            said.entry("n").set("a", Value::Struct(inner));
        }
        let mut objects = FilterState::default();
        if !state.is_empty() {
            let address = state.parse().expect("an address");
            objects.set(FILTER_STATE_KEY, Object::Address(address));
        }
        of.destination(&headers, &said, &objects, None)
    }

    #[test]
    fn who_says_where_a_request_goes() {
        let mut of = OriginalDst {
            header: Some(HeaderKey::new("X-To")),
            metadata: Some(MetadataPath::new("n", &["a", "b"])),
            port: None,
            cleanup_interval: CLEANUP_INTERVAL,
        };
        for (header, metadata, state, address, invalid) in [
            ("", "", "", None, 0),
            ("1.1.1.1:1", "", "", Some("1.1.1.1:1"), 0),
            ("1.1.1.1:1", "2.2.2.2:2", "", Some("2.2.2.2:2"), 0),
            ("1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3", Some("3.3.3.3:3"), 0),
            ("1.1.1.1:1", "there", "", Some("1.1.1.1:1"), 1),
            ("here", "there", "", None, 2),
        ] {
            let address = address.map(|address| address.parse().expect("an address"));
            let expected = Destination { address, invalid };
            let found = destination(&of, header, metadata, state);
            assert_eq!(found, expected, "{header} {metadata} {state}");
        }
        of.port = Some(9);
        let found = destination(&of, "1.1.1.1:1", "", "");
        assert_eq!(found.address, "1.1.1.1:9".parse().ok());
        of.header = None;
        let found = destination(&of, "1.1.1.1:1", "", "");
        assert_eq!(found, Destination::default());
    }

    #[test]
    fn addresses_as_envoy_reads_them() {
        for (text, parsed) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("127.0.0.1:080", Some("127.0.0.1:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("", None),
            (":", None),
            ("127.0.0.1", None),
            ("127.0.0.1:", None),
            ("127.0.0.1:65536", None),
            ("127.0.0.1:-1", None),
            ("127.1:80", None),
            ("127.0.0.01:80", None),
            ("a.test:80", None),
            ("::1:80", None),
            ("[127.0.0.1]:80", None),
            ("[::1]", None),
            ("[::1]80", None),
            ("\u{7f}", None),
        ] {
            let expected = parsed.map(|parsed| parsed.parse().expect("an address"));
            assert_eq!(parse_address(text.as_bytes()), expected, "{text}");
            for end in 0..text.len() {
                // Whatever a prefix is, it is no panic.
                let _ = parse_address(&text.as_bytes()[..end]);
            }
        }
        assert_eq!(parse_address(b"\xff:80"), None);
    }
}
