//! Every extension that there is, in one list: the type of its configuration
//! and what compiles it.
//!
//! A type that is not here never gets this far: the support table refuses it
//! by path when the file is loaded. A test holds the two against each other.

use ringway_config::context::Cx;
use ringway_config::listener::Extension;
use ringway_config::type_name;

use crate::filters::network::http_connection_manager::config as http_connection_manager;

/// A compiled network filter.
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Box<http_connection_manager::Config>),
}

/// The types of network filters.
pub const NETWORK_FILTERS: &[&str] = &[
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
];

/// The types of HTTP filters.
pub const HTTP_FILTERS: &[&str] = &["envoy.extensions.filters.http.router.v3.Router"];

/// Compiles a network filter; findings go to `cx`.
pub fn network_filter(extension: &Extension, cx: &mut Cx<'_>) -> Option<NetworkFilter> {
    match type_name(&extension.config.type_url) {
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            http_connection_manager::compile(&extension.config, cx)
                .map(|config| NetworkFilter::HttpConnectionManager(Box::new(config)))
        }
        other => {
            cx.error(format!("extension {other} is not supported yet"));
            None
        }
    }
}
