//! What a request tells the balancer of its cluster.

use std::borrow::Cow;
use std::rc::Rc;

use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::metadata::LB_NAMESPACE;
use ringway_config::route::{Forward, SubsetCriteria};
use ringway_lb::priority::Loads;

use super::{ConnectionManager, hash_policy};
use crate::http::exchange::Exchange;
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;
use crate::upstream::load_balancer::LoadBalancerContext;

/// The host of the first try.
pub(super) fn pick_host(
    manager: &ConnectionManager,
    forward: &Forward,
    cluster: &Cluster,
    exchange: &mut Exchange,
) -> Option<Rc<Host>> {
    let told = (forward, None);
    with_context(manager, told, cluster, exchange, |mut context| {
        cluster.pick_host(&mut context)
    })
}

/// Calls `f` with what the request tells, and the priority loads of this try
/// where they are not the cluster's.
pub(super) fn with_context<T>(
    manager: &ConnectionManager,
    (forward, loads): (&Forward, Option<&Loads>),
    cluster: &Cluster,
    exchange: &mut Exchange,
    f: impl FnOnce(LoadBalancerContext<'_>) -> T,
) -> T {
    let subset = subset(forward, &cluster.config, exchange);
    let mut hash = || hash_policy::hash(forward, cluster, exchange);
    let context = LoadBalancerContext::new(&manager.worker.rng)
        .with_hash(&mut hash)
        .with_subset(subset.as_slice())
        .with_loads(loads);
    f(context)
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
