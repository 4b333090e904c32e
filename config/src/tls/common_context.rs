//! What both sides say of TLS (`CommonTlsContext`).

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::common_tls_context::ValidationContextType;

use super::certificate::TlsCertificate;
use super::parameters::TlsParameters;
use super::sds::{KnownSecret, SdsSecret, SecretKind, combined};
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
#[derive(Clone, Debug)]
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
    /// What files hold of it. It is not in the fields above before it is known.
    pub sds: SdsParts,
}

/// Parts of a context that become known while the proxy runs.
#[derive(Clone, Debug, Default)]
pub struct SdsParts {
    /// All certificates, if a file holds one of them.
    certificates: Vec<CertificatePlace>,
    validation: Option<SdsValidation>,
}

#[derive(Clone, Debug)]
enum CertificatePlace {
    /// The bootstrap has it.
    Fixed(Box<TlsCertificate>),
    Sds(SdsSecret),
}

#[derive(Clone, Debug)]
struct SdsValidation {
    secret: SdsSecret,
    /// What the secret adds to.
    default: Option<pb::CertificateValidationContext>,
}

impl SdsParts {
    /// The secrets that are needed.
    pub fn secrets(&self) -> impl Iterator<Item = &SdsSecret> {
        let certificates = self.certificates.iter().filter_map(|place| match place {
            CertificatePlace::Fixed(_) => None,
            CertificatePlace::Sds(secret) => Some(secret),
        });
        certificates.chain(
            self.validation
                .as_ref()
                .map(|validation| &validation.secret),
        )
    }

    /// Whether certificates are among them.
    pub(super) fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether it is one of them whom we trust.
    pub(super) fn has_validation(&self) -> bool {
        self.validation.is_some()
    }
}

/// The secrets that are known, for contexts that need some.
pub(super) type Known<'k> = &'k dyn Fn(&SdsSecret) -> Option<&'k KnownSecret>;

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
        let mut sds = SdsParts::default();
        let certificates = certificates(proto, side, secrets, &mut sds, cx);
        let validation = validation(proto, secrets, &mut sds, cx);
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
            sds,
        })
    }

    /// The context with its secrets; `Some(None)` while one is missing that it cannot
    /// do without. As in Envoy, one of several certificates is enough.
    pub(super) fn with_secrets(&self, known: Known<'_>, cx: &mut Cx<'_>) -> Option<Option<Self>> {
        let mut complete = Self {
            sds: SdsParts::default(),
            ..self.clone()
        };
        for place in &self.sds.certificates {
            complete.certificates.extend(match place {
                CertificatePlace::Fixed(certificate) => Some((**certificate).clone()),
                CertificatePlace::Sds(secret) => match known(secret) {
                    Some(secret) => Some(secret.certificate(cx)?),
                    None => None,
                },
            });
        }
        if self.sds.has_certificates() && complete.certificates.is_empty() {
            return Some(None);
        }
        if let Some(validation) = &self.sds.validation {
            let Some(secret) = known(&validation.secret) else {
                return Some(None);
            };
            let validation = secret.validation(validation.default.as_ref(), cx)?;
            complete.validation = Some(validation);
        }
        Some(Some(complete))
    }
}

fn certificates(
    proto: &pb::CommonTlsContext,
    side: Side,
    secrets: &Secrets<'_>,
    sds: &mut SdsParts,
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
            TlsCertificate::lower_fixed(certificate, "", cx)
        }));
    }
    if !proto.tls_certificates.is_empty() {
        // A client that has both has more than one.
        if !named.is_empty() {
            cx.error_at(
                "tls_certificate_sds_secret_configs",
                "a server has either these or tls_certificates",
            );
            return None;
        }
        return certificates.into_iter().collect();
    }
    let mut places = Vec::with_capacity(named.len());
    for (i, named) in named.iter().enumerate() {
        places.push(cx.index("tls_certificate_sds_secret_configs", i, |cx| {
            if let Some(secret) = secrets.sds(named, SecretKind::Certificate, cx)? {
                return Some(CertificatePlace::Sds(secret));
            }
            let (certificate, path) = secrets.certificate(named, cx)?;
            let name = &named.name;
            cx.at(path, |cx| {
                TlsCertificate::lower_fixed(certificate, name, cx)
            })
            .map(|certificate| CertificatePlace::Fixed(Box::new(certificate)))
        }));
    }
    let places: Vec<_> = places.into_iter().collect::<Option<_>>()?;
    let fixed = places.iter().map(|place| match place {
        CertificatePlace::Fixed(certificate) => Some((**certificate).clone()),
        CertificatePlace::Sds(_) => None,
    });
    match fixed.collect() {
        Some(fixed) => Some(fixed),
        None => {
            sds.certificates = places;
            Some(Vec::new())
        }
    }
}

/// `None` is an error, `Some(None)` a context that validates nothing.
fn validation(
    proto: &pb::CommonTlsContext,
    secrets: &Secrets<'_>,
    sds: &mut SdsParts,
    cx: &mut Cx<'_>,
) -> Option<Option<CertificateValidation>> {
    let validation = match &proto.validation_context_type {
        None => return Some(None),
        Some(ValidationContextType::ValidationContext(own)) => cx
            .field("validation_context", |cx| {
                CertificateValidation::lower_fixed(own, "", cx)
            }),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(named)) => {
            return named_validation(named, None, secrets, sds, cx);
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            // The rules refuse the absence of either.
            let named = combined.validation_context_sds_secret_config.as_ref()?;
            return cx.field("combined_validation_context", |cx| {
                let default = combined.default_validation_context.as_ref();
                named_validation(named, default, secrets, sds, cx)
            });
        }
        // The support table refuses the others: Envoy implements them as little.
        Some(_) => return None,
    };
    validation.map(Some)
}

/// A secret, which adds to `default` where there is one.
fn named_validation(
    named: &pb::SdsSecretConfig,
    default: Option<&pb::CertificateValidationContext>,
    secrets: &Secrets<'_>,
    sds: &mut SdsParts,
    cx: &mut Cx<'_>,
) -> Option<Option<CertificateValidation>> {
    let found = cx.field("validation_context_sds_secret_config", |cx| {
        if let Some(secret) = secrets.sds(named, SecretKind::Validation, cx)? {
            let default = default.cloned();
            sds.validation = Some(SdsValidation { secret, default });
            return Some(None);
        }
        secrets.validation(named, cx).map(Some)
    });
    let Some((message, path)) = found? else {
        return Some(None);
    };
    let validation = cx.at(path, |cx| {
        let merged = combined(default, message, cx)?;
        CertificateValidation::lower_fixed(&merged, &named.name, cx)
    });
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
