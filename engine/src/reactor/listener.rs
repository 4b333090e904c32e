//! Accepting connections.
//!
//! One multishot accept is under way per listener; connections that nobody has taken yet wait in a
//! bounded queue. When descriptors run out the error is handed to the caller, and accepting starts
//! again after a pause, since the connection that could not be accepted would only fail at once
//! again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::driver::{DriverKind, Event, Operation};
use super::io::Io;
use super::stream::Stream;
use super::timer::Timer;
use super::{Core, current};

/// Accepted connections that wait to be taken; beyond it the kernel's own backlog holds them.
const ACCEPTED_MAX: usize = 1024;
/// Pause after running out of descriptors or memory: long enough not to spin, short enough that
/// clients whose connection waits in the backlog hardly notice.
const BACK_OFF: Duration = Duration::from_millis(50);

/// The reactor's side of a listener.
#[derive(Debug)]
pub(super) struct Accepting {
    fd: RawFd,
    /// An accept is under way.
    active: bool,
    cancelling: bool,
    /// A `Listener` refers to the entry.
    owned: bool,
    closing: bool,
    failed: Option<i32>,
    accepted: VecDeque<RawFd>,
    waker: Option<Waker>,
}

/// A listening stream socket, TCP or Unix domain. Dropping it closes the socket, and resets the
/// connections that were accepted but not taken.
#[derive(Debug)]
pub struct Listener {
    core: Rc<Core>,
    slot: u32,
    fd: RawFd,
    back_off: Timer,
    backing_off: Cell<bool>,
}

impl Listener {
    /// Takes over a socket on which `listen` has been called.
    pub fn from_socket(socket: socket2::Socket) -> io::Result<Self> {
        let core = current();
        let epoll = core.io.borrow().driver.kind() == DriverKind::Epoll;
        socket.set_nonblocking(epoll)?;
        // Accepted sockets inherit it. Fails for Unix domain sockets, which have no delay.
        let _ = socket.set_tcp_nodelay(true);
        let mut io = core.io.borrow_mut();
        let slot = io.listeners.insert(Accepting {
            fd: socket.as_raw_fd(),
            active: false,
            cancelling: false,
            owned: true,
            closing: false,
            failed: None,
            accepted: VecDeque::new(),
            waker: None,
        });
        if let Err(error) = io.driver.attach_listener(slot, socket.as_raw_fd()) {
            io.listeners.remove(slot);
            return Err(error);
        }
        io.arm_accept(slot);
        drop(io);
        Ok(Listener {
            core,
            slot,
            fd: socket.into_raw_fd(),
            back_off: Timer::new(),
            backing_off: Cell::new(false),
        })
    }

    /// Waits for the next connection.
    ///
    /// Errors are those of `accept(2)`. After one that would come again at once (`EMFILE`,
    /// `ENFILE`, `ENOBUFS`, `ENOMEM`) the next call pauses by itself before it tries again.
    pub async fn accept(&self) -> io::Result<Stream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Listener::accept). One task may wait at a time.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if self.backing_off.get() {
            if self.back_off.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            self.backing_off.set(false);
            self.back_off.set(None);
        }
        let mut io = self.core.io.borrow_mut();
        let accepting = &mut io.listeners[self.slot];
        if accepting.closing {
            return Poll::Ready(Err(Io::error(libc::ECANCELED)));
        }
        if let Some(fd) = accepting.accepted.pop_front() {
            let slot = io.open(fd, true);
            // A full queue had stopped the accept.
            io.arm_accept(self.slot);
            drop(io);
            return Poll::Ready(Ok(Stream::new(Rc::clone(&self.core), slot)));
        }
        if let Some(errno) = accepting.failed.take() {
            drop(io);
            if !concerns_one_connection(errno) {
                self.backing_off.set(true);
                let resume = self.core.clock.now() + BACK_OFF;
                self.back_off.set(Some(resume));
            }
            return Poll::Ready(Err(Io::error(errno)));
        }
        let previous = accepting.waker.replace(cx.waker().clone());
        io.arm_accept(self.slot);
        drop(io);
        drop(previous);
        Poll::Pending
    }

    /// The address that the socket is bound to, for TCP.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        // SAFETY: the listener owns the descriptor and is borrowed for the call.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(self.fd) };
        let address = socket2::SockRef::from(&fd).local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let waker = {
            let mut io = self.core.io.borrow_mut();
            io.listeners[self.slot].owned = false;
            io.close_listener(self.slot)
        };
        drop(waker);
    }
}

/// The connection is gone, others are not affected.
fn concerns_one_connection(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED | libc::EPROTO | libc::EPERM | libc::ECANCELED
    )
}

impl Io {
    fn arm_accept(&mut self, slot: u32) {
        let accepting = &mut self.listeners[slot];
        let full = accepting.accepted.len() >= ACCEPTED_MAX;
        if accepting.active || accepting.closing || full || accepting.failed.is_some() {
            return;
        }
        accepting.active = true;
        let fd = accepting.fd;
        self.note_operation();
        self.driver.accept(slot, fd);
    }

    pub(super) fn on_accept_event(&mut self, event: Event) {
        let accepting = &mut self.listeners[event.slot];
        if event.operation == Operation::CancelAccept {
            accepting.cancelling = false;
            self.settle_listener(event.slot);
            return;
        }
        accepting.active = event.more;
        match event.result {
            fd if fd >= 0 && accepting.closing => close_now(fd),
            fd if fd >= 0 => accepting.accepted.push_back(fd),
            result if result == -libc::ECANCELED => {}
            result => accepting.failed = Some(-result),
        }
        self.woken.extend(accepting.waker.take());
        let full = accepting.accepted.len() >= ACCEPTED_MAX;
        if full && accepting.active && !std::mem::replace(&mut accepting.cancelling, true) {
            self.note_operation();
            self.driver.cancel(Operation::Accept, event.slot);
        }
        // A multishot accept may end without an error, for example when completions overflow.
        if !event.more && event.result >= 0 {
            self.arm_accept(event.slot);
        }
        self.settle_listener(event.slot);
    }

    pub(super) fn close_listener(&mut self, slot: u32) -> Option<Waker> {
        let accepting = self.listeners.get_mut(slot)?;
        if std::mem::replace(&mut accepting.closing, true) {
            self.settle_listener(slot);
            return None;
        }
        let waker = accepting.waker.take();
        for fd in accepting.accepted.drain(..) {
            close_now(fd);
        }
        if accepting.active && !std::mem::replace(&mut accepting.cancelling, true) {
            self.note_operation();
            self.driver.cancel(Operation::Accept, slot);
        }
        self.settle_listener(slot);
        waker
    }

    fn settle_listener(&mut self, slot: u32) {
        let accepting = &mut self.listeners[slot];
        if !accepting.closing || accepting.active || accepting.cancelling {
            return;
        }
        if accepting.fd >= 0 {
            close_now(std::mem::replace(&mut accepting.fd, -1));
            self.driver.detach_listener(slot);
        }
        if !accepting.owned {
            self.listeners.remove(slot);
        }
    }
}

fn close_now(fd: RawFd) {
    // SAFETY: the descriptor came from `accept` or from the listener's socket and belongs to the
    // listener's entry, which gives it up here.
    unsafe { libc::close(fd) };
}
