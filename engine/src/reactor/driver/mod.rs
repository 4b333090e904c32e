//! The two ways to talk to the kernel, behind one interface.
//!
//! The reactor asks for operations by socket slot; a driver answers with events. The contract, for
//! both drivers alike:
//! - Every operation ends with exactly one event whose `more` is false. `Receive` and `Accept` may
//!   yield events with `more` before it.
//! - `cancel` yields a `Cancel` event of its own, and makes the cancelled operation end, with
//!   `-ECANCELED` unless it ended in another way first.
//! - Memory named by `send` and `connect` must stay valid until the operation has ended; the
//!   reactor keeps it in the socket's slot, which it frees only then.
//! - Events come from `wait` only, never from within a call.
//!
//! A driver knows nothing of streams, limits or wakers.

mod epoll;
mod uring;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use super::Options;
use super::buffer::Pool;
use super::send_queue::Gather;

/// The driver in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// io_uring, for Linux 6.1 and later.
    IoUring,
    /// epoll, for everywhere else.
    Epoll,
}

impl DriverKind {
    /// The name used by the command line, logs and `/server_info`.
    pub const fn as_str(self) -> &'static str {
        match self {
            DriverKind::IoUring => "io_uring",
            DriverKind::Epoll => "epoll",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The driver wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// io_uring if a trial succeeds, otherwise epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DriverChoice::Auto => "auto",
            DriverChoice::IoUring => DriverKind::IoUring.as_str(),
            DriverChoice::Epoll => DriverKind::Epoll.as_str(),
        })
    }
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::IoUring, Self::Epoll]
            .into_iter()
            .find(|choice| choice.to_string() == text)
            .ok_or_else(|| format!("unknown I/O driver {text:?}: expected auto, io_uring or epoll"))
    }
}

/// What an event is about. The slot is a listener's for the accept operations, else a socket's.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Receive,
    Send,
    Connect,
    /// A watch for the peer's FIN or RST while nothing is received.
    HangUp,
    /// A watch for data that nothing receives.
    Readable,
    /// A watch for room to send.
    Writable,
    Close,
    Cancel,
    Accept,
    CancelAccept,
    /// Another thread called for attention; has no slot and no end.
    Wake,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) operation: Operation,
    pub(super) slot: u32,
    /// As of the system call: a count, a descriptor, or a negated errno.
    pub(super) result: i32,
    /// The filled receive buffer, now the reactor's.
    pub(super) buffer: Option<u16>,
    pub(super) more: bool,
}

/// A driver; see the module's contract.
#[derive(Debug)]
pub(super) enum Driver {
    Uring(Box<uring::Uring>),
    Epoll(Box<epoll::Epoll>),
}

/// A driver ready for use.
pub(super) struct Opened {
    pub(super) driver: Driver,
    pub(super) pool: Rc<Pool>,
    /// Why `Auto` did not choose io_uring.
    pub(super) fallback_reason: Option<String>,
}

macro_rules! on_driver {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Driver::Uring($driver) => $call,
            Driver::Epoll($driver) => $call,
        }
    };
}

impl Driver {
    /// `wake` is the eventfd that other threads write to.
    pub(super) fn open(options: &Options, wake: RawFd) -> io::Result<Opened> {
        let uring = || {
            let pool = Pool::with_ring(options.buffer_count, options.buffer_bytes)?;
            let uring = uring::Uring::open(options, Rc::clone(&pool), wake)?;
            Ok::<_, io::Error>((Driver::Uring(Box::new(uring)), pool))
        };
        let epoll = || {
            let pool = Pool::with_stack(options.buffer_count, options.buffer_bytes)?;
            let epoll = epoll::Epoll::open(Rc::clone(&pool), wake)?;
            Ok::<_, io::Error>((Driver::Epoll(Box::new(epoll)), pool))
        };
        let (opened, fallback_reason) = match options.driver {
            DriverChoice::IoUring => (uring()?, None),
            DriverChoice::Epoll => (epoll()?, None),
            DriverChoice::Auto => match uring() {
                Ok(opened) => (opened, None),
                Err(error) => (epoll()?, Some(error.to_string())),
            },
        };
        let (driver, pool) = opened;
        Ok(Opened {
            driver,
            pool,
            fallback_reason,
        })
    }

    pub(super) fn kind(&self) -> DriverKind {
        match self {
            Driver::Uring(_) => DriverKind::IoUring,
            Driver::Epoll(_) => DriverKind::Epoll,
        }
    }

    /// Makes a connected socket known. Not for one that is about to `connect`.
    pub(super) fn attach(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        match self {
            Driver::Uring(_) => Ok(()),
            Driver::Epoll(epoll) => epoll.attach(slot, fd),
        }
    }

    /// Forgets a socket without operations whose descriptor lives on elsewhere.
    pub(super) fn detach(&mut self, slot: u32, fd: RawFd) {
        if let Driver::Epoll(epoll) = self {
            epoll.detach(slot, fd);
        }
    }

    pub(super) fn attach_listener(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        match self {
            Driver::Uring(_) => Ok(()),
            Driver::Epoll(epoll) => epoll.attach_listener(slot, fd),
        }
    }

    /// Forgets a listener whose accept has ended; the caller closes it.
    pub(super) fn detach_listener(&mut self, slot: u32) {
        if let Driver::Epoll(epoll) = self {
            epoll.detach_listener(slot);
        }
    }

    pub(super) fn receive(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.receive(slot, fd));
    }

    pub(super) fn send(&mut self, slot: u32, fd: RawFd, gather: Gather) {
        on_driver!(self, driver => driver.send(slot, fd, gather));
    }

    pub(super) fn connect(&mut self, slot: u32, fd: RawFd, address: &socket2::SockAddr) {
        on_driver!(self, driver => driver.connect(slot, fd, address));
    }

    pub(super) fn watch_hang_up(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.watch_hang_up(slot, fd));
    }

    /// Ends when there is data, the peer's FIN or an error. Only after a call of the kernel has
    /// found nothing.
    pub(super) fn watch_readable(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.watch_readable(slot, fd));
    }

    /// Ends when there is room to send, or an error. Only after a call of the kernel has found
    /// none.
    pub(super) fn watch_writable(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.watch_writable(slot, fd));
    }

    /// Somebody else has read from the socket, and may have left something there that was
    /// reported before.
    pub(super) fn assume_readable(&mut self, slot: u32) {
        if let Driver::Epoll(epoll) = self {
            epoll.assume_readable(slot);
        }
    }

    pub(super) fn accept(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.accept(slot, fd));
    }

    /// Ends the operation `of` on the slot early.
    pub(super) fn cancel(&mut self, of: Operation, slot: u32) {
        on_driver!(self, driver => driver.cancel(of, slot));
    }

    /// Closes the descriptor, after everything asked for before.
    pub(super) fn close(&mut self, slot: u32, fd: RawFd) {
        on_driver!(self, driver => driver.close(slot, fd));
    }

    /// Hands everything to the kernel and appends what has happened to `events`. Sleeps until
    /// something happens or `timeout` has passed; for ever without a timeout.
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        on_driver!(self, driver => driver.wait(timeout, events))
    }

    /// The next wake-up from another thread is the last one to be reported.
    pub(super) fn stop_watching_wake(&mut self) {
        if let Driver::Uring(uring) = self {
            uring.stop_watching_wake();
        }
    }

    /// Whether a read of the eventfd is under way.
    pub(super) fn is_watching_wake(&self) -> bool {
        match self {
            Driver::Uring(uring) => uring.is_watching_wake(),
            Driver::Epoll(_) => false,
        }
    }

    /// Operations handed to the kernel (or to the driver) since the start.
    pub(super) fn submissions(&self) -> u64 {
        on_driver!(self, driver => driver.submissions())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for text in ["auto", "io_uring", "epoll"] {
            assert_eq!(text.parse::<DriverChoice>().unwrap().to_string(), text);
        }
        assert!("kqueue".parse::<DriverChoice>().is_err());
    }
}
