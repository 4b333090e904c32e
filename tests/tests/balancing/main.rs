//! Balancing compared with the real Envoy: the same clusters, the same shares,
//! and with hashes the same picks.

mod bad_health;
mod changing_hosts;
mod cookies;
mod degraded_outliers;
mod grpc_checks;
mod hash_policies;
mod health_checks;
mod http2_checks;
mod latency_outliers;
mod load_reports;
mod localities;
mod many_checks;
mod outlier_rates;
mod peak_ewma;
mod picks;
mod policies;
mod priorities;
mod retry_priority;
mod shares;
mod subsets;
mod tables;
mod tcp_checks;
mod thrift_checks;
mod turns;
