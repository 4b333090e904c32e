//! One endpoint of a cluster as a worker sees it: its address, its statistics
//! and the pool of connections to it.

use std::rc::Rc;
use std::sync::Arc;

use ringway_config::endpoint::Host as HostConfig;
use socket2::SockAddr;

use super::conn_pool::Pool;
use crate::stats::{Counter, Gauge, Store};
use crate::stream_info::HostInfo;

/// Per-host statistics, shown by `/clusters` and not in `/stats`.
#[derive(Debug, Clone, Copy)]
pub struct HostStats {
    /// Connections opened.
    pub cx_total: Counter,
    /// Connections open.
    pub cx_active: Gauge,
    /// Connections that could not be opened.
    pub cx_connect_fail: Counter,
    /// Requests sent.
    pub rq_total: Counter,
    /// Requests that timed out.
    pub rq_timeout: Counter,
    /// Responses that are not 5xx.
    pub rq_success: Counter,
    /// 5xx responses, resets and timeouts.
    pub rq_error: Counter,
    /// Requests in flight.
    pub rq_active: Gauge,
}

impl HostStats {
    /// Slots for one host. They have no names: `/stats` does not list them.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self {
            cx_total: store.hidden_counter(),
            cx_active: store.hidden_gauge(),
            cx_connect_fail: store.hidden_counter(),
            rq_total: store.hidden_counter(),
            rq_timeout: store.hidden_counter(),
            rq_success: store.hidden_counter(),
            rq_error: store.hidden_counter(),
            rq_active: store.hidden_gauge(),
        }
    }
}

/// A host with the slots of its statistics, shared by all workers.
#[derive(Debug)]
pub struct SharedHost {
    /// What the configuration says of the host.
    pub config: Arc<HostConfig>,
    /// Its address as the kernel wants it.
    pub address: SockAddr,
    /// The slots of its statistics.
    pub stats: HostStats,
}

/// A host on one worker.
pub struct Host {
    /// Its names, for logs.
    pub info: Rc<HostInfo>,
    /// The slots of its statistics.
    pub stats: HostStats,
    /// The part that all workers share.
    pub shared: Arc<SharedHost>,
    /// This worker's connections to the host.
    pub pool: Pool,
    /// The ones that carry plain TCP.
    pub raw_pool: Pool,
}
