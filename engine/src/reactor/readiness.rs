//! Sockets that are watched for room or for data, because something else than the driver reads
//! or writes them: a splice.
//!
//! `splice` waits in a socket that may block, whatever its flags say, so both sockets of a splice
//! are made non-blocking. io_uring answers `EAGAIN` on such a socket where it would wait on
//! another one; here it is watched and asked again.

use std::os::fd::{BorrowedFd, RawFd};

use super::driver::{DriverKind, Operation};
use super::io::Io;
use super::socket::Phase;

impl Io {
    /// Reports when there is something to receive. Only for a socket of which everything was
    /// taken that had arrived.
    pub(super) fn watch_readable(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.phase == Phase::Closing || std::mem::replace(&mut socket.polls_in, true) {
            return;
        }
        socket.operations += 1;
        let fd = socket.fd;
        self.note_operation();
        self.driver.watch_readable(slot, fd);
    }

    /// Reports when there is room to send. Only for a socket that had none.
    pub(super) fn watch_writable(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot];
        if socket.phase == Phase::Closing || std::mem::replace(&mut socket.polls_out, true) {
            return;
        }
        socket.operations += 1;
        let fd = socket.fd;
        self.note_operation();
        self.driver.watch_writable(slot, fd);
    }

    /// One of the two has been reported, or given up.
    pub(super) fn on_ready(&mut self, operation: Operation, slot: u32) {
        let socket = &mut self.sockets[slot];
        let waker = match operation {
            Operation::Readable => {
                socket.polls_in = false;
                socket.read_waker.take()
            }
            _ => {
                socket.polls_out = false;
                socket.write_waker.take()
            }
        };
        if socket.phase == Phase::Closing {
            return;
        }
        self.woken.extend(waker);
        match operation {
            Operation::Readable => self.arm(slot),
            _ => self.send_next(slot),
        }
    }

    /// From now on bytes go from one socket to the other without us. What is received already
    /// comes first, and so does what is queued.
    pub(super) fn begin_splice(&mut self, from: u32, to: u32) {
        let socket = &mut self.sockets[from];
        socket.spliced = true;
        socket.starved = false;
        if socket.receiving {
            self.cancel(Operation::Receive, from);
        }
        for slot in [from, to] {
            let socket = &mut self.sockets[slot];
            socket.splices += 1;
            if socket.splices == 1 {
                self.set_nonblocking(slot, true);
            }
        }
        self.pipes.add_user();
    }

    /// Bytes are received again.
    pub(super) fn end_splice(&mut self, from: u32, to: u32) {
        self.pipes.remove_user();
        for slot in [from, to] {
            let socket = &mut self.sockets[slot];
            socket.splices -= 1;
            if socket.splices == 0 {
                self.set_nonblocking(slot, false);
            }
        }
        self.sockets[from].spliced = false;
        self.driver.assume_readable(from);
        self.arm(from);
    }

    fn set_nonblocking(&self, slot: u32, nonblocking: bool) {
        let fd: RawFd = self.sockets[slot].fd;
        // Sockets of the other driver never block.
        if fd < 0 || self.driver.kind() != DriverKind::IoUring {
            return;
        }
        // SAFETY: the socket's entry owns the descriptor and nothing closes it during the call.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // Failing would need a bad descriptor, which the next operation then reports.
        let _ = socket2::SockRef::from(&fd).set_nonblocking(nonblocking);
    }
}
