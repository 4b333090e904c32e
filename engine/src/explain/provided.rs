//! The host of a request where the cluster itself says which
//! (`CLUSTER_PROVIDED`): wherever the request wants to go, or one of other
//! clusters.

use std::net::SocketAddr;

use ringway_config::aggregate::Aggregate;
use ringway_config::cluster::Cluster;
use ringway_config::discovery::Discovery;
use ringway_config::filter_state::FilterState;
use ringway_config::metadata::Metadata;
use ringway_config::original_dst::OriginalDst;
use ringway_lb::priority::PriorityLoads;
use serde_json::Value;

use super::Sources;
use super::balancing::{candidate, looked_up, shares};
use super::choice::Explained;
use super::fact::Fact;
use crate::http::exchange::Exchange;
use crate::upstream::original_dst;

/// What is known of such a cluster; `None` of one that is balanced.
pub(super) fn explain(cluster: &Cluster, sources: &Sources<'_>) -> Option<Vec<Fact>> {
    let place = sources.place(&format!("{}.lb_policy", cluster.source.path));
    let balancing = Fact::new("balancing")
        .value("CLUSTER_PROVIDED")
        .place(place);
    match &cluster.discovery {
        Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => None,
        Discovery::OriginalDst(_) => Some(vec![
            balancing.note("each request says itself where it goes"),
            hosts(cluster, sources).note("addresses that requests have asked for lately"),
        ]),
        Discovery::DynamicForwardProxy(_) => Some(vec![
            balancing.note("each request names its host, which is then looked up"),
            hosts(cluster, sources).note("hosts that requests have asked for lately"),
        ]),
        Discovery::SubClusters(_) => {
            Some(vec![balancing.note(
                "each request names its host, which is a cluster of its own",
            )])
        }
        Discovery::Aggregate(aggregate) => {
            let note = "the priorities of these clusters one behind the other";
            let mut facts = vec![balancing.note(note)];
            facts.extend(of_aggregate(cluster, aggregate, sources));
            Some(facts)
        }
    }
}

/// All hosts of a cluster.
fn hosts(cluster: &Cluster, sources: &Sources<'_>) -> Fact {
    let fact = Fact::new("candidate hosts");
    let Some(set) = sources.hosts(cluster) else {
        return fact.note(looked_up(&cluster.discovery));
    };
    let members = set.members.iter();
    let members = members.map(|member| candidate(member, set.group(member).priority));
    fact.items(members.collect())
}

/// The clusters of an aggregate with their hosts, and the share of each
/// priority.
fn of_aggregate(cluster: &Cluster, aggregate: &Aggregate, sources: &Sources<'_>) -> Vec<Fact> {
    let items = aggregate.clusters.iter().map(|id| {
        let name = sources.names.clusters.name(*id);
        match sources.cluster(*id) {
            None => Fact::new(&*name).note("there is no such cluster: it is left out"),
            Some(found) => Fact::new(&*name)
                .place(sources.place(&found.source.path))
                .parts(vec![hosts(found, sources)]),
        }
    });
    let clusters = Fact::new("clusters").items(items.collect());
    let policy = cluster.assignment.policy;
    let config = cluster.balancing.in_force(policy, sources.runtime);
    match joined(cluster, aggregate, sources) {
        Some((joined, names)) => {
            let shares = shares(&config, &joined, |priority| names[priority].clone());
            vec![clusters, shares]
        }
        None => vec![clusters],
    }
}

/// The priorities of all clusters of an aggregate, and their names; `None` when
/// there are no hosts.
fn joined(
    cluster: &Cluster,
    aggregate: &Aggregate,
    sources: &Sources<'_>,
) -> Option<(PriorityLoads, Vec<String>)> {
    let found = aggregate
        .clusters
        .iter()
        .filter_map(|id| sources.cluster(*id));
    let found: Vec<_> = found
        .filter_map(|one| Some((&one.name, sources.hosts(one)?)))
        .collect();
    let of_each = found.iter().map(|(_, set)| set.balancer.priorities());
    let policy = cluster.assignment.policy;
    let config = cluster.balancing.in_force(policy, sources.runtime);
    let threshold = config.common.healthy_panic_threshold;
    let (joined, origins) = PriorityLoads::joined(of_each, threshold)?;
    let names = origins.iter().map(|(place, priority)| {
        let (name, _) = found[*place];
        format!("priority {priority} of {name}")
    });
    Some((joined, names.collect()))
}

/// Where a request says that it goes, or which cluster takes it; `None` in
/// clusters that are balanced.
pub(super) fn of_request(
    cluster: &Cluster,
    exchange: &mut Exchange,
    sources: &Sources<'_>,
) -> Option<Explained> {
    let mut hostname = None;
    let (fact, finds_nobody) = match &cluster.discovery {
        Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => return None,
        Discovery::OriginalDst(config) => {
            let (fact, address) = destination(config, exchange);
            hostname = address.map(|address| original_dst::hostname(&cluster.name, address));
            (fact, false)
        }
        Discovery::DynamicForwardProxy(_) => {
            let name = exchange.with_destination(cluster.default_port(), str::to_owned);
            hostname = Some(name.as_str().into());
            let destination = Fact::new("destination")
                .value(name)
                .note("the host of the request, with its port");
            (destination, false)
        }
        Discovery::SubClusters(_) => {
            let name = exchange.with_sub_cluster(cluster.default_port(), str::to_owned);
            let fact = Fact::new("cluster").value(name);
            let note = "of the host of the request; made when one first names it";
            (fact.note(note), false)
        }
        Discovery::Aggregate(aggregate) => {
            let mut named = aggregate
                .clusters
                .iter()
                .filter_map(|id| sources.cluster(*id));
            let is_known = named.all(|one| sources.hosts(one).is_some());
            let finds_nobody = is_known && joined(cluster, aggregate, sources).is_none();
            let fact = Fact::new("cluster").value("one of the aggregate's");
            let note = match finds_nobody {
                true => "none has a host",
                false => "a random one by the shares of the priorities; its policy picks the host",
            };
            (fact.note(note), finds_nobody)
        }
    };
    Some(Explained {
        fact: Fact::new("choice of the host").parts(vec![fact]),
        finds_nobody,
        hostname,
    })
}

fn destination(config: &OriginalDst, exchange: &Exchange) -> (Fact, Option<SocketAddr>) {
    let said = config.destination(
        &exchange.request,
        Metadata::EMPTY,
        FilterState::EMPTY,
        exchange.info.connection.restored_local(),
    );
    let sources = config.sources().into_iter().map(Fact::new);
    let fact = Fact::new("destination").items(sources.collect());
    let fact = match said.address {
        Some(address) => fact.value(address.to_string()),
        None => fact.value(Value::Null).note(match said.invalid {
            0 => "nothing says where: unless a filter does, the answer is 503",
            _ => "what the request says is no address: unless a filter says one, the answer is 503",
        }),
    };
    (fact, said.address)
}
