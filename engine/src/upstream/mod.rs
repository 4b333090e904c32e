//! The upstream side of a worker: clusters, their hosts, connection pools and
//! circuit breakers.
//!
//! Everything here belongs to one worker. Start with [`cluster_manager`],
//! which resolves a route's cluster id, then [`cluster`], which picks a host,
//! then [`conn_pool`], which hands out a connection to it. No protocol is
//! spoken here: the router does that, over the stream of the connection.

pub mod aggregate;
pub mod circuit_breaker;
pub mod cluster;
pub mod cluster_manager;
pub mod conn_pool;
pub mod dns_cache;
pub mod feedback;
pub mod health;
pub mod host;
pub mod host_set;
pub mod load_balancer;
pub mod original_dst;
pub mod outlier_detection;
pub mod sub_clusters;
mod wait_list;
