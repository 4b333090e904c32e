//! Listener filters (`envoy.filters.listener.*`): what looks at a connection
//! before its filter chain is chosen.

pub mod tls_inspector;

use crate::reactor::{Chunk, Stream};
use tls_inspector::TlsInspector;

/// The listener filters that there are.
pub enum ListenerFilter {
    /// `envoy.filters.listener.tls_inspector`
    TlsInspector(TlsInspector),
}

/// What filters have found out about a connection.
#[derive(Debug, Default)]
pub struct Inspected {
    /// The server that was asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// What carries the bytes; `None` is nothing special.
    pub transport_protocol: Option<&'static str>,
    /// The protocols that the client speaks, best first.
    pub application_protocols: Vec<Box<[u8]>>,
}

/// Why a connection gets no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A filter does not want it.
    ByFilter,
    /// The client is gone.
    RemoteClose,
}

impl ListenerFilter {
    /// Looks at a connection. What it reads is there for others to read.
    pub async fn inspect(&self, stream: &Stream, inspected: &mut Inspected) -> Result<(), Refused> {
        match self {
            Self::TlsInspector(inspector) => inspector.inspect(stream, inspected).await,
        }
    }
}

/// Bytes that were received and looked at, and go back when this is dropped:
/// also where the wait for more of them was given up.
struct Peeked<'a> {
    stream: &'a Stream,
    /// All of them: a client that sends one byte at a time would otherwise hold
    /// a receive buffer for each.
    bytes: Vec<u8>,
}

impl<'a> Peeked<'a> {
    fn new(stream: &'a Stream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Waits for more bytes and shows them to `look`, which says whether more
    /// are needed.
    async fn more(&mut self, look: impl FnOnce(&[u8]) -> bool) -> Result<bool, Refused> {
        let Ok(Some(chunk)) = self.stream.recv().await else {
            return Err(Refused::RemoteClose);
        };
        let more = look(&chunk);
        if more || !self.bytes.is_empty() {
            self.bytes.extend_from_slice(&chunk);
        } else {
            // The usual case: all of it came at once.
            self.stream.unread(chunk);
        }
        Ok(more)
    }
}

impl Drop for Peeked<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.stream.unread(Chunk::from(&self.bytes[..]));
        }
    }
}
