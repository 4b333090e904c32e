//! Names of servers that lead somewhere (`xds.type.matcher.v3.ServerNameMatcher`):
//! the name itself first, then `*.` before what follows one of its dots, the longest
//! first, then `*`.

use super::messages as proto;
use super::{Bounds, MatchingData, OnMatch};
use crate::context::Cx;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use std::collections::{HashMap, HashSet};

/// A compiled `xds.type.matcher.v3.ServerNameMatcher`. Names lead to places in the
/// list of where they lead.
#[derive(Debug)]
pub(super) struct ServerNameMatcher<A> {
    names: HashMap<Box<[u8]>, usize>,
    /// What follows `*.`.
    suffixes: HashMap<Box<[u8]>, usize>,
    /// The longest suffix: parts of a name that are longer are not looked up, so that
    /// a look-up costs no more than what is configured, whatever a client sends.
    suffix_bytes_max: usize,
    /// `*`
    any: Option<usize>,
    on_matches: Box<[OnMatch<A>]>,
}

impl<A> ServerNameMatcher<A> {
    /// The action for a name: the first that is led to.
    pub(super) fn find(&self, name: &[u8], seen: MatchingData<'_>) -> Option<&A> {
        if name.is_empty() {
            return None;
        }
        let follow = |place: &usize| self.on_matches.get(*place)?.find(seen);
        if let Some(action) = self.names.get(name).and_then(follow) {
            return Some(action);
        }
        let start = name.len().saturating_sub(self.suffix_bytes_max + 1);
        for (dot, byte) in name.iter().enumerate().skip(start) {
            if *byte != b'.' {
                continue;
            }
            if let Some(action) = self.suffixes.get(&name[dot + 1..]).and_then(follow) {
                return Some(action);
            }
        }
        self.any.as_ref().and_then(follow)
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::ServerNameMatcher,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let (mut names, mut suffixes, mut any) = (HashMap::new(), HashMap::new(), None);
        let mut suffix_bytes_max = 0;
        let mut given = HashSet::new();
        let mut on_matches = Vec::new();
        let mut is_whole = true;
        for (i, matcher) in message.domain_matchers.iter().enumerate() {
            cx.index("domain_matchers", i, |cx| {
                if matcher.domains.is_empty() {
                    cx.error_at("domains", "at least one is needed");
                    is_whole = false;
                }
                for (j, domain) in matcher.domains.iter().enumerate() {
                    cx.index("domains", j, |cx| {
                        let lowered = Domain::lower(domain, cx);
                        if !given.insert(domain) {
                            cx.error(format!("{domain:?} leads somewhere already"));
                            is_whole = false;
                        }
                        match lowered {
                            Some(Domain::Any) => any = Some(i),
                            Some(Domain::Suffix(suffix)) => {
                                suffix_bytes_max = suffix_bytes_max.max(suffix.len());
                                suffixes.insert(suffix.as_bytes().into(), i);
                            }
                            Some(Domain::Name(name)) => {
                                names.insert(name.as_bytes().into(), i);
                            }
                            None => is_whole = false,
                        }
                    });
                }
                let on_match =
                    OnMatch::lower_required(matcher.on_match.as_ref(), bounds, cx, action);
                is_whole &= on_match.is_some();
                on_matches.extend(on_match);
            });
        }
        is_whole.then(|| Self {
            names,
            suffixes,
            suffix_bytes_max,
            any,
            on_matches: on_matches.into(),
        })
    }
}

/// What a domain stands for.
enum Domain<'d> {
    Any,
    Suffix(&'d str),
    Name(&'d str),
}

impl<'d> Domain<'d> {
    fn lower(domain: &'d str, cx: &mut Cx<'_>) -> Option<Self> {
        if domain == "*" {
            return Some(Self::Any);
        }
        let suffix = domain.strip_prefix("*.");
        let name = suffix.unwrap_or(domain);
        if name.is_empty() || name.contains('*') {
            cx.error(format!(
                "{domain:?} is no domain: it is a name, *.name or *"
            ));
            return None;
        }
        Some(suffix.map_or(Self::Name(name), Self::Suffix))
    }
}
