//! Network filters (`envoy.filters.network.*`).

pub mod http_connection_manager;
