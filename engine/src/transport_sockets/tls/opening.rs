//! What a client begins with, without its socket: looked at before rustls sees it,
//! because which configuration it gets, and what it is told where it speaks no TLS, is
//! not rustls's business.

use ringway_codecs::client_hello::fault::{FaultFinder, Verdict};
use ringway_codecs::client_hello::{ClientHello, ClientHelloReader, Progress};

use super::handshake::{HandshakeError, WAITING_BYTES_MAX};
use super::record::HEADER_BYTES;

/// The first bytes of a connection.
pub(super) struct Opening {
    reader: ClientHelloReader,
    faults: FaultFinder,
    /// All that has come.
    pub received: Vec<u8>,
    is_tls: bool,
}

/// What they are.
pub(super) enum Known {
    /// Too few to say.
    NotYet,
    /// A ClientHello.
    Hello(ClientHello),
    /// Something else, of which rustls finds out what it is.
    Other,
}

impl Opening {
    pub fn new() -> Self {
        Self {
            reader: ClientHelloReader::new(WAITING_BYTES_MAX),
            faults: FaultFinder::default(),
            received: Vec::new(),
            is_tls: true,
        }
    }

    /// Takes what the client has sent.
    ///
    /// # Errors
    /// It is no TLS, or [`HandshakeError::NoHello`], whose alert is the answer.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Known, HandshakeError> {
        self.received.extend_from_slice(bytes);
        if self.is_tls {
            match self.reader.read(bytes) {
                Progress::Incomplete => return Ok(Known::NotYet),
                Progress::Complete(hello) => return Ok(Known::Hello(hello)),
                Progress::TooLarge => return Ok(Known::Other),
                Progress::NotTls => self.is_tls = false,
            }
        }
        // As long as the head of a record: what is shorter says nothing, as in BoringSSL.
        if self.received.len() < HEADER_BYTES {
            return Ok(Known::NotYet);
        }
        if let Some(error) = http_request(&self.received) {
            return Err(error);
        }
        match self.faults.read(&self.received) {
            Verdict::Incomplete if self.received.len() <= WAITING_BYTES_MAX => Ok(Known::NotYet),
            Verdict::Fault(fault) => Err(HandshakeError::NoHello(fault)),
            Verdict::Incomplete | Verdict::Sound => Ok(Known::Other),
        }
    }
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
