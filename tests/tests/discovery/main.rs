//! Where the hosts of clusters come from: compared with the real Envoy, and
//! with traffic running while names change and name servers fail.

mod asked_hosts;
mod eds;
mod first_checks;
mod forward_proxy;
mod live;
mod names;
mod original_dst;
mod pending_removal;
mod refusals;
mod removal;
mod requests;
mod seen;
mod sub_clusters;
mod traffic;
mod unix_sockets;
mod unroutable;
