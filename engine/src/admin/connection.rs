//! A connection to the admin server: counted, and closed when its peer takes
//! nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::stats::Counter;

/// A socket that counts its bytes and fails a write that makes no progress for
/// [`WRITE_STALL_MAX`].
pub(super) struct Connection<S> {
    socket: S,
    received: Counter,
    sent: Counter,
    stall_max: Duration,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Connection<S> {
    pub(super) fn new(socket: S, received: Counter, sent: Counter) -> Self {
        Self {
            socket,
            received,
            sent,
            stall_max: WRITE_STALL_MAX,
            stall: None,
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let stall_max = self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(stall_max)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.received.add((buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.stall = None;
                let written = written?;
                self.sent.add(written as u64);
                Poll::Ready(Ok(written))
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Long enough for a bad network, short enough that dead readers do not keep
/// the admin server's connections.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Store;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(test);
    }

    #[test]
    fn bytes_are_counted() {
        let store = Store::new();
        store.shard(None).install();
        let (received, sent) = (store.counter("rx"), store.counter("tx"));
        run(async {
            let (near, mut far) = tokio::io::duplex(64);
            let mut near = Connection::new(near, received, sent);
            far.write_all(b"question").await.expect("it fits");
            let mut buffer = [0; 8];
            near.read_exact(&mut buffer).await.expect("it is there");
            near.write_all(b"answer").await.expect("it fits");
        });
        assert_eq!((store.value("rx"), store.value("tx")), (Some(8), Some(6)));
    }

    #[test]
    fn a_reader_that_takes_nothing_is_given_up() {
        let store = Store::new();
        let (received, sent) = (store.counter("rx"), store.counter("tx"));
        run(async {
            let (near, _far) = tokio::io::duplex(4);
            let mut near = Connection::new(near, received, sent);
            near.stall_max = Duration::from_millis(1);
            let error = near.write_all(b"too much").await.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
