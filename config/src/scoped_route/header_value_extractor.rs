//! `ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor`: one fragment of a
//! scope key, cut out of a header.

use crate::context::Cx;
use crate::route::HeaderKey;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::scoped_routes::scope_key_builder::fragment_builder as pb;
use memchr::memmem;
use pb::header_value_extractor::ExtractType;
use ringway_codecs::header::HeaderMap;

/// Where in a header a fragment stands. Of a header with several lines only
/// the first counts, as in Envoy.
#[derive(Debug)]
pub(super) struct HeaderValueExtractor {
    header: HeaderKey,
    /// Between elements; empty when the whole value is one element.
    separator: Box<[u8]>,
    element: Element,
}

#[derive(Debug)]
enum Element {
    /// By its place, from 0.
    Index(usize),
    /// The value of the first element with this key.
    Key {
        key: Box<[u8]>,
        separator: Box<[u8]>,
    },
}

impl HeaderValueExtractor {
    /// The fragment of a request with these headers.
    pub(super) fn value<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        let value = self.header.first(headers)?;
        let mut elements = split(value, &self.separator);
        match &self.element {
            Element::Index(index) => elements.nth(*index),
            Element::Key { key, separator } => elements.find_map(|element| {
                let at = memmem::find(element, separator);
                let (found, value) = match at {
                    Some(at) => (&element[..at], &element[at + separator.len()..]),
                    // As in Envoy, an element without a value has an empty one.
                    None => (element, &element[element.len()..]),
                };
                (*found == **key).then_some(value)
            }),
        }
    }

    pub(super) fn lower(message: &pb::HeaderValueExtractor, cx: &mut Cx<'_>) -> Option<Self> {
        let element = match &message.extract_type {
            Some(ExtractType::Index(index)) => {
                if *index > 0 && message.element_separator.is_empty() {
                    let reason = "must be 0 without an element_separator: \
                                  the whole value is one element";
                    cx.error_at("index", reason);
                    return None;
                }
                Element::Index(*index as usize)
            }
            Some(ExtractType::Element(element)) => Element::Key {
                key: element.key.as_bytes().into(),
                separator: element.separator.as_bytes().into(),
            },
            None => {
                cx.error("an index or an element is needed here");
                return None;
            }
        };
        Some(HeaderValueExtractor {
            header: HeaderKey::new(&message.name),
            separator: message.element_separator.as_bytes().into(),
            element,
        })
    }
}

/// The parts of `value` between separators; all of it when there is no
/// separator.
fn split<'v>(value: &'v [u8], separator: &[u8]) -> impl Iterator<Item = &'v [u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let at = match separator {
            [] => None,
            _ => memmem::find(value, separator),
        };
        let Some(at) = at else {
            return rest.take();
        };
        rest = Some(&value[at + separator.len()..]);
        Some(&value[..at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(separator: &str, index: usize) -> HeaderValueExtractor {
        HeaderValueExtractor {
            header: HeaderKey::new("x-s"),
            separator: separator.as_bytes().into(),
            element: Element::Index(index),
        }
    }

    fn keyed(between: &str, separator: &str, key: &str) -> HeaderValueExtractor {
        HeaderValueExtractor {
            header: HeaderKey::new("x-s"),
            separator: between.as_bytes().into(),
            element: Element::Key {
                key: key.as_bytes().into(),
                separator: separator.as_bytes().into(),
            },
        }
    }

    #[test]
    fn values() {
        for (extractor, header, expected) in [
            (index("", 0), "a;b", Some("a;b")),
            (index("", 0), "", Some("")),
            (index(";", 0), "a;b", Some("a")),
            (index(";", 1), "a;b;c", Some("b")),
            (index(";", 1), "a; b", Some(" b")),
            (index(";", 1), "a;", Some("")),
            (index(";", 1), "a", None),
            (index(";", 2), "a;b", None),
            (index("; ", 1), "a;b; c", Some("c")),
            (index("--", 1), "a---b", Some("-b")),
            (keyed(",", "=", "k"), "k=a", Some("a")),
            (keyed(",", "=", "k"), "j=b,k=a", Some("a")),
            (keyed(",", "=", "k"), "k=a,k=b", Some("a")),
            (keyed(",", "=", "k"), "k", Some("")),
            (keyed(",", "=", "k"), "k=", Some("")),
            (keyed(",", "=", "k"), "k=a=b", Some("a=b")),
            (keyed(",", "=", "k"), "k==a", Some("=a")),
            (keyed(",", "=", "k"), "j, k=a", None),
            (keyed(",", "=", "k"), "K=a", None),
            (keyed(",", "=", "k"), "", None),
            (keyed("", "=", "k"), "k=a,k=b", Some("a,k=b")),
            (keyed("", "::", "k"), "k::a", Some("a")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append_name(b"x-s", header.as_bytes());
            let found = extractor.value(&headers);
            assert_eq!(found, expected.map(str::as_bytes), "{extractor:?} {header}");
        }
        assert_eq!(index("", 0).value(&HeaderMap::new()), None);
    }

    #[test]
    fn the_first_line_counts() {
        let mut headers = HeaderMap::new();
        headers.append_name(b"x-s", b"x");
        headers.append_name(b"x-s", b"k=a;k=a");
        assert_eq!(index(";", 1).value(&headers), None);
        assert_eq!(keyed(";", "=", "k").value(&headers), None);
        assert_eq!(index(";", 0).value(&headers), Some(&b"x"[..]));
    }
}
