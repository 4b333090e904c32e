//! `envoy.config.core.v3.SubstitutionFormatString`: the format of a log line or
//! of the body of an answer.

use super::{Context, Formatter, JsonFormatter, JsonValue};
use envoy_types::pb::envoy::config::core::v3 as proto;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use proto::data_source::Specifier;
use proto::substitution_format_string::Format as Choice;
use ringway_config::context::Cx;

/// Envoy's default format.
const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
    %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// Formatter extensions whose operators are there without them: `Cel` and
/// `Metadata`.
const BUILT_IN: &[&str] = &[
    "envoy.extensions.formatter.cel.v3.Cel",
    "envoy.extensions.formatter.metadata.v3.Metadata",
];

/// A compiled format.
#[derive(Debug)]
pub enum Format {
    /// Text.
    Text(Formatter),
    /// A JSON object.
    Json(JsonFormatter),
}

impl Default for Format {
    fn default() -> Self {
        Format::Text(Formatter::parse(DEFAULT).expect("the default format is right"))
    }
}

impl Format {
    /// Appends what it says.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Text(formatter) => formatter.write(cx, out),
            Format::Json(formatter) => formatter.write(cx, out),
        }
    }

    /// Whether it tells how much was sent to the client.
    #[must_use]
    pub fn tells_sent_bytes(&self) -> bool {
        match self {
            Format::Text(formatter) => formatter.tells_sent_bytes(),
            Format::Json(formatter) => formatter.tells_sent_bytes(),
        }
    }

    /// Compiles the message, or reports why not.
    pub fn compile(message: &proto::SubstitutionFormatString, cx: &mut Cx<'_>) -> Option<Format> {
        for (place, formatter) in message.formatters.iter().enumerate() {
            let type_url = formatter.typed_config.as_ref().map(|any| &*any.type_url);
            let name = type_url.and_then(|url| url.rsplit('/').next());
            if !name.is_some_and(|name| BUILT_IN.contains(&name)) {
                let path = format!("formatters[{place}].typed_config");
                cx.error_at(&path, "this formatter extension is not supported yet");
                return None;
            }
        }
        let omit = message.omit_empty_values;
        #[expect(deprecated, reason = "Envoy still accepts text_format")]
        match &message.format {
            None => {
                cx.error("one of text_format_source and json_format is needed");
                None
            }
            Some(Choice::TextFormat(text)) => {
                cx.field("text_format", |cx| Format::text(text, omit, cx))
            }
            Some(Choice::JsonFormat(json)) => {
                cx.field("json_format", |cx| Format::json(json, omit, cx))
            }
            Some(Choice::TextFormatSource(source)) => cx.field("text_format_source", |cx| {
                let (field, text) = read(source, cx)?;
                cx.field(field, |cx| Format::text(&text, omit, cx))
            }),
        }
    }

    /// Compiles a text format, or reports why not.
    pub fn text(text: &str, omit_empty_values: bool, cx: &mut Cx<'_>) -> Option<Format> {
        match Formatter::parse(text) {
            Ok(formatter) => Some(Format::Text(formatter.omit_empty_values(omit_empty_values))),
            Err(error) => {
                cx.error(error.to_string());
                None
            }
        }
    }

    /// Compiles a JSON format, or reports why not.
    pub fn json(json: &Struct, omit_empty_values: bool, cx: &mut Cx<'_>) -> Option<Format> {
        match JsonFormatter::new(members(json), omit_empty_values) {
            Ok(formatter) => Some(Format::Json(formatter)),
            Err((path, error)) => {
                cx.error_at(&path, error.to_string());
                None
            }
        }
    }
}

/// The text of a source, and the field that it is in.
fn read(source: &proto::DataSource, cx: &mut Cx<'_>) -> Option<(&'static str, String)> {
    match &source.specifier {
        Some(Specifier::InlineString(text)) => Some(("inline_string", text.clone())),
        Some(Specifier::InlineBytes(bytes)) => match String::from_utf8(bytes.clone()) {
            Ok(text) => Some(("inline_bytes", text)),
            Err(_) => {
                cx.error_at("inline_bytes", "a format has to be UTF-8");
                None
            }
        },
        Some(Specifier::Filename(name)) => match std::fs::read_to_string(name) {
            Ok(text) => Some(("filename", text)),
            Err(error) => {
                cx.error_at("filename", format!("cannot read '{name}': {error}"));
                None
            }
        },
        Some(Specifier::EnvironmentVariable(name)) => match std::env::var(name) {
            Ok(text) => Some(("environment_variable", text)),
            Err(error) => {
                cx.error_at("environment_variable", format!("'{name}': {error}"));
                None
            }
        },
        None => {
            cx.error(
                "one of filename, inline_string, inline_bytes and environment_variable is needed",
            );
            None
        }
    }
}

fn members(json: &Struct) -> Vec<(String, JsonValue)> {
    json.fields
        .iter()
        .map(|(name, value)| (name.clone(), json_value(value)))
        .collect()
}

fn json_value(value: &Value) -> JsonValue {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => JsonValue::Null,
        Some(Kind::BoolValue(value)) => JsonValue::Bool(*value),
        Some(Kind::NumberValue(value)) => JsonValue::Number(*value),
        Some(Kind::StringValue(text)) => JsonValue::Format(text.clone()),
        Some(Kind::ListValue(list)) => {
            JsonValue::List(list.values.iter().map(json_value).collect())
        }
        Some(Kind::StructValue(json)) => JsonValue::Object(members(json)),
    }
}
