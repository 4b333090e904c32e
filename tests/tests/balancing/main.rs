//! Balancing compared with the real Envoy: the same clusters, the same shares,
//! and the same hosts where a request's hash decides.

mod cookies;
mod hash_policies;
mod picks;
mod priorities;
mod retry_priority;
mod shares;
mod subsets;
mod tables;
