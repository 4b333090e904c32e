//! Sockets, listeners and the driver together: what happens to them in a turn.
//!
//! Rules that hold here:
//! - A socket's entry is freed when it is `Closing` and its last operation has ended.
//! - A receive is under way for every open socket unless it is paused (its queue is over the
//!   limit), starved (no buffer is free), spliced or finished. Whoever removes the reason re-arms
//!   it.
//! - Wakers are collected in `woken` and called after the borrow of `Io` has ended, because a
//!   foreign waker may run anything.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::Waker;

use super::Metrics;
use super::buffer::{Chunk, Holder, Pool};
use super::driver::{Driver, Event, Operation};
use super::fault::Faults;
use super::listener::Accepting;
use super::pipe::Pipes;
use super::send_queue::{COPY_BELOW_BYTES, Spares};
use super::slab::Slab;
use super::socket::{Connecting, Phase, Socket, SpareQueues};

#[derive(Debug)]
pub(super) struct Io {
    pub(super) driver: Driver,
    pub(super) pool: Rc<Pool>,
    pub(super) sockets: Slab<Socket>,
    pub(super) listeners: Slab<Accepting>,
    pub(super) woken: Vec<Waker>,
    pub(super) faults: Option<Faults>,
    pub(super) metrics: Metrics,
    pub(super) spares: Spares,
    pub(super) spare_queues: SpareQueues,
    pub(super) pipes: Pipes,
    /// Timers in the wheel that belong to sockets which no longer need them.
    pub(super) stale_timers: Vec<u32>,
    /// The wheel's time at the beginning of the turn.
    pub(super) now_ms: u64,
    /// Sockets with something new to send.
    dirty: Vec<u32>,
    /// Sockets that wait for a free receive buffer, in order.
    pub(super) starved: VecDeque<u32>,
    pub(super) next_relief_ms: u64,
    pub(super) holders: Vec<Holder>,
    operations: u64,
}

impl Io {
    pub(super) fn new(driver: Driver, pool: Rc<Pool>, faults: Option<Faults>) -> Self {
        Io {
            driver,
            pool,
            sockets: Slab::new(),
            listeners: Slab::new(),
            woken: Vec::new(),
            faults,
            metrics: Metrics::default(),
            spares: Spares::default(),
            spare_queues: SpareQueues::default(),
            pipes: Pipes::default(),
            stale_timers: Vec::new(),
            now_ms: 0,
            dirty: Vec::new(),
            starved: VecDeque::new(),
            next_relief_ms: 0,
            holders: Vec::new(),
            operations: 0,
        }
    }

    /// Takes over a connected socket and starts to receive.
    pub(super) fn open(&mut self, fd: RawFd, accepted: bool) -> u32 {
        let slot = self.sockets.insert(Socket::new(fd, Phase::Open, accepted));
        match self.driver.attach(slot, fd) {
            Ok(()) => self.arm(slot),
            Err(error) => {
                self.sockets[slot].receive_error = error.raw_os_error().unwrap_or(libc::EIO);
            }
        }
        slot
    }

    pub(super) fn connect(&mut self, fd: RawFd, address: socket2::SockAddr) -> u32 {
        let mut socket = Socket::new(fd, Phase::Connecting, false);
        socket.operations = 1;
        // The box keeps the address in place until the operation has ended.
        socket.connect = Some(Box::new(Connecting {
            address,
            result: None,
        }));
        let slot = self.sockets.insert(socket);
        self.operations += 1;
        if let Some(connect) = &self.sockets[slot].connect {
            self.driver.connect(slot, fd, &connect.address);
        }
        slot
    }

    /// Starts a receive unless there is a reason not to.
    pub(super) fn arm(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        let open = matches!(socket.phase, Phase::Open | Phase::Draining { .. });
        let receives = socket.receiving || socket.starved || socket.polls_in;
        let must_not = socket.paused || socket.spliced || socket.detaching;
        if !open || receives || must_not || socket.receive_ended() {
            return;
        }
        if self.pool.free() == 0 || !self.starved.is_empty() {
            // A receive that finds no buffer fails at once: wait for one in the order of arrival.
            socket.starved = true;
            self.starved.push_back(slot);
            self.metrics.starved_receives += 1;
            return;
        }
        self.receive(slot);
    }

    pub(super) fn receive(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        socket.receiving = true;
        socket.operations += 1;
        self.operations += 1;
        self.driver.receive(slot, socket.fd);
    }

    pub(super) fn cancel(&mut self, operation: Operation, slot: u32) {
        self.sockets[slot].operations += 1;
        self.operations += 1;
        self.driver.cancel(operation, slot);
    }

    /// Takes the next received chunk, and resumes a paused receive once the queue has drained to
    /// half its limit. This does not depend on anybody waiting for more.
    pub(super) fn pop_received(&mut self, slot: u32) -> Option<Chunk> {
        let chunk = self.sockets[slot].received.pop(&mut self.spare_queues)?;
        chunk.set_holder(Holder::Task);
        self.resume(slot);
        Some(chunk)
    }

    pub(super) fn resume(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.paused && socket.received.bytes() <= socket.receive_limit as usize / 2 {
            socket.paused = false;
            self.arm(slot);
        }
    }

    /// Watches a paused socket for its end, because no receive would report it.
    pub(super) fn watch_hang_up(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        let unseen = socket.paused || socket.spliced;
        if socket.phase == Phase::Open && unseen && !socket.watching && !socket.hung_up {
            socket.watching = true;
            socket.operations += 1;
            self.operations += 1;
            self.driver.watch_hang_up(slot, socket.fd);
        }
    }

    pub(super) fn mark_dirty(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if !socket.dirty {
            socket.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// The end of a turn: everything written in it is sent, and starved sockets get the buffers
    /// that have come free.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            if let Some(socket) = self.sockets.get_mut(slot)
                && std::mem::take(&mut socket.dirty)
            {
                self.send_next(slot);
            }
        }
        self.dirty = dirty;
        self.relieve();
        self.feed_starved();
    }

    /// The time at which `flush` should run again although nothing happens.
    pub(super) fn next_flush_ms(&self) -> Option<u64> {
        let faults = self.faults.as_ref().and_then(Faults::next_ms);
        let relief = (!self.starved.is_empty()).then_some(self.next_relief_ms);
        [faults, relief].into_iter().flatten().min()
    }

    /// Starts the next send, or does what waits for the queue to be empty.
    pub(super) fn send_next(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        let waits = socket.sending || socket.polls_out;
        if waits || matches!(socket.phase, Phase::Connecting | Phase::Closing) {
            return;
        }
        let bytes_max = match &mut self.faults {
            None => usize::MAX,
            Some(faults) => match faults.send_max(socket) {
                Ok(bytes_max) => bytes_max,
                Err(errno) => {
                    self.fail_writing(slot, errno);
                    return;
                }
            },
        };
        if let Some(gather) = socket
            .send
            .as_mut()
            .and_then(|queue| queue.gather(bytes_max))
        {
            socket.sending = true;
            socket.operations += 1;
            self.operations += 1;
            self.driver.send(slot, socket.fd, gather);
            return;
        }
        if let Some(queue) = socket.send.take() {
            self.spares.recycle_queue(queue);
        }
        if socket.fin_wanted && !std::mem::replace(&mut socket.fin_sent, true) {
            // SAFETY: a plain system call on a descriptor that the socket owns.
            unsafe { libc::shutdown(socket.fd, libc::SHUT_WR) };
        }
        if let Phase::Draining { .. } = socket.phase {
            self.close(slot);
        }
    }

    /// The stream is gone: what it has written is still sent.
    /// Returns whether a timer must limit that, which the caller then gives to `drain_until`.
    pub(super) fn release(&mut self, slot: u32) -> (bool, Discarded) {
        let socket = &mut self.sockets[slot];
        let discarded = Discarded {
            _wakers: [
                socket.read_waker.take(),
                socket.closed_waker.take(),
                socket.write_waker.take(),
            ],
        };
        while socket.received.pop(&mut self.spare_queues).is_some() {}
        let drains =
            socket.phase == Phase::Open && socket.queued_bytes() > 0 && socket.write_error == 0;
        socket.owned = false;
        if !drains {
            self.close(slot);
            self.settle(slot);
        }
        (drains, discarded)
    }

    pub(super) fn drain_until(&mut self, slot: u32, timer: u32) {
        let socket = &mut self.sockets[slot];
        socket.phase = Phase::Draining { timer };
        // What the peer still sends is read and dropped: unread data would turn our FIN into a
        // RST, which takes the response away from the peer.
        socket.paused = false;
        self.arm(slot);
    }

    /// Discards what is unsent and resets the connection.
    pub(super) fn abort(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.phase != Phase::Closing {
            let linger = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            // SAFETY: the option's value is valid for the duration of the call and has its size.
            unsafe {
                libc::setsockopt(
                    socket.fd,
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size_of::<libc::linger>() as libc::socklen_t,
                );
            }
        }
        self.close(slot);
    }

    /// Ends every operation of the socket and closes it, in this order.
    pub(super) fn close(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.phase == Phase::Closing {
            return;
        }
        if let Phase::Draining { timer } = socket.phase {
            self.stale_timers.push(timer);
        }
        let connecting = socket.phase == Phase::Connecting
            && socket.connect.as_ref().is_some_and(|c| c.result.is_none());
        let under_way = [
            (Operation::Receive, socket.receiving),
            (Operation::Send, socket.sending),
            (Operation::HangUp, socket.watching),
            (Operation::Readable, socket.polls_in),
            (Operation::Writable, socket.polls_out),
            (Operation::Connect, connecting),
        ];
        socket.phase = Phase::Closing;
        socket.dirty = false;
        socket.starved = false;
        if let Some(faults) = &mut self.faults {
            faults.forget(slot);
        }
        for (operation, active) in under_way {
            if active {
                self.cancel(operation, slot);
            }
        }
        let socket = &mut self.sockets[slot];
        let fd = std::mem::replace(&mut socket.fd, -1);
        socket.operations += 1;
        self.operations += 1;
        self.driver.close(slot, fd);
    }

    /// Frees a closed socket's entry once the kernel and the stream have let go of it.
    fn settle(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.phase == Phase::Closing && socket.operations == 0 && !socket.owned {
            if let Some(queue) = socket.send.take() {
                self.spares.recycle_queue(queue);
            }
            self.sockets.remove(slot);
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        self.metrics.completions += 1;
        match event.operation {
            Operation::Wake => return,
            Operation::Accept | Operation::CancelAccept => {
                self.operations -= u64::from(!event.more);
                self.on_accept_event(event);
                return;
            }
            _ => {}
        }
        let slot = event.slot;
        if !event.more {
            self.operations -= 1;
            self.sockets[slot].operations -= 1;
        }
        match event.operation {
            Operation::Receive => self.on_receive(event),
            Operation::Send => self.on_sent(slot, event.result),
            Operation::Connect => self.on_connected(slot, event.result),
            Operation::Readable | Operation::Writable => self.on_ready(event.operation, slot),
            Operation::HangUp => {
                let socket = &mut self.sockets[slot];
                socket.watching = false;
                if event.result > 0 {
                    socket.hung_up = true;
                    self.woken.extend(socket.closed_waker.take());
                }
            }
            _ => {}
        }
        if !event.more {
            let socket = &mut self.sockets[slot];
            if socket.detaching && socket.operations == 0 {
                self.woken.extend(socket.read_waker.take());
            }
            self.settle(slot);
        }
    }

    /// Ends the receive of a socket that is to leave.
    pub(super) fn begin_detaching(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        socket.detaching = true;
        socket.starved = false;
        if socket.receiving && socket.phase == Phase::Open {
            self.cancel(Operation::Receive, slot);
        }
    }

    /// Takes the descriptor out of a socket without operations. The entry stays, as a closed one,
    /// until its stream is dropped.
    pub(super) fn take_descriptor(&mut self, slot: u32) -> io::Result<OwnedFd> {
        let socket = &mut self.sockets[slot];
        let is_clean = socket.phase == Phase::Open
            && socket.operations == 0
            && socket.received.is_empty()
            && socket.queued_bytes() == 0
            && !socket.fin_wanted
            && !socket.is_closed();
        if !is_clean {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let fd = std::mem::replace(&mut socket.fd, -1);
        socket.phase = Phase::Closing;
        socket.dirty = false;
        if let Some(faults) = &mut self.faults {
            faults.forget(slot);
        }
        self.driver.detach(slot, fd);
        // SAFETY: the entry owned the descriptor and has just given it up; no operation uses it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn on_receive(&mut self, event: Event) {
        let slot = event.slot;
        if self.sockets[slot].phase == Phase::Closing {
            if let Some(buffer) = event.buffer {
                self.pool.put_back(buffer);
            }
            return;
        }
        if !event.more {
            self.sockets[slot].receiving = false;
        }
        let bytes = usize::try_from(event.result).unwrap_or(0);
        match event.buffer {
            Some(buffer) if bytes == 0 => self.pool.put_back(buffer),
            Some(buffer) => {
                let chunk = self.pool.chunk(buffer, bytes, self.now_ms);
                match &mut self.faults {
                    None => self.deliver(slot, chunk),
                    Some(faults) => {
                        faults.hold(slot, &self.sockets[slot], Ok(chunk), self.now_ms);
                        self.deliver_due();
                    }
                }
            }
            None => {}
        }
        match event.result {
            1.. => {}
            result if result == -libc::ECANCELED => {}
            result if result == -libc::EAGAIN => self.watch_readable(slot),
            result if result == -libc::ENOBUFS => {
                let socket = &mut self.sockets[slot];
                if socket.phase != Phase::Closing && !socket.starved {
                    socket.starved = true;
                    self.starved.push_back(slot);
                    self.metrics.starved_receives += 1;
                }
            }
            result => match &mut self.faults {
                None => self.finish_receiving(slot, -result),
                Some(faults) => {
                    self.sockets[slot].ending = true;
                    faults.hold(slot, &self.sockets[slot], Err(-result), self.now_ms);
                    self.deliver_due();
                }
            },
        }
        if !event.more {
            let socket = &mut self.sockets[slot];
            if socket.spliced {
                self.woken.extend(socket.read_waker.take());
            }
            self.arm(slot);
        }
    }

    /// Hands over what the fault plan has held back until now.
    pub(super) fn deliver_due(&mut self) {
        while let Some((slot, outcome)) = self
            .faults
            .as_mut()
            .and_then(|faults| faults.next_due(self.now_ms))
        {
            let alive = self
                .sockets
                .get(slot)
                .is_some_and(|socket| socket.phase != Phase::Closing);
            if !alive {
                continue;
            }
            match outcome {
                Ok(chunk) => self.deliver(slot, chunk),
                Err(errno) => self.finish_receiving(slot, errno),
            }
        }
    }

    fn deliver(&mut self, slot: u32, chunk: Chunk) {
        let socket = &mut self.sockets[slot];
        if socket.phase != Phase::Open || socket.receive_error != 0 {
            return;
        }
        socket.count_received(chunk.len());
        // Many small chunks that nobody reads must not each keep a whole buffer.
        let small = chunk.len() < COPY_BELOW_BYTES && self.faults.is_none();
        if !(small && socket.received.try_append(&chunk)) {
            chunk.set_holder(Holder::Received(slot));
            socket.received.push(chunk, &mut self.spare_queues);
        }
        self.woken.extend(socket.read_waker.take());
        let over = socket.received.bytes() > socket.receive_limit as usize;
        if over && !std::mem::replace(&mut socket.paused, true) {
            let receiving = socket.receiving;
            let watched = socket.closed_waker.is_some();
            if receiving {
                self.cancel(Operation::Receive, slot);
            }
            if watched {
                self.watch_hang_up(slot);
            }
        }
    }

    /// The peer's FIN (0) or an error.
    pub(super) fn finish_receiving(&mut self, slot: u32, errno: i32) {
        let socket = &mut self.sockets[slot];
        if errno == 0 {
            socket.end_of_stream = true;
        } else {
            socket.receive_error = errno;
        }
        self.woken.extend(socket.read_waker.take());
        self.woken.extend(socket.closed_waker.take());
        if errno != 0 {
            self.woken.extend(socket.write_waker.take());
        }
        if errno != 0 && matches!(socket.phase, Phase::Draining { .. }) {
            self.close(slot);
        }
    }

    fn on_sent(&mut self, slot: u32, result: i32) {
        let socket = &mut self.sockets[slot];
        socket.sending = false;
        let reclaiming = std::mem::take(&mut socket.reclaiming);
        let sent = usize::try_from(result).unwrap_or(0);
        socket.count_sent(sent);
        if let Some(queue) = &mut socket.send {
            queue.complete(sent, &mut self.spares);
            if reclaiming {
                queue.detach();
            }
        }
        if socket.phase == Phase::Closing {
            return;
        }
        if result == -libc::EAGAIN {
            self.watch_writable(slot);
            return;
        }
        if result < 0 && result != -libc::ECANCELED {
            self.fail_writing(slot, -result);
            return;
        }
        if socket.queued_bytes() < socket.write_below as usize {
            self.woken.extend(socket.write_waker.take());
        }
        self.send_next(slot);
    }

    pub(super) fn fail_writing(&mut self, slot: u32, errno: i32) {
        let socket = &mut self.sockets[slot];
        socket.write_error = errno;
        self.woken.extend(socket.write_waker.take());
        self.woken.extend(socket.closed_waker.take());
        if !socket.sending
            && let Some(queue) = socket.send.take()
        {
            self.spares.recycle_queue(queue);
        }
        if let Phase::Draining { .. } = socket.phase {
            self.close(slot);
        }
    }

    fn on_connected(&mut self, slot: u32, result: i32) {
        let socket = &mut self.sockets[slot];
        if socket.phase == Phase::Closing {
            return;
        }
        if let Some(connect) = &mut socket.connect {
            connect.result = Some(result);
        }
        self.woken.extend(socket.read_waker.take());
    }

    /// The connected socket belongs to a stream from now on.
    pub(super) fn finish_connecting(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        socket.phase = Phase::Open;
        socket.connect = None;
        self.arm(slot);
    }

    pub(super) fn note_operation(&mut self) {
        self.operations += 1;
    }

    /// Whether the kernel still uses memory of ours.
    pub(super) fn is_busy(&self) -> bool {
        self.operations > 0 || self.driver.is_watching_wake()
    }

    /// Cancels everything and closes every socket and listener; the events are still to come, and
    /// the caller must wake the reactor once to end the watch for that.
    pub(super) fn shut_down(&mut self) {
        self.driver.stop_watching_wake();
        for slot in self.sockets.indices() {
            let socket = &mut self.sockets[slot];
            if socket.phase == Phase::Closing {
                continue;
            }
            // Streams may outlive the reactor: they see an error, not an end of the data.
            socket.receive_error = libc::ECANCELED;
            socket.write_error = libc::ECANCELED;
            self.woken.extend(socket.read_waker.take());
            self.woken.extend(socket.write_waker.take());
            self.woken.extend(socket.closed_waker.take());
            self.close(slot);
        }
        for slot in self.listeners.indices() {
            let waker = self.close_listener(slot);
            self.woken.extend(waker);
        }
    }

    pub(super) fn snapshot(&self) -> Metrics {
        Metrics {
            submissions: self.driver.submissions(),
            open_sockets: self.sockets.len() as u64,
            operations_in_flight: self.operations,
            free_buffers: u64::from(self.pool.free()),
            ..self.metrics
        }
    }

    /// Wraps the errno of a socket.
    pub(super) fn error(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }
}

/// Wakers to be dropped after the borrow of `Io` has ended.
pub(super) struct Discarded {
    _wakers: [Option<Waker>; 3],
}
