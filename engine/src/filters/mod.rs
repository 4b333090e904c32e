//! Filters, by the kind of thing that they filter: `http`, `network`,
//! `listener`. The Envoy name of an extension is its path:
//! `envoy.filters.http.router` is `filters/http/router/`.
//!
//! [`WorkerContext`] is what filters may use of the worker that they run on.

pub mod filter_state_value;
pub mod grpc_async_client;
pub mod http;
pub mod listener;
pub mod network;
pub mod rbac;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::core::Node;
use ringway_config::metadata::RouteMetadata;
use ringway_config::runtime::RuntimeValues;

use self::http::router::TriesPool;
use crate::http::date::DateCache;
use crate::http::exchange::{ExchangePool, POOLED_EXCHANGES_MAX};
use crate::http::header_parser;
use crate::reactor::{self, FutureRooms, Timer};
use crate::stats::grpc::{Counted, GrpcScope, GrpcStats};
use crate::stats::http_connection_manager::{Http1CodecStats, RouterStats};
use crate::stats::http2::Http2CodecStats;
use crate::stats::{Counter, Store};
use crate::stream_info::SharedRouteMetadata;
use crate::upstream::cluster_manager::ClusterManager;
use crate::upstream::dns_cache::DnsCaches;

/// What a worker's context is made of.
pub struct WorkerFacts {
    /// The worker's number, from 0.
    pub index: u32,
    /// How many workers there are.
    pub count: u32,
    /// The machine's own address.
    pub local_address: IpAddr,
    /// Who this process is.
    pub node: Node,
    /// How long the process takes to end at most, `--drain-time-s`.
    pub drain_time: Duration,
}

/// Routes with metadata that a worker keeps handles on. Those of configurations
/// that were replaced are among them until there are so many.
const ROUTE_METADATA_MAX: usize = 16 * 1024;

/// What belongs to a worker and is used by its filters.
pub struct WorkerContext {
    /// The worker's number, from 0.
    pub index: u32,
    /// How many workers there are.
    pub count: u32,
    /// Who this process is.
    pub node: Node,
    store: Store,
    http1_stats: OnceCell<Http1CodecStats>,
    http2_stats: OnceCell<Http2CodecStats>,
    async_client_stats: OnceCell<RouterStats>,
    grpc_stats: GrpcStats,
    /// A handle of this worker's own on the metadata of each route that has
    /// some, by address: those of the configuration are shared by all workers.
    route_metadata: RefCell<HashMap<*const RouteMetadata, Rc<SharedRouteMetadata>>>,
    /// The clusters that routes refer to.
    pub clusters: ClusterManager,
    /// The names that requests ask for.
    pub dns_caches: DnsCaches,
    /// The current runtime values, replaced as a whole.
    pub runtime: RefCell<Arc<RuntimeValues>>,
    /// What requests that may be tried again are made with.
    pub tries: TriesPool,
    /// Exchanges for reuse.
    pub exchanges: RefCell<ExchangePool>,
    /// Room for the requests of HTTP/1: an idle connection has none.
    pub request_rooms: FutureRooms,
    /// Random numbers: request ids, sampling. Not for secrets.
    pub rng: RefCell<fastrand::Rng>,
    /// The body of an answer in a response's place.
    pub replacement_body: RefCell<Vec<u8>>,
    /// The body of a local reply that is rewritten.
    pub local_reply_body: RefCell<Vec<u8>>,
    /// What changes of headers are made with.
    pub header_scratch: RefCell<header_parser::Scratch>,
    /// The machine's own address, for `x-forwarded-for` of loopback peers.
    pub local_address: IpAddr,
    /// How long the process takes to end at most.
    pub drain_time: Duration,
    /// The `date` header, formatted once a second.
    pub date: RefCell<DateCache>,
    draining: Cell<bool>,
    stopping: Cell<bool>,
    health_failed: Cell<bool>,
    connections: RefCell<Connections>,
    next_connection: Cell<u64>,
    named_counters: RefCell<HashMap<Box<str>, Counter>>,
}

/// Statistics on a worker whose names come from requests: a client that makes
/// names up must not fill the memory.
const NAMED_COUNTERS_MAX: usize = 1000;

impl WorkerContext {
    /// The context of a worker that starts.
    #[must_use]
    pub fn new(facts: WorkerFacts, store: &Store) -> Rc<Self> {
        let WorkerFacts {
            index,
            count,
            local_address,
            node,
            drain_time,
        } = facts;
        Rc::new(Self {
            index,
            count,
            node,
            store: store.clone(),
            http1_stats: OnceCell::new(),
            http2_stats: OnceCell::new(),
            async_client_stats: OnceCell::new(),
            grpc_stats: GrpcStats::default(),
            route_metadata: RefCell::default(),
            clusters: ClusterManager::default(),
            dns_caches: DnsCaches::default(),
            runtime: RefCell::default(),
            tries: TriesPool::default(),
            exchanges: RefCell::new(ExchangePool::default()),
            request_rooms: FutureRooms::new(POOLED_EXCHANGES_MAX),
            rng: RefCell::new(fastrand::Rng::new()),
            replacement_body: RefCell::default(),
            local_reply_body: RefCell::default(),
            header_scratch: RefCell::default(),
            local_address,
            drain_time,
            date: RefCell::new(DateCache::new()),
            draining: Cell::new(false),
            stopping: Cell::new(false),
            health_failed: Cell::new(false),
            connections: RefCell::new(Connections::default()),
            next_connection: Cell::new(0),
            named_counters: RefCell::default(),
        })
    }

    /// A number for a connection that no other connection of the process has.
    pub fn next_connection_id(&self) -> u64 {
        let id = self.next_connection.get();
        self.next_connection.set(id + 1);
        id * u64::from(self.count) + u64::from(self.index)
    }

    /// `http1.*`, what the codec of downstream connections counts. As Envoy's,
    /// they are listed from the first connection on.
    pub fn http1_stats(&self) -> &Http1CodecStats {
        self.http1_stats
            .get_or_init(|| Http1CodecStats::new(&self.store, "http1."))
    }

    /// `http2.*`, the same for HTTP/2.
    pub fn http2_stats(&self) -> &Http2CodecStats {
        self.http2_stats
            .get_or_init(|| Http2CodecStats::new(&self.store, "http2."))
    }

    /// `http.async-client.*`: requests of the proxy's own, such as shadows.
    pub fn async_client_stats(&self) -> &RouterStats {
        self.async_client_stats
            .get_or_init(|| RouterStats::new(&self.store, "http.async-client."))
    }

    /// The statistics of gRPC calls that are counted together.
    pub fn grpc_scope(&self, counted: Counted<'_>) -> Rc<GrpcScope> {
        self.grpc_stats.scope(counted, &self.store)
    }

    /// A handle on a route's metadata that requests of this worker may share.
    pub fn route_metadata(&self, metadata: &Arc<RouteMetadata>) -> Rc<SharedRouteMetadata> {
        let mut known = self.route_metadata.borrow_mut();
        if known.len() >= ROUTE_METADATA_MAX {
            known.clear();
        }
        let handle = known
            .entry(Arc::as_ptr(metadata))
            .or_insert_with(|| Rc::new(SharedRouteMetadata(Arc::clone(metadata))));
        Rc::clone(handle)
    }

    /// Counts under a name that depends on the request, unless there are too
    /// many of these already. Slow: it formats and looks up.
    pub fn count_named(&self, name: &str) {
        let mut named = self.named_counters.borrow_mut();
        if let Some(counter) = named.get(name) {
            counter.inc();
        } else if named.len() < NAMED_COUNTERS_MAX {
            let counter = self.store.counter(name);
            counter.inc();
            named.insert(name.into(), counter);
        }
    }

    /// Whether the listeners drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Starts draining: connections without a request are closed now, others
    /// after their response.
    pub fn drain(&self) {
        self.draining.set(true);
        let now = reactor::now();
        for slot in self.connections.borrow().slots.iter().flatten() {
            if slot.idle.get() {
                slot.timer.set(Some(now));
            }
        }
    }

    /// Gives every request up, so that its end is counted and logged before the
    /// worker ends.
    pub fn stop(&self) {
        self.stopping.set(true);
        let now = reactor::now();
        for slot in self.connections.borrow().slots.iter().flatten() {
            slot.timer.set(Some(now));
        }
    }

    /// Whether the worker ends, whatever is in flight.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Whether `/healthcheck/fail` is in force.
    #[must_use]
    pub fn is_health_failed(&self) -> bool {
        self.health_failed.get()
    }

    /// `/healthcheck/fail` and `/healthcheck/ok`.
    pub fn set_health_failed(&self, failed: bool) {
        self.health_failed.set(failed);
    }

    /// Downstream connections that are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        let connections = self.connections.borrow();
        connections.slots.len() - connections.free.len()
    }

    /// Makes a connection known to [`Self::drain`] for as long as the returned
    /// value lives.
    #[must_use]
    pub fn register(self: &Rc<Self>) -> Registration {
        let entry = Rc::new(ConnectionEntry {
            timer: Rc::new(Timer::new()),
            idle: Cell::new(false),
        });
        let mut connections = self.connections.borrow_mut();
        let slot = match connections.free.pop() {
            Some(slot) => slot,
            None => {
                connections.slots.push(None);
                connections.slots.len() - 1
            }
        };
        connections.slots[slot] = Some(Rc::clone(&entry));
        Registration {
            worker: Rc::clone(self),
            slot,
            entry,
        }
    }
}

/// The open downstream connections of a worker.
#[derive(Default)]
struct Connections {
    slots: Vec<Option<Rc<ConnectionEntry>>>,
    free: Vec<usize>,
}

struct ConnectionEntry {
    timer: Rc<Timer>,
    idle: Cell<bool>,
}

/// A connection that its worker knows of.
pub struct Registration {
    worker: Rc<WorkerContext>,
    slot: usize,
    entry: Rc<ConnectionEntry>,
}

impl Registration {
    /// The connection's timer; draining makes it expire while it is idle.
    #[must_use]
    pub fn timer(&self) -> Rc<Timer> {
        Rc::clone(&self.entry.timer)
    }

    /// Says whether the connection is between requests.
    pub fn set_idle(&self, idle: bool) {
        self.entry.idle.set(idle);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        connections.slots[self.slot] = None;
        connections.free.push(self.slot);
    }
}
