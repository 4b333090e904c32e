//! What the TLS side of a listener or a cluster counts, under `….ssl.`.

use std::cell::RefCell;
use std::sync::Arc;

use super::sanitize;
use super::shard::Counter;
use super::store::Store;
use crate::stats_struct;

stats_struct! {
    /// Handshakes, under `listener.<address>.ssl.` and `cluster.<name>.ssl.`.
    pub struct SslStats {
        counters: [
            connection_error,
            fail_verify_cert_hash,
            fail_verify_error,
            fail_verify_no_cert,
            fail_verify_san,
            handshake,
            no_certificate,
            ocsp_staple_failed,
            ocsp_staple_omitted,
            ocsp_staple_requests,
            ocsp_staple_responses,
            session_reused,
        ],
    }
}

stats_struct! {
    /// Contexts, under `listener.<address>.server_ssl_socket_factory.` and
    /// `cluster.<name>.client_ssl_socket_factory.`.
    pub struct SslSocketFactoryStats {
        counters: [
            downstream_context_secrets_not_ready,
            ssl_context_update_by_sds,
            upstream_context_secrets_not_ready,
        ],
    }
}

/// Says when certificates end, by their names: `ssl.certificate.<name>.*` below the
/// prefix of a listener or a cluster.
pub fn note_certificates(store: &Store, prefix: &str, ends: Vec<(&str, i64)>) {
    for (name, end) in ends {
        let name = sanitize(name);
        let name = format!("{prefix}ssl.certificate.{name}.expiration_unix_time_seconds");
        store.set(store.gauge(&name), u64::try_from(end).unwrap_or(0));
    }
}

/// What connections agreed on, counted by name when it is first seen:
/// `ssl.ciphers.<name>`, `ssl.versions.<name>` and so on. One worker's: it finds a
/// counter that it has met before without the store.
#[derive(Debug)]
pub struct AgreedStats {
    store: Store,
    prefix: Arc<str>,
    seen: RefCell<Vec<Seen>>,
}

#[derive(Debug)]
struct Seen {
    kind: &'static str,
    name: &'static str,
    counter: Counter,
}

impl AgreedStats {
    /// Counters below `prefix`, which ends with `ssl.`.
    #[must_use]
    pub fn new(store: &Store, prefix: &str) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.into(),
            seen: RefCell::default(),
        }
    }

    /// Counts a connection. `kind` is `ciphers`, `curves`, `sigalgs` or `versions`;
    /// the names of each are few.
    pub fn record(&self, kind: &'static str, name: &'static str) {
        let mut seen = self.seen.borrow_mut();
        let known = (seen.iter()).find(|one| one.kind == kind && one.name == name);
        let counter = known.map(|one| one.counter).unwrap_or_else(|| {
            let counter = (self.store).counter(&format!("{}{kind}.{name}", self.prefix));
            seen.push(Seen {
                kind,
                name,
                counter,
            });
            counter
        });
        counter.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_appear_when_they_are_first_seen() {
        let store = Store::new();
        let agreed = AgreedStats::new(&store, "listener.a.ssl.");
        store.shard(Some(0)).install();
        assert!(store.snapshot(|_| true).counters.is_empty());
        agreed.record("versions", "TLSv1.3");
        agreed.record("versions", "TLSv1.2");
        agreed.record("versions", "TLSv1.3");
        assert_eq!(store.value("listener.a.ssl.versions.TLSv1.3"), Some(2));
        assert_eq!(store.value("listener.a.ssl.versions.TLSv1.2"), Some(1));
    }
}
