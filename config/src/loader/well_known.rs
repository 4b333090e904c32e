//! The messages that protobuf's JSON mapping writes in a form of their own.

use super::{Loader, any, scalar, with_fields};
use crate::tree::{Node, Scalar, Value as Tree};
use prost::Message;
use prost_reflect::prost_types::Timestamp;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

/// Whether messages of this type are written in a form of their own, so that
/// an `Any` holds them under the key `value`.
pub(crate) fn has_own_form(name: &str) -> bool {
    is_wrapper(name)
        || matches!(
            name,
            "google.protobuf.Any"
                | "google.protobuf.Duration"
                | "google.protobuf.ListValue"
                | "google.protobuf.Struct"
                | "google.protobuf.Timestamp"
                | "google.protobuf.Value"
        )
}

/// Whether this is a scalar in a message, such as `google.protobuf.UInt32Value`.
pub(crate) fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "google.protobuf.BoolValue"
            | "google.protobuf.BytesValue"
            | "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int32Value"
            | "google.protobuf.Int64Value"
            | "google.protobuf.StringValue"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.UInt64Value"
    )
}

impl Loader<'_> {
    /// The message, when the node is written in the type's own form. Objects
    /// are left to the ordinary reader, which is how `{seconds: 1}` works.
    pub(super) fn well_known(
        &mut self,
        descriptor: &MessageDescriptor,
        node: &Node,
    ) -> Option<DynamicMessage> {
        let name = descriptor.full_name();
        if !name.starts_with("google.protobuf.") {
            return None;
        }
        match (name, &node.value) {
            (any::NAME, _) => Some(self.any(descriptor, node)),
            ("google.protobuf.Value", _) => Some(self.dynamic_value(descriptor, node)),
            ("google.protobuf.Struct" | "google.protobuf.ListValue", _) => {
                let mut message = DynamicMessage::new(descriptor.clone());
                let field = descriptor.get_field(1)?;
                if let Some(value) = self.field(&field, node) {
                    message.set_field(&field, value);
                }
                Some(message)
            }
            ("google.protobuf.Duration", Tree::Scalar(scalar)) => {
                Some(self.duration(descriptor, node, scalar))
            }
            ("google.protobuf.Timestamp", Tree::Scalar(scalar)) => {
                Some(self.timestamp(descriptor, node, scalar))
            }
            (name, Tree::Scalar(_)) if is_wrapper(name) => {
                let kind = descriptor.get_field(1)?.kind();
                Some(match scalar::value(&kind, node) {
                    Ok(value) => with_fields(descriptor, [(1, value)]),
                    Err(wrong) => {
                        self.wrong(node.position, wrong.reason());
                        DynamicMessage::new(descriptor.clone())
                    }
                })
            }
            _ => None,
        }
    }

    fn duration(
        &mut self,
        descriptor: &MessageDescriptor,
        node: &Node,
        scalar: &Scalar,
    ) -> DynamicMessage {
        let parsed = match scalar {
            Scalar::Text(text) => parse_duration(text),
            Scalar::Null | Scalar::Bool(..) | Scalar::Number { .. } => None,
        };
        if let Some((seconds, nanos)) = parsed {
            let fields = [(1, Value::I64(seconds)), (2, Value::I32(nanos))];
            return with_fields(descriptor, fields);
        }
        let reason = format!("expected a duration in seconds such as \"0.25s\", got {node}");
        self.wrong(node.position, reason);
        DynamicMessage::new(descriptor.clone())
    }

    fn timestamp(
        &mut self,
        descriptor: &MessageDescriptor,
        node: &Node,
        scalar: &Scalar,
    ) -> DynamicMessage {
        let parsed = match scalar {
            Scalar::Text(text) => text.parse::<Timestamp>().ok(),
            Scalar::Null | Scalar::Bool(..) | Scalar::Number { .. } => None,
        };
        if let Some(time) = parsed {
            let bytes = time.encode_to_vec();
            if let Ok(message) = DynamicMessage::decode(descriptor.clone(), bytes.as_slice()) {
                return message;
            }
        }
        let reason = format!("expected a time such as \"2026-01-31T12:00:00Z\", got {node}");
        self.wrong(node.position, reason);
        DynamicMessage::new(descriptor.clone())
    }

    /// A `google.protobuf.Value`: whatever is written.
    fn dynamic_value(&mut self, descriptor: &MessageDescriptor, node: &Node) -> DynamicMessage {
        let field = |number: u32| match descriptor.get_field(number).map(|f| f.kind()) {
            Some(Kind::Message(message)) => Some(message),
            _ => None,
        };
        let nested = match &node.value {
            Tree::Mapping(_) => field(5).map(|message| (5, message)),
            Tree::Sequence(_) => field(6).map(|message| (6, message)),
            Tree::Scalar(_) => None,
        };
        if let Some((number, message)) = nested {
            let value = Value::Message(self.message(&message, node));
            return with_fields(descriptor, [(number, value)]);
        }
        let value = match &node.value {
            Tree::Scalar(Scalar::Bool(value, _)) => (4, Value::Bool(*value)),
            Tree::Scalar(Scalar::Number { text, .. }) => match text.parse() {
                Ok(number) => (2, Value::F64(number)),
                Err(_) => (3, Value::String(text.clone())),
            },
            Tree::Scalar(Scalar::Text(text)) => (3, Value::String(text.clone())),
            _ => (1, Value::EnumNumber(0)),
        };
        with_fields(descriptor, [value])
    }
}

/// Seconds and nanoseconds, both with the sign of the whole: decimal seconds
/// with at most nine decimals and the letter `s`.
fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, decimals) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 9 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let seconds: i64 = whole.parse().ok().filter(|s| *s <= DURATION_SECONDS_MAX)?;
    let nanos: i32 = format!("{decimals:0<9}").parse().ok()?;
    Some((sign * seconds, i32::try_from(sign).ok()? * nanos))
}

/// Protobuf's limit of a duration: about 10,000 years.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, parsed) in [
            ("1s", Some((1, 0))),
            ("0.25s", Some((0, 250_000_000))),
            ("-1.5s", Some((-1, -500_000_000))),
            ("1.000000001s", Some((1, 1))),
            ("315576000000s", Some((315_576_000_000, 0))),
            ("315576000001s", None),
            ("1.0000000001s", None),
            ("1.s", None),
            (".5s", None),
            ("1", None),
            ("1ms", None),
            ("s", None),
            ("1 s", None),
            ("+1s", None),
            ("--1s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse_duration(text), parsed, "{text}");
        }
    }
}
