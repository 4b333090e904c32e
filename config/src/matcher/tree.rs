//! Many values of one input at once.

use super::input::Input;
use super::{Bounds, MatchingData, OnMatch};
use crate::context::Cx;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3 as proto;
use proto::matcher::MatcherTree;
use proto::matcher::matcher_tree::{MatchMap, TreeType};
use std::collections::HashMap;

/// A compiled `xds.type.matcher.v3.Matcher.MatcherTree`.
#[derive(Debug)]
pub(super) struct Tree<A> {
    input: Input,
    entries: HashMap<Box<[u8]>, OnMatch<A>>,
    /// The lengths of the prefixes, longest first; `None` when whole values
    /// are looked up.
    prefix_lengths: Option<Box<[usize]>>,
}

impl<A> Tree<A> {
    /// The action for the value of the input: that of the longest prefix, or
    /// of a shorter one where it leads nowhere. Prefixes cost a look-up for
    /// each length that occurs, however many there are.
    pub(super) fn find(&self, seen: MatchingData<'_>) -> Option<&A> {
        let follow = |key: &[u8]| self.entries.get(key)?.find(seen);
        let found = self.input.with(seen, |value| match &self.prefix_lengths {
            None => follow(value),
            Some(lengths) => lengths
                .iter()
                .filter_map(|length| value.get(..*length))
                .find_map(follow),
        });
        found.flatten()
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &MatcherTree,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let input = Input::lower(message.input.as_ref(), bounds.inputs, cx);
        let (entries, by_prefix) = match &message.tree_type {
            Some(TreeType::ExactMatchMap(map)) => {
                let lower = |cx: &mut Cx<'_>| lower_map(map, bounds, cx, action);
                (cx.field("exact_match_map", lower), false)
            }
            Some(TreeType::PrefixMatchMap(map)) => {
                let lower = |cx: &mut Cx<'_>| lower_map(map, bounds, cx, action);
                (cx.field("prefix_match_map", lower), true)
            }
            Some(TreeType::CustomMatch(_)) => {
                cx.error_at(
                    "custom_match",
                    "not supported yet; use exact_match_map or prefix_match_map",
                );
                (None, false)
            }
            None => {
                cx.error("exact_match_map or prefix_match_map is needed");
                (None, false)
            }
        };
        let entries = entries?;
        let prefix_lengths = by_prefix.then(|| {
            let mut lengths: Vec<_> = entries.keys().map(|key| key.len()).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
            lengths.into()
        });
        Some(Tree {
            input: input?,
            entries,
            prefix_lengths,
        })
    }
}

fn lower_map<A>(
    message: &MatchMap,
    bounds: Bounds,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<HashMap<Box<[u8]>, OnMatch<A>>> {
    // In a fixed order, so that the same file gives the same findings.
    let mut entries: Vec<_> = message.map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let compiled: Vec<_> = entries
        .into_iter()
        .map(|(key, on_match)| {
            let on_match = cx.entry("map", key, |cx| {
                OnMatch::lower(on_match, bounds, cx, action)
            });
            Some((key.as_bytes().into(), on_match?))
        })
        .collect();
    compiled.into_iter().collect()
}
