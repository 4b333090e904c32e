//! Matcher trees (`xds.type.matcher.v3.Matcher`) over the headers of a
//! request and its response, or over what is known of a connection or of a host:
//! from what is seen to an action.
//!
//! Start at [`Matcher::find`]. Actions are whatever the tree's user compiles
//! them to: a virtual host's are routes, those of custom responses are pages,
//! those of a listener are filter chains, those of a cluster transport sockets.
//!
//! - `input.rs`: what a tree can look at; `network_input.rs` of connections,
//!   `host_input.rs` of hosts.
//! - `predicate.rs`: tests of an input, and how they are combined.
//! - `tree.rs`: many values of one input at once; `ip.rs` ranges of addresses,
//!   `server_name.rs` domains.
//! - `messages.rs`: what of Envoy's API is in no crate.

mod host_input;
mod input;
mod ip;
mod messages;
mod network_input;
mod predicate;
mod server_name;
mod tree;

#[cfg(test)]
mod tests;

pub use host_input::HostMetadata;

use crate::context::Cx;
use crate::listener::filter_chain_match::Arrival;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3 as proto;
use predicate::Predicate;
use proto::matcher::on_match::OnMatch as Target;
use proto::matcher::{MatcherList, MatcherType};
use ringway_codecs::header::HeaderMap;
use tree::Tree;

/// How many matchers and predicates may be within each other: a request
/// follows them by recursion, whose stack must be bounded.
pub const DEPTH_MAX: usize = 32;

/// What matchers look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatchingData<'h> {
    /// The request's headers.
    request: Option<&'h HeaderMap>,
    /// The response's headers, once there is a response.
    response: Option<&'h HeaderMap>,
    /// The connection, where that is what is looked at.
    connection: Option<&'h Arrival<'h>>,
    /// The host, where that is.
    host: Option<&'h HostMetadata<'h>>,
}

impl<'h> MatchingData<'h> {
    /// A request, and what it is answered with.
    #[must_use]
    pub fn new(request: &'h HeaderMap, response: Option<&'h HeaderMap>) -> Self {
        Self {
            request: Some(request),
            response,
            ..Self::default()
        }
    }

    /// A connection.
    #[must_use]
    pub fn of_connection(connection: &'h Arrival<'h>) -> Self {
        Self {
            connection: Some(connection),
            ..Self::default()
        }
    }

    /// A host.
    #[must_use]
    pub fn of_host(host: &'h HostMetadata<'h>) -> Self {
        Self {
            host: Some(host),
            ..Self::default()
        }
    }
}

/// What a matcher may look at, which depends on when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// The request's headers only: there is no response yet.
    Request,
    /// The headers of both.
    RequestAndResponse,
    /// What is known of a connection.
    Connection,
    /// That, as far as decisions on who may connect look at it.
    Access,
    /// What is known of a host.
    Host,
}

/// What holds for a matcher while it is lowered.
#[derive(Clone, Copy)]
struct Bounds {
    inputs: Inputs,
    /// How many levels are left, this one included.
    depth: usize,
}

/// A compiled matcher that leads to an `A`.
#[derive(Debug)]
pub struct Matcher<A> {
    kind: Kind<A>,
    /// What is done when nothing in `kind` has led to an action.
    on_no_match: Option<OnMatch<A>>,
}

#[derive(Debug)]
enum Kind<A> {
    /// Nothing but `on_no_match`.
    Empty,
    /// The first whose predicate passes and that leads to an action.
    List(Box<[(Predicate, OnMatch<A>)]>),
    /// By the value of an input.
    Tree(Tree<A>),
}

/// Where a match leads.
#[derive(Debug)]
enum OnMatch<A> {
    Action(A),
    Matcher(Box<Matcher<A>>),
}

impl<A> Matcher<A> {
    /// The action for what is seen. A nested matcher that leads nowhere is as
    /// if what led to it had not matched.
    pub fn find(&self, seen: MatchingData<'_>) -> Option<&A> {
        let found = match &self.kind {
            Kind::Empty => None,
            Kind::List(list) => list
                .iter()
                .filter(|(predicate, _)| predicate.passes(seen))
                .find_map(|(_, on_match)| on_match.find(seen)),
            Kind::Tree(tree) => tree.find(seen),
        };
        found.or_else(|| self.on_no_match.as_ref()?.find(seen))
    }

    /// Compiles the message, or reports why not. `action` compiles what it
    /// leads to.
    pub fn lower(
        message: &proto::Matcher,
        inputs: Inputs,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let depth = DEPTH_MAX;
        Self::lower_within(message, Bounds { inputs, depth }, cx, action)
    }

    fn lower_within(
        message: &proto::Matcher,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        let bounds = bounds.deeper(cx)?;
        let kind = match &message.matcher_type {
            None => Some(Kind::Empty),
            Some(MatcherType::MatcherList(list)) => {
                cx.field("matcher_list", |cx| lower_list(list, bounds, cx, action))
            }
            Some(MatcherType::MatcherTree(tree)) => cx
                .field("matcher_tree", |cx| Tree::lower(tree, bounds, cx, action))
                .map(Kind::Tree),
        };
        let on_no_match = match &message.on_no_match {
            None => Some(None),
            Some(on_match) => cx
                .field("on_no_match", |cx| {
                    OnMatch::lower(on_match, bounds, cx, action)
                })
                .map(Some),
        };
        Some(Matcher {
            kind: kind?,
            on_no_match: on_no_match?,
        })
    }
}

fn lower_list<A>(
    message: &MatcherList,
    bounds: Bounds,
    cx: &mut Cx<'_>,
    action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
) -> Option<Kind<A>> {
    let list: Vec<_> = message
        .matchers
        .iter()
        .enumerate()
        .map(|(i, matcher)| {
            cx.index("matchers", i, |cx| {
                let (Some(predicate), Some(on_match)) = (&matcher.predicate, &matcher.on_match)
                else {
                    cx.error("predicate and on_match are required");
                    return None;
                };
                let predicate = cx.field("predicate", |cx| Predicate::lower(predicate, bounds, cx));
                let on_match = cx.field("on_match", |cx| {
                    OnMatch::lower(on_match, bounds, cx, action)
                });
                Some((predicate?, on_match?))
            })
        })
        .collect();
    let list: Option<Box<[_]>> = list.into_iter().collect();
    list.map(Kind::List)
}

impl<A> OnMatch<A> {
    fn find(&self, seen: MatchingData<'_>) -> Option<&A> {
        match self {
            OnMatch::Action(action) => Some(action),
            OnMatch::Matcher(matcher) => matcher.find(seen),
        }
    }

    /// Compiles the field `on_match`, or reports why not.
    fn lower_required(
        message: Option<&proto::matcher::OnMatch>,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        cx.field("on_match", |cx| match message {
            Some(message) => Self::lower(message, bounds, cx, action),
            None => {
                cx.error("is required");
                None
            }
        })
    }

    fn lower(
        message: &proto::matcher::OnMatch,
        bounds: Bounds,
        cx: &mut Cx<'_>,
        action: &mut impl FnMut(&TypedExtensionConfig, &mut Cx<'_>) -> Option<A>,
    ) -> Option<Self> {
        if message.keep_matching {
            cx.error_at(
                "keep_matching",
                "a request has one action: the first that is found ends the search",
            );
            return None;
        }
        match &message.on_match {
            Some(Target::Action(config)) => cx
                .field("action", |cx| action(config, cx))
                .map(OnMatch::Action),
            Some(Target::Matcher(nested)) => cx
                .field("matcher", |cx| {
                    Matcher::lower_within(nested, bounds, cx, action)
                })
                .map(|nested| OnMatch::Matcher(Box::new(nested))),
            None => {
                cx.error("matcher or action is needed");
                None
            }
        }
    }
}

impl Bounds {
    /// Those of what is within: one level less, unless none is left.
    fn deeper(self, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(depth) = self.depth.checked_sub(1) else {
            cx.error(format!(
                "matchers and predicates are nested deeper than {DEPTH_MAX}"
            ));
            return None;
        };
        Some(Bounds { depth, ..self })
    }
}
