//! The body of a request that may be tried again: it is sent on as it arrives, and
//! kept for another try as long as it is small enough.

use super::super::failure::Failure;
use super::super::forward::{is_last, request_ended};
use super::super::shadow;
use super::{State, Tries};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::http1::reader::BodyPart;
use crate::reactor;

impl Tries<'_> {
    pub(super) fn on_request_body(
        &mut self,
        part: BodyPart,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        match part {
            BodyPart::Data(data) => {
                shadow::data(self.cluster, exchange, &data);
                self.keep(&data, exchange);
                for one in &mut self.running {
                    if let State::Active(upstream, _) = &mut one.state {
                        upstream.send_data(data, is_last(downstream, exchange));
                        break;
                    }
                }
            }
            BodyPart::End => {
                request_ended(downstream, exchange);
                let now = reactor::now();
                for one in &mut self.running {
                    if let State::Active(upstream, _) = &mut one.state {
                        upstream.send_end(exchange);
                        if exchange.is_request_over() {
                            one.start_clocks(now, exchange);
                        }
                    }
                }
            }
        }
    }

    /// Copies a part of the body for another try: what was received lies in
    /// buffers that other connections need.
    fn keep(&mut self, data: &[u8], exchange: &mut Exchange) {
        if !self.keeping {
            return;
        }
        if exchange.replay.len() + data.len() <= self.body_max {
            exchange.replay.extend_from_slice(data);
            return;
        }
        self.stop_keeping();
        exchange.forget_body();
    }

    /// There is no other try: the body is forgotten. As in Envoy, a page that
    /// takes the place of the response is asked for with what was kept.
    pub(super) fn forget_body(&self, exchange: &mut Exchange) {
        if !self.keeps_for_page(exchange) {
            exchange.forget_body();
        }
    }

    /// The same where there is no response either: Envoy has read the body
    /// although no host takes it.
    pub(super) fn leave_body(
        &mut self,
        failure: &Failure,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        self.forget_body(exchange);
        if self.keeps_for_page(exchange) && !matches!(failure, Failure::DownstreamProtocol) {
            downstream.read_received(exchange, |exchange, data| self.keep(data, exchange));
        }
    }

    fn keeps_for_page(&self, exchange: &Exchange) -> bool {
        self.keeping
            && self
                .manager
                .shared
                .filters_of(exchange)
                .replaces_responses()
    }

    /// The body is too large for another try.
    pub(super) fn stop_keeping(&mut self) {
        self.cluster.stats.retry_or_shadow_abandoned.inc();
        self.keeping = false;
        self.overflowed = true;
        self.retry = None;
    }
}
