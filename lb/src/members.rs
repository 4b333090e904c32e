//! What balancing knows of a cluster's hosts.
//!
//! A host is its index in [`Members::hosts`]. What is told here is a copy of
//! one moment: when a weight, the health or the set of hosts changes, a new
//! balancer is built.

use std::borrow::Cow;

use crate::metadata::Value;

/// What balancing knows of one host
/// (`envoy.config.endpoint.v3.LbEndpoint` and what health checking found).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// `load_balancing_weight`, 1 and up; 0 counts as 1.
    pub weight: u32,
    /// Priority of its group; what is above [`PRIORITY_MAX`] counts as that.
    pub priority: u32,
    /// Index of its group in [`Members::localities`]. A number that is not
    /// there means a group without name and weight.
    pub locality: u32,
    /// Whether it may be used.
    pub health: Health,
    /// Not counted in the totals that priority loads are made of: a host that
    /// waits for its first health check, or that failed an immediate one.
    pub excluded: bool,
    /// Set while the host is in its slow-start window: when the window began,
    /// on the clock of `Request::now_ms`.
    pub slow_start_since_ms: Option<u64>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            weight: 1,
            priority: 0,
            locality: 0,
            health: Health::Healthy,
            excluded: false,
            slow_start_since_ms: None,
        }
    }
}

/// The health of a host as balancing sees it (Envoy's coarse health).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// May take requests.
    Healthy,
    /// Takes requests when there are too few healthy hosts.
    Degraded,
    /// Takes requests in panic only.
    Unhealthy,
}

/// One group of hosts: a locality in a priority
/// (`envoy.config.endpoint.v3.LocalityLbEndpoints`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locality {
    /// Equal numbers are equal `region`, `zone` and `sub_zone`, in every
    /// cluster; 0 is the locality without names.
    pub id: u32,
    /// `priority`.
    pub priority: u32,
    /// `load_balancing_weight`; a group without one takes nothing where
    /// localities are weighted.
    pub weight: Option<u32>,
}

/// All that a balancer is built from.
#[derive(Clone, Copy)]
pub struct Members<'a> {
    /// The hosts.
    pub hosts: &'a [Host],
    /// Their groups. Envoy has them in the order of region, zone and sub-zone;
    /// only a ring whose hosts have fractional shares shows the order.
    pub localities: &'a [Locality],
    /// The cluster that this proxy belongs to, where zone-aware routing is
    /// wanted and the cluster is known.
    pub local: Option<&'a LocalCluster>,
    /// What only some policies want to know.
    pub describe: &'a dyn Describe,
}

/// What hashing and subsets want to know of a host; asked while a balancer is
/// built, never by a pick.
pub trait Describe {
    /// The text that ring hash and Maglev hash: `envoy.lb` `hash_key` of the
    /// metadata, else the address or the hostname.
    fn hash_key(&self, host: u32) -> Cow<'_, str>;
    /// The value of `key` in the host's `envoy.lb` metadata.
    fn metadata(&self, host: u32, key: &str) -> Option<Value>;
}

/// The cluster that this proxy belongs to
/// (`cluster_manager.local_cluster_name`), for zone-aware routing. Only its
/// priority 0 counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalCluster {
    /// Id of the locality that this proxy is in.
    pub own: u32,
    /// By locality id the number of healthy hosts, or the sum of their weights
    /// where `locality_basis` says so: an entry for every locality that has
    /// hosts, also when none of them is healthy.
    pub healthy_by_locality: Vec<(u32, u32)>,
    /// All hosts but those that are excluded.
    pub counted: u32,
    /// Healthy and degraded hosts.
    pub available: u32,
}

/// The highest priority of Envoy's API.
pub const PRIORITY_MAX: u32 = 128;
