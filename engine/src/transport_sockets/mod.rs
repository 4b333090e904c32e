//! Transport sockets: what is done to a connection's bytes on the way between a
//! socket and whoever speaks on it, each in the folder of its name in Envoy
//! (`envoy.transport_sockets.X`).
//!
//! Nothing here knows about HTTP, clusters or pools.

pub mod options;
pub mod proxy_protocol;
pub mod tls;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use crate::reactor::{Chunk, Stream, WireCount};
use tls::TlsStream;

/// A connection of either side of the proxy. Its functions are those of [`Stream`],
/// which says more of them; those that have no comment here do the same for every
/// kind.
#[derive(Debug)]
pub enum TransportSocket {
    /// `envoy.transport_sockets.raw_buffer`: the bytes of the socket.
    RawBuffer(Stream),
    /// `envoy.transport_sockets.tls`
    Tls(TlsStream),
}

impl From<Stream> for TransportSocket {
    fn from(stream: Stream) -> Self {
        Self::RawBuffer(stream)
    }
}

#[expect(missing_docs, reason = "they are those of Stream, as said above")]
impl TransportSocket {
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::RawBuffer(stream) => stream.poll_recv(cx),
            Self::Tls(stream) => stream.poll_recv(cx),
        }
    }

    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub fn unread(&self, chunk: Chunk) {
        match self {
            Self::RawBuffer(stream) => stream.unread(chunk),
            Self::Tls(stream) => stream.unread(chunk),
        }
    }

    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::RawBuffer(stream) => stream.poll_closed(cx),
            Self::Tls(stream) => stream.poll_closed(cx),
        }
    }

    #[must_use]
    pub fn has_unread(&self) -> bool {
        match self {
            Self::RawBuffer(stream) => stream.has_unread(),
            Self::Tls(stream) => stream.has_unread(),
        }
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::RawBuffer(stream) => stream.is_closed(),
            Self::Tls(stream) => stream.is_closed(),
        }
    }

    pub fn write(&self, bytes: &[u8]) {
        match self {
            Self::RawBuffer(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    pub fn write_with(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::RawBuffer(stream) => stream.write_with(fill),
            Self::Tls(stream) => stream.write_with(fill),
        }
    }

    pub fn write_chunk(&self, chunk: Chunk) {
        match self {
            Self::RawBuffer(stream) => stream.write_chunk(chunk),
            Self::Tls(stream) => stream.write_chunk(&chunk),
        }
    }

    pub fn write_static(&self, bytes: &'static [u8]) {
        match self {
            Self::RawBuffer(stream) => stream.write_static(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    #[must_use]
    pub fn queued(&self) -> usize {
        match self {
            Self::RawBuffer(stream) => stream.queued(),
            Self::Tls(stream) => stream.queued(),
        }
    }

    pub fn poll_writable(&self, cx: &mut Context<'_>, below: usize) -> Poll<io::Result<()>> {
        match self {
            Self::RawBuffer(stream) => stream.poll_writable(cx, below),
            Self::Tls(stream) => stream.poll_writable(cx, below),
        }
    }

    #[must_use]
    pub fn write_error(&self) -> Option<io::Error> {
        match self {
            Self::RawBuffer(stream) => stream.write_error(),
            Self::Tls(stream) => stream.write_error(),
        }
    }

    pub fn poll_write_error(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self {
            Self::RawBuffer(stream) => stream.poll_write_error(cx),
            Self::Tls(stream) => stream.poll_write_error(cx),
        }
    }

    pub fn shutdown_write(&self) {
        match self {
            Self::RawBuffer(stream) => stream.shutdown_write(),
            Self::Tls(stream) => stream.shutdown_write(),
        }
    }

    pub fn abort(self) {
        match self {
            Self::RawBuffer(stream) => stream.abort(),
            Self::Tls(stream) => stream.abort(),
        }
    }

    pub fn reset(&self) {
        match self {
            Self::RawBuffer(stream) => stream.reset(),
            Self::Tls(stream) => stream.reset(),
        }
    }

    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        match self {
            Self::RawBuffer(stream) => stream.bytes_received(),
            Self::Tls(stream) => stream.bytes_received(),
        }
    }

    #[must_use]
    pub fn last_received(&self) -> u32 {
        match self {
            Self::RawBuffer(stream) => stream.last_received(),
            Self::Tls(stream) => stream.last_received(),
        }
    }

    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        match self {
            Self::RawBuffer(stream) => stream.bytes_sent(),
            Self::Tls(stream) => stream.bytes_sent(),
        }
    }

    /// Bytes so far, those that are still queued included. What was queued may be
    /// forgotten when the connection breaks, so they may be fewer than before.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        match self {
            Self::RawBuffer(stream) => stream.bytes_sent() + stream.queued() as u64,
            // What else is queued is not of the layer above, such as tickets.
            Self::Tls(stream) => stream.bytes_written(),
        }
    }
}

impl TransportSocket {
    /// Has bytes counted as they come and go, or not any more.
    pub fn count_wire(&self, count: Option<WireCount>) {
        match self {
            Self::RawBuffer(stream) => stream.count_wire(count),
            Self::Tls(stream) => stream.count_wire(count),
        }
    }

    /// Tells a peer that speaks TLS, by an alert, that it may not go on. Nothing is sent
    /// behind it.
    pub fn deny_access(&self) {
        if let Self::Tls(stream) = self {
            stream.deny_access();
        }
    }

    /// Gives the socket away, to another reactor: only a plain one can go, because
    /// the keys of another stay here.
    ///
    /// # Errors
    /// As [`Stream::detach`].
    pub async fn detach(&self) -> io::Result<OwnedFd> {
        match self {
            Self::RawBuffer(stream) => stream.detach().await,
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Turns TCP keep-alive probes on.
    ///
    /// # Errors
    /// The kernel refuses the options.
    pub fn set_tcp_keepalive(&self, keepalive: &socket2::TcpKeepalive) -> io::Result<()> {
        self.socket().set_tcp_keepalive(keepalive)
    }

    /// The local address, for TCP.
    ///
    /// # Errors
    /// The socket has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// The socket, if its bytes are those that are read and written.
    #[must_use]
    pub fn plain(&self) -> Option<&Stream> {
        match self {
            Self::RawBuffer(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }

    fn socket(&self) -> &Stream {
        match self {
            Self::RawBuffer(stream) => stream,
            Self::Tls(stream) => stream.socket(),
        }
    }
}
