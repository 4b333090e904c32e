//! Route configurations: which virtual host and route a request belongs to,
//! and what is to be done with it.
//!
//! Start at [`RouteConfiguration::find`]. The compiled types are immutable and
//! shared by all workers; looking a request up allocates nothing and compares
//! no cluster names. [`lower`] builds them from
//! `envoy.config.route.v3.RouteConfiguration`.

mod action;
mod cluster_specifier;
mod cluster_specifier_plugin;
mod cookie_match;
mod direct_response;
mod domains;
mod filter_overrides;
mod hash_policy;
mod header_key;
mod header_match;
mod header_mutation;
mod host_rewrite;
mod index;
mod internal_redirect_policy;
mod lower;
mod matched_routes;
mod metadata_match;
mod mismatch;
mod mutation_rules;
mod path_match;
mod path_tree;
mod query_match;
mod re2;
mod redirect;
mod regex;
mod request_mirror_policy;
mod request_path;
mod resilience;
mod retry_policy;
mod rewrite;
mod route_match;
pub(crate) mod scratch;
mod stat_scope;
mod string_match;
mod tls_requirement;
mod upgrade;
mod uri_template;
mod virtual_cluster;
mod weighted_clusters;

pub use action::{Action, Forward, GrpcTimeout, Priority};
pub use cluster_specifier::{ClusterChoice, ClusterSpecifier};
pub use cluster_specifier_plugin::Plugin;
pub use cookie_match::CookieMatcher;
pub use direct_response::{Body, BodyRecipe, BodyText, DirectResponse, RecipeId, check_size};
pub use filter_overrides::{
    FilterOverride, FilterOverrides, OverrideConfig, OverrideName, OverrideSet, OverridesId,
};
pub use hash_policy::{HashCookie, HashInput, HashPolicies, HashPolicy};
pub use header_key::HeaderKey;
pub use header_match::HeaderMatcher;
pub use header_mutation::{
    AppendAction, HeaderChanges, HeaderMutations, HeaderToAdd, HeaderValue, MutableName,
    MutationLevels, MutationTable, MutationsId,
};
pub use host_rewrite::HostRewrite;
pub use index::RouteIndex;
pub use internal_redirect_policy::{InternalRedirectPolicy, RedirectPredicate};
pub use lower::lower;
pub use matched_routes::MatchedRoutes;
pub use metadata_match::SubsetCriteria;
pub use mismatch::Mismatch;
pub use mutation_rules::HeaderMutation;
pub use path_match::PathMatcher;
pub use query_match::QueryParameterMatcher;
pub use redirect::{PathRedirect, Redirect, SchemeRedirect};
pub use regex::{CompiledRegex, Substitution, compile_search};
pub use request_mirror_policy::{
    MirrorHost, MirrorTarget, RequestMirrorPolicies, RequestMirrorPolicy,
};
pub use request_path::without_query;
pub use resilience::{BodyLimit, Resilience};
pub use retry_policy::{
    BackOff, HostPredicate, RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy,
    RetryPriority, words,
};
pub use rewrite::{PathRewrite, Rewriting, escape_path};
pub use route_match::{MatchInput, PeerCertificate, RouteMatcher, TlsContextMatcher};
pub use stat_scope::{StatPart, StatScope, StatScopeId};
pub use string_match::{Case, StringMatcher};
pub use tls_requirement::TlsRequirement;
pub use upgrade::{ConnectConfig, RouteUpgrade, RouteUpgrades};
pub use uri_template::{PathTemplate, TemplateRewrite};
pub use virtual_cluster::{VirtualCluster, VirtualClusters};
pub use weighted_clusters::{Draw, WeightedCluster, WeightedClusters, WeightedName};

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
    vhost_header: HeaderKey,
    internal_only_headers: Box<[Box<[u8]>]>,
    cluster_references: Box<[ClusterReference]>,
    stat_scopes: Box<[StatScope]>,
    formats: FormatStrings,
    body_recipes: Box<[BodyRecipe]>,
    filter_overrides: FilterOverrides,
    header_mutations: MutationTable,
    validate_clusters: Option<bool>,
    source: Source,
}

/// A compiled `envoy.config.route.v3.VirtualHost`: routes in the order in
/// which they are tried.
#[derive(Debug)]
pub struct VirtualHost {
    /// The name, for stats and logs; not necessarily unique.
    pub name: Arc<str>,
    /// Its metadata, if it has some.
    pub metadata: Option<Arc<RouteMetadata>>,
    /// The routes; the first that matches is taken, unless there is a matcher.
    pub routes: Box<[Route]>,
    /// What leads to one of the routes instead of their order.
    pub matcher: Option<Box<MatchedRoutes>>,
    /// Which of its requests are redirected to `https`.
    pub require_tls: TlsRequirement,
    /// How its requests are counted, if it has virtual clusters.
    pub virtual_clusters: Option<Box<VirtualClusters>>,
    index: RouteIndex,
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
    /// Where its requests are counted, if it has a `stat_prefix`.
    pub stats: Option<StatScopeId>,
    /// What it says to the HTTP filters, with what it inherits.
    pub filter_overrides: OverridesId,
    /// How its headers and its response's change.
    pub header_mutations: MutationLevels,
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
    /// The virtual host wants TLS for this request.
    TlsRequired(&'a VirtualHost),
    /// The virtual host has no route for this request.
    NoRoute(&'a VirtualHost),
    /// The first route that matches.
    Route(SelectedRoute<'a>),
}

impl<'a> RouteMatch<'a> {
    /// The metadata of what was found: a route's, with those of its virtual
    /// host, or else a virtual host's.
    pub fn metadata(&self) -> Option<&'a Arc<RouteMetadata>> {
        match self {
            RouteMatch::Route(selected) => selected.route.metadata.as_ref(),
            RouteMatch::NoRoute(host) | RouteMatch::TlsRequired(host) => host.metadata.as_ref(),
            RouteMatch::NoVirtualHost => None,
        }
    }
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

    /// Where requests are counted by route, by [`StatScopeId`].
    pub fn stat_scopes(&self) -> &[StatScope] {
        &self.stat_scopes
    }

    /// Format strings of its parts, for the engine to compile.
    pub fn formats(&self) -> &FormatStrings {
        &self.formats
    }

    /// Bodies of direct responses, by number, for the engine to make.
    pub fn body_recipes(&self) -> &[BodyRecipe] {
        &self.body_recipes
    }

    /// What its parts say to the HTTP filters, for the engine to compile.
    pub fn filter_overrides(&self) -> &FilterOverrides {
        &self.filter_overrides
    }

    /// How headers change, at every place of the configuration.
    pub fn header_mutations(&self) -> &MutationTable {
        &self.header_mutations
    }

    /// Where it was configured.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Picks the virtual host by its domains, then its first route that
    /// matches, or the one that its matcher leads to.
    pub fn find(&self, input: &MatchInput<'_>) -> RouteMatch<'_> {
        let Some(virtual_host) = self.virtual_host(input.headers) else {
            return RouteMatch::NoVirtualHost;
        };
        // As in Envoy, which wants to know by what scheme the client came.
        if input.headers.get(HeaderId::XForwardedProto) == Some(b"") {
            return RouteMatch::NoRoute(virtual_host);
        }
        if virtual_host.require_tls.is_broken_by(input.headers) {
            return RouteMatch::TlsRequired(virtual_host);
        }
        let routes = &virtual_host.routes;
        let found = match &virtual_host.matcher {
            Some(matcher) => matcher.find(routes, input),
            None => virtual_host.index.find(
                routes,
                input,
                |route| &route.matcher,
                |route| route.action.is_available(input),
            ),
        };
        match found {
            Some(route) => RouteMatch::Route(SelectedRoute {
                configuration: self,
                virtual_host,
                route,
            }),
            None => RouteMatch::NoRoute(virtual_host),
        }
    }

    /// The virtual host that serves the request's `:authority`, or what
    /// `vhost_header` has in its place. A request without it is served only
    /// where nothing but `*` is a domain, as in Envoy.
    pub fn virtual_host(&self, headers: &HeaderMap) -> Option<&VirtualHost> {
        if let Some(only) = self.domains.only_any() {
            return self.virtual_hosts.get(only as usize);
        }
        let mut authority = self.vhost_header.first(headers)?;
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
