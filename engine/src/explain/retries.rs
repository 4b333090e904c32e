//! What is tried again, and how often: the policy as it was written, and what
//! it comes to together with the request's own headers.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{RetryOn, RetryPolicy};
use serde_json::Value;

use super::context::header_or;
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
    let written = |name: &str, field: &str| {
        let written = way.cx.written(name, &way.or_of_host(field));
        written.unwrap_or_else(|| Fact::new(name).value(Value::Null).place(Place::Default))
    };
    vec![
        retries(way, hedging, &exchange.request),
        written("retry policy", "retry_policy"),
        written("hedge policy", "hedge_policy"),
    ]
}

fn retries(way: &Way<'_>, hedging: Fact, request: &HeaderMap) -> Fact {
    let default = RetryPolicy::default();
    let policy = way.forward.resilience.retry.as_deref().unwrap_or(&default);
    let path = way.or_of_host("retry_policy");
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
    parts.push(hedging);
    fact.parts(parts)
}
