//! Balancing compared with the real Envoy: the same clusters, the same shares.

mod health_checks;
mod latency_outliers;
mod localities;
mod outlier_rates;
mod policies;
mod priorities;
mod shares;
