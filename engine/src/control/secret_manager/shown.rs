//! The secrets as `/config_dump` shows them (`envoy.admin.v3.SecretsConfigDump`).

use std::sync::Arc;
use std::time::SystemTime;

use prost_types::Timestamp;
use ringway_config::tls::{KnownSecret, SdsSecret};
use serde_json::{Value, json};

use crate::worker::shared::Locked;

/// What admin sees of the secrets that files hold.
#[derive(Debug, Default)]
pub struct SecretsView(Locked<Vec<Shown>>);

#[derive(Debug)]
struct Shown {
    name: Arc<str>,
    version: Arc<str>,
    updated: SystemTime,
    /// The secret, once there was one.
    secret: Option<Value>,
}

impl SecretsView {
    /// A secret that nobody knows yet; they are numbered in this order.
    pub(super) fn add(&self, secret: &SdsSecret) {
        let shown = Shown {
            name: Arc::clone(&secret.name),
            version: "uninitialized".into(),
            updated: SystemTime::now(),
            secret: None,
        };
        self.0.with(|all| all.push(shown));
    }

    /// What a file says now.
    pub(super) fn set(&self, place: usize, version: &Arc<str>, secret: &KnownSecret) {
        let secret = typed(secret.to_json());
        self.0.with(|all| {
            let shown = &mut all[place];
            shown.version = Arc::clone(version);
            shown.updated = SystemTime::now();
            shown.secret = Some(secret);
        });
    }

    /// The same as before, with what its files hold now.
    pub(super) fn set_content(&self, place: usize, secret: &KnownSecret) {
        let secret = typed(secret.to_json());
        self.0.with(|all| all[place].secret = Some(secret));
    }

    /// `dynamic_active_secrets` and `dynamic_warming_secrets`.
    #[must_use]
    pub fn dump(&self) -> [Vec<Value>; 2] {
        let mut dump = [Vec::new(), Vec::new()];
        self.0.with(|all| {
            for shown in all.iter() {
                let place = usize::from(shown.secret.is_none());
                dump[place].push(shown.dump());
            }
        });
        dump
    }
}

impl Shown {
    fn dump(&self) -> Value {
        let mut dump = json!({ "name": &*self.name });
        if !self.version.is_empty() {
            dump["version_info"] = (*self.version).into();
        }
        let updated = Timestamp::from(self.updated);
        let nanos = updated.nanos / NANOS_PER_MS * NANOS_PER_MS;
        dump["last_updated"] = Timestamp { nanos, ..updated }.to_string().into();
        let unknown = || typed(json!({ "name": &*self.name }));
        dump["secret"] = self.secret.clone().unwrap_or_else(unknown);
        dump
    }
}

/// A secret with its type, as everything in an `Any` is shown.
#[must_use]
pub fn typed(mut secret: Value) -> Value {
    if let Some(fields) = secret.as_object_mut() {
        fields.shift_insert(0, "@type".into(), TYPE_URL.into());
    }
    secret
}

/// Envoy shows milliseconds.
const NANOS_PER_MS: i32 = 1_000_000;

const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
