//! `envoy.config.route.v3.WeightedCluster`: requests are spread over clusters
//! in proportion to weights.

use super::MatchInput;
use super::cluster_specifier::Inherited;
use super::filter_overrides::{FilterOverrides, OverridesId};
use super::hash_policy::{HashInput, HashPolicies};
use super::header_key::HeaderKey;
use super::header_mutation::MutationsId;
use super::lower::{Lowering, all};
use super::metadata_match::SubsetCriteria;
use crate::clusters::ClusterId;
use crate::context::{Cx, Source};
use crate::runtime::{RuntimeKey, RuntimeValues};
use envoy_types::pb::envoy::config::route::v3 as proto;
use proto::weighted_cluster::cluster_weight::HostRewriteSpecifier;
use proto::weighted_cluster::{ClusterWeight, RandomValueSpecifier};
use ringway_codecs::header::HeaderMap;
use std::sync::Arc;

/// Clusters with weights.
#[derive(Debug)]
pub struct WeightedClusters {
    clusters: Box<[WeightedCluster]>,
    /// The sum of the configured weights.
    total: u32,
    /// A header whose number decides in place of the request's random one.
    random_header: Option<HeaderKey>,
    /// `use_hash_policy`: the request's hash decides in place of it, if it has
    /// one.
    hash_policies: Option<Arc<HashPolicies>>,
    /// Whether runtime keys may replace the weights.
    by_runtime: bool,
}

/// One of them. What belongs to a request that takes it, and to no other
/// request of the route, is a field here.
#[derive(Debug)]
pub struct WeightedCluster {
    /// Which cluster it is.
    pub cluster: WeightedName,
    /// How the headers of its requests and responses change, before the
    /// route's own changes.
    pub header_mutations: Option<MutationsId>,
    /// Takes the authority's place before the route's own rewrite sees it.
    pub host_rewrite: Option<Box<[u8]>>,
    /// What the metadata of the host must be, the route's criteria included.
    pub subset: SubsetCriteria,
    /// What it says to the HTTP filters, with what it inherits.
    pub filter_overrides: OverridesId,
    /// Where it was configured.
    pub source: Source,
    weight: u32,
    runtime_key: Option<RuntimeKey>,
}

/// How an entry names its cluster.
#[derive(Debug)]
pub enum WeightedName {
    /// `name`
    Fixed(ClusterId),
    /// `cluster_header`: the request names it.
    Header(HeaderKey),
}

/// What decides for a request which cluster it goes to, and the number that it
/// has for that.
#[derive(Clone, Copy)]
pub enum Draw<'a> {
    /// A header of the request.
    Header(&'a HeaderKey, u64),
    /// The route's hash policy.
    Hash(u64),
    /// Chance.
    Chance(u64),
}

impl WeightedClusters {
    /// The clusters in the order of the configuration.
    pub fn clusters(&self) -> &[WeightedCluster] {
        &self.clusters
    }

    /// Whether there is anything to pick from, which only runtime values can
    /// change.
    pub(super) fn is_available(&self, runtime: &RuntimeValues) -> bool {
        !self.by_runtime || self.total(runtime).is_some()
    }

    /// The place of the request's cluster in [`WeightedClusters::clusters`];
    /// `None` when runtime values leave nothing to pick from.
    pub fn pick(&self, input: &MatchInput<'_>) -> Option<usize> {
        let mut left = self.random(input) % u64::from(self.total(input.runtime)?);
        for (place, cluster) in self.clusters.iter().enumerate() {
            let weight = cluster.weight(input.runtime);
            if left < weight {
                return Some(place);
            }
            left -= weight;
        }
        None
    }

    /// The number that decides about a request.
    fn random(&self, input: &MatchInput<'_>) -> u64 {
        match self.draw(input) {
            Draw::Header(_, number) | Draw::Hash(number) | Draw::Chance(number) => number,
        }
    }

    /// Where that number comes from.
    pub fn draw(&self, input: &MatchInput<'_>) -> Draw<'_> {
        if let Some(key) = &self.random_header
            && let Some(number) = number(key, input.headers)
        {
            return Draw::Header(key, number);
        }
        match self.hash(input) {
            Some(hash) => Draw::Hash(hash),
            None => Draw::Chance(input.random),
        }
    }

    /// The header whose number decides, if it has one (`header_name`).
    pub fn random_header(&self) -> Option<&HeaderKey> {
        self.random_header.as_ref()
    }

    fn hash(&self, input: &MatchInput<'_>) -> Option<u64> {
        let input = HashInput {
            headers: input.headers,
            remote: input.remote,
            filter_state: input.filter_state,
        };
        // As in Envoy, no cookie is made for a choice that is made again for
        // every request.
        self.hash_policies.as_ref()?.hash(input, |_| None)
    }

    /// The weight in force of the cluster at a place, and whether runtime may
    /// say so.
    pub fn weight(&self, place: usize, runtime: &RuntimeValues) -> (u64, bool) {
        (self.clusters[place].weight(runtime), self.by_runtime)
    }

    /// The sum of the weights in force, which must be from 1 to 2^32 - 1.
    pub fn total(&self, runtime: &RuntimeValues) -> Option<u32> {
        if !self.by_runtime {
            return Some(self.total);
        }
        let mut total: u32 = 0;
        for cluster in &self.clusters {
            total = total.checked_add(cluster.weight(runtime).try_into().ok()?)?;
        }
        (total > 0).then_some(total)
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::WeightedCluster,
        inherited: Inherited<'_>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let prefix = message.runtime_key_prefix.as_str();
        let clusters = all(&message.clusters, "clusters", cx, |cluster, cx| {
            WeightedCluster::lower(cluster, prefix, inherited.subset, lowering, cx)
        })?;
        let sum: u64 = clusters.iter().map(|c| u64::from(c.weight)).sum();
        let total = match u32::try_from(sum) {
            Ok(total) if total > 0 => total,
            Ok(_) => {
                cx.error_at(
                    "clusters",
                    "the sum of the weights is 0; it must be at least 1",
                );
                return None;
            }
            Err(_) => {
                cx.error_at(
                    "clusters",
                    format!("the sum of the weights is {sum}; it must be less than 2^32"),
                );
                return None;
            }
        };
        let (random_header, hash_policies) = match &message.random_value_specifier {
            Some(RandomValueSpecifier::HeaderName(name)) => (HeaderKey::optional(name), None),
            Some(RandomValueSpecifier::UseHashPolicy(flag)) if flag.value => {
                if inherited.hash_policies.is_none() {
                    cx.warn_at(
                        "use_hash_policy",
                        "the route has no hash_policy, so that chance decides",
                    );
                }
                (None, inherited.hash_policies)
            }
            Some(RandomValueSpecifier::UseHashPolicy(_)) | None => (None, None),
        };
        Some(WeightedClusters {
            clusters,
            total,
            random_header,
            hash_policies,
            by_runtime: !prefix.is_empty(),
        })
    }
}

impl WeightedCluster {
    fn weight(&self, runtime: &RuntimeValues) -> u64 {
        let configured = u64::from(self.weight);
        match self.runtime_key {
            Some(key) => runtime.integer(key, configured),
            None => configured,
        }
    }

    fn lower(
        message: &ClusterWeight,
        runtime_key_prefix: &str,
        of_route: &SubsetCriteria,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let cluster = match (message.name.as_str(), message.cluster_header.as_str()) {
            ("", "") => {
                cx.error("one of name and cluster_header is needed");
                None
            }
            (name, "") => Some(WeightedName::Fixed(
                cx.field("name", |cx| lowering.cluster(name, cx)),
            )),
            ("", header) => {
                HeaderKey::warn_of_odd("cluster_header", header, cx);
                Some(WeightedName::Header(HeaderKey::new(header)))
            }
            _ => {
                cx.error_at(
                    "cluster_header",
                    "only one of name and cluster_header may be set",
                );
                None
            }
        };
        let Some(weight) = &message.weight else {
            cx.error_at("weight", "is required");
            return None;
        };
        let host = match &message.host_rewrite_specifier {
            Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => host.as_str(),
            None => "",
        };
        let header_mutations = lowering.header_mutations(message, cx)?;
        let overrides = &message.typed_per_filter_config;
        let filter_overrides = FilterOverrides::within(overrides, lowering, cx, |lowering, _| {
            lowering.filter_overrides.current()
        });
        Some(WeightedCluster {
            header_mutations,
            filter_overrides,
            cluster: cluster?,
            subset: of_route.with(&SubsetCriteria::lower(message.metadata_match.as_ref())),
            host_rewrite: (!host.is_empty()).then(|| host.as_bytes().into()),
            source: cx.source(),
            weight: weight.value,
            runtime_key: (!runtime_key_prefix.is_empty()).then(|| {
                let name = format!("{runtime_key_prefix}.{}", message.name);
                cx.runtime_keys.id(&name)
            }),
        })
    }
}

/// The number in a header that occurs once: decimal digits, perhaps after a
/// plus sign, below 2^64.
fn number(name: &HeaderKey, headers: &HeaderMap) -> Option<u64> {
    let text = std::str::from_utf8(name.only(headers)?).ok()?;
    text.trim_ascii().parse().ok()
}
