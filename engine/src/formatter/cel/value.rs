//! Values of expressions: how they compare, convert and print.

use super::time;
use ringway_config::filter_state::{Field, Object};
use ringway_config::metadata::{Struct, Value as Datum};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::Write as _;

/// A value. What CEL calls an error is the absence of one, because Envoy shows
/// nothing of it.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A string; what peers send need not be UTF-8.
    Text(Cow<'a, [u8]>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Nanoseconds.
    Duration(i128),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// A list.
    List(Vec<Value<'a>>),
    /// A map of the expression's own, in its order.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// An object of metadata.
    Struct(&'a Struct),
    /// An object of the filter state that has fields, which nobody can list.
    Object(&'a Object),
    /// A type, by its name.
    Type(&'static str),
}

impl<'a> Value<'a> {
    /// A value of metadata.
    pub(super) fn from_datum(datum: &'a Datum) -> Value<'a> {
        match datum {
            Datum::Null => Value::Null,
            Datum::Bool(value) => Value::Bool(*value),
            Datum::Number(value) => Value::Double(*value),
            Datum::Text(text) => Value::Text(Cow::Borrowed(text)),
            Datum::List(values) => Value::List(values.iter().map(Value::from_datum).collect()),
            Datum::Struct(fields) => Value::Struct(fields),
        }
    }

    /// Appends the value as Envoy prints it. Lists, maps and types are not
    /// spelled out.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = match self {
            Value::Null => write!(out, "NULL"),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Int(value) => write!(out, "{value}"),
            Value::Uint(value) => write!(out, "{value}"),
            Value::Double(value) => {
                write_double(*value, out);
                Ok(())
            }
            Value::Text(bytes) | Value::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Value::Duration(nanos) => {
                time::write_duration(*nanos, out);
                Ok(())
            }
            Value::Timestamp(nanos) => {
                time::write_timestamp(*nanos, out);
                Ok(())
            }
            Value::List(_) => write!(out, "CelList value"),
            Value::Map(_) | Value::Struct(_) | Value::Object(_) => write!(out, "CelMap value"),
            Value::Type(_) => write!(out, "CelType value"),
        };
    }

    /// Whether a peer may have chosen bytes of what is printed.
    pub fn is_text(&self) -> bool {
        matches!(self, Value::Text(_) | Value::Bytes(_))
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(_) | Value::Struct(_) | Value::Object(_) => "map",
            Value::Type(_) => "type",
        }
    }

    /// Equality across types: numbers by their values, others of two types
    /// never.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Type(one), Value::Type(other)) => one == other,
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.equals(b))
            }
            (Value::Map(_) | Value::Struct(_), Value::Map(_) | Value::Struct(_)) => {
                self.size() == other.size()
                    && self.entries().all(|(key, value)| {
                        other.get(&key).is_some_and(|other| value.equals(&other))
                    })
            }
            (Value::Object(one), Value::Object(other)) => std::ptr::eq(*one, *other),
            _ => self.order(other) == Some(Order::Known(Ordering::Equal)),
        }
    }

    /// How two values are ordered; `None` where CEL has no order.
    pub(super) fn order(&self, other: &Value<'_>) -> Option<Order> {
        let known = |ordering| Some(Order::Known(ordering));
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => known(a.cmp(b)),
            (Value::Int(a), Value::Int(b)) => known(a.cmp(b)),
            (Value::Uint(a), Value::Uint(b)) => known(a.cmp(b)),
            (Value::Int(a), Value::Uint(b)) => known(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Uint(a), Value::Int(b)) => known(i128::from(*a).cmp(&i128::from(*b))),
            (Value::Text(a), Value::Text(b)) | (Value::Bytes(a), Value::Bytes(b)) => {
                known(a.cmp(b))
            }
            (Value::Duration(a), Value::Duration(b))
            | (Value::Timestamp(a), Value::Timestamp(b)) => known(a.cmp(b)),
            _ => {
                // Envoy compares a floating-point number with others as such,
                // although large ones lose digits.
                let (a, b) = (self.as_double()?, other.as_double()?);
                Some(a.partial_cmp(&b).map_or(Order::Unordered, Order::Known))
            }
        }
    }

    fn as_double(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Uint(value) => Some(*value as f64),
            Value::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// Entries of a map, characters of a string; `None` for what has no size.
    pub(super) fn size(&self) -> Option<usize> {
        Some(match self {
            Value::Text(text) => characters(text),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.len(),
            Value::Map(entries) => entries.len(),
            Value::Struct(fields) => fields.iter().count(),
            Value::Object(_) => 0,
            _ => return None,
        })
    }

    pub(super) fn entries(&self) -> Box<dyn Iterator<Item = (Value<'_>, Value<'_>)> + '_> {
        match self {
            Value::Map(entries) => Box::new(entries.iter().cloned()),
            Value::Struct(fields) => Box::new(fields.iter().map(|(name, value)| {
                let name = Value::Text(Cow::Borrowed(name.as_bytes()));
                (name, Value::from_datum(value))
            })),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// What a map has for a key, or a list at a place.
    pub(super) fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match self {
            Value::List(values) => {
                let place = match key {
                    Value::Int(place) => usize::try_from(*place).ok()?,
                    Value::Uint(place) => usize::try_from(*place).ok()?,
                    Value::Double(place) if place.fract() == 0.0 && *place >= 0.0 => {
                        *place as usize
                    }
                    _ => return None,
                };
                values.get(place).cloned()
            }
            Value::Map(entries) => {
                // A key of its own type comes before an equal number.
                let same = entries
                    .iter()
                    .find(|(k, _)| k.type_name() == key.type_name() && k.equals(key));
                let found = same.or_else(|| entries.iter().find(|(k, _)| k.equals(key)));
                found.map(|(_, value)| value.clone())
            }
            Value::Struct(fields) => match key {
                Value::Text(name) => {
                    let name = std::str::from_utf8(name).ok()?;
                    fields.get(name).map(Value::from_datum)
                }
                _ => None,
            },
            Value::Object(object) => match key {
                Value::Text(name) => Some(match object.field(std::str::from_utf8(name).ok()?)? {
                    Field::Text(text) => Value::Text(text),
                    Field::Number(number) => Value::Int(number),
                }),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self, Value::Map(_) | Value::Struct(_) | Value::Object(_))
    }
}

/// How two values are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Known(Ordering),
    /// One is not a number.
    Unordered,
}

/// Characters of a text; a byte that is part of none counts as one.
fn characters(text: &[u8]) -> usize {
    text.utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + chunk.invalid().len())
        .sum()
}

/// Six significant digits, as C's `%g`.
fn write_double(value: f64, out: &mut Vec<u8>) {
    const DIGITS: i32 = 6;
    // Writing to a vector cannot fail.
    if value.is_nan() {
        out.extend_from_slice(b"nan");
        return;
    }
    if value.is_infinite() {
        let text: &[u8] = if value < 0.0 { b"-inf" } else { b"inf" };
        out.extend_from_slice(text);
        return;
    }
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent).unsigned_abs() as usize;
        let text = format!("{value:.decimals$}");
        out.extend_from_slice(without_zeros(&text).as_bytes());
    } else {
        let digits = without_zeros(digits);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{digits}e{sign}{:02}", exponent.abs());
    }
}

fn without_zeros(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// `int("…")`, `uint("…")`: digits with a sign, in white space.
pub(super) fn parse_whole<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    // Rust takes a plus sign, too, and nothing else but digits.
    text.parse().ok()
}

/// `double("…")`.
pub(super) fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        return Some(sign * parse_hex(hex)?);
    }
    Some(sign * digits.parse::<f64>().ok()?)
}

/// Whole hexadecimal numbers. Fractions and exponents in this form are not
/// understood; nobody writes them.
fn parse_hex(digits: &str) -> Option<f64> {
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16)
        .ok()
        .map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40 prints.
    #[test]
    fn doubles_have_six_digits() {
        for (value, text) in [
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (100_000.0, "100000"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.5, "1e+06"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333"),
            (0.0001, "0.0001"),
            (1e-7, "1e-07"),
            (-0.0, "-0"),
            (1e300, "1e+300"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            write_double(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn characters_are_counted() {
        for (text, count) in [
            (&b""[..], 0),
            ("é😀a".as_bytes(), 3),
            (b"\xff\xfe", 2),
            (b"\xf0\x9f\x98", 3),
        ] {
            assert_eq!(characters(text), count, "{text:?}");
        }
    }
}
