//! `envoy.config.route.v3.RouteConfiguration` to [`RouteConfiguration`]: what
//! spans the whole configuration. Each part is lowered beside its type.
//!
//! Everything that is wrong is reported; the result is `None` when a part
//! could not be compiled.

use super::domains::{DomainIndex, Duplicate};
use super::request_mirror_policy::{Inherited, RequestMirrorPolicy};
use super::{Action, ClusterReference, Route, RouteConfiguration, RouteMatcher, VirtualHost};
use crate::clusters::ClusterId;
use crate::context::{Cx, Source};
use crate::format_strings::FormatStrings;
use crate::metadata::{Metadata, RouteMetadata};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::google::protobuf::Duration as ProtoDuration;
use std::collections::HashMap;
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
        cluster_references: Vec::new(),
        formats: FormatStrings::default(),
        mirror_policies: Inherited::default(),
    };
    let domains = domain_index(message, cx);
    let policies = &message.request_mirror_policies;
    let virtual_hosts =
        RequestMirrorPolicy::inherited(policies, &mut lowering, cx, |lowering, cx| {
            all(&message.virtual_hosts, "virtual_hosts", cx, |host, cx| {
                VirtualHost::lower(host, lowering, cx)
            })
        });
    Some(RouteConfiguration {
        name: message.name.as_str().into(),
        virtual_hosts: virtual_hosts?,
        domains: domains?,
        ignore_port_in_host_matching: message.ignore_port_in_host_matching,
        internal_only_headers: message
            .internal_only_headers
            .iter()
            .map(|name| name.to_ascii_lowercase().into_bytes().into())
            .collect(),
        cluster_references: lowering.cluster_references.into(),
        formats: lowering.formats,
        validate_clusters: message.validate_clusters.as_ref().map(|flag| flag.value),
        source: cx.source(),
    })
}

/// What all parts of a route configuration are lowered with.
pub(super) struct Lowering {
    /// `max_direct_response_body_size_bytes`.
    pub(super) body_bytes_max: u32,
    /// Clusters named so far.
    pub(super) cluster_references: Vec<ClusterReference>,
    /// Format strings so far.
    pub(super) formats: FormatStrings,
    /// What routes without mirror policies of their own take over.
    pub(super) mirror_policies: Inherited,
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
}

/// The domains of all virtual hosts. A domain may occur once.
fn domain_index(message: &proto::RouteConfiguration, cx: &mut Cx<'_>) -> Option<DomainIndex> {
    let mut index = DomainIndex::default();
    let mut first_places: HashMap<String, Source> = HashMap::new();
    let mut unique = true;
    for (i, host) in message.virtual_hosts.iter().enumerate() {
        let number = u32::try_from(i).expect("fewer than 2^32 virtual hosts fit in memory");
        cx.index("virtual_hosts", i, |cx| {
            for (j, domain) in host.domains.iter().enumerate() {
                cx.index("domains", j, |cx| {
                    let key = domain.to_ascii_lowercase();
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
        let metadata = Arc::new(Metadata::from_proto(message.metadata.as_ref()));
        let policies = &message.request_mirror_policies;
        let routes = RequestMirrorPolicy::inherited(policies, lowering, cx, |lowering, cx| {
            all(&message.routes, "routes", cx, |route, cx| {
                Route::lower(route, &metadata, lowering, cx)
            })
        })?;
        Some(VirtualHost {
            name: message.name.as_str().into(),
            routes,
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
        let matcher = cx.field("match", |cx| RouteMatcher::lower(route_match, cx));
        // The action is looked at even when the match is wrong, so that its
        // mistakes show in the same run.
        let path = matcher.as_ref().map(|matcher| &matcher.path);
        let action = Action::lower(message, path, lowering, cx);
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
            matcher: matcher?,
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
