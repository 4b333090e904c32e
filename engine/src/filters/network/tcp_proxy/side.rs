//! The two sides of a relay: a client's connection, and a host's or a tunnel on one.

use std::io;
use std::task::{Context, Poll};

use super::tunnel::Tunnel;
use crate::reactor::{Chunk, Stream};
use crate::stream_info::StreamInfo;
use crate::transport_sockets::TransportSocket;
use crate::upstream::conn_pool::Lease;

/// One side of a relay.
pub(super) trait Side {
    /// Polls until fewer than `below` bytes wait to be sent.
    fn poll_room(&mut self, below: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Polls for received bytes; `None` is the end.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>>;

    /// Queues bytes.
    fn write(&mut self, chunk: Chunk);

    /// Ends what is sent, behind what is queued.
    fn finish(&mut self);
}

impl Side for &TransportSocket {
    fn poll_room(&mut self, below: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx, below)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        TransportSocket::poll_recv(self, cx)
    }

    fn write(&mut self, chunk: Chunk) {
        self.write_chunk(chunk);
    }

    fn finish(&mut self) {
        self.shutdown_write();
    }
}

/// The host's side: a connection of its own, or a tunnel on one.
pub(super) struct HostSide<'a> {
    pub lease: &'a Lease,
    pub tunnel: Option<&'a mut Tunnel>,
}

impl<'a> HostSide<'a> {
    /// The socket, if nothing is done to bytes on their way to the host.
    pub fn plain(&self) -> Option<&'a Stream> {
        match self.tunnel {
            Some(_) => None,
            None => self.lease.stream.plain(),
        }
    }

    /// Polls until all was sent. What HTTP/2 has taken is as good as sent: its
    /// connection lives on.
    pub fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tunnel {
            Some(tunnel) if !tunnel.ends_with_client() => Poll::Ready(Ok(())),
            Some(_) | None => self.lease.stream.poll_writable(cx, 1),
        }
    }

    /// Polls for an error of writing. HTTP/2 tells of its connection's when it is read.
    pub fn poll_write_error(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &self.tunnel {
            Some(tunnel) if !tunnel.ends_with_client() => Poll::Pending,
            Some(_) | None => self.lease.stream.poll_write_error(cx),
        }
    }

    pub fn count(&mut self, info: &mut StreamInfo) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.count(self.lease, info);
        }
    }
}

impl Side for HostSide<'_> {
    fn poll_room(&mut self, below: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tunnel {
            None => self.lease.stream.poll_writable(cx, below),
            Some(tunnel) => tunnel.poll_room(self.lease, below, cx),
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match &mut self.tunnel {
            None => self.lease.stream.poll_recv(cx),
            Some(tunnel) => tunnel.poll_recv(self.lease, cx),
        }
    }

    fn write(&mut self, chunk: Chunk) {
        match &mut self.tunnel {
            None => self.lease.stream.write_chunk(chunk),
            Some(tunnel) => tunnel.write(self.lease, chunk),
        }
    }

    fn finish(&mut self) {
        match &mut self.tunnel {
            None => self.lease.stream.shutdown_write(),
            Some(tunnel) => tunnel.finish(self.lease),
        }
    }
}
