//! Where hosts are and where this proxy is, for zone-aware routing.

use std::cell::RefCell;
use std::collections::HashMap;

use ringway_config::core::{Locality, Node};
use ringway_lb::config::LocalityBasis;
use ringway_lb::members::{Health, LocalCluster};

use crate::upstream::health::{coarse, is_excluded};
use crate::upstream::host_set::HostSet;

/// The localities of all clusters as numbers, and the members of the cluster
/// that this proxy belongs to (`cluster_manager.local_cluster_name`).
pub struct Zones {
    numbers: RefCell<HashMap<Locality, u32>>,
    /// Where this proxy is (`node.locality`).
    own: u32,
    local: Option<LocalMembers>,
}

/// The local cluster as either basis sees it.
struct LocalMembers {
    by_number: LocalCluster,
    by_weight: LocalCluster,
}

impl Zones {
    /// Nothing is known yet but where this proxy is.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        let mut zones = Self {
            // Without names there is one locality, and it is number 0.
            numbers: RefCell::new(HashMap::from([(Locality::default(), 0)])),
            own: 0,
            local: None,
        };
        zones.own = zones.number(&node.locality);
        zones
    }

    /// The number of a locality, given now if it has none.
    pub fn number(&self, locality: &Locality) -> u32 {
        let mut numbers = self.numbers.borrow_mut();
        if let Some(number) = numbers.get(locality) {
            return *number;
        }
        let number = numbers.len() as u32;
        numbers.insert(locality.clone(), number);
        number
    }

    /// The local cluster for balancing on this basis, if there is one.
    #[must_use]
    pub fn local(&self, basis: LocalityBasis) -> Option<&LocalCluster> {
        let local = self.local.as_ref()?;
        Some(match basis {
            LocalityBasis::HealthyHostsNum => &local.by_number,
            LocalityBasis::HealthyHostsWeight => &local.by_weight,
        })
    }

    /// The local cluster has these hosts now. Only its first priority counts.
    pub fn set_local(&mut self, hosts: &HostSet) {
        let empty = LocalCluster {
            own: self.own,
            ..LocalCluster::default()
        };
        let mut local = LocalMembers {
            by_number: empty.clone(),
            by_weight: empty,
        };
        for member in hosts.members.iter() {
            let group = hosts.group(member);
            if group.priority != 0 {
                continue;
            }
            let zone = self.number(&group.locality);
            let health = coarse(&member.shared);
            let healthy = u32::from(health == Health::Healthy);
            let counted = u32::from(!is_excluded(&member.shared));
            let available = u32::from(health != Health::Unhealthy);
            for (cluster, share) in [
                (&mut local.by_number, healthy),
                (&mut local.by_weight, healthy * member.config.weight),
            ] {
                cluster.counted += counted;
                cluster.available += available;
                let zones = &mut cluster.healthy_by_locality;
                match zones.iter_mut().find(|(known, _)| *known == zone) {
                    Some((_, healthy)) => *healthy = healthy.saturating_add(share),
                    None => zones.push((zone, share)),
                }
            }
        }
        self.local = Some(local);
    }
}
