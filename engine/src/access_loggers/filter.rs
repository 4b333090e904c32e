//! `envoy.config.accesslog.v3.AccessLogFilter`: which requests are logged.

use crate::formatter::{AccessLogType, Context};
use crate::stream_info::{ResponseFlag, ResponseFlags, TimePoint};
use envoy_types::pb::envoy::config::accesslog::v3 as proto;
use envoy_types::pb::envoy::data::accesslog::v3::AccessLogType as ProtoLogType;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use proto::access_log_filter::FilterSpecifier;
use proto::comparison_filter::Op;
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::context::Cx;
use ringway_config::route::HeaderMatcher;
use ringway_config::runtime::{RuntimeKey, RuntimeValues};

/// A compiled filter.
#[derive(Debug)]
pub(crate) enum Filter {
    /// By response code; 0 when there was none.
    StatusCode(Comparison),
    /// By duration in milliseconds.
    Duration(Comparison),
    NotHealthCheck,
    /// Any of these flags is set; any at all when the set is empty.
    ResponseFlag(ResponseFlags),
    /// By a request header.
    Header(HeaderMatcher),
    /// A fraction of the requests.
    Sample {
        key: RuntimeKey,
        numerator: u64,
        denominator: u64,
        independent: bool,
    },
    LogType {
        types: Box<[AccessLogType]>,
        exclude: bool,
    },
    And(Box<[Filter]>),
    Or(Box<[Filter]>),
}

/// A number to compare with.
#[derive(Debug)]
pub(crate) struct Comparison {
    op: Op,
    value: u64,
    /// What may take the place of `value`.
    key: RuntimeKey,
}

impl Comparison {
    fn holds(&self, actual: u64, runtime: &RuntimeValues) -> bool {
        let value = runtime.integer(self.key, self.value);
        match self.op {
            Op::Eq => actual == value,
            Op::Ge => actual >= value,
            Op::Le => actual <= value,
            Op::Ne => actual != value,
        }
    }

    fn compile(message: Option<&proto::ComparisonFilter>, cx: &mut Cx<'_>) -> Option<Comparison> {
        cx.field("comparison", |cx| {
            let Some(message) = message else {
                cx.error("a comparison is needed");
                return None;
            };
            let Ok(op) = Op::try_from(message.op) else {
                cx.error_at("op", format!("there is no operator {}", message.op));
                return None;
            };
            let Some(value) = &message.value else {
                cx.error_at("value", "a value is needed");
                return None;
            };
            Some(Comparison {
                op,
                value: u64::from(value.default_value),
                key: cx.runtime_keys.id(&value.runtime_key),
            })
        })
    }
}

impl Filter {
    /// Whether the request is logged.
    pub fn passes(&self, cx: &Context<'_>, runtime: &RuntimeValues) -> bool {
        match self {
            Filter::StatusCode(comparison) => {
                comparison.holds(u64::from(cx.info.response_code), runtime)
            }
            Filter::Duration(comparison) => cx
                .info
                .elapsed(TimePoint::RequestComplete)
                .is_some_and(|duration| comparison.holds(duration.as_millis() as u64, runtime)),
            Filter::NotHealthCheck => !cx.info.health_check,
            Filter::ResponseFlag(flags) if flags.is_empty() => !cx.info.flags.is_empty(),
            Filter::ResponseFlag(flags) => cx.info.flags.bits() & flags.bits() != 0,
            Filter::Header(matcher) => matcher.matches(cx.request),
            Filter::Sample {
                key,
                numerator,
                denominator,
                independent,
            } => {
                let draw = match request_number(cx.request) {
                    Some(number) if !independent => number,
                    _ => fastrand::u64(..),
                };
                // A whole number takes the place of the numerator; a fraction
                // is not understood here, in Envoy neither.
                draw % denominator < runtime.integer(*key, *numerator)
            }
            Filter::LogType { types, exclude } => types.contains(&cx.kind) != *exclude,
            Filter::And(filters) => filters.iter().all(|filter| filter.passes(cx, runtime)),
            Filter::Or(filters) => filters.iter().any(|filter| filter.passes(cx, runtime)),
        }
    }

    /// Whether a request would be logged that is not sent; `None` where chance
    /// decides, or the time that it takes.
    pub fn foresee(&self, cx: &Context<'_>, runtime: &RuntimeValues) -> Option<bool> {
        // As soon as one is certain to decide, the others do not matter.
        let among = |filters: &[Filter], decisive: bool| {
            let mut foreseen = filters.iter().map(|filter| filter.foresee(cx, runtime));
            let is_decided = foreseen.clone().any(|one| one == Some(decisive));
            match is_decided {
                true => Some(decisive),
                false => foreseen.all(|one| one.is_some()).then_some(!decisive),
            }
        };
        match self {
            Filter::Duration(_) => None,
            Filter::Sample {
                key,
                numerator,
                denominator,
                ..
            } => match runtime.integer(*key, *numerator) {
                0 => Some(false),
                share if share >= *denominator => Some(true),
                _ => None,
            },
            Filter::And(filters) => among(filters, false),
            Filter::Or(filters) => among(filters, true),
            Filter::StatusCode(_)
            | Filter::NotHealthCheck
            | Filter::ResponseFlag(_)
            | Filter::Header(_)
            | Filter::LogType { .. } => Some(self.passes(cx, runtime)),
        }
    }

    /// Compiles the message, or reports why not.
    pub fn compile(message: &proto::AccessLogFilter, cx: &mut Cx<'_>) -> Option<Filter> {
        let Some(specifier) = &message.filter_specifier else {
            cx.error("a filter has to say what it filters by");
            return None;
        };
        match specifier {
            FilterSpecifier::StatusCodeFilter(filter) => cx.field("status_code_filter", |cx| {
                Comparison::compile(filter.comparison.as_ref(), cx).map(Filter::StatusCode)
            }),
            FilterSpecifier::DurationFilter(filter) => cx.field("duration_filter", |cx| {
                Comparison::compile(filter.comparison.as_ref(), cx).map(Filter::Duration)
            }),
            FilterSpecifier::NotHealthCheckFilter(_) => Some(Filter::NotHealthCheck),
            FilterSpecifier::ResponseFlagFilter(filter) => cx.field("response_flag_filter", |cx| {
                response_flags(&filter.flags, cx)
            }),
            FilterSpecifier::HeaderFilter(filter) => cx.field("header_filter", |cx| {
                cx.field("header", |cx| match &filter.header {
                    Some(header) => HeaderMatcher::lower(header, cx).map(Filter::Header),
                    None => {
                        cx.error("a header is needed");
                        None
                    }
                })
            }),
            FilterSpecifier::RuntimeFilter(filter) => {
                cx.field("runtime_filter", |cx| sample(filter, cx))
            }
            FilterSpecifier::LogTypeFilter(filter) => {
                cx.field("log_type_filter", |cx| log_types(filter, cx))
            }
            FilterSpecifier::AndFilter(filter) => cx.field("and_filter", |cx| {
                several(&filter.filters, cx).map(Filter::And)
            }),
            FilterSpecifier::OrFilter(filter) => cx.field("or_filter", |cx| {
                several(&filter.filters, cx).map(Filter::Or)
            }),
            FilterSpecifier::TraceableFilter(_) => not_yet("traceable_filter", cx),
            FilterSpecifier::GrpcStatusFilter(_) => not_yet("grpc_status_filter", cx),
            FilterSpecifier::ExtensionFilter(_) => not_yet("extension_filter", cx),
            FilterSpecifier::MetadataFilter(_) => not_yet("metadata_filter", cx),
        }
    }
}

fn not_yet(field: &str, cx: &mut Cx<'_>) -> Option<Filter> {
    cx.error_at(field, "not supported yet");
    None
}

fn several(messages: &[proto::AccessLogFilter], cx: &mut Cx<'_>) -> Option<Box<[Filter]>> {
    if messages.len() < 2 {
        cx.error_at("filters", "at least two filters are needed");
        return None;
    }
    let mut filters = Vec::with_capacity(messages.len());
    for (position, message) in messages.iter().enumerate() {
        filters.push(cx.index("filters", position, |cx| Filter::compile(message, cx)));
    }
    filters.into_iter().collect()
}

fn response_flags(names: &[String], cx: &mut Cx<'_>) -> Option<Filter> {
    let mut flags = ResponseFlags::default();
    let mut all_known = true;
    for (position, name) in names.iter().enumerate() {
        match ResponseFlag::from_short(name) {
            Some(flag) => flags.set(flag),
            None => {
                all_known = false;
                cx.index("flags", position, |cx| {
                    cx.error(format!("there is no response flag '{name}'"));
                });
            }
        }
    }
    all_known.then_some(Filter::ResponseFlag(flags))
}

fn sample(filter: &proto::RuntimeFilter, cx: &mut Cx<'_>) -> Option<Filter> {
    if filter.runtime_key.is_empty() {
        cx.error_at("runtime_key", "a runtime key is needed");
        return None;
    }
    let percent = filter.percent_sampled.unwrap_or(FractionalPercent {
        numerator: 0,
        denominator: DenominatorType::Hundred.into(),
    });
    let denominator = match DenominatorType::try_from(percent.denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => {
            cx.error_at(
                "percent_sampled.denominator",
                "there is no such denominator",
            );
            return None;
        }
    };
    Some(Filter::Sample {
        key: cx.runtime_keys.id(&filter.runtime_key),
        numerator: u64::from(percent.numerator),
        denominator,
        independent: filter.use_independent_randomness,
    })
}

fn log_types(filter: &proto::LogTypeFilter, cx: &mut Cx<'_>) -> Option<Filter> {
    let mut types = Vec::with_capacity(filter.types.len());
    for (position, number) in filter.types.iter().enumerate() {
        match ProtoLogType::try_from(*number).ok().and_then(log_type) {
            Some(kind) => types.push(kind),
            None => {
                cx.index("types", position, |cx| cx.error("not supported yet"));
                return None;
            }
        }
    }
    Some(Filter::LogType {
        types: types.into(),
        exclude: filter.exclude,
    })
}

fn log_type(kind: ProtoLogType) -> Option<AccessLogType> {
    AccessLogType::ALL
        .iter()
        .copied()
        .find(|ours| ours.as_str() == kind.as_str_name())
}

/// The number that Envoy draws from a request id, so that all proxies on a
/// request's way log it or none does: its first eight hexadecimal digits.
fn request_number(request: &HeaderMap) -> Option<u64> {
    let id = request.get(HeaderId::XRequestId)?;
    if id.len() != 36 {
        return None;
    }
    id[..8].iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}
