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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_listed_at_once_and_codes_once_they_count() {
        let store = Store::new();
        let scope = |part, name: &str| StatScope {
            virtual_host: "v.w".into(),
            part,
            name: name.into(),
        };
        let cluster = RouteStats::new(&store, &scope(StatPart::VirtualCluster, "a:b"));
        let _ = RouteStats::new(&store, &scope(StatPart::Route, "r"));
        store.shard(None).install();
        let listed = || {
            let snapshot = store.snapshot(|_| true);
            let counters = snapshot.counters.iter().map(|one| one.name.to_string());
            let histograms = snapshot.histograms.iter().map(|one| one.name.to_string());
            counters.chain(histograms).collect::<Vec<_>>()
        };
        let before = listed();
        assert_eq!(before.len(), 12, "{before:?}");
        assert_eq!(
            store.value("vhost.v.w.route.r.upstream_rq_timeout"),
            Some(0)
        );
        cluster.codes.record(503);
        cluster.upstream_rq_time.record(7);
        cluster.requests.upstream_rq_retry.inc();
        let added: Vec<_> = listed()
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        assert_eq!(
            added,
            [
                "vhost.v.w.vcluster.a:b.upstream_rq_503",
                "vhost.v.w.vcluster.a:b.upstream_rq_5xx",
                "vhost.v.w.vcluster.a:b.upstream_rq_completed",
                "vhost.v.w.vcluster.a:b.upstream_rq_time",
            ]
        );
        assert_eq!(
            store.value("vhost.v.w.vcluster.a:b.upstream_rq_retry"),
            Some(1)
        );
    }
}
