//! Headers and cookies to metadata (`envoy.filters.http.header_to_metadata`).
//!
//! A rule looks at one header or cookie and sets one value, a different one
//! where it is missing.

use envoy_types::pb::envoy::extensions::filters::http::header_to_metadata::v3 as pb;
use envoy_types::pb::google::protobuf::{self, Any};
use pb::config::{ValueEncode, ValueType};
use prost::Message as _;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::{Cx, unpack};
use ringway_config::metadata::{Metadata, Value};
use ringway_config::route::Substitution;

use super::{Flow, HttpFilter, StreamContext};
use crate::stats::{Counter, Store};
use crate::stats_struct;

/// Values that are at least so long are left out, as in Envoy.
const VALUE_BYTES_END: usize = 8 * 1024;

/// The namespace of rules that name none.
const NAMESPACE: &str = "envoy.filters.http.header_to_metadata";

stats_struct! {
    /// `http_filter_name.<stat_prefix>.*`, for filters that have a prefix.
    pub struct HeaderToMetadataStats {
        counters: [
            base64_decode_failed,
            header_value_too_long,
            regex_substitution_failed,
            request_header_not_found,
            request_metadata_added,
            request_rules_processed,
            response_header_not_found,
            response_metadata_added,
            response_rules_processed,
        ],
    }
}

/// The compiled filter.
pub struct HeaderToMetadata {
    request: Box<[Rule]>,
    response: Box<[Rule]>,
    stat_prefix: Box<str>,
    stats: Option<HeaderToMetadataStats>,
}

struct Rule {
    source: Source,
    present: Option<KeyValue>,
    missing: Option<KeyValue>,
}

enum Source {
    Header { name: Box<[u8]>, remove: bool },
    Cookie(Box<[u8]>),
}

struct KeyValue {
    namespace: Box<str>,
    key: Box<str>,
    value: Given,
    kind: ValueType,
    base64: bool,
}

/// What a value is made of.
enum Given {
    Constant(Box<[u8]>),
    Rewritten(Substitution),
    AsIs,
}

/// Why no value came out.
enum Failure {
    Base64,
    TooLong,
    Substitution,
    Other,
}

impl HeaderToMetadata {
    /// Compiles `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::Config>(any, cx)?;
        let request = rules(&proto.request_rules, "request_rules", cx);
        let response = rules(&proto.response_rules, "response_rules", cx);
        Some(Self {
            request: request?,
            response: response?,
            stat_prefix: proto.stat_prefix.as_str().into(),
            stats: None,
        })
    }
}

impl HttpFilter for HeaderToMetadata {
    fn name(&self) -> &'static str {
        "envoy.filters.http.header_to_metadata"
    }

    fn register(&mut self, store: &Store, _prefix: &str) {
        if !self.stat_prefix.is_empty() {
            let prefix = format!("http_filter_name.{}.", self.stat_prefix);
            self.stats = Some(HeaderToMetadataStats::new(store, &prefix));
        }
    }

    /// Envoy can do this, unlike with most filters.
    fn compile_override(&mut self, _config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        cx.error("rules for a part of the routes are not supported yet");
        None
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let exchange = &mut *stream.exchange;
        for rule in &self.request {
            let outcome = rule.apply(&mut exchange.request, || exchange.info.metadata_mut());
            self.count(&outcome, |stats| {
                [
                    stats.request_rules_processed,
                    stats.request_metadata_added,
                    stats.request_header_not_found,
                ]
            });
        }
        Flow::Continue
    }

    fn response_headers(&self, stream: &mut StreamContext<'_>) {
        let exchange = &mut *stream.exchange;
        for rule in &self.response {
            let outcome = rule.apply(&mut exchange.response, || exchange.info.metadata_mut());
            self.count(&outcome, |stats| {
                [
                    stats.response_rules_processed,
                    stats.response_metadata_added,
                    stats.response_header_not_found,
                ]
            });
        }
    }
}

impl HeaderToMetadata {
    fn count(
        &self,
        outcome: &Outcome,
        of_side: impl FnOnce(&HeaderToMetadataStats) -> [Counter; 3],
    ) {
        let Some(stats) = &self.stats else {
            return;
        };
        let [processed, added, not_found] = of_side(stats);
        processed.inc();
        if outcome.missing {
            not_found.inc();
        }
        match outcome.result {
            None | Some(Err(Failure::Other)) => {}
            Some(Ok(())) => added.inc(),
            Some(Err(Failure::Base64)) => stats.base64_decode_failed.inc(),
            Some(Err(Failure::TooLong)) => stats.header_value_too_long.inc(),
            Some(Err(Failure::Substitution)) => stats.regex_substitution_failed.inc(),
        }
    }
}

/// What a rule did.
struct Outcome {
    /// The value for missing headers was used.
    missing: bool,
    /// `None` when the rule has nothing to say.
    result: Option<Result<(), Failure>>,
}

impl Rule {
    fn apply<'a>(
        &self,
        headers: &mut HeaderMap,
        metadata: impl FnOnce() -> &'a mut Metadata,
    ) -> Outcome {
        let found = self.source.take(headers);
        let missing = found.is_none() && self.missing.is_some();
        let pair = match found {
            Some(_) => &self.present,
            None => &self.missing,
        };
        let result = pair.as_ref().map(|pair| {
            let value = pair.value(found.unwrap_or_default())?;
            metadata().entry(&pair.namespace).set(&pair.key, value);
            Ok(())
        });
        Outcome { missing, result }
    }

    fn compile(proto: &pb::config::Rule, cx: &mut Cx<'_>) -> Option<Self> {
        let source = match (proto.header.as_str(), proto.cookie.as_str()) {
            ("", "") => {
                cx.error("one of header and cookie is needed");
                None
            }
            (header, "") => Some(Source::Header {
                name: header.to_ascii_lowercase().into_bytes().into(),
                remove: proto.remove,
            }),
            ("", _) if proto.remove => {
                cx.error_at("remove", "a cookie cannot be removed");
                None
            }
            ("", cookie) => Some(Source::Cookie(cookie.as_bytes().into())),
            _ => {
                cx.error_at("cookie", "only one of header and cookie may be set");
                None
            }
        };
        if proto.on_header_present.is_none() && proto.on_header_missing.is_none() {
            cx.error("one of on_header_present and on_header_missing is needed");
            return None;
        }
        let mut pair = |proto: Option<&pb::config::KeyValuePair>, field: &str| match proto {
            None => Some(None),
            Some(proto) => cx.field(field, |cx| KeyValue::compile(proto, cx)).map(Some),
        };
        let present = pair(proto.on_header_present.as_ref(), "on_header_present");
        let missing = pair(proto.on_header_missing.as_ref(), "on_header_missing");
        if let Some(Some(missing)) = &missing
            && !matches!(missing.value, Given::Constant(_))
        {
            cx.error_at("on_header_missing.value", "is required");
            return None;
        }
        Some(Self {
            source: source?,
            present: present?,
            missing: missing?,
        })
    }
}

impl Source {
    /// The value; several lines of a header are joined by commas.
    fn take(&self, headers: &mut HeaderMap) -> Option<Vec<u8>> {
        match self {
            Source::Header { name, remove } => {
                let lines: Vec<&[u8]> = headers.get_all_name(name).collect();
                if lines.is_empty() {
                    return None;
                }
                let value = lines.join(&b',');
                if *remove {
                    headers.remove_name(name);
                }
                Some(value)
            }
            Source::Cookie(name) => cookie(headers, name).filter(|value| !value.is_empty()),
        }
    }
}

/// The value of the first cookie of this name, without quotes around it.
fn cookie(headers: &HeaderMap, name: &[u8]) -> Option<Vec<u8>> {
    let pairs = headers
        .get_all(HeaderId::Cookie)
        .flat_map(|line| line.split(|byte| *byte == b';'));
    for pair in pairs {
        let Some(equals) = memchr::memchr(b'=', pair) else {
            continue;
        };
        if pair[..equals].trim_ascii() == name {
            let value = pair[equals + 1..].trim_ascii();
            let bare = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""));
            return Some(bare.unwrap_or(value).to_vec());
        }
    }
    None
}

impl KeyValue {
    fn compile(proto: &pb::config::KeyValuePair, cx: &mut Cx<'_>) -> Option<Self> {
        let value = match (proto.value.as_str(), &proto.regex_value_rewrite) {
            ("", None) => Given::AsIs,
            ("", Some(rewrite)) => Given::Rewritten(
                cx.field("regex_value_rewrite", |cx| Substitution::lower(rewrite, cx))?,
            ),
            (value, None) => Given::Constant(value.as_bytes().into()),
            (_, Some(_)) => {
                cx.error_at(
                    "regex_value_rewrite",
                    "only one of value and regex_value_rewrite may be set",
                );
                return None;
            }
        };
        Some(Self {
            namespace: match proto.metadata_namespace.as_str() {
                "" => NAMESPACE.into(),
                namespace => namespace.into(),
            },
            key: proto.key.as_str().into(),
            value,
            kind: proto.r#type(),
            base64: proto.encode() == ValueEncode::Base64,
        })
    }

    fn value(&self, found: Vec<u8>) -> Result<Value, Failure> {
        let text = match &self.value {
            Given::Constant(value) => value.to_vec(),
            Given::AsIs => found,
            Given::Rewritten(substitution) => {
                let mut rewritten = Vec::new();
                substitution.write(&found, &mut rewritten);
                if rewritten.is_empty() && !found.is_empty() {
                    return Err(Failure::Substitution);
                }
                rewritten
            }
        };
        if text.is_empty() {
            return Err(Failure::Other);
        }
        if text.len() >= VALUE_BYTES_END {
            return Err(Failure::TooLong);
        }
        let text = if self.base64 {
            base64(&text).ok_or(Failure::Base64)?
        } else {
            text
        };
        match self.kind {
            ValueType::String => Ok(Value::text(&text)),
            ValueType::Number => std::str::from_utf8(text.trim_ascii())
                .ok()
                .and_then(number)
                .map(Value::Number)
                .ok_or(Failure::Other),
            ValueType::ProtobufValue => protobuf::Value::decode(text.as_slice())
                .ok()
                .and_then(|value| Value::from_proto(&value))
                .ok_or(Failure::Other),
        }
    }
}

/// A number as C reads one: decimal, or whole and hexadecimal.
fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16)
                .ok()
                .map(|number| sign * number as f64)
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// The standard alphabet only; an empty result is a failure, as in Envoy.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(['-', '_']) {
        return None;
    }
    ringway_config::decode_base64(text).filter(|bytes| !bytes.is_empty())
}

fn rules(protos: &[pb::config::Rule], field: &str, cx: &mut Cx<'_>) -> Option<Box<[Rule]>> {
    let rules: Vec<_> = protos
        .iter()
        .enumerate()
        .map(|(i, rule)| cx.index(field, i, |cx| Rule::compile(rule, cx)))
        .collect();
    rules.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("12.50", Some(12.5)),
            ("+1e3", Some(1000.0)),
            ("-0x10", Some(-16.0)),
            ("0XfF", Some(255.0)),
            ("0x", None),
            ("0x+1", None),
            ("0x1g", None),
            ("12x", None),
            ("1 2", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn cookies() {
        let mut headers = HeaderMap::new();
        headers.append(HeaderId::Cookie, b"a=1; bare; b=\"two\" ;c=;d==x");
        headers.append(HeaderId::Cookie, b"e=\"; a=2");
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("two")),
            ("c", Some("")),
            ("d", Some("=x")),
            ("e", Some("\"")),
            ("bare", None),
            ("A", None),
        ] {
            let found = cookie(&headers, name.as_bytes());
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{name}");
        }
    }
}
