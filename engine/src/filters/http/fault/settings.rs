//! The compiled `envoy.extensions.filters.http.fault.v3.HTTPFault`, of the
//! filter or of some routes, and what it says about a request.

use std::time::Duration;

use common_pb::fault_delay::FaultDelaySecifier;
use common_pb::fault_rate_limit::LimitType;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_pb;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as pb;
use envoy_types::pb::envoy::r#type::v3 as type_pb;
use pb::fault_abort::ErrorType;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::clusters::ClusterId;
use ringway_config::context::Cx;
use ringway_config::core;
use ringway_config::metadata::Struct;
use ringway_config::route::HeaderMatcher;
use ringway_config::runtime::{
    FractionalPercent, RuntimeKey, RuntimeKeyFamily, RuntimeKeys, RuntimeValues,
};

/// What is to be done to which requests.
#[derive(Debug)]
pub(super) struct Settings {
    /// Only requests that match all of them.
    headers: Box<[HeaderMatcher]>,
    /// Only requests for this cluster.
    upstream_cluster: Option<ClusterId>,
    /// Only requests of these nodes, unless there are none.
    downstream_nodes: Box<[Box<[u8]>]>,
    delay: Option<Delay>,
    abort: Option<Abort>,
    rate_limit: Option<RateLimit>,
    active_max: u32,
    active_max_key: RuntimeKey,
    /// What a request with a delay or an abort is marked with.
    pub metadata: Option<Struct>,
    /// Faults are also counted by the cluster that the request comes from.
    pub count_by_cluster: bool,
}

#[derive(Debug)]
struct Delay {
    /// `None` is what the request's header says.
    fixed: Option<u64>,
    share: Share,
    duration_key: RuntimeKey,
    duration_family: RuntimeKeyFamily,
}

#[derive(Debug)]
struct Abort {
    by: AbortBy,
    share: Share,
    http_key: RuntimeKey,
    http_family: RuntimeKeyFamily,
    grpc_key: RuntimeKey,
    grpc_family: RuntimeKeyFamily,
}

#[derive(Debug, Clone, Copy)]
enum AbortBy {
    Http(u16),
    Grpc(u64),
    /// What the request's headers say.
    Header,
}

#[derive(Debug)]
struct RateLimit {
    /// KiB a second; `None` is what the request's header says.
    fixed: Option<u64>,
    share: Share,
}

/// How many of the requests.
#[derive(Debug)]
struct Share {
    percentage: FractionalPercent,
    /// The request may ask for fewer with this header.
    header: Option<&'static [u8]>,
    key: RuntimeKey,
    /// The same key for the cluster that the request comes from.
    family: Option<RuntimeKeyFamily>,
}

/// How a request is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub http: u16,
    pub grpc: Option<u64>,
}

/// What a decision about a request depends on.
pub(super) struct Request<'a> {
    pub headers: &'a HeaderMap,
    /// The cluster that its route leads to.
    pub cluster: Option<ClusterId>,
    pub runtime: &'a RuntimeValues,
}

impl Request<'_> {
    /// The cluster that the request comes from, if it says so.
    fn downstream_cluster(&self) -> Option<&[u8]> {
        self.headers
            .get(HeaderId::XEnvoyDownstreamServiceCluster)
            .filter(|name| !name.is_empty())
    }

    fn number(&self, header: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(self.headers.get_name(header)?).ok()?;
        text.trim_ascii().parse().ok()
    }

    /// A runtime value, of which the one for the request's cluster counts
    /// more.
    fn integer(&self, key: RuntimeKey, family: RuntimeKeyFamily, default: u64) -> u64 {
        let general = self.runtime.integer(key, default);
        match self.downstream_cluster() {
            Some(cluster) => self.runtime.integer_of(family, cluster, general),
            None => general,
        }
    }
}

impl Settings {
    /// Whether faults are meant for this request.
    pub fn apply_to(&self, request: &Request<'_>) -> bool {
        if self.upstream_cluster.is_some() && self.upstream_cluster != request.cluster {
            return false;
        }
        if !self.downstream_nodes.is_empty() {
            let node = request.headers.get(HeaderId::XEnvoyDownstreamServiceNode);
            if !node.is_some_and(|node| self.downstream_nodes.iter().any(|one| **one == *node)) {
                return false;
            }
        }
        self.headers
            .iter()
            .all(|matcher| matcher.matches(request.headers))
    }

    /// How many requests may suffer at once.
    pub fn active_max(&self, runtime: &RuntimeValues) -> u32 {
        let max = runtime.integer(self.active_max_key, u64::from(self.active_max));
        max.try_into().unwrap_or(u32::MAX)
    }

    /// How long the request is held back.
    pub fn delay(&self, request: &Request<'_>, rng: &mut fastrand::Rng) -> Option<Duration> {
        let delay = self.delay.as_ref()?;
        if !delay.share.takes(request, rng) {
            return None;
        }
        let configured = match delay.fixed {
            Some(fixed) => fixed,
            None => request.number(DELAY)?,
        };
        let ms = request.integer(delay.duration_key, delay.duration_family, configured);
        (ms > 0).then(|| Duration::from_millis(ms.min(DELAY_MS_MAX)))
    }

    /// How the request is answered in place of its host.
    pub fn abort(&self, request: &Request<'_>, rng: &mut fastrand::Rng) -> Option<Status> {
        let abort = self.abort.as_ref()?;
        if !abort.share.takes(request, rng) {
            return None;
        }
        let (http, grpc) = match abort.by {
            AbortBy::Http(status) => (Some(u64::from(status)), None),
            AbortBy::Grpc(status) => (None, Some(status)),
            AbortBy::Header => (
                request.number(ABORT).filter(|status| is_status(*status)),
                request.number(ABORT_GRPC),
            ),
        };
        if let Some(configured) = http {
            let status = request.integer(abort.http_key, abort.http_family, configured);
            // Envoy would send whatever the runtime holds.
            let status = if is_status(status) {
                status
            } else {
                configured
            };
            return Some(Status {
                http: status as u16,
                grpc: None,
            });
        }
        let status = request.integer(abort.grpc_key, abort.grpc_family, grpc?);
        Some(Status {
            http: 200,
            grpc: Some(status),
        })
    }

    /// The most that the response may have a second, in KiB.
    pub fn rate_limit(&self, request: &Request<'_>, rng: &mut fastrand::Rng) -> Option<u64> {
        let limit = self.rate_limit.as_ref()?;
        if !limit.share.takes(request, rng) {
            return None;
        }
        match limit.fixed {
            Some(fixed) => Some(fixed),
            None => request.number(THROUGHPUT).filter(|kbps| *kbps > 0),
        }
    }

    /// Compiles the message.
    pub fn compile(proto: &pb::HttpFault, cx: &mut Cx<'_>) -> Option<Self> {
        let keys = cx.runtime_keys;
        let headers = proto
            .headers
            .iter()
            .enumerate()
            .map(|(i, header)| cx.index("headers", i, |cx| HeaderMatcher::lower(header, cx)))
            .collect::<Option<Vec<_>>>();
        let delay = match &proto.delay {
            Some(delay) => Some(cx.field("delay", |cx| Delay::compile(delay, proto, cx))?),
            None => None,
        };
        let cluster = proto.upstream_cluster.as_str();
        Some(Self {
            headers: headers?.into(),
            upstream_cluster: (!cluster.is_empty()).then(|| cx.clusters.id(cluster)),
            downstream_nodes: proto
                .downstream_nodes
                .iter()
                .map(|node| node.as_bytes().into())
                .collect(),
            delay,
            abort: proto
                .abort
                .as_ref()
                .and_then(|abort| Abort::compile(abort, proto, keys)),
            rate_limit: proto
                .response_rate_limit
                .as_ref()
                .and_then(|limit| RateLimit::compile(limit, proto, keys)),
            active_max: proto.max_active_faults.map_or(u32::MAX, |max| max.value),
            active_max_key: key(
                &proto.max_active_faults_runtime,
                "fault.http.max_active_faults",
                keys,
            ),
            metadata: proto.filter_metadata.as_ref().map(Struct::from_proto),
            count_by_cluster: !proto.disable_downstream_cluster_stats,
        })
    }
}

impl Delay {
    fn compile(
        proto: &common_pb::FaultDelay,
        fault: &pb::HttpFault,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        let keys = cx.runtime_keys;
        let (fixed, header) = match proto.fault_delay_secifier {
            Some(FaultDelaySecifier::FixedDelay(delay)) => {
                let delay = core::duration(Some(delay), "fixed_delay", cx)?;
                (Some(delay.as_millis() as u64), None)
            }
            _ => (None, Some(DELAY_PERCENTAGE)),
        };
        Some(Self {
            fixed,
            share: Share {
                percentage: percentage(proto.percentage.as_ref()),
                header,
                key: key(
                    &fault.delay_percent_runtime,
                    "fault.http.delay.fixed_delay_percent",
                    keys,
                ),
                family: Some(keys.family("fault.http.*.delay.fixed_delay_percent")),
            },
            duration_key: key(
                &fault.delay_duration_runtime,
                "fault.http.delay.fixed_duration_ms",
                keys,
            ),
            duration_family: keys.family("fault.http.*.delay.fixed_duration_ms"),
        })
    }
}

impl Abort {
    fn compile(proto: &pb::FaultAbort, fault: &pb::HttpFault, keys: &RuntimeKeys) -> Option<Self> {
        let by = match proto.error_type? {
            ErrorType::HttpStatus(status) => AbortBy::Http(u16::try_from(status).ok()?),
            ErrorType::GrpcStatus(status) => AbortBy::Grpc(u64::from(status)),
            ErrorType::HeaderAbort(_) => AbortBy::Header,
        };
        Some(Self {
            by,
            share: Share {
                percentage: percentage(proto.percentage.as_ref()),
                header: matches!(by, AbortBy::Header).then_some(ABORT_PERCENTAGE),
                key: key(
                    &fault.abort_percent_runtime,
                    "fault.http.abort.abort_percent",
                    keys,
                ),
                family: Some(keys.family("fault.http.*.abort.abort_percent")),
            },
            http_key: key(
                &fault.abort_http_status_runtime,
                "fault.http.abort.http_status",
                keys,
            ),
            http_family: keys.family("fault.http.*.abort.http_status"),
            grpc_key: key(
                &fault.abort_grpc_status_runtime,
                "fault.http.abort.grpc_status",
                keys,
            ),
            grpc_family: keys.family("fault.http.*.abort.grpc_status"),
        })
    }
}

impl RateLimit {
    fn compile(
        proto: &common_pb::FaultRateLimit,
        fault: &pb::HttpFault,
        keys: &RuntimeKeys,
    ) -> Option<Self> {
        let (fixed, header) = match proto.limit_type? {
            LimitType::FixedLimit(limit) => (Some(limit.limit_kbps), None),
            LimitType::HeaderLimit(_) => (None, Some(THROUGHPUT_PERCENTAGE)),
        };
        Some(Self {
            fixed,
            share: Share {
                percentage: percentage(proto.percentage.as_ref()),
                header,
                key: key(
                    &fault.response_rate_limit_percent_runtime,
                    "fault.http.rate_limit.response_percent",
                    keys,
                ),
                family: None,
            },
        })
    }
}

impl Share {
    fn takes(&self, request: &Request<'_>, rng: &mut fastrand::Rng) -> bool {
        let mut percentage = self.percentage;
        // A client may ask for less than what is configured, but not for more.
        if let Some(asked) = self.header.and_then(|header| request.number(header)) {
            percentage.numerator = percentage
                .numerator
                .min(asked.try_into().unwrap_or(u32::MAX));
        }
        let of_cluster = self.family.zip(request.downstream_cluster());
        if let Some((family, cluster)) = of_cluster {
            let value = request.runtime.get_of(family, cluster);
            return percentage.overridden(value).takes(rng.u64(..));
        }
        percentage
            .overridden(request.runtime.get(self.key))
            .takes(rng.u64(..))
    }
}

fn percentage(proto: Option<&type_pb::FractionalPercent>) -> FractionalPercent {
    proto.map_or(FractionalPercent::NEVER, FractionalPercent::lower)
}

fn key(configured: &str, default: &str, keys: &RuntimeKeys) -> RuntimeKey {
    keys.id(match configured {
        "" => default,
        name => name,
    })
}

/// Statuses that a final response may have.
fn is_status(status: u64) -> bool {
    (200..600).contains(&status)
}

/// Longer delays cannot be meant, and deadlines have to be representable.
const DELAY_MS_MAX: u64 = 365 * 24 * 3600 * 1000;

const DELAY: &[u8] = b"x-envoy-fault-delay-request";
const DELAY_PERCENTAGE: &[u8] = b"x-envoy-fault-delay-request-percentage";
const ABORT: &[u8] = b"x-envoy-fault-abort-request";
const ABORT_GRPC: &[u8] = b"x-envoy-fault-abort-grpc-request";
const ABORT_PERCENTAGE: &[u8] = b"x-envoy-fault-abort-request-percentage";
const THROUGHPUT: &[u8] = b"x-envoy-fault-throughput-response";
const THROUGHPUT_PERCENTAGE: &[u8] = b"x-envoy-fault-throughput-response-percentage";
