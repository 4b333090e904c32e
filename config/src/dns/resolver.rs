//! Who resolves names: the system's resolver files, or name servers that the
//! configuration gives (`envoy.network.dns_resolver.*`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::extensions::network::dns_resolver::{
    cares::v3::CaresDnsResolverConfig, getaddrinfo::v3::GetAddrInfoDnsResolverConfig,
    hickory::v3::HickoryDnsResolverConfig,
};
use envoy_types::pb::google::protobuf::Any;

use crate::context::{Cx, type_name, unpack};
use crate::core::{self, Address};

/// Who is asked for names, and how. Ringway has one resolver; the types of
/// Envoy's say what it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resolver {
    /// Name servers, in the order in which they are asked. Without any, those
    /// of `/etc/resolv.conf`.
    pub servers: Arc<[SocketAddr]>,
    /// They are asked only where `/etc/resolv.conf` names none.
    pub is_fallback: bool,
    /// Questions go over TCP. Else they do when an answer is too long for UDP.
    pub use_tcp: bool,
    /// The search domains of `/etc/resolv.conf` are tried.
    pub search: bool,
    /// How long a server may take to answer.
    pub query_timeout: Duration,
    /// How often a question is asked before it has failed.
    pub tries: u32,
    /// Each question begins with another server.
    pub rotate: bool,
    /// Bytes that an answer over UDP may have.
    pub udp_payload_max: u16,
    /// Answers that are kept for their time to live; `None`: none is.
    pub cache: Option<AnswerCache>,
    /// That a name has no address is a failure, which changes nothing: Envoy's
    /// hickory takes it for one. Else it is an answer, and the hosts are gone.
    pub absence_is_failure: bool,
    /// Takes the place of the records' times to live.
    pub fixed_ttl: Option<Duration>,
    /// Families are asked for only while an interface has an address of them.
    pub routable_only: bool,
}

/// How many answers are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AnswerCache {
    /// So many.
    pub entries_max: u32,
    /// So long, however long they live; `None`: for as long as they live.
    pub ttl_max: Option<Duration>,
}

/// Envoy's, with c-ares.
impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: Arc::default(),
            is_fallback: false,
            use_tcp: false,
            search: true,
            query_timeout: Duration::from_secs(5),
            tries: 4,
            rotate: false,
            udp_payload_max: 1232,
            cache: None,
            absence_is_failure: false,
            fixed_ttl: None,
            routable_only: false,
        }
    }
}

impl Resolver {
    /// The bootstrap's, which clusters have that say nothing of their own.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    pub(crate) fn of_bootstrap(proto: &Bootstrap, cx: &mut Cx<'_>) -> Self {
        if let Some(config) = &proto.typed_dns_resolver_config {
            Self::typed(config, &Self::default(), cx)
        } else if let Some(config) = &proto.dns_resolution_config {
            Self::by_resolution_config(config, cx)
        } else {
            Self {
                use_tcp: proto.use_tcp_for_dns_lookups,
                ..Self::default()
            }
        }
    }

    /// The one of a cluster. Of several forms the newest is read, as in Envoy.
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    pub(crate) fn of_cluster(proto: &Cluster, default: &Self, cx: &mut Cx<'_>) -> Self {
        if let Some(config) = &proto.typed_dns_resolver_config {
            Self::typed(config, default, cx)
        } else if let Some(config) = &proto.dns_resolution_config {
            Self::by_resolution_config(config, cx)
        } else if !proto.dns_resolvers.is_empty() {
            Self {
                servers: servers(&proto.dns_resolvers, "dns_resolvers", cx),
                use_tcp: proto.use_tcp_for_dns_lookups,
                ..Self::default()
            }
        } else if proto.use_tcp_for_dns_lookups {
            Self {
                use_tcp: true,
                ..Self::default()
            }
        } else {
            default.clone()
        }
    }

    fn by_resolution_config(proto: &core_pb::DnsResolutionConfig, cx: &mut Cx<'_>) -> Self {
        let options = proto.dns_resolver_options.unwrap_or_default();
        cx.field("dns_resolution_config", |cx| Self {
            servers: servers(&proto.resolvers, "resolvers", cx),
            use_tcp: options.use_tcp_for_dns_lookups,
            search: !options.no_default_search_domain,
            ..Self::default()
        })
    }

    /// `typed_dns_resolver_config`.
    pub(crate) fn typed(
        proto: &core_pb::TypedExtensionConfig,
        default: &Self,
        cx: &mut Cx<'_>,
    ) -> Self {
        let lowered = cx.field("typed_dns_resolver_config", |cx| {
            let Some(any) = &proto.typed_config else {
                cx.error("a typed_config is needed here: its type selects the resolver");
                return None;
            };
            cx.field("typed_config", |cx| by_type(any, cx))
        });
        lowered.unwrap_or_else(|| default.clone())
    }
}

/// `None` for a type that the support table has refused.
fn by_type(any: &Any, cx: &mut Cx<'_>) -> Option<Resolver> {
    match type_name(&any.type_url) {
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" => {
            unpack::<CaresDnsResolverConfig>(any, cx).map(|proto| cares(&proto, cx))
        }
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig" => {
            unpack::<GetAddrInfoDnsResolverConfig>(any, cx).map(getaddrinfo)
        }
        "envoy.extensions.network.dns_resolver.hickory.v3.HickoryDnsResolverConfig" => {
            unpack::<HickoryDnsResolverConfig>(any, cx).map(|proto| hickory(&proto, cx))
        }
        name => {
            cx.error(format!("{name} is not a DNS resolver that is known"));
            None
        }
    }
}

fn cares(proto: &CaresDnsResolverConfig, cx: &mut Cx<'_>) -> Resolver {
    let default = Resolver::default();
    let options = proto.dns_resolver_options.unwrap_or_default();
    let timeout = proto.query_timeout_seconds.map(|seconds| seconds.value);
    let ttl_max = core::u32_or(proto.qcache_max_ttl, 0);
    Resolver {
        servers: servers(&proto.resolvers, "resolvers", cx),
        is_fallback: proto.use_resolvers_as_fallback,
        use_tcp: options.use_tcp_for_dns_lookups,
        search: !options.no_default_search_domain,
        query_timeout: timeout.map_or(default.query_timeout, |seconds| {
            Duration::from_secs(seconds).min(QUERY_TIMEOUT_MAX)
        }),
        tries: core::u32_or(proto.query_tries, default.tries).min(TRIES_MAX),
        rotate: proto.rotate_nameservers,
        routable_only: proto.filter_unroutable_families,
        udp_payload_max: proto
            .edns0_max_payload_size
            .and_then(|size| u16::try_from(size.value).ok())
            .unwrap_or(default.udp_payload_max),
        cache: (ttl_max > 0).then(|| AnswerCache {
            entries_max: CACHE_ENTRIES,
            ttl_max: Some(Duration::from_secs(u64::from(ttl_max))),
        }),
        ..default
    }
}

/// The system's resolver. Its answers have no time to live; Envoy takes 60 s.
fn getaddrinfo(proto: GetAddrInfoDnsResolverConfig) -> Resolver {
    let default = Resolver::default();
    let retries = proto.num_retries.map(|retries| retries.value);
    Resolver {
        tries: retries.map_or(default.tries, |retries| {
            retries.saturating_add(1).min(TRIES_MAX)
        }),
        fixed_ttl: Some(Duration::from_secs(60)),
        ..default
    }
}

fn hickory(proto: &HickoryDnsResolverConfig, cx: &mut Cx<'_>) -> Resolver {
    let default = Resolver::default();
    let timeout = core::duration(proto.query_timeout, "query_timeout", cx);
    let entries_max = core::u32_or(proto.cache_size, CACHE_ENTRIES);
    if proto.resolvers.is_empty() && !core::bool_or(proto.use_system_config, true) {
        cx.error_at(
            "use_system_config",
            "nobody is left to ask: there are no resolvers either",
        );
    }
    Resolver {
        servers: servers(&proto.resolvers, "resolvers", cx),
        // Search domains are the system's.
        search: core::bool_or(proto.use_system_config, proto.resolvers.is_empty()),
        query_timeout: timeout
            .unwrap_or(default.query_timeout)
            .min(QUERY_TIMEOUT_MAX),
        tries: core::u32_or(proto.query_tries, 3).min(TRIES_MAX),
        cache: (entries_max > 0).then_some(AnswerCache {
            entries_max,
            ttl_max: None,
        }),
        absence_is_failure: true,
        ..default
    }
}

/// Name servers are IP addresses; port 0 is the usual one.
fn servers(protos: &[core_pb::Address], name: &str, cx: &mut Cx<'_>) -> Arc<[SocketAddr]> {
    let mut servers = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        let lowered = cx.index(name, i, |cx| core::address(Some(proto), "", cx));
        match lowered.map(|lowered| lowered.address) {
            Some(Address::Socket(mut server)) => {
                if server.port() == 0 {
                    server.set_port(DNS_PORT);
                }
                servers.push(server);
            }
            Some(Address::Pipe { path, .. }) => {
                let reason = format!("DNS resolver '{}' is not an IP address", path.display());
                cx.index(name, i, |cx| cx.error_at("pipe", reason));
            }
            None => {}
        }
    }
    servers.into()
}

const DNS_PORT: u16 = 53;
/// Hickory's default in Envoy.
const CACHE_ENTRIES: u32 = 1024;
/// Nobody waits longer for an answer; Envoy would, for centuries.
const QUERY_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
const TRIES_MAX: u32 = 100;
