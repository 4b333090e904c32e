//! `envoy.config.route.v3.QueryParameterMatcher`.

use super::string_match::StringMatcher;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;

/// A compiled test of one query parameter, byte by byte: nothing is unescaped.
#[derive(Debug)]
pub struct QueryParameterMatcher {
    name: Box<[u8]>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present(bool),
    Value(StringMatcher),
}

impl QueryParameterMatcher {
    /// Whether the query string of `path_and_query` passes. Of a parameter
    /// that is repeated, the first value counts.
    pub fn matches(&self, path_and_query: &[u8]) -> bool {
        let value = first_value(path_and_query, &self.name);
        match &self.test {
            Test::Present(wanted) => value.is_some() == *wanted,
            Test::Value(matcher) => value.is_some_and(|value| matcher.matches(value)),
        }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::QueryParameterMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
        let test = match &message.query_parameter_match_specifier {
            None => Test::Present(true),
            Some(Specifier::PresentMatch(wanted)) => Test::Present(*wanted),
            Some(Specifier::StringMatch(matcher)) => {
                Test::Value(cx.field("string_match", |cx| StringMatcher::lower(matcher, cx))?)
            }
        };
        Some(QueryParameterMatcher {
            name: message.name.as_bytes().into(),
            test,
        })
    }
}

/// The value of the first parameter called `name`; empty when it has no `=`.
pub(super) fn first_value<'q>(path_and_query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    let question = memchr::memchr(b'?', path_and_query)?;
    let query = &path_and_query[question + 1..];
    let query = &query[..memchr::memchr(b'#', query).unwrap_or(query.len())];
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let equals = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
        (&parameter[..equals] == name).then(|| parameter.get(equals + 1..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values() {
        for (path, name, value) in [
            ("/", "a", None),
            ("/?", "a", None),
            ("/?a", "a", Some("")),
            ("/?a=", "a", Some("")),
            ("/?a=1&a=2", "a", Some("1")),
            ("/?b=1&a=2", "a", Some("2")),
            ("/?ab=1", "a", None),
            ("/?a=x=y", "a", Some("x=y")),
            ("/?%61=1", "a", None),
            ("/?a=1#a=2", "a", Some("1")),
            ("/?x?a=1", "a", None),
            ("/?A=1", "a", None),
        ] {
            assert_eq!(
                first_value(path.as_bytes(), name.as_bytes()),
                value.map(str::as_bytes),
                "{path}"
            );
        }
    }
}
