//! Request targets (RFC 9112 section 3.2) and authorities.

use super::{Http1Error, chars};
use std::net::IpAddr;
use std::ops::Range;

/// A request target in one of its forms; ranges count within the target.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// `/path?query`, or `*` of OPTIONS: the whole target is the path.
    Path,
    /// `http://authority/path?query`.
    Absolute {
        scheme: &'static str,
        authority: Range<usize>,
        /// Begins with `/` or, when the URI has an empty path, with `?` or not
        /// at all.
        path: Range<usize>,
    },
    /// `host:port` of CONNECT: the whole target is the authority.
    Authority,
}

/// Splits the target of a request whose method is `method`.
pub(super) fn parse(method: &[u8], target: &[u8]) -> Result<Target, Http1Error> {
    // Every URI is ASCII; percent-encoding is the client's duty, and what a
    // backend makes of raw bytes is anyone's guess.
    if !target.is_ascii() {
        return Err(Http1Error::InvalidTarget);
    }
    if method == b"CONNECT" {
        return match is_authority(target, Port::Required) {
            true => Ok(Target::Authority),
            false => Err(Http1Error::InvalidUrl),
        };
    }
    match target {
        [b'/', ..] => Ok(Target::Path),
        b"*" if method == b"OPTIONS" => Ok(Target::Path),
        b"*" => Err(Http1Error::InvalidUrl),
        _ => parse_absolute(target),
    }
}

fn parse_absolute(target: &[u8]) -> Result<Target, Http1Error> {
    let colon = memchr::memchr(b':', target).ok_or(Http1Error::InvalidTarget)?;
    let (scheme, rest) = target.split_at(colon);
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic) || !rest.starts_with(b"://") {
        return Err(Http1Error::InvalidTarget);
    }
    let scheme = match scheme {
        s if s.eq_ignore_ascii_case(b"http") => "http",
        s if s.eq_ignore_ascii_case(b"https") => "https",
        _ => return Err(Http1Error::InvalidScheme),
    };
    let start = colon + "://".len();
    let end = target[start..]
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .map_or(target.len(), |at| start + at);
    // Credentials in a target are nobody's business upstream; Envoy drops
    // them, too.
    let host = memchr::memrchr(b'@', &target[start..end]).map_or(start, |at| start + at + 1);
    if !is_authority(&target[host..end], Port::NotEmpty) {
        return Err(Http1Error::InvalidUrl);
    }
    Ok(Target::Absolute {
        scheme,
        authority: host..end,
        path: end..target.len(),
    })
}

/// What an authority may have as its port.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Port {
    /// None, or no digits, or a number up to 65535.
    Optional,
    /// None, or at least one digit.
    NotEmpty,
    /// At least one digit.
    Required,
}

/// `host[:port]` of RFC 3986: a name or IPv4 address, or an address in brackets.
/// An IPv4 address needs none, but leaves no doubt about who is meant.
/// Credentials are not part of it.
pub(super) fn is_authority(authority: &[u8], port: Port) -> bool {
    let (host_ok, rest) = match authority {
        [b'[', inner @ ..] => {
            let Some(end) = memchr::memchr(b']', inner) else {
                return false;
            };
            (is_address(&inner[..end]), &inner[end + 1..])
        }
        _ => {
            let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
            (is_name(&authority[..end]), &authority[end..])
        }
    };
    host_ok && is_port(rest, port)
}

fn is_name(name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    if name.iter().all(|&b| chars::is_reg_name(b)) {
        return true;
    }
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'%' => match after {
                [a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => after,
                _ => return false,
            },
            b if chars::is_reg_name(b) => after,
            _ => return false,
        };
    }
    true
}

fn is_address(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|t| t.parse::<IpAddr>().is_ok())
}

/// `rest` is what follows the host: nothing, or a colon and the port.
fn is_port(rest: &[u8], port: Port) -> bool {
    let Some((&colon, digits)) = rest.split_first() else {
        return port != Port::Required;
    };
    if colon != b':' || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    if digits.is_empty() {
        return port == Port::Optional;
    }
    // Zeros in front say nothing, however many there are.
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = &digits[zeros..];
    let number = || {
        let add = |number, digit: &u8| number * 10 + u32::from(digit - b'0');
        digits.iter().fold(0u32, add)
    };
    digits.len() <= PORT_DIGITS_MAX && number() <= u32::from(u16::MAX)
}

/// The digits of 65535.
const PORT_DIGITS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let good = [
            "a",
            "a.b",
            "a_b",
            "a:80",
            "a:",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "1.2.3.4",
            "a%20b",
            "a;b",
            "a,b",
            "xn--a",
            "a:65535",
            "~",
            "a:0",
            "a:00",
            "a:000080",
            "a:0000000000000000000000000000065535",
            "[::1]:000080",
            "[127.0.0.1]",
            "[127.0.0.1]:80",
        ];
        let bad = [
            "",
            " ",
            "a b",
            "[::1",
            "::1",
            "[]",
            "[::g]",
            "[::1]a",
            "[::1]80",
            "a/b",
            "a@b",
            "a:b",
            "a:99999",
            "a:0065536",
            "a:00x",
            "[a]:80",
            "[127.1]",
            "[127.0.0.01]",
            "[127.0.0.1",
            "[127.0.0.1]80",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "<a>",
            "a%2",
            "a%zz",
            ":80",
            "a:80:80",
            "[fe80::1%25eth0]",
            "\u{ff}",
            "a\0b",
            "[::1]:",
            "a:8 0",
        ];
        for text in good {
            assert!(is_authority(text.as_bytes(), Port::Optional), "{text}");
        }
        for text in bad.into_iter().filter(|t| *t != "[::1]:") {
            assert!(!is_authority(text.as_bytes(), Port::Optional), "{text}");
        }
        assert!(is_authority(b"[::1]:", Port::Optional));
        assert!(!is_authority(b"a:", Port::NotEmpty));
        assert!(is_authority(b"a", Port::NotEmpty));
        assert!(!is_authority(b"a", Port::Required));
        assert!(!is_authority(b"a:", Port::Required));
        assert!(is_authority(b"a:80", Port::Required));
    }

    #[test]
    fn targets() {
        use Http1Error::{InvalidScheme, InvalidTarget, InvalidUrl};
        let absolute = |scheme, authority, path| Target::Absolute {
            scheme,
            authority,
            path,
        };
        let table: &[(&str, &str, Result<Target, Http1Error>)] = &[
            ("GET", "/", Ok(Target::Path)),
            ("GET", "//x", Ok(Target::Path)),
            ("GET", "/x\"<>\\^`{|}", Ok(Target::Path)),
            ("OPTIONS", "*", Ok(Target::Path)),
            ("GET", "*", Err(InvalidUrl)),
            ("GET", "x", Err(InvalidTarget)),
            ("GET", "?x", Err(InvalidTarget)),
            ("GET", "http://b/x", Ok(absolute("http", 7..8, 8..10))),
            ("GET", "HTTPS://b:8/x", Ok(absolute("https", 8..11, 11..13))),
            ("GET", "http://b", Ok(absolute("http", 7..8, 8..8))),
            ("GET", "http://b?q=/", Ok(absolute("http", 7..8, 8..12))),
            (
                "GET",
                "http://u:p@b/x",
                Ok(absolute("http", 11..12, 12..14)),
            ),
            (
                "GET",
                "http://[::1]:80/",
                Ok(absolute("http", 7..15, 15..16)),
            ),
            ("GET", "http:///x", Err(InvalidUrl)),
            ("GET", "http://u@/x", Err(InvalidUrl)),
            ("GET", "http://[::1/x", Err(InvalidUrl)),
            ("GET", "http://b:x/", Err(InvalidUrl)),
            ("GET", "http://b:99999/", Err(InvalidUrl)),
            ("GET", "http://b:/", Err(InvalidUrl)),
            ("GET", "http://b:0080/", Ok(absolute("http", 7..13, 13..14))),
            ("GET", "ftp://b/x", Err(InvalidScheme)),
            ("GET", "http:/x", Err(InvalidTarget)),
            ("GET", "http:x", Err(InvalidTarget)),
            ("GET", "://b", Err(InvalidTarget)),
            ("GET", "/\u{e9}", Err(InvalidTarget)),
            ("CONNECT", "a:80", Ok(Target::Authority)),
            ("CONNECT", "[::1]:80", Ok(Target::Authority)),
            ("CONNECT", "[127.0.0.1]:80", Ok(Target::Authority)),
            ("CONNECT", "a", Err(InvalidUrl)),
            ("CONNECT", "/x", Err(InvalidUrl)),
            ("CONNECT", "http://a/", Err(InvalidUrl)),
            ("CONNECT", "a:80/x", Err(InvalidUrl)),
            ("CONNECT", "a:b", Err(InvalidUrl)),
        ];
        for (method, target, expected) in table {
            let result = parse(method.as_bytes(), target.as_bytes());
            assert_eq!(result, *expected, "{method} {target}");
        }
    }
}
