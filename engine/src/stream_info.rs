//! What is known about one request, for access logs, header formatting and
//! tracing: times, byte counts, addresses, response flags and details.
//!
//! A [`StreamInfo`] lives as long as its request and is pooled by the worker:
//! [`StreamInfo::reset`] makes it ready for the next request and keeps every
//! buffer. Filling it costs plain stores; everything that needs formatting is
//! done by `formatter`, and only when a log or a header asks for it.
//!
//! Facts that belong to the connection, the cluster or the host are held by
//! worker-local `Rc`s that the request clones, never copied into it.

pub mod details;
mod response_flag;
mod tls;

pub use response_flag::{ResponseFlag, ResponseFlags};
pub use tls::{CertificateFacts, TlsInfo};

use envoy_types::pb::envoy::data::core::v3::TlvsMetadata;
use ringway_config::filter_state::FilterState;
use ringway_config::metadata::{Metadata, RouteMetadata};
use ringway_config::proxy_protocol::Tlv;
use ringway_config::route::RouteMatch;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Everything that is recorded about one request (or one TCP session).
#[derive(Debug)]
pub struct StreamInfo {
    /// Wall clock when the request began, for `%START_TIME%`.
    pub start_wall: SystemTime,
    /// Monotonic clock when the request began: every [`TimePoint`] counts from
    /// here.
    pub start: Instant,
    points: [i64; TimePoint::COUNT],
    /// The downstream connection.
    pub connection: Rc<ConnectionInfo>,
    /// The client's address after X-Forwarded-For; `None` means that it is the
    /// connection's own peer. An address from a header has port 0.
    pub remote_address: Option<SocketAddr>,
    /// Protocol of the downstream request.
    pub protocol: Option<Protocol>,
    /// Protocol of the upstream request.
    pub upstream_protocol: Option<Protocol>,
    /// Status sent to the client; 0 while there is none.
    pub response_code: u16,
    /// The request was a health check, which `not_health_check_filter` hides.
    pub health_check: bool,
    /// Upstream requests made, the first one included.
    pub attempt_count: u32,
    /// Envoy's response flags.
    pub flags: ResponseFlags,
    /// Why the response is what it is: a constant of [`details`] or a text.
    pub details: Text,
    /// Why the connection was ended, for sessions that were terminated.
    pub connection_termination_details: Text,
    /// Why the upstream transport failed (connect or TLS error).
    pub upstream_transport_failure_reason: Text,
    /// A virtual host was found.
    pub has_virtual_host: bool,
    /// A route was found in it.
    pub has_route: bool,
    /// The matched route's name; empty when it has none.
    pub route_name: Text,
    /// The matched virtual cluster's name; empty when there is none.
    pub virtual_cluster_name: Text,
    /// The cluster that the route chose.
    pub cluster: Option<Rc<ClusterInfo>>,
    /// The host of the last attempt.
    pub host: Option<Rc<HostInfo>>,
    /// The connection of the last attempt.
    pub upstream_connection: Option<Rc<UpstreamConnectionInfo>>,
    /// Body bytes received from the client.
    pub bytes_received: u64,
    /// Body bytes sent to the client.
    pub bytes_sent: u64,
    /// Bytes on the downstream wire that belong to this request.
    pub downstream_bytes: BytesMeter,
    /// Bytes on the upstream wire that belong to this request, all attempts.
    pub upstream_bytes: BytesMeter,
    /// A number for the stream, used as `%STREAM_ID%` without a request id.
    pub stream_id: u64,
    /// What the configuration says of its route.
    pub route_metadata: Option<Rc<SharedRouteMetadata>>,
    state: Option<Box<State>>,
}

/// A worker's own handle on a route's metadata, which all workers share: a
/// request holds the handle without a count that other cores change.
#[derive(Debug)]
pub struct SharedRouteMetadata(pub Arc<RouteMetadata>);

/// What filters say of a request. Most requests have none of it.
#[derive(Debug, Clone, Default)]
struct State {
    metadata: Metadata,
    filter_state: FilterState,
}

impl StreamInfo {
    /// A record for a request that begins now. `start` and `start_wall` are
    /// the reactor's cached clocks.
    pub fn new(connection: Rc<ConnectionInfo>, start: Instant, start_wall: SystemTime) -> Self {
        let mut info = StreamInfo {
            start_wall,
            start,
            points: [UNSET; TimePoint::COUNT],
            connection,
            remote_address: None,
            protocol: None,
            upstream_protocol: None,
            response_code: 0,
            health_check: false,
            attempt_count: 0,
            flags: ResponseFlags::default(),
            details: Text::default(),
            connection_termination_details: Text::default(),
            upstream_transport_failure_reason: Text::default(),
            has_virtual_host: false,
            has_route: false,
            route_name: Text::default(),
            virtual_cluster_name: Text::default(),
            cluster: None,
            host: None,
            upstream_connection: None,
            bytes_received: 0,
            bytes_sent: 0,
            downstream_bytes: BytesMeter::default(),
            upstream_bytes: BytesMeter::default(),
            stream_id: 0,
            route_metadata: None,
            state: None,
        };
        info.inherit_filter_state();
        info
    }

    /// What filters have said of the request.
    pub fn metadata(&self) -> &Metadata {
        self.state
            .as_ref()
            .map_or(Metadata::EMPTY, |state| &state.metadata)
    }

    /// What filters have left for others.
    pub fn filter_state(&self) -> &FilterState {
        self.state
            .as_ref()
            .map_or(FilterState::EMPTY, |state| &state.filter_state)
    }

    /// [`StreamInfo::metadata`], to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.state.get_or_insert_default().metadata
    }

    /// Tells why the host that the request names has no address.
    pub fn set_dns_failure(&mut self, reason: &str) {
        let details = &mut self.details;
        details.compose(format_args!("dns_resolution_failure{{{reason}}}"));
    }

    /// [`StreamInfo::filter_state`], to be changed.
    pub fn filter_state_mut(&mut self) -> &mut FilterState {
        &mut self.state.get_or_insert_default().filter_state
    }

    /// Forgets what belongs to the request alone and may be large.
    pub fn release(&mut self) {
        self.host = None;
        self.cluster = None;
        self.upstream_connection = None;
        self.route_metadata = None;
        if let Some(state) = &mut self.state {
            state.metadata.clear();
            state.filter_state.clear();
        }
    }

    /// Forgets the request and begins another on `connection`. The texts keep
    /// their buffers, so that a pooled record allocates nothing.
    pub fn reset(
        &mut self,
        connection: Rc<ConnectionInfo>,
        start: Instant,
        start_wall: SystemTime,
    ) {
        self.release();
        // All fields by name: one that is added later cannot be left out, and
        // the record is never built twice, which is felt in every request.
        let StreamInfo {
            start_wall: own_start_wall,
            start: own_start,
            points,
            connection: own_connection,
            remote_address,
            protocol,
            upstream_protocol,
            response_code,
            health_check,
            attempt_count,
            flags,
            has_virtual_host,
            has_route,
            details,
            connection_termination_details,
            upstream_transport_failure_reason,
            route_name,
            virtual_cluster_name,
            bytes_received,
            bytes_sent,
            downstream_bytes,
            upstream_bytes,
            stream_id,
            // Released already.
            cluster: _,
            host: _,
            upstream_connection: _,
            route_metadata: _,
            state: _,
        } = self;
        (*own_start_wall, *own_start) = (start_wall, start);
        points.fill(UNSET);
        *own_connection = connection;
        *remote_address = None;
        (*protocol, *upstream_protocol) = (None, None);
        (*response_code, *attempt_count) = (0, 0);
        *health_check = false;
        (*has_virtual_host, *has_route) = (false, false);
        *flags = ResponseFlags::default();
        for text in [
            details,
            connection_termination_details,
            upstream_transport_failure_reason,
            route_name,
            virtual_cluster_name,
        ] {
            text.clear();
        }
        (*bytes_received, *bytes_sent, *stream_id) = (0, 0, 0);
        *downstream_bytes = BytesMeter::default();
        *upstream_bytes = BytesMeter::default();
        self.inherit_filter_state();
    }

    /// Begins with what network filters have left on the connection.
    fn inherit_filter_state(&mut self) {
        if !self.connection.filter_state.is_empty() {
            let inherited = self.connection.filter_state.clone();
            *self.filter_state_mut() = inherited;
        }
    }

    /// Notes what was found for the request.
    pub fn note_found(&mut self, found: &RouteMatch<'_>) {
        self.has_virtual_host = !matches!(found, RouteMatch::NoVirtualHost);
        self.has_route = matches!(found, RouteMatch::Route(_));
    }

    /// Records that `point` was reached at `at`. A later call for the same
    /// point replaces the earlier one, as a retry does for the upstream points.
    pub fn mark(&mut self, point: TimePoint, at: Instant) {
        self.points[point as usize] = self.offset(at);
    }

    /// Records `point` unless it has been recorded before, for "first byte"
    /// points that are passed again and again.
    pub fn mark_first(&mut self, point: TimePoint, at: Instant) {
        if self.points[point as usize] == UNSET {
            self.points[point as usize] = self.offset(at);
        }
    }

    /// Forgets `point`, as a new upstream attempt does with the points of the
    /// one before.
    pub fn unmark(&mut self, point: TimePoint) {
        self.points[point as usize] = UNSET;
    }

    /// Nanoseconds from the request's start to `point`; negative for a pooled
    /// upstream connection that is older than the request.
    pub fn nanos(&self, point: TimePoint) -> Option<i64> {
        let connection = || self.upstream_connection.as_deref();
        match point {
            TimePoint::DownstreamRxBegin => Some(0),
            TimePoint::UpstreamConnectBegin => connection()?.connect_begin.map(|t| self.offset(t)),
            TimePoint::UpstreamConnectEnd => connection()?.connect_end.map(|t| self.offset(t)),
            TimePoint::UpstreamHandshakeEnd => connection()?.handshake_end.map(|t| self.offset(t)),
            recorded => match self.points[recorded as usize] {
                UNSET => None,
                nanos => Some(nanos),
            },
        }
    }

    /// Nanoseconds from the request's start to the end of its connection's handshake:
    /// less than none, because that was before.
    pub fn handshake_nanos(&self) -> Option<i64> {
        self.connection.handshake_end.map(|end| self.offset(end))
    }

    /// Time from the request's start to `point`, when it was reached.
    pub fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        let nanos = self.nanos(point)?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    /// The client's address: from X-Forwarded-For, or the peer's.
    pub fn remote(&self) -> SocketAddr {
        self.remote_address.unwrap_or(self.connection.remote)
    }

    fn offset(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.start) {
            Some(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            None => -i64::try_from(self.start.duration_since(at).as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

/// Marks a point that was not reached. The offsets are signed, so that the
/// smallest number is free: 292 years before the request.
const UNSET: i64 = i64::MIN;

/// Points in the life of a request, with the names that
/// `%COMMON_DURATION(START:END:UNIT)%` knows them by.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePoint {
    /// `DS_RX_BEG`: the request's first byte; always the start.
    DownstreamRxBegin,
    /// `DS_RX_END`: the request's last byte arrived.
    DownstreamRxEnd,
    /// `US_CX_BEG`: the upstream connect began; taken from
    /// [`UpstreamConnectionInfo`], never marked.
    UpstreamConnectBegin,
    /// `US_CX_END`: the upstream TCP connect ended; taken from
    /// [`UpstreamConnectionInfo`], never marked.
    UpstreamConnectEnd,
    /// `US_HS_END`: the upstream TLS handshake ended; taken from
    /// [`UpstreamConnectionInfo`], never marked.
    UpstreamHandshakeEnd,
    /// `US_TX_BEG`: the first byte of the upstream request was sent.
    UpstreamTxBegin,
    /// `US_TX_END`: the last byte of the upstream request was sent.
    UpstreamTxEnd,
    /// `US_RX_BEG`: the upstream's response head arrived.
    UpstreamRxBegin,
    /// `US_RX_BODY_BEG`: the first byte of the upstream's body arrived.
    UpstreamRxBodyBegin,
    /// `US_RX_END`: the upstream's response ended.
    UpstreamRxEnd,
    /// `DS_TX_BEG`: the first byte of the response was sent.
    DownstreamTxBegin,
    /// `DS_TX_END`: the last byte of the response was sent.
    DownstreamTxEnd,
    /// The request is over (`%DURATION%`): everything was sent or given up.
    RequestComplete,
    /// A pooled or new upstream connection was assigned to the request
    /// (`%UPSTREAM_CONNECTION_POOL_READY_DURATION%`).
    UpstreamPoolReady,
}

impl TimePoint {
    const COUNT: usize = TimePoint::UpstreamPoolReady as usize + 1;

    /// The point with this name in `%COMMON_DURATION%`.
    pub fn from_name(name: &str) -> Option<TimePoint> {
        Some(match name {
            "DS_RX_BEG" => TimePoint::DownstreamRxBegin,
            "DS_RX_END" => TimePoint::DownstreamRxEnd,
            "US_CX_BEG" => TimePoint::UpstreamConnectBegin,
            "US_CX_END" => TimePoint::UpstreamConnectEnd,
            "US_HS_END" => TimePoint::UpstreamHandshakeEnd,
            "US_TX_BEG" => TimePoint::UpstreamTxBegin,
            "US_TX_END" => TimePoint::UpstreamTxEnd,
            "US_RX_BEG" => TimePoint::UpstreamRxBegin,
            "US_RX_BODY_BEG" => TimePoint::UpstreamRxBodyBegin,
            "US_RX_END" => TimePoint::UpstreamRxEnd,
            "DS_TX_BEG" => TimePoint::DownstreamTxBegin,
            "DS_TX_END" => TimePoint::DownstreamTxEnd,
            _ => return None,
        })
    }
}

/// Messages by namespace: typed metadata.
pub type TypedMetadata = Rc<[(Box<str>, TlvsMetadata)]>;

/// What tells a client apart by its ClientHello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// `%TLS_JA3_FINGERPRINT%`
    pub ja3: Option<Box<str>>,
    /// `%TLS_JA4_FINGERPRINT%`
    pub ja4: Option<Box<str>>,
}

/// Facts about a downstream connection that all its requests share.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionInfo {
    /// `%CONNECTION_ID%`: unique in the process.
    pub id: u64,
    /// The peer of the socket. For a Unix listener it is `0.0.0.0:0`.
    pub direct_remote: SocketAddr,
    /// The socket's own address. For a Unix listener it is `0.0.0.0:0`, and
    /// [`ConnectionInfo::pipe`] holds the path.
    pub direct_local: SocketAddr,
    /// The client: the peer, or whom a proxy before this one has named.
    pub remote: SocketAddr,
    /// The address that the client connected to: the socket's own, or what it
    /// was before somebody led the connection here.
    pub local: SocketAddr,
    /// Path of the Unix socket that the client connected to.
    pub pipe: Option<Arc<str>>,
    /// Server name asked for in the TLS ClientHello.
    pub requested_server_name: Option<Box<str>>,
    /// What tells the client apart, where somebody wants to know.
    pub fingerprints: Option<Box<Fingerprints>>,
    /// Name of the filter chain that serves the connection; empty for none.
    pub filter_chain_name: Arc<str>,
    /// Metadata of the listener, if it has some.
    pub listener_metadata: Option<Arc<Metadata>>,
    /// Metadata of the filter chain, if it has some.
    pub filter_chain_metadata: Option<Arc<Metadata>>,
    /// What its handshake agreed on; `None` in plaintext.
    pub tls: Option<Arc<TlsInfo>>,
    /// When its handshake was over, if requests come on it.
    pub handshake_end: Option<Instant>,
    /// Why there was no handshake; empty unless a log may tell it.
    pub transport_failure_reason: Box<str>,
    /// What network filters have left for others: its requests begin with it.
    pub filter_state: FilterState,
    /// What listener filters have said of it. Requests on it have metadata of
    /// their own.
    pub metadata: Metadata,
    /// What a header of PROXY protocol has said, as the bytes that it is.
    pub typed_metadata: Option<TypedMetadata>,
    /// What a header of PROXY protocol has said and may be passed on.
    pub tlvs: Option<Rc<[Tlv]>>,
    /// Whom hosts are to see as their client, if not us.
    pub source: Option<OriginalSource>,
}

/// A client that hosts see instead of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalSource {
    /// Its address.
    pub ip: IpAddr,
    /// The mark of packets to hosts (`SO_MARK`), by which routes know them; 0 is none.
    pub mark: u32,
}

impl ConnectionInfo {
    /// The address that the client connected to, if it is not the socket's own.
    #[must_use]
    pub fn restored_local(&self) -> Option<SocketAddr> {
        (self.local != self.direct_local).then_some(self.local)
    }

    /// A plaintext connection in a filter chain without a name.
    pub fn new(id: u64, direct_remote: SocketAddr, local: SocketAddr) -> Self {
        ConnectionInfo {
            id,
            direct_remote,
            direct_local: local,
            remote: direct_remote,
            local,
            pipe: None,
            requested_server_name: None,
            fingerprints: None,
            filter_chain_name: Arc::from(""),
            listener_metadata: None,
            filter_chain_metadata: None,
            tls: None,
            handshake_end: None,
            transport_failure_reason: Box::default(),
            filter_state: FilterState::default(),
            metadata: Metadata::default(),
            typed_metadata: None,
            tlvs: None,
            source: None,
        }
    }
}

/// Names of a cluster; one per cluster and worker.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterInfo {
    /// The name, `%UPSTREAM_CLUSTER_RAW%`.
    pub name: Arc<str>,
    /// `alt_stat_name`, or the name: `%UPSTREAM_CLUSTER%`.
    pub observability_name: Arc<str>,
    /// Its metadata.
    pub metadata: Arc<Metadata>,
}

/// Names of a host; one per host and worker.
#[derive(Debug, Clone, PartialEq)]
pub struct HostInfo {
    /// The address as logged: `127.0.0.1:9000`, `[::1]:9000` or a path.
    pub address_text: Arc<str>,
    /// The endpoint's hostname; empty for none.
    pub hostname: Arc<str>,
    /// The endpoint's metadata.
    pub metadata: Arc<Metadata>,
    /// Its metadata say that new versions are tried on it.
    pub is_canary: bool,
}

/// Facts about an upstream connection that all its requests share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConnectionInfo {
    /// `%UPSTREAM_CONNECTION_ID%`: unique in the process.
    pub id: u64,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// The host's end; `None` for a Unix socket.
    pub remote: Option<SocketAddr>,
    /// When the connect was started.
    pub connect_begin: Option<Instant>,
    /// When the socket was connected.
    pub connect_end: Option<Instant>,
    /// When its TLS handshake was over, if it had one.
    pub handshake_end: Option<Instant>,
    /// What the handshake agreed on.
    pub tls: Option<Arc<TlsInfo>>,
}

/// Bytes of one request on one side, message framing included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BytesMeter {
    /// Everything written to the peer.
    pub wire_sent: u64,
    /// Everything read from the peer.
    pub wire_received: u64,
    /// The part of `wire_sent` that was the head.
    pub header_sent: u64,
    /// Header and trailer lines of `wire_received`, in Envoy's way of counting:
    /// [`ringway_codecs::http1::HeadReader::field_bytes`].
    pub header_received: u64,
    /// The protocol is HTTP/2: headers are compressed, and in frames.
    pub is_framed: bool,
    /// What header blocks of HTTP/2 took on the wire.
    pub framed_sent: u64,
    /// The same of what was read.
    pub framed_received: u64,
}

impl BytesMeter {
    /// What headers took on the wire, compressed where the protocol does that.
    #[must_use]
    pub fn header_wire_sent(&self) -> u64 {
        match self.is_framed {
            true => self.framed_sent,
            false => self.header_sent,
        }
    }

    /// The same of what was read.
    #[must_use]
    pub fn header_wire_received(&self) -> u64 {
        match self.is_framed {
            true => self.framed_received,
            false => self.header_received,
        }
    }
}

/// An HTTP version as access logs spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
}

impl Protocol {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Http3 => "HTTP/3",
        }
    }
}

/// A text that is usually a constant and sometimes composed. Composed texts
/// reuse one buffer over the record's whole life.
#[derive(Debug, Clone, Default)]
pub struct Text {
    fixed: &'static str,
    composed: String,
}

impl Text {
    /// Sets a constant: a pointer is stored, nothing is copied.
    pub fn set(&mut self, text: &'static str) {
        self.composed.clear();
        self.fixed = text;
    }

    /// Copies a text into the reused buffer.
    pub fn copy(&mut self, text: &str) {
        self.clear();
        self.composed.push_str(text);
    }

    /// Composes a text in the reused buffer. White space becomes `_`, because
    /// log lines are cut at white space by those who read them.
    pub fn compose(&mut self, text: fmt::Arguments<'_>) {
        self.clear();
        let mut into = WithoutSpace(&mut self.composed);
        // Writing to a string cannot fail; a failing Display would only
        // shorten the text.
        let _ = into.write_fmt(text);
    }

    /// Forgets the text and keeps the buffer.
    pub fn clear(&mut self) {
        self.fixed = "";
        self.composed.clear();
    }

    /// The text; empty when none was set.
    pub fn as_str(&self) -> &str {
        if self.composed.is_empty() {
            self.fixed
        } else {
            &self.composed
        }
    }

    /// No text was set.
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

struct WithoutSpace<'a>(&'a mut String);

impl fmt::Write for WithoutSpace<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(
            text.chars()
                .map(|c| if c.is_whitespace() { '_' } else { c }),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn info() -> StreamInfo {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let connection = Rc::new(ConnectionInfo::new(7, address, address));
        StreamInfo::new(connection, Instant::now(), SystemTime::now())
    }

    #[test]
    fn points_count_from_the_start_and_may_lie_before_it() {
        let mut info = info();
        let start = info.start;
        assert_eq!(info.nanos(TimePoint::DownstreamRxBegin), Some(0));
        assert_eq!(info.nanos(TimePoint::UpstreamTxBegin), None);
        info.mark(TimePoint::UpstreamTxBegin, start);
        assert_eq!(info.nanos(TimePoint::UpstreamTxBegin), Some(0));
        info.mark_first(TimePoint::UpstreamTxBegin, start + Duration::from_micros(5));
        assert_eq!(info.nanos(TimePoint::UpstreamTxBegin), Some(0));
        info.mark(TimePoint::UpstreamTxBegin, start + Duration::from_micros(5));
        assert_eq!(info.nanos(TimePoint::UpstreamTxBegin), Some(5_000));
        info.upstream_connection = Some(Rc::new(UpstreamConnectionInfo {
            id: 1,
            local: None,
            remote: None,
            connect_begin: Some(start - Duration::from_micros(3)),
            connect_end: None,
            handshake_end: None,
            tls: None,
        }));
        assert_eq!(info.nanos(TimePoint::UpstreamConnectBegin), Some(-3_000));
        assert_eq!(
            info.elapsed(TimePoint::UpstreamConnectBegin),
            Some(Duration::ZERO)
        );
        assert_eq!(info.nanos(TimePoint::UpstreamConnectEnd), None);
    }

    #[test]
    fn reset_forgets_everything_and_keeps_buffers() {
        let mut info = info();
        info.details.compose(format_args!("a{{b c}}"));
        assert_eq!(info.details.as_str(), "a{b_c}");
        let buffer = info.details.composed.as_ptr();
        info.route_name.copy("r");
        info.response_code = 200;
        info.flags.set(ResponseFlag::NoRouteFound);
        info.mark(TimePoint::RequestComplete, info.start);
        let connection = info.connection.clone();
        info.reset(connection, Instant::now(), SystemTime::now());
        assert!(info.details.is_empty() && info.route_name.is_empty());
        assert!(info.flags.is_empty());
        assert_eq!(info.response_code, 0);
        assert_eq!(info.nanos(TimePoint::RequestComplete), None);
        info.details.copy("again");
        assert_eq!(info.details.composed.as_ptr(), buffer);
    }

    #[test]
    fn a_text_is_the_last_one_set() {
        let mut text = Text::default();
        assert!(text.is_empty());
        text.compose(format_args!("x\ty\n"));
        assert_eq!(text.as_str(), "x_y_");
        text.set(details::VIA_UPSTREAM);
        assert_eq!(text.as_str(), "via_upstream");
        text.copy("z");
        assert_eq!(text.as_str(), "z");
    }

    #[test]
    fn the_record_stays_small() {
        // Two cache lines more would not hurt, doubling it would: there is one
        // for every request in flight.
        assert!(
            size_of::<StreamInfo>() <= 640,
            "{}",
            size_of::<StreamInfo>()
        );
    }
}
