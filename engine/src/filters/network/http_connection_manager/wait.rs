//! Waiting before and behind the router: for a filter that holds a request
//! back, and for a response that is paced. The client, the deadlines and the
//! end of the worker are watched meanwhile.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ringway_config::route::{Action, Forward, SelectedRoute};

use super::super::super::http::router::{Failure, poll_deadline, set_stream_deadlines};
use super::local_reply::LocalReply;
use super::{ConnectionManager, Handled};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::http1::reader::BodyPart;
use crate::reactor;
use crate::stream_info::{TimePoint, details};

impl ConnectionManager {
    /// Waits for `waiting`; `Err` when the request is over first. What arrives
    /// of its body meanwhile is kept for whoever sends it on, as far as the
    /// connection's buffer limit allows.
    pub(in crate::filters) async fn wait_for_filter(
        &self,
        mut waiting: Pin<Box<dyn Future<Output = ()>>>,
        route: Option<SelectedRoute<'_>>,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Handled> {
        set_stream_deadlines(self, forward_of(route), exchange);
        // As in Envoy, a request that is held back has not been read to its end.
        let request = self.config().timeouts.request;
        exchange.deadlines.request = request.map(|limit| exchange.info.start + limit);
        downstream.timer.set(exchange.deadlines.next());
        let failed = poll_fn(|cx| {
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(failure) = poll_body_to_keep(downstream, exchange, cx) {
                return Poll::Ready(Some(failure));
            }
            self.poll_interrupted(downstream, exchange, cx).map(Some)
        })
        .await;
        match failed {
            None => {
                if exchange.is_request_over() {
                    exchange.deadlines.request = None;
                }
                Ok(())
            }
            Some(failure) => Err(failure.answer_alone(self, downstream, exchange)),
        }
    }

    /// Reads the request's body and keeps nothing of it; `Err` when the request
    /// is over before its end.
    pub(super) async fn discard_body(
        &self,
        route: Option<SelectedRoute<'_>>,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Handled> {
        set_stream_deadlines(self, forward_of(route), exchange);
        downstream.timer.set(exchange.deadlines.next());
        while !exchange.request_complete {
            let part = poll_fn(|cx| {
                if let Poll::Ready(part) = downstream.poll_body(exchange, cx) {
                    return Poll::Ready(part.map_err(|error| Failure::of_client(&error, exchange)));
                }
                poll_deadline(self, downstream, exchange, cx).map(Err)
            })
            .await;
            exchange.deadlines.progress(reactor::now());
            match part {
                Ok(BodyPart::Data(_)) => {}
                Ok(BodyPart::End) => {
                    note_end(exchange);
                    exchange.deadlines.request = None;
                }
                Err(failure) => return Err(failure.answer_alone(self, downstream, exchange)),
            }
        }
        Ok(())
    }

    /// Reads the request's body and keeps all of it for the filter that has asked
    /// for it, and for whoever sends it on; `Err` when the request is over
    /// before, also because it is too large.
    pub(super) async fn buffer_body(
        &self,
        route: Option<SelectedRoute<'_>>,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Handled> {
        set_stream_deadlines(self, forward_of(route), exchange);
        downstream.timer.set(exchange.deadlines.next());
        while !exchange.request_complete {
            let failed = poll_fn(|cx| {
                if let Poll::Ready(failure) = poll_body_to_keep(downstream, exchange, cx) {
                    return Poll::Ready(Some(failure));
                }
                let too_large = exchange.replay.len() > downstream.body_bytes_max();
                if exchange.request_complete || too_large {
                    return Poll::Ready(None);
                }
                poll_deadline(self, downstream, exchange, cx).map(Some)
            })
            .await;
            if let Some(failure) = failed {
                return Err(failure.answer_alone(self, downstream, exchange));
            }
            if exchange.replay.len() > downstream.body_bytes_max() {
                self.stats().downstream_rq_too_large.inc();
                exchange.forget_body();
                let details = details::REQUEST_PAYLOAD_TOO_LARGE;
                let reply = LocalReply::new(413, "Payload Too Large", details);
                self.reply(downstream, exchange, reply);
                return Err(Handled::Answered);
            }
        }
        exchange.deadlines.request = None;
        Ok(())
    }

    /// Waits until the last byte of a paced response is out. Nothing but the
    /// client and the limits of the whole stream can end it now.
    pub(super) async fn wait_for_pacer(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        exchange.deadlines.keep_stream_limits();
        downstream.timer.set(exchange.deadlines.next());
        let failed = poll_fn(|cx| {
            if downstream.poll_paced(exchange, cx) {
                exchange.deadlines.progress(reactor::now());
            }
            if exchange.response_complete {
                return Poll::Ready(None);
            }
            self.poll_interrupted(downstream, exchange, cx).map(Some)
        })
        .await;
        match failed {
            None => Handled::Answered,
            Some(failure) => failure.answer_alone(self, downstream, exchange),
        }
    }

    fn poll_interrupted(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Failure> {
        if downstream.poll_closed(cx).is_ready() {
            return Poll::Ready(Failure::DownstreamClosed);
        }
        poll_deadline(self, downstream, exchange, cx)
    }
}

/// Reads what has arrived of a request's body, and keeps it. Is ready when the
/// body is broken off.
fn poll_body_to_keep(
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    while !exchange.request_complete && exchange.replay.len() <= downstream.body_bytes_max() {
        match ready!(downstream.poll_body(exchange, cx)) {
            Ok(BodyPart::Data(data)) => exchange.replay.extend_from_slice(&data),
            Ok(BodyPart::End) => {
                note_end(exchange);
                exchange.has_empty_body = exchange.replay.is_empty();
            }
            Err(error) => return Poll::Ready(Failure::of_client(&error, exchange)),
        }
        exchange.deadlines.progress(reactor::now());
    }
    Poll::Pending
}

/// Notes that the request has arrived to its end.
fn note_end(exchange: &mut Exchange) {
    exchange.request_complete = true;
    exchange
        .info
        .mark(TimePoint::DownstreamRxEnd, reactor::now());
}

/// Where a route sends requests, if it does.
fn forward_of(route: Option<SelectedRoute<'_>>) -> Option<&Forward> {
    match &route?.route.action {
        Action::Forward(forward) => Some(forward),
        _ => None,
    }
}
