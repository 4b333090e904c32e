//! The process: start, run, end.
//!
//! [`run`] is the order of things. Everything that can fail does so before the
//! first connection is accepted, with the place in the file that is at fault.
//!
//! - `compile.rs`: from a loaded file to compiled filters.
//! - `listen.rs`: binding sockets.
//! - `starting.rs`: opening the listeners once there is somewhere to send requests.
//! - `admin_log.rs`: the admin server's access log.
//! - `validate.rs`: `--mode validate`.
//! - `explain.rs`: `ringway explain`.
//! - `view.rs`: what the admin server sees; `certificates.rs`: of certificates.
//! - `dynamic_clusters.rs`: the clusters in it that came while the process ran.
//! - `runtime.rs`: runtime layers and what `/runtime_modify` did to them.
//! - `logging.rs`: the application log.
//! - `origin.rs`, `default.yaml`: what runs without a configuration.

mod admin_log;
mod certificates;
pub(crate) mod compile;
mod dynamic_clusters;
mod explain;
mod fatal_error;
pub(crate) mod listen;
pub mod logging;
mod origin;
mod runtime;
mod starting;
mod validate;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use ringway_config::bootstrap::Admin;
use ringway_config::core::Address;
use ringway_config::diagnostics::Diagnostics;
use ringway_config::load::{self, Format, LoadOptions, Loaded};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub use self::explain::explain;

use self::compile::Compiled;
use self::runtime::Runtime;
use self::starting::Starting;
use self::validate::validate;
use self::view::View;
use crate::access_loggers::{LogHandle, LogWriter};
use crate::admin::{self, Action, Loggers, ServerState};
use crate::cli::{Mode, Options};
use crate::control::cluster_manager::{ClusterChange, ClusterManager};
use crate::control::discovery::{self, DnsCache};
use crate::control::drain::drain;
use crate::control::publish::Publisher;
use crate::control::secret_manager::{ContextChange, SecretManager};
use crate::network::address::local_address;
use crate::network::limits;
use crate::reactor;
use crate::stats::server::ProcessStats;
use crate::stats::{Shard, Store};
use crate::upstream::conn_pool::lending::Workers;
use crate::worker::{Change, Plan, cpu};

/// Runs the process until it is told to end.
///
/// # Errors
/// Whatever keeps it from starting; the text is meant for the user.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.mode == Mode::Validate {
        let status = validate(
            options,
            &compile::findings,
            &mut std::io::stdout(),
            &mut std::io::stderr(),
        )?;
        return Ok(ExitCode::from(status));
    }
    fatal_error::install();
    let loggers = logging::init(options)?;
    let loaded = match load_configuration(options) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return Ok(refuse(&diagnostics)),
    };
    let compiled = match compile::compile(&loaded) {
        Ok(compiled) => compiled,
        Err(diagnostics) => return Ok(refuse(&diagnostics)),
    };
    for warning in loaded.diagnostics.iter().chain(compiled.warnings.iter()) {
        if options.skip_deprecated_logs && warning.is_deprecation() {
            continue;
        }
        tracing::warn!("{warning}");
    }
    for flag in options.unsupported_flags() {
        tracing::warn!("{flag} is not supported yet and has no effect");
    }
    raise_open_files();
    if options.mode == Mode::InitOnly {
        return Ok(ExitCode::SUCCESS);
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(options, &loaded, compiled, loggers))
}

/// The configuration that the command line names, or the embedded one.
fn load_configuration(options: &Options) -> Result<Loaded, Diagnostics> {
    let load_options = load_options(options);
    if options.has_configuration() {
        return load::load_files_and_look(
            options.config_path.as_deref(),
            options.config_yaml.as_deref(),
            &load_options,
            &compile::findings,
        );
    }
    let origin = origin::start().map_or(0, |address| address.port());
    let text = include_str!("default.yaml");
    // The origin's port is the one thing that the file cannot know.
    let text = text.replace("port_value: 0 }", &format!("port_value: {origin} }}"));
    load::load(
        &text,
        "(built-in configuration)",
        Format::Yaml,
        &load_options,
    )
}

fn load_options(options: &Options) -> LoadOptions {
    LoadOptions {
        allow_unknown_static_fields: options.allow_unknown_static_fields,
        has_service_node: !options.service_node.is_empty(),
        has_service_cluster: !options.service_cluster.is_empty(),
    }
}

fn refuse(diagnostics: &Diagnostics) -> ExitCode {
    eprintln!("{diagnostics}");
    let errors = diagnostics.errors().count();
    eprintln!(
        "{errors} error{} in the configuration",
        if errors == 1 { "" } else { "s" }
    );
    ExitCode::FAILURE
}

/// A proxy needs two descriptors a proxied connection, and distributions start
/// programs with a soft limit of 1,024.
fn raise_open_files() {
    match limits::raise_open_files() {
        Ok(limit) => tracing::info!(
            before = limit.before,
            now = limit.now,
            "limit on open files"
        ),
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}

async fn serve(
    options: &Options,
    loaded: &Loaded,
    mut compiled: Compiled,
    loggers: Loggers,
) -> anyhow::Result<ExitCode> {
    let places = cpu::placement(options.concurrency);
    let workers = places.len();
    let store = Store::new();
    store.shard(None).install();
    let log_writer = LogWriter::spawn(&options.log_writer_options(), &Arc::new(store.clone()))?;
    let stats = ProcessStats::new(&store, workers as u32);

    let bound = match listen::bind(std::mem::take(&mut compiled.listeners), workers, &store) {
        Ok(bound) => bound,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let admin_socket = match &compiled.snapshot.admin {
        Some(admin) => Some(bind_admin(admin)?),
        None => None,
    };

    let plan = Plan {
        count: workers as u32,
        reactor: reactor::Options {
            driver: options.io_driver,
            ..reactor::Options::default()
        },
        store: store.clone(),
        logs: log_writer.handle(),
        node: compiled.snapshot.node.clone(),
        stats_flush_interval: compiled.snapshot.stats_flush_interval,
        drain_time: options.drain_time(),
        log_flush_interval: options.file_flush_interval(),
        local_address: local_address(),
        lending: Workers::new(workers as u32),
    };
    let mut publisher = Publisher::start(&places, &plan).context("the workers did not start")?;
    let (actions, mut commands) = mpsc::unbounded_channel();
    let snapshot = &compiled.snapshot;
    let values = Arc::new(Runtime::new(
        snapshot.runtime.clone(),
        Arc::clone(&snapshot.names),
        &store,
    ));
    // The control plane logs what becomes of hosts.
    log_writer.handle().install();
    let prepared = &compiled.clusters;
    let mut cluster_manager = ClusterManager::new(snapshot, values.values(), prepared, &store);
    let clusters: Vec<_> = cluster_manager.shared().cloned().collect();
    let mut secrets = SecretManager::new(snapshot, &bound.listeners, &clusters, &store);
    secrets.start()?;
    let caches = snapshot.names.dns_caches.all();
    let caches = caches.iter().map(|cache| DnsCache::new(cache, &store));
    let caches: Vec<_> = caches.collect();
    let view = Arc::new(View::new(
        options,
        loaded,
        &compiled,
        &bound,
        cluster_manager.list(),
        secrets.view(),
        store.clone(),
        actions,
        loggers,
        Arc::clone(&values),
        publisher.workers().first().map(|worker| worker.driver),
    ));
    let admin_log = admin_log::sink(
        std::mem::take(&mut compiled.admin_logs),
        log_writer.handle(),
        Arc::clone(&values),
    );
    let mut admin_handle = None;
    if let Some(socket) = admin_socket {
        let address = socket.local_addr()?;
        if let Some(path) = &options.admin_address_path {
            std::fs::write(path, address.to_string())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let admin_view: Arc<dyn admin::ServerView> = Arc::<View>::clone(&view);
        admin_handle = Some(admin::spawn(socket, admin_view, store.clone(), admin_log)?);
        tracing::info!(%address, "admin");
    }

    cluster_manager.start_health_checks();
    // Before the hosts are looked for: workers then hear of what is found.
    publisher
        .publish(|_| {
            let clusters = clusters.iter().cloned().map(Change::Cluster);
            let caches = caches.iter().map(|cache| Arc::clone(&cache.shared));
            std::iter::once(Change::Runtime(values.values()))
                .chain(clusters)
                .chain(caches.map(Change::DnsCache))
                .collect()
        })
        .await;
    discovery::start_caches(caches, &cluster_manager.events());
    let warming = cluster_manager.start_finding()?;
    let starting = Starting {
        options,
        compiled: &compiled,
        stats: &stats,
        workers,
        bound,
        warming,
        has_names: false,
    };

    let ended = control_loop(
        options,
        starting,
        &mut publisher,
        &mut cluster_manager,
        &mut secrets,
        &mut commands,
        &view,
        &store,
        &log_writer.handle(),
    )
    .await?;
    if ended == End::Drain {
        view.set_state(ServerState::Draining);
        let limit = options.drain_time();
        tracing::info!(limit_s = limit.as_secs(), "draining");
        let mut again = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            left = drain(&mut publisher, limit) => {
                if left > 0 {
                    tracing::warn!(left, "connections were still open after --drain-time-s");
                }
            }
            _ = again.recv() => tracing::warn!("told to end twice: not draining any longer"),
            _ = interrupted.recv() => tracing::warn!("told to end twice: not draining any longer"),
        }
    }
    publisher.stop().await;
    if !log_writer.shutdown() {
        tracing::warn!("an access log did not take its last lines");
    }
    if let Some(admin) = admin_handle {
        admin.stop();
    }
    tracing::info!("exiting");
    Ok(ExitCode::SUCCESS)
}

fn bind_admin(admin: &Admin) -> anyhow::Result<std::net::TcpListener> {
    let Address::Socket(address) = admin.address else {
        anyhow::bail!(
            "{}: an admin server on a Unix socket is not supported yet",
            admin.source
        );
    };
    std::net::TcpListener::bind(address)
        .with_context(|| format!("{}: cannot bind admin address {address}", admin.source))
}

/// How the control loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A signal: requests in flight are finished.
    Drain,
    /// `/quitquitquit`: at once.
    Quit,
}

/// Waits for signals and admin commands, merges statistics now and then, and
/// opens the listeners once the clusters are warm.
#[expect(clippy::too_many_arguments, reason = "all that the main thread owns")]
async fn control_loop(
    options: &Options,
    starting: Starting<'_>,
    publisher: &mut Publisher,
    cluster_manager: &mut ClusterManager,
    secrets: &mut SecretManager,
    commands: &mut mpsc::UnboundedReceiver<Action>,
    view: &View,
    store: &Store,
    logs: &LogHandle,
) -> anyhow::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reopen = signal(SignalKind::user_defined1())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut flush = tokio::time::interval(view.stats_flush_interval());
    // When a graceful drain stops the listeners, and which. Meanwhile signals
    // and commands are heard.
    let mut stop_at: Option<(tokio::time::Instant, bool)> = None;
    let mut starting = Some(starting);
    loop {
        if starting.as_ref().is_some_and(|one| one.has_names)
            && !cluster_manager.awaits_first_checks()
            && let Some(starting) = starting.take()
        {
            starting.open_listeners(publisher, view).await;
        }
        let names = async {
            match &mut starting {
                Some(starting) if !starting.has_names => starting.warming.done().await,
                _ => std::future::pending().await,
            }
        };
        let stop_due = async {
            match stop_at {
                Some((at, inbound_only)) => {
                    tokio::time::sleep_until(at).await;
                    inbound_only
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => return Ok(End::Drain),
            _ = interrupt.recv() => return Ok(End::Drain),
            _ = reopen.recv() => reopen_logs(publisher, logs).await,
            // A terminal that closes is no reason to stop serving.
            _ = hang_up.recv() => tracing::warn!("SIGHUP is ignored"),
            _ = flush.tick() => {
                Shard::flush();
                store.merge();
            }
            changed = cluster_manager.changed() => publish_clusters(publisher, &changed).await,
            changed = secrets.changed() => {
                publisher
                    .publish(|_| changed.iter().map(ContextChange::for_worker).collect())
                    .await;
            }
            () = names => {
                // What made the last cluster warm may still be on its way.
                publish_clusters(publisher, &cluster_manager.pending()).await;
                if let Some(starting) = &mut starting {
                    starting.has_names = true;
                }
            }
            inbound_only = stop_due => {
                stop_at = None;
                stop_listeners(publisher, inbound_only).await;
            }
            command = commands.recv() => {
                let Some(command) = command else { continue };
                match command {
                    Action::Quit => return Ok(End::Quit),
                    Action::DrainListeners { graceful: true, inbound_only, skip_exit } => {
                        publisher.publish(|_| vec![Change::Drain]).await;
                        if !skip_exit {
                            let at = tokio::time::Instant::now() + options.drain_time();
                            stop_at = Some((at, inbound_only));
                        }
                    }
                    Action::Runtime(values) => {
                        let changed = cluster_manager.set_runtime(Arc::clone(&values));
                        let changes = |_| {
                            let hosts = changed.iter().map(ClusterChange::for_worker);
                            hosts.chain([Change::Runtime(Arc::clone(&values))]).collect()
                        };
                        publisher.publish(changes).await;
                    }
                    command => act(command, publisher, logs).await,
                }
            }
        }
    }
}

async fn publish_clusters(publisher: &mut Publisher, changed: &[ClusterChange]) {
    if !changed.is_empty() {
        let changes = |_| changed.iter().map(ClusterChange::for_worker).collect();
        publisher.publish(changes).await;
    }
}

/// Commands that are carried out at once.
async fn act(command: Action, publisher: &mut Publisher, logs: &LogHandle) {
    match command {
        Action::DrainListeners { inbound_only, .. } => {
            stop_listeners(publisher, inbound_only).await;
        }
        Action::HealthcheckFail => {
            publisher
                .publish(|_| vec![Change::HealthFailed(true)])
                .await;
        }
        Action::HealthcheckOk => {
            publisher
                .publish(|_| vec![Change::HealthFailed(false)])
                .await;
        }
        Action::ReopenLogs => reopen_logs(publisher, logs).await,
        // These are the loop's, or were done where they were asked.
        Action::Quit | Action::Runtime(_) | Action::SetLogLevel { .. } => {}
    }
}

async fn stop_listeners(publisher: &mut Publisher, inbound_only: bool) {
    publisher
        .publish(|_| vec![Change::StopListeners { inbound_only }])
        .await;
}

/// Lines that were written before belong into the old files; flushing makes
/// these complete at once.
async fn reopen_logs(publisher: &mut Publisher, logs: &LogHandle) {
    logs.reopen();
    let epoch = publisher.publish(|_| vec![Change::FlushLogs]).await;
    publisher.applied(epoch).await;
}
