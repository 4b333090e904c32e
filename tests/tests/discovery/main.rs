//! Where the hosts of clusters come from: compared with the real Envoy, and
//! with traffic running while names change and name servers fail.

mod live;
mod names;
mod refusals;
mod requests;
mod unix_sockets;
