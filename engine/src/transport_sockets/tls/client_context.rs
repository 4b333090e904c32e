//! The TLS of a cluster, compiled.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ringway_config::context::Cx;
use ringway_config::tls::UpstreamTlsContext;
use rustls::ClientConfig;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::asked::Asked;
use super::certificate::{Certificate, Listed};
use super::session_facts::SessionFacts;
use super::shared_context::Context;
use super::verifier::{HostVerifier, Verifier};
use super::x509_store::Purpose;
use super::{key_log, parameters};

/// What rustls needs to begin connections, and what is to be told of it.
#[derive(Debug)]
pub struct ClientContext {
    /// For each connection.
    pub config: Arc<ClientConfig>,
    /// Our certificate, if we have one.
    pub certificate: Option<Certificate>,
    /// The name that every host is asked for.
    sni: Option<ServerName<'static>>,
    /// A host with a name is asked for that one.
    auto_host_sni: bool,
    verifier: Arc<Verifier>,
    /// What is told of sessions.
    pub(super) sessions: SessionFacts,
}

impl ClientContext {
    /// Reads certificates and keys; everything that is wrong is reported.
    pub fn compile(context: &UpstreamTlsContext, cx: &mut Cx<'_>) -> Option<Self> {
        let common = &context.common;
        let provider = parameters::provider(&common.parameters);
        let schemes = parameters::signature_schemes(&common.parameters);
        let certificate = match common.certificates.first() {
            Some(config) => Certificate::compile(config, &provider, &schemes, cx).map(Some),
            None => Some(None),
        };
        let verifier = Verifier::compile(
            common.validation.as_ref(),
            &common.parameters,
            Purpose::Server,
            cx,
        );
        let key_log = key_log::open(common.key_log.as_ref(), cx);
        let sni = cx.at(&context.path, |cx| sni(&context.sni, cx));
        let (certificate, verifier, sni) = (certificate?, verifier?, sni?);
        let verifier = Arc::new(verifier.require_sni(context.auto_sni_san_validation));

        let versions = parameters::versions(&common.parameters);
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .map_err(|error| {
                let reason = format!("no handshake could succeed: {error}");
                cx.at(&context.path, |cx| cx.error(reason));
            })
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(HostVerifier::of(&verifier)));
        let mut config = match &certificate {
            Some(own) => {
                let own = SingleCertAndKey::from(own.certified.as_ref().clone());
                builder.with_client_cert_resolver(Arc::new(own))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = common.alpn.iter().map(|name| name.to_vec()).collect();
        config.key_log = key_log?;
        config.resumption = match context.max_session_keys {
            0 => Resumption::disabled(),
            keys => Resumption::in_memory_sessions((keys as usize).min(SESSIONS_MAX))
                .tls12_resumption(Tls12Resumption::SessionIdOrTickets),
        };
        // Records are opened and sealed without rustls.
        config.enable_secret_extraction = true;
        Some(Self {
            config: Arc::new(config),
            certificate,
            sni,
            auto_host_sni: context.auto_host_sni,
            verifier,
            sessions: SessionFacts::default(),
        })
    }

    /// The name to ask a host for: the one that requests ask for, if they do. `hostname`
    /// is what the host is called, if it is called anything, `address` where it is: one
    /// that stands for a name that is not sent, and keeps the sessions of hosts apart.
    #[must_use]
    pub fn server_name(
        &self,
        asked: Option<&Asked>,
        hostname: &str,
        address: Option<IpAddr>,
    ) -> ServerName<'static> {
        if let Some(name) = asked.and_then(Asked::sni) {
            return name.clone();
        }
        let own = (self.auto_host_sni && !hostname.is_empty())
            .then(|| ServerName::try_from(hostname.to_owned()).ok())
            .flatten();
        own.or_else(|| self.sni.clone()).unwrap_or_else(|| {
            let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            ServerName::IpAddress(address.unwrap_or(nowhere).into())
        })
    }

    /// The configuration for connections to hosts whose certificate must have one of
    /// these names, if there are any, and that are offered these protocols, if there are
    /// any.
    pub(super) fn config_for(&self, names: &[Box<str>], alpn: &[Box<[u8]>]) -> Arc<ClientConfig> {
        let mut config = self.config.as_ref().clone();
        let verifier = HostVerifier::of(&self.verifier).requiring(names);
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        if !alpn.is_empty() {
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        }
        Arc::new(config)
    }

    /// The certificates that it trusts.
    pub fn trusted(&self) -> impl Iterator<Item = Listed> {
        self.verifier.trusted()
    }

    /// Its own certificate, if it has one.
    pub fn own(&self) -> impl Iterator<Item = &Listed> {
        self.certificate.iter().map(|own| &own.listed)
    }

    /// When the first of all of them ends, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        let own = self.own().map(|own| own.facts.not_after);
        own.chain(self.verifier.expires()).min()
    }

    /// Whether hosts are verified.
    #[must_use]
    pub fn verifies_hosts(&self) -> bool {
        self.verifier.asks()
    }
}

impl Context for ClientContext {
    const SIDE: &'static str = "client";

    fn ends(&self) -> Vec<(&str, i64)> {
        let own = self.certificate.iter();
        let own = own.map(|own| (&*own.name, own.listed.facts.not_after));
        own.chain(self.verifier.named_end()).collect()
    }
}

/// Sessions that a cluster keeps, whatever it asks for: each holds a chain of
/// certificates.
const SESSIONS_MAX: usize = 100_000;

/// The name of the configuration. `None` is an error, `Some(None)` is no name.
fn sni(name: &str, cx: &mut Cx<'_>) -> Option<Option<ServerName<'static>>> {
    if name.is_empty() {
        return Some(None);
    }
    match ServerName::try_from(name.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Some(Some(name)),
        Ok(_) => {
            cx.warn_at(
                "sni",
                "an address is no name and is not sent (RFC 6066 section 3)",
            );
            Some(None)
        }
        Err(_) => {
            let reason = format!("{name:?} is not a name of DNS; others are not supported yet");
            cx.error_at("sni", reason);
            None
        }
    }
}
