//! A header block that a client of HTTP/2 has begun and not ended.
//!
//! The library tells of a request when its headers are whole, and a client may send
//! nothing else before that (RFC 9113 section 4.3). As in Envoy such a request has
//! begun: its time runs, and its connection is not idle. Nobody could answer it, so what
//! ends with its time is the connection, when no other request is on it.

use std::time::{Duration, Instant};

use super::ConnectionManager;
use super::config::{HeadTimeout, Timeouts};
use super::http2_connection::Http2Connection;
use crate::http::http2::stream_bytes::StreamBytes;
use crate::stream_info::{ResponseFlag, details};

/// How long the headers of a request have been on their way.
pub(super) struct HeadClock {
    limit: Option<Duration>,
    /// The stream that they are for, and since when.
    begun: Option<(u32, Instant)>,
}

impl HeadClock {
    pub fn new(timeouts: &Timeouts) -> Self {
        Self {
            limit: timeouts.head().map(|(limit, _)| limit),
            begun: None,
        }
    }

    /// The stream whose headers are on their way.
    pub fn stream(&self) -> Option<u32> {
        self.begun.map(|(stream, _)| stream)
    }

    /// They are those of this stream now; says whether they are others than before.
    pub fn set(&mut self, stream: Option<u32>, now: Instant) -> bool {
        let has_changed = stream != self.stream();
        if has_changed {
            self.begun = stream.map(|stream| (stream, now));
        }
        has_changed
    }

    /// When they have taken too long.
    pub fn ends_at(&self) -> Option<Instant> {
        Some(self.begun?.1 + self.limit?)
    }
}

impl ConnectionManager {
    /// Counts and logs a request whose headers have not come in time.
    pub(super) fn note_late_head(&self, connection: &Http2Connection) {
        let stats = self.stats();
        let (flag, details) = match self.config().timeouts.head() {
            Some((_, HeadTimeout::Headers)) => {
                stats.downstream_rq_header_timeout.inc();
                (None, details::REQUEST_HEADER_TIMEOUT)
            }
            Some((_, HeadTimeout::Request)) | None => {
                stats.downstream_rq_timeout.inc();
                (None, details::REQUEST_OVERALL_TIMEOUT)
            }
            Some((_, HeadTimeout::Idle)) => {
                stats.downstream_rq_idle_timeout.inc();
                let flag = ResponseFlag::StreamIdleTimeout;
                (Some(flag), details::STREAM_IDLE_TIMEOUT)
            }
        };
        self.note_refused(connection, flag, details, StreamBytes::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_from_the_first_frame_of_each() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let mut clock = HeadClock {
            limit: Some(second),
            begun: None,
        };
        assert!(!clock.set(None, now) && clock.ends_at().is_none());
        assert!(clock.set(Some(1), now));
        assert!(!clock.set(Some(1), now + second));
        assert_eq!(clock.ends_at(), Some(now + second));
        assert!(clock.set(Some(3), now + second));
        assert_eq!(clock.ends_at(), Some(now + 2 * second));
        assert!(clock.set(None, now) && clock.ends_at().is_none());
        clock.limit = None;
        assert!(clock.set(Some(5), now) && clock.ends_at().is_none());
    }
}
