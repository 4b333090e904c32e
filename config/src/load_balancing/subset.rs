//! Subsets of hosts by their metadata: `lb_subset_config`, or
//! `envoy.load_balancing_policies.subset`. Their fields have the same names
//! and the same meaning.

use std::collections::HashSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::LbSubsetConfig;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config as older;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3 as typed;
use envoy_types::pb::google::protobuf;
use ringway_lb::config::{FallbackPolicy, Selector, SelectorFallback, Subset};
use ringway_lb::metadata::Value;

use crate::context::Cx;
use crate::metadata::Struct;

/// What both forms say of a selector. Their numbers are the same.
struct Given<'a> {
    keys: &'a [String],
    fallback_policy: i32,
    fallback_keys_subset: &'a [String],
    single_host_per_subset: bool,
}

impl<'a> From<&'a older::LbSubsetSelector> for Given<'a> {
    fn from(proto: &'a older::LbSubsetSelector) -> Self {
        Self {
            keys: &proto.keys,
            fallback_policy: proto.fallback_policy,
            fallback_keys_subset: &proto.fallback_keys_subset,
            single_host_per_subset: proto.single_host_per_subset,
        }
    }
}

impl<'a> From<&'a typed::subset::LbSubsetSelector> for Given<'a> {
    fn from(proto: &'a typed::subset::LbSubsetSelector) -> Self {
        Self {
            keys: &proto.keys,
            fallback_policy: proto.fallback_policy,
            fallback_keys_subset: &proto.fallback_keys_subset,
            single_host_per_subset: proto.single_host_per_subset,
        }
    }
}

/// The older form. Without a selector there are no subsets at all.
/// `weighted`: localities have weights at all.
pub(super) fn lower_older(
    proto: &LbSubsetConfig,
    weighted: bool,
    cx: &mut Cx<'_>,
) -> Option<Subset> {
    if proto.subset_selectors.is_empty() {
        return None;
    }
    if proto.locality_weight_aware && !weighted {
        cx.error_at(
            "locality_weight_aware",
            "needs common_lb_config.locality_weighted_lb_config",
        );
    }
    Some(Subset {
        selectors: selectors(proto.subset_selectors.iter().map(Given::from), cx),
        fallback_policy: fallback_policy(proto.fallback_policy),
        default_subset: fields(proto.default_subset.as_ref()),
        allow_redundant_keys: false,
        locality_weight_aware: proto.locality_weight_aware,
        scale_locality_weight: proto.scale_locality_weight,
        panic_mode_any: proto.panic_mode_any,
        list_as_any: proto.list_as_any,
        metadata_fallback_list: proto.metadata_fallback_policy != 0,
    })
}

/// The newer form, without the policy inside it.
pub(super) fn lower_typed(proto: &typed::Subset, cx: &mut Cx<'_>) -> Subset {
    Subset {
        selectors: selectors(proto.subset_selectors.iter().map(Given::from), cx),
        fallback_policy: fallback_policy(proto.fallback_policy),
        default_subset: fields(proto.default_subset.as_ref()),
        allow_redundant_keys: proto.allow_redundant_keys,
        locality_weight_aware: proto.locality_weight_aware,
        scale_locality_weight: proto.scale_locality_weight,
        panic_mode_any: proto.panic_mode_any,
        list_as_any: proto.list_as_any,
        metadata_fallback_list: proto.metadata_fallback_policy != 0,
    }
}

fn fallback_policy(number: i32) -> FallbackPolicy {
    use older::LbSubsetFallbackPolicy as Given;
    match Given::try_from(number) {
        Ok(Given::AnyEndpoint) => FallbackPolicy::AnyEndpoint,
        Ok(Given::DefaultSubset) => FallbackPolicy::DefaultSubset,
        // The rules of the API let no other number through.
        Ok(Given::NoFallback) | Err(_) => FallbackPolicy::NoFallback,
    }
}

fn selectors<'a>(given: impl Iterator<Item = Given<'a>>, cx: &mut Cx<'_>) -> Vec<Selector> {
    let lower =
        |(i, given): (usize, Given<'a>)| cx.index("subset_selectors", i, |cx| selector(&given, cx));
    given.enumerate().map(lower).collect()
}

fn selector(given: &Given<'_>, cx: &mut Cx<'_>) -> Selector {
    use older::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Policy;
    let texts = |texts: &[String]| -> Vec<Arc<str>> {
        texts.iter().map(|text| Arc::from(text.as_str())).collect()
    };
    let policy = Policy::try_from(given.fallback_policy).unwrap_or_default();
    if policy == Policy::KeysSubset {
        check_keys_subset(given, cx);
    } else if !given.fallback_keys_subset.is_empty() {
        cx.error_at(
            "fallback_keys_subset",
            "may be set only where fallback_policy is KEYS_SUBSET",
        );
    }
    Selector {
        keys: texts(given.keys),
        fallback_policy: match policy {
            Policy::NotDefined => SelectorFallback::NotDefined,
            Policy::NoFallback => SelectorFallback::NoFallback,
            Policy::AnyEndpoint => SelectorFallback::AnyEndpoint,
            Policy::DefaultSubset => SelectorFallback::DefaultSubset,
            Policy::KeysSubset => SelectorFallback::KeysSubset(texts(given.fallback_keys_subset)),
        },
        single_host_per_subset: given.single_host_per_subset,
    }
}

/// As Envoy: a request must be left with fewer keys, or the fallback would
/// lead back to where it came from.
fn check_keys_subset(given: &Given<'_>, cx: &mut Cx<'_>) {
    const FIELD: &str = "fallback_keys_subset";
    let keys: HashSet<_> = given.keys.iter().collect();
    let rest: HashSet<_> = given.fallback_keys_subset.iter().collect();
    if rest.is_empty() {
        cx.error_at(FIELD, "KEYS_SUBSET needs some of the selector's keys");
    } else if let Some(other) = rest.difference(&keys).next() {
        cx.error_at(FIELD, format!("{other:?} is not among the selector's keys"));
    } else if rest.len() == keys.len() {
        cx.error_at(FIELD, "must not be all of the selector's keys");
    }
}

/// Fields as balancers compare them, in the order of their names.
pub(crate) fn fields(proto: Option<&protobuf::Struct>) -> Vec<(Arc<str>, Value)> {
    let fields = proto.map(Struct::from_proto).unwrap_or_default();
    criteria(&fields)
}

/// What hosts are asked for, in the order of the names.
pub fn criteria(fields: &Struct) -> Vec<(Arc<str>, Value)> {
    fields
        .iter()
        .map(|(name, value)| (Arc::from(name), value.for_subsets()))
        .collect()
}
