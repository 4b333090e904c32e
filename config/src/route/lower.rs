//! `envoy.config.route.v3.RouteConfiguration` to [`RouteConfiguration`]: what
//! spans the whole configuration. Each part is lowered beside its type.
//!
//! Everything that is wrong is reported; the result is `None` when a part
//! could not be compiled.

use super::cluster_specifier_plugin::Plugins;
use super::direct_response::{BodyRecipe, RecipeId};
use super::domains::{DomainIndex, Duplicate};
use super::filter_overrides::FilterOverrides;
use super::header_key::HeaderKey;
use super::header_mutation::Levels;
use super::matched_routes::MatchedRoutes;
use super::request_mirror_policy::{Inherited, RequestMirrorPolicy};
use super::resilience::Resilience;
use super::stat_scope::{StatPart, StatScopeId, StatScopes};
use super::{
    Action, ClusterReference, Route, RouteConfiguration, RouteIndex, RouteMatcher, TlsRequirement,
    VirtualClusters, VirtualHost,
};
use crate::clusters::{ClusterId, SUGGESTIONS_MAX};
use crate::context::{Cx, Source};
use crate::format_strings::FormatStrings;
use crate::metadata::{Metadata, RouteMetadata};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::Duration as ProtoDuration;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// `RouteConfiguration.max_direct_response_body_size_bytes` when it is not
/// set. Bodies live in memory for as long as the configuration.
const DIRECT_RESPONSE_BODY_BYTES_MAX_DEFAULT: u32 = 4096;

/// Compiles a route configuration.
pub fn lower(message: &proto::RouteConfiguration, cx: &mut Cx<'_>) -> Option<RouteConfiguration> {
    let mut lowering = Lowering {
        body_bytes_max: message
            .max_direct_response_body_size_bytes
            .as_ref()
            .map_or(DIRECT_RESPONSE_BODY_BYTES_MAX_DEFAULT, |max| max.value),
        ignore_path_parameters: message.ignore_path_parameters_in_path_matching,
        cluster_references: Vec::new(),
        stat_scopes: StatScopes::default(),
        virtual_host: "".into(),
        formats: FormatStrings::default(),
        plugins: Plugins::lower(&message.cluster_specifier_plugins, cx),
        body_recipes: Vec::new(),
        resilience: Resilience::default(),
        levels: Levels::default(),
        mirror_policies: Inherited::default(),
        filter_overrides: FilterOverrides::default(),
    };
    let entered = lowering.enter_configuration(message, cx);
    let domains = domain_index(message, cx);
    let policies = &message.request_mirror_policies;
    let overrides = &message.typed_per_filter_config;
    let virtual_hosts = FilterOverrides::within(overrides, &mut lowering, cx, |lowering, cx| {
        RequestMirrorPolicy::inherited(policies, lowering, cx, |lowering, cx| {
            all(&message.virtual_hosts, "virtual_hosts", cx, |host, cx| {
                let overrides = &host.typed_per_filter_config;
                FilterOverrides::within(overrides, lowering, cx, |lowering, cx| {
                    VirtualHost::lower(host, lowering, cx)
                })
            })
        })
    });
    check_clusters(message, &lowering, cx);
    entered?;
    Some(RouteConfiguration {
        name: message.name.as_str().into(),
        virtual_hosts: virtual_hosts?,
        domains: domains?,
        ignore_port_in_host_matching: message.ignore_port_in_host_matching,
        vhost_header: HeaderKey::new(match message.vhost_header.as_str() {
            "" => ":authority",
            name => name,
        }),
        internal_only_headers: message
            .internal_only_headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into_bytes().into())
            .collect(),
        cluster_references: lowering.cluster_references.into(),
        stat_scopes: lowering.stat_scopes.into_boxed(),
        formats: lowering.formats,
        body_recipes: lowering.body_recipes.into(),
        filter_overrides: lowering.filter_overrides,
        header_mutations: lowering.levels.table,
        validate_clusters: message.validate_clusters.as_ref().map(|flag| flag.value),
        source: cx.source(),
    })
}

/// What all parts of a route configuration are lowered with.
pub(super) struct Lowering {
    /// `max_direct_response_body_size_bytes`.
    pub(super) body_bytes_max: u32,
    /// `ignore_path_parameters_in_path_matching`.
    pub(super) ignore_path_parameters: bool,
    /// Clusters named so far.
    pub(super) cluster_references: Vec<ClusterReference>,
    /// Places in the statistics so far.
    pub(super) stat_scopes: StatScopes,
    /// The name of the virtual host that is lowered.
    pub(super) virtual_host: Arc<str>,
    /// Format strings so far.
    pub(super) formats: FormatStrings,
    /// `cluster_specifier_plugins`.
    pub(super) plugins: Plugins,
    body_recipes: Vec<BodyRecipe>,
    /// Retries and their like, as far as the virtual host or the route in hand
    /// has said something.
    pub(super) resilience: Resilience,
    /// Header mutations so far.
    pub(super) levels: Levels,
    /// What routes without mirror policies of their own take over.
    pub(super) mirror_policies: Inherited,
    /// What is said to the HTTP filters so far.
    pub(super) filter_overrides: FilterOverrides,
}

impl Lowering {
    /// The number of a cluster that is named here, noted for the check that it
    /// exists.
    pub(super) fn cluster(&mut self, name: &str, cx: &mut Cx<'_>) -> ClusterId {
        let cluster = cx.clusters.id(name);
        self.cluster_references.push(ClusterReference {
            cluster,
            source: cx.source(),
        });
        cluster
    }

    /// Notes a body that the engine has to make.
    pub(super) fn recipe(&mut self, recipe: BodyRecipe) -> RecipeId {
        let id = u32::try_from(self.body_recipes.len()).expect("fewer than 2^32 fit in memory");
        self.body_recipes.push(recipe);
        RecipeId(id)
    }

    /// A place in the statistics of the virtual host that is lowered.
    pub(super) fn stat_scope(&mut self, part: StatPart, name: &str) -> StatScopeId {
        self.stat_scopes.add(&self.virtual_host, part, name)
    }
}

/// Routes of a static route table may only name clusters that exist, unless
/// `validate_clusters` is turned off.
fn check_clusters(message: &proto::RouteConfiguration, lowering: &Lowering, cx: &mut Cx<'_>) {
    let is_off = message.validate_clusters.is_some_and(|flag| !flag.value);
    let Some(known) = cx.known_clusters.filter(|_| !is_off) else {
        return;
    };
    let references = lowering.cluster_references.iter();
    let unknown = references.filter(|reference| !known.has(reference.cluster));
    for (i, reference) in unknown.enumerate() {
        let name = cx.clusters.name(reference.cluster);
        let reason = known.unknown(&name, i < SUGGESTIONS_MAX);
        cx.at(&reference.source.path, |cx| cx.error(reason));
    }
}

/// The domains of all virtual hosts. A domain may occur once.
fn domain_index(message: &proto::RouteConfiguration, cx: &mut Cx<'_>) -> Option<DomainIndex> {
    let mut index = DomainIndex::default();
    let mut first_places: HashMap<String, Source> = HashMap::new();
    let mut names: HashMap<&str, Source> = HashMap::new();
    let mut unique = true;
    for (i, host) in message.virtual_hosts.iter().enumerate() {
        let number = u32::try_from(i).expect("fewer than 2^32 virtual hosts fit in memory");
        cx.index("virtual_hosts", i, |cx| {
            // Envoy takes it, so a file with it must go on working.
            match names.entry(&host.name) {
                Entry::Vacant(place) => {
                    place.insert(cx.source());
                }
                Entry::Occupied(first) => cx.warn_at(
                    "name",
                    format!(
                        "{:?} is the name of {} too ({}): their statistics are one",
                        host.name,
                        first.get().path,
                        first.get()
                    ),
                ),
            }
            for (j, domain) in host.domains.iter().enumerate() {
                cx.index("domains", j, |cx| {
                    let key = domain.to_ascii_lowercase();
                    warn_of_odd_domain(domain, cx);
                    if index.insert(domain, number) == Err(Duplicate) {
                        unique = false;
                        let first = &first_places[&key];
                        cx.error(format!(
                            "domain {domain:?} belongs to {} already ({first})",
                            first.path
                        ));
                    } else {
                        first_places.insert(key, cx.source());
                    }
                });
            }
        });
    }
    unique.then_some(index)
}

impl VirtualHost {
    fn lower(
        message: &proto::VirtualHost,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        lowering.virtual_host = message.name.as_str().into();
        let virtual_clusters = VirtualClusters::lower(&message.virtual_clusters, lowering, cx);
        let resilience = Resilience::of_virtual_host(message, cx);
        let of_host = resilience.clone().unwrap_or_default();
        let entered = lowering.enter_virtual_host(message, cx);
        let metadata = Arc::new(Metadata::from_proto(message.metadata.as_ref()));
        let policies = &message.request_mirror_policies;
        let routes = RequestMirrorPolicy::inherited(policies, lowering, cx, |lowering, cx| {
            let lower_route = |route: &proto::Route, lowering: &mut Lowering, cx: &mut Cx<'_>| {
                lowering.resilience = of_host.with_route(route, cx);
                Route::lower(route, &metadata, lowering, cx)
            };
            let Some(matcher) = &message.matcher else {
                let routes = all(&message.routes, "routes", cx, |route, cx| {
                    lower_route(route, lowering, cx)
                });
                return Some((None, routes?));
            };
            if !message.routes.is_empty() {
                let routes = cx.field("routes", |cx| cx.source());
                cx.error_at(
                    "matcher",
                    format!("a virtual host has routes ({routes}) or a matcher, not both"),
                );
                return None;
            }
            cx.field("matcher", |cx| {
                MatchedRoutes::lower(matcher, lowering, cx, lower_route)
            })
            .map(|(matcher, routes)| (Some(Box::new(matcher)), routes))
        });
        let (matcher, routes) = routes?;
        resilience?;
        entered?;
        let metadata = (!metadata.is_empty()).then(|| {
            Arc::new(RouteMetadata {
                route: Metadata::default(),
                virtual_host: metadata,
            })
        });
        Some(VirtualHost {
            metadata,
            name: Arc::clone(&lowering.virtual_host),
            index: match matcher {
                Some(_) => RouteIndex::default(),
                None => RouteIndex::new(routes.iter().map(|route| &route.matcher)),
            },
            routes,
            matcher,
            require_tls: TlsRequirement::lower(message.require_tls()),
            virtual_clusters: virtual_clusters?,
            source: cx.source(),
        })
    }
}

impl Route {
    fn lower(
        message: &proto::Route,
        virtual_host: &Arc<Metadata>,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let Some(route_match) = &message.r#match else {
            cx.error_at("match", "is required");
            return None;
        };
        let matcher = cx.field("match", |cx| RouteMatcher::lower(route_match, lowering, cx));
        // The action is looked at even when the match is wrong, so that its
        // mistakes show in the same run.
        let path = matcher.as_ref().map(|matcher| &matcher.path);
        let stats = (!message.stat_prefix.is_empty())
            .then(|| lowering.stat_scope(StatPart::Route, &message.stat_prefix));
        let overrides = &message.typed_per_filter_config;
        let (filter_overrides, action) =
            FilterOverrides::within(overrides, lowering, cx, |lowering, cx| {
                let own = lowering.filter_overrides.current();
                (own, Action::lower(message, path, lowering, cx))
            });
        let header_mutations = lowering.header_mutations(message, cx);
        let metadata = Metadata::from_proto(message.metadata.as_ref());
        let has_metadata = !metadata.is_empty() || !virtual_host.is_empty();
        Some(Route {
            name: message.name.as_str().into(),
            action: action?,
            metadata: has_metadata.then(|| {
                Arc::new(RouteMetadata {
                    route: metadata,
                    virtual_host: Arc::clone(virtual_host),
                })
            }),
            filter_overrides,
            header_mutations: lowering.levels.of_route(header_mutations?),
            matcher: matcher?,
            stats,
            source: cx.source(),
        })
    }
}

/// `None` after an error, `Some(None)` when the field is not set,
/// `Some(Some(None))` when it is zero, which turns the limit off.
pub(super) fn duration(
    message: Option<&ProtoDuration>,
    name: &str,
    cx: &mut Cx<'_>,
) -> Option<Option<Option<Duration>>> {
    let Some(message) = message else {
        return Some(None);
    };
    match (u64::try_from(message.seconds), u32::try_from(message.nanos)) {
        (Ok(0), Ok(0)) => Some(Some(None)),
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
            Some(Some(Some(Duration::new(seconds, nanos))))
        }
        _ => {
            cx.error_at(name, "must not be negative");
            None
        }
    }
}

/// Compiles every element, so that all mistakes are reported; `None` if one
/// could not be compiled.
pub(super) fn all<M, T>(
    messages: &[M],
    name: &str,
    cx: &mut Cx<'_>,
    mut lower: impl FnMut(&M, &mut Cx<'_>) -> Option<T>,
) -> Option<Box<[T]>> {
    let compiled: Vec<Option<T>> = messages
        .iter()
        .enumerate()
        .map(|(i, message)| cx.index(name, i, |cx| lower(message, cx)))
        .collect();
    compiled.into_iter().collect()
}

/// Warns of a domain with a star that stands for nothing but a star. Envoy takes
/// it.
fn warn_of_odd_domain(domain: &str, cx: &mut Cx<'_>) {
    let text = match domain.strip_prefix('*') {
        Some(suffix) => suffix,
        None => domain.strip_suffix('*').unwrap_or(domain),
    };
    if text.contains('*') {
        cx.warn(format!(
            "only one star, at the start or the end of a domain, stands for something: \
             {domain:?} wants hosts that are sent with a star"
        ));
    }
}
