//! Waiting before and behind the router: for a filter that holds a request
//! back, and for a response that is paced. The client, the deadlines and the
//! end of the worker are watched meanwhile.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use ringway_config::route::{Action, SelectedRoute};

use super::local_reply::LocalReply;
use super::{ConnectionManager, Handled};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired};
use crate::reactor;
use crate::stream_info::{ResponseFlag, details};

/// Why waiting is of no use any more.
enum Interrupted {
    /// The client is gone.
    ByClient,
    /// The worker ends.
    Stopped,
    /// A deadline passed.
    Expired(Expired),
}

impl ConnectionManager {
    /// Waits for `waiting`; `Err` when the request is over first. Its body
    /// stays where it is: the kernel takes no more from the client than the
    /// socket's own limit.
    pub(super) async fn wait_for_filter(
        &self,
        mut waiting: Pin<Box<dyn Future<Output = ()>>>,
        route: Option<SelectedRoute<'_>>,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Handled> {
        self.set_stream_deadlines(route, exchange);
        downstream.timer.set(exchange.deadlines.next());
        let interrupted = poll_fn(|cx| {
            if waiting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.poll_interrupted(downstream, exchange, cx).map(Some)
        })
        .await;
        match interrupted {
            None => Ok(()),
            Some(Interrupted::Expired(expired)) => {
                let reply = self.expire(expired, exchange);
                downstream.discard_received(exchange);
                self.reply(downstream, exchange, reply);
                Err(Handled::Answered)
            }
            Some(gone) => Err(note_gone(&gone, exchange)),
        }
    }

    /// Waits until the last byte of a paced response is out. Nothing but the
    /// client and the limits of the whole stream can end it now.
    pub(super) async fn wait_for_pacer(
        &self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        let deadlines = &mut exchange.deadlines;
        (deadlines.route, deadlines.upstream, deadlines.request) = (None, None, None);
        downstream.timer.set(deadlines.next());
        let interrupted = poll_fn(|cx| {
            if downstream.poll_paced(exchange, cx) {
                exchange.deadlines.progress(reactor::now());
            }
            if exchange.response_complete {
                return Poll::Ready(None);
            }
            self.poll_interrupted(downstream, exchange, cx).map(Some)
        })
        .await;
        let Some(interrupted) = interrupted else {
            return Handled::Answered;
        };
        if let Interrupted::Expired(expired) = interrupted {
            let cut = self.expire(expired, exchange);
            self.stats().downstream_rq_tx_reset.inc();
            let info = &mut exchange.info;
            info.details.set(cut.details);
            if let Some(flag) = cut.flag {
                info.flags.set(flag);
            }
            return Handled::Aborted;
        }
        note_gone(&interrupted, exchange)
    }

    fn poll_interrupted(
        &self,
        downstream: &Downstream,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Interrupted> {
        if downstream.stream.poll_closed(cx).is_ready() {
            return Poll::Ready(Interrupted::ByClient);
        }
        while downstream.timer.poll_expired(cx).is_ready() {
            if self.worker.is_stopping() {
                return Poll::Ready(Interrupted::Stopped);
            }
            if let Some(expired) = exchange.deadlines.expired(reactor::now()) {
                return Poll::Ready(Interrupted::Expired(expired));
            }
            downstream.timer.set(exchange.deadlines.next());
        }
        Poll::Pending
    }

    /// The limits that hold for a stream wherever it goes.
    fn set_stream_deadlines(&self, route: Option<SelectedRoute<'_>>, exchange: &mut Exchange) {
        let timeouts = &self.config().timeouts;
        let forward = route.and_then(|selected| match &selected.route.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        });
        let start = exchange.info.start;
        let is_over = exchange.is_request_over();
        let deadlines = &mut exchange.deadlines;
        deadlines.idle = forward
            .and_then(|forward| forward.idle_timeout)
            .unwrap_or(timeouts.stream_idle);
        deadlines.stream = forward
            .and_then(|forward| forward.max_stream_duration)
            .unwrap_or(timeouts.stream)
            .map(|limit| start + limit);
        if !is_over {
            deadlines.request = timeouts.request.map(|limit| start + limit);
        }
    }

    /// The answer to a request that ran into one of them.
    fn expire(&self, expired: Expired, exchange: &Exchange) -> LocalReply<'static> {
        // A request that has not arrived in full is the client's delay (408);
        // one that has is ours (504).
        let status = if exchange.is_request_over() { 504 } else { 408 };
        let stats = self.stats();
        match expired {
            Expired::Request => {
                stats.downstream_rq_timeout.inc();
                LocalReply::new(408, "request timeout", details::REQUEST_OVERALL_TIMEOUT)
            }
            Expired::Idle => {
                stats.downstream_rq_idle_timeout.inc();
                LocalReply::new(status, "stream timeout", details::STREAM_IDLE_TIMEOUT)
                    .flag(ResponseFlag::StreamIdleTimeout)
            }
            // The others belong to the router, which has not begun.
            Expired::Stream
            | Expired::Route
            | Expired::Upstream
            | Expired::Try
            | Expired::TryIdle => {
                stats.downstream_rq_max_duration_reached.inc();
                LocalReply::new(
                    status,
                    "downstream duration timeout",
                    details::MAX_DURATION_TIMEOUT,
                )
            }
        }
    }
}

/// Notes why a request has no (complete) response.
fn note_gone(why: &Interrupted, exchange: &mut Exchange) -> Handled {
    let info = &mut exchange.info;
    info.flags
        .set(ResponseFlag::DownstreamConnectionTermination);
    info.details.set(match why {
        Interrupted::Stopped => details::DOWNSTREAM_LOCAL_DISCONNECT,
        _ => details::DOWNSTREAM_REMOTE_DISCONNECT,
    });
    Handled::Aborted
}
