//! Which filter chain a connection runs through, by a tree of matchers
//! (`Listener.filter_chain_matcher`) instead of what each chain matches.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::google::protobuf::StringValue;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher as MatcherPb;
use prost::Name;

use super::filter_chain_match::Arrival;
use crate::context::{Cx, type_name, unpack};
use crate::matcher::{Inputs, Matcher, MatchingData};

/// Leads to the place of a chain in its list.
#[derive(Debug)]
pub struct FilterChainMatcher(Matcher<usize>);

impl FilterChainMatcher {
    /// The place of the chain that a connection runs through, if there is one.
    #[must_use]
    pub fn find(&self, arrival: &Arrival<'_>) -> Option<usize> {
        self.0.find(MatchingData::of_connection(arrival)).copied()
    }

    /// Compiles the matcher of a listener with these chains, or reports why not.
    pub(super) fn lower(
        proto: &MatcherPb,
        chains: &[pb::FilterChain],
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let places = places(chains, cx);
        let listener = cx.source();
        let matcher = cx.field("filter_chain_matcher", |cx| {
            Matcher::lower(proto, Inputs::Connection, cx, &mut |action, cx| {
                let name = name(action, cx)?;
                let place = places.get(&*name).copied();
                if place.is_none() {
                    cx.error(format!(
                        "the listener ({listener}) has no filter chain with the name {name:?}"
                    ));
                }
                place
            })
        });
        matcher.map(Self)
    }
}

/// The places of chains by their names, of which each must have one of its own.
fn places<'c>(chains: &'c [pb::FilterChain], cx: &mut Cx<'_>) -> HashMap<&'c str, usize> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(chains.len());
    for (place, chain) in chains.iter().enumerate() {
        cx.index("filter_chains", place, |cx| {
            if chain.filter_chain_match.is_some() {
                cx.error_at(
                    "filter_chain_match",
                    "has no effect beside the listener's filter_chain_matcher",
                );
            }
            if chain.name.is_empty() {
                cx.error("needs a name, by which filter_chain_matcher finds it");
            } else if let Some(other) = places.insert(&chain.name, place) {
                cx.error_at(
                    "name",
                    format!(
                        "filter_chains[{other}] has the name {:?} as well",
                        chain.name
                    ),
                );
            }
        });
    }
    places
}

/// The name that an action is.
fn name(action: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<String> {
    let any = action.typed_config.as_ref();
    let wanted = StringValue::full_name();
    match any.filter(|any| type_name(&any.type_url) == wanted) {
        Some(any) => cx
            .field("typed_config", |cx| unpack::<StringValue>(any, cx))
            .map(|name| name.value),
        None => {
            cx.error_at(
                "typed_config",
                format!("must be a {wanted}, the name of a filter chain"),
            );
            None
        }
    }
}
