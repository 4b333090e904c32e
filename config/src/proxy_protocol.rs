//! Headers of PROXY protocol on connections to hosts
//! (`envoy.transport_sockets.upstream_proxy_protocol`), and what of the headers
//! of clients is passed on. Compiled types on top, lowering below.

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_config::Version as ProtoVersion;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use prost::Name;
pub use ringway_codecs::proxy_protocol::Version;

use crate::context::{Cx, type_name, unpack};

/// The header that each connection to a host begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyProtocol {
    /// How it is written.
    pub version: Version,
    /// What it says besides addresses, in version 2; each host may say
    /// something else under the same type.
    pub added: Box<[AddedTlv]>,
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

/// A type and what its value is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedTlv {
    /// The type.
    pub kind: u8,
    /// The value.
    pub value: AddedValue,
}

/// What a value is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum AddedValue {
    /// It is the same in every header.
    Fixed(Box<[u8]>),
    /// A format string, still to be compiled by the engine, and where the configuration
    /// has it.
    Format(Box<pb::SubstitutionFormatString>, Box<str>),
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
        added: added(&config.added_tlvs, cx),
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
            config.map_or_else(Box::default, |config| fixed(&config.added_tlvs, cx))
        })
    })
}

fn added(entries: &[pb::TlvEntry], cx: &mut Cx<'_>) -> Box<[AddedTlv]> {
    let all = entries.iter().enumerate();
    let all = all.filter_map(|(i, entry)| {
        cx.index("added_tlvs", i, |cx| {
            let value = match &entry.format_string {
                Some(format) if entry.value.is_empty() => {
                    let path = format!("{}.format_string", cx.path());
                    AddedValue::Format(Box::new(format.clone()), path.into())
                }
                Some(_) => {
                    cx.error_at(
                        "format_string",
                        "given beside value; only one of them may be",
                    );
                    return None;
                }
                None => AddedValue::Fixed(value(entry, cx)?),
            };
            Some(AddedTlv {
                kind: kind(entry)?,
                value,
            })
        })
    });
    let mut all: Box<[AddedTlv]> = all.collect();
    // As in Envoy those that are made for each connection come last.
    all.sort_by_key(|one| matches!(one.value, AddedValue::Format(..)));
    all
}

/// Those of a host, of which Envoy evaluates no format strings.
fn fixed(entries: &[pb::TlvEntry], cx: &mut Cx<'_>) -> Box<[Tlv]> {
    let all = entries.iter().enumerate().filter_map(|(i, entry)| {
        cx.index("added_tlvs", i, |cx| {
            let value = match entry.format_string {
                Some(_) => entry.value.as_slice().into(),
                None => value(entry, cx)?,
            };
            Some(Tlv {
                kind: kind(entry)?,
                value,
            })
        })
    });
    all.collect()
}

fn value(entry: &pb::TlvEntry, cx: &mut Cx<'_>) -> Option<Box<[u8]>> {
    if entry.value.is_empty() {
        cx.error("a value is needed here");
        return None;
    }
    Some(entry.value.as_slice().into())
}

/// The rules refuse larger ones.
fn kind(entry: &pb::TlvEntry) -> Option<u8> {
    u8::try_from(entry.r#type).ok()
}
