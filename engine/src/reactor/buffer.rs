//! Receive buffers: one mapping per reactor, lent to whoever holds a `Chunk` of it.
//!
//! The io_uring driver hands the free buffers to the kernel through a provided-buffer ring and
//! learns from each completion which one was filled; the epoll driver takes them from a stack.
//! Either way a buffer is out from its receive until the last `Chunk` of it is dropped, and an
//! idle connection owns none. Pages that no receive has reached yet cost no memory.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use io_uring::types::BufRingEntry;

/// Who holds a buffer that no task holds; the reactor may copy such a buffer's bytes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A task, which gives it back when it wants to.
    Task,
    /// The receive queue of a socket.
    Received(u32),
    /// The send queue of a socket.
    Queued(u32),
}

/// All buffers of a reactor.
#[derive(Debug)]
pub(super) struct Pool {
    memory: Mapping,
    buffer_bytes: usize,
    buffers: Box<[Buffer]>,
    free: Cell<u32>,
    supply: Supply,
}

#[derive(Debug)]
struct Buffer {
    references: Cell<u16>,
    taken_ms: Cell<u64>,
    holder: Cell<Holder>,
}

/// Where the free buffers wait.
#[derive(Debug)]
enum Supply {
    Stack(RefCell<Vec<u16>>),
    Ring(BufferRing),
}

impl Pool {
    /// Buffers for a driver that receives by itself.
    pub(super) fn with_stack(count: u16, buffer_bytes: usize) -> io::Result<Rc<Self>> {
        let stack = (0..count).rev().collect();
        Self::new(count, buffer_bytes, Supply::Stack(RefCell::new(stack)))
    }

    /// Buffers behind a ring shared with the kernel; `count` must be a power of two.
    pub(super) fn with_ring(count: u16, buffer_bytes: usize) -> io::Result<Rc<Self>> {
        let ring = BufferRing::new(count)?;
        let pool = Self::new(count, buffer_bytes, Supply::Ring(ring))?;
        if let Supply::Ring(ring) = &pool.supply {
            for index in 0..count {
                ring.provide(index, pool.address(index), buffer_bytes);
            }
        }
        Ok(pool)
    }

    fn new(count: u16, buffer_bytes: usize, supply: Supply) -> io::Result<Rc<Self>> {
        let buffer = || Buffer {
            references: Cell::new(0),
            taken_ms: Cell::new(0),
            holder: Cell::new(Holder::Task),
        };
        Ok(Rc::new(Pool {
            memory: Mapping::new(usize::from(count) * buffer_bytes)?,
            buffer_bytes,
            buffers: (0..count).map(|_| buffer()).collect(),
            free: Cell::new(u32::from(count)),
            supply,
        }))
    }

    /// The address of the ring, for its registration with the kernel.
    pub(super) fn ring_address(&self) -> Option<u64> {
        match &self.supply {
            Supply::Ring(ring) => Some(ring.entries.start.as_ptr().addr() as u64),
            Supply::Stack(_) => None,
        }
    }

    pub(super) fn count(&self) -> u16 {
        self.buffers.len() as u16
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Buffers that a receive could take now.
    pub(super) fn free(&self) -> u32 {
        self.free.get()
    }

    /// Takes a buffer off the stack, to be filled and then made a chunk or put back.
    pub(super) fn take(&self) -> Option<u16> {
        match &self.supply {
            Supply::Stack(stack) => stack.borrow_mut().pop(),
            Supply::Ring(_) => None,
        }
    }

    /// Puts back a buffer that `take` or the kernel gave out and that never became a chunk.
    pub(super) fn put_back(&self, index: u16) {
        match &self.supply {
            Supply::Stack(stack) => stack.borrow_mut().push(index),
            Supply::Ring(ring) => ring.provide(index, self.address(index), self.buffer_bytes),
        }
    }

    pub(super) fn address(&self, index: u16) -> *mut u8 {
        let offset = usize::from(index) * self.buffer_bytes;
        debug_assert!(offset + self.buffer_bytes <= self.memory.bytes);
        // SAFETY: `index` is below the count with which the mapping was sized, so that the offset
        // stays inside the mapping.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    /// Makes the first `bytes` of a filled buffer a chunk.
    pub(super) fn chunk(self: &Rc<Self>, index: u16, bytes: usize, now_ms: u64) -> Chunk {
        let buffer = &self.buffers[usize::from(index)];
        debug_assert_eq!(buffer.references.get(), 0, "a buffer is filled once");
        debug_assert!(bytes <= self.buffer_bytes);
        buffer.references.set(1);
        buffer.taken_ms.set(now_ms);
        buffer.holder.set(Holder::Task);
        self.free.set(self.free.get() - 1);
        Chunk {
            storage: Storage::Lent {
                pool: Rc::clone(self),
                index,
            },
            start: 0,
            end: bytes as u32,
        }
    }

    /// The holders of buffers that have been out since before `taken_before_ms`, tasks left out.
    pub(super) fn holders(&self, taken_before_ms: u64, found: &mut Vec<Holder>) {
        for buffer in &self.buffers {
            if buffer.references.get() > 0
                && buffer.taken_ms.get() <= taken_before_ms
                && buffer.holder.get() != Holder::Task
            {
                found.push(buffer.holder.get());
            }
        }
    }

    fn release(&self, index: u16) {
        let buffer = &self.buffers[usize::from(index)];
        let left = buffer.references.get() - 1;
        buffer.references.set(left);
        if left == 0 {
            self.free.set(self.free.get() + 1);
            self.put_back(index);
        }
    }
}

/// Received bytes: a view of a lent receive buffer, or of a copy on the heap.
///
/// Dropping the last view of a buffer gives it back. Whoever keeps bytes for long should
/// [`detach`](Chunk::detach) them. The queues of a [`Stream`](super::Stream) do so by themselves
/// when buffers run low.
#[derive(Debug)]
pub struct Chunk {
    storage: Storage,
    start: u32,
    end: u32,
}

#[derive(Debug)]
enum Storage {
    Lent {
        pool: Rc<Pool>,
        index: u16,
    },
    Heap(Rc<[u8]>),
    /// Of a library that counts its references by itself.
    Shared(Rc<Bytes>),
}

impl Chunk {
    /// Discards the first `n` bytes. Panics when there are fewer.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance beyond the chunk");
        self.start += n as u32;
    }

    /// Keeps the first `n` bytes only, if there are more.
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.end = self.start + n as u32;
        }
    }

    /// Takes the first `n` bytes off as a chunk of their own, without copying. Panics when there
    /// are fewer.
    pub fn split_to(&mut self, n: usize) -> Chunk {
        assert!(n <= self.len(), "split beyond the chunk");
        let storage = match &self.storage {
            Storage::Lent { pool, index } => {
                let references = &pool.buffers[usize::from(*index)].references;
                references.set(
                    references
                        .get()
                        .checked_add(1)
                        .expect("at most 65,535 views"),
                );
                Storage::Lent {
                    pool: Rc::clone(pool),
                    index: *index,
                }
            }
            Storage::Heap(bytes) => Storage::Heap(Rc::clone(bytes)),
            Storage::Shared(bytes) => Storage::Shared(Rc::clone(bytes)),
        };
        let head = Chunk {
            storage,
            start: self.start,
            end: self.start + n as u32,
        };
        self.start += n as u32;
        head
    }

    /// The bytes, to be changed in place. `None` where they are shared with another chunk, or
    /// somebody else's.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let (start, end) = (self.start as usize, self.end as usize);
        match &mut self.storage {
            Storage::Heap(bytes) => Rc::get_mut(bytes).map(|bytes| &mut bytes[start..end]),
            Storage::Shared(_) => None,
            // SAFETY: as in `deref`. Chunks cannot be cloned and `split_to` divides the range, so
            // no other chunk sees these bytes; the range is borrowed mutably with this chunk. The
            // kernel writes only to buffers that are given back.
            Storage::Lent { pool, index } => Some(unsafe {
                std::slice::from_raw_parts_mut(pool.address(*index).add(start), end - start)
            }),
        }
    }

    /// Copies the bytes to the heap and gives a lent buffer back.
    pub fn detach(&mut self) {
        if self.is_lent() {
            *self = Chunk::from(&self[..]);
        }
    }

    /// [`detach`](Chunk::detach)es where fewer than half of the buffers are free: for bytes that
    /// go where nobody takes them back from, or stay with a task. At least half of the buffers
    /// are left to those who receive and are done with it, so that everybody gets on.
    pub fn detach_if_scarce(&mut self) {
        if let Storage::Lent { pool, .. } = &self.storage
            && pool.free() < u32::from(pool.count()) / 2
        {
            self.detach();
        }
    }

    /// Whether the bytes are still in a receive buffer.
    pub fn is_lent(&self) -> bool {
        matches!(self.storage, Storage::Lent { .. })
    }

    pub(super) fn set_holder(&self, holder: Holder) {
        if let Storage::Lent { pool, index } = &self.storage {
            pool.buffers[usize::from(*index)].holder.set(holder);
        }
    }

    /// Appends to the unused end of the buffer, if there is room and nobody else sees the buffer.
    pub(super) fn try_append(&mut self, bytes: &[u8]) -> bool {
        let Storage::Lent { pool, index } = &self.storage else {
            return false;
        };
        let end = self.end as usize;
        let alone = pool.buffers[usize::from(*index)].references.get() == 1;
        if !alone || end + bytes.len() > pool.buffer_bytes {
            return false;
        }
        // SAFETY: the range lies inside the buffer (checked above). This chunk is the only view
        // of it and is borrowed mutably; the kernel writes only to buffers that are given back;
        // `bytes` is borrowed, thus in another buffer or on the heap.
        unsafe {
            let target = pool.address(*index).add(end);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        self.end += bytes.len() as u32;
        true
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &self.storage {
            Storage::Heap(bytes) => &bytes[start..end],
            Storage::Shared(bytes) => &bytes[start..end],
            // SAFETY: `start..end` was filled by a receive (or `try_append`) and lies inside the
            // buffer. The buffer is given back, and thus written again, only after the last
            // chunk of it is gone, and the pool's mapping lives as long as this `Rc`.
            Storage::Lent { pool, index } => unsafe {
                std::slice::from_raw_parts(pool.address(*index).add(start), end - start)
            },
        }
    }
}

impl From<&[u8]> for Chunk {
    /// A chunk on the heap, for tests and for bytes that were not received.
    fn from(bytes: &[u8]) -> Self {
        Chunk {
            end: u32::try_from(bytes.len()).expect("less than 4 GiB in a chunk"),
            storage: Storage::Heap(Rc::from(bytes)),
            start: 0,
        }
    }
}

impl From<Bytes> for Chunk {
    /// A chunk of somebody else's memory, which is not copied.
    fn from(bytes: Bytes) -> Self {
        Chunk {
            end: u32::try_from(bytes.len()).expect("less than 4 GiB in a chunk"),
            storage: Storage::Shared(Rc::new(bytes)),
            start: 0,
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Storage::Lent { pool, index } = self {
            pool.release(*index);
        }
    }
}

/// The free buffers' descriptions, in memory shared with the kernel.
#[derive(Debug)]
struct BufferRing {
    entries: Mapping,
    mask: u16,
    tail: Cell<u16>,
}

impl BufferRing {
    fn new(count: u16) -> io::Result<Self> {
        if !count.is_power_of_two() || count > 1 << 15 {
            let reason = "the number of receive buffers must be a power of two, at most 32,768";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(BufferRing {
            entries: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?,
            mask: count - 1,
            tail: Cell::new(0),
        })
    }

    fn provide(&self, index: u16, address: *mut u8, bytes: usize) {
        let base = self.entries.start.as_ptr().cast::<BufRingEntry>();
        let tail = self.tail.get();
        // SAFETY: the masked position lies inside the mapping, which is page-aligned and zeroed,
        // a valid `BufRingEntry`. The kernel reads entries only up to the tail published below,
        // so this one is ours. At most `count` buffers are ever free, so it is not still unread.
        // The tail shares the first entry's `resv` field, which the setters leave alone.
        unsafe {
            let entry = base.add(usize::from(tail & self.mask));
            (*entry).set_addr(address.addr() as u64);
            (*entry).set_len(bytes as u32);
            (*entry).set_bid(index);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail is an aligned u16 inside the mapping; the kernel loads it with acquire
        // semantics, and only this thread stores it.
        unsafe {
            let shared = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(shared).store(self.tail.get(), Ordering::Release);
        }
    }
}

/// Anonymous zeroed memory, returned on drop.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous private mapping affects no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size. Chunks hold the pool, so none is
        // left; the reactor unregisters the ring and waits for its operations before it drops
        // the pool, so the kernel does not use it either.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &Rc<Pool>, bytes: &[u8]) -> Chunk {
        let mut chunk = pool.chunk(pool.take().unwrap(), 0, 1);
        assert!(chunk.try_append(bytes));
        chunk
    }

    #[test]
    fn the_last_view_gives_the_buffer_back() {
        let pool = Pool::with_stack(2, 16).unwrap();
        let mut chunk = filled(&pool, b"hello world");
        assert_eq!(pool.free(), 1);
        let head = chunk.split_to(5);
        chunk.advance(1);
        chunk.truncate(3);
        assert_eq!((&head[..], &chunk[..]), (&b"hello"[..], &b"wor"[..]));
        drop(chunk);
        assert_eq!(pool.free(), 1);
        drop(head);
        assert_eq!(pool.free(), 2);
    }

    #[test]
    fn detaching_keeps_the_bytes_and_frees_the_buffer() {
        let pool = Pool::with_stack(1, 16).unwrap();
        let mut chunk = filled(&pool, b"abc");
        chunk.detach();
        assert_eq!((pool.free(), chunk.is_lent()), (1, false));
        assert_eq!(&chunk.split_to(2)[..], b"ab");
        assert_eq!(&chunk[..], b"c");
    }

    #[test]
    fn appending_needs_room_and_a_single_view() {
        let pool = Pool::with_stack(1, 8).unwrap();
        let mut chunk = filled(&pool, b"12345");
        assert!(!chunk.try_append(b"6789"));
        assert!(chunk.try_append(b"678"));
        let head = chunk.split_to(1);
        chunk.truncate(2);
        assert!(!chunk.try_append(b"x"));
        drop(head);
        assert!(chunk.try_append(b"x"));
        assert_eq!(&chunk[..], b"23x");
    }

    #[test]
    fn views_of_one_buffer_are_changed_apart() {
        let pool = Pool::with_stack(1, 8).unwrap();
        let mut tail = filled(&pool, b"abcdef");
        let mut head = tail.split_to(3);
        head.bytes_mut().unwrap().fill(b'x');
        tail.bytes_mut().unwrap()[0] = b'y';
        assert_eq!((&head[..], &tail[..]), (&b"xxx"[..], &b"yef"[..]));
    }

    #[test]
    fn shared_bytes_on_the_heap_are_not_changed() {
        let mut tail = Chunk::from(&b"abcdef"[..]);
        assert!(tail.bytes_mut().is_some());
        let head = tail.split_to(3);
        assert!(tail.bytes_mut().is_none());
        drop(head);
        assert_eq!(tail.bytes_mut().unwrap(), b"def");
    }

    #[test]
    fn a_chunk_outlives_the_pool_handle() {
        let pool = Pool::with_stack(1, 8).unwrap();
        let chunk = filled(&pool, b"alive");
        drop(pool);
        assert_eq!(&chunk[..], b"alive");
    }

    #[test]
    fn holders_are_listed_by_age() {
        let pool = Pool::with_stack(3, 8).unwrap();
        let old = pool.chunk(pool.take().unwrap(), 1, 5);
        let young = pool.chunk(pool.take().unwrap(), 1, 9);
        let _with_a_task = pool.chunk(pool.take().unwrap(), 1, 1);
        old.set_holder(Holder::Queued(7));
        young.set_holder(Holder::Received(8));
        let mut found = Vec::new();
        pool.holders(5, &mut found);
        assert_eq!(found, [Holder::Queued(7)]);
    }
}
