//! The name of a header that a route reads, resolved when it is lowered.

use super::header_mutation::is_token_byte;
use crate::context::Cx;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// A header's name as the header list looks it up.
#[derive(Debug, PartialEq)]
pub enum HeaderKey {
    /// One of those that have a number.
    Known(HeaderId),
    /// Any other, in lower case.
    Other(Box<[u8]>),
}

impl HeaderKey {
    /// The key of a name in any case.
    pub fn new(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match HeaderId::from_lower(name.as_bytes()) {
            // The Host header is `:authority` by the time routes are matched.
            Some(HeaderId::Host) => HeaderKey::Known(HeaderId::Authority),
            Some(id) => HeaderKey::Known(id),
            None => HeaderKey::Other(name.into_bytes().into()),
        }
    }

    /// Warns of a name in the field `field` that no request can have. Envoy
    /// takes it.
    pub fn warn_of_odd(field: &str, name: &str, cx: &mut Cx<'_>) {
        let sent = name.strip_prefix(':').unwrap_or(name);
        if !sent.bytes().all(is_token_byte) {
            let reason = format!("{name:?} cannot be the name of a header: no request has it");
            cx.warn_at(field, reason);
        }
    }

    /// The key of a name that may be empty, for "none".
    pub fn optional(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self::new(name))
    }

    /// The name, in lower case.
    pub fn name(&self) -> &[u8] {
        match self {
            HeaderKey::Known(id) => id.as_str().as_bytes(),
            HeaderKey::Other(name) => name,
        }
    }

    /// The first value of the header.
    pub fn first<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        match self {
            HeaderKey::Known(id) => headers.get(*id),
            HeaderKey::Other(name) => headers.get_name(name),
        }
    }

    /// The value of a header that occurs exactly once.
    pub fn only<'h>(&'h self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        fn one<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
            let value = values.next()?;
            values.next().is_none().then_some(value)
        }
        match self {
            HeaderKey::Known(id) => one(headers.get_all(*id)),
            HeaderKey::Other(name) => one(headers.get_all_name(name)),
        }
    }
}
