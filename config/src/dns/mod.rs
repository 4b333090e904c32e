//! Clusters whose hosts are found by name: `STRICT_DNS`, `LOGICAL_DNS`, and
//! both as the extension `envoy.clusters.dns`. Compiled types on top, lowering
//! below; `resolver.rs` says who is asked.

mod resolver;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily as TypedLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::google::protobuf;

pub use self::resolver::{AnswerCache, Resolver};

use crate::context::Cx;
use crate::core;
use crate::endpoint::Target;

/// How a cluster finds the addresses behind its names.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// The names.
    pub targets: Arc<[Target]>,
    /// Only the first address of the one name is used (`LOGICAL_DNS`); else
    /// each address is a host.
    pub is_logical: bool,
    /// Which addresses are asked for.
    pub family: LookupFamily,
    /// Time from an answer to the next question.
    pub refresh: Duration,
    /// Up to so much more, by chance.
    pub jitter: Duration,
    /// Time from a failure to the next question; `None`: as from an answer.
    pub failure_refresh: Option<FailureRefresh>,
    /// The time to live of the records takes the place of `refresh`, but is
    /// never taken for less than this.
    pub respect_ttl: Option<Duration>,
    /// Who is asked.
    pub resolver: Resolver,
}

/// `RefreshRate`: a back-off whose times are drawn between zero and a bound
/// that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRefresh {
    /// The first bound.
    pub base: Duration,
    /// The last.
    pub max: Duration,
}

/// `Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LookupFamily {
    /// IPv6, and IPv4 where there is none.
    #[default]
    Auto,
    /// IPv4.
    V4Only,
    /// IPv6.
    V6Only,
    /// IPv4, and IPv6 where there is none.
    V4Preferred,
    /// Both.
    All,
}

/// The settings of either form, but for the names.
pub(crate) struct Settings {
    /// As [`Dns::is_logical`].
    pub is_logical: bool,
    family: LookupFamily,
    refresh: Duration,
    jitter: Duration,
    failure_refresh: Option<FailureRefresh>,
    respect_ttl: Option<Duration>,
    resolver: Resolver,
}

impl Settings {
    /// The cluster of these names.
    pub(crate) fn of(self, targets: Vec<Target>) -> Dns {
        Dns {
            targets: targets.into(),
            is_logical: self.is_logical,
            family: self.family,
            refresh: self.refresh,
            jitter: self.jitter,
            failure_refresh: self.failure_refresh,
            respect_ttl: self.respect_ttl,
            resolver: self.resolver,
        }
    }
}

/// `type: STRICT_DNS` and `type: LOGICAL_DNS`.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
pub(crate) fn by_fields(
    proto: &pb::Cluster,
    is_logical: bool,
    default: &Resolver,
    cx: &mut Cx<'_>,
) -> Settings {
    let failure = proto.dns_failure_refresh_rate.as_ref();
    Settings {
        is_logical,
        family: lookup_family(proto.dns_lookup_family()),
        refresh: refresh(proto.dns_refresh_rate, cx),
        jitter: jitter(proto.dns_jitter, cx),
        failure_refresh: failure
            .and_then(|rate| failure_refresh(rate.base_interval, rate.max_interval, cx)),
        respect_ttl: proto.respect_dns_ttl.then_some(Duration::ZERO),
        resolver: Resolver::of_cluster(proto, default, cx),
    }
}

/// Which addresses are asked for.
pub(crate) fn lookup_family(proto: DnsLookupFamily) -> LookupFamily {
    match proto {
        DnsLookupFamily::Auto => LookupFamily::Auto,
        DnsLookupFamily::V4Only => LookupFamily::V4Only,
        DnsLookupFamily::V6Only => LookupFamily::V6Only,
        DnsLookupFamily::V4Preferred => LookupFamily::V4Preferred,
        DnsLookupFamily::All => LookupFamily::All,
    }
}

/// `cluster_type: envoy.clusters.dns`.
pub(crate) fn by_type(proto: &DnsCluster, default: &Resolver, cx: &mut Cx<'_>) -> Settings {
    let failure = proto.dns_failure_refresh_rate.as_ref();
    let ttl_min = core::duration(proto.dns_min_refresh_rate, "dns_min_refresh_rate", cx);
    if ttl_min.is_some() && !proto.respect_dns_ttl {
        cx.warn_at(
            "dns_min_refresh_rate",
            "has no effect: only respect_dns_ttl uses it",
        );
    }
    Settings {
        is_logical: proto.all_addresses_in_single_endpoint,
        family: match proto.dns_lookup_family() {
            TypedLookupFamily::Unspecified | TypedLookupFamily::Auto => LookupFamily::Auto,
            TypedLookupFamily::V4Only => LookupFamily::V4Only,
            TypedLookupFamily::V6Only => LookupFamily::V6Only,
            TypedLookupFamily::V4Preferred => LookupFamily::V4Preferred,
            TypedLookupFamily::All => LookupFamily::All,
        },
        refresh: refresh(proto.dns_refresh_rate, cx),
        jitter: jitter(proto.dns_jitter, cx),
        failure_refresh: failure
            .and_then(|rate| failure_refresh(rate.base_interval, rate.max_interval, cx)),
        respect_ttl: proto
            .respect_dns_ttl
            .then(|| ttl_min.unwrap_or(Duration::ZERO)),
        resolver: match &proto.typed_dns_resolver_config {
            Some(config) => Resolver::typed(config, default, cx),
            None => default.clone(),
        },
    }
}

fn refresh(proto: Option<protobuf::Duration>, cx: &mut Cx<'_>) -> Duration {
    core::duration(proto, "dns_refresh_rate", cx).unwrap_or(REFRESH)
}

fn jitter(proto: Option<protobuf::Duration>, cx: &mut Cx<'_>) -> Duration {
    core::duration(proto, "dns_jitter", cx).unwrap_or(Duration::ZERO)
}

/// `dns_failure_refresh_rate`.
pub(crate) fn failure_refresh(
    base: Option<protobuf::Duration>,
    max: Option<protobuf::Duration>,
    cx: &mut Cx<'_>,
) -> Option<FailureRefresh> {
    cx.field("dns_failure_refresh_rate", |cx| {
        let base = core::duration(base, "base_interval", cx)?;
        let max = core::duration(max, "max_interval", cx).unwrap_or(10 * base);
        if max < base {
            cx.error_at(
                "max_interval",
                "must be greater than or equal to base_interval",
            );
        }
        Some(FailureRefresh { base, max })
    })
}

const REFRESH: Duration = Duration::from_secs(5);

/// Warns of the fields of a cluster that only `type: STRICT_DNS` and
/// `type: LOGICAL_DNS` read; `what` is the cluster that it is.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
pub(crate) fn warn_of_unused(proto: &pb::Cluster, what: &str, cx: &mut Cx<'_>) {
    for (set, name) in [
        (proto.dns_refresh_rate.is_some(), "dns_refresh_rate"),
        (proto.dns_jitter.is_some(), "dns_jitter"),
        (
            proto.dns_failure_refresh_rate.is_some(),
            "dns_failure_refresh_rate",
        ),
        (proto.respect_dns_ttl, "respect_dns_ttl"),
        (proto.dns_lookup_family != 0, "dns_lookup_family"),
        (!proto.dns_resolvers.is_empty(), "dns_resolvers"),
        (proto.use_tcp_for_dns_lookups, "use_tcp_for_dns_lookups"),
        (
            proto.dns_resolution_config.is_some(),
            "dns_resolution_config",
        ),
        (
            proto.typed_dns_resolver_config.is_some(),
            "typed_dns_resolver_config",
        ),
    ] {
        if set {
            cx.warn_at(name, format!("has no effect: {what} does not use it"));
        }
    }
}
