//! Rules about one number, enum value, text or duration.

use super::text::{self, Patterns};
use envoy_types::pb::google::protobuf::Duration;
use envoy_types::pb::validate::field_rules::Type;
use prost_reflect::{DynamicMessage, Kind, Value};
use std::fmt::Display;

/// Adds the reasons why `value` breaks `rule`.
pub(super) fn check(
    kind: &Kind,
    value: &Value,
    rule: &Type,
    patterns: &mut Patterns,
    reasons: &mut Vec<String>,
) {
    macro_rules! number {
        ($rules:expr, $value:expr, $zero:expr) => {{
            let (rules, value) = ($rules, *$value);
            if rules.ignore_empty() && value == $zero {
                return;
            }
            check_set(
                &value,
                rules.r#const.as_ref(),
                &rules.r#in,
                &rules.not_in,
                ToString::to_string,
                reasons,
            );
            let bounds = Bounds {
                lt: rules.lt,
                lte: rules.lte,
                gt: rules.gt,
                gte: rules.gte,
            };
            bounds.check(&value, ToString::to_string, reasons);
        }};
    }
    match (rule, value) {
        (Type::Float(r), Value::F32(v)) => number!(r, v, 0.0),
        (Type::Double(r), Value::F64(v)) => number!(r, v, 0.0),
        (Type::Int32(r), Value::I32(v)) => number!(r, v, 0),
        (Type::Int64(r), Value::I64(v)) => number!(r, v, 0),
        (Type::Uint32(r), Value::U32(v)) => number!(r, v, 0),
        (Type::Uint64(r), Value::U64(v)) => number!(r, v, 0),
        (Type::Sint32(r), Value::I32(v)) => number!(r, v, 0),
        (Type::Sint64(r), Value::I64(v)) => number!(r, v, 0),
        (Type::Fixed32(r), Value::U32(v)) => number!(r, v, 0),
        (Type::Fixed64(r), Value::U64(v)) => number!(r, v, 0),
        (Type::Sfixed32(r), Value::I32(v)) => number!(r, v, 0),
        (Type::Sfixed64(r), Value::I64(v)) => number!(r, v, 0),
        (Type::Bool(r), Value::Bool(v)) if r.r#const.is_some_and(|only| only != *v) => {
            reasons.push(format!("must be {}", r.r#const()));
        }
        (Type::Enum(r), Value::EnumNumber(v)) => {
            let Kind::Enum(of) = kind else { return };
            let name = |number: &i32| match of.get_value(*number) {
                Some(value) => value.name().to_owned(),
                None => number.to_string(),
            };
            if r.defined_only() && of.get_value(*v).is_none() {
                reasons.push(format!("{v} is not a value of {}", of.full_name()));
                return;
            }
            check_set(v, r.r#const.as_ref(), &r.r#in, &r.not_in, name, reasons);
        }
        (Type::String(r), Value::String(v)) => text::check(v, r, patterns, reasons),
        (Type::Bytes(r), Value::Bytes(v)) => text::check_bytes(v, r, reasons),
        _ => {}
    }
}

/// Adds the reasons why a `google.protobuf.Duration` breaks `rule`. Without a
/// rule it still must not be negative: Envoy has no use for one.
pub(super) fn check_duration(
    message: &DynamicMessage,
    rule: Option<&Type>,
    reasons: &mut Vec<String>,
) {
    let seconds = message.get_field_by_number(1).and_then(|v| v.as_i64());
    let nanos = message.get_field_by_number(2).and_then(|v| v.as_i32());
    let value = nanoseconds(seconds.unwrap_or(0), nanos.unwrap_or(0));
    if let Some(Type::Duration(rules)) = rule {
        let of = |d: &Option<Duration>| d.as_ref().map(|d| nanoseconds(d.seconds, d.nanos));
        let bounds = Bounds {
            lt: of(&rules.lt),
            lte: of(&rules.lte),
            gt: of(&rules.gt),
            gte: of(&rules.gte),
        };
        bounds.check(&value, duration_text, reasons);
    }
    if value < 0 && reasons.is_empty() {
        reasons.push(format!("{} is negative", duration_text(&value)));
    }
}

fn nanoseconds(seconds: i64, nanos: i32) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

fn duration_text(nanoseconds: &i128) -> String {
    let sign = if *nanoseconds < 0 { "-" } else { "" };
    let (whole, part) = (
        nanoseconds.unsigned_abs() / 1_000_000_000,
        nanoseconds.unsigned_abs() % 1_000_000_000,
    );
    let part = format!(".{part:09}");
    format!(
        "{sign}{whole}{}s",
        part.trim_end_matches('0').trim_end_matches('.')
    )
}

/// The limits of a number; those not given do not limit.
struct Bounds<T> {
    lt: Option<T>,
    lte: Option<T>,
    gt: Option<T>,
    gte: Option<T>,
}

impl<T: PartialOrd> Bounds<T> {
    fn check(&self, value: &T, show: impl Fn(&T) -> String, reasons: &mut Vec<String>) {
        let given = show(value);
        // Written so that NaN breaks every limit.
        let mut require = |holds: bool, words: &str, limit: &T| {
            if !holds {
                reasons.push(format!("{given} given, must be {words} {}", show(limit)));
            }
        };
        if let Some(limit) = &self.lt {
            require(value < limit, "less than", limit);
        }
        if let Some(limit) = &self.lte {
            require(value <= limit, "at most", limit);
        }
        if let Some(limit) = &self.gt {
            require(value > limit, "greater than", limit);
        }
        if let Some(limit) = &self.gte {
            require(value >= limit, "at least", limit);
        }
    }
}

/// `const`, `in` and `not_in`, which most types have.
pub(super) fn check_set<T: PartialEq>(
    value: &T,
    only: Option<&T>,
    allowed: &[T],
    refused: &[T],
    show: impl Fn(&T) -> String,
    reasons: &mut Vec<String>,
) {
    if let Some(only) = only.filter(|only| *only != value) {
        reasons.push(format!("{} given, must be {}", show(value), show(only)));
    }
    if !allowed.is_empty() && !allowed.contains(value) {
        let allowed: Vec<String> = allowed.iter().map(&show).collect();
        let reason = format!(
            "{} given, must be one of {}",
            show(value),
            allowed.join(", ")
        );
        reasons.push(reason);
    }
    if refused.contains(value) {
        reasons.push(format!("{} is not allowed", show(value)));
    }
}

/// Adds a reason when `length` is outside the limits.
pub(super) fn check_length(
    length: usize,
    unit: impl Display,
    (min, exact, max): (Option<u64>, Option<u64>, Option<u64>),
    reasons: &mut Vec<String>,
) {
    let length = length as u64;
    if let Some(min) = min.filter(|min| length < *min) {
        reasons.push(match (length, min) {
            (0, 1) => "must not be empty".into(),
            _ => format!("has {length} {unit}, needs at least {min}"),
        });
    }
    if let Some(exact) = exact.filter(|exact| length != *exact) {
        reasons.push(format!("has {length} {unit}, must have {exact}"));
    }
    if let Some(max) = max.filter(|max| length > *max) {
        reasons.push(format!("has {length} {unit}, at most {max} are allowed"));
    }
}
