//! The hash of a request, which ring hash and Maglev choose its host by, and
//! the cookies that are made for clients that have nothing to be told apart by.

use ringway_codecs::header::HeaderId;
use ringway_config::cluster::Cluster as ClusterConfig;
use ringway_config::route::{Forward, HashInput, HashPolicies};
use xxhash_rust::xxh64::xxh64;

use crate::http::exchange::Exchange;
use crate::stream_info::ConnectionInfo;
use crate::upstream::cluster::Cluster;

/// The hash of a request. Policies of the cluster's own take the place of the
/// route's, even where they find nothing.
pub(super) fn hash(forward: &Forward, cluster: &Cluster, exchange: &mut Exchange) -> Option<u64> {
    let policies = policies(forward, &cluster.config)?;
    let Exchange {
        request,
        info,
        set_cookies,
        ..
    } = exchange;
    let input = HashInput {
        headers: request,
        remote: info.remote().ip(),
        filter_state: info.filter_state(),
    };
    policies.hash(input, |cookie| {
        let value = cookie_value(&info.connection);
        set_cookies.push(cookie.header(&value));
        Some(xxh64(value.as_bytes(), 0))
    })
}

/// The policies that hash a request for a cluster: those of its load balancing
/// before those of its protocol options and the route's, as in Envoy.
pub fn policies<'p>(forward: &'p Forward, cluster: &'p ClusterConfig) -> Option<&'p HashPolicies> {
    let own = cluster.balancing.hash_policies.as_deref();
    own.or(cluster.request_policies.hash(forward))
}

/// Adds the cookies that were made to the response, which is the upstream's.
pub(super) fn set_cookies(exchange: &mut Exchange) {
    for cookie in exchange.set_cookies.drain(..) {
        exchange.response.append(HeaderId::SetCookie, &cookie);
    }
}

/// The value of the cookies that are made on a connection. As Envoy's it is a
/// function of the connection's two addresses, so that requests which arrive
/// before the client knows its cookie go to the same host.
pub fn cookie_value(connection: &ConnectionInfo) -> String {
    let addresses = format!("{}{}", connection.remote, connection.local);
    format!("{:016x}", xxh64(addresses.as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_that_envoy_makes_of_the_same_addresses() {
        let value = |remote: &str, local: &str| {
            let [remote, local] = [remote, local].map(|text| text.parse().expect("an address"));
            cookie_value(&ConnectionInfo::new(1, remote, local))
        };
        // Seen with a client whose port was chosen.
        assert_eq!(
            value("127.0.0.1:45001", "127.0.0.1:19390"),
            "c3ecf6f731004f62"
        );
    }
}
