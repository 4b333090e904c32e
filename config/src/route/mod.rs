//! Route configurations: which virtual host and route a request belongs to,
//! and what is to be done with it.
//!
//! Start at [`RouteConfiguration::find`]. The compiled types are immutable and
//! shared by all workers; looking a request up allocates nothing and compares
//! no cluster names. [`lower`] builds them from
//! `envoy.config.route.v3.RouteConfiguration`.

mod action;
mod domains;
mod header_match;
mod lower;
mod path_match;
mod query_match;
mod re2;
mod regex;
mod rewrite;
mod string_match;

pub use action::{Action, Forward, PathRedirect, Priority, Redirect, SchemeRedirect};
pub use header_match::HeaderMatcher;
pub use lower::lower;
pub use path_match::PathMatcher;
pub use query_match::QueryParameterMatcher;
pub use regex::CompiledRegex;
pub use rewrite::PathRewrite;
pub use string_match::StringMatcher;

use crate::clusters::ClusterId;
use crate::context::Source;
use domains::DomainIndex;
use ringway_codecs::header::{HeaderId, HeaderMap};
use std::sync::Arc;

/// A compiled `envoy.config.route.v3.RouteConfiguration`.
#[derive(Debug)]
pub struct RouteConfiguration {
    name: Arc<str>,
    virtual_hosts: Box<[VirtualHost]>,
    domains: DomainIndex,
    ignore_port_in_host_matching: bool,
    internal_only_headers: Box<[Box<[u8]>]>,
    cluster_references: Box<[ClusterReference]>,
    validate_clusters: Option<bool>,
}

/// A compiled `envoy.config.route.v3.VirtualHost`: routes in the order in
/// which they are tried.
#[derive(Debug)]
pub struct VirtualHost {
    /// The name, for stats and logs; not necessarily unique.
    pub name: Arc<str>,
    /// The routes; the first that matches is taken.
    pub routes: Box<[Route]>,
}

/// A compiled `envoy.config.route.v3.Route`.
#[derive(Debug)]
pub struct Route {
    /// The name, for access logs; empty when it has none.
    pub name: Arc<str>,
    /// What the path must look like.
    pub path: PathMatcher,
    /// What the headers must look like; all of them.
    pub headers: Box<[HeaderMatcher]>,
    /// What the query parameters must look like; all of them.
    pub query_parameters: Box<[QueryParameterMatcher]>,
    /// What to do with the request.
    pub action: Action,
}

/// A cluster that a route names, and where: for the check that it exists,
/// which needs the whole configuration.
#[derive(Debug, Clone)]
pub struct ClusterReference {
    /// The cluster.
    pub cluster: ClusterId,
    /// Where the route names it.
    pub source: Source,
}

/// What [`RouteConfiguration::find`] found.
#[derive(Debug, Clone, Copy)]
pub enum RouteMatch<'a> {
    /// No virtual host serves this authority.
    NoVirtualHost,
    /// The virtual host has no route for this request.
    NoRoute(&'a VirtualHost),
    /// The first route that matches.
    Route(&'a VirtualHost, &'a Route),
}

impl RouteConfiguration {
    /// The name, which RDS and `/config_dump` use.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The virtual hosts in the order of the configuration.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.virtual_hosts
    }

    /// Lower-case names of headers that external requests may not carry.
    pub fn internal_only_headers(&self) -> &[Box<[u8]>] {
        &self.internal_only_headers
    }

    /// Every cluster that a route names, for the check that it exists.
    pub fn cluster_references(&self) -> &[ClusterReference] {
        &self.cluster_references
    }

    /// Whether unknown clusters are an error: `validate_clusters`, whose
    /// default is true for a configuration in the bootstrap file and false for
    /// one that comes over RDS.
    pub fn validate_clusters(&self) -> Option<bool> {
        self.validate_clusters
    }

    /// Picks the virtual host by `:authority`, then its first route that
    /// matches. `rng` is a random number for this request, which decides
    /// fractional matches.
    pub fn find(&self, headers: &HeaderMap, rng: u64) -> RouteMatch<'_> {
        let Some(host) = self.virtual_host(headers) else {
            return RouteMatch::NoVirtualHost;
        };
        match host.routes.iter().find(|route| route.matches(headers, rng)) {
            Some(route) => RouteMatch::Route(host, route),
            None => RouteMatch::NoRoute(host),
        }
    }

    /// The virtual host that serves the request's `:authority`.
    pub fn virtual_host(&self, headers: &HeaderMap) -> Option<&VirtualHost> {
        let mut authority = headers.get(HeaderId::Authority).unwrap_or_default();
        if self.ignore_port_in_host_matching
            && let Some(port) = port_start(authority)
        {
            authority = &authority[..port];
        }
        let index = self.domains.find(authority)?;
        self.virtual_hosts.get(index as usize)
    }
}

impl Route {
    /// Whether the request belongs to this route.
    pub fn matches(&self, headers: &HeaderMap, _rng: u64) -> bool {
        // A plain CONNECT has no path, so no route that looks at one fits.
        let Some(path_and_query) = headers.get(HeaderId::Path) else {
            return false;
        };
        let path = without_query(path_and_query);
        self.path.matches(path)
            && self.headers.iter().all(|matcher| matcher.matches(headers))
            && self
                .query_parameters
                .iter()
                .all(|matcher| matcher.matches(path_and_query))
    }
}

/// Where the port (with its colon) begins in an authority. The colons inside
/// an IPv6 literal's brackets do not count.
pub fn port_start(authority: &[u8]) -> Option<usize> {
    let colon = memchr::memrchr(b':', authority)?;
    match memchr::memrchr(b']', authority) {
        Some(bracket) if bracket > colon => None,
        _ => Some(colon),
    }
}

/// A path without its query string and fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}

#[cfg(test)]
mod tests;
