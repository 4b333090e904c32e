//! Endpoints (`envoy.config.endpoint.v3`): the hosts of a cluster. Compiled
//! type on top, lowering below.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::endpoint::v3 as pb;

use crate::context::Cx;
use crate::core::{self, Address, Locality};

/// One upstream host (`endpoint.v3.LbEndpoint` with the locality and
/// priority of its group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where to connect to.
    pub address: Address,
    /// The address as `/clusters` and `%UPSTREAM_HOST%` show it.
    pub address_text: Arc<str>,
    /// The endpoint's `hostname`, for `auto_host_rewrite` and logs; empty
    /// when not given.
    pub hostname: Arc<str>,
    /// Share of the requests, relative to its peers; at least 1.
    pub weight: u32,
    /// 0 is the first choice; only 0 is accepted so far.
    pub priority: u32,
    /// Where it runs.
    pub locality: Locality,
}

/// Lowers the hosts of a STATIC cluster, in the order of the file.
pub(crate) fn lower(proto: &pb::ClusterLoadAssignment, cx: &mut Cx<'_>) -> Arc<[Arc<Host>]> {
    let mut hosts = Vec::new();
    for (i, group) in proto.endpoints.iter().enumerate() {
        cx.index("endpoints", i, |cx| lower_group(group, &mut hosts, cx));
    }
    check_weights(proto, cx);
    hosts.into()
}

fn lower_group(group: &pb::LocalityLbEndpoints, hosts: &mut Vec<Arc<Host>>, cx: &mut Cx<'_>) {
    if group.priority != 0 {
        cx.error_at("priority", "priorities other than 0 are not supported yet");
    }
    let locality = core::locality(group.locality.as_ref());
    for (i, endpoint) in group.lb_endpoints.iter().enumerate() {
        let host = cx.index("lb_endpoints", i, |cx| {
            lower_host(endpoint, &locality, group.priority, cx)
        });
        hosts.extend(host.map(Arc::new));
    }
}

fn lower_host(
    proto: &pb::LbEndpoint,
    locality: &Locality,
    priority: u32,
    cx: &mut Cx<'_>,
) -> Option<Host> {
    let Some(pb::lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &proto.host_identifier else {
        cx.error("an endpoint with an address is needed here");
        return None;
    };
    let address = cx.field("endpoint", |cx| {
        cx.field("address", |cx| {
            core::address(endpoint.address.as_ref(), NOT_AN_IP_HINT, cx)
        })
    })?;
    Some(Host {
        address_text: address.address.to_string().into(),
        address: address.address,
        hostname: endpoint.hostname.as_str().into(),
        weight: core::u32_or(proto.load_balancing_weight, 1).max(1),
        priority,
        locality: locality.clone(),
    })
}

/// Balancers add weights up in 32 bits, as Envoy's do; it refuses the same.
fn check_weights(proto: &pb::ClusterLoadAssignment, cx: &mut Cx<'_>) {
    let mut localities_of_priority: HashMap<u32, u64> = HashMap::new();
    for (i, group) in proto.endpoints.iter().enumerate() {
        let weight = u64::from(core::u32_or(group.load_balancing_weight, 0));
        *localities_of_priority.entry(group.priority).or_default() += weight;
        let hosts: u64 = group
            .lb_endpoints
            .iter()
            .map(|endpoint| u64::from(core::u32_or(endpoint.load_balancing_weight, 1)))
            .sum();
        if hosts > u64::from(u32::MAX) {
            cx.index("endpoints", i, |cx| {
                let limit = u32::MAX;
                cx.error(format!(
                    "the weights of all endpoints add up to {hosts}, more than {limit}"
                ));
            });
        }
    }
    for (priority, sum) in localities_of_priority {
        if sum > u64::from(u32::MAX) {
            cx.error_at(
                "endpoints",
                format!("the weights of all localities of priority {priority} add up to {sum}, more than {}", u32::MAX),
            );
        }
    }
}

const NOT_AN_IP_HINT: &str =
    "; the hosts of a STATIC cluster are IP addresses, names need type STRICT_DNS or LOGICAL_DNS";
