//! Routing and traffic management compared with the real Envoy, a suite a
//! subject: see [`ringway_tests::comparison`].

mod actions;
mod aggregates;
mod answering_filters;
mod cel;
mod connect;
mod counting;
mod custom_response;
mod failed_health;
mod fault;
mod forward_proxy;
mod grpc_timeouts;
mod headers;
mod limits;
mod local_replies;
mod matcher;
mod matching;
mod metadata;
mod mirroring;
mod operators;
mod original_dst;
mod outliers;
mod override_host;
mod overrides;
mod requests;
mod resilience;
mod retry_hosts;
mod runtime;
mod scoped;
mod trees;
mod upgrades;
