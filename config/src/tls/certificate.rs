//! Our certificates (`TlsCertificate`).

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
    /// The path of the message.
    pub path: String,
}

impl TlsCertificate {
    pub(super) fn lower(proto: &pb::TlsCertificate, cx: &mut Cx<'_>) -> Option<Self> {
        let chain = DataSource::lower(proto.certificate_chain.as_ref(), "certificate_chain", cx);
        let key = DataSource::lower(proto.private_key.as_ref(), "private_key", cx);
        match (chain, key) {
            (Some(chain), Some(key)) => Some(Self {
                chain,
                key,
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
