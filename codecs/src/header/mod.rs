//! The header list: ordered, flat, with duplicates, for every protocol.
//!
//! Start with [`HeaderMap`]. Names are in lower case everywhere; whoever
//! appends a name from outside lower-cases it first (the codecs do). Nothing
//! here checks syntax: that is the codecs' work before they append.

mod id;
mod lines;
mod map;
mod received;
mod spelling;

pub use id::HeaderId;
pub use lines::Lines;
pub use map::HeaderMap;
pub(crate) use map::Range;
pub(crate) use spelling::Spelling;
pub use spelling::{NameCase, PreserveCase};

/// A header name as it is kept: an id, or the lower-case bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum HeaderName<'a> {
    /// One of the names that the proxy knows.
    Known(HeaderId),
    /// Any other name, in lower case.
    Other(&'a [u8]),
}

impl<'a> HeaderName<'a> {
    /// The lower-case name.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match *self {
            HeaderName::Known(id) => id.as_str().as_bytes(),
            HeaderName::Other(name) => name,
        }
    }

    /// The name `lower` as it is kept: known names become ids.
    #[inline]
    pub fn resolve(lower: &'a [u8]) -> HeaderName<'a> {
        match HeaderId::from_lower(lower) {
            Some(id) => HeaderName::Known(id),
            None => HeaderName::Other(lower),
        }
    }
}

#[cfg(test)]
mod tests;
