//! Responses whose bodies filters see: through the filters to the client.
//!
//! Headers and body go through the same filters one after the other. Where one
//! holds the headers back, the body stops there too; once it lets them go, they
//! run through the filters in front of it, and what it gives of the body follows.

use ringway_codecs::header::HeaderId;

use super::ConnectionManager;
use super::local_reply::{BODY_BYTES_KEPT_MAX, LocalReply};
use crate::filters::http::{HeadStep, Replacement};
use crate::http::body_filter::{Answer, HeldHead, Passed, empty};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stream_info::details;

/// What became of a part of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way, as far as filters have let it pass.
    Queued,
    /// Something else has taken the response's place: nothing more of it is sent.
    Replaced,
    /// The response cannot be completed.
    Broken,
}

impl ConnectionManager {
    /// Queues a part of the response's body.
    #[inline]
    pub fn send_data(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        data: Chunk,
    ) -> Sent {
        if exchange.bodies.is_some() {
            return self.send_filtered(downstream, exchange, data, false);
        }
        downstream.send_data(exchange, data);
        Sent::Queued
    }

    /// Queues the end of the response.
    #[inline]
    pub fn send_end(&self, downstream: &mut Downstream, exchange: &mut Exchange) -> Sent {
        if exchange.bodies.is_some() {
            return self.send_filtered(downstream, exchange, empty(), true);
        }
        downstream.send_end(exchange);
        Sent::Queued
    }

    /// Queues the body of a local reply, and its end.
    #[inline]
    pub(super) fn send_local_body(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        body: &[u8],
    ) {
        if exchange.bodies.is_some() {
            // Data and end at once, as Envoy shows them to filters.
            self.send_filtered(downstream, exchange, Chunk::from(body), true);
            return;
        }
        downstream.send_bytes(exchange, body);
        downstream.send_end(exchange);
    }

    /// Answers a request whose body a filter does not take.
    pub(in crate::filters) fn answer_refused(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        let answer = exchange
            .bodies
            .as_mut()
            .and_then(|bodies| bodies.answer.take());
        if let Some(answer) = answer {
            if answer.details == details::REQUEST_PAYLOAD_TOO_LARGE {
                self.stats().downstream_rq_too_large.inc();
            }
            self.reply(downstream, exchange, answer_of(&answer));
        }
    }

    /// [`ConnectionManager::send_response_head`] of a response whose body filters
    /// see.
    #[cold]
    pub(super) fn begin_filtered_response(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
    ) -> bool {
        let (status, framing) = match exchange.page {
            Some(page) => self.finish_page(page, status, framing, exchange),
            None => (status, framing),
        };
        let head = HeldHead {
            place: usize::MAX,
            status,
            framing,
        };
        match self.pass_head(downstream, exchange, head, false) {
            Sent::Queued => {
                if (exchange.bodies.as_ref()).is_some_and(|bodies| bodies.held.is_none()) {
                    self.queue_filtered_head(downstream, exchange, head, false);
                }
                true
            }
            Sent::Replaced | Sent::Broken => false,
        }
    }

    /// Runs the response's headers through the filters in front of where they
    /// are, and notes where they are held back, if they are; `has_data` says that
    /// data is known to follow.
    fn pass_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        head: HeldHead,
        has_data: bool,
    ) -> Sent {
        exchange.with_bodies(|bodies, _| bodies.held = None);
        if exchange
            .bodies
            .as_ref()
            .is_some_and(|bodies| bodies.skips_filters)
        {
            return Sent::Queued;
        }
        let filters = self.shared.filters_of(exchange);
        let may_replace =
            filters.replaces_responses() && exchange.page.is_none() && !exchange.response_replaced;
        let whole = !has_data && exchange.response_trailers.is_empty() && is_whole(head, exchange);
        let mut body = self.worker.replacement_body.take();
        body.clear();
        body.shrink_to(BODY_BYTES_KEPT_MAX);
        let mut before = head.place;
        let sent = loop {
            let from = (before, may_replace, whole);
            match filters.filtered_response(exchange, &self.worker, from, &mut body) {
                HeadStep::Done => break Sent::Queued,
                HeadStep::Held(place) => {
                    let held = HeldHead { place, ..head };
                    exchange.with_bodies(|bodies, _| bodies.held = Some(held));
                    break Sent::Queued;
                }
                HeadStep::Answered(answer) => {
                    self.answer_instead(&answer, downstream, exchange);
                    break Sent::Replaced;
                }
                HeadStep::Replaced(_, Replacement::Reply(reply)) => {
                    exchange.response_replaced = true;
                    let reply = LocalReply {
                        body: &body,
                        ..reply
                    };
                    self.reply(downstream, exchange, reply);
                    break Sent::Replaced;
                }
                HeadStep::Replaced(place, Replacement::Fetch(fetch)) => {
                    if self.fetch(place, fetch, exchange) {
                        break Sent::Replaced;
                    }
                    before = place;
                }
            }
        };
        self.worker.replacement_body.replace(body);
        sent
    }

    /// Runs data, and the end of the response if it `is_end`, through the filters.
    #[cold]
    fn send_filtered(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        mut data: Chunk,
        is_end: bool,
    ) -> Sent {
        let skips = exchange
            .bodies
            .as_ref()
            .is_some_and(|bodies| bodies.skips_filters);
        let kept_max = downstream.body_bytes_max();
        let mut before = if skips { 0 } else { usize::MAX };
        loop {
            let passed = exchange.with_bodies(|bodies, exchange| match is_end {
                true => bodies.response_end(before, &mut data, exchange),
                false => bodies.response_data((before, kept_max), &mut data, exchange),
            });
            match passed {
                Passed::All => break,
                Passed::Answered(answer) => {
                    return self.answer_instead(&answer, downstream, exchange);
                }
                Passed::Released(place) => {
                    before = place;
                    let held = exchange.bodies.as_ref().and_then(|bodies| bodies.held);
                    let Some(head) = held else {
                        continue;
                    };
                    match self.pass_head(downstream, exchange, head, !data.is_empty()) {
                        Sent::Queued => {}
                        stopped => return stopped,
                    }
                    if (exchange.bodies.as_ref()).is_some_and(|bodies| bodies.held.is_none()) {
                        self.queue_filtered_head(downstream, exchange, head, !data.is_empty());
                    }
                }
            }
        }
        if (exchange.bodies.as_ref()).is_some_and(|bodies| bodies.held.is_some()) {
            return Sent::Queued;
        }
        if !data.is_empty() {
            downstream.send_data(exchange, data);
        }
        if is_end {
            downstream.send_end(exchange);
        }
        Sent::Queued
    }

    /// Queues headers that all filters have seen; `has_data` says that data is
    /// known to follow.
    fn queue_filtered_head(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        head: HeldHead,
        has_data: bool,
    ) {
        let status = exchange.response.get(HeaderId::Status);
        let status = status.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let status = status.unwrap_or(head.status);
        exchange.info.response_code = status;
        let has_length = exchange.response.contains(HeaderId::ContentLength);
        let has_trailers = !exchange.response_trailers.is_empty();
        let framing = match head.framing {
            ResponseFraming::Tunnel => ResponseFraming::Tunnel,
            _ if has_length => ResponseFraming::Described,
            ResponseFraming::Empty if !has_data && !has_trailers => ResponseFraming::Empty,
            ResponseFraming::Described if status == 204 || status == 304 => {
                ResponseFraming::Described
            }
            _ => ResponseFraming::Unknown,
        };
        self.queue_response_head(downstream, exchange, status, framing);
    }

    /// Sends the answer of a filter in the place of the response that it sees,
    /// past all filters, as Envoy does. A response that has begun is broken off.
    fn answer_instead(
        &self,
        answer: &Answer,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Sent {
        if answer.details == details::RESPONSE_PAYLOAD_TOO_LARGE {
            self.stats().rs_too_large.inc();
        }
        if exchange.response_started {
            exchange.info.details.set(answer.details);
            return Sent::Broken;
        }
        exchange.with_bodies(|bodies, _| {
            bodies.skips_filters = true;
            bodies.held = None;
        });
        exchange.response_replaced = true;
        exchange.response.clear();
        exchange.response_trailers.clear();
        self.reply(downstream, exchange, answer_of(answer));
        Sent::Replaced
    }
}

/// Whether nothing follows the headers of a response.
fn is_whole(head: HeldHead, exchange: &Exchange) -> bool {
    head.framing == ResponseFraming::Empty
        || exchange.facts.is_head
        || head.status == 204
        || head.status == 304
        || exchange.response.get(HeaderId::ContentLength) == Some(b"0")
}

/// The local reply that an answer is.
pub(super) fn answer_of(answer: &Answer) -> LocalReply<'_> {
    LocalReply {
        body: &answer.body,
        grpc_status: answer.grpc_status,
        ..LocalReply::new(answer.status, "", answer.details)
    }
}
