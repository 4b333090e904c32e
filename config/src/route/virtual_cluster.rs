//! `envoy.config.route.v3.VirtualCluster`: requests of a virtual host that are
//! counted together, whatever their route.

use super::header_match::HeaderMatcher;
use super::lower::{Lowering, all};
use super::stat_scope::{StatPart, StatScopeId};
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::HeaderMap;
use std::sync::Arc;

/// Where requests are counted that belong to no virtual cluster of a virtual
/// host that has some.
const OTHER: &str = "other";

/// The virtual clusters of a virtual host; the first that matches counts.
#[derive(Debug)]
pub struct VirtualClusters {
    list: Box<[VirtualCluster]>,
    other: StatScopeId,
}

/// A compiled `envoy.config.route.v3.VirtualCluster`.
#[derive(Debug)]
pub struct VirtualCluster {
    /// The name, for access logs.
    pub name: Arc<str>,
    headers: Box<[HeaderMatcher]>,
    stats: StatScopeId,
}

impl VirtualClusters {
    /// Where a request with these headers is counted, and the name of its
    /// virtual cluster; it has none among the others.
    pub fn find(&self, headers: &HeaderMap) -> (StatScopeId, Option<&str>) {
        let found = self.list.iter().find(|cluster| cluster.matches(headers));
        match found {
            Some(cluster) => (cluster.stats, Some(&cluster.name)),
            None => (self.other, None),
        }
    }

    /// Compiles the virtual clusters of a virtual host, or reports why not.
    /// `Some(None)` when it has none.
    pub(super) fn lower(
        messages: &[proto::VirtualCluster],
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Option<Box<Self>>> {
        if messages.is_empty() {
            return Some(None);
        }
        let list = all(messages, "virtual_clusters", cx, |message, cx| {
            VirtualCluster::lower(message, lowering, cx)
        });
        let other = lowering.stat_scope(StatPart::VirtualCluster, OTHER);
        list.map(|list| Some(Box::new(VirtualClusters { list, other })))
    }
}

impl VirtualCluster {
    fn matches(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|matcher| matcher.matches(headers))
    }

    fn lower(
        message: &proto::VirtualCluster,
        lowering: &mut Lowering,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        if message.headers.is_empty() {
            cx.error_at("headers", "a virtual cluster needs at least one");
            return None;
        }
        let headers = all(&message.headers, "headers", cx, HeaderMatcher::lower)?;
        Some(VirtualCluster {
            name: message.name.as_str().into(),
            headers,
            stats: lowering.stat_scope(StatPart::VirtualCluster, &message.name),
        })
    }
}
