//! A thin, safe cover over epoll.
//!
//! Not mio: its timeouts are whole milliseconds, and a load generator that wakes up a millisecond
//! late at 10,000 requests/s sends them ten at a time.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::os::check;

/// Events taken in one wait. With more ready sockets than this the rest comes next time.
const BATCH: usize = 1024;

/// An epoll instance whose sockets are all watched edge-triggered, for reading and writing.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What happened to one socket.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The number given to [`Epoll::add`].
    pub token: u64,
    /// Bytes, an end or an error can be read.
    pub readable: bool,
    /// There is room for writing again, or writing has failed.
    pub writable: bool,
    /// The peer has sent its end, or the socket has failed: read until one of both shows.
    pub closing: bool,
}

impl Epoll {
    /// Creates an instance that watches nothing.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just created and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll {
            fd,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Watches a socket until it is closed.
    pub fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event {
            events: interest.cast_unsigned(),
            u64: token,
        };
        let (epoll, socket) = (self.fd.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: both descriptors are open for the length of the call, and the event is copied.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event) })?;
        Ok(())
    }

    /// Waits for events, at most for `timeout` (with a resolution of nanoseconds), and returns
    /// how many there are; [`Epoll::event`] reads them. An interrupted wait has none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|t| libc::timespec {
            tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        self.events.clear();
        let spare = self.events.spare_capacity_mut();
        let room = i32::try_from(spare.len()).unwrap_or(i32::MAX);
        // SAFETY: `spare` is writable memory for `room` events and the timeout outlives the call.
        let count = unsafe {
            libc::epoll_pwait2(
                self.fd.as_raw_fd(),
                spare.as_mut_ptr().cast(),
                room,
                timeout,
                std::ptr::null(),
            )
        };
        let count = match check(count) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
        };
        // SAFETY: the kernel has filled in the first `count` events, and `count <= room`.
        unsafe { self.events.set_len(count) };
        Ok(count)
    }

    /// The event at a position below what the last [`Epoll::wait`] returned.
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        let has = |bits: i32| event.events & bits.cast_unsigned() != 0;
        let closing = has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR);
        Event {
            token: event.u64,
            readable: has(libc::EPOLLIN) || closing,
            writable: has(libc::EPOLLOUT) || closing,
            closing,
        }
    }
}
