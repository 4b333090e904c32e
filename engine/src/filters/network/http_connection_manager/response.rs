//! What is done to every response, whoever made it.

use super::ConnectionManager;
use crate::http::conn_manager_utility;
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::reactor;
use crate::stream_info::TimePoint;

impl ConnectionManager {
    /// Queues `100 Continue`.
    pub fn send_continue(&self, downstream: &mut Downstream) {
        downstream.send_continue();
        self.stats().completed(100);
        self.shared.listener_stats.completed(100);
    }

    /// Queues the response's head: hop-by-hop headers off, `date`, `server`
    /// and their like on, and the end of the connection announced if it comes.
    pub fn send_response_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
    ) {
        let filters = self.shared.filters_of(exchange);
        filters.response_headers(exchange, &self.worker);
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
        exchange.info.response_code = status;
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
    }
}
