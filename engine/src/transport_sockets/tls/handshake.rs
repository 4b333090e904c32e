//! The handshake: rustls decides, this reads and writes for it.

use std::io;
use std::sync::Arc;

use ringway_codecs::client_hello::ClientHello;
use ringway_codecs::client_hello::fault::Fault;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::SupportedKxGroup;
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    ClientConfig, CommonState, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
};

use super::budget;
use super::exchange::{Exchange, Session};
use super::notes::Notes;
use super::opening::{Known, Opening};
use super::stream::TlsStream;
use super::verify_failure::VerifyFailure;
use crate::reactor::Stream;
use crate::stream_info::CertificateFacts;

/// Bytes of a handshake that may wait to be understood: a chain of certificates and
/// what surrounds it. A ClientHello alone is held to a quarter of it by rustls.
pub(super) const WAITING_BYTES_MAX: usize = 128 * 1024;

/// Why there is no connection.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer left, or the socket failed.
    Closed,
    /// The socket failed.
    Io(io::Error),
    /// The peer broke the protocol, or does not accept us.
    Tls(rustls::Error),
    /// The peer's certificate is not acceptable.
    Verify(VerifyFailure),
    /// What the client begins with is no ClientHello.
    NoHello(Fault),
    /// There is no context yet: nobody has said what our secrets are.
    NoSecret,
    /// The client speaks HTTP, without TLS.
    HttpRequest,
    /// The client takes us for a proxy, without TLS.
    HttpsProxyRequest,
}

/// What Envoy says then.
pub(super) const NO_SECRET: &str = "TLS_error: Secret is not supplied by SDS";

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Closed => io::ErrorKind::UnexpectedEof.into(),
            HandshakeError::Io(error) => error,
            HandshakeError::Tls(error) => Self::new(io::ErrorKind::InvalidData, error),
            HandshakeError::Verify(failure) => Self::other(failure.to_string()),
            HandshakeError::NoSecret => Self::other(NO_SECRET),
            HandshakeError::NoHello(_)
            | HandshakeError::HttpRequest
            | HandshakeError::HttpsProxyRequest => io::ErrorKind::InvalidData.into(),
        }
    }
}

/// What was agreed on.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher.
    pub suite: SupportedCipherSuite,
    /// The group of the key exchange; a resumed session of TLS 1.2 has none.
    pub group: Option<NamedGroup>,
    /// The protocol of the layer above, if one was asked for.
    pub alpn: Option<Box<[u8]>>,
    /// What the peer has signed the handshake with.
    pub signature: Option<SignatureScheme>,
    /// The certificate that a client was shown.
    pub certificate: Option<Arc<CertificateFacts>>,
    /// An earlier session was taken up.
    pub resumed: bool,
    /// What is wrong with the peer's certificate, where nobody is turned away for it.
    pub untrusted: Option<VerifyFailure>,
    /// The name that a client has asked for.
    pub server_name: Option<Box<str>>,
    /// The peer's certificates, its own first.
    pub peer_certificates: Vec<rustls::pki_types::CertificateDer<'static>>,
}

impl Agreed {
    /// `None` while the handshake goes on.
    pub(super) fn new(state: &CommonState, notes: &mut Notes) -> Option<Self> {
        Some(Self {
            version: state.protocol_version()?,
            suite: state.negotiated_cipher_suite()?,
            group: state
                .negotiated_key_exchange_group()
                .map(SupportedKxGroup::name),
            alpn: state.alpn_protocol().map(Box::from),
            signature: notes.signature,
            certificate: notes.certificate.take(),
            untrusted: notes.failure.take(),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name: None,
            peer_certificates: state
                .peer_certificates()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
        })
    }
}

/// What changes keys, and keeps session tickets, after the handshake.
pub(super) enum Keys {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Keys {
    pub(super) fn version(&self) -> ProtocolVersion {
        match self {
            Self::Server(keys) => keys.protocol_version(),
            Self::Client(keys) => keys.protocol_version(),
        }
    }
}

/// Answers a client. What the stream has received before belongs to the handshake.
/// `choose` gives the configuration for a client that begins like this; rustls finds
/// out what it is that begins with something else.
///
/// # Errors
/// See [`HandshakeError`]; the peer was told by an alert where it can be.
pub async fn accept(
    socket: Stream,
    choose: impl FnOnce(Option<&ClientHello>) -> Arc<ServerConfig>,
    noted: &mut Notes,
) -> Result<(TlsStream, Agreed), HandshakeError> {
    let (hello, received) = client_hello(&socket).await?;
    let session = UnbufferedServerConnection::new(choose(hello.as_ref()))?;
    let (stream, mut agreed) = run(socket, session, received, noted).await?;
    agreed.server_name = hello.and_then(|hello| hello.server_name);
    Ok((stream, agreed))
}

/// What a client begins with, if it is a ClientHello, and all that it has sent.
async fn client_hello(socket: &Stream) -> Result<(Option<ClientHello>, Vec<u8>), HandshakeError> {
    let mut opening = Opening::new();
    loop {
        let chunk = match socket.recv().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(HandshakeError::Closed),
            Err(error) => return Err(HandshakeError::Io(error)),
        };
        match opening.read(&chunk) {
            Ok(Known::NotYet) => {}
            Ok(Known::Hello(hello)) => return Ok((Some(hello), opening.received)),
            Ok(Known::Other) => return Ok((None, opening.received)),
            Err(error) => {
                if let HandshakeError::NoHello(fault) = &error {
                    socket.write(&fault.alert());
                }
                return Err(error);
            }
        }
    }
}

/// Begins with a server, which is offered `alpn` where `config` offers nothing.
///
/// # Errors
/// As [`accept`].
pub async fn connect(
    socket: Stream,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    alpn: &[&[u8]],
) -> Result<(TlsStream, Agreed), HandshakeError> {
    let alpn = match config.alpn_protocols.is_empty() {
        true => alpn.iter().map(|name| name.to_vec()).collect(),
        false => config.alpn_protocols.clone(),
    };
    let session = UnbufferedClientConnection::new_with_alpn(Arc::clone(config), name, alpn)?;
    run(socket, session, Vec::new(), &mut Notes::default()).await
}

async fn run<S: Session>(
    socket: Stream,
    session: S,
    received: Vec<u8>,
    noted: &mut Notes,
) -> Result<(TlsStream, Agreed), HandshakeError> {
    let mut exchange = Exchange::new(session, received);
    loop {
        budget::turn().await;
        let next = exchange.advance(noted);
        let output = exchange.take_output();
        if !output.is_empty() {
            socket.write(&output);
        }
        if next? {
            break;
        }
        match socket.recv().await {
            Ok(Some(chunk)) => exchange.receive(&chunk)?,
            Ok(None) => return Err(HandshakeError::Closed),
            Err(error) => return Err(HandshakeError::Io(error)),
        }
    }
    let agreed = Agreed::new(exchange.state(), noted).ok_or(rustls::Error::HandshakeNotComplete)?;
    let (secrets, keys, rest) = exchange.into_keys()?;
    let stream = TlsStream::new(socket, keys, &secrets, &rest.records, &rest.data)
        .map_err(|_| rustls::Error::General("a cipher that is not known".into()))?;
    Ok((stream, agreed))
}
