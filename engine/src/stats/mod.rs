//! Statistics with Envoy's names.
//!
//! A name is resolved to a slot when the configuration is lowered
//! ([`Store::counter`] and its kin, or a struct made by
//! [`stats_struct!`](crate::stats_struct)); on the path of a request a
//! [`Counter`], [`Gauge`] or [`Histogram`] is a number, and counting writes one
//! cell of the current thread's [`Shard`]. Readers (the admin server, sinks)
//! add the shards up with [`Store::snapshot`] and never make a worker wait.
//!
//! - `store.rs`: names, slots, sums; what a reader sees.
//! - `shard.rs`: the handles and the current thread's cells.
//! - `histogram.rs`: the buckets, quantiles and sums.
//! - `codes.rs`: counters by response code.
//! - `tags.rs`: labels taken out of names, for Prometheus.
//! - `http_connection_manager.rs`, `listener.rs`, `cluster.rs`, `route.rs`, `server.rs`:
//!   the statistics themselves, by owner.
//!
//! This folder must not know who counts, and does no I/O.

mod codes;
mod histogram;
mod shard;
mod store;
mod structs;
mod tags;

pub mod alt_stats;
pub mod cluster;
pub mod dns_cache;
pub mod grpc;
pub mod health_check;
pub mod http2;
pub mod http_connection_manager;
pub mod listener;
pub mod outlier_detection;
pub mod route;
pub mod sds;
pub mod server;
pub mod ssl;
pub mod tcp_proxy;

pub use codes::CodeStats;
pub use histogram::{Buckets, DEFAULT_BOUNDS, QUANTILES, Unit};
pub use shard::{Counter, Gauge, Histogram, Shard};
pub use store::{
    Computed, GaugeReader, Hidden, HistogramValue, Scope, Snapshot, Store, TextReadout, Value,
};
pub use tags::{Tag, Tagged};

/// A part of a statistic's name as Envoy writes it: what could be read as a
/// separator of something else (`:`, `://`, NUL) becomes `_`, and dots at the
/// ends go. Dots inside stay.
#[must_use]
pub fn sanitize(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = name.strip_prefix('.').unwrap_or(name);
    name.replace("://", "_")
        .replace(":/", "_")
        .replace([':', '\0'], "_")
}

#[cfg(test)]
mod names;

#[cfg(test)]
mod tests {
    use super::sanitize;

    #[test]
    fn names_are_sanitized_as_envoys() {
        for (name, expected) in [
            ("127.0.0.1:80", "127.0.0.1_80"),
            ("[::1]:80", "[__1]_80"),
            ("grpc://a.b", "grpc_a.b"),
            (".with.dots.", "with.dots"),
            ("plain", "plain"),
            ("a\0b", "a_b"),
        ] {
            assert_eq!(sanitize(name), expected);
        }
    }
}
