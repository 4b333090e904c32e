//! The document tree to a protobuf message, by reflection.
//!
//! The mapping is the proto3 JSON mapping as Envoy's parser reads it, which
//! is somewhat wider than the standard: durations may be written as objects,
//! enum values in any case, numbers as text.
//!
//! A mistake never ends the walk. The value that could not be read is left
//! out (or stands empty, in a list), and its path goes into [`Loaded::failed`]
//! so that later phases do not complain that it is missing.

mod any;
mod base64;
mod scalar;
mod well_known;

pub(crate) use any::{NAME as ANY, any_content, any_type_url};
pub(crate) use well_known::{has_own_form, is_wrapper};

use crate::diagnostics::{Diagnostic, Diagnostics, Marks, Position, Severity};
use crate::suggest;
use crate::tree::{Entry, Node, Value as Tree};
pub use base64::decode as decode_base64;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// What came of a document.
pub(crate) struct Loaded {
    pub message: DynamicMessage,
    pub marks: Marks,
    /// Paths at which something was written that could not be read.
    pub failed: HashSet<String>,
}

/// Reads the tree as a message of type `descriptor`.
pub(crate) fn load(
    root: &Node,
    descriptor: &MessageDescriptor,
    file: &Arc<str>,
    allow_unknown: bool,
    found: &mut Diagnostics,
) -> Loaded {
    let mut loader = Loader {
        file,
        found,
        marks: Marks::new(file.clone()),
        failed: HashSet::new(),
        path: String::new(),
        outer: Vec::new(),
        types: suggest::Types::default(),
        unknown: if allow_unknown {
            Severity::Warning
        } else {
            Severity::Error
        },
    };
    let message = loader.message(descriptor, root);
    Loaded {
        message,
        marks: loader.marks,
        failed: loader.failed,
    }
}

struct Loader<'a> {
    file: &'a Arc<str>,
    found: &'a mut Diagnostics,
    marks: Marks,
    failed: HashSet<String>,
    path: String,
    /// The messages that the one in hand is part of, the innermost last.
    outer: Vec<MessageDescriptor>,
    types: suggest::Types,
    /// How grave a field or enum value is that the API does not have.
    unknown: Severity,
}

impl Loader<'_> {
    /// Always gives a message: an empty one, marked as failed, when the node
    /// cannot be one.
    fn message(&mut self, descriptor: &MessageDescriptor, node: &Node) -> DynamicMessage {
        self.marks.set(&self.path, node.position);
        if let Some(message) = self.well_known(descriptor, node) {
            return message;
        }
        let mut message = DynamicMessage::new(descriptor.clone());
        match &node.value {
            Tree::Mapping(entries) => self.fields(&mut message, entries),
            Tree::Scalar(_) | Tree::Sequence(_) => {
                let name = descriptor.full_name();
                self.wrong(
                    node.position,
                    format!("expected an object ({name}), got {node}"),
                );
            }
        }
        message
    }

    fn fields(&mut self, message: &mut DynamicMessage, entries: &[Entry]) {
        let descriptor = message.descriptor();
        let mut written: HashMap<u32, &str> = HashMap::new();
        let mut chosen: HashMap<String, &str> = HashMap::new();
        for entry in entries {
            let key = entry.key.as_str();
            let Some(field) = field_of(&descriptor, key) else {
                self.unknown_field(&descriptor, entry, entries);
                continue;
            };
            if let Some(before) = written.insert(field.number(), key) {
                let reason = format!("the field is already given as \"{before}\"");
                self.within(key, |l| l.wrong(entry.key_position, reason));
                continue;
            }
            if entry.node.is_null() && !takes_null(&field) {
                continue;
            }
            if let Some(oneof) = field.containing_oneof()
                && let Some(before) = chosen.insert(oneof.name().to_owned(), key)
            {
                let reason = format!(
                    "\"{before}\" is already given, and only one of the oneof {} may be",
                    oneof.name()
                );
                self.within(key, |l| l.wrong(entry.key_position, reason));
                continue;
            }
            let name = field.name().to_owned();
            self.outer.push(descriptor.clone());
            let value = self.within(&name, |l| l.field(&field, &entry.node));
            self.outer.pop();
            if let Some(value) = value {
                message.set_field(&field, value);
            }
        }
    }

    fn unknown_field(&mut self, of: &MessageDescriptor, entry: &Entry, beside: &[Entry]) {
        let key = entry.key.as_str();
        let mut reason = format!("{} has no such field", of.full_name());
        let deeper = fields_with(of, key);
        let names = of.fields().map(|f| f.name().to_owned());
        if key == "<<" {
            reason.push_str(": merge keys of YAML are not followed, by Envoy neither");
        } else if let Some(first) = deeper.first() {
            let list: Vec<_> = deeper.iter().map(|name| format!("\"{name}\"")).collect();
            let _ = write!(
                reason,
                "; \"{key}\" is a field of {}",
                list.join(" and of ")
            );
            // What was meant to be in it is not missing.
            if !beside.iter().any(|other| other.key == *first) {
                self.within(first, Loader::fail);
            }
        } else if let Some(here) = self.is_field_above(key) {
            let _ = write!(reason, "; \"{key}\" is a field beside \"{here}\"");
        } else if let Some(near) = suggest::nearest(key, names) {
            let _ = write!(reason, ", did you mean \"{near}\"?");
            self.within(&near, Loader::fail);
        }
        let severity = self.unknown;
        self.within(key, |l| {
            l.report(severity, entry.key_position, reason);
        });
    }

    /// The name of the message in hand within the one that it is part of, if
    /// that has the field `key`.
    fn is_field_above(&self, key: &str) -> Option<String> {
        let outer = self.outer.last()?;
        field_of(outer, key)?;
        let segment = self.path.rsplit('.').next()?;
        let name = segment.split('[').next()?;
        Some(name.to_owned())
    }

    fn field(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        if field.is_map() {
            self.map(field, node)
        } else if field.is_list() {
            self.list(field, node)
        } else {
            self.singular(&field.kind(), node)
        }
    }

    fn list(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        self.marks.set(&self.path, node.position);
        let kind = field.kind();
        let Tree::Sequence(items) = &node.value else {
            let reason = format!("expected a list of {}, got {node}", kind_name(&kind));
            self.wrong(node.position, reason);
            return None;
        };
        let mut values = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let length = self.path.len();
            let _ = write!(self.path, "[{i}]");
            let value = self.singular(&kind, item);
            self.path.truncate(length);
            // An unreadable item keeps its place, so that the paths of the
            // items after it stay right.
            values.push(value.unwrap_or_else(|| Value::default_value(&kind)));
        }
        Some(Value::List(values))
    }

    fn map(&mut self, field: &FieldDescriptor, node: &Node) -> Option<Value> {
        self.marks.set(&self.path, node.position);
        let Kind::Message(pair) = field.kind() else {
            return None;
        };
        let Tree::Mapping(entries) = &node.value else {
            self.wrong(node.position, format!("expected an object, got {node}"));
            return None;
        };
        let key_kind = pair.map_entry_key_field().kind();
        let value_kind = pair.map_entry_value_field().kind();
        let mut values = HashMap::with_capacity(entries.len());
        for entry in entries {
            let length = self.path.len();
            let _ = write!(self.path, "[{:?}]", entry.key);
            match scalar::map_key(&key_kind, &entry.key) {
                Some(key) => {
                    if let Some(value) = self.singular(&value_kind, &entry.node) {
                        values.insert(key, value);
                    }
                }
                None => {
                    let reason = format!("the key must be {}", kind_name(&key_kind));
                    self.wrong(entry.key_position, reason);
                }
            }
            self.path.truncate(length);
        }
        Some(Value::Map(values))
    }

    fn singular(&mut self, kind: &Kind, node: &Node) -> Option<Value> {
        if let Kind::Message(descriptor) = kind {
            return Some(Value::Message(self.message(descriptor, node)));
        }
        self.marks.set(&self.path, node.position);
        match scalar::value(kind, node) {
            Ok(value) => Some(value),
            Err(scalar::Wrong::UnknownEnumValue(reason)) if self.unknown == Severity::Warning => {
                self.report(Severity::Warning, node.position, reason);
                None
            }
            Err(wrong) => {
                self.wrong(node.position, wrong.reason());
                None
            }
        }
    }

    /// Runs `f` one field deeper.
    fn within<T>(&mut self, name: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Reports that what is written here cannot be read.
    fn wrong(&mut self, position: Position, reason: String) {
        self.fail();
        self.report(Severity::Error, position, reason);
    }

    fn fail(&mut self) {
        self.failed.insert(self.path.clone());
    }

    fn report(&mut self, severity: Severity, position: Position, reason: String) {
        self.found.push(Diagnostic {
            severity,
            file: Some(self.file.clone()),
            position: Some(position),
            path: self.path.clone(),
            reason,
        });
    }
}

/// The field that a key names, in either spelling.
fn field_of(message: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_name(key)
        .or_else(|| message.get_field_by_json_name(key))
}

/// Fields of a message that a hint names: more are no hint.
const FIELDS_NAMED_MAX: usize = 3;

/// The fields of `message` that are messages with a field `key`; none if there
/// are many.
fn fields_with(message: &MessageDescriptor, key: &str) -> Vec<String> {
    let has_it = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(inner) if !field.is_map() => {
            !inner.full_name().starts_with("google.protobuf.") && field_of(&inner, key).is_some()
        }
        _ => false,
    };
    let found = message.fields().filter(has_it);
    let found: Vec<_> = found.map(|field| field.name().to_owned()).collect();
    match found.len() {
        0..=FIELDS_NAMED_MAX => found,
        _ => Vec::new(),
    }
}

/// Whether null is a value of this field and not the absence of one.
fn takes_null(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(m) if m.full_name() == "google.protobuf.Value")
        && !field.is_list()
        && !field.is_map()
}

/// The kind as it is called in messages to people.
fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => format!("a value of {}", of.full_name()),
        Kind::String => "a string".into(),
        Kind::Bool => "true or false".into(),
        Kind::Bytes => "bytes in base64".into(),
        Kind::Float | Kind::Double => "a number".into(),
        Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => {
            "a non-negative integer".into()
        }
        Kind::Int32
        | Kind::Sint32
        | Kind::Sfixed32
        | Kind::Int64
        | Kind::Sint64
        | Kind::Sfixed64 => "an integer".into(),
    }
}

/// A message with some of its fields set, by number.
fn with_fields<const N: usize>(
    descriptor: &MessageDescriptor,
    fields: [(u32, Value); N],
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (number, value) in fields {
        message.set_field_by_number(number, value);
    }
    message
}
