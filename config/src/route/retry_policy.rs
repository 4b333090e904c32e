//! `envoy.config.route.v3.RetryPolicy`: which failures of a host are tried
//! again, how often, when and where.

use super::header_match::HeaderMatcher;
use super::lower::{all, duration};
use crate::context::{Cx, type_name, unpack};
use crate::metadata::{Metadata, Struct, Value};
use crate::runtime::{RuntimeKey, RuntimeValues};
use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::retry_policy as parts;
use envoy_types::pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use std::time::Duration;

/// A compiled `envoy.config.route.v3.RetryPolicy`.
#[derive(Debug)]
pub struct RetryPolicy {
    /// What is tried again.
    pub retry_on: RetryOn,
    /// How often, the first try not counted.
    pub retries: u32,
    /// How long one try may take; `None` is without limit of its own.
    pub per_try_timeout: Option<Duration>,
    /// How long one try may stand still.
    pub per_try_idle_timeout: Option<Duration>,
    /// The codes of `retriable-status-codes`.
    pub retriable_status_codes: Box<[u32]>,
    /// The response headers of `retriable-headers`; one match is enough.
    pub retriable_headers: Box<[HeaderMatcher]>,
    /// A request without any of these is not tried again, if there are any.
    pub retriable_request_headers: Box<[HeaderMatcher]>,
    /// How long to wait before the next try; `None` is as long as the runtime
    /// says.
    pub back_off: Option<BackOff>,
    /// How the host says how long to wait.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Which hosts the next try should not go to.
    pub host_predicates: Box<[HostPredicate]>,
    /// How often another host is looked for before the last one is taken.
    pub host_selections_max: u32,
    /// Which priorities the next try should not go to.
    pub priority: Option<RetryPriority>,
}

/// `retry_on`: a set of conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u32);

/// Exponential back-off with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The bound of the first wait, in milliseconds; at least 1.
    pub base_ms: u64,
    /// The bound of every wait, in milliseconds; at least `base_ms`.
    pub max_ms: u64,
}

/// `rate_limited_retry_back_off`: response headers that say how long to wait.
#[derive(Debug)]
pub struct RateLimitedBackOff {
    /// The headers, in the order in which they are asked.
    pub headers: Box<[ResetHeader]>,
    /// A longer wait than this is not believed.
    pub max: Duration,
}

/// One header that says when a limit ends.
#[derive(Debug)]
pub struct ResetHeader {
    /// Its lower-case name.
    pub name: Box<[u8]>,
    /// What its number means.
    pub format: ResetFormat,
}

/// What the number of a [`ResetHeader`] means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// `retry_priority`: which priorities another try goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPriority {
    /// `envoy.retry_priorities.previous_priorities`: not to those of the hosts
    /// that were tried.
    PreviousPriorities {
        /// It is looked at anew after so many tries, at least 1.
        update_frequency: u32,
    },
}

/// A reason not to take a host for another try.
#[derive(Debug)]
pub enum HostPredicate {
    /// `envoy.retry_host_predicates.previous_hosts`: it was tried already.
    PreviousHosts,
    /// `envoy.retry_host_predicates.omit_canary_hosts`: it is a canary.
    CanaryHosts,
    /// `envoy.retry_host_predicates.omit_host_metadata`: its metadata for the
    /// load balancer has all of these fields.
    HostMetadata(Struct),
}

impl RetryOn {
    /// Any 5xx, and no response at all.
    pub const FIVE_XX: RetryOn = RetryOn(1);
    /// 502, 503 and 504, and no response at all.
    pub const GATEWAY_ERROR: RetryOn = RetryOn(1 << 1);
    /// No response.
    pub const RESET: RetryOn = RetryOn(1 << 2);
    /// No response, and the request was not sent.
    pub const RESET_BEFORE_REQUEST: RetryOn = RetryOn(1 << 3);
    /// No connection.
    pub const CONNECT_FAILURE: RetryOn = RetryOn(1 << 4);
    /// A response with `x-envoy-ratelimited`.
    pub const ENVOY_RATELIMITED: RetryOn = RetryOn(1 << 5);
    /// 409.
    pub const RETRIABLE_4XX: RetryOn = RetryOn(1 << 6);
    /// A stream that the host refused; only HTTP/2 and HTTP/3 can.
    pub const REFUSED_STREAM: RetryOn = RetryOn(1 << 7);
    /// The policy's status codes, or the request's.
    pub const STATUS_CODES: RetryOn = RetryOn(1 << 8);
    /// The policy's response headers, or the request's.
    pub const HEADERS: RetryOn = RetryOn(1 << 9);
    /// Only HTTP/3 can fail after it connected and before the request.
    pub const HTTP3_POST_CONNECT_FAILURE: RetryOn = RetryOn(1 << 10);
    /// gRPC status 1.
    pub const GRPC_CANCELLED: RetryOn = RetryOn(1 << 11);
    /// gRPC status 4.
    pub const GRPC_DEADLINE_EXCEEDED: RetryOn = RetryOn(1 << 12);
    /// gRPC status 8.
    pub const GRPC_RESOURCE_EXHAUSTED: RetryOn = RetryOn(1 << 13);
    /// gRPC status 14.
    pub const GRPC_UNAVAILABLE: RetryOn = RetryOn(1 << 14);
    /// gRPC status 13.
    pub const GRPC_INTERNAL: RetryOn = RetryOn(1 << 15);

    /// Whether no condition is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether one of `others` is in the set.
    pub fn has(self, others: RetryOn) -> bool {
        self.0 & others.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, others: RetryOn) -> RetryOn {
        RetryOn(self.0 | others.0)
    }

    /// Each condition of the set with its name in the configuration.
    pub fn names(self) -> impl Iterator<Item = (&'static str, RetryOn)> {
        let all = HTTP_NAMES.iter().chain(GRPC_NAMES).copied();
        all.filter(move |(_, condition)| self.has(*condition))
    }

    /// Reads a list of conditions, the value of `x-envoy-retry-on` for
    /// example. As Envoy does, unknown ones are skipped; `unknown` hears them.
    pub fn parse(list: &[u8], mut unknown: impl FnMut(&[u8])) -> RetryOn {
        Self::parse_names(list, &[HTTP_NAMES], &mut unknown)
    }

    /// Reads a list of gRPC statuses, the value of `x-envoy-retry-grpc-on`.
    pub fn parse_grpc(list: &[u8], mut unknown: impl FnMut(&[u8])) -> RetryOn {
        Self::parse_names(list, &[GRPC_NAMES], &mut unknown)
    }

    fn parse_names(list: &[u8], tables: &[Names], unknown: &mut dyn FnMut(&[u8])) -> RetryOn {
        let mut found = RetryOn::default();
        for word in words(list) {
            let mut names = tables.iter().flat_map(|table| table.iter());
            match names.find(|(name, _)| name.as_bytes() == word) {
                Some((_, condition)) => found = found.and(*condition),
                None => unknown(word),
            }
        }
        found
    }
}

/// The words of a comma-separated list, without the white space around them.
pub fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
}

type Names = &'static [(&'static str, RetryOn)];

const HTTP_NAMES: Names = &[
    ("5xx", RetryOn::FIVE_XX),
    ("gateway-error", RetryOn::GATEWAY_ERROR),
    ("reset", RetryOn::RESET),
    ("reset-before-request", RetryOn::RESET_BEFORE_REQUEST),
    ("connect-failure", RetryOn::CONNECT_FAILURE),
    ("envoy-ratelimited", RetryOn::ENVOY_RATELIMITED),
    ("retriable-4xx", RetryOn::RETRIABLE_4XX),
    ("refused-stream", RetryOn::REFUSED_STREAM),
    ("retriable-status-codes", RetryOn::STATUS_CODES),
    ("retriable-headers", RetryOn::HEADERS),
    (
        "http3-post-connect-failure",
        RetryOn::HTTP3_POST_CONNECT_FAILURE,
    ),
];

const GRPC_NAMES: Names = &[
    ("cancelled", RetryOn::GRPC_CANCELLED),
    ("deadline-exceeded", RetryOn::GRPC_DEADLINE_EXCEEDED),
    ("resource-exhausted", RetryOn::GRPC_RESOURCE_EXHAUSTED),
    ("unavailable", RetryOn::GRPC_UNAVAILABLE),
    ("internal", RetryOn::GRPC_INTERNAL),
];

/// `num_retries` when it is not set, and of requests that ask for retries on a
/// route without a policy.
const RETRIES: u32 = 1;

/// `base_interval` when it is not set.
const BASE_INTERVAL_MS: u64 = 25;

/// `max_interval` is so many times the base when it is not set.
const BASES_PER_MAX: u64 = 10;

/// `rate_limited_retry_back_off.max_interval` when it is not set.
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);

/// `host_selection_retry_max_attempts` when it is not set.
const HOST_SELECTIONS: u32 = 1;

/// What holds for a request that asks for retries by its headers on a route
/// without a policy.
impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            retry_on: RetryOn::default(),
            retries: RETRIES,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            retriable_status_codes: Box::default(),
            retriable_headers: Box::default(),
            retriable_request_headers: Box::default(),
            back_off: None,
            rate_limited_back_off: None,
            host_predicates: Box::default(),
            host_selections_max: HOST_SELECTIONS,
            priority: None,
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the next try, as the runtime is now. As in a
    /// policy, less than a millisecond is one.
    #[must_use]
    pub fn back_off_in_force(&self, runtime: &RuntimeValues) -> BackOff {
        self.back_off.unwrap_or_else(|| {
            let key = RuntimeKey::BASE_RETRY_BACKOFF_MS;
            BackOff::from_base(runtime.integer(key, BASE_INTERVAL_MS).max(1))
        })
    }
}

impl RetryPolicy {
    /// Compiles the message, or reports why not.
    pub(crate) fn lower(message: &proto::RetryPolicy, cx: &mut Cx<'_>) -> Option<Self> {
        let back_off = match &message.retry_back_off {
            Some(back_off) => cx
                .field("retry_back_off", |cx| BackOff::lower(back_off, cx))
                .map(Some),
            None => Some(None),
        };
        let rate_limited = match &message.rate_limited_retry_back_off {
            Some(limited) => cx
                .field("rate_limited_retry_back_off", |cx| {
                    RateLimitedBackOff::lower(limited, cx)
                })
                .map(Some),
            None => Some(None),
        };
        let host_predicates = all(
            &message.retry_host_predicate,
            "retry_host_predicate",
            cx,
            HostPredicate::lower,
        );
        let priority = match &message.retry_priority {
            Some(priority) => cx
                .field("retry_priority", |cx| RetryPriority::lower(priority, cx))
                .map(Some),
            None => Some(None),
        };
        let per_try = duration(message.per_try_timeout.as_ref(), "per_try_timeout", cx);
        let per_try_idle = duration(
            message.per_try_idle_timeout.as_ref(),
            "per_try_idle_timeout",
            cx,
        );
        let headers = all(
            &message.retriable_headers,
            "retriable_headers",
            cx,
            HeaderMatcher::lower,
        );
        let request_headers = all(
            &message.retriable_request_headers,
            "retriable_request_headers",
            cx,
            HeaderMatcher::lower,
        );
        for (i, code) in message.retriable_status_codes.iter().enumerate() {
            if *code != 101 && !(200..1000).contains(code) {
                cx.index("retriable_status_codes", i, |cx| {
                    cx.warn(format!("no response that could be tried again has {code}"));
                });
            }
        }
        Some(RetryPolicy {
            retry_on: retry_on(&message.retry_on, cx),
            retries: message
                .num_retries
                .as_ref()
                .map_or(RETRIES, |retries| retries.value),
            per_try_timeout: per_try?.flatten(),
            per_try_idle_timeout: per_try_idle?.flatten(),
            retriable_status_codes: message.retriable_status_codes.as_slice().into(),
            retriable_headers: headers?,
            retriable_request_headers: request_headers?,
            back_off: back_off?,
            rate_limited_back_off: rate_limited?,
            host_predicates: host_predicates?,
            // Envoy takes a negative number for a large one, too.
            host_selections_max: match message.host_selection_retry_max_attempts {
                0 => HOST_SELECTIONS,
                attempts => u32::try_from(attempts).unwrap_or(u32::MAX),
            },
            priority: priority?,
        })
    }
}

fn retry_on(list: &str, cx: &mut Cx<'_>) -> RetryOn {
    let mut unknown = Vec::new();
    let tables = [HTTP_NAMES, GRPC_NAMES];
    let found = RetryOn::parse_names(list.as_bytes(), &tables, &mut |word| {
        unknown.push(String::from_utf8_lossy(word).into_owned());
    });
    for word in unknown {
        cx.warn_at(
            "retry_on",
            format!("{word:?} is no condition and has no effect, in Envoy neither"),
        );
    }
    found
}

impl BackOff {
    /// The one whose first wait has this bound.
    fn from_base(base_ms: u64) -> Self {
        BackOff {
            base_ms,
            max_ms: base_ms.saturating_mul(BASES_PER_MAX),
        }
    }

    fn lower(message: &parts::RetryBackOff, cx: &mut Cx<'_>) -> Option<Self> {
        let base = duration(message.base_interval.as_ref(), "base_interval", cx);
        let max = duration(message.max_interval.as_ref(), "max_interval", cx);
        let (base, max) = (base?.flatten(), max?.flatten());
        // As in Envoy, less than a millisecond is one.
        let in_ms = |interval: Duration| (interval.as_millis() as u64).max(1);
        let mut back_off = BackOff::from_base(base.map_or(BASE_INTERVAL_MS, in_ms));
        if let Some(max) = max {
            back_off.max_ms = in_ms(max);
        }
        if back_off.max_ms < back_off.base_ms {
            cx.error_at("max_interval", "is shorter than base_interval");
            return None;
        }
        Some(back_off)
    }
}

impl RateLimitedBackOff {
    fn lower(message: &parts::RateLimitedRetryBackOff, cx: &mut Cx<'_>) -> Option<Self> {
        let max = duration(message.max_interval.as_ref(), "max_interval", cx)?;
        Some(RateLimitedBackOff {
            headers: message
                .reset_headers
                .iter()
                .map(|header| ResetHeader {
                    name: header.name.to_ascii_lowercase().into_bytes().into(),
                    format: match header.format() {
                        parts::ResetHeaderFormat::Seconds => ResetFormat::Seconds,
                        parts::ResetHeaderFormat::UnixTimestamp => ResetFormat::UnixTimestamp,
                    },
                })
                .collect(),
            max: max.flatten().unwrap_or(RATE_LIMITED_MAX),
        })
    }
}

impl RetryPriority {
    fn lower(message: &parts::RetryPriority, cx: &mut Cx<'_>) -> Option<Self> {
        use parts::retry_priority::ConfigType;
        let Some(ConfigType::TypedConfig(any)) = &message.config_type else {
            cx.error("a typed_config is needed here");
            return None;
        };
        cx.field("typed_config", |cx| match type_name(&any.type_url) {
            "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig" => {
                let message: PreviousPrioritiesConfig = unpack(any, cx)?;
                // The rules of the API let nothing below 1 through.
                let update_frequency = u32::try_from(message.update_frequency).unwrap_or(1);
                Some(RetryPriority::PreviousPriorities { update_frequency })
            }
            other => {
                cx.error(format!("{other} does not choose priorities"));
                None
            }
        })
    }
}

impl HostPredicate {
    fn lower(message: &parts::RetryHostPredicate, cx: &mut Cx<'_>) -> Option<Self> {
        use parts::retry_host_predicate::ConfigType;
        let config = message
            .config_type
            .as_ref()
            .map(|ConfigType::TypedConfig(any)| any);
        let Some(any) = config else {
            cx.error("a typed_config is needed here");
            return None;
        };
        cx.field("typed_config", |cx| match type_name(&any.type_url) {
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" => {
                Some(HostPredicate::PreviousHosts)
            }
            "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate" => {
                Some(HostPredicate::CanaryHosts)
            }
            "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig" => {
                let message: OmitHostMetadataConfig = unpack(any, cx)?;
                let metadata = Metadata::from_proto(message.metadata_match.as_ref());
                let fields = metadata.get(LOAD_BALANCER).cloned();
                Some(HostPredicate::HostMetadata(fields.unwrap_or_default()))
            }
            other => {
                cx.error(format!("{other} is no predicate for hosts"));
                None
            }
        })
    }

    /// Whether the metadata of a host is a reason not to take it.
    pub fn rejects(&self, metadata: &Metadata) -> bool {
        let of_host = metadata.get(LOAD_BALANCER);
        match self {
            HostPredicate::PreviousHosts => false,
            HostPredicate::CanaryHosts => metadata.is_canary(),
            HostPredicate::HostMetadata(wanted) => wanted.iter().all(|(name, wanted)| {
                match of_host.and_then(|fields| fields.get(name)) {
                    // As in Envoy, a list has the value if one of its parts is.
                    Some(Value::List(list)) => list.contains(wanted),
                    found => found == Some(wanted),
                }
            }),
        }
    }
}

/// The part of a host's metadata that load balancers look at.
const LOAD_BALANCER: &str = "envoy.lb";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_the_names_that_they_are_read_by() {
        let names: Vec<_> = HTTP_NAMES.iter().chain(GRPC_NAMES).collect();
        let all = names
            .iter()
            .fold(RetryOn::default(), |all, (_, condition)| {
                all.and(*condition)
            });
        assert_eq!(all.names().count(), names.len());
        for (name, condition) in all.names() {
            assert_eq!(condition.names().collect::<Vec<_>>(), [(name, condition)]);
        }
        assert_eq!(RetryOn::default().names().count(), 0);
    }

    #[test]
    fn lists_of_conditions() {
        let none = RetryOn::default();
        for (text, conditions, unknown) in [
            ("", none, ""),
            (" , ,", none, ""),
            ("5xx", RetryOn::FIVE_XX, ""),
            (
                "reset , connect-failure",
                RetryOn::RESET.and(RetryOn::CONNECT_FAILURE),
                "",
            ),
            (
                "5XX,gateway_error,reset",
                RetryOn::RESET,
                "5XX gateway_error",
            ),
            ("cancelled", none, "cancelled"),
        ] {
            let mut skipped = Vec::new();
            let found = RetryOn::parse(text.as_bytes(), |word| {
                skipped.push(String::from_utf8_lossy(word).into_owned());
            });
            assert_eq!(found, conditions, "{text:?}");
            assert_eq!(skipped.join(" "), unknown, "{text:?}");
        }
        let grpc = RetryOn::parse_grpc(b"internal,5xx", |_| {});
        assert_eq!(grpc, RetryOn::GRPC_INTERNAL);
    }

    #[test]
    fn every_name_has_a_condition_of_its_own() {
        let all: Vec<_> = [HTTP_NAMES, GRPC_NAMES].concat();
        for (i, (name, condition)) in all.iter().enumerate() {
            assert!(!condition.is_empty(), "{name}");
            for (other, before) in &all[..i] {
                assert!(!condition.has(*before), "{name} and {other}");
            }
        }
    }
}
