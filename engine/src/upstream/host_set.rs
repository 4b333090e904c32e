//! The hosts of a cluster at one time, and how to pick one of them.
//!
//! The control plane makes a new [`HostSet`] whenever a host comes, goes or
//! changes its health, and publishes it; workers replace the one that they
//! have. Nothing in it changes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::core::Locality;
use ringway_config::discovery::Discovery;
use ringway_config::endpoint::{Assignment, Group, Host as HostConfig, Policy};
use ringway_config::metadata::{LB_NAMESPACE, Value};
use ringway_config::runtime::RuntimeValues;
use ringway_lb::balancer::Balancer;
use ringway_lb::members::{Describe, Health, LocalCluster, Members};

use super::health::{coarse, is_excluded};
use super::host::SharedHost;

/// A host in a set.
#[derive(Debug, Clone)]
pub struct Member {
    /// Who it is.
    pub shared: Arc<SharedHost>,
    /// What is configured of it now.
    pub config: Arc<HostConfig>,
}

/// All hosts of a cluster and the table to pick one with.
pub struct HostSet {
    /// The hosts, in the order of the configuration. Sets that differ in
    /// nothing but health share it.
    pub members: Arc<[Member]>,
    /// The groups that hosts belong to.
    pub groups: Arc<[Group]>,
    /// How healthy the groups have to be.
    pub policy: Policy,
    /// Picks one, by its index in `members`.
    pub balancer: Balancer,
    /// How many there are of each kind.
    pub counts: Counts,
    /// The places of hosts by what requests ask for them by, where they do:
    /// names, or addresses.
    pub by_asked: HashMap<Arc<str>, u32>,
    /// The percentage of healthy hosts below which all are used.
    pub panic_threshold: f64,
}

/// The numbers that `cluster.<name>.membership_*` show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hosts that requests go to first.
    pub healthy: u64,
    /// Hosts that requests go to when the healthy ones are too few.
    pub degraded: u64,
    /// Hosts that are left out when health is computed.
    pub excluded: u64,
}

/// What a set is made of beside its hosts.
pub struct Facts<'a> {
    /// The lowered configuration.
    pub config: &'a ClusterConfig,
    /// How the hosts are grouped.
    pub assignment: &'a Assignment,
    /// Values that override the configuration.
    pub runtime: &'a RuntimeValues,
    /// A number for each locality, the same in every cluster.
    pub locality: &'a dyn Fn(&Locality) -> u32,
    /// The cluster that this proxy belongs to.
    pub local: Option<&'a LocalCluster>,
    /// When the slow start of a host began, if it is in one.
    pub slow_start_since_ms: &'a dyn Fn(&SharedHost) -> Option<u64>,
}

impl HostSet {
    /// The set of these hosts, with the health that they have now.
    #[must_use]
    pub fn new(members: Arc<[Member]>, facts: &Facts<'_>) -> Self {
        let Facts {
            config, assignment, ..
        } = facts;
        let groups = &assignment.groups;
        let mut counts = Counts::default();
        let hosts: Vec<_> = members
            .iter()
            .map(|member| {
                let health = coarse(&member.shared);
                let excluded = is_excluded(&member.shared);
                counts.healthy += u64::from(health == Health::Healthy);
                counts.degraded += u64::from(health == Health::Degraded);
                counts.excluded += u64::from(excluded);
                ringway_lb::members::Host {
                    weight: member.config.weight,
                    priority: groups[member.config.group as usize].priority,
                    locality: member.config.group,
                    health,
                    excluded,
                    slow_start_since_ms: (facts.slow_start_since_ms)(&member.shared),
                }
            })
            .collect();
        let localities: Vec<_> = groups
            .iter()
            .map(|group| ringway_lb::members::Locality {
                id: (facts.locality)(&group.locality),
                priority: group.priority,
                weight: group.weight,
            })
            .collect();
        let in_force = (config.balancing).in_force(assignment.policy, facts.runtime);
        let balancer = Balancer::new(
            &in_force,
            &Members {
                hosts: &hosts,
                localities: &localities,
                local: facts.local,
                describe: &Described {
                    members: &members,
                    by_hostname: config.balancing.hashes_hostname,
                },
            },
        );
        Self {
            groups: Arc::clone(groups),
            policy: assignment.policy,
            balancer,
            counts,
            by_asked: match config.discovery {
                Discovery::DynamicForwardProxy(_) => by_name(&members),
                _ if config.balancing.override_host.is_some() => by_address(&members, groups),
                _ => HashMap::new(),
            },
            members,
            panic_threshold: in_force.common.healthy_panic_threshold,
        }
    }

    /// The group of a host of this set.
    #[must_use]
    pub fn group(&self, member: &Member) -> &Group {
        &self.groups[member.config.group as usize]
    }
}

fn by_name(members: &[Member]) -> HashMap<Arc<str>, u32> {
    let places = (0..).zip(members);
    places
        .map(|(place, member)| (Arc::clone(&member.config.hostname), place))
        .collect()
}

/// Of hosts with the same address the first one counts, as in Envoy.
fn by_address(members: &[Member], groups: &[Group]) -> HashMap<Arc<str>, u32> {
    let priority = |member: &Member| groups[member.config.group as usize].priority;
    let mut places: Vec<_> = (0..).zip(members).collect();
    places.sort_by_key(|(_, member)| priority(member));
    let mut found = HashMap::new();
    for (place, member) in places {
        let address = member.config.address.to_string();
        found.entry(address.into()).or_insert(place);
    }
    found
}

/// What a balancer may ask about a host while its table is built.
struct Described<'a> {
    members: &'a [Member],
    by_hostname: bool,
}

impl Describe for Described<'_> {
    fn hash_key(&self, host: u32) -> Cow<'_, str> {
        let config = &self.members[host as usize].config;
        let fields = config.metadata.get(LB_NAMESPACE);
        match fields.and_then(|fields| fields.get("hash_key")) {
            Some(Value::Text(key)) if !key.is_empty() => String::from_utf8_lossy(key),
            _ if self.by_hostname => Cow::Borrowed(&config.hostname),
            _ => Cow::Owned(config.address.to_string()),
        }
    }

    fn metadata(&self, host: u32, key: &str) -> Option<ringway_lb::metadata::Value> {
        let config = &self.members[host as usize].config;
        let fields = config.metadata.get(LB_NAMESPACE)?;
        Some(fields.get(key)?.for_subsets())
    }
}
