//! HTTP filters (`envoy.filters.http.*`).

pub mod router;
