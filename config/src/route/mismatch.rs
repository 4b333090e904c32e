//! Why a request does not belong to a route, for whoever asks.

use super::request_path::RequestPath;
use super::route_match::{MatchInput, PeerCertificate, RouteMatcher, is_grpc};
use ringway_codecs::header::HeaderId;

/// The first condition of a route that a request does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field that holds the condition, below `match`: `headers[1]`. Empty
    /// when it is the path, whose field depends on the kind of condition.
    pub field: String,
    /// What the request has instead.
    pub found: String,
}

impl RouteMatcher {
    /// The first condition that the request does not meet, in the order in
    /// which [`RouteMatcher::matches`] looks at them; `None` when it meets all.
    pub fn mismatch(&self, input: &MatchInput<'_>) -> Option<Mismatch> {
        let mismatch = |field: String, found: String| Some(Mismatch { field, found });
        let path = RequestPath::of(input.headers);
        let path_matches =
            RequestPath::with(input.headers, self.ignore_path_parameters, |request| {
                self.path.matches(request, input.headers)
            });
        if !path_matches {
            return mismatch(
                String::new(),
                match path.path {
                    Some(path) => format!("the path is {}", quoted(path)),
                    None => "the request has no path".into(),
                },
            );
        }
        if let Some(fraction) = self.fraction
            && !self.takes_share(input)
        {
            let share = fraction.in_force(input.runtime);
            let by = match share == fraction.default {
                true => "",
                false => " by its runtime key",
            };
            return mismatch(
                "runtime_fraction".into(),
                format!(
                    "the share is {} of {}{by} and the request's number {}",
                    share.numerator,
                    share.denominator,
                    input.random % u64::from(share.denominator)
                ),
            );
        }
        if self.grpc && !is_grpc(input.headers) {
            let found = match input.headers.get(HeaderId::ContentType) {
                Some(value) => format!("content-type is {}", quoted(value)),
                None => "there is no content-type".into(),
            };
            return mismatch("grpc".into(), found);
        }
        for (i, matcher) in self.headers.iter().enumerate() {
            if !matcher.matches(input.headers) {
                return mismatch(format!("headers[{i}]"), matcher.found(input.headers));
            }
        }
        for (i, matcher) in self.query_parameters.iter().enumerate() {
            if !matcher.matches(path.with_query) {
                let query = &path.with_query[path.with_parameters.len()..];
                let found = match query.is_empty() {
                    true => "there is no query".into(),
                    false => format!("the query is {}", quoted(query)),
                };
                return mismatch(format!("query_parameters[{i}]"), found);
            }
        }
        for (i, matcher) in self.cookies.iter().enumerate() {
            if !matcher.matches(input.headers) {
                return mismatch(format!("cookies[{i}]"), matcher.found(input.headers));
            }
        }
        if !self.tls_context.matches(input.peer_certificate) {
            let PeerCertificate {
                presented,
                validated,
            } = input.peer_certificate;
            let found = match (presented, validated) {
                (false, _) => "the client has no certificate",
                (true, false) => "the client's certificate is not validated",
                (true, true) => "the client's certificate is validated",
            };
            return mismatch("tls_context".into(), found.into());
        }
        for (i, matcher) in self.dynamic_metadata.iter().enumerate() {
            if !matcher.matches(input.metadata) {
                let found = "no filter has said so of the request".into();
                return mismatch(format!("dynamic_metadata[{i}]"), found);
            }
        }
        for (i, matcher) in self.filter_state.iter().enumerate() {
            if !matcher.matches(input.filter_state) {
                let found = "no filter has left such an object".into();
                return mismatch(format!("filter_state[{i}]"), found);
            }
        }
        None
    }
}

/// Bytes of a request as text that holds no control characters.
pub(super) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
