//! Health checks by the load balancer in front of us
//! (`envoy.filters.http.health_check`).
//!
//! A request whose headers match is a health check. Without pass-through it is
//! answered here: 200, or 503 after `POST /healthcheck/fail` and while too many
//! hosts of the clusters that it is about are unhealthy. With
//! pass-through it goes to the upstream while we are healthy, and is answered
//! with 503 while we are not. Either way it is kept out of logs that ask for
//! `not_health_check_filter`.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::health_check::v3 as pb;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderId;
use ringway_config::clusters::ClusterId;
use ringway_config::context::{Cx, unpack};
use ringway_config::route::HeaderMatcher;

use super::{Flow, HttpFilter, StreamContext};
use crate::filters::WorkerContext;
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::stats::Store;
use crate::stats_struct;
use crate::stream_info::ResponseFlag;
use crate::upstream::cluster::Membership;

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
    /// What must be healthy, too, in the order of the names.
    clusters: Box<[MinHealthy]>,
    /// `node.cluster`, which the checker learns from the answer.
    service_cluster: Arc<str>,
    stats: Option<HealthCheckStats>,
}

/// How much of a cluster must be healthy.
struct MinHealthy {
    cluster: ClusterId,
    percent: u64,
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
            clusters: min_healthy(&proto.cluster_min_healthy_percentages, cx),
            service_cluster: Arc::clone(service_cluster),
            stats: None,
        })
    }
}

fn min_healthy(percentages: &HashMap<String, Percent>, cx: &mut Cx<'_>) -> Box<[MinHealthy]> {
    let mut sorted: Vec<_> = percentages.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    sorted
        .into_iter()
        .map(|(name, percent)| MinHealthy {
            cluster: cx.clusters.id(name),
            // As in Envoy, of which there are only whole ones.
            percent: percent.value as u64,
        })
        .collect()
}

/// Why a check is answered as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    ClustersOk,
    Failed,
    NoCluster,
    ClusterEmpty,
    ClusterUnhealthy,
}

impl Verdict {
    fn details(self) -> &'static str {
        match self {
            Verdict::Ok => "health_check_ok",
            Verdict::ClustersOk => "health_check_ok_cluster_healthy",
            Verdict::Failed => "health_check_failed",
            Verdict::NoCluster => "health_check_failed_no_cluster_found",
            Verdict::ClusterEmpty => "health_check_failed_cluster_empty",
            Verdict::ClusterUnhealthy => "health_check_failed_cluster_unhealthy",
        }
    }
}

impl HealthCheck {
    fn verdict(&self, worker: &WorkerContext) -> Verdict {
        if worker.is_health_failed() {
            return Verdict::Failed;
        }
        for rule in &self.clusters {
            let Some(cluster) = worker.clusters.get(rule.cluster) else {
                return Verdict::NoCluster;
            };
            let Membership { total, usable } = cluster.membership();
            match total {
                0 if rule.percent > 0 => return Verdict::ClusterEmpty,
                _ if usable * 100 < total * rule.percent => return Verdict::ClusterUnhealthy,
                _ => {}
            }
        }
        match self.clusters.is_empty() {
            true => Verdict::Ok,
            false => Verdict::ClustersOk,
        }
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
        let verdict = self.verdict(stream.worker);
        let ok = matches!(verdict, Verdict::Ok | Verdict::ClustersOk);
        if let Some(stats) = &self.stats {
            stats.request_total.inc();
            match ok {
                true => stats.ok.inc(),
                false => stats.failed.inc(),
            }
            match verdict {
                Verdict::Ok | Verdict::ClustersOk | Verdict::Failed => {}
                Verdict::NoCluster => stats.failed_cluster_not_found.inc(),
                Verdict::ClusterEmpty => stats.failed_cluster_empty.inc(),
                Verdict::ClusterUnhealthy => stats.failed_cluster_unhealthy.inc(),
            }
        }
        if ok {
            return Flow::Reply(LocalReply::new(200, "", verdict.details()));
        }
        let reply = LocalReply::new(503, "", verdict.details());
        Flow::Reply(reply.flag(ResponseFlag::FailedLocalHealthCheck))
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
