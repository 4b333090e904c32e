//! Every extension that there is, in one list: the type of its configuration
//! and what compiles it.
//!
//! A type that is not here never gets this far: the support table refuses it
//! by path when the file is loaded. A test holds the two against each other.

use std::sync::Arc;

use ringway_config::context::Cx;
use ringway_config::listener::Extension;
use ringway_config::type_name;

use crate::filters::http::custom_response::CustomResponse;
use crate::filters::http::dynamic_forward_proxy::DynamicForwardProxy;
use crate::filters::http::fault::Fault;
use crate::filters::http::grpc_http1_bridge::GrpcHttp1Bridge;
use crate::filters::http::grpc_http1_reverse_bridge::GrpcHttp1ReverseBridge;
use crate::filters::http::grpc_json_transcoder::GrpcJsonTranscoder;
use crate::filters::http::grpc_stats::GrpcStats;
use crate::filters::http::grpc_web::GrpcWeb;
use crate::filters::http::header_to_metadata::HeaderToMetadata;
use crate::filters::http::health_check::HealthCheck;
use crate::filters::http::peak_ewma::PeakEwma;
use crate::filters::http::set_filter_state::SetFilterState;
use crate::filters::http::set_metadata::SetMetadata;
use crate::filters::http::{FilterChain, HttpFilter, HttpFilters, OverrideTable, router};
use crate::filters::listener::original_src::OriginalSrc;
use crate::filters::listener::{
    http_inspector, local_ratelimit, original_dst, proxy_protocol, tls_inspector,
};
use crate::filters::network::NetworkFilter;
use crate::filters::network::connection_limit::ConnectionLimit;
use crate::filters::network::direct_response::DirectResponse;
use crate::filters::network::ext_authz::ExtAuthz;
use crate::filters::network::http_connection_manager::config as http_connection_manager;
use crate::filters::network::http_connection_manager::routes::Routes;
use crate::filters::network::local_ratelimit::LocalRateLimit;
use crate::filters::network::rbac::Rbac;
use crate::filters::network::set_filter_state::SetFilterState as SetNetworkFilterState;
use crate::filters::network::sni_cluster::SniCluster;
use crate::filters::network::sni_dynamic_forward_proxy::SniDynamicForwardProxy;
use crate::filters::network::tcp_proxy::config as tcp_proxy;

/// A compiled network filter that ends its chain.
pub enum TerminalFilter {
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Box<http_connection_manager::Config>, HttpFilters),
    /// `envoy.filters.network.echo`
    Echo,
    /// `envoy.filters.network.direct_response`
    DirectResponse(DirectResponse),
    /// `envoy.filters.network.tcp_proxy`
    TcpProxy(Box<tcp_proxy::Config>),
}

/// A compiled listener filter.
pub enum ListenerFilter {
    /// `envoy.filters.listener.http_inspector`
    HttpInspector,
    /// `envoy.filters.listener.local_ratelimit`
    LocalRateLimit(local_ratelimit::Config),
    /// `envoy.filters.listener.original_dst`
    OriginalDst,
    /// `envoy.filters.listener.original_src`
    OriginalSrc(OriginalSrc),
    /// `envoy.filters.listener.proxy_protocol`
    ProxyProtocol(proxy_protocol::Config),
    /// `envoy.filters.listener.tls_inspector`
    TlsInspector(tls_inspector::Config),
}

/// The types of listener filters.
pub const LISTENER_FILTERS: &[&str] = &[
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
];

/// The types of network filters.
pub const NETWORK_FILTERS: &[&str] = &[
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    "envoy.extensions.filters.network.direct_response.v3.Config",
    "envoy.extensions.filters.network.echo.v3.Echo",
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.network.set_filter_state.v3.Config",
    "envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
    "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
];

/// The types of HTTP filters.
pub const HTTP_FILTERS: &[&str] = &[
    CUSTOM_RESPONSE,
    "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config",
    "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig",
    "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "envoy.extensions.filters.http.peak_ewma.v3alpha.PeakEwmaConfig",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "envoy.extensions.filters.http.set_metadata.v3.Config",
    ROUTER,
];

/// Error pages.
const CUSTOM_RESPONSE: &str = "envoy.extensions.filters.http.custom_response.v3.CustomResponse";

/// The router, which ends every chain.
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// Compiles a listener filter; findings go to `cx`.
pub fn listener_filter(extension: &Extension, cx: &mut Cx<'_>) -> Option<ListenerFilter> {
    match type_name(&extension.config.type_url) {
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" => {
            http_inspector::compile(&extension.config, cx)?;
            Some(ListenerFilter::HttpInspector)
        }
        "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit" => {
            let config = local_ratelimit::Config::compile(&extension.config, cx)?;
            Some(ListenerFilter::LocalRateLimit(config))
        }
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" => {
            original_dst::compile(&extension.config, cx)?;
            Some(ListenerFilter::OriginalDst)
        }
        "envoy.extensions.filters.listener.original_src.v3.OriginalSrc" => {
            let config = OriginalSrc::compile(&extension.config, cx)?;
            Some(ListenerFilter::OriginalSrc(config))
        }
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
            let config = proxy_protocol::Config::compile(&extension.config, cx)?;
            Some(ListenerFilter::ProxyProtocol(config))
        }
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
            let config = tls_inspector::Config::compile(&extension.config, cx)?;
            Some(ListenerFilter::TlsInspector(config))
        }
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}

/// Compiles a network filter before the one that ends its chain; findings go to
/// `cx`.
pub fn network_filter(extension: &Extension, cx: &mut Cx<'_>) -> Option<Box<dyn NetworkFilter>> {
    let config = &extension.config;
    match type_name(&config.type_url) {
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit" => {
            Some(Box::new(ConnectionLimit::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz" => {
            Some(Box::new(ExtAuthz::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit" => {
            Some(Box::new(LocalRateLimit::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.rbac.v3.RBAC" => {
            Some(Box::new(Rbac::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.set_filter_state.v3.Config" => {
            Some(Box::new(SetNetworkFilterState::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.sni_cluster.v3.SniCluster" => {
            Some(Box::new(SniCluster::compile(config, cx)?))
        }
        "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig" => {
            Some(Box::new(SniDynamicForwardProxy::compile(config, cx)?))
        }
        // It ends a chain, and that it does not here is told already.
        other if NETWORK_FILTERS.contains(&other) => None,
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}

/// Compiles the network filter that ends a chain; findings go to `cx`.
pub fn terminal_filter(
    extension: &Extension,
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> Option<TerminalFilter> {
    match type_name(&extension.config.type_url) {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            let config = http_connection_manager::compile(&extension.config, cx)?;
            let routes = &config.routes;
            check_names(&config, cx);
            let mut filters = http_filters(&config.http_filters, routes, service_cluster, cx);
            let of_upgrades = config.upgrades.iter().map(|upgrade| {
                let own = &upgrade.http_filters;
                (!own.is_empty()).then(|| http_filters(own, routes, service_cluster, cx))
            });
            filters.upgrades = of_upgrades.collect();
            Some(TerminalFilter::HttpConnectionManager(
                Box::new(config),
                filters,
            ))
        }
        "envoy.extensions.filters.network.echo.v3.Echo" => Some(TerminalFilter::Echo),
        "envoy.extensions.filters.network.direct_response.v3.Config" => {
            let filter = DirectResponse::compile(&extension.config, cx)?;
            Some(TerminalFilter::DirectResponse(filter))
        }
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
            let config = tcp_proxy::Config::compile(&extension.config, cx)?;
            Some(TerminalFilter::TcpProxy(Box::new(config)))
        }
        // It ends no chain, which is told already.
        other if NETWORK_FILTERS.contains(&other) => None,
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}

/// Compiles the HTTP filters of a connection manager, with what its routes say
/// to them. `service_cluster` is `node.cluster`.
pub fn http_filters(
    extensions: &[Extension],
    routes: &Routes,
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> HttpFilters {
    let (mut filters, mut compiled) = (Vec::new(), Vec::new());
    let mut router = router::Config::default();
    for extension in extensions {
        cx.at(&extension.path, |cx| {
            if type_name(&extension.config.type_url) == ROUTER {
                router = router::Config::compile(&extension.config, cx).unwrap_or_default();
            } else if let Some(filter) = http_filter(extension, service_cluster, cx) {
                filters.push(filter);
                compiled.push(extension);
            }
        });
    }
    let tables = routes.tables().iter();
    let overrides = tables.map(|table| table.configuration.filter_overrides());
    let overrides = OverrideTable::compile(overrides, &compiled, &mut filters, cx);
    HttpFilters {
        chain: FilterChain::new(filters, overrides),
        router,
        upgrades: Vec::new(),
    }
}

/// What is said to the router, or to nobody.
fn check_names(config: &http_connection_manager::Config, cx: &mut Cx<'_>) {
    let tables = config.routes.tables().iter();
    for said in tables.flat_map(|table| table.configuration.filter_overrides().said()) {
        let of_upgrades = config.upgrades.iter().map(|upgrade| &upgrade.http_filters);
        let mut named = std::iter::once(&config.http_filters)
            .chain(of_upgrades)
            .flatten()
            .filter(|extension| extension.name == said.filter);
        cx.at(&said.source.path, |cx| {
            if !config.filter_names.contains(&said.filter) {
                cx.warn(format!("no HTTP filter has the name {:?}", &*said.filter));
            }
            if named.any(|extension| type_name(&extension.config.type_url) == ROUTER) {
                cx.error("the router cannot be configured or disabled for a part of the routes");
            }
        });
    }
}

fn http_filter(
    extension: &Extension,
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> Option<Box<dyn HttpFilter>> {
    match type_name(&extension.config.type_url) {
        CUSTOM_RESPONSE => Some(Box::new(CustomResponse::compile(&extension.config, cx)?)),
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig" => {
            let filter = DynamicForwardProxy::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => {
            Some(Box::new(Fault::compile(&extension.config, cx)?))
        }
        "envoy.extensions.filters.http.health_check.v3.HealthCheck" => {
            let filter = HealthCheck::compile(&extension.config, service_cluster, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config" => {
            let filter = GrpcHttp1Bridge::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig" => {
            let filter = GrpcHttp1ReverseBridge::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder" => {
            let filter = GrpcJsonTranscoder::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig" => {
            Some(Box::new(GrpcStats::compile(&extension.config, cx)?))
        }
        "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb" => {
            Some(Box::new(GrpcWeb::compile(&extension.config, cx)?))
        }
        "envoy.extensions.filters.http.header_to_metadata.v3.Config" => {
            let filter = HeaderToMetadata::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.peak_ewma.v3alpha.PeakEwmaConfig" => {
            Some(Box::new(PeakEwma))
        }
        "envoy.extensions.filters.http.set_filter_state.v3.Config" => {
            let filter = SetFilterState::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.set_metadata.v3.Config" => {
            Some(Box::new(SetMetadata::compile(&extension.config, cx)?))
        }
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}
