//! The path of a request, taken apart once for all routes that look at it.

use super::scratch;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// What matchers look at of a `:path`.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestPath<'a> {
    /// Without query string and fragment, and without the parameters of its
    /// segments where the configuration ignores these. `None` for a request
    /// without a path: a plain CONNECT.
    pub(super) path: Option<&'a [u8]>,
    /// Without query string and fragment: templates see parameters always.
    pub(super) with_parameters: &'a [u8],
    /// All of it.
    pub(super) with_query: &'a [u8],
}

impl<'a> RequestPath<'a> {
    /// The path as it is.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let with_query = headers.get(HeaderId::Path);
        let path = with_query.map(without_query);
        RequestPath {
            path,
            with_parameters: path.unwrap_or_default(),
            with_query: with_query.unwrap_or_default(),
        }
    }

    /// Calls `f` with the path, without parameters if these are ignored.
    pub(super) fn with<T>(
        headers: &HeaderMap,
        ignore_parameters: bool,
        f: impl FnOnce(&RequestPath<'_>) -> T,
    ) -> T {
        let whole = RequestPath::of(headers);
        match whole.path {
            Some(path) if ignore_parameters && memchr::memchr(b';', path).is_some() => {
                without_parameters(path, |path| {
                    f(&RequestPath {
                        path: Some(path),
                        ..whole
                    })
                })
            }
            _ => f(&whole),
        }
    }
}

/// A path without its query string and fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}

/// Calls `f` with the path of which every segment ends at its first `;`.
fn without_parameters<T>(path: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
    scratch::with(|without| {
        let mut rest = path;
        while let Some(parameters) = memchr::memchr(b';', rest) {
            without.extend_from_slice(&rest[..parameters]);
            rest = &rest[parameters..];
            rest = &rest[memchr::memchr(b'/', rest).unwrap_or(rest.len())..];
        }
        without.extend_from_slice(rest);
        f(without)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_end_with_their_segment() {
        for (path, without) in [
            ("/a", "/a"),
            ("/a;v=1", "/a"),
            ("/a;v=1/b", "/a/b"),
            ("/a;v;w/b;x", "/a/b"),
            ("/a/;x", "/a/"),
            ("/;x/b", "//b"),
            (";", ""),
            ("/a;;;", "/a"),
            ("/a%3bv", "/a%3bv"),
        ] {
            without_parameters(path.as_bytes(), |found| {
                assert_eq!(found, without.as_bytes(), "{path}");
            });
        }
    }

    #[test]
    fn parts() {
        let mut headers = HeaderMap::new();
        headers.append(HeaderId::Path, b"/a;b/c?d;e");
        let plain = RequestPath::of(&headers);
        assert_eq!(plain.path, Some(&b"/a;b/c"[..]));
        RequestPath::with(&headers, true, |path| {
            assert_eq!(path.path, Some(&b"/a/c"[..]));
            assert_eq!(path.with_parameters, b"/a;b/c");
            assert_eq!(path.with_query, b"/a;b/c?d;e");
        });
        RequestPath::with(&HeaderMap::new(), true, |path| {
            assert_eq!(path.path, None);
            assert_eq!(path.with_query, b"");
        });
    }
}
