//! What happens when receive buffers run low.
//!
//! Two rules keep a reactor with few buffers alive. No more receives are started than there are
//! buffers, since a receive that finds none fails at once and trying again would spin. And no
//! queue keeps a buffer for long while others wait: its bytes are copied out.

use super::buffer::Holder;
use super::driver::Operation;
use super::io::Io;
use super::socket::Phase;

/// Buffers are copied out of queues when fewer than one in this many is free.
const LOW_BUFFERS_DIVISOR: u32 = 4;
/// A queue that has held a buffer this long is slow, not merely between two turns.
const HELD_LONG_MS: u64 = 10;

impl Io {
    /// Gives starved sockets the free buffers, one each: more receives than buffers would only
    /// fail again.
    pub(super) fn feed_starved(&mut self) {
        let mut budget = self.pool.free();
        while budget > 0
            && let Some(slot) = self.starved.pop_front()
        {
            // The place may belong to another socket by now, which then waits in the list itself.
            let Some(socket) = self.sockets.get_mut(slot) else {
                continue;
            };
            if !std::mem::take(&mut socket.starved) {
                continue;
            }
            let wanted =
                !socket.paused && !socket.spliced && !socket.receiving && !socket.receive_ended();
            if wanted && socket.phase != Phase::Closing {
                self.receive(slot);
                budget -= 1;
            }
        }
    }

    /// When buffers run low, copies out those that queues have held for long: a few slow peers
    /// must not keep the others from receiving.
    pub(super) fn relieve(&mut self) {
        let low = self.pool.free() < u32::from(self.pool.count()).div_ceil(LOW_BUFFERS_DIVISOR);
        if !low || self.now_ms < self.next_relief_ms {
            return;
        }
        self.next_relief_ms = self.now_ms + HELD_LONG_MS;
        let Some(taken_before_ms) = self.now_ms.checked_sub(HELD_LONG_MS) else {
            return;
        };
        let mut holders = std::mem::take(&mut self.holders);
        self.pool.holders(taken_before_ms, &mut holders);
        for holder in holders.drain(..) {
            match holder {
                Holder::Task => {}
                Holder::Received(slot) => {
                    if let Some(socket) = self.sockets.get_mut(slot) {
                        self.metrics.copied_out += socket.received.detach();
                    }
                }
                Holder::Queued(slot) => self.relieve_send_queue(slot),
            }
        }
        self.holders = holders;
    }

    fn relieve_send_queue(&mut self, slot: u32) {
        let Some(socket) = self.sockets.get_mut(slot) else {
            return;
        };
        let Some(queue) = &mut socket.send else {
            return;
        };
        self.metrics.copied_out += 1;
        let in_flight = queue.detach();
        if in_flight && !socket.reclaiming && socket.phase != Phase::Closing {
            // The kernel still reads them: interrupt the send, copy, and send the rest again.
            socket.reclaiming = true;
            self.cancel(Operation::Send, slot);
        }
    }
}
