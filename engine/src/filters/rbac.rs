//! What decisions on who may do what (`ringway_config::rbac`) are made of, and what
//! is said of them.

use ringway_config::listener::filter_chain_match::Arrival;
use ringway_config::metadata::Value;
use ringway_config::rbac::{Decision, Facts, Peer};

use crate::network::address::NO_ADDRESS;
use crate::stream_info::StreamInfo;

/// Where logs are told that a connection or a request is for them.
const LOG_NAMESPACE: &str = "envoy.common";

/// The field of it.
const LOG_FIELD: &str = "access_log_hint";

/// Where the metadata of a decision is that is only tried.
pub struct ShadowFields {
    /// The name of the filter.
    namespace: &'static str,
    policy: Box<str>,
    result: Box<str>,
}

impl ShadowFields {
    /// Fields that begin with this prefix.
    #[must_use]
    pub fn new(namespace: &'static str, prefix: &str) -> Self {
        Self {
            namespace,
            policy: format!("{prefix}shadow_effective_policy_id").into(),
            result: format!("{prefix}shadow_engine_result").into(),
        }
    }

    /// Notes what would have been decided.
    pub fn note(&self, decision: &Decision<'_>, info: &mut StreamInfo) {
        let fields = info.metadata_mut().entry(self.namespace);
        if let Some(policy) = decision.policy.filter(|policy| !policy.name.is_empty()) {
            fields.set(&self.policy, Value::text(policy.name.as_bytes()));
        }
        let result: &[u8] = match decision.is_allowed {
            true => b"allowed",
            false => b"denied",
        };
        fields.set(&self.result, Value::text(result));
    }
}

/// What is known of a connection.
#[must_use]
pub fn facts(info: &StreamInfo) -> Facts<'_> {
    let connection = &info.connection;
    let known = |address| (address != NO_ADDRESS).then_some(address);
    Facts {
        connection: Arrival {
            local: known(connection.local),
            remote: known(connection.remote),
            direct_remote: known(connection.direct_remote),
            server_name: connection
                .requested_server_name
                .as_deref()
                .unwrap_or_default(),
            transport_protocol: "",
            application_protocols: &[],
            filter_state: info.filter_state(),
        },
        metadata: info.metadata(),
        peer: connection.tls.as_ref().map(|tls| match tls.peer.first() {
            None => Peer::default(),
            Some(certificate) => Peer {
                uri_sans: &certificate.uri_sans,
                dns_sans: &certificate.dns_sans,
                subject: &certificate.subject,
            },
        }),
    }
}

/// Tells logs whether a connection or a request is for them, where rules say so.
pub fn note_log(decision: &Decision<'_>, info: &mut StreamInfo) {
    if let Some(is_for_logs) = decision.log {
        let fields = info.metadata_mut().entry(LOG_NAMESPACE);
        fields.set(LOG_FIELD, Value::Bool(is_for_logs));
    }
}
