//! A connection to a host that is checked, plain or with TLS as the cluster has it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use ringway_codecs::proxy_protocol::Endpoints;
use ringway_config::cluster::Cluster;
use ringway_config::core::Address;
use ringway_config::health_check::HealthCheck;
use ringway_config::proxy_protocol::ProxyProtocol;
use ringway_config::socket_match::SocketId;
use ringway_config::upstream_bind::Source;
use socket2::{Domain, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::network::source;
use crate::stats::Store;
use crate::stats::cluster::prefix;
use crate::transport_sockets::proxy_protocol::{Of, write_header};
use crate::transport_sockets::tls::handshake::HandshakeError;
use crate::transport_sockets::tls::{ClientContext, Connector, HandshakeCounts, SharedContext};
use crate::upstream::cluster::SharedCluster;
use crate::worker::shared::Locked;

/// Where a host is checked.
pub(super) struct Target {
    pub address: Address,
    /// The local end of connections, which is that of the cluster's.
    pub source: Option<Source>,
    /// Whose host it is.
    pub cluster: Arc<Cluster>,
    /// What the host is called, or nothing.
    pub hostname: Arc<str>,
    /// How TLS is spoken with it, if it is.
    pub tls: Option<Arc<Tls>>,
    /// Who counts connections, by their transport socket.
    pub counted: Option<(SocketId, Arc<SharedCluster>)>,
}

/// The TLS of a cluster's checks.
pub(super) struct Tls {
    context: Arc<SharedContext<ClientContext>>,
    /// Of the context that was there when it was needed last.
    connector: Locked<Option<Arc<Connector>>>,
    alpn: Box<[Box<[u8]>]>,
    counts: Locked<HandshakeCounts>,
}

impl Tls {
    pub fn new(
        context: &Arc<SharedContext<ClientContext>>,
        check: &HealthCheck,
        cluster: &Cluster,
        store: &Store,
    ) -> Self {
        let counts = HandshakeCounts::new(store, &prefix(&cluster.stat_name));
        Self {
            context: Arc::clone(context),
            connector: Locked::new(None),
            alpn: check.alpn.iter().cloned().collect(),
            counts: Locked::new(counts),
        }
    }

    /// The connector of the context that is there now, if one is.
    fn connector(&self) -> Option<Arc<Connector>> {
        let context = self.context.get()?;
        Some(self.connector.with(|connector| match connector {
            Some(connector) if connector.is_of(&context) => Arc::clone(connector),
            other => Arc::clone(other.insert(Arc::new(Connector::new(context, &self.alpn)))),
        }))
    }

    async fn secure(&self, plain: Bytes, host: &str, ip: Option<IpAddr>) -> io::Result<Bytes> {
        let Some(connector) = self.connector() else {
            let stats = &self.context.stats;
            stats.upstream_context_secrets_not_ready.inc();
            return Err(HandshakeError::NoSecret.into());
        };
        let outcome = connector.connect(plain, host, ip).await;
        let noted = outcome.as_ref().map(|(_, agreed)| agreed);
        self.counts.with(|counts| counts.note(noted));
        match outcome {
            Ok((stream, _)) => Ok(Box::new(stream)),
            Err(error) => Err(error.into()),
        }
    }
}

/// What carries the bytes of a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for T {}

type Bytes = Box<dyn Transport>;

/// An open connection.
pub(super) struct Socket {
    bytes: Bytes,
    /// Its addresses, if it has any.
    own: Option<Endpoints>,
}

impl Socket {
    pub async fn connect(target: &Target) -> io::Result<Self> {
        if let Some((socket, cluster)) = &target.counted {
            cluster.socket(*socket).count(1);
        }
        let (mut stream, own) = open(target).await?;
        if let Some(config) = &target.cluster.proxy_protocol {
            let mut header = Vec::new();
            write_header(&mut header, config, &[], Of::Own(own.as_ref()));
            stream.write_all(&header).await?;
        }
        let Some(tls) = &target.tls else {
            return Ok(Self { bytes: stream, own });
        };
        let ip = own.map(|own| own.destination.ip());
        // In a box: it is large, and over soon.
        let secured = Box::pin(tls.secure(stream, &target.hostname, ip));
        secured.await.map(|bytes| Self { bytes, own })
    }

    /// What carries its bytes.
    pub fn into_transport(self) -> impl Transport + 'static {
        self.bytes
    }

    /// The header that tells of this connection.
    pub fn header(&self, config: &ProxyProtocol) -> Vec<u8> {
        let mut header = Vec::new();
        write_header(&mut header, config, &[], Of::Own(self.own.as_ref()));
        header
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.write_all(bytes).await?;
        self.bytes.flush().await
    }

    /// Reads some bytes behind those in `into`.
    ///
    /// # Errors
    /// The end of the connection is one.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        match self.bytes.read_buf(into).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The connection, if nothing has happened since the last answer: neither an
    /// end nor bytes that nobody asked for.
    pub fn quiet(mut self) -> Option<Self> {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        // Whoever reads next is woken instead.
        let mut cx = Context::from_waker(Waker::noop());
        let happened = Pin::new(&mut self.bytes).poll_read(&mut cx, &mut read);
        happened.is_pending().then_some(self)
    }
}

/// A connection before anything is said on it, and its addresses, if it has any.
async fn open(target: &Target) -> io::Result<(Bytes, Option<Endpoints>)> {
    match &target.address {
        Address::Socket(address) => {
            let stream = connect(*address, target.source.as_ref()).await?;
            let own = Endpoints {
                source: stream.local_addr()?,
                destination: *address,
            };
            Ok((Box::new(stream), Some(own)))
        }
        Address::Pipe { path, .. } => Ok((Box::new(UnixStream::connect(path).await?), None)),
    }
}

async fn connect(address: SocketAddr, from: Option<&Source>) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(from) = from {
        source::bind(&socket, from, None, address.is_ipv6())?;
    }
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether `received` has all of `wanted` in their order, with anything in
/// between.
pub(super) fn contains_in_order(wanted: &[Box<[u8]>], received: &[u8]) -> bool {
    let mut rest = received;
    wanted.iter().all(|part| {
        let found = rest.windows(part.len()).position(|bytes| bytes == &**part);
        found.is_some_and(|at| {
            rest = &rest[at + part.len()..];
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_found_in_their_order() {
        let wanted = |texts: &[&str]| -> Vec<Box<[u8]>> {
            texts.iter().map(|text| text.as_bytes().into()).collect()
        };
        for (texts, found) in [
            (&[][..], true),
            (&["ab"], true),
            (&["ab", "cd"], true),
            (&["a", "b", "d"], true),
            (&["cd", "ab"], true),
            (&["cd", "cd", "ab"], false),
            (&["abc", "cd"], true),
            (&["abcda", "bcd", "d"], false),
            (&["x"], false),
            (&["abcdabcd0"], false),
            (&["ab", "ab", "cd"], true),
        ] {
            assert_eq!(
                contains_in_order(&wanted(texts), b"abcdabcd"),
                found,
                "{texts:?}"
            );
        }
        // Whatever is still to come cannot be found yet.
        for end in 0..8 {
            let wanted = wanted(&["abcd", "abcd"]);
            assert!(!contains_in_order(&wanted, &b"abcdabcd"[..end]));
        }
    }
}
