//! Balancing compared with the real Envoy: the same clusters, the same shares,
//! and with hashes the same picks.

mod cookies;
mod hash_policies;
mod health_checks;
mod latency_outliers;
mod localities;
mod outlier_rates;
mod picks;
mod policies;
mod priorities;
mod shares;
mod tables;
