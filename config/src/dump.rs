//! Messages as JSON, for `/config_dump`.
//!
//! The proto3 JSON mapping with the names of the protos, as Envoy prints it.
//! Written here because the dump must show every configuration: a library
//! that gives up at the first `Any` of unknown type would show none. Such an
//! `Any` is printed with its bytes in base64.

use crate::context::type_name;
use crate::descriptors;
use crate::loader::{ANY, any_content, any_type_url, has_own_form, is_wrapper};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage, Value,
};
use serde_json::{Map, Number, Value as Json, json};
use std::sync::LazyLock;

/// The JSON form of a message. Fields that are not set are left out, and those that
/// the API calls sensitive do not say what is in them, as in Envoy.
pub fn to_json(message: &DynamicMessage) -> Json {
    print(message, false)
}

/// `udpa.annotations.sensitive`
fn is_sensitive(field: &FieldDescriptor) -> bool {
    static SENSITIVE: LazyLock<Option<ExtensionDescriptor>> =
        LazyLock::new(|| descriptors::pool().get_extension_by_name("udpa.annotations.sensitive"));
    let options = field.options();
    SENSITIVE
        .as_ref()
        .and_then(|extension| options.get_extension(extension).as_bool())
        .unwrap_or(false)
}

/// What a sensitive text says.
const REDACTED: &str = "[redacted]";

/// Prints a message; `hidden` says that it is in a sensitive field.
fn print(message: &DynamicMessage, hidden: bool) -> Json {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        ANY => any(message, hidden),
        "google.protobuf.Duration" => Json::String(duration(message)),
        "google.protobuf.Timestamp" => Json::String(timestamp(message)),
        "google.protobuf.Struct" | "google.protobuf.ListValue" => match first_field(message) {
            Some((kind, value)) => field(&kind, &value, hidden),
            None => Json::Null,
        },
        "google.protobuf.Value" => match message.fields().next() {
            // The number of NullValue is not shown.
            Some((field, _)) if field.number() == 1 => Json::Null,
            Some((chosen, value)) => field(&chosen.kind(), value, hidden),
            None => Json::Null,
        },
        name if is_wrapper(name) => match first_field(message) {
            Some((kind, value)) => field(&kind, &value, hidden),
            None => Json::Null,
        },
        _ => {
            let mut fields: Vec<_> = message.fields().collect();
            fields.sort_by_key(|(field, _)| field.number());
            let entries = fields.into_iter().map(|(of, value)| {
                let shown = field(&of.kind(), value, hidden || is_sensitive(&of));
                (of.name().to_owned(), shown)
            });
            Json::Object(entries.collect())
        }
    }
}

fn first_field(message: &DynamicMessage) -> Option<(Kind, Value)> {
    let field = message.descriptor().get_field(1)?;
    Some((field.kind(), message.get_field(&field).into_owned()))
}

fn field(kind: &Kind, value: &Value, hidden: bool) -> Json {
    match value {
        Value::String(_) if hidden => REDACTED.into(),
        Value::Bytes(_) if hidden => STANDARD.encode(REDACTED).into(),
        Value::List(items) => (items.iter())
            .map(|item| field(kind, item, hidden))
            .collect(),
        Value::Map(entries) => {
            let value_kind = match kind {
                Kind::Message(pair) => pair.map_entry_value_field().kind(),
                _ => return Json::Null,
            };
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (key_text(key), field(&value_kind, value, hidden)))
                .collect();
            // The map has no order; a dump that changes by itself helps nobody.
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries.into_iter().collect())
        }
        Value::Message(message) => print(message, hidden),
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => json!(value),
        Value::U32(value) => json!(value),
        // JSON readers keep only 53 bits of a number.
        Value::I64(value) => Json::String(value.to_string()),
        Value::U64(value) => Json::String(value.to_string()),
        Value::F32(value) => match value.to_string().parse() {
            // By way of text, so that 0.1 is not printed as 0.10000000149011612.
            Ok(value) => number(value),
            Err(_) => number(f64::from(*value)),
        },
        Value::F64(value) => number(*value),
        Value::String(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::String(STANDARD.encode(value)),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(of) => match of.get_value(*number) {
                Some(value) => Json::String(value.name().to_owned()),
                None => json!(number),
            },
            _ => json!(number),
        },
    }
}

/// A number, which is written without a fraction where it has none.
pub(crate) fn number(value: f64) -> Json {
    #[allow(clippy::cast_possible_truncation)] // Integral and below 2^53.
    if value.fract() == 0.0 && value.abs() < 9e15 && !(value == 0.0 && value.is_sign_negative()) {
        return json!(value as i64);
    }
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => json!("NaN"),
        None if value > 0.0 => json!("Infinity"),
        None => json!("-Infinity"),
    }
}

fn any(any: &DynamicMessage, hidden: bool) -> Json {
    let type_url = any_type_url(any);
    let mut entries = Map::new();
    if type_url.is_empty() {
        return Json::Object(entries);
    }
    let name = type_name(&type_url).to_owned();
    entries.insert("@type".into(), Json::String(type_url));
    let descriptor = descriptors::pool().get_message_by_name(&name);
    match descriptor.map(|descriptor| any_content(any, descriptor)) {
        Some(Ok(content)) if has_own_form(&name) => {
            entries.insert("value".into(), print(&content, hidden));
        }
        Some(Ok(content)) => {
            if let Json::Object(fields) = print(&content, hidden) {
                entries.extend(fields);
            }
        }
        Some(Err(_)) | None => {
            let bytes = any.get_field_by_number(2);
            let bytes = bytes.as_ref().and_then(|value| value.as_bytes());
            let text = bytes
                .map(|bytes| STANDARD.encode(bytes))
                .unwrap_or_default();
            entries.insert("value".into(), Json::String(text));
        }
    }
    Json::Object(entries)
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let seconds = message.get_field_by_number(1).and_then(|v| v.as_i64());
    let nanos = message.get_field_by_number(2).and_then(|v| v.as_i32());
    (seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Seconds with 0, 3, 6 or 9 decimals.
fn duration(message: &DynamicMessage) -> String {
    let (seconds, nanos) = seconds_and_nanos(message);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    let decimals = match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    };
    format!("{sign}{seconds}{decimals}s")
}

fn timestamp(message: &DynamicMessage) -> String {
    let (seconds, nanos) = seconds_and_nanos(message);
    prost_types::Timestamp { seconds, nanos }.to_string()
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(key) => key.clone(),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::google::protobuf::Any;
    use prost::Message;

    #[test]
    fn what_was_written_comes_back() {
        let written = json!({
            "node": {
                "id": "n",
                "metadata": {"b": true, "l": [1, 1.5, null, "s", {"x": {}}], "n": null},
            },
            "static_resources": {
                "clusters": [{
                    "name": "a",
                    "type": "STATIC",
                    "connect_timeout": "0.250s",
                    "per_connection_buffer_limit_bytes": 1024,
                    "metadata": {
                        "typed_filter_metadata": {
                            "k": {"@type": "t/google.protobuf.Duration", "value": "1.000001s"},
                            "z": {
                                "@type": "t/envoy.type.v3.Int64Range",
                                "start": "-9007199254740993",
                                "end": "1",
                            },
                        },
                    },
                }],
            },
            "stats_flush_interval": "5s",
        });
        let text = written.to_string();
        let loaded = crate::load(
            &text,
            "f",
            crate::Format::Json,
            &crate::LoadOptions::default(),
        );
        let loaded = loaded.unwrap_or_else(|found| panic!("{found}"));
        assert_eq!(to_json(&loaded.message), written);
    }

    #[test]
    fn what_is_sensitive_is_not_shown() {
        let written = |key: Json| {
            json!({ "static_resources": { "secrets": [{
                "name": "s",
                "tls_certificate": {
                    "certificate_chain": { "inline_string": "shown" },
                    "private_key": key,
                },
            }] } })
        };
        let load = |key: &Json| {
            let text = written(key.clone()).to_string();
            let options = crate::LoadOptions::default();
            let loaded = crate::load(&text, "f", crate::Format::Json, &options);
            loaded.unwrap_or_else(|found| panic!("{found}")).message
        };
        for (key, redacted) in [
            (
                json!({ "inline_string": "key" }),
                json!({ "inline_string": "[redacted]" }),
            ),
            (
                json!({ "inline_bytes": "a2V5" }),
                json!({ "inline_bytes": "W3JlZGFjdGVkXQ==" }),
            ),
        ] {
            let message = load(&key);
            assert_eq!(to_json(&message), written(redacted));
        }
    }

    #[test]
    fn an_any_that_nobody_knows_is_shown_with_its_bytes() {
        let dump = |type_url: &str, value: &[u8]| {
            let any = Any {
                type_url: type_url.into(),
                value: value.into(),
            };
            let descriptor = descriptors::pool().get_message_by_name(ANY);
            let descriptor = descriptor.expect("Any is there");
            let any = DynamicMessage::decode(descriptor, any.encode_to_vec().as_slice());
            to_json(&any.expect("a valid Any"))
        };
        assert_eq!(
            dump("t/no.Such", b"foo"),
            json!({"@type": "t/no.Such", "value": "Zm9v"})
        );
        let cut = "t/envoy.config.core.v3.Node";
        assert_eq!(dump(cut, b"\x0a"), json!({"@type": cut, "value": "Cg=="}));
        assert_eq!(dump("", b""), json!({}));
    }

    #[test]
    fn times() {
        let descriptor = descriptors::pool().get_message_by_name("google.protobuf.Timestamp");
        let time = prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5_000_000,
        };
        let bytes = time.encode_to_vec();
        let time = DynamicMessage::decode(descriptor.expect("it is there"), bytes.as_slice());
        assert_eq!(
            to_json(&time.expect("valid bytes")),
            "2023-11-14T22:13:20.005Z"
        );
    }
}
