//! Opening the listeners. They wait until the clusters are warm, so that the
//! first request does not find a cluster without hosts, or hosts of which
//! nobody knows whether they are healthy.

use std::sync::Arc;

use super::compile::Compiled;
use super::listen::Bound;
use super::view::View;
use crate::admin::ServerState;
use crate::cli::Options;
use crate::control::discovery::Warming;
use crate::control::publish::Publisher;
use crate::listener::SharedListener;
use crate::reactor;
use crate::stats::server::ProcessStats;
use crate::worker::Change;

/// A server whose listeners are bound and not open yet.
pub(super) struct Starting<'a> {
    pub options: &'a Options,
    pub compiled: &'a Compiled,
    pub stats: &'a ProcessStats,
    pub workers: usize,
    /// The listeners and their sockets.
    pub bound: Bound,
    /// What they wait for first: clusters that look for their hosts.
    pub warming: Warming,
    /// These have been waited for. Then the first health checks are.
    pub has_names: bool,
}

impl Starting<'_> {
    /// Lets the workers accept connections, and says that the server is live.
    pub async fn open_listeners(self, publisher: &mut Publisher, view: &View) {
        // Sockets cannot be copied: each worker's are taken out as it is told.
        let mut sockets = self.bound.sockets;
        let epoch = publisher
            .publish(|worker| {
                let listeners = self.bound.listeners.iter().zip(&mut sockets);
                listeners
                    .map(|(listener, by_worker)| {
                        let mine = std::mem::take(&mut by_worker[worker]);
                        Change::Listener(Arc::clone(listener), mine)
                    })
                    .collect()
            })
            .await;
        publisher.applied(epoch).await;
        view.set_state(ServerState::Live);
        report_start(self.options, view, self.stats, self.workers, publisher);
        announce(&self.bound.listeners, self.compiled, self.options);
    }
}

fn report_start(
    options: &Options,
    view: &View,
    stats: &ProcessStats,
    workers: usize,
    publisher: &Publisher,
) {
    let server = &stats.server;
    server.concurrency.set(workers as u64);
    server
        .hot_restart_epoch
        .set(u64::from(options.restart_epoch));
    server
        .initialization_time_ms
        .record(view.uptime().as_millis() as u64);
    let listeners = view.listener_count() as u64;
    stats.listener_manager.listener_added.add(listeners);
    stats
        .listener_manager
        .listener_create_success
        .add(listeners * workers as u64);
    stats.listener_manager.total_listeners_active.set(listeners);
    stats.listener_manager.workers_started.set(1);
    let clusters = view.cluster_count() as u64;
    stats.cluster_manager.cluster_added.add(clusters);
    stats.cluster_manager.active_clusters.set(clusters);
    if let Some(worker) = publisher.workers().first() {
        let uring = worker.driver == reactor::DriverKind::IoUring;
        view.store()
            .set(view.store().gauge("server.io_uring"), u64::from(uring));
        tracing::info!(workers, driver = %worker.driver, "workers run");
        if let Some(reason) = &worker.fallback_reason {
            tracing::warn!(reason, "io_uring cannot be used here");
        }
    }
}

/// Says what to try next when nobody has configured anything.
fn announce(listeners: &[Arc<SharedListener>], compiled: &Compiled, options: &Options) {
    for listener in listeners {
        for address in &listener.addresses {
            tracing::info!(listener = &*listener.config.name, %address, "listening");
        }
    }
    if options.has_configuration() {
        return;
    }
    let listen = listeners
        .first()
        .and_then(|listener| listener.addresses.first());
    let admin = compiled.snapshot.admin.as_ref().map(|admin| &admin.address);
    if let (Some(listen), Some(admin)) = (listen, admin) {
        eprintln!(
            "\nRingway runs its built-in configuration: a proxy on {listen} in front of an\n\
             origin of its own. Try, in another terminal:\n\n  \
             curl -v http://{listen}/hello\n  \
             curl 'http://{admin}/stats?usedonly'\n  \
             curl http://{admin}/help\n\n\
             Your own configuration, in Envoy's format:\n\n  \
             cargo run --release -- -c config/examples/basic-proxy.yaml\n  \
             cargo run --release -- --mode validate -c FILE\n\n\
             Ctrl-C ends it.\n"
        );
    }
}
