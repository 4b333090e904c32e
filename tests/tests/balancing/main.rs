//! Balancing compared with the real Envoy: the same clusters, the same shares.

mod priorities;
mod shares;
