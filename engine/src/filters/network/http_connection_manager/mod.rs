//! The HTTP connection manager
//! (`envoy.filters.network.http_connection_manager`).
//!
//! Read a request from top to bottom here: [`ConnectionManager::serve`] takes
//! one request after the other off a connection, [`ConnectionManager::handle`]
//! checks it, finds its route, runs the filters and hands it to the router, and
//! `finish` counts and logs it.
//!
//! - `config.rs`: the compiled configuration.
//! - `connection.rs`: waiting for requests, ending connections;
//!   `http2_connection.rs` and `http2_stream.rs`: the same for HTTP/2, whose
//!   requests run side by side; `http2_clock.rs`: its deadlines; `http2_frames.rs`:
//!   what only its frames tell, and `http2_head.rs`: headers without an end.
//! - `request.rs`: what is done to a request before it is routed.
//! - `routes.rs`: the route configurations, by scope where there are scopes.
//! - `response.rs`: what is done to every response.
//! - `local_reply.rs`: the proxy's own responses;
//!   `local_reply_config.rs`: how the configuration changes them.
//! - `upgrade.rs`: who may change a connection's protocol.
//! - `wait.rs`: filters that hold a request back.
//! - `filtered_body.rs`: responses whose bodies filters see.
//! - `finish.rs`: statistics and access logs at the end.

pub mod config;
mod connection;
mod filtered_body;
mod finish;
mod http2_clock;
mod http2_connection;
mod http2_frames;
mod http2_head;
mod http2_stream;
pub mod local_reply;
pub mod local_reply_config;
mod log_flushes;
mod proxy_status;
mod replacement;
pub mod request;
mod response;
pub mod routes;
pub mod upgrade;
mod wait;

use std::rc::Rc;
use std::sync::Arc;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::RequestHead;
use ringway_config::listener::DrainType;
use ringway_config::route::{MatchInput, PeerCertificate, RouteMatch, SelectedRoute};
use ringway_config::runtime::RuntimeValues;

use self::config::Config;
pub use self::filtered_body::Sent;
use self::filtered_body::answer_of;
use self::local_reply::LocalReply;
use self::upgrade::Upgrades;
use super::super::http::{FilterChain, Flow, HttpFilters, router};
use crate::filters::WorkerContext;
use crate::formatter::AccessLogType;
use crate::http::conn_manager_utility::Edge;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::route_table::{RouteTable, TableId};
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
    /// What connections may change to, with the filters of such requests.
    pub upgrades: Upgrades,
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
        let (mut config, mut filters) = (config, filters);
        config.routes.register(store);
        filters.chain.register(store, &prefix);
        let of_upgrades = std::mem::take(&mut filters.upgrades);
        Self {
            stats: HttpConnectionManagerStats::new(store, &prefix),
            router_stats: RouterStats::new(store, &prefix),
            tracing_stats: TracingStats::new(store, &format!("{prefix}tracing.")),
            listener_stats: ListenerHttpStats::new(store, &on_listener),
            upgrades: Upgrades::new(&config.upgrades, of_upgrades, store, &prefix),
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
    /// The request has become another one, which is to be routed anew.
    Redirected,
}

impl Shared {
    /// The route table of an exchange.
    #[must_use]
    pub fn routes_of(&self, exchange: &Exchange) -> &RouteTable {
        self.config.routes.table(exchange.route_table)
    }
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

    /// The route that the exchange's request would have with these headers.
    pub fn find_route(&self, request: &HeaderMap, exchange: &Exchange) -> RouteMatch<'_> {
        let table = self.config().routes.choose(request);
        self.find_route_in(table, request, exchange)
    }

    /// The same, where the route table is known. Without a table there is no
    /// virtual host either, which is how Envoy answers a request without scope.
    fn find_route_in(
        &self,
        table: Option<TableId>,
        request: &HeaderMap,
        exchange: &Exchange,
    ) -> RouteMatch<'_> {
        let Some(table) = table else {
            return RouteMatch::NoVirtualHost;
        };
        let runtime = self.worker.runtime.borrow();
        let input = self.match_input(request, exchange, &runtime);
        self.config().routes.table(table).configuration.find(&input)
    }

    /// What the exchange's request is routed by if these are its headers.
    pub fn match_input<'a>(
        &self,
        request: &'a HeaderMap,
        exchange: &'a Exchange,
        runtime: &'a RuntimeValues,
    ) -> MatchInput<'a> {
        MatchInput {
            headers: request,
            random: exchange.random,
            runtime,
            metadata: exchange.info.metadata(),
            filter_state: exchange.info.filter_state(),
            remote: exchange.info.remote().ip(),
            peer_certificate: match &exchange.info.connection.tls {
                None => PeerCertificate::default(),
                Some(tls) => PeerCertificate {
                    presented: !tls.peer.is_empty(),
                    validated: tls.peer_validated,
                },
            },
        }
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }

    fn stats(&self) -> &HttpConnectionManagerStats {
        &self.shared.stats
    }

    /// One request whose head is in `exchange.request`, from the checks to the
    /// last byte of its response.
    async fn handle(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        head: &RequestHead,
    ) -> Handled {
        let handled = self.answer(downstream, exchange, head).await;
        self.finish_paced(handled, downstream, exchange).await
    }

    /// The same, to the end of what the router or a filter has to do with the
    /// response.
    async fn answer(
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
        loop {
            let handled = self.dispatch(upgrade, downstream, exchange).await;
            if handled != Handled::Redirected && !replacement::is_begun(exchange) {
                return handled;
            }
            self.begin_redirected(downstream, exchange);
            if let Err(rejected) = self.prepare_redirected(exchange) {
                self.reply(downstream, exchange, rejected);
                return Handled::Answered;
            }
            exchange.forget_route();
        }
    }

    /// Finds the request's route, runs the filters and does what the route
    /// says.
    async fn dispatch(
        &self,
        upgrade: bool,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        let mut found = self.select_route(exchange);
        if self.config().log_flushes.on_new_request {
            self.log(AccessLogType::DownstreamStart, downstream, exchange);
        }
        if (upgrade || exchange.facts.is_connect) && !self.may_upgrade(exchange, &found) {
            self.stats().downstream_rq_ws_on_non_ws_route.inc();
            exchange.distrust_rest(downstream.is_request_read());
            let refused = LocalReply::new(403, "", details::UPGRADE_FAILED);
            self.reply(downstream, exchange, refused);
            return Handled::Answered;
        }
        let mut route = selected(&found);
        let filters = self.shared.filters_of(exchange);
        let mut flow = filters.request_headers(exchange, &self.worker, route);
        loop {
            match flow {
                Flow::Continue => break,
                Flow::Reroute => {
                    exchange.forget_route();
                    found = self.select_route(exchange);
                    route = selected(&found);
                    flow = filters.request_headers(exchange, &self.worker, route);
                }
                Flow::Reply(answer) => {
                    self.reply(downstream, exchange, answer);
                    return Handled::Answered;
                }
                Flow::Answer(answer) => {
                    self.reply(downstream, exchange, answer_of(&answer));
                    return Handled::Answered;
                }
                Flow::Buffer => {
                    let buffered = self.buffer_body(route, downstream, exchange);
                    if let Err(handled) = Box::pin(buffered).await {
                        return handled;
                    }
                    flow = filters.resume(exchange, &self.worker, route);
                }
                Flow::Wait(waiting) => {
                    // In a box: few requests wait, and every connection would
                    // have room for it.
                    let wait = self.wait_for_filter(waiting, route, downstream, exchange);
                    if let Err(handled) = Box::pin(wait).await {
                        return handled;
                    }
                    flow = filters.resume(exchange, &self.worker, route);
                }
                Flow::Discard => {
                    let discarded = self.discard_body(route, downstream, exchange);
                    if let Err(handled) = Box::pin(discarded).await {
                        return handled;
                    }
                    flow = filters.resume(exchange, &self.worker, route);
                }
            }
        }
        router::route(self, found, downstream, exchange).await
    }

    /// Finds the request's route and notes what follows from it.
    fn select_route(&self, exchange: &mut Exchange) -> RouteMatch<'_> {
        let table = self.config().routes.choose(&exchange.request);
        exchange.route_table = table.unwrap_or_default();
        let found = self.find_route_in(table, &exchange.request, exchange);
        self.note_route(&found, exchange);
        let Some(SelectedRoute { route, .. }) = selected(&found) else {
            return found;
        };
        router::choose_cluster(self, route, exchange);
        // As in Envoy, a route that answers changes its own answer only.
        if !route.action.answers() {
            exchange.header_mutations = route.mutations(exchange.cluster);
        }
        found
    }

    /// Notes a request's route, or that there is none.
    fn note_route(&self, found: &RouteMatch<'_>, exchange: &mut Exchange) {
        let info = &mut exchange.info;
        info.note_found(found);
        if let Some(metadata) = found.metadata() {
            info.route_metadata = Some(self.worker.route_metadata(metadata));
        }
        if let Some(SelectedRoute { route, .. }) = selected(found) {
            info.route_name.copy(&route.name);
        }
    }

    /// Notes the route that a response leads to instead of the one that the
    /// request has had: what the response is changed by stays that of the latter.
    pub fn note_next_route(
        &self,
        found: &RouteMatch<'_>,
        request: &HeaderMap,
        exchange: &mut Exchange,
    ) {
        exchange.info.route_metadata = None;
        exchange.info.route_name.clear();
        self.note_route(found, exchange);
        let next = selected(found).map(|next| next.route);
        exchange.info.cluster = next.and_then(|route| {
            let id = router::chosen_cluster(self, route, request, exchange)?.cluster?;
            let cluster = self.worker.clusters.get(id)?;
            Some(Rc::clone(&cluster.info))
        });
    }

    /// Waits until the rest of a response that a pacer holds back is out.
    async fn finish_paced(
        &self,
        handled: Handled,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        let waits = exchange.pacer.as_ref().is_some_and(|pacer| pacer.has_end());
        if handled != Handled::Answered || !waits {
            return handled;
        }
        Box::pin(self.wait_for_pacer(downstream, exchange)).await
    }
}

fn selected<'a>(found: &RouteMatch<'a>) -> Option<SelectedRoute<'a>> {
    match found {
        RouteMatch::Route(selected) => Some(*selected),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
