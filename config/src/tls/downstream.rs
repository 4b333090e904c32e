//! What a filter chain says of TLS (`DownstreamTlsContext`).

use std::time::Duration;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::downstream_tls_context::SessionTicketKeysType;

use super::common_context::{CommonTlsContext, Side};
use super::sds::{KnownSecret, SdsSecret, SecretKind};
use super::secrets::Secrets;
use super::validation::CertificateValidation;
use crate::context::Cx;
use crate::core;
use crate::data_source::DataSource;

/// TLS on the side of the clients.
#[derive(Clone, Debug)]
pub struct DownstreamTlsContext {
    /// What both sides have.
    pub common: CommonTlsContext,
    /// Clients without a certificate are turned away.
    pub require_client_certificate: bool,
    /// How sessions are taken up again without a memory of them.
    pub session_tickets: SessionTickets,
    /// Sessions of TLS 1.2 are remembered for clients that keep no tickets.
    pub session_cache: bool,
    /// For how long a session may be taken up again.
    pub session_timeout: Option<Duration>,
    /// A name that no certificate has gets the one that suits the client's keys
    /// best, instead of the first.
    pub full_scan_certs_on_sni_mismatch: bool,
    /// What becomes of clients that ask for a response of OCSP.
    pub ocsp_staple_policy: OcspStaplePolicy,
    /// The client's order of ciphers decides in TLS 1.2, not ours.
    pub prefer_client_ciphers: bool,
    /// The path of the context, for findings of whoever compiles it.
    pub path: String,
}

/// The keys of session tickets.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionTickets {
    /// Made when the context is.
    Generated,
    /// These, 80 bytes each: the first encrypts, all decrypt.
    Keys(Vec<DataSource>),
    /// Those that a file holds.
    Sds(SdsSecret),
    /// There are no tickets.
    Off,
}

/// What a client gets that asks for a response of OCSP. A certificate may say of
/// itself that it comes with one: that is [`OcspStaplePolicy::MustStaple`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OcspStaplePolicy {
    /// The response, if there is one that still holds.
    #[default]
    Lenient,
    /// The same, but no connection once it holds no more.
    Strict,
    /// There has to be one.
    MustStaple,
}

impl OcspStaplePolicy {
    fn lower(proto: pb::downstream_tls_context::OcspStaplePolicy) -> Self {
        use pb::downstream_tls_context::OcspStaplePolicy as Proto;
        match proto {
            Proto::LenientStapling => Self::Lenient,
            Proto::StrictStapling => Self::Strict,
            Proto::MustStaple => Self::MustStaple,
        }
    }
}

impl DownstreamTlsContext {
    pub(super) fn lower(
        proto: &pb::DownstreamTlsContext,
        secrets: &Secrets<'_>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let default = pb::CommonTlsContext::default();
        let common = proto.common_tls_context.as_ref().unwrap_or(&default);
        let common = cx.field("common_tls_context", |cx| {
            let common = CommonTlsContext::lower(common, Side::Server, secrets, cx)?;
            if common.certificates.is_empty() && !common.sds.has_certificates() {
                cx.error_at("tls_certificates", "a server needs a certificate");
                return None;
            }
            Some(common)
        });
        let session_tickets = session_tickets(proto, secrets, cx);
        let timeout = core::duration(proto.session_timeout, "session_timeout", cx);
        let common = common?;
        let validation = common.validation.as_ref();
        let required = core::bool_or(proto.require_client_certificate, false);
        if required && !common.sds.has_validation() && !verifies(validation) {
            cx.warn_at("require_client_certificate", NOBODY_IS_ASKED);
        }
        if proto.require_client_certificate.is_none() {
            match validation {
                Some(validation) if !validation.is_particular() => cx.warn(
                    "clients without a certificate are let in: a validation context alone does \
                     not ask for one; set require_client_certificate",
                ),
                // Whatever it says: Envoy means to have another default one day.
                Some(_) => cx.warn(UNSAID),
                None if common.sds.has_validation() => cx.warn(UNSAID),
                None => {}
            }
        }
        Some(Self {
            common,
            require_client_certificate: required,
            session_tickets: session_tickets?,
            session_cache: !proto.disable_stateful_session_resumption,
            session_timeout: timeout.map(|timeout| Duration::from_secs(timeout.as_secs())),
            full_scan_certs_on_sni_mismatch: core::bool_or(
                proto.full_scan_certs_on_sni_mismatch,
                false,
            ),
            ocsp_staple_policy: OcspStaplePolicy::lower(proto.ocsp_staple_policy()),
            prefer_client_ciphers: proto.prefer_client_ciphers,
            path: cx.path().to_owned(),
        })
    }

    /// The secrets that files hold.
    pub fn secrets(&self) -> impl Iterator<Item = &SdsSecret> {
        let keys = match &self.session_tickets {
            SessionTickets::Sds(secret) => Some(secret),
            SessionTickets::Generated | SessionTickets::Keys(_) | SessionTickets::Off => None,
        };
        self.common.sds.secrets().chain(keys)
    }

    /// The context with its secrets, as far as `known` has them; `Some(None)` while
    /// one is missing that it cannot do without.
    pub fn with_secrets<'k>(
        &self,
        known: &'k dyn Fn(&SdsSecret) -> Option<&'k KnownSecret>,
        cx: &mut Cx<'_>,
    ) -> Option<Option<Self>> {
        let Some(common) = self.common.with_secrets(known, cx)? else {
            return Some(None);
        };
        if self.require_client_certificate && !verifies(common.validation.as_ref()) {
            // The place is the secret's.
            let path = &self.path;
            cx.warn(format!(
                "{path}.require_client_certificate: {NOBODY_IS_ASKED}"
            ));
        }
        let session_tickets = match &self.session_tickets {
            SessionTickets::Sds(secret) => match known(secret) {
                Some(secret) => SessionTickets::Keys(secret.ticket_keys(cx)?),
                None => return Some(None),
            },
            fixed => fixed.clone(),
        };
        Some(Some(Self {
            common,
            session_tickets,
            ..self.clone()
        }))
    }
}

fn verifies(validation: Option<&CertificateValidation>) -> bool {
    validation.is_some_and(CertificateValidation::verifies)
}

const UNSAID: &str = "whether clients without a certificate are let in depends on what is asked \
    of certificates; set require_client_certificate";

const NOBODY_IS_ASKED: &str = "everybody is let in: without a validation_context with a trusted_ca \
    or a hash nobody is asked for a certificate, in Envoy neither";

fn session_tickets(
    proto: &pb::DownstreamTlsContext,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Option<SessionTickets> {
    Some(match &proto.session_ticket_keys_type {
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => {
            let keys = cx.field("session_ticket_keys", |cx| ticket_keys(keys, cx));
            SessionTickets::Keys(keys)
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(named)) => {
            cx.field("session_ticket_keys_sds_secret_config", |cx| {
                if let Some(secret) = secrets.sds(named, SecretKind::TicketKeys, cx)? {
                    return Some(SessionTickets::Sds(secret));
                }
                let (keys, path) = secrets.ticket_keys(named, cx)?;
                Some(SessionTickets::Keys(
                    cx.at(path, |cx| ticket_keys(keys, cx)),
                ))
            })?
        }
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => SessionTickets::Off,
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) | None => {
            SessionTickets::Generated
        }
    })
}

/// Every key is one, even if it is empty: its length is looked at with the others'.
pub(super) fn ticket_keys(proto: &pb::TlsSessionTicketKeys, cx: &mut Cx<'_>) -> Vec<DataSource> {
    let keys = proto.keys.iter().enumerate();
    keys.map(|(i, key)| DataSource {
        message: key.clone(),
        path: cx.index("keys", i, |cx| cx.path().to_owned()),
    })
    .collect()
}
