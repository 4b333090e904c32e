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

pub mod among;
pub mod balancer;
pub mod client_side_weighted_round_robin;
pub mod config;
pub mod consistent_hashing;
mod cycle;
mod edf;
pub mod events;
pub mod fuzz;
mod group;
mod host_set;
mod least_request;
mod locality;
pub mod maglev;
pub mod members;
mod mersenne_twister;
pub mod metadata;
mod murmur_hash;
pub mod peak_ewma;
pub mod priority;
mod random;
mod ring_hash;
mod round_robin;
mod slow_start;
mod subset;
#[cfg(test)]
mod testing;
mod weight_classes;
