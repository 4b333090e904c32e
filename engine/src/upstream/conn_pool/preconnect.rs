//! Connections for requests that are expected beside those that are there
//! (`preconnect_policy`).

use std::cell::RefCell;
use std::rc::Rc;

use ringway_lb::members::Health;

use super::{ConnectionPermit, Pool, PoolOf, Speaks, above_limit, start};
use crate::upstream::cluster::Cluster;
use crate::upstream::health::coarse;
use crate::upstream::host::Host;
use crate::upstream::load_balancer::LoadBalancerContext;

impl Pool {
    /// Whether there is room for fewer requests than there are, those that wait
    /// and `more` included, times `ratio`.
    fn expects_more(&self, ratio: f64, more: usize, cluster: &Cluster, of: &PoolOf) -> bool {
        let (mut room, mut active) = (self.expected(cluster, of), 0);
        for connection in self.ready.borrow().iter() {
            room += connection.room();
            active += connection.streams() as usize;
        }
        // Those that are not listed have no room.
        let full = self.open.get().saturating_sub(self.ready.borrow().len());
        active += match of.speaks {
            Speaks::Http1 | Speaks::Bytes => full,
            Speaks::Http2 | Speaks::Negotiated => {
                full.saturating_mul(cluster.config.http2.streams_max as usize)
            }
        };
        let requests = self.waiting.borrow().len() + active + more;
        requests as f64 * ratio > (room + active) as f64
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
        if !of.pool(host).expects_more(ratio, 0, cluster, of) {
            return;
        }
        let Some(permit) = ConnectionPermit::acquire(cluster, host, priority) else {
            cluster.stats.upstream_cx_overflow.inc();
            return;
        };
        start(cluster, host, priority, permit, of);
    }
}

/// Opens connections to the hosts that the next requests of the cluster get, as
/// far as they can be told: for a request that has its host and is about to
/// take its connection. `of` is which of a host's pools such requests use.
///
/// What is missing is missing to the whole process: workers do not each open
/// as many. It is missing to this cluster; Envoy counts the requests and the
/// connections of all clusters in one.
pub fn predict(
    rng: &RefCell<fastrand::Rng>,
    cluster: &Rc<Cluster>,
    priority: usize,
    of: impl Fn(&Rc<Host>) -> PoolOf,
) {
    let Some(ratio) = cluster.config.predictive_preconnect_ratio else {
        return;
    };
    for _ in 0..AT_ONCE_MAX {
        if !cluster.expects_more(ratio) {
            return;
        }
        let Some(host) = cluster.peek_host(&mut LoadBalancerContext::new(rng)) else {
            return;
        };
        if !anticipate(cluster, &host, priority, ratio, &of(&host)) {
            return;
        }
    }
}

/// Opens a connection for a request that is expected at a host. `false` when
/// it needs none, or a limit is reached.
fn anticipate(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    priority: usize,
    ratio: f64,
    of: &PoolOf,
) -> bool {
    let pool = of.pool(host);
    if coarse(&host.shared) != Health::Healthy
        || !pool.expects_more(ratio, 1, cluster, of)
        || !pool.begin_if_empty(cluster, priority)
    {
        return false;
    }
    let within = ConnectionPermit::acquire(cluster, host, priority);
    let is_within = within.is_some();
    let Some(permit) = within.or_else(|| above_limit(cluster, host, priority, pool)) else {
        return false;
    };
    start(cluster, host, priority, permit, of);
    is_within
}

/// Envoy's limit: a host that has just become healthy is not to be overrun.
const AT_ONCE_MAX: usize = 3;
