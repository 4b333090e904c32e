//! The epoll driver, which behaves like a completion queue.
//!
//! Descriptors are registered once, edge-triggered; the driver remembers per slot which operations
//! are wanted and what the kernel has reported. An operation that can end at once does, and its
//! event is handed out by the next `wait`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use super::super::buffer::Pool;
use super::super::send_queue::Gather;
use super::{Event, Operation};

/// Events taken from the kernel at a time.
const BATCH: usize = 512;
/// Buffers filled for a socket before the others get their turn.
const RECEIVES_PER_TURN_MAX: usize = 8;
/// Connections accepted from a listener before the others get their turn.
const ACCEPTS_PER_TURN_MAX: usize = 64;
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = 1 << 63;

#[derive(Debug)]
pub(in super::super) struct Epoll {
    epoll: OwnedFd,
    pool: Rc<Pool>,
    wake: RawFd,
    sockets: Vec<Socket>,
    listeners: Vec<Listener>,
    /// Events of operations that ended outside `wait`.
    ended: Vec<Event>,
    /// Slots that may have more to receive or accept than a turn allows.
    unfinished: VecDeque<u64>,
    /// The last wait did not ask the kernel, because events were there already.
    kernel_due: bool,
    batch: Box<[libc::epoll_event]>,
    submissions: u64,
}

#[derive(Debug, Default)]
struct Socket {
    fd: RawFd,
    readable: bool,
    /// FIN or RST has been reported: reading goes on until it is reached.
    hung_up: bool,
    receiving: bool,
    connecting: bool,
    watching: bool,
    watches_in: bool,
    watches_out: bool,
    queued: bool,
    sending: Option<Gather>,
}

#[derive(Debug, Default)]
struct Listener {
    fd: RawFd,
    accepting: bool,
    queued: bool,
}

impl Epoll {
    pub(super) fn open(pool: Rc<Pool>, wake: RawFd) -> io::Result<Self> {
        // SAFETY: a plain system call; the result is checked and then owned once.
        let epoll = unsafe {
            let fd = check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(fd)
        };
        let driver = Epoll {
            epoll,
            pool,
            wake,
            sockets: Vec::new(),
            listeners: Vec::new(),
            ended: Vec::new(),
            unfinished: VecDeque::new(),
            kernel_due: false,
            batch: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH].into(),
            submissions: 0,
        };
        driver.register(wake, WAKE, libc::EPOLLIN)?;
        Ok(driver)
    }

    pub(super) fn attach(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        let queued = self.socket(slot).queued;
        *self.socket(slot) = Socket {
            fd,
            queued,
            ..Socket::default()
        };
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.register(fd, u64::from(slot), interest)
    }

    /// The descriptor lives on elsewhere: nothing of it is reported here any more.
    pub(super) fn detach(&mut self, slot: u32, fd: RawFd) {
        // SAFETY: a plain system call; the event is ignored for this operation. It cannot fail for
        // a descriptor that is registered.
        unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd,
                std::ptr::null_mut(),
            );
        }
        let queued = self.socket(slot).queued;
        *self.socket(slot) = Socket {
            fd: -1,
            queued,
            ..Socket::default()
        };
    }

    pub(super) fn attach_listener(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        let index = slot as usize;
        if index >= self.listeners.len() {
            self.listeners.resize_with(index + 1, Listener::default);
        }
        self.listeners[index] = Listener {
            fd,
            accepting: false,
            queued: self.listeners[index].queued,
        };
        self.register(
            fd,
            LISTENER | u64::from(slot),
            libc::EPOLLIN | libc::EPOLLET,
        )
    }

    pub(super) fn detach_listener(&mut self, slot: u32) {
        self.listeners[slot as usize].accepting = false;
    }

    pub(super) fn receive(&mut self, slot: u32, _fd: RawFd) {
        self.submissions += 1;
        let socket = self.socket(slot);
        socket.receiving = true;
        if socket.readable || socket.hung_up {
            self.queue(slot);
        }
    }

    pub(super) fn send(&mut self, slot: u32, fd: RawFd, gather: Gather) {
        self.submissions += 1;
        self.socket(slot).sending = Some(gather);
        self.try_send(slot, fd);
    }

    pub(super) fn connect(&mut self, slot: u32, fd: RawFd, address: &socket2::SockAddr) {
        self.submissions += 1;
        // SAFETY: the address is borrowed for the duration of the call, which copies it.
        let result = unsafe { libc::connect(fd, address.as_ptr().cast(), address.len()) };
        let error = (result < 0).then(errno);
        // Registered afterwards: an unconnected socket would report a hang-up at once.
        let registered = self.attach(slot, fd);
        let result = match (error, registered) {
            (_, Err(error)) => -error.raw_os_error().unwrap_or(libc::EIO),
            (None, Ok(())) => 0,
            (Some(libc::EINPROGRESS), Ok(())) => {
                self.socket(slot).connecting = true;
                return;
            }
            (Some(errno), Ok(())) => -errno,
        };
        self.end(Operation::Connect, slot, result);
    }

    pub(super) fn watch_hang_up(&mut self, slot: u32, _fd: RawFd) {
        self.submissions += 1;
        if self.socket(slot).hung_up {
            self.end(Operation::HangUp, slot, i32::from(libc::POLLRDHUP));
        } else {
            self.socket(slot).watching = true;
        }
    }

    pub(super) fn watch_readable(&mut self, slot: u32, _fd: RawFd) {
        self.submissions += 1;
        let socket = self.socket(slot);
        // Nothing is there now, and an edge is told of what comes.
        socket.readable = false;
        socket.hung_up = false;
        socket.watches_in = true;
    }

    pub(super) fn watch_writable(&mut self, slot: u32, _fd: RawFd) {
        self.submissions += 1;
        self.socket(slot).watches_out = true;
    }

    pub(super) fn assume_readable(&mut self, slot: u32) {
        let socket = self.socket(slot);
        socket.readable = true;
        if std::mem::take(&mut socket.watches_in) {
            self.end(Operation::Readable, slot, i32::from(libc::POLLIN));
        }
    }

    pub(super) fn accept(&mut self, slot: u32, _fd: RawFd) {
        self.submissions += 1;
        self.listeners[slot as usize].accepting = true;
        self.queue_listener(slot);
    }

    pub(super) fn cancel(&mut self, of: Operation, slot: u32) {
        self.submissions += 1;
        if of == Operation::Accept {
            if std::mem::take(&mut self.listeners[slot as usize].accepting) {
                self.end(of, slot, -libc::ECANCELED);
            }
            self.end(Operation::CancelAccept, slot, 0);
            return;
        }
        let socket = self.socket(slot);
        let was_wanted = match of {
            Operation::Receive => std::mem::take(&mut socket.receiving),
            Operation::Send => socket.sending.take().is_some(),
            Operation::Connect => std::mem::take(&mut socket.connecting),
            Operation::HangUp => std::mem::take(&mut socket.watching),
            Operation::Readable => std::mem::take(&mut socket.watches_in),
            Operation::Writable => std::mem::take(&mut socket.watches_out),
            _ => false,
        };
        if was_wanted {
            self.end(of, slot, -libc::ECANCELED);
        }
        self.end(Operation::Cancel, slot, 0);
    }

    pub(super) fn close(&mut self, slot: u32, fd: RawFd) {
        self.submissions += 1;
        // SAFETY: the reactor owns the descriptor and gives it up with this call. Closing removes
        // it from the epoll set: it has no duplicates.
        let result = unsafe { libc::close(fd) };
        self.end(Operation::Close, slot, result);
    }

    pub(super) fn submissions(&self) -> u64 {
        self.submissions
    }

    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        let at_hand = !self.ended.is_empty() || !self.unfinished.is_empty();
        if !at_hand {
            self.poll_kernel(timeout)?;
        } else if self.kernel_due || timeout == Some(Duration::ZERO) {
            self.poll_kernel(Some(Duration::ZERO))?;
        } else {
            // What has ended already often makes new work, whose answers one poll then finds.
            self.kernel_due = true;
        }
        for _ in 0..self.unfinished.len() {
            if let Some(key) = self.unfinished.pop_front() {
                self.continue_with(key);
            }
        }
        events.append(&mut self.ended);
        Ok(())
    }

    fn poll_kernel(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.kernel_due = false;
        let timeout_ms = match timeout {
            None => -1,
            // Rounded up, or a timer would be polled for during its last millisecond.
            Some(wait) => i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
        };
        // SAFETY: the batch is valid for as many events as the call may write.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.batch.as_mut_ptr(),
                BATCH as i32,
                timeout_ms,
            )
        };
        let count = match check(count) {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for position in 0..count {
            let event = self.batch[position];
            self.on_ready(event.u64, event.events as i32);
        }
        Ok(())
    }

    fn on_ready(&mut self, key: u64, ready: i32) {
        if key == WAKE {
            let mut count = 0u64;
            // SAFETY: an eventfd read writes eight bytes.
            unsafe { libc::read(self.wake, (&raw mut count).cast(), 8) };
            self.ended.push(Event {
                more: true,
                ..event(Operation::Wake, 0, 0)
            });
            return;
        }
        let slot = key as u32;
        if key & LISTENER != 0 {
            self.queue_listener(slot);
            return;
        }
        let failed = ready & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
        let socket = self.socket(slot);
        let fd = socket.fd;
        if socket.connecting {
            if failed || ready & libc::EPOLLOUT != 0 {
                socket.connecting = false;
                // A peer that speaks first may have spoken already, and an edge
                // is told once.
                socket.readable |= ready & libc::EPOLLIN != 0;
                socket.hung_up |= ready & libc::EPOLLRDHUP != 0;
                self.end(Operation::Connect, slot, connect_result(fd));
            }
            return;
        }
        socket.readable |= failed || ready & libc::EPOLLIN != 0;
        socket.hung_up |= failed || ready & libc::EPOLLRDHUP != 0;
        if socket.hung_up && std::mem::take(&mut socket.watching) {
            self.end(Operation::HangUp, slot, i32::from(libc::POLLRDHUP));
        }
        if failed || ready & libc::EPOLLOUT != 0 {
            self.try_send(slot, fd);
            if std::mem::take(&mut self.socket(slot).watches_out) {
                self.end(Operation::Writable, slot, i32::from(libc::POLLOUT));
            }
        }
        let socket = self.socket(slot);
        if socket.readable || socket.hung_up {
            if socket.receiving {
                self.queue(slot);
            }
            if std::mem::take(&mut self.socket(slot).watches_in) {
                self.end(Operation::Readable, slot, i32::from(libc::POLLIN));
            }
        }
    }

    fn continue_with(&mut self, key: u64) {
        let slot = key as u32;
        if key & LISTENER != 0 {
            self.listeners[slot as usize].queued = false;
            self.try_accept(slot);
        } else {
            self.socket(slot).queued = false;
            self.try_receive(slot);
        }
    }

    fn try_receive(&mut self, slot: u32) {
        for _ in 0..RECEIVES_PER_TURN_MAX {
            let socket = &mut self.sockets[slot as usize];
            if !socket.receiving || !(socket.readable || socket.hung_up) {
                return;
            }
            let Some(buffer) = self.pool.take() else {
                socket.receiving = false;
                self.end(Operation::Receive, slot, -libc::ENOBUFS);
                return;
            };
            let room = self.pool.buffer_bytes();
            // SAFETY: the buffer was just taken, so nothing else refers to its `room` bytes.
            let received =
                unsafe { libc::recv(socket.fd, self.pool.address(buffer).cast(), room, 0) };
            if received > 0 {
                if (received as usize) < room && !socket.hung_up {
                    socket.readable = false;
                }
                self.ended.push(Event {
                    buffer: Some(buffer),
                    more: true,
                    ..event(Operation::Receive, slot, received as i32)
                });
                continue;
            }
            self.pool.put_back(buffer);
            let errno = if received == 0 { 0 } else { errno() };
            match errno {
                libc::EINTR => continue,
                libc::EAGAIN => {
                    socket.readable = false;
                    socket.hung_up = false;
                }
                _ => {
                    socket.receiving = false;
                    self.end(Operation::Receive, slot, -errno);
                }
            }
            return;
        }
        self.queue(slot);
    }

    fn try_send(&mut self, slot: u32, fd: RawFd) {
        let Some(gather) = self.socket(slot).sending else {
            return;
        };
        let result = loop {
            // SAFETY: the reactor keeps the memory of a send in place until its event.
            let sent = unsafe {
                match gather {
                    Gather::One { start, bytes } => {
                        libc::send(fd, start.cast(), bytes, libc::MSG_NOSIGNAL)
                    }
                    Gather::Many(message) => libc::sendmsg(fd, message, libc::MSG_NOSIGNAL),
                }
            };
            if sent >= 0 {
                break sent as i32;
            }
            match errno() {
                libc::EINTR => {}
                libc::EAGAIN => return,
                errno => break -errno,
            }
        };
        self.socket(slot).sending = None;
        self.end(Operation::Send, slot, result);
    }

    fn try_accept(&mut self, slot: u32) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let listener = &mut self.listeners[slot as usize];
            if !listener.accepting {
                return;
            }
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: no address is asked for, so nothing is written.
            let fd = unsafe {
                let null = std::ptr::null_mut();
                libc::accept4(listener.fd, null, std::ptr::null_mut(), flags)
            };
            if fd >= 0 {
                self.ended.push(Event {
                    more: true,
                    ..event(Operation::Accept, slot, fd)
                });
                continue;
            }
            match errno() {
                libc::EINTR => continue,
                libc::EAGAIN => return,
                errno => {
                    listener.accepting = false;
                    self.end(Operation::Accept, slot, -errno);
                    return;
                }
            }
        }
        self.queue_listener(slot);
    }

    fn queue(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.socket(slot).queued, true) {
            self.unfinished.push_back(u64::from(slot));
        }
    }

    fn queue_listener(&mut self, slot: u32) {
        if !std::mem::replace(&mut self.listeners[slot as usize].queued, true) {
            self.unfinished.push_back(LISTENER | u64::from(slot));
        }
    }

    fn end(&mut self, operation: Operation, slot: u32, result: i32) {
        self.ended.push(event(operation, slot, result));
    }

    fn socket(&mut self, slot: u32) -> &mut Socket {
        let index = slot as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, Socket::default);
        }
        &mut self.sockets[index]
    }

    fn register(&self, fd: RawFd, key: u64, interest: i32) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: key,
        };
        // SAFETY: the event is valid for the duration of the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd,
                &raw mut event,
            )
        };
        check(result).map(drop)
    }
}

fn event(operation: Operation, slot: u32, result: i32) -> Event {
    Event {
        operation,
        slot,
        result,
        buffer: None,
        more: false,
    }
}

fn connect_result(fd: RawFd) -> i32 {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `len` are valid for the duration of the call and agree in size.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result < 0 { -errno() } else { -value }
}

fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
