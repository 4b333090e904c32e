//! Waking a reactor from other threads, by an eventfd.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Poll;

use super::{DriverKind, current};

/// Wakes the reactor that it came from. What another thread has written before
/// [`wake`](RemoteWaker::wake) is visible to the task that [`remote_wake`] completes for.
#[derive(Debug, Clone)]
pub struct RemoteWaker {
    eventfd: Arc<OwnedFd>,
}

impl RemoteWaker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a plain system call; the result is checked and then owned once.
        let eventfd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(RemoteWaker {
            eventfd: Arc::new(eventfd),
        })
    }

    /// Wakes the reactor. Several calls before it runs count as one. Harmless once it is gone.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: an eventfd write reads eight bytes. It could only fail or block at 2^64 - 1
        // unread wake-ups.
        unsafe { libc::write(self.eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// io_uring waits by itself for a blocking descriptor; epoll must not block on it.
    pub(super) fn prepare(&self, kind: DriverKind) -> io::Result<()> {
        if kind == DriverKind::Epoll {
            // SAFETY: a plain system call on our own descriptor.
            let result = unsafe { libc::fcntl(self.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// Completes after a [`RemoteWaker::wake`] since the last time that this completed. A wake-up that
/// nobody waited for is kept for the next caller; one that several wait for wakes them all.
pub async fn remote_wake() {
    let core = current();
    let mut seen = None;
    poll_fn(|cx| {
        if core.remote_pending.replace(false) {
            return Poll::Ready(());
        }
        // Another waiter has consumed the same wake-up.
        let wakes = core.remote_wakes.get();
        if *seen.get_or_insert(wakes) != wakes {
            return Poll::Ready(());
        }
        let mut waiters = core.remote_waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}
