//! Our certificates (`TlsCertificate`).

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;

use crate::context::Cx;
use crate::data_source::DataSource;

/// A certificate and what proves that it is ours.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsCertificate {
    /// The certificate and those between it and a root, PEM.
    pub chain: DataSource,
    /// Its key, PEM.
    pub key: DataSource,
    /// The password of the key.
    pub password: Option<DataSource>,
    /// A response of OCSP, DER, for clients that ask for one.
    pub ocsp_staple: Option<DataSource>,
    /// The name of the secret that it is, or nothing.
    pub secret: Box<str>,
    /// The path of the message.
    pub path: String,
}

impl TlsCertificate {
    /// Lowers a certificate that the bootstrap has, perhaps as a secret of this name.
    pub(super) fn lower_fixed(
        proto: &pb::TlsCertificate,
        secret: &str,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        warn_of_directory(proto.watched_directory.is_some(), cx);
        Self::lower(proto, secret, cx)
    }

    pub(super) fn lower(proto: &pb::TlsCertificate, secret: &str, cx: &mut Cx<'_>) -> Option<Self> {
        let chain = DataSource::lower(proto.certificate_chain.as_ref(), "certificate_chain", cx);
        let key = DataSource::lower(proto.private_key.as_ref(), "private_key", cx);
        let password = DataSource::lower(proto.password.as_ref(), "password", cx);
        let ocsp_staple = DataSource::lower(proto.ocsp_staple.as_ref(), "ocsp_staple", cx);
        let text = ocsp_staple.as_ref().map(|source| &source.message.specifier);
        if let Some(Some(Specifier::InlineString(_))) = text {
            cx.error_at(
                "ocsp_staple",
                "is no text, so it cannot be an inline_string",
            );
            return None;
        }
        match (chain, key) {
            (Some(chain), Some(key)) => Some(Self {
                chain,
                key,
                password,
                ocsp_staple,
                secret: secret.into(),
                path: cx.path().to_owned(),
            }),
            (None, _) => {
                cx.error_at("certificate_chain", "a certificate needs its chain");
                None
            }
            (Some(_), None) => {
                cx.error_at("private_key", "a certificate needs its key");
                None
            }
        }
    }
}

/// Whatever is moved into a directory, what the bootstrap itself says is read but
/// once.
pub(super) fn warn_of_directory(is_watched: bool, cx: &mut Cx<'_>) {
    if is_watched {
        cx.warn_at(
            "watched_directory",
            "has no effect here: only secrets that come by SDS are read again",
        );
    }
}
