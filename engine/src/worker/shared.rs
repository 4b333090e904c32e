//! Everything that more than one core touches: this file and its folder are the
//! only ones of the engine with cross-core atomics, so that each ordering can be
//! checked in one place. `limits.rs` has what is limited process-wide,
//! `mailbox.rs` how workers write to each other, `recent.rs` what happened of
//! late, `token_bucket.rs` rates that hold for all of them.

pub mod limits;
pub mod mailbox;
pub mod recent;
pub mod token_bucket;

use std::cell::UnsafeCell;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

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

/// A count that holds for the whole process, of things that are rare enough to
/// be counted one by one, with a limit that may move. `Relaxed`: nothing is
/// published through it.
#[derive(Debug, Default)]
pub struct SharedCount(AtomicU32);

impl SharedCount {
    /// Adds one if fewer than `limit` are counted, and says how many are then.
    pub fn add_below(&self, limit: u32) -> Option<u32> {
        let added = self
            .0
            .fetch_update(Relaxed, Relaxed, |count| (count < limit).then(|| count + 1));
        added.ok().map(|before| before + 1)
    }

    /// Takes one away, and says how many were counted until now.
    pub fn subtract(&self) -> u32 {
        self.0.fetch_sub(1, Relaxed)
    }
}

/// The sending end of a worker's queue of updates.
pub struct UpdateSender<T>(Arc<UpdateQueue<T>>);

/// The worker's end of its queue of updates.
pub struct UpdateReceiver<T>(Arc<UpdateQueue<T>>);

/// A bounded queue from one producer, the control plane, to one consumer, a
/// worker. The ends are not `Clone` and their methods take `&mut self`, so
/// there is one of each.
pub fn update_queue<T: Send>(capacity: usize) -> (UpdateSender<T>, UpdateReceiver<T>) {
    let slots = (0..capacity.max(1))
        .map(|_| UnsafeCell::new(None))
        .collect();
    let queue = Arc::new(UpdateQueue {
        slots,
        written: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
        applied: AtomicU64::new(0),
    });
    (UpdateSender(Arc::clone(&queue)), UpdateReceiver(queue))
}

struct UpdateQueue<T> {
    slots: Box<[UnsafeCell<Option<T>>]>,
    /// Updates ever written. Stored with release after the slot was filled and
    /// loaded with acquire before it is emptied.
    written: AtomicUsize,
    /// Updates ever read. Stored with release after the slot was emptied and
    /// loaded with acquire before it is filled again.
    read: AtomicUsize,
    /// The last epoch that the worker has applied. Stored with release after
    /// the worker dropped what the epoch replaced; loaded with acquire by the
    /// control plane before it frees it.
    applied: AtomicU64,
}

// SAFETY: a slot is accessed by the producer only while `written - read` says
// that it is empty, and by the consumer only while it says that it is full;
// the release and acquire pairs above order the two. There is one producer and
// one consumer, because the ends are unique and their methods take `&mut self`.
unsafe impl<T: Send> Sync for UpdateQueue<T> {}

impl<T> UpdateSender<T> {
    /// Queues an update.
    ///
    /// # Errors
    /// Gives the update back when the queue is full: the worker is behind.
    pub fn push(&mut self, update: T) -> Result<(), T> {
        let queue = &*self.0;
        let written = queue.written.load(Relaxed);
        if written.wrapping_sub(queue.read.load(Acquire)) >= queue.slots.len() {
            return Err(update);
        }
        // SAFETY: the queue is not full, so this slot is empty, and only the
        // one producer, which is this one, fills slots.
        unsafe { *queue.slots[written % queue.slots.len()].get() = Some(update) };
        queue.written.store(written.wrapping_add(1), Release);
        Ok(())
    }

    /// The last epoch that the worker has applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.0.applied.load(Acquire)
    }
}

impl<T> UpdateReceiver<T> {
    /// Takes the oldest update.
    pub fn pop(&mut self) -> Option<T> {
        let queue = &*self.0;
        let read = queue.read.load(Relaxed);
        if queue.written.load(Acquire) == read {
            return None;
        }
        // SAFETY: the queue is not empty, so this slot is full, and only the
        // one consumer, which is this one, empties slots.
        let update = unsafe { (*queue.slots[read % queue.slots.len()].get()).take() };
        queue.read.store(read.wrapping_add(1), Release);
        update
    }

    /// Tells the control plane that everything up to `epoch` is in force.
    pub fn acknowledge(&mut self, epoch: u64) {
        self.0.applied.store(epoch, Release);
    }
}

/// A number that one worker writes and anybody reads, such as its open
/// connections. Independent of everything else, hence `Relaxed`.
#[derive(Debug, Default)]
pub struct WorkerGauge(AtomicU64);

impl WorkerGauge {
    /// Replaces the value; the owner only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Some recent value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A value that the control plane replaces as a whole, for those who look now
/// and then, such as the admin server. Workers do not: they are told of a new
/// value by an update.
#[derive(Debug)]
pub struct Latest<T>(Mutex<Arc<T>>);

impl<T> Latest<T> {
    /// The first value.
    #[must_use]
    pub const fn new(value: Arc<T>) -> Self {
        Self(Mutex::new(value))
    }

    /// The value that was set last.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value.
    pub fn set(&self, value: Arc<T>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// State that several threads change, none of them often: what the control
/// plane and admin share, such as the bookkeeping of ejections, and what
/// workers look up once and keep. Nothing that every request needs is in one.
#[derive(Debug, Default)]
pub struct Locked<T>(Mutex<T>);

impl<T> Locked<T> {
    /// The first state.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Looks at the state or changes it; nobody else does meanwhile. Whoever
    /// panicked at it before, its fields stand for themselves.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known against a host, a set of flags: the control plane alone
/// writes, anybody reads. Workers do not need it to balance: what they may pick
/// comes with their host set. `Relaxed`, as nothing is published through it.
#[derive(Debug, Default)]
pub struct HostHealth(AtomicU32);

impl HostHealth {
    /// Sets or clears `flags` and says whether that changed anything; the
    /// control plane only.
    pub fn set(&self, flags: u32, on: bool) -> bool {
        let before = self.0.load(Relaxed);
        let after = if on { before | flags } else { before & !flags };
        self.0.store(after, Relaxed);
        before != after
    }

    /// All flags that are set.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// How many errors a host has made in a row, counted by all workers. A success
/// only reads it, so as long as all goes well its cache line is shared and
/// nobody waits for it. `Relaxed`: an error and a success at the same time have
/// no order, and nothing is published through it.
#[derive(Debug, Default)]
pub struct Run(AtomicU32);

impl Run {
    /// One more error; how many it makes.
    pub fn add(&self) -> u32 {
        self.0.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// Something else than an error.
    #[inline]
    pub fn end(&self) {
        if self.0.load(Relaxed) != 0 {
            self.0.store(0, Relaxed);
        }
    }
}

/// Whether something that workers share is still used. Workers say so with
/// each use, which as a rule only reads, so its cache line is shared; the
/// control plane looks now and then and ends what nobody has used. `Relaxed`:
/// whoever must not miss an end asks under the lock under which it happens.
#[derive(Debug, Default)]
pub struct Usage(AtomicU32);

impl Usage {
    const USED: u32 = 1;
    const ENDED: u32 = 2;

    /// It is used.
    #[inline]
    pub fn mark(&self) {
        if self.0.load(Relaxed) & Self::USED == 0 {
            self.0.fetch_or(Self::USED, Relaxed);
        }
    }

    /// Whether it was used since this was asked last.
    pub fn take(&self) -> bool {
        self.0.fetch_and(!Self::USED, Relaxed) & Self::USED != 0
    }

    /// It is not to be used any more.
    pub fn end(&self) {
        self.0.fetch_or(Self::ENDED, Relaxed);
    }

    /// Whether it has ended.
    #[inline]
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.load(Relaxed) & Self::ENDED != 0
    }
}

/// When something that workers share was last used, to a tenth of a second: a
/// use within that time only reads, so the cache line is shared. Times are
/// those since a moment that both sides know. `Relaxed`, as nothing is
/// published through it.
#[derive(Debug, Default)]
pub struct LastUse(AtomicU64);

impl LastUse {
    const GRAIN_MS: u64 = 100;

    /// It is used at this time.
    #[inline]
    pub fn mark(&self, now: Duration) {
        let now = now.as_millis() as u64;
        if now >= self.0.load(Relaxed).saturating_add(Self::GRAIN_MS) {
            self.0.store(now, Relaxed);
        }
    }

    /// The time.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// A value that several workers change now and then. `Relaxed`: it is all there
/// is to read.
#[derive(Debug)]
pub struct SharedWord(AtomicU64);

impl SharedWord {
    /// A word with this value.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Some recent value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Makes another value of it, unless somebody else does at the same moment:
    /// then that one stays. For values that are made anew all the time.
    pub fn replace_with(&self, f: impl FnOnce(u64) -> u64) {
        let before = self.0.load(Relaxed);
        let _ = self.0.compare_exchange(before, f(before), Relaxed, Relaxed);
    }
}

/// A number that the control plane sets now and then and workers read.
/// Independent of everything else, hence `Relaxed`.
#[derive(Debug, Default)]
pub struct SharedLimit(AtomicU32);

impl SharedLimit {
    /// Replaces it.
    pub fn set(&self, limit: u32) {
        self.0.store(limit, Relaxed);
    }

    /// Some recent value.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// Counting the heap allocations of workers, for measurements.
#[cfg(feature = "count-allocations")]
pub mod allocations {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// The system's allocator, which counts for threads that asked for it.
    pub struct Counting;

    static COUNT: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        // Without a destructor and constant at first: reading it allocates
        // nothing, which matters inside an allocator.
        static COUNTED: Cell<bool> = const { Cell::new(false) };
    }

    /// Counts this thread's allocations from now on.
    pub fn count_this_thread() {
        COUNTED.set(true);
    }

    /// Allocations of all counted threads so far.
    #[must_use]
    pub fn count() -> u64 {
        // A statistic by itself: nothing is published through it.
        COUNT.load(Relaxed)
    }

    fn count_one() {
        // A thread that is ending is not counted any more.
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            COUNT.fetch_add(1, Relaxed);
        }
    }

    // SAFETY: every call is passed on to the system's allocator as it came;
    // counting neither allocates nor panics.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count_one();
            // SAFETY: the caller's obligations are passed on unchanged.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: the caller's obligations are passed on unchanged.
            unsafe { System.dealloc(memory, layout) }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            count_one();
            // SAFETY: the caller's obligations are passed on unchanged.
            unsafe { System.realloc(memory, layout, new_size) }
        }
    }
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

    #[test]
    fn a_shared_count_never_exceeds_its_limit() {
        let count = SharedCount::default();
        let counted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter_map(|_| count.add_below(777)).count()))
                .collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum()
        });
        assert_eq!(counted, 777);
        assert_eq!(count.subtract(), 777);
        assert_eq!(count.add_below(776), None, "the limit may shrink");
        assert_eq!(count.add_below(778), Some(777));
    }

    #[test]
    fn a_run_reaches_a_number_once_whoever_adds() {
        let run = Run::default();
        let hits: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| run.add() == 2000).count()))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(hits, 1);
        run.end();
        assert_eq!(run.add(), 1);
    }

    #[test]
    fn a_use_is_seen_once_and_an_end_stays() {
        let usage = Usage::default();
        assert!(!usage.take());
        usage.mark();
        usage.mark();
        assert!(usage.take());
        assert!(!usage.take() && !usage.has_ended());
        usage.end();
        usage.mark();
        assert!(usage.take() && usage.has_ended());
    }

    #[test]
    fn the_last_use_is_known_to_a_tenth_of_a_second() {
        let millis = Duration::from_millis;
        let last = LastUse::default();
        for (used, known) in [(50, 0), (100, 100), (199, 100), (200, 200), (150, 200)] {
            last.mark(millis(used));
            assert_eq!(last.get(), millis(known), "used at {used}");
        }
    }

    #[test]
    fn updates_arrive_in_order_and_the_queue_is_bounded() {
        let (mut sender, mut receiver) = update_queue(2);
        assert_eq!(receiver.pop(), None);
        assert_eq!(sender.push(1), Ok(()));
        assert_eq!(sender.push(2), Ok(()));
        assert_eq!(sender.push(3), Err(3));
        assert_eq!(receiver.pop(), Some(1));
        assert_eq!(sender.push(3), Ok(()));
        assert_eq!(
            (receiver.pop(), receiver.pop(), receiver.pop()),
            (Some(2), Some(3), None)
        );
        assert_eq!(sender.applied(), 0);
        receiver.acknowledge(9);
        assert_eq!(sender.applied(), 9);
    }

    #[test]
    fn updates_cross_threads_unharmed() {
        let (mut sender, mut receiver) = update_queue(8);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..10_000u64 {
                    let mut update = vec![n; 3];
                    while let Err(back) = sender.push(update) {
                        update = back;
                        std::thread::yield_now();
                    }
                }
            });
            let mut next = 0;
            while next < 10_000 {
                if let Some(update) = receiver.pop() {
                    assert_eq!(update, [next; 3]);
                    next += 1;
                }
            }
        });
    }
}
