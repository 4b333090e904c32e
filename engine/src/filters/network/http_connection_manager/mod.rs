//! The HTTP connection manager
//! (`envoy.filters.network.http_connection_manager`).
//!
//! Read a request from top to bottom here: [`ConnectionManager::serve`] takes
//! one request after the other off a connection, [`ConnectionManager::handle`]
//! checks it, finds its route, runs the filters and hands it to the router, and
//! `finish` counts and logs it.
//!
//! - `config.rs`: the compiled configuration.
//! - `connection.rs`: waiting for requests, ending connections.
//! - `request.rs`: what is done to a request before it is routed.
//! - `response.rs`: what is done to every response.
//! - `local_reply.rs`: the proxy's own responses.
//! - `finish.rs`: statistics and access logs at the end.

pub mod config;
mod connection;
mod finish;
pub mod local_reply;
mod request;
mod response;

use std::rc::Rc;
use std::sync::Arc;

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::RequestHead;
use ringway_config::listener::DrainType;
use ringway_config::route::{Action, MatchInput, RouteMatch};

use self::config::Config;
use self::local_reply::LocalReply;
use super::super::http::{FilterChain, Flow, HttpFilters, router};
use crate::filters::WorkerContext;
use crate::http::conn_manager_utility::Edge;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::stats::Store;
use crate::stats::http_connection_manager::{
    self as stats, HttpConnectionManagerStats, ListenerHttpStats, RouterStats, TracingStats,
};
use crate::stream_info::details;

/// A connection manager as all workers share it.
pub struct Shared {
    /// The compiled configuration.
    pub config: Config,
    /// The listener's `drain_type`: connections also end while the health
    /// check is failed by hand.
    pub drain_type: DrainType,
    /// The HTTP filters before the router.
    pub filters: FilterChain,
    /// The router at their end.
    pub router: router::Config,
    /// The router's part of `http.<stat_prefix>.*`.
    pub router_stats: RouterStats,
    /// `http.<stat_prefix>.tracing.*`: there is no tracing yet, but health
    /// checks are told apart as they will be.
    pub tracing_stats: TracingStats,
    /// `http.<stat_prefix>.*`.
    pub stats: HttpConnectionManagerStats,
    /// `listener.<address>.http.<stat_prefix>.*`.
    pub listener_stats: ListenerHttpStats,
}

impl Shared {
    /// Registers the statistics of a connection manager below a listener whose
    /// statistics begin with `listener_prefix`.
    #[must_use]
    pub fn new(
        config: Config,
        filters: HttpFilters,
        drain_type: DrainType,
        store: &Store,
        listener_prefix: &str,
    ) -> Self {
        let prefix = stats::prefix(&config.stat_prefix);
        let on_listener = stats::listener_prefix(listener_prefix, &config.stat_prefix);
        let mut filters = filters;
        filters.chain.register(store, &prefix);
        Self {
            stats: HttpConnectionManagerStats::new(store, &prefix),
            router_stats: RouterStats::new(store, &prefix),
            tracing_stats: TracingStats::new(store, &format!("{prefix}tracing.")),
            listener_stats: ListenerHttpStats::new(store, &on_listener),
            filters: filters.chain,
            router: filters.router,
            drain_type,
            config,
        }
    }
}

/// A connection manager on one worker.
pub struct ConnectionManager {
    /// The part that all workers share.
    pub shared: Arc<Shared>,
    /// The worker.
    pub worker: Rc<WorkerContext>,
    edge: Edge,
}

/// How the handling of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// The response was queued to its end.
    Answered,
    /// The client is gone, or the response cannot be completed: the
    /// connection must be closed without pretending that it was.
    Aborted,
}

impl ConnectionManager {
    /// The connection manager of one worker.
    #[must_use]
    pub fn new(shared: Arc<Shared>, worker: Rc<WorkerContext>) -> Rc<Self> {
        let edge = request::edge(&shared.config, &worker);
        Rc::new(Self {
            shared,
            worker,
            edge,
        })
    }

    /// Whether responses should end their connections.
    fn is_draining(&self) -> bool {
        let health_counts = self.shared.drain_type == DrainType::Default;
        self.worker.is_draining() || health_counts && self.worker.is_health_failed()
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn stats(&self) -> &HttpConnectionManagerStats {
        &self.shared.stats
    }

    /// One request whose head is in `exchange.request`, from the checks to the
    /// end of its response.
    async fn handle(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        head: &RequestHead,
    ) -> Handled {
        self.begin(downstream, exchange, head);
        let upgrade = match self.prepare_request(exchange, head) {
            Ok(upgrade) => upgrade,
            Err(rejected) => {
                self.reply(downstream, exchange, rejected);
                return Handled::Answered;
            }
        };
        if head.expect_continue && !self.config().proxy_100_continue {
            exchange.request.remove(HeaderId::Expect);
            self.send_continue(downstream);
        }

        exchange.random = self.worker.rng.borrow_mut().u64(..);
        let mut found = self.find_route(exchange);
        if upgrade {
            // No upgrade is configured, and bytes of another protocol must
            // not be taken for a request.
            self.stats().downstream_rq_ws_on_non_ws_route.inc();
            exchange.request_complete = false;
            exchange.keep_alive = false;
            let refused = LocalReply::new(403, "", details::UPGRADE_FAILED);
            self.reply(downstream, exchange, refused);
            return Handled::Answered;
        }
        let mut flow = self.shared.filters.request_headers(exchange, &self.worker);
        loop {
            match flow {
                Flow::Continue => break,
                Flow::Reply(answer) => {
                    self.reply(downstream, exchange, answer);
                    return Handled::Answered;
                }
                Flow::Wait(waiting) => {
                    flow = match waiting.await {
                        Flow::Continue => {
                            self.shared.filters.request_headers(exchange, &self.worker)
                        }
                        decided => decided,
                    };
                }
            }
        }
        if exchange.route_cleared {
            found = self.find_route(exchange);
        }
        router::route(self, found, downstream, exchange).await
    }

    /// The route of a request; notes what logs say of it.
    fn find_route(&self, exchange: &mut Exchange) -> RouteMatch<'_> {
        let found = self.config().routes.configuration.find(&MatchInput {
            headers: &exchange.request,
            random: exchange.random,
            runtime: &self.worker.runtime.borrow(),
            metadata: exchange.info.metadata(),
            filter_state: exchange.info.filter_state(),
        });
        let info = &mut exchange.info;
        info.cluster = None;
        info.route_metadata = None;
        let RouteMatch::Route(selected) = &found else {
            info.route_name.clear();
            return found;
        };
        info.route_name.copy(&selected.route.name);
        if let Some(metadata) = &selected.route.metadata {
            info.route_metadata = Some(self.worker.route_metadata(metadata));
        }
        if let Action::Forward(forward) = &selected.route.action
            && let Some(cluster) = self.worker.clusters.get(forward.cluster)
        {
            info.cluster = Some(Rc::clone(&cluster.info));
        }
        found
    }
}

#[cfg(test)]
mod tests;
