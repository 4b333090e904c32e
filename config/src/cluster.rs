//! Clusters (`envoy.config.cluster.v3`): groups of upstream hosts, how to
//! connect to them and how many connections and requests they may hold.
//! Compiled types on top, lowering below.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::extensions::queue_policy::fifo::v3::FifoQueuePolicyConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use envoy_types::pb::google::protobuf::{Any, DoubleValue};
use prost::Name;

use crate::auto_sni::AutoSni;
use crate::circuit_breakers::{self, CircuitBreakers};
use crate::clusters::ClusterId;
use crate::context::{Cx, Source, type_name, unpack};
use crate::core::{self, TcpKeepalive};
use crate::discovery::{self, Discovery};
use crate::dns::Resolver;
use crate::endpoint::Assignment;
use crate::header_key_format::HeaderNames;
use crate::health_check::{self, HealthCheck};
use crate::http2_protocol_options::Http2ProtocolOptions;
use crate::latency_outlier::{self, LatencyOutlier};
use crate::listener::BUFFER_LIMIT;
use crate::load_balancing::{self, Balancing};
use crate::metadata::Metadata;
use crate::outlier_detection::{self, ErrorMatcher, OutlierDetection};
use crate::proxy_protocol::{self, ProxyProtocol};
use crate::request_policies::RequestPolicies;
use crate::socket_match::{self, SocketId, SocketMatches};
use crate::tls::{Secrets, TransportSocket, UpstreamTlsContext};
use crate::upstream_bind::{self, UpstreamBind};

/// A compiled cluster: immutable, shared by all workers.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its unique name.
    pub name: Arc<str>,
    /// Its number in the snapshot's `names`, which routes hold.
    pub id: ClusterId,
    /// The name in `cluster.<name>.` stats: `alt_stat_name` if given, with
    /// colons replaced by underscores as Envoy does.
    pub stat_name: Arc<str>,
    /// The same as logs and admin have it: as it was written.
    pub observability_name: Arc<str>,
    /// Limit for a new connection, the TLS handshake included.
    pub connect_timeout: Duration,
    /// High watermark of each direction of a connection, in bytes.
    pub buffer_limit: u32,
    /// How hosts are picked.
    pub balancing: Balancing,
    /// What the configuration says of it, for logs.
    pub metadata: Arc<Metadata>,
    /// Where its hosts come from.
    pub discovery: Discovery,
    /// The hosts that the file gives it.
    pub assignment: Assignment,
    /// Listeners wait until its first hosts are known.
    pub wait_for_warm: bool,
    /// What may be open at once.
    pub circuit_breakers: CircuitBreakers,
    /// Pooled connections without requests are closed after this time;
    /// `None` never.
    pub idle_timeout: Option<Duration>,
    /// Age at which a connection is no longer given new requests.
    pub connection_duration_max: Option<Duration>,
    /// Limit of one upstream request, from its start to its end.
    pub stream_duration_max: Option<Duration>,
    /// Connections to a host for each of its requests, if more than one
    /// (`preconnect_policy`).
    pub per_upstream_preconnect_ratio: Option<f64>,
    /// Connections to all hosts for each request to the cluster, if more than
    /// one: opened to the hosts that the next requests get
    /// (`preconnect_policy`).
    pub predictive_preconnect_ratio: Option<f64>,
    /// Requests that one connection may carry; `None` is no limit.
    pub requests_per_connection_max: Option<u32>,
    /// Number of headers that a response may have.
    pub response_headers_max: u32,
    /// Size of a response's head in bytes.
    pub response_head_bytes_max: usize,
    /// Response trailers are passed on instead of dropped, and request
    /// trailers are sent (`enable_trailers`).
    pub trailers: bool,
    /// How names of headers look.
    pub header_names: HeaderNames,
    /// What is spoken to hosts.
    pub http_version: HttpVersion,
    /// How HTTP/2 is spoken, where it is.
    pub http2: Http2ProtocolOptions,
    /// Size of the headers of an HTTP/2 response, as HTTP/2 counts it.
    pub http2_response_head_bytes_max: u32,
    /// What carries the bytes.
    pub transport_socket: TransportSocket<UpstreamTlsContext>,
    /// What does so for hosts that say so.
    pub socket_matches: SocketMatches,
    /// The name of TLS that requests say.
    pub auto_sni: Option<Box<AutoSni>>,
    /// Keep-alive of upstream sockets.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Local addresses and options of upstream sockets.
    pub bind: Option<UpstreamBind>,
    /// The header that its connections begin with.
    pub proxy_protocol: Option<Box<ProxyProtocol>>,
    /// The requests of each downstream connection have connections of their
    /// own.
    pub connections_per_downstream: bool,
    /// How hosts are checked.
    pub health_check: Option<Arc<HealthCheck>>,
    /// New hosts take part in balancing once they have been checked.
    pub ignore_new_hosts_until_first_check: bool,
    /// Hosts that health checks find healthy go at once when they are no longer
    /// configured.
    pub ignore_health_on_host_removal: bool,
    /// Every connection is given up when a host comes or goes.
    pub close_connections_on_host_set_change: bool,
    /// Connections that carry bytes are closed when their host fails.
    pub close_connections_on_host_health_failure: bool,
    /// When a host that answers badly is left out.
    pub outlier_detection: Option<Box<OutlierDetection>>,
    /// Which responses are errors for it, where the status does not say so.
    pub error_matcher: Option<Arc<ErrorMatcher>>,
    /// When a host that answers slowly is left out.
    pub latency_outlier: Option<Box<LatencyOutlier>>,
    /// What takes the place of routes' policies for its requests.
    pub request_policies: RequestPolicies,
    /// How much of their time requests and tries take is recorded
    /// (`track_cluster_stats.timeout_budgets`).
    pub timeout_budgets: bool,
    /// The sizes of requests and responses are recorded
    /// (`track_cluster_stats.request_response_sizes`).
    pub request_response_sizes: bool,
    /// What is counted of each host is listed
    /// (`track_cluster_stats.per_endpoint_stats`).
    pub per_endpoint_stats: bool,
    /// Where the configuration names it.
    pub source: Source,
}

impl Cluster {
    /// The port of a host that a request names without one.
    #[must_use]
    pub fn default_port(&self) -> u16 {
        match self.socket(self.socket_matches.of_anyone()) {
            TransportSocket::RawBuffer => 80,
            TransportSocket::Tls(_) => 443,
        }
    }

    /// All its transport sockets, in the order of their numbers.
    pub fn sockets(
        &self,
    ) -> impl Iterator<Item = (SocketId, &TransportSocket<UpstreamTlsContext>)> {
        let matches = self.socket_matches.iter();
        let own = [(SocketId::OWN, &self.transport_socket)];
        own.into_iter()
            .chain(matches.map(|(id, one)| (id, &one.transport_socket)))
    }

    fn socket(&self, id: SocketId) -> &TransportSocket<UpstreamTlsContext> {
        let found = self.sockets().find(|(one, _)| *one == id);
        found.map_or(&self.transport_socket, |(_, socket)| socket)
    }
}

/// Which version of HTTP hosts are spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without asking whether the host speaks it.
    Http2,
    /// The one that the request came in with; HTTP/2 for those that came from
    /// nobody, if it is configured.
    Downstream {
        /// HTTP/2 is configured.
        or_http2: bool,
    },
    /// What the host chooses in the TLS handshake: HTTP/2, if it can.
    Negotiated,
}

impl HttpVersion {
    /// Whether hosts are taken to speak HTTP/2.
    #[must_use]
    pub fn has_http2(self) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 | Self::Negotiated => true,
            Self::Downstream { or_http2 } => or_http2,
        }
    }
}

/// What the bootstrap says of clusters.
pub(crate) struct Defaults<'p> {
    /// The source address of connections
    /// (`cluster_manager.upstream_bind_config`).
    pub bind: Option<UpstreamBind>,
    /// Who is asked for names.
    pub resolver: Resolver,
    /// Parts of TLS contexts that have names.
    pub secrets: &'p Secrets<'p>,
}

/// What each connection to a host begins with, and what carries the bytes behind
/// it.
fn transport(
    proto: &pb::Cluster,
    secrets: &Secrets<'_>,
    cx: &mut Cx<'_>,
) -> (
    Option<Box<ProxyProtocol>>,
    TransportSocket<UpstreamTlsContext>,
) {
    match proxy_protocol::lower(proto.transport_socket.as_ref(), cx) {
        None => {
            let socket = TransportSocket::upstream(proto.transport_socket.as_ref(), secrets, cx);
            (None, socket)
        }
        Some((header, inner)) => {
            let socket = cx.field("transport_socket.typed_config", |cx| {
                TransportSocket::upstream(inner.as_ref(), secrets, cx)
            });
            (Some(header), socket)
        }
    }
}

/// `preconnect_policy`: ratios that have connections opened before there are
/// requests for them.
#[derive(Default)]
struct Preconnect {
    per_upstream: Option<f64>,
    predictive: Option<f64>,
}

impl Preconnect {
    fn lower(proto: &pb::Cluster, discovery: &Discovery, cx: &mut Cx<'_>) -> Self {
        let Some(policy) = &proto.preconnect_policy else {
            return Self::default();
        };
        let ratio = |field: Option<DoubleValue>| {
            let ratio = field.map(|ratio| ratio.value);
            ratio.filter(|ratio| *ratio > 1.0)
        };
        let mut predictive = ratio(policy.predictive_preconnect_ratio);
        match discovery {
            Discovery::Static | Discovery::Dns(_) | Discovery::Eds(_) => {}
            // As in Envoy nothing is predicted of hosts that requests ask for.
            Discovery::OriginalDst(_)
            | Discovery::DynamicForwardProxy(_)
            | Discovery::SubClusters(_) => predictive = None,
            Discovery::Aggregate(_) if predictive.is_some() => cx.error_at(
                "preconnect_policy.predictive_preconnect_ratio",
                "not supported for an aggregate cluster yet; name it in its clusters",
            ),
            Discovery::Aggregate(_) => {}
        }
        Self {
            per_upstream: ratio(policy.per_upstream_preconnect_ratio),
            predictive,
        }
    }
}

/// Lowers one cluster.
pub(crate) fn lower(proto: &pb::Cluster, defaults: &Defaults<'_>, cx: &mut Cx<'_>) -> Cluster {
    let http = HttpOptions::lower(proto, cx);
    check_forward_proxy(proto, http.auto_sni.as_ref(), cx);
    let (discovery, assignment) = discovery::lower(proto, defaults, cx);
    let balancing = load_balancing::lower(proto, cx);
    // What could not be lowered is an error already.
    if discovery != Discovery::Static || !discovery::is_typed(proto) {
        load_balancing::check_provided(&balancing, &discovery, cx);
    }
    check_queuing(proto, cx);
    let preconnect = Preconnect::lower(proto, &discovery, cx);
    let (proxy_protocol, transport_socket) = transport(proto, defaults.secrets, cx);
    let socket_matches = socket_match::lower(proto, defaults.secrets, cx);
    let is_tls = matches!(transport_socket, TransportSocket::Tls(_));
    if http.version == HttpVersion::Negotiated && !is_tls {
        cx.entry(
            "typed_extension_protocol_options",
            HTTP_PROTOCOL_OPTIONS,
            |cx| {
                cx.error_at(
                    "auto_config",
                    "needs a transport_socket with TLS, in whose handshake hosts choose",
                );
            },
        );
    }
    if http.version == HttpVersion::Negotiated {
        socket_matches.check_negotiation(cx);
    }
    let bind = match &proto.upstream_bind_config {
        Some(config) => cx.field("upstream_bind_config", |cx| {
            upstream_bind::lower(config, cx)
        }),
        None => defaults.bind.clone(),
    };
    let connect_timeout = core::duration(proto.connect_timeout, "connect_timeout", cx);
    let tcp_keepalive = proto
        .upstream_connection_options
        .as_ref()
        .and_then(|options| core::tcp_keepalive(options.tcp_keepalive.as_ref()));
    let metadata = Metadata::from_proto(proto.metadata.as_ref());
    let outlier_detection = proto.outlier_detection.as_ref().map(|proto| {
        cx.field("outlier_detection", |cx| {
            Box::new(outlier_detection::lower(proto, cx))
        })
    });
    let tracked = proto.track_cluster_stats.as_ref();
    let observability_name = match proto.alt_stat_name.as_str() {
        "" => proto.name.as_str(),
        name => name,
    };
    Cluster {
        name: proto.name.as_str().into(),
        id: cx.clusters.id(&proto.name),
        stat_name: core::stat_name(observability_name).into(),
        observability_name: observability_name.into(),
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        buffer_limit: core::u32_or(proto.per_connection_buffer_limit_bytes, BUFFER_LIMIT),
        balancing,
        health_check: health_check::lower(&proto.health_checks, http.version, cx),
        ignore_new_hosts_until_first_check: proto
            .common_lb_config
            .as_ref()
            .is_some_and(|common| common.ignore_new_hosts_until_first_hc),
        ignore_health_on_host_removal: proto.ignore_health_on_host_removal,
        close_connections_on_host_set_change: proto
            .common_lb_config
            .as_ref()
            .is_some_and(|common| common.close_connections_on_host_set_change),
        close_connections_on_host_health_failure: proto.close_connections_on_host_health_failure,
        outlier_detection,
        latency_outlier: latency_outlier::lower(&metadata, cx).map(Box::new),
        metadata: Arc::new(metadata),
        discovery,
        assignment,
        wait_for_warm: core::bool_or(proto.wait_for_warm_on_init, true),
        circuit_breakers: circuit_breakers::lower(proto.circuit_breakers.as_ref(), cx),
        idle_timeout: http.idle_timeout,
        connection_duration_max: http.connection_duration_max,
        stream_duration_max: http.stream_duration_max,
        per_upstream_preconnect_ratio: preconnect.per_upstream,
        predictive_preconnect_ratio: preconnect.predictive,
        requests_per_connection_max: http.requests_per_connection_max,
        response_headers_max: http.response_headers_max,
        response_head_bytes_max: http.response_head_bytes_max,
        trailers: http.trailers,
        header_names: http.header_names,
        http_version: http.version,
        http2: http.http2,
        http2_response_head_bytes_max: http.http2_response_head_bytes_max,
        transport_socket,
        socket_matches,
        auto_sni: http.auto_sni.map(Box::new),
        tcp_keepalive,
        bind,
        proxy_protocol,
        connections_per_downstream: proto.connection_pool_per_downstream_connection,
        request_policies: http.request_policies,
        error_matcher: http.error_matcher,
        timeout_budgets: tracks_timeout_budgets(proto),
        request_response_sizes: tracked.is_some_and(|tracked| tracked.request_response_sizes),
        per_endpoint_stats: tracked.is_some_and(|tracked| tracked.per_endpoint_stats),
        source: cx.source(),
    }
}

/// Whoever sends requests wherever they ask to go wants to know that they have come
/// there, or says otherwise.
fn check_forward_proxy(proto: &pb::Cluster, names: Option<&AutoSni>, cx: &mut Cx<'_>) {
    let strict = names.is_some_and(|names| names.sni && names.san_validation);
    if let Some(config) = discovery::forward_proxy(proto)
        && !strict
        && !config.allow_insecure_cluster_options
    {
        cx.error_at(
            "cluster_type.typed_config",
            "a dynamic forward proxy needs auto_sni and auto_san_validation in its \
             upstream_http_protocol_options, or allow_insecure_cluster_options",
        );
    }
}

/// `queuing_policies`: requests that wait for a connection get theirs in the order
/// in which they came, which is the only policy that Envoy 1.40 has, too.
fn check_queuing(proto: &pb::Cluster, cx: &mut Cx<'_>) {
    let policies = proto.queuing_policies.as_ref();
    let Some(policy) = policies.and_then(|policies| policies.pending_rq_policy.as_ref()) else {
        return;
    };
    cx.field("queuing_policies.pending_rq_policy", |cx| {
        match &policy.typed_config {
            Some(any) if type_name(&any.type_url) == FifoQueuePolicyConfig::full_name() => {}
            _ => cx.error_at(
                "typed_config",
                format!("{} is needed here", FifoQueuePolicyConfig::full_name()),
            ),
        }
    });
}

#[expect(deprecated, reason = "files written for older Envoys still use it")]
fn tracks_timeout_budgets(proto: &pb::Cluster) -> bool {
    let tracked = proto.track_cluster_stats.as_ref();
    proto.track_timeout_budgets || tracked.is_some_and(|tracked| tracked.timeout_budgets)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a cluster says about HTTP, in its modern form
/// (`typed_extension_protocol_options`) or its deprecated one. The modern
/// form, when present, hides the deprecated fields altogether.
struct HttpOptions {
    idle_timeout: Option<Duration>,
    connection_duration_max: Option<Duration>,
    stream_duration_max: Option<Duration>,
    requests_per_connection_max: Option<u32>,
    response_headers_max: u32,
    response_head_bytes_max: usize,
    trailers: bool,
    header_names: HeaderNames,
    version: HttpVersion,
    http2: Http2ProtocolOptions,
    http2_response_head_bytes_max: u32,
    auto_sni: Option<AutoSni>,
    request_policies: RequestPolicies,
    error_matcher: Option<Arc<ErrorMatcher>>,
}

/// Envoy's defaults.
impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            idle_timeout: Some(Duration::from_secs(3600)),
            connection_duration_max: None,
            stream_duration_max: None,
            requests_per_connection_max: None,
            response_headers_max: 100,
            response_head_bytes_max: 80 * 1024,
            trailers: false,
            header_names: HeaderNames::default(),
            version: HttpVersion::Http1,
            http2: Http2ProtocolOptions::default(),
            http2_response_head_bytes_max: 60 * 1024,
            auto_sni: None,
            request_policies: RequestPolicies::default(),
            error_matcher: None,
        }
    }
}

/// The only key of `typed_extension_protocol_options` that there is.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

impl HttpOptions {
    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    fn lower(proto: &pb::Cluster, cx: &mut Cx<'_>) -> HttpOptions {
        let mut options = HttpOptions {
            requests_per_connection_max: core::u32_or_unlimited(proto.max_requests_per_connection),
            ..HttpOptions::default()
        };
        let mut modern = false;
        for (name, any) in &proto.typed_extension_protocol_options {
            cx.entry("typed_extension_protocol_options", name, |cx| {
                if name == HTTP_PROTOCOL_OPTIONS {
                    modern = true;
                    options.modern(any, proto, cx);
                } else {
                    cx.error(format!(
                        "no such protocol options; {HTTP_PROTOCOL_OPTIONS} are known"
                    ));
                }
            });
        }
        if !modern {
            let own = proto.upstream_http_protocol_options.as_ref();
            options.auto_sni = own.and_then(AutoSni::lower);
            if own.is_none() && discovery::forward_proxy(proto).is_some() {
                options.auto_sni = Some(AutoSni::DYNAMIC_FORWARD_PROXY);
            }
            if let Some(common) = &proto.common_http_protocol_options {
                cx.field("common_http_protocol_options", |cx| {
                    options.common(common, cx);
                });
            }
            if let Some(http1) = &proto.http_protocol_options {
                cx.field("http_protocol_options", |cx| options.http1(http1, cx));
            }
            if let Some(http2) = &proto.http2_protocol_options {
                options.http2_at("http2_protocol_options", http2, cx);
            }
            let of_downstream = proto.protocol_selection()
                == pb::cluster::ClusterProtocolSelection::UseDownstreamProtocol;
            let or_http2 = proto.http2_protocol_options.is_some();
            if of_downstream {
                options.version = HttpVersion::Downstream { or_http2 };
            } else if or_http2 {
                options.version = HttpVersion::Http2;
                if proto.http_protocol_options.is_some() {
                    let http1 = cx.field("http_protocol_options", |cx| cx.source());
                    cx.error_at(
                        "http2_protocol_options",
                        format!(
                            "given beside http_protocol_options ({http1}): which of them holds is \
                             said by the protocol_selection USE_DOWNSTREAM_PROTOCOL only"
                        ),
                    );
                }
            }
        }
        options
    }

    fn http2_at(&mut self, name: &str, proto: &core_pb::Http2ProtocolOptions, cx: &mut Cx<'_>) {
        self.http2 = cx.field(name, |cx| Http2ProtocolOptions::lower(proto, cx));
    }

    #[expect(deprecated, reason = "files written for older Envoys still use it")]
    fn modern(&mut self, any: &Any, cluster: &pb::Cluster, cx: &mut Cx<'_>) {
        let Some(proto) = unpack::<HttpProtocolOptions>(any, cx) else {
            return;
        };
        if let Some(common) = &proto.common_http_protocol_options {
            cx.field("common_http_protocol_options", |cx| {
                if common.max_requests_per_connection.is_some()
                    && cluster.max_requests_per_connection.is_some()
                {
                    cx.error_at(
                        "max_requests_per_connection",
                        "given here and directly in the cluster; only one of them may be",
                    );
                }
                self.common(common, cx);
            });
        }
        let names = proto.upstream_http_protocol_options.as_ref();
        self.auto_sni = names.and_then(AutoSni::lower);
        self.request_policies = RequestPolicies::lower(&proto, cx);
        self.error_matcher = proto.outlier_detection.as_ref().and_then(|proto| {
            let matcher = cx.field("outlier_detection", |cx| ErrorMatcher::lower(proto, cx));
            matcher.map(Arc::new)
        });
        match &proto.upstream_protocol_options {
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
                cx.field("explicit_http_config", |cx| self.explicit(explicit, cx));
            }
            Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
                self.version = HttpVersion::Downstream {
                    or_http2: config.http2_protocol_options.is_some(),
                };
                cx.field("use_downstream_protocol_config", |cx| {
                    self.both(
                        config.http_protocol_options.as_ref(),
                        config.http2_protocol_options.as_ref(),
                        cx,
                    );
                });
            }
            Some(UpstreamProtocolOptions::AutoConfig(config)) => {
                self.version = HttpVersion::Negotiated;
                cx.field("auto_config", |cx| {
                    self.both(
                        config.http_protocol_options.as_ref(),
                        config.http2_protocol_options.as_ref(),
                        cx,
                    );
                });
            }
            None => cx.error(
                "explicit_http_config, use_downstream_protocol_config or auto_config is needed here",
            ),
        }
    }

    fn explicit(&mut self, proto: &ExplicitHttpConfig, cx: &mut Cx<'_>) {
        match &proto.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(http1)) => {
                cx.field("http_protocol_options", |cx| self.http1(http1, cx));
            }
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => {
                self.version = HttpVersion::Http2;
                self.http2_at("http2_protocol_options", http2, cx);
            }
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                cx.error_at("http3_protocol_options", "not supported yet");
            }
            None => cx.error("the options of one protocol are needed here"),
        }
    }

    fn both(
        &mut self,
        http1: Option<&core_pb::Http1ProtocolOptions>,
        http2: Option<&core_pb::Http2ProtocolOptions>,
        cx: &mut Cx<'_>,
    ) {
        if let Some(http1) = http1 {
            cx.field("http_protocol_options", |cx| self.http1(http1, cx));
        }
        if let Some(http2) = http2 {
            self.http2_at("http2_protocol_options", http2, cx);
        }
    }

    fn common(&mut self, proto: &core_pb::HttpProtocolOptions, cx: &mut Cx<'_>) {
        self.idle_timeout =
            core::duration_or_off(proto.idle_timeout, "idle_timeout", self.idle_timeout, cx);
        self.connection_duration_max = core::duration_or_off(
            proto.max_connection_duration,
            "max_connection_duration",
            None,
            cx,
        );
        self.stream_duration_max =
            core::duration_or_off(proto.max_stream_duration, "max_stream_duration", None, cx);
        if proto.max_requests_per_connection.is_some() {
            self.requests_per_connection_max =
                core::u32_or_unlimited(proto.max_requests_per_connection);
        }
        self.response_headers_max =
            core::u32_or(proto.max_headers_count, self.response_headers_max);
        if let Some(kb) = proto.max_response_headers_kb {
            self.response_head_bytes_max = kb.value as usize * 1024;
            self.http2_response_head_bytes_max = kb.value.saturating_mul(1024);
        }
        if proto.headers_with_underscores_action != 0 {
            cx.warn_at("headers_with_underscores_action", NO_EFFECT_UPSTREAM);
        }
    }

    fn http1(&mut self, proto: &core_pb::Http1ProtocolOptions, cx: &mut Cx<'_>) {
        self.trailers = proto.enable_trailers;
        self.header_names = HeaderNames::lower(proto.header_key_format.as_ref(), cx);
        // The table cannot say it: listeners share the message, and may.
        if proto.allow_chunked_length {
            cx.error_at("allow_chunked_length", "not supported yet");
        }
        for (set, name) in [
            (proto.accept_http_10, "accept_http_10"),
            (proto.allow_custom_methods, "allow_custom_methods"),
            (
                !proto.ignore_http_11_upgrade.is_empty(),
                "ignore_http_11_upgrade",
            ),
            (
                !proto.default_host_for_http_10.is_empty(),
                "default_host_for_http_10",
            ),
            (proto.allow_absolute_url.is_some(), "allow_absolute_url"),
            (
                proto
                    .override_stream_error_on_invalid_http_message
                    .is_some(),
                "override_stream_error_on_invalid_http_message",
            ),
        ] {
            if set {
                cx.warn_at(name, NO_EFFECT_UPSTREAM);
            }
        }
    }
}

const NO_EFFECT_UPSTREAM: &str = "has no effect on upstream connections, in Envoy neither";
