//! Active health checks: hosts are asked how they are, each by a task of its
//! own on the control plane's thread, and workers are not disturbed.
//!
//! A [`HealthChecker`] is a cluster's. `session.rs` is the life of one host's
//! checks: when, and what follows from the results, for which `progress.rs` has
//! the rules. `http.rs`, `http2.rs`, `grpc.rs`, `tcp.rs`, `redis.rs` and `thrift.rs` ask, over a
//! `socket.rs`;
//! `event.rs` writes the log.

mod event;
mod grpc;
mod http;
mod http2;
mod progress;
mod redis;
mod session;
mod socket;
mod tcp;
mod thrift;

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::core::Locality;
use ringway_config::endpoint::Group;
use ringway_config::health_check::HealthCheck;
use ringway_config::runtime::RuntimeValues;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::cluster_manager::Events;
use crate::access_loggers::EventLog;
use crate::stats::cluster::prefix;
use crate::stats::health_check::HealthCheckStats;
use crate::stats::{Counter, Store};
use crate::upstream::cluster::SharedCluster;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::Member;
use crate::worker::shared::Locked;

use progress::{Failure, FailureKind, Progress, Transition};
use session::Session;
use socket::Tls;

/// The health checks of a cluster.
pub struct HealthChecker {
    shared: Arc<Shared>,
    /// By the host's address in memory, which is its name: each session keeps
    /// its host alive.
    sessions: HashMap<*const SharedHost, Running>,
}

/// What a cluster's checks have in common.
struct Shared {
    cluster: Arc<ClusterConfig>,
    check: Arc<HealthCheck>,
    stats: HealthCheckStats,
    logs: Vec<EventLog>,
    /// How TLS is spoken, by transport socket, where it is.
    tls: Box<[Option<Arc<Tls>>]>,
    /// Who counts the transport sockets of checks that have one by labels of their
    /// own.
    counted: Option<Arc<SharedCluster>>,
    store: Store,
    /// Whether the cluster has ever had a connection.
    connections: Counter,
    runtime: watch::Receiver<Arc<RuntimeValues>>,
    events: Events,
}

/// A host that is being checked.
struct Running {
    host: Arc<SharedHost>,
    progress: Arc<Locked<Progress>>,
    task: AbortHandle,
}

impl HealthChecker {
    /// The checker of a cluster, if it has one. No host is checked yet.
    #[must_use]
    pub fn new(
        cluster: &Arc<SharedCluster>,
        logs: Vec<EventLog>,
        runtime: watch::Receiver<Arc<RuntimeValues>>,
        events: &Events,
        store: &Store,
    ) -> Option<Self> {
        let config = &cluster.config;
        let check = config.health_check.as_ref()?;
        let prefix = prefix(&config.stat_name);
        let tls = |context| Arc::new(Tls::new(context, check, config, store));
        let sockets = cluster.sockets.iter();
        let tls = sockets.map(|socket| socket.tls.as_ref().map(tls)).collect();
        let labels = check.socket_labels.as_ref();
        Some(Self {
            shared: Arc::new(Shared {
                cluster: Arc::clone(config),
                check: Arc::clone(check),
                stats: HealthCheckStats::new(store, &format!("{prefix}health_check.")),
                logs,
                tls,
                counted: labels.map(|_| Arc::clone(cluster)),
                store: store.clone(),
                connections: cluster.stats.upstream_cx_total,
                runtime,
                events: events.clone(),
            }),
            sessions: HashMap::new(),
        })
    }

    /// Checks these hosts from now on, and no others.
    pub fn set_hosts(&mut self, members: &[Member], groups: &[Group]) {
        let mut before = std::mem::take(&mut self.sessions);
        for member in members {
            let host = &member.shared;
            if host.is_unchecked() {
                continue;
            }
            let name = Arc::as_ptr(host);
            let running = before.remove(&name).unwrap_or_else(|| {
                let locality = &groups[member.config.group as usize].locality;
                self.start(member, Arc::clone(locality))
            });
            self.sessions.insert(name, running);
        }
        for gone in before.into_values() {
            self.stop(&gone);
        }
    }

    fn start(&self, member: &Member, locality: Arc<Locality>) -> Running {
        let host = Arc::clone(&member.shared);
        if !host.has(HealthFlag::FailedActiveHc) {
            self.shared.stats.healthy.inc();
        }
        let progress = Arc::new(Locked::new(Progress::new(locality)));
        let session = Session::new(Arc::clone(&self.shared), member, Arc::clone(&progress));
        Running {
            host,
            progress,
            task: tokio::spawn(session.run()).abort_handle(),
        }
    }

    fn stop(&self, running: &Running) {
        running.task.abort();
        if !running.host.has(HealthFlag::FailedActiveHc) {
            self.shared.stats.healthy.dec();
        }
        if running.host.has(HealthFlag::DegradedActiveHc) {
            self.shared.stats.degraded.dec();
        }
    }

    /// Whether a host waits for its first result.
    #[must_use]
    pub fn awaits_first_check(&self) -> bool {
        let is_first = |running: &Running| running.progress.with(|progress| progress.is_first());
        self.sessions.values().any(is_first)
    }

    /// A response of the host said that its health checks would fail. True
    /// when that changes its health.
    pub fn on_immediate_fail(&self, host: &Arc<SharedHost>) -> bool {
        let Some(running) = self.sessions.get(&Arc::as_ptr(host)) else {
            return false;
        };
        let excluded = host.set_health(HealthFlag::ExcludedViaImmediateHcFail, true);
        let failure = Failure {
            kind: FailureKind::Passive,
            retriable: false,
            status: 0,
        };
        let moved = (running.progress).with(|progress| self.shared.failed(host, progress, failure));
        excluded || moved == Transition::Changed
    }
}

impl Drop for HealthChecker {
    fn drop(&mut self) {
        for running in self.sessions.values() {
            running.task.abort();
        }
    }
}
