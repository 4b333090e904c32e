//! Values of endpoint metadata (`envoy.lb`), which subsets are made of.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A value of a metadata struct (`google.protobuf.Value`).
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number; protobuf has doubles only.
    Number(f64),
    /// A string.
    String(Arc<str>),
    /// A list.
    List(Vec<Value>),
    /// A struct: its fields in the order of their names.
    Struct(Vec<(Arc<str>, Value)>),
}

impl Value {
    /// A string value.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::String(Arc::from(text))
    }
}

/// Bits of a number such that equal numbers have equal bits.
fn number_bits(number: f64) -> u64 {
    // -0.0 equals 0.0; a NaN equals itself here, so that a map can hold it.
    if number == 0.0 { 0 } else { number.to_bits() }
}

impl PartialEq for Value {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => number_bits(*a) == number_bits(*b),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Number(value) => number_bits(*value).hash(state),
            Self::String(value) => value.hash(state),
            Self::List(values) => values.hash(state),
            Self::Struct(fields) => fields.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value;
    use std::collections::HashSet;

    #[test]
    fn values_are_equal_by_kind_and_content() {
        let values = [
            Value::Null,
            Value::Bool(false),
            Value::Bool(true),
            Value::Number(0.0),
            Value::Number(1.0),
            Value::string(""),
            Value::string("1"),
            Value::List(vec![]),
            Value::List(vec![Value::Null]),
            Value::Struct(vec![]),
            Value::Struct(vec![("a".into(), Value::Null)]),
        ];
        for (i, a) in values.iter().enumerate() {
            for (j, b) in values.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a:?} and {b:?}");
            }
        }
        assert_eq!(
            values.iter().cloned().collect::<HashSet<_>>().len(),
            values.len()
        );
    }

    #[test]
    fn both_zeros_are_one_number() {
        let set: HashSet<_> = [Value::Number(0.0), Value::Number(-0.0)].into();
        assert_eq!(set.len(), 1);
    }
}
