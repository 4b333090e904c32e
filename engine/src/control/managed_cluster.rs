//! One cluster as the control plane has it: who its hosts are and what is known
//! against each. [`cluster_manager`](super::cluster_manager) has all of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ptr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Address;
use ringway_config::discovery::Discovery;
use ringway_config::endpoint::{Assignment, Host as HostConfig};
use ringway_config::runtime::RuntimeValues;
use tokio::task::AbortHandle;

use super::cluster_manager::{ClusterEvent, Events, Prepared};
use super::health_checkers::HealthChecker;
use super::load_weights::LoadWeights;
use super::on_demand::OnDemand;
use super::outlier_detection::OutlierDetector;
use super::pending_removal;
use super::sub_clusters::SubClusters;
use super::zones::Zones;
use crate::stats::Store;
use crate::upstream::cluster::SharedCluster;
use crate::upstream::health::HealthFlag;
use crate::upstream::host::SharedHost;
use crate::upstream::host_set::{Facts, HostSet, Member};
use crate::upstream::original_dst::Registry;
use crate::upstream::outlier_detection::Watch;
use crate::upstream::sub_clusters::SharedSubClusters;

/// What the hosts of a cluster are balanced by, beside themselves.
pub struct Surroundings {
    /// Where hosts are.
    pub zones: Zones,
    /// The cluster that this proxy belongs to.
    pub local: Option<ClusterId>,
    /// Values that override the configuration.
    pub runtime: Arc<RuntimeValues>,
}

/// A cluster as the control plane has it.
pub struct ManagedCluster {
    /// What all workers share of it.
    pub shared: Arc<SharedCluster>,
    assignment: Assignment,
    /// Its hosts.
    pub members: Arc<[Member]>,
    /// Who is ejected, if anybody may be.
    pub outliers: Option<OutlierDetector>,
    /// Who is asked how they are, if they are.
    pub checker: Option<HealthChecker>,
    /// Where hosts are made as requests ask for them.
    pub on_demand: Option<OnDemand>,
    /// The clusters that it makes, if it does.
    pub sub_clusters: Option<SubClusters>,
    /// The tasks that look for its hosts, and tell that they are known.
    pub finding: Vec<AbortHandle>,
    /// Its first hosts are not known yet, if they have to be looked for.
    pub awaits_hosts: bool,
    /// Workers have it.
    pub is_published: bool,
    /// Weights that hosts report.
    pub weights: Option<LoadWeights>,
    /// When each host began to take requests, on the clock of the cluster's
    /// balancers; of clusters that start slowly.
    slow_starts: HashMap<*const SharedHost, u64>,
    /// The set that was published last is not true any more.
    pub is_dirty: bool,
    /// Subsets of hosts at last.
    subsets: u64,
    /// The last priority that there is or was.
    last_priority: u32,
}

impl ManagedCluster {
    /// A cluster with the hosts that its configuration gives it.
    pub fn new(
        config: &Arc<ClusterConfig>,
        surroundings: &Surroundings,
        events: &Events,
        prepared: &Prepared,
        parent: Option<&SharedCluster>,
        store: &Store,
    ) -> Self {
        let [announcing, asking, events] = [(); 3].map(|()| events.clone());
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
        let (config, hosts) = (Arc::clone(config), Arc::new(hosts));
        let id = config.id;
        let on_demand = OnDemand::new(&config.discovery);
        let registry = on_demand.is_some().then(|| {
            let announce = move |host| drop(announcing.send(ClusterEvent::Made(id, host)));
            Registry::new(&config, watch.clone(), store, Box::new(announce))
        });
        let sub_clusters = match &config.discovery {
            Discovery::SubClusters(sub_clusters) => {
                let ask = move |name| drop(asking.send(ClusterEvent::Wanted(id, name)));
                Some(SharedSubClusters::new(sub_clusters, Box::new(ask)))
            }
            _ => None,
        };
        let shared = SharedCluster::new(config, hosts, watch, created, store)
            .with_registry(registry)
            .with_sub_clusters(sub_clusters);
        let shared = match parent {
            Some(parent) => shared.with_parent(parent, SystemTime::now(), store),
            None => shared
                .with_added_values(prepared.added_values.get(&id).cloned())
                .with_tls(|socket| prepared.tls.get(&(id, socket)).cloned(), store),
        };
        let mut cluster = Self {
            sub_clusters: shared.sub_clusters.as_ref().map(SubClusters::new),
            finding: Vec::new(),
            awaits_hosts: false,
            is_published: false,
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
    pub fn assign(&mut self, mut assignment: Assignment, store: &Store) {
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
    pub fn drop_failed(&mut self, store: &Store) {
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

    /// Makes weights of what hosts have reported.
    pub fn update_weights(&mut self, now: Instant) {
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
    pub fn due(&self) -> Option<Instant> {
        let outliers = self.outliers.as_ref().and_then(OutlierDetector::due);
        let on_demand = self.on_demand.as_ref().and_then(OnDemand::due);
        let weights = self.weights.as_ref().map(LoadWeights::due);
        let sub_clusters = self.sub_clusters.as_ref().map(SubClusters::due);
        let all = [outliers, on_demand, weights, sub_clusters];
        all.into_iter().flatten().min()
    }

    /// Takes the hosts that workers have made.
    fn take_made(&mut self) {
        let made = self.on_demand.as_mut();
        let Some((members, added)) = made.and_then(|made| made.take_made(&self.members)) else {
            return;
        };
        // As Envoy, which is told of one after the other.
        self.shared.stats.membership_change.add(added);
        self.shared.count_sockets(added as usize, None);
        self.set_members(members);
    }

    /// Takes the hosts that the names of its cache are now.
    pub fn set_named(&mut self, hosts: &[Arc<HostConfig>], store: &Store) {
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
        self.shared.count_sockets(added as usize, None);
        // As Envoy, where a host that gets another address is the same one.
        self.shared.stats.membership_change.add(added + gone);
        self.set_members(members);
    }

    /// Lets the hosts go that nobody asks for any more, if it is time to.
    pub fn clean_up(&mut self, now: Instant, store: &Store) {
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

    /// Has these hosts checked, and no others.
    pub fn set_checked_hosts(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.set_hosts(&self.members, &self.assignment.groups);
        }
    }

    /// Something is known against a host, or no longer.
    pub fn set_health(&mut self, host: &Arc<SharedHost>, flag: HealthFlag, on: bool) {
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
    pub fn start_slowly(&mut self, host: &Arc<SharedHost>) {
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

    /// Its hosts as they are now.
    pub fn host_set(&self, surroundings: &Surroundings) -> HostSet {
        host_set(
            &self.shared.config,
            &self.members,
            &self.assignment,
            &self.slow_starts,
            surroundings,
        )
    }

    /// Makes a new set of its hosts, which is to be published.
    pub fn rebuild(&mut self, surroundings: &Surroundings) -> Arc<HostSet> {
        self.take_made();
        self.is_dirty = false;
        let hosts = Arc::new(self.host_set(surroundings));
        self.shared.set_hosts(Arc::clone(&hosts));
        self.count_members();
        hosts
    }

    /// Whether workers may have it: its first hosts are known, and checked where they
    /// are.
    pub fn is_warm(&self) -> bool {
        let checker = self.checker.as_ref();
        !self.awaits_hosts && !checker.is_some_and(HealthChecker::awaits_first_check)
    }

    fn count_changed(&self, found: &Found) {
        // Who looks for hosts counts them: as Envoy, with every answer.
        if !self.shared.config.discovery.has_to_look() {
            for host in &found.added {
                self.shared.count_sockets(1, Some(host.first()));
            }
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

impl Drop for ManagedCluster {
    fn drop(&mut self) {
        self.finding.iter().for_each(AbortHandle::abort);
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
