//! Clusters (`envoy.config.cluster.v3`): groups of upstream hosts, how to
//! connect to them and how many connections and requests they may hold.
//! Compiled types on top, lowering below.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;

use crate::clusters::ClusterId;
use crate::context::{Cx, Source};
use crate::core::TcpKeepalive;
use crate::endpoint::Host;

/// A compiled cluster: immutable, shared by all workers.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its unique name.
    pub name: Arc<str>,
    /// Its number in the snapshot's `cluster_names`, which routes hold.
    pub id: ClusterId,
    /// The name in `cluster.<name>.` stats: `alt_stat_name` if given, with
    /// colons replaced by underscores as Envoy does.
    pub stat_name: Arc<str>,
    /// Limit for a new connection, the TLS handshake included.
    pub connect_timeout: Duration,
    /// High watermark of each direction of a connection, in bytes.
    pub buffer_limit: u32,
    /// How hosts are picked.
    pub lb_policy: LbPolicy,
    /// All hosts, in the order of the file.
    pub hosts: Arc<[Arc<Host>]>,
    /// Circuit breakers by [`Priority`]: default, high.
    pub thresholds: [Thresholds; 2],
    /// Pooled connections without requests are closed after this time;
    /// `None` never.
    pub idle_timeout: Option<Duration>,
    /// Age at which a connection is no longer given new requests.
    pub connection_duration_max: Option<Duration>,
    /// Limit of one upstream request, from its start to its end.
    pub stream_duration_max: Option<Duration>,
    /// Requests that one connection may carry; `None` is no limit.
    pub requests_per_connection_max: Option<u32>,
    /// Number of headers that a response may have.
    pub response_headers_max: u32,
    /// Size of a response's head in bytes.
    pub response_head_bytes_max: usize,
    /// Response trailers are passed on instead of dropped, and request
    /// trailers are sent (`enable_trailers`).
    pub trailers: bool,
    /// The request line carries the whole URL
    /// (`send_fully_qualified_url`, for upstream proxies).
    pub absolute_url: bool,
    /// Keep-alive of upstream sockets.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Local address of upstream sockets.
    pub bind: Option<SocketAddr>,
    /// Where the configuration names it.
    pub source: Source,
}

/// How a host is picked (`cluster.v3.Cluster.LbPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LbPolicy {
    /// In turn, by weight.
    #[default]
    RoundRobin,
}

/// Priority of a request (`core.v3.RoutingPriority`), index of
/// [`Cluster::thresholds`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Ordinary requests.
    #[default]
    Default = 0,
    /// Requests of routes that ask for it.
    High = 1,
}

/// Circuit breakers of one priority
/// (`cluster.v3.CircuitBreakers.Thresholds`); process-wide, not per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Connections to all hosts.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight.
    pub max_requests: u32,
    /// Retries in flight.
    pub max_retries: u32,
    /// Publish the `remaining_*` gauges.
    pub track_remaining: bool,
}

/// Envoy's limits where the configuration sets none.
impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            track_remaining: false,
        }
    }
}
