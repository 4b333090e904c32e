//! The clusters as the control plane has them: who their hosts are and what is
//! known against each.
//!
//! Discovery, health checks and outlier detection tell what they find as
//! [`ClusterEvent`]s, and workers which clusters they miss. Whatever changes a cluster's hosts or their health makes
//! a new [`HostSet`], which is published to the workers; several events at once
//! make one set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::bootstrap::Snapshot;
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::discovery::Discovery;
use ringway_config::dns_cache::DnsCacheId;
use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::names::Names as Numbering;
use ringway_config::runtime::RuntimeValues;
use ringway_config::socket_match::SocketId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::cluster_list::ClusterList;
use super::discovery::{Finder, Unwatched, Warming};
use super::health_checkers::HealthChecker;
use super::managed_cluster::{ManagedCluster, Surroundings};
use super::outlier_detection::Scene;
use super::zones::Zones;
use crate::access_loggers::EventLog;
use crate::stats::Store;
use crate::stats::server::ClusterManagerStats;
use crate::transport_sockets::proxy_protocol::AddedValues;
use crate::transport_sockets::tls::ClientContext;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::dns_cache::Known;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::{HostSet, Member};
use crate::upstream::outlier_detection::{Report, Reported};
use crate::worker::Change;

/// What somebody found out about a cluster.
pub enum ClusterEvent {
    /// These are its hosts now.
    Hosts(ClusterId, Assignment),
    /// What is known of the names of a cache, and the hosts that they are.
    Names {
        /// The cache.
        cache: DnsCacheId,
        /// What workers are told.
        known: Arc<Known>,
        /// The hosts of every cluster that uses the cache.
        hosts: Vec<Arc<HostConfig>>,
    },
    /// A worker has made a host of an address that a request asked for.
    Made(ClusterId, Arc<SharedHost>),
    /// Something is known against a host, or no longer.
    Health {
        /// The cluster that it belongs to.
        cluster: ClusterId,
        /// The host.
        host: Arc<SharedHost>,
        /// What.
        flag: HealthFlag,
        /// Whether it holds.
        on: bool,
    },
    /// A host has been checked.
    Checked {
        /// The cluster that it belongs to.
        cluster: ClusterId,
        /// The host.
        host: Arc<SharedHost>,
        /// Whether that changed its health.
        changed: bool,
        /// Whether it passed.
        passed: bool,
        /// Whether it was unhealthy until then, and is so no more.
        recovered: bool,
    },
    /// What a worker has to say of a host.
    Reported(Report),
    /// A request wants this sub-cluster of a cluster, and there is none.
    Wanted(ClusterId, Arc<str>),
    /// The first hosts of a cluster that was added are known.
    Found(ClusterId),
    /// Nothing that was told of a cluster that has ended comes behind this.
    Ended(ClusterId),
}

/// Where [`ClusterEvent`]s are sent to.
pub type Events = UnboundedSender<ClusterEvent>;

/// Where events of clusters are logged.
#[derive(Debug, Clone, Default)]
pub struct EventLogs {
    /// Ejections.
    pub outliers: Option<EventLog>,
    /// Health checks, by cluster.
    pub health_checks: HashMap<ClusterId, Vec<EventLog>>,
}

/// What clusters need that is made of the configuration by the engine, not by its
/// lowering.
#[derive(Clone, Default)]
pub struct Prepared {
    /// Where their events are logged.
    pub event_logs: EventLogs,
    /// How those that speak TLS do so; without a context where files hold the secrets.
    pub tls: HashMap<(ClusterId, SocketId), Option<Arc<ClientContext>>>,
    /// What their headers of PROXY protocol say besides addresses.
    pub added_values: HashMap<ClusterId, Arc<AddedValues>>,
}

/// All clusters.
pub struct ClusterManager {
    clusters: Vec<ManagedCluster>,
    index: HashMap<ClusterId, usize>,
    list: Arc<ClusterList>,
    stats: ClusterManagerStats,
    prepared: Prepared,
    numbering: Arc<Numbering>,
    finder: Finder,
    surroundings: Surroundings,
    store: Store,
    /// Tells the sessions of health checks of other values of the runtime.
    runtime_sender: watch::Sender<Arc<RuntimeValues>>,
    events: UnboundedReceiver<ClusterEvent>,
    sender: Events,
    /// What is known of names and was not published yet.
    names: HashMap<DnsCacheId, Arc<Known>>,
    /// Clusters that have ended, which workers still have.
    ended: Vec<ClusterId>,
}

impl ClusterManager {
    /// The clusters of a configuration, with the hosts that it gives them.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        runtime: Arc<RuntimeValues>,
        prepared: &Prepared,
        store: &Store,
    ) -> Self {
        let (sender, events) = unbounded_channel();
        let (runtime_sender, _) = watch::channel(Arc::clone(&runtime));
        let mut manager = Self {
            clusters: Vec::new(),
            index: HashMap::new(),
            list: Arc::default(),
            stats: ClusterManagerStats::new(store, "cluster_manager."),
            prepared: prepared.clone(),
            numbering: Arc::clone(&snapshot.names),
            finder: Finder::new(&snapshot.names, &sender, store),
            surroundings: Surroundings {
                zones: Zones::new(&snapshot.node),
                local: snapshot.local_cluster,
                runtime,
            },
            store: store.clone(),
            runtime_sender,
            events,
            sender,
            names: HashMap::new(),
            ended: Vec::new(),
        };
        for config in &snapshot.clusters {
            let mut cluster = manager.make(config, None);
            // They are the workers' first update.
            cluster.is_published = true;
            manager.list.activate(&cluster.shared);
            manager.insert(cluster);
        }
        manager.tell_runtime();
        if manager.surroundings.local.is_some() {
            manager.take_local_cluster();
            let _ = manager.rebuild();
        }
        manager
    }

    /// A cluster that nobody has yet. One that another one makes, its `parent`, has
    /// what the engine has made for that.
    fn make(
        &self,
        config: &Arc<ClusterConfig>,
        parent: Option<&Arc<SharedCluster>>,
    ) -> ManagedCluster {
        let mut cluster = ManagedCluster::new(
            config,
            &self.surroundings,
            &self.sender,
            &self.prepared,
            parent.map(|parent| &**parent),
            &self.store,
        );
        let of = parent.map_or(config.id, |parent| parent.config.id);
        let own_logs = self.prepared.event_logs.health_checks.get(&of);
        cluster.checker = HealthChecker::new(
            &cluster.shared,
            own_logs.cloned().unwrap_or_default(),
            self.runtime_sender.subscribe(),
            &self.sender,
            &self.store,
        );
        cluster
    }

    fn insert(&mut self, cluster: ManagedCluster) {
        self.index
            .insert(cluster.shared.config.id, self.clusters.len());
        self.clusters.push(cluster);
    }

    /// Adds a cluster. Its hosts are looked for and checked; workers have it once that
    /// was done, whatever came of it.
    fn add(&mut self, config: ClusterConfig, parent: &Arc<SharedCluster>) -> Arc<SharedCluster> {
        let mut cluster = self.make(&Arc::new(config), Some(parent));
        let shared = Arc::clone(&cluster.shared);
        let id = shared.config.id;
        shared.apply_runtime(&self.surroundings.runtime);
        if let Some(outliers) = &cluster.outliers {
            outliers.set_runtime(&self.surroundings.runtime);
        }
        cluster.set_checked_hosts();
        let (warm, mut warming) = Warming::new();
        match self.finder.start(&shared, Some(warm)) {
            Ok(finding) => {
                cluster.awaits_hosts = finding.is_some() && shared.config.wait_for_warm;
                cluster.finding.extend(finding);
            }
            Err(error) => tracing::error!(%error, "a cluster stays without hosts"),
        }
        let sender = self.sender.clone();
        let telling = tokio::spawn(async move {
            warming.done().await;
            drop(sender.send(ClusterEvent::Found(id)));
        });
        cluster.finding.push(telling.abort_handle());
        self.list.add_warming(&shared);
        self.stats.cluster_added.inc();
        self.show_counts();
        self.insert(cluster);
        shared
    }

    /// Ends clusters. Workers finish the requests that they have there.
    fn remove(&mut self, ids: &[ClusterId]) {
        let mut ended = Vec::new();
        let gone = (self.clusters).extract_if(.., |one| ids.contains(&one.shared.config.id));
        for cluster in gone {
            let id = cluster.shared.config.id;
            self.list.remove(&cluster.shared);
            self.stats.cluster_removed.inc();
            if cluster.is_published {
                self.ended.push(id);
            }
            ended.push(id);
        }
        let places = self.clusters.iter().enumerate();
        self.index = places
            .map(|(place, cluster)| (cluster.shared.config.id, place))
            .collect();
        self.show_counts();
        for id in ended {
            // There is always a receiver: the manager's own.
            let _ = self.sender.send(ClusterEvent::Ended(id));
        }
    }

    fn show_counts(&self) {
        let [active, warming] = self.list.counts();
        self.stats.active_clusters.set(active);
        self.stats.warming_clusters.set(warming);
    }

    /// Makes the sub-cluster of this name.
    fn make_sub_cluster(&mut self, parent: ClusterId, name: &Arc<str>) {
        let Some(&place) = self.index.get(&parent) else {
            return;
        };
        let shared = Arc::clone(&self.clusters[place].shared);
        let sub_clusters = self.clusters[place].sub_clusters.as_ref();
        let made = sub_clusters.and_then(|one| one.configure(name, &self.numbering.clusters));
        let Some(config) = made else { return };
        let made = self.add(config, &shared);
        if let Some(sub_clusters) = &mut self.clusters[place].sub_clusters {
            sub_clusters.add(&made);
        }
    }

    /// The clusters that there are, as admin sees them.
    #[must_use]
    pub fn list(&self) -> Arc<ClusterList> {
        Arc::clone(&self.list)
    }

    /// Looks for the hosts of all clusters from now on. Fails where files cannot be
    /// watched.
    pub fn start_finding(&mut self) -> Result<Warming, Unwatched> {
        let (warm, warming) = Warming::new();
        for cluster in &mut self.clusters {
            let config = &cluster.shared.config;
            let warm = config.wait_for_warm.then(|| warm.clone());
            let finding = self.finder.start(&cluster.shared, warm)?;
            cluster.finding.extend(finding);
        }
        Ok(warming)
    }

    /// What is shared of each cluster, in the order of the configuration.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<SharedCluster>> {
        self.clusters.iter().map(|cluster| &cluster.shared)
    }

    /// Where to send events to.
    #[must_use]
    pub fn events(&self) -> Events {
        self.sender.clone()
    }

    /// Begins to check the hosts of clusters that want it. On the control
    /// plane's runtime only.
    pub fn start_health_checks(&mut self) {
        for cluster in &mut self.clusters {
            cluster.set_checked_hosts();
        }
    }

    /// Whether a host waits for its first check. As in Envoy, nobody listens
    /// before every host has had one.
    #[must_use]
    pub fn awaits_first_checks(&self) -> bool {
        let mut checkers = self.clusters.iter().filter_map(|one| one.checker.as_ref());
        checkers.any(HealthChecker::awaits_first_check)
    }

    /// Waits for an event or until somebody has to look at the hosts anew,
    /// takes in all that has come, and says what has to be published.
    pub async fn changed(&mut self) -> Vec<ClusterChange> {
        let due = self.clusters.iter().filter_map(ManagedCluster::due).min();
        let sweep_due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.events.recv() => {
                if let Some(event) = event {
                    self.apply(event);
                }
            }
            () = sweep_due => {}
        }
        self.pending()
    }

    /// Takes in the events that have come, and says what has to be published.
    pub fn pending(&mut self) -> Vec<ClusterChange> {
        while let Ok(event) = self.events.try_recv() {
            self.apply(event);
        }
        self.sweep();
        self.rebuild()
    }

    /// The runtime has other values: what has to be published.
    pub fn set_runtime(&mut self, runtime: Arc<RuntimeValues>) -> Vec<ClusterChange> {
        self.surroundings.runtime = runtime;
        self.tell_runtime();
        for cluster in &mut self.clusters {
            cluster.is_dirty = true;
        }
        self.rebuild()
    }

    fn tell_runtime(&self) {
        let runtime = &self.surroundings.runtime;
        for cluster in &self.clusters {
            cluster.shared.apply_runtime(runtime);
            if let Some(outliers) = &cluster.outliers {
                outliers.set_runtime(runtime);
            }
        }
        // Nobody looks where no host is checked.
        let _ = self.runtime_sender.send(Arc::clone(runtime));
    }

    fn rebuild(&mut self) -> Vec<ClusterChange> {
        let local = self.surroundings.local.and_then(|id| self.index.get(&id));
        if local.is_some_and(|index| self.clusters[*index].is_dirty) {
            self.take_local_cluster();
        }
        let ended = self.ended.drain(..).map(ClusterChange::Ended);
        let mut changes: Vec<_> = ended.collect();
        let mut has_added = false;
        for cluster in &mut self.clusters {
            let id = cluster.shared.config.id;
            if cluster.is_dirty {
                let hosts = cluster.rebuild(&self.surroundings);
                if cluster.is_published {
                    changes.push(ClusterChange::Hosts(id, hosts));
                }
            }
            if !cluster.is_published && cluster.is_warm() {
                cluster.is_published = true;
                has_added = true;
                self.list.activate(&cluster.shared);
                changes.push(ClusterChange::Added(Arc::clone(&cluster.shared)));
            }
        }
        if has_added {
            self.show_counts();
        }
        // Requests that wait for names find the hosts there.
        let names = self.names.drain();
        changes.extend(names.map(|(cache, known)| ClusterChange::Names(cache, known)));
        changes
    }

    /// Zone-aware clusters depend on who the members of this proxy's own
    /// cluster are.
    fn take_local_cluster(&mut self) {
        let Some(index) = self.surroundings.local.and_then(|id| self.index.get(&id)) else {
            return;
        };
        let local = self.clusters[*index].host_set(&self.surroundings);
        self.surroundings.zones.set_local(&local);
        for cluster in &mut self.clusters {
            let balancing = &cluster.shared.config.balancing;
            cluster.is_dirty |= balancing.locality_basis().is_some();
        }
    }

    /// Lets outlier detection look at hosts where it is time to, makes weights
    /// of load reports, and lets those go that nobody asks for any more.
    fn sweep(&mut self) {
        let now = Instant::now();
        let mut unused = Vec::new();
        for cluster in &mut self.clusters {
            cluster.clean_up(now, &self.store);
            let outliers = cluster.outliers.as_mut();
            let due = outliers.filter(|one| one.due().is_some_and(|due| due <= now));
            if let Some(outliers) = due {
                let runtime = &self.surroundings.runtime;
                let scene = scene(&cluster.members, &self.store, runtime);
                cluster.is_dirty |= outliers.sweep(scene);
            }
            if (cluster.weights.as_ref()).is_some_and(|weights| weights.due() <= now) {
                cluster.update_weights(now);
            }
            if let Some(sub_clusters) = &mut cluster.sub_clusters
                && sub_clusters.due() <= now
            {
                unused.extend(sub_clusters.take_unused(now));
            }
        }
        if !unused.is_empty() {
            self.remove(&unused);
        }
    }

    /// Every cluster of the cache has these hosts now.
    fn apply_names(&mut self, cache: DnsCacheId, known: Arc<Known>, hosts: &[Arc<HostConfig>]) {
        for cluster in &mut self.clusters {
            if cluster.shared.config.discovery == Discovery::DynamicForwardProxy(cache) {
                cluster.set_named(hosts, &self.store);
            }
        }
        self.names.insert(cache, known);
    }

    fn apply(&mut self, event: ClusterEvent) {
        let id = match &event {
            ClusterEvent::Names {
                cache,
                known,
                hosts,
            } => return self.apply_names(*cache, Arc::clone(known), hosts),
            ClusterEvent::Wanted(parent, name) => return self.make_sub_cluster(*parent, name),
            ClusterEvent::Ended(id) => return self.numbering.clusters.give_back(*id),
            ClusterEvent::Hosts(id, _)
            | ClusterEvent::Found(id)
            | ClusterEvent::Made(id, _)
            | ClusterEvent::Health { cluster: id, .. }
            | ClusterEvent::Checked { cluster: id, .. } => *id,
            ClusterEvent::Reported(report) => report.cluster,
        };
        let Some(cluster) = self.index.get(&id).map(|index| &mut self.clusters[*index]) else {
            return;
        };
        match event {
            ClusterEvent::Names { .. } | ClusterEvent::Wanted(..) | ClusterEvent::Ended(_) => {}
            ClusterEvent::Found(_) => cluster.awaits_hosts = false,
            ClusterEvent::Hosts(_, assignment) => cluster.assign(assignment, &self.store),
            ClusterEvent::Made(_, host) => {
                if let Some(on_demand) = &mut cluster.on_demand {
                    on_demand.on_made(host);
                    cluster.is_dirty = true;
                }
            }
            ClusterEvent::Health { host, flag, on, .. } => cluster.set_health(&host, flag, on),
            ClusterEvent::Checked {
                host,
                changed,
                passed,
                recovered,
                ..
            } => {
                cluster.is_dirty |= changed;
                if changed {
                    cluster.drop_failed(&self.store);
                }
                if recovered {
                    cluster.start_slowly(&host);
                }
                if passed && !host.has(HealthFlag::FailedActiveHc) {
                    let runtime = &self.surroundings.runtime;
                    let scene = scene(&cluster.members, &self.store, runtime);
                    let outliers = cluster.outliers.as_mut();
                    cluster.is_dirty |=
                        outliers.is_some_and(|outliers| outliers.on_check_passed(&host, scene));
                }
            }
            ClusterEvent::Reported(report) => {
                let host = &report.host;
                cluster.is_dirty |= match report.what {
                    Reported::Run(streak) => {
                        let runtime = &self.surroundings.runtime;
                        let scene = scene(&cluster.members, &self.store, runtime);
                        let outliers = cluster.outliers.as_mut();
                        outliers.is_some_and(|outliers| outliers.on_run(host, streak, scene))
                    }
                    Reported::Degraded => {
                        let runtime = &self.surroundings.runtime;
                        let scene = scene(&cluster.members, &self.store, runtime);
                        let outliers = cluster.outliers.as_mut();
                        outliers.is_some_and(|outliers| outliers.on_degraded(host, scene))
                    }
                    Reported::ImmediateHealthCheckFail => {
                        let checker = cluster.checker.as_ref();
                        checker.is_some_and(|checker| checker.on_immediate_fail(host))
                    }
                };
                if report.what == Reported::ImmediateHealthCheckFail {
                    cluster.drop_failed(&self.store);
                }
            }
        }
    }
}

fn scene<'a>(members: &'a [Member], store: &'a Store, runtime: &'a RuntimeValues) -> Scene<'a> {
    Scene {
        members,
        store,
        runtime,
        now: Instant::now(),
    }
}

/// Something that is to be published.
pub enum ClusterChange {
    /// A cluster that was not there before.
    Added(Arc<SharedCluster>),
    /// There is no such cluster any more.
    Ended(ClusterId),
    /// New hosts for a cluster.
    Hosts(ClusterId, Arc<HostSet>),
    /// What is known of the names of a cache.
    Names(DnsCacheId, Arc<Known>),
}

impl ClusterChange {
    /// The change for one worker.
    #[must_use]
    pub fn for_worker(&self) -> Change {
        match self {
            Self::Added(cluster) => Change::Cluster(Arc::clone(cluster)),
            Self::Ended(id) => Change::RemoveCluster(*id),
            Self::Hosts(cluster, hosts) => Change::Hosts(*cluster, Arc::clone(hosts)),
            Self::Names(cache, known) => Change::Names(*cache, Arc::clone(known)),
        }
    }
}
