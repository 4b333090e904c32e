//! Transport sockets, and what TLS is asked to do
//! (`envoy.extensions.transport_sockets.tls.v3`). Nothing here knows a TLS
//! library or reads a file: certificates and keys stay where they are until the
//! engine compiles a context.
//!
//! - `downstream.rs`, `upstream.rs`: the two contexts.
//! - `common_context.rs`: what they share.
//! - `parameters.rs`: versions, ciphers, groups, signatures.
//! - `certificate.rs`: our certificates.
//! - `validation.rs`: what is asked of the peer's.
//! - `secrets.rs`: parts of a context that have a name; `sds.rs`: those that files
//!   hold and that may become others while the proxy runs.

mod certificate;
mod common_context;
mod downstream;
mod parameters;
mod sds;
mod secrets;
mod upstream;
mod validation;

pub use certificate::TlsCertificate;
pub(crate) use common_context::protocols;
pub use common_context::{CommonTlsContext, KeyLog, SdsParts};
pub use downstream::{DownstreamTlsContext, OcspStaplePolicy, SessionTickets};
pub use parameters::{CipherSuite, Group, SignatureScheme, TlsParameters, TlsVersion};
pub use sds::{KnownSecret, SdsSecret, SecretKind, SecretResponse};
pub(crate) use secrets::Secrets;
pub use upstream::UpstreamTlsContext;
pub use validation::{CertificateValidation, SanType, SubjectAltNameMatcher};

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3 as pb;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use prost::Name;

use crate::context::{Cx, type_name, unpack};

/// What carries the bytes of a connection; `T` is the context of its side.
#[derive(Debug, Default)]
pub enum TransportSocket<T> {
    /// They are sent as they are.
    #[default]
    RawBuffer,
    /// TLS.
    Tls(Arc<T>),
}

impl<T> Clone for TransportSocket<T> {
    fn clone(&self) -> Self {
        match self {
            Self::RawBuffer => Self::RawBuffer,
            Self::Tls(context) => Self::Tls(Arc::clone(context)),
        }
    }
}

impl TransportSocket<DownstreamTlsContext> {
    /// Lowers the transport socket of a filter chain.
    pub(crate) fn downstream(
        proto: Option<&pb::TransportSocket>,
        secrets: &Secrets<'_>,
        cx: &mut Cx<'_>,
    ) -> Self {
        lower(proto, cx, |proto: &tls::DownstreamTlsContext, cx| {
            DownstreamTlsContext::lower(proto, secrets, cx)
        })
    }
}

impl TransportSocket<UpstreamTlsContext> {
    /// Lowers the transport socket of a cluster.
    pub(crate) fn upstream(
        proto: Option<&pb::TransportSocket>,
        secrets: &Secrets<'_>,
        cx: &mut Cx<'_>,
    ) -> Self {
        lower(proto, cx, |proto: &tls::UpstreamTlsContext, cx| {
            UpstreamTlsContext::lower(proto, secrets, cx)
        })
    }
}

fn lower<M: prost::Message + Name + Default, T>(
    proto: Option<&pb::TransportSocket>,
    cx: &mut Cx<'_>,
    context: impl FnOnce(&M, &mut Cx<'_>) -> Option<T>,
) -> TransportSocket<T> {
    let Some(proto) = proto else {
        return TransportSocket::RawBuffer;
    };
    let Some(pb::transport_socket::ConfigType::TypedConfig(any)) = &proto.config_type else {
        let reason = format!(
            "{:?} needs a typed_config: its type selects the implementation",
            proto.name
        );
        cx.field("transport_socket", |cx| cx.error(reason));
        return TransportSocket::RawBuffer;
    };
    if type_name(&any.type_url) == RawBuffer::full_name() {
        return TransportSocket::RawBuffer;
    }
    let context = cx.field("transport_socket", |cx| {
        cx.field("typed_config", |cx| {
            let message = unpack::<M>(any, cx)?;
            context(&message, cx)
        })
    });
    context.map_or(TransportSocket::RawBuffer, |context| {
        TransportSocket::Tls(Arc::new(context))
    })
}
