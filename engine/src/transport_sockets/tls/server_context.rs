//! The TLS of a filter chain, compiled.

use std::sync::Arc;

use aws_lc_rs::digest;
use ringway_codecs::client_hello::ClientHello;
use ringway_config::context::Cx;
use ringway_config::tls::{DownstreamTlsContext, OcspStaplePolicy, SessionTickets, TlsVersion};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache};

use super::certificate::{Certificate, Listed};
use super::certificate_selector::CertificateSelector;
use super::session_ticket::{KEY_BYTES, TicketKeys};
use super::shared_context::Context;
use super::verifier::Verifier;
use super::x509_store::Purpose;
use super::{key_log, parameters};
use crate::data_source;

/// What rustls needs to answer clients, and what is to be told of it.
#[derive(Debug)]
pub struct ServerContext {
    /// For each connection.
    pub config: Arc<ServerConfig>,
    /// Our certificates.
    pub certificates: Vec<Certificate>,
    others: OtherClients,
    verifier: Arc<Verifier>,
}

/// Configurations for clients that are told apart by what they ask for.
#[derive(Debug)]
struct OtherClients {
    /// They name protocols, none of which is spoken here: as in Envoy nothing is agreed
    /// on then. rustls would turn them away.
    no_protocol: Arc<ServerConfig>,
    /// They ask for a response of OCSP.
    stapled: Arc<ServerConfig>,
    /// Both.
    stapled_no_protocol: Arc<ServerConfig>,
}

/// Sessions of TLS 1.2 that are remembered for clients without tickets.
const SESSIONS_MAX: usize = 1024;

impl ServerContext {
    /// Reads certificates and keys; everything that is wrong is reported.
    pub fn compile(context: &DownstreamTlsContext, cx: &mut Cx<'_>) -> Option<Self> {
        let common = &context.common;
        let provider = parameters::provider(&common.parameters);
        let schemes = parameters::signature_schemes(&common.parameters);
        let certificates: Vec<_> = (common.certificates.iter())
            .map(|config| {
                let certificate = Certificate::compile(config, &provider, &schemes, cx)?;
                if !has_name(&certificate) {
                    cx.at(&config.chain.path, |cx| {
                        cx.error("the certificate has neither a common name nor alternative names");
                    });
                    return None;
                }
                Some(certificate)
            })
            .collect();
        let certificates: Option<Vec<_>> = certificates.into_iter().collect();
        let verifier = Verifier::compile(
            common.validation.as_ref(),
            &common.parameters,
            Purpose::Client,
            cx,
        );
        let key_log = key_log::open(common.key_log.as_ref(), cx);
        let keys = ticket_keys(&context.session_tickets, cx);
        let (certificates, verifier) = (certificates?, verifier?);
        let verifier = Arc::new(verifier.require_certificate(context.require_client_certificate));

        let versions = parameters::versions(&common.parameters);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .map_err(|error| {
                let reason = format!("no handshake could succeed: {error}");
                cx.at(&context.path, |cx| cx.error(reason));
            })
            .ok()?
            .with_client_cert_verifier(Arc::clone(&verifier) as _);
        check_staples(context, &certificates, cx)?;
        let selector = Arc::new(CertificateSelector::new(
            &certificates,
            context.full_scan_certs_on_sni_mismatch,
            context.ocsp_staple_policy,
        ));
        let mut config = builder.with_cert_resolver(Arc::clone(&selector) as _);
        config.alpn_protocols = common.alpn.iter().map(|name| name.to_vec()).collect();
        config.key_log = key_log?;
        // TLS 1.3 lets the client choose, in BoringSSL too; rustls has one switch for
        // both.
        config.ignore_client_order =
            common.parameters.version_max == TlsVersion::Tls12 && !context.prefer_client_ciphers;
        config.session_storage = match context.session_cache {
            true => ServerSessionMemoryCache::new(SESSIONS_MAX),
            false => Arc::new(NoServerSessionStorage {}),
        };
        // Records are opened and sealed without rustls.
        config.enable_secret_extraction = true;
        let lifetime = context
            .session_timeout
            .map(|timeout| u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX));
        let bound_to = session_context(&certificates, &verifier);
        match keys? {
            Keys::None => config.send_tls13_tickets = 0,
            Keys::Generated => {
                config.ticketer = ticketer(TicketKeys::generate(bound_to, lifetime), cx)?;
            }
            Keys::Given(keys) => {
                config.ticketer = ticketer(TicketKeys::new(&keys, bound_to, lifetime), cx)?;
            }
        }
        Some(Self {
            others: OtherClients::new(&config, &selector),
            config: Arc::new(config),
            certificates,
            verifier,
        })
    }

    /// The configuration for a client that begins like this, or with no ClientHello.
    pub(super) fn config_for(&self, hello: Option<&ClientHello>) -> &Arc<ServerConfig> {
        let Some(hello) = hello else {
            return &self.config;
        };
        let offered = &hello.protocols;
        let own = &self.config.alpn_protocols;
        let no_protocol = !offered.is_empty()
            && !own.is_empty()
            && !own
                .iter()
                .any(|own| offered.iter().any(|one| **one == **own));
        match (no_protocol, hello.asks_for_staple) {
            (false, false) => &self.config,
            (true, false) => &self.others.no_protocol,
            (false, true) => &self.others.stapled,
            (true, true) => &self.others.stapled_no_protocol,
        }
    }

    /// The certificates that it trusts.
    pub fn trusted(&self) -> impl Iterator<Item = Listed> {
        self.verifier.trusted()
    }

    /// Its own certificates.
    pub fn own(&self) -> impl Iterator<Item = &Listed> {
        self.certificates.iter().map(|own| &own.listed)
    }

    /// When the first of all of them ends, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        let own = self.own().map(|own| own.facts.not_after);
        own.chain(self.verifier.expires()).min()
    }

    /// Whether clients are asked for a certificate that is then verified.
    #[must_use]
    pub fn verifies_clients(&self) -> bool {
        self.verifier.asks()
    }
}

impl Context for ServerContext {
    const SIDE: &'static str = "server";

    fn ends(&self) -> Vec<(&str, i64)> {
        let own = self.certificates.iter();
        let own = own.map(|own| (&*own.name, own.listed.facts.not_after));
        own.chain(self.verifier.named_end()).collect()
    }
}

impl OtherClients {
    fn new(config: &ServerConfig, selector: &CertificateSelector) -> Self {
        let mut stapled = config.clone();
        stapled.cert_resolver = Arc::new(selector.asked_for_staple());
        let without_protocols = |config: &ServerConfig| {
            let mut config = config.clone();
            config.alpn_protocols.clear();
            Arc::new(config)
        };
        Self {
            no_protocol: without_protocols(config),
            stapled_no_protocol: without_protocols(&stapled),
            stapled: Arc::new(stapled),
        }
    }
}

/// Whether there are the responses of OCSP that have to be there.
fn check_staples(
    context: &DownstreamTlsContext,
    certificates: &[Certificate],
    cx: &mut Cx<'_>,
) -> Option<()> {
    let mut complete = Some(());
    for (certificate, config) in certificates.iter().zip(&context.common.certificates) {
        let reason = match certificate.listed.ocsp {
            Some(_) => continue,
            None if certificate.must_staple => "is needed: the certificate says that it has one",
            None if context.ocsp_staple_policy == OcspStaplePolicy::MustStaple => {
                "is needed: the ocsp_staple_policy is MUST_STAPLE"
            }
            None => continue,
        };
        cx.at(&config.path, |cx| cx.error_at("ocsp_staple", reason));
        complete = None;
    }
    complete
}

/// A server whose certificate is nobody's is a mistake, and Envoy takes none.
fn has_name(certificate: &Certificate) -> bool {
    let facts = &certificate.listed.facts;
    facts.common_name.is_some()
        || !facts.dns_sans.is_empty()
        || !facts.uri_sans.is_empty()
        || !facts.ip_sans.is_empty()
        || !facts.email_sans.is_empty()
        || !facts.other_name_sans.is_empty()
}

enum Keys {
    None,
    Generated,
    Given(Vec<[u8; KEY_BYTES]>),
}

fn ticket_keys(tickets: &SessionTickets, cx: &mut Cx<'_>) -> Option<Keys> {
    let sources = match tickets {
        SessionTickets::Off => return Some(Keys::None),
        SessionTickets::Generated => return Some(Keys::Generated),
        // Not known yet; nobody gets such a context.
        SessionTickets::Sds(_) => return Some(Keys::None),
        SessionTickets::Keys(sources) => sources,
    };
    let keys: Vec<_> = (sources.iter())
        .map(|source| {
            cx.at(&source.path, |cx| {
                let bytes = data_source::read(&source.message, cx)?;
                let length = bytes.len();
                let key = <[u8; KEY_BYTES]>::try_from(&*bytes);
                if key.is_err() {
                    cx.error(format!("a key has {KEY_BYTES} bytes, not {length}"));
                }
                key.ok()
            })
        })
        .collect();
    keys.into_iter().collect::<Option<_>>().map(Keys::Given)
}

fn ticketer(keys: Option<TicketKeys>, cx: &mut Cx<'_>) -> Option<Arc<dyn ProducesTickets>> {
    match keys {
        Some(keys) => Some(Arc::new(keys)),
        None => {
            cx.error("the keys of session tickets cannot be made");
            None
        }
    }
}

/// What sessions of this context have in common: who we are, and what was asked of the
/// client. Keys may be those of other contexts, sessions may not.
fn session_context(certificates: &[Certificate], verifier: &Verifier) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut add = |bytes: &[u8]| {
        hash.update(&bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    for certificate in certificates {
        let facts = &certificate.listed.facts;
        add(facts.subject.as_bytes());
        for name in facts
            .dns_sans
            .iter()
            .chain(&facts.uri_sans)
            .chain(&facts.ip_sans)
        {
            add(name.as_bytes());
        }
    }
    add(&verifier.identity());
    let mut bound_to = [0; 32];
    bound_to.copy_from_slice(hash.finish().as_ref());
    bound_to
}
