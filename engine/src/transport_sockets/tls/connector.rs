//! TLS for the control plane, which runs on tokio: the handshake and the records are
//! rustls's, the context is the one that workers use.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ClientContext;
use super::handshake::{Agreed, HandshakeError};
use super::notes::{self, Notes};

/// Makes connections of sockets of tokio.
pub struct Connector {
    context: Arc<ClientContext>,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Connects as `context` says. With `alpn` these protocols are offered, not those
    /// of the context.
    #[must_use]
    pub fn new(context: Arc<ClientContext>, alpn: &[Box<[u8]>]) -> Self {
        let mut config = Arc::clone(&context.config);
        if !alpn.is_empty() {
            let own = Arc::make_mut(&mut config);
            own.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        }
        Self { context, config }
    }

    /// Whether it connects as this context says.
    #[must_use]
    pub fn is_of(&self, context: &Arc<ClientContext>) -> bool {
        Arc::ptr_eq(&self.context, context)
    }

    /// Makes a connection of a socket that is connected to `address`. `hostname` is
    /// what the host is called, or empty.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect<S>(
        &self,
        socket: S,
        hostname: &str,
        address: Option<IpAddr>,
    ) -> Result<(TlsStream<S>, Agreed), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.context.server_name(None, hostname, address);
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut handshake = pin!(connector.connect(name.clone(), socket));
        let mut noted = Notes::default();
        let connected = poll_fn(|cx| {
            let connected = handshake.as_mut().poll(cx);
            // Before another handshake of this thread has its turn.
            noted.add(notes::take());
            connected
        })
        .await;
        let stream = connected.map_err(|error| failure(error, &mut noted))?;
        let state = stream.get_ref().1;
        let agreed = Agreed::new(state, &mut noted);
        let mut agreed = agreed.ok_or(rustls::Error::HandshakeNotComplete)?;
        self.context.sessions.complete(&name, &mut agreed);
        Ok((stream, agreed))
    }
}

/// What an error of tokio's side means.
fn failure(error: io::Error, noted: &mut Notes) -> HandshakeError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return HandshakeError::Closed;
    }
    match error.downcast::<rustls::Error>() {
        Ok(error) => match (error, noted.failure.take()) {
            (rustls::Error::InvalidCertificate(_), Some(failure)) => {
                HandshakeError::Verify(failure)
            }
            (error, _) => HandshakeError::Tls(error),
        },
        Err(error) => HandshakeError::Io(error),
    }
}
