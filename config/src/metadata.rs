//! Metadata (`envoy.config.core.v3.Metadata`): values by namespace and key, as
//! the configuration attaches them to routes, clusters and hosts, and as
//! filters attach them to requests.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::google::protobuf;
use envoy_types::pb::google::protobuf::value::Kind;
use serde_json::Value as Json;

use crate::dump::number;

/// A `google.protobuf.Value`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text; bytes that a peer sent need not be UTF-8.
    Text(Box<[u8]>),
    /// A list.
    List(Vec<Value>),
    /// A struct.
    Struct(Struct),
}

/// A `google.protobuf.Struct`: fields in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct(Vec<(Box<str>, Value)>);

/// Structs by namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(Vec<(Box<str>, Struct)>);

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'a> {
    /// A whole namespace, or a struct in it.
    Struct(&'a Struct),
    /// Any other value.
    Value(&'a Value),
}

impl Found<'_> {
    /// It as JSON.
    pub fn to_json(self) -> Json {
        match self {
            Found::Struct(fields) => fields.to_json(),
            Found::Value(value) => value.to_json(),
        }
    }
}

/// The metadata of a route and of the virtual host that it is in.
#[derive(Debug, Default)]
pub struct RouteMetadata {
    /// `Route.metadata`
    pub route: Metadata,
    /// `VirtualHost.metadata`
    pub virtual_host: Arc<Metadata>,
}

impl Value {
    /// Takes a message over. A value of no kind, which only a peer's bytes can
    /// be, is `None`, and null inside another one.
    pub fn from_proto(proto: &protobuf::Value) -> Option<Self> {
        Some(match proto.kind.as_ref()? {
            Kind::NullValue(_) => Value::Null,
            Kind::BoolValue(value) => Value::Bool(*value),
            Kind::NumberValue(value) => Value::Number(*value),
            Kind::StringValue(text) => Value::text(text.as_bytes()),
            Kind::ListValue(list) => {
                let values = list.values.iter();
                Value::List(
                    values
                        .map(|value| Self::from_proto(value).unwrap_or(Value::Null))
                        .collect(),
                )
            }
            Kind::StructValue(fields) => Value::Struct(Struct::from_proto(fields)),
        })
    }

    /// The message. Of a text that is not UTF-8, what is none is replaced.
    pub fn to_proto(&self) -> protobuf::Value {
        let kind = match self {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(value) => Kind::NumberValue(*value),
            Value::Text(bytes) => Kind::StringValue(String::from_utf8_lossy(bytes).into_owned()),
            Value::List(values) => Kind::ListValue(protobuf::ListValue {
                values: values.iter().map(Self::to_proto).collect(),
            }),
            Value::Struct(fields) => Kind::StructValue(fields.to_proto()),
        };
        protobuf::Value { kind: Some(kind) }
    }

    /// A text.
    pub fn text(bytes: &[u8]) -> Self {
        Value::Text(bytes.into())
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(value) => number(*value),
            Value::Text(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
            Value::List(values) => values.iter().map(Self::to_json).collect(),
            Value::Struct(fields) => fields.to_json(),
        }
    }

    /// The value as balancers compare it.
    pub fn for_subsets(&self) -> ringway_lb::metadata::Value {
        use ringway_lb::metadata::Value as Lb;
        match self {
            Value::Null => Lb::Null,
            Value::Bool(value) => Lb::Bool(*value),
            Value::Number(value) => Lb::Number(*value),
            Value::Text(bytes) => Lb::string(&String::from_utf8_lossy(bytes)),
            Value::List(values) => Lb::List(values.iter().map(Self::for_subsets).collect()),
            Value::Struct(fields) => Lb::Struct(
                (fields.iter())
                    .map(|(name, value)| (name.into(), value.for_subsets()))
                    .collect(),
            ),
        }
    }
}

impl Struct {
    /// Takes a message over.
    pub fn from_proto(proto: &protobuf::Struct) -> Self {
        let mut fields: Vec<(Box<str>, Value)> = proto
            .fields
            .iter()
            .map(|(name, value)| {
                let value = Value::from_proto(value).unwrap_or(Value::Null);
                (name.as_str().into(), value)
            })
            .collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Struct(fields)
    }

    /// The message.
    pub fn to_proto(&self) -> protobuf::Struct {
        let fields = self.iter();
        protobuf::Struct {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_proto()))
                .collect(),
        }
    }

    /// The struct as JSON.
    pub fn to_json(&self) -> Json {
        (self.iter())
            .map(|(name, value)| (name, value.to_json()))
            .collect()
    }

    /// The fields in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let place = self.place(name).ok()?;
        Some(&self.0[place].1)
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.place(name) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name.into(), value)),
        }
    }

    /// Sets all fields of `other`.
    pub fn merge(&mut self, other: &Struct) {
        for (name, value) in other.iter() {
            self.set(name, value.clone());
        }
    }

    /// Sets all fields of `other`, but lists get longer, and structs get more
    /// fields.
    pub fn update(&mut self, other: &Struct) {
        for (name, value) in other.iter() {
            let old = match self.place(name) {
                Ok(place) => Some(&mut self.0[place].1),
                Err(_) => None,
            };
            match (old, value) {
                (Some(Value::List(old)), Value::List(more)) => old.extend(more.iter().cloned()),
                (Some(Value::Struct(old)), Value::Struct(more)) => old.update(more),
                (Some(old), value) => *old = value.clone(),
                (None, value) => self.set(name, value.clone()),
            }
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(field, _)| (**field).cmp(name))
    }
}

/// The namespace that balancers read (`envoy.lb`).
pub const LB_NAMESPACE: &str = "envoy.lb";

impl Metadata {
    /// Of whoever has none.
    pub const EMPTY: &'static Metadata = &Metadata(Vec::new());

    /// Whether these, of a host, say that new versions are tried on it.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        let of_host = self.get(LB_NAMESPACE);
        of_host.and_then(|fields| fields.get("canary")) == Some(&Value::Bool(true))
    }

    /// Takes a message over, apart from its typed metadata.
    pub fn from_proto(proto: Option<&pb::Metadata>) -> Self {
        let mut namespaces: Vec<(Box<str>, Struct)> = proto
            .into_iter()
            .flat_map(|proto| &proto.filter_metadata)
            .map(|(name, fields)| (name.as_str().into(), Struct::from_proto(fields)))
            .collect();
        namespaces.sort_by(|(a, _), (b, _)| a.cmp(b));
        Metadata(namespaces)
    }

    /// [`Metadata::from_proto`] of something that seldom has any.
    pub fn shared(proto: Option<&pb::Metadata>) -> Option<Arc<Self>> {
        let metadata = Self::from_proto(proto);
        (!metadata.is_empty()).then(|| Arc::new(metadata))
    }

    /// Whether there is no namespace.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A namespace.
    pub fn get(&self, namespace: &str) -> Option<&Struct> {
        let place = self.place(namespace).ok()?;
        Some(&self.0[place].1)
    }

    /// A namespace, made if it is not there.
    pub fn entry(&mut self, namespace: &str) -> &mut Struct {
        let place = match self.place(namespace) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, (namespace.into(), Struct::default()));
                place
            }
        };
        &mut self.0[place].1
    }

    /// What is at a path of struct fields in a namespace.
    pub fn find<P: AsRef<str>>(&self, namespace: &str, path: &[P]) -> Option<Found<'_>> {
        let mut found = Found::Struct(self.get(namespace)?);
        for name in path {
            let Found::Struct(fields) = found else {
                return None;
            };
            found = match fields.get(name.as_ref())? {
                Value::Struct(inner) => Found::Struct(inner),
                value => Found::Value(value),
            };
        }
        Some(found)
    }

    fn place(&self, namespace: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (**name).cmp(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&str, Value)]) -> Struct {
        let mut all = Struct::default();
        for (name, value) in fields {
            all.set(name, value.clone());
        }
        all
    }

    #[test]
    fn paths_lead_through_structs_only() {
        let mut metadata = Metadata::default();
        let inner = fields(&[("k", Value::Number(1.0))]);
        let outer = fields(&[
            ("in", Value::Struct(inner.clone())),
            ("t", Value::text(b"x")),
        ]);
        metadata.entry("ns").merge(&outer);
        let find = |path: &[&str]| metadata.find("ns", path);
        assert_eq!(find(&[]), Some(Found::Struct(&outer)));
        assert_eq!(find(&["in"]), Some(Found::Struct(&inner)));
        assert_eq!(find(&["in", "k"]), Some(Found::Value(&Value::Number(1.0))));
        for path in [&["no"][..], &["in", "no"], &["t", "k"], &["in", "k", "k"]] {
            assert_eq!(find(path), None, "{path:?}");
        }
        assert_eq!(metadata.find::<&str>("other", &[]), None);
    }

    #[test]
    fn a_merge_replaces_and_an_update_goes_deep() {
        let list = |texts: &[&str]| {
            Value::List(
                texts
                    .iter()
                    .map(|text| Value::text(text.as_bytes()))
                    .collect(),
            )
        };
        let old = fields(&[
            ("a", Value::Number(1.0)),
            ("l", list(&["x"])),
            (
                "s",
                Value::Struct(fields(&[("p", Value::Null), ("q", Value::Bool(true))])),
            ),
        ]);
        let new = fields(&[
            ("a", Value::text(b"t")),
            ("l", list(&["y"])),
            ("n", Value::Null),
            ("s", Value::Struct(fields(&[("p", Value::Bool(false))]))),
        ]);
        let mut merged = old.clone();
        merged.merge(&new);
        assert_eq!(merged, new);
        let mut updated = old;
        updated.update(&new);
        assert_eq!(
            updated,
            fields(&[
                ("a", Value::text(b"t")),
                ("l", list(&["x", "y"])),
                ("n", Value::Null),
                (
                    "s",
                    Value::Struct(fields(&[
                        ("p", Value::Bool(false)),
                        ("q", Value::Bool(true))
                    ]))
                ),
            ])
        );
    }
}
