//! Routing and traffic management compared with the real Envoy, a suite a
//! subject: see [`ringway_tests::comparison`].

mod actions;
mod connect;
mod custom_response;
mod fault;
mod headers;
mod local_replies;
mod matching;
mod metadata;
mod mirroring;
mod operators;
mod resilience;
mod scoped;
mod trees;
mod upgrades;
