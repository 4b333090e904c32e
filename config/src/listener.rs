//! Listeners (`envoy.config.listener.v3`): where connections come in and
//! which filters they run through. Compiled types on top, lowering below.
//!
//! Only what can be decided without an engine is decided here: addresses,
//! limits, the order of filters. The filters' own configuration stays a
//! message that the engine's registry compiles.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3 as pb;
use envoy_types::pb::google::protobuf::Any;

use crate::context::{Cx, Source};
use crate::core::{Address, TcpKeepalive};

/// A compiled listener: immutable, shared by all workers.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its unique name; an unnamed listener is called after its place in the
    /// file (Envoy invents a UUID).
    pub name: Arc<str>,
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
    /// At most one, and it matches every connection (filter chain matching
    /// is refused so far).
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Used when no filter chain matches: `filter_chains` is empty, or, one
    /// day, holds only chains with a match.
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
    /// Replaces the address in `listener.<address>.` stat names.
    pub stat_prefix: Option<Arc<str>>,
    /// Which way its traffic goes, for `drain_listeners?inboundonly`.
    pub traffic_direction: TrafficDirection,
    /// When its connections are drained.
    pub drain_type: DrainType,
    /// Keep-alive of accepted sockets of the main address.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

impl Listener {
    /// The chain that a connection runs through, if there is one.
    pub fn filter_chain(&self) -> Option<&Arc<FilterChain>> {
        self.filter_chains.first().or(self.default_filter_chain.as_ref())
    }
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
}
