//! Runtime (`envoy.config.bootstrap.v3.LayeredRuntime`): values that may change
//! while the proxy runs.
//!
//! Keys that the configuration reads are numbered ([`RuntimeKeys`]) when it is
//! lowered. A worker holds the current values of all numbered keys
//! ([`RuntimeValues`]), so asking for one is an index.

use std::collections::HashSet;

use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::bootstrap::v3::runtime_layer::LayerSpecifier;
use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::r#type::v3 as type_pb;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};

use crate::context::Cx;
use crate::names::Interner;

/// The number of a runtime key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeKey(pub u32);

/// Gives every runtime key that something reads a number.
#[derive(Debug, Default)]
pub struct RuntimeKeys(Interner);

impl RuntimeKeys {
    /// The number of `name`, given now if it has none.
    pub fn id(&self, name: &str) -> RuntimeKey {
        RuntimeKey(self.0.id(name))
    }

    /// The number of `name` if something reads it.
    pub fn find(&self, name: &str) -> Option<RuntimeKey> {
        self.0.find(name).map(RuntimeKey)
    }

    /// How many keys have a number; numbers are all below this.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing reads any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

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

/// The values of all numbered keys; immutable, replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct RuntimeValues {
    values: Box<[Option<RuntimeValue>]>,
}

impl RuntimeValues {
    /// Values by key number.
    pub fn new(values: Vec<Option<RuntimeValue>>) -> Self {
        RuntimeValues {
            values: values.into(),
        }
    }

    /// The value of a key, if any layer has one.
    pub fn get(&self, key: RuntimeKey) -> Option<&RuntimeValue> {
        self.values.get(key.0 as usize)?.as_ref()
    }

    /// A key's value as a whole number.
    pub fn integer(&self, key: RuntimeKey, default: u64) -> u64 {
        match self.get(key) {
            Some(RuntimeValue::Integer(value)) => *value,
            _ => default,
        }
    }
}

/// A compiled `envoy.type.v3.FractionalPercent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FractionalPercent {
    /// So many
    pub numerator: u32,
    /// of so many: 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl FractionalPercent {
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
    pub fn lower(message: &core_pb::RuntimeFractionalPercent, cx: &Cx<'_>) -> Self {
        let default = message.default_value.as_ref();
        RuntimeFraction {
            key: (!message.runtime_key.is_empty())
                .then(|| cx.runtime_keys.id(&message.runtime_key)),
            default: default.map_or(NEVER, FractionalPercent::lower),
        }
    }

    /// Whether the request with this random number is among the fraction.
    pub fn takes(&self, values: &RuntimeValues, random: u64) -> bool {
        let fraction = match self.key.and_then(|key| values.get(key)) {
            Some(RuntimeValue::Fraction(fraction)) => *fraction,
            // A plain number is a percentage.
            Some(RuntimeValue::Integer(value)) => FractionalPercent {
                numerator: u32::try_from(*value).unwrap_or(u32::MAX),
                denominator: 100,
            },
            _ => self.default,
        };
        fraction.takes(random)
    }
}

const NEVER: FractionalPercent = FractionalPercent {
    numerator: 0,
    denominator: 100,
};

/// Reports layers that cannot be had and keys that would have an effect.
pub(crate) fn check(proto: &pb::LayeredRuntime, cx: &mut Cx<'_>) {
    let (mut names, mut admin_layers) = (HashSet::new(), 0);
    for (i, layer) in proto.layers.iter().enumerate() {
        cx.index("layers", i, |cx| {
            if !names.insert(layer.name.as_str()) {
                cx.error_at("name", format!("duplicate layer name: {}", layer.name));
            }
            match &layer.layer_specifier {
                Some(LayerSpecifier::StaticLayer(values)) => cx.field("static_layer", |cx| {
                    check_values(values, &mut String::new(), cx);
                }),
                Some(LayerSpecifier::AdminLayer(_)) => {
                    admin_layers += 1;
                    if admin_layers > 1 {
                        cx.error_at("admin_layer", "at most one admin layer may be given");
                    }
                }
                Some(LayerSpecifier::DiskLayer(_)) => {
                    cx.error_at("disk_layer", "not supported yet");
                }
                Some(LayerSpecifier::RtdsLayer(_)) => {
                    cx.error_at("rtds_layer", "not supported yet");
                }
                None => {
                    cx.error("static_layer, disk_layer, admin_layer or rtds_layer is needed here");
                }
            }
        });
    }
}

/// Visits every key, written with dots as Envoy's runtime does: nested
/// structs and dotted names mean the same. A struct with a `numerator` is a
/// value, not a folder.
fn check_values(values: &Struct, prefix: &mut String, cx: &mut Cx<'_>) {
    let mut fields: Vec<_> = values.fields.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    for (name, value) in fields {
        let length = prefix.len();
        if !prefix.is_empty() {
            prefix.push('.');
        }
        prefix.push_str(name);
        match &value.kind {
            Some(Kind::StructValue(inner)) if !inner.fields.contains_key("numerator") => {
                check_values(inner, prefix, cx);
            }
            _ => check_key(prefix, cx),
        }
        prefix.truncate(length);
    }
}

fn check_key(key: &str, cx: &mut Cx<'_>) {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if begins(WITH_EFFECT) && !begins(WITHOUT_EFFECT) {
        cx.error(format!("runtime key {key}: not supported yet"));
    } else {
        cx.warn(format!("runtime key {key}: nothing reads it yet"));
    }
}

/// Keys that Envoy itself reads and that change what it does.
const WITH_EFFECT: &[&str] = &[
    "circuit_breakers.",
    "envoy.resource_limits.",
    "health_check.",
    "http.",
    "http_connection_manager.",
    "overload.",
    "upstream.",
];

/// Of those, keys about protocols that are not spoken yet.
const WITHOUT_EFFECT: &[&str] = &["overload.premature_reset_"];
