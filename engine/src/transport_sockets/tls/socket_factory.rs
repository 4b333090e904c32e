//! The TLS side of a listener's chain, or of a cluster, on one worker: makes
//! connections of sockets, and counts them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::certificate_selector::Staple;
use super::handshake::{self, Agreed, HandshakeError};
use super::notes::Notes;
use super::stream::TlsStream;
use super::{Asked, ClientContext, ServerContext, SharedContext, VerifyFailure, names};
use crate::reactor::Stream;
use crate::stats::Store;
use crate::stats::ssl::{AgreedStats, SslStats};
use crate::stream_info::{CertificateFacts, TlsInfo};

/// A connection whose handshake has succeeded.
pub struct Secured {
    /// The connection.
    pub stream: TlsStream,
    /// What was agreed on.
    pub info: Arc<TlsInfo>,
}

/// What handshakes of one side count.
pub struct HandshakeCounts {
    stats: SslStats,
    agreed: AgreedStats,
}

impl HandshakeCounts {
    /// Counters of a listener's or a cluster's connections, whose prefix this is.
    #[must_use]
    pub fn new(store: &Store, prefix: &str) -> Self {
        let prefix = format!("{prefix}ssl.");
        Self {
            stats: SslStats::new(store, &prefix),
            agreed: AgreedStats::new(store, &prefix),
        }
    }

    /// Counts how a handshake ended.
    pub fn note(&self, outcome: Result<&Agreed, &HandshakeError>) {
        match outcome {
            Ok(agreed) => self.succeeded(agreed),
            Err(error) => self.failed(error),
        }
    }

    fn stapled(&self, staple: Staple) {
        self.stats.ocsp_staple_requests.inc();
        match staple {
            Staple::Sent => self.stats.ocsp_staple_responses.inc(),
            Staple::Omitted => self.stats.ocsp_staple_omitted.inc(),
            Staple::Failed => self.stats.ocsp_staple_failed.inc(),
        }
    }

    fn succeeded(&self, agreed: &Agreed) {
        self.stats.handshake.inc();
        if let Some(failure) = &agreed.untrusted {
            self.untrusted(failure);
        }
        if agreed.resumed {
            self.stats.session_reused.inc();
        }
        if agreed.peer_certificates.is_empty() {
            self.stats.no_certificate.inc();
        }
        let cipher = names::cipher(agreed.suite.suite());
        self.agreed.record("ciphers", cipher);
        (self.agreed).record("versions", names::version(agreed.version));
        if let Some(group) = agreed.group {
            self.agreed.record("curves", names::group(group));
        }
        if let Some(scheme) = agreed.signature {
            self.agreed.record("sigalgs", names::signature(scheme));
        }
    }

    fn failed(&self, error: &HandshakeError) {
        match error {
            HandshakeError::Verify(failure) => self.untrusted(failure),
            HandshakeError::Tls(rustls::Error::NoCertificatesPresented) => {
                self.stats.fail_verify_no_cert.inc();
            }
            HandshakeError::Tls(_)
            | HandshakeError::NoHello(_)
            | HandshakeError::HttpRequest
            | HandshakeError::HttpsProxyRequest => self.stats.connection_error.inc(),
            // Nobody has broken a rule of TLS.
            HandshakeError::Closed | HandshakeError::Io(_) | HandshakeError::NoSecret => {}
        }
    }

    fn untrusted(&self, failure: &VerifyFailure) {
        match failure {
            VerifyFailure::Chain(_) => self.stats.fail_verify_error.inc(),
            VerifyFailure::SubjectAltName(_) | VerifyFailure::Asked { .. } => {
                self.stats.fail_verify_san.inc();
            }
            VerifyFailure::CertificateHash => self.stats.fail_verify_cert_hash.inc(),
            VerifyFailure::NobodyTrusted => {}
        }
    }

    fn ended(
        &self,
        outcome: Result<(TlsStream, Agreed), HandshakeError>,
        asks: bool,
    ) -> Result<Secured, HandshakeError> {
        self.note(outcome.as_ref().map(|(_, agreed)| agreed));
        let (stream, agreed) = outcome?;
        Ok(Secured {
            info: Arc::new(info(&agreed, asks)),
            stream,
        })
    }
}

/// What is told of a connection. `asks`: the peer's certificate is tested.
fn info(agreed: &Agreed, asks: bool) -> TlsInfo {
    let peer = agreed.peer_certificates.iter();
    TlsInfo {
        version: names::version(agreed.version),
        cipher: names::cipher(agreed.suite.suite()),
        group: agreed.group.map(names::group),
        alpn: agreed.alpn.clone(),
        session_reused: agreed.resumed,
        server_name: agreed.server_name.clone(),
        local: agreed.certificate.clone(),
        peer: peer
            .filter_map(|der| CertificateFacts::parse(der))
            .collect(),
        peer_validated: asks && agreed.untrusted.is_none() && !agreed.peer_certificates.is_empty(),
        forwarded: OnceLock::new(),
    }
}

/// Answers clients of a filter chain.
pub struct ServerSocketFactory {
    shared: Arc<SharedContext<ServerContext>>,
    context: RefCell<Option<Arc<ServerContext>>>,
    counts: HandshakeCounts,
}

impl ServerSocketFactory {
    /// One worker's. `prefix` is the listener's.
    #[must_use]
    pub fn new(shared: &Arc<SharedContext<ServerContext>>, store: &Store, prefix: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            context: RefCell::new(shared.get()),
            counts: HandshakeCounts::new(store, prefix),
        }
    }

    /// New connections get another context, if it is this one that has become it.
    pub fn update(&self, of: &Arc<SharedContext<ServerContext>>, context: &Arc<ServerContext>) {
        if self.shared.is(of) {
            *self.context.borrow_mut() = Some(Arc::clone(context));
        }
    }

    /// Whether the secrets of its context are there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.context.borrow().is_some()
    }

    /// What is told of a connection whose handshake comes to no end. As from BoringSSL, one
    /// that has agreed on nothing has the older version and the first certificate.
    #[must_use]
    pub fn unfinished(&self, noted: &Notes) -> Option<Arc<TlsInfo>> {
        let context = self.context.borrow();
        let first = context.as_ref()?.certificates.first();
        let first = first.map(|own| Arc::clone(&own.listed.facts));
        let version = noted.version.unwrap_or(rustls::ProtocolVersion::TLSv1_2);
        Some(Arc::new(TlsInfo {
            version: names::version(version),
            cipher: (noted.suite).map_or("", |suite| names::cipher(suite.suite())),
            group: noted.group.map(names::group),
            alpn: None,
            session_reused: false,
            server_name: None,
            local: noted.certificate.clone().or(first),
            peer: Box::default(),
            peer_validated: false,
            forwarded: OnceLock::new(),
        }))
    }

    /// Makes a connection of an accepted socket. What becomes known on the way is `noted`.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn accept(
        &self,
        socket: Stream,
        noted: &mut Notes,
    ) -> Result<Secured, HandshakeError> {
        let Some(context) = self.context.borrow().clone() else {
            let stats = &self.shared.stats;
            stats.downstream_context_secrets_not_ready.inc();
            if socket.has_unread() {
                // As the kernel says it of what nobody has read.
                socket.reset();
            }
            return Err(HandshakeError::NoSecret);
        };
        let outcome =
            handshake::accept(socket, |hello| Arc::clone(context.config_for(hello)), noted).await;
        if let Some(staple) = noted.staple {
            self.counts.stapled(staple);
        }
        self.counts.ended(outcome, context.verifies_clients())
    }
}

/// Begins connections to the hosts of a cluster.
pub struct ClientSocketFactory {
    shared: Arc<SharedContext<ClientContext>>,
    context: RefCell<Option<Arc<ClientContext>>>,
    counts: HandshakeCounts,
}

impl ClientSocketFactory {
    /// One worker's. `prefix` is the cluster's.
    #[must_use]
    pub fn new(shared: &Arc<SharedContext<ClientContext>>, store: &Store, prefix: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            context: RefCell::new(shared.get()),
            counts: HandshakeCounts::new(store, prefix),
        }
    }

    /// New connections get another context, if it is this one that has become it.
    pub fn update(&self, of: &SharedContext<ClientContext>, context: &Arc<ClientContext>) {
        if self.shared.is(of) {
            *self.context.borrow_mut() = Some(Arc::clone(context));
        }
    }

    /// Makes a connection of a socket that is connected to `address`. `hostname` is
    /// what the host is called, or empty. `alpn` is what the host is offered where
    /// the configuration offers nothing, `asked` what requests ask for.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(
        &self,
        socket: Stream,
        hostname: &str,
        address: Option<IpAddr>,
        alpn: &[&[u8]],
        asked: Option<&Asked>,
    ) -> Result<Secured, HandshakeError> {
        let Some(context) = self.context.borrow().clone() else {
            self.shared.stats.upstream_context_secrets_not_ready.inc();
            return Err(HandshakeError::NoSecret);
        };
        let name = context.server_name(asked, hostname, address);
        let config = match asked {
            Some(asked) => asked.config(&context),
            None => Arc::clone(&context.config),
        };
        let outcome = handshake::connect(socket, &config, name.clone(), alpn).await;
        let outcome = outcome.map(|(stream, mut agreed)| {
            let own = context.certificate.as_ref();
            agreed.certificate = own.map(|own| Arc::clone(&own.listed.facts));
            context.sessions.complete(&name, &mut agreed);
            (stream, agreed)
        });
        self.counts.ended(outcome, context.verifies_hosts())
    }
}
