//! The list itself.

use super::spelling::Kept;
use super::{HeaderId, HeaderName, Lines};

/// An ordered list of headers, duplicates and pseudo headers included.
///
/// One arena holds every value and every name without an id; an entry is an
/// id or a range of the arena, and the range of its value. A received head is
/// copied into the arena once, so the receive buffer can go back to the ring
/// at once; there are no reference counts, and after warm-up no allocation.
/// Space of removed or replaced values is not reused before [`clear`], which
/// is fine for a list that lives as long as one message.
///
/// A set of 128 bits says which ids are present, so that looking for an absent
/// id costs a bit test; a present one costs a short scan.
///
/// [`clear`]: HeaderMap::clear
#[derive(Default, Clone, Debug)]
pub struct HeaderMap {
    pub(super) arena: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    present: u128,
    /// The ids of which there are several entries, and perhaps some of which
    /// there were.
    pub(super) repeated: u128,
    /// The ids of which there is one entry whatever is added.
    pub(super) single: u128,
    /// Few lists keep any, and the memory only if they have.
    pub(super) spelling: Option<Box<Kept>>,
}

impl HeaderMap {
    /// An empty list that owns no memory yet.
    pub fn new() -> HeaderMap {
        HeaderMap::default()
    }

    /// An empty list for what `lines` says, which owns no memory yet.
    pub const fn of(lines: Lines) -> HeaderMap {
        HeaderMap {
            arena: Vec::new(),
            entries: Vec::new(),
            present: 0,
            repeated: 0,
            single: lines.single(),
            spelling: None,
        }
    }

    /// Removes everything and keeps the memory for the next message.
    #[inline]
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.present = 0;
        self.repeated = 0;
        if self.spelling.is_some() {
            self.forget_spelling();
        }
    }

    /// Gives memory back when the arena holds more than `max_bytes`, so that
    /// one large message does not stay with an idle connection. The list must
    /// be empty: otherwise nothing happens.
    pub fn shrink(&mut self, max_bytes: usize) {
        if !self.entries.is_empty() {
            return;
        }
        if self.arena.capacity() > max_bytes {
            self.arena = Vec::with_capacity(max_bytes);
        }
        let entries_max = max_bytes / size_of::<Entry>();
        if self.entries.capacity() > entries_max {
            self.entries = Vec::with_capacity(entries_max);
        }
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sum of the lengths of all names and values, in bytes.
    pub fn byte_size(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.as_bytes().len() + value.len())
            .sum()
    }

    /// The first value of `id`.
    #[inline]
    pub fn get(&self, id: HeaderId) -> Option<&[u8]> {
        if !self.contains(id) {
            return None;
        }
        let entry = self.entries.iter().find(|e| e.id == id as u8)?;
        Some(self.value(entry))
    }

    /// True when there is an entry of `id`.
    #[inline]
    pub fn contains(&self, id: HeaderId) -> bool {
        self.present & bit(id) != 0
    }

    /// All values of `id` in order.
    #[inline]
    pub fn get_all(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        let entries = match self.contains(id) {
            true => &self.entries[..],
            false => &[],
        };
        entries
            .iter()
            .filter(move |e| e.id == id as u8)
            .map(|e| self.value(e))
    }

    /// The first value of the lower-case name `lower`.
    pub fn get_name(&self, lower: &[u8]) -> Option<&[u8]> {
        match HeaderName::resolve(lower) {
            HeaderName::Known(id) => self.get(id),
            HeaderName::Other(_) => {
                let entry = self.entries.iter().find(|e| self.is_other(e, lower))?;
                Some(self.value(entry))
            }
        }
    }

    /// All values of the lower-case name `lower` in order.
    pub fn get_all_name<'a>(&'a self, lower: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let known = HeaderId::from_lower(lower);
        self.entries
            .iter()
            .filter(move |e| match known {
                Some(id) => e.id == id as u8,
                None => self.is_other(e, lower),
            })
            .map(|e| self.value(e))
    }

    /// All entries in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (HeaderName<'_>, &[u8])> {
        self.entries.iter().map(|e| (self.name(e), self.value(e)))
    }

    /// Adds an entry at the end, or a value to the one line that such headers
    /// have in this list (see [`Lines`]).
    #[inline]
    pub fn append(&mut self, id: HeaderId, value: &[u8]) {
        let value = self.store(value);
        self.add(id, value);
    }

    /// As [`append`](HeaderMap::append), by lower-case name; a name that has an
    /// id is kept as its id.
    pub fn append_name(&mut self, lower: &[u8], value: &[u8]) {
        match HeaderName::resolve(lower) {
            HeaderName::Known(id) => self.append(id, value),
            HeaderName::Other(_) => {
                let name = self.store(lower);
                let value = self.store(value);
                self.push_other(name, value);
            }
        }
    }

    /// Gives `id` the one value `value`: the first entry keeps its position,
    /// the others are removed; an absent one is appended.
    pub fn set(&mut self, id: HeaderId, value: &[u8]) {
        let value = self.store(value);
        self.put(id, value);
    }

    /// As [`set`](HeaderMap::set), by lower-case name.
    pub fn set_name(&mut self, lower: &[u8], value: &[u8]) {
        match HeaderName::resolve(lower) {
            HeaderName::Known(id) => self.set(id, value),
            HeaderName::Other(_) => {
                let value = self.store(value);
                let found = self.entries.iter().position(|e| self.is_other(e, lower));
                let Some(first) = found else {
                    let name = self.store(lower);
                    self.push_other(name, value);
                    return;
                };
                self.entries[first].value = value;
                self.remove_other_after(first + 1, lower);
            }
        }
    }

    /// As [`append`](HeaderMap::append), with a value that `f` writes at the end
    /// of the vector that it gets. `f` must only append: what is before belongs
    /// to other entries.
    #[inline]
    pub fn append_with(&mut self, id: HeaderId, f: impl FnOnce(&mut Vec<u8>)) {
        let value = self.store_with(f);
        self.add(id, value);
    }

    /// As [`set`](HeaderMap::set), with a value that `f` appends to the vector
    /// that it gets. `f` must only append.
    #[inline]
    pub fn set_with(&mut self, id: HeaderId, f: impl FnOnce(&mut Vec<u8>)) {
        let value = self.store_with(f);
        self.put(id, value);
    }

    /// As [`set`](HeaderMap::set), with a number as the value.
    #[inline]
    pub fn set_decimal(&mut self, id: HeaderId, number: impl itoa::Integer) {
        self.set(id, itoa::Buffer::new().format(number).as_bytes());
    }

    /// Removes all entries of `id`; says whether there was one.
    #[inline]
    pub fn remove(&mut self, id: HeaderId) -> bool {
        if !self.contains(id) {
            return false;
        }
        self.entries.retain(|e| e.id != id as u8);
        self.present &= !bit(id);
        true
    }

    /// Removes all entries of the lower-case name `lower`; says whether there
    /// was one.
    pub fn remove_name(&mut self, lower: &[u8]) -> bool {
        match HeaderName::resolve(lower) {
            HeaderName::Known(id) => self.remove(id),
            HeaderName::Other(_) => {
                let before = self.entries.len();
                self.remove_other_after(0, lower);
                self.entries.len() != before
            }
        }
    }

    /// Keeps the entries for which `f` says true.
    pub fn retain(&mut self, mut f: impl FnMut(HeaderName<'_>, &[u8]) -> bool) {
        let arena = &self.arena;
        let mut present = 0;
        self.entries.retain(|e| {
            let keep = f(e.name_in(arena), e.value.of(arena));
            if keep && let Some(id) = e.known() {
                present |= bit(id);
            }
            keep
        });
        self.present = present;
    }

    /// Adds a known entry whose value is a range of a received head. Lines that
    /// should be one are joined when the head is complete:
    /// [`join_repeated`](HeaderMap::join_repeated).
    #[inline]
    pub(crate) fn push_known(&mut self, id: HeaderId, value: Range) {
        self.repeated |= self.present & bit(id);
        self.present |= bit(id);
        self.entries.push(Entry {
            id: id as u8,
            name: Range::EMPTY,
            value,
        });
    }

    pub(super) fn push_other(&mut self, name: Range, value: Range) {
        self.entries.push(Entry {
            id: OTHER,
            name,
            value,
        });
    }

    #[inline]
    fn add(&mut self, id: HeaderId, value: Range) {
        match self.present & self.single & bit(id) {
            0 => self.push_known(id, value),
            _ => self.add_to_line(id, value),
        }
    }

    #[inline]
    fn put(&mut self, id: HeaderId, value: Range) {
        let found = match self.contains(id) {
            true => self.entries.iter().position(|e| e.id == id as u8),
            false => None,
        };
        let Some(first) = found else {
            self.push_known(id, value);
            return;
        };
        self.entries[first].value = value;
        let mut at = 0;
        self.entries.retain(|e| {
            at += 1;
            at <= first + 1 || e.id != id as u8
        });
    }

    fn remove_other_after(&mut self, from: usize, lower: &[u8]) {
        let arena = &self.arena;
        let mut at = 0;
        self.entries.retain(|e| {
            at += 1;
            at <= from || e.id != OTHER || e.name.of(arena) != lower
        });
    }

    #[inline]
    pub(super) fn store(&mut self, bytes: &[u8]) -> Range {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        Range::new(start, bytes.len())
    }

    #[inline]
    fn store_with(&mut self, f: impl FnOnce(&mut Vec<u8>)) -> Range {
        let start = self.arena.len();
        f(&mut self.arena);
        assert!(self.arena.len() >= start, "a value writer only appends");
        Range::new(start, self.arena.len() - start)
    }

    #[inline]
    fn name(&self, e: &Entry) -> HeaderName<'_> {
        e.name_in(&self.arena)
    }

    #[inline]
    fn value(&self, e: &Entry) -> &[u8] {
        e.value.of(&self.arena)
    }

    #[inline]
    fn is_other(&self, e: &Entry, lower: &[u8]) -> bool {
        e.id == OTHER && e.name.of(&self.arena) == lower
    }
}

/// A range of the arena: 32-bit ends keep an entry at 20 bytes. The codecs
/// limit a head to far less than 4 GiB.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Range {
    const EMPTY: Range = Range { start: 0, len: 0 };

    #[inline]
    pub(crate) fn new(start: usize, len: usize) -> Range {
        debug_assert!(u32::try_from(start + len).is_ok());
        Range {
            start: start as u32,
            len: len as u32,
        }
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn bounds(self) -> std::ops::Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }

    #[inline]
    pub(super) fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.bounds()]
    }
}

#[derive(Copy, Clone, Debug)]
pub(super) struct Entry {
    name: Range,
    pub(super) value: Range,
    pub(super) id: u8,
}

impl Entry {
    #[inline]
    fn known(&self) -> Option<HeaderId> {
        HeaderId::from_number(self.id)
    }

    #[inline]
    fn name_in<'a>(&self, arena: &'a [u8]) -> HeaderName<'a> {
        match self.known() {
            Some(id) => HeaderName::Known(id),
            None => HeaderName::Other(self.name.of(arena)),
        }
    }
}

/// The id of an entry whose name is in the arena.
const OTHER: u8 = u8::MAX;

#[inline]
fn bit(id: HeaderId) -> u128 {
    1 << (id as u8)
}
