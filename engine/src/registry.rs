//! Every extension that there is, in one list: the type of its configuration
//! and what compiles it.
//!
//! A type that is not here never gets this far: the support table refuses it
//! by path when the file is loaded. A test holds the two against each other.

use std::sync::Arc;

use ringway_config::context::Cx;
use ringway_config::listener::Extension;
use ringway_config::type_name;

use crate::filters::http::header_to_metadata::HeaderToMetadata;
use crate::filters::http::health_check::HealthCheck;
use crate::filters::http::set_filter_state::SetFilterState;
use crate::filters::http::set_metadata::SetMetadata;
use crate::filters::http::{FilterChain, HttpFilter, HttpFilters, router};
use crate::filters::network::http_connection_manager::config as http_connection_manager;

/// A compiled network filter.
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Box<http_connection_manager::Config>, HttpFilters),
}

/// The types of network filters.
pub const NETWORK_FILTERS: &[&str] =
    &["envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"];

/// The types of HTTP filters.
pub const HTTP_FILTERS: &[&str] = &[
    "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "envoy.extensions.filters.http.set_metadata.v3.Config",
    ROUTER,
];

/// The router, which ends every chain.
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// Compiles a network filter; findings go to `cx`.
pub fn network_filter(
    extension: &Extension,
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> Option<NetworkFilter> {
    match type_name(&extension.config.type_url) {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            let config = http_connection_manager::compile(&extension.config, cx)?;
            let filters = http_filters(&config.http_filters, service_cluster, cx);
            Some(NetworkFilter::HttpConnectionManager(
                Box::new(config),
                filters,
            ))
        }
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}

/// Compiles the HTTP filters of a connection manager. `service_cluster` is `node.cluster`.
pub fn http_filters(
    extensions: &[Extension],
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> HttpFilters {
    let mut filters = Vec::new();
    let mut router = router::Config::default();
    for extension in extensions {
        cx.at(&extension.path, |cx| {
            if type_name(&extension.config.type_url) == ROUTER {
                router = router::Config::compile(&extension.config, cx).unwrap_or_default();
            } else {
                filters.extend(http_filter(extension, service_cluster, cx));
            }
        });
    }
    HttpFilters {
        chain: FilterChain::new(filters),
        router,
    }
}

fn http_filter(
    extension: &Extension,
    service_cluster: &Arc<str>,
    cx: &mut Cx<'_>,
) -> Option<Box<dyn HttpFilter>> {
    match type_name(&extension.config.type_url) {
        "envoy.extensions.filters.http.health_check.v3.HealthCheck" => {
            let filter = HealthCheck::compile(&extension.config, service_cluster, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.header_to_metadata.v3.Config" => {
            let filter = HeaderToMetadata::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.set_filter_state.v3.Config" => {
            let filter = SetFilterState::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        "envoy.extensions.filters.http.set_metadata.v3.Config" => {
            let filter = SetMetadata::compile(&extension.config, cx)?;
            Some(Box::new(filter))
        }
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}
