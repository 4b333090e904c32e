//! Looks up where requests of dynamic forward proxies go before they get there
//! (`envoy.filters.http.dynamic_forward_proxy`): a request for a host that is
//! not known yet waits here, and one for a host that has no address is answered
//! here. Requests to clusters of other types pass.

use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3::filter_config::ImplementationSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_forward_proxy::v3::per_route_config::HostRewriteSpecifier;
use envoy_types::pb::google::protobuf::Any;
use ringway_codecs::header::HeaderId;
use ringway_config::context::{Cx, unpack};
use ringway_config::discovery::Discovery;
use ringway_config::dns_cache::{self, DnsCacheId};
use ringway_config::route::HeaderKey;

use super::{Flow, HttpFilter, StreamContext};
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::http::exchange::Exchange;
use crate::stream_info::{ResponseFlag, details};
use crate::upstream::dns_cache::{Found, KnownName};

/// The compiled filter.
pub struct DynamicForwardProxy {
    cache: DnsCacheId,
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
        let Some(ImplementationSpecifier::DnsCacheConfig(cache)) = &proto.implementation_specifier
        else {
            cx.error("a dns_cache_config is needed here");
            return None;
        };
        Some(Self {
            cache: cx.field("dns_cache_config", |cx| dns_cache::lower(cache, cx))?,
            of_routes: Vec::new(),
        })
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
        let proxies = cluster.is_some_and(|cluster| {
            matches!(cluster.config.discovery, Discovery::DynamicForwardProxy(_))
        });
        if !proxies {
            return Flow::Continue;
        }
        self.rewrite_host(stream);
        let cache = stream.worker.dns_caches.get(self.cache);
        if !cache.may_ask() {
            return Flow::Reply(too_many());
        }
        match stream.exchange.with_destination(|name| cache.ask(name)) {
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
        let cache = stream.worker.dns_caches.get(self.cache);
        match stream.exchange.with_destination(|name| cache.get(name)) {
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
