//! What is tried again, and how often: the policy as it was written, and what
//! it comes to together with the request's own headers.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{RetryOn, RetryPolicy};
use ringway_config::runtime::RuntimeKey;
use serde_json::Value;

use super::context::{Context, header_or};
use super::fact::{Fact, Place};
use super::forward::Way;
use crate::filters::http::router::Retries;
use crate::http::exchange::Exchange;

/// Whether a try that takes too long goes on beside the next one.
pub(super) fn hedging(way: &Way<'_>, is_hedging: bool, exchange: &Exchange) -> Fact {
    const HEADER: HeaderId = HeaderId::XEnvoyHedgeOnPerTryTimeout;
    let asked = matches!(exchange.request.get(HEADER), Some(b"true" | b"false"));
    let field = way.or_of_host("hedge_policy.hedge_on_per_try_timeout");
    Fact::new("hedging")
        .value(is_hedging)
        .place(header_or(asked, HEADER, way.cx.place(&field)))
}

/// The policies as they were written, and the retries that they lead to.
pub(super) fn explain(way: &Way<'_>, hedging: Fact, exchange: &Exchange) -> Vec<Fact> {
    let written = |name: &str, path: &str| {
        let written = way.cx.written(name, path);
        written.unwrap_or_else(|| Fact::new(name).value(Value::Null).place(Place::Default))
    };
    vec![
        retries(way, hedging, &exchange.request),
        written("retry policy", &way.retry_policy()),
        written("hedge policy", &way.or_of_host("hedge_policy")),
    ]
}

fn retries(way: &Way<'_>, hedging: Fact, request: &HeaderMap) -> Fact {
    let default = RetryPolicy::default();
    let policy = (way.cluster.request_policies.retry(way.forward)).unwrap_or(&default);
    let path = way.retry_policy();
    let place = |field: &str| way.cx.place(&format!("{path}.{field}"));
    let fact = Fact::new("retries");
    let Some(retries) = Retries::of(policy, request) else {
        return fact
            .value(Value::Null)
            .note("neither route nor request asks for any")
            .parts(vec![hedging]);
    };
    let asked_times = Retries::times_asked_by(request).is_some();
    let mut fact = fact.value(retries.times).place(header_or(
        asked_times,
        HeaderId::XEnvoyMaxRetries,
        place("num_retries"),
    ));
    if !Retries::is_wanted(policy, request) {
        fact = fact.note("none of the request's headers is in retriable_request_headers");
    }
    let by_header = |condition: RetryOn| {
        let list = request.get(HeaderId::XEnvoyRetryOn).unwrap_or_default();
        match RetryOn::parse(list, |_| {}).has(condition) {
            true => HeaderId::XEnvoyRetryOn,
            false => HeaderId::XEnvoyRetryGrpcOn,
        }
    };
    let conditions = retries.on.names().map(|(name, condition)| {
        let by_policy = policy.retry_on.has(condition);
        Fact::new(name).place(header_or(
            !by_policy,
            by_header(condition),
            place("retry_on"),
        ))
    });
    let mut parts = vec![Fact::new("on").items(conditions.collect())];
    if !retries.status_codes.is_empty() {
        let fact = Fact::new("status codes").value(retries.status_codes);
        let header = HeaderId::XEnvoyRetriableStatusCodes;
        parts.push(fact.place(Place::Header(header.as_str())));
    }
    if !retries.response_headers.is_empty() {
        let names = retries.response_headers.iter();
        let names: Vec<_> = names.map(|name| String::from_utf8_lossy(name)).collect();
        let header = HeaderId::XEnvoyRetriableHeaderNames;
        parts.push(
            Fact::new("response headers")
                .value(names)
                .place(Place::Header(header.as_str())),
        );
    }
    parts.extend(by_runtime(policy, way.cx));
    parts.push(hedging);
    fact.parts(parts)
}

/// What runtime keys change of retries, if any do.
fn by_runtime(policy: &RetryPolicy, cx: &Context<'_>) -> Vec<Fact> {
    let runtime = cx.sources.runtime;
    let mut parts = Vec::new();
    let used = runtime.percent(RuntimeKey::USE_RETRY, 100);
    if used < 100 {
        parts.push(
            Fact::new("made")
                .value(format!("{used}%"))
                .note("the others are not made")
                .place(cx.of_runtime("upstream.use_retry")),
        );
    }
    let base = runtime.get(RuntimeKey::BASE_RETRY_BACKOFF_MS);
    if policy.back_off.is_none() && base.is_some() {
        let base_ms = policy.back_off_in_force(runtime).base_ms;
        parts.push(
            Fact::new("base interval")
                .value(format!("{base_ms}ms"))
                .place(cx.of_runtime("upstream.base_retry_backoff_ms")),
        );
    }
    parts
}
