//! Which requests and copies have their sizes recorded.

use ringway_codecs::header::HeaderMap;

use super::failure::Failure;
use crate::http::exchange::Exchange;
use crate::http::message_sizes::MessageSizes;
use crate::upstream::cluster::Cluster;

/// The sizes of a try that begins, if the route's cluster records them.
#[inline]
pub(super) fn begin_sizes(cluster: &Cluster, request: &HeaderMap) -> Option<Box<MessageSizes>> {
    let stats = cluster.shared.request_response_sizes?;
    Some(Box::new(MessageSizes::of(request, stats)))
}

/// Records a try for which there was no connection. As in Envoy its headers count
/// all the same, unless there was not even a pool that it could have waited for.
pub(super) fn record_unsent(cluster: &Cluster, failure: &Failure, exchange: &Exchange) {
    if !matches!(failure, Failure::NoPool) {
        drop(begin_sizes(cluster, &exchange.request));
    }
}
