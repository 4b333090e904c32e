//! How the codecs fill a list: bytes first, entries into them after.
//!
//! A head is stored whole and its fields become ranges of it, so that no value
//! is copied twice. A trailer line grows at the end of the arena until it is
//! complete, so that the body decoder needs no memory of its own.

use super::{HeaderId, HeaderMap, HeaderName, Range};

impl HeaderMap {
    /// Copies a received head into the arena. The ranges of the entries that
    /// [`push_received`](HeaderMap::push_received) adds count from its start;
    /// the returned base must be handed back with each of them.
    #[inline]
    pub(crate) fn store_received(&mut self, head: &[u8]) -> u32 {
        self.store(head).start
    }

    /// Adds a field of a received head: `name` and `value` are offsets and
    /// lengths within the bytes of `store_received`. The name is lower-cased
    /// in place and resolved.
    #[inline]
    pub(crate) fn push_received(&mut self, name: Range, value: Range) -> Option<HeaderId> {
        let bytes = &mut self.arena[name.bounds()];
        bytes.make_ascii_lowercase();
        let id = HeaderId::from_lower(bytes);
        match id {
            Some(id) => self.push_known(id, value),
            None => self.push_other(name, value),
        }
        id
    }

    /// Adds an entry for a codec that is given names, in lower case, and values
    /// by others. Lines that should be one stay apart until
    /// [`join_repeated`](HeaderMap::join_repeated): joining each as it comes
    /// would copy the first ones again and again.
    pub fn append_received(&mut self, lower: &[u8], value: &[u8]) {
        match HeaderName::resolve(lower) {
            HeaderName::Known(id) => {
                let value = self.store(value);
                self.push_known(id, value);
            }
            HeaderName::Other(_) => {
                let name = self.store(lower);
                let value = self.store(value);
                self.push_other(name, value);
            }
        }
    }

    /// The length of the arena, where a trailer line that is being received
    /// begins.
    pub(crate) fn arena_len(&self) -> u32 {
        self.arena.len() as u32
    }

    /// Adds received bytes of a trailer line, which belong to no entry yet.
    pub(crate) fn extend_arena(&mut self, bytes: &[u8]) {
        self.arena.extend_from_slice(bytes);
    }

    /// The received bytes of a trailer line that begins at `start`.
    pub(crate) fn arena_from(&self, start: u32) -> &[u8] {
        self.arena.get(start as usize..).unwrap_or_default()
    }

    /// Drops a trailer line that begins at `start`.
    pub(crate) fn truncate_arena(&mut self, start: u32) {
        self.arena.truncate(start as usize);
    }

    /// Makes an entry of a trailer line that begins at `start`, unless its
    /// name has an id that `allowed` refuses; says whether it did. The name
    /// has `name` bytes, `value` counts from the start of the line.
    pub(crate) fn push_trailer(
        &mut self,
        start: u32,
        name: usize,
        value: std::ops::Range<usize>,
        allowed: impl FnOnce(HeaderId) -> bool,
    ) -> bool {
        let name = Range::new(start as usize, name);
        let value = Range::new(start as usize + value.start, value.len());
        let bytes = &mut self.arena[name.bounds()];
        bytes.make_ascii_lowercase();
        match HeaderId::from_lower(bytes) {
            Some(id) if !allowed(id) => return false,
            Some(id) => self.push_known(id, value),
            None => self.push_other(name, value),
        }
        true
    }

    /// At least the bytes of a written head, roughly: what the arena holds,
    /// and some for each name and line.
    #[inline]
    pub(crate) fn encoded_size_hint(&self) -> usize {
        self.arena.len() + self.len() * 24 + 64
    }
}
