//! Many values of one input at once.

use super::input::Input;
use super::ip::IpMatcher;
use super::messages as proto;
use super::server_name::ServerNameMatcher;
use super::{Bounds, Inputs, MatchingData, OnMatch};
use crate::context::{Cx, type_name, unpack};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::MatcherTree;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::{MatchMap, TreeType};
use prost::Name;
use std::collections::HashMap;

/// A compiled `xds.type.matcher.v3.Matcher.MatcherTree`.
#[derive(Debug)]
pub(super) struct Tree<A> {
    input: Input,
    lookup: Lookup<A>,
}

/// What is done with the value.
#[derive(Debug)]
enum Lookup<A> {
    /// All of it is looked up.
    Exact(Entries<A>),
    /// Its beginning is.
    Prefix(Entries<A>, PrefixLengths),
    /// It is an address.
    Ip(IpMatcher<A>),
    /// It is the name of a server.
    ServerName(ServerNameMatcher<A>),
}

type Entries<A> = HashMap<Box<[u8]>, OnMatch<A>>;

/// Those that occur, longest first.
type PrefixLengths = Box<[usize]>;

impl<A> Tree<A> {
    /// The action for the value of the input: that of the longest prefix, or
    /// of a shorter one where it leads nowhere. Prefixes cost a look-up for
    /// each length that occurs, however many there are.
    pub(super) fn find(&self, seen: MatchingData<'_>) -> Option<&A> {
        let found = match &self.lookup {
            Lookup::Exact(entries) => self
                .input
                .with(seen, |value| entries.get(value)?.find(seen)),
            Lookup::Prefix(entries, lengths) => self.input.with(seen, |value| {
                lengths
                    .iter()
                    .filter_map(|length| value.get(..*length))
                    .find_map(|prefix| entries.get(prefix)?.find(seen))
            }),
            Lookup::Ip(ranges) => {
                let address = self.input.address(seen);
                address.map(|address| ranges.find(address, seen))
            }
            Lookup::ServerName(domains) => self.input.with(seen, |value| domains.find(value, seen)),
        };
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
        let lookup = match &message.tree_type {
            Some(TreeType::ExactMatchMap(map)) => cx
                .field("exact_match_map", |cx| lower_map(map, bounds, cx, action))
                .map(Lookup::Exact),
            Some(TreeType::PrefixMatchMap(map)) => cx
                .field("prefix_match_map", |cx| lower_map(map, bounds, cx, action))
                .map(|entries| {
                    let lengths = lengths(&entries);
                    Lookup::Prefix(entries, lengths)
                }),
            Some(TreeType::CustomMatch(custom)) => cx.field("custom_match", |cx| {
                lower_custom(custom, bounds, cx, action)
            }),
            None => {
                cx.error("exact_match_map, prefix_match_map or custom_match is needed");
                None
            }
        };
        Some(Tree {
            input: input?,
            lookup: lookup?,
        })
    }
}

fn lengths<A>(entries: &Entries<A>) -> PrefixLengths {
    let mut lengths: Vec<_> = entries.keys().map(|key| key.len()).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.dedup();
    lengths.into()
}

/// What is known of a value goes beyond its bytes.
fn lower_custom<A>(
    message: &TypedExtensionConfig,
    bounds: Bounds,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<Lookup<A>> {
    if bounds.inputs == Inputs::Host {
        cx.error(
            "transport sockets are found by exact_match_map and prefix_match_map only, in Envoy, too",
        );
        return None;
    }
    let (by_ip, by_name) = (
        proto::IpMatcher::full_name(),
        proto::ServerNameMatcher::full_name(),
    );
    let given = message.typed_config.as_ref();
    match given.map(|any| (type_name(&any.type_url), any)) {
        Some((name, any)) if name == by_ip => cx.field("typed_config", |cx| {
            let message = unpack(any, cx)?;
            IpMatcher::lower(&message, bounds, cx, action).map(Lookup::Ip)
        }),
        Some((name, any)) if name == by_name => cx.field("typed_config", |cx| {
            let message = unpack(any, cx)?;
            ServerNameMatcher::lower(&message, bounds, cx, action).map(Lookup::ServerName)
        }),
        _ => {
            cx.error(format!("not supported yet but for {by_ip} and {by_name}"));
            None
        }
    }
}

fn lower_map<A>(
    message: &MatchMap,
    bounds: Bounds,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<Entries<A>> {
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
