//! What the HTTP/2 codec counts, on either side.

use crate::stats_struct;

stats_struct! {
    /// Under `http2.` for all downstream connections, and under
    /// `cluster.<name>.http2.` for a cluster; listed from the first connection
    /// on. What only the library sees and its frames do not show stays 0: see
    /// docs/known-differences.md.
    pub struct Http2CodecStats {
        counters: [
            cookies_total_bytes_too_large,
            dropped_headers_with_underscores,
            goaway_sent,
            header_list_size_too_large,
            header_overflow,
            headers_cb_no_stream,
            inbound_empty_frames_flood,
            inbound_priority_frames_flood,
            inbound_window_update_frames_flood,
            keepalive_timeout,
            metadata_empty_frames,
            outbound_control_flood,
            outbound_flood,
            requests_rejected_with_underscores_in_headers,
            rx_messaging_error,
            rx_reset,
            stream_refused_errors,
            trailers,
            tx_flush_timeout,
            tx_reset,
        ],
        gauges: [
            deferred_stream_close,
            outbound_control_frames_active,
            outbound_frames_active,
            pending_send_bytes,
            streams_active,
        ],
    }
}
