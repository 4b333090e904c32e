//! The three ways in which a head's names are written.
//!
//! The encoders are compiled for each of them, so that the usual one costs
//! nothing that it would not cost alone.

use crate::header::{NameCase, Spelling};

/// How names are written.
pub(super) trait Names: Copy {
    /// Appends a name, which is in lower case.
    fn push(self, out: &mut Vec<u8>, lower: &[u8]);

    /// Appends bytes that begin with a name and a colon.
    #[inline]
    fn push_start(self, out: &mut Vec<u8>, line: &'static [u8]) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        self.push(out, &line[..colon]);
        out.extend_from_slice(&line[colon..]);
    }

    /// The reason phrase, where it is not the usual one.
    #[inline]
    fn reason_phrase(&self) -> Option<&[u8]> {
        None
    }
}

/// As they are kept.
#[derive(Copy, Clone)]
pub(super) struct LowerCase;

impl Names for LowerCase {
    #[inline]
    fn push(self, out: &mut Vec<u8>, lower: &[u8]) {
        out.extend_from_slice(lower);
    }

    #[inline]
    fn push_start(self, out: &mut Vec<u8>, line: &'static [u8]) {
        out.extend_from_slice(line);
    }
}

/// With a capital at the start of each word. As in Envoy, every byte that is
/// neither a letter nor a digit ends a word.
#[derive(Copy, Clone)]
pub(super) struct ProperCase;

impl Names for ProperCase {
    fn push(self, out: &mut Vec<u8>, lower: &[u8]) {
        let mut starts_word = true;
        out.extend(lower.iter().map(|byte| {
            let written = match starts_word {
                true => byte.to_ascii_uppercase(),
                false => *byte,
            };
            starts_word = !byte.is_ascii_alphanumeric();
            written
        }));
    }
}

/// As the peer wrote them.
impl Names for Spelling<'_> {
    fn push(self, out: &mut Vec<u8>, lower: &[u8]) {
        match (self.of(lower), self.others()) {
            (Some(name), _) => out.extend_from_slice(name),
            (None, NameCase::Lower) => LowerCase.push(out, lower),
            (None, NameCase::Proper) => ProperCase.push(out, lower),
        }
    }

    fn reason_phrase(&self) -> Option<&[u8]> {
        Spelling::reason_phrase(*self)
    }
}
