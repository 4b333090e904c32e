//! Counts how often one side of a request is not read because the other one takes
//! no more for now.

use crate::stats::Counter;
use crate::stats::cluster::ClusterStats;
use crate::stats::http_connection_manager::HttpConnectionManagerStats;

/// What one request on a connection to a host counts of it. As in Envoy, a request
/// that ends while a side is held up does not count that side as going on.
#[derive(Debug)]
pub(super) struct FlowControl {
    /// The client takes no more, and the host is not read.
    from_host: Pauses,
    /// The host takes no more,
    to_host: Pauses,
    /// and the client is not read.
    from_client: Pauses,
    client_is_full: bool,
    host_is_full: bool,
    /// Something of the body has been sent. A stream of HTTP/2 that has sent nothing may
    /// have to wait until it is open, which says nothing of its host.
    is_sending: bool,
}

/// What counts a beginning and its end.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    begun: Counter,
    ended: Counter,
}

impl FlowControl {
    pub(super) fn new(manager: &HttpConnectionManagerStats, cluster: &ClusterStats) -> Self {
        Self {
            from_host: Pauses {
                begun: cluster.upstream_flow_control_paused_reading_total,
                ended: cluster.upstream_flow_control_resumed_reading_total,
            },
            to_host: Pauses {
                begun: cluster.upstream_flow_control_backed_up_total,
                ended: cluster.upstream_flow_control_drained_total,
            },
            from_client: Pauses {
                begun: manager.downstream_flow_control_paused_reading_total,
                ended: manager.downstream_flow_control_resumed_reading_total,
            },
            client_is_full: false,
            host_is_full: false,
            is_sending: false,
        }
    }

    /// Whether the client takes no more.
    #[inline]
    pub(super) fn note_client(&mut self, is_full: bool) {
        if self.client_is_full != is_full {
            self.client_is_full = is_full;
            self.from_host.count(is_full);
        }
    }

    /// A part of the body is sent.
    #[inline]
    pub(super) fn note_sent(&mut self) {
        self.is_sending = true;
    }

    /// Whether the host takes no more.
    #[inline]
    pub(super) fn note_host(&mut self, is_full: bool) {
        let is_full = is_full && self.is_sending;
        if self.host_is_full != is_full {
            self.host_is_full = is_full;
            self.to_host.count(is_full);
            self.from_client.count(is_full);
        }
    }
}

impl Pauses {
    #[cold]
    fn count(self, is_full: bool) {
        let counter = if is_full { self.begun } else { self.ended };
        counter.inc();
    }
}
