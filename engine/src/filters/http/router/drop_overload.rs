//! Requests that a cluster does not take because whoever assigns its hosts says that
//! they are too many (`drop_overloads`).

use ringway_codecs::header::HeaderId;
use ringway_config::endpoint::{DropOverload, Refused};

use super::failure::reply_for_host;
use super::{ConnectionManager, Handled, LocalReply};
use crate::filters::WorkerContext;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::stream_info::{ResponseFlag, details};
use crate::upstream::cluster::Cluster;

/// Whether the next request is one of those that are refused.
pub(super) fn judge(worker: &WorkerContext, drop: DropOverload) -> Option<Refused> {
    let number = worker.rng.borrow_mut().u64(..);
    drop.refuses(number, &worker.runtime.borrow())
}

/// Answers a request that its cluster does not take.
pub(super) fn refuse(
    refused: Refused,
    cluster: &Cluster,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let tells = !manager.shared.router_of(exchange).suppress_envoy_headers;
    let reply = drop_reply(refused, tells);
    reply_for_host(Some(cluster), manager, downstream, exchange, reply)
}

/// The answer to such a request; a header of it tells why where that is wanted.
#[must_use]
pub fn drop_reply(refused: Refused, tells: bool) -> LocalReply<'static> {
    let (header, body, details, flag) = match refused {
        Refused::All => (
            HeaderId::XEnvoyUnconditionalDropOverload,
            "unconditional drop overload",
            details::UNCONDITIONAL_DROP_OVERLOAD,
            ResponseFlag::UnconditionalDropOverload,
        ),
        Refused::Some => (
            HeaderId::XEnvoyDropOverload,
            "drop overload",
            details::DROP_OVERLOAD,
            ResponseFlag::DropOverload,
        ),
    };
    LocalReply {
        overloaded: tells.then_some(header),
        ..LocalReply::new(503, body, details).flag(flag)
    }
}
