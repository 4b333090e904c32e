//! `Referer`: one that is no URL is removed, because applications trust its
//! shape (RFC 9110 section 10.1.3: no fragment, no user information).

/// Whether a value may stay. An empty one may.
pub fn is_valid(referer: &[u8]) -> bool {
    if let Some(separator) = memchr::memmem::find(referer, b"://")
        && is_scheme(&referer[..separator])
    {
        return is_absolute_rest(&referer[separator + 3..]);
    }
    is_relative(referer)
}

fn is_scheme(scheme: &[u8]) -> bool {
    !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphabetic)
}

/// What follows `scheme://`: a host, perhaps a port, perhaps a path.
fn is_absolute_rest(rest: &[u8]) -> bool {
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    is_host_and_port(authority) && path.iter().all(|byte| is_url_character(*byte))
}

fn is_host_and_port(authority: &[u8]) -> bool {
    let (host, port) = match ringway_config::route::port_start(authority) {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let host_is_good = match host {
        [b'[', literal @ .., b']'] => {
            !literal.is_empty()
                && literal
                    .iter()
                    .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b'%'))
        }
        name => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    };
    let port_is_good = port.is_none_or(|port| {
        std::str::from_utf8(port).is_ok_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
    });
    host_is_good && port_is_good
}

/// A path: no colon before its first slash, where it would end a scheme.
fn is_relative(path: &[u8]) -> bool {
    let slash = memchr::memchr(b'/', path).unwrap_or(path.len());
    !path[..slash].contains(&b':') && path.iter().all(|byte| is_url_character(*byte))
}

/// The characters of RFC 3986 paths and queries.
fn is_url_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'?' | b'@' | b'_' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40 was seen to keep and to remove.
    #[test]
    fn as_envoy_does() {
        for kept in [
            "",
            "/rel",
            "a.com",
            "HTTP://A/",
            "ftp://x",
            "http://[::1]/",
            "//a.com/x",
            "http://a.com:80/x?y=z",
        ] {
            assert!(is_valid(kept.as_bytes()), "{kept}");
        }
        for removed in [
            "http://a.com/x?y#z",
            "not a url",
            "http://",
            "https://a b",
            "http://a.com/ b",
            "http:/a",
            "javascript:1",
            "http://a.com:99999/",
            "http://u:p@a.com/x",
            "/a#b",
            "/a\"b",
        ] {
            assert!(!is_valid(removed.as_bytes()), "{removed}");
        }
    }
}
