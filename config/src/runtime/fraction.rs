//! Fractions (`envoy.type.v3.FractionalPercent`), and those that a runtime key
//! may override.

use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::r#type::v3 as type_pb;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;

use super::{RuntimeKey, RuntimeValue, RuntimeValues};
use crate::context::Cx;

/// A compiled `envoy.type.v3.FractionalPercent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FractionalPercent {
    /// So many
    pub numerator: u32,
    /// of so many: 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl FractionalPercent {
    /// No request at all: a percentage that is not given.
    pub const NEVER: Self = FractionalPercent {
        numerator: 0,
        denominator: 100,
    };

    /// Reads the message.
    pub fn lower(message: &type_pb::FractionalPercent) -> Self {
        FractionalPercent {
            numerator: message.numerator,
            denominator: match message.denominator() {
                DenominatorType::Hundred => 100,
                DenominatorType::TenThousand => 10_000,
                DenominatorType::Million => 1_000_000,
            },
        }
    }

    /// The fraction that `value`, a runtime key's, puts in place of this one.
    #[must_use]
    pub fn overridden(self, value: Option<&RuntimeValue>) -> Self {
        if let Some(RuntimeValue::Fraction(fraction)) = value {
            return *fraction;
        }
        // A plain number is a percentage; all beyond 100 means all.
        match value.and_then(RuntimeValue::as_integer) {
            Some(value) => FractionalPercent {
                numerator: value.min(100) as u32,
                denominator: 100,
            },
            None => self,
        }
    }

    /// Whether the request with this random number is among the fraction.
    pub fn takes(self, random: u64) -> bool {
        random % u64::from(self.denominator) < u64::from(self.numerator)
    }
}

/// A compiled `envoy.config.core.v3.RuntimeFractionalPercent`: a fraction that a
/// runtime key may override.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeFraction {
    /// The key, if one is named.
    pub key: Option<RuntimeKey>,
    /// The fraction without a value of the key.
    pub default: FractionalPercent,
}

impl RuntimeFraction {
    /// Reads the message.
    pub fn lower(message: &core_pb::RuntimeFractionalPercent, cx: &mut Cx<'_>) -> Self {
        let default = message.default_value.as_ref();
        let fraction = default.map(FractionalPercent::lower);
        if let Some(FractionalPercent {
            numerator,
            denominator,
        }) = fraction
            && numerator > denominator
        {
            cx.warn_at(
                "default_value.numerator",
                format!("{numerator} of {denominator} is no more than all of them"),
            );
        }
        RuntimeFraction {
            key: (!message.runtime_key.is_empty())
                .then(|| cx.runtime_keys.id(&message.runtime_key)),
            default: fraction.unwrap_or(FractionalPercent::NEVER),
        }
    }

    /// Whether the request with this random number is among the fraction.
    pub fn takes(&self, values: &RuntimeValues, random: u64) -> bool {
        self.in_force(values).takes(random)
    }

    /// The fraction that holds now.
    pub fn in_force(&self, values: &RuntimeValues) -> FractionalPercent {
        self.default
            .overridden(self.key.and_then(|key| values.get(key)))
    }
}
