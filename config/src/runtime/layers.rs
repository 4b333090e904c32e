//! The layers of the runtime: values of the file, and those that
//! `/runtime_modify` puts over them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};

use envoy_types::pb::envoy::config::bootstrap::v3 as pb;
use envoy_types::pb::envoy::config::bootstrap::v3::runtime_layer::LayerSpecifier;
use envoy_types::pb::google::protobuf::{Struct, value::Kind};

use super::{RuntimeKeys, RuntimeValue, RuntimeValues};
use crate::context::Cx;
use crate::diagnostics::Diagnostics;
use crate::yaml;

/// Keys that `/runtime_modify` may hold: who asks for more has lost count.
const ADMIN_KEYS_MAX: usize = 10_000;

/// All layers, the lowest first: a later layer's value of a key counts.
#[derive(Clone, Debug, Default)]
pub struct RuntimeLayers {
    layers: Vec<RuntimeLayer>,
}

/// A layer.
#[derive(Clone, Debug)]
pub struct RuntimeLayer {
    name: Box<str>,
    is_admin: bool,
    entries: BTreeMap<Box<str>, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: RuntimeValue,
    /// As it is shown.
    shown: Box<str>,
    origin: Origin,
}

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is in the file, at this path.
    Written(Box<str>),
    /// Somebody has set it by `/runtime_modify`.
    Modified,
}

/// Why `/runtime_modify` refused a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// There is no admin layer.
    NoAdminLayer,
    /// A value is no YAML, for this reason.
    Malformed(String),
    /// More than 10,000 keys.
    TooMany,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAdminLayer => f.write_str("No admin layer specified"),
            Self::Malformed(reason) => f.write_str(reason),
            Self::TooMany => write!(f, "more than {ADMIN_KEYS_MAX} keys"),
        }
    }
}

impl std::error::Error for BadValue {}

impl RuntimeLayer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl RuntimeLayers {
    /// Reads the message, or reports what is wrong with it.
    pub(crate) fn lower(message: &pb::LayeredRuntime, cx: &mut Cx<'_>) -> Self {
        let (mut names, mut admin_layers) = (HashSet::new(), 0);
        let mut layers = Vec::with_capacity(message.layers.len());
        for (i, layer) in message.layers.iter().enumerate() {
            cx.index("layers", i, |cx| {
                if !names.insert(layer.name.as_str()) {
                    cx.error_at("name", format!("duplicate layer name: {}", layer.name));
                }
                let mut lowered = RuntimeLayer {
                    name: layer.name.as_str().into(),
                    is_admin: false,
                    entries: BTreeMap::new(),
                };
                match &layer.layer_specifier {
                    Some(LayerSpecifier::StaticLayer(values)) => cx.field("static_layer", |cx| {
                        lowered.add(values, &mut String::new(), &mut cx.path().to_owned(), cx);
                    }),
                    Some(LayerSpecifier::AdminLayer(_)) => {
                        lowered.is_admin = true;
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
                    None => cx.error(
                        "static_layer, disk_layer, admin_layer or rtds_layer is needed here",
                    ),
                }
                layers.push(lowered);
            });
        }
        Self { layers }
    }

    /// The layers, the lowest first.
    pub fn layers(&self) -> &[RuntimeLayer] {
        &self.layers
    }

    /// Every key with its text in each layer, or an empty text.
    pub fn entries(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (number, layer) in self.layers.iter().enumerate() {
            for (key, entry) in &layer.entries {
                let texts = all
                    .entry(key)
                    .or_insert_with(|| vec![""; self.layers.len()]);
                texts[number] = &entry.shown;
            }
        }
        all
    }

    /// Where the value of a key comes from that holds now, if it has any.
    pub fn origin_of(&self, key: &str) -> Option<&Origin> {
        let mut layers = self.layers.iter().rev();
        let entry = layers.find_map(|layer| layer.entries.get(key))?;
        Some(&entry.origin)
    }

    /// Whether `/runtime_modify` has changed anything.
    pub fn is_overridden(&self) -> bool {
        self.layers
            .iter()
            .any(|layer| layer.is_admin && !layer.entries.is_empty())
    }

    /// The values of all keys that something reads.
    pub fn values(&self, keys: &RuntimeKeys) -> RuntimeValues {
        let mut values = vec![None; keys.len()];
        let mut families = vec![HashMap::new(); keys.families.len()];
        for layer in &self.layers {
            for (key, entry) in &layer.entries {
                if let Some(number) = keys.find(key) {
                    values[number.0 as usize] = Some(entry.value.clone());
                }
                for (family, part) in keys.families_of(key) {
                    families[family].insert(part.as_bytes().into(), entry.value.clone());
                }
            }
        }
        RuntimeValues {
            values: values.into(),
            families: families.into(),
        }
    }

    /// Sets keys of the admin layer; an empty text takes one back. Of two
    /// texts for a key the first counts, as in Envoy.
    ///
    /// # Errors
    /// There is no admin layer, or a text is wrong; then nothing is changed.
    /// (Envoy keeps what it had taken up to there, and shows it only after the
    /// next change.)
    pub fn modify(&mut self, changes: &[(String, String)]) -> Result<(), BadValue> {
        let layer = self
            .layers
            .iter_mut()
            .find(|layer| layer.is_admin)
            .ok_or(BadValue::NoAdminLayer)?;
        let mut entries = layer.entries.clone();
        let mut seen = HashSet::new();
        for (key, text) in changes {
            if !seen.insert(key) {
                continue;
            }
            if text.is_empty() {
                entries.remove(key.as_str());
                continue;
            }
            let entry = Entry {
                value: parse(text)?,
                shown: text.as_str().into(),
                origin: Origin::Modified,
            };
            entries.insert(key.as_str().into(), entry);
        }
        if entries.len() > ADMIN_KEYS_MAX {
            return Err(BadValue::TooMany);
        }
        layer.entries = entries;
        Ok(())
    }
}

impl RuntimeLayer {
    /// Visits every key, written with dots as Envoy's runtime does: nested
    /// structs and dotted names mean the same. An empty struct is a value, and
    /// so is one that could be a fraction. `path` leads to `values` in the file.
    fn add(&mut self, values: &Struct, prefix: &mut String, path: &mut String, cx: &mut Cx<'_>) {
        let mut fields: Vec<_> = values.fields.iter().collect();
        fields.sort_by_key(|(name, _)| *name);
        for (name, value) in fields {
            let lengths = (prefix.len(), path.len());
            prefix.push_str(name);
            // Writing to a string cannot fail.
            let _ = write!(path, "[{name:?}]");
            match &value.kind {
                Some(Kind::StructValue(inner)) if is_folder(inner) => {
                    prefix.push('.');
                    self.add(inner, prefix, path, cx);
                }
                _ => match RuntimeValue::lower(value) {
                    None => cx.error(format!("runtime key {prefix}: not a value")),
                    Some((value, shown)) => {
                        let entry = Entry {
                            value,
                            shown: shown.into(),
                            origin: Origin::Written(path.as_str().into()),
                        };
                        self.set(prefix, entry, cx);
                    }
                },
            }
            prefix.truncate(lengths.0);
            path.truncate(lengths.1);
        }
    }

    fn set(&mut self, key: &str, entry: Entry, cx: &mut Cx<'_>) {
        if self.entries.insert(key.into(), entry).is_some() {
            // Envoy takes the one that its hash table has first.
            cx.error(format!(
                "runtime key {key}: given twice in this layer, with a dot and as a field"
            ));
        }
    }
}

fn is_folder(fields: &Struct) -> bool {
    let fields = &fields.fields;
    !fields.is_empty() && !fields.contains_key("numerator") && !fields.contains_key("denominator")
}

fn parse(text: &str) -> Result<RuntimeValue, BadValue> {
    let mut found = Diagnostics::new();
    let root = yaml::parse(text, &"value".into(), &mut found);
    match root {
        Some(root) if !found.has_errors() => Ok(RuntimeValue::document(text, &root)),
        _ => {
            let reason = found.iter().next().map(ToString::to_string);
            Err(BadValue::Malformed(reason.unwrap_or_default()))
        }
    }
}

/// Reports keys of the file that nothing reads, once everything that may read
/// one has been compiled. Where something could not be, or names something that
/// does not exist, a key may be the one that it should have read, so only keys
/// that are Envoy's own are told of.
pub fn report_unread(layers: &RuntimeLayers, cx: &mut Cx<'_>) {
    let complete = !cx.has_errors();
    for layer in &layers.layers {
        for (key, entry) in &layer.entries {
            let Origin::Written(path) = &entry.origin else {
                continue;
            };
            if cx.runtime_keys.is_read(key) {
                continue;
            }
            cx.at(path, |cx| {
                if WITH_EFFECT.iter().any(|prefix| key.starts_with(prefix)) {
                    cx.error(format!("runtime key {key}: not supported yet"));
                } else if complete {
                    cx.warn(format!("runtime key {key}: nothing reads it yet"));
                }
            });
        }
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
