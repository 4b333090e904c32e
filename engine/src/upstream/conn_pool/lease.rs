//! The right of one request to use a pooled connection.

use std::ops::Deref;
use std::rc::Rc;

use super::{Connection, put};

/// A connection lent to one request. [`Lease::give_back`] returns it for the
/// next one; dropping the lease closes it, which is the safe end for a request
/// that stopped half-way. Of a connection that speaks HTTP/2 it is one stream,
/// and in any case the connection goes on.
pub struct Lease {
    connection: Option<Rc<Connection>>,
}

impl Lease {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        Self {
            connection: Some(connection),
        }
    }

    /// Returns the connection after a complete exchange. `reusable` is what the
    /// response said: a response with `Connection: close`, or one that ended
    /// with the connection, leaves nothing to reuse.
    pub fn give_back(mut self, reusable: bool) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.http2.get().is_some() {
            return connection.stream_over(true);
        }
        connection.note_received();
        let more_allowed = connection.request_done();
        if connection.stream.is_closed() {
            connection.close_remote();
        } else if !reusable || !more_allowed || connection.stream.has_unread() {
            connection.close_local();
        } else {
            put(connection);
        }
    }

    /// Ends a connection that has carried bytes for one client and is good for
    /// nobody else. `by_host`: it was the host that ended it. Of one that speaks
    /// HTTP/2 that was a stream.
    pub fn end(mut self, by_host: bool) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.http2.get().is_some() {
            return connection.stream_over(true);
        }
        let _ = connection.request_done();
        let stats = &connection.cluster.stats;
        stats.upstream_cx_destroy_with_active_rq.inc();
        if by_host {
            stats.upstream_cx_destroy_remote_with_active_rq.inc();
            connection.close_remote();
        } else {
            stats.upstream_cx_destroy_local_with_active_rq.inc();
            connection.close_local();
        }
    }

    /// Returns a connection on which nothing was sent. It may have become
    /// unfit in the meantime, and nobody watches a busy one.
    pub fn give_back_unused(mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.http2.get().is_some() {
            return connection.stream_over(false);
        }
        if connection.stream.is_closed() || connection.stream.has_unread() {
            connection.close_unusable();
        } else {
            put(connection);
        }
    }

    /// Closes a connection on which nothing was sent, and that nobody else has a use
    /// for.
    pub(super) fn close_unused(mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.http2.get().is_some() {
            connection.stream_over(false);
        } else if connection.stream.is_closed() {
            connection.close_remote();
        } else {
            connection.close_local();
        }
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a lease holds its connection until it is given back")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.http2.get().is_some() {
            return connection.stream_over(true);
        }
        let by_host = connection.stream.is_closed();
        Self {
            connection: Some(connection),
        }
        .end(by_host);
    }
}
