//! Connections for requests that are expected beside those that are there
//! (`preconnect_policy`).

use std::rc::Rc;

use ringway_lb::members::Health;

use super::{ConnectionPermit, Pool, PoolOf, start};
use crate::upstream::cluster::Cluster;
use crate::upstream::health::coarse;
use crate::upstream::host::Host;

impl Pool {
    /// Whether there are fewer connections than requests, those that wait
    /// included, times `ratio`.
    fn expects_more(&self, ratio: f64) -> bool {
        let idle = self.idle.borrow().len();
        let active = self.open.get().saturating_sub(idle);
        let requests = self.waiting.borrow().len() + active;
        let connections = self.coming() + idle + active;
        requests as f64 * ratio > connections as f64
    }
}

/// Opens what is missing to the ratio of the cluster, as far as the connection
/// limit allows. A host that is not healthy is left alone.
pub(super) fn preconnect(cluster: &Rc<Cluster>, host: &Rc<Host>, priority: usize, of: &PoolOf) {
    let Some(ratio) = cluster.config.per_upstream_preconnect_ratio else {
        return;
    };
    if host.is_draining() || coarse(&host.shared) != Health::Healthy {
        return;
    }
    for _ in 0..AT_ONCE_MAX {
        if !of.pool(host).expects_more(ratio) {
            return;
        }
        let Some(permit) = ConnectionPermit::acquire(cluster, host, priority) else {
            cluster.stats.upstream_cx_overflow.inc();
            return;
        };
        start(cluster, host, priority, permit, of);
    }
}

/// Envoy's limit: a host that has just become healthy is not to be overrun.
const AT_ONCE_MAX: usize = 3;
