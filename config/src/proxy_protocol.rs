//! Headers of PROXY protocol on connections to hosts
//! (`envoy.transport_sockets.upstream_proxy_protocol`), and what of the headers
//! of clients is passed on. Compiled types on top, lowering below.

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_config::Version as ProtoVersion;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use prost::Name;
pub use ringway_codecs::proxy_protocol::Version;

use crate::context::{Cx, type_name, unpack};

/// The header that each connection to a host begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// How it is written.
    pub version: Version,
    /// What it says besides addresses, in version 2; each host may say
    /// something else under the same type.
    pub added: Box<[Tlv]>,
    /// What it says, in version 2, of what the client's header has said.
    pub passed_on: TlvTypes,
}

/// A set of types (`core.v3.ProxyProtocolPassThroughTLVs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlvTypes([u64; 4]);

/// A type and a value (`core.v3.TlvEntry`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tlv {
    /// The type.
    pub kind: u8,
    /// The value.
    pub value: Box<[u8]>,
}

/// Where the typed metadata of a host has its own values.
const HOST_METADATA: &str = "envoy.transport_sockets.proxy_protocol";

/// Lowers the transport socket of a cluster, if it is one of these; with it comes
/// the one that carries what is behind the header.
pub(crate) fn lower(
    proto: Option<&pb::TransportSocket>,
    cx: &mut Cx<'_>,
) -> Option<(Box<ProxyProtocol>, Option<pb::TransportSocket>)> {
    let config = proto.and_then(|proto| proto.config_type.as_ref());
    let Some(ConfigType::TypedConfig(any)) = config else {
        return None;
    };
    if type_name(&any.type_url) != ProxyProtocolUpstreamTransport::full_name() {
        return None;
    }
    cx.field("transport_socket.typed_config", |cx| {
        let transport = unpack::<ProxyProtocolUpstreamTransport>(any, cx)?;
        let config = transport.config.unwrap_or_default();
        let lowered = cx.field("config", |cx| header(&config, cx));
        Some((Box::new(lowered), transport.transport_socket))
    })
}

/// Lowers what is said of a header.
pub(crate) fn header(config: &pb::ProxyProtocolConfig, cx: &mut Cx<'_>) -> ProxyProtocol {
    ProxyProtocol {
        version: match config.version() {
            ProtoVersion::V1 => Version::V1,
            ProtoVersion::V2 => Version::V2,
        },
        added: tlvs(&config.added_tlvs, Whose::Cluster, cx),
        passed_on: TlvTypes::lower(config.pass_through_tlvs.as_ref()),
    }
}

impl TlvTypes {
    /// The types that a message names; none without one.
    #[must_use]
    pub fn lower(proto: Option<&pb::ProxyProtocolPassThroughTlVs>) -> Self {
        let Some(proto) = proto else {
            return Self::default();
        };
        match proto.match_type() {
            PassTlVsMatchType::IncludeAll => Self([u64::MAX; 4]),
            PassTlVsMatchType::Include => {
                let mut types = Self::default();
                // The rules refuse larger ones.
                for kind in proto
                    .tlv_type
                    .iter()
                    .filter_map(|kind| u8::try_from(*kind).ok())
                {
                    types.0[usize::from(kind / 64)] |= 1 << (kind % 64);
                }
                types
            }
        }
    }

    /// Whether a type is among them.
    #[must_use]
    pub fn contains(&self, kind: u8) -> bool {
        self.0[usize::from(kind / 64)] & (1 << (kind % 64)) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// What a host says in the headers of connections to it, instead of what its
/// cluster says under the same types.
pub(crate) fn of_host(metadata: Option<&pb::Metadata>, cx: &mut Cx<'_>) -> Box<[Tlv]> {
    let typed = metadata.and_then(|metadata| metadata.typed_filter_metadata.get(HOST_METADATA));
    let Some(any) = typed else {
        return Box::default();
    };
    cx.field("metadata", |cx| {
        cx.entry("typed_filter_metadata", HOST_METADATA, |cx| {
            let config = unpack::<pb::PerHostConfig>(any, cx);
            config.map_or_else(Box::default, |config| {
                tlvs(&config.added_tlvs, Whose::Host, cx)
            })
        })
    })
}

fn tlvs(entries: &[pb::TlvEntry], of: Whose, cx: &mut Cx<'_>) -> Box<[Tlv]> {
    let all = entries.iter().enumerate().filter_map(|(i, entry)| {
        cx.index("added_tlvs", i, |cx| {
            let value: Box<[u8]> = match (&entry.format_string, of) {
                (Some(format), Whose::Cluster) if entry.value.is_empty() => {
                    let text = cx.field("format_string", |cx| plain_text(format, cx))?;
                    // As in Envoy there is no header of nothing.
                    Some(text).filter(|text| !text.is_empty())?
                }
                (Some(_), Whose::Cluster) => {
                    cx.error_at(
                        "format_string",
                        "given beside value; only one of them may be",
                    );
                    return None;
                }
                (None, _) if entry.value.is_empty() => {
                    cx.error("a value is needed here");
                    return None;
                }
                // Of a host's, Envoy does not evaluate format strings.
                (Some(_) | None, _) => entry.value.as_slice().into(),
            };
            // The rules refuse larger types.
            let kind = u8::try_from(entry.r#type).ok()?;
            Some(Tlv { kind, value })
        })
    });
    all.collect()
}

/// Who says something in headers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Cluster,
    Host,
}

/// A format string that says the same of every connection. In Envoy the operators
/// are about the connection to the host, of which next to nothing is known yet.
fn plain_text(proto: &pb::SubstitutionFormatString, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    let source = match &proto.format {
        Some(Format::TextFormatSource(source)) => source.specifier.as_ref(),
        _ => None,
    };
    let Some(Specifier::InlineString(text)) = source else {
        cx.error("not supported yet, but as an inline_string of a text_format_source");
        return None;
    };
    // Two of them stand for one.
    let without = text.replace("%%", "");
    if without.contains('%') {
        cx.error("operators are not supported yet");
        return None;
    }
    Some(text.replace("%%", "%").into_bytes().into())
}
