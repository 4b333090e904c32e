//! What a socket still has to send: appended bytes, received chunks passed on by reference, and
//! static text, gathered into one send at a time.
//!
//! The queue exists only while there is something to send; the reactor lends it to the socket and
//! recycles it together with its byte vectors. The parts covered by a send in flight are frozen:
//! the kernel reads them until the completion arrives.

use std::collections::VecDeque;

use super::buffer::{Chunk, Holder};

/// Chunks below this size are copied into the tail: a copy of 2 KiB costs less than keeping a
/// whole receive buffer away from the ring for a round trip.
pub(super) const COPY_BELOW_BYTES: usize = 2048;
/// A tail this long is not appended to when that would move it.
const TAIL_BYTES: usize = 16 * 1024;
/// Parts gathered into one send. More gain nothing measurable and would make the vector larger.
const PARTS_PER_SEND_MAX: usize = 64;
/// Bytes gathered into one send: enough to fill a socket buffer, few enough that the progress of
/// a slow peer shows.
const BYTES_PER_SEND_MAX: usize = 512 * 1024;
/// Byte vectors and queues kept for reuse per reactor; a turn rarely writes to more sockets.
const SPARES_MAX: usize = 512;
/// Larger vectors are freed instead of kept.
const SPARE_BYTES_MAX: usize = 32 * 1024;
const FIRST_CAPACITY_BYTES: usize = 1024;

/// Emptied queues and vectors of the whole reactor.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the boxes themselves are what is recycled")]
pub(super) struct Spares {
    queues: Vec<Box<SendQueue>>,
    bytes: Vec<Vec<u8>>,
}

impl Spares {
    pub(super) fn queue(&mut self) -> Box<SendQueue> {
        self.queues.pop().unwrap_or_default()
    }

    pub(super) fn recycle_queue(&mut self, mut queue: Box<SendQueue>) {
        queue.clear(self);
        if self.queues.len() < SPARES_MAX && queue.parts.capacity() <= PARTS_PER_SEND_MAX {
            self.queues.push(queue);
        }
    }

    pub(super) fn bytes(&mut self) -> Vec<u8> {
        self.bytes
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY_BYTES))
    }

    pub(super) fn recycle_bytes(&mut self, mut bytes: Vec<u8>) {
        if self.bytes.len() < SPARES_MAX && (1..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            self.bytes.push(bytes);
        }
    }
}

#[derive(Debug)]
enum Part {
    Bytes { bytes: Vec<u8>, start: usize },
    Chunk(Chunk),
    Static(&'static [u8]),
}

impl Part {
    fn as_slice(&self) -> &[u8] {
        match self {
            Part::Bytes { bytes, start } => &bytes[*start..],
            Part::Chunk(chunk) => chunk,
            Part::Static(bytes) => bytes,
        }
    }

    fn advance(&mut self, n: usize) {
        match self {
            Part::Bytes { start, .. } => *start += n,
            Part::Chunk(chunk) => chunk.advance(n),
            Part::Static(bytes) => *bytes = &bytes[n..],
        }
    }
}

/// What one send covers; the memory behind it stays put until the send completes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gather {
    /// One stretch of memory, for `send`.
    One { start: *const u8, bytes: usize },
    /// A message with an I/O vector, for `sendmsg`.
    Many(*const libc::msghdr),
}

/// The queue. Used only through a box, because the kernel is given the address of `message`.
#[derive(Debug)]
pub(super) struct SendQueue {
    parts: VecDeque<Part>,
    queued_bytes: usize,
    /// Parts at the front that a send in flight covers.
    frozen: usize,
    vector: Vec<libc::iovec>,
    message: libc::msghdr,
}

impl Default for SendQueue {
    fn default() -> Self {
        SendQueue {
            parts: VecDeque::new(),
            queued_bytes: 0,
            frozen: 0,
            vector: Vec::new(),
            // SAFETY: `msghdr` is plain data for which all zeros mean an empty message.
            message: unsafe { std::mem::zeroed() },
        }
    }
}

impl SendQueue {
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8], spares: &mut Spares) {
        self.queued_bytes += bytes.len();
        if let Some(tail) = self.open_tail()
            && (tail.len() < TAIL_BYTES || tail.capacity() - tail.len() >= bytes.len())
        {
            tail.extend_from_slice(bytes);
            return;
        }
        let mut tail = spares.bytes();
        tail.extend_from_slice(bytes);
        self.parts.push_back(Part::Bytes {
            bytes: tail,
            start: 0,
        });
    }

    pub(super) fn push_chunk(&mut self, chunk: Chunk, socket: u32, spares: &mut Spares) {
        if chunk.len() < COPY_BELOW_BYTES {
            self.push_bytes(&chunk, spares);
            return;
        }
        chunk.set_holder(Holder::Queued(socket));
        self.queued_bytes += chunk.len();
        self.parts.push_back(Part::Chunk(chunk));
    }

    pub(super) fn push_static(&mut self, bytes: &'static [u8], spares: &mut Spares) {
        if bytes.len() < COPY_BELOW_BYTES {
            self.push_bytes(bytes, spares);
            return;
        }
        self.queued_bytes += bytes.len();
        self.parts.push_back(Part::Static(bytes));
    }

    /// Takes the vector at the end out, for the caller to append to; `put_tail` gives it back.
    pub(super) fn take_tail(&mut self, spares: &mut Spares) -> Vec<u8> {
        let appendable = self.open_tail().is_some_and(|tail| tail.len() < TAIL_BYTES);
        if appendable && let Some(Part::Bytes { bytes, start }) = self.parts.pop_back() {
            debug_assert_eq!(start, 0, "only frozen parts are partly sent");
            self.queued_bytes -= bytes.len();
            return bytes;
        }
        spares.bytes()
    }

    pub(super) fn put_tail(&mut self, bytes: Vec<u8>, spares: &mut Spares) {
        if bytes.is_empty() {
            spares.recycle_bytes(bytes);
            return;
        }
        self.queued_bytes += bytes.len();
        self.parts.push_back(Part::Bytes { bytes, start: 0 });
    }

    /// Freezes the front of the queue and describes it to the kernel. At most `bytes_max` bytes.
    pub(super) fn gather(&mut self, bytes_max: usize) -> Option<Gather> {
        debug_assert_eq!(self.frozen, 0, "one send at a time");
        let bytes_max = bytes_max.clamp(1, BYTES_PER_SEND_MAX);
        let mut bytes = 0;
        self.vector.clear();
        for part in self.parts.iter().take(PARTS_PER_SEND_MAX) {
            if bytes >= bytes_max {
                break;
            }
            let slice = part.as_slice();
            // A single long part may exceed the limit of bytes: the kernel takes what it can.
            let taken = slice.len().min(bytes_max - bytes);
            self.vector.push(libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: taken,
            });
            bytes += taken;
            self.frozen += 1;
        }
        match self.vector[..] {
            [] => None,
            [one] => Some(Gather::One {
                start: one.iov_base.cast_const().cast(),
                bytes: one.iov_len,
            }),
            [..] => {
                self.message.msg_iov = self.vector.as_mut_ptr();
                self.message.msg_iovlen = self.vector.len() as _;
                Some(Gather::Many(&raw const self.message))
            }
        }
    }

    /// Removes `sent` bytes after a send has completed.
    pub(super) fn complete(&mut self, mut sent: usize, spares: &mut Spares) {
        self.frozen = 0;
        debug_assert!(sent <= self.queued_bytes);
        self.queued_bytes -= sent;
        while let Some(part) = self.parts.front_mut() {
            let len = part.as_slice().len();
            if sent < len {
                part.advance(sent);
                break;
            }
            sent -= len;
            if let Some(Part::Bytes { bytes, .. }) = self.parts.pop_front() {
                spares.recycle_bytes(bytes);
            }
        }
    }

    /// Copies lent chunks to the heap, except those that a send in flight covers.
    /// Returns whether lent chunks remain there.
    pub(super) fn detach(&mut self) -> bool {
        let mut frozen_remain = false;
        for (position, part) in self.parts.iter_mut().enumerate() {
            if let Part::Chunk(chunk) = part {
                if position < self.frozen {
                    frozen_remain |= chunk.is_lent();
                } else {
                    chunk.detach();
                }
            }
        }
        frozen_remain
    }

    /// Drops everything; nothing may be in flight.
    fn clear(&mut self, spares: &mut Spares) {
        debug_assert_eq!(self.frozen, 0, "the kernel still reads the queue");
        self.queued_bytes = 0;
        for part in self.parts.drain(..) {
            if let Part::Bytes { bytes, .. } = part {
                spares.recycle_bytes(bytes);
            }
        }
    }

    fn open_tail(&mut self) -> Option<&mut Vec<u8>> {
        if self.parts.len() == self.frozen {
            return None;
        }
        match self.parts.back_mut() {
            // A partly sent part keeps its sent bytes in front; appending to it is fine.
            Some(Part::Bytes { bytes, start: 0 }) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(queue: &mut SendQueue, bytes_max: usize) -> Option<(usize, Vec<u8>)> {
        queue.gather(bytes_max)?;
        let copy = queue
            .vector
            .iter()
            // SAFETY: the vector points into the queue's parts, which nothing has touched since.
            .flat_map(|v| unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) })
            .copied()
            .collect();
        Some((queue.vector.len(), copy))
    }

    #[test]
    fn small_writes_become_one_part() {
        let mut spares = Spares::default();
        let mut queue = spares.queue();
        queue.push_bytes(b"head ", &mut spares);
        queue.push_static(b"static ", &mut spares);
        queue.push_chunk(Chunk::from(&b"chunk"[..]), 0, &mut spares);
        assert_eq!(
            sent(&mut queue, usize::MAX),
            Some((1, b"head static chunk".to_vec()))
        );
    }

    #[test]
    fn large_chunks_are_gathered_by_reference() {
        let mut spares = Spares::default();
        let mut queue = spares.queue();
        let large = [7; COPY_BELOW_BYTES];
        queue.push_bytes(b"head", &mut spares);
        queue.push_chunk(Chunk::from(&large[..]), 0, &mut spares);
        queue.push_bytes(b"tail", &mut spares);
        let (parts, bytes) = sent(&mut queue, usize::MAX).unwrap();
        assert_eq!((parts, bytes.len()), (3, COPY_BELOW_BYTES + 8));
    }

    #[test]
    fn short_sends_continue_where_they_stopped() {
        let large: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for step in [1, 3, 1_000, 4_096] {
            let mut spares = Spares::default();
            let mut queue = spares.queue();
            let mut expected = b"head".to_vec();
            queue.push_bytes(b"head", &mut spares);
            queue.push_chunk(Chunk::from(&large[..]), 0, &mut spares);
            expected.extend_from_slice(&large);
            let mut received = Vec::new();
            while let Some((_, bytes)) = sent(&mut queue, step) {
                assert!(bytes.len() <= step);
                // Written while the send is in flight: must neither move nor join frozen parts.
                if received.is_empty() {
                    queue.push_bytes(b"late", &mut spares);
                    expected.extend_from_slice(b"late");
                }
                let taken = bytes.len().div_ceil(2);
                received.extend_from_slice(&bytes[..taken]);
                queue.complete(taken, &mut spares);
            }
            assert_eq!(queue.queued_bytes(), 0);
            assert!(received == expected, "step {step}");
        }
    }

    #[test]
    fn the_tail_can_be_taken_and_put_back() {
        let mut spares = Spares::default();
        let mut queue = spares.queue();
        queue.push_bytes(b"one ", &mut spares);
        let mut tail = queue.take_tail(&mut spares);
        tail.extend_from_slice(b"two");
        queue.put_tail(tail, &mut spares);
        assert_eq!(queue.queued_bytes(), 7);
        assert_eq!(sent(&mut queue, 99), Some((1, b"one two".to_vec())));
        let frozen = queue.take_tail(&mut spares);
        assert!(frozen.is_empty(), "a part in flight is never taken");
    }

    #[test]
    fn vectors_and_queues_are_reused() {
        let mut spares = Spares::default();
        let mut queue = spares.queue();
        queue.push_bytes(b"x", &mut spares);
        let address = sent(&mut queue, 1).map(|_| queue.vector[0].iov_base);
        queue.complete(1, &mut spares);
        queue.push_bytes(b"y", &mut spares);
        assert_eq!(
            sent(&mut queue, 1).map(|_| queue.vector[0].iov_base),
            address
        );
    }
}
