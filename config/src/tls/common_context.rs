//! What both sides say of TLS (`CommonTlsContext`).

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::ValidationContextType;

use super::certificate::TlsCertificate;
use super::parameters::TlsParameters;
use super::secrets::Secrets;
use super::validation::CertificateValidation;
use crate::context::Cx;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// Versions and ciphers, who we are, whom we trust.
#[derive(Debug)]
pub struct CommonTlsContext {
    /// Versions, ciphers, groups and signatures.
    pub parameters: TlsParameters,
    /// Our certificates, in the order of the file; a client has at most one.
    pub certificates: Vec<TlsCertificate>,
    /// What is asked of the peer's certificate; without it, nothing.
    pub validation: Option<CertificateValidation>,
    /// Protocols of the layer above, the preferred one first; none is not
    /// negotiated.
    pub alpn: Vec<Box<[u8]>>,
    /// The file that secrets of sessions are written to.
    pub key_log: Option<KeyLog>,
}

/// `TlsKeyLog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLog {
    /// The file, in the format of NSS.
    pub file: String,
    /// The path of the field that names it.
    pub path: String,
}

impl CommonTlsContext {
    pub(super) fn lower(
        proto: &pb::CommonTlsContext,
        side: Side,
        secrets: &Secrets<'_>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let default = pb::TlsParameters::default();
        let parameters = proto.tls_params.as_ref().unwrap_or(&default);
        let parameters = cx.field("tls_params", |cx| {
            TlsParameters::lower(parameters, side, cx)
        });
        let certificates = certificates(proto, side, secrets, cx);
        let validation = validation(proto, secrets, cx);
        let alpn = alpn(&proto.alpn_protocols, cx);
        let key_log = proto.key_log.as_ref().map(|log| KeyLog {
            file: log.path.clone(),
            path: cx.field("key_log", |cx| cx.field("path", |cx| cx.path().to_owned())),
        });
        Some(Self {
            parameters: parameters?,
            certificates: certificates?,
            validation: validation?,
            alpn: alpn?,
            key_log,
        })
    }
}

fn certificates(
    proto: &pb::CommonTlsContext,
    side: Side,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Option<Vec<TlsCertificate>> {
    let named = &proto.tls_certificate_sds_secret_configs;
    if side == Side::Client && proto.tls_certificates.len() + named.len() > 1 {
        cx.error("a client has one certificate at most");
        return None;
    }
    let mut certificates = Vec::with_capacity(proto.tls_certificates.len());
    for (i, certificate) in proto.tls_certificates.iter().enumerate() {
        certificates.push(cx.index("tls_certificates", i, |cx| {
            TlsCertificate::lower(certificate, cx)
        }));
    }
    if !proto.tls_certificates.is_empty() {
        if !named.is_empty() {
            cx.warn_at(
                "tls_certificate_sds_secret_configs",
                "has no effect beside tls_certificates",
            );
        }
        return certificates.into_iter().collect();
    }
    for (i, named) in named.iter().enumerate() {
        certificates.push(cx.index("tls_certificate_sds_secret_configs", i, |cx| {
            let (certificate, path) = secrets.certificate(named, cx)?;
            cx.at(path, |cx| TlsCertificate::lower(certificate, cx))
        }));
    }
    certificates.into_iter().collect()
}

/// `None` is an error, `Some(None)` a context that validates nothing.
fn validation(
    proto: &pb::CommonTlsContext,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Option<Option<CertificateValidation>> {
    let validation = match &proto.validation_context_type {
        None => return Some(None),
        Some(ValidationContextType::ValidationContext(own)) => cx
            .field("validation_context", |cx| {
                CertificateValidation::lower(own, cx)
            }),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(named)) => {
            let (message, path) = cx.field("validation_context_sds_secret_config", |cx| {
                secrets.validation(named, cx)
            })?;
            cx.at(path, |cx| CertificateValidation::lower(message, cx))
        }
        // The support table refuses the others: Envoy implements them as little.
        Some(_) => return None,
    };
    validation.map(Some)
}

/// The protocols of a context, of which one string may name several.
fn alpn(protos: &[String], cx: &mut Cx<'_>) -> Option<Vec<Box<[u8]>>> {
    let names = protos.iter().enumerate();
    let names = names.flat_map(|(i, names)| names.split(',').map(move |name| (i, name)));
    list(names.filter(|(_, name)| !name.is_empty()), cx)
}

/// The protocols of a field `alpn_protocols` of which each string names one.
pub(crate) fn protocols(protos: &[String], cx: &mut Cx<'_>) -> Option<Vec<Box<[u8]>>> {
    list(protos.iter().map(String::as_str).enumerate(), cx)
}

fn list<'p>(
    names: impl Iterator<Item = (usize, &'p str)>,
    cx: &mut Cx<'_>,
) -> Option<Vec<Box<[u8]>>> {
    let mut protocols: Vec<Box<[u8]>> = Vec::new();
    let mut bytes = 0;
    for (i, name) in names {
        bytes += 1 + name.len();
        let allowed = 1..=PROTOCOL_BYTES_MAX;
        if !allowed.contains(&name.len()) || bytes > PROTOCOLS_BYTES_MAX {
            let reason = format!(
                "a protocol has 1 to {PROTOCOL_BYTES_MAX} bytes, all together at most \
                 {PROTOCOLS_BYTES_MAX}"
            );
            cx.index("alpn_protocols", i, |cx| cx.error(reason));
            return None;
        }
        protocols.push(name.as_bytes().into());
    }
    Some(protocols)
}

/// RFC 7301 section 3.1: a length of one byte before each, of two before all.
const PROTOCOL_BYTES_MAX: usize = 255;
const PROTOCOLS_BYTES_MAX: usize = 65535;
