//! Balancing compared with the real Envoy: the same clusters, the same shares,
//! and with hashes the same picks.

mod cookies;
mod hash_policies;
mod localities;
mod picks;
mod policies;
mod priorities;
mod shares;
mod tables;
