//! What outlier detection counts.

use crate::stats_struct;

stats_struct! {
    /// Outlier detection of a cluster: under the cluster's prefix and
    /// `outlier_detection.`. Those without `detected` or `enforced` in their
    /// names are Envoy's deprecated ones.
    pub struct OutlierDetectionStats {
        counters: [
            ejections_consecutive_5xx,
            ejections_detected_consecutive_5xx,
            ejections_detected_consecutive_gateway_failure,
            ejections_detected_consecutive_local_origin_failure,
            ejections_detected_degradation,
            ejections_detected_failure_percentage,
            ejections_detected_local_origin_failure_percentage,
            ejections_detected_local_origin_success_rate,
            ejections_detected_success_rate,
            ejections_enforced_consecutive_5xx,
            ejections_enforced_consecutive_gateway_failure,
            ejections_enforced_consecutive_local_origin_failure,
            ejections_enforced_failure_percentage,
            ejections_enforced_local_origin_failure_percentage,
            ejections_enforced_local_origin_success_rate,
            ejections_enforced_success_rate,
            ejections_enforced_total,
            ejections_overflow,
            ejections_success_rate,
            ejections_total,
        ],
        gauges: [ejections_active],
    }
}

stats_struct! {
    /// Latency outliers of a cluster: under the cluster's prefix and
    /// `latency_outlier.`.
    pub struct LatencyOutlierStats {
        counters: [ejections_detected, ejections_enforced, ejections_overflow],
    }
}
