//! Which cluster a request goes to: `RouteAction.cluster_specifier`.

use super::MatchInput;
use super::cluster_specifier_plugin::Plugin;
use super::hash_policy::HashPolicies;
use super::header_key::HeaderKey;
use super::lower::Lowering;
use super::metadata_match::SubsetCriteria;
use super::weighted_clusters::{WeightedCluster, WeightedClusters, WeightedName};
use crate::clusters::ClusterId;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use proto::route_action::ClusterSpecifier as Specifier;
use std::sync::Arc;

/// How the cluster of a request is found.
#[derive(Debug)]
pub enum ClusterSpecifier {
    /// `cluster`
    Fixed(ClusterId),
    /// `cluster_header`: the request names it.
    Header(HeaderKey),
    /// `weighted_clusters`
    Weighted(WeightedClusters),
    /// `cluster_specifier_plugin` and `inline_cluster_specifier_plugin`
    Plugin(Arc<Plugin>),
}

/// The cluster of a request, chosen when its route is and before any filter
/// sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterChoice {
    /// The cluster, which need not exist; `None` when the request names none,
    /// or one that never was.
    pub cluster: Option<ClusterId>,
    /// Its place in `weighted_clusters`, whose settings then apply.
    pub weighted: Option<u32>,
}

/// What weighted clusters take over from their route.
pub(super) struct Inherited<'a> {
    pub(super) hash_policies: Option<Arc<HashPolicies>>,
    pub(super) subset: &'a SubsetCriteria,
}

impl ClusterSpecifier {
    /// Whether the route can be taken at all. As in Envoy the next route is
    /// tried when it cannot.
    pub(super) fn is_available(&self, input: &MatchInput<'_>) -> bool {
        match self {
            Self::Fixed(_) | Self::Header(_) => true,
            Self::Weighted(clusters) => clusters.is_available(input.runtime),
            Self::Plugin(plugin) => match **plugin {
                Plugin::Unknown => false,
            },
        }
    }

    /// The request's cluster. `find` gives the number of a cluster's name.
    pub fn choose(
        &self,
        input: &MatchInput<'_>,
        find: impl Fn(&[u8]) -> Option<ClusterId>,
    ) -> ClusterChoice {
        let named = |key: &HeaderKey| key.first(input.headers).and_then(&find);
        match self {
            Self::Fixed(cluster) => ClusterChoice {
                cluster: Some(*cluster),
                weighted: None,
            },
            Self::Header(key) => ClusterChoice {
                cluster: named(key),
                weighted: None,
            },
            Self::Weighted(clusters) => {
                let Some(place) = clusters.pick(input) else {
                    return ClusterChoice::default();
                };
                ClusterChoice {
                    cluster: match &clusters.clusters()[place].cluster {
                        WeightedName::Fixed(cluster) => Some(*cluster),
                        WeightedName::Header(key) => named(key),
                    },
                    weighted: u32::try_from(place).ok(),
                }
            }
            Self::Plugin(plugin) => match **plugin {
                Plugin::Unknown => ClusterChoice::default(),
            },
        }
    }

    /// What `weighted_clusters` says of the cluster that was chosen.
    pub fn weighted(&self, choice: ClusterChoice) -> Option<&WeightedCluster> {
        match self {
            Self::Weighted(clusters) => clusters.clusters().get(choice.weighted? as usize),
            Self::Fixed(_) | Self::Header(_) | Self::Plugin(_) => None,
        }
    }

    /// Compiles the choice of a route, or reports why not.
    pub(super) fn lower(
        message: &proto::RouteAction,
        inherited: Inherited<'_>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        match &message.cluster_specifier {
            Some(Specifier::Cluster(name)) => Some(Self::Fixed(
                cx.field("cluster", |cx| lowering.cluster(name, cx)),
            )),
            Some(Specifier::ClusterHeader(name)) => {
                HeaderKey::warn_of_odd("cluster_header", name, cx);
                Some(Self::Header(HeaderKey::new(name)))
            }
            Some(Specifier::WeightedClusters(clusters)) => cx
                .field("weighted_clusters", |cx| {
                    WeightedClusters::lower(clusters, inherited, lowering, cx)
                })
                .map(Self::Weighted),
            Some(Specifier::ClusterSpecifierPlugin(name)) => cx
                .field("cluster_specifier_plugin", |cx| {
                    lowering.plugins.find(name, cx)
                })
                .map(Self::Plugin),
            Some(Specifier::InlineClusterSpecifierPlugin(plugin)) => cx
                .field("inline_cluster_specifier_plugin", |cx| {
                    Plugin::lower(plugin, cx)
                })
                .map(|plugin| Self::Plugin(Arc::new(plugin))),
            None => {
                cx.error(
                    "one of cluster, cluster_header, weighted_clusters, cluster_specifier_plugin \
                     and inline_cluster_specifier_plugin is needed",
                );
                None
            }
        }
    }
}
