//! Ranges of addresses that lead somewhere (`xds.type.matcher.v3.IPMatcher`): the
//! longest prefix first, and of equal ones the first that is written.

use super::messages as proto;
use super::{Bounds, MatchingData, OnMatch};
use crate::cidr::CidrRange;
use crate::context::Cx;
use crate::core;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use std::cmp::Reverse;
use std::net::IpAddr;

/// A compiled `xds.type.matcher.v3.IPMatcher`.
#[derive(Debug)]
pub(super) struct IpMatcher<A> {
    /// Ascending by their first addresses, so that one look-up finds the smallest
    /// that may have an address; the others that have it are around that one.
    ranges: Box<[Range]>,
    on_matches: Box<[OnMatch<A>]>,
}

#[derive(Debug)]
struct Range {
    range: CidrRange,
    /// The place of the smallest of those that have all of its addresses.
    around: Option<usize>,
    /// The place of what it leads to.
    on_match: usize,
    /// It does not count where a smaller one has the address.
    is_exclusive: bool,
}

impl<A> IpMatcher<A> {
    /// The action for an address: that of the smallest range, or of a larger one
    /// where it leads nowhere.
    pub(super) fn find(&self, address: IpAddr, seen: MatchingData<'_>) -> Option<&A> {
        let behind = (self.ranges).partition_point(|one| one.range.network() <= address);
        let mut next = behind.checked_sub(1);
        let mut is_first = true;
        while let Some(one) = next.and_then(|place| self.ranges.get(place)) {
            next = one.around;
            if !one.range.contains(address) || (one.is_exclusive && !is_first) {
                continue;
            }
            is_first = false;
            if let Some(action) = self.on_matches.get(one.on_match)?.find(seen) {
                return Some(action);
            }
        }
        None
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::IpMatcher,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut on_matches = Vec::new();
        let mut is_whole = true;
        for (i, matcher) in message.range_matchers.iter().enumerate() {
            cx.index("range_matchers", i, |cx| {
                if matcher.ranges.is_empty() {
                    cx.error_at("ranges", "at least one is needed");
                }
                for (j, range) in matcher.ranges.iter().enumerate() {
                    let bits = core::u32_or(range.prefix_len, 0);
                    let lowered = cx.index("ranges", j, |cx| {
                        CidrRange::lower(&range.address_prefix, bits, cx)
                    });
                    is_whole &= lowered.is_some();
                    // Envoy goes by the length that is written, also where an address
                    // does not have so many bits.
                    ranges.extend(lowered.map(|range| (range, bits, i, matcher.exclusive)));
                }
                let on_match =
                    OnMatch::lower_required(matcher.on_match.as_ref(), bounds, cx, action);
                is_whole &= on_match.is_some() && !matcher.ranges.is_empty();
                on_matches.extend(on_match);
            });
        }
        is_whole.then(|| Self {
            ranges: nested(ranges),
            on_matches: on_matches.into(),
        })
    }
}

/// Puts ranges in order, each with its length as it is written, the place of what it
/// leads to, and whether it is exclusive.
fn nested(mut ranges: Vec<(CidrRange, u32, usize, bool)>) -> Box<[Range]> {
    ranges.sort_by_key(|(range, bits, place, _)| {
        (range.network(), range.prefix_bits(), *bits, Reverse(*place))
    });
    let mut in_order: Vec<Range> = Vec::with_capacity(ranges.len());
    let mut open: Vec<usize> = Vec::new();
    for (place, (range, _, on_match, is_exclusive)) in ranges.into_iter().enumerate() {
        // Ranges are within each other or apart.
        let has = |outer: &usize| in_order[*outer].range.contains(range.network());
        while open.last().is_some_and(|outer| !has(outer)) {
            open.pop();
        }
        let around = open.last().copied();
        open.push(place);
        in_order.push(Range {
            range,
            around,
            on_match,
            is_exclusive,
        });
    }
    in_order.into()
}
