//! Whom a request to a host is counted for: its cluster, its virtual cluster,
//! and its route when that has a `stat_prefix`.

use ringway_config::route::SelectedRoute;

use super::ConnectionManager;
use crate::http::exchange::Exchange;
use crate::stats::route::RouteStats;
use crate::upstream::cluster::Cluster;

/// The statistics of a request's virtual cluster and of its route, if it has
/// them.
pub(super) type Places<'a> = [Option<&'a RouteStats>; 2];

impl ConnectionManager {
    /// Notes where a request is counted besides its cluster. A request that
    /// never gets a cluster is not counted there, as in Envoy.
    pub(super) fn begin_charging(&self, selected: &SelectedRoute<'_>, exchange: &mut Exchange) {
        exchange.counted.route = selected.route.stats;
        if let Some(clusters) = &selected.virtual_host.virtual_clusters {
            let (stats, name) = clusters.find(&exchange.request);
            exchange.counted.virtual_cluster = Some(stats);
            exchange
                .info
                .virtual_cluster_name
                .copy(name.unwrap_or_default());
        }
    }

    /// The statistics of the request's virtual cluster and route.
    pub(super) fn route_stats(&self, exchange: &Exchange) -> Places<'_> {
        let counted = exchange.counted;
        let routes = self.shared.routes_of(exchange);
        [counted.virtual_cluster, counted.route].map(|place| routes.stats(place?))
    }

    /// Counts a request to a host.
    pub(super) fn charge_request(&self, exchange: &Exchange) {
        for stats in self.route_stats(exchange).into_iter().flatten() {
            stats.requests.upstream_rq_total.inc();
        }
    }

    /// Counts the code that a client is answered, of a host or in its place.
    pub(super) fn charge_code(&self, cluster: &Cluster, code: u16, exchange: &Exchange) {
        let responses = &cluster.shared.responses;
        responses.code(code, exchange.internal, false);
        for stats in self.route_stats(exchange).into_iter().flatten() {
            stats.codes.record(code);
        }
    }

    /// Records how long a host took from the end of the request to the end of
    /// its response.
    pub(super) fn charge_time(&self, cluster: &Cluster, milliseconds: u64, exchange: &Exchange) {
        let responses = &cluster.shared.responses;
        responses.time(milliseconds, exchange.internal, false);
        for stats in self.route_stats(exchange).into_iter().flatten() {
            stats.upstream_rq_time.record(milliseconds);
        }
    }
}
