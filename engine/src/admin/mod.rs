//! The admin server: Envoy's endpoints on a thread of its own.
//!
//! It runs hyper on a current-thread tokio runtime, so a large scrape or a slow
//! reader delays other admin requests at most, never a worker or the control
//! plane. It knows the rest of the process only through [`ServerView`] and the
//! statistics' [`Store`](crate::stats::Store).

mod view;

pub use view::{
    Action, Address, ClusterStatus, HealthFlags, HostStats, HostStatus, ListenerStatus, Locality,
    LogLevel, ServerInfo, ServerState, ServerView, Thresholds,
};
