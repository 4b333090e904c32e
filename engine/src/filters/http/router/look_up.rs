//! Finding the host of a dynamic forward proxy that no filter has looked up
//! before, and that is not known.

use ringway_config::dns_cache::DnsCacheId;
use ringway_config::route::SelectedRoute;

use super::{ConnectionManager, Handled};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::stream_info::details;
use crate::upstream::dns_cache::Found;

/// Waits until something is known of the host that the request names. False
/// when it has none after all, which the details then tell; `Err` when the
/// request is over.
pub(super) async fn look_up(
    manager: &ConnectionManager,
    (cache, port): (DnsCacheId, u16),
    selected: &SelectedRoute<'_>,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Result<bool, Handled> {
    let cache = manager.worker.dns_caches.get(cache);
    let known = match exchange.with_destination(port, |name| cache.ask(name)) {
        None => {
            exchange.info.details.set(details::DNS_PENDING_OVERFLOW);
            return Ok(false);
        }
        Some(Found::Overflow) => {
            exchange.info.details.set(details::DNS_CACHE_OVERFLOW);
            return Ok(false);
        }
        Some(Found::Known(known)) => Some(known),
        Some(Found::Waiting(waiting)) => {
            let (waiting, route) = (Box::pin(waiting), Some(*selected));
            let waited = manager.wait_for_filter(waiting, route, downstream, exchange);
            waited.await?;
            exchange.with_destination(port, |name| cache.get(name))
        }
    };
    if let Some(failure) = known.and_then(|known| known.failure) {
        exchange.info.set_dns_failure(failure);
        return Ok(false);
    }
    Ok(true)
}
