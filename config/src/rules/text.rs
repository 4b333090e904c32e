//! Rules about strings and bytes.

use super::scalar::{check_length, check_set};
use crate::tree::quoted;
use envoy_types::pb::validate::string_rules::WellKnown;
use envoy_types::pb::validate::{BytesRules, KnownRegex, StringRules};
use regex::Regex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The compiled patterns. One that does not compile binds nobody; a test
/// makes sure that there is none.
#[derive(Default)]
pub(super) struct Patterns(HashMap<String, Option<Regex>>);

impl Patterns {
    fn matches(&mut self, pattern: &str, text: &str) -> bool {
        let compiled = self
            .0
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

pub(super) fn check(
    text: &str,
    rules: &StringRules,
    patterns: &mut Patterns,
    reasons: &mut Vec<String>,
) {
    if rules.ignore_empty() && text.is_empty() {
        return;
    }
    let characters = (rules.min_len, rules.len, rules.max_len);
    check_length(text.chars().count(), "characters", characters, reasons);
    let bytes = (rules.min_bytes, rules.len_bytes, rules.max_bytes);
    check_length(text.len(), "bytes", bytes, reasons);
    check_set(
        &text.to_owned(),
        rules.r#const.as_ref(),
        &rules.r#in,
        &rules.not_in,
        |text| quoted(text),
        reasons,
    );
    let given = || quoted(text);
    if let Some(pattern) = &rules.pattern
        && !patterns.matches(pattern, text)
    {
        reasons.push(format!("{} does not match {pattern}", given()));
    }
    if let Some(prefix) = rules
        .prefix
        .as_ref()
        .filter(|p| !text.starts_with(p.as_str()))
    {
        reasons.push(format!("{} must start with {prefix:?}", given()));
    }
    if let Some(suffix) = rules
        .suffix
        .as_ref()
        .filter(|s| !text.ends_with(s.as_str()))
    {
        reasons.push(format!("{} must end with {suffix:?}", given()));
    }
    if let Some(part) = rules
        .contains
        .as_ref()
        .filter(|p| !text.contains(p.as_str()))
    {
        reasons.push(format!("{} must contain {part:?}", given()));
    }
    if let Some(part) = rules
        .not_contains
        .as_ref()
        .filter(|p| text.contains(p.as_str()))
    {
        reasons.push(format!("{} must not contain {part:?}", given()));
    }
    if let Some(form) = rules.well_known
        && let Some(name) = broken_form(text, form, rules.strict.unwrap_or(true))
    {
        reasons.push(format!("{} is not a valid {name}", given()));
    }
}

/// The name of the form that `text` should have and does not.
fn broken_form(text: &str, form: WellKnown, strict: bool) -> Option<&'static str> {
    let (holds, name) = match form {
        WellKnown::WellKnownRegex(of) => match KnownRegex::try_from(of) {
            Ok(KnownRegex::HttpHeaderName) => (is_header_name(text, strict), "HTTP header name"),
            Ok(KnownRegex::HttpHeaderValue) => (is_header_value(text, strict), "HTTP header value"),
            Ok(KnownRegex::Unknown) | Err(_) => return None,
        },
        WellKnown::Ip(true) => (text.parse::<IpAddr>().is_ok(), "IP address"),
        WellKnown::Ipv4(true) => (text.parse::<Ipv4Addr>().is_ok(), "IPv4 address"),
        WellKnown::Ipv6(true) => (text.parse::<Ipv6Addr>().is_ok(), "IPv6 address"),
        WellKnown::Hostname(true) => (is_hostname(text), "host name"),
        WellKnown::Address(true) => (
            text.parse::<IpAddr>().is_ok() || is_hostname(text),
            "host name or IP address",
        ),
        // Envoy's own checker (the C++ one) does not check these either.
        WellKnown::Email(_) | WellKnown::Uri(_) | WellKnown::UriRef(_) | WellKnown::Uuid(_) => {
            return None;
        }
        WellKnown::Ip(false)
        | WellKnown::Ipv4(false)
        | WellKnown::Ipv6(false)
        | WellKnown::Hostname(false)
        | WellKnown::Address(false) => return None,
    };
    (!holds).then_some(name)
}

/// RFC 9110, section 5.6.2 (token), with a leading colon for pseudo headers.
/// When not strict, only what would split a head is refused.
fn is_header_name(text: &str, strict: bool) -> bool {
    if !strict {
        return !text.contains(['\0', '\n', '\r']);
    }
    let name = text.strip_prefix(':').unwrap_or(text);
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&b))
}

fn is_header_value(text: &str, strict: bool) -> bool {
    if !strict {
        return !text.contains(['\0', '\n', '\r']);
    }
    text.bytes().all(|b| b >= b' ' && b != 0x7f || b == b'\t')
}

/// RFC 1034, section 3.5.
fn is_hostname(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

pub(super) fn check_bytes(bytes: &[u8], rules: &BytesRules, reasons: &mut Vec<String>) {
    if rules.ignore_empty() && bytes.is_empty() {
        return;
    }
    let lengths = (rules.min_len, rules.len, rules.max_len);
    check_length(bytes.len(), "bytes", lengths, reasons);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_and_values() {
        for (name, strict, holds) in [
            ("x-a", true, true),
            (":path", true, true),
            (":", true, false),
            ("", true, false),
            ("a b", true, false),
            ("a\r", true, false),
            ("a b", false, true),
            ("", false, true),
            ("a\n", false, false),
        ] {
            assert_eq!(is_header_name(name, strict), holds, "{name:?}");
        }
        assert!(is_header_value("a\tb é", true));
        assert!(!is_header_value("a\u{7f}", true));
        assert!(is_header_value("a\u{7f}", false));
        assert!(!is_header_value("a\nb", false));
    }

    #[test]
    fn host_names() {
        for (name, holds) in [
            ("a.example", true),
            ("a.example.", true),
            ("-a", false),
            ("a..b", false),
            ("a_b", false),
            ("", false),
        ] {
            assert_eq!(is_hostname(name), holds, "{name:?}");
        }
    }
}
