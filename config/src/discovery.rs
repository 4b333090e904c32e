//! How a cluster gets its hosts (`cluster.v3.Cluster.type`, `cluster_type`).

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;

use crate::context::{Cx, type_name, unpack};
use crate::dns::{self, Dns, Resolver};
use crate::eds::{self, Eds};
use crate::endpoint::{self, Assignment};
use crate::happy_eyeballs::HappyEyeballs;

/// Where the hosts of a cluster come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// From the file.
    Static,
    /// From name servers.
    Dns(Arc<Dns>),
    /// From whoever manages the proxy.
    Eds(Arc<Eds>),
}

impl Discovery {
    /// Whether the cluster has no hosts before somebody has looked for them.
    #[must_use]
    pub fn has_to_look(&self) -> bool {
        match self {
            Self::Static => false,
            Self::Dns(_) | Self::Eds(_) => true,
        }
    }
}

/// Lowers the type of a cluster, and its hosts as far as the file knows them.
/// `resolver` is asked where the cluster names none.
pub(crate) fn lower(
    proto: &pb::Cluster,
    resolver: &Resolver,
    cx: &mut Cx<'_>,
) -> (Discovery, Assignment) {
    let (discovery, assignment) = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            by_extension(proto, custom, resolver, cx)
        }
        Some(ClusterDiscoveryType::Type(kind)) => {
            // The rules refuse numbers without a meaning.
            let kind = DiscoveryType::try_from(*kind).unwrap_or(DiscoveryType::Static);
            by_kind(proto, kind, resolver, cx)
        }
        None => by_kind(proto, DiscoveryType::Static, resolver, cx),
    };
    if !is_eds(proto) {
        check_without_eds(proto, cx);
    }
    (discovery, assignment)
}

fn is_eds(proto: &pb::Cluster) -> bool {
    match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => *kind == i32::from(DiscoveryType::Eds),
        Some(ClusterDiscoveryType::ClusterType(custom)) => custom.name == EDS,
        None => false,
    }
}

/// What only a cluster of type EDS uses.
fn check_without_eds(proto: &pb::Cluster, cx: &mut Cx<'_>) {
    if proto.eds_cluster_config.is_some() {
        let reason = "only a cluster of type EDS may have it";
        cx.error_at("eds_cluster_config", reason);
    }
    let assignment = proto.load_assignment.as_ref();
    let policy = assignment.and_then(|assignment| assignment.policy.as_ref());
    if policy.is_some_and(|policy| policy.endpoint_stale_after.is_some()) {
        cx.warn_at(
            "load_assignment.policy.endpoint_stale_after",
            "has no effect: only an EDS cluster uses it",
        );
    }
}

/// The older name of the type.
const EDS: &str = "envoy.cluster.eds";

fn by_kind(
    proto: &pb::Cluster,
    kind: DiscoveryType,
    resolver: &Resolver,
    cx: &mut Cx<'_>,
) -> (Discovery, Assignment) {
    match kind {
        DiscoveryType::StrictDns => {
            let settings = dns::by_fields(proto, false, resolver, cx);
            names(proto, settings, cx)
        }
        DiscoveryType::LogicalDns => {
            let settings = dns::by_fields(proto, true, resolver, cx);
            names(proto, settings, cx)
        }
        DiscoveryType::Eds => {
            dns::warn_of_unused(proto, "an EDS cluster", cx);
            if proto.load_assignment.is_some() {
                cx.warn_at(
                    "load_assignment",
                    "has no effect: an EDS cluster does not use it",
                );
            }
            let eds = eds::lower(proto, cx);
            let discovery = eds.map(|eds| Discovery::Eds(Arc::new(eds)));
            // Without it there is an error.
            let discovery = discovery.unwrap_or(Discovery::Static);
            (discovery, Assignment::default())
        }
        // The support table refuses the last.
        DiscoveryType::Static | DiscoveryType::OriginalDst => {
            dns::warn_of_unused(proto, "a STATIC cluster", cx);
            let assignment = match &proto.load_assignment {
                Some(assignment) => {
                    let order = HappyEyeballs::of_cluster(proto);
                    cx.field("load_assignment", |cx| {
                        endpoint::lower(assignment, order, cx)
                    })
                }
                None => Assignment::default(),
            };
            (Discovery::Static, assignment)
        }
    }
}

/// The older types have names as extensions too, and then no configuration.
fn by_extension(
    proto: &pb::Cluster,
    custom: &CustomClusterType,
    resolver: &Resolver,
    cx: &mut Cx<'_>,
) -> (Discovery, Assignment) {
    if let Some(any) = &custom.typed_config {
        dns::warn_of_unused(proto, "a cluster with a cluster_type of its own", cx);
        let settings = cx.field("cluster_type", |cx| {
            cx.field("typed_config", |cx| match type_name(&any.type_url) {
                "envoy.extensions.clusters.dns.v3.DnsCluster" => {
                    let config = unpack::<DnsCluster>(any, cx)?;
                    Some(dns::by_type(&config, resolver, cx))
                }
                name => {
                    cx.error(format!("{name} is not a type of cluster"));
                    None
                }
            })
        });
        return match settings {
            Some(settings) => names(proto, settings, cx),
            None => (Discovery::Static, Assignment::default()),
        };
    }
    let kind = match custom.name.as_str() {
        "envoy.cluster.static" => DiscoveryType::Static,
        "envoy.cluster.strict_dns" => DiscoveryType::StrictDns,
        "envoy.cluster.logical_dns" => DiscoveryType::LogicalDns,
        EDS => DiscoveryType::Eds,
        name => {
            let reason = format!("{name:?} without a typed_config is not supported yet");
            cx.error_at("cluster_type", reason);
            return (Discovery::Static, Assignment::default());
        }
    };
    by_kind(proto, kind, resolver, cx)
}

/// A cluster of names.
fn names(proto: &pb::Cluster, settings: dns::Settings, cx: &mut Cx<'_>) -> (Discovery, Assignment) {
    let (assignment, targets) = match &proto.load_assignment {
        Some(assignment) => cx.field("load_assignment", |cx| {
            endpoint::lower_targets(assignment, cx)
        }),
        None => Default::default(),
    };
    if settings.is_logical && (assignment.groups.len(), targets.len()) != (1, 1) && !cx.has_errors()
    {
        cx.error(
            "load_assignment: a LOGICAL_DNS cluster must have a single locality_lb_endpoint \
             and a single lb_endpoint",
        );
    }
    (Discovery::Dns(Arc::new(settings.of(targets))), assignment)
}
