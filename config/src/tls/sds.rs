//! Secrets that files hold (SDS): which, and what a file says. Compiled type on
//! top, then the reading, then what contexts make of a secret.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;
use pb::secret::Type;
use prost::{Message, Name};
use prost_reflect::DynamicMessage;
use serde_json::Value as Json;

use super::certificate::TlsCertificate;
use super::downstream::ticket_keys;
use super::validation::CertificateValidation;
use crate::config_source::PathSource;
use crate::context::{Cx, type_name, unpack};
use crate::data_source::DataSource;
use crate::descriptors;
use crate::diagnostics::{Diagnostics, Marks};
use crate::dump;
use crate::load::{self, Refused};
use crate::names::Names;

/// A secret that a file holds. Contexts that name the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SdsSecret {
    /// Its name.
    pub name: Arc<str>,
    /// What it has to be.
    pub kind: SecretKind,
    /// The file.
    pub source: PathSource,
}

/// What a secret is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// Our certificate and its key.
    Certificate,
    /// Whom we trust.
    Validation,
    /// Keys of session tickets.
    TicketKeys,
}

impl SecretKind {
    /// The field of a secret of this kind.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Certificate => "tls_certificate",
            Self::Validation => "validation_context",
            Self::TicketKeys => "session_ticket_keys",
        }
    }
}

/// What a file says.
#[derive(Debug)]
pub struct SecretResponse {
    /// `version_info`.
    pub version: Arc<str>,
    /// The secret.
    pub secret: KnownSecret,
    /// What has no effect.
    pub warnings: Diagnostics,
}

/// A secret, and where it was written: findings about it have a place.
#[derive(Clone, Debug)]
pub struct KnownSecret {
    /// The secret.
    pub message: pb::Secret,
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    marks: Marks,
    file: Arc<str>,
    path: String,
}

impl SdsSecret {
    /// Lowers what a context names, if a file holds it.
    pub(super) fn lower(
        proto: &pb::SdsSecretConfig,
        kind: SecretKind,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let source = proto.sds_config.as_ref()?;
        let source = cx.field("sds_config", |cx| PathSource::lower(source, cx))?;
        Some(Self {
            name: proto.name.as_str().into(),
            kind,
            source,
        })
    }

    /// Reads what the file says now. `names` are those of the snapshot that the
    /// secret is in.
    pub fn read(&self, names: &Names) -> Result<SecretResponse, Refused> {
        let loaded = load::load_resource::<DiscoveryResponse>(&self.source.path)?;
        let mut found = loaded.diagnostics;
        let file = loaded.file;
        let mut cx = Cx::new(&mut found, &loaded.marks, Arc::clone(&file), names);
        let secret = self.only(&loaded.message.resources, &mut cx);
        match secret {
            Some((message, path)) if !found.has_errors() => Ok(SecretResponse {
                version: loaded.message.version_info.into(),
                secret: KnownSecret {
                    message,
                    place: Arc::new(Place {
                        marks: loaded.marks,
                        file,
                        path,
                    }),
                },
                warnings: found,
            }),
            _ => Err(Refused::Content(found)),
        }
    }

    /// The one secret of a response, with its path.
    fn only(&self, resources: &[Any], cx: &mut Cx<'_>) -> Option<(pb::Secret, String)> {
        let [resource] = resources else {
            let reason = format!("{} resources, one secret is expected", resources.len());
            cx.error_at("resources", reason);
            return None;
        };
        cx.index("resources", 0, |cx| match type_name(&resource.type_url) {
            RESOURCE => {
                let wrapper = unpack::<Resource>(resource, cx)?;
                let Some(inner) = &wrapper.resource else {
                    cx.error_at("resource", "a secret is expected");
                    return None;
                };
                cx.field("resource", |cx| self.one(inner, cx))
            }
            _ => self.one(resource, cx),
        })
    }

    fn one(&self, resource: &Any, cx: &mut Cx<'_>) -> Option<(pb::Secret, String)> {
        let name = type_name(&resource.type_url);
        if name != pb::Secret::full_name() {
            cx.error(format!("{name} is not a secret"));
            return None;
        }
        let secret = unpack::<pb::Secret>(resource, cx)?;
        if secret.name != *self.name {
            let reason = format!("{:?} is not {:?}", secret.name, self.name);
            cx.error_at("name", reason);
        }
        let is_meant = match &secret.r#type {
            Some(Type::TlsCertificate(_)) => self.kind == SecretKind::Certificate,
            Some(Type::ValidationContext(_)) => self.kind == SecretKind::Validation,
            Some(Type::SessionTicketKeys(_)) => self.kind == SecretKind::TicketKeys,
            Some(Type::GenericSecret(_)) | None => false,
        };
        if !is_meant {
            cx.error(format!("it has no {}", self.kind.field()));
        }
        Some((secret, cx.path().to_owned()))
    }
}

impl KnownSecret {
    /// The same place with another message: what is in files is put into it.
    #[must_use]
    pub fn with_message(&self, message: pb::Secret) -> Self {
        Self {
            message,
            place: Arc::clone(&self.place),
        }
    }

    /// Runs `f` where the secret was written.
    pub fn at<T>(
        &self,
        found: &mut Diagnostics,
        names: &Names,
        f: impl FnOnce(&mut Cx<'_>) -> T,
    ) -> T {
        let place = &self.place;
        let mut cx = Cx::new(found, &place.marks, Arc::clone(&place.file), names);
        cx.at(&place.path, f)
    }

    /// The secret as Envoy's JSON, without what is secret about it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let bytes = self.message.encode_to_vec();
        DynamicMessage::decode(descriptors::of::<pb::Secret>(), bytes.as_slice())
            .map_or(Json::Null, |message| dump::to_json(&message))
    }

    /// What the contexts below look at is at `field` of the secret.
    fn field<T>(&self, kind: SecretKind, cx: &mut Cx<'_>, f: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        cx.at(&self.place.path, |cx| cx.field(kind.field(), f))
    }

    pub(super) fn certificate(&self, cx: &mut Cx<'_>) -> Option<TlsCertificate> {
        let Some(Type::TlsCertificate(message)) = &self.message.r#type else {
            return None;
        };
        self.field(SecretKind::Certificate, cx, |cx| {
            TlsCertificate::lower(message, &self.message.name, cx)
        })
    }

    /// With `default`, a secret adds to that and has the last word.
    pub(super) fn validation(
        &self,
        default: Option<&pb::CertificateValidationContext>,
        cx: &mut Cx<'_>,
    ) -> Option<CertificateValidation> {
        let Some(Type::ValidationContext(message)) = &self.message.r#type else {
            return None;
        };
        self.field(SecretKind::Validation, cx, |cx| {
            let merged = combined(default, message, cx)?;
            CertificateValidation::lower(&merged, &self.message.name, cx)
        })
    }

    pub(super) fn ticket_keys(&self, cx: &mut Cx<'_>) -> Option<Vec<DataSource>> {
        let Some(Type::SessionTicketKeys(message)) = &self.message.r#type else {
            return None;
        };
        Some(self.field(SecretKind::TicketKeys, cx, |cx| ticket_keys(message, cx)))
    }
}

/// Two messages as protobuf merges them: scalars are replaced, lists appended.
pub(super) fn combined(
    default: Option<&pb::CertificateValidationContext>,
    over: &pb::CertificateValidationContext,
    cx: &mut Cx<'_>,
) -> Option<pb::CertificateValidationContext> {
    let mut merged = default.cloned().unwrap_or_default();
    match merged.merge(over.encode_to_vec().as_slice()) {
        Ok(()) => Some(merged),
        Err(error) => {
            cx.error(format!("cannot be merged: {error}"));
            None
        }
    }
}

const RESOURCE: &str = "envoy.service.discovery.v3.Resource";
