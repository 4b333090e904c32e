//! Streams as tokio's `AsyncRead` and `AsyncWrite`, for libraries written against them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// Queued bytes beyond which a write waits: a few full TLS records or HTTP/2 frames.
const WRITE_QUEUE_BYTES: usize = 128 * 1024;

/// A stream for code that wants tokio's traits.
///
/// `poll_flush` does not wait for the kernel, as for tokio's own sockets: what is written leaves
/// at the end of the turn.
#[derive(Debug)]
pub struct TokioStream(Stream);

impl TokioStream {
    /// Wraps a stream.
    pub fn new(stream: Stream) -> Self {
        TokioStream(stream)
    }

    /// The stream within, for its addresses and counters.
    pub fn get_ref(&self) -> &Stream {
        &self.0
    }

    /// Gives the stream back. Nothing is buffered in the wrapper.
    pub fn into_inner(self) -> Stream {
        self.0
    }
}

impl From<Stream> for TokioStream {
    fn from(stream: Stream) -> Self {
        Self::new(stream)
    }
}

impl AsyncRead for TokioStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(mut chunk) = ready!(self.0.poll_recv(cx))? {
            let taken = chunk.len().min(buffer.remaining());
            buffer.put_slice(&chunk[..taken]);
            chunk.advance(taken);
            self.0.unread(chunk);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_writable(cx, WRITE_QUEUE_BYTES))?;
        // A piece at a time, so that one large write cannot make the queue any longer.
        let taken = bytes.len().min(WRITE_QUEUE_BYTES);
        self.0.write(&bytes[..taken]);
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
            self.0.write(&slice[..piece]);
            taken += piece;
        }
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
        self.0.poll_flushed(cx)
    }
}
