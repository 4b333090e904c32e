//! Tests of a certificate's alternative names.

use ringway_config::route::{Case, StringMatcher};
use ringway_config::tls::{SanType, SubjectAltNameMatcher};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::certificate_facts::{general_names, ip_text, other_name};

/// Whether any name passes any of the tests.
pub(super) fn matches(certificate: &X509Certificate<'_>, tests: &[SubjectAltNameMatcher]) -> bool {
    let names = general_names(certificate);
    (names.iter()).any(|name| tests.iter().any(|test| passes(name, test)))
}

/// Whether one of the names of DNS stands for `host`.
pub(super) fn is_host(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let names = general_names(certificate);
    names.iter().any(|name| match name {
        GeneralName::DNSName(name) => stands_for(name, host),
        _ => false,
    })
}

/// Whether one of the names is `name`, or a name of DNS that stands for it.
pub(super) fn has(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let names = general_names(certificate);
    names.iter().any(|own| match own {
        GeneralName::DNSName(pattern) => stands_for(pattern, name),
        other => text(other).is_some_and(|text| text == name),
    })
}

/// All names, as Envoy lists them where none is wanted.
pub(super) fn list(certificate: &X509Certificate<'_>) -> Box<str> {
    let names = general_names(certificate).iter();
    let texts: Vec<String> = names.filter_map(text).collect();
    texts.join(", ").into()
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(octets) => ip_text(octets),
        GeneralName::OtherName(_, value) => other_name(value),
        _ => None,
    }
}

fn passes(name: &GeneralName<'_>, test: &SubjectAltNameMatcher) -> bool {
    let matcher = &test.matcher;
    match (name, &test.san_type) {
        (GeneralName::DNSName(name), SanType::Dns) => match matcher {
            StringMatcher::Exact(host, Case::Sensitive | Case::Insensitive) => {
                std::str::from_utf8(host).is_ok_and(|host| stands_for(name, host))
            }
            _ => matcher.matches(name.as_bytes()),
        },
        (GeneralName::URI(uri), SanType::Uri) => matcher.matches(uri.as_bytes()),
        (GeneralName::RFC822Name(mail), SanType::Email) => matcher.matches(mail.as_bytes()),
        (GeneralName::IPAddress(octets), SanType::IpAddress) => {
            ip_text(octets).is_some_and(|text| matcher.matches(text.as_bytes()))
        }
        (GeneralName::OtherName(kind, value), SanType::OtherName(wanted)) => {
            kind.to_id_string() == **wanted
                && other_name(value).is_some_and(|text| matcher.matches(text.as_bytes()))
        }
        _ => false,
    }
}

/// Whether a name of a certificate, perhaps with a `*` in its first label, stands for
/// a host (RFC 6125 section 6.4.3).
fn stands_for(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some((label, rest)), Some((pattern, pattern_rest))) =
        (host.split_once('.'), pattern.split_once('.'))
    else {
        return false;
    };
    let Some((before, after)) = pattern.split_once('*') else {
        return false;
    };
    let (label, before, after) = (label.as_bytes(), before.as_bytes(), after.as_bytes());
    rest.eq_ignore_ascii_case(pattern_rest)
        && !after.contains(&b'*')
        && label.len() >= before.len() + after.len()
        && label[..before.len()].eq_ignore_ascii_case(before)
        && label[label.len() - after.len()..].eq_ignore_ascii_case(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, host, expected) in [
            ("a.test", "A.Test", true),
            ("*.test", "a.test", true),
            ("*.test", "a.b.test", false),
            ("*.test", "test", false),
            ("*", "test", false),
            ("a*.test", "ab.test", true),
            ("a*.test", "a.test", true),
            ("a*a.test", "a.test", false),
            ("*a.test", "ba.test", true),
            ("**.test", "a.test", false),
            ("a.*.test", "a.b.test", false),
        ] {
            assert_eq!(stands_for(pattern, host), expected, "{pattern} {host}");
        }
    }
}
