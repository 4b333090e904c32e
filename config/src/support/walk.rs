//! Compares what a message sets with the table.

use super::{Entry, Mark, Table};
use crate::context::type_name;
use crate::descriptors;
use crate::diagnostics::{Diagnostic, Diagnostics, Marks, Severity};
use crate::loader::{ANY, any_content, any_type_url};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// Reports every field of `message`, and of all below it, that the table does
/// not support.
pub(crate) fn check(
    table: &Table,
    message: &DynamicMessage,
    marks: &Marks,
    found: &mut Diagnostics,
) {
    let mut walker = Walker {
        table,
        marks,
        found,
        optional: false,
    };
    walker.message(message, "");
}

struct Walker<'a> {
    table: &'a Table,
    marks: &'a Marks,
    found: &'a mut Diagnostics,
    /// The message that is looked at, or the one that it names an extension
    /// for, says `is_optional`: an extension that is not there is left out.
    optional: bool,
}

const TYPED_EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";

/// An entry of `load_balancing_policy`.
const BALANCING_POLICY: &str = "envoy.config.cluster.v3.LoadBalancingPolicy.Policy";

const NOT_YET: &str = "not supported yet";

impl Walker<'_> {
    fn message(&mut self, message: &DynamicMessage, path: &str) {
        let descriptor = message.descriptor();
        // Protobuf's own types have no meaning but the one their user gives them.
        if descriptor.full_name().starts_with("google.protobuf.") {
            return;
        }
        let table = self.table;
        let entry = table.message(descriptor.full_name());
        let outer = self.optional;
        // This one is the part of another message that names its extension.
        if descriptor.full_name() != TYPED_EXTENSION {
            self.optional = message
                .get_field_by_name("is_optional")
                .is_some_and(|value| value.as_bool() == Some(true))
                // One of a list of which the first that is known holds.
                || descriptor.full_name() == BALANCING_POLICY;
        }
        let name = message
            .get_field_by_name("name")
            .and_then(|name| name.as_str().map(str::to_owned));
        for (field, value) in message.fields() {
            let path = match path {
                "" => field.name().to_owned(),
                _ => format!("{path}.{}", field.name()),
            };
            match entry.and_then(|entry| entry.mark(field.name())) {
                None => self.report(Severity::Error, &path, NOT_YET.into()),
                Some(Mark::Warn(reason)) => {
                    self.report(Severity::Warning, &path, format!("has no effect: {reason}"));
                }
                Some(Mark::Part(_)) => self.value(&field, value, &[], name.as_deref(), &path),
                Some(Mark::Ok(values)) => {
                    if entry.is_some_and(Entry::is_all) {
                        continue;
                    }
                    self.value(&field, value, values, name.as_deref(), &path);
                }
            }
        }
        self.optional = outer;
    }

    fn value(
        &mut self,
        field: &FieldDescriptor,
        value: &Value,
        allowed: &[String],
        name: Option<&str>,
        path: &str,
    ) {
        match value {
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.value(field, item, allowed, name, &format!("{path}[{i}]"));
                }
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_cached_key(|(key, _)| key_name(key));
                for (key, item) in entries {
                    let key = key_name(key);
                    let path = format!("{path}[{key:?}]");
                    self.value(field, item, allowed, Some(&key), &path);
                }
            }
            Value::Message(any) if any.descriptor().full_name() == ANY => {
                self.extension(any, name, path);
            }
            Value::Message(message) => match wrapped(message) {
                Some((field, value)) => self.value(&field, &value, allowed, name, path),
                None => self.message(message, path),
            },
            scalar if !allowed.is_empty() => {
                // A value without a name has been reported by the rules.
                let given = scalar_name(&field.kind(), scalar);
                if !given.is_empty() && !allowed.contains(&given) {
                    let reason = format!("{given} is {NOT_YET} (only {})", allowed.join(", "));
                    self.report(Severity::Error, path, reason);
                }
            }
            _ => {}
        }
    }

    /// An `Any`: its type must be in the table. `name` is what the
    /// configuration calls the extension.
    fn extension(&mut self, any: &DynamicMessage, name: Option<&str>, path: &str) {
        let type_url = any_type_url(any);
        let type_name = type_name(&type_url);
        if type_name.is_empty() || type_name.starts_with("google.protobuf.") {
            return;
        }
        if self.table.message(type_name).is_none() {
            let reason = match name {
                Some(name) if !name.is_empty() => {
                    format!("extension {name} ({type_name}) is {NOT_YET}")
                }
                _ => format!("extension {type_name} is {NOT_YET}"),
            };
            if self.optional {
                let reason = format!("{reason}; it is optional and left out");
                self.report(Severity::Warning, path, reason);
            } else {
                self.report(Severity::Error, path, reason);
            }
            return;
        }
        // What cannot be decoded has been reported by the rules.
        let descriptor = descriptors::pool().get_message_by_name(type_name);
        if let Some(Ok(content)) = descriptor.map(|d| any_content(any, d)) {
            self.message(&content, path);
        }
    }

    fn report(&mut self, severity: Severity, path: &str, reason: String) {
        self.found.push(Diagnostic {
            severity,
            file: self.marks.file(path).cloned(),
            position: self.marks.position(path),
            path: path.to_owned(),
            reason,
        });
    }
}

impl Entry {
    /// Whether the whole message is accepted, with all below it.
    fn is_all(&self) -> bool {
        matches!(self.fields.as_slice(), [(name, Mark::Ok(_))] if name == super::ALL)
    }
}

/// What a wrapper (`google.protobuf.BoolValue` and its like) holds.
fn wrapped(message: &DynamicMessage) -> Option<(FieldDescriptor, Value)> {
    let descriptor = message.descriptor();
    let name = descriptor.full_name().strip_prefix("google.protobuf.")?;
    // `Value` is no wrapper: it is JSON.
    let is_wrapper = name.ends_with("Value") && name != "Value" && name != "ListValue";
    let field = descriptor
        .get_field_by_name("value")
        .filter(|_| is_wrapper)?;
    let value = message.get_field(&field).into_owned();
    Some((field, value))
}

fn key_name(key: &MapKey) -> String {
    match key {
        MapKey::String(key) => key.clone(),
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
    }
}

/// A scalar as the table writes it: enum values by name. Empty for what a
/// table cannot list.
fn scalar_name(kind: &Kind, value: &Value) -> String {
    match (kind, value) {
        (Kind::Enum(of), Value::EnumNumber(number)) => of
            .get_value(*number)
            .map_or_else(String::new, |value| value.name().to_owned()),
        (_, Value::Bool(value)) => value.to_string(),
        (_, Value::I32(value)) => value.to_string(),
        (_, Value::I64(value)) => value.to_string(),
        (_, Value::U32(value)) => value.to_string(),
        (_, Value::U64(value)) => value.to_string(),
        (_, Value::String(value)) => value.clone(),
        _ => String::new(),
    }
}
