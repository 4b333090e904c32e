//! Listeners (`envoy.config.listener.v3`): where connections come in and
//! which filters they run through. Compiled types on top, lowering below.
//!
//! Only what can be decided without an engine is decided here: addresses,
//! limits, the order of filters. The filters' own configuration stays a
//! message that the engine's registry compiles.

pub mod filter_chain_match;
pub mod filter_chain_matcher;
pub mod filter_disabled;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::AccessLog;
use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::network::direct_response::v3::Config as DirectResponse;
use envoy_types::pb::envoy::extensions::filters::network::echo::v3::Echo;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;

use crate::context::{Cx, Source, type_name};
use crate::core::{self, Address, TcpKeepalive};
use crate::metadata::Metadata;
use crate::runtime::RuntimeKey;
use crate::socket_option::{SocketOption, Use, options};
use crate::tls::{DownstreamTlsContext, Secrets, TransportSocket};
use filter_chain_match::{Arrival, FilterChainIndex};
use filter_chain_matcher::FilterChainMatcher;
use filter_disabled::Predicate;

/// A compiled listener: immutable, shared by all workers.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its unique name; an unnamed listener is called after its place in the
    /// file (Envoy invents a UUID).
    pub name: Arc<str>,
    /// What the configuration says of it, for logs; `None` is nothing.
    pub metadata: Option<Arc<Metadata>>,
    /// The main address.
    pub address: Address,
    /// An IPv6 socket that takes IPv4 connections as well; without it an
    /// IPv6 socket is bound with `IPV6_V6ONLY`.
    pub ipv4_compat: bool,
    /// Further addresses that behave exactly as the main one.
    pub additional_addresses: Vec<AdditionalAddress>,
    /// Where the configuration names it, for messages such as "address in
    /// use".
    pub source: Source,
    /// What looks at a connection before its chain is chosen, in order.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long that may take; `None` is no limit.
    pub listener_filters_timeout: Option<Duration>,
    /// What took too long is left out, rather than the connection closed.
    pub continue_on_listener_filters_timeout: bool,
    /// The chains, each for the connections that it matches.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Which of them a connection runs through.
    pub filter_chain_choice: FilterChainChoice,
    /// For connections that none of them matches.
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// High watermark of each direction of a connection, in bytes.
    pub buffer_limit: u32,
    /// Length of the kernel's accept queue; `None` is the system's maximum
    /// (`net.core.somaxconn`), as in Envoy on Linux.
    pub tcp_backlog: Option<u32>,
    /// Each worker binds a socket of its own; otherwise all share one.
    pub reuse_port: bool,
    /// False: the listener exists but no socket is bound.
    pub bind_to_port: bool,
    /// A connection that wanted to go elsewhere is given to the listener that stands
    /// for that address, if there is one (`use_original_dst`).
    pub hands_over_restored: bool,
    /// How many connections there may be at once, if it has a value.
    pub connection_limit: RuntimeKey,
    /// Replaces the address in `listener.<address>.` stat names.
    pub stat_prefix: Option<Arc<str>>,
    /// Which way its traffic goes, for `drain_listeners?inboundonly`.
    pub traffic_direction: TrafficDirection,
    /// When its connections are drained.
    pub drain_type: DrainType,
    /// Keep-alive of accepted sockets of the main address.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// What is asked of its sockets.
    pub sockets: Sockets,
    /// Logs of its connections, still to be compiled by the engine.
    pub access_log: Vec<AccessLog>,
}

/// What a listener asks of the sockets of all its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// They take connections to any address (`IP_TRANSPARENT`).
    pub transparent: bool,
    /// Their address need not be the machine's yet (`IP_FREEBIND`).
    pub freebind: bool,
    /// How many clients may wait that have sent data with their first packet
    /// (TCP Fast Open); `None` leaves it to the system.
    pub fast_open_queue: Option<u32>,
    /// They speak Multipath TCP.
    pub multipath: bool,
    /// Further options; those of an additional address may be others.
    pub options: Arc<[SocketOption]>,
}

impl Listener {
    /// All chains; the default one is the last.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.filter_chains.iter().chain(&self.default_filter_chain)
    }

    /// The place in [`chains`](Self::chains) of the one that a connection runs
    /// through, if there is one.
    pub fn find_chain(&self, arrival: &Arrival<'_>) -> Option<usize> {
        let default = (self.default_filter_chain.is_some()).then_some(self.filter_chains.len());
        let found = match &self.filter_chain_choice {
            FilterChainChoice::ByMatches(index) => index.find(arrival),
            FilterChainChoice::ByMatcher(matcher) => matcher.find(arrival),
        };
        found.or(default)
    }

    /// The main address and all additional ones.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.address)
            .chain(self.additional_addresses.iter().map(|more| &more.address))
    }
}

/// How the chain of a connection is found.
#[derive(Clone, Debug)]
pub enum FilterChainChoice {
    /// By what each chain says that it matches.
    ByMatches(FilterChainIndex),
    /// By `filter_chain_matcher`.
    ByMatcher(Arc<FilterChainMatcher>),
}

/// One more address of a listener (`listener.v3.AdditionalAddress`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdditionalAddress {
    /// The address.
    pub address: Address,
    /// As [`Listener::ipv4_compat`].
    pub ipv4_compat: bool,
    /// Keep-alive of sockets accepted here (the listener's if not given).
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Options of its socket instead of the listener's.
    pub options: Option<Arc<[SocketOption]>>,
}

/// What looks at connections before their chain is chosen
/// (`listener.v3.ListenerFilter`).
#[derive(Clone, Debug)]
pub struct ListenerFilter {
    /// The filter.
    pub extension: Extension,
    /// The connections that it does not look at.
    pub disabled: Option<Predicate>,
}

/// `core.v3.TrafficDirection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficDirection {
    /// Not said.
    #[default]
    Unspecified,
    /// Towards this service.
    Inbound,
    /// From this service.
    Outbound,
}

/// `listener.v3.Listener.DrainType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainType {
    /// On failed health, on removal and on shutdown.
    #[default]
    Default,
    /// Only when the listener is modified or removed.
    ModifyOnly,
}

/// The filters of a connection, in order (`listener.v3.FilterChain`).
#[derive(Clone, Debug)]
pub struct FilterChain {
    /// Its name; empty when not given.
    pub name: Arc<str>,
    /// What the configuration says of it, for logs; `None` is nothing.
    pub metadata: Option<Arc<Metadata>>,
    /// Where the configuration has it.
    pub source: Source,
    /// What carries the bytes.
    pub transport_socket: TransportSocket<DownstreamTlsContext>,
    /// Network filters; the last is terminal. Empty: Envoy closes such a
    /// connection at once.
    pub filters: Vec<Extension>,
    /// Time for the transport socket to finish its handshake; `None` is no
    /// limit.
    pub transport_socket_connect_timeout: Option<Duration>,
}

/// The configuration of one extension, still to be compiled by the engine's
/// registry under the type that [`Extension::config`] names.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The name given by the user, used in stats and messages; the type URL
    /// alone selects the implementation, as in Envoy.
    pub name: Arc<str>,
    /// The typed configuration.
    pub config: Any,
    /// Path of `config` in the file, for the diagnostics of the engine.
    pub path: String,
    /// Of an HTTP filter: it runs only for routes that say so.
    pub disabled: bool,
}

/// Lowers the listener at `index` of its list, which names it if nothing
/// else does.
pub(crate) fn lower(
    proto: &pb::Listener,
    index: usize,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Option<Listener> {
    let address = cx.field("address", |cx| {
        core::address(proto.address.as_ref(), "", cx)
    });
    let additional_addresses = additional_addresses(&proto.additional_addresses, cx);
    let hands_over_restored = core::bool_or(proto.use_original_dst, false);
    let mut listener_filters = listener_filters(&proto.listener_filters, cx);
    if hands_over_restored {
        listener_filters.push(original_dst(cx));
    }
    let filter_chains = filter_chains(proto, secrets, cx);
    let filter_chain_choice = match &proto.filter_chain_matcher {
        None => Some(FilterChainChoice::ByMatches(filter_chain_match::lower(
            &proto.filter_chains,
            cx,
        ))),
        Some(matcher) => FilterChainMatcher::lower(matcher, &proto.filter_chains, cx)
            .map(|matcher| FilterChainChoice::ByMatcher(Arc::new(matcher))),
    };
    let default_filter_chain = proto.default_filter_chain.as_ref().and_then(|chain| {
        cx.field("default_filter_chain", |cx| {
            filter_chain(chain, secrets, cx)
        })
    });

    let address = address?;
    let name = match proto.name.as_str() {
        "" => format!("listener_{index}").into(),
        name => name.into(),
    };
    let connection_limit = format!("envoy.resource_limits.listener.{name}.connection_limit");
    let connection_limit = cx.runtime_keys.id(&connection_limit);
    Some(Listener {
        metadata: Metadata::shared(proto.metadata.as_ref()),
        name,
        // Sockets of the filesystem cannot be bound twice.
        reuse_port: core::bool_or(proto.enable_reuse_port, true)
            && matches!(address.address, Address::Socket(_)),
        address: address.address,
        ipv4_compat: address.ipv4_compat,
        additional_addresses,
        source: cx.source(),
        listener_filters,
        listener_filters_timeout: core::duration_or_off(
            proto.listener_filters_timeout,
            "listener_filters_timeout",
            Some(LISTENER_FILTERS_TIMEOUT),
            cx,
        ),
        continue_on_listener_filters_timeout: proto.continue_on_listener_filters_timeout,
        filter_chains,
        filter_chain_choice: filter_chain_choice?,
        default_filter_chain,
        buffer_limit: core::u32_or(proto.per_connection_buffer_limit_bytes, BUFFER_LIMIT),
        tcp_backlog: proto.tcp_backlog_size.map(|value| value.value),
        bind_to_port: bind_to_port(proto),
        hands_over_restored,
        connection_limit,
        stat_prefix: Some(proto.stat_prefix.as_str())
            .filter(|prefix| !prefix.is_empty())
            .map(Arc::from),
        traffic_direction: match proto.traffic_direction() {
            core_pb::TrafficDirection::Unspecified => TrafficDirection::Unspecified,
            core_pb::TrafficDirection::Inbound => TrafficDirection::Inbound,
            core_pb::TrafficDirection::Outbound => TrafficDirection::Outbound,
        },
        drain_type: match proto.drain_type() {
            pb::listener::DrainType::Default => DrainType::Default,
            pb::listener::DrainType::ModifyOnly => DrainType::ModifyOnly,
        },
        tcp_keepalive: core::tcp_keepalive(proto.tcp_keepalive.as_ref()),
        sockets: Sockets {
            transparent: core::bool_or(proto.transparent, false),
            freebind: core::bool_or(proto.freebind, false),
            fast_open_queue: proto.tcp_fast_open_queue_length.map(|length| length.value),
            multipath: proto.enable_mptcp,
            options: options(&proto.socket_options, Use::Listen, cx),
        },
        access_log: proto.access_log.clone(),
    })
}

/// Envoy's default for listeners and clusters: 1 MiB.
pub(crate) const BUFFER_LIMIT: u32 = 1024 * 1024;

/// Envoy's default.
const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn bind_to_port(proto: &pb::Listener) -> bool {
    let deprecated = proto.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port);
    core::bool_or(proto.bind_to_port.or(deprecated), true)
}

fn additional_addresses(
    protos: &[pb::AdditionalAddress],
    cx: &mut Cx<'_>,
) -> Vec<AdditionalAddress> {
    let mut addresses = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        let address = cx.index("additional_addresses", i, |cx| {
            cx.field("address", |cx| {
                core::address(proto.address.as_ref(), "", cx)
            })
        });
        addresses.extend(address.map(|address| AdditionalAddress {
            address: address.address,
            ipv4_compat: address.ipv4_compat,
            tcp_keepalive: core::tcp_keepalive(proto.tcp_keepalive.as_ref()),
            options: proto.socket_options.as_ref().map(|own| {
                cx.index("additional_addresses", i, |cx| {
                    cx.field("socket_options", |cx| {
                        options(&own.socket_options, Use::Listen, cx)
                    })
                })
            }),
        }));
    }
    addresses
}

fn listener_filters(protos: &[pb::ListenerFilter], cx: &mut Cx<'_>) -> Vec<ListenerFilter> {
    let mut filters = Vec::with_capacity(protos.len());
    for (i, proto) in protos.iter().enumerate() {
        let config = match &proto.config_type {
            Some(pb::listener_filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(pb::listener_filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        filters.extend(cx.index("listener_filters", i, |cx| {
            let disabled = proto.filter_disabled.as_ref();
            let disabled = disabled
                .map(|predicate| cx.field("filter_disabled", |cx| Predicate::lower(predicate, cx)));
            Some(ListenerFilter {
                extension: Extension::lower(&proto.name, config, cx)?,
                disabled: disabled.flatten(),
            })
        }));
    }
    filters
}

/// The filter that `use_original_dst` puts behind all others.
fn original_dst(cx: &Cx<'_>) -> ListenerFilter {
    let config = Any {
        type_url: OriginalDst::type_url(),
        value: Vec::new(),
    };
    ListenerFilter {
        extension: Extension {
            name: "envoy.filters.listener.original_dst".into(),
            config,
            path: format!("{}.use_original_dst", cx.path()),
            disabled: false,
        },
        disabled: None,
    }
}

fn filter_chains(
    proto: &pb::Listener,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Vec<Arc<FilterChain>> {
    if proto.filter_chains.is_empty() && proto.default_filter_chain.is_none() {
        cx.error("no filter chains: a listener needs filter_chains or default_filter_chain");
    }
    let mut chains = Vec::with_capacity(proto.filter_chains.len());
    for (i, chain) in proto.filter_chains.iter().enumerate() {
        cx.index("filter_chains", i, |cx| {
            chains.extend(filter_chain(chain, secrets, cx));
        });
    }
    chains
}

fn filter_chain(
    proto: &pb::FilterChain,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> Option<Arc<FilterChain>> {
    let transport_socket =
        TransportSocket::downstream(proto.transport_socket.as_ref(), secrets, cx);
    let mut filters = Vec::with_capacity(proto.filters.len());
    for (i, filter) in proto.filters.iter().enumerate() {
        let config = match &filter.config_type {
            Some(pb::filter::ConfigType::TypedConfig(any)) => Some(any),
            Some(pb::filter::ConfigType::ConfigDiscovery(_)) | None => None,
        };
        let filter = cx.index("filters", i, |cx| {
            Extension::lower(&filter.name, config, cx)
        });
        filters.extend(filter);
    }
    // Places in an incomplete list would be wrong, and its own error is told.
    if filters.len() == proto.filters.len() {
        check_terminal(&filters, "filters", "network", is_terminal, cx);
    }
    Some(Arc::new(FilterChain {
        name: proto.name.as_str().into(),
        metadata: Metadata::shared(proto.metadata.as_ref()),
        source: cx.source(),
        transport_socket,
        filters,
        transport_socket_connect_timeout: core::duration_or_off(
            proto.transport_socket_connect_timeout,
            "transport_socket_connect_timeout",
            None,
            cx,
        ),
    }))
}

/// Network filters that end a chain. Those that Ringway does not have yet
/// are refused before anybody asks.
fn is_terminal(message: &str) -> bool {
    [
        HttpConnectionManager::full_name(),
        Echo::full_name(),
        DirectResponse::full_name(),
        TcpProxy::full_name(),
    ]
    .iter()
    .any(|terminal| terminal == message)
}

/// Checks that the last filter of a chain is a terminal one and that no
/// other is. `field` is the list in the configuration, `chain` the kind of
/// chain in Envoy's words (`network`, `http`), `is_terminal` knows the
/// filters by the message that configures them.
pub fn check_terminal(
    filters: &[Extension],
    field: &str,
    chain: &str,
    is_terminal: impl Fn(&str) -> bool,
    cx: &mut Cx<'_>,
) {
    for (i, filter) in filters.iter().enumerate() {
        let last = i + 1 == filters.len();
        let name = &filter.name;
        let reason = match (is_terminal(filter.message()), last) {
            (true, false) => {
                format!("terminal filter {name} must be the last filter in a {chain} filter chain")
            }
            (false, true) => {
                format!("non-terminal filter {name} is the last filter in a {chain} filter chain")
            }
            (true, true) | (false, false) => continue,
        };
        cx.index(field, i, |cx| cx.error(reason));
    }
}

impl Extension {
    /// An extension at the current path, configured by its `typed_config`.
    pub fn lower(name: &str, config: Option<&Any>, cx: &mut Cx<'_>) -> Option<Extension> {
        let Some(config) = config.filter(|any| !any.type_url.is_empty()) else {
            cx.error(format!(
                "{name:?} needs a typed_config: its type selects the implementation"
            ));
            return None;
        };
        Some(Extension {
            name: name.into(),
            config: config.clone(),
            path: format!("{}.typed_config", cx.path()),
            disabled: false,
        })
    }

    /// The full name of the message that configures it.
    pub fn message(&self) -> &str {
        type_name(&self.config.type_url)
    }
}
