//! Hosts that are no longer configured and stay, because active health checks
//! find them healthy: whoever looks for hosts may be wrong, who answers is
//! there. They go once they fail (`ignore_health_on_host_removal` is off).

use std::collections::HashSet;
use std::sync::Arc;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::discovery::Discovery;
use ringway_config::endpoint::{Assignment, Group, Host as HostConfig};

use crate::upstream::health::HealthFlag;
use crate::upstream::host_set::Member;

/// Whether healthy hosts of the cluster stay. The one host of a logical cluster
/// does not: it moves.
pub fn is_wanted(config: &ClusterConfig) -> bool {
    let comes_and_goes = match &config.discovery {
        Discovery::Dns(dns) => !dns.is_logical,
        Discovery::Eds(_) => true,
        // What is made on demand goes when nobody asks for it.
        Discovery::Static
        | Discovery::OriginalDst(_)
        | Discovery::DynamicForwardProxy(_)
        | Discovery::SubClusters(_)
        | Discovery::Aggregate(_) => false,
    };
    config.health_check.is_some() && !config.ignore_health_on_host_removal && comes_and_goes
}

/// `given` with the hosts that stay although it has them no more, each of which
/// is marked; the others are marked no longer.
pub fn keep_healthy(given: Assignment, before: &Assignment, members: &[Member]) -> Assignment {
    let addresses: HashSet<_> = given.hosts.iter().map(|host| &host.address).collect();
    let mut kept = Vec::new();
    let mut groups = given.groups.to_vec();
    for member in members {
        let host = &member.shared;
        let is_given = addresses.contains(host.address());
        let fails = host.has(HealthFlag::FailedActiveHc) || host.has(HealthFlag::FailedEdsHealth);
        let stays = !is_given && !fails;
        host.set_health(HealthFlag::PendingDynamicRemoval, stays);
        if stays {
            let group = place(&before.groups[member.config.group as usize], &mut groups);
            kept.push(in_group(&member.config, group));
        }
    }
    if kept.is_empty() {
        return given;
    }
    Assignment {
        hosts: given.hosts.iter().cloned().chain(kept).collect(),
        groups: groups.into(),
        ..given
    }
}

/// The assignment without the hosts that were kept and fail now; `None` if
/// there are none.
pub fn without_failed(assignment: &Assignment, members: &[Member]) -> Option<Assignment> {
    let fails = |member: &Member| {
        let host = &member.shared;
        host.has(HealthFlag::PendingDynamicRemoval) && host.has(HealthFlag::FailedActiveHc)
    };
    if !members.iter().any(fails) {
        return None;
    }
    let left = members.iter().filter(|member| !fails(member));
    Some(Assignment {
        hosts: left.map(|member| Arc::clone(&member.config)).collect(),
        ..assignment.clone()
    })
}

/// The place of a group that is this one, which is added if there is none.
fn place(group: &Group, groups: &mut Vec<Group>) -> u32 {
    let is_it =
        |other: &Group| other.priority == group.priority && other.locality == group.locality;
    let place = groups.iter().position(is_it).unwrap_or_else(|| {
        groups.push(group.clone());
        groups.len() - 1
    });
    place as u32
}

fn in_group(config: &Arc<HostConfig>, group: u32) -> Arc<HostConfig> {
    match config.group == group {
        true => Arc::clone(config),
        false => Arc::new(HostConfig {
            group,
            ..HostConfig::clone(config)
        }),
    }
}
