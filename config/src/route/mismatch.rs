//! Why a request does not belong to a route, for whoever asks.

use super::route_match::{MatchInput, RouteMatcher, without_query};
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
        let Some(path_and_query) = input.headers.get(HeaderId::Path) else {
            return mismatch(String::new(), "the request has no path".into());
        };
        let path = without_query(path_and_query);
        if !self.path.matches(path) {
            return mismatch(String::new(), format!("the path is {}", quoted(path)));
        }
        for (i, matcher) in self.headers.iter().enumerate() {
            if !matcher.matches(input.headers) {
                return mismatch(format!("headers[{i}]"), matcher.found(input.headers));
            }
        }
        for (i, matcher) in self.query_parameters.iter().enumerate() {
            if !matcher.matches(path_and_query) {
                let query = &path_and_query[path.len()..];
                let found = match query.is_empty() {
                    true => "there is no query".into(),
                    false => format!("the query is {}", quoted(query)),
                };
                return mismatch(format!("query_parameters[{i}]"), found);
            }
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
