//! Hosts that somebody else names while the proxy runs
//! (`envoy.config.cluster.v3.Cluster.EdsClusterConfig`). Compiled type on top,
//! lowering, then the reading of what was named.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;

use crate::config_source::PathSource;
use crate::context::{Cx, type_name, unpack};
use crate::core;
use crate::diagnostics::Diagnostics;
use crate::endpoint::{self, Assignment};
use crate::happy_eyeballs::HappyEyeballs;
use crate::load::{self, Refused};
use crate::names::Names;

/// How the hosts of an EDS cluster are named.
#[derive(Clone, Debug, PartialEq)]
pub struct Eds {
    /// The `cluster_name` of the assignment that is meant: the cluster's
    /// `service_name`, or its own name.
    pub name: Arc<str>,
    /// Where it is.
    pub source: PathSource,
    order: HappyEyeballs,
}

/// What a source says.
#[derive(Debug)]
pub struct Response {
    /// `version_info`.
    pub version: Arc<str>,
    /// The assignment, if there is one: a source may know of none yet.
    pub assignment: Option<EdsAssignment>,
    /// What has no effect.
    pub warnings: Diagnostics,
}

/// The hosts that were named.
#[derive(Debug)]
pub struct EdsAssignment {
    /// They.
    pub hosts: Assignment,
    /// They are gone this long after they were named, unless they are named
    /// again.
    pub stale_after: Option<Duration>,
}

/// Lowers what a cluster says of EDS, which only one of that type may.
pub(crate) fn lower(proto: &pb::Cluster, cx: &mut Cx<'_>) -> Option<Eds> {
    let Some(config) = &proto.eds_cluster_config else {
        cx.error("a cluster of type EDS needs an eds_cluster_config");
        return None;
    };
    cx.field("eds_cluster_config", |cx| {
        let source = match &config.eds_config {
            Some(source) => cx.field("eds_config", |cx| PathSource::lower(source, cx))?,
            None => {
                cx.error("an eds_config is needed here");
                return None;
            }
        };
        Some(Eds {
            name: match config.service_name.as_str() {
                "" => proto.name.as_str().into(),
                name => name.into(),
            },
            source,
            order: HappyEyeballs::of_cluster(proto),
        })
    })
}

impl Eds {
    /// Reads what the source says now. `names` are those of the snapshot that
    /// the cluster is in.
    pub fn read(&self, names: &Names) -> Result<Response, Refused> {
        let loaded = load::load_resource::<DiscoveryResponse>(&self.source.path)?;
        let mut found = loaded.diagnostics;
        let mut cx = Cx::new(&mut found, &loaded.marks, loaded.file, names);
        let assignment = self.assignment(&loaded.message.resources, &mut cx);
        if found.has_errors() {
            return Err(Refused::Content(found));
        }
        Ok(Response {
            version: loaded.message.version_info.into(),
            assignment,
            warnings: found,
        })
    }

    fn assignment(&self, resources: &[Any], cx: &mut Cx<'_>) -> Option<EdsAssignment> {
        if resources.len() > 1 {
            let reason = format!("{} resources, one assignment is expected", resources.len());
            cx.error_at("resources", reason);
            return None;
        }
        let resource = resources.first()?;
        cx.index("resources", 0, |cx| match type_name(&resource.type_url) {
            RESOURCE => {
                let wrapper = unpack::<Resource>(resource, cx)?;
                let inner = wrapper.resource.as_ref()?;
                cx.field("resource", |cx| self.one(inner, cx))
            }
            _ => self.one(resource, cx),
        })
    }

    fn one(&self, resource: &Any, cx: &mut Cx<'_>) -> Option<EdsAssignment> {
        let name = type_name(&resource.type_url);
        if name != ASSIGNMENT {
            cx.error(format!("{name} is not an assignment of hosts"));
            return None;
        }
        let proto = unpack::<ClusterLoadAssignment>(resource, cx)?;
        if proto.cluster_name != *self.name {
            let reason = format!("{:?} is not {:?}", proto.cluster_name, self.name);
            cx.error_at("cluster_name", reason);
        }
        let policy = proto.policy.as_ref();
        let stale_after = policy.and_then(|policy| {
            cx.field("policy", |cx| {
                core::duration(policy.endpoint_stale_after, "endpoint_stale_after", cx)
            })
        });
        let mut hosts = endpoint::lower(&proto, self.order, cx);
        // As in Envoy, which has an address but once in a cluster of this type.
        let mut known = HashSet::new();
        hosts.hosts = (hosts.hosts.iter())
            .filter(|host| known.insert(&host.address))
            .cloned()
            .collect();
        Some(EdsAssignment {
            hosts,
            stale_after: stale_after.filter(|after| !after.is_zero()),
        })
    }
}

const ASSIGNMENT: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";

const RESOURCE: &str = "envoy.service.discovery.v3.Resource";
