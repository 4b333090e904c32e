//! Load balancing: which of a cluster's hosts takes the next request.
//!
//! One file a policy, named after Envoy's extension
//! (`envoy.load_balancing_policies.X` is `X.rs`). A policy is two things: a
//! table that the control plane builds once from the hosts' weights, and a
//! cursor that each worker owns. Hosts are plain indices here; what a host is,
//! and whether it is healthy, is the caller's business.
#![forbid(unsafe_code)]

pub mod round_robin;
