//! What the text or the number of a runtime key means.

use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

use super::FractionalPercent;
use crate::tree::{self, Node, Scalar};

/// A value of the runtime, understood as Envoy understands it.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeValue {
    /// A whole number.
    Integer(u64),
    /// Any other number.
    Double(f64),
    /// A fraction, `{numerator: 1, denominator: MILLION}`.
    Fraction(FractionalPercent),
    /// `true` or `false`.
    Bool(bool),
    /// Anything else.
    Text(Box<str>),
}

impl RuntimeValue {
    /// As a whole number: of others, the part before the point.
    pub fn as_integer(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Double(value) if (0.0..U64_END).contains(value) => Some(*value as u64),
            _ => None,
        }
    }

    /// As a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    fn number(number: f64) -> Self {
        if (0.0..U64_END).contains(&number) && number.fract() == 0.0 {
            return Self::Integer(number as u64);
        }
        Self::Double(number)
    }

    /// What a text means.
    pub(super) fn text(text: &str) -> Self {
        let trimmed = text.trim_ascii();
        let digits = trimmed.strip_prefix('+').unwrap_or(trimmed);
        let hexadecimal = digits
            .strip_prefix("0x")
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let integer = match hexadecimal {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => digits.parse(),
        };
        if let Ok(integer) = integer {
            Self::Integer(integer)
        } else if let Ok(number) = digits.parse() {
            Self::number(number)
        } else if trimmed.eq_ignore_ascii_case("true") {
            Self::Bool(true)
        } else if trimmed.eq_ignore_ascii_case("false") {
            Self::Bool(false)
        } else {
            Self::Text(text.into())
        }
    }

    /// What a value of a static layer means, and how it is shown. `None` for
    /// nulls and lists, which cannot be values.
    pub(super) fn lower(value: &Value) -> Option<(Self, String)> {
        match value.kind.as_ref()? {
            Kind::StringValue(text) => Some((Self::text(text), text.clone())),
            Kind::NumberValue(number) => {
                Some((Self::number(*number), general(*number, VALUE_DIGITS)))
            }
            Kind::BoolValue(value) => Some((Self::Bool(*value), value.to_string())),
            Kind::StructValue(fields) => {
                let parts = fields.fields.iter().map(|(name, value)| {
                    let part = match &value.kind {
                        Some(Kind::NumberValue(number)) => Part::Number(*number),
                        Some(Kind::StringValue(text)) => Part::Text(text),
                        _ => Part::Other,
                    };
                    (name.as_str(), part)
                });
                let mut shown = String::new();
                show(fields, "", &mut shown);
                Some((Self::fraction(parts), shown))
            }
            Kind::NullValue(_) | Kind::ListValue(_) => None,
        }
    }

    /// What a value given to `/runtime_modify` means: it is read as YAML.
    pub(super) fn document(text: &str, root: &Node) -> Self {
        match &root.value {
            tree::Value::Scalar(Scalar::Bool(value, _)) => Self::Bool(*value),
            tree::Value::Scalar(Scalar::Number { text, .. } | Scalar::Text(text)) => {
                Self::text(text)
            }
            tree::Value::Mapping(entries) => Self::fraction(entries.iter().map(|entry| {
                let part = match &entry.node.value {
                    tree::Value::Scalar(Scalar::Number { text, .. }) => {
                        text.parse().map_or(Part::Other, Part::Number)
                    }
                    tree::Value::Scalar(Scalar::Text(text)) => Part::Text(text),
                    _ => Part::Other,
                };
                (entry.key.as_str(), part)
            })),
            tree::Value::Scalar(Scalar::Null) | tree::Value::Sequence(_) => Self::Text(text.into()),
        }
    }

    /// A struct is a fraction unless it has other fields or an unknown
    /// denominator; a numerator that is not a number is none.
    fn fraction<'a>(parts: impl Iterator<Item = (&'a str, Part<'a>)>) -> Self {
        let mut fraction = FractionalPercent::NEVER;
        for (name, part) in parts {
            match (name, part) {
                // Saturates, as Envoy's conversion does; nothing below zero
                // can be meant.
                ("numerator", Part::Number(number)) => fraction.numerator = number as u32,
                ("numerator", _) => {}
                ("denominator", Part::Text("HUNDRED")) => fraction.denominator = 100,
                ("denominator", Part::Text("TEN_THOUSAND")) => fraction.denominator = 10_000,
                ("denominator", Part::Text("MILLION")) => fraction.denominator = 1_000_000,
                _ => return Self::Text("".into()),
            }
        }
        Self::Fraction(fraction)
    }
}

/// 2^64, the first number that is too large.
const U64_END: f64 = 18_446_744_073_709_551_616.0;

/// A field of a struct that may be a fraction.
enum Part<'a> {
    Number(f64),
    Text(&'a str),
    Other,
}

/// A number as C's `%g` prints it, which is how Envoy shows one: so many digits,
/// with an exponent where that is below -4 or has no room in them.
pub(super) fn general(number: f64, digits: i32) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let scientific = format!("{number:.*e}", digits as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if (-4..digits).contains(&exponent) {
        let decimals = (digits - 1 - exponent) as usize;
        return short(&format!("{number:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(mantissa), exponent.abs())
}

/// Protobuf's text form of a number: as few digits as tell it from others.
fn in_struct(number: f64) -> String {
    let short = general(number, 15);
    match short.parse() {
        Ok(read) if number.total_cmp(&read).is_eq() => short,
        _ => general(number, 17),
    }
}

/// Digits of a number by itself.
pub(super) const VALUE_DIGITS: i32 = 6;

/// A struct in protobuf's text form, with its fields sorted.
fn show(fields: &Struct, indent: &str, out: &mut String) {
    let mut sorted: Vec<_> = fields.fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, value) in sorted {
        out.push_str(&format!(
            "{indent}fields {{\n{indent}  key: {name:?}\n{indent}  value {{\n"
        ));
        match &value.kind {
            Some(Kind::NumberValue(number)) => {
                out.push_str(&format!(
                    "{indent}    number_value: {}\n",
                    in_struct(*number)
                ));
            }
            Some(Kind::StringValue(text)) => {
                out.push_str(&format!("{indent}    string_value: {text:?}\n"));
            }
            Some(Kind::BoolValue(value)) => {
                out.push_str(&format!("{indent}    bool_value: {value}\n"));
            }
            Some(Kind::StructValue(inner)) => {
                out.push_str(&format!("{indent}    struct_value {{\n"));
                show(inner, &format!("{indent}      "), out);
                out.push_str(&format!("{indent}    }}\n"));
            }
            Some(Kind::ListValue(_)) => out.push_str(&format!("{indent}    list_value {{ … }}\n")),
            Some(Kind::NullValue(_)) | None => {
                out.push_str(&format!("{indent}    null_value: NULL_VALUE\n"));
            }
        }
        out.push_str(&format!("{indent}  }}\n{indent}}}\n"));
    }
}
