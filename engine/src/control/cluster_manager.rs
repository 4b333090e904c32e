//! The clusters as the control plane has them: who their hosts are and what is
//! known against each.
//!
//! Discovery, health checks and outlier detection tell what they find as
//! [`ClusterEvent`]s. Whatever changes a cluster's hosts or their health makes
//! a new [`HostSet`], which is published to the workers; several events at once
//! make one set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Address;
use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::runtime::RuntimeValues;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::stats::Store;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::{HostSet, Member};
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
}

/// Where [`ClusterEvent`]s are sent to.
pub type Events = UnboundedSender<ClusterEvent>;

/// All clusters.
pub struct ClusterManager {
    clusters: Vec<ManagedCluster>,
    index: HashMap<ClusterId, usize>,
    store: Store,
    events: UnboundedReceiver<ClusterEvent>,
    sender: Events,
}

impl ClusterManager {
    /// The clusters of a configuration, with the hosts that it gives them.
    #[must_use]
    pub fn new(configs: &[Arc<ClusterConfig>], store: &Store) -> Self {
        let (sender, events) = unbounded_channel();
        let clusters: Vec<_> = configs
            .iter()
            .map(|config| ManagedCluster::new(config, store))
            .collect();
        Self {
            index: (clusters.iter().enumerate())
                .map(|(index, cluster)| (cluster.shared.config.id, index))
                .collect(),
            clusters,
            store: store.clone(),
            events,
            sender,
        }
    }

    /// What is shared of each cluster, in the order of the configuration.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<SharedCluster>> {
        self.clusters.iter().map(|cluster| &cluster.shared)
    }

    /// Takes the limits that the runtime asks for.
    pub fn apply_runtime(&self, values: &RuntimeValues) {
        for cluster in self.shared() {
            cluster.apply_runtime(values);
        }
    }

    /// Where to send events to.
    #[must_use]
    pub fn events(&self) -> Events {
        self.sender.clone()
    }

    /// Waits for an event, takes in all that have come, and says what has to
    /// be published.
    pub async fn changed(&mut self) -> Vec<HostsChange> {
        if let Some(event) = self.events.recv().await {
            self.apply(event);
        }
        while let Ok(event) = self.events.try_recv() {
            self.apply(event);
        }
        let dirty = self.clusters.iter_mut().filter(|cluster| cluster.is_dirty);
        dirty.map(ManagedCluster::rebuild).collect()
    }

    fn apply(&mut self, event: ClusterEvent) {
        let id = match &event {
            ClusterEvent::Hosts(id, _) | ClusterEvent::Health { cluster: id, .. } => *id,
        };
        let Some(cluster) = self.index.get(&id).map(|index| &mut self.clusters[*index]) else {
            return;
        };
        match event {
            ClusterEvent::Hosts(_, assignment) => cluster.assign(assignment, &self.store),
            ClusterEvent::Health { host, flag, on, .. } => {
                cluster.is_dirty |= host.set_health(flag, on);
            }
        }
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
    /// The set that was published last is not true any more.
    is_dirty: bool,
}

impl ManagedCluster {
    fn new(config: &Arc<ClusterConfig>, store: &Store) -> Self {
        let assignment = config.assignment.clone();
        let (members, _) = members(&assignment, &[], store);
        let hosts = HostSet::new(config, Arc::clone(&members), &assignment);
        let (config, hosts) = (Arc::clone(config), Arc::new(hosts));
        let shared = SharedCluster::new(config, hosts, Instant::now(), store);
        let cluster = Self {
            shared: Arc::new(shared),
            assignment,
            members,
            is_dirty: false,
        };
        cluster.count_changed(cluster.members.len() as u64, false);
        cluster.count_members();
        cluster
    }

    /// Takes other hosts. Those that are there already keep what they have
    /// counted, what is known against them, and their connections.
    fn assign(&mut self, assignment: Assignment, store: &Store) {
        let before = std::mem::take(&mut self.members);
        let (members, added) = members(&assignment, &before, store);
        let removed = before.len() + added != members.len();
        self.members = members;
        self.assignment = assignment;
        self.count_changed(added as u64, removed);
        self.is_dirty = true;
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

    fn count_changed(&self, added: u64, removed: bool) {
        let matches = &self.shared.transport_socket_matches;
        matches.total_match_count.add(added);
        if added > 0 || removed {
            self.shared.stats.membership_change.inc();
        }
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

/// The hosts of an assignment, those of `before` among them as they are, and
/// how many are new. A host is who has its address; of two with one address,
/// the first of the one list is the first of the other.
fn members(assignment: &Assignment, before: &[Member], store: &Store) -> (Arc<[Member]>, usize) {
    let mut known: HashMap<&Address, Vec<&Member>> = HashMap::new();
    for member in before.iter().rev() {
        known
            .entry(member.shared.address())
            .or_default()
            .push(member);
    }
    let mut added = 0;
    let members = assignment
        .hosts
        .iter()
        .map(|config| {
            let member = known.get_mut(&config.address).and_then(Vec::pop);
            match member {
                Some(member) => keep(member, config),
                None => {
                    added += 1;
                    Member {
                        shared: SharedHost::new(Arc::clone(config), store),
                        config: Arc::clone(config),
                    }
                }
            }
        })
        .collect();
    (members, added)
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
