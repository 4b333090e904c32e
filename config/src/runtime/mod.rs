//! Runtime (`envoy.config.bootstrap.v3.LayeredRuntime`): values that may change
//! while the proxy runs.
//!
//! Keys that the configuration reads are numbered ([`RuntimeKeys`]) when it is
//! lowered. A worker holds the current values of all numbered keys
//! ([`RuntimeValues`]), so asking for one is an index.
//!
//! - `layers.rs`: where values come from, and how they are changed.
//! - `value.rs`: what a text or a number means.
//! - `fraction.rs`: percentages, with or without a key.
//! - `feature_flag.rs`: switches.
//! - `known.rs`: keys that are always read.

mod feature_flag;
mod fraction;
mod known;
mod layers;
mod value;

pub use feature_flag::RuntimeFeatureFlag;
pub use fraction::{FractionalPercent, RuntimeFraction};
pub use layers::{BadValue, Origin, RuntimeLayer, RuntimeLayers, report_unread};
pub use value::RuntimeValue;

use std::collections::HashMap;

use crate::names::Interner;

/// The number of a runtime key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeKey(pub u32);

/// The number of a family of runtime keys that differ in one part, which a
/// request names: `fault.http.*.delay.fixed_delay_percent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeKeyFamily(u32);

/// Gives every runtime key that something reads a number.
#[derive(Debug)]
pub struct RuntimeKeys {
    keys: Interner,
    families: Interner,
}

impl RuntimeKeys {
    /// The number of `name`, given now if it has none.
    pub fn id(&self, name: &str) -> RuntimeKey {
        RuntimeKey(self.keys.id(name))
    }

    /// The number of `name` if something reads it.
    pub fn find(&self, name: &str) -> Option<RuntimeKey> {
        self.keys.find(name).map(RuntimeKey)
    }

    /// The number of the keys that match `pattern`, whose `*` stands for one or
    /// more characters.
    pub fn family(&self, pattern: &str) -> RuntimeKeyFamily {
        debug_assert!(pattern.contains('*'), "{pattern} is one key");
        RuntimeKeyFamily(self.families.id(pattern))
    }

    /// How many keys have a number; numbers are all below this.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether anything reads the key `name`, by itself or as one of a family.
    fn is_read(&self, name: &str) -> bool {
        self.find(name).is_some() || self.families_of(name).next().is_some()
    }

    /// The families that `name` belongs to, with the part in which it differs.
    fn families_of<'a>(&self, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        (0..self.families.len()).filter_map(move |number| {
            let pattern = self.families.name(number as u32);
            let (before, after) = pattern.split_once('*')?;
            let part = name.strip_prefix(before)?.strip_suffix(after)?;
            (!part.is_empty()).then_some((number, part))
        })
    }
}

/// The values of all numbered keys; immutable, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeValues {
    values: Box<[Option<RuntimeValue>]>,
    /// Families without any value are empty maps.
    families: Box<[HashMap<Box<[u8]>, RuntimeValue>]>,
}

impl RuntimeValues {
    /// The value of a key, if any layer has one.
    pub fn get(&self, key: RuntimeKey) -> Option<&RuntimeValue> {
        self.values.get(key.0 as usize)?.as_ref()
    }

    /// A key's value as a whole number.
    pub fn integer(&self, key: RuntimeKey, default: u64) -> u64 {
        whole_number(self.get(key), default)
    }

    /// A key's value as a percentage; all beyond 100 means all.
    pub fn percent(&self, key: RuntimeKey, default: u64) -> u64 {
        self.integer(key, default).min(100)
    }

    /// The percentage of the requests to this cluster that are refused
    /// (`upstream.maintenance_mode.CLUSTER`).
    pub fn maintenance_percent(&self, cluster: &str) -> u64 {
        let family = RuntimeKeyFamily::MAINTENANCE_MODE;
        self.integer_of(family, cluster.as_bytes(), 0).min(100)
    }

    /// The value of the key of a family whose `*` is `part`, if any layer has
    /// one. A look-up by name, but only in files that use such keys.
    pub fn get_of(&self, family: RuntimeKeyFamily, part: &[u8]) -> Option<&RuntimeValue> {
        let values = self.families.get(family.0 as usize)?;
        if values.is_empty() {
            return None;
        }
        values.get(part)
    }

    /// [`Self::get_of`] as a whole number.
    pub fn integer_of(&self, family: RuntimeKeyFamily, part: &[u8], default: u64) -> u64 {
        whole_number(self.get_of(family, part), default)
    }
}

fn whole_number(value: Option<&RuntimeValue>, default: u64) -> u64 {
    value.and_then(RuntimeValue::as_integer).unwrap_or(default)
}

#[cfg(test)]
mod tests;
