//! A handshake without its socket: bytes in, bytes out. rustls says what follows, here
//! is what it wants of whoever uses it so.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, ExtractedSecrets, InvalidMessage, ProtocolVersion};

use super::certificate_selector::Staple;
use super::handshake::{HandshakeError, Keys, WAITING_BYTES_MAX};
use super::notes::{self, Notes};
use super::verify_failure::VerifyFailure;

/// Alerts of BoringSSL that rustls has others for.
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
const BAD_CERTIFICATE_HASH_VALUE: [u8; 7] = [21, 3, 3, 0, 2, 2, 114];
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
const ILLEGAL_PARAMETER: [u8; 7] = [21, 3, 3, 0, 2, 2, 47];

/// One side of a handshake.
pub(super) struct Exchange<S> {
    session: S,
    /// What has come and is not done with. rustls keeps where messages that are not
    /// whole lie in it, so that it must always see the same.
    input: Vec<u8>,
    output: Vec<u8>,
    /// What was received behind the handshake.
    data: Vec<u8>,
}

/// What came behind a handshake.
pub(super) struct Rest {
    /// Records that are not opened yet.
    pub records: Vec<u8>,
    /// What was in those that rustls has opened.
    pub data: Vec<u8>,
}

impl<S: Session> Exchange<S> {
    /// One that has received this already.
    pub fn new(session: S, received: Vec<u8>) -> Self {
        Self {
            session,
            input: received,
            output: Vec::new(),
            data: Vec::new(),
        }
    }

    pub fn state(&self) -> &CommonState {
        self.session.state()
    }

    /// Takes what the peer has sent.
    ///
    /// # Errors
    /// More waits than any handshake needs.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        self.input.extend_from_slice(bytes);
        match self.input.len() > WAITING_BYTES_MAX {
            true => Err(rustls::Error::PeerSentOversizedRecord.into()),
            false => Ok(()),
        }
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Goes on as far as what has come allows, and says whether the handshake is over.
    /// There may be something to send in any case.
    ///
    /// # Errors
    /// It has failed.
    pub fn advance(&mut self, noted: &mut Notes) -> Result<bool, HandshakeError> {
        let mut start = 0;
        let next = loop {
            // What belongs to the layer above is ours to open.
            let end = match self.session.state().is_handshaking() {
                true => self.input.len(),
                false => start,
            };
            let input = &mut self.input[start..end];
            let Step { consumed, next } =
                (self.session).step(input, &mut self.output, &mut self.data);
            start += consumed;
            // Before another handshake of this thread has its turn.
            noted.add(notes::take());
            noted.agreed(self.session.state());
            match next {
                Ok(Next::Again) => {}
                Ok(next) => break next,
                Err(error) => return Err(self.fail(error, noted)),
            }
        };
        self.input.drain(..start);
        match next {
            Next::Traffic => Ok(!self.session.state().is_handshaking()),
            Next::Closed => Err(HandshakeError::Closed),
            Next::Again | Next::Blocked => Ok(false),
        }
    }

    /// Leaves the alert that tells why as what is to be sent.
    fn fail(&mut self, error: rustls::Error, noted: &mut Notes) -> HandshakeError {
        let before = self.output.len();
        // And nothing else: of messages that are not whole rustls keeps where they lie in
        // an input that it must not look for again.
        while self.session.state().wants_write()
            && (self.session)
                .step(&mut [], &mut self.output, &mut self.data)
                .next
                .is_ok()
        {}
        if let Some(own) = alert(&error, noted, self.session.state().protocol_version()) {
            self.output = own.to_vec();
        } else if self.output.len() == before {
            let version = self.session.state().protocol_version();
            let missing = missing_alert(&error, version).unwrap_or_default();
            self.output.extend_from_slice(missing);
        }
        match (error, noted.failure.take()) {
            (rustls::Error::InvalidCertificate(_), Some(failure)) => {
                HandshakeError::Verify(failure)
            }
            (error, _) => error.into(),
        }
    }

    /// The secrets, what is left of rustls, and what came behind the handshake.
    ///
    /// # Errors
    /// The handshake is not over.
    pub fn into_keys(self) -> Result<(ExtractedSecrets, Keys, Rest), rustls::Error> {
        let (secrets, keys) = self.session.into_keys()?;
        let rest = Rest {
            records: self.input,
            data: self.data,
        };
        Ok((secrets, keys, rest))
    }
}

/// Either side's state machine of rustls.
pub(super) trait Session {
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
pub(super) struct Step {
    /// Bytes at the front of the input that are done with.
    consumed: usize,
    next: Result<Next, rustls::Error>,
}

pub(super) enum Next {
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

/// BoringSSL's alert where rustls has none: for messages that are too long or mixed with
/// others, and where there is no signature that the client would take. With TLS 1.3 it
/// would have to be sealed, which only rustls can: there is none then.
fn missing_alert(error: &rustls::Error, version: Option<ProtocolVersion>) -> Option<&'static [u8]> {
    match error {
        _ if version == Some(ProtocolVersion::TLSv1_3) => None,
        rustls::Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            Some(&ILLEGAL_PARAMETER)
        }
        rustls::Error::PeerMisbehaved(_) => Some(&UNEXPECTED_MESSAGE),
        // Who tells us of a failure is not told of it.
        rustls::Error::AlertReceived(_) => None,
        _ => Some(&HANDSHAKE_FAILURE),
    }
}
