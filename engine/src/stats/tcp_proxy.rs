//! What a TCP proxy counts, under `tcp.<stat_prefix>.`.

use super::sanitize;
use crate::stats_struct;

/// `tcp.<stat_prefix>.`
#[must_use]
pub fn prefix(stat_prefix: &str) -> String {
    format!("tcp.{}.", sanitize(stat_prefix))
}

stats_struct! {
    /// Connections of one `stat_prefix`: under [`prefix`].
    pub struct TcpProxyStats {
        counters: [
            downstream_cx_drain_close,
            downstream_cx_no_route,
            downstream_cx_overload_close,
            downstream_cx_rx_bytes_total,
            downstream_cx_total,
            downstream_cx_tx_bytes_total,
            downstream_flow_control_paused_reading_total,
            downstream_flow_control_resumed_reading_total,
            early_data_received_count_total,
            idle_timeout,
            max_downstream_connection_duration,
            route_delayed_total,
            upstream_flush_total,
        ],
        gauges: [
            downstream_cx_rx_bytes_buffered,
            downstream_cx_tx_bytes_buffered,
            upstream_flush_active,
        ],
    }
}
