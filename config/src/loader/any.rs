//! `google.protobuf.Any`: an object whose `@type` names the message it is.
//!
//! A `TypedStruct` is read as the message that its `type_url` names, when the
//! API has that message; from then on it cannot be told from an `Any` written
//! the ordinary way.

use super::{Loader, well_known, with_fields};
use crate::context::type_name;
use crate::descriptors;
use crate::diagnostics::Position;
use crate::tree::{Entry, Node, Scalar, Value as Tree, quoted};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

pub(crate) const NAME: &str = "google.protobuf.Any";

/// The type URL of an `Any`.
pub(crate) fn any_type_url(any: &DynamicMessage) -> String {
    any.get_field_by_number(1)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The message inside an `Any`.
pub(crate) fn any_content(
    any: &DynamicMessage,
    descriptor: MessageDescriptor,
) -> Result<DynamicMessage, prost::DecodeError> {
    let bytes = any
        .get_field_by_number(2)
        .and_then(|value| value.as_bytes().cloned())
        .unwrap_or_default();
    DynamicMessage::decode(descriptor, bytes)
}

impl Loader<'_> {
    pub(super) fn any(&mut self, descriptor: &MessageDescriptor, node: &Node) -> DynamicMessage {
        let empty = DynamicMessage::new(descriptor.clone());
        let Tree::Mapping(entries) = &node.value else {
            let reason = format!("expected an object with \"@type\", got {node}");
            self.wrong(node.position, reason);
            return empty;
        };
        let Some(entry) = node.get("@type") else {
            if !entries.is_empty() {
                self.wrong(node.position, "\"@type\" is missing".into());
            }
            return empty;
        };
        let Some((type_url, content)) = self.content_type("@type", entry) else {
            return empty;
        };
        let rest: Vec<Entry> = entries
            .iter()
            .filter(|e| e.key != "@type")
            .cloned()
            .collect();
        let packed = if descriptors::is_typed_struct(content.full_name()) {
            self.typed_struct(type_url, &content, &rest)
        } else {
            let message = self.content(&content, node.position, &rest);
            Some((type_url, message))
        };
        let Some((type_url, message)) = packed else {
            return empty;
        };
        let bytes = message.encode_to_vec();
        with_fields(
            descriptor,
            [
                (1, Value::String(type_url)),
                (2, Value::Bytes(bytes.into())),
            ],
        )
    }

    /// The type URL that `entry` holds and the message it names.
    fn content_type(&mut self, key: &str, entry: &Entry) -> Option<(String, MessageDescriptor)> {
        let Tree::Scalar(Scalar::Text(type_url)) = &entry.node.value else {
            let reason = format!("expected a type URL, got {}", entry.node);
            self.wrong_type(key, entry.node.position, reason);
            return None;
        };
        let name = type_name(type_url);
        let pool = descriptors::pool();
        if !type_url.contains('/') {
            let hint = match pool.get_message_by_name(name) {
                Some(_) => format!(", did you mean \"type.googleapis.com/{name}\"?"),
                None => String::new(),
            };
            let reason = format!("the type URL {} has no \"/\"{hint}", quoted(type_url));
            self.wrong_type(key, entry.node.position, reason);
            return None;
        }
        let Some(descriptor) = pool.get_message_by_name(name) else {
            let hint = match self.types.nearest(name, pool) {
                Some(near) => format!(", did you mean \"type.googleapis.com/{near}\"?"),
                None => String::new(),
            };
            let reason = format!("unknown type {}{hint}", quoted(type_url));
            self.wrong_type(key, entry.node.position, reason);
            return None;
        };
        Some((type_url.clone(), descriptor))
    }

    fn wrong_type(&mut self, key: &str, position: Position, reason: String) {
        self.fail();
        self.within(key, |l| l.wrong(position, reason));
    }

    /// The message inside, from the keys beside `@type`.
    fn content(
        &mut self,
        descriptor: &MessageDescriptor,
        position: Position,
        entries: &[Entry],
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        if !well_known::has_own_form(descriptor.full_name()) {
            self.fields(&mut message, entries);
            return message;
        }
        for entry in entries {
            if entry.key == "value" {
                message = self.message(descriptor, &entry.node);
                self.marks.set(&self.path, position);
            } else {
                self.unknown_field(descriptor, entry, entries);
            }
        }
        message
    }

    fn typed_struct(
        &mut self,
        type_url: String,
        descriptor: &MessageDescriptor,
        entries: &[Entry],
    ) -> Option<(String, DynamicMessage)> {
        let get = |names: [&str; 2]| entries.iter().find(|e| names.contains(&e.key.as_str()));
        for entry in entries {
            if !["type_url", "typeUrl", "value"].contains(&entry.key.as_str()) {
                self.unknown_field(descriptor, entry, entries);
            }
        }
        let Some(inner) = get(["type_url", "typeUrl"]) else {
            return Some((type_url, DynamicMessage::new(descriptor.clone())));
        };
        let (type_url, content) = self.content_type("type_url", inner)?;
        let message = match get(["value", "value"]) {
            Some(value) if !value.node.is_null() => match &value.node.value {
                Tree::Mapping(entries) => self.content(&content, value.node.position, entries),
                Tree::Scalar(_) | Tree::Sequence(_) => {
                    let reason = format!("expected an object, got {}", value.node);
                    self.wrong(value.node.position, reason);
                    return None;
                }
            },
            _ => DynamicMessage::new(content),
        };
        Some((type_url, message))
    }
}
