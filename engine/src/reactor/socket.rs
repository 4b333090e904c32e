//! The reactor's side of a stream socket: a small slab entry.
//!
//! An idle connection costs this entry and nothing else: its queues hold no memory, and no receive
//! buffer waits for it. The entry outlives the `Stream` until the kernel has finished every
//! operation on the socket, because it keeps their memory.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::task::Waker;

use super::buffer::Chunk;
use super::send_queue::SendQueue;

/// Bytes received but not read, beyond which receiving pauses. A quarter of Envoy's default
/// `per_connection_buffer_limit_bytes`: the layers above have buffers of their own.
pub(super) const RECV_LIMIT_BYTES: usize = 256 * 1024;
/// Emptied overflow queues kept for reuse per reactor.
const SPARE_QUEUES_MAX: usize = 256;
/// Overflow queues that have grown longer than this are freed.
const SPARE_QUEUE_CAPACITY_MAX: usize = 64;

/// Where a socket is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the three-way handshake.
    Connecting,
    /// Belongs to a `Stream`.
    Open,
    /// The stream is gone; its queue is being sent, until the timer in the wheel fires.
    Draining { timer: u32 },
    /// The descriptor is being closed; the entry goes when the last operation has ended.
    Closing,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: RawFd,
    pub(super) phase: Phase,
    /// Made by `accept`, not by `connect`.
    pub(super) accepted: bool,
    /// A `Stream` refers to the entry.
    pub(super) owned: bool,
    /// Operations whose last event is still to come.
    pub(super) operations: u8,

    pub(super) receiving: bool,
    /// Waits for a free receive buffer.
    pub(super) starved: bool,
    /// The receive queue is over its limit.
    pub(super) paused: bool,
    /// The socket is to leave this reactor: nothing is begun on it any more.
    pub(super) detaching: bool,
    /// A splice takes what arrives.
    pub(super) spliced: bool,
    /// Splices from it and to it, for which it does not block.
    pub(super) splices: u8,
    /// It is watched for data.
    pub(super) polls_in: bool,
    /// It is watched for room to send.
    pub(super) polls_out: bool,
    /// A hang-up watch is under way.
    pub(super) watching: bool,
    /// The watch has seen the peer's FIN or RST behind unread data.
    pub(super) hung_up: bool,
    /// The end is known but held back by a fault plan.
    pub(super) ending: bool,
    pub(super) end_of_stream: bool,
    /// An errno, or 0.
    pub(super) receive_error: i32,
    pub(super) received: ReceiveQueue,
    pub(super) receive_limit: u32,

    /// A send is in flight.
    pub(super) sending: bool,
    /// Is in the list of sockets with something new to send.
    pub(super) dirty: bool,
    /// The send in flight is being cancelled so that its buffers can be copied out.
    pub(super) reclaiming: bool,
    pub(super) fin_wanted: bool,
    pub(super) fin_sent: bool,
    /// An errno, or 0.
    pub(super) write_error: i32,
    /// The writer waits for fewer queued bytes than this; with 0 for an error only.
    pub(super) write_below: u32,
    pub(super) send: Option<Box<SendQueue>>,

    pub(super) read_waker: Option<Waker>,
    pub(super) closed_waker: Option<Waker>,
    pub(super) write_waker: Option<Waker>,

    pub(super) bytes_received: u64,
    /// What the last receive has brought.
    pub(super) last_received: u32,
    pub(super) bytes_sent: u64,
    pub(super) wire_count: Option<WireCount>,
    /// Bytes on their way that are not counted when they are sent.
    pub(super) uncounted: usize,
    pub(super) peer: Option<SocketAddr>,
    pub(super) connect: Option<Box<Connecting>>,
}

/// Who counts a socket's bytes when they are received, and when the kernel takes
/// them: a function, and what it counts with.
#[derive(Debug, Clone, Copy)]
pub struct WireCount {
    /// What received bytes are counted with, unless somebody else counts them.
    pub received: Option<u32>,
    /// What sent ones are counted with.
    pub sent: u32,
    /// Adds bytes.
    pub add: fn(u32, u64),
}

/// What a `connect` operation needs until it has ended.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) address: socket2::SockAddr,
    /// The negated errno or 0, once known.
    pub(super) result: Option<i32>,
}

impl Socket {
    pub(super) fn new(fd: RawFd, phase: Phase, accepted: bool) -> Self {
        Socket {
            fd,
            phase,
            accepted,
            owned: true,
            operations: 0,
            receiving: false,
            starved: false,
            paused: false,
            detaching: false,
            spliced: false,
            splices: 0,
            polls_in: false,
            polls_out: false,
            watching: false,
            hung_up: false,
            ending: false,
            end_of_stream: false,
            receive_error: 0,
            received: ReceiveQueue::default(),
            receive_limit: RECV_LIMIT_BYTES as u32,
            sending: false,
            dirty: false,
            reclaiming: false,
            fin_wanted: false,
            fin_sent: false,
            write_error: 0,
            write_below: 0,
            send: None,
            read_waker: None,
            closed_waker: None,
            write_waker: None,
            bytes_received: 0,
            last_received: 0,
            bytes_sent: 0,
            wire_count: None,
            uncounted: 0,
            peer: None,
            connect: None,
        }
    }

    /// Counts bytes that have come, at once.
    #[inline]
    pub(super) fn count_received(&mut self, bytes: usize) {
        self.bytes_received += bytes as u64;
        self.last_received = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(count) = self.wire_count
            && let Some(received) = count.received
        {
            (count.add)(received, bytes as u64);
        }
    }

    /// Counts bytes that the kernel has taken.
    #[inline]
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
        if let Some(count) = self.wire_count {
            let uncounted = self.uncounted.min(bytes);
            self.uncounted -= uncounted;
            (count.add)(count.sent, (bytes - uncounted) as u64);
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.send.as_ref().map_or(0, |queue| queue.queued_bytes())
    }

    /// The peer has finished or broken the connection, as far as we know.
    pub(super) fn is_closed(&self) -> bool {
        self.end_of_stream || self.hung_up || self.receive_error != 0 || self.write_error != 0
    }

    /// Nothing more can be received.
    pub(super) fn receive_ended(&self) -> bool {
        self.ending || self.end_of_stream || self.receive_error != 0
    }
}

/// Emptied overflow queues, lent to sockets that receive faster than they are read.
#[derive(Debug, Default)]
pub(super) struct SpareQueues(Vec<VecDeque<Chunk>>);

/// Received chunks in order. The first one lies in the entry itself: the usual connection never
/// has more than one and never touches the heap.
#[derive(Debug, Default)]
pub(super) struct ReceiveQueue {
    first: Option<Chunk>,
    rest: VecDeque<Chunk>,
    bytes: usize,
}

impl ReceiveQueue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn push(&mut self, chunk: Chunk, spares: &mut SpareQueues) {
        self.bytes += chunk.len();
        if self.first.is_none() {
            self.first = Some(chunk);
            return;
        }
        if self.rest.capacity() == 0 {
            self.rest = spares.0.pop().unwrap_or_default();
        }
        self.rest.push_back(chunk);
    }

    pub(super) fn push_front(&mut self, chunk: Chunk, spares: &mut SpareQueues) {
        self.bytes += chunk.len();
        if let Some(second) = self.first.replace(chunk) {
            if self.rest.capacity() == 0 {
                self.rest = spares.0.pop().unwrap_or_default();
            }
            self.rest.push_front(second);
        }
    }

    pub(super) fn pop(&mut self, spares: &mut SpareQueues) -> Option<Chunk> {
        let chunk = self.first.take()?;
        self.bytes -= chunk.len();
        self.first = self.rest.pop_front();
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            let rest = std::mem::take(&mut self.rest);
            if spares.0.len() < SPARE_QUEUES_MAX && rest.capacity() <= SPARE_QUEUE_CAPACITY_MAX {
                spares.0.push(rest);
            }
        }
        Some(chunk)
    }

    /// Copies `bytes` behind the last chunk's, into the same buffer, if there is room.
    pub(super) fn try_append(&mut self, bytes: &[u8]) -> bool {
        let last = match self.rest.back_mut() {
            Some(last) => Some(last),
            None => self.first.as_mut(),
        };
        let appended = last.is_some_and(|last| last.try_append(bytes));
        if appended {
            self.bytes += bytes.len();
        }
        appended
    }

    /// Copies everything to the heap and gives the receive buffers back.
    pub(super) fn detach(&mut self) -> u64 {
        let mut detached = 0;
        for chunk in self.first.iter_mut().chain(&mut self.rest) {
            if chunk.is_lent() {
                chunk.detach();
                detached += 1;
            }
        }
        detached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Socket>() <= 300, "{} bytes", size_of::<Socket>());
    }

    #[test]
    fn chunks_come_out_in_order_and_the_queue_keeps_no_memory() {
        let mut spares = SpareQueues::default();
        let mut queue = ReceiveQueue::default();
        for text in ["b", "c", "d"] {
            queue.push(Chunk::from(text.as_bytes()), &mut spares);
        }
        queue.push_front(Chunk::from(&b"a"[..]), &mut spares);
        assert_eq!(queue.bytes(), 4);
        let mut text = Vec::new();
        while let Some(chunk) = queue.pop(&mut spares) {
            text.extend_from_slice(&chunk);
        }
        assert_eq!(text, b"abcd");
        assert!(queue.is_empty());
        assert_eq!((queue.bytes(), queue.rest.capacity()), (0, 0));
        assert_eq!(spares.0.len(), 1, "the overflow queue was kept for others");
    }
}
