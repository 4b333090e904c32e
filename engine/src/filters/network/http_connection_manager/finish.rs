//! The end of a request: what is counted, and what is logged.

use std::time::Instant;

use super::ConnectionManager;
use crate::formatter::{AccessLogType, Context};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Tunnel};
use crate::reactor;
use crate::stream_info::TimePoint;

impl ConnectionManager {
    /// Counts and logs a request that has become another one, and begins that:
    /// as in Envoy, each of them is a request in the log.
    pub(super) fn begin_redirected(&self, downstream: &mut Downstream, exchange: &mut Exchange) {
        self.record(downstream, exchange);
        self.count_request(exchange.protocol);
        exchange.begin_redirected(reactor::now(), reactor::wall_clock());
        self.begin_log_interval(exchange);
    }

    /// Says when the request is logged for the first time before it is over, if
    /// it is.
    pub(super) fn begin_log_interval(&self, exchange: &mut Exchange) {
        let interval = self.config().log_flushes.interval;
        exchange.deadlines.log = interval.map(|interval| exchange.info.start + interval);
    }

    /// Counts and logs a request that is over, answered or not.
    pub(super) fn finish(&self, downstream: &mut Downstream, exchange: &mut Exchange) {
        exchange.held.clear();
        if exchange.response_complete {
            let info = &mut exchange.info;
            info.mark_first(TimePoint::DownstreamTxEnd, reactor::now());
        }
        let stats = self.stats();
        let is_tunnel = exchange.tunnel != Tunnel::None;
        if is_tunnel {
            stats.downstream_cx_upgrades_active.dec();
        }
        let answered = exchange.response_complete || is_tunnel && exchange.response_started;
        // A client that ends a tunnel does so behind the response's head.
        let is_late = !exchange.is_request_over() || exchange.client_ended;
        if answered && is_late {
            stats.downstream_rq_response_before_rq_complete.inc();
        }
        if !exchange.response_complete || !exchange.is_request_over() {
            // Envoy's name for any stream that ends by a reset.
            stats.downstream_rq_rx_reset.inc();
        }
        self.record(downstream, exchange);
    }

    fn record(&self, downstream: &mut Downstream, exchange: &mut Exchange) {
        self.log(AccessLogType::DownstreamEnd, downstream, exchange);
        self.count_over(exchange);
    }

    /// Counts a request that is over as that.
    pub(super) fn count_over(&self, exchange: &Exchange) {
        let stats = self.stats();
        stats.downstream_rq_active.dec();
        if exchange.info.health_check {
            self.shared.tracing_stats.health_check.inc();
        }
        let took = exchange.info.elapsed(TimePoint::RequestComplete);
        let took = took.unwrap_or_default();
        stats.downstream_rq_time.record(took.as_millis() as u64);
    }

    /// Writes the access logs of a request that has gone on for another
    /// interval.
    pub(in crate::filters) fn log_if_due(
        &self,
        now: Instant,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        if exchange.deadlines.log.is_some_and(|at| at <= now) {
            self.log(AccessLogType::DownstreamPeriodic, downstream, exchange);
            let interval = self.config().log_flushes.interval;
            exchange.deadlines.log = interval.map(|interval| now + interval);
        }
    }

    /// Writes the access logs, for the reason `kind`.
    pub(in crate::filters) fn log(
        &self,
        kind: AccessLogType,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        let bytes = &mut exchange.info.downstream_bytes;
        downstream.add_received(bytes);
        downstream.add_sent(bytes);
        self.write_logs(kind, exchange);
    }

    pub(super) fn write_logs(&self, kind: AccessLogType, exchange: &mut Exchange) {
        exchange
            .info
            .mark(TimePoint::RequestComplete, reactor::now());
        let logs = &self.config().access_logs;
        if logs.is_empty() {
            return;
        }
        let context = Context {
            kind,
            ..exchange.format_context()
        };
        let runtime = self.worker.runtime.borrow();
        for log in logs {
            log.log(&context, &runtime);
        }
    }
}
