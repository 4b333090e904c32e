//! What becomes of a request when a try of it has a response, fails, or takes too
//! long: it is sent on, tried again, or answered here.

use ringway_codecs::http1::ResponseHead;

use super::super::charge::Clusters;
use super::super::failure::Failure;
use super::super::interim::is_interim;
use super::super::retry_state::{Decision, Source, Wanted};
use super::super::sizes::record_unsent;
use super::super::timeout::record_budget;
use super::super::upstream_request::{note_failure, note_unconnected};
use super::super::{Handled, host_result, internal_redirect, tunnel};
use super::{Next, State, Step, Tries, Try};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired};
use crate::reactor;
use crate::stream_info::ResponseFlag;

impl Tries<'_> {
    pub(super) fn on_head(
        &mut self,
        place: usize,
        head: ResponseHead,
        exchange: &mut Exchange,
    ) -> Step {
        // What follows an interim response is not tried again: the next host
        // might not send one. After 101 there is no other response.
        let switches = tunnel::begins(&head, exchange) && head.status == 101;
        if is_interim(head.status) || head.status == 101 && !switches {
            return Step::Won(place, head);
        }
        let mut refused = false;
        if self.running[place].hedged {
            let retry = self.retry.as_ref();
            refused = retry.is_some_and(|retry| {
                let (request, response) = (&exchange.request, &exchange.response);
                retry.would_retry_head(head.status, request, response) != Wanted::No
            });
        } else if let Some(retry) = &mut self.retry {
            let mut rng = self.manager.worker.rng.borrow_mut();
            let source = &mut Source {
                cluster: self.cluster,
                places: self.manager.route_stats(exchange),
                priority: self.forward.priority as usize,
                rng: &mut rng,
                runtime: &self.manager.worker.runtime.borrow(),
            };
            let (request, response) = (&exchange.request, &exchange.response);
            let wall = reactor::wall_clock();
            let decision = retry.on_head(head.status, request, response, wall, source);
            drop(rng);
            if let Decision::Retry(wait) = decision {
                self.cluster.shared.responses.retried(head.status);
                self.next = Next::after(wait, false);
                self.give_up(place, &head, exchange);
                return Step::Wait;
            }
            refused = note(&decision, exchange);
        }
        if let Some(policy) = self.forward.resilience.internal_redirect.as_deref()
            && internal_redirect::applies(policy, head.status)
            && !tunnel::is_unsuccessful_handshake(&head, exchange)
        {
            let complete = exchange.is_request_over() && !self.overflowed;
            let stats = &self.cluster.stats;
            if complete
                && internal_redirect::set_up(
                    policy,
                    self.manager,
                    self.selected,
                    head.status,
                    exchange,
                )
            {
                stats.upstream_internal_redirect_succeeded_total.inc();
                self.finish_redirected(place, &head, exchange);
                return Step::Over(Handled::Redirected);
            }
            stats.upstream_internal_redirect_failed_total.inc();
        }
        // A bad response is not sent while a better one may come.
        if refused && (self.running.len() > 1 || self.next.is_some()) {
            self.give_up(place, &head, exchange);
            return Step::Wait;
        }
        Step::Won(place, head)
    }

    /// Ends a try whose response is not wanted. Its connection is kept if the
    /// head was all of it.
    fn give_up(&mut self, place: usize, head: &ResponseHead, exchange: &mut Exchange) {
        let mut one = self.running.remove(place);
        one.host.stats.rq_error.inc();
        if let State::Active(upstream, _) = &mut one.state {
            upstream.note_head(head, exchange);
        }
        exchange.response.clear();
        exchange.response_trailers.clear();
        if let State::Active(upstream, _) = one.state {
            upstream.release(head, exchange);
        }
    }

    fn finish_redirected(&mut self, place: usize, head: &ResponseHead, exchange: &mut Exchange) {
        let one = self.running.remove(place);
        if let State::Active(mut upstream, _) = one.state {
            upstream.note_head(head, exchange);
            upstream.release(head, exchange);
        }
    }

    /// A try takes too long and hedging is on: another one is begun beside it.
    pub(super) fn on_slow(
        &mut self,
        place: usize,
        expired: Expired,
        exchange: &mut Exchange,
    ) -> Step {
        let one = &mut self.running[place];
        note_failure(&one.host, &Failure::Expired(expired), exchange);
        match expired {
            Expired::TryIdle => one.idle_deadline = None,
            _ => one.deadline = None,
        }
        let Some(retry) = &mut self.retry else {
            return Step::Wait;
        };
        let mut rng = self.manager.worker.rng.borrow_mut();
        let decision = retry.on_slow_try(&mut Source {
            cluster: self.cluster,
            places: self.manager.route_stats(exchange),
            priority: self.forward.priority as usize,
            rng: &mut rng,
            runtime: &self.manager.worker.runtime.borrow(),
        });
        if let Decision::Retry(wait) = decision {
            one.hedged = true;
            self.next = Next::after(wait, true);
        } else {
            note(&decision, exchange);
        }
        Step::Wait
    }

    pub(super) fn on_failed(
        &mut self,
        place: usize,
        failure: Failure,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Step {
        exchange.response.clear();
        let mut one = self.running.remove(place);
        let state = std::mem::replace(&mut one.state, State::Ready);
        let sent = matches!(state, State::Active(..));
        let mut may_be_resent = false;
        match state {
            State::Active(mut upstream, _) => {
                may_be_resent = (self.keeping || !self.has_body)
                    && self.resends_left > 0
                    && upstream.may_be_resent(&failure, exchange);
                if may_be_resent {
                    upstream.forget_sizes();
                }
                upstream.break_off(&failure, self.manager, exchange);
            }
            State::Ready | State::Connecting(_) => {
                note_unconnected(&one.host, &failure);
                record_unsent(self.cluster, &failure, exchange);
            }
        }
        failure.count(self.manager, self.clusters(&one), exchange);
        if !one.hedged
            && let Some(retry) = &mut self.retry
        {
            let mut rng = self.manager.worker.rng.borrow_mut();
            let decision = retry.on_failure(
                &failure,
                sent,
                &mut Source {
                    cluster: self.cluster,
                    places: self.manager.route_stats(exchange),
                    priority: self.forward.priority as usize,
                    rng: &mut rng,
                    runtime: &self.manager.worker.runtime.borrow(),
                },
            );
            drop(rng);
            if let Decision::Retry(wait) = decision {
                host_result::on_failure(self.manager, &one.host, &failure, true, exchange);
                let late = matches!(failure, Failure::Expired(Expired::Try | Expired::TryIdle));
                self.next = Next::after(wait, late);
                return Step::Wait;
            }
            if !may_be_resent {
                note(&decision, exchange);
            }
        }
        if may_be_resent {
            return self.resend(one, exchange);
        }
        host_result::on_failure(self.manager, &one.host, &failure, false, exchange);
        // Others may still bring a response.
        if !self.running.is_empty() || self.next.is_some() {
            let code = if matches!(failure, Failure::UpstreamProtocol) {
                502
            } else {
                503
            };
            self.manager.charge_code(self.cluster, code, exchange);
            return Step::Wait;
        }
        self.leave_body(&failure, downstream, exchange);
        Step::Over(failure.answer_counted(self.manager, self.cluster, downstream, exchange))
    }

    fn clusters<'c>(&'c self, one: &'c Try) -> Clusters<'c> {
        Clusters {
            route: self.cluster,
            host: &one.cluster,
        }
    }

    /// Ends the request without a response of any host.
    pub(super) fn end(
        &mut self,
        failure: Failure,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        self.leave_body(&failure, downstream, exchange);
        if !matches!(failure, Failure::Expired(Expired::Route)) {
            failure.count(self.manager, Clusters::one(self.cluster), exchange);
            self.cancel_all(exchange);
            return failure.answer_counted(self.manager, self.cluster, downstream, exchange);
        }
        // Every try that the route's timeout ends counts as one that timed out.
        let ended = self.running.len();
        for _ in 0..ended {
            failure.count(self.manager, Clusters::one(self.cluster), exchange);
        }
        for one in self.running.drain(..) {
            if let Some(budget) = one.budget {
                budget.forget();
            }
            match one.state {
                State::Active(upstream, _) => {
                    upstream.break_off(&failure, self.manager, exchange);
                    host_result::on_failure(self.manager, &one.host, &failure, false, exchange);
                }
                State::Ready | State::Connecting(_) => {
                    one.cluster.stats.upstream_rq_cancelled.inc();
                    record_unsent(self.cluster, &failure, exchange);
                }
            }
        }
        let status = exchange.limits.timeout_status;
        for _ in 0..ended {
            self.manager.charge_code(self.cluster, status, exchange);
        }
        let took = exchange.upstream_time(reactor::now());
        record_budget(
            self.cluster,
            took.unwrap_or_default(),
            exchange.limits.route,
        );
        failure.respond(None, self.manager, downstream, exchange)
    }

    pub(super) fn cancel_all(&mut self, exchange: &mut Exchange) {
        for one in self.running.drain(..) {
            match one.state {
                State::Active(upstream, _) => upstream.cancel(exchange),
                State::Ready | State::Connecting(_) => {
                    one.cluster.stats.upstream_rq_cancelled.inc();
                    record_unsent(self.cluster, &Failure::DownstreamClosed, exchange);
                }
            }
        }
    }
}

/// Notes why a try was the last one; true if it was to be tried again.
fn note(decision: &Decision, exchange: &mut Exchange) -> bool {
    let flag = match decision {
        Decision::Overflow => ResponseFlag::UpstreamOverflow,
        Decision::LimitExceeded => ResponseFlag::UpstreamRetryLimitExceeded,
        Decision::Retry(_) | Decision::No => return false,
    };
    exchange.info.flags.set(flag);
    true
}
