//! Tests of an input, and how they are combined.

use super::input::Input;
use super::{Bounds, MatchingData};
use crate::cidr::CidrRange;
use crate::context::{Cx, type_name, unpack};
use crate::route::StringMatcher;
use envoy_types::pb::envoy::extensions::matching::input_matchers::ip::v3::Ip;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list as proto;
use prost::Name;
use proto::predicate::{MatchType, PredicateList, SinglePredicate, single_predicate};

/// A compiled `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Debug)]
pub(super) enum Predicate {
    /// The value of an input; one that is not there does not pass.
    Single(Input, StringMatcher),
    /// An address in one of these ranges.
    Ip(Input, Box<[CidrRange]>),
    /// At least one.
    Or(Box<[Predicate]>),
    /// Every one.
    And(Box<[Predicate]>),
    /// The opposite.
    Not(Box<Predicate>),
}

impl Predicate {
    /// Whether what is seen passes.
    pub(super) fn passes(&self, seen: MatchingData<'_>) -> bool {
        match self {
            Predicate::Single(input, matcher) => input
                .with(seen, |value| matcher.matches(value))
                .unwrap_or(false),
            Predicate::Ip(input, ranges) => input
                .address(seen)
                .is_some_and(|address| ranges.iter().any(|range| range.contains(address))),
            Predicate::Or(of) => of.iter().any(|one| one.passes(seen)),
            Predicate::And(of) => of.iter().all(|one| one.passes(seen)),
            Predicate::Not(of) => !of.passes(seen),
        }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::Predicate,
        bounds: Bounds,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let bounds = bounds.deeper(cx)?;
        match &message.match_type {
            Some(MatchType::SinglePredicate(single)) => {
                cx.field("single_predicate", |cx| lower_single(single, bounds, cx))
            }
            Some(MatchType::OrMatcher(list)) => cx
                .field("or_matcher", |cx| lower_list(list, bounds, cx))
                .map(Predicate::Or),
            Some(MatchType::AndMatcher(list)) => cx
                .field("and_matcher", |cx| lower_list(list, bounds, cx))
                .map(Predicate::And),
            Some(MatchType::NotMatcher(of)) => cx
                .field("not_matcher", |cx| Predicate::lower(of, bounds, cx))
                .map(|of| Predicate::Not(Box::new(of))),
            None => {
                cx.error("single_predicate, or_matcher, and_matcher or not_matcher is needed");
                None
            }
        }
    }
}

fn lower_single(message: &SinglePredicate, bounds: Bounds, cx: &mut Cx<'_>) -> Option<Predicate> {
    let input = Input::lower(message.input.as_ref(), bounds.inputs, cx);
    let matcher = match &message.matcher {
        Some(single_predicate::Matcher::ValueMatch(matcher)) => {
            cx.field("value_match", |cx| StringMatcher::lower_xds(matcher, cx))
        }
        Some(single_predicate::Matcher::CustomMatch(custom)) => {
            let ranges = cx.field("custom_match", |cx| lower_custom(custom, cx))?;
            let input = input?;
            if !input.is_address() {
                cx.error_at(
                    "custom_match",
                    "only addresses of connections, and metadata of hosts, are in ranges",
                );
                return None;
            }
            return Some(Predicate::Ip(input, ranges));
        }
        None => {
            cx.error("value_match is needed");
            None
        }
    };
    Some(Predicate::Single(input?, matcher?))
}

/// The one kind of tests that no texts pass.
fn lower_custom(message: &TypedExtensionConfig, cx: &mut Cx<'_>) -> Option<Box<[CidrRange]>> {
    let given = message.typed_config.as_ref();
    let any = given.filter(|any| type_name(&any.type_url) == Ip::full_name());
    let Some(any) = any else {
        let wanted = Ip::full_name();
        cx.error(format!(
            "not supported yet but for {wanted}; use value_match"
        ));
        return None;
    };
    cx.field("typed_config", |cx| {
        let message: Ip = unpack(any, cx)?;
        CidrRange::lower_all(&message.cidr_ranges, "cidr_ranges", cx)
    })
}

fn lower_list(list: &PredicateList, bounds: Bounds, cx: &mut Cx<'_>) -> Option<Box<[Predicate]>> {
    let predicates: Vec<_> = list
        .predicate
        .iter()
        .enumerate()
        .map(|(i, message)| cx.index("predicate", i, |cx| Predicate::lower(message, bounds, cx)))
        .collect();
    predicates.into_iter().collect()
}
