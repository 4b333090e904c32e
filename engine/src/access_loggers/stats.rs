//! What access logs count.

use crate::stats::{Counter, Store, server::FilesystemStats};

/// Statistics of all log files together. Envoy counts files the same way.
#[derive(Clone, Copy, Debug)]
pub struct LogStats {
    /// `filesystem.`: `write_buffered` counts lines, `write_completed`
    /// buffers written, `flushed_by_timer` buffers handed over by the timer,
    /// `write_total_buffered` bytes that are not written yet.
    pub(super) filesystem: FilesystemStats,
    /// Lines that were lost because a file was full, blocked or broken.
    pub(super) dropped_lines: Counter,
}

impl LogStats {
    /// Registers the statistics: `filesystem.*`, which the server's statistics
    /// share by name, and `access_log.dropped_lines`.
    pub fn new(store: &Store) -> LogStats {
        LogStats {
            filesystem: FilesystemStats::new(store, "filesystem."),
            dropped_lines: store.counter("access_log.dropped_lines"),
        }
    }
}
