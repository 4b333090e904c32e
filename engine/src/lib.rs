//! The proxy as a library. ARCHITECTURE.md holds the map and the life of a
//! request.
//!
//! Imports point one way: `reactor` is used by `network`, that by
//! `transport_sockets`, then `http` and
//! `upstream`, these by `filters`, then `listener`, `worker`, `explain`,
//! `control` and `admin`, and `server` on top.

pub mod access_loggers;
pub mod admin;
pub mod cli;
pub mod control;
pub mod data_source;
pub mod explain;
pub mod filters;
pub mod formatter;
pub mod http;
pub mod listener;
pub mod network;
pub mod reactor;
pub mod registry;
pub mod server;
pub mod stats;
pub mod stream_info;
#[cfg(test)]
mod test_support;
pub mod transport_sockets;
pub mod upstream;
pub mod worker;
