//! `envoy.config.route.v3.RouteMatch`: which requests belong to a route.

use super::header_match::HeaderMatcher;
use super::lower::all;
use super::path_match::PathMatcher;
use super::query_match::QueryParameterMatcher;
use crate::context::Cx;
use crate::filter_state::{FilterState, FilterStateMatcher};
use crate::metadata::Metadata;
use crate::metadata_match::MetadataMatcher;
use crate::runtime::RuntimeValues;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// What a request is matched by.
#[derive(Clone, Copy)]
pub struct MatchInput<'a> {
    /// Its headers, pseudo headers included.
    pub headers: &'a HeaderMap,
    /// A random number, one for the whole request: it decides fractions and
    /// weighted clusters.
    pub random: u64,
    /// The current runtime values.
    pub runtime: &'a RuntimeValues,
    /// What filters have said of the request.
    pub metadata: &'a Metadata,
    /// What filters have left for others.
    pub filter_state: &'a FilterState,
}

/// A compiled `envoy.config.route.v3.RouteMatch`; everything in it must pass.
#[derive(Debug)]
pub struct RouteMatcher {
    /// What the path must look like.
    pub path: PathMatcher,
    /// What the headers must look like.
    pub headers: Box<[HeaderMatcher]>,
    /// What the query parameters must look like.
    pub query_parameters: Box<[QueryParameterMatcher]>,
    /// What filters must have said of the request.
    pub dynamic_metadata: Box<[MetadataMatcher]>,
    /// What filters must have left for others.
    pub filter_state: Box<[FilterStateMatcher]>,
}

impl RouteMatcher {
    /// Whether the request passes.
    pub fn matches(&self, input: &MatchInput<'_>) -> bool {
        // A plain CONNECT has no path, so no route that looks at one fits.
        let Some(path_and_query) = input.headers.get(HeaderId::Path) else {
            return false;
        };
        self.path.matches(without_query(path_and_query))
            && self
                .headers
                .iter()
                .all(|matcher| matcher.matches(input.headers))
            && self
                .query_parameters
                .iter()
                .all(|matcher| matcher.matches(path_and_query))
            && self
                .dynamic_metadata
                .iter()
                .all(|matcher| matcher.matches(input.metadata))
            && self
                .filter_state
                .iter()
                .all(|matcher| matcher.matches(input.filter_state))
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::RouteMatch, cx: &mut Cx<'_>) -> Option<Self> {
        let path = PathMatcher::lower(message, cx);
        let headers = all(&message.headers, "headers", cx, HeaderMatcher::lower);
        let query_parameters = all(
            &message.query_parameters,
            "query_parameters",
            cx,
            QueryParameterMatcher::lower,
        );
        let dynamic_metadata = all(
            &message.dynamic_metadata,
            "dynamic_metadata",
            cx,
            MetadataMatcher::lower,
        );
        let filter_state = all(
            &message.filter_state,
            "filter_state",
            cx,
            FilterStateMatcher::lower,
        );
        Some(RouteMatcher {
            path: path?,
            headers: headers?,
            query_parameters: query_parameters?,
            dynamic_metadata: dynamic_metadata?,
            filter_state: filter_state?,
        })
    }
}

/// A path without its query string and fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}
