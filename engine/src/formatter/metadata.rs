//! Operators of metadata: `%DYNAMIC_METADATA(NS:KEY)%`, `%METADATA(ROUTE:NS:KEY)%`,
//! `%COALESCE(…)%`; what else is made of structs.
//!
//! In a text a string is written as it is and everything else as JSON. In JSON
//! a value keeps its type.

use super::Context;
use super::command::Command;
use super::escape;
use super::operator::{Operator, length_max, required};
use super::value::Written;
use crate::stream_info::StreamInfo;
use ringway_config::metadata::{Found, Metadata, Struct, Value};
use std::io::Write as _;

/// A value of some metadata.
#[derive(Debug)]
pub(super) struct MetadataValue {
    of: Owner,
    namespace: Box<str>,
    path: Box<[Box<str>]>,
    length_max: usize,
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Request,
    Route,
    VirtualHost,
    Cluster,
    UpstreamHost,
    Listener,
    FilterChain,
}

impl MetadataValue {
    /// Compiles `NS:KEY:KEY`.
    pub fn compile(of: Owner, command: &Command<'_>) -> Result<Operator, String> {
        let arguments = required(command)?;
        Ok(Self::operator(of, arguments, command))
    }

    /// Compiles `OWNER:NS:KEY:KEY`.
    pub fn compile_any(command: &Command<'_>) -> Result<Operator, String> {
        let (owner, rest) = command
            .arguments
            .split_once(':')
            .unwrap_or((command.arguments, ""));
        let of = match owner {
            "DYNAMIC" => Owner::Request,
            "ROUTE" => Owner::Route,
            "VIRTUAL_HOST" => Owner::VirtualHost,
            "CLUSTER" => Owner::Cluster,
            "UPSTREAM_HOST" => Owner::UpstreamHost,
            "LISTENER" => Owner::Listener,
            "LISTENER_FILTER_CHAIN" => Owner::FilterChain,
            other => return Err(format!("{other} is not supported type of metadata")),
        };
        Ok(Self::operator(of, rest, command))
    }

    fn operator(of: Owner, arguments: &str, command: &Command<'_>) -> Operator {
        let mut parts = arguments.split(':');
        Operator::Metadata(MetadataValue {
            of,
            namespace: parts.next().unwrap_or_default().into(),
            path: parts.map(Into::into).collect(),
            length_max: length_max(command),
        })
    }

    /// Appends the value for a text.
    pub fn write(&self, info: &StreamInfo, out: &mut Vec<u8>) -> Written {
        let start = out.len();
        let written = match self.find(info) {
            None | Some(Found::Value(Value::Null)) => return Written::Nothing,
            Some(Found::Value(Value::Text(text))) => {
                out.extend_from_slice(text);
                Written::Untrusted
            }
            Some(found) => {
                write_found(found, out);
                Written::Safe
            }
        };
        out.truncate(start.saturating_add(self.length_max).min(out.len()));
        written
    }

    /// Appends the value as JSON; false when there is none.
    pub fn write_json(&self, info: &StreamInfo, out: &mut Vec<u8>) -> bool {
        match self.find(info) {
            None | Some(Found::Value(Value::Null)) => false,
            Some(Found::Value(Value::Text(text))) => {
                write_text(&text[..text.len().min(self.length_max)], out);
                true
            }
            Some(found) => {
                write_found(found, out);
                true
            }
        }
    }

    fn find<'a>(&self, info: &'a StreamInfo) -> Option<Found<'a>> {
        let metadata: &Metadata = match self.of {
            Owner::Request => info.metadata(),
            Owner::Route => &info.route_metadata.as_ref()?.0.route,
            Owner::VirtualHost => &info.route_metadata.as_ref()?.0.virtual_host,
            Owner::Cluster => &info.cluster.as_ref()?.metadata,
            Owner::UpstreamHost => &info.host.as_ref()?.metadata,
            Owner::Listener => info.connection.listener_metadata.as_ref()?,
            Owner::FilterChain => info.connection.filter_chain_metadata.as_ref()?,
        };
        metadata.find(&self.namespace, &self.path)
    }
}

fn write_found(found: Found<'_>, out: &mut Vec<u8>) {
    match found {
        Found::Struct(fields) => write_struct(fields, out),
        Found::Value(value) => write_value(value, out),
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(*number, out),
        Value::Text(text) => write_text(text, out),
        Value::List(values) => {
            out.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(value, out);
            }
            out.push(b']');
        }
        Value::Struct(fields) => write_struct(fields, out),
    }
}

/// Appends a struct as JSON.
pub fn write_struct(fields: &Struct, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(name.as_bytes(), out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(text);
    escape::json(out, start);
    out.push(b'"');
}

/// As Envoy writes them: whole numbers of 64 bits as such, others with as few
/// digits as tell them apart, and an exponent where the number is very large
/// or small. What is no number is a text, as in proto3's JSON.
fn write_number(number: f64, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = if number.is_nan() {
        write!(out, "\"NaN\"")
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        write!(out, "\"{sign}Infinity\"")
    } else if number.fract() == 0.0 && number.abs() < I64_END {
        write!(out, "{}", number as i64)
    } else if (1e-4..1e16).contains(&number.abs()) {
        write!(out, "{number}")
    } else {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(out, "{digits}e{sign}{exponent:0>2}")
    };
}

/// 2^63.
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// `%COALESCE({"operators": [...]})%`: the first operator that has a value.
#[derive(Debug)]
pub(super) struct Coalesce {
    operators: Box<[Operator]>,
    length_max: usize,
}

impl Coalesce {
    /// Compiles the JSON that names the operators.
    pub fn compile(command: &Command<'_>) -> Result<Operator, String> {
        let json: serde_json::Value = serde_json::from_str(required(command)?)
            .map_err(|error| format!("COALESCE: failed to parse JSON configuration: {error}"))?;
        let Some(entries) = json.get("operators").and_then(serde_json::Value::as_array) else {
            return Err("COALESCE: JSON configuration must contain 'operators' array".into());
        };
        if entries.is_empty() {
            return Err("COALESCE: 'operators' array must not be empty".into());
        }
        let operators = entries.iter().enumerate().map(|(index, entry)| {
            inner(entry, command.position).map_err(|reason| {
                format!("COALESCE: failed to parse operator at index {index}: {reason}")
            })
        });
        Ok(Operator::Coalesce(Coalesce {
            operators: operators.collect::<Result<_, _>>()?,
            length_max: length_max(command),
        }))
    }

    /// Appends the first value that there is.
    pub fn write(&self, cx: &Context<'_>, out: &mut Vec<u8>) -> Written {
        let start = out.len();
        for operator in &self.operators {
            let written = operator.write(cx, out);
            if written != Written::Nothing {
                out.truncate(start.saturating_add(self.length_max).min(out.len()));
                return written;
            }
        }
        Written::Nothing
    }

    /// The operator whose value is to be written.
    pub fn chosen(&self, cx: &Context<'_>, scratch: &mut Vec<u8>) -> Option<&Operator> {
        let start = scratch.len();
        self.operators.iter().find(|operator| {
            let written = operator.write(cx, scratch);
            scratch.truncate(start);
            written != Written::Nothing
        })
    }

    /// Whether values of any length are written whole.
    pub fn is_unlimited(&self) -> bool {
        self.length_max == usize::MAX
    }
}

fn inner(entry: &serde_json::Value, position: usize) -> Result<Operator, String> {
    let text = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
    let Some(name) = entry.as_str().or_else(|| text("command")) else {
        return Err(
            "operator entry must be either a string (command name) or an object with 'command' \
             field"
                .into(),
        );
    };
    let length_max = match entry.get("max_length") {
        None => None,
        Some(length) => match length
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
        {
            Some(length) if length > 0 => Some(length),
            _ => return Err("'max_length' must be a positive integer".into()),
        },
    };
    Operator::compile(&Command {
        name,
        arguments: text("param").unwrap_or_default(),
        length_max,
        position,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [
            (0.0, "0"),
            (-3.0, "-3"),
            (12.5, "12.5"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (123_456_789_012_345_680.0, "123456789012345680"),
            (1e20, "1e+20"),
            (1.25e300, "1.25e+300"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
