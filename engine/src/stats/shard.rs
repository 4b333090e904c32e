//! The handles that the data path counts with, and the thread-local cells
//! behind them.
//!
//! A handle is a slot number; counting finds the current thread's cells through
//! a thread-local pointer. A thread that never installed a [`Shard`] counts into
//! cells that nobody reads: nothing crashes, nothing is counted.

use std::cell::{Cell, RefCell};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use super::codes::CodeCounters;
use super::histogram::Recorder;
use crate::worker::shared::StatCells;

/// A number that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub(super) u32);

impl Counter {
    /// Counts one.
    #[inline]
    pub fn inc(self) {
        self.add(1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(self, n: u64) {
        CELLS.with(|cells| cells.get().add(self.0, n));
    }

    /// What is counted with, for who knows nothing of statistics.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.0
    }

    /// Counts `n` with a [`Counter::slot`].
    pub fn add_to(slot: u32, n: u64) {
        Self(slot).add(n);
    }
}

/// A number that goes up and down. The value that readers see is the sum over
/// the threads' shards, so one thread may add what another takes away. It takes
/// two cells: the value, and whether it was ever written (`usedonly`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(pub(super) u32);

impl Gauge {
    /// Adds one.
    #[inline]
    pub fn inc(self) {
        self.add(1);
    }

    /// Takes one away.
    #[inline]
    pub fn dec(self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative.
    #[inline]
    pub fn add(self, n: i64) {
        CELLS.with(|cells| {
            let cells = cells.get();
            cells.add(self.0, n as u64);
            cells.set(self.0 + 1, 1);
        });
    }

    /// Replaces this thread's part of the sum: for gauges that one thread
    /// alone writes, such as those of the control plane.
    pub fn set(self, value: u64) {
        CELLS.with(|cells| {
            let cells = cells.get();
            cells.set(self.0, value);
            cells.set(self.0 + 1, 1);
        });
    }
}

/// A distribution of values, handed to the store by [`Shard::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    pub(super) index: u32,
    /// The cell that says whether the histogram was ever recorded into.
    pub(super) used: u32,
}

impl Histogram {
    /// Records one value, in the unit that the histogram was made with.
    #[inline]
    pub fn record(self, value: u64) {
        Shard::with(|shard| shard.record(self, value));
    }
}

/// One thread's statistics. Made by [`Store::shard`](super::Store::shard), moved
/// to its thread, and installed there.
#[derive(Debug)]
pub struct Shard {
    id: u32,
    cells: &'static StatCells,
    recorders: Vec<Option<Recorder>>,
    pub(super) codes: CodeCounters,
    to_store: Sender<FromShard>,
    inbox: Arc<Inbox>,
}

impl Shard {
    pub(super) fn new(
        id: u32,
        cells: &'static StatCells,
        to_store: Sender<FromShard>,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            id,
            cells,
            recorders: Vec::new(),
            codes: CodeCounters::default(),
            to_store,
            inbox,
        }
    }

    /// Makes this the current thread's shard, in place of any earlier one, until
    /// the thread ends.
    pub fn install(self) {
        CELLS.set(self.cells);
        let replaced = SHARD.with(|shard| shard.borrow_mut().replace(self));
        drop(replaced);
    }

    /// Hands what the current thread has recorded in histograms to the store,
    /// and clears the cells of statistics that were removed. Every thread with a
    /// shard calls it each `stats_flush_interval`, or removed slots are never
    /// used again; the control plane then calls
    /// [`Store::merge`](super::Store::merge).
    pub fn flush() {
        Self::with(Self::hand_over);
    }

    /// Runs with the current thread's shard, if it has one.
    #[inline]
    pub(super) fn with(run: impl FnOnce(&mut Self)) {
        // A thread that is ending has none any more; what it counts is lost.
        let _ = SHARD.try_with(|shard| {
            if let Some(shard) = shard.borrow_mut().as_mut() {
                run(shard);
            }
        });
    }

    #[inline]
    fn record(&mut self, histogram: Histogram, value: u64) {
        match self.recorders.get_mut(histogram.index as usize) {
            Some(Some(recorder)) => recorder.record(value),
            _ => self.record_first(histogram, value),
        }
    }

    #[cold]
    fn record_first(&mut self, histogram: Histogram, value: u64) {
        self.cells.set(histogram.used, 1);
        let index = histogram.index as usize;
        if index >= self.recorders.len() {
            self.recorders.resize_with(index + 1, || None);
        }
        self.recorders[index]
            .get_or_insert_with(Recorder::default)
            .record(value);
    }

    fn hand_over(&mut self) {
        for (histogram, recorder) in self.recorders.iter_mut().enumerate() {
            let Some(recorder) = recorder else { continue };
            let counts = recorder.drain();
            if !counts.is_empty() {
                // The store is gone when the process is ending: nobody will ask.
                let _ = self.to_store.send(FromShard::Recorded {
                    histogram: histogram as u32,
                    counts,
                });
            }
        }
        self.clear_retired();
    }

    /// Zeroes the slots of statistics that were removed, so that they can be
    /// given to others. Only the owner of the cells may do it.
    fn clear_retired(&mut self) {
        // Held by the store for a push only; if it is now, the next flush will do.
        let Ok(mut inbox) = self.inbox.try_lock() else {
            return;
        };
        for retired in inbox.drain(..) {
            match retired.what {
                Retire::Slots(start, len) => {
                    (start..start + len).for_each(|slot| self.cells.set(slot, 0));
                }
                Retire::Codes(id) => self.codes.forget(id),
                Retire::Histogram(index) => {
                    if let Some(recorder) = self.recorders.get_mut(index as usize) {
                        *recorder = None;
                    }
                }
            }
            let _ = self.to_store.send(FromShard::Cleared {
                shard: self.id,
                retired: retired.id,
            });
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.hand_over();
        let _ = self.to_store.send(FromShard::Closed { shard: self.id });
    }
}

/// What the store asks of a shard: see [`Shard::clear_retired`].
pub(super) type Inbox = Mutex<Vec<Retired>>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Retired {
    pub(super) id: u64,
    pub(super) what: Retire,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Retire {
    /// Cells: first and how many.
    Slots(u32, u32),
    /// A histogram's index.
    Histogram(u32),
    /// The id of counters by code.
    Codes(u32),
}

/// What a shard tells the store.
#[derive(Debug)]
pub(super) enum FromShard {
    Recorded {
        histogram: u32,
        counts: Vec<(u16, u32)>,
    },
    Cleared {
        shard: u32,
        retired: u64,
    },
    Closed {
        shard: u32,
    },
}

/// Where a thread without a shard counts. Several may write here at once and
/// lose counts; nobody reads them.
static UNREAD: StatCells = StatCells::new();

thread_local! {
    // Apart from `SHARD`: without a destructor the access is one load.
    static CELLS: Cell<&'static StatCells> = const { Cell::new(&UNREAD) };
    static SHARD: RefCell<Option<Shard>> = const { RefCell::new(None) };
}
