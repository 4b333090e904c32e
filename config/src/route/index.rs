//! Which routes of a list are worth a look for a request, so that a list of
//! thousands costs no more than a short one.
//!
//! Routes of a path, a prefix or a separated prefix are found by their text.
//! Those of a regular expression or a template are found by what it begins
//! with, which may be nothing: then they are looked at for every request. The
//! order of the list stays what decides: of all candidates that match, the
//! first of the list is taken.

use super::path_match::PathMatcher;
use super::path_tree::{Entry, PathTree, Reach};
use super::request_path::RequestPath;
use super::route_match::{MatchInput, RouteMatcher};
use super::string_match::Case;

/// Lists up to this length are looked through from the start: it takes about
/// as long as to ask an index.
const SCANNED_ROUTES_MAX: usize = 8;

/// An index of a list of routes; the list is kept by whoever made the index.
#[derive(Debug, Default)]
pub struct RouteIndex {
    /// `None` when the list is looked through.
    trees: Option<Box<Trees>>,
}

#[derive(Debug)]
struct Trees {
    sensitive: PathTree,
    insensitive: PathTree,
    /// How many routes there are.
    routes: u32,
    ignore_path_parameters: bool,
}

impl RouteIndex {
    /// An index of routes that match by `matchers`.
    pub(super) fn new<'m>(matchers: impl ExactSizeIterator<Item = &'m RouteMatcher>) -> Self {
        if matchers.len() <= SCANNED_ROUTES_MAX {
            return RouteIndex::default();
        }
        RouteIndex {
            trees: Some(Box::new(Trees::new(matchers))),
        }
    }

    /// The first of `routes`, the list that the index was made for, that
    /// matches and can be taken. `matcher` tells how a route matches, and
    /// `is_available` whether it can be taken.
    pub fn find<'r, R>(
        &self,
        routes: &'r [R],
        input: &MatchInput<'_>,
        matcher: impl Fn(&R) -> &RouteMatcher,
        is_available: impl Fn(&R) -> bool,
    ) -> Option<&'r R> {
        let Some(trees) = &self.trees else {
            return scan(routes, input, matcher, is_available);
        };
        RequestPath::with(input.headers, trees.ignore_path_parameters, |path| {
            let passes = |number: u32| {
                let route = &routes[number as usize];
                matcher(route).matches_at(path, input) && is_available(route)
            };
            // A request without a path can only belong to routes without a key.
            let key = path.path.unwrap_or_default();
            let found = trees.sensitive.first(key, trees.routes, passes);
            let found = trees.insensitive.first(key, found, passes);
            routes.get(found as usize)
        })
    }
}

/// The first route that matches and can be taken, by looking at one after the other.
fn scan<'r, R>(
    routes: &'r [R],
    input: &MatchInput<'_>,
    matcher: impl Fn(&R) -> &RouteMatcher,
    is_available: impl Fn(&R) -> bool,
) -> Option<&'r R> {
    let ignore_path_parameters = routes
        .first()
        .is_some_and(|first| matcher(first).ignore_path_parameters);
    RequestPath::with(input.headers, ignore_path_parameters, |path| {
        routes
            .iter()
            .find(|route| matcher(route).matches_at(path, input) && is_available(route))
    })
}

impl Trees {
    fn new<'m>(matchers: impl ExactSizeIterator<Item = &'m RouteMatcher>) -> Self {
        let routes = matchers.len();
        let number = |at| u32::try_from(at).expect("fewer than 2^32 routes fit in memory");
        let (mut sensitive, mut insensitive) = (Vec::new(), Vec::new());
        let mut ignore_path_parameters = false;
        for (at, matcher) in matchers.enumerate() {
            ignore_path_parameters |= matcher.ignore_path_parameters;
            let (key, reach, case) = key(matcher);
            let entries = match case {
                Case::Sensitive => &mut sensitive,
                Case::Insensitive => &mut insensitive,
            };
            entries.push(Entry {
                key,
                reach,
                number: number(at),
            });
        }
        Trees {
            sensitive: PathTree::new(Case::Sensitive, sensitive),
            insensitive: PathTree::new(Case::Insensitive, insensitive),
            routes: number(routes),
            ignore_path_parameters,
        }
    }
}

/// What every path that a route takes begins with, and whether it is the
/// whole path.
fn key(matcher: &RouteMatcher) -> (Vec<u8>, Reach, Case) {
    match &matcher.path {
        PathMatcher::Exact(path, case) => (path.to_vec(), Reach::Whole, *case),
        PathMatcher::Prefix(prefix, case) | PathMatcher::SeparatedPrefix(prefix, case) => {
            (prefix.to_vec(), Reach::Prefix, *case)
        }
        PathMatcher::Regex(regex) => (regex.literal_prefix(), Reach::Prefix, Case::Sensitive),
        // A template looks at parameters also where the index ignores them.
        PathMatcher::Template(template) if !matcher.ignore_path_parameters => {
            (template.literal_prefix(), Reach::Prefix, Case::Sensitive)
        }
        PathMatcher::Template(_) | PathMatcher::Connect => {
            (Vec::new(), Reach::Prefix, Case::Sensitive)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Cx;
    use crate::diagnostics::{Diagnostics, Marks};
    use crate::names::Names;
    use crate::route::{RouteConfiguration, lower};
    use envoy_types::pb::envoy::config::route::v3 as proto;
    use proto::route_match::PathSpecifier;

    fn table(paths: impl Iterator<Item = PathSpecifier>) -> RouteConfiguration {
        let routes = paths.map(|path| proto::Route {
            r#match: Some(proto::RouteMatch {
                path_specifier: Some(path),
                ..Default::default()
            }),
            action: Some(proto::route::Action::DirectResponse(
                proto::DirectResponseAction {
                    status: 200,
                    ..Default::default()
                },
            )),
            ..Default::default()
        });
        let message = proto::RouteConfiguration {
            virtual_hosts: vec![proto::VirtualHost {
                domains: vec!["*".into()],
                routes: routes.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let (mut found, marks, names) = (Diagnostics::new(), Marks::default(), Names::default());
        let routes = lower(&message, &mut Cx::new(&mut found, &marks, None, &names));
        routes.expect("a good table")
    }

    #[test]
    fn short_lists_are_scanned_and_long_ones_are_not() {
        let paths = |count| (0..count).map(|i| PathSpecifier::Path(format!("/{i}")));
        for (count, scanned) in [
            (0, true),
            (SCANNED_ROUTES_MAX, true),
            (SCANNED_ROUTES_MAX + 1, false),
        ] {
            let routes = table(paths(count));
            assert_eq!(
                routes.virtual_hosts()[0].index.trees.is_none(),
                scanned,
                "{count}"
            );
        }
    }

    /// How many of 1,000 routes are looked at for the path of the last one.
    #[test]
    fn few_routes_are_looked_at() {
        type Kind = fn(String) -> PathSpecifier;
        let kinds: [(Kind, usize); 3] = [
            (PathSpecifier::Path, 1),
            // `/api/9` and `/api/99` are prefixes of it, too.
            (PathSpecifier::Prefix, 3),
            (PathSpecifier::PathSeparatedPrefix, 3),
        ];
        for (kind, expected) in kinds {
            let routes = table((0..1_000).map(|i| kind(format!("/api/{i}"))));
            let trees = routes.virtual_hosts()[0].index.trees.as_ref().unwrap();
            let looked_at = std::cell::Cell::new(0);
            trees.sensitive.first(b"/api/999", trees.routes, |_| {
                looked_at.set(looked_at.get() + 1);
                false
            });
            assert_eq!(looked_at.get(), expected);
        }
    }
}
