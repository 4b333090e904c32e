//! The balancing of a cluster: the policy, and the hosts that it chooses from.

use ringway_config::cluster::Cluster;
use ringway_config::discovery::Discovery;
use ringway_config::load_balancing::policy_name;
use ringway_config::route::SubsetCriteria;
use ringway_lb::among::Which;
use ringway_lb::config::{Config, FallbackPolicy, HashFunction, LocalityMode, Policy, Selection};
use ringway_lb::members::Health;
use ringway_lb::priority::PriorityLoads;
use serde_json::Value;

use super::Sources;
use super::choice::Picks;
use super::fact::{Fact, Place};
use super::provided;
use crate::upstream::health::coarse;
use crate::upstream::host_set::Member;

/// The policy with its parameters, the hosts that it chooses from with their
/// health, and the shares of the priorities. `subset` is what the metadata of
/// the host must be.
pub(super) fn explain(
    cluster: &Cluster,
    subset: &SubsetCriteria,
    sources: &Sources<'_>,
) -> Vec<Fact> {
    if let Some(facts) = provided::explain(cluster, sources) {
        return facts;
    }
    let path = &cluster.source.path;
    let set = |field: &str| sources.place(&format!("{path}.{field}"));
    let policy = cluster.assignment.policy;
    let config = cluster.balancing.in_force(policy, sources.runtime);
    let place = match set("load_balancing_policy") {
        Place::Default => set("lb_policy"),
        written => written,
    };
    let balancing = Fact::new("balancing")
        .value(policy_name(&config.policy))
        .place(place)
        .parts(parameters(&config, cluster));
    let mut facts = vec![match &cluster.balancing.override_host {
        None => balancing,
        Some(asking) => balancing.note(format!(
            "of requests that ask for none of the hosts by {}",
            asking.sources().join(" or ")
        )),
    }];
    let candidates = Fact::new("candidate hosts").place(set("load_assignment"));
    let Some(hosts) = sources.hosts(cluster) else {
        facts.push(candidates.note(looked_up(&cluster.discovery)));
        return facts;
    };
    let picks = Picks::of(hosts, subset.as_slice(), None);
    let members = picks
        .hosts
        .iter()
        .map(|host| &hosts.members[*host as usize]);
    let members = members.map(|member| candidate(member, hosts.group(member).priority));
    let candidates = candidates.items(members.collect());
    let notes = [
        of_subset(picks.which).filter(|_| cluster.balancing.has_subsets()),
        unchecked(cluster, sources),
    ];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    facts.push(match notes.is_empty() {
        true => candidates,
        false => candidates.note(notes.join("; ")),
    });
    if let Some(priorities) = &picks.priorities {
        facts.push(shares(&config, priorities, |priority| priority.to_string()));
    }
    facts
}

/// Where hosts come from that are not known here.
pub(super) fn looked_up(discovery: &Discovery) -> String {
    match discovery {
        Discovery::Static => "known at run time".into(),
        Discovery::Dns(dns) => {
            let names = dns.targets.iter();
            let names: Vec<_> = names
                .map(|target| format!("{}:{}", target.name, target.port))
                .collect();
            format!("looked up at run time: {}", names.join(", "))
        }
        Discovery::Eds(eds) => {
            format!("read at run time from {}", eds.source.path.display())
        }
        Discovery::OriginalDst(_)
        | Discovery::DynamicForwardProxy(_)
        | Discovery::SubClusters(_)
        | Discovery::Aggregate(_) => "known at run time".into(),
    }
}

/// Which hosts of a cluster with subsets these are.
fn of_subset(which: Option<Which>) -> Option<&'static str> {
    Some(match which {
        Some(Which::Subset) => "those of the subset that is asked for",
        Some(Which::DefaultSubset) => "those of the default subset",
        Some(Which::All) => "all, without a subset",
        None => "none: no subset is what is asked for, and nothing stands in for it",
    })
}

/// Hosts that nobody checks yet.
fn unchecked(cluster: &Cluster, sources: &Sources<'_>) -> Option<&'static str> {
    let is_checked = cluster.health_check.is_some() && !sources.is_running;
    is_checked.then_some("as if all had passed their health checks")
}

/// A host that may be chosen.
pub(super) fn candidate(member: &Member, priority: u32) -> Fact {
    let host = &member.config;
    let mut parts = vec![
        Fact::new("weight").value(host.weight),
        Fact::new("priority").value(priority),
        Fact::new("health").value(match coarse(&member.shared) {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
        }),
    ];
    if !host.hostname.is_empty() {
        parts.push(Fact::new("hostname").value(&*host.hostname));
    }
    Fact::new(host.address.to_string()).parts(parts)
}

fn parameters(config: &Config, cluster: &Cluster) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Value| facts.push(Fact::new(name).value(value));
    match &config.policy {
        Policy::LeastRequest {
            choices,
            bias,
            selection,
            ..
        } => {
            match selection {
                Selection::NChoices => add("hosts that are compared", (*choices).into()),
                Selection::FullScan => add("hosts that are compared", "all".into()),
            }
            add("active request bias", (*bias).into());
        }
        Policy::RingHash {
            min_size,
            max_size,
            function,
            ..
        } => {
            add("minimum ring size", (*min_size).into());
            add("maximum ring size", (*max_size).into());
            let function = match function {
                HashFunction::XxHash => "XX_HASH",
                HashFunction::MurmurHash2 => "MURMUR_HASH_2",
            };
            add("hash function", function.into());
        }
        Policy::Maglev { table_size, .. } => add("table size", (*table_size).into()),
        Policy::PeakEwma {
            decay_us,
            default_rtt_ms,
            ..
        } => {
            add("decay time in ms", (*decay_us as f64 / 1e3).into());
            add("default round trip in ms", (*default_rtt_ms).into());
        }
        Policy::RoundRobin { .. }
        | Policy::Random
        | Policy::ClientSideWeightedRoundRobin { .. } => {}
    }
    if let Policy::RingHash { balance_factor, .. } | Policy::Maglev { balance_factor, .. } =
        &config.policy
    {
        let hashed = match cluster.balancing.hashes_hostname {
            true => "hostname",
            false => "address",
        };
        add("what is hashed of a host", hashed.into());
        if let Some(percent) = balance_factor {
            add("hash balance factor", (*percent).into());
        }
    }
    if config.common.locality == LocalityMode::Weighted {
        add("localities", "by their weights".into());
    }
    add(
        "healthy panic threshold",
        config.common.healthy_panic_threshold.into(),
    );
    if let Some(subset) = &config.subset {
        let selectors = subset.selectors.iter().map(|selector| {
            let keys = selector.keys.iter();
            keys.map(|key| Value::from(&**key)).collect()
        });
        let selectors: Vec<Value> = selectors.collect();
        add("subsets by", selectors.into());
        let fallback = match subset.fallback_policy {
            FallbackPolicy::NoFallback => "NO_FALLBACK",
            FallbackPolicy::AnyEndpoint => "ANY_ENDPOINT",
            FallbackPolicy::DefaultSubset => "DEFAULT_SUBSET",
        };
        add("without a subset", fallback.into());
    }
    facts
}

/// Which share of the requests each priority gets.
pub(super) fn shares(
    config: &Config,
    state: &PriorityLoads,
    name: impl Fn(usize) -> String,
) -> Fact {
    let fails_in_panic = match config.common.locality {
        LocalityMode::ZoneAware(zone) => zone.fail_traffic_on_panic,
        LocalityMode::None | LocalityMode::Weighted => false,
    };
    let in_panic = match fails_in_panic {
        true => "in panic: requests fail",
        false => "in panic: all hosts are used, whatever their health",
    };
    let items = (0..state.loads.healthy.len()).map(|priority| {
        let mut parts = vec![Fact::new("healthy hosts").value(state.loads.healthy[priority])];
        if state.loads.degraded[priority] > 0 {
            parts.push(Fact::new("degraded hosts").value(state.loads.degraded[priority]));
        }
        let fact = Fact::new(name(priority)).parts(parts);
        match state.panic[priority] {
            true => fact.note(in_panic),
            false => fact,
        }
    });
    Fact::new("priorities")
        .note("percent of the requests")
        .items(items.collect())
}
