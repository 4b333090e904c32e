//! The names of all statistics of a small proxy, beside those that Envoy 1.40
//! listed for the same configuration: one listener with a connection manager,
//! one static cluster, two workers; at start and after one request.

use std::collections::BTreeSet;
use std::time::Instant;

use super::cluster::{ClusterStats, ResponseStats, TransportSocketMatchStats};
use super::http_connection_manager::{
    self, Http1CodecStats, HttpConnectionManagerStats, ListenerHttpStats, RouterStats, TracingStats,
};
use super::listener::{self, ListenerStats, ListenerWorkerStats};
use super::server::{AdminListenerStats, ProcessStats};
use super::{Store, cluster};
use crate::upstream::circuit_breaker::Limits;
use ringway_config::circuit_breakers::Thresholds;

const WORKERS: u32 = 2;

/// What Envoy has no word for because it does not do it.
const OWN: &[&str] = &[
    ".upstream_cx_lent",
    ".upstream_rq_alt_stat_name_overflow",
    ".upstream_rq_resent",
];

struct Proxy {
    store: Store,
    responses: ResponseStats,
}

fn proxy() -> Proxy {
    let store = Store::new();
    let _ = ProcessStats::new(&store, WORKERS);

    let at = listener::prefix("127.0.0.1:18099");
    let _ = ListenerStats::new(&store, &at);
    for worker in 0..WORKERS {
        let _ = ListenerWorkerStats::new(&store, &listener::worker_prefix(&at, worker));
    }
    let http = http_connection_manager::prefix("ingress_http");
    let _ = HttpConnectionManagerStats::new(&store, &http);
    let _ = RouterStats::new(&store, &http);
    let _ = TracingStats::new(&store, &format!("{http}tracing."));
    let both = http_connection_manager::listener_prefix(&at, "ingress_http");
    let _ = ListenerHttpStats::new(&store, &both);

    // The admin server's, which registers them itself.
    let _ = Http1CodecStats::new(&store, "http1.");
    let _ = AdminListenerStats::new(&store, "listener.admin.");
    let _ = ListenerWorkerStats::new(&store, "listener.admin.main_thread.");
    let _ = HttpConnectionManagerStats::new(&store, "http.admin.");
    let _ = ListenerHttpStats::new(&store, "listener.admin.http.admin.");

    let at = cluster::prefix("svc.one");
    let _ = ClusterStats::new(&store, &at);
    for priority in ["default", "high"] {
        let prefix = format!("{at}circuit_breakers.{priority}.");
        let _ = Limits::new(&Thresholds::default(), Instant::now(), &store, &prefix);
    }
    let _ = TransportSocketMatchStats::new(&store, &format!("{at}default."));
    let responses = ResponseStats::new(&store, &at);
    Proxy { store, responses }
}

fn names(store: &Store) -> BTreeSet<String> {
    let all = store.snapshot(|_| true);
    (all.counters.iter().map(|value| &value.name))
        .chain(all.gauges.iter().map(|value| &value.name))
        .chain(all.histograms.iter().map(|value| &value.name))
        .map(ToString::to_string)
        .collect()
}

#[track_caller]
fn assert_envoys(ours: &BTreeSet<String>, envoys: &BTreeSet<String>) {
    let missing: Vec<_> = envoys.difference(ours).collect();
    assert!(missing.is_empty(), "names that only Envoy has: {missing:?}");
    let is_known = |name: &str| OWN.iter().any(|own| name.ends_with(own));
    let own: Vec<_> = (ours.difference(envoys))
        .filter(|name| !is_known(name))
        .collect();
    assert!(own.is_empty(), "names that Envoy does not have: {own:?}");
}

#[test]
fn names_are_envoys_at_start_and_after_a_request() {
    let proxy = proxy();
    let mut envoys: BTreeSet<String> = include_str!("golden/names_at_start.txt")
        .lines()
        .map(str::to_owned)
        .collect();
    assert_envoys(&names(&proxy.store), &envoys);

    proxy.store.shard(Some(0)).install();
    let _ = Http1CodecStats::new(&proxy.store, "cluster.svc.one.http1.");
    proxy.responses.sent.code(200, false, false);
    proxy.responses.sent.time(1, false, false);
    envoys.extend(
        include_str!("golden/names_after_a_request.txt")
            .lines()
            .map(str::to_owned),
    );
    assert_envoys(&names(&proxy.store), &envoys);
}
