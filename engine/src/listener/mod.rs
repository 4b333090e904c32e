//! Listeners: accepting connections and giving them to their filter chain.
//!
//! [`SharedListener`] is built once by the control plane; a [`WorkerListener`]
//! is one worker's, with a socket of its own for each address.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringway_config::core::Address;
use ringway_config::listener::Listener as ListenerConfig;
use socket2::Socket;

use crate::filters::WorkerContext;
use crate::filters::network::http_connection_manager::{self, ConnectionManager};
use crate::network::address::NO_ADDRESS;
use crate::reactor::{self, Listener, Stream, Timer};
use crate::stats::Store;
use crate::stats::listener::{ListenerStats, ListenerWorkerStats, worker_prefix};
use crate::stream_info::ConnectionInfo;
use crate::transport_sockets::TransportSocket;
use crate::transport_sockets::tls::{ServerContext, ServerSocketFactory};

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
    /// What connections run through; `None` closes them at once.
    pub chain: Option<FilterChain>,
}

/// A filter chain that is ready to run.
pub struct FilterChain {
    /// The name, for access logs; empty when it has none.
    pub name: Arc<str>,
    /// Its TLS side; `None` is plaintext.
    pub tls: Option<Arc<ServerContext>>,
    /// The filter at its end, which serves the connection.
    pub terminal: Terminal,
}

/// The terminal filters that there are.
pub enum Terminal {
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Arc<http_connection_manager::Shared>),
}

/// A listener on one worker. Dropping it closes its sockets, after what the
/// kernel has already accepted was taken; connections live on.
pub struct WorkerListener {
    /// The part that all workers share.
    pub shared: Arc<SharedListener>,
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
            manager: shared.chain.as_ref().map(|chain| match &chain.terminal {
                Terminal::HttpConnectionManager(manager) => {
                    ConnectionManager::new(Arc::clone(manager), Rc::clone(worker))
                }
            }),
            worker_stats: ListenerWorkerStats::new(
                store,
                &worker_prefix(&shared.prefix, worker.index),
            ),
            tls: shared.chain.as_ref().and_then(|chain| {
                let context = Arc::clone(chain.tls.as_ref()?);
                Some(ServerSocketFactory::new(context, store, &shared.prefix))
            }),
            shared: Arc::clone(&shared),
            worker: Rc::clone(worker),
        });
        let stop = Rc::new(Stop::default());
        for (socket, address) in sockets.into_iter().zip(&shared.addresses) {
            let listener = Listener::from_socket(socket)?;
            let local = fixed_address(address);
            let accepting = accept(Rc::clone(&serving), listener, local, Rc::clone(&stop));
            drop(reactor::spawn(accepting));
        }
        Ok(Self { shared, stop })
    }
}

impl Drop for WorkerListener {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// What the accept loops and the connections of a listener share.
struct Serving {
    shared: Arc<SharedListener>,
    manager: Option<Rc<ConnectionManager>>,
    tls: Option<ServerSocketFactory>,
    worker: Rc<WorkerContext>,
    worker_stats: ListenerWorkerStats,
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
                drop(reactor::spawn(serve(Rc::clone(&serving), stream, local)));
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

async fn serve(serving: Rc<Serving>, stream: Stream, local: Option<SocketAddr>) {
    let stats = &serving.shared.stats;
    let Some(manager) = &serving.manager else {
        // No filter chain, or one without filters: Envoy closes at once.
        stats.no_filter_chain_match.inc();
        return;
    };
    let opened = reactor::now();
    stats.downstream_cx_total.inc();
    stats.downstream_cx_active.inc();
    serving.worker_stats.downstream_cx_total.inc();
    serving.worker_stats.downstream_cx_active.inc();

    let mut info = connection_info(&serving, &stream, local);
    let visit = manager.begin_connection(serving.tls.is_some());
    // In a box: it is large, and over soon.
    let socket = match &serving.tls {
        None => Some(TransportSocket::RawBuffer(stream)),
        Some(tls) => Box::pin(shake_hands(&serving, tls, stream, &mut info)).await,
    };
    match socket {
        Some(socket) => {
            let limit = serving.shared.config.buffer_limit;
            let manager = Rc::clone(manager);
            manager.serve(visit, socket, Rc::new(info), limit).await;
        }
        None => manager.give_up_connection(&visit),
    }

    let open_ms = reactor::now().duration_since(opened).as_millis() as u64;
    stats.downstream_cx_length_ms.record(open_ms);
    stats.downstream_cx_destroy.inc();
    stats.downstream_cx_active.dec();
    serving.worker_stats.downstream_cx_active.dec();
}

/// The handshake of a TLS connection, as far as it takes no longer than it may.
async fn shake_hands(
    serving: &Serving,
    tls: &ServerSocketFactory,
    stream: Stream,
    info: &mut ConnectionInfo,
) -> Option<TransportSocket> {
    let limit = (serving.shared.config.filter_chain())
        .and_then(|chain| chain.transport_socket_connect_timeout);
    let timer = Timer::new();
    timer.set(limit.map(|limit| reactor::now() + limit));
    match reactor::timeout(&timer, tls.accept(stream)).await {
        Ok(Ok(secured)) => {
            info.tls = Some(secured.info);
            Some(TransportSocket::Tls(secured.stream))
        }
        Ok(Err(error)) => {
            tracing::debug!(connection = info.id, ?error, "no TLS connection");
            None
        }
        Err(_elapsed) => {
            let stats = &serving.shared.stats;
            stats.downstream_cx_transport_socket_connect_timeout.inc();
            None
        }
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
    if let Some(chain) = &serving.shared.chain {
        info.filter_chain_name = Arc::clone(&chain.name);
    }
    let config = &serving.shared.config;
    info.listener_metadata.clone_from(&config.metadata);
    if let Some(chain) = config.filter_chain() {
        info.filter_chain_metadata.clone_from(&chain.metadata);
    }
    info
}
