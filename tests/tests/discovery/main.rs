//! Where the hosts of clusters come from: compared with the real Envoy, and
//! with traffic running while names change and name servers fail.

mod eds;
mod live;
mod names;
mod refusals;
mod removal;
mod requests;
mod seen;
mod traffic;
mod unix_sockets;
