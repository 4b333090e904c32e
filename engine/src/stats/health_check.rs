//! What active health checks count.

use crate::stats_struct;

stats_struct! {
    /// Health checks of a cluster: under the cluster's prefix and
    /// `health_check.`.
    pub struct HealthCheckStats {
        counters: [
            attempt,
            failure,
            network_failure,
            passive_failure,
            success,
            verify_cluster,
        ],
        gauges: [degraded, healthy],
    }
}
