//! The operator of filter state: `%FILTER_STATE(KEY:PLAIN)%`.

use super::command::Command;
use super::metadata::write_text;
use super::operator::{Operator, length_max};
use super::value::Written;
use crate::stream_info::StreamInfo;
use ringway_config::filter_state::Object;
use std::io::Write as _;

/// An object of the filter state.
#[derive(Debug)]
pub(super) struct FilterStateValue {
    key: Box<str>,
    form: Form,
    length_max: usize,
}

/// How an object of the filter state is written.
#[derive(Debug, PartialEq)]
enum Form {
    /// As the JSON of a message.
    Typed,
    /// As the text that it is.
    Plain,
    /// One of its fields.
    Field(Box<str>),
}

impl FilterStateValue {
    /// Compiles `KEY`, `KEY:PLAIN`, `KEY:TYPED` or `KEY:FIELD:NAME`.
    pub fn compile(command: &Command<'_>) -> Result<Operator, String> {
        const WITH_FIELD: &str =
            "Invalid filter state serialize type, FIELD should be used with the field name.";
        let mut parts = command.arguments.split(':');
        let key = parts.next().unwrap_or_default();
        if key.is_empty() {
            return Err("Invalid filter state configuration, key cannot be empty.".into());
        }
        let (form, field) = (parts.next().unwrap_or_default(), parts.next());
        let field = field.filter(|field| !field.is_empty());
        let form = match (form, field) {
            ("FIELD", Some(field)) => Form::Field(field.into()),
            ("FIELD", None) => return Err(WITH_FIELD.into()),
            ("PLAIN" | "TYPED" | "", Some(_)) => return Err(WITH_FIELD.into()),
            ("PLAIN", None) => Form::Plain,
            ("TYPED" | "", None) => Form::Typed,
            _ => {
                return Err(
                    "Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.".into(),
                );
            }
        };
        Ok(Operator::FilterState(FilterStateValue {
            key: key.into(),
            form,
            length_max: length_max(command),
        }))
    }

    /// Appends the object for a text.
    pub fn write(&self, info: &StreamInfo, out: &mut Vec<u8>) -> Written {
        let start = out.len();
        let Some(object) = info.filter_state().get(&self.key) else {
            return Written::Nothing;
        };
        let written = match (&self.form, object) {
            (Form::Field(name), object) => match object.field(name) {
                Some(field) => {
                    field.write(out);
                    Written::Untrusted
                }
                None => Written::Nothing,
            },
            (_, Object::Fields(fields)) => {
                out.extend_from_slice(&fields.json);
                Written::Safe
            }
            (Form::Plain, object) => match object.write(out) {
                true => Written::Untrusted,
                false => Written::Nothing,
            },
            (
                Form::Typed,
                Object::Decision {
                    check_result,
                    status_code,
                },
            ) => {
                decision(check_result, *status_code, out);
                Written::Safe
            }
            (Form::Typed, object) => match message(object, out) {
                true => Written::Safe,
                false => Written::Nothing,
            },
        };
        out.truncate(start.saturating_add(self.length_max).min(out.len()));
        written
    }

    /// Appends the object as JSON; false when there is none.
    pub fn write_json(&self, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        let Some(object) = info.filter_state().get(&self.key) else {
            return false;
        };
        if self.form == Form::Typed {
            return message(object, out);
        }
        let mut text = Vec::new();
        let is_there = match &self.form {
            Form::Field(name) => {
                let field = object.field(name);
                field.inspect(|field| field.write(&mut text)).is_some()
            }
            Form::Typed | Form::Plain => object.write(&mut text),
        };
        if is_there {
            write_text(&text[..text.len().min(self.length_max)], out);
        }
        is_there
    }
}

/// Appends the JSON of the message that an object is; false where it is none.
fn message(object: &Object, out: &mut Vec<u8>) -> bool {
    // Writing to a Vec cannot fail.
    let _ = match object {
        Object::Text(text) | Object::HashableText(text) => {
            write_text(text, out);
            Ok(())
        }
        Object::Fields(fields) => out.write_all(&fields.json),
        Object::Message(json) => out.write_all(json),
        Object::GrpcMessages { request, response } => write!(
            out,
            "{{\"requestMessageCount\":\"{request}\",\"responseMessageCount\":\"{response}\"}}"
        ),
        Object::Bool(value) => write!(out, "{value}"),
        Object::U32(value) => write!(out, "{value}"),
        // As JSON of proto3 has numbers of 64 bits.
        Object::U64(value) => write!(out, "\"{value}\""),
        // Among JSON the names of fields are as in the message's definition.
        Object::Decision { .. } => {
            object.write(out);
            Ok(())
        }
        Object::Ip(_)
        | Object::Address(_)
        | Object::Cluster(_)
        | Object::ServerName(_)
        | Object::SubjectAltNames(_)
        | Object::ApplicationProtocols(_) => return false,
    };
    true
}

/// Appends a decision as the JSON of its message.
fn decision(check_result: &str, status_code: i32, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{{\"checkResult\":\"{check_result}\"");
    let _ = match status_code {
        0 => out.write_all(b"}"),
        status => write!(out, ",\"statusCode\":{status}}}"),
    };
}
