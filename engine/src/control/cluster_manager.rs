//! The clusters as the control plane has them: who their hosts are and what is
//! known against each.
//!
//! Discovery, health checks and outlier detection tell what they find as
//! [`ClusterEvent`]s. Whatever changes a cluster's hosts or their health makes
//! a new [`HostSet`], which is published to the workers; several events at once
//! make one set.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ptr;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::bootstrap::Snapshot;
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Address;
use ringway_config::discovery::Discovery;
use ringway_config::dns_cache::DnsCacheId;
use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::runtime::RuntimeValues;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::health_checkers::HealthChecker;
use super::load_weights::LoadWeights;
use super::on_demand::OnDemand;
use super::outlier_detection::{OutlierDetector, Scene};
use super::pending_removal;
use super::zones::Zones;
use crate::access_loggers::EventLog;
use crate::stats::Store;
use crate::transport_sockets::tls::ClientContext;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::dns_cache::Known;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::{Facts, HostSet, Member};
use crate::upstream::original_dst::Registry;
use crate::upstream::outlier_detection::{Report, Reported, Watch};
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
#[derive(Default)]
pub struct Prepared {
    /// Where their events are logged.
    pub event_logs: EventLogs,
    /// How those that speak TLS do so; without a context where files hold the secrets.
    pub tls: HashMap<ClusterId, Option<Arc<ClientContext>>>,
}

/// All clusters.
pub struct ClusterManager {
    clusters: Vec<ManagedCluster>,
    index: HashMap<ClusterId, usize>,
    surroundings: Surroundings,
    store: Store,
    /// Tells the sessions of health checks of other values of the runtime.
    runtime_sender: watch::Sender<Arc<RuntimeValues>>,
    events: UnboundedReceiver<ClusterEvent>,
    sender: Events,
    /// What is known of names and was not published yet.
    names: HashMap<DnsCacheId, Arc<Known>>,
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
        let (runtime_sender, runtime_receiver) = watch::channel(Arc::clone(&runtime));
        let surroundings = Surroundings {
            zones: Zones::new(&snapshot.node),
            local: snapshot.local_cluster,
            runtime,
        };
        let clusters: Vec<_> = (snapshot.clusters.iter())
            .map(|config| {
                let mut cluster =
                    ManagedCluster::new(config, &surroundings, &sender, prepared, store);
                let own_logs = prepared.event_logs.health_checks.get(&config.id);
                cluster.checker = HealthChecker::new(
                    &cluster.shared,
                    own_logs.cloned().unwrap_or_default(),
                    runtime_receiver.clone(),
                    &sender,
                    store,
                );
                cluster
            })
            .collect();
        let index: HashMap<_, _> = (clusters.iter().enumerate())
            .map(|(index, cluster)| (cluster.shared.config.id, index))
            .collect();
        let mut manager = Self {
            index,
            clusters,
            surroundings,
            store: store.clone(),
            runtime_sender,
            events,
            sender,
            names: HashMap::new(),
        };
        manager.tell_runtime();
        if manager.surroundings.local.is_some() {
            manager.take_local_cluster();
            let _ = manager.rebuild();
        }
        manager
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
    pub async fn changed(&mut self) -> Vec<HostsChange> {
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
    pub fn pending(&mut self) -> Vec<HostsChange> {
        while let Ok(event) = self.events.try_recv() {
            self.apply(event);
        }
        self.sweep();
        self.rebuild()
    }

    /// The runtime has other values: what has to be published.
    pub fn set_runtime(&mut self, runtime: Arc<RuntimeValues>) -> Vec<HostsChange> {
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

    fn rebuild(&mut self) -> Vec<HostsChange> {
        let local = self.surroundings.local.and_then(|id| self.index.get(&id));
        if local.is_some_and(|index| self.clusters[*index].is_dirty) {
            self.take_local_cluster();
        }
        let surroundings = &self.surroundings;
        let dirty = self.clusters.iter_mut().filter(|cluster| cluster.is_dirty);
        let hosts = dirty.map(|cluster| cluster.rebuild(surroundings));
        // Requests that wait for names find the hosts there.
        let names = self.names.drain();
        let names = names.map(|(cache, known)| HostsChange::Names(cache, known));
        hosts.chain(names).collect()
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
            ClusterEvent::Hosts(id, _)
            | ClusterEvent::Made(id, _)
            | ClusterEvent::Health { cluster: id, .. }
            | ClusterEvent::Checked { cluster: id, .. } => *id,
            ClusterEvent::Reported(report) => report.cluster,
        };
        let Some(cluster) = self.index.get(&id).map(|index| &mut self.clusters[*index]) else {
            return;
        };
        match event {
            ClusterEvent::Names { .. } => {}
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
pub enum HostsChange {
    /// New hosts for a cluster.
    Hosts(ClusterId, Arc<HostSet>),
    /// What is known of the names of a cache.
    Names(DnsCacheId, Arc<Known>),
}

impl HostsChange {
    /// The change for one worker.
    #[must_use]
    pub fn for_worker(&self) -> Change {
        match self {
            Self::Hosts(cluster, hosts) => Change::Hosts(*cluster, Arc::clone(hosts)),
            Self::Names(cache, known) => Change::Names(*cache, Arc::clone(known)),
        }
    }
}

/// What the hosts of a cluster are balanced by, beside themselves.
struct Surroundings {
    zones: Zones,
    /// The cluster that this proxy belongs to.
    local: Option<ClusterId>,
    runtime: Arc<RuntimeValues>,
}

struct ManagedCluster {
    shared: Arc<SharedCluster>,
    assignment: Assignment,
    members: Arc<[Member]>,
    outliers: Option<OutlierDetector>,
    checker: Option<HealthChecker>,
    /// Where hosts are made as requests ask for them.
    on_demand: Option<OnDemand>,
    weights: Option<LoadWeights>,
    /// When each host began to take requests, on the clock of the cluster's
    /// balancers; of clusters that start slowly.
    slow_starts: HashMap<*const SharedHost, u64>,
    /// The set that was published last is not true any more.
    is_dirty: bool,
    /// Subsets of hosts at last.
    subsets: u64,
    /// The last priority that there is or was.
    last_priority: u32,
}

impl ManagedCluster {
    fn new(
        config: &Arc<ClusterConfig>,
        surroundings: &Surroundings,
        events: &Events,
        prepared: &Prepared,
        store: &Store,
    ) -> Self {
        let announcing = events.clone();
        let events = events.clone();
        // Nobody takes reports any more only when the process ends.
        let report = move |report| drop(events.send(ClusterEvent::Reported(report)));
        let created = Instant::now();
        let watch = Watch::new(config, created, Box::new(report));
        let outliers = watch
            .clone()
            .filter(|watch| watch.detects_outliers())
            .map(|watch| {
                let log = prepared.event_logs.outliers.clone();
                OutlierDetector::new(config, watch, log, store)
            });
        let assignment = config.assignment.clone();
        let nobody = Assignment::default();
        let found = Found::compare(&assignment, &nobody, &[], watch.as_ref(), store);
        let mut slow_starts = HashMap::new();
        if config.balancing.slow_start_window().is_some() {
            slow_starts.extend(found.added.iter().map(|host| (Arc::as_ptr(host), 0)));
        }
        let members = Arc::clone(&found.members);
        let hosts = host_set(config, &members, &assignment, &slow_starts, surroundings);
        let weights = LoadWeights::new(&config.balancing, created);
        let tls = prepared.tls.get(&config.id).cloned();
        let (config, hosts) = (Arc::clone(config), Arc::new(hosts));
        let on_demand = OnDemand::new(&config.discovery);
        let registry = on_demand.is_some().then(|| {
            let id = config.id;
            let announce = move |host| drop(announcing.send(ClusterEvent::Made(id, host)));
            Registry::new(&config, watch.clone(), store, Box::new(announce))
        });
        let shared = SharedCluster::new(config, hosts, watch, created, store)
            .with_registry(registry)
            .with_tls(tls, store);
        let mut cluster = Self {
            shared: Arc::new(shared),
            assignment,
            members,
            outliers,
            checker: None,
            on_demand,
            weights,
            slow_starts,
            is_dirty: false,
            subsets: 0,
            last_priority: 0,
        };
        cluster.count_changed(&found);
        cluster.count_members();
        cluster
    }

    /// Takes what was found. Hosts that are healthy may stay although they are
    /// not among it.
    fn assign(&mut self, mut assignment: Assignment, store: &Store) {
        if pending_removal::is_wanted(&self.shared.config) {
            assignment = pending_removal::keep_healthy(assignment, &self.assignment, &self.members);
        }
        self.count_weights(&assignment);
        self.take(assignment, store);
    }

    /// Counts the largest weight of what EDS says. As Envoy, which weighs one
    /// priority after the other, those included that there were once: the last
    /// one counts.
    fn count_weights(&mut self, found: &Assignment) {
        if !matches!(self.shared.config.discovery, Discovery::Eds(_)) {
            return;
        }
        let priority = |host: &HostConfig| found.groups[host.group as usize].priority;
        let given = found.groups.iter().map(|group| group.priority);
        self.last_priority = given.max().unwrap_or(0).max(self.last_priority);
        let last = (found.hosts.iter()).filter(|host| priority(host) == self.last_priority);
        let max = last.map(|host| host.weight).max().unwrap_or(1);
        self.shared.stats.max_host_weight.set(max.into());
    }

    /// Lets hosts go that are no longer configured, stayed because they were
    /// healthy, and are so no more.
    fn drop_failed(&mut self, store: &Store) {
        let left = pending_removal::without_failed(&self.assignment, &self.members);
        if let Some(assignment) = left {
            self.take(assignment, store);
        }
    }

    /// Takes other hosts. Those that are there already keep what they have
    /// counted, what is known against them, and their connections.
    fn take(&mut self, assignment: Assignment, store: &Store) {
        let watch = self.shared.watch.as_ref();
        let found = Found::compare(&assignment, &self.assignment, &self.members, watch, store);
        self.count_changed(&found);
        for host in &found.added {
            if self.shared.config.ignore_new_hosts_until_first_check {
                host.set_health(
                    HealthFlag::PendingActiveHc,
                    host.has(HealthFlag::FailedActiveHc),
                );
            }
            self.start_slowly(host);
        }
        self.assignment = assignment;
        self.members = found.members;
        self.forget_slow_starts();
        self.update_weights(Instant::now());
        self.note_members();
    }

    fn update_weights(&mut self, now: Instant) {
        if let Some(weights) = &mut self.weights
            && let Some(members) = weights.update(&self.members, &self.assignment, now)
        {
            self.members = members;
            self.is_dirty = true;
        }
    }

    fn set_members(&mut self, members: Arc<[Member]>) {
        self.members = members;
        self.note_members();
    }

    /// Tells whoever looks at hosts that there are others.
    fn note_members(&mut self) {
        if let Some(outliers) = &self.outliers {
            outliers.on_members(&self.members);
        }
        self.set_checked_hosts();
        self.is_dirty = true;
    }

    /// When its hosts have to be looked at.
    fn due(&self) -> Option<Instant> {
        let outliers = self.outliers.as_ref().and_then(OutlierDetector::due);
        let on_demand = self.on_demand.as_ref().and_then(OnDemand::due);
        let weights = self.weights.as_ref().map(LoadWeights::due);
        [outliers, on_demand, weights].into_iter().flatten().min()
    }

    /// Takes the hosts that workers have made.
    fn take_made(&mut self) {
        let made = self.on_demand.as_mut();
        let Some((members, added)) = made.and_then(|made| made.take_made(&self.members)) else {
            return;
        };
        // As Envoy, which is told of one after the other.
        self.shared.stats.membership_change.add(added);
        let matches = &self.shared.transport_socket_matches;
        matches.total_match_count.add(added);
        self.set_members(members);
    }

    /// Takes the hosts that the names of its cache are now.
    fn set_named(&mut self, hosts: &[Arc<HostConfig>], store: &Store) {
        let watch = self.shared.watch.as_ref();
        let before: HashMap<&str, &Member> = (self.members.iter())
            .map(|member| (&*member.config.hostname, member))
            .collect();
        let mut added = 0;
        let members: Arc<[Member]> = (hosts.iter())
            .map(|config| match before.get(&*config.hostname) {
                Some(member) if Arc::ptr_eq(&member.config, config) => (*member).clone(),
                found => {
                    added += u64::from(found.is_none());
                    Member {
                        shared: SharedHost::new(Arc::clone(config), watch, store),
                        config: Arc::clone(config),
                    }
                }
            })
            .collect();
        let gone = (before.len() as u64 + added).saturating_sub(members.len() as u64);
        let matches = &self.shared.transport_socket_matches;
        matches.total_match_count.add(added);
        // As Envoy, where a host that gets another address is the same one.
        self.shared.stats.membership_change.add(added + gone);
        self.set_members(members);
    }

    /// Lets the hosts go that nobody asks for any more, if it is time to.
    fn clean_up(&mut self, now: Instant, store: &Store) {
        let due = self.on_demand.as_mut();
        let due = due.filter(|one| one.due().is_some_and(|due| due <= now));
        let (Some(on_demand), Some(registry)) = (due, &self.shared.registry) else {
            return;
        };
        if let Some(left) = on_demand.clean_up(&self.members, registry, store) {
            self.shared.stats.membership_change.inc();
            self.set_members(left);
        }
    }

    fn set_checked_hosts(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.set_hosts(&self.members, &self.assignment.groups);
        }
    }

    fn set_health(&mut self, host: &Arc<SharedHost>, flag: HealthFlag, on: bool) {
        if !host.set_health(flag, on) {
            return;
        }
        let is_checked = matches!(
            flag,
            HealthFlag::FailedActiveHc | HealthFlag::PendingActiveHc
        );
        if !on && is_checked {
            self.start_slowly(host);
        }
        self.is_dirty = true;
    }

    /// A host takes requests from now on.
    fn start_slowly(&mut self, host: &Arc<SharedHost>) {
        if self.shared.config.balancing.slow_start_window().is_some() {
            let since = self.shared.created.elapsed().as_millis() as u64;
            self.slow_starts.insert(Arc::as_ptr(host), since);
        }
    }

    /// Forgets hosts that have their full share, and those that are gone.
    fn forget_slow_starts(&mut self) {
        let Some(window) = self.shared.config.balancing.slow_start_window() else {
            return;
        };
        let now = self.shared.created.elapsed().as_millis() as u64;
        let window = window.as_millis() as u64;
        let members: HashSet<_> = (self.members.iter())
            .map(|member| Arc::as_ptr(&member.shared))
            .collect();
        self.slow_starts
            .retain(|host, since| members.contains(host) && now < *since + window);
    }

    fn host_set(&self, surroundings: &Surroundings) -> HostSet {
        host_set(
            &self.shared.config,
            &self.members,
            &self.assignment,
            &self.slow_starts,
            surroundings,
        )
    }

    fn rebuild(&mut self, surroundings: &Surroundings) -> HostsChange {
        self.take_made();
        self.is_dirty = false;
        let hosts = Arc::new(self.host_set(surroundings));
        self.shared.set_hosts(Arc::clone(&hosts));
        self.count_members();
        HostsChange::Hosts(self.shared.config.id, hosts)
    }

    fn count_changed(&self, found: &Found) {
        // Who looks for hosts counts them: as Envoy, with every answer.
        if !self.shared.config.discovery.has_to_look() {
            let matches = &self.shared.transport_socket_matches;
            matches.total_match_count.add(found.added.len() as u64);
        }
        // As Envoy, which updates one priority after the other.
        let changed = found.changed_priorities.len() as u64;
        self.shared.stats.membership_change.add(changed);
    }

    fn count_members(&mut self) {
        let stats = &self.shared.stats;
        let hosts = self.shared.hosts();
        let counts = hosts.counts;
        // As Envoy's main thread, which has balancers like any worker.
        self.shared.count_events(hosts.balancer.built());
        if let Some(table) = &self.shared.table {
            table.set(hosts.balancer.table_sizes().unwrap_or_default());
        }
        if let (Some(more), Some(subsets)) = (&self.shared.subsets, hosts.balancer.subsets()) {
            more.lb_subsets_single_host_per_subset_duplicate
                .set(u64::from(subsets.duplicates));
            // Envoy counts those of every thread. Here they share them.
            let (before, now) = (self.subsets, subsets.active as u64);
            stats.lb_subsets_active.set(now);
            stats.lb_subsets_created.add(now.saturating_sub(before));
            stats.lb_subsets_removed.add(before.saturating_sub(now));
            self.subsets = now;
        }
        stats.membership_total.set(self.members.len() as u64);
        stats.membership_healthy.set(counts.healthy);
        stats.membership_degraded.set(counts.degraded);
        stats.membership_excluded.set(counts.excluded);
    }
}

fn host_set(
    config: &ClusterConfig,
    members: &Arc<[Member]>,
    assignment: &Assignment,
    slow_starts: &HashMap<*const SharedHost, u64>,
    surroundings: &Surroundings,
) -> HostSet {
    let zones = &surroundings.zones;
    // Within its own cluster a proxy has no zone.
    let basis = (surroundings.local != Some(config.id))
        .then(|| config.balancing.locality_basis())
        .flatten();
    HostSet::new(
        Arc::clone(members),
        &Facts {
            config,
            assignment,
            runtime: &surroundings.runtime,
            locality: &|locality| zones.number(locality),
            local: basis.and_then(|basis| zones.local(basis)),
            slow_start_since_ms: &|host| slow_starts.get(&ptr::from_ref(host)).copied(),
        },
    )
}

/// The hosts of an assignment beside those that were there before.
struct Found {
    /// The hosts. A host is who has its address; of two with one address, the
    /// first of the one list is the first of the other.
    members: Arc<[Member]>,
    /// Those that are new.
    added: Vec<Arc<SharedHost>>,
    /// The priorities that got or lost a host.
    changed_priorities: BTreeSet<u32>,
}

impl Found {
    fn compare(
        assignment: &Assignment,
        assignment_before: &Assignment,
        before: &[Member],
        watch: Option<&Arc<Watch>>,
        store: &Store,
    ) -> Self {
        let priority = |of: &Assignment, host: &HostConfig| of.groups[host.group as usize].priority;
        let mut known: HashMap<&Address, Vec<&Member>> = HashMap::new();
        for member in before.iter().rev() {
            let same = known.entry(member.shared.address()).or_default();
            same.push(member);
        }
        // Who stays in its priority does not make room for one of another.
        let stays: Vec<Option<&Member>> = (assignment.hosts.iter())
            .map(|config| {
                let same = known.get_mut(&config.address)?;
                let now = priority(assignment, config);
                let then = |member: &&Member| priority(assignment_before, &member.config);
                let place = same.iter().rposition(|member| then(member) == now)?;
                Some(same.remove(place))
            })
            .collect();
        let mut added = Vec::new();
        let mut changed_priorities = BTreeSet::new();
        let mut member = |(config, stays): (&Arc<HostConfig>, Option<&Member>)| {
            if let Some(member) = stays {
                return keep(member, config);
            }
            let now = priority(assignment, config);
            changed_priorities.insert(now);
            if let Some(member) = known.get_mut(&config.address).and_then(Vec::pop) {
                changed_priorities.insert(priority(assignment_before, &member.config));
                return keep(member, config);
            }
            let shared = SharedHost::new(Arc::clone(config), watch, store);
            added.push(Arc::clone(&shared));
            Member {
                shared,
                config: Arc::clone(config),
            }
        };
        let members = (assignment.hosts.iter().zip(stays))
            .map(&mut member)
            .collect();
        let gone = known.into_values().flatten();
        changed_priorities.extend(gone.map(|member| priority(assignment_before, &member.config)));
        Self {
            members,
            added,
            changed_priorities,
        }
    }
}

/// A host that stays, with what is configured of it now.
fn keep(member: &Member, config: &Arc<HostConfig>) -> Member {
    for (flag, on) in HealthFlag::of_assigned(config.health) {
        member.shared.set_health(flag, on);
    }
    let same = *member.config == **config;
    Member {
        shared: Arc::clone(&member.shared),
        config: Arc::clone(if same { &member.config } else { config }),
    }
}
