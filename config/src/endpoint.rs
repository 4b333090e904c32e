//! Endpoints (`envoy.config.endpoint.v3`): the hosts of a cluster. Compiled
//! type on top, lowering below.

use std::sync::Arc;

use envoy_types::pb::envoy::config::endpoint::v3 as pb;

use crate::context::Cx;
use crate::core::{self, Address, Locality};
use crate::metadata::Metadata;

/// One upstream host (`endpoint.v3.LbEndpoint` with the locality and
/// priority of its group).
#[derive(Clone, Debug, PartialEq)]
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
    /// What the configuration says of it, for logs.
    pub metadata: Arc<Metadata>,
}

/// Lowers the hosts of a STATIC cluster, in the order of the file.
pub(crate) fn lower(proto: &pb::ClusterLoadAssignment, cx: &mut Cx<'_>) -> Arc<[Arc<Host>]> {
    let mut hosts = Vec::new();
    for (i, group) in proto.endpoints.iter().enumerate() {
        cx.index("endpoints", i, |cx| lower_group(group, &mut hosts, cx));
    }
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
        metadata: Arc::new(Metadata::from_proto(proto.metadata.as_ref())),
    })
}

const NOT_AN_IP_HINT: &str =
    "; the hosts of a STATIC cluster are IP addresses, names need type STRICT_DNS or LOGICAL_DNS";
