//! A cluster (`envoy.config.cluster.v3.Cluster`) at run time.
//!
//! [`SharedCluster`] is built once by the control plane and shared by all
//! workers; [`Cluster`] is one worker's: balancer cursor, breakers, pools.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringway_config::cluster::{Cluster as ClusterConfig, HttpVersion};
use ringway_config::discovery::Discovery;
use ringway_config::endpoint::{self, DropOverload};
use ringway_config::runtime::RuntimeValues;
use ringway_config::socket_match::SocketId;
use ringway_lb::balancer::{Balancer, Cursor, Pick};
use ringway_lb::config::Policy;
use ringway_lb::events::Events;
use ringway_lb::priority::PriorityLoads;

use super::aggregate::Aggregate;
use super::circuit_breaker::{Breaker, Limits, RequestBreaker, RetryBreaker, RetryPermit};
use super::conn_pool::{self, Speaks};
use super::feedback::LoadReader;
use super::host::Host;
use super::host_set::{HostSet, Member};
use super::load_balancer::{LoadBalancerContext, Picking};
use super::original_dst::{self, Registry};
use super::outlier_detection::Watch;
use super::sub_clusters::SharedSubClusters;
use crate::network::socket_options::RefusedOption;
use crate::stats::alt_stats::{AltStatId, AltStats};
use crate::stats::cluster::{
    ClusterStats, MaglevStats, RequestResponseSizeStats, ResponseStats, RingHashStats, SubsetStats,
    TableStats, TimeoutBudgetStats, TransportSocketMatchStats, prefix,
};
use crate::stats::http_connection_manager::Http1CodecStats;
use crate::stats::http2::Http2CodecStats;
use crate::stats::{GaugeReader, Scope, Store};
use crate::stream_info::{ClusterInfo, Protocol};
use crate::transport_sockets::proxy_protocol::{AddedValues, ProxyProtocolStats};
use crate::transport_sockets::tls::{ClientContext, ClientSocketFactory, SharedContext};
use crate::worker::shared::{LastUse, Latest, SharedCount};

/// What all workers share of a cluster.
pub struct SharedCluster {
    /// The lowered configuration.
    pub config: Arc<ClusterConfig>,
    /// `cluster.NAME.*`.
    pub stats: ClusterStats,
    /// `cluster.NAME.upstream_rq_<code>`, its classes and times.
    pub responses: ResponseStats,
    /// The table of a policy that hashes.
    pub table: Option<TableStats>,
    /// Of a cluster with subsets of hosts.
    pub subsets: Option<SubsetStats>,
    /// How much of their time its requests take, where that is recorded.
    pub timeout_budgets: Option<TimeoutBudgetStats>,
    /// How large its requests and their responses are, where that is recorded.
    pub request_response_sizes: Option<RequestResponseSizeStats>,
    /// Its transport sockets, by number.
    pub sockets: Box<[SharedSocket]>,
    /// Of a cluster whose connections begin with a header.
    pub proxy_protocol: Option<ProxyProtocolStats>,
    /// What that header says besides addresses.
    pub added_values: Arc<AddedValues>,
    /// The process-wide limits by routing priority: default, high.
    pub limits: [Limits; 2],
    /// When it was made: where the clock of its balancers starts.
    pub created: Instant,
    /// What outlier detection has in common for its hosts, if there is any.
    pub watch: Option<Arc<Watch>>,
    /// The hosts that requests have asked for by address, where they may.
    pub registry: Option<Arc<Registry>>,
    /// The clusters that it makes of hosts that requests name, where it does.
    pub sub_clusters: Option<Arc<SharedSubClusters>>,
    /// The hosts that were published last.
    hosts: Latest<HostSet>,
    /// When a request last went there, on its clock; of clusters that end when none
    /// does.
    last_use: LastUse,
    /// Whether somebody has been told of an option that its sockets may not have.
    told_of_option: SharedCount,
    /// What it is more where it was not there from the start. The last of these
    /// fields, because nobody may count any more when it goes.
    pub dynamic: Option<Dynamic>,
}

/// What all workers share of a transport socket of a cluster.
pub struct SharedSocket {
    /// How TLS is spoken with its hosts; `None` is plaintext.
    pub tls: Option<Arc<SharedContext<ClientContext>>>,
    /// How many hosts have taken it.
    stats: TransportSocketMatchStats,
}

/// A cluster that comes and goes while the process runs.
pub struct Dynamic {
    /// The cluster that it was made by.
    pub parent: Arc<str>,
    /// When it was made.
    pub since: SystemTime,
    /// Its statistics go with it.
    _scope: Scope,
}

impl SharedCluster {
    /// Registers the cluster's statistics. `created` is when its clock starts.
    #[must_use]
    pub fn new(
        config: Arc<ClusterConfig>,
        hosts: Arc<HostSet>,
        watch: Option<Arc<Watch>>,
        created: Instant,
        store: &Store,
    ) -> Self {
        let prefix = prefix(&config.stat_name);
        let limits = |priority: usize, name: &str| {
            let thresholds = &config.circuit_breakers.thresholds[priority];
            Limits::new(
                thresholds,
                created,
                store,
                &format!("{prefix}circuit_breakers.{name}."),
            )
        };
        Self {
            stats: ClusterStats::new(store, &prefix),
            responses: ResponseStats::new(store, &prefix),
            timeout_budgets: (config.timeout_budgets)
                .then(|| TimeoutBudgetStats::new(store, &prefix)),
            request_response_sizes: (config.request_response_sizes)
                .then(|| RequestResponseSizeStats::new(store, &prefix)),
            subsets: (config.balancing.has_subsets()).then(|| SubsetStats::new(store, &prefix)),
            table: match config.balancing.policy() {
                Policy::RingHash { .. } => {
                    let prefix = format!("{prefix}ring_hash_lb.");
                    Some(TableStats::RingHash(RingHashStats::new(store, &prefix)))
                }
                Policy::Maglev { .. } => {
                    let prefix = format!("{prefix}maglev_lb.");
                    Some(TableStats::Maglev(MaglevStats::new(store, &prefix)))
                }
                _ => None,
            },
            sockets: sockets(&config, &prefix, store),
            proxy_protocol: (config.proxy_protocol.is_some()).then(|| {
                ProxyProtocolStats::new(store, &format!("{prefix}upstream.proxyprotocol."))
            }),
            added_values: Arc::default(),
            limits: [limits(0, "default"), limits(1, "high")],
            created,
            watch,
            registry: None,
            sub_clusters: None,
            last_use: LastUse::default(),
            told_of_option: SharedCount::default(),
            dynamic: None,
            hosts: Latest::new(hosts),
            config,
        }
    }

    /// Its requests may ask for hosts by address.
    #[must_use]
    pub fn with_registry(mut self, registry: Option<Registry>) -> Self {
        self.registry = registry.map(Arc::new);
        self
    }

    /// Its headers of PROXY protocol say these values, if there are any.
    #[must_use]
    pub fn with_added_values(mut self, values: Option<Arc<AddedValues>>) -> Self {
        self.added_values = values.unwrap_or_default();
        self
    }

    /// It makes clusters of the hosts that requests name.
    #[must_use]
    pub fn with_sub_clusters(mut self, shared: Option<SharedSubClusters>) -> Self {
        self.sub_clusters = shared.map(Arc::new);
        self
    }

    /// Those of its transport sockets speak TLS for which `tls` has something; without a
    /// context, as soon as the secrets are known.
    #[must_use]
    pub fn with_tls(
        mut self,
        tls: impl Fn(SocketId) -> Option<Option<Arc<ClientContext>>>,
        store: &Store,
    ) -> Self {
        for (socket, (id, _)) in self.sockets.iter_mut().zip(self.config.sockets()) {
            let prefix = || prefix(&self.config.stat_name);
            socket.tls =
                tls(id).map(|context| Arc::new(SharedContext::new(context, store, &prefix())));
        }
        self
    }

    /// What is shared of one of its transport sockets.
    #[must_use]
    pub fn socket(&self, id: SocketId) -> &SharedSocket {
        // Those of the configuration and these are made together.
        self.sockets.get(id.index()).unwrap_or(&self.sockets[0])
    }

    /// Counts so many hosts that are described alike, or of which nothing is said, by the
    /// transport socket that they have.
    pub fn count_sockets(&self, hosts: usize, described: Option<&endpoint::Host>) {
        let matches = &self.config.socket_matches;
        let id = match described {
            Some(host) => matches.of_host(host),
            None => matches.of_anyone(),
        };
        self.socket(id).count(hosts);
    }

    /// It was made by `parent` and speaks TLS as that does. Its statistics go with it.
    #[must_use]
    pub fn with_parent(mut self, parent: &Self, since: SystemTime, store: &Store) -> Self {
        let alike = |tls: &SharedContext<_>| tls.alike(store, &prefix(&self.config.stat_name));
        for (socket, of_parent) in self.sockets.iter_mut().zip(&parent.sockets) {
            socket.tls = of_parent.tls.as_deref().map(|tls| Arc::new(alike(tls)));
        }
        self.added_values = Arc::clone(&parent.added_values);
        self.dynamic = Some(Dynamic {
            parent: Arc::clone(&parent.config.name),
            since,
            _scope: store.scope(&prefix(&self.config.stat_name)),
        });
        self
    }

    /// Says that the kernel does not take an option of its sockets. Once: it is the same
    /// for all connections.
    pub fn warn_of_option(&self, refused: &RefusedOption) {
        if self.told_of_option.add_below(1).is_some() {
            tracing::warn!(cluster = &*self.config.name, %refused, "no host is connected to");
        }
    }

    /// A request goes there.
    #[inline]
    pub fn mark_used(&self, now: Instant) {
        let age = now.saturating_duration_since(self.created);
        self.last_use.mark(age.max(USE_MIN));
    }

    /// How long none has; `None` where none could yet.
    #[must_use]
    pub fn unused_for(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.created);
        let last = self.last_use.get();
        (!last.is_zero()).then(|| age.saturating_sub(last))
    }

    /// The hosts that were published last. For the control plane and admin:
    /// a worker has a set of its own, which may be a moment older.
    #[must_use]
    pub fn hosts(&self) -> Arc<HostSet> {
        self.hosts.get()
    }

    /// Takes the limits that the runtime asks for; the control plane only.
    pub fn apply_runtime(&self, values: &RuntimeValues) {
        let config = &self.config;
        let thresholds = (config.circuit_breakers).with_runtime(&config.name, values);
        for (limits, thresholds) in self.limits.iter().zip(&thresholds) {
            limits.set(thresholds);
        }
    }

    /// Replaces the hosts; the control plane only, which also publishes them.
    pub fn set_hosts(&self, hosts: Arc<HostSet>) {
        self.hosts.set(hosts);
    }

    /// Counts what happened at a pick, or while a balancer was built: by the
    /// thread that picks, and by each that takes the balancer.
    pub fn count_events(&self, events: Events) {
        let stats = &self.stats;
        for event in events.iter() {
            let counter = match event {
                Events::HEALTHY_PANIC => stats.lb_healthy_panic,
                Events::RECALCULATE_ZONE_STRUCTURES => stats.lb_recalculate_zone_structures,
                Events::LOCAL_CLUSTER_NOT_OK => stats.lb_local_cluster_not_ok,
                Events::ZONE_CLUSTER_TOO_SMALL => stats.lb_zone_cluster_too_small,
                Events::ZONE_ROUTING_ALL_DIRECTLY => stats.lb_zone_routing_all_directly,
                Events::ZONE_ROUTING_SAMPLED => stats.lb_zone_routing_sampled,
                Events::ZONE_ROUTING_CROSS_ZONE => stats.lb_zone_routing_cross_zone,
                Events::ZONE_NO_CAPACITY_LEFT => stats.lb_zone_no_capacity_left,
                Events::SUBSETS_SELECTED => stats.lb_subsets_selected,
                Events::SUBSETS_FALLBACK => stats.lb_subsets_fallback,
                Events::SUBSETS_FALLBACK_PANIC => stats.lb_subsets_fallback_panic,
                _ => continue,
            };
            counter.inc();
        }
    }
}

/// A use is told from none even when it comes at once.
const USE_MIN: Duration = Duration::from_millis(100);

impl SharedSocket {
    /// So many hosts take it, or a check does.
    pub fn count(&self, taken: usize) {
        self.stats.total_match_count.add(taken as u64);
    }
}

/// The transport sockets of a cluster, none of which speaks TLS yet.
fn sockets(config: &ClusterConfig, prefix: &str, store: &Store) -> Box<[SharedSocket]> {
    let matches = config.socket_matches.iter();
    let names = ["default"]
        .into_iter()
        .chain(matches.map(|(_, one)| &*one.name));
    let socket = |name: &str| SharedSocket {
        tls: None,
        stats: TransportSocketMatchStats::new(store, &format!("{prefix}{name}.")),
    };
    names.map(socket).collect()
}

/// The breakers of one routing priority on one worker.
pub struct Breakers {
    /// Connections open or being opened.
    pub connections: Breaker,
    /// Requests that wait for a connection.
    pub pending_requests: Breaker,
    /// Requests in flight.
    pub requests: Rc<RequestBreaker>,
    /// Retries in flight.
    pub retries: RetryBreaker,
    /// Pools with connections.
    pub pools: Breaker,
}

/// A cluster on one worker.
pub struct Cluster {
    /// The lowered configuration.
    pub config: Arc<ClusterConfig>,
    /// `cluster.NAME.*`.
    pub stats: ClusterStats,
    /// Its names, for logs.
    pub info: Rc<ClusterInfo>,
    /// The part that all workers share.
    pub shared: Arc<SharedCluster>,
    /// Limits by routing priority: default, high.
    pub breakers: [Breakers; 2],
    /// Responses by the names that requests bring.
    pub alt_stats: AltStats,
    /// What load reports are read with.
    pub load_reader: RefCell<LoadReader>,
    /// What makes connections of sockets, for each of its transport sockets; `None` is
    /// plaintext.
    pub factories: Box<[Option<ClientSocketFactory>]>,
    store: Store,
    http1_stats: OnceCell<Http1CodecStats>,
    http2_stats: OnceCell<Http2CodecStats>,
    loads: GaugeReader,
    hosts: RefCell<Hosts>,
    /// The percentage of the requests that are refused, as the runtime is now.
    maintenance_percent: Cell<u8>,
    /// The hosts that requests have asked for by address.
    asked_for: Option<original_dst::Hosts>,
    /// What a cluster is that has no hosts but those of others.
    pub aggregate: Option<Aggregate>,
}

/// How many hosts a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// All of them.
    pub total: u64,
    /// Those that are healthy or degraded.
    pub usable: u64,
}

/// A worker's view of the hosts of a cluster.
struct Hosts {
    set: Arc<HostSet>,
    cursor: Cursor,
    /// This worker's part of each host, made when it is first picked.
    own: Vec<Option<Rc<Host>>>,
}

impl Cluster {
    /// This worker's cluster with the hosts that were published last. `seed` is
    /// random: it decides at which host a rotation starts.
    #[must_use]
    pub fn new(shared: Arc<SharedCluster>, seed: u64, store: &Store) -> Rc<Self> {
        let breakers = |limits: &Limits| Breakers {
            connections: Breaker::new(&limits.connections),
            pending_requests: Breaker::new(&limits.pending_requests),
            requests: RequestBreaker::new(&limits.requests),
            retries: RetryBreaker::new(&limits.retries),
            pools: Breaker::new(&limits.pools),
        };
        let set = shared.hosts();
        let built = set.balancer.built();
        let cluster = Rc::new(Self {
            config: Arc::clone(&shared.config),
            stats: shared.stats,
            info: Rc::new(ClusterInfo {
                name: Arc::clone(&shared.config.name),
                observability_name: Arc::clone(&shared.config.observability_name),
                metadata: Arc::clone(&shared.config.metadata),
            }),
            breakers: [breakers(&shared.limits[0]), breakers(&shared.limits[1])],
            alt_stats: AltStats::default(),
            load_reader: RefCell::default(),
            factories: (shared.sockets.iter())
                .map(|socket| {
                    let prefix = prefix(&shared.config.stat_name);
                    let factory = |tls| ClientSocketFactory::new(tls, store, &prefix);
                    socket.tls.as_ref().map(factory)
                })
                .collect(),
            store: store.clone(),
            http1_stats: OnceCell::new(),
            http2_stats: OnceCell::new(),
            loads: store.gauge_reader(),
            hosts: RefCell::new(Hosts {
                cursor: set.balancer.cursor(seed),
                own: vec![None; set.members.len()],
                set,
            }),
            aggregate: match &shared.config.discovery {
                Discovery::Aggregate(config) => Some(Aggregate::new(config)),
                _ => None,
            },
            maintenance_percent: Cell::new(0),
            asked_for: shared.registry.as_ref().map(original_dst::Hosts::new),
            shared,
        });
        cluster.shared.count_events(built);
        cluster
    }

    /// What makes TLS connections to a host; `None` is plaintext.
    #[must_use]
    pub fn tls(&self, host: &Host) -> Option<&ClientSocketFactory> {
        self.factories.get(host.socket().index())?.as_ref()
    }

    /// `cluster.NAME.http1.*`; as Envoy's, they are listed from the first
    /// connection on.
    pub fn http1_stats(&self) -> &Http1CodecStats {
        self.http1_stats.get_or_init(|| {
            let prefix = format!("{}http1.", prefix(&self.config.stat_name));
            Http1CodecStats::new(&self.store, &prefix)
        })
    }

    /// `cluster.NAME.http2.*`, the same way.
    pub fn http2_stats(&self) -> &Http2CodecStats {
        self.http2_stats.get_or_init(|| {
            let prefix = format!("{}http2.", prefix(&self.config.stat_name));
            Http2CodecStats::new(&self.store, &prefix)
        })
    }

    /// What its hosts are spoken to with for a request that came in with this
    /// protocol, if it came in from anybody.
    #[must_use]
    pub fn speaks(&self, downstream: Option<Protocol>) -> Speaks {
        let is_http2 = match self.config.http_version {
            HttpVersion::Http1 => false,
            HttpVersion::Http2 => true,
            HttpVersion::Negotiated => return Speaks::Negotiated,
            HttpVersion::Downstream { or_http2 } => match downstream {
                Some(Protocol::Http10 | Protocol::Http11) => false,
                Some(Protocol::Http2 | Protocol::Http3) => true,
                None => or_http2,
            },
        };
        match is_http2 {
            true => Speaks::Http2,
            false => Speaks::Http1,
        }
    }

    /// The statistics that a request with this name is counted under, too, and
    /// in any case whether there were too many names.
    pub fn alt_stat(&self, name: &[u8]) -> Option<AltStatId> {
        let prefix = || prefix(&self.config.stat_name);
        let found = self.alt_stats.find(name, prefix, &self.store);
        if found.is_none() {
            self.stats.upstream_rq_alt_stat_name_overflow.inc();
        }
        found
    }

    /// The host that takes the next request; `None` when the cluster has none
    /// that may (flag `UH`).
    #[must_use]
    pub fn pick_host(&self, context: &mut LoadBalancerContext<'_>) -> Option<Rc<Host>> {
        self.choose_host(context, |balancer, cursor, picking| {
            balancer.pick(cursor, picking)
        })
    }

    /// The host of a request that is not there yet (see [`Balancer::peek`]).
    #[must_use]
    pub fn peek_host(&self, context: &mut LoadBalancerContext<'_>) -> Option<Rc<Host>> {
        self.choose_host(context, |balancer, cursor, picking| {
            balancer.peek(cursor, picking)
        })
    }

    #[inline]
    fn choose_host(
        &self,
        context: &mut LoadBalancerContext<'_>,
        choose: impl FnOnce(&Balancer, &mut Cursor, &mut Picking<'_, '_>) -> Pick,
    ) -> Option<Rc<Host>> {
        let Hosts { set, cursor, own } = &mut *self.hosts.borrow_mut();
        let pick = {
            let mut picking =
                context.among(&set.members, &self.stats, &self.loads, self.shared.created);
            choose(&set.balancer, cursor, &mut picking)
        };
        if !pick.events.is_empty() {
            self.shared.count_events(pick.events);
        }
        let index = pick.host? as usize;
        let Member { shared, config } = &set.members[index];
        let host = own[index].get_or_insert_with(|| Host::new(shared, config, &self.config));
        Some(Rc::clone(host))
    }

    /// The host at an address that a request asks for; `None` when the cluster
    /// knows no such hosts, or too many.
    #[must_use]
    pub fn host_at(&self, address: SocketAddr) -> Option<Rc<Host>> {
        self.asked_for.as_ref()?.at(address)
    }

    /// The host that a request asks for by what it is called in
    /// [`HostSet::by_asked`]: a name with its port, or an address.
    #[must_use]
    pub fn host_named(&self, name: &str) -> Option<Rc<Host>> {
        let Hosts { set, own, .. } = &mut *self.hosts.borrow_mut();
        let index = *set.by_asked.get(name)? as usize;
        let Member { shared, config } = &set.members[index];
        let host = own[index].get_or_insert_with(|| Host::new(shared, config, &self.config));
        Some(Rc::clone(host))
    }

    /// The hosts that it has now.
    #[must_use]
    pub fn host_set(&self) -> Arc<HostSet> {
        Arc::clone(&self.hosts.borrow().set)
    }

    /// The percentage of healthy hosts below which all are used.
    #[must_use]
    pub fn panic_threshold(&self) -> f64 {
        self.hosts.borrow().set.panic_threshold
    }

    /// Takes what the runtime says of the cluster.
    pub fn apply_runtime(&self, values: &RuntimeValues) {
        let percent = values.maintenance_percent(&self.config.name);
        self.maintenance_percent.set(percent as u8);
    }

    /// The percentage of the requests that are refused because the cluster is in
    /// maintenance.
    #[must_use]
    pub fn maintenance_percent(&self) -> u8 {
        self.maintenance_percent.get()
    }

    /// What part of the requests is refused.
    #[must_use]
    pub fn drop_overload(&self) -> Option<DropOverload> {
        self.hosts.borrow().set.policy.drop_overload
    }

    /// Calls `f` with the state of the priorities.
    pub fn with_priorities<T>(&self, f: impl FnOnce(&PriorityLoads) -> T) -> T {
        if let Some(joined) = self.aggregate.as_ref().and_then(Aggregate::joined) {
            return f(&joined.priorities);
        }
        f(self.hosts.borrow().set.balancer.priorities())
    }

    /// The priority of a host; `None` when it is not one of the cluster's any
    /// more. Looks through all of them.
    #[must_use]
    pub fn priority_of(&self, host: &Rc<Host>) -> Option<u32> {
        if let Some(aggregate) = &self.aggregate {
            return aggregate.joined()?.priority_of(host);
        }
        let Hosts { set, own, .. } = &*self.hosts.borrow();
        let is_it = |own: &Option<Rc<Host>>| own.as_ref().is_some_and(|own| Rc::ptr_eq(own, host));
        let member = &set.members[own.iter().position(is_it)?];
        Some(set.group(member).priority)
    }

    /// How many hosts there are, whatever their health.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.borrow().set.members.len()
    }

    /// How many hosts there are, and how many of them take requests.
    #[must_use]
    pub fn membership(&self) -> Membership {
        let set = &self.hosts.borrow().set;
        Membership {
            total: set.members.len() as u64,
            usable: set.counts.healthy + set.counts.degraded,
        }
    }

    /// Other hosts, or the same with another health. Connections to hosts that
    /// are gone are closed as soon as no request uses them.
    pub fn update_hosts(&self, set: Arc<HostSet>, seed: u64) {
        let hosts = &mut *self.hosts.borrow_mut();
        if self.config.close_connections_on_host_set_change
            && !has_same_hosts(&hosts.set.members, &set.members)
        {
            for host in hosts.own.iter().flatten() {
                conn_pool::renew(host);
            }
        }
        if !Arc::ptr_eq(&set.members, &hosts.set.members) {
            hosts.own = move_hosts(
                &self.config,
                &hosts.set.members,
                &set.members,
                &mut hosts.own,
            );
        }
        hosts.cursor = set.balancer.cursor(seed);
        self.shared.count_events(set.balancer.built());
        hosts.set = set;
        // What was opened to a host before it failed may be as bad as it is.
        let renew_unfit = |host: &Rc<Host>| {
            if host.became_unfit() {
                conn_pool::renew(host);
            }
        };
        hosts.own.iter().flatten().for_each(renew_unfit);
        if let Some(asked_for) = &self.asked_for {
            asked_for.forget_ended();
            asked_for.for_each(renew_unfit);
        }
    }

    /// The right to try a request again; `None` when too many retries are in
    /// flight. A retry budget counts the requests of both priorities.
    #[must_use]
    pub fn acquire_retry(&self, priority: usize) -> Option<RetryPermit> {
        let Breakers {
            retries, requests, ..
        } = &self.breakers[priority];
        // As in Envoy, either those that have begun of late or those that are
        // not over, with those that wait.
        retries.acquire(|| requests.begun_recently().unwrap_or_else(|| self.requests()))
    }

    /// The requests that the process has in flight to the cluster, those that
    /// wait for a connection included.
    fn requests(&self) -> u64 {
        let gauges = [
            self.stats.upstream_rq_active,
            self.stats.upstream_rq_pending_active,
        ];
        gauges.map(|gauge| self.loads.read(gauge)).iter().sum()
    }

    /// Whether connections have room for fewer requests than there are, the
    /// one that is about to take its connection included, times `ratio`.
    #[must_use]
    pub fn expects_more(&self, ratio: f64) -> bool {
        let connections = self.breakers.iter().map(|one| one.connections.count());
        let connections: u32 = connections.sum();
        let each = match self.speaks(None) {
            Speaks::Http1 | Speaks::Bytes => 1,
            Speaks::Http2 | Speaks::Negotiated => self.config.http2.streams_max,
        };
        (self.requests() + 1) as f64 * ratio > f64::from(connections) * f64::from(each)
    }

    /// Closes its connections as soon as no request uses them: it has ended.
    pub fn drain(&self) {
        for host in self.hosts.borrow().own.iter().flatten() {
            conn_pool::drain(host);
        }
        if let Some(asked_for) = &self.asked_for {
            asked_for.for_each(|host| conn_pool::drain(host));
        }
    }

    /// Closes the connections that no request uses.
    pub fn close_idle(&self) {
        for host in self.hosts.borrow().own.iter().flatten() {
            conn_pool::close_idle(host);
        }
        if let Some(asked_for) = &self.asked_for {
            asked_for.for_each(|host| conn_pool::close_idle(host));
        }
    }
}

/// Whether no host has come or gone.
fn has_same_hosts(old: &[Member], new: &[Member]) -> bool {
    let hosts = |members: &[Member]| -> HashSet<_> {
        let hosts = members.iter().map(|member| Arc::as_ptr(&member.shared));
        hosts.collect()
    };
    old.len() == new.len() && hosts(old) == hosts(new)
}

/// This worker's parts of `new` hosts: of those that it had before, the same,
/// with their connections. The others are let go.
fn move_hosts(
    cluster: &ClusterConfig,
    old: &[Member],
    new: &[Member],
    own: &mut [Option<Rc<Host>>],
) -> Vec<Option<Rc<Host>>> {
    let mut known: HashMap<_, _> = old
        .iter()
        .zip(own)
        .filter_map(|(member, host)| Some((Arc::as_ptr(&member.shared), (member, host.take()?))))
        .collect();
    let moved = new
        .iter()
        .map(|member| {
            let (before, host) = known.remove(&Arc::as_ptr(&member.shared))?;
            if !Arc::ptr_eq(&before.config, &member.config) {
                host.reconfigure(&member.config, cluster);
            }
            Some(host)
        })
        .collect();
    for (_, host) in known.into_values() {
        conn_pool::drain(&host);
    }
    moved
}
