//! Aggregate clusters (`envoy.clusters.aggregate`): other clusters one behind
//! the other, whose priorities are taken for those of one cluster.

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::clusters::aggregate::v3 as pb;

use crate::cluster::Cluster;
use crate::clusters::ClusterId;
use crate::context::Cx;
use crate::discovery::Discovery;

/// The clusters of an aggregate, in the order in which they are used.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Their numbers. One that does not exist is as good as one without hosts.
    pub clusters: Arc<[ClusterId]>,
}

/// Lowers the list.
pub(crate) fn lower(proto: &pb::ClusterConfig, cx: &mut Cx<'_>) -> Aggregate {
    Aggregate {
        clusters: (proto.clusters.iter())
            .map(|name| cx.clusters.id(name))
            .collect(),
    }
}

/// Looks at what the clusters of every aggregate are, once all are known.
pub(crate) fn check(clusters: &[Arc<Cluster>], cx: &mut Cx<'_>) {
    for cluster in clusters {
        let Discovery::Aggregate(aggregate) = &cluster.discovery else {
            continue;
        };
        let path = format!("{}.cluster_type.typed_config", cluster.source.path);
        cx.at(&path, |cx| {
            for (i, id) in aggregate.clusters.iter().enumerate() {
                cx.index("clusters", i, |cx| check_one(*id, clusters, cx));
            }
        });
    }
}

fn check_one(id: ClusterId, clusters: &[Arc<Cluster>], cx: &mut Cx<'_>) {
    let Some(named) = clusters.iter().find(|cluster| cluster.id == id) else {
        let name = cx.clusters.name(id);
        cx.warn(format!(
            "there is no cluster {name:?}; it is left out, as in Envoy"
        ));
        return;
    };
    let (name, at) = (&*named.name, &named.source);
    match named.discovery {
        Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => {}
        // So there are no cycles either.
        Discovery::Aggregate(_) => cx.warn(format!(
            "{name:?} at {at} is an aggregate cluster, too, and has no hosts of its own: no \
             request goes there, in Envoy neither; name its clusters here"
        )),
        Discovery::OriginalDst(_)
        | Discovery::DynamicForwardProxy(_)
        | Discovery::SubClusters(_) => cx.error(format!(
            "{name:?} at {at} has hosts only as requests ask for them, which is not supported in \
             an aggregate yet"
        )),
    }
}
