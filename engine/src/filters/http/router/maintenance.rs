//! Requests that a cluster does not take because the runtime says that it is in
//! maintenance (`upstream.maintenance_mode.CLUSTER`).

use ringway_codecs::header::HeaderId;

use super::failure::reply_for_host;
use super::{ConnectionManager, Handled, LocalReply};
use crate::filters::WorkerContext;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::stream_info::{ResponseFlag, details};
use crate::upstream::cluster::Cluster;

/// Whether the next request is one of those that are refused; it is counted
/// then.
pub(super) fn refuses(worker: &WorkerContext, cluster: &Cluster) -> bool {
    let refused = match cluster.maintenance_percent() {
        0 => false,
        percent => worker.rng.borrow_mut().u8(..100) < percent,
    };
    if refused {
        cluster.stats.upstream_rq_maintenance_mode.inc();
    }
    refused
}

/// Answers a request that its cluster does not take.
pub(super) fn refuse(
    cluster: &Cluster,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let tells = !manager.shared.router_of(exchange).suppress_envoy_headers;
    let reply = maintenance_reply(tells);
    reply_for_host(Some(cluster), manager, downstream, exchange, reply)
}

/// The answer to such a request; a header of it tells why where that is wanted.
#[must_use]
pub fn maintenance_reply(tells: bool) -> LocalReply<'static> {
    LocalReply {
        overloaded: tells.then_some(HeaderId::XEnvoyOverloaded),
        ..LocalReply::new(503, "maintenance mode", details::MAINTENANCE_MODE)
            .flag(ResponseFlag::UpstreamOverflow)
    }
}
