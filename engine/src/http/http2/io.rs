//! Connections as tokio's `AsyncRead` and `AsyncWrite`, which is what h2 reads
//! and writes.

use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::observer::Observer;
use crate::transport_sockets::TransportSocket;

/// Queued bytes beyond which a write waits: a few full frames.
pub const WRITE_QUEUE_BYTES: usize = 128 * 1024;

/// GOAWAY that refuses no stream and tells of no error (RFC 9113 section 6.8).
const NOTICE: &[u8; 17] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";

/// Asks the client to open no more streams on a connection, and still takes them: the
/// library would refuse what the client has begun before it knows. The frame goes between
/// two of the library's.
pub fn send_notice(socket: &TransportSocket, observer: &Observer) {
    observer.owe_notice();
    write_notice(socket, observer);
}

fn write_notice(socket: &TransportSocket, observer: &Observer) {
    if observer.takes_notice() {
        observer.on_sent(NOTICE);
        socket.write(NOTICE);
    }
}

/// A connection for code that wants tokio's traits. Whoever keeps another
/// reference to the socket may ask it for its counters and [send
/// notice](send_notice) of its end, and must neither read nor write.
///
/// `poll_flush` does not wait for the kernel, as for tokio's own sockets: what
/// is written leaves at the end of the turn.
#[derive(Debug)]
pub struct TokioSocket<S = Rc<TransportSocket>>(S, Rc<Observer>);

impl<S: Deref<Target = TransportSocket>> TokioSocket<S> {
    /// Wraps a connection whose frames this observer sees.
    #[must_use]
    pub fn new(socket: S, observer: Rc<Observer>) -> Self {
        Self(socket, observer)
    }
}

impl<S: Deref<Target = TransportSocket> + Unpin> AsyncRead for TokioSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // Whoever drives the connection looks when the library waits.
        if self.1.is_over() {
            return Poll::Pending;
        }
        if let Some(mut chunk) = ready!(self.0.poll_recv(cx))? {
            let taken = chunk.len().min(buffer.remaining());
            let taken = self.1.on_received(&chunk[..taken]);
            buffer.put_slice(&chunk[..taken]);
            chunk.advance(taken);
            // Back in the queue of the socket, and not kept here: a receive
            // buffer that nobody gets to read can be taken from there.
            self.0.unread(chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Deref<Target = TransportSocket> + Unpin> AsyncWrite for TokioSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_writable(cx, WRITE_QUEUE_BYTES))?;
        // A piece at a time, so that one large write cannot make the queue any
        // longer.
        let taken = bytes.len().min(WRITE_QUEUE_BYTES);
        self.1.on_sent(&bytes[..taken]);
        self.0.write(&bytes[..taken]);
        write_notice(&self.0, &self.1);
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_writable(cx, WRITE_QUEUE_BYTES))?;
        let mut taken = 0;
        for slice in slices {
            let piece = slice.len().min(WRITE_QUEUE_BYTES - taken);
            self.1.on_sent(&slice[..piece]);
            self.0.write(&slice[..piece]);
            taken += piece;
        }
        write_notice(&self.0, &self.1);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.write_error().map_or(Ok(()), Err))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown_write();
        // Ready when less than one byte is queued.
        self.0.poll_writable(cx, 1)
    }
}
