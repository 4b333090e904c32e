//! Everything that more than one core touches: the only file of the engine
//! with cross-core atomics, so that each ordering can be checked in one place.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The statistics of one thread: a growing array of 64-bit cells.
///
/// One thread, the owner, writes; any thread reads at any time. A write is a
/// plain load and a plain store, no locked instruction, which is why there must
/// be one writer only: two would lose counts (nothing worse). Readers see every
/// cell at some recent value; cells are independent of each other, so `Relaxed`
/// is enough, and a sum over cells may mix values that are a moment apart.
///
/// Storage comes in chunks that never move, so that a configuration update can
/// add statistics while the owner counts. The owner creates a chunk when it
/// first writes into it; a reader that finds none reads zero. `OnceLock`
/// publishes the chunk with release and acquire.
#[derive(Debug)]
pub struct StatCells {
    chunks: [OnceLock<Box<Chunk>>; CHUNKS],
}

impl StatCells {
    /// Cells that are all zero; allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// Adds to a cell, wrapping; the owner only. Adding `n.wrapping_neg()`
    /// subtracts.
    #[inline]
    pub fn add(&self, slot: u32, n: u64) {
        let cell = self.cell(slot);
        cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Overwrites a cell; the owner only.
    #[inline]
    pub fn set(&self, slot: u32, value: u64) {
        self.cell(slot).store(value, Relaxed);
    }

    /// Reads a cell, from any thread.
    #[must_use]
    pub fn get(&self, slot: u32) -> u64 {
        match self.chunks[chunk_of(slot)].get() {
            Some(chunk) => chunk[index_in_chunk(slot)].load(Relaxed),
            None => 0,
        }
    }

    #[inline]
    fn cell(&self, slot: u32) -> &AtomicU64 {
        &self.chunks[chunk_of(slot)].get_or_init(new_chunk)[index_in_chunk(slot)]
    }
}

impl Default for StatCells {
    fn default() -> Self {
        Self::new()
    }
}

type Chunk = [AtomicU64; CHUNK_CELLS];

// Masks, not bounds checks: both tables have a power of two of entries and
// the store hands out no slot beyond `StatCells::SLOTS_MAX`.
#[inline]
const fn chunk_of(slot: u32) -> usize {
    (slot as usize / CHUNK_CELLS) % CHUNKS
}

#[inline]
const fn index_in_chunk(slot: u32) -> usize {
    slot as usize % CHUNK_CELLS
}

#[cold]
fn new_chunk() -> Box<Chunk> {
    Box::new([const { AtomicU64::new(0) }; CHUNK_CELLS])
}

/// 16 KiB a chunk: a small configuration (about 500 statistics) needs one.
const CHUNK_CELLS: usize = 2048;
/// With `CHUNK_CELLS` this bounds the statistics of a process at two million,
/// enough for some 10,000 clusters; the table itself takes 16 KiB a thread.
const CHUNKS: usize = 1024;

impl StatCells {
    /// Slots are below this.
    pub const SLOTS_MAX: u32 = (CHUNK_CELLS * CHUNKS) as u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_count_and_subtract() {
        let cells = StatCells::new();
        cells.add(7, 3);
        cells.add(7, 1u64.wrapping_neg());
        assert_eq!(cells.get(7), 2);
        cells.set(7, u64::MAX);
        assert_eq!(cells.get(7), u64::MAX);
        assert_eq!(cells.get(8), 0);
    }

    #[test]
    fn cells_of_different_chunks_are_different() {
        let cells = StatCells::new();
        let slots = [0, 1, CHUNK_CELLS as u32, StatCells::SLOTS_MAX - 1];
        for (n, slot) in slots.into_iter().enumerate() {
            assert_eq!(cells.get(slot), 0, "a cell nobody wrote");
            cells.add(slot, n as u64 + 1);
        }
        for (n, slot) in slots.into_iter().enumerate() {
            assert_eq!(cells.get(slot), n as u64 + 1);
        }
    }

    #[test]
    fn a_reader_sees_counts_grow_while_the_owner_writes() {
        let cells = StatCells::new();
        const N: u64 = 100_000;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..N).for_each(|n| cells.add((n % 4096) as u32, 1)));
            let mut last = 0;
            while last < N {
                let sum = (0..4096).map(|slot| cells.get(slot)).sum();
                assert!(sum >= last, "counts never go back");
                last = sum;
            }
        });
    }
}
