//! A connected stream socket, as the layers above see it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::buffer::Chunk;
use super::driver::DriverKind;
use super::io::Io;
use super::socket::{Phase, WireCount};
use super::timer::Alarm;
use super::{Core, current};

/// How long what a dropped stream has written may take to be sent: enough for a response on a slow
/// path, short enough that unresponsive peers cannot pile up.
pub const DROP_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// `TCP_NODELAY`: small writes leave at once. On by default, as in Envoy.
    pub nodelay: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions { nodelay: true }
    }
}

/// A connected TCP or Unix domain stream socket.
///
/// Receiving goes on by itself: what arrives waits in a queue, which stops the receive while it
/// holds more than its limit. Writing appends to a queue that is sent at the end of the turn; it
/// neither blocks nor fails. One task may wait for data, one for the end and one for room to write.
///
/// Dropping a stream sends what has been written, for at most [`DROP_FLUSH_TIMEOUT`], and closes
/// the connection; [`abort`](Stream::abort) resets it.
#[derive(Debug)]
pub struct Stream {
    pub(super) core: Rc<Core>,
    pub(super) slot: u32,
}

impl Stream {
    pub(super) fn new(core: Rc<Core>, slot: u32) -> Self {
        Stream { core, slot }
    }

    /// Takes over a connected socket.
    pub fn from_socket(socket: socket2::Socket) -> Self {
        let core = current();
        let mut io = core.io.borrow_mut();
        // Failing would need a bad descriptor, which the first operation then reports.
        let _ = socket.set_nonblocking(io.driver.kind() == DriverKind::Epoll);
        let slot = io.open(socket.into_raw_fd(), false);
        drop(io);
        Stream { core, slot }
    }

    /// Connects. There is no limit of time: wrap the call in a [`timeout`](super::timeout).
    /// Dropping the future gives the attempt up.
    pub async fn connect(
        address: &socket2::SockAddr,
        options: &ConnectOptions,
    ) -> io::Result<Stream> {
        let domain = address.domain();
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if options.nodelay && domain != socket2::Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        Self::connect_socket(socket, address).await
    }

    /// Connects a socket that somebody has prepared; otherwise as [`connect`](Stream::connect).
    pub async fn connect_socket(
        socket: socket2::Socket,
        address: &socket2::SockAddr,
    ) -> io::Result<Stream> {
        let core = current();
        let slot = {
            let mut io = core.io.borrow_mut();
            socket.set_nonblocking(io.driver.kind() == DriverKind::Epoll)?;
            io.connect(socket.into_raw_fd(), address.clone())
        };
        let stream = Stream { core, slot };
        poll_fn(|cx| stream.poll_connected(cx)).await?;
        Ok(stream)
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        match socket.connect.as_ref().and_then(|connect| connect.result) {
            Some(0) => {
                io.finish_connecting(self.slot);
                Poll::Ready(Ok(()))
            }
            Some(result) => Poll::Ready(Err(Io::error(-result))),
            None if socket.receive_error != 0 => Poll::Ready(Err(Io::error(socket.receive_error))),
            None => {
                let previous = register(&mut socket.read_waker, cx);
                drop(io);
                drop(previous);
                Poll::Pending
            }
        }
    }

    /// Waits for received bytes. `None` is the peer's FIN, which comes after all data, as do
    /// errors.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Stream::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let mut io = self.core.io.borrow_mut();
        if let Some(chunk) = io.pop_received(self.slot) {
            return Poll::Ready(Ok(Some(chunk)));
        }
        let socket = &mut io.sockets[self.slot];
        if socket.receive_error != 0 {
            return Poll::Ready(Err(Io::error(socket.receive_error)));
        }
        if socket.end_of_stream {
            return Poll::Ready(Ok(None));
        }
        let previous = register(&mut socket.read_waker, cx);
        drop(io);
        drop(previous);
        Poll::Pending
    }

    /// Takes received bytes if there are any.
    pub fn try_recv(&self) -> Option<Chunk> {
        self.core.io.borrow_mut().pop_received(self.slot)
    }

    /// Puts bytes back in front of the receive queue.
    pub fn unread(&self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        let io = &mut *self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        chunk.set_holder(super::buffer::Holder::Received(self.slot));
        socket.received.push_front(chunk, &mut io.spare_queues);
    }

    /// Sets the number of unread bytes beyond which receiving pauses until half of them are read.
    pub fn set_recv_limit(&self, bytes: usize) {
        let mut io = self.core.io.borrow_mut();
        io.sockets[self.slot].receive_limit = u32::try_from(bytes).unwrap_or(u32::MAX);
        io.resume(self.slot);
    }

    /// Ready when the peer's FIN or an error has been received, also behind unread data.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if socket.is_closed() {
            return Poll::Ready(());
        }
        let previous = register(&mut socket.closed_waker, cx);
        io.watch_hang_up(self.slot);
        drop(io);
        drop(previous);
        Poll::Pending
    }

    /// Whether received bytes wait to be read.
    pub fn has_unread(&self) -> bool {
        !self.core.io.borrow().sockets[self.slot].received.is_empty()
    }

    /// Whether the peer's FIN or an error has been received, also behind unread data.
    pub fn is_closed(&self) -> bool {
        self.core.io.borrow().sockets[self.slot].is_closed()
    }

    /// Queues a copy of `bytes`.
    pub fn write(&self, bytes: &[u8]) {
        self.enqueue(|queue, _, spares| queue.push_bytes(bytes, spares));
    }

    /// Queues what `fill` appends to the vector, which may contain bytes written before.
    pub fn write_with(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut tail = {
            let io = &mut *self.core.io.borrow_mut();
            let socket = &mut io.sockets[self.slot];
            match &mut socket.send {
                Some(queue) => queue.take_tail(&mut io.spares),
                None => io.spares.bytes(),
            }
        };
        // Not borrowed meanwhile: `fill` is the caller's and may use other streams.
        fill(&mut tail);
        self.enqueue(|queue, _, spares| queue.put_tail(tail, spares));
    }

    /// Queues received bytes: small chunks are copied and their buffer given back at once, large
    /// ones are sent from where they are.
    pub fn write_chunk(&self, chunk: Chunk) {
        self.enqueue(|queue, slot, spares| queue.push_chunk(chunk, slot, spares));
    }

    /// Queues bytes that live for ever.
    pub fn write_static(&self, bytes: &'static [u8]) {
        self.enqueue(|queue, _, spares| queue.push_static(bytes, spares));
    }

    fn enqueue(
        &self,
        push: impl FnOnce(&mut super::send_queue::SendQueue, u32, &mut super::send_queue::Spares),
    ) {
        let io = &mut *self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if socket.write_error != 0 || socket.fin_wanted || socket.phase != Phase::Open {
            return;
        }
        let queue = socket.send.get_or_insert_with(|| io.spares.queue());
        push(queue, self.slot, &mut io.spares);
        io.mark_dirty(self.slot);
    }

    /// Bytes written that the kernel has not taken yet.
    pub fn queued(&self) -> usize {
        self.core.io.borrow().sockets[self.slot].queued_bytes()
    }

    /// Ready when fewer than `below` bytes are queued, or with the error that ended writing.
    pub fn poll_writable(&self, cx: &mut Context<'_>, below: usize) -> Poll<io::Result<()>> {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if socket.write_error != 0 {
            return Poll::Ready(Err(Io::error(socket.write_error)));
        }
        let below = below.max(1);
        if socket.queued_bytes() < below {
            return Poll::Ready(Ok(()));
        }
        socket.write_below = u32::try_from(below).unwrap_or(u32::MAX);
        let previous = register(&mut socket.write_waker, cx);
        drop(io);
        drop(previous);
        Poll::Pending
    }

    /// Waits until fewer than `below` bytes are queued.
    pub async fn writable(&self, below: usize) -> io::Result<()> {
        poll_fn(|cx| self.poll_writable(cx, below)).await
    }

    /// Ready when the kernel has taken everything.
    pub fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, 1)
    }

    /// Waits until the kernel has taken everything.
    pub async fn flushed(&self) -> io::Result<()> {
        self.writable(1).await
    }

    /// The error that ended writing. What is written after it is discarded.
    pub fn write_error(&self) -> Option<io::Error> {
        let errno = self.core.io.borrow().sockets[self.slot].write_error;
        (errno != 0).then(|| Io::error(errno))
    }

    /// Ready when writing has ended with an error. Who reads the stream as well is told by that;
    /// a peer that has ended is not read any more, and breaks off unseen when it is written to.
    pub fn poll_write_error(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if socket.write_error != 0 {
            return Poll::Ready(Io::error(socket.write_error));
        }
        if socket.write_waker.is_none() {
            // What is sent wakes nobody then.
            socket.write_below = 0;
        }
        let previous = register(&mut socket.write_waker, cx);
        drop(io);
        drop(previous);
        Poll::Pending
    }

    /// Sends FIN after the queue. What is written later is discarded.
    pub fn shutdown_write(&self) {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if socket.phase == Phase::Open && !socket.fin_wanted {
            socket.fin_wanted = true;
            io.mark_dirty(self.slot);
        }
    }

    /// Discards what is unsent and resets the connection.
    pub fn abort(self) {
        self.reset();
    }

    /// As [`abort`](Stream::abort), for who cannot give the stream away.
    pub fn reset(&self) {
        self.core.io.borrow_mut().abort(self.slot);
    }

    /// Gives the socket away, to another reactor. Only a connection on which nothing is left to
    /// read, to send or to report can go; nothing is received any more when this is called.
    /// Dropping the future leaves a stream that can only be closed.
    pub async fn detach(&self) -> io::Result<OwnedFd> {
        self.core.io.borrow_mut().begin_detaching(self.slot);
        poll_fn(|cx| {
            let mut io = self.core.io.borrow_mut();
            let socket = &mut io.sockets[self.slot];
            if socket.operations == 0 {
                return Poll::Ready(());
            }
            let previous = register(&mut socket.read_waker, cx);
            drop(io);
            drop(previous);
            Poll::Pending
        })
        .await;
        self.core.io.borrow_mut().take_descriptor(self.slot)
    }

    /// Turns TCP keep-alive probes on.
    pub fn set_tcp_keepalive(&self, keepalive: &socket2::TcpKeepalive) -> io::Result<()> {
        let fd = self.core.io.borrow().sockets[self.slot].fd;
        // SAFETY: the socket's entry owns the descriptor and nothing closes it during the call.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        socket2::SockRef::from(&fd).set_tcp_keepalive(keepalive)
    }

    /// Bytes received so far, also those not yet read.
    pub fn bytes_received(&self) -> u64 {
        self.core.io.borrow().sockets[self.slot].bytes_received
    }

    /// Has bytes that were received not counted.
    pub fn disown_received(&self, bytes: usize) {
        self.core.io.borrow_mut().sockets[self.slot].bytes_received -= bytes as u64;
    }

    /// Bytes that the last receive has brought, read or not.
    pub fn last_received(&self) -> u32 {
        self.core.io.borrow().sockets[self.slot].last_received
    }

    /// Bytes that the kernel has taken so far.
    pub fn bytes_sent(&self) -> u64 {
        self.core.io.borrow().sockets[self.slot].bytes_sent
    }

    /// Has bytes counted as they come and go from now on, or not any more.
    pub fn count_wire(&self, count: Option<WireCount>) {
        self.core.io.borrow_mut().sockets[self.slot].wire_count = count;
    }

    /// Has so many bytes that are queued left out where sent ones are counted: what a
    /// layer adds to those that it carries.
    pub fn leave_uncounted(&self, bytes: usize) {
        let socket = &mut self.core.io.borrow_mut().sockets[self.slot];
        if socket.wire_count.is_some() {
            socket.uncounted += bytes;
        }
    }

    /// The peer's address, for TCP. Asked from the kernel at the first call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let mut io = self.core.io.borrow_mut();
        let socket = &mut io.sockets[self.slot];
        if let Some(peer) = socket.peer {
            return Ok(peer);
        }
        let peer = with_descriptor(socket.fd, |socket| socket.peer_addr())?;
        socket.peer = Some(peer);
        Ok(peer)
    }

    /// The local address, for TCP.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let fd = self.core.io.borrow().sockets[self.slot].fd;
        with_descriptor(fd, |socket| socket.local_addr())
    }
}

impl Stream {
    /// The address that the client connected to, if netfilter has led the connection here from
    /// another one.
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        let fd = self.core.io.borrow().sockets[self.slot].fd;
        match with_descriptor(fd, |socket| socket.original_dst_v4()) {
            Err(_) => with_descriptor(fd, |socket| socket.original_dst_v6()),
            found => found,
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.core.io.borrow().sockets[self.slot].fd
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (drains, discarded) = self.core.io.borrow_mut().release(self.slot);
        drop(discarded);
        if drains {
            let deadline = self.core.clock.now() + DROP_FLUSH_TIMEOUT;
            let deadline_ms = self.core.ms_not_before(deadline);
            let timer = {
                let mut wheel = self.core.wheel.borrow_mut();
                let timer = wheel.insert(Alarm::DropFlush(self.slot));
                wheel.set(timer, Some(deadline_ms));
                timer
            };
            self.core.io.borrow_mut().drain_until(self.slot, timer);
        }
    }
}

/// Sets an option of a socket, whatever it means.
pub fn set_socket_option(
    socket: &socket2::Socket,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: the value is valid for the duration of the call and has the length that is given;
    // the kernel checks the rest.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn with_descriptor(
    fd: RawFd,
    ask: impl FnOnce(socket2::SockRef<'_>) -> io::Result<socket2::SockAddr>,
) -> io::Result<SocketAddr> {
    if fd < 0 {
        return Err(io::Error::from(io::ErrorKind::NotConnected));
    }
    // SAFETY: the socket's entry owns the descriptor and nothing closes it during the call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    ask(socket2::SockRef::from(&fd))?
        .as_socket()
        .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// Stores the waker and returns the one to drop once nothing is borrowed any more.
pub(super) fn register(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    if place
        .as_ref()
        .is_some_and(|waker| waker.will_wake(cx.waker()))
    {
        return None;
    }
    place.replace(cx.waker().clone())
}
