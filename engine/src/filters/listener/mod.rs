//! Listener filters (`envoy.filters.listener.*`): what looks at a connection
//! before its filter chain is chosen.

mod fingerprint;
pub mod http_inspector;
pub mod local_ratelimit;
pub mod original_dst;
pub mod original_src;
pub mod proxy_protocol;
pub mod tls_inspector;

use std::net::SocketAddr;
use std::rc::Rc;

use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector as HttpInspectorPb;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector as TlsInspectorPb;
use prost::Name;
use ringway_config::filter_state::FilterState;
use ringway_config::metadata::Metadata;
use ringway_config::proxy_protocol::Tlv;

use crate::filters::WorkerContext;
use crate::reactor::{Chunk, Stream};
use crate::stream_info::{Fingerprints, OriginalSource, TypedMetadata};
use http_inspector::HttpInspector;
use local_ratelimit::LocalRateLimit;
use original_src::OriginalSrc;
use proxy_protocol::ProxyProtocol;
use tls_inspector::TlsInspector;

/// The listener filters that there are.
pub enum ListenerFilter {
    /// `envoy.filters.listener.http_inspector`
    HttpInspector(HttpInspector),
    /// `envoy.filters.listener.local_ratelimit`
    LocalRateLimit(LocalRateLimit),
    /// `envoy.filters.listener.original_dst`
    OriginalDst,
    /// `envoy.filters.listener.original_src`
    OriginalSrc(OriginalSrc),
    /// `envoy.filters.listener.proxy_protocol`
    ProxyProtocol(ProxyProtocol),
    /// `envoy.filters.listener.tls_inspector`
    TlsInspector(TlsInspector),
}

/// What filters have found out about a connection.
#[derive(Debug, Default)]
pub struct Inspected {
    /// The server that was asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// What tells the client apart, where somebody wants to know.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// What carries the bytes; `None` is nothing special.
    pub transport_protocol: Option<&'static str>,
    /// The protocols that the client speaks, best first.
    pub application_protocols: Vec<Box<[u8]>>,
    /// The client's address, if a proxy before us has told another one than the
    /// peer's.
    pub remote: Option<SocketAddr>,
    /// The address that the client connected to, if it was another one.
    pub local: Option<SocketAddr>,
    /// Whom hosts are to see as their client.
    pub source: Option<OriginalSource>,
    /// What is said of the connection.
    pub metadata: Metadata,
    /// What a header of PROXY protocol has said, as the bytes that it is.
    pub typed_metadata: Option<TypedMetadata>,
    /// What is left for those behind.
    pub filter_state: FilterState,
    /// What a header of PROXY protocol has said and may be passed on.
    pub tlvs: Option<Rc<[Tlv]>>,
}

/// Whether the filter with this message finds out what a client asks for in the
/// first message of TLS.
#[must_use]
pub fn finds_tls(message: &str) -> bool {
    message == TlsInspectorPb::full_name()
}

/// Whether the filter with this message finds out which version of HTTP a
/// client speaks.
#[must_use]
pub fn finds_http(message: &str) -> bool {
    message == HttpInspectorPb::full_name()
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
    pub async fn inspect(
        &self,
        stream: &Stream,
        worker: &WorkerContext,
        inspected: &mut Inspected,
    ) -> Result<(), Refused> {
        match self {
            Self::HttpInspector(inspector) => inspector.inspect(stream, inspected).await,
            Self::LocalRateLimit(filter) => filter.inspect(worker),
            Self::OriginalDst => {
                original_dst::inspect(stream, inspected);
                Ok(())
            }
            Self::OriginalSrc(filter) => {
                filter.inspect(stream, inspected);
                Ok(())
            }
            Self::ProxyProtocol(filter) => filter.inspect(stream, inspected).await,
            Self::TlsInspector(inspector) => inspector.inspect(stream, inspected).await,
        }
    }
}

/// Bytes that were received and looked at, and go back when this is dropped:
/// also where the wait for more of them was given up.
struct Peeked<'a> {
    stream: &'a Stream,
    /// All of them, if they came at once.
    whole: Option<Chunk>,
    /// Otherwise all of them, too: a client that sends one byte at a time would
    /// hold a receive buffer for each.
    bytes: Vec<u8>,
}

impl<'a> Peeked<'a> {
    fn new(stream: &'a Stream) -> Self {
        Self {
            stream,
            whole: None,
            bytes: Vec::new(),
        }
    }

    /// Waits for more bytes, and gives them.
    async fn more(&mut self) -> Result<&[u8], Refused> {
        // The rest may be long in coming.
        if let Some(whole) = &mut self.whole {
            whole.detach_if_scarce();
        }
        let Ok(Some(chunk)) = self.stream.recv().await else {
            return Err(Refused::RemoteClose);
        };
        if let Some(whole) = self.whole.take() {
            self.bytes.extend_from_slice(&whole);
        }
        if self.bytes.is_empty() {
            return Ok(self.whole.insert(chunk));
        }
        let known = self.bytes.len();
        self.bytes.extend_from_slice(&chunk);
        Ok(&self.bytes[known..])
    }

    /// All bytes that there have been.
    fn all(&self) -> &[u8] {
        self.whole.as_deref().unwrap_or(&self.bytes)
    }

    /// Takes bytes off the front for good: nobody counts them who serves the
    /// connection.
    fn take(&mut self, count: usize) {
        self.stream.disown_received(count);
        match &mut self.whole {
            Some(whole) => whole.advance(count),
            None => drop(self.bytes.drain(..count)),
        }
    }
}

impl Drop for Peeked<'_> {
    fn drop(&mut self) {
        match self.whole.take() {
            Some(whole) => self.stream.unread(whole),
            None => self.stream.unread(Chunk::from(&self.bytes[..])),
        }
    }
}
