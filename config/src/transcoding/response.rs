//! Messages of a call to JSON.

use std::borrow::Cow;

use base64::Engine as _;
use envoy_types::pb::envoy::extensions::filters::http::grpc_json_transcoder::v3 as pb;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, SerializeOptions, Value};
use serde_json::Serializer;

use super::json::ProtobufFormatter;
use super::{Call, HTTP_BODY, Transcoder, Untranslatable};

/// How messages are written.
#[derive(Debug)]
pub(super) struct PrintOptions {
    options: SerializeOptions,
    whitespace: bool,
    framing: Framing,
}

/// What is around the messages of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// They are the elements of an array.
    Array,
    /// Each ends its line.
    Lines,
    /// Each is an event.
    Events,
}

/// What a response carries as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpBody {
    /// What it is.
    pub content_type: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl PrintOptions {
    pub fn new(proto: pb::grpc_json_transcoder::PrintOptions) -> Self {
        Self {
            options: SerializeOptions::new()
                .stringify_64_bit_integers(true)
                .use_enum_numbers(proto.always_print_enums_as_ints)
                .use_proto_field_name(proto.preserve_proto_field_names)
                .skip_default_fields(!proto.always_print_primitive_fields),
            whitespace: proto.add_whitespace,
            framing: if proto.stream_sse_style_delimited {
                Framing::Events
            } else if proto.stream_newline_delimited {
                Framing::Lines
            } else {
                Framing::Array
            },
        }
    }
}

impl Transcoder {
    /// What is around the messages of a stream.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.print.framing
    }

    /// Whether the response to a call is carried as it is.
    #[must_use]
    pub fn carries_body(&self, call: &Call) -> bool {
        let rule = &self.rules[call.rule];
        match rule.response_body.last().map(FieldDescriptor::kind) {
            None => rule.method.output().full_name() == HTTP_BODY,
            Some(Kind::Message(message)) => message.full_name() == HTTP_BODY,
            Some(_) => false,
        }
    }

    /// Appends a message of the response as JSON.
    ///
    /// # Errors
    /// It is not what the call says.
    pub fn response(
        &self,
        call: &Call,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Untranslatable> {
        let output = self.rules[call.rule].method.output();
        let message = DynamicMessage::decode(output, message)
            .map_err(|error| Untranslatable(error.to_string()))?;
        self.write(&message, out)
    }

    /// What a message of the response carries.
    ///
    /// # Errors
    /// It is not what the call says.
    pub fn carried(&self, call: &Call, message: &[u8]) -> Result<HttpBody, Untranslatable> {
        let rule = &self.rules[call.rule];
        let message = DynamicMessage::decode(rule.method.output(), message)
            .map_err(|error| Untranslatable(error.to_string()))?;
        let mut value = Value::Message(message);
        for field in &rule.response_body {
            let inner = value
                .as_message()
                .map(|message| message.get_field(field).into_owned());
            // A field of a message, as the rule was compiled.
            let Some(inner) = inner else {
                break;
            };
            value = inner;
        }
        let part = |name| {
            value
                .as_message()?
                .get_field_by_name(name)
                .map(Cow::into_owned)
        };
        let data = part("data").and_then(|data| data.as_bytes().map(|bytes| bytes.to_vec()));
        let content_type = part("content_type");
        Ok(HttpBody {
            content_type: content_type
                .and_then(|text| text.as_str().map(str::to_owned))
                .unwrap_or_default(),
            data: data.unwrap_or_default(),
        })
    }

    /// Appends the status of a call as JSON, made of its `details` or else of its
    /// number and text; false where statuses are not written.
    pub fn status(
        &self,
        code: u32,
        text: &[u8],
        details: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(descriptor) = &self.status else {
            return false;
        };
        let told = details.and_then(|details| {
            let end = details.iter().rposition(|byte| *byte != b'=');
            let text = &details[..end.map_or(0, |end| end + 1)];
            let bytes = base64::prelude::BASE64_STANDARD_NO_PAD.decode(text).ok()?;
            DynamicMessage::decode(descriptor.clone(), &bytes[..]).ok()
        });
        let status = told.unwrap_or_else(|| {
            let mut made = DynamicMessage::new(descriptor.clone());
            made.set_field_by_name("code", Value::I32(code as i32));
            let text = String::from_utf8_lossy(text).into_owned();
            made.set_field_by_name("message", Value::String(text));
            made
        });
        let start = out.len();
        let written = self.write(&status, out);
        if written.is_err() {
            out.truncate(start);
        }
        written.is_ok()
    }

    fn write(&self, message: &DynamicMessage, out: &mut Vec<u8>) -> Result<(), Untranslatable> {
        let formatter = ProtobufFormatter::new(self.print.whitespace);
        let mut serializer = Serializer::with_formatter(&mut *out, formatter);
        message
            .serialize_with_options(&mut serializer, &self.print.options)
            .map_err(|error| Untranslatable(error.to_string()))?;
        if self.print.whitespace {
            out.push(b'\n');
        }
        Ok(())
    }
}
