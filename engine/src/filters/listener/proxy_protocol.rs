//! `envoy.filters.listener.proxy_protocol`: connections that a proxy has opened
//! for a client begin with a header that names both ends of the client's own.
//! From here on the connection counts as that one.

use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_config::Version as ProtoVersion;
use envoy_types::pb::envoy::data::core::v3::TlvsMetadata;
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::proxy_protocol::TlvLocation;
use pb::proxy_protocol::key_value_pair::ValueStringEncoding;
use ringway_codecs::proxy_protocol::{Accepted, Header, Progress, Refusal, Tlvs, Version, decode};
use ringway_config::context::Cx;
use ringway_config::filter_state::{Fields, Object};
use ringway_config::metadata::{Struct, Value};
use ringway_config::proxy_protocol::{Tlv, TlvTypes};
use ringway_config::unpack;

use super::{Inspected, Peeked, Refused};
use crate::formatter::write_struct;
use crate::reactor::Stream;
use crate::stats::Store;
use crate::stats_struct;

stats_struct! {
    /// All connections that such filters of the process have refused.
    pub struct ErrorStats {
        counters: [downstream_cx_proxy_proto_error],
    }
}

stats_struct! {
    /// Connections without a header, under `proxy_proto.` and the filter's own
    /// prefix.
    pub struct ProxyProtocolStats {
        counters: [not_found_allowed, not_found_disallowed],
    }
}

stats_struct! {
    /// Headers of one version, below that under `versions.v1.` and `versions.v2.`.
    pub struct VersionStats {
        counters: [disallowed, error, found],
    }
}

/// Its configuration.
#[derive(Debug, Clone)]
pub struct Config {
    accepted: Accepted,
    /// What is kept of what headers say, each type once.
    rules: Box<[Rule]>,
    /// What may be told to hosts.
    passed_on: TlvTypes,
    /// Where rules put values.
    location: TlvLocation,
    stat_prefix: Box<str>,
}

/// Where a value goes.
#[derive(Debug, Clone)]
struct Rule {
    kind: u8,
    namespace: Box<str>,
    key: Box<str>,
    encoding: ValueStringEncoding,
}

/// A filter that counts.
pub struct ProxyProtocol {
    config: Config,
    errors: ErrorStats,
    stats: ProxyProtocolStats,
    v1: VersionStats,
    v2: VersionStats,
}

/// The namespace of metadata for rules that name none.
const NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

/// Where the filter state has values.
const FILTER_STATE_KEY: &str = "envoy.network.proxy_protocol.tlv";

impl Config {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::ProxyProtocol>(any, cx)?;
        let is_allowed = |version| !proto.disallowed_versions().any(|one| one == version);
        let accepted = Accepted {
            v1: is_allowed(ProtoVersion::V1),
            v2: is_allowed(ProtoVersion::V2),
            nothing: proto.allow_requests_without_proxy_protocol,
        };
        if !accepted.v1 && !accepted.v2 {
            cx.error_at(
                "disallowed_versions",
                "no version is left: no connection could have a header",
            );
        }
        // The last rule of a type is in force.
        let mut rules: Vec<Rule> = Vec::new();
        for rule in proto.rules.iter().map(Rule::lower) {
            rules.retain(|other| other.kind != rule.kind);
            rules.push(rule);
        }
        Some(Self {
            accepted,
            rules: rules.into(),
            passed_on: TlvTypes::lower(proto.pass_through_tlvs.as_ref()),
            location: proto.tlv_location(),
            stat_prefix: match proto.stat_prefix.as_str() {
                "" => Box::default(),
                prefix => format!("{prefix}.").into(),
            },
        })
    }
}

impl Rule {
    fn lower(proto: &pb::proxy_protocol::Rule) -> Self {
        let to = proto.on_tlv_present.clone().unwrap_or_default();
        Self {
            // The rules of the message refuse larger types.
            kind: proto.tlv_type as u8,
            namespace: match to.metadata_namespace.as_str() {
                "" => NAMESPACE.into(),
                namespace => namespace.into(),
            },
            key: to.key.as_str().into(),
            encoding: to.value_string_encoding(),
        }
    }

    fn value(&self, bytes: &[u8]) -> Value {
        match self.encoding {
            ValueStringEncoding::Base64 => Value::text(BASE64_STANDARD.encode(bytes).as_bytes()),
            ValueStringEncoding::Unspecified | ValueStringEncoding::SanitizedUtf8 => {
                Value::text(&sanitized(bytes))
            }
        }
    }
}

/// Text in which each byte that belongs to no character is replaced.
fn sanitized(bytes: &[u8]) -> Vec<u8> {
    const REPLACEMENT: u8 = b'!';
    let mut text = Vec::with_capacity(bytes.len());
    for part in bytes.utf8_chunks() {
        text.extend_from_slice(part.valid().as_bytes());
        text.resize(text.len() + part.invalid().len(), REPLACEMENT);
    }
    text
}

impl ProxyProtocol {
    /// Registers what it counts.
    #[must_use]
    pub fn new(config: Config, store: &Store) -> Self {
        let prefix = format!("proxy_proto.{}", config.stat_prefix);
        Self {
            errors: ErrorStats::new(store, ""),
            stats: ProxyProtocolStats::new(store, &prefix),
            v1: VersionStats::new(store, &format!("{prefix}versions.v1.")),
            v2: VersionStats::new(store, &format!("{prefix}versions.v2.")),
            config,
        }
    }

    fn of(&self, version: Version) -> &VersionStats {
        match version {
            Version::V1 => &self.v1,
            Version::V2 => &self.v2,
        }
    }

    /// Reads the header, if there is one, and takes it off.
    pub(super) async fn inspect(
        &self,
        stream: &Stream,
        inspected: &mut Inspected,
    ) -> Result<(), Refused> {
        let mut peeked = Peeked::new(stream);
        loop {
            peeked.more().await?;
            match decode(peeked.all(), self.config.accepted) {
                Progress::Incomplete => {}
                Progress::Complete(header) => {
                    self.of(header.version).found.inc();
                    self.config.note(&header, inspected);
                    let length = header.length;
                    peeked.take(length);
                    return Ok(());
                }
                Progress::NotFound => {
                    self.stats.not_found_allowed.inc();
                    return Ok(());
                }
                Progress::Refused(refusal) => {
                    self.count(refusal);
                    return Err(Refused::ByFilter);
                }
            }
        }
    }

    fn count(&self, refusal: Refusal) {
        match refusal {
            // There is nothing wrong with it.
            Refusal::Disallowed(version) => {
                self.of(version).found.inc();
                self.of(version).disallowed.inc();
            }
            Refusal::NoHeader => {
                self.stats.not_found_disallowed.inc();
                self.errors.downstream_cx_proxy_proto_error.inc();
            }
            Refusal::Broken(version) => {
                self.of(version).error.inc();
                self.errors.downstream_cx_proxy_proto_error.inc();
            }
        }
    }
}

impl Config {
    /// Notes what a header says.
    fn note(&self, header: &Header<'_>, inspected: &mut Inspected) {
        if let Some(endpoints) = header.endpoints {
            inspected.remote = Some(endpoints.source);
            inspected.local = Some(endpoints.destination);
        }
        match self.location {
            TlvLocation::DynamicMetadata => self.set_metadata(header.tlvs, inspected),
            TlvLocation::FilterState => self.set_filter_state(header.tlvs, inspected),
        }
        let passed_on = header
            .tlvs
            .filter(|(kind, _)| self.passed_on.contains(*kind));
        let passed_on: Rc<[Tlv]> = passed_on
            .map(|(kind, value)| Tlv {
                kind,
                value: value.into(),
            })
            .collect();
        inspected.tlvs = (!passed_on.is_empty()).then_some(passed_on);
    }

    fn with_rules<'h>(&self, tlvs: Tlvs<'h>) -> impl Iterator<Item = (&Rule, &'h [u8])> {
        tlvs.filter_map(|(kind, value)| {
            let rule = self.rules.iter().find(|rule| rule.kind == kind)?;
            Some((rule, value))
        })
    }

    /// The first value of a key stays as text, and the last one as bytes.
    fn set_metadata(&self, tlvs: Tlvs<'_>, inspected: &mut Inspected) {
        let mut typed: Vec<(Box<str>, TlvsMetadata)> = Vec::new();
        for (rule, bytes) in self.with_rules(tlvs) {
            let namespace = inspected.metadata.entry(&rule.namespace);
            if namespace.get(&rule.key).is_none() {
                namespace.set(&rule.key, rule.value(bytes));
            }
            let known = typed.iter().position(|(name, _)| *name == rule.namespace);
            let place = known.unwrap_or_else(|| {
                typed.push((rule.namespace.clone(), TlvsMetadata::default()));
                typed.len() - 1
            });
            let values = &mut typed[place].1.typed_metadata;
            values.insert(rule.key.to_string(), bytes.to_vec());
        }
        inspected.typed_metadata = (!typed.is_empty()).then(|| typed.into());
    }

    /// The last value of a key stays.
    fn set_filter_state(&self, tlvs: Tlvs<'_>, inspected: &mut Inspected) {
        let mut fields = Struct::default();
        for (rule, bytes) in self.with_rules(tlvs) {
            fields.set(&rule.key, rule.value(bytes));
        }
        if fields.iter().next().is_some() {
            let mut json = Vec::new();
            write_struct(&fields, &mut json);
            let object = Fields {
                json: json.into(),
                fields,
            };
            let state = &mut inspected.filter_state;
            state.set(FILTER_STATE_KEY, Object::Fields(Box::new(object)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_replaced_one_by_one() {
        for (bytes, text) in [
            (
                &b"a\xff\xfe\xe2\x82b\xe2\x82\xacc\0d"[..],
                "a!!!!b\u{20ac}c\0d",
            ),
            (b"", ""),
            (b"\xe2", "!"),
            (b"\xf0\x80\x80A", "!!!A"),
        ] {
            assert_eq!(String::from_utf8(sanitized(bytes)).as_deref(), Ok(text));
        }
    }
}
