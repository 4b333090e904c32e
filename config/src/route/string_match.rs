//! `envoy.type.matcher.v3.StringMatcher`.

use super::regex::CompiledRegex;
use crate::context::Cx;
use envoy_types::pb::envoy::r#type::matcher::v3 as proto;
use envoy_types::pb::xds::r#type::matcher::v3 as xds;
use memchr::memmem;

/// A compiled test of a string.
#[derive(Clone, Debug)]
pub enum StringMatcher {
    /// The whole string is this.
    Exact(Box<[u8]>, Case),
    /// The string begins with this.
    Prefix(Box<[u8]>, Case),
    /// The string ends with this.
    Suffix(Box<[u8]>, Case),
    /// The string has this somewhere.
    Contains(Box<[u8]>, Case),
    /// The whole string matches.
    Regex(CompiledRegex),
}

/// Whether ASCII case matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `A` is not `a`.
    Sensitive,
    /// `A` is `a`.
    Insensitive,
}

impl Case {
    /// Compares two strings of any length.
    pub fn equal(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Case::Sensitive => a == b,
            Case::Insensitive => a.eq_ignore_ascii_case(b),
        }
    }

    /// Whether `text` begins with `prefix`.
    pub fn starts_with(self, text: &[u8], prefix: &[u8]) -> bool {
        text.get(..prefix.len())
            .is_some_and(|start| self.equal(start, prefix))
    }

    fn ends_with(self, text: &[u8], suffix: &[u8]) -> bool {
        text.len()
            .checked_sub(suffix.len())
            .is_some_and(|start| self.equal(&text[start..], suffix))
    }

    fn contains(self, text: &[u8], part: &[u8]) -> bool {
        match self {
            Case::Sensitive => memmem::find(text, part).is_some(),
            Case::Insensitive => {
                part.is_empty()
                    || text
                        .windows(part.len())
                        .any(|at| at.eq_ignore_ascii_case(part))
            }
        }
    }
}

impl StringMatcher {
    /// Whether `text` passes.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            StringMatcher::Exact(value, case) => case.equal(text, value),
            StringMatcher::Prefix(value, case) => case.starts_with(text, value),
            StringMatcher::Suffix(value, case) => case.ends_with(text, value),
            StringMatcher::Contains(value, case) => case.contains(text, value),
            StringMatcher::Regex(regex) => regex.is_full_match(text),
        }
    }

    /// Compiles the message, or reports why not.
    pub fn lower(message: &proto::StringMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::string_matcher::MatchPattern;
        let case = if message.ignore_case {
            Case::Insensitive
        } else {
            Case::Sensitive
        };
        match &message.match_pattern {
            Some(MatchPattern::Exact(value)) => Some(Self::Exact(bytes(value), case)),
            Some(MatchPattern::Prefix(value)) => Some(Self::Prefix(bytes(value), case)),
            Some(MatchPattern::Suffix(value)) => Some(Self::Suffix(bytes(value), case)),
            Some(MatchPattern::Contains(value)) => Some(Self::Contains(bytes(value), case)),
            Some(MatchPattern::SafeRegex(regex)) => {
                if message.ignore_case {
                    cx.error_at(
                        "ignore_case",
                        "ignore_case has no effect on safe_regex; begin the regex with (?i) instead",
                    );
                    return None;
                }
                cx.field("safe_regex", |cx| CompiledRegex::lower(regex, cx))
                    .map(Self::Regex)
            }
            Some(MatchPattern::Custom(_)) => {
                cx.error_at("custom", "not supported yet");
                None
            }
            None => {
                cx.error("one of exact, prefix, suffix, contains or safe_regex is needed");
                None
            }
        }
    }

    /// Compiles xDS's twin of the message, or reports why not.
    pub(crate) fn lower_xds(message: &xds::StringMatcher, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::string_matcher::MatchPattern;
        use xds::string_matcher::MatchPattern as Twin;
        let pattern = match message.match_pattern.clone() {
            None => None,
            Some(Twin::Exact(text)) => Some(MatchPattern::Exact(text)),
            Some(Twin::Prefix(text)) => Some(MatchPattern::Prefix(text)),
            Some(Twin::Suffix(text)) => Some(MatchPattern::Suffix(text)),
            Some(Twin::Contains(text)) => Some(MatchPattern::Contains(text)),
            Some(Twin::SafeRegex(regex)) => Some(MatchPattern::SafeRegex(proto::RegexMatcher {
                regex: regex.regex,
                ..Default::default()
            })),
            Some(Twin::Custom(_)) => {
                cx.error_at("custom", "not supported yet");
                return None;
            }
        };
        let message = proto::StringMatcher {
            ignore_case: message.ignore_case,
            match_pattern: pattern,
        };
        StringMatcher::lower(&message, cx)
    }
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use Case::{Insensitive, Sensitive};
        let b = bytes;
        for (matcher, yes, no) in [
            (
                StringMatcher::Exact(b("aB"), Sensitive),
                &["aB"][..],
                &["ab", "aBc", ""][..],
            ),
            (
                StringMatcher::Exact(b("aB"), Insensitive),
                &["aB", "AB"],
                &["aBc", "a"],
            ),
            (
                StringMatcher::Prefix(b("ab"), Sensitive),
                &["ab", "abc"],
                &["Ab", "a", "xab"],
            ),
            (
                StringMatcher::Prefix(b("ab"), Insensitive),
                &["ABc"],
                &["a", "xab"],
            ),
            (
                StringMatcher::Suffix(b("bc"), Sensitive),
                &["bc", "abc"],
                &["aBc", "c", "bcd"],
            ),
            (
                StringMatcher::Suffix(b("bc"), Insensitive),
                &["aBC"],
                &["c", "bcd"],
            ),
            (
                StringMatcher::Contains(b("bc"), Sensitive),
                &["bc", "abcd"],
                &["aBcd", ""],
            ),
            (
                StringMatcher::Contains(b("bc"), Insensitive),
                &["aBCd", "bc"],
                &["b", "b c"],
            ),
        ] {
            for text in yes {
                assert!(matcher.matches(text.as_bytes()), "{matcher:?} {text}");
            }
            for text in no {
                assert!(!matcher.matches(text.as_bytes()), "{matcher:?} {text}");
            }
        }
    }
}
