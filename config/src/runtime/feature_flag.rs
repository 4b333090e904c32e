//! Switches that a runtime key may turn.

use envoy_types::pb::envoy::config::core::v3 as core_pb;

use super::{RuntimeKey, RuntimeValue, RuntimeValues};
use crate::context::Cx;
use crate::core;

/// A compiled `envoy.config.core.v3.RuntimeFeatureFlag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeFeatureFlag {
    key: RuntimeKey,
    /// What holds without a value of the key that is true or false; 0 is false,
    /// and other whole numbers are true.
    default: bool,
}

impl RuntimeFeatureFlag {
    /// Reads the message.
    pub fn lower(message: &core_pb::RuntimeFeatureFlag, cx: &mut Cx<'_>) -> Self {
        Self {
            key: cx.runtime_keys.id(&message.runtime_key),
            default: core::bool_or(message.default_value, false),
        }
    }

    /// Whether it is on now.
    #[must_use]
    pub fn is_on(&self, values: &RuntimeValues) -> bool {
        match values.get(self.key) {
            Some(RuntimeValue::Bool(value)) => *value,
            Some(RuntimeValue::Integer(number)) => *number != 0,
            _ => self.default,
        }
    }
}
