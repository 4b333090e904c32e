//! What is done to every response, whoever made it.

use std::time::Instant;

use ringway_codecs::header::HeaderId;

use super::local_reply::{BODY_BYTES_KEPT_MAX, LocalReply};
use super::{ConnectionManager, Shared};
use crate::http::conn_manager_utility;
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::http::header_parser::{self, Message, Scratch};
use crate::reactor;
use crate::stream_info::TimePoint;

impl Shared {
    /// Changes the request's or the response's headers as its route says, at
    /// the time `now`.
    ///
    /// A message that said that it has no body still says so afterwards: as in
    /// Envoy, a route can only take the length off a body.
    pub fn apply_route_mutations(
        &self,
        message: Message,
        now: Instant,
        exchange: &mut Exchange,
        scratch: &mut Scratch,
    ) {
        // What `%DURATION%` is until the request is over.
        exchange.info.mark(TimePoint::RequestComplete, now);
        let length = message.headers(exchange).get(HeaderId::ContentLength);
        let is_empty = length == Some(b"0");
        header_parser::apply_route_mutations(message, self.routes_of(exchange), exchange, scratch);
        let headers = message.headers_mut(exchange);
        if is_empty && !headers.contains(HeaderId::ContentLength) {
            headers.append(HeaderId::ContentLength, b"0");
        }
    }
}

impl ConnectionManager {
    /// [`Shared::apply_route_mutations`], where there is anything to change.
    pub fn apply_route_mutations(&self, message: Message, exchange: &mut Exchange) {
        if exchange.header_mutations.is_empty() {
            return;
        }
        let scratch = &mut self.worker.header_scratch.borrow_mut();
        self.shared
            .apply_route_mutations(message, reactor::now(), exchange, scratch);
    }

    /// Queues `100 Continue`.
    pub fn send_continue(&self, downstream: &mut Downstream) {
        downstream.send_continue();
        self.stats().completed(100);
        self.shared.listener_stats.completed(100);
    }

    /// Queues the response's head: hop-by-hop headers off, `date`, `server`
    /// and their like on, and the end of the connection announced if it comes.
    ///
    /// False means that a filter has answered instead, to the end: nothing more
    /// of this response is sent.
    #[must_use]
    pub fn send_response_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
    ) -> bool {
        exchange.info.response_code = status;
        let filters = self.shared.filters_of(exchange);
        if filters.may_replace_response(exchange) && self.replace_response(downstream, exchange) {
            return false;
        }
        filters.response_headers(exchange, &self.worker);
        if framing == ResponseFraming::Empty {
            exchange.response.set(HeaderId::ContentLength, b"0");
        }
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
        let stats = self.stats();
        let draining = self.is_draining();
        if draining && exchange.keep_alive {
            stats.downstream_cx_drain_close.inc();
        }
        // A request that is still arriving would be taken for the next one.
        let close = draining || !exchange.request_complete && !downstream.is_request_read();
        exchange
            .info
            .mark_first(TimePoint::DownstreamTxBegin, reactor::now());
        downstream.send_head(exchange, status, framing, close);
        // Health checks would drown what clients are answered.
        if exchange.info.health_check {
            self.shared.tracing_stats.health_check.inc();
        } else {
            stats.completed(status);
            self.shared.listener_stats.completed(status);
        }
        true
    }

    /// Sends what a filter has to say in the response's place, if one has.
    fn replace_response(&self, downstream: &mut Downstream, exchange: &mut Exchange) -> bool {
        let mut body = self.worker.replacement_body.take();
        body.clear();
        body.shrink_to(BODY_BYTES_KEPT_MAX);
        let filters = self.shared.filters_of(exchange);
        let replaced = filters.replace_response(exchange, &self.worker, &mut body);
        if let Some(reply) = replaced {
            self.reply(
                downstream,
                exchange,
                LocalReply {
                    body: &body,
                    ..reply
                },
            );
        }
        self.worker.replacement_body.replace(body);
        replaced.is_some()
    }
}
