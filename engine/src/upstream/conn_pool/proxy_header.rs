//! The header of PROXY protocol that a connection to a host begins with.

use std::net::SocketAddr;
use std::rc::Rc;

use ringway_codecs::proxy_protocol::Endpoints;
use ringway_config::proxy_protocol::{ProxyProtocol, Tlv};

use super::PoolOf;
use crate::network::address::NO_ADDRESS;
use crate::reactor::{self, Stream};
use crate::stream_info::{ConnectionInfo, StreamInfo, UpstreamConnectionInfo};
use crate::transport_sockets::proxy_protocol::{self, Of};
use crate::upstream::cluster::Cluster;
use crate::upstream::host::Host;

/// Begins a connection with the header of PROXY protocol.
pub(super) fn write_header(
    config: &ProxyProtocol,
    stream: &Stream,
    info: &UpstreamConnectionInfo,
    (cluster, host, of): (&Cluster, &Host, &PoolOf),
) {
    let own = (info.local).zip(info.remote);
    let own = own.map(|(source, destination)| Endpoints {
        source,
        destination,
    });
    let added;
    let told = match of.client() {
        Some(client) => {
            added = added_values(cluster, host, info);
            Of::Client {
                endpoints: &client.endpoints,
                of_client: client.tlvs.as_deref().unwrap_or_default(),
                of_cluster: &added,
            }
        }
        None => Of::Own(own.as_ref()),
    };
    let of_host = host.config();
    let mut complete = true;
    stream.write_with(|out| {
        complete = proxy_protocol::write_header(out, config, of_host.proxy_protocol(), told);
    });
    if let Some(stats) = &cluster.shared.proxy_protocol
        && !complete
    {
        stats.v2_tlvs_exceed_max_length.inc();
    }
}

/// What a cluster says in the header of a connection besides addresses.
fn added_values(cluster: &Cluster, host: &Host, info: &UpstreamConnectionInfo) -> Vec<Tlv> {
    let address = |of: Option<SocketAddr>| of.unwrap_or(NO_ADDRESS);
    let connection = ConnectionInfo::new(info.id, address(info.remote), address(info.local));
    let (now, wall) = (reactor::now(), reactor::wall_clock());
    let mut known = StreamInfo::new(Rc::new(connection), now, wall);
    known.host = Some(host.info());
    cluster.shared.added_values.of_connection(&known)
}
