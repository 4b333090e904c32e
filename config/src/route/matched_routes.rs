//! `VirtualHost.matcher`: routes that a matcher leads to instead of a list
//! that is tried from its start.

use super::lower::{Lowering, all};
use super::route_match::MatchInput;
use super::{Route, RouteIndex};
use crate::context::{Cx, type_name, unpack};
use crate::matcher::{Inputs, Matcher, MatchingData};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher as ProtoMatcher;
use prost::Name as _;
use std::ops::Range;

/// The matcher of a virtual host, which keeps the routes of all its actions in
/// one list.
#[derive(Debug)]
pub struct MatchedRoutes {
    matcher: Matcher<Choice>,
}

/// An action: a route, or a list of which the first that matches is taken.
#[derive(Debug)]
struct Choice {
    /// Where in the virtual host's list.
    routes: Range<usize>,
    index: RouteIndex,
}

impl MatchedRoutes {
    /// The route of the virtual host's `routes` that the request is led to, if
    /// it matches. Where it does not, the request has no route: no other
    /// action is looked for, as in Envoy.
    pub(super) fn find<'r>(
        &self,
        routes: &'r [Route],
        input: &MatchInput<'_>,
    ) -> Option<&'r Route> {
        let choice = self.matcher.find(MatchingData::new(input.headers, None))?;
        choice.index.find(
            &routes[choice.routes.clone()],
            input,
            |route| &route.matcher,
            |route| route.action.is_available(input),
        )
    }

    /// Compiles the matcher and its routes, or reports why not. `lower_route`
    /// compiles a route.
    pub(super) fn lower(
        message: &ProtoMatcher,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
        mut lower_route: impl FnMut(&proto::Route, &mut Lowering, &mut Cx<'_>) -> Option<Route>,
    ) -> Option<(Self, Box<[Route]>)> {
        let mut routes = Vec::new();
        // Envoy lets these routes name clusters that do not exist, also where
        // it validates those of a list.
        let validated = lowering.cluster_references.len();
        let matcher = Matcher::lower(message, Inputs::Request, cx, &mut |action, cx| {
            let Some(any) = &action.typed_config else {
                cx.error_at("typed_config", "is required");
                return None;
            };
            let own = cx.field("typed_config", |cx| {
                lower_action(any, cx, |route, cx| lower_route(route, lowering, cx))
            })?;
            let index = RouteIndex::new(own.iter().map(|route| &route.matcher));
            let start = routes.len();
            routes.extend(own);
            Some(Choice {
                routes: start..routes.len(),
                index,
            })
        });
        lowering.cluster_references.truncate(validated);
        Some((MatchedRoutes { matcher: matcher? }, routes.into()))
    }
}

fn lower_action(
    any: &Any,
    cx: &mut Cx<'_>,
    mut lower_route: impl FnMut(&proto::Route, &mut Cx<'_>) -> Option<Route>,
) -> Option<Box<[Route]>> {
    let given = type_name(&any.type_url);
    if given == proto::RouteList::full_name() {
        let list: proto::RouteList = unpack(any, cx)?;
        return all(&list.routes, "routes", cx, lower_route);
    }
    if given != proto::Route::full_name() {
        cx.error(format!(
            "the action must be an {} or an {}, not {given}",
            proto::Route::full_name(),
            proto::RouteList::full_name()
        ));
        return None;
    }
    let route: proto::Route = unpack(any, cx)?;
    lower_route(&route, cx).map(|route| [route].into())
}
