//! A worker: one pinned thread with its own reactor, listeners, pools,
//! balancers and statistics shard.
//!
//! A worker is told what to do by [`Update`]s that the control plane publishes
//! (`control::publish`) and applies them between two turns of its loop, so a
//! request sees either all of an update or nothing of it.

pub mod cpu;
pub mod shared;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use ringway_config::clusters::ClusterId;
use ringway_config::core::Node;
use ringway_config::dns_cache::DnsCacheId;
use ringway_config::listener::TrafficDirection;
use ringway_config::runtime::RuntimeValues;
use socket2::Socket;

use self::shared::{UpdateReceiver, UpdateSender, WorkerGauge, update_queue};
use crate::access_loggers::{FlushCause, LogHandle, flush_local};
use crate::filters::{WorkerContext, WorkerFacts};
use crate::listener::{SharedListener, WorkerListener};
use crate::reactor::{self, DriverKind, Reactor, RemoteWaker};
use crate::stats::{Shard, Store};
use crate::transport_sockets::tls::{ClientContext, ServerContext, SharedContext};
use crate::upstream::cluster::{Cluster, SharedCluster};
use crate::upstream::conn_pool::lending::{Lending, Workers};
use crate::upstream::dns_cache::{Known, SharedDnsCache};
use crate::upstream::host_set::HostSet;

/// Updates that may wait for a worker. The control plane publishes one at a
/// time and waits for room, so this only has to cover a burst of commands.
const UPDATES_MAX: usize = 64;

/// How long requests that are given up may take to be counted and logged.
const END_MAX: Duration = Duration::from_millis(100);

/// How often a draining worker looks whether its last connection is gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);

/// A set of changes that take effect together.
pub struct Update {
    /// The number of the configuration that the changes lead to.
    pub epoch: u64,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

/// One change of a worker's view.
pub enum Change {
    /// A new cluster, or a new version of one.
    Cluster(Arc<SharedCluster>),
    /// There is no such cluster any more.
    RemoveCluster(ClusterId),
    /// A new cache of names.
    DnsCache(Arc<SharedDnsCache>),
    /// What is known of the names of a cache.
    Names(DnsCacheId, Arc<Known>),
    /// Other hosts for a cluster, or the same with another health.
    Hosts(ClusterId, Arc<HostSet>),
    /// The TLS of a filter chain has become another one.
    ServerContext(Arc<SharedContext<ServerContext>>, Arc<ServerContext>),
    /// The TLS of a cluster has become another one.
    ClientContext(Arc<SharedContext<ClientContext>>, Arc<ClientContext>),
    /// A new listener with this worker's sockets, one an address.
    Listener(Arc<SharedListener>, Vec<Socket>),
    /// The runtime has other values.
    Runtime(Arc<RuntimeValues>),
    /// Listeners stop accepting; open connections live on.
    StopListeners {
        /// Only those that take traffic in.
        inbound_only: bool,
    },
    /// Connections are closed as soon as they have no request.
    Drain,
    /// `/healthcheck/fail` (true) and `/healthcheck/ok` (false).
    HealthFailed(bool),
    /// Access-log lines that are still buffered are handed to the writer.
    FlushLogs,
    /// The worker ends, whatever is in flight.
    Stop,
}

/// What a worker needs to start.
#[derive(Clone)]
pub struct Plan {
    /// How many workers there are.
    pub count: u32,
    /// Options of the reactor.
    pub reactor: reactor::Options,
    /// Where statistics are kept.
    pub store: Store,
    /// The way to the access-log writer.
    pub logs: LogHandle,
    /// Who this process is.
    pub node: Node,
    /// How often histograms are handed over.
    pub stats_flush_interval: Duration,
    /// How long the process takes to end at most.
    pub drain_time: Duration,
    /// How often buffered access-log lines are handed over.
    pub log_flush_interval: Duration,
    /// The machine's own address.
    pub local_address: IpAddr,
    /// How workers lend each other connections; made for `count` workers.
    pub lending: Arc<Workers>,
}

/// What the names of workers' threads begin with, as Envoy's do.
pub(crate) const THREAD_PREFIX: &str = "wrk:worker_";

/// The control plane's end of a worker.
pub struct Handle {
    updates: UpdateSender<Update>,
    waker: RemoteWaker,
    thread: JoinHandle<()>,
    connections: Arc<WorkerGauge>,
    /// The driver that its reactor runs on.
    pub driver: DriverKind,
    /// Why that is not io_uring, if nobody asked for another.
    pub fallback_reason: Option<String>,
}

impl Handle {
    /// Starts worker `index` and waits until its reactor runs.
    ///
    /// # Errors
    /// The thread or the reactor could not be made.
    pub fn start(index: u32, core: Option<CoreId>, plan: &Plan) -> io::Result<Self> {
        let (sender, receiver) = update_queue(UPDATES_MAX);
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let connections = Arc::new(WorkerGauge::default());
        let gauge = Arc::clone(&connections);
        let plan = plan.clone();
        let thread = std::thread::Builder::new()
            .name(format!("{THREAD_PREFIX}{index}"))
            .spawn(move || run(index, core, &plan, receiver, &gauge, &started))?;
        let gone = || io::Error::other("the worker ended before it started");
        let (waker, driver, fallback_reason) = has_started.recv().map_err(|_| gone())??;
        Ok(Self {
            updates: sender,
            waker,
            thread,
            connections,
            driver,
            fallback_reason,
        })
    }

    /// Queues an update and wakes the worker.
    ///
    /// # Errors
    /// Gives the update back when the worker is [`UPDATES_MAX`] behind.
    pub fn push(&mut self, update: Update) -> Result<(), Update> {
        self.updates.push(update)?;
        self.waker.wake();
        Ok(())
    }

    /// The last epoch that the worker has applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.updates.applied()
    }

    /// Downstream connections that were open a moment ago; kept up to date
    /// while the worker drains.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    /// The worker panicked.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

type Started = SyncSender<io::Result<(RemoteWaker, DriverKind, Option<String>)>>;

/// The worker's thread.
fn run(
    index: u32,
    core: Option<CoreId>,
    plan: &Plan,
    mut updates: UpdateReceiver<Update>,
    connections: &Arc<WorkerGauge>,
    started: &Started,
) {
    if let Some(core) = core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(
            worker = index,
            core = core.id,
            "the worker could not be pinned"
        );
    }
    plan.store.shard(Some(index)).install();
    plan.logs.clone().install();
    #[cfg(feature = "count-allocations")]
    shared::allocations::count_this_thread();
    let mut reactor = match Reactor::new(&plan.reactor) {
        Ok(reactor) => reactor,
        Err(error) => {
            // Nobody waits any more only if the control plane itself failed.
            let _ = started.send(Err(error));
            return;
        }
    };
    Lending::install(index, &plan.lending, reactor.remote_waker(), &plan.store);
    let reason = reactor.driver_fallback_reason().map(str::to_owned);
    let _ = started.send(Ok((reactor.remote_waker(), reactor.driver(), reason)));
    let context = WorkerContext::new(
        WorkerFacts {
            index,
            count: plan.count,
            local_address: plan.local_address,
            node: plan.node.clone(),
            drain_time: plan.drain_time,
        },
        &plan.store,
    );
    let worker = Worker {
        context: Rc::clone(&context),
        listeners: RefCell::new(Vec::new()),
        store: plan.store.clone(),
        connections: Arc::clone(connections),
    };
    reactor.block_on(async {
        drop(reactor::spawn(flush_stats(plan.stats_flush_interval)));
        drop(reactor::spawn(flush_logs(plan.log_flush_interval)));
        worker.run(&mut updates).await;
    });
    flush_local(FlushCause::Request);
    Shard::flush();
    Lending::uninstall();
    drop(worker);
    drop(reactor);
}

struct Worker {
    context: Rc<WorkerContext>,
    listeners: RefCell<Vec<WorkerListener>>,
    store: Store,
    connections: Arc<WorkerGauge>,
}

impl Worker {
    /// Applies updates until one says to stop.
    async fn run(&self, updates: &mut UpdateReceiver<Update>) {
        loop {
            while let Some(update) = updates.pop() {
                for change in update.changes {
                    if matches!(change, Change::Stop) {
                        self.context.stop();
                        self.await_ends().await;
                        updates.acknowledge(update.epoch);
                        return;
                    }
                    self.apply(change);
                }
                updates.acknowledge(update.epoch);
            }
            Lending::read_mail();
            reactor::remote_wake().await;
        }
    }

    /// Waits for the requests that were given up.
    async fn await_ends(&self) {
        let deadline = reactor::now() + END_MAX;
        while self.context.connection_count() > 0 && reactor::now() < deadline {
            reactor::sleep(Duration::from_millis(1)).await;
        }
    }

    fn apply(&self, change: Change) {
        match change {
            Change::Cluster(shared) => {
                let seed = self.context.rng.borrow_mut().u64(..);
                let cluster = Cluster::new(shared, seed, &self.store);
                cluster.apply_runtime(&self.context.runtime.borrow());
                self.context.clusters.insert(cluster);
            }
            Change::RemoveCluster(id) => self.context.clusters.remove(id),
            Change::DnsCache(shared) => self.context.dns_caches.add(&shared),
            Change::Names(id, known) => self.context.dns_caches.get(id).set(known),
            Change::Hosts(id, hosts) => {
                let seed = self.context.rng.borrow_mut().u64(..);
                self.context.clusters.update_hosts(id, hosts, seed);
            }
            Change::ServerContext(of, context) => {
                for listener in self.listeners.borrow().iter() {
                    listener.update_context(&of, &context);
                }
            }
            Change::ClientContext(of, context) => {
                self.context.clusters.update_context(&of, &context);
            }
            Change::Listener(shared, sockets) => {
                let name = Arc::clone(&shared.config.name);
                match WorkerListener::start(shared, sockets, &self.context, &self.store) {
                    Ok(listener) => self.listeners.borrow_mut().push(listener),
                    Err(error) => {
                        tracing::error!(listener = &*name, %error, "the listener did not start");
                    }
                }
            }
            Change::Runtime(values) => {
                self.context.clusters.apply_runtime(&values);
                *self.context.runtime.borrow_mut() = values;
            }
            Change::StopListeners { inbound_only } => self.listeners.borrow_mut().retain(|one| {
                inbound_only && one.shared.config.traffic_direction != TrafficDirection::Inbound
            }),
            Change::Drain => {
                let reported = self.context.is_draining();
                self.context.drain();
                self.context.clusters.close_idle();
                if !reported {
                    let context = Rc::clone(&self.context);
                    let connections = Arc::clone(&self.connections);
                    drop(reactor::spawn(report_connections(context, connections)));
                }
            }
            Change::HealthFailed(failed) => self.context.set_health_failed(failed),
            Change::FlushLogs => flush_local(FlushCause::Request),
            Change::Stop => {}
        }
    }
}

async fn report_connections(context: Rc<WorkerContext>, gauge: Arc<WorkerGauge>) {
    loop {
        gauge.set(context.connection_count() as u64);
        reactor::sleep(DRAIN_POLL).await;
    }
}

async fn flush_stats(interval: Duration) {
    loop {
        reactor::sleep(interval).await;
        Shard::flush();
    }
}

async fn flush_logs(interval: Duration) {
    loop {
        reactor::sleep(interval).await;
        flush_local(FlushCause::Timer);
    }
}

#[cfg(test)]
mod tests;
