//! Sub-clusters of a dynamic forward proxy (`SubClustersConfig`): each host that
//! requests name is a cluster of its own, made while the proxy runs. Compiled types
//! on top, lowering below.

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint_pb;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::clusters::dynamic_forward_proxy::v3 as proxy_pb;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name as _};

use crate::cluster::{self, Cluster, Defaults};
use crate::clusters::ClusterId;
use crate::context::Cx;
use crate::core;
use crate::discovery::Discovery;
use crate::dns_cache::{drop_zeros, split_key, write_key};

/// What sub-clusters are called: this, the host, a colon, and the port.
pub const NAME_PREFIX: &str = "DFPCluster:";

/// How a dynamic forward proxy makes clusters.
#[derive(Debug)]
pub struct SubClusters {
    /// How many there may be at once.
    pub max: u32,
    /// One that nobody has used for this time ends.
    pub ttl: Duration,
    /// The policy that picks among the addresses of a host, as the API calls it.
    pub lb_policy: &'static str,
    /// How names are looked up, where that is not said by the parent's own fields
    /// (`dns_cluster_config`).
    pub has_own_dns: bool,
    /// What they are, but for name and host.
    template: Cluster,
}

/// Of one cluster each, which is never lowered twice.
impl PartialEq for SubClusters {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl SubClusters {
    /// The cluster of this name; `None` if it is no name of a sub-cluster.
    #[must_use]
    pub fn make(&self, name: &Arc<str>, id: ClusterId) -> Option<Cluster> {
        let (host, port) = host_of(name)?;
        let mut cluster = Cluster {
            name: Arc::clone(name),
            id,
            stat_name: core::stat_name(name).into(),
            observability_name: Arc::clone(name),
            ..self.template.clone()
        };
        if let Discovery::Dns(dns) = &self.template.discovery {
            let mut targets = dns.targets.to_vec();
            for target in &mut targets {
                target.name = host.into();
                target.port = port;
                target.host.hostname = Arc::clone(&target.name);
            }
            let mut dns = dns.as_ref().clone();
            dns.targets = targets.into();
            cluster.discovery = Discovery::Dns(Arc::new(dns));
        }
        Some(cluster)
    }
}

/// The host and the port that a sub-cluster is named after.
#[must_use]
pub fn host_of(name: &str) -> Option<(&str, u16)> {
    let key = name.strip_prefix(NAME_PREFIX)?;
    key.contains(':').then(|| split_key(key))
}

/// Appends the name of the sub-cluster for the host that a request names. An address
/// has no brackets there, and a port no zeros before it.
pub fn write_name(host: &[u8], default_port: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(NAME_PREFIX.as_bytes());
    let key = out.len();
    write_key(host, default_port, out);
    let end = out.iter().rposition(|byte| *byte == b']');
    if let Some(end) = end
        && out[key] == b'['
        && out.get(end + 1) == Some(&b':')
    {
        out.remove(end);
        out.remove(key);
    }
    drop_zeros(out, key);
}

/// Lowers what `parent`, which is at `path`, says of its sub-clusters.
pub(crate) fn lower(
    proto: &proxy_pb::SubClustersConfig,
    parent: &pb::Cluster,
    path: &str,
    defaults: &Defaults<'_>,
    cx: &mut Cx<'_>,
) -> Option<SubClusters> {
    if proto.lb_policy() == LbPolicy::ClusterProvided {
        cx.error_at(
            "lb_policy",
            "CLUSTER_PROVIDED is not a policy for sub-clusters",
        );
        return None;
    }
    let ttl = core::duration(proto.sub_cluster_ttl, "sub_cluster_ttl", cx);
    let template = template(parent, proto);
    // What else is wrong with it is wrong with its parent.
    let (template, found) = cx.aside(|cx| {
        let lower = |cx: &mut Cx<'_>| cluster::lower(&template, defaults, cx);
        cx.at(path, lower)
    });
    let own = format!("{path}.lb_policy");
    for error in found.errors().filter(|error| error.path == own) {
        cx.error(format!("its clusters cannot be made: {}", error.reason));
    }
    Some(SubClusters {
        max: core::u32_or(proto.max_sub_clusters, MAX),
        ttl: ttl.unwrap_or(TTL),
        lb_policy: proto.lb_policy().as_str_name(),
        has_own_dns: proto.dns_cluster_config.is_some(),
        template,
    })
}

/// Envoy's defaults.
const MAX: u32 = 1024;
const TTL: Duration = Duration::from_secs(300);

/// The parent as a cluster of one name, which takes the place of this one.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn template(parent: &pb::Cluster, of: &proxy_pb::SubClustersConfig) -> pb::Cluster {
    let mut proto = parent.clone();
    let discovery = match &of.dns_cluster_config {
        None => ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into()),
        Some(dns) => ClusterDiscoveryType::ClusterType(CustomClusterType {
            name: "envoy.cluster.dns".to_owned(),
            typed_config: Some(Any {
                type_url: format!("type.googleapis.com/{}", DnsCluster::full_name()),
                value: dns.encode_to_vec(),
            }),
        }),
    };
    proto.cluster_discovery_type = Some(discovery);
    proto.lb_policy = of.lb_policy;
    if proto.upstream_http_protocol_options.is_none() {
        proto.upstream_http_protocol_options = Some(core_pb::UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: true,
            ..Default::default()
        });
    }
    let address = core_pb::SocketAddress {
        address: "host.invalid".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(1)),
        ..Default::default()
    };
    let endpoint = endpoint_pb::Endpoint {
        address: Some(core_pb::Address {
            address: Some(core_pb::address::Address::SocketAddress(address)),
        }),
        ..Default::default()
    };
    let endpoint = endpoint_pb::lb_endpoint::HostIdentifier::Endpoint(endpoint);
    let group = endpoint_pb::LocalityLbEndpoints {
        lb_endpoints: vec![endpoint_pb::LbEndpoint {
            host_identifier: Some(endpoint),
            ..Default::default()
        }],
        ..Default::default()
    };
    let assignment = proto.load_assignment.get_or_insert_default();
    assignment.endpoints = vec![group];
    proto
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_name() {
        for (name, host) in [
            ("DFPCluster:a.test:80", Some(("a.test", 80))),
            ("DFPCluster:::1:80", Some(("::1", 80))),
            ("DFPCluster:[::1]:80", Some(("::1", 80))),
            ("DFPCluster::80", Some(("", 80))),
            ("DFPCluster:a.test", None),
            ("DFPCluster:", None),
            ("a.test:80", None),
            ("", None),
        ] {
            assert_eq!(host_of(name), host, "{name}");
        }
    }

    #[test]
    fn no_zeros_before_a_port() {
        for (host, name) in [
            ("a.test:0081", "DFPCluster:a.test:81"),
            ("[::1]:081", "DFPCluster:::1:81"),
            ("[127.0.0.1]:0000081", "DFPCluster:127.0.0.1:81"),
            ("a.test:80", "DFPCluster:a.test:80"),
            ("a.test:0", "DFPCluster:a.test:0"),
            ("a.test:000", "DFPCluster:a.test:0"),
        ] {
            let mut out = Vec::new();
            write_name(host.as_bytes(), 80, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), name);
        }
    }

    #[test]
    fn every_host_makes_a_name() {
        for (host, name) in [
            ("a.test", "DFPCluster:a.test:80"),
            ("A.test:81", "DFPCluster:A.test:81"),
            ("127.0.0.1", "DFPCluster:127.0.0.1:80"),
            ("[::1]", "DFPCluster:::1:80"),
            ("[::1]:81", "DFPCluster:::1:81"),
            ("::1", "DFPCluster:::1:80"),
            ("[", "DFPCluster:[:80"),
            ("]:81", "DFPCluster:]:81"),
            ("", "DFPCluster::80"),
        ] {
            for end in 0..=host.len() {
                let mut out = Vec::new();
                write_name(&host.as_bytes()[..end], 80, &mut out);
                let written = String::from_utf8(out).expect("a text");
                assert!(
                    host_of(&written).is_some_and(|(_, port)| port != 0),
                    "{written}"
                );
                if end == host.len() {
                    assert_eq!(written, name);
                }
            }
        }
    }
}
