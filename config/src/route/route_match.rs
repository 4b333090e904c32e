//! `envoy.config.route.v3.RouteMatch`: which requests belong to a route.

use super::header_match::HeaderMatcher;
use super::lower::all;
use super::path_match::PathMatcher;
use super::query_match::QueryParameterMatcher;
use crate::context::Cx;
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
}

impl RouteMatcher {
    /// Whether the request passes.
    pub fn matches(&self, input: &MatchInput<'_>) -> bool {
        let path_and_query = input.headers.get(HeaderId::Path);
        let path_fits = match path_and_query {
            Some(path) => self.path.matches(without_query(path)),
            // A plain CONNECT has no path, so no route that looks at one fits.
            None => matches!(self.path, PathMatcher::Connect),
        };
        path_fits
            && self
                .headers
                .iter()
                .all(|matcher| matcher.matches(input.headers))
            && self
                .query_parameters
                .iter()
                .all(|matcher| matcher.matches(path_and_query.unwrap_or_default()))
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
        Some(RouteMatcher {
            path: path?,
            headers: headers?,
            query_parameters: query_parameters?,
        })
    }
}

/// A path without its query string and fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}
