//! What a listener counts, under `listener.<address>.`.

use super::sanitize;
use crate::stats_struct;

/// `listener.<name>.`, where the name is the listener's `stat_prefix` if it has
/// one and its address otherwise (`127.0.0.1:80` becomes `127.0.0.1_80`).
#[must_use]
pub fn prefix(stat_prefix_or_address: &str) -> String {
    format!("listener.{}.", sanitize(stat_prefix_or_address))
}

/// `listener.<name>.worker_<n>.`, from a listener's prefix.
#[must_use]
pub fn worker_prefix(listener_prefix: &str, worker: u32) -> String {
    format!("{listener_prefix}worker_{worker}.")
}

stats_struct! {
    /// One listener, all workers together: under [`prefix`].
    pub struct ListenerStats {
        counters: [
            downstream_cx_destroy,
            downstream_cx_overflow,
            downstream_cx_overload_reject,
            downstream_cx_total,
            downstream_cx_transport_socket_connect_timeout,
            downstream_global_cx_overflow,
            downstream_listener_filter_error,
            downstream_listener_filter_remote_close,
            downstream_pre_cx_timeout,
            extension_config_missing,
            network_extension_config_missing,
            no_filter_chain_match,
        ],
        gauges: [downstream_cx_active, downstream_pre_cx_active],
        histograms: [
            connections_accepted_per_socket_event: Unspecified,
            downstream_cx_length_ms: Milliseconds,
        ],
    }
}

stats_struct! {
    /// One listener on one worker: under [`worker_prefix`].
    pub struct ListenerWorkerStats {
        counters: [downstream_cx_total],
        gauges: [downstream_cx_active],
    }
}
