//! Computes the value of an expression, as Envoy's interpreter does: an error
//! spoils whatever needs the value, but not `&&`, `||` and the branch of a
//! condition that is not taken.

use super::super::Context;
use super::attributes::{header, metadata};
use super::check::{Field, Function, Node};
use super::parser::Operator;
use super::time::{Civil, unix_seconds};
use super::value::{Order, Value, parse_double, parse_whole};
use ringway_config::filter_state::Object;
use std::borrow::Cow;
use std::cmp::Ordering;

impl Node {
    /// The value; `None` for an error.
    pub(super) fn evaluate<'a>(&'a self, cx: &Context<'a>) -> Option<Value<'a>> {
        Some(match self {
            Node::Constant(value) => value.clone(),
            Node::Never => return None,
            Node::Attribute(attribute) => attribute.value(cx)?,
            Node::IsSet(attribute) => Value::Bool(attribute.value(cx).is_some()),
            Node::Header(side, key) => header(*side, &text(key.evaluate(cx)?)?, cx)?,
            Node::HasHeader(side, key) => {
                has_key(&key.evaluate(cx)?, |name| header(*side, name, cx).is_some())?
            }
            Node::Namespace(owner, key) => {
                let name = text(key.evaluate(cx)?)?;
                let metadata = metadata(*owner, cx.info)?;
                Value::Struct(metadata.get(std::str::from_utf8(&name).ok()?)?)
            }
            Node::HasNamespace(owner, key) => {
                let metadata = metadata(*owner, cx.info)?;
                has_key(&key.evaluate(cx)?, |name| {
                    std::str::from_utf8(name).is_ok_and(|name| metadata.get(name).is_some())
                })?
            }
            Node::HasNamespaces(owner) => Value::Bool(!metadata(*owner, cx.info)?.is_empty()),
            Node::FilterState(key) => {
                let object = filter_state(&text(key.evaluate(cx)?)?, cx)?;
                if object.has_fields() {
                    return Some(Value::Object(object));
                }
                let mut bytes = Vec::new();
                object
                    .write(&mut bytes)
                    .then_some(Value::Bytes(Cow::Owned(bytes)))?
            }
            Node::HasFilterState(key) => {
                has_key(&key.evaluate(cx)?, |name| filter_state(name, cx).is_some())?
            }
            Node::Select(operand, field) => {
                let operand = operand.evaluate(cx)?;
                if !operand.is_map() {
                    return None;
                }
                operand.get(&Value::Text(Cow::Borrowed(field)))?
            }
            Node::Has(operand, field) => {
                let operand = operand.evaluate(cx)?;
                if !operand.is_map() {
                    return None;
                }
                Value::Bool(operand.get(&Value::Text(Cow::Borrowed(field))).is_some())
            }
            Node::Index(parts) => parts[0].evaluate(cx)?.get(&parts[1].evaluate(cx)?)?,
            Node::Not(operand) => Value::Bool(!boolean(operand.evaluate(cx))?),
            Node::Negate(operand) => match operand.evaluate(cx)? {
                Value::Int(value) => Value::Int(value.checked_neg()?),
                Value::Double(value) => Value::Double(-value),
                _ => return None,
            },
            Node::Binary(operator, parts) => {
                binary(*operator, &parts[0].evaluate(cx)?, &parts[1].evaluate(cx)?)?
            }
            Node::And(operands) => Value::Bool(decide(operands, false, cx)?),
            Node::Or(operands) => Value::Bool(decide(operands, true, cx)?),
            Node::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                match boolean(condition.evaluate(cx))? {
                    true => then.evaluate(cx)?,
                    false => otherwise.evaluate(cx)?,
                }
            }
            Node::Call(function, arguments) => {
                let arguments: Vec<_> = arguments
                    .iter()
                    .map(|argument| argument.evaluate(cx))
                    .collect::<Option<_>>()?;
                call(*function, arguments)?
            }
            Node::Matches(subject, regex) => {
                Value::Bool(regex.is_match(&text(subject.evaluate(cx)?)?))
            }
            Node::List(elements) => {
                let elements = elements.iter().map(|element| element.evaluate(cx));
                Value::List(elements.collect::<Option<_>>()?)
            }
            Node::Map(entries) => map(entries, cx)?,
        })
    }
}

/// Whether one of the operands has the value `decisive`. One that has decides
/// in spite of errors in others.
fn decide(operands: &[Node], decisive: bool, cx: &Context<'_>) -> Option<bool> {
    let mut all_known = true;
    for operand in operands {
        match boolean(operand.evaluate(cx)) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => all_known = false,
        }
    }
    all_known.then_some(!decisive)
}

fn boolean(value: Option<Value<'_>>) -> Option<bool> {
    match value? {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

fn text<'a>(value: Value<'a>) -> Option<Cow<'a, [u8]>> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Whether a map whose keys are texts has a key. One of another type that keys
/// can have is none of them.
fn has_key(key: &Value<'_>, has: impl FnOnce(&[u8]) -> bool) -> Option<Value<'static>> {
    match key {
        Value::Text(name) => Some(Value::Bool(has(name))),
        key => can_be_sought(key).then_some(Value::Bool(false)),
    }
}

/// Envoy looks for floating-point numbers in maps, too, though they cannot be
/// keys.
fn can_be_sought(key: &Value<'_>) -> bool {
    matches!(
        key,
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Text(_)
    )
}

fn filter_state<'a>(key: &[u8], cx: &Context<'a>) -> Option<&'a Object> {
    let key = std::str::from_utf8(key).ok()?;
    cx.info.filter_state().get(key)
}

fn map<'a>(entries: &'a [(Node, Node)], cx: &Context<'a>) -> Option<Value<'a>> {
    let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let (key, value) = (key.evaluate(cx)?, value.evaluate(cx)?);
        let can_be_key = matches!(
            key,
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Text(_)
        );
        let is_new = !made
            .iter()
            .any(|(other, _)| other.type_name() == key.type_name() && other.equals(&key));
        if !can_be_key || !is_new {
            return None;
        }
        made.push((key, value));
    }
    Some(Value::Map(made))
}

fn binary(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
    let ordered = |fits: fn(Ordering) -> bool| {
        Some(Value::Bool(match left.order(right)? {
            Order::Known(ordering) => fits(ordering),
            Order::Unordered => false,
        }))
    };
    match operator {
        Operator::Equal => Some(Value::Bool(left.equals(right))),
        Operator::NotEqual => Some(Value::Bool(!left.equals(right))),
        Operator::Less => ordered(Ordering::is_lt),
        Operator::LessOrEqual => ordered(Ordering::is_le),
        Operator::Greater => ordered(Ordering::is_gt),
        Operator::GreaterOrEqual => ordered(Ordering::is_ge),
        Operator::In => match right {
            Value::List(values) => Some(Value::Bool(values.iter().any(|v| v.equals(left)))),
            Value::Map(_) | Value::Struct(_) | Value::Object(_) => {
                can_be_sought(left).then(|| Value::Bool(right.get(left).is_some()))
            }
            _ => None,
        },
        Operator::Add => add(left, right),
        Operator::Subtract => subtract(left, right),
        Operator::Multiply | Operator::Divide | Operator::Remainder => {
            arithmetic(operator, left, right)
        }
    }
}

fn add(left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
    Some(match (left, right) {
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(a.checked_add(*b)?),
        (Value::Timestamp(a), Value::Duration(b)) | (Value::Duration(b), Value::Timestamp(a)) => {
            Value::Timestamp(a.checked_add(*b)?)
        }
        _ => return arithmetic(Operator::Add, left, right),
    })
}

fn subtract(left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
    Some(match (left, right) {
        (Value::Duration(a), Value::Duration(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => {
            Value::Duration(a.checked_sub(*b)?)
        }
        (Value::Timestamp(a), Value::Duration(b)) => Value::Timestamp(a.checked_sub(*b)?),
        _ => return arithmetic(Operator::Subtract, left, right),
    })
}

/// Numbers of one type. Strings and lists are not joined: Envoy turns that off.
fn arithmetic(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(match operator {
            Operator::Add => a.checked_add(*b),
            Operator::Subtract => a.checked_sub(*b),
            Operator::Multiply => a.checked_mul(*b),
            Operator::Divide => a.checked_div(*b),
            Operator::Remainder => a.checked_rem(*b),
            _ => None,
        }?),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(match operator {
            Operator::Add => a.checked_add(*b),
            Operator::Subtract => a.checked_sub(*b),
            Operator::Multiply => a.checked_mul(*b),
            Operator::Divide => a.checked_div(*b),
            Operator::Remainder => a.checked_rem(*b),
            _ => None,
        }?),
        (Value::Double(a), Value::Double(b)) => Value::Double(match operator {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            _ => return None,
        }),
        _ => return None,
    })
}

fn call(function: Function, arguments: Vec<Value<'_>>) -> Option<Value<'_>> {
    let mut arguments = arguments.into_iter();
    let first = arguments.next()?;
    Some(match function {
        Function::Size => Value::Int(i64::try_from(first.size()?).ok()?),
        Function::Contains | Function::StartsWith | Function::EndsWith => {
            let (subject, part) = (text(first)?, text(arguments.next()?)?);
            Value::Bool(match function {
                Function::StartsWith => subject.starts_with(&part),
                Function::EndsWith => subject.ends_with(&part),
                _ => memchr::memmem::find(&subject, &part).is_some(),
            })
        }
        Function::Int => Value::Int(to_int(&first)?),
        Function::Uint => Value::Uint(to_uint(&first)?),
        Function::Double => Value::Double(match first {
            Value::Int(value) => value as f64,
            Value::Uint(value) => value as f64,
            Value::Double(value) => value,
            Value::Text(text) => parse_double(&text)?,
            _ => return None,
        }),
        Function::Bool => Value::Bool(match first {
            Value::Bool(value) => value,
            Value::Text(text) => match &*text {
                b"1" | b"t" | b"true" | b"TRUE" | b"True" => true,
                b"0" | b"f" | b"false" | b"FALSE" | b"False" => false,
                _ => return None,
            },
            _ => return None,
        }),
        Function::Bytes => match first {
            Value::Text(bytes) | Value::Bytes(bytes) => Value::Bytes(bytes),
            _ => return None,
        },
        Function::Dyn => first,
        Function::Type => Value::Type(first.type_name()),
        Function::Timestamp => match first {
            Value::Timestamp(nanos) => Value::Timestamp(nanos),
            Value::Int(seconds) => Value::Timestamp(i128::from(seconds) * 1_000_000_000),
            _ => return None,
        },
        Function::Duration => match first {
            Value::Duration(nanos) => Value::Duration(nanos),
            _ => return None,
        },
        Function::Get {
            field,
            ahead,
            zoned,
        } => Value::Int(match first {
            Value::Timestamp(nanos) => field_of_time(field, nanos, ahead)?,
            Value::Duration(nanos) if !zoned => field_of_duration(field, nanos)?,
            _ => return None,
        }),
    })
}

fn to_int(value: &Value<'_>) -> Option<i64> {
    /// 2^63.
    const END: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) => (-END < *value && *value < END).then_some(*value as i64),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Text(text) => parse_whole(text),
        Value::Timestamp(nanos) => unix_seconds(*nanos),
        _ => None,
    }
}

fn to_uint(value: &Value<'_>) -> Option<u64> {
    /// 2^64.
    const END: f64 = 18_446_744_073_709_551_616.0;
    match value {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Uint(value) => Some(*value),
        Value::Double(value) => (0.0 <= *value && *value < END).then_some(*value as u64),
        Value::Text(text) => parse_whole(text),
        _ => None,
    }
}

fn field_of_time(field: Field, nanos: i128, ahead: i64) -> Option<i64> {
    let civil = Civil::from_unix(unix_seconds(nanos)?.checked_add(ahead)?);
    Some(match field {
        Field::FullYear => civil.year,
        Field::Month => civil.month,
        Field::Date => civil.day,
        Field::DayOfMonth => civil.day - 1,
        Field::DayOfWeek => civil.weekday,
        Field::DayOfYear => civil.day_of_year,
        Field::Hours => civil.hour,
        Field::Minutes => civil.minute,
        Field::Seconds => civil.second,
        Field::Milliseconds => i64::try_from(nanos.rem_euclid(1_000_000_000) / 1_000_000).ok()?,
    })
}

/// Whole hours, minutes and seconds, but the milliseconds within a second.
fn field_of_duration(field: Field, nanos: i128) -> Option<i64> {
    let value = match field {
        Field::Hours => nanos / 3_600_000_000_000,
        Field::Minutes => nanos / 60_000_000_000,
        Field::Seconds => nanos / 1_000_000_000,
        Field::Milliseconds => nanos % 1_000_000_000 / 1_000_000,
        _ => return None,
    };
    i64::try_from(value).ok()
}
