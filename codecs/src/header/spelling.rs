//! How names look on the wire, where they are not in lower case.
//!
//! A list keeps names in lower case. One that is told to keeps beside them how
//! the peer wrote each, and its fields go out like that whatever becomes of
//! them in between: a field that is removed and set again looks as before.

use super::{HeaderMap, Range};

/// How names are written that no peer has written otherwise.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub enum NameCase {
    /// In lower case, as they are kept.
    #[default]
    Lower,
    /// With a capital at the start of each word: `X-Request-Id`.
    Proper,
}

/// That names keep the case in which they are received (Envoy's
/// `PreserveCaseFormatterConfig`).
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct PreserveCase {
    /// How names look that were not received.
    pub others: NameCase,
    /// A response keeps its reason phrase, too.
    pub reason_phrase: bool,
}

/// What a list keeps: ranges of its arena.
#[derive(Clone, Default, Debug)]
pub(super) struct Kept {
    is_on: bool,
    others: NameCase,
    names: Vec<Range>,
    reason_phrase: Option<Range>,
}

impl Kept {
    /// Forgets a message and keeps the memory for the next one.
    pub(super) fn clear(&mut self) {
        self.is_on = false;
        self.names.clear();
        self.reason_phrase = None;
    }
}

/// How the peer wrote a message.
#[derive(Copy, Clone)]
pub(crate) struct Spelling<'a> {
    arena: &'a [u8],
    kept: &'a Kept,
}

impl<'a> Spelling<'a> {
    /// A lower-case name as the peer wrote it where it did so first.
    pub(crate) fn of(self, lower: &[u8]) -> Option<&'a [u8]> {
        let mut names = self.kept.names.iter().map(|name| name.of(self.arena));
        names.find(|name| name.eq_ignore_ascii_case(lower))
    }

    /// How names look that the peer has not written.
    pub(crate) fn others(self) -> NameCase {
        self.kept.others
    }

    /// The reason phrase of the status line; `None` for the usual one.
    pub(crate) fn reason_phrase(self) -> Option<&'a [u8]> {
        self.kept.reason_phrase.map(|range| range.of(self.arena))
    }
}

impl HeaderMap {
    /// From here to the next [`clear`](HeaderMap::clear), names are kept as
    /// they are received.
    #[cold]
    pub(crate) fn keep_spelling(&mut self, options: PreserveCase) {
        let kept = self.spelling.get_or_insert_default();
        kept.is_on = true;
        kept.others = options.others;
    }

    /// Keeps a name as it was received.
    pub(crate) fn push_spelling(&mut self, name: &[u8]) {
        let range = self.store(name);
        if let Some(kept) = &mut self.spelling {
            kept.names.push(range);
        }
    }

    /// Keeps the reason phrase of a status line. Without one the usual is
    /// written.
    pub(crate) fn push_reason_phrase(&mut self, phrase: &[u8]) {
        let range = self.store(phrase);
        if let Some(kept) = &mut self.spelling {
            kept.reason_phrase = (!phrase.is_empty()).then_some(range);
        }
    }

    /// How the peer wrote the message, if that is kept.
    #[inline]
    pub(crate) fn spelling(&self) -> Option<Spelling<'_>> {
        let kept = self.spelling.as_deref().filter(|kept| kept.is_on)?;
        Some(Spelling {
            arena: &self.arena,
            kept,
        })
    }

    /// Forgets how the peer wrote the message.
    pub fn forget_spelling(&mut self) {
        if let Some(kept) = &mut self.spelling {
            kept.clear();
        }
    }
}
