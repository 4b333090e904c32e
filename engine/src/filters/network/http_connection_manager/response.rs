//! What is done to every response, whoever made it.

use std::time::Instant;

use ringway_config::route::MutationLevels;

use super::local_reply_config::set_status;
use super::proxy_status::ProxyStatus;
use super::{ConnectionManager, Shared};
use crate::formatter::AccessLogType;
use crate::http::conn_manager_utility;
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, Message, Scratch};
use crate::reactor;
use crate::stream_info::TimePoint;

impl Shared {
    /// Changes the request's or the response's headers as `levels` of its route
    /// say, at the time `now`.
    pub fn apply_route_mutations(
        &self,
        levels: MutationLevels,
        message: Message,
        now: Instant,
        exchange: &mut Exchange,
        scratch: &mut Scratch,
    ) {
        // What `%DURATION%` is until the request is over.
        exchange.info.mark(TimePoint::RequestComplete, now);
        header_parser::apply_route_mutations(
            levels,
            message,
            self.routes_of(exchange),
            exchange,
            scratch,
        );
    }
}

impl ConnectionManager {
    /// [`Shared::apply_route_mutations`], where there is anything to change.
    pub fn apply_route_mutations(
        &self,
        levels: MutationLevels,
        message: Message,
        exchange: &mut Exchange,
    ) {
        if levels.is_empty() {
            return;
        }
        let scratch = &mut self.worker.header_scratch.borrow_mut();
        self.shared
            .apply_route_mutations(levels, message, reactor::now(), exchange, scratch);
    }

    /// Queues `100 Continue`.
    pub fn send_continue(&self, downstream: &mut Downstream) {
        downstream.send_continue();
        self.stats().completed(100);
        self.shared.listener_stats.completed(100);
    }

    /// Tells the client what went wrong, and gives the status that the response
    /// has instead of its own.
    #[cold]
    fn tell_proxy_status(&self, told: &ProxyStatus, exchange: &mut Exchange) -> Option<u16> {
        let node_id = &self.worker.node.id;
        let status = told.tell(&mut exchange.response, &exchange.info, node_id)?;
        set_status(exchange, status);
        exchange.info.response_code = status;
        Some(status)
    }

    /// Queues an interim response of the host: no filter sees it, and only what
    /// is of the host's connection is taken off.
    pub fn send_interim(&self, downstream: &mut Downstream, exchange: &mut Exchange, status: u16) {
        conn_manager_utility::mutate_interim_headers(
            &mut exchange.response,
            &exchange.request,
            &self.edge,
        );
        downstream.send_interim(exchange, status);
        self.stats().completed(status);
        self.shared.listener_stats.completed(status);
    }

    /// Queues the response's head: hop-by-hop headers off, `date`, `server`
    /// and their like on, and the end of the connection announced if it comes.
    ///
    /// False means that a filter has put something else in its place: nothing
    /// more of this response is sent.
    #[must_use]
    pub fn send_response_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
    ) -> bool {
        exchange.info.response_code = status;
        if exchange.bodies.is_some() {
            return self.begin_filtered_response(downstream, exchange, status, framing);
        }
        let filters = self.shared.filters_of(exchange);
        let (mut status, mut framing) = (status, framing);
        if let Some(page) = exchange.page {
            (status, framing) = self.finish_page(page, status, framing, exchange);
            filters.response_headers(exchange, &self.worker);
        } else if !filters.replaces_responses() {
            filters.response_headers(exchange, &self.worker);
        } else if !exchange.response_replaced && self.replace_response(downstream, exchange) {
            return false;
        } else {
            // It was kept for a page.
            exchange.forget_body();
        }
        self.queue_response_head(downstream, exchange, status, framing);
        true
    }

    /// The same, behind the filters.
    #[inline]
    pub(super) fn queue_response_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
    ) {
        let mut status = status;
        // Envoy's order, for whoever compares bytes.
        self.worker
            .date
            .borrow_mut()
            .set(&mut exchange.response, reactor::wall_clock());
        conn_manager_utility::mutate_response_headers(
            &mut exchange.response,
            &exchange.request,
            &self.edge,
        );
        if let Some(told) = &self.config().proxy_status
            && let Some(recommended) = self.tell_proxy_status(told, exchange)
        {
            status = recommended;
        }
        let stats = self.stats();
        let draining = self.is_draining();
        // Where it would have ended anyway, no drain is to blame.
        if draining && !exchange.connection_ends {
            stats.downstream_cx_drain_close.inc();
        }
        // A request that is still arriving would be taken for the next one.
        let close = draining || !exchange.request_complete && !downstream.is_request_read();
        exchange
            .info
            .mark_first(TimePoint::DownstreamTxBegin, reactor::now());
        if framing == ResponseFraming::Tunnel && self.config().log_flushes.on_tunnel {
            let kind = AccessLogType::DownstreamTunnelSuccessfullyEstablished;
            self.log(kind, downstream, exchange);
        }
        downstream.send_head(exchange, status, framing, close);
        // Health checks would drown what clients are answered.
        if !exchange.info.health_check {
            stats.completed(status);
            self.shared.listener_stats.completed(status);
        }
    }
}
