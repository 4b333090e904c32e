//! `envoy.config.route.v3.HeaderMatcher`.

use super::header_key::HeaderKey;
use super::mismatch::quoted;
use super::regex::CompiledRegex;
use super::string_match::{Case, StringMatcher};
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::HeaderMap;

/// A compiled test of one header.
#[derive(Debug)]
pub struct HeaderMatcher {
    name: HeaderKey,
    test: Test,
    invert: bool,
    /// An absent header is tested as if it were there and empty. Otherwise an
    /// absent header fails every test of its value, inverted or not.
    missing_is_empty: bool,
}

#[derive(Debug)]
enum Test {
    Value(StringMatcher),
    /// A decimal integer in the half-open range.
    Range {
        start: i64,
        end: i64,
    },
    Present,
    /// The deprecated `exact_match` with an empty value, which Envoy takes as
    /// "present with any value".
    AnyValue,
}

impl HeaderMatcher {
    /// Whether the headers pass. Of a header that has several lines, one that
    /// passes is enough.
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        match &self.name {
            HeaderKey::Known(id) => self.judge(headers.get_all(*id)),
            HeaderKey::Other(name) => self.judge(headers.get_all_name(name)),
        }
    }

    /// What the headers have instead of what is wanted, as a text.
    pub(super) fn found(&self, headers: &HeaderMap) -> String {
        let (name, values): (_, Vec<_>) = match &self.name {
            HeaderKey::Known(id) => (id.as_str().as_bytes(), headers.get_all(*id).collect()),
            HeaderKey::Other(name) => (&**name, headers.get_all_name(name).collect()),
        };
        let values: Vec<_> = values.into_iter().map(quoted).collect();
        let name = name.escape_ascii();
        match &values[..] {
            [] => format!("there is no {name}"),
            [value] => format!("{name} is {value}"),
            _ => format!("{name} is {}", values.join(" and ")),
        }
    }

    fn judge<'v>(&self, values: impl Iterator<Item = &'v [u8]>) -> bool {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return match self.missing_is_empty {
                true => self.test.passes(b"") != self.invert,
                false => matches!(self.test, Test::Present) && self.invert,
            };
        }
        values.any(|value| self.test.passes(value)) != self.invert
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::HeaderMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        let (test, opposite) = Test::lower(message, cx)?;
        Some(HeaderMatcher {
            name: HeaderKey::new(&message.name),
            test,
            invert: message.invert_match != opposite,
            missing_is_empty: message.treat_missing_header_as_empty,
        })
    }
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Test::Value(matcher) => matcher.matches(value),
            Test::Range { start, end } => {
                parse_integer(value).is_some_and(|number| (*start..*end).contains(&number))
            }
            Test::Present | Test::AnyValue => true,
        }
    }

    /// The test, and whether its opposite is meant (`present_match: false`).
    #[expect(
        deprecated,
        reason = "Envoy still accepts the old forms of string_match"
    )]
    fn lower(message: &proto::HeaderMatcher, cx: &mut Cx<'_>) -> Option<(Self, bool)> {
        use proto::header_matcher::HeaderMatchSpecifier as Specifier;
        let bytes = |text: &str| text.as_bytes().into();
        let value = |matcher| Some((Test::Value(matcher), false));
        match &message.header_match_specifier {
            None => Some((Test::Present, false)),
            Some(Specifier::PresentMatch(present)) => Some((Test::Present, !present)),
            Some(Specifier::RangeMatch(range))
                if range.start >= range.end && !message.invert_match =>
            {
                cx.error_at(
                    "range_match",
                    "no number is in this range: end is not above start",
                );
                None
            }
            Some(Specifier::RangeMatch(range)) => Some((
                Test::Range {
                    start: range.start,
                    end: range.end,
                },
                false,
            )),
            Some(Specifier::StringMatch(matcher)) => cx
                .field("string_match", |cx| StringMatcher::lower(matcher, cx))
                .and_then(value),
            Some(Specifier::ExactMatch(text)) if text.is_empty() => Some((Test::AnyValue, false)),
            Some(Specifier::ExactMatch(text)) => {
                value(StringMatcher::Exact(bytes(text), Case::Sensitive))
            }
            Some(Specifier::PrefixMatch(text)) => {
                value(StringMatcher::Prefix(bytes(text), Case::Sensitive))
            }
            Some(Specifier::SuffixMatch(text)) => {
                value(StringMatcher::Suffix(bytes(text), Case::Sensitive))
            }
            Some(Specifier::ContainsMatch(text)) => {
                value(StringMatcher::Contains(bytes(text), Case::Sensitive))
            }
            Some(Specifier::SafeRegexMatch(regex)) => cx
                .field("safe_regex_match", |cx| CompiledRegex::lower(regex, cx))
                .map(StringMatcher::Regex)
                .and_then(value),
        }
    }
}

/// A whole value as a decimal integer; a sign and surrounding white space are
/// allowed, as Envoy allows them.
fn parse_integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codecs::header::{HeaderId, Lines};

    #[test]
    fn one_line_that_passes_is_enough() {
        let mut headers = HeaderMap::of(Lines::Request);
        for value in [b"a", b"b", b"c"] {
            headers.append(HeaderId::Accept, value);
            headers.append(HeaderId::AcceptLanguage, value);
            headers.append_name(b"x-a", value);
        }
        for (name, value, expected) in [
            ("accept", "a,b,c", true),
            ("accept", "a", false),
            ("accept-language", "a,b,c", false),
            ("accept-language", "b", true),
            ("X-A", "c", true),
            ("x-a", "a,b", false),
        ] {
            let matcher = HeaderMatcher {
                name: HeaderKey::new(name),
                test: Test::Value(StringMatcher::Exact(
                    value.as_bytes().into(),
                    Case::Sensitive,
                )),
                invert: false,
                missing_is_empty: false,
            };
            assert_eq!(matcher.matches(&headers), expected, "{name} {value}");
        }
    }

    #[test]
    fn integers() {
        for (text, number) in [
            ("15", Some(15)),
            ("+15", Some(15)),
            ("-15", Some(-15)),
            (" 15\t", Some(15)),
            ("015", Some(15)),
            ("", None),
            ("1.5", None),
            ("15x", None),
            ("0x10", None),
            ("9223372036854775808", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), number, "{text:?}");
        }
    }
}
