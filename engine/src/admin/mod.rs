//! The admin server: Envoy's endpoints on a thread of its own.
//!
//! It runs hyper on a current-thread tokio runtime, so a large scrape or a slow
//! reader delays other admin requests at most, never a worker or the control
//! plane. It knows the rest of the process only through [`ServerView`] and the
//! statistics' [`Store`](crate::stats::Store).
//!
//! Start at `server.rs` (connections) and `endpoint.rs` (the table of paths);
//! every endpoint has a file of its name.

mod certs;
mod clusters;
mod config_dump;
mod connection;
mod contention;
mod drain_listeners;
mod endpoint;
mod explain;
mod healthcheck;
mod help;
mod host_stats;
mod hot_restart_version;
mod index;
mod init_dump;
mod listeners;
mod logging;
mod memory;
mod number;
mod outliers;
mod profiler;
mod quitquitquit;
mod ready;
mod recentlookups;
mod reopen_logs;
mod reply;
mod request;
mod reset_counters;
mod runtime;
mod server;
mod server_info;
mod stats;
mod stats_json;
mod stats_prometheus;
mod stats_text;
mod view;

pub use logging::{LOGGERS, Loggers};
pub use server::{Access, AccessSink, Handle, Socket, spawn};
pub use view::{
    Action, Address, ClusterStatus, Expiry, HealthFlags, HostStats, HostStatus, ListenerStatus,
    Locality, LogLevel, OutlierStatus, ServerInfo, ServerState, ServerView, Thresholds,
};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
