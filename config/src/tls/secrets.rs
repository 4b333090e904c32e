//! Parts of contexts that have a name (`static_resources.secrets`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::secret::Type;

use super::sds::{SdsSecret, SecretKind};
use crate::context::Cx;

/// The secrets of the bootstrap, by kind and name. What nobody names is not looked
/// at, as in Envoy.
#[derive(Debug, Default)]
pub(crate) struct Secrets<'p> {
    /// Whether it is known who this is: `node.id` and `node.cluster`. Whoever asks
    /// others for secrets has to say.
    node_is_known: bool,
    certificates: Named<'p, pb::TlsCertificate>,
    validations: Named<'p, pb::CertificateValidationContext>,
    ticket_keys: Named<'p, pb::TlsSessionTicketKeys>,
}

/// Messages with their paths.
type Named<'p, M> = HashMap<&'p str, (&'p M, String)>;

impl<'p> Secrets<'p> {
    /// The secrets in the field `secrets`.
    pub(crate) fn lower(protos: &'p [pb::Secret], node_is_known: bool, cx: &mut Cx<'_>) -> Self {
        let mut secrets = Self {
            node_is_known,
            ..Self::default()
        };
        for (i, proto) in protos.iter().enumerate() {
            let name = proto.name.as_str();
            cx.index("secrets", i, |cx| match &proto.r#type {
                Some(Type::TlsCertificate(message)) => {
                    insert(
                        &mut secrets.certificates,
                        name,
                        message,
                        "tls_certificate",
                        cx,
                    );
                }
                Some(Type::ValidationContext(message)) => {
                    insert(
                        &mut secrets.validations,
                        name,
                        message,
                        "validation_context",
                        cx,
                    );
                }
                Some(Type::SessionTicketKeys(message)) => {
                    insert(
                        &mut secrets.ticket_keys,
                        name,
                        message,
                        "session_ticket_keys",
                        cx,
                    );
                }
                // Filters will name them; none does so far, and the support table
                // says so.
                Some(Type::GenericSecret(_)) => {}
                None => cx.error(
                    "one of tls_certificate, validation_context, session_ticket_keys is needed",
                ),
            });
        }
        secrets
    }

    /// The secret that is named here, if a file holds it. `Some(None)` is one of the
    /// bootstrap, `None` an error.
    pub(super) fn sds(
        &self,
        proto: &pb::SdsSecretConfig,
        kind: SecretKind,
        cx: &mut Cx<'_>,
    ) -> Option<Option<SdsSecret>> {
        if proto.sds_config.is_none() {
            return Some(None);
        }
        if !self.node_is_known {
            cx.error_at(
                "sds_config",
                "needs node.id and node.cluster, or --service-node and --service-cluster",
            );
            return None;
        }
        SdsSecret::lower(proto, kind, cx).map(Some)
    }

    /// The certificate that is named here, with its path.
    pub(super) fn certificate(
        &self,
        proto: &pb::SdsSecretConfig,
        cx: &mut Cx<'_>,
    ) -> Option<(&'p pb::TlsCertificate, &str)> {
        find(&self.certificates, proto, "tls_certificate", cx)
    }

    /// The validation context that is named here, with its path.
    pub(super) fn validation(
        &self,
        proto: &pb::SdsSecretConfig,
        cx: &mut Cx<'_>,
    ) -> Option<(&'p pb::CertificateValidationContext, &str)> {
        find(&self.validations, proto, "validation_context", cx)
    }

    /// The ticket keys that are named here, with their path.
    pub(super) fn ticket_keys(
        &self,
        proto: &pb::SdsSecretConfig,
        cx: &mut Cx<'_>,
    ) -> Option<(&'p pb::TlsSessionTicketKeys, &str)> {
        find(&self.ticket_keys, proto, "session_ticket_keys", cx)
    }
}

fn insert<'p, M>(
    named: &mut Named<'p, M>,
    name: &'p str,
    message: &'p M,
    field: &str,
    cx: &mut Cx<'_>,
) {
    match named.entry(name) {
        Entry::Occupied(first) => {
            let reason = format!("duplicate {field} {name:?}, the first is {}", first.get().1);
            cx.error_at("name", reason);
        }
        Entry::Vacant(place) => {
            let path = cx.field(field, |cx| cx.path().to_owned());
            place.insert((message, path));
        }
    }
}

fn find<'s, 'p, M>(
    named: &'s Named<'p, M>,
    proto: &pb::SdsSecretConfig,
    kind: &str,
    cx: &mut Cx<'_>,
) -> Option<(&'p M, &'s str)> {
    let found = named.get(proto.name.as_str());
    if found.is_none() {
        let reason = format!(
            "there is no {kind} {:?} in static_resources.secrets",
            proto.name
        );
        cx.error_at("name", reason);
    }
    found.map(|(message, path)| (*message, path.as_str()))
}
