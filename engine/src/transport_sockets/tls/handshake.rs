//! The handshake: rustls decides, this reads and writes for it.

use std::io;
use std::sync::Arc;

use ringway_codecs::client_hello::fault::{Fault, FaultFinder, Verdict};
use ringway_codecs::client_hello::{ClientHello, ClientHelloReader, Progress};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::SupportedKxGroup;
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ClientConfig, CommonState, ExtractedSecrets, HandshakeKind, NamedGroup, ProtocolVersion,
    ServerConfig, SignatureScheme, SupportedCipherSuite,
};

use super::budget;
use super::certificate_selector::Staple;
use super::notes::{self, Notes};
use super::record::HEADER_BYTES;
use super::stream::TlsStream;
use super::verify_failure::VerifyFailure;
use crate::reactor::Stream;
use crate::stream_info::CertificateFacts;

/// Bytes of a handshake that may wait to be understood: a chain of certificates and
/// what surrounds it. A ClientHello alone is held to a quarter of it by rustls.
const WAITING_BYTES_MAX: usize = 128 * 1024;

/// Alerts of BoringSSL that rustls has others for.
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
const BAD_CERTIFICATE_HASH_VALUE: [u8; 7] = [21, 3, 3, 0, 2, 2, 114];

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
    run(socket, session, received, noted).await
}

/// What a client begins with, if it is a ClientHello, and all that it has sent.
async fn client_hello(socket: &Stream) -> Result<(Option<ClientHello>, Vec<u8>), HandshakeError> {
    let mut reader = ClientHelloReader::new(WAITING_BYTES_MAX);
    let mut faults = FaultFinder::default();
    let mut received = Vec::new();
    let mut is_tls = true;
    loop {
        let chunk = match socket.recv().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(HandshakeError::Closed),
            Err(error) => return Err(HandshakeError::Io(error)),
        };
        received.extend_from_slice(&chunk);
        if is_tls {
            match reader.read(&chunk) {
                Progress::Incomplete => continue,
                Progress::Complete(hello) => return Ok((Some(hello), received)),
                Progress::TooLarge => return Ok((None, received)),
                Progress::NotTls => is_tls = false,
            }
        }
        // As long as the head of a record: what is shorter says nothing, as in BoringSSL.
        if received.len() < HEADER_BYTES {
            continue;
        }
        if let Some(error) = http_request(&received) {
            return Err(error);
        }
        match faults.read(&received) {
            Verdict::Incomplete if received.len() <= WAITING_BYTES_MAX => {}
            Verdict::Fault(fault) => {
                socket.write(&fault.alert());
                return Err(HandshakeError::NoHello(fault));
            }
            Verdict::Incomplete | Verdict::Sound => return Ok((None, received)),
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

/// What it is that begins like a request, with a method that BoringSSL knows.
fn http_request(received: &[u8]) -> Option<HandshakeError> {
    let methods: [&[u8]; 4] = [b"GET ", b"POST ", b"HEAD ", b"PUT "];
    if methods.iter().any(|method| received.starts_with(method)) {
        return Some(HandshakeError::HttpRequest);
    }
    let is_connect = received.starts_with(b"CONNE");
    is_connect.then_some(HandshakeError::HttpsProxyRequest)
}

/// Either side's state machine of rustls.
trait Session {
    fn state(&self) -> &CommonState;

    /// Understands as much of `input` as it can. Appends what is to be sent to
    /// `output` and what was received behind the handshake to `received`.
    fn step(&mut self, input: &mut [u8], output: &mut Vec<u8>, received: &mut Vec<u8>) -> Step;

    /// The secrets, and what is left of rustls.
    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), rustls::Error>;
}

impl Session for UnbufferedServerConnection {
    fn state(&self) -> &CommonState {
        self
    }

    fn step(&mut self, input: &mut [u8], output: &mut Vec<u8>, received: &mut Vec<u8>) -> Step {
        step(self.process_tls_records(input), output, received)
    }

    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), rustls::Error> {
        let (secrets, keys) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Keys::Server(keys)))
    }
}

impl Session for UnbufferedClientConnection {
    fn state(&self) -> &CommonState {
        self
    }

    fn step(&mut self, input: &mut [u8], output: &mut Vec<u8>, received: &mut Vec<u8>) -> Step {
        step(self.process_tls_records(input), output, received)
    }

    fn into_keys(self) -> Result<(ExtractedSecrets, Keys), rustls::Error> {
        let (secrets, keys) = self.dangerous_into_kernel_connection()?;
        Ok((secrets, Keys::Client(keys)))
    }
}

/// One step of a handshake.
struct Step {
    /// Bytes at the front of the input that are done with.
    consumed: usize,
    next: Result<Next, rustls::Error>,
}

enum Next {
    /// There is more to do with what is there.
    Again,
    /// The peer has to send more.
    Blocked,
    /// The layer above may begin.
    Traffic,
    /// The peer has closed already.
    Closed,
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    output: &mut Vec<u8>,
    received: &mut Vec<u8>,
) -> Step {
    let mut consumed = status.discard;
    let next = status.state.map(|state| match state {
        ConnectionState::EncodeTlsData(mut message) => {
            let begin = output.len();
            let mut written = message.encode(&mut []);
            if let Err(EncodeError::InsufficientSize(size)) = written {
                output.resize(begin + size.required_size, 0);
                written = message.encode(&mut output[begin..]);
            }
            output.truncate(begin + written.unwrap_or(0));
            Next::Again
        }
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Next::Again
        }
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(Ok(record)) = traffic.next_record() {
                received.extend_from_slice(record.payload);
                consumed += record.discard;
            }
            Next::Again
        }
        ConnectionState::BlockedHandshake => Next::Blocked,
        ConnectionState::WriteTraffic(_) => Next::Traffic,
        // Early data is not offered.
        _ => Next::Closed,
    });
    Step { consumed, next }
}

/// The alert to be sent instead of rustls's, where it is not encrypted.
fn alert(
    error: &rustls::Error,
    noted: &Notes,
    version: Option<ProtocolVersion>,
) -> Option<&'static [u8; 7]> {
    let is_tls12 = version == Some(ProtocolVersion::TLSv1_2);
    match (error, &noted.failure) {
        // There is no certificate for the client.
        _ if noted.staple == Some(Staple::Failed) => Some(&HANDSHAKE_FAILURE),
        (rustls::Error::NoCertificatesPresented, _) if is_tls12 => Some(&HANDSHAKE_FAILURE),
        (rustls::Error::InvalidCertificate(_), Some(VerifyFailure::CertificateHash))
            if is_tls12 =>
        {
            Some(&BAD_CERTIFICATE_HASH_VALUE)
        }
        _ => None,
    }
}

async fn run<S: Session>(
    socket: Stream,
    mut session: S,
    mut input: Vec<u8>,
    noted: &mut Notes,
) -> Result<(TlsStream, Agreed), HandshakeError> {
    let mut start = 0;
    let mut output: Vec<u8> = Vec::new();
    let mut received: Vec<u8> = Vec::new();
    loop {
        budget::turn().await;
        let next = loop {
            // What belongs to the layer above is ours to open.
            let end = if session.state().is_handshaking() {
                input.len()
            } else {
                start
            };
            let Step { consumed, next } =
                session.step(&mut input[start..end], &mut output, &mut received);
            start += consumed;
            // Before another handshake of this thread has its turn.
            noted.add(notes::take());
            noted.agreed(session.state());
            match next {
                Ok(Next::Again) => {}
                Ok(next) => break next,
                Err(error) => {
                    // The alert that tells why, and nothing else: of messages that are not
                    // whole rustls keeps where they lie in an input that it must not look
                    // for again.
                    while session.state().wants_write()
                        && session
                            .step(&mut [], &mut output, &mut received)
                            .next
                            .is_ok()
                    {}
                    let own = alert(&error, noted, session.state().protocol_version());
                    socket.write(own.map_or(&output[..], |own| &own[..]));
                    return Err(match (error, noted.failure.take()) {
                        (rustls::Error::InvalidCertificate(_), Some(failure)) => {
                            HandshakeError::Verify(failure)
                        }
                        (error, _) => error.into(),
                    });
                }
            }
        };
        if !output.is_empty() {
            socket.write(&output);
            output.clear();
        }
        match next {
            Next::Traffic if !session.state().is_handshaking() => break,
            Next::Closed => return Err(HandshakeError::Closed),
            Next::Again | Next::Blocked | Next::Traffic => {}
        }
        input.drain(..start);
        start = 0;
        match socket.recv().await {
            Ok(Some(chunk)) => input.extend_from_slice(&chunk),
            Ok(None) => return Err(HandshakeError::Closed),
            Err(error) => return Err(HandshakeError::Io(error)),
        }
        if input.len() > WAITING_BYTES_MAX {
            return Err(rustls::Error::PeerSentOversizedRecord.into());
        }
    }
    let agreed = Agreed::new(session.state(), noted).ok_or(rustls::Error::HandshakeNotComplete)?;
    let (secrets, keys) = session.into_keys()?;
    let stream = TlsStream::new(socket, keys, &secrets, &input[start..], &received)
        .map_err(|_| rustls::Error::General("a cipher that is not known".into()))?;
    Ok((stream, agreed))
}
