//! What a cache of names counts, under `dns_cache.<name>.`.

use std::sync::Arc;

use super::{Computed, Store, sanitize};
use crate::stats_struct;
use crate::worker::shared::limits::SharedLimit;

stats_struct! {
    /// Names and look-ups of one cache.
    pub struct DnsCacheStats {
        counters: [
            cache_load,
            dns_address_filter_out,
            dns_query_attempt,
            dns_query_failure,
            dns_query_success,
            dns_query_timeout,
            dns_rq_pending_overflow,
            host_added,
            host_address_changed,
            host_overflow,
            host_removed,
        ],
        gauges: [num_hosts],
    }
}

impl DnsCacheStats {
    /// Registers the statistics of the cache `name`, which may be none; `pending`
    /// counts the requests that wait.
    #[must_use]
    pub fn of(store: &Store, name: &str, pending: &Arc<SharedLimit>) -> Self {
        let prefix = match name {
            "" => "dns_cache.".to_owned(),
            name => format!("dns_cache.{}.", sanitize(name)),
        };
        let limits = format!("{prefix}circuit_breakers.");
        let limit = Arc::clone(pending);
        store.computed_gauge(&format!("{limits}rq_pending_open"), move || Computed {
            value: u64::from(limit.is_reached()),
            used: limit.was_used(),
        });
        let limit = Arc::clone(pending);
        store.computed_gauge(&format!("{limits}rq_pending_remaining"), move || Computed {
            value: u64::from(limit.left()),
            used: true,
        });
        Self::new(store, &prefix)
    }
}
