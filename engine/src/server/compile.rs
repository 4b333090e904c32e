//! From a loaded file to everything that a start needs, except sockets.
//!
//! `--mode validate` ends here: whatever this accepts, a start accepts too,
//! apart from ports in use.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ringway_config::bootstrap::{self, Snapshot};
use ringway_config::clusters::{ClusterId, KnownClusters};
use ringway_config::context::Cx;
use ringway_config::diagnostics::Diagnostics;
use ringway_config::listener::{FilterChain, Listener};
use ringway_config::load::Loaded;
use ringway_config::runtime;
use ringway_config::socket_match::SocketId;
use ringway_config::tls::TransportSocket;

use crate::access_loggers::{self, AccessLog, EventLog};
use crate::control::cluster_manager::{EventLogs, Prepared};
use crate::filters::network::NetworkFilter;
use crate::registry::{self, ListenerFilter, TerminalFilter};
use crate::transport_sockets::proxy_protocol::AddedValues;
use crate::transport_sockets::tls::{ClientContext, ServerContext};

/// A configuration whose extensions are compiled too.
pub struct Compiled {
    /// The resources.
    pub snapshot: Snapshot,
    /// The listeners with their compiled filters.
    pub listeners: Vec<CompiledListener>,
    /// The admin server's access logs.
    pub admin_logs: Vec<AccessLog>,
    /// What clusters need beside their configuration.
    pub clusters: Prepared,
    /// Warnings of every phase.
    pub warnings: Diagnostics,
}

/// A listener with its compiled filters.
pub struct CompiledListener {
    /// The lowered configuration.
    pub config: Arc<Listener>,
    /// Logs of its connections.
    pub access_logs: Vec<AccessLog>,
    /// Its listener filters.
    pub filters: Vec<ListenerFilter>,
    /// Its chains, in the order of [`Listener::chains`]; `None` for those
    /// without filters.
    pub chains: Vec<Option<CompiledChain>>,
}

/// A filter chain with its compiled filters.
pub struct CompiledChain {
    /// Its TLS side; `None` is plaintext, `Some(None)` TLS whose secrets are in files.
    pub tls: Option<Option<Arc<ServerContext>>>,
    /// The filters before the terminal one.
    pub filters: Vec<Box<dyn NetworkFilter>>,
    /// Its terminal filter.
    pub terminal: TerminalFilter,
}

/// What lowering and compiling a loaded file finds, for those who look for
/// nothing else.
pub fn findings(loaded: &Loaded) -> Diagnostics {
    match compile(loaded) {
        Ok(compiled) => compiled.warnings,
        Err(found) => found,
    }
}

/// Lowers and compiles a loaded file. A resource that is wrong keeps nobody from
/// looking at the others, so that all mistakes are told at once.
///
/// # Errors
/// All findings of all resources.
pub fn compile(loaded: &Loaded) -> Result<Compiled, Diagnostics> {
    let mut snapshot = bootstrap::lower_partly(loaded);
    let mut diagnostics = std::mem::take(&mut snapshot.diagnostics);
    let listeners = compile_listeners(loaded, &snapshot, &mut diagnostics);
    let admin_logs = compile_admin_logs(loaded, &snapshot, &mut diagnostics);
    let clusters = Prepared {
        event_logs: open_event_logs(loaded, &snapshot, &mut diagnostics),
        tls: compile_client_contexts(loaded, &snapshot, &mut diagnostics),
        added_values: compile_added_values(loaded, &snapshot, &mut diagnostics),
    };
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    // What is not compiled reads no keys.
    report_unread_runtime_keys(loaded, &snapshot, &mut diagnostics);
    Ok(Compiled {
        snapshot,
        listeners,
        admin_logs,
        clusters,
        warnings: diagnostics,
    })
}

fn compile_listeners(
    loaded: &Loaded,
    snapshot: &Snapshot,
    diagnostics: &mut Diagnostics,
) -> Vec<CompiledListener> {
    let names = Arc::clone(&snapshot.names);
    let known = KnownClusters::of(&snapshot.clusters);
    let mut cx = Cx::new(diagnostics, &loaded.marks, Arc::clone(&loaded.file), &names);
    cx.known_clusters = known.as_ref();
    snapshot
        .listeners
        .iter()
        .map(|listener| CompiledListener {
            config: Arc::clone(listener),
            access_logs: cx.at(&listener.source.path, |cx| {
                access_loggers::compile(&listener.access_log, cx)
            }),
            filters: compile_listener_filters(listener, &mut cx),
            chains: (listener.chains())
                .map(|chain| compile_chain(chain, snapshot, &mut cx))
                .collect(),
        })
        .collect()
}

fn compile_admin_logs(
    loaded: &Loaded,
    snapshot: &Snapshot,
    diagnostics: &mut Diagnostics,
) -> Vec<AccessLog> {
    let Some(admin) = &snapshot.admin else {
        return Vec::new();
    };
    let names = Arc::clone(&snapshot.names);
    let mut cx = Cx::new(diagnostics, &loaded.marks, Arc::clone(&loaded.file), &names);
    cx.at(&admin.path, |cx| {
        let mut logs = access_loggers::compile(&admin.access_log, cx);
        if let Some(path) = &admin.access_log_path {
            let path = path.to_string_lossy();
            logs.extend(cx.field("access_log_path", |cx| {
                access_loggers::compile_path(&path, cx)
            }));
        }
        logs
    })
}

fn compile_client_contexts(
    loaded: &Loaded,
    snapshot: &Snapshot,
    diagnostics: &mut Diagnostics,
) -> HashMap<(ClusterId, SocketId), Option<Arc<ClientContext>>> {
    let names = Arc::clone(&snapshot.names);
    let mut cx = Cx::new(diagnostics, &loaded.marks, Arc::clone(&loaded.file), &names);
    let mut contexts = HashMap::new();
    let clusters = snapshot.clusters.iter();
    let sockets = clusters.flat_map(|cluster| {
        let id = cluster.id;
        (cluster.sockets()).map(move |(socket, config)| ((id, socket), config))
    });
    for (id, socket) in sockets {
        if let TransportSocket::Tls(context) = socket {
            let compiled = cx.at(&context.path, |cx| ClientContext::compile(context, cx));
            // Without its secrets it is compiled for the sake of what is wrong with it.
            let is_complete = context.secrets().next().is_none();
            contexts.extend(compiled.map(|compiled| {
                let compiled = is_complete.then(|| Arc::new(compiled));
                (id, compiled)
            }));
        }
    }
    contexts
}

/// What clusters say in headers of PROXY protocol besides addresses.
fn compile_added_values(
    loaded: &Loaded,
    snapshot: &Snapshot,
    diagnostics: &mut Diagnostics,
) -> HashMap<ClusterId, Arc<AddedValues>> {
    let names = Arc::clone(&snapshot.names);
    let mut cx = Cx::new(diagnostics, &loaded.marks, Arc::clone(&loaded.file), &names);
    let clusters = snapshot.clusters.iter();
    let compiled = clusters.filter_map(|cluster| {
        let values = AddedValues::compile(cluster.proxy_protocol.as_deref()?, &mut cx)?;
        Some((cluster.id, Arc::new(values)))
    });
    compiled.collect()
}

fn open_event_logs(
    loaded: &Loaded,
    snapshot: &Snapshot,
    diagnostics: &mut Diagnostics,
) -> EventLogs {
    let names = Arc::clone(&snapshot.names);
    let mut cx = Cx::new(diagnostics, &loaded.marks, Arc::clone(&loaded.file), &names);
    let mut open =
        |field: &str, path: &Path| cx.at(field, |cx| EventLog::open(&path.to_string_lossy(), cx));
    let mut logs = EventLogs::default();
    if let Some(path) = &snapshot.outlier_event_log {
        logs.outliers = open("cluster_manager.outlier_detection.event_log_path", path);
    }
    for cluster in &snapshot.clusters {
        let Some(check) = &cluster.health_check else {
            continue;
        };
        let opened = check.event_logs.iter();
        let opened = opened.filter_map(|log| open(&log.field, &log.path));
        logs.health_checks.insert(cluster.id, opened.collect());
    }
    logs
}

/// Runtime keys of the file that nothing reads, now that all that may read one
/// is compiled.
fn report_unread_runtime_keys(loaded: &Loaded, snapshot: &Snapshot, found: &mut Diagnostics) {
    let names = Arc::clone(&snapshot.names);
    let mut cx = Cx::new(found, &loaded.marks, Arc::clone(&loaded.file), &names);
    runtime::report_unread(&snapshot.runtime, &mut cx);
}

fn compile_listener_filters(listener: &Listener, cx: &mut Cx<'_>) -> Vec<ListenerFilter> {
    let filters = listener.listener_filters.iter();
    filters
        .map(|filter| &filter.extension)
        .filter_map(|filter| cx.at(&filter.path, |cx| registry::listener_filter(filter, cx)))
        .collect()
}

fn compile_chain(
    chain: &FilterChain,
    snapshot: &Snapshot,
    cx: &mut Cx<'_>,
) -> Option<CompiledChain> {
    let tls = match &chain.transport_socket {
        TransportSocket::RawBuffer => None,
        TransportSocket::Tls(context) => {
            let compiled = cx.at(&context.path, |cx| ServerContext::compile(context, cx))?;
            let is_complete = context.secrets().next().is_none();
            Some(is_complete.then(|| Arc::new(compiled)))
        }
    };
    let (terminal, before) = chain.filters.split_last()?;
    let filters: Vec<_> = before
        .iter()
        .filter_map(|filter| {
            let compiled = cx.at(&filter.path, |cx| registry::network_filter(filter, cx));
            compiled.map(|compiled| (filter, compiled))
        })
        .collect();
    let terminal = cx.at(&terminal.path, |cx| {
        registry::terminal_filter(terminal, &snapshot.node.cluster, cx)
    })?;
    if let TerminalFilter::HttpConnectionManager(..) = terminal {
        let watching = filters.iter().filter(|(_, filter)| filter.wants_all_data());
        for (filter, _) in watching {
            cx.at(&filter.path, |cx| {
                cx.error(
                    "is not supported yet with enforcement_type CONTINUOUS before an HTTP \
                     connection manager: it sees only what comes first of a client",
                );
            });
        }
    }
    Some(CompiledChain {
        tls,
        filters: filters.into_iter().map(|(_, filter)| filter).collect(),
        terminal,
    })
}
