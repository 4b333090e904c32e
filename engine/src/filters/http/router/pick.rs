//! The host of a try: what a request tells the balancer of its cluster, and
//! where it says itself that it goes.

use std::borrow::Cow;
use std::rc::Rc;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::discovery::Discovery;
use ringway_config::filter_state::FilterState;
use ringway_config::load_balancing::{AskedHosts, OverrideHost};
use ringway_config::metadata::{LB_NAMESPACE, Metadata};
use ringway_config::original_dst::Destination;
use ringway_config::route::{Forward, SubsetCriteria};
use ringway_lb::priority::Loads;

use super::retry_state::RetryState;
use super::{ConnectionManager, hash_policy};
use crate::filters::WorkerContext;
use crate::http::exchange::{Exchange, write_destination, write_sub_cluster};
use crate::upstream::aggregate::Joined;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;
use crate::upstream::load_balancer::LoadBalancerContext;

/// A host, and the cluster that has it: the route's, or one of an aggregate's.
pub(super) struct Picked {
    pub host: Rc<Host>,
    pub cluster: Rc<Cluster>,
}

/// The host of a try: the balancer's choice, or where the request itself says
/// that it goes. `retry` is what is known of the tries before.
pub(super) fn pick_host(
    manager: &ConnectionManager,
    forward: &Forward,
    retry: Option<&RetryState<'_>>,
    cluster: &Rc<Cluster>,
    exchange: &mut Exchange,
) -> Option<Picked> {
    let told = (manager, forward, retry);
    let loads = retry.and_then(RetryState::loads);
    let host = match &cluster.config.discovery {
        Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => {
            // As in Envoy nobody asks for hosts of an aggregate's clusters.
            match cluster.config.balancing.override_host.as_deref() {
                None => balance(told, loads, cluster, exchange)?,
                Some(config) => ask_or_balance(config, told, loads, cluster, exchange)?,
            }
        }
        Discovery::OriginalDst(config) => {
            let info = &exchange.info;
            let (metadata, state) = (info.metadata(), info.filter_state());
            let connection = info.connection.restored_local();
            let said = config.destination(&exchange.request, metadata, state, connection);
            pick_destination(said, cluster)?
        }
        Discovery::DynamicForwardProxy(_) => exchange
            .with_destination(cluster.config.default_port(), |name| {
                cluster.host_named(name)
            })?,
        Discovery::SubClusters(_) => {
            let clusters = &manager.worker.clusters;
            let port = cluster.config.default_port();
            let cluster = exchange.with_sub_cluster(port, |name| clusters.find(name.as_bytes()))?;
            let host = balance(told, loads, &cluster, exchange)?;
            return Some(Picked { host, cluster });
        }
        Discovery::Aggregate(_) => {
            let joined = join_aggregate(&manager.worker, cluster)?;
            let number = manager.worker.rng.borrow_mut().u64(..);
            let (cluster, loads) = joined.choose(loads, number)?;
            let host = balance(told, Some(loads), cluster, exchange)?;
            return Some(Picked {
                host,
                cluster: Rc::clone(cluster),
            });
        }
    };
    Some(Picked {
        host,
        cluster: Rc::clone(cluster),
    })
}

/// What is known of a request and its tries before.
type Told<'a> = (
    &'a ConnectionManager,
    &'a Forward,
    Option<&'a RetryState<'a>>,
);

/// The host that the request asks for, or the one that the balancer of
/// `cluster` picks.
fn ask_or_balance(
    config: &OverrideHost,
    told: Told<'_>,
    loads: Option<&Loads>,
    cluster: &Cluster,
    exchange: &mut Exchange,
) -> Option<Rc<Host>> {
    let Exchange {
        asked_hosts,
        request,
        info,
        ..
    } = exchange;
    let hosts = asked_hosts.get_or_insert_default();
    config.ask(request, info.metadata(), hosts);
    let host = match asked_host(cluster, hosts) {
        Some(host) => host,
        None => balance(told, loads, cluster, exchange)?,
    };
    if let Some(path) = &config.selected_host {
        let address = &host.info().address_text;
        path.set_text(exchange.info.metadata_mut(), address.as_bytes());
    }
    Some(host)
}

/// The next of the hosts that a request asks for which the cluster has,
/// whatever its health: each is for one try.
fn asked_host(cluster: &Cluster, hosts: &mut AskedHosts) -> Option<Rc<Host>> {
    while let Some(address) = hosts.take_next() {
        if let Some(host) = cluster.host_named(address) {
            return Some(host);
        }
    }
    None
}

/// The host that the balancer of `cluster` picks.
fn balance(
    (manager, forward, retry): Told<'_>,
    loads: Option<&Loads>,
    cluster: &Cluster,
    exchange: &mut Exchange,
) -> Option<Rc<Host>> {
    let subset = subset(forward, &cluster.config, exchange);
    let mut hash = || hash_policy::hash(forward, cluster, exchange);
    let mut context = LoadBalancerContext::new(&manager.worker.rng)
        .with_hash(&mut hash)
        .with_subset(subset.as_slice())
        .with_loads(loads);
    match retry {
        Some(retry) => retry.pick_host(cluster, context),
        None => cluster.pick_host(&mut context),
    }
}

/// The host of a copy of a request, of which nothing is known but its headers.
pub(super) fn pick_host_of_copy(
    worker: &WorkerContext,
    cluster: &Rc<Cluster>,
    request: &HeaderMap,
) -> Option<Picked> {
    let context = || LoadBalancerContext::new(&worker.rng);
    let host = match &cluster.config.discovery {
        Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => {
            let mut hosts = AskedHosts::default();
            if let Some(config) = &cluster.config.balancing.override_host {
                config.ask(request, Metadata::EMPTY, &mut hosts);
            }
            match asked_host(cluster, &mut hosts) {
                Some(host) => host,
                None => cluster.pick_host(&mut context())?,
            }
        }
        Discovery::OriginalDst(config) => {
            let (metadata, state) = (Metadata::EMPTY, FilterState::EMPTY);
            pick_destination(config.destination(request, metadata, state, None), cluster)?
        }
        Discovery::DynamicForwardProxy(_) => {
            let mut name = Vec::new();
            let named = request.get(HeaderId::Authority).unwrap_or_default();
            let port = cluster.config.default_port();
            write_destination(named, FilterState::EMPTY, port, &mut name);
            cluster.host_named(&String::from_utf8_lossy(&name))?
        }
        Discovery::SubClusters(_) => {
            let mut name = Vec::new();
            write_sub_cluster(request, cluster.config.default_port(), &mut name);
            let cluster = worker.clusters.find(&name)?;
            let host = cluster.pick_host(&mut context())?;
            return Some(Picked { host, cluster });
        }
        Discovery::Aggregate(_) => {
            let joined = join_aggregate(worker, cluster)?;
            let number = worker.rng.borrow_mut().u64(..);
            let (cluster, loads) = joined.choose(None, number)?;
            return Some(Picked {
                host: cluster.pick_host(&mut context().with_loads(Some(loads)))?,
                cluster: Rc::clone(cluster),
            });
        }
    };
    Some(Picked {
        host,
        cluster: Rc::clone(cluster),
    })
}

/// The clusters of an aggregate; `None` while they have no hosts.
pub(in crate::filters) fn join_aggregate(
    worker: &WorkerContext,
    aggregate: &Cluster,
) -> Option<Rc<Joined>> {
    let threshold = aggregate.panic_threshold();
    (aggregate.aggregate.as_ref()?).join(&worker.clusters, threshold)
}

/// The host at the address where a request goes.
fn pick_destination(said: Destination, cluster: &Cluster) -> Option<Rc<Host>> {
    if said.invalid > 0 {
        let invalid = cluster.stats.original_dst_host_invalid;
        invalid.add(u64::from(said.invalid));
    }
    cluster.host_at(said.address?)
}

/// What the metadata of the host must be: what the route says, and what
/// filters have said of the request, which goes first. Nobody asks about the
/// latter in a cluster without subsets.
pub fn subset<'f>(
    forward: &'f Forward,
    cluster: &ClusterConfig,
    exchange: &Exchange,
) -> Cow<'f, SubsetCriteria> {
    let of_route = forward.subset(exchange.cluster);
    if !cluster.balancing.has_subsets() {
        return Cow::Borrowed(of_route);
    }
    match exchange.info.metadata().get(LB_NAMESPACE) {
        None => Cow::Borrowed(of_route),
        Some(of_request) => Cow::Owned(of_route.with(of_request)),
    }
}
