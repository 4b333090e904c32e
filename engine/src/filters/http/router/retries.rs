//! What is tried again for a request, and how often: the route's policy, with
//! what the request's own headers say. Only those of internal clients get here.

use std::str::FromStr;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{RetryOn, RetryPolicy, words};

/// The retries of one request, before the first of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Retries {
    /// What is tried again.
    pub on: RetryOn,
    /// How often, the first try not counted.
    pub times: u32,
    /// The codes of `retriable-status-codes` that the request asks for.
    pub status_codes: Vec<u32>,
    /// The response headers of `retriable-headers` that the request asks for,
    /// in lower case; one of them is enough.
    pub response_headers: Vec<Box<[u8]>>,
}

impl Retries {
    /// The retries of a request, or `None` when there will be none: neither
    /// the policy nor the request's own headers ask for any.
    pub fn of(policy: &RetryPolicy, request: &HeaderMap) -> Option<Self> {
        let asked = Self::asked_by(request);
        if policy.retry_on.is_empty() && asked.is_none() {
            return None;
        }
        let on = match Self::is_wanted(policy, request) {
            true => policy.retry_on.and(asked.unwrap_or_default()),
            false => RetryOn::default(),
        };
        let codes = request.get(HeaderId::XEnvoyRetriableStatusCodes);
        let names = request.get(HeaderId::XEnvoyRetriableHeaderNames);
        Some(Self {
            on,
            times: Self::times_asked_by(request).unwrap_or(policy.retries),
            status_codes: words(codes.unwrap_or_default())
                .filter_map(number)
                .collect(),
            response_headers: words(names.unwrap_or_default())
                .map(|name| name.to_ascii_lowercase().into())
                .collect(),
        })
    }

    /// What the request itself asks for; `None` when it asks for nothing.
    pub fn asked_by(request: &HeaderMap) -> Option<RetryOn> {
        let http = request.get(HeaderId::XEnvoyRetryOn);
        let http = http.map(|list| RetryOn::parse(list, |_| {}));
        let grpc = request.get(HeaderId::XEnvoyRetryGrpcOn);
        let grpc = grpc.map(|list| RetryOn::parse_grpc(list, |_| {}));
        match (http, grpc) {
            (Some(http), Some(grpc)) => Some(http.and(grpc)),
            (http, grpc) => http.or(grpc),
        }
    }

    /// How often the request itself wants to be tried again. As in Envoy, what
    /// is above 32 bits of a number of 64 does not count.
    pub fn times_asked_by(request: &HeaderMap) -> Option<u32> {
        let asked: u64 = request.get(HeaderId::XEnvoyMaxRetries).and_then(number)?;
        Some(asked as u32)
    }

    /// Whether the request is one that the policy is for
    /// (`retriable_request_headers`).
    pub fn is_wanted(policy: &RetryPolicy, request: &HeaderMap) -> bool {
        let wanted = &policy.retriable_request_headers;
        wanted.is_empty() || wanted.iter().any(|matcher| matcher.matches(request))
    }
}

/// The number that a header's value is.
pub(super) fn number<N: FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &RetryPolicy, lines: &[(HeaderId, &str)]) -> Option<Retries> {
        let mut request = HeaderMap::new();
        for (id, value) in lines {
            request.append(*id, value.as_bytes());
        }
        Retries::of(policy, &request)
    }

    #[test]
    fn policy_and_request_add_up() {
        const ON: HeaderId = HeaderId::XEnvoyRetryOn;
        const GRPC: HeaderId = HeaderId::XEnvoyRetryGrpcOn;
        const TIMES: HeaderId = HeaderId::XEnvoyMaxRetries;
        let none = RetryPolicy::default();
        let some = RetryPolicy {
            retry_on: RetryOn::RESET,
            retries: 4,
            ..RetryPolicy::default()
        };
        let both = RetryOn::RESET.and(RetryOn::FIVE_XX);
        for (policy, lines, expected) in [
            (&none, &[][..], None),
            (&none, &[(TIMES, "3")], None),
            (&none, &[(ON, "5xx")], Some((RetryOn::FIVE_XX, 1))),
            (&none, &[(ON, "nonsense")], Some((RetryOn::default(), 1))),
            (
                &none,
                &[(ON, "reset"), (TIMES, "3")],
                Some((RetryOn::RESET, 3)),
            ),
            (
                &none,
                &[(GRPC, "internal")],
                Some((RetryOn::GRPC_INTERNAL, 1)),
            ),
            (&some, &[], Some((RetryOn::RESET, 4))),
            (&some, &[(ON, "5xx")], Some((both, 4))),
            (&some, &[(TIMES, "0")], Some((RetryOn::RESET, 0))),
            (&some, &[(TIMES, "many")], Some((RetryOn::RESET, 4))),
            (&some, &[(TIMES, "4294967297")], Some((RetryOn::RESET, 1))),
            (
                &some,
                &[(TIMES, "18446744073709551616")],
                Some((RetryOn::RESET, 4)),
            ),
        ] {
            let found = of(policy, lines).map(|retries| (retries.on, retries.times));
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn lists_are_read_word_by_word() {
        let policy = RetryPolicy {
            retry_on: RetryOn::HEADERS,
            ..RetryPolicy::default()
        };
        let found = of(
            &policy,
            &[
                (HeaderId::XEnvoyRetriableStatusCodes, "404, x, 418"),
                (HeaderId::XEnvoyRetriableHeaderNames, "X-One,, x-two"),
            ],
        )
        .expect("it retries");
        assert_eq!(found.status_codes, [404, 418]);
        let names: Vec<&[u8]> = found.response_headers.iter().map(|name| &**name).collect();
        assert_eq!(names, [b"x-one", b"x-two"]);
    }
}
