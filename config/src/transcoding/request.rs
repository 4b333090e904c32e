//! JSON to the messages of a call.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::binding;
use super::{ArrayReader, Call, HTTP_BODY, Rule, Transcoder, Untranslatable};

impl Transcoder {
    /// The messages of a request with this body, each as it is sent.
    ///
    /// # Errors
    /// The body is not what the call takes.
    pub fn request(
        &self,
        call: &Call,
        content_type: &[u8],
        body: &[u8],
    ) -> Result<Vec<Vec<u8>>, Untranslatable> {
        let rule = &self.rules[call.rule];
        let one = |body| {
            self.message(call, rule, body)
                .map(|message| message.encode_to_vec())
        };
        if is_http_body(rule) {
            let content_type = String::from_utf8_lossy(content_type).into_owned();
            let mut carried = Map::new();
            carried.insert("contentType".into(), content_type.into());
            carried.insert("data".into(), BASE64_STANDARD.encode(body).into());
            let mut message = one(Value::Object(carried))?;
            call.unknown.append_to(&mut message, &rule.body);
            return Ok(vec![message]);
        }
        if !rule.method.is_client_streaming() {
            let json = match body.trim_ascii().is_empty() {
                true => Value::Null,
                false => read(body)?,
            };
            return Ok(vec![one(json)?]);
        }
        let (mut array, mut rest) = (ArrayReader::default(), body);
        let mut messages = Vec::new();
        while let Some(value) = array.next(&mut rest)? {
            messages.push(self.one_of(call, &value)?);
        }
        array.end()?;
        Ok(messages)
    }

    /// One of the messages of a request that has several, as it is sent.
    ///
    /// # Errors
    /// The value is not what the call takes.
    pub fn one_of(&self, call: &Call, value: &[u8]) -> Result<Vec<u8>, Untranslatable> {
        let message = self.message(call, &self.rules[call.rule], read(value)?)?;
        Ok(message.encode_to_vec())
    }

    fn message(
        &self,
        call: &Call,
        rule: &Rule,
        body: Value,
    ) -> Result<DynamicMessage, Untranslatable> {
        let input = rule.method.input();
        let message = placed(&rule.body, body)?;
        let Value::Object(mut message) = self.judged(Value::Object(message), &input)? else {
            return Ok(DynamicMessage::new(input));
        };
        binding::apply(&call.bindings, &mut message, self.rejects_collisions)?;
        let message = self.judged(Value::Object(message), &input)?;
        // As protobuf's own reader of requests, which skips what it does not know.
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        DynamicMessage::deserialize_with_options(input, message, &options)
            .map_err(|error| Untranslatable(error.to_string()))
    }

    /// The JSON of a message, with names as they should be, whose values fit.
    fn judged(
        &self,
        mut json: Value,
        message: &MessageDescriptor,
    ) -> Result<Value, Untranslatable> {
        if self.case_insensitive_enums {
            name_enums(&mut json, message);
        }
        checked(&json, message, "")?;
        Ok(json)
    }
}

/// Whether the body goes on as it is.
pub(super) fn is_http_body(rule: &Rule) -> bool {
    let carried = match rule.body.last().map(FieldDescriptor::kind) {
        None => Some(rule.method.input()),
        Some(Kind::Message(message)) => Some(message),
        Some(_) => None,
    };
    carried.is_some_and(|message| message.full_name() == HTTP_BODY)
}

fn read(body: &[u8]) -> Result<Value, Untranslatable> {
    serde_json::from_slice(body).map_err(|error| Untranslatable(error.to_string()))
}

/// The JSON of a message whose field is `body`; without fields it is the message
/// itself.
fn placed(fields: &[FieldDescriptor], body: Value) -> Result<Map<String, Value>, Untranslatable> {
    let mut value = body;
    for field in fields.iter().rev() {
        let mut around = Map::new();
        let is_message = matches!(field.kind(), Kind::Message(_)) && !field.is_list();
        if value.is_null() && is_message {
            value = Value::Object(Map::new());
        }
        if !value.is_null() {
            around.insert(field.name().to_owned(), value);
        }
        value = Value::Object(around);
    }
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(message) => Ok(message),
        _ => Err(Untranslatable(": Root element must be a message.".into())),
    }
}

/// Says which value is not of its field's type, in the words of protobuf's
/// reader. What it leaves is read by reflection, which says the rest.
fn checked(json: &Value, message: &MessageDescriptor, path: &str) -> Result<(), Untranslatable> {
    let Value::Object(object) = json else {
        return Ok(());
    };
    for (name, value) in object {
        let field = message.get_field_by_name(name);
        let Some(field) = field.or_else(|| message.get_field_by_json_name(name)) else {
            continue;
        };
        if field.is_map() {
            continue;
        }
        let path = match path {
            "" => field.name().to_owned(),
            path => format!("{path}.{}", field.name()),
        };
        let one = std::slice::from_ref(value);
        let values = value.as_array().filter(|_| field.is_list());
        for value in values.map_or(one, |values| &values[..]) {
            if let Kind::Message(message) = field.kind() {
                checked(value, &message, &path)?;
            } else if !value.is_null()
                && let Some(kind) = misfit(value, &field.kind())
            {
                let text = format!("{path}: invalid value {value} for type {kind}");
                return Err(Untranslatable(text));
            }
        }
    }
    Ok(())
}

/// The name of a type that a value is not of; `None` where it is, or where that
/// is found out later.
fn misfit(value: &Value, kind: &Kind) -> Option<String> {
    let text = value.as_str();
    let signed = || text.is_some_and(|text| text.parse::<i64>().is_err());
    let unsigned = || text.is_some_and(|text| text.parse::<u64>().is_err());
    let number = value.is_number();
    let (wrong, name) = match kind {
        Kind::Bool => (!value.is_boolean(), "TYPE_BOOL"),
        Kind::String => (text.is_none(), "TYPE_STRING"),
        Kind::Int32 => (signed() || !number && text.is_none(), "TYPE_INT32"),
        Kind::Int64 => (signed() || !number && text.is_none(), "TYPE_INT64"),
        Kind::Uint32 => (unsigned() || !number && text.is_none(), "TYPE_UINT32"),
        Kind::Uint64 => (unsigned() || !number && text.is_none(), "TYPE_UINT64"),
        Kind::Enum(names) => {
            let is_unknown = text.is_some_and(|text| names.get_value_by_name(text).is_none());
            let name = format!("type.googleapis.com/{}", names.full_name());
            return is_unknown.then_some(name);
        }
        _ => return None,
    };
    wrong.then(|| name.to_owned())
}

/// Gives values of enums the names that they have, where they are written in
/// another case.
fn name_enums(json: &mut Value, message: &MessageDescriptor) {
    let Value::Object(object) = json else {
        return;
    };
    for (name, value) in object.iter_mut() {
        let field = message.get_field_by_name(name);
        let Some(field) = field.or_else(|| message.get_field_by_json_name(name)) else {
            continue;
        };
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        let each: &mut dyn Iterator<Item = &mut Value> = match value {
            Value::Array(values) => &mut values.iter_mut(),
            Value::Object(values) if field.is_map() => &mut values.values_mut(),
            one => &mut std::iter::once(one),
        };
        for value in each {
            match &kind {
                Kind::Message(message) => name_enums(value, message),
                Kind::Enum(names) => {
                    if let Value::String(text) = value
                        && names.get_value_by_name(text).is_none()
                        && let Some(found) = names
                            .values()
                            .find(|one| one.name().eq_ignore_ascii_case(text))
                    {
                        *text = found.name().to_owned();
                    }
                }
                _ => {}
            }
        }
    }
}
