//! One request and its response: the state that belongs to neither side alone.
//!
//! Exchanges are pooled by the worker. A connection takes one when a request
//! begins to arrive and gives it back when the response is out, so an idle
//! connection owns none, and a busy worker allocates none.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ringway_codecs::header::{HeaderId, HeaderMap, Lines};
use ringway_codecs::http1::{RequestHead, Version};
use ringway_config::dns_cache;
use ringway_config::filter_state::{DYNAMIC_HOST, DYNAMIC_PORT, FilterState, Object};
use ringway_config::load_balancing::AskedHosts;
use ringway_config::route::{ClusterChoice, MutationLevels, OverridesId, StatScopeId};
use ringway_config::sub_clusters;

use super::body_copy::BodyFeed;
use super::body_filter::BodyFilters;
use super::conn_manager_utility::Prepared;
use super::http1::reader::RequestFacts;
use super::pacer::Pacer;
use super::route_table::TableId;
use super::timeout_budget::TryBudget;
use crate::formatter::{AccessLogType, Context};
use crate::stats::alt_stats::AltStatId;
use crate::stream_info::{ConnectionInfo, Protocol, StreamInfo, TimePoint};
use crate::transport_sockets::options::TransportSocketOptions;

/// A header arena larger than this is shrunk when the exchange is pooled: one
/// client with huge headers must not make every later request carry them.
const POOLED_ARENA_BYTES_MAX: usize = 8 * 1024;

/// A kept body larger than this gives its memory back, for the same reason.
const POOLED_BODY_BYTES_MAX: usize = 64 * 1024;

/// Exchanges kept for reuse; beyond this they are freed. More than this many
/// concurrent requests on one worker is a peak, not the steady state.
pub const POOLED_EXCHANGES_MAX: usize = 1024;

/// The state of one request and its response.
#[derive(Debug)]
pub struct Exchange {
    /// The request's headers, pseudo headers included.
    pub request: HeaderMap,
    /// Trailers of the request.
    pub request_trailers: HeaderMap,
    /// The response's headers.
    pub response: HeaderMap,
    /// Trailers of the response.
    pub response_trailers: HeaderMap,
    /// What access logs tell.
    pub info: StreamInfo,
    /// What the response's framing depends on.
    pub facts: RequestFacts,
    /// What the client speaks.
    pub protocol: Protocol,
    /// The connection may carry another request after this one.
    pub keep_alive: bool,
    /// The connection is old enough, or has had all the requests that it may
    /// have: it ends with this one, whatever the request is.
    pub connection_ends: bool,
    /// The whole request has been received.
    pub request_complete: bool,
    /// The response's head has been queued.
    pub response_started: bool,
    /// The response has been queued to its end.
    pub response_complete: bool,
    /// What the connection may become; decided before the filters run.
    pub tunnel: Tunnel,
    /// The client's side of a tunnel has ended alone.
    pub client_ended: bool,
    /// What the client sends before a CONNECT is answered ends it.
    pub rejects_early_data: bool,
    /// The place of the request's kind in the `upgrade_configs`.
    pub upgrade: Option<usize>,
    /// The port of a CONNECT whose authority is routed without it.
    pub connect_port: Option<u32>,
    /// The request comes from inside the trusted network.
    pub internal: bool,
    /// A random number that all decisions about the request share: route
    /// fractions, weighted clusters.
    pub random: u64,
    /// Which of the connection manager's route tables the route is in. Numbers
    /// of header changes, overrides and statistics are places in that table.
    pub route_table: TableId,
    /// The cluster that the route chose.
    pub cluster: ClusterChoice,
    /// What the request asks of the connection that carries it.
    pub socket_options: TransportSocketOptions,
    /// A buffer for whoever puts a value together.
    pub scratch: Vec<u8>,
    /// `set-cookie` headers for the response of the upstream: cookies that
    /// decided which host took the request. Most requests make none.
    pub set_cookies: Vec<Box<[u8]>>,
    /// Where the request is counted besides its cluster.
    pub counted: Counted,
    /// The route's changes of headers, of the request and of any response, the
    /// proxy's own included.
    pub header_mutations: MutationLevels,
    /// A filter has answered in the response's place.
    pub response_replaced: bool,
    /// The request is one for a page, whose response takes another one's place.
    pub page: Option<FetchedPage>,
    /// How many HTTP filters saw the request: the response runs through them.
    pub filters_entered: usize,
    /// A filter has changed what the route may depend on, and asks that it is
    /// looked up again.
    pub route_cleared: bool,
    /// How long the upstream may take.
    pub limits: Limits,
    /// When its time began: all of the request had arrived, and filters let it
    /// pass. A tunnel's never does.
    pub asked_at: Option<Instant>,
    /// How long the whole stream may take.
    pub stream_limit: StreamLimit,
    /// How long the response may wait for the client to read the rest of it.
    pub flush_limit: Option<Duration>,
    /// The request's body as far as it has arrived, for another try, or for the
    /// first one while a filter holds it back. Empty otherwise.
    pub replay: Vec<u8>,
    /// All of the body has arrived before the request was sent on, and was
    /// empty. What hosts are told of it is not what they are told of none.
    pub has_empty_body: bool,
    /// What following redirects needs to remember, once one was followed.
    pub redirects: Option<Box<Redirects>>,
    /// Responses say how many tries there were.
    pub tell_attempts: bool,
    /// What the request's route says to the filters.
    pub filter_overrides: OverridesId,
    /// What lets the response's body out slowly, if anything does.
    pub pacer: Option<Box<Pacer>>,
    /// What filters hold until the request is over. Empty unless one has
    /// something to hold.
    pub held: Vec<Box<dyn Held>>,
    /// What the only try takes of its time, where that is recorded.
    pub try_budget: Option<TryBudget>,
    /// What ends the request if nothing else does.
    pub deadlines: Deadlines,
    /// The hosts that the request has asked for; `None` until a request asks
    /// for any, and the memory is kept for the next.
    pub asked_hosts: Option<Box<AskedHosts>>,
    /// The request's copies for other clusters have been started, or there are
    /// none.
    pub mirrored: bool,
    /// Where copies of the request's body go.
    pub shadows: Vec<BodyFeed>,
    /// Whether the client speaks gRPC, where a filter has changed what says so.
    pub speaks_grpc: Option<bool>,
    /// What filters do to the bodies, if any does.
    pub bodies: Option<Box<BodyFilters>>,
}

/// What a request may turn its connection into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tunnel {
    /// It stays as it is.
    #[default]
    None,
    /// What `Upgrade` names, once the upstream has answered 101.
    Upgrade,
    /// The same, for WebSocket.
    WebSocket,
    /// A tunnel, once a CONNECT has been answered with 2xx.
    Connect,
}

/// A page that is fetched in the place of a response.
#[derive(Debug, Clone, Copy)]
pub struct FetchedPage {
    /// The place of the filter that wants it.
    pub filter: usize,
    /// The filter's name for what it does with it.
    pub policy: u32,
    /// The status of the response.
    pub instead_of: u16,
    /// It has been asked for: the request is to be routed anew.
    pub is_awaited: bool,
}

/// Something that a filter holds until the request is over; dropping it says
/// so.
pub trait Held: std::fmt::Debug {
    /// Whether it stands for a fault on purpose.
    fn is_fault(&self) -> bool {
        false
    }
}

/// Appends the host where a request to a dynamic forward proxy goes, with its port: what
/// caches of names know it by. Filters may have said another than `named`, and another
/// port for one that has none.
pub fn write_destination(named: &[u8], said: &FilterState, default_port: u16, out: &mut Vec<u8>) {
    let host = said.get(DYNAMIC_HOST).and_then(Object::text);
    let port = match said.get(DYNAMIC_PORT) {
        Some(Object::U32(port)) => u16::try_from(*port).ok().filter(|port| *port > 0),
        _ => None,
    };
    dns_cache::write_key(host.unwrap_or(named), port.unwrap_or(default_port), out);
}

/// Appends the name of the sub-cluster that is for that host.
pub fn write_sub_cluster(request: &HeaderMap, default_port: u16, out: &mut Vec<u8>) {
    let host = request.get(HeaderId::Authority).unwrap_or_default();
    sub_clusters::write_name(host, default_port, out);
}

impl Exchange {
    /// Calls `f` with the host where the request goes, as [`write_destination`] has it.
    pub fn with_destination<T>(&mut self, default_port: u16, f: impl FnOnce(&str) -> T) -> T {
        self.scratch.clear();
        let named = self.request.get(HeaderId::Authority).unwrap_or_default();
        let said = self.info.filter_state();
        write_destination(named, said, default_port, &mut self.scratch);
        f(&String::from_utf8_lossy(&self.scratch))
    }

    /// Calls `f` with what a filter looks up for the request: the host that it names, or
    /// that filters have said, where they may (`takes_said`). However that is written.
    pub fn with_host_key<T>(
        &mut self,
        takes_said: bool,
        default_port: u16,
        f: impl FnOnce(&str) -> T,
    ) -> T {
        self.scratch.clear();
        let named = self.request.get(HeaderId::Authority).unwrap_or_default();
        let said = match takes_said {
            true => self.info.filter_state(),
            false => FilterState::EMPTY,
        };
        write_destination(named, said, default_port, &mut self.scratch);
        dns_cache::normalize_key(&mut self.scratch);
        f(&String::from_utf8_lossy(&self.scratch))
    }

    /// Calls `f` with the name of the sub-cluster for the host that the request names.
    pub fn with_sub_cluster<T>(&mut self, default_port: u16, f: impl FnOnce(&str) -> T) -> T {
        self.scratch.clear();
        write_sub_cluster(&self.request, default_port, &mut self.scratch);
        f(&String::from_utf8_lossy(&self.scratch))
    }

    fn new(connection: Rc<ConnectionInfo>, now: Instant, wall: SystemTime) -> Self {
        Self {
            request: HeaderMap::of(Lines::Request),
            request_trailers: HeaderMap::new(),
            response: HeaderMap::of(Lines::Response),
            response_trailers: HeaderMap::of(Lines::ResponseTrailers),
            info: StreamInfo::new(connection, now, wall),
            facts: RequestFacts::default(),
            protocol: Protocol::Http11,
            keep_alive: true,
            connection_ends: false,
            request_complete: false,
            response_started: false,
            response_complete: false,
            tunnel: Tunnel::None,
            client_ended: false,
            rejects_early_data: false,
            upgrade: None,
            connect_port: None,
            internal: false,
            random: 0,
            route_table: TableId::default(),
            cluster: ClusterChoice::default(),
            socket_options: TransportSocketOptions::default(),
            scratch: Vec::new(),
            set_cookies: Vec::new(),
            counted: Counted::default(),
            header_mutations: MutationLevels::default(),
            response_replaced: false,
            page: None,
            filters_entered: 0,
            route_cleared: false,
            limits: Limits::default(),
            asked_at: None,
            stream_limit: StreamLimit::default(),
            flush_limit: None,
            replay: Vec::new(),
            has_empty_body: false,
            redirects: None,
            tell_attempts: false,
            filter_overrides: OverridesId::default(),
            pacer: None,
            held: Vec::new(),
            try_budget: None,
            deadlines: Deadlines::new(now),
            asked_hosts: None,
            mirrored: false,
            shadows: Vec::new(),
            speaks_grpc: None,
            bodies: None,
        }
    }

    /// Makes the exchange ready for a request that begins now.
    fn reset(&mut self, connection: Rc<ConnectionInfo>, now: Instant, wall: SystemTime) {
        for headers in [
            &mut self.request,
            &mut self.request_trailers,
            &mut self.response,
            &mut self.response_trailers,
        ] {
            headers.clear();
            headers.shrink(POOLED_ARENA_BYTES_MAX);
        }
        self.info.reset(connection, now, wall);
        self.facts = RequestFacts::default();
        self.protocol = Protocol::Http11;
        self.keep_alive = true;
        self.connection_ends = false;
        self.request_complete = false;
        self.response_started = false;
        self.response_complete = false;
        self.tunnel = Tunnel::None;
        self.client_ended = false;
        self.rejects_early_data = false;
        self.upgrade = None;
        self.connect_port = None;
        self.internal = false;
        self.random = 0;
        self.route_table = TableId::default();
        self.cluster = ClusterChoice::default();
        self.socket_options.clear();
        self.scratch.clear();
        self.scratch.shrink_to(POOLED_ARENA_BYTES_MAX);
        self.set_cookies.clear();
        self.counted = Counted::default();
        self.header_mutations = MutationLevels::default();
        self.response_replaced = false;
        self.page = None;
        self.filters_entered = 0;
        self.route_cleared = false;
        self.limits = Limits::default();
        self.asked_at = None;
        self.stream_limit = StreamLimit::default();
        self.flush_limit = None;
        self.redirects = None;
        self.tell_attempts = false;
        self.filter_overrides = OverridesId::default();
        self.forget_asked_hosts();
        self.mirrored = false;
        self.pacer = None;
        self.held.clear();
        self.speaks_grpc = None;
        self.bodies = None;
        self.deadlines = Deadlines::new(now);
    }

    /// Notes what the head of the request says besides its headers.
    pub fn note_head(&mut self, head: &RequestHead, protocol: Protocol) {
        self.protocol = protocol;
        self.facts = RequestFacts {
            is_head: head.is_head,
            is_connect: head.is_connect,
        };
        self.info.protocol = Some(self.protocol);
    }

    /// What format strings show of it, outside of access logs.
    #[must_use]
    pub fn format_context(&self) -> Context<'_> {
        Context {
            info: &self.info,
            request: &self.request,
            response: &self.response,
            trailers: &self.response_trailers,
            local_reply_body: b"",
            kind: AccessLogType::NotSet,
        }
    }

    /// Remembers the port that was taken off the authority, if its host is to
    /// learn it all the same.
    pub fn set_connect_port(&mut self, prepared: &Prepared) {
        self.connect_port = prepared.stripped_port.filter(|_| self.facts.is_connect);
    }

    /// Takes what follows for the rest of this request, though it may be meant
    /// for another protocol. A stream has an end of its own, which may have been
    /// read.
    pub fn distrust_rest(&mut self, is_read: bool) {
        self.keep_alive = false;
        self.request_complete = self.protocol == Protocol::Http2 && is_read;
    }

    /// Whether the client has nothing more to say that belongs to this
    /// request. Its side of a tunnel has no end, but where it ends alone.
    #[must_use]
    pub fn is_request_over(&self) -> bool {
        self.request_complete && (self.tunnel == Tunnel::None || self.client_ended)
    }

    /// Whether the request that is sent on has a body, or may have one.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !self.request_complete || !self.replay.is_empty() || self.has_empty_body
    }

    /// Notes that the upstream's time begins, if it does.
    pub fn begin_upstream_time(&mut self, now: Instant) {
        self.asked_at = self.is_request_over().then_some(now);
    }

    /// How long the upstream has had at `now`; `None` before its time began.
    #[must_use]
    pub fn upstream_time(&self, now: Instant) -> Option<Duration> {
        self.asked_at.map(|asked| now.duration_since(asked))
    }

    /// Makes the exchange ready for the request that a redirect has made of
    /// this one: its headers and its body stay.
    pub fn begin_redirected(&mut self, now: Instant, wall: SystemTime) {
        self.response.clear();
        self.response_trailers.clear();
        self.has_empty_body = false;
        self.socket_options.clear();
        self.asked_at = None;
        self.pacer = None;
        self.held.clear();
        self.try_budget = None;
        // The next route says whether they are.
        self.tell_attempts = false;
        let (remote, protocol) = (self.info.remote_address, self.info.protocol);
        let connection = Rc::clone(&self.info.connection);
        // Its route is known before it is looked up again.
        let route_name = std::mem::take(&mut self.info.route_name);
        let cluster = self.info.cluster.take();
        self.info.reset(connection, now, wall);
        self.info.route_name = route_name;
        self.info.cluster = cluster;
        self.info.remote_address = remote;
        self.info.protocol = protocol;
        self.info.bytes_received = self.replay.len() as u64;
        self.info.mark(TimePoint::DownstreamRxEnd, now);
        self.header_mutations = MutationLevels::default();
        // These are places in a route table that the next route may not be in.
        self.filter_overrides = OverridesId::default();
        self.counted = Counted::default();
        self.set_cookies.clear();
        self.response_replaced = false;
        self.filters_entered = 0;
        self.route_cleared = false;
        self.forget_asked_hosts();
        self.mirrored = false;
        self.shadows.clear();
        self.bodies = None;
        self.deadlines = Deadlines::new(now);
    }

    /// What the request asks for is to be found out anew.
    fn forget_asked_hosts(&mut self) {
        if let Some(hosts) = &mut self.asked_hosts {
            hosts.clear();
        }
    }

    /// Forgets what the route said, before another one is looked up.
    pub fn forget_route(&mut self) {
        self.info.has_virtual_host = false;
        self.info.has_route = false;
        self.info.route_name.clear();
        self.info.route_metadata = None;
        self.info.cluster = None;
        self.cluster = ClusterChoice::default();
        self.header_mutations = MutationLevels::default();
        self.filter_overrides = OverridesId::default();
    }

    /// Tells the client how many tries there were, if the route wants that.
    pub fn set_attempt_count(&mut self) {
        if !self.tell_attempts {
            return;
        }
        let count = self.info.attempt_count;
        self.response
            .set_decimal(HeaderId::XEnvoyAttemptCount, count);
    }

    /// Drops the body that was kept for another try, and its memory when it
    /// was large.
    pub fn forget_body(&mut self) {
        self.has_empty_body = false;
        self.replay.clear();
        self.replay.shrink_to(POOLED_BODY_BYTES_MAX);
    }

    /// The version of a client that speaks HTTP/1: those of 1.0 understand no
    /// chunks.
    #[must_use]
    pub fn version(&self) -> Version {
        match self.protocol {
            Protocol::Http10 => Version::Http10,
            Protocol::Http11 | Protocol::Http2 | Protocol::Http3 => Version::Http11,
        }
    }
}

/// Where a request is counted besides its cluster: places in the statistics of
/// its route configuration and of its cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// Its virtual cluster's.
    pub virtual_cluster: Option<StatScopeId>,
    /// Its route's.
    pub route: Option<StatScopeId>,
    /// The name that it brings.
    pub alt_stat: Option<AltStatId>,
    /// The host that has answered is a canary.
    pub is_canary: bool,
}

/// How long the upstream may take for a request, as the route, its headers and
/// the cluster say; `None` is without limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All tries together, from the end of the request.
    pub route: Option<Duration>,
    /// One try, from the end of the request.
    pub per_try: Option<Duration>,
    /// One try without progress.
    pub per_try_idle: Option<Duration>,
    /// One try from its start, whatever it does, if the request says so.
    pub asked_upstream_stream: Option<Option<Duration>>,
    /// The host of a gRPC request is told of them in its `grpc-timeout`.
    pub tells_grpc: bool,
    /// The status when the route or a try took too long: 504, or the 204 that
    /// the request has asked for.
    pub timeout_status: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            route: None,
            per_try: None,
            per_try_idle: None,
            asked_upstream_stream: None,
            tells_grpc: false,
            timeout_status: 504,
        }
    }
}

impl Limits {
    /// How long one try may take from its start; `of_cluster` is what the
    /// cluster of its host says.
    #[must_use]
    pub fn upstream_stream(&self, of_cluster: Option<Duration>) -> Option<Duration> {
        self.asked_upstream_stream.unwrap_or(of_cluster)
    }
}

/// How long a stream may take from the request's first byte to the response's
/// last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamLimit {
    /// `None` is without limit.
    pub time: Option<Duration>,
    /// The request has asked for it, in its `grpc-timeout`.
    pub is_asked: bool,
}

/// The redirects that were followed for a request.
#[derive(Debug, Default)]
pub struct Redirects {
    /// How many.
    pub count: u32,
    /// Which route led to which, by their names.
    pub steps: Vec<(Arc<str>, Arc<str>)>,
}

/// The exchanges that a worker keeps for reuse.
#[derive(Default)]
pub struct ExchangePool {
    #[allow(
        clippy::vec_box,
        reason = "a connection owns a box; moving 900 bytes in and out would cost more"
    )]
    free: Vec<Box<Exchange>>,
}

impl ExchangePool {
    /// An exchange for a request that begins now.
    pub fn take(
        &mut self,
        connection: Rc<ConnectionInfo>,
        now: Instant,
        wall: SystemTime,
    ) -> Box<Exchange> {
        match self.free.pop() {
            Some(mut exchange) => {
                exchange.reset(connection, now, wall);
                exchange
            }
            None => Box::new(Exchange::new(connection, now, wall)),
        }
    }

    /// Keeps an exchange for the next request.
    pub fn put(&mut self, mut exchange: Box<Exchange>) {
        if self.free.len() < POOLED_EXCHANGES_MAX {
            exchange.shadows.clear();
            exchange.try_budget = None;
            exchange.bodies = None;
            exchange.forget_body();
            exchange.info.release();
            self.free.push(exchange);
        }
    }
}

/// When a request is given up, and why. All of a request's timers share the
/// connection's one timer entry: only the nearest deadline is armed.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// `request_timeout`: the whole request must have been received.
    pub request: Option<Instant>,
    /// The route's timeout, which starts when the request is complete.
    pub route: Option<Instant>,
    /// `max_stream_duration` of the connection manager or the route.
    pub stream: Option<Instant>,
    /// The cluster's `max_stream_duration`.
    pub upstream: Option<Instant>,
    /// `stream_idle_timeout`, counted from the last progress.
    pub idle: Option<Duration>,
    /// `per_try_idle_timeout` of the try whose response is being sent on.
    pub try_idle: Option<Instant>,
    /// When the request is to be logged although it is not over. It ends
    /// nothing.
    pub log: Option<Instant>,
    last_progress: Instant,
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The request did not arrive in time.
    Request,
    /// The upstream did not answer in time.
    Route,
    /// The stream lived too long.
    Stream,
    /// The upstream request lived too long.
    Upstream,
    /// Nothing moved for too long.
    Idle,
    /// One try took too long.
    Try,
    /// Nothing moved for too long in one try.
    TryIdle,
}

impl Deadlines {
    fn new(now: Instant) -> Self {
        Self {
            request: None,
            route: None,
            stream: None,
            upstream: None,
            idle: None,
            try_idle: None,
            log: None,
            last_progress: now,
        }
    }

    /// Notes that bytes have moved.
    pub fn progress(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// Takes the limits away that a request has until its host has answered.
    pub fn keep_stream_limits(&mut self) {
        (self.request, self.route) = (None, None);
        (self.upstream, self.try_idle) = (None, None);
    }

    /// The nearest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.last_progress + idle);
        [
            self.request,
            self.route,
            self.stream,
            self.upstream,
            self.try_idle,
            self.log,
            idle,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The deadline that has passed at `now`, if any.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<Expired> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if passed(self.route) {
            Some(Expired::Route)
        } else if passed(self.stream) {
            Some(Expired::Stream)
        } else if passed(self.upstream) {
            Some(Expired::Upstream)
        } else if passed(self.try_idle) {
            Some(Expired::TryIdle)
        } else if passed(self.request) {
            Some(Expired::Request)
        } else if passed(self.idle.map(|idle| self.last_progress + idle)) {
            Some(Expired::Idle)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_deadline_is_armed_and_named() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::new(now);
        assert_eq!(deadlines.next(), None);

        deadlines.idle = Some(Duration::from_secs(5));
        deadlines.stream = Some(after(9));
        assert_eq!(deadlines.next(), Some(after(5)));
        assert_eq!(deadlines.expired(after(4)), None);
        assert_eq!(deadlines.expired(after(5)), Some(Expired::Idle));

        deadlines.progress(after(6));
        assert_eq!(deadlines.next(), Some(after(9)));
        assert_eq!(deadlines.expired(after(9)), Some(Expired::Stream));

        deadlines.route = Some(after(8));
        assert_eq!(deadlines.expired(after(10)), Some(Expired::Route));
    }
}
