//! Listeners: accepting connections, having listener filters look at them, and
//! giving them to the filter chain that matches.
//!
//! [`SharedListener`] is built once by the control plane; a [`WorkerListener`]
//! is one worker's, with a socket of its own for each address. What becomes of a
//! connection once its chain is chosen is in `filter_chain.rs`; `destinations.rs`
//! knows which listener one belongs to that came to another, `open_connections.rs`
//! how many there are; `access_log.rs` logs one that is over.

mod access_log;
mod destinations;
mod filter_chain;
mod open_connections;

pub use filter_chain::FilterChain;
pub use open_connections::OpenConnections;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringway_config::core::Address;
use ringway_config::listener::Listener as ListenerConfig;
use ringway_config::listener::filter_chain_match::Arrival;
use socket2::Socket;

use crate::access_loggers::AccessLog;
use crate::filters::WorkerContext;
use crate::filters::listener::{Inspected, ListenerFilter, Refused};
use crate::network::address::NO_ADDRESS;
use crate::reactor::{self, Listener, Stream, Timer};
use crate::stats::Store;
use crate::stats::listener::{ListenerStats, ListenerWorkerStats, worker_prefix};
use crate::stream_info::ConnectionInfo;
use crate::transport_sockets::tls::{ServerContext, SharedContext};
use access_log::Unserved;
use filter_chain::WorkerChain;
use open_connections::{Counted, Others};

/// What all workers share of a listener.
pub struct SharedListener {
    /// The lowered configuration.
    pub config: Arc<ListenerConfig>,
    /// The addresses that were bound: port 0 is replaced by the kernel's
    /// choice. The first one is the main address.
    pub addresses: Vec<Address>,
    /// The prefix of its statistics, `listener.<address>.`.
    pub prefix: String,
    /// `listener.<address>.*`.
    pub stats: ListenerStats,
    /// Logs of its connections.
    pub access_logs: Vec<AccessLog>,
    /// What looks at connections before their chain is chosen.
    pub filters: Vec<ListenerFilter>,
    /// What connections run through, in the order of the configuration's
    /// `chains()`; `None` closes them at once.
    pub chains: Vec<Option<Arc<FilterChain>>>,
    /// Its open connections.
    pub open: OpenConnections,
}

/// A listener on one worker. Dropping it closes its sockets, after what the
/// kernel has already accepted was taken; connections live on.
pub struct WorkerListener {
    /// The part that all workers share.
    pub shared: Arc<SharedListener>,
    serving: Rc<Serving>,
    stop: Rc<Stop>,
}

/// Tells accept loops to end.
#[derive(Default)]
struct Stop {
    stopped: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Stop {
    fn stop(&self) {
        self.stopped.set(true);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

impl WorkerListener {
    /// Starts accepting on `sockets`, which are in the order of the addresses.
    ///
    /// # Errors
    /// A socket that the reactor could not take over.
    pub fn start(
        shared: Arc<SharedListener>,
        sockets: Vec<Socket>,
        worker: &Rc<WorkerContext>,
        store: &Store,
    ) -> io::Result<Self> {
        let serving = Rc::new(Serving {
            chains: (shared.config.chains().zip(&shared.chains))
                .map(|(config, chain)| {
                    let chain = chain.as_ref()?;
                    Some(Rc::new(WorkerChain::new(
                        config,
                        chain,
                        &shared.prefix,
                        worker,
                        store,
                    )))
                })
                .collect(),
            worker_stats: ListenerWorkerStats::new(
                store,
                &worker_prefix(&shared.prefix, worker.index),
            ),
            others: Others::new(store),
            shared: Arc::clone(&shared),
            worker: Rc::clone(worker),
        });
        destinations::enter(&serving);
        let stop = Rc::new(Stop::default());
        for (socket, address) in sockets.into_iter().zip(&shared.addresses) {
            let listener = Listener::from_socket(socket)?;
            let local = fixed_address(address);
            let accepting = accept(Rc::clone(&serving), listener, local, Rc::clone(&stop));
            drop(reactor::spawn(accepting));
        }
        Ok(Self {
            shared,
            serving,
            stop,
        })
    }

    /// The context of a chain has become another one.
    pub fn update_context(
        &self,
        of: &Arc<SharedContext<ServerContext>>,
        context: &Arc<ServerContext>,
    ) {
        for chain in self.serving.chains.iter().flatten() {
            chain.update_context(of, context);
        }
    }
}

impl Drop for WorkerListener {
    fn drop(&mut self) {
        destinations::remove(&self.serving);
        self.stop.stop();
    }
}

/// What the accept loops and the connections of a listener share.
struct Serving {
    shared: Arc<SharedListener>,
    chains: Vec<Option<Rc<WorkerChain>>>,
    worker: Rc<WorkerContext>,
    worker_stats: ListenerWorkerStats,
    others: Others,
}

/// The address that every connection of a listener has on our side, if it can
/// be known without asking the kernel each time.
fn fixed_address(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Socket(address) if !address.ip().is_unspecified() => Some(*address),
        Address::Socket(_) => None,
        Address::Pipe { .. } => Some(NO_ADDRESS),
    }
}

async fn accept(
    serving: Rc<Serving>,
    listener: Listener,
    local: Option<SocketAddr>,
    stop: Rc<Stop>,
) {
    let waker = task_waker().await;
    stop.waiting.borrow_mut().push(waker);
    // Turns in which nothing came after the stop: closing the socket resets
    // what the kernel has accepted and nobody has taken.
    let mut quiet_turns = 0;
    let mut turns = 0;
    loop {
        // The reactor pauses by itself when descriptors run out, and goes on
        // when some are free: nothing is spun on and nothing is lost.
        let next = poll_fn(|cx| match listener.poll_accept(cx) {
            Poll::Pending if stop.stopped.get() => Poll::Ready(None),
            poll => poll.map(Some),
        })
        .await;
        match next {
            None if quiet_turns == QUIET_TURNS || turns == LAST_TURNS_MAX => return,
            None => {
                quiet_turns += 1;
                turns += 1;
                reactor::yield_now().await;
            }
            Some(Ok(stream)) => {
                quiet_turns = 0;
                let stats = &serving.shared.stats;
                stats.connections_accepted_per_socket_event.record(1);
                match Counted::within_limit(&serving) {
                    Some(counted) => drop(reactor::spawn(serve(counted, stream, local))),
                    None => {
                        stats.downstream_cx_overflow.inc();
                        refuse(stream, None);
                    }
                }
            }
            Some(Err(error)) => {
                serving.shared.stats.downstream_cx_overflow.inc();
                tracing::warn!(
                    listener = &*serving.shared.config.name,
                    %error,
                    "a connection was not accepted"
                );
            }
        }
    }
}

/// Turns without a new connection after which a stopped listener is closed.
const QUIET_TURNS: u32 = 3;

/// Turns after which it is closed although connections keep coming: enough for
/// the longest accept queue, which a turn takes 64 connections of.
const LAST_TURNS_MAX: u32 = 128;

/// The waker of the task that asks.
async fn task_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

async fn serve(counted: Counted, stream: Stream, local: Option<SocketAddr>) {
    let Some(arrived) = arrive(counted, stream, local).await else {
        return;
    };
    let Arrived {
        counted,
        stream,
        chain,
        info,
    } = arrived;
    let serving = &counted.serving;
    let stats = &serving.shared.stats;
    let opened = reactor::now();
    stats.downstream_cx_total.inc();
    stats.downstream_cx_active.inc();
    serving.worker_stats.downstream_cx_total.inc();
    serving.worker_stats.downstream_cx_active.inc();

    let known = chain.serve(serving, stream, info).await;
    if serving.logs()
        && let Some(mut known) = known
    {
        access_log::log(serving, &mut known);
    }

    let open_ms = reactor::now().duration_since(opened).as_millis() as u64;
    stats.downstream_cx_length_ms.record(open_ms);
    stats.downstream_cx_destroy.inc();
    stats.downstream_cx_active.dec();
    serving.worker_stats.downstream_cx_active.dec();
}

/// A connection that a filter chain is to serve.
struct Arrived {
    counted: Counted,
    stream: Stream,
    chain: Rc<WorkerChain>,
    info: Rc<ConnectionInfo>,
}

/// Finds out who serves a connection, or closes it. What is only known for that takes no
/// room afterwards.
async fn arrive(
    mut counted: Counted,
    stream: Stream,
    local: Option<SocketAddr>,
) -> Option<Arrived> {
    let begun = (reactor::now(), reactor::wall_clock());
    let mut inspected = Inspected::default();
    let mut info = connection_info(&counted.serving, &stream, local);
    if !has_passed(&counted.serving, &stream, &info, &mut inspected).await {
        let unserved = Unserved::new(&counted.serving, info, inspected, begun);
        refuse(stream, unserved);
        return None;
    }
    if let Some(other) = destination(&counted.serving, &info, &inspected) {
        // The address and what the client asks for stay known; what filters have
        // said of the connection is not said to another listener.
        inspected = Inspected {
            server_name: inspected.server_name,
            transport_protocol: inspected.transport_protocol,
            application_protocols: inspected.application_protocols,
            remote: inspected.remote,
            local: inspected.local,
            source: inspected.source,
            ..Inspected::default()
        };
        counted = Counted::whatever_the_limit(other);
        info.listener_metadata
            .clone_from(&counted.serving.shared.config.metadata);
        if !has_passed(&counted.serving, &stream, &info, &mut inspected).await {
            let unserved = Unserved::new(&counted.serving, info, inspected, begun);
            refuse(stream, unserved);
            return None;
        }
    }
    let serving = &counted.serving;
    info.remote = inspected.remote.unwrap_or(info.remote);
    info.local = inspected.local.unwrap_or(info.local);
    let Some(chain) = serving.choose_chain(&info, &inspected) else {
        // No filter chain, or one without filters: Envoy closes at once.
        serving.shared.stats.no_filter_chain_match.inc();
        let unserved = Unserved::new(serving, info, inspected, begun);
        refuse(stream, unserved.map(Unserved::without_chain));
        return None;
    };
    info.requested_server_name = inspected.server_name;
    info.fingerprints = inspected.fingerprints;
    info.metadata = inspected.metadata;
    info.typed_metadata = inspected.typed_metadata;
    info.filter_state = inspected.filter_state;
    info.tlvs = inspected.tlvs;
    info.source = inspected.source;
    info.filter_chain_name = Arc::clone(&chain.config.name);
    info.filter_chain_metadata
        .clone_from(&chain.config.metadata);
    Some(Arrived {
        chain: Rc::clone(chain),
        stream,
        info: Rc::new(info),
        counted,
    })
}

/// Whether the listener filters let a connection pass, where there are some.
async fn has_passed(
    serving: &Serving,
    stream: &Stream,
    info: &ConnectionInfo,
    inspected: &mut Inspected,
) -> bool {
    serving.shared.filters.is_empty()
        || Box::pin(inspect(serving, stream, info.local, inspected)).await
}

/// The listener that stands for the address that a connection wanted to go to, if
/// this one gives such connections away. It decides alone from there on.
fn destination(
    serving: &Rc<Serving>,
    info: &ConnectionInfo,
    inspected: &Inspected,
) -> Option<Rc<Serving>> {
    let wanted = (inspected.local).filter(|wanted| *wanted != info.direct_local)?;
    let is_given_away = serving.shared.config.hands_over_restored;
    let other = is_given_away
        .then(|| destinations::find(wanted))
        .flatten()?;
    (!Rc::ptr_eq(&other, serving)).then_some(other)
}

/// Closes a connection that nobody serves, and logs it if its listener does. A client
/// that has sent something is told that it was not read, as it is where the kernel still
/// has it.
fn refuse(stream: Stream, unserved: Option<Unserved<'_>>) {
    if stream.has_unread() {
        stream.abort();
    }
    if let Some(unserved) = unserved {
        unserved.log();
    }
}

fn connection_info(
    serving: &Serving,
    stream: &Stream,
    local: Option<SocketAddr>,
) -> ConnectionInfo {
    // A peer that is gone already has no address any more; the connection
    // ends at its first read.
    let remote = stream.peer_addr().unwrap_or(NO_ADDRESS);
    let local = local.unwrap_or_else(|| stream.local_addr().unwrap_or(NO_ADDRESS));
    let mut info = ConnectionInfo::new(serving.worker.next_connection_id(), remote, local);
    info.listener_metadata
        .clone_from(&serving.shared.config.metadata);
    info
}

/// Has the listener filters look at a connection, as long as they may take; false when it
/// gets no further.
async fn inspect(
    serving: &Serving,
    stream: &Stream,
    local: SocketAddr,
    inspected: &mut Inspected,
) -> bool {
    let listener = &serving.shared;
    let (config, stats) = (&listener.config, &listener.stats);
    stats.downstream_pre_cx_active.inc();
    let timer = Timer::new();
    timer.set((config.listener_filters_timeout).map(|limit| reactor::now() + limit));
    let all = async {
        for (filter, config) in listener.filters.iter().zip(&config.listener_filters) {
            let local = inspected.local.unwrap_or(local);
            let port = (local != NO_ADDRESS).then_some(local.port());
            if config
                .disabled
                .as_ref()
                .is_none_or(|disabled| !disabled.matches(port))
            {
                filter.inspect(stream, &serving.worker, inspected).await?;
            }
        }
        Ok(())
    };
    let goes_on = match reactor::timeout(&timer, all).await {
        Ok(Ok(())) => true,
        Ok(Err(Refused::ByFilter)) => false,
        Ok(Err(Refused::RemoteClose)) => {
            stats.downstream_listener_filter_remote_close.inc();
            false
        }
        Err(_elapsed) => {
            stats.downstream_pre_cx_timeout.inc();
            config.continue_on_listener_filters_timeout
        }
    };
    stats.downstream_pre_cx_active.dec();
    goes_on
}

impl Serving {
    /// Whether its connections are logged.
    fn logs(&self) -> bool {
        !self.shared.access_logs.is_empty()
    }

    /// The chain that a connection runs through.
    fn choose_chain(
        &self,
        info: &ConnectionInfo,
        inspected: &Inspected,
    ) -> Option<&Rc<WorkerChain>> {
        let known = |address| (address != NO_ADDRESS).then_some(address);
        let place = self.shared.config.find_chain(&Arrival {
            local: known(info.local),
            remote: known(info.remote),
            direct_remote: known(info.direct_remote),
            server_name: inspected.server_name.as_deref().unwrap_or_default(),
            transport_protocol: inspected.transport_protocol.unwrap_or("raw_buffer"),
            application_protocols: &inspected.application_protocols,
            filter_state: &inspected.filter_state,
        })?;
        self.chains[place].as_ref()
    }
}

#[cfg(test)]
mod tests;
