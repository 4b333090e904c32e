//! Whom a request to a host is counted for: its cluster, its virtual cluster,
//! and its route when that has a `stat_prefix`.

use ringway_codecs::header::HeaderId;
use ringway_config::route::SelectedRoute;

use super::ConnectionManager;
use crate::http::exchange::Exchange;
use crate::stats::route::RouteStats;
use crate::upstream::cluster::Cluster;

/// The statistics of a request's virtual cluster and of its route, if it has
/// them.
pub(super) type Places<'a> = [Option<&'a RouteStats>; 2];

/// The clusters that have to do with a request. They are one, unless the
/// route's is an aggregate: then the host's is one of those.
#[derive(Clone, Copy)]
pub(super) struct Clusters<'a> {
    /// What the request as a whole is counted for.
    pub route: &'a Cluster,
    /// What its connection is counted for.
    pub host: &'a Cluster,
}

impl<'a> Clusters<'a> {
    pub(super) fn one(cluster: &'a Cluster) -> Self {
        Self {
            route: cluster,
            host: cluster,
        }
    }
}

impl ConnectionManager {
    /// Notes where a request is counted besides its cluster. A request that
    /// never gets a cluster is not counted there, as in Envoy.
    pub(super) fn begin_charging(
        &self,
        selected: &SelectedRoute<'_>,
        cluster: &Cluster,
        exchange: &mut Exchange,
    ) {
        exchange.counted.route = selected.route.stats;
        if let Some(name) = exchange.request.get(HeaderId::XEnvoyUpstreamAltStatName) {
            exchange.counted.alt_stat = cluster.alt_stat(name);
        }
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
    pub(super) fn charge_code(&self, cluster: &Cluster, code: u16, exchange: &mut Exchange) {
        let is_canary = is_canary(exchange);
        exchange.counted.is_canary = is_canary;
        if !self.counts_responses(exchange) {
            return;
        }
        let internal = exchange.internal;
        cluster
            .shared
            .responses
            .sent
            .code(code, internal, is_canary);
        if let Some(alt) = exchange.counted.alt_stat {
            (cluster.alt_stats).with(alt, |stats| stats.code(code, internal, is_canary));
        }
        for stats in self.route_stats(exchange).into_iter().flatten() {
            stats.codes.record(code);
        }
    }

    /// Records how long a host took from the end of the request to the end of
    /// its response.
    pub(super) fn charge_time(&self, cluster: &Cluster, milliseconds: u64, exchange: &Exchange) {
        if !self.counts_responses(exchange) {
            return;
        }
        let (internal, is_canary) = (exchange.internal, exchange.counted.is_canary);
        let responses = &cluster.shared.responses;
        responses.sent.time(milliseconds, internal, is_canary);
        if let Some(alt) = exchange.counted.alt_stat {
            (cluster.alt_stats).with(alt, |stats| stats.time(milliseconds, internal, is_canary));
        }
        for stats in self.route_stats(exchange).into_iter().flatten() {
            stats.upstream_rq_time.record(milliseconds);
        }
    }

    /// Health checks say nothing of what clients are answered.
    pub(super) fn counts_responses(&self, exchange: &Exchange) -> bool {
        self.shared.router_of(exchange).dynamic_stats && !exchange.info.health_check
    }
}

/// Whether the host is one that new versions are tried on, by its own word or
/// by its metadata.
fn is_canary(exchange: &Exchange) -> bool {
    exchange.response.get(HeaderId::XEnvoyUpstreamCanary) == Some(b"true")
        || (exchange.info.host.as_ref()).is_some_and(|host| host.is_canary)
}
