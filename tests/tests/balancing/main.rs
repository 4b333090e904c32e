//! Balancing compared with the real Envoy: the same clusters, the same shares.

mod localities;
mod policies;
mod priorities;
mod shares;
