//! Places in the metadata of a request
//! (`envoy.type.metadata.v3.MetadataKey`).

use std::fmt;

use envoy_types::pb::envoy::r#type::metadata::v3 as pb;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment;

use crate::metadata::{Found, Metadata, Struct, Value};

/// A field of structs in each other, in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataPath {
    namespace: Box<str>,
    path: Box<[Box<str>]>,
}

impl MetadataPath {
    /// Takes a message over.
    pub(crate) fn lower(proto: &pb::MetadataKey) -> Self {
        Self {
            namespace: proto.key.as_str().into(),
            path: (proto.path.iter())
                .filter_map(|segment| match segment.segment.as_ref()? {
                    Segment::Key(key) => Some(key.as_str().into()),
                    // The support table refuses it.
                    Segment::Index(_) => None,
                })
                .collect(),
        }
    }

    /// The text that is there, if there is one.
    pub fn text<'m>(&self, metadata: &'m Metadata) -> Option<&'m [u8]> {
        match metadata.find(&self.namespace, &self.path)? {
            Found::Value(Value::Text(text)) => Some(&**text),
            _ => None,
        }
    }

    /// Puts a text there. Of the namespace only the field that the path begins
    /// with is another one then, but that as a whole.
    pub fn set_text(&self, metadata: &mut Metadata, text: &[u8]) {
        let Some((first, inner)) = self.path.split_first() else {
            return;
        };
        let value = inner.iter().rfold(Value::text(text), |value, name| {
            let mut fields = Struct::default();
            fields.set(name, value);
            Value::Struct(fields)
        });
        metadata.entry(&self.namespace).set(first, value);
    }
}

impl fmt::Display for MetadataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.path.join(":"))
    }
}

#[cfg(test)]
impl MetadataPath {
    /// For tests.
    pub(crate) fn new(namespace: &str, path: &[&str]) -> Self {
        Self {
            namespace: namespace.into(),
            path: path.iter().map(|name| Box::from(*name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_to_their_places() {
        let mut metadata = Metadata::default();
        let [flat, deep, deeper] =
            [&["a"][..], &["b", "c"], &["b", "d", "e"]].map(|path| MetadataPath::new("n", path));
        flat.set_text(&mut metadata, b"1");
        deep.set_text(&mut metadata, b"2");
        assert_eq!(flat.text(&metadata), Some(&b"1"[..]));
        assert_eq!(deep.text(&metadata), Some(&b"2"[..]));
        deeper.set_text(&mut metadata, b"3");
        assert_eq!(deeper.text(&metadata), Some(&b"3"[..]));
        assert_eq!(deep.text(&metadata), None, "what was beside it is gone");
        assert_eq!(flat.text(&metadata), Some(&b"1"[..]));
        assert_eq!(deeper.to_string(), "n:b:d:e");
        flat.set_text(&mut metadata, b"4");
        assert_eq!(flat.text(&metadata), Some(&b"4"[..]));
    }
}
