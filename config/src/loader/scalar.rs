//! Scalars of the document to scalars of protobuf.

use super::{base64, kind_name};
use crate::suggest;
use crate::tree::{Node, Scalar, Value as Tree, quoted};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};

/// Why a scalar could not be read.
pub(super) enum Wrong {
    /// The API has no such enum value; `--allow-unknown-static-fields` forgives that.
    UnknownEnumValue(String),
    /// Anything else.
    Other(String),
}

impl Wrong {
    pub(super) fn reason(self) -> String {
        match self {
            Wrong::UnknownEnumValue(reason) | Wrong::Other(reason) => reason,
        }
    }
}

/// Reads a node as a scalar or enum kind.
pub(super) fn value(kind: &Kind, node: &Node) -> Result<Value, Wrong> {
    let expected = || Wrong::Other(format!("expected {}, got {node}", kind_name(kind)));
    let Tree::Scalar(scalar) = &node.value else {
        return Err(expected());
    };
    let integer = || integer(scalar).ok_or_else(expected);
    let out_of_range = |i: i128, from: i128, to: i128| {
        Wrong::Other(format!("{i} is out of range, allowed are {from} to {to}"))
    };
    macro_rules! fit {
        ($type:ty, $variant:ident) => {{
            let i = integer()?;
            let (from, to) = (<$type>::MIN.into(), <$type>::MAX.into());
            <$type>::try_from(i)
                .map(Value::$variant)
                .map_err(|_| out_of_range(i, from, to))
        }};
    }
    match kind {
        Kind::Message(_) => Err(expected()),
        Kind::Bool => boolean(scalar).map(Value::Bool).ok_or_else(expected),
        Kind::String => match scalar {
            Scalar::Text(text) => Ok(Value::String(text.clone())),
            Scalar::Null => Err(expected()),
            Scalar::Bool(..) | Scalar::Number { .. } => Err(Wrong::Other(format!(
                "expected a string, got {node}; put it in quotes"
            ))),
        },
        Kind::Bytes => match scalar {
            Scalar::Text(text) => base64::decode(text)
                .map(|bytes| Value::Bytes(bytes.into()))
                .ok_or_else(expected),
            _ => Err(expected()),
        },
        Kind::Enum(of) => match scalar {
            Scalar::Text(text) => enum_value(of, text),
            _ => fit!(i32, EnumNumber),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => fit!(i32, I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => fit!(i64, I64),
        Kind::Uint32 | Kind::Fixed32 => fit!(u32, U32),
        Kind::Uint64 | Kind::Fixed64 => fit!(u64, U64),
        Kind::Double => float(scalar).map(Value::F64).ok_or_else(expected),
        Kind::Float => {
            let wide = float(scalar).ok_or_else(expected)?;
            #[allow(clippy::cast_possible_truncation)] // Checked right below.
            let narrow = wide as f32;
            if narrow.is_infinite() && wide.is_finite() {
                return Err(Wrong::Other(format!("{wide} is out of range for a float")));
            }
            Ok(Value::F32(narrow))
        }
    }
}

/// Reads the key of a map entry.
pub(super) fn map_key(kind: &Kind, key: &str) -> Option<MapKey> {
    Some(match kind {
        Kind::String => MapKey::String(key.to_owned()),
        Kind::Bool => MapKey::Bool(key.parse().ok()?),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(key.parse().ok()?),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(key.parse().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(key.parse().ok()?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(key.parse().ok()?),
        Kind::Double | Kind::Float | Kind::Bytes | Kind::Message(_) | Kind::Enum(_) => return None,
    })
}

/// Envoy's parser takes words in quotes too, and more of them.
fn boolean(scalar: &Scalar) -> Option<bool> {
    match scalar {
        Scalar::Bool(value, _) => Some(*value),
        Scalar::Text(text) => match &*text.to_ascii_lowercase() {
            "true" | "t" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "0" => Some(false),
            _ => None,
        },
        Scalar::Null | Scalar::Number { .. } => None,
    }
}

/// An integer, also one written as text or with an exponent: `"1e3"`.
fn integer(scalar: &Scalar) -> Option<i128> {
    let (Scalar::Number { text, .. } | Scalar::Text(text)) = scalar else {
        return None;
    };
    if let Ok(integer) = text.parse::<i128>() {
        return Some(integer);
    }
    let number = number(text)?;
    #[allow(clippy::cast_possible_truncation)] // It is integral and small enough to be exact.
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i128)
}

/// Beyond 2^53 a double no longer holds every integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn float(scalar: &Scalar) -> Option<f64> {
    match scalar {
        Scalar::Number { text, .. } => number(text),
        Scalar::Text(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => number(text),
        },
        Scalar::Null | Scalar::Bool(..) => None,
    }
}

/// A finite decimal number. Rust alone would also read `inf` and `nan`.
fn number(text: &str) -> Option<f64> {
    let looks_like_one = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    let value = text.parse::<f64>().ok().filter(|v| v.is_finite());
    value.filter(|_| looks_like_one)
}

/// Values that are never suggested, because whoever takes one is refused.
const REFUSED_VALUES: &[&str] = &["TLSv1_0", "TLSv1_1"];

/// An enum value by name, in any case, or by number in quotes.
fn enum_value(of: &EnumDescriptor, text: &str) -> Result<Value, Wrong> {
    let found = of
        .get_value_by_name(text)
        .or_else(|| of.values().find(|v| v.name().eq_ignore_ascii_case(text)));
    if let Some(value) = found {
        return Ok(Value::EnumNumber(value.number()));
    }
    if let Ok(number) = text.parse() {
        return Ok(Value::EnumNumber(number));
    }
    let names = of.values().map(|v| v.name().to_owned());
    let names: Vec<String> = names
        .filter(|name| !REFUSED_VALUES.contains(&name.as_str()))
        .collect();
    let hint = match suggest::nearest(&text.to_ascii_uppercase(), names.iter().cloned()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("allowed are {}", names.join(", ")),
    };
    Err(Wrong::UnknownEnumValue(format!(
        "{} is not a value of {}, {hint}",
        quoted(text),
        of.full_name()
    )))
}
