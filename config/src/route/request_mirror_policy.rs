//! `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`: where a copy of a
//! request goes.
//!
//! A route's own policies replace those of its virtual host, which replace
//! those of the route configuration; nothing is added up.

use super::ClusterReference;
use super::HeaderMutation;
use super::header_key::HeaderKey;
use super::lower::{Lowering, all};
use crate::clusters::ClusterId;
use crate::context::{Cx, Source};
use crate::format_strings::FormatStrings;
use crate::runtime::RuntimeFraction;
use envoy_types::pb::envoy::config::route::v3::route_action::RequestMirrorPolicy as Proto;
use std::sync::Arc;

/// A compiled `RequestMirrorPolicy`: copies of some requests go to one cluster.
#[derive(Debug)]
pub struct RequestMirrorPolicy {
    /// Where the copies go.
    pub target: MirrorTarget,
    /// Which requests are copied; `None` is all.
    pub fraction: Option<RuntimeFraction>,
    /// The authority of the copies.
    pub host: MirrorHost,
    /// Changes of the copies' headers, before anything else is done to them.
    pub header_mutations: Box<[HeaderMutation]>,
    /// Where it was configured.
    pub source: Source,
}

/// The cluster that copies go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorTarget {
    /// `cluster`
    Cluster(ClusterId),
    /// `cluster_header`: the lower-case name of the header whose first value
    /// names the cluster. A request without it is not copied.
    Header(Box<[u8]>),
}

/// The authority of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorHost {
    /// The request's, with `-shadow` behind the host.
    Suffixed,
    /// The request's.
    AsIs,
    /// `host_rewrite_literal`
    Literal(Box<[u8]>),
}

/// The policies of a level of the configuration, shared by its routes.
pub type RequestMirrorPolicies = Arc<[RequestMirrorPolicy]>;

/// The policies of a level above the routes, while these are lowered.
#[derive(Default)]
pub(super) struct Inherited {
    policies: Option<RequestMirrorPolicies>,
    /// A route has taken them over: only then must their clusters exist.
    used: bool,
}

impl RequestMirrorPolicy {
    fn lower(message: &Proto, formats: &mut FormatStrings, cx: &mut Cx<'_>) -> Option<Self> {
        let target = match (message.cluster.as_str(), message.cluster_header.as_str()) {
            ("", "") => {
                cx.error("one of cluster and cluster_header is needed");
                None
            }
            (name, "") => Some(MirrorTarget::Cluster(cx.clusters.id(name))),
            ("", header) => {
                HeaderKey::warn_of_odd("cluster_header", header, cx);
                Some(MirrorTarget::Header(
                    header.to_ascii_lowercase().into_bytes().into(),
                ))
            }
            (cluster, _) => {
                cx.error_at(
                    "cluster_header",
                    format!("only one of cluster (here {cluster:?}) and cluster_header may be set"),
                );
                None
            }
        };
        let mutations = &message.request_headers_mutations;
        let header_mutations = all(mutations, "request_headers_mutations", cx, |one, cx| {
            HeaderMutation::lower_request(one, formats, cx)
        });
        let fraction = message.runtime_fraction.as_ref();
        Some(RequestMirrorPolicy {
            target: target?,
            fraction: fraction.map(|fraction| {
                cx.field("runtime_fraction", |cx| {
                    RuntimeFraction::lower(fraction, cx)
                })
            }),
            host: match message.host_rewrite_literal.as_str() {
                "" if message.disable_shadow_host_suffix_append => MirrorHost::AsIs,
                "" => MirrorHost::Suffixed,
                host => MirrorHost::Literal(host.as_bytes().into()),
            },
            header_mutations: header_mutations?,
            source: cx.source(),
        })
    }

    fn all(messages: &[Proto], lowering: &mut Lowering, cx: &mut Cx<'_>) -> Option<Box<[Self]>> {
        all(messages, FIELD, cx, |message, cx| {
            Self::lower(message, &mut lowering.formats, cx)
        })
    }

    /// Compiles the policies of a cluster. As in Envoy their clusters need not
    /// exist; nothing is copied to one that does not.
    pub(crate) fn of_cluster(messages: &[Proto], cx: &mut Cx<'_>) -> Option<RequestMirrorPolicies> {
        let own = all(messages, FIELD, cx, |message, cx| {
            // Format strings are numbered by route configurations.
            if !message.request_headers_mutations.is_empty() {
                cx.error_at(
                    "request_headers_mutations",
                    "not supported for a cluster yet; the policies of a route may have them",
                );
                return None;
            }
            Self::lower(message, &mut FormatStrings::default(), cx)
        });
        own.map(Into::into)
    }

    /// Compiles the policies of a route: its own, or else those it inherits.
    pub(super) fn of_route(
        messages: &[Proto],
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Option<RequestMirrorPolicies>> {
        if messages.is_empty() {
            let inherited = &mut lowering.mirror_policies;
            inherited.used = true;
            return Some(inherited.policies.clone());
        }
        let own = Self::all(messages, lowering, cx)?;
        note_clusters(&own, lowering, cx);
        Some(Some(own.into()))
    }

    /// Runs `routes` with the policies of the level that they are in.
    pub(super) fn inherited<T>(
        messages: &[Proto],
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
        routes: impl FnOnce(&mut Lowering, &mut Cx<'_>) -> Option<T>,
    ) -> Option<T> {
        if messages.is_empty() {
            return routes(lowering, cx);
        }
        let own = Self::all(messages, lowering, cx);
        let good = own.is_some();
        let level = Inherited {
            policies: own.map(Into::into),
            used: false,
        };
        let outer = std::mem::replace(&mut lowering.mirror_policies, level);
        let result = routes(lowering, cx);
        let level = std::mem::replace(&mut lowering.mirror_policies, outer);
        if level.used
            && let Some(policies) = &level.policies
        {
            note_clusters(policies, lowering, cx);
        }
        result.filter(|_| good)
    }
}

/// Notes the clusters of policies that are used, for the check that they exist.
fn note_clusters(policies: &[RequestMirrorPolicy], lowering: &mut Lowering, cx: &mut Cx<'_>) {
    for policy in policies {
        if let MirrorTarget::Cluster(cluster) = policy.target {
            let source = cx.at(&policy.source.path, |cx| {
                cx.field("cluster", |cx| cx.source())
            });
            lowering
                .cluster_references
                .push(ClusterReference { cluster, source });
        }
    }
}

const FIELD: &str = "request_mirror_policies";
