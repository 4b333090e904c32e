//! Clusters whose hosts somebody else names (EDS), in a file so far.

use std::sync::Arc;
use std::time::SystemTime;

use ringway_config::eds::{Eds, EdsAssignment, Response};
use ringway_config::endpoint::Assignment;
use ringway_config::load::Refused;
use ringway_config::names::Names;
use tokio::time::Instant;
use xxhash_rust::xxh64::xxh64;

use super::Warm;
use crate::control::cluster_manager::{ClusterEvent, Events};
use crate::control::file_watcher::Moves;
use crate::stats::Store;
use crate::stats::cluster::{EdsStats, prefix};
use crate::upstream::cluster::SharedCluster;

/// One cluster and what is known of its hosts.
pub struct Subscription {
    cluster: Arc<SharedCluster>,
    eds: Arc<Eds>,
    /// The numbers of what the hosts' messages name.
    names: Arc<Names>,
    stats: EdsStats,
    store: Store,
    events: Events,
    /// The hosts that were named last.
    hosts: Assignment,
    /// When they are gone unless they are named again.
    stale_at: Option<Instant>,
}

impl Subscription {
    /// The hosts of `cluster`, of which nothing is known yet.
    #[must_use]
    pub fn new(
        cluster: &Arc<SharedCluster>,
        eds: &Arc<Eds>,
        names: &Arc<Names>,
        events: &Events,
        store: &Store,
    ) -> Self {
        let prefix = prefix(&cluster.config.stat_name);
        let stats = EdsStats::new(store, &prefix);
        store.text_readout(&format!("{prefix}version_text"), "");
        Self {
            cluster: Arc::clone(cluster),
            eds: Arc::clone(eds),
            names: Arc::clone(names),
            stats,
            store: store.clone(),
            events: events.clone(),
            hosts: cluster.config.assignment.clone(),
            stale_at: None,
        }
    }

    /// Reads who the hosts are now and whenever that changes. The cluster is
    /// warm once that was tried, whatever came of it.
    pub async fn follow(mut self, moves: Moves, warm: Option<Warm>) {
        self.update().await;
        drop(warm);
        loop {
            let stale_at = self.stale_at;
            let stale = async {
                match stale_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = moves.next() => self.update().await,
                () = stale => self.forget(),
            }
        }
    }

    async fn update(&mut self) {
        let begun = Instant::now();
        let stats = &self.cluster.stats;
        stats.update_attempt.inc();
        let (eds, names) = (Arc::clone(&self.eds), Arc::clone(&self.names));
        // Ten thousand hosts take a while to read, and this thread has timers.
        let read = tokio::task::spawn_blocking(move || eds.read(&names)).await;
        let cluster = &*self.cluster.config.name;
        match read {
            Ok(Ok(response)) => self.take(response, begun),
            Ok(Err(Refused::Text(findings))) => {
                stats.update_failure.inc();
                tracing::warn!(cluster, "the hosts cannot be read: {findings}");
            }
            Ok(Err(Refused::Content(findings))) => {
                self.stats.update_rejected.inc();
                tracing::warn!(cluster, "the hosts are refused: {findings}");
            }
            // Reading ends early when the process does, or by a mistake of ours.
            Err(error) => {
                stats.update_failure.inc();
                tracing::error!(cluster, %error, "reading the hosts ended early");
            }
        }
    }

    fn take(&mut self, response: Response, begun: Instant) {
        let config = Arc::clone(&self.cluster.config);
        let stats = self.cluster.stats;
        if !response.warnings.is_empty() {
            tracing::warn!(cluster = &*config.name, "{}", response.warnings);
        }
        match response.assignment {
            Some(assignment) => self.assign(assignment),
            None => stats.update_empty.inc(),
        }
        stats.update_success.inc();
        stats.version.set(xxh64(response.version.as_bytes(), 0));
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since_epoch = since_epoch.unwrap_or_default().as_millis();
        self.stats.update_time.set(since_epoch as u64);
        let took = begun.elapsed().as_millis();
        self.stats.update_duration.record(took as u64);
        let prefix = prefix(&config.stat_name);
        (self.store).text_readout(&format!("{prefix}version_text"), &response.version);
    }

    fn assign(&mut self, assignment: EdsAssignment) {
        self.stale_at = assignment.stale_after.map(|after| Instant::now() + after);
        if assignment.stale_after.is_some() {
            self.cluster.stats.assignment_timeout_received.inc();
        }
        for host in assignment.hosts.hosts.iter() {
            self.cluster.count_sockets(1, Some(host));
        }
        if assignment.hosts == self.hosts {
            self.cluster.stats.update_no_rebuild.inc();
        } else {
            self.tell(assignment.hosts);
        }
    }

    /// The hosts were named too long ago.
    fn forget(&mut self) {
        self.stale_at = None;
        self.cluster.stats.assignment_stale.inc();
        self.tell(Assignment::default());
    }

    fn tell(&mut self, hosts: Assignment) {
        self.hosts = hosts.clone();
        // Nobody listens any more only when the process ends.
        let _ = (self.events).send(ClusterEvent::Hosts(self.cluster.config.id, hosts));
    }
}
