//! Absolute URLs that a request is led to: by a redirect that the proxy follows
//! itself, or to the page that takes a response's place.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::is_authority;
use ringway_config::route::without_query;

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
    /// Any other.
    Other,
}

/// An absolute URL that Envoy would follow, and that has no credentials.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// What comes before the colon.
    pub scheme: Scheme,
    /// The host, perhaps with a port.
    pub authority: &'a [u8],
    /// From the slash or the question mark, without the fragment; empty for
    /// none.
    pub path: &'a [u8],
}

impl<'a> Url<'a> {
    /// The parts of a URL, or `None` if it is not one that can be followed.
    #[must_use]
    pub fn parse(url: &'a [u8]) -> Option<Self> {
        let colon = memchr::memchr(b':', url)?;
        let (name, rest) = url.split_at(colon);
        let rest = rest.strip_prefix(b"://")?;
        let scheme = match name {
            _ if name.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ if name.eq_ignore_ascii_case(b"https") => Scheme::Https,
            _ if is_scheme(name) => Scheme::Other,
            _ => return None,
        };
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let fragment = path.iter().position(|byte| *byte == b'#');
        let path = &path[..fragment.unwrap_or(path.len())];
        let hostile = |bytes: &[u8]| bytes.iter().any(|byte| *byte <= b' ' || *byte >= 0x7f);
        // What a fragment of no path belongs to is not said.
        let is_bare_fragment = fragment == Some(0);
        if !is_followed(authority) || is_bare_fragment || hostile(path) {
            return None;
        }
        Some(Self {
            scheme,
            authority,
            path,
        })
    }

    /// Makes it the URL of a request, whose scheme is that of its connection if
    /// this one is none of HTTP's.
    pub fn put_into(&self, request: &mut HeaderMap) {
        match self.scheme {
            Scheme::Http => request.set(HeaderId::Scheme, b"http"),
            Scheme::Https => request.set(HeaderId::Scheme, b"https"),
            Scheme::Other => {
                request.remove(HeaderId::Scheme);
            }
        }
        request.set(HeaderId::Authority, self.authority);
        request.set_with(HeaderId::Path, |out| {
            if without_query(self.path).is_empty() {
                out.push(b'/');
            }
            out.extend_from_slice(self.path);
        });
    }
}

/// Whether a host, perhaps with a port, is one that Envoy sends requests to
/// whose URL somebody else has chosen: names of letters, digits, dots and
/// dashes, and addresses.
fn is_followed(authority: &[u8]) -> bool {
    let is_named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let host = match memchr::memchr(b':', authority) {
        // A colon has a port behind it.
        _ if authority.ends_with(b":") => return false,
        _ if authority.starts_with(b"[") => return is_authority(authority),
        Some(colon) => &authority[..colon],
        None => authority,
    };
    host.iter().all(is_named) && is_authority(authority)
}

/// RFC 3986 section 3.1.
fn is_scheme(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    name.first().is_some_and(u8::is_ascii_alphabetic) && name.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (url, found) in [
            ("http://a/b?c#d", Some((Scheme::Http, "a", "/b?c"))),
            ("HTTP://a:80", Some((Scheme::Http, "a:80", ""))),
            ("https://[::1]:9/", Some((Scheme::Https, "[::1]:9", "/"))),
            ("http://a?x", Some((Scheme::Http, "a", "?x"))),
            ("http://a#x", None),
            ("http://a?x#y", Some((Scheme::Http, "a", "?x"))),
            ("http://a/#x", Some((Scheme::Http, "a", "/"))),
            ("http://a:", None),
            ("http://a:/", None),
            ("http://*/", None),
            ("http://a,b/", None),
            ("http://a!b/", None),
            ("http://a_b/", None),
            ("http://a%41/", None),
            ("http://a~b/", None),
            ("http://a+b/", None),
            ("http://a-b./", Some((Scheme::Http, "a-b.", "/"))),
            ("http://.a/", Some((Scheme::Http, ".a", "/"))),
            ("http://A:080/", Some((Scheme::Http, "A:080", "/"))),
            ("http://a:65536/", None),
            ("http://a:+1/", None),
            ("http://[::1]:/", None),
            ("http://[::1]x/", None),
            ("http://[::x]/", None),
            ("http://[]/", None),
            ("http://::1/", None),
            ("http://[::1/", None),
            ("http://", None),
            ("http:///x", None),
            ("http://u@a/", None),
            ("/relative", None),
            ("//a/b", None),
            ("ftp://a/", Some((Scheme::Other, "a", "/"))),
            ("f+p-1.0://a/", Some((Scheme::Other, "a", "/"))),
            ("f_p://a/", None),
            ("1a://a/", None),
            ("-://a/", None),
            ("://a/", None),
            ("", None),
            ("http://a b/", None),
            ("http://a:99999/", None),
            ("http://a:8:x/", None),
            ("http://a/b c", None),
            ("http://a/\u{e4}", None),
        ] {
            let target = Url::parse(url.as_bytes());
            let expected = found.map(|(scheme, authority, path)| Url {
                scheme,
                authority: authority.as_bytes(),
                path: path.as_bytes(),
            });
            assert_eq!(target, expected, "{url:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_url_is_read_without_harm() {
        let url = b"https://user@host:80/path?query#fragment";
        for end in 0..=url.len() {
            if let Some(target) = Url::parse(&url[..end]) {
                assert!(!target.authority.contains(&b'@'));
            }
        }
    }
}
