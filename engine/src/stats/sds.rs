//! What a secret that a file holds counts, under `sds.<name>.`.

use super::sanitize;
use crate::stats_struct;

/// The prefix of a secret's statistics.
#[must_use]
pub fn prefix(name: &str) -> String {
    format!("sds.{}.", sanitize(name))
}

stats_struct! {
    /// Updates of a secret, under [`prefix`]. As in Envoy, nothing that files tell has
    /// a duration.
    pub struct SdsStats {
        counters: [
            init_fetch_timeout,
            key_rotation_failed,
            update_attempt,
            update_failure,
            update_rejected,
            update_success,
        ],
        gauges: [update_time, version],
        histograms: [update_duration: Milliseconds],
    }
}
