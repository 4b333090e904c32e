//! `envoy.config.route.v3.CookieMatcher`.

use super::mismatch::quoted;
use super::string_match::StringMatcher;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// A compiled test of one cookie.
#[derive(Debug)]
pub struct CookieMatcher {
    name: Box<[u8]>,
    value: StringMatcher,
    invert: bool,
}

impl CookieMatcher {
    /// Whether the request's cookies pass. Of a cookie that is repeated, the
    /// first value counts; one that is absent fails the test that may be
    /// inverted.
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        let value = first_value(headers, &self.name);
        value.is_some_and(|value| self.value.matches(value)) != self.invert
    }

    /// What the request has, for whoever asks why it does not pass.
    pub(super) fn found(&self, headers: &HeaderMap) -> String {
        let name = self.name.escape_ascii();
        match first_value(headers, &self.name) {
            Some(value) => format!("cookie {name} is {}", quoted(value)),
            None => format!("there is no cookie {name}"),
        }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::CookieMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        let Some(matcher) = &message.string_match else {
            cx.error_at("string_match", "is required");
            return None;
        };
        Some(CookieMatcher {
            name: message.name.as_bytes().into(),
            value: cx.field("string_match", |cx| StringMatcher::lower(matcher, cx))?,
            invert: message.invert_match,
        })
    }
}

/// The value of the first cookie called `name`, without the quotation marks
/// around it.
pub(super) fn first_value<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<&'h [u8]> {
    headers
        .get_all(HeaderId::Cookie)
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .find_map(|cookie| {
            let start = cookie.iter().position(|byte| *byte != b' ')?;
            let equals = memchr::memchr(b'=', cookie)?;
            (&cookie[start..equals] == name).then(|| unquoted(&cookie[equals + 1..]))
        })
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values() {
        for (lines, value) in [
            (&["a=1"][..], Some("1")),
            (&["a=2; a=1"], Some("2")),
            (&["b=2;a=1"], Some("1")),
            (&["a=1 ; b"], Some("1 ")),
            (&["   a=1"], Some("1")),
            (&["a = 1"], None),
            (&["A=1"], None),
            (&["a=\"1\""], Some("1")),
            (&["a=\""], Some("\"")),
            (&["a=\"\""], Some("")),
            (&["a=1\""], Some("1\"")),
            (&["b=1", "a=3"], Some("3")),
            (&["a=2", "a=1"], Some("2")),
            (&["a"], None),
            (&["a="], Some("")),
            (&["a=1=2"], Some("1=2")),
            (&["a=1,b=2"], Some("1,b=2")),
            (&[";; ;a=1;"], Some("1")),
            (&["=1;a=4"], Some("4")),
            (&["   ;"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HeaderId::Cookie, line.as_bytes());
            }
            assert_eq!(
                first_value(&headers, b"a"),
                value.map(str::as_bytes),
                "{lines:?}"
            );
        }
    }
}
