//! What is counted by virtual cluster and by route, under
//! `vhost.<virtual host>.`.

use ringway_config::route::{StatPart, StatScope};

use super::{CodeStats, Histogram, Store, Unit};
use crate::stats_struct;

/// `vhost.<virtual host>.vcluster.<name>.` or `vhost.<virtual host>.route.<name>.`.
/// These names are not sanitized, as in Envoy.
#[must_use]
pub fn prefix(scope: &StatScope) -> String {
    let part = match scope.part {
        StatPart::VirtualCluster => "vcluster",
        StatPart::Route => "route",
    };
    format!("vhost.{}.{part}.{}.", scope.virtual_host, scope.name)
}

stats_struct! {
    /// Requests to hosts, and how they were retried: under [`prefix`].
    pub struct RouteRequestStats {
        counters: [
            upstream_rq_retry,
            upstream_rq_retry_limit_exceeded,
            upstream_rq_retry_overflow,
            upstream_rq_retry_success,
            upstream_rq_timeout,
            upstream_rq_total,
        ],
    }
}

/// One virtual cluster or route: under [`prefix`]. Codes and times are listed
/// once they have counted.
#[derive(Clone, Debug)]
pub struct RouteStats {
    /// Requests and retries.
    pub requests: RouteRequestStats,
    /// Codes that clients were answered.
    pub codes: CodeStats,
    /// How long hosts took, in milliseconds.
    pub upstream_rq_time: Histogram,
}

impl RouteStats {
    /// Registers the statistics of a place.
    #[must_use]
    pub fn new(store: &Store, scope: &StatScope) -> Self {
        let prefix = prefix(scope);
        Self {
            requests: RouteRequestStats::new(store, &prefix),
            codes: CodeStats::new(store, &prefix),
            upstream_rq_time: store
                .histogram_when_used(&format!("{prefix}upstream_rq_time"), Unit::Milliseconds),
        }
    }
}
