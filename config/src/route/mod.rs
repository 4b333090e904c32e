//! Route configurations: which virtual host and route a request belongs to,
//! and what is to be done with it.
//!
//! Start at [`RouteConfiguration::find`]. The compiled types are immutable and
//! shared by all workers; looking a request up allocates nothing and compares
//! no cluster names. [`lower`] builds them from
//! `envoy.config.route.v3.RouteConfiguration`.

mod action;
mod direct_response;
mod domains;
mod header_match;
mod lower;
mod mismatch;
mod path_match;
mod query_match;
mod re2;
mod redirect;
mod regex;
mod request_mirror_policy;
mod rewrite;
mod route_match;
mod string_match;

pub use action::{Action, Forward, Priority};
pub use direct_response::DirectResponse;
pub use header_match::HeaderMatcher;
pub use lower::lower;
pub use mismatch::Mismatch;
pub use path_match::PathMatcher;
pub use query_match::QueryParameterMatcher;
pub use redirect::{PathRedirect, Redirect, SchemeRedirect};
pub use regex::{CompiledRegex, Substitution};
pub use request_mirror_policy::{
    MirrorHost, MirrorTarget, RequestMirrorPolicies, RequestMirrorPolicy,
};
pub use rewrite::PathRewrite;
pub use route_match::{MatchInput, RouteMatcher, without_query};
pub use string_match::StringMatcher;

use crate::clusters::ClusterId;
use crate::context::Source;
use crate::format_strings::FormatStrings;
use crate::metadata::RouteMetadata;
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
    formats: FormatStrings,
    validate_clusters: Option<bool>,
    source: Source,
}

/// A compiled `envoy.config.route.v3.VirtualHost`: routes in the order in
/// which they are tried.
#[derive(Debug)]
pub struct VirtualHost {
    /// The name, for stats and logs; not necessarily unique.
    pub name: Arc<str>,
    /// The routes; the first that matches is taken.
    pub routes: Box<[Route]>,
    /// Where it was configured.
    pub source: Source,
}

/// A compiled `envoy.config.route.v3.Route`.
#[derive(Debug)]
pub struct Route {
    /// The name, for access logs; empty when it has none.
    pub name: Arc<str>,
    /// Which requests belong to it.
    pub matcher: RouteMatcher,
    /// What to do with the request.
    pub action: Action,
    /// Its metadata and that of its virtual host, if either has some.
    pub metadata: Option<Arc<RouteMetadata>>,
    /// Where it was configured.
    pub source: Source,
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
    Route(SelectedRoute<'a>),
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub struct SelectedRoute<'a> {
    /// The configuration that it is in.
    pub configuration: &'a RouteConfiguration,
    /// The virtual host that it is in.
    pub virtual_host: &'a VirtualHost,
    /// The route.
    pub route: &'a Route,
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

    /// Format strings of its parts, for the engine to compile.
    pub fn formats(&self) -> &FormatStrings {
        &self.formats
    }

    /// Where it was configured.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Picks the virtual host by `:authority`, then its first route that
    /// matches.
    pub fn find(&self, input: &MatchInput<'_>) -> RouteMatch<'_> {
        let Some(virtual_host) = self.virtual_host(input.headers) else {
            return RouteMatch::NoVirtualHost;
        };
        let mut routes = virtual_host.routes.iter();
        match routes.find(|route| route.matcher.matches(input)) {
            Some(route) => RouteMatch::Route(SelectedRoute {
                configuration: self,
                virtual_host,
                route,
            }),
            None => RouteMatch::NoRoute(virtual_host),
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

/// Where the port (with its colon) begins in an authority. The colons inside
/// an IPv6 literal's brackets do not count.
pub fn port_start(authority: &[u8]) -> Option<usize> {
    let colon = memchr::memrchr(b':', authority)?;
    match memchr::memrchr(b']', authority) {
        Some(bracket) if bracket > colon => None,
        _ => Some(colon),
    }
}

#[cfg(test)]
mod tests;
