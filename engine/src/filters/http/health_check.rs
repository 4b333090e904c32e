//! Health checks by the load balancer in front of us
//! (`envoy.filters.http.health_check`).
//!
//! A request whose headers match is a health check. Without pass-through it is
//! answered here: 200, or 503 after `POST /healthcheck/fail`. With
//! pass-through it goes to the upstream while we are healthy, and is answered
//! with 503 while we are not. Either way it is kept out of logs that ask for
//! `not_health_check_filter`.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::health_check::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderId;
use ringway_config::context::{Cx, unpack};
use ringway_config::route::HeaderMatcher;

use super::{Flow, HttpFilter, StreamContext};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::stats::Store;
use crate::stats_struct;
use crate::stream_info::ResponseFlag;

stats_struct! {
    /// `http.<stat_prefix>.health_check.*`.
    pub struct HealthCheckStats {
        counters: [
            cached_response,
            degraded,
            failed,
            failed_cluster_empty,
            failed_cluster_not_found,
            failed_cluster_unhealthy,
            ok,
            request_total,
        ],
    }
}

/// The compiled filter.
pub struct HealthCheck {
    pass_through: bool,
    headers: Box<[HeaderMatcher]>,
    /// `node.cluster`, which the checker learns from the answer.
    service_cluster: Arc<str>,
    stats: Option<HealthCheckStats>,
}

impl HealthCheck {
    /// Compiles `envoy.extensions.filters.http.health_check.v3.HealthCheck`.
    pub fn compile(any: &Any, service_cluster: &Arc<str>, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::HealthCheck>(any, cx)?;
        let headers = proto
            .headers
            .iter()
            .enumerate()
            .map(|(i, header)| cx.index("headers", i, |cx| HeaderMatcher::lower(header, cx)))
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            pass_through: proto.pass_through_mode.is_some_and(|mode| mode.value),
            headers: headers.into(),
            service_cluster: Arc::clone(service_cluster),
            stats: None,
        })
    }
}

impl HttpFilter for HealthCheck {
    fn name(&self) -> &'static str {
        "envoy.filters.http.health_check"
    }

    fn register(&mut self, store: &Store, prefix: &str) {
        self.stats = Some(HealthCheckStats::new(
            store,
            &format!("{prefix}health_check."),
        ));
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let exchange = &mut *stream.exchange;
        if !self
            .headers
            .iter()
            .all(|matcher| matcher.matches(&exchange.request))
        {
            return Flow::Continue;
        }
        exchange.info.health_check = true;
        if self.pass_through && !stream.worker.is_health_failed() {
            return Flow::Continue;
        }
        match exchange.request_complete {
            true => self.resume(stream),
            false => Flow::Discard,
        }
    }

    /// Answers a check that has arrived in full.
    fn resume(&self, stream: &mut StreamContext<'_>) -> Flow {
        let failed = stream.worker.is_health_failed();
        if let Some(stats) = &self.stats {
            stats.request_total.inc();
            match failed {
                true => stats.failed.inc(),
                false => stats.ok.inc(),
            }
        }
        if failed {
            let reply = LocalReply::new(503, "", "health_check_failed");
            return Flow::Reply(reply.flag(ResponseFlag::FailedLocalHealthCheck));
        }
        Flow::Reply(LocalReply::new(200, "", "health_check_ok"))
    }

    /// Tells checkers who was checked, and everybody that a load balancer in
    /// front of us should not wait for its next check.
    fn response_headers(&self, stream: &mut StreamContext<'_>) {
        let exchange = &mut *stream.exchange;
        if exchange.info.health_check {
            exchange.response.set(
                HeaderId::XEnvoyUpstreamHealthcheckedCluster,
                self.service_cluster.as_bytes(),
            );
        }
        if stream.worker.is_health_failed() {
            (exchange.response).set(HeaderId::XEnvoyImmediateHealthCheckFail, b"true");
        }
    }
}
