//! Binding the sockets of every listener, before anything is published.

use std::io;
use std::sync::Arc;

use ringway_config::listener::{DrainType, Listener};
use socket2::Socket;

use super::compile::{CompiledChain, CompiledListener};
use crate::filters::listener::ListenerFilter;
use crate::filters::listener::http_inspector::HttpInspector;
use crate::filters::listener::local_ratelimit::LocalRateLimit;
use crate::filters::listener::proxy_protocol::ProxyProtocol;
use crate::filters::listener::tls_inspector::TlsInspector;
use crate::filters::network::tcp_proxy::TcpProxy;
use crate::filters::network::{NetworkFilters, RawTerminal, Terminal, http_connection_manager};
use crate::listener::{FilterChain, OpenConnections, SharedListener};
use crate::network::listen_socket::{self, ListenOptions};
use crate::network::socket_options::RefusedOption;
use crate::registry::{self, TerminalFilter};
use crate::stats::Store;
use crate::stats::listener::{ListenerStats, prefix};
use crate::transport_sockets::tls::SharedContext;

/// The longest accept queue; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG_MAX: i32 = i32::MAX;

/// Listeners with their sockets.
pub struct Bound {
    /// In the order of the configuration.
    pub listeners: Vec<Arc<SharedListener>>,
    /// For each listener and worker, one socket an address.
    pub sockets: Vec<Vec<Vec<Socket>>>,
}

/// Binds every listener's sockets for `workers` workers.
///
/// # Errors
/// One message for each address that cannot be bound: which listener, which
/// line, why.
pub fn bind(
    listeners: Vec<CompiledListener>,
    workers: usize,
    store: &Store,
) -> Result<Bound, Vec<String>> {
    let mut bound = Bound {
        listeners: Vec::new(),
        sockets: Vec::new(),
    };
    let mut problems = Vec::new();
    for listener in listeners {
        let config = &listener.config;
        let mut by_worker: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        let wanted = if config.bind_to_port { usize::MAX } else { 0 };
        for (place, address) in config.addresses().take(wanted).enumerate() {
            let additional = place
                .checked_sub(1)
                .and_then(|at| config.additional_addresses.get(at));
            let options = ListenOptions {
                backlog: config
                    .tcp_backlog
                    .map_or(BACKLOG_MAX, |backlog| backlog as i32),
                reuse_port: config.reuse_port,
                tcp_keepalive: additional.map_or(config.tcp_keepalive, |one| one.tcp_keepalive),
                ipv4_compat: additional.map_or(config.ipv4_compat, |one| one.ipv4_compat),
                sockets: &config.sockets,
                options: additional
                    .and_then(|one| one.options.as_ref())
                    .unwrap_or(&config.sockets.options),
            };
            match listen_socket::bind(address, options, workers) {
                Ok((sockets, real)) => {
                    addresses.push(real);
                    for (mine, socket) in by_worker.iter_mut().zip(sockets) {
                        mine.push(socket);
                    }
                }
                Err(error) => problems.push(problem(config, address, &error)),
            }
        }
        let prefix = prefix(
            config
                .stat_prefix
                .as_deref()
                .unwrap_or(&config.address.to_string()),
        );
        let drain_type = listener.config.drain_type;
        let ready = |chain: CompiledChain| {
            Arc::new(FilterChain {
                tls: (chain.tls)
                    .map(|context| Arc::new(SharedContext::new(context, store, &prefix))),
                filters: NetworkFilters::new(chain.filters, store),
                terminal: terminal(chain.terminal, drain_type, store, &prefix),
            })
        };
        let chains = listener.chains.into_iter();
        let chains = chains.map(|chain| chain.map(ready)).collect();
        let filters = listener.filters.into_iter();
        let filters = filters.map(|filter| match filter {
            registry::ListenerFilter::HttpInspector => {
                ListenerFilter::HttpInspector(HttpInspector::new(store))
            }
            registry::ListenerFilter::LocalRateLimit(config) => {
                ListenerFilter::LocalRateLimit(LocalRateLimit::new(&config, store))
            }
            registry::ListenerFilter::OriginalDst => ListenerFilter::OriginalDst,
            registry::ListenerFilter::OriginalSrc(filter) => ListenerFilter::OriginalSrc(filter),
            registry::ListenerFilter::ProxyProtocol(config) => {
                ListenerFilter::ProxyProtocol(ProxyProtocol::new(config, store))
            }
            registry::ListenerFilter::TlsInspector(config) => {
                ListenerFilter::TlsInspector(TlsInspector::new(config, store))
            }
        });
        let filters = filters.collect();
        bound.listeners.push(Arc::new(SharedListener {
            access_logs: listener.access_logs,
            stats: ListenerStats::new(store, &prefix),
            config: listener.config,
            addresses,
            prefix,
            filters,
            chains,
            open: OpenConnections::new(store),
        }));
        bound.sockets.push(by_worker);
    }
    if problems.is_empty() {
        Ok(bound)
    } else {
        Err(problems)
    }
}

/// The filter at a chain's end, ready to run below a listener whose statistics
/// begin with `prefix`.
pub(super) fn terminal(
    filter: TerminalFilter,
    drain_type: DrainType,
    store: &Store,
    prefix: &str,
) -> Terminal {
    let raw = match filter {
        TerminalFilter::HttpConnectionManager(config, filters) => {
            let (config, filters) = (*config, filters);
            let manager =
                http_connection_manager::Shared::new(config, filters, drain_type, store, prefix);
            return Terminal::HttpConnectionManager(Arc::new(manager));
        }
        TerminalFilter::Echo => RawTerminal::Echo,
        TerminalFilter::DirectResponse(filter) => RawTerminal::DirectResponse(filter),
        TerminalFilter::TcpProxy(config) => {
            RawTerminal::TcpProxy(Box::new(TcpProxy::new(*config, store)))
        }
    };
    Terminal::Raw(Arc::new(raw))
}

fn problem(
    listener: &Listener,
    address: &ringway_config::core::Address,
    error: &io::Error,
) -> String {
    let name = &listener.name;
    let source = &listener.source;
    if let Some(inner) = error.get_ref()
        && inner.is::<RefusedOption>()
    {
        return format!("{source}: listener '{name}': {address}: {error}");
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{source}: listener '{name}': {address} is in use by another process")
        }
        io::ErrorKind::PermissionDenied => format!(
            "{source}: listener '{name}': no permission to bind {address} \
             (ports below 1024 need CAP_NET_BIND_SERVICE)"
        ),
        _ => format!("{source}: listener '{name}': cannot bind {address}: {error}"),
    }
}
