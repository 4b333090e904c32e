//! Bytes of one stream that the kernel moves to another one, through a pipe and past our memory.
//!
//! A call of `splice` costs the same however much it moves, and a socket that is spliced has to
//! be watched instead of being received from. So it pays for streams that have much to say at a
//! time, and who uses it copies until that is so, and again when it is so no more.

use std::task::{Context, Poll};

use super::io::Io;
use super::pipe::Pipe;
use super::socket::Phase;
use super::stream::{Stream, register};

/// Bytes that a splice moves before others have their turn.
const BYTES_PER_TURN_MAX: usize = 1024 * 1024;
/// Less than this at a time would have cost no more as a copy.
const SMALL_BYTES: usize = 16 * 1024;
/// So many small ones in a row end a splice.
const SMALL_MAX: u8 = 4;
/// So often a socket may be said to have something when nothing comes out of it. Urgent data does
/// that: a splice does not get past it, while a receive leaves it out.
const FALSE_ALARMS_MAX: u8 = 2;
/// So often a socket is asked while the pipe has something, because either of them may be the
/// reason of `EAGAIN`: once to find that, and once when it is said to have something.
const ASKED_MAX: u8 = 2;

/// One direction between two plain streams. Dropping it goes back to receiving; what is on the
/// way then is written to the other stream.
#[derive(Debug)]
pub struct Splice<'a> {
    from: &'a Stream,
    to: &'a Stream,
    pipe: Option<Pipe>,
    /// Everything that had arrived was taken, and what comes is reported.
    is_dry: bool,
    /// How often nothing came while the pipe was not empty, since it was drained last.
    asked: u8,
    /// What was moved since `from` was dry.
    burst: usize,
    /// Small bursts in a row.
    small: u8,
    false_alarms: u8,
}

/// What a splice has done.
#[derive(Debug, Clone, Copy)]
pub struct Spliced {
    /// Bytes taken from the one stream.
    pub bytes: usize,
    /// It can do no more: bytes are to be received again, and the end or error of a stream is
    /// told by itself.
    pub is_over: bool,
}

impl<'a> Splice<'a> {
    /// Ends receiving on `from`. What has been received is to be read still, and written to `to`;
    /// then [`is_clear`](Self::is_clear).
    ///
    /// `None` where bytes have to come by here: a fault plan wants them, or a stream is at its end.
    pub fn begin(from: &'a Stream, to: &'a Stream) -> Option<Self> {
        let io = &mut *from.core.io.borrow_mut();
        let (source, target) = (&io.sockets[from.slot], &io.sockets[to.slot]);
        let are_open = source.phase == Phase::Open && target.phase == Phase::Open;
        if io.faults.is_some()
            || !are_open
            || source.receive_ended()
            || target.write_error != 0
            || target.fin_wanted
        {
            return None;
        }
        io.begin_splice(from.slot, to.slot);
        Some(Self {
            from,
            to,
            pipe: None,
            is_dry: false,
            asked: 0,
            burst: 0,
            small: 0,
            false_alarms: 0,
        })
    }

    /// Whether everything has gone that goes before, so that bytes may be moved. Otherwise the
    /// task is woken when `to` has sent it; `from` is to be read as before.
    pub fn is_clear(&self, cx: &mut Context<'_>) -> bool {
        let is_received = {
            let io = self.from.core.io.borrow();
            let source = &io.sockets[self.from.slot];
            !source.receiving && source.received.is_empty() && !source.receive_ended()
        };
        is_received && matches!(self.to.poll_writable(cx, 1), Poll::Ready(Ok(())))
    }

    /// Bytes on the way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.pipe.as_ref().map_or(0, Pipe::bytes)
    }

    /// Whether no more can be on the way: a pipe may be full of pieces before it has as
    /// many bytes as it may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pipe.is_some() && self.asked >= ASKED_MAX
    }

    /// Moves what can be moved: bytes are taken while fewer than `below` are on the way, which
    /// are never more than `limit`. The task is woken when there is more to do.
    pub fn poll(&mut self, below: usize, limit: usize, cx: &mut Context<'_>) -> Spliced {
        let core = &self.from.core;
        let mut io = core.io.borrow_mut();
        let mut bytes = 0;
        let is_over = loop {
            if bytes >= BYTES_PER_TURN_MAX {
                break false;
            }
            match self.step(&mut io, below, limit) {
                Step::Taken(more) => bytes += more,
                Step::Sent => {}
                Step::Waits => break false,
                Step::Over => break true,
            }
        };
        io.metrics.spliced_bytes += bytes as u64;
        let reader = register(&mut io.sockets[self.from.slot].read_waker, cx);
        let writer = register(&mut io.sockets[self.to.slot].write_waker, cx);
        drop(io);
        drop((reader, writer));
        if bytes >= BYTES_PER_TURN_MAX {
            cx.waker().wake_by_ref();
        }
        Spliced { bytes, is_over }
    }

    fn step(&mut self, io: &mut Io, below: usize, limit: usize) -> Step {
        let (source, target) = (&io.sockets[self.from.slot], &io.sockets[self.to.slot]);
        if source.receive_ended() || target.write_error != 0 {
            return Step::Over;
        }
        if target.receive_error != 0 {
            // Who writes now would be told that there is nobody, but not why.
            let errno = target.receive_error;
            io.fail_writing(self.to.slot, errno);
            return Step::Over;
        }
        if self.is_dry && !source.polls_in {
            self.is_dry = false;
            self.burst = 0;
        }
        if self.pipe.is_some() && !target.polls_out {
            return self.send(io);
        }
        let waits = match self.pipe {
            None => self.is_dry,
            Some(_) => self.asked >= ASKED_MAX || self.asked > 0 && source.polls_in,
        };
        if waits || self.queued() >= below {
            return Step::Waits;
        }
        self.take(io, limit)
    }

    /// Gives `to` what is in the pipe.
    fn send(&mut self, io: &mut Io) -> Step {
        let Some(pipe) = &mut self.pipe else {
            return Step::Waits;
        };
        match pipe.drain(io.sockets[self.to.slot].fd) {
            // A pipe with something in it has no end.
            Ok(0) => Step::Over,
            Ok(sent) => {
                io.sockets[self.to.slot].count_sent(sent);
                self.asked = 0;
                if pipe.bytes() == 0
                    && let Some(pipe) = self.pipe.take()
                {
                    io.pipes.put_back(pipe);
                }
                Step::Sent
            }
            Err(libc::EAGAIN) => {
                io.watch_writable(self.to.slot);
                Step::Sent
            }
            Err(errno) => {
                if !is_refused(errno) {
                    io.fail_writing(self.to.slot, errno);
                }
                Step::Over
            }
        }
    }

    /// Takes from `from` what the pipe has room for.
    fn take(&mut self, io: &mut Io, limit: usize) -> Step {
        let Some(mut pipe) = self.pipe.take().or_else(|| io.pipes.take()) else {
            return Step::Over;
        };
        let slot = self.from.slot;
        let before = pipe.bytes();
        let taken = pipe.fill(io.sockets[slot].fd, limit.saturating_sub(before));
        match pipe.bytes() {
            0 => io.pipes.put_back(pipe),
            _ => self.pipe = Some(pipe),
        }
        match taken {
            // The end, or urgent data in front of it: receiving tells.
            Ok(0) => Step::Over,
            Ok(bytes) => {
                io.sockets[slot].count_received(bytes);
                self.burst += bytes;
                Step::Taken(bytes)
            }
            Err(libc::EAGAIN) if before > 0 => {
                self.asked += 1;
                if self.asked < ASKED_MAX {
                    io.watch_readable(slot);
                }
                Step::Waits
            }
            Err(libc::EAGAIN) => self.run_dry(io),
            Err(errno) => {
                if !is_refused(errno) {
                    io.finish_receiving(slot, errno);
                }
                Step::Over
            }
        }
    }

    /// Nothing is there and nothing on the way. Ends a splice that does not pay.
    fn run_dry(&mut self, io: &mut Io) -> Step {
        match self.burst {
            0 => self.false_alarms += 1,
            _ => self.false_alarms = 0,
        }
        match self.burst < SMALL_BYTES {
            true => self.small += 1,
            false => self.small = 0,
        }
        if self.false_alarms >= FALSE_ALARMS_MAX || self.small >= SMALL_MAX {
            return Step::Over;
        }
        self.is_dry = true;
        io.watch_readable(self.from.slot);
        Step::Waits
    }
}

/// What one call of the kernel has come to.
enum Step {
    /// So many bytes have come in.
    Taken(usize),
    /// Bytes have gone out, or it is known that they cannot now.
    Sent,
    /// Nothing can be done until something is reported.
    Waits,
    Over,
}

/// The kernel cannot splice this kind of socket, must not, or has no memory for it: no failure of
/// the socket.
fn is_refused(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::ENOMEM
    )
}

impl Drop for Splice<'_> {
    fn drop(&mut self) {
        let rest = {
            let io = &mut *self.from.core.io.borrow_mut();
            let rest = self.pipe.take().map(|pipe| io.pipes.empty(pipe));
            io.end_splice(self.from.slot, self.to.slot);
            rest
        };
        if let Some(rest) = rest {
            self.to.write(&rest);
        }
    }
}
