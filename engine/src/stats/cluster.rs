//! What a cluster counts, under `cluster.<name>.`.

use ringway_lb::consistent_hashing::TableSizes;

use super::{CodeStats, Histogram, Store, Unit, sanitize};
use crate::stats_struct;

/// `cluster.<name>.`, where the name is the cluster's `alt_stat_name` if it has
/// one.
#[must_use]
pub fn prefix(stat_name: &str) -> String {
    format!("cluster.{}.", sanitize(stat_name))
}

stats_struct! {
    /// Traffic, members, updates and balancing of one cluster: under [`prefix`].
    pub struct ClusterStats {
        counters: [
            assignment_stale,
            assignment_timeout_received,
            assignment_use_cached,
            bind_errors,
            lb_healthy_panic,
            lb_local_cluster_not_ok,
            lb_recalculate_zone_structures,
            lb_subsets_created,
            lb_subsets_fallback,
            lb_subsets_fallback_panic,
            lb_subsets_removed,
            lb_subsets_selected,
            lb_zone_cluster_too_small,
            lb_zone_no_capacity_left,
            lb_zone_routing_all_directly,
            lb_zone_routing_cross_zone,
            lb_zone_routing_sampled,
            membership_change,
            original_dst_host_invalid,
            retry_or_shadow_abandoned,
            update_attempt,
            update_empty,
            update_failure,
            update_no_rebuild,
            update_success,
            upstream_cx_close_notify,
            upstream_cx_connect_attempts_exceeded,
            upstream_cx_connect_fail,
            upstream_cx_connect_timeout,
            upstream_cx_connect_with_0_rtt,
            upstream_cx_destroy,
            upstream_cx_destroy_local,
            upstream_cx_destroy_local_with_active_rq,
            upstream_cx_destroy_remote,
            upstream_cx_destroy_remote_with_active_rq,
            upstream_cx_destroy_with_active_rq,
            upstream_cx_http1_total,
            upstream_cx_http2_total,
            upstream_cx_http3_total,
            upstream_cx_idle_timeout,
            upstream_cx_lent,
            upstream_cx_max_duration_reached,
            upstream_cx_max_requests,
            upstream_cx_none_healthy,
            upstream_cx_overflow,
            upstream_cx_pool_overflow,
            upstream_cx_preconnect_skipped,
            upstream_cx_protocol_error,
            upstream_cx_rx_bytes_total,
            upstream_cx_total,
            upstream_cx_tx_bytes_total,
            upstream_flow_control_backed_up_total,
            upstream_flow_control_drained_total,
            upstream_flow_control_paused_reading_total,
            upstream_flow_control_resumed_reading_total,
            upstream_http3_broken,
            upstream_internal_redirect_failed_total,
            upstream_internal_redirect_succeeded_total,
            upstream_rq_0rtt,
            upstream_rq_active_overflow,
            upstream_rq_alt_stat_name_overflow,
            upstream_rq_cancelled,
            upstream_rq_maintenance_mode,
            upstream_rq_max_duration_reached,
            upstream_rq_pending_failure_eject,
            upstream_rq_pending_overflow,
            upstream_rq_pending_total,
            upstream_rq_per_try_idle_timeout,
            upstream_rq_per_try_timeout,
            upstream_rq_resent,
            upstream_rq_retry,
            upstream_rq_retry_backoff_exponential,
            upstream_rq_retry_backoff_ratelimited,
            upstream_rq_retry_limit_exceeded,
            upstream_rq_retry_overflow,
            upstream_rq_retry_success,
            upstream_rq_rx_reset,
            upstream_rq_rx_reset_no_error,
            upstream_rq_timeout,
            upstream_rq_total,
            upstream_rq_tx_reset,
        ],
        gauges: [
            lb_subsets_active,
            max_host_weight,
            membership_degraded,
            membership_excluded,
            membership_healthy,
            membership_total,
            upstream_cx_active,
            upstream_cx_rx_bytes_buffered,
            upstream_cx_tx_bytes_buffered,
            upstream_queue_overloaded,
            upstream_rq_active,
            upstream_rq_pending_active,
            version,
            warming_state,
        ],
        histograms: [
            upstream_cx_connect_ms: Milliseconds,
            upstream_cx_length_ms: Milliseconds,
            upstream_rq_per_cx: Unspecified,
        ],
    }
}

stats_struct! {
    /// What clusters whose hosts are named by EDS count besides: under
    /// [`prefix`].
    pub struct EdsStats {
        counters: [init_fetch_timeout, update_rejected],
        gauges: [update_time],
        histograms: [update_duration: Milliseconds],
    }
}

stats_struct! {
    /// How the ring is shared: under [`prefix`] and `ring_hash_lb.`.
    pub struct RingHashStats {
        gauges: [max_hashes_per_host, min_hashes_per_host, size],
    }
}

stats_struct! {
    /// How the Maglev table is shared: under [`prefix`] and `maglev_lb.`.
    pub struct MaglevStats {
        gauges: [max_entries_per_host, min_entries_per_host],
    }
}

stats_struct! {
    /// How much of their time requests and tries take, in percent, where that is
    /// recorded: under [`prefix`].
    pub struct TimeoutBudgetStats {
        histograms: [
            upstream_rq_timeout_budget_percent_used: Unspecified,
            upstream_rq_timeout_budget_per_try_percent_used: Unspecified,
        ],
    }
}

stats_struct! {
    /// How large requests and responses are, where that is recorded: under
    /// [`prefix`].
    pub struct RequestResponseSizeStats {
        histograms: [
            upstream_rq_body_size: Bytes,
            upstream_rq_headers_count: Unspecified,
            upstream_rq_headers_size: Bytes,
            upstream_rs_body_size: Bytes,
            upstream_rs_headers_count: Unspecified,
            upstream_rs_headers_size: Bytes,
        ],
    }
}

stats_struct! {
    /// What clusters with subsets of hosts count besides: under [`prefix`].
    pub struct SubsetStats {
        gauges: [lb_subsets_single_host_per_subset_duplicate],
    }
}

/// What a policy that hashes shows of its table.
#[derive(Clone, Copy, Debug)]
pub enum TableStats {
    /// Of a ring.
    RingHash(RingHashStats),
    /// Of a Maglev table.
    Maglev(MaglevStats),
}

impl TableStats {
    /// Shows the sizes of a table.
    pub fn set(&self, sizes: TableSizes) {
        match self {
            Self::RingHash(stats) => {
                stats.size.set(sizes.size);
                stats.min_hashes_per_host.set(sizes.min_per_host);
                stats.max_hashes_per_host.set(sizes.max_per_host);
            }
            Self::Maglev(stats) => {
                stats.min_entries_per_host.set(sizes.min_per_host);
                stats.max_entries_per_host.set(sizes.max_per_host);
            }
        }
    }
}

stats_struct! {
    /// How many hosts took the cluster's own transport socket: under [`prefix`]
    /// and `default.`. Envoy counts each host once when it is added.
    pub struct TransportSocketMatchStats {
        counters: [total_match_count],
    }
}

/// Response codes and times of a cluster. All but `upstream_rq_completed` are
/// listed once they have counted.
#[derive(Clone, Debug)]
pub struct ResponseStats {
    /// Under [`prefix`].
    pub sent: OriginStats,
    retry: CodeStats,
}

impl ResponseStats {
    /// Statistics under `prefix`, which is the cluster's.
    #[must_use]
    pub fn new(store: &Store, prefix: &str) -> Self {
        // Listed from the start, unlike its kin.
        let _ = store.counter(&format!("{prefix}upstream_rq_completed"));
        Self {
            sent: OriginStats::new(store, prefix),
            retry: CodeStats::new(store, &format!("{prefix}retry.")),
        }
    }

    /// Counts the code of a response that is not sent on because the request is
    /// tried again: `retry.upstream_rq_<code>` only.
    pub fn retried(&self, code: u16) {
        self.retry.record(code);
    }
}

/// Response codes and times: all of them under a prefix, and again by where the
/// request came from (`internal.`, `external.`) and whether the upstream called
/// itself a canary (`canary.`).
#[derive(Clone, Debug)]
pub struct OriginStats {
    all: CodesAndTime,
    internal: CodesAndTime,
    external: CodesAndTime,
    canary: CodesAndTime,
}

impl OriginStats {
    /// Statistics under `prefix`, which ends with a dot.
    #[must_use]
    pub fn new(store: &Store, prefix: &str) -> Self {
        let below = |part: &str| CodesAndTime::new(store, &format!("{prefix}{part}"));
        Self {
            all: below(""),
            internal: below("internal."),
            external: below("external."),
            canary: below("canary."),
        }
    }

    /// Counts the code of a response, also of one made up for the upstream.
    #[inline]
    pub fn code(&self, code: u16, internal: bool, canary: bool) {
        for part in self.parts(internal, canary) {
            part.codes.record(code);
        }
    }

    /// Records how long an upstream took from the end of the request to the end
    /// of its response.
    #[inline]
    pub fn time(&self, milliseconds: u64, internal: bool, canary: bool) {
        for part in self.parts(internal, canary) {
            part.upstream_rq_time.record(milliseconds);
        }
    }

    #[inline]
    fn parts(&self, internal: bool, canary: bool) -> impl Iterator<Item = &CodesAndTime> {
        let origin = match internal {
            true => &self.internal,
            false => &self.external,
        };
        [&self.all, origin]
            .into_iter()
            .chain(canary.then_some(&self.canary))
    }
}

#[derive(Clone, Debug)]
struct CodesAndTime {
    codes: CodeStats,
    upstream_rq_time: Histogram,
}

impl CodesAndTime {
    fn new(store: &Store, prefix: &str) -> Self {
        Self {
            codes: CodeStats::new(store, prefix),
            upstream_rq_time: store
                .histogram_when_used(&format!("{prefix}upstream_rq_time"), Unit::Milliseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_in_total_and_by_origin() {
        let store = Store::new();
        let responses = ResponseStats::new(&store, "cluster.a.");
        let before = store.snapshot(|_| true);
        assert_eq!(before.counters.len(), 1);
        assert!(before.histograms.is_empty());
        store.shard(None).install();
        responses.sent.code(200, false, false);
        responses.sent.code(503, true, true);
        responses.sent.time(5, false, false);
        for (name, count) in [
            ("upstream_rq_completed", 2),
            ("upstream_rq_200", 1),
            ("upstream_rq_5xx", 1),
            ("external.upstream_rq_2xx", 1),
            ("internal.upstream_rq_503", 1),
            ("canary.upstream_rq_completed", 1),
        ] {
            assert_eq!(
                store.value(&format!("cluster.a.{name}")),
                Some(count),
                "{name}"
            );
        }
        let after = store.snapshot(|_| true);
        let histograms: Vec<_> = after.histograms.iter().map(|h| &*h.name).collect();
        assert_eq!(
            histograms,
            [
                "cluster.a.external.upstream_rq_time",
                "cluster.a.upstream_rq_time"
            ]
        );
    }
}
