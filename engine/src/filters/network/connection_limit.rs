//! `envoy.filters.network.connection_limit`: how many connections may be open at
//! once. Those beyond are closed, after a while that keeps clients from coming
//! again at once.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit as ConnectionLimitPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::runtime::RuntimeFeatureFlag;
use ringway_config::{core, unpack};

use super::{Connection, Flow, NetworkFilter};
use crate::reactor;
use crate::stats::Store;
use crate::stats_struct;
use crate::worker::shared::limits::SharedLimit;

stats_struct! {
    /// Under `connection_limit.` and the filter's prefix.
    pub struct ConnectionLimitStats {
        counters: [limited_connections],
        gauges: [active_connections],
    }
}

/// The compiled filter.
pub struct ConnectionLimit {
    /// The connections of all workers.
    open: Arc<SharedLimit>,
    /// How long one is kept that is not served.
    delay: Option<Duration>,
    enabled: Option<RuntimeFeatureFlag>,
    stat_prefix: Box<str>,
    /// Once they are registered.
    stats: Option<ConnectionLimitStats>,
}

/// A connection that is counted until it is gone.
struct Counted {
    open: Arc<SharedLimit>,
    stats: Option<ConnectionLimitStats>,
}

impl ConnectionLimit {
    /// Compiles a filter.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<ConnectionLimitPb>(any, cx)?;
        let connections_max = proto.max_connections.map_or(0, |most| most.value);
        if proto.max_connections.is_none() {
            cx.error_at(
                "max_connections",
                "is required: Envoy without it takes none",
            );
        }
        let enabled = proto.runtime_enabled.as_ref();
        Some(Self {
            // More than the process can have open.
            open: Arc::new(SharedLimit::new(
                u32::try_from(connections_max).unwrap_or(u32::MAX),
            )),
            delay: core::duration_or_off(proto.delay, "delay", None, cx),
            enabled: enabled.map(|flag| RuntimeFeatureFlag::lower(flag, cx)),
            stat_prefix: proto.stat_prefix.as_str().into(),
            stats: None,
        })
    }
}

impl NetworkFilter for ConnectionLimit {
    fn register(&mut self, store: &Store) {
        let prefix = format!("connection_limit.{}.", self.stat_prefix);
        self.stats = Some(ConnectionLimitStats::new(store, &prefix));
    }

    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Flow {
        let runtime = &connection.worker.runtime;
        let is_enabled = self
            .enabled
            .is_none_or(|flag| flag.is_on(&runtime.borrow()));
        if !is_enabled {
            return Flow::Continue;
        }
        if self.open.try_add() {
            if let Some(stats) = &self.stats {
                stats.active_connections.inc();
            }
            connection.held.push(Box::new(Counted {
                open: Arc::clone(&self.open),
                stats: self.stats,
            }));
            return Flow::Continue;
        }
        if let Some(stats) = &self.stats {
            stats.limited_connections.inc();
        }
        match self.delay {
            None => Flow::Close,
            Some(delay) => Flow::Wait(Box::pin(reactor::sleep(delay))),
        }
    }

    fn resume(&self, _connection: &mut Connection<'_>) -> Flow {
        Flow::Close
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.subtract();
        if let Some(stats) = &self.stats {
            stats.active_connections.dec();
        }
    }
}
