//! Everything that a client sends is sent back (`envoy.filters.network.echo`).

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{Closed, NetworkFilters, Session};
use crate::reactor::{self, Chunk};
use crate::transport_sockets::TransportSocket;

/// Sends back what arrives until the client ends, which is the end in both
/// directions.
///
/// # Errors
/// A filter closes the connection.
pub async fn serve(
    session: &mut Session,
    filters: &NetworkFilters,
    socket: TransportSocket,
    buffer_limit: u32,
) -> Result<(), Closed> {
    let timer = Rc::clone(&session.timer);
    let mut wants_data = filters.wants_data();
    let limit = buffer_limit as usize;
    loop {
        let next = poll_fn(|cx| poll_chunk(&socket, limit, cx));
        // The timer is set by nothing but the end of the worker.
        let Ok(Ok(Some(chunk))) = reactor::timeout(&timer, next).await else {
            return Ok(());
        };
        if wants_data {
            filters.on_data(session, chunk.len(), &socket).await?;
            wants_data = filters.wants_all_data();
        }
        session.info.bytes_received += chunk.len() as u64;
        session.info.bytes_sent += chunk.len() as u64;
        socket.write_chunk(chunk);
    }
}

/// Polls for bytes, while the client takes those that it was sent.
fn poll_chunk(
    socket: &TransportSocket,
    limit: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Chunk>>> {
    ready!(socket.poll_writable(cx, limit))?;
    socket.poll_recv(cx)
}
