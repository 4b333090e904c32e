//! Connections that a listener filter does not look at
//! (`listener.v3.ListenerFilterChainMatchPredicate`).

use std::ops::Range;

use envoy_types::pb::envoy::config::listener::v3 as pb;
use pb::listener_filter_chain_match_predicate::{MatchSet, Rule};

use crate::context::Cx;

/// A compiled predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// At least one.
    Or(Box<[Predicate]>),
    /// Every one.
    And(Box<[Predicate]>),
    /// The opposite.
    Not(Box<Predicate>),
    /// All connections.
    Any,
    /// Those to such a port.
    DestinationPort(Range<i32>),
}

/// How many may be within each other: a connection follows them by recursion,
/// whose stack must be bounded.
const DEPTH_MAX: usize = 32;

impl Predicate {
    /// Whether a connection to this port is among them; one to a Unix socket has
    /// no port and is in no range.
    #[must_use]
    pub fn matches(&self, port: Option<u16>) -> bool {
        match self {
            Self::Or(of) => of.iter().any(|one| one.matches(port)),
            Self::And(of) => of.iter().all(|one| one.matches(port)),
            Self::Not(of) => !of.matches(port),
            Self::Any => true,
            Self::DestinationPort(range) => {
                port.is_some_and(|port| range.contains(&i32::from(port)))
            }
        }
    }

    pub(super) fn lower(
        proto: &pb::ListenerFilterChainMatchPredicate,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        Self::lower_within(proto, DEPTH_MAX, cx)
    }

    fn lower_within(
        proto: &pb::ListenerFilterChainMatchPredicate,
        depth: usize,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Some(depth) = depth.checked_sub(1) else {
            cx.error(format!("predicates are nested deeper than {DEPTH_MAX}"));
            return None;
        };
        // The rules of the message want one of them.
        match proto.rule.as_ref()? {
            Rule::OrMatch(set) => cx
                .field("or_match", |cx| lower_set(set, depth, cx))
                .map(Self::Or),
            Rule::AndMatch(set) => cx
                .field("and_match", |cx| lower_set(set, depth, cx))
                .map(Self::And),
            Rule::NotMatch(of) => {
                let of = cx.field("not_match", |cx| Self::lower_within(of, depth, cx));
                of.map(|of| Self::Not(Box::new(of)))
            }
            Rule::AnyMatch(_) => Some(Self::Any),
            Rule::DestinationPortRange(range) => {
                Some(Self::DestinationPort(range.start..range.end))
            }
        }
    }
}

fn lower_set(set: &MatchSet, depth: usize, cx: &mut Cx<'_>) -> Option<Box<[Predicate]>> {
    let rules = set.rules.iter().enumerate();
    let lowered: Vec<_> = rules
        .map(|(i, rule)| cx.index("rules", i, |cx| Predicate::lower_within(rule, depth, cx)))
        .collect();
    lowered.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_no_last_port() {
        let range = Predicate::DestinationPort(80..82);
        for (port, inside) in [(79, false), (80, true), (81, true), (82, false)] {
            assert_eq!(range.matches(Some(port)), inside, "{port}");
        }
        assert!(!range.matches(None));
        let outside = Predicate::Not(Box::new(range.clone()));
        let other = Predicate::DestinationPort(82..83);
        let both = Predicate::And([outside.clone(), other.clone()].into());
        assert!(both.matches(Some(82)) && !both.matches(Some(80)) && !both.matches(Some(90)));
        let either = Predicate::Or([range, other].into());
        assert!(either.matches(Some(82)) && either.matches(Some(80)) && !either.matches(Some(90)));
        assert!(Predicate::Any.matches(None) && outside.matches(None));
    }
}
