//! Values from paths and query strings: fields of a message, whose text is read
//! as JSON would have it.

use std::collections::HashSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::Untranslatable;
use super::template::{Named, Unescape, unescaped};

/// A field, by the fields that lead to it, and its value.
#[derive(Debug)]
pub(super) struct Binding {
    pub fields: Vec<FieldDescriptor>,
    pub value: String,
}

/// The parameters of a query string that are not ignored.
pub(super) fn of_query(query: &str, ignored: &HashSet<Box<str>>, plus: bool) -> Vec<Named> {
    let parameter = |text: &str| {
        let (name, value) = text.split_once('=')?;
        if name.is_empty() || ignored.contains(name) {
            return None;
        }
        let fields = name.split('.').map(str::to_owned).collect();
        Some((fields, unescaped(value, Unescape::All, plus)))
    };
    query.split('&').filter_map(parameter).collect()
}

/// The fields of these names, each of the message that the one before it is.
pub(super) fn resolve(
    message: &MessageDescriptor,
    names: &[String],
) -> Result<Vec<FieldDescriptor>, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut within = Some(message.clone());
    for name in names {
        let Some(message) = within else {
            let last = fields.last().map_or("", |field| field.name());
            return Err(format!(
                "Encountered a non-leaf field \"{last}\" that is not a message while parsing a \
                 field path"
            ));
        };
        let found = message.get_field_by_name(name);
        let found = found.or_else(|| message.get_field_by_json_name(name));
        let Some(field) = found else {
            let of = message.full_name();
            return Err(format!(
                "Could not find field \"{name}\" in the type \"{of}\"."
            ));
        };
        within = match field.kind() {
            Kind::Message(message) if !field.is_list() && !field.is_map() => Some(message),
            _ => None,
        };
        fields.push(field);
    }
    Ok(fields)
}

/// Puts values into the JSON of a message. What the message says itself stays,
/// but lists grow; of several values the last one counts.
///
/// # Errors
/// Where a message says something else, and that is `rejected`.
pub(super) fn apply(
    bindings: &[Binding],
    message: &mut Map<String, Value>,
    rejected: bool,
) -> Result<(), Untranslatable> {
    let mut bound = HashSet::new();
    for binding in bindings {
        let path: Vec<_> = binding.fields.iter().map(FieldDescriptor::number).collect();
        let is_ours = !bound.insert(path);
        binding.apply(message, is_ours, rejected)?;
    }
    Ok(())
}

impl Binding {
    fn apply(
        &self,
        message: &mut Map<String, Value>,
        replaces: bool,
        rejected: bool,
    ) -> Result<(), Untranslatable> {
        let Some((last, above)) = self.fields.split_last() else {
            return Ok(());
        };
        let mut within = message;
        for field in above {
            let key = key_of(within, field);
            let next = within
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
            if next.is_null() {
                *next = Value::Object(Map::new());
            }
            // What it is instead is found out when it is read.
            let Value::Object(next) = next else {
                return Ok(());
            };
            within = next;
        }
        let value = json_of(last, &self.value);
        let key = key_of(within, last);
        match within.get_mut(&key) {
            None | Some(Value::Null) => {
                let value = match last.is_list() {
                    true => Value::Array(vec![value]),
                    false => value,
                };
                within.insert(key, value);
            }
            Some(Value::Array(values)) if last.is_list() => values.push(value),
            Some(before) if replaces => *before = value,
            Some(before) if rejected && text_of(before) != text_of(&value) => {
                return Err(Untranslatable(format!(
                    "The binding value {value} of the field {} is conflicting with the value \
                     {before} in the body.",
                    last.name(),
                )));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// The name that a field has in this object, or is to have.
fn key_of(object: &Map<String, Value>, field: &FieldDescriptor) -> String {
    match object.contains_key(field.json_name()) {
        true => field.json_name().to_owned(),
        false => field.name().to_owned(),
    }
}

/// A value as JSON. What no number and no truth value can be said by stays text,
/// and is refused when it is read.
fn json_of(field: &FieldDescriptor, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match field.kind() {
        Kind::Bool => match text {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => as_text(),
        },
        Kind::Enum(_) => match text.parse::<i32>() {
            Ok(number) => Value::from(number),
            Err(_) => as_text(),
        },
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" if text == "true" => Value::Bool(true),
            "google.protobuf.BoolValue" if text == "false" => Value::Bool(false),
            _ => as_text(),
        },
        _ => as_text(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
