//! What a cluster says of TLS (`UpstreamTlsContext`).

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::common_context::{CommonTlsContext, Side};
use super::sds::{KnownSecret, SdsSecret};
use super::secrets::Secrets;
use crate::context::Cx;
use crate::core;

/// TLS on the side of the hosts.
#[derive(Clone, Debug)]
pub struct UpstreamTlsContext {
    /// What both sides have.
    pub common: CommonTlsContext,
    /// The name that is asked for; empty asks for none.
    pub sni: Arc<str>,
    /// A host with a name of its own is asked for that one.
    pub auto_host_sni: bool,
    /// The host's certificate must have the name that was asked for, whatever the
    /// matchers say.
    pub auto_sni_san_validation: bool,
    /// Sessions that are kept to be taken up again.
    pub max_session_keys: u32,
    /// The path of the context, for findings of whoever compiles it.
    pub path: String,
}

impl UpstreamTlsContext {
    pub(super) fn lower(
        proto: &pb::UpstreamTlsContext,
        secrets: &Secrets<'_>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let default = pb::CommonTlsContext::default();
        let common = proto.common_tls_context.as_ref().unwrap_or(&default);
        let common = cx.field("common_tls_context", |cx| {
            let common = CommonTlsContext::lower(common, Side::Client, secrets, cx);
            if proto.common_tls_context.is_some() {
                warn_of_trust(common.as_ref(), cx);
            }
            common
        });
        if proto.common_tls_context.is_none() {
            warn_of_trust(common.as_ref(), cx);
        }
        check_sni(&proto.sni, cx);
        let common = common?;
        if proto.auto_sni_san_validation
            && !common.sds.has_validation()
            && let Err(reason) = check_trust(&common)
        {
            cx.error_at("auto_sni_san_validation", reason);
            return None;
        }
        Some(Self {
            common,
            sni: proto.sni.as_str().into(),
            auto_host_sni: proto.auto_host_sni,
            auto_sni_san_validation: proto.auto_sni_san_validation,
            max_session_keys: core::u32_or(proto.max_session_keys, SESSION_KEYS),
            path: cx.path().to_owned(),
        })
    }

    /// The secrets that files hold.
    pub fn secrets(&self) -> impl Iterator<Item = &SdsSecret> {
        self.common.sds.secrets()
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
        if self.auto_sni_san_validation
            && let Err(reason) = check_trust(&common)
        {
            // The place is the secret's.
            cx.error(format!("{}.auto_sni_san_validation {reason}", self.path));
            return None;
        }
        Some(Some(Self {
            common,
            ..self.clone()
        }))
    }
}

/// A name is looked for in what somebody trusted has signed.
fn check_trust(common: &CommonTlsContext) -> Result<(), String> {
    let missing = match &common.validation {
        None => "a validation_context",
        Some(validation) if validation.trusted_ca.is_none() => "a trusted_ca",
        Some(_) => return Ok(()),
    };
    Err(format!("needs {missing}: a name alone proves nothing"))
}

/// Envoy's default.
const SESSION_KEYS: u32 = 1;

/// A connection whose other end may be anybody is a mistake more often than not.
fn warn_of_trust(common: Option<&CommonTlsContext>, cx: &mut Cx<'_>) {
    let Some(common) = common else { return };
    match &common.validation {
        None if common.sds.has_validation() => {}
        None => cx.warn("the host's certificate is not verified: there is no validation_context"),
        Some(validation) if !validation.verifies() => {
            cx.warn("the host's certificate is not verified: validation_context has no trusted_ca");
        }
        Some(_) => {}
    }
}

fn check_sni(sni: &str, cx: &mut Cx<'_>) {
    if sni.contains('\0') {
        cx.error_at("sni", "a name must not contain a NUL byte");
    }
}
