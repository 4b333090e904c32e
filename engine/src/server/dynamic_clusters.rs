//! Clusters that came while the process ran, in `/config_dump`.

use std::sync::Arc;

use ringway_config::discovery::Discovery;
use ringway_config::sub_clusters::{SubClusters, host_of};
use serde_json::{Value, json};

use super::view::timestamp;
use crate::control::cluster_list::ClusterList;
use crate::upstream::cluster::SharedCluster;

/// Adds them to the `ClustersConfigDump` of a configuration.
pub fn add(section: &mut Value, list: &ClusterList) {
    let active = list.active();
    for (field, clusters) in [
        ("dynamic_active_clusters", &active),
        ("dynamic_warming_clusters", &list.warming()),
    ] {
        let given = &section["static_clusters"];
        let shown: Vec<_> = (clusters.iter())
            .filter_map(|cluster| dynamic_cluster(cluster, &active, given))
            .collect();
        if !shown.is_empty() {
            section[field] = shown.into();
        }
    }
}

/// `ClustersConfigDump.DynamicCluster` of a cluster that another one has made, whose
/// configuration is among `given`.
fn dynamic_cluster(
    cluster: &SharedCluster,
    clusters: &[Arc<SharedCluster>],
    given: &Value,
) -> Option<Value> {
    let dynamic = cluster.dynamic.as_ref()?;
    let of_parent = |one: &&Value| one["cluster"]["name"] == *dynamic.parent;
    let given = given.as_array()?.iter().find(of_parent)?;
    let parent = clusters
        .iter()
        .find(|one| one.config.name == dynamic.parent)?;
    let Discovery::SubClusters(config) = &parent.config.discovery else {
        return None;
    };
    let shown = sub_cluster(&given["cluster"], &cluster.config.name, config)?;
    Some(json!({ "cluster": shown, "last_updated": timestamp(dynamic.since) }))
}

/// The configuration of a sub-cluster: its parent's, but for some fields.
fn sub_cluster(parent: &Value, name: &str, config: &SubClusters) -> Option<Value> {
    let (host, port) = host_of(name)?;
    let mut shown = parent.clone();
    let fields = shown.as_object_mut()?;
    fields.insert("name".into(), name.into());
    let kind = fields.remove("cluster_type").unwrap_or_default();
    if config.has_own_dns {
        let mut dns = kind["typed_config"]["sub_clusters_config"]["dns_cluster_config"].clone();
        let message = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster";
        dns["@type"] = message.into();
        let kind = json!({ "name": "envoy.cluster.dns", "typed_config": dns });
        fields.insert("cluster_type".into(), kind);
    } else {
        fields.insert("type".into(), "STRICT_DNS".into());
    }
    fields.remove("lb_policy");
    if config.lb_policy != "ROUND_ROBIN" {
        fields.insert("lb_policy".into(), config.lb_policy.into());
    }
    let address = json!({ "socket_address": { "address": host, "port_value": port } });
    let endpoint = json!({ "endpoint": { "address": address } });
    let assignment = fields.entry("load_assignment").or_insert_with(|| json!({}));
    assignment["cluster_name"] = name.into();
    assignment["endpoints"] = json!([{ "lb_endpoints": [endpoint] }]);
    fields
        .entry("upstream_http_protocol_options")
        .or_insert_with(|| json!({ "auto_sni": true, "auto_san_validation": true }));
    Some(shown)
}
