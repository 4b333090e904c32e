//! Looks up where requests of dynamic forward proxies go before they get there
//! (`envoy.filters.http.dynamic_forward_proxy`): a request for a host that is
//! not known yet waits here, and one for a host that has no address is answered
//! here. Requests to clusters of other types pass.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3::filter_config::ImplementationSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3::per_route_config::HostRewriteSpecifier;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderId;
use ringway_config::context::{Cx, unpack};
use ringway_config::core;
use ringway_config::discovery::Discovery;
use ringway_config::dns_cache::{self, DnsCacheId};
use ringway_config::route::HeaderKey;

use super::{Flow, HttpFilter, StreamContext};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::http::exchange::Exchange;
use crate::reactor::{self, Timer};
use crate::stream_info::{ResponseFlag, details};
use crate::upstream::dns_cache::{Found, KnownName};
use crate::upstream::sub_clusters::SharedSubClusters;

/// The compiled filter.
pub struct DynamicForwardProxy {
    /// Where hosts are looked up before their cluster is asked, if they are.
    cache: Option<DnsCacheId>,
    /// How long requests wait for clusters that are made for their hosts.
    wait_max: Duration,
    /// Filters may say where requests go.
    allows_said: bool,
    /// What routes say of the host, by number.
    of_routes: Vec<HostRewrite>,
}

/// The host that a route gives its requests.
enum HostRewrite {
    AsIs,
    Literal(Box<[u8]>),
    /// That of the header, if it is there.
    Header(HeaderKey),
}

impl DynamicForwardProxy {
    /// Compiles `envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig`.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::FilterConfig>(any, cx)?;
        let (mut cache, mut wait_max) = (None, WAIT_MAX);
        match &proto.implementation_specifier {
            Some(ImplementationSpecifier::DnsCacheConfig(config)) => {
                let lower = |cx: &mut Cx<'_>| dns_cache::lower(config, cx);
                cache = Some(cx.field("dns_cache_config", lower)?);
            }
            Some(ImplementationSpecifier::SubClusterConfig(config)) => {
                let given = config.cluster_init_timeout;
                cx.field("sub_cluster_config", |cx| {
                    let given = core::duration(given, "cluster_init_timeout", cx);
                    wait_max = given.unwrap_or(WAIT_MAX);
                });
                // As in Envoy such a filter has one all the same, which has no name and
                // only counts that nobody asks it.
                dns_cache::lower(&DnsCacheConfig::default(), cx);
            }
            None => {
                cx.error("a dns_cache_config or a sub_cluster_config is needed here");
                return None;
            }
        }
        Some(Self {
            cache,
            wait_max,
            allows_said: proto.allow_dynamic_host_from_filter_state,
            of_routes: Vec::new(),
        })
    }

    /// Calls `f` with the host that is looked up, which need not be where the cluster
    /// takes the request.
    fn with_host<T>(&self, exchange: &mut Exchange, port: u16, f: impl FnOnce(&str) -> T) -> T {
        exchange.with_host_key(self.allows_said, port, f)
    }

    fn rewrite_host(&self, stream: &mut StreamContext<'_>) {
        let Some(number) = stream.settings else {
            return;
        };
        let exchange = &mut *stream.exchange;
        match &self.of_routes[number as usize] {
            HostRewrite::AsIs => {}
            HostRewrite::Literal(host) => exchange.request.set(HeaderId::Authority, host),
            HostRewrite::Header(name) => {
                let Some(host) = name.first(&exchange.request) else {
                    return;
                };
                exchange.scratch.clear();
                exchange.scratch.extend_from_slice(host);
                exchange.request.set(HeaderId::Authority, &exchange.scratch);
            }
        }
    }
}

/// Envoy's default.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Has the cluster of the request's host made unless there is one, and waits for it as
/// long as it may.
fn load_sub_cluster(
    sub_clusters: &SharedSubClusters,
    port: u16,
    wait_max: Duration,
    stream: &mut StreamContext<'_>,
) -> Flow {
    let clusters = &stream.worker.clusters;
    let waiting = stream.exchange.with_sub_cluster(port, |name| {
        if let Some(cluster) = clusters.find(name.as_bytes()) {
            cluster.shared.mark_used(reactor::now());
            return Ok(None);
        }
        match sub_clusters.want(name) {
            true => Ok(Some(clusters.wait_for(name))),
            false => Err(()),
        }
    });
    if wait_max.is_zero() && matches!(waiting, Ok(Some(_))) {
        return Flow::Reply(LocalReply::new(
            503,
            "Sub cluster warming timeout",
            details::SUB_CLUSTER_WARMING_TIMEOUT,
        ));
    }
    match waiting {
        Ok(None) => Flow::Continue,
        Ok(Some(waiting)) => Flow::Wait(Box::pin(async move {
            let timer = Timer::new();
            timer.set(Some(reactor::now() + wait_max));
            // Whether it came is seen by who looks for it.
            let _ = reactor::timeout(&timer, waiting).await;
        })),
        Err(()) => Flow::Reply(LocalReply::new(
            503,
            "Sub cluster overflow",
            details::SUB_CLUSTER_OVERFLOW,
        )),
    }
}

impl HttpFilter for DynamicForwardProxy {
    fn name(&self) -> &'static str {
        "envoy.filters.http.dynamic_forward_proxy"
    }

    /// Compiles `envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig`.
    fn compile_override(&mut self, config: &Any, cx: &mut Cx<'_>) -> Option<u32> {
        let proto = unpack::<pb::PerRouteConfig>(config, cx)?;
        self.of_routes.push(match &proto.host_rewrite_specifier {
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if !host.is_empty() => {
                HostRewrite::Literal(host.as_bytes().into())
            }
            Some(HostRewriteSpecifier::HostRewriteHeader(name)) if !name.is_empty() => {
                HostRewrite::Header(HeaderKey::new(name))
            }
            _ => HostRewrite::AsIs,
        });
        Some(self.of_routes.len() as u32 - 1)
    }

    fn request_headers(&self, stream: &mut StreamContext<'_>) -> Flow {
        let chosen = stream.exchange.cluster.cluster;
        let cluster = chosen.and_then(|id| stream.worker.clusters.get(id));
        let Some(cluster) = cluster else {
            return Flow::Continue;
        };
        let sub_clusters = cluster.shared.sub_clusters.as_deref();
        let looks_up = matches!(cluster.config.discovery, Discovery::DynamicForwardProxy(_));
        if !looks_up && sub_clusters.is_none() {
            return Flow::Continue;
        }
        self.rewrite_host(stream);
        let port = cluster.config.default_port();
        if let Some(sub_clusters) = sub_clusters {
            return load_sub_cluster(sub_clusters, port, self.wait_max, stream);
        }
        // Without a cache, the cluster's own will do.
        let Some(cache) = self.cache else {
            return Flow::Continue;
        };
        let cache = stream.worker.dns_caches.get(cache);
        if !cache.may_ask() {
            return Flow::Reply(too_many());
        }
        match self.with_host(stream.exchange, port, |name| cache.ask(name)) {
            None => Flow::Reply(too_many()),
            Some(Found::Known(known)) => go_on(&known, stream.exchange),
            Some(Found::Overflow) => Flow::Reply(LocalReply::new(
                503,
                "DNS cache overflow",
                details::DNS_CACHE_OVERFLOW,
            )),
            Some(Found::Waiting(waiting)) => Flow::Wait(Box::pin(waiting)),
        }
    }

    fn resume(&self, stream: &mut StreamContext<'_>) -> Flow {
        let chosen = stream.exchange.cluster.cluster;
        let cluster = chosen.and_then(|id| stream.worker.clusters.get(id));
        // It does not end while a request waits, but for the process.
        let (Some(cluster), cache) = (cluster, self.cache) else {
            return Flow::Continue;
        };
        let port = cluster.config.default_port();
        if let Some(sub_clusters) = &cluster.shared.sub_clusters {
            let limit = stream.exchange.info.start + self.wait_max;
            let left = limit.saturating_duration_since(reactor::now());
            // It may have ended in the same moment: then there is to be another one.
            return load_sub_cluster(sub_clusters, port, left, stream);
        }
        let Some(cache) = cache else {
            return Flow::Continue;
        };
        let cache = stream.worker.dns_caches.get(cache);
        match self.with_host(stream.exchange, port, |name| cache.get(name)) {
            Some(known) => go_on(&known, stream.exchange),
            // Forgotten in the same moment: the cluster asks again.
            None => Flow::Continue,
        }
    }
}

fn go_on(known: &KnownName, exchange: &mut Exchange) -> Flow {
    let Some(failure) = known.failure else {
        return Flow::Continue;
    };
    exchange.info.set_dns_failure(failure);
    let reply = LocalReply::new(503, "DNS resolution failure", "");
    Flow::Reply(reply.flag(ResponseFlag::DnsResolutionFailed))
}

fn too_many() -> LocalReply<'static> {
    LocalReply::new(
        503,
        "Dynamic forward proxy pending request overflow",
        details::PROXY_PENDING_OVERFLOW,
    )
}
