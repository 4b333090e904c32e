//! Which slots of the cells are taken.

use crate::worker::shared::StatCells;
use std::collections::HashMap;

/// Which slots are taken.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) next: u32,
    free: HashMap<u32, Vec<u32>>,
    exhausted: bool,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            next: OVERFLOW_SLOTS,
            free: HashMap::new(),
            exhausted: false,
        }
    }

    /// The first of `len` slots. When all are taken, the ones that everything
    /// beyond the limit shares: nothing fails, those numbers mean nothing.
    pub(super) fn take(&mut self, len: u32) -> u32 {
        if let Some(slot) = self.free.get_mut(&len).and_then(Vec::pop) {
            return slot;
        }
        if self.next > StatCells::SLOTS_MAX - len {
            if !std::mem::replace(&mut self.exhausted, true) {
                tracing::error!(
                    limit = StatCells::SLOTS_MAX,
                    "too many statistics: further ones are not counted"
                );
            }
            return 0;
        }
        let slot = self.next;
        self.next += len;
        slot
    }

    pub(super) fn give_back(&mut self, slot: u32, len: u32) {
        if slot >= OVERFLOW_SLOTS {
            self.free.entry(len).or_default().push(slot);
        }
    }
}

/// A gauge's value, then whether it was written.
pub(super) const GAUGE_SLOTS: u32 = 2;
/// Slots that everything beyond the limit shares: as many as the widest takes.
pub(super) const OVERFLOW_SLOTS: u32 = GAUGE_SLOTS;
