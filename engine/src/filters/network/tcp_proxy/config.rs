//! The compiled `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::BackoffStrategy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use pb::tcp_proxy::ClusterSpecifier;
use pb::tcp_proxy::weighted_cluster::ClusterWeight;
use ringway_config::clusters::ClusterId;
use ringway_config::core;
use ringway_config::route::{HashPolicies, SubsetCriteria};
use ringway_config::{Cx, unpack};

use super::tunnel::TunnelConfig;
use crate::access_loggers::{self, AccessLog};

/// A compiled TCP proxy: immutable, shared by all workers.
pub struct Config {
    /// `<stat_prefix>` in `tcp.<stat_prefix>.` stats.
    pub stat_prefix: Box<str>,
    /// Where connections go.
    pub destinations: Destinations,
    /// What connections have in common that go to one host.
    pub hash_policies: Option<HashPolicies>,
    /// How long nothing may move; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may take; `None` is no limit.
    pub duration_max: Option<Duration>,
    /// By how much of that, in percent, chance makes it longer at most.
    pub duration_jitter: f64,
    /// How often a host is tried to be connected to.
    pub connect_attempts_max: u32,
    /// How long is waited between that; `None` is not at all.
    pub back_off: Option<BackOff>,
    /// Access logs of every connection.
    pub access_logs: Vec<AccessLog>,
    /// When they are written besides the end of a connection.
    pub log_flushes: LogFlushes,
    /// Connections go through another proxy.
    pub tunnel: Option<TunnelConfig>,
    /// Connections are closed when something moves on them while the worker
    /// drains.
    pub closes_to_drain: bool,
}

/// Clusters with weights; one alone is all.
pub struct Destinations {
    list: Box<[Destination]>,
    weight_total: u64,
}

/// One of the clusters.
pub struct Destination {
    /// The cluster.
    pub cluster: ClusterId,
    /// What the metadata of its host must be.
    pub subset: SubsetCriteria,
    weight: u64,
}

impl Destinations {
    /// The clusters in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Destination> {
        self.list.iter()
    }

    /// The share of connections that a cluster gets, in percent.
    #[must_use]
    pub fn percent(&self, destination: &Destination) -> f64 {
        destination.weight as f64 * 100.0 / self.weight_total as f64
    }

    /// The one of a connection that has drawn this number.
    #[must_use]
    pub fn choose(&self, random: u64) -> &Destination {
        let (last, others) = self
            .list
            .split_last()
            .expect("the configuration names a cluster");
        let mut left = random % self.weight_total;
        for destination in others {
            if left < destination.weight {
                return destination;
            }
            left -= destination.weight;
        }
        last
    }

    fn lower(proto: &pb::TcpProxy, cx: &mut Cx<'_>) -> Option<Self> {
        let subset = SubsetCriteria::lower(proto.metadata_match.as_ref());
        let subset = SubsetCriteria::default().with(&subset);
        let list: Box<[Destination]> = match proto.cluster_specifier.as_ref()? {
            ClusterSpecifier::Cluster(name) => Box::new([Destination {
                cluster: cx.field("cluster", |cx| cluster(name, cx)),
                subset,
                weight: 1,
            }]),
            ClusterSpecifier::WeightedClusters(weighted) => cx.field("weighted_clusters", |cx| {
                let lower =
                    |(i, one)| cx.index("clusters", i, |cx| Destination::lower(one, &subset, cx));
                weighted.clusters.iter().enumerate().map(lower).collect()
            }),
        };
        let weight_total = list.iter().map(|one| one.weight).sum();
        Some(Self { list, weight_total })
    }
}

impl Destination {
    fn lower(proto: &ClusterWeight, subset: &SubsetCriteria, cx: &mut Cx<'_>) -> Self {
        Self {
            cluster: cx.field("name", |cx| cluster(&proto.name, cx)),
            subset: subset.with(&SubsetCriteria::lower(proto.metadata_match.as_ref())),
            weight: proto.weight.into(),
        }
    }
}

/// The number of a cluster. As in Envoy, one that is not there is no error: it may
/// come later, and until then connections are closed.
fn cluster(name: &str, cx: &mut Cx<'_>) -> ClusterId {
    let id = cx.clusters.id(name);
    if let Some(known) = cx.known_clusters
        && !known.has(id)
    {
        let unknown = known.unknown(name, true);
        cx.warn(format!("{unknown}; connections to it are closed"));
    }
    id
}

/// Times between attempts to connect, each doubled until the longest one. What is
/// waited is any part of it, so that connections that failed together do not come
/// back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first one, at least 1.
    pub base_ms: u64,
    /// The longest one.
    pub max_ms: u64,
}

/// Envoy's: what is not said of the longest time.
const BASES_PER_MAX: u64 = 10;

impl BackOff {
    fn lower(proto: &BackoffStrategy, cx: &mut Cx<'_>) -> Option<Self> {
        let in_ms = |interval: Duration| (interval.as_millis() as u64).max(1);
        let base_ms = in_ms(core::duration(proto.base_interval, "base_interval", cx)?);
        let max_ms = match proto.max_interval {
            None => base_ms.saturating_mul(BASES_PER_MAX),
            given => in_ms(core::duration(given, "max_interval", cx)?),
        };
        if max_ms < base_ms {
            cx.error_at("max_interval", "is shorter than base_interval");
            return None;
        }
        Some(Self { base_ms, max_ms })
    }
}

/// When access logs are written besides the end of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogFlushes {
    /// When it begins.
    pub on_start: bool,
    /// When its host is connected.
    pub on_connected: bool,
    /// Again and again after this time.
    pub interval: Option<Duration>,
}

impl LogFlushes {
    /// Lowers `access_log_options`, or the two fields that it has replaced: these
    /// are ignored beside it, as Envoy does.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    fn lower(proto: &pb::TcpProxy, cx: &mut Cx<'_>) -> Self {
        const INTERVAL: &str = "access_log_flush_interval";
        let Some(options) = &proto.access_log_options else {
            return Self {
                on_start: false,
                on_connected: proto.flush_access_log_on_connected,
                interval: core::duration(proto.access_log_flush_interval, INTERVAL, cx),
            };
        };
        for (is_set, name) in [
            (
                proto.flush_access_log_on_connected,
                "flush_access_log_on_connected",
            ),
            (proto.access_log_flush_interval.is_some(), INTERVAL),
        ] {
            if is_set {
                cx.warn_at(name, "access_log_options takes its place");
            }
        }
        cx.field("access_log_options", |cx| Self {
            on_start: options.flush_access_log_on_start,
            on_connected: options.flush_access_log_on_connected,
            interval: core::duration(options.access_log_flush_interval, INTERVAL, cx),
        })
    }
}

impl Config {
    /// Compiles the proxy that `any` configures.
    pub fn compile(any: &Any, cx: &mut Cx<'_>) -> Option<Self> {
        let proto = unpack::<pb::TcpProxy>(any, cx)?;
        let destinations = Destinations::lower(&proto, cx);
        let back_off = match &proto.backoff_options {
            None => Some(None),
            Some(options) => cx
                .field("backoff_options", |cx| BackOff::lower(options, cx))
                .map(Some),
        };
        let duration_max = core::duration(
            proto.max_downstream_connection_duration,
            "max_downstream_connection_duration",
            cx,
        );
        let tunnel = match &proto.tunneling_config {
            None => Some(None),
            Some(config) => cx
                .field("tunneling_config", |cx| TunnelConfig::compile(config, cx))
                .map(Some),
        };
        let jitter = proto.max_downstream_connection_duration_jitter_percentage;
        Some(Self {
            stat_prefix: proto.stat_prefix.as_str().into(),
            hash_policies: HashPolicies::of_connections(&proto.hash_policy, cx),
            idle_timeout: core::duration_or_off(
                proto.idle_timeout,
                "idle_timeout",
                Some(IDLE_TIMEOUT),
                cx,
            ),
            duration_max,
            duration_jitter: jitter.map_or(0.0, |percent| percent.value),
            connect_attempts_max: core::u32_or(proto.max_connect_attempts, 1),
            access_logs: access_loggers::compile(&proto.access_log, cx),
            log_flushes: LogFlushes::lower(&proto, cx),
            closes_to_drain: core::bool_or(proto.check_drain_close, false),
            destinations: destinations?,
            back_off: back_off?,
            tunnel: tunnel?,
        })
    }
}

/// Envoy's default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(weights: &[u64]) -> Destinations {
        let list = weights
            .iter()
            .enumerate()
            .map(|(place, weight)| Destination {
                cluster: ClusterId(place as u32),
                subset: SubsetCriteria::default(),
                weight: *weight,
            });
        Destinations {
            list: list.collect(),
            weight_total: weights.iter().sum(),
        }
    }

    #[test]
    fn every_number_has_its_cluster() {
        let three = destinations(&[1, 3, 2]);
        let chosen: Vec<u32> = (0..12).map(|n| three.choose(n).cluster.0).collect();
        assert_eq!(chosen, [0, 1, 1, 1, 2, 2, 0, 1, 1, 1, 2, 2]);
        assert_eq!(destinations(&[7]).choose(u64::MAX).cluster.0, 0);
    }
}
