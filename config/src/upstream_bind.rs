//! Where upstream connections start from (`envoy.config.core.v3.BindConfig`):
//! local addresses and options of their sockets. Compiled types on top,
//! lowering below.

use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{self as pb, TypedExtensionConfig};

use crate::context::{Cx, type_name};
use crate::core::{self, Address};
use crate::socket_option::{SocketOption, Use, options};

/// The local ends of a cluster's connections: at most one for each family of
/// addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamBind {
    /// The first is taken when none has the host's family.
    sources: Arc<[Source]>,
}

/// A local end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The address to bind to; without one the kernel chooses.
    pub address: Option<SocketAddr>,
    /// The address need not be the machine's (`IP_FREEBIND`).
    pub freebind: bool,
    /// Options of the socket.
    pub options: Arc<[SocketOption]>,
}

impl UpstreamBind {
    /// The local end for a host with an address of this family.
    #[must_use]
    pub fn source(&self, ipv6: bool) -> Option<&Source> {
        let of_family = |source: &&Source| source.address.is_some_and(|at| at.is_ipv6() == ipv6);
        self.sources.iter().find(of_family).or(self.sources.first())
    }
}

/// Lowers a bind config; `None` when it asks for nothing.
pub(crate) fn lower(proto: &pb::BindConfig, cx: &mut Cx<'_>) -> Option<UpstreamBind> {
    check_selector(proto.local_address_selector.as_ref(), cx);
    let freebind = core::bool_or(proto.freebind, false);
    let options = options(&proto.socket_options, Use::Connect, cx);
    let first = Source {
        address: (proto.source_address.as_ref())
            .and_then(|source| cx.field("source_address", |cx| ip_address(source, cx))),
        freebind,
        options: Arc::clone(&options),
    };
    let mut sources = vec![first];
    sources.extend(extra(proto, freebind, &options, cx));
    check_families(proto, &sources, cx);
    let asks = sources != [Source::default()];
    asks.then(|| UpstreamBind {
        sources: sources.into(),
    })
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn extra(
    proto: &pb::BindConfig,
    freebind: bool,
    common: &Arc<[SocketOption]>,
    cx: &mut Cx<'_>,
) -> Vec<Source> {
    let mut sources = Vec::new();
    for (i, extra) in proto.extra_source_addresses.iter().enumerate() {
        cx.index("extra_source_addresses", i, |cx| {
            let Some(address) = &extra.address else {
                cx.error("an address is needed here");
                return;
            };
            let options = match &extra.socket_options {
                Some(own) => cx.field("socket_options", |cx| {
                    options(&own.socket_options, Use::Connect, cx)
                }),
                None => Arc::clone(common),
            };
            sources.push(Source {
                address: cx.field("address", |cx| ip_address(address, cx)),
                freebind,
                options,
            });
        });
    }
    for (i, address) in proto.additional_source_addresses.iter().enumerate() {
        sources.push(Source {
            address: cx.index("additional_source_addresses", i, |cx| {
                ip_address(address, cx)
            }),
            freebind,
            options: Arc::clone(common),
        });
    }
    sources
}

/// What Envoy refuses too.
#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn check_families(proto: &pb::BindConfig, sources: &[Source], cx: &mut Cx<'_>) {
    let (extra, additional) = (
        !proto.extra_source_addresses.is_empty(),
        !proto.additional_source_addresses.is_empty(),
    );
    let field = if extra {
        "extra_source_addresses"
    } else {
        "additional_source_addresses"
    };
    if extra && additional {
        cx.error_at(
            "additional_source_addresses",
            "only one of extra_source_addresses and additional_source_addresses may be given",
        );
    } else if sources.len() > 1 && proto.source_address.is_none() {
        cx.error_at(field, "needs a source_address beside it");
    } else if sources.len() > 2 {
        cx.error_at(
            field,
            "one more address at most: one of each family, IPv4 and IPv6",
        );
    } else if let [first, second] = sources
        && let (Some(first), Some(second)) = (first.address, second.address)
        && first.is_ipv6() == second.is_ipv6()
    {
        cx.error_at(
            field,
            format!("{second} has the family of source_address {first}; the other one is needed"),
        );
    }
}

fn ip_address(proto: &pb::SocketAddress, cx: &mut Cx<'_>) -> Option<SocketAddr> {
    match core::socket_address(proto, "", cx)?.address {
        Address::Socket(address) => Some(address),
        Address::Pipe { .. } => None,
    }
}

/// The default selector does what is done without one.
fn check_selector(proto: Option<&TypedExtensionConfig>, cx: &mut Cx<'_>) {
    const DEFAULT: &str = "envoy.config.upstream.local_address_selector.v3.\
                           DefaultLocalAddressSelector";
    let Some(any) = proto.and_then(|proto| proto.typed_config.as_ref()) else {
        return;
    };
    if type_name(&any.type_url) != DEFAULT {
        cx.field("local_address_selector", |cx| {
            cx.error_at("typed_config", format!("only {DEFAULT} is supported"));
        });
    }
}
