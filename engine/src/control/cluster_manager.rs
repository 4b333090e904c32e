//! The clusters as the control plane has them: who their hosts are and what is
//! known against each.
//!
//! Discovery, health checks and outlier detection tell what they find as
//! [`ClusterEvent`]s. Whatever changes a cluster's hosts or their health makes
//! a new [`HostSet`], which is published to the workers; several events at once
//! make one set.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Address;
use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::runtime::RuntimeValues;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::health_checkers::HealthChecker;
use super::outlier_detection::{OutlierDetector, Scene};
use crate::access_loggers::EventLog;
use crate::stats::Store;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::{HostSet, Member};
use crate::upstream::outlier_detection::{Report, Reported, Watch};
use crate::worker::Change;

/// What somebody found out about a cluster.
pub enum ClusterEvent {
    /// These are its hosts now.
    Hosts(ClusterId, Assignment),
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

/// All clusters.
pub struct ClusterManager {
    clusters: Vec<ManagedCluster>,
    index: HashMap<ClusterId, usize>,
    store: Store,
    runtime: Arc<RuntimeValues>,
    /// Tells sessions of health checks of other values.
    runtime_sender: watch::Sender<Arc<RuntimeValues>>,
    events: UnboundedReceiver<ClusterEvent>,
    sender: Events,
}

impl ClusterManager {
    /// The clusters of a configuration, with the hosts that it gives them.
    #[must_use]
    pub fn new(
        configs: &[Arc<ClusterConfig>],
        runtime: Arc<RuntimeValues>,
        logs: &EventLogs,
        store: &Store,
    ) -> Self {
        let (sender, events) = unbounded_channel();
        let (runtime_sender, runtime_receiver) = watch::channel(Arc::clone(&runtime));
        let clusters: Vec<_> = configs
            .iter()
            .map(|config| {
                let mut cluster = ManagedCluster::new(config, &sender, logs, store);
                cluster.checker = HealthChecker::new(
                    config,
                    cluster.shared.stats.upstream_cx_total,
                    logs.health_checks
                        .get(&config.id)
                        .cloned()
                        .unwrap_or_default(),
                    runtime_receiver.clone(),
                    &sender,
                    store,
                );
                cluster
            })
            .collect();
        let mut manager = Self {
            index: (clusters.iter().enumerate())
                .map(|(index, cluster)| (cluster.shared.config.id, index))
                .collect(),
            clusters,
            store: store.clone(),
            runtime: Arc::clone(&runtime),
            runtime_sender,
            events,
            sender,
        };
        manager.set_runtime(runtime);
        manager
    }

    /// The runtime has other values.
    pub fn set_runtime(&mut self, runtime: Arc<RuntimeValues>) {
        for cluster in &self.clusters {
            if let Some(outliers) = &cluster.outliers {
                outliers.set_runtime(&runtime);
            }
        }
        // Nobody looks where no host is checked.
        let _ = self.runtime_sender.send(Arc::clone(&runtime));
        self.runtime = runtime;
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
        let checkers = self.clusters.iter().filter_map(|one| one.checker.as_ref());
        checkers.into_iter().any(HealthChecker::awaits_first_check)
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

    /// Waits for an event or until outlier detection has to look at hosts,
    /// takes in all that has come, and says what has to be published.
    pub async fn changed(&mut self) -> Vec<HostsChange> {
        let outliers = self.clusters.iter().filter_map(|one| one.outliers.as_ref());
        let due = outliers.filter_map(OutlierDetector::due).min();
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
        while let Ok(event) = self.events.try_recv() {
            self.apply(event);
        }
        self.sweep();
        let dirty = self.clusters.iter_mut().filter(|cluster| cluster.is_dirty);
        dirty.map(ManagedCluster::rebuild).collect()
    }

    /// Lets outlier detection look at hosts where it is time to.
    fn sweep(&mut self) {
        let now = Instant::now();
        for cluster in &mut self.clusters {
            let outliers = cluster.outliers.as_mut();
            let due = outliers.filter(|one| one.due().is_some_and(|due| due <= now));
            if let Some(outliers) = due {
                let scene = scene(&cluster.members, &self.store, &self.runtime);
                cluster.is_dirty |= outliers.sweep(scene);
            }
        }
    }

    fn apply(&mut self, event: ClusterEvent) {
        let id = match &event {
            ClusterEvent::Hosts(id, _) | ClusterEvent::Health { cluster: id, .. } => *id,
            ClusterEvent::Checked { cluster, .. } => *cluster,
            ClusterEvent::Reported(report) => report.cluster,
        };
        let Some(cluster) = self.index.get(&id).map(|index| &mut self.clusters[*index]) else {
            return;
        };
        match event {
            ClusterEvent::Hosts(_, assignment) => cluster.assign(assignment, &self.store),
            ClusterEvent::Health { host, flag, on, .. } => {
                cluster.is_dirty |= host.set_health(flag, on);
            }
            ClusterEvent::Checked {
                host,
                changed,
                passed,
                ..
            } => {
                cluster.is_dirty |= changed;
                if passed && !host.has(HealthFlag::FailedActiveHc) {
                    let scene = scene(&cluster.members, &self.store, &self.runtime);
                    let outliers = cluster.outliers.as_mut();
                    cluster.is_dirty |=
                        outliers.is_some_and(|outliers| outliers.on_check_passed(&host, scene));
                }
            }
            ClusterEvent::Reported(report) => {
                let host = &report.host;
                cluster.is_dirty |= match report.what {
                    Reported::Run(streak) => {
                        let scene = scene(&cluster.members, &self.store, &self.runtime);
                        let outliers = cluster.outliers.as_mut();
                        outliers.is_some_and(|outliers| outliers.on_run(host, streak, scene))
                    }
                    Reported::ImmediateHealthCheckFail => {
                        let checker = cluster.checker.as_ref();
                        checker.is_some_and(|checker| checker.on_immediate_fail(host))
                    }
                };
            }
        }
    }
}

/// A host as the one that it is, whatever is configured of it.
fn identity(member: &Member) -> *const SharedHost {
    Arc::as_ptr(&member.shared)
}

fn scene<'a>(members: &'a [Member], store: &'a Store, runtime: &'a RuntimeValues) -> Scene<'a> {
    Scene {
        members,
        store,
        runtime,
        now: Instant::now(),
    }
}

/// New hosts for a cluster.
pub struct HostsChange {
    cluster: ClusterId,
    hosts: Arc<HostSet>,
}

impl HostsChange {
    /// The change for one worker.
    #[must_use]
    pub fn for_worker(&self) -> Change {
        Change::Hosts(self.cluster, Arc::clone(&self.hosts))
    }
}

struct ManagedCluster {
    shared: Arc<SharedCluster>,
    assignment: Assignment,
    members: Arc<[Member]>,
    outliers: Option<OutlierDetector>,
    checker: Option<HealthChecker>,
    /// The set that was published last is not true any more.
    is_dirty: bool,
}

impl ManagedCluster {
    fn new(config: &Arc<ClusterConfig>, events: &Events, logs: &EventLogs, store: &Store) -> Self {
        let events = events.clone();
        // Nobody takes reports any more only when the process ends.
        let report = move |report| drop(events.send(ClusterEvent::Reported(report)));
        let watch = Watch::new(config, Box::new(report));
        let outliers = watch
            .clone()
            .filter(|watch| watch.detects_outliers())
            .map(|watch| OutlierDetector::new(config, watch, logs.outliers.clone(), store));
        let assignment = config.assignment.clone();
        let found = Found::compare(
            &assignment,
            &Assignment::default(),
            &[],
            watch.as_ref(),
            store,
        );
        let hosts = HostSet::new(config, Arc::clone(&found.members), &assignment);
        let (config, hosts) = (Arc::clone(config), Arc::new(hosts));
        let shared = SharedCluster::new(config, hosts, watch, Instant::now(), store);
        let cluster = Self {
            shared: Arc::new(shared),
            assignment,
            members: Arc::clone(&found.members),
            outliers,
            checker: None,
            is_dirty: false,
        };
        cluster.count_changed(&found);
        cluster.count_members();
        cluster
    }

    /// Takes other hosts. Those that are there already keep what they have
    /// counted, what is known against them, and their connections.
    fn assign(&mut self, assignment: Assignment, store: &Store) {
        let watch = self.shared.watch.as_ref();
        let found = Found::compare(&assignment, &self.assignment, &self.members, watch, store);
        if self.shared.config.ignore_new_hosts_until_first_check {
            let before: HashSet<_> = self.members.iter().map(identity).collect();
            let added = |member: &&Member| !before.contains(&identity(member));
            for member in found.members.iter().filter(added) {
                let waits = member.shared.has(HealthFlag::FailedActiveHc);
                member.shared.set_health(HealthFlag::PendingActiveHc, waits);
            }
        }
        self.count_changed(&found);
        self.members = found.members;
        self.assignment = assignment;
        if let Some(outliers) = &self.outliers {
            outliers.on_members(&self.members);
        }
        self.set_checked_hosts();
        self.is_dirty = true;
    }

    fn set_checked_hosts(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.set_hosts(&self.members, &self.assignment.groups);
        }
    }

    fn rebuild(&mut self) -> HostsChange {
        self.is_dirty = false;
        let config = &self.shared.config;
        let hosts = HostSet::new(config, Arc::clone(&self.members), &self.assignment);
        let hosts = Arc::new(hosts);
        self.shared.set_hosts(Arc::clone(&hosts));
        self.count_members();
        HostsChange {
            cluster: config.id,
            hosts,
        }
    }

    fn count_changed(&self, found: &Found) {
        let matches = &self.shared.transport_socket_matches;
        matches.total_match_count.add(found.added);
        // As Envoy, which updates one priority after the other.
        let changed = found.changed_priorities.len() as u64;
        self.shared.stats.membership_change.add(changed);
    }

    fn count_members(&self) {
        let stats = &self.shared.stats;
        let counts = self.shared.hosts().counts;
        stats.membership_total.set(self.members.len() as u64);
        stats.membership_healthy.set(counts.healthy);
        stats.membership_degraded.set(counts.degraded);
        stats.membership_excluded.set(counts.excluded);
        let weights = self.members.iter().map(|member| member.config.weight);
        stats
            .max_host_weight
            .set(u64::from(weights.max().unwrap_or(0)));
    }
}

/// The hosts of an assignment beside those that were there before.
struct Found {
    /// The hosts. A host is who has its address; of two with one address, the
    /// first of the one list is the first of the other.
    members: Arc<[Member]>,
    /// How many are new.
    added: u64,
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
        let mut added = 0;
        let mut changed_priorities = BTreeSet::new();
        let mut member = |config: &Arc<HostConfig>| {
            let now = priority(assignment, config);
            if let Some(member) = known.get_mut(&config.address).and_then(Vec::pop) {
                let then = priority(assignment_before, &member.config);
                if then != now {
                    changed_priorities.extend([then, now]);
                }
                return keep(member, config);
            }
            added += 1;
            changed_priorities.insert(now);
            Member {
                shared: SharedHost::new(Arc::clone(config), watch, store),
                config: Arc::clone(config),
            }
        };
        let members = assignment.hosts.iter().map(&mut member).collect();
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
