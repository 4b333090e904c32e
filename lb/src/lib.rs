//! Load balancing: which of a cluster's hosts takes the next request.
//!
//! Start reading at [`balancer`]. The control plane builds a
//! [`balancer::Balancer`] from a [`config::Config`] and the
//! [`members::Members`]; each worker has a [`balancer::Cursor`] and picks with
//! what a [`balancer::Request`] tells. A pick first chooses a list of hosts
//! (`group`: subset, priority, panic, locality), then the policy chooses from
//! it: one file a policy, named after Envoy's extension
//! (`envoy.load_balancing_policies.X` is `X.rs`).
//!
//! Hosts are plain indices. Nothing here reads a clock, does I/O, or
//! allocates for a pick.
#![forbid(unsafe_code)]

pub mod balancer;
pub mod config;
mod edf;
pub mod events;
mod group;
mod host_set;
pub mod members;
pub mod metadata;
pub mod priority;
mod random;
pub mod round_robin;
