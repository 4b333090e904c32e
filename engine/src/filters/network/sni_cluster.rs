//! `envoy.filters.network.sni_cluster`: the server that a client asks for is the
//! cluster that a TCP proxy takes it to.

use envoy_types::pb::envoy::extensions::filters::network::sni_cluster::v3::SniCluster as SniClusterPb;
use envoy_types::pb::google::protobuf::Any;
use ringway_config::context::Cx;
use ringway_config::filter_state::{Object, TCP_PROXY_CLUSTER};
use ringway_config::unpack;

use super::{Connection, Flow, NetworkFilter};

/// The filter, of which there is nothing to configure.
pub struct SniCluster;

impl SniCluster {
    /// Checks its message, which says nothing.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        unpack::<SniClusterPb>(any, cx).map(|_| Self)
    }
}

impl NetworkFilter for SniCluster {
    fn on_new_connection(&self, connection: &mut Connection<'_>) -> Flow {
        let info = &mut *connection.info;
        let name = info.connection.requested_server_name.as_deref();
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let cluster = Object::Cluster(name.as_bytes().into());
            info.filter_state_mut().set(TCP_PROXY_CLUSTER, cluster);
        }
        Flow::Continue
    }
}
