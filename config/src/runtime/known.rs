//! Keys that the proxy reads whatever its configuration says. Their numbers are
//! constants, so that what reads them needs no configuration of its own.

use super::{RuntimeKey, RuntimeKeyFamily, RuntimeKeys};
use crate::names::Interner;

impl RuntimeKey {
    /// The percentage of retries that are made, of those that a policy asks for.
    pub const USE_RETRY: Self = RuntimeKey(0);
    /// The bound of the wait before a first retry, in milliseconds, where the
    /// policy has none.
    pub const BASE_RETRY_BACKOFF_MS: Self = RuntimeKey(1);
    /// Streams of a connection before which nothing is judged of those that its
    /// client resets too soon.
    pub const PREMATURE_RESET_STREAMS: Self = RuntimeKey(2);
    /// Up to which age a stream is reset too soon, in seconds.
    pub const PREMATURE_RESET_SECONDS: Self = RuntimeKey(3);
}

impl RuntimeKeyFamily {
    /// The percentage of a cluster's requests that are refused, by its name.
    pub const MAINTENANCE_MODE: Self = RuntimeKeyFamily(0);
}

/// By number.
const KEYS: [&str; 4] = [
    "upstream.use_retry",
    "upstream.base_retry_backoff_ms",
    "overload.premature_reset_total_stream_count",
    "overload.premature_reset_min_stream_lifetime_seconds",
];

/// By number.
const FAMILIES: [&str; 1] = ["upstream.maintenance_mode.*"];

/// With the keys that are always read.
impl Default for RuntimeKeys {
    fn default() -> Self {
        let keys = Self {
            keys: Interner::default(),
            families: Interner::default(),
        };
        for key in KEYS {
            keys.id(key);
        }
        for family in FAMILIES {
            keys.family(family);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_have_the_numbers_of_their_constants() {
        let keys = RuntimeKeys::default();
        for (name, key) in [
            ("upstream.use_retry", RuntimeKey::USE_RETRY),
            (
                "upstream.base_retry_backoff_ms",
                RuntimeKey::BASE_RETRY_BACKOFF_MS,
            ),
            (
                "overload.premature_reset_total_stream_count",
                RuntimeKey::PREMATURE_RESET_STREAMS,
            ),
            (
                "overload.premature_reset_min_stream_lifetime_seconds",
                RuntimeKey::PREMATURE_RESET_SECONDS,
            ),
        ] {
            assert_eq!(keys.find(name), Some(key), "{name}");
        }
        let family = keys.family("upstream.maintenance_mode.*");
        assert_eq!(family, RuntimeKeyFamily::MAINTENANCE_MODE);
        assert_eq!(keys.len(), KEYS.len());
    }
}
