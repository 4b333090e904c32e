//! How a cluster gets its hosts (`cluster.v3.Cluster.type`, `cluster_type`).

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use envoy_types::pb::envoy::extensions::clusters::aggregate::v3 as aggregate_pb;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3 as proxy_pb;
use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3::cluster_config::ClusterImplementationSpecifier;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

use crate::aggregate::{self, Aggregate};
use crate::cluster::Defaults;
use crate::context::{Cx, type_name, unpack};
use crate::dns::{self, Dns, Resolver};
use crate::dns_cache::{self, DnsCacheId};
use crate::eds::{self, Eds};
use crate::endpoint::{self, Assignment};
use crate::happy_eyeballs::HappyEyeballs;
use crate::original_dst::{self, OriginalDst};
use crate::sub_clusters::{self, SubClusters};

/// Where the hosts of a cluster come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// From the file.
    Static,
    /// From name servers.
    Dns(Arc<Dns>),
    /// From the requests, each of which says where it goes.
    OriginalDst(Arc<OriginalDst>),
    /// It has none of its own: other clusters have them.
    Aggregate(Aggregate),
    /// From the requests, each of which names its host, and from name servers.
    DynamicForwardProxy(DnsCacheId),
    /// The same, and each host that is named is a cluster of its own.
    SubClusters(Arc<SubClusters>),
    /// From whoever manages the proxy.
    Eds(Arc<Eds>),
}

impl Discovery {
    /// Whether the cluster has no hosts before somebody has looked for them.
    #[must_use]
    pub fn has_to_look(&self) -> bool {
        match self {
            Self::Static
            | Self::OriginalDst(_)
            | Self::Aggregate(_)
            | Self::DynamicForwardProxy(_)
            | Self::SubClusters(_) => false,
            Self::Dns(_) | Self::Eds(_) => true,
        }
    }

    /// Whether it says itself where requests go, so that there is nothing to
    /// balance (`lb_policy: CLUSTER_PROVIDED`).
    #[must_use]
    pub fn provides_balancing(&self) -> bool {
        match self {
            Self::Static | Self::Dns(_) | Self::Eds(_) => false,
            Self::OriginalDst(_)
            | Self::Aggregate(_)
            | Self::DynamicForwardProxy(_)
            | Self::SubClusters(_) => true,
        }
    }
}

/// Lowers the type of a cluster, and its hosts as far as the file knows them.
pub(crate) fn lower(
    proto: &pb::Cluster,
    defaults: &Defaults<'_>,
    cx: &mut Cx<'_>,
) -> (Discovery, Assignment) {
    let resolver = &defaults.resolver;
    let (discovery, assignment) = match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            by_extension(proto, custom, defaults, cx)
        }
        Some(ClusterDiscoveryType::Type(kind)) => {
            // The rules refuse numbers without a meaning.
            let kind = DiscoveryType::try_from(*kind).unwrap_or(DiscoveryType::Static);
            by_kind(proto, kind, resolver, cx)
        }
        None => by_kind(proto, DiscoveryType::Static, resolver, cx),
    };
    if !matches!(discovery, Discovery::OriginalDst(_)) {
        original_dst::warn_of_unused(proto, cx);
    }
    if !is_eds(proto) {
        check_without_eds(proto, cx);
    }
    (discovery, assignment)
}

/// Whether a `typed_config` says where the hosts come from; never from the file.
pub(crate) fn is_typed(proto: &pb::Cluster) -> bool {
    match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::ClusterType(custom)) => custom.typed_config.is_some(),
        Some(ClusterDiscoveryType::Type(_)) | None => false,
    }
}

/// What the configuration says of a dynamic forward proxy, if the cluster is one.
pub(crate) fn forward_proxy(proto: &pb::Cluster) -> Option<proxy_pb::ClusterConfig> {
    let Some(ClusterDiscoveryType::ClusterType(custom)) = &proto.cluster_discovery_type else {
        return None;
    };
    let any = custom.typed_config.as_ref()?;
    (type_name(&any.type_url) == proxy_pb::ClusterConfig::full_name())
        .then(|| proxy_pb::ClusterConfig::decode(&*any.value).ok())
        .flatten()
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
        DiscoveryType::OriginalDst => {
            dns::warn_of_unused(proto, "an ORIGINAL_DST cluster", cx);
            let settings = original_dst::lower(proto, cx);
            (
                Discovery::OriginalDst(Arc::new(settings)),
                Assignment::on_demand(),
            )
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
        DiscoveryType::Static => {
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
    defaults: &Defaults<'_>,
    cx: &mut Cx<'_>,
) -> (Discovery, Assignment) {
    if let Some(any) = &custom.typed_config {
        let path = cx.path().to_owned();
        let typed = cx.field("cluster_type", |cx| {
            cx.field("typed_config", |cx| {
                Typed::lower(any, (proto, &path), defaults, cx)
            })
        });
        // Sub-clusters do what it says.
        if !matches!(typed, Some(Typed::SubClusters(_))) {
            dns::warn_of_unused(proto, "a cluster with a cluster_type of its own", cx);
        }
        return match typed {
            Some(Typed::Names(settings)) => names(proto, settings, cx),
            Some(Typed::Aggregate(aggregate)) => {
                warn_of_assignment(proto, "an aggregate cluster has no hosts of its own", cx);
                (Discovery::Aggregate(aggregate), Assignment::default())
            }
            Some(Typed::DynamicForwardProxy(cache)) => {
                warn_of_assignment(proto, "requests say where they go", cx);
                (
                    Discovery::DynamicForwardProxy(cache),
                    Assignment::on_demand(),
                )
            }
            Some(Typed::SubClusters(config)) => {
                let given = proto.load_assignment.as_ref();
                if given.is_some_and(|given| !given.endpoints.is_empty()) {
                    let reason = "has no effect: requests say where they go";
                    cx.warn_at("load_assignment.endpoints", reason);
                }
                (Discovery::SubClusters(config), Assignment::on_demand())
            }
            None => (Discovery::Static, Assignment::default()),
        };
    }
    let kind = match custom.name.as_str() {
        "envoy.cluster.static" => DiscoveryType::Static,
        "envoy.cluster.strict_dns" => DiscoveryType::StrictDns,
        "envoy.cluster.logical_dns" => DiscoveryType::LogicalDns,
        "envoy.cluster.original_dst" => DiscoveryType::OriginalDst,
        EDS => DiscoveryType::Eds,
        name => {
            let reason = format!("{name:?} without a typed_config is not supported yet");
            cx.error_at("cluster_type", reason);
            return (Discovery::Static, Assignment::default());
        }
    };
    by_kind(proto, kind, &defaults.resolver, cx)
}

/// What a `typed_config` says that a cluster is.
enum Typed {
    Names(dns::Settings),
    Aggregate(Aggregate),
    DynamicForwardProxy(DnsCacheId),
    SubClusters(Arc<SubClusters>),
}

impl Typed {
    /// Lowers what the cluster at this path says.
    fn lower(
        any: &Any,
        (cluster, path): (&pb::Cluster, &str),
        defaults: &Defaults<'_>,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        match type_name(&any.type_url) {
            "envoy.extensions.clusters.dns.v3.DnsCluster" => {
                let config = unpack::<DnsCluster>(any, cx)?;
                Some(Self::Names(dns::by_type(&config, &defaults.resolver, cx)))
            }
            "envoy.extensions.clusters.aggregate.v3.ClusterConfig" => {
                let config = unpack::<aggregate_pb::ClusterConfig>(any, cx)?;
                Some(Self::Aggregate(aggregate::lower(&config, cx)))
            }
            "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig" => {
                let config = unpack::<proxy_pb::ClusterConfig>(any, cx)?;
                match &config.cluster_implementation_specifier {
                    Some(ClusterImplementationSpecifier::DnsCacheConfig(cache)) => cx
                        .field("dns_cache_config", |cx| dns_cache::lower(cache, cx))
                        .map(Self::DynamicForwardProxy),
                    Some(ClusterImplementationSpecifier::SubClustersConfig(config)) => cx
                        .field("sub_clusters_config", |cx| {
                            sub_clusters::lower(config, cluster, path, defaults, cx)
                        })
                        .map(|config| Self::SubClusters(Arc::new(config))),
                    None => {
                        cx.error("a dns_cache_config or a sub_clusters_config is needed here");
                        None
                    }
                }
            }
            name => {
                cx.error(format!("{name} is not a type of cluster"));
                None
            }
        }
    }
}

/// Warns of hosts that nobody asks for.
fn warn_of_assignment(proto: &pb::Cluster, reason: &str, cx: &mut Cx<'_>) {
    if proto.load_assignment.is_some() {
        cx.warn_at("load_assignment", format!("has no effect: {reason}"));
    }
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
