//! Rewriting a request's path and host on its way upstream.

use super::path_match::PathMatcher;
use super::regex::Substitution;
use super::{Forward, Route, without_query};
use ringway_codecs::header::{HeaderId, HeaderMap};

/// How a path is rewritten; the query string always stays.
#[derive(Debug)]
pub enum PathRewrite {
    /// The leading bytes that the route matched are replaced.
    Prefix {
        /// How many bytes the route matched.
        matched_bytes: usize,
        /// What takes their place.
        replacement: Box<[u8]>,
    },
    /// The path is replaced.
    Whole(Box<[u8]>),
    /// Every match of a pattern is replaced.
    Regex(Substitution),
}

impl PathRewrite {
    /// `prefix_rewrite` of a route that matches with `matcher`.
    pub(super) fn of_prefix(matcher: Option<&PathMatcher>, replacement: &str) -> Self {
        let replacement = replacement.as_bytes().into();
        match matcher.and_then(PathMatcher::rewritten_prefix) {
            Some(matched_bytes) => PathRewrite::Prefix {
                matched_bytes,
                replacement,
            },
            None => PathRewrite::Whole(replacement),
        }
    }

    /// Appends the rewritten path and the query string to `out`.
    pub fn write(&self, path_and_query: &[u8], out: &mut Vec<u8>) {
        let path = without_query(path_and_query);
        let rest = match self {
            PathRewrite::Prefix {
                matched_bytes,
                replacement,
            } => {
                out.extend_from_slice(replacement);
                // The path was normalised before the route was matched, so it
                // is at least this long; a caller's mistake must not panic.
                (*matched_bytes).min(path_and_query.len())
            }
            PathRewrite::Whole(replacement) => {
                out.extend_from_slice(replacement);
                path.len()
            }
            PathRewrite::Regex(substitution) => {
                substitution.write(path, out);
                path.len()
            }
        };
        out.extend_from_slice(&path_and_query[rest..]);
    }
}

impl Route {
    /// Prepares the request's headers for the upstream: host rewrite and path
    /// rewrite. `keep_originals` adds `x-envoy-original-host` and
    /// `x-envoy-original-path`; the router's `suppress_envoy_headers` turns it
    /// off.
    pub fn rewrite(&self, forward: &Forward, headers: &mut HeaderMap, keep_originals: bool) {
        forward.rewrite_host(headers, keep_originals);
        forward.rewrite_path(headers, keep_originals);
    }
}

impl Forward {
    fn rewrite_host(&self, headers: &mut HeaderMap, keep_original: bool) {
        let Some(host) = &self.host_rewrite else {
            return;
        };
        let original = headers
            .get(HeaderId::Authority)
            .unwrap_or_default()
            .to_vec();
        if keep_original {
            headers.set(HeaderId::XEnvoyOriginalHost, &original);
        }
        if self.append_x_forwarded_host && !original.is_empty() {
            append_to_list(headers, HeaderId::XForwardedHost, &original);
        }
        headers.set(HeaderId::Authority, host);
    }

    fn rewrite_path(&self, headers: &mut HeaderMap, keep_original: bool) {
        let Some(rewrite) = &self.path_rewrite else {
            return;
        };
        let Some(original) = headers.get(HeaderId::Path).map(<[u8]>::to_vec) else {
            return;
        };
        if keep_original {
            headers.set(HeaderId::XEnvoyOriginalPath, &original);
        }
        headers.set_with(HeaderId::Path, |out| rewrite.write(&original, out));
    }
}

/// Adds a value to a header that is a comma-separated list.
fn append_to_list(headers: &mut HeaderMap, id: HeaderId, value: &[u8]) {
    match headers.get(id).map(<[u8]>::to_vec) {
        Some(before) if !before.is_empty() => headers.set_with(id, |out| {
            out.extend_from_slice(&before);
            out.push(b',');
            out.extend_from_slice(value);
        }),
        _ => headers.set(id, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let prefix = |matched_bytes, with: &str| PathRewrite::Prefix {
            matched_bytes,
            replacement: with.as_bytes().into(),
        };
        for (rewrite, path, expected) in [
            (prefix(4, "/new"), "/old/x?q=/old", "/new/x?q=/old"),
            (prefix(4, "/new"), "/old?q", "/new?q"),
            (prefix(4, "/"), "/old/x", "//x"),
            (prefix(1, "/a/"), "/", "/a/"),
            (prefix(9, "/a"), "/x", "/a"),
            (
                PathRewrite::Whole((*b"/w").into()),
                "/any/thing?q=1",
                "/w?q=1",
            ),
            (PathRewrite::Whole((*b"/w").into()), "/any", "/w"),
        ] {
            let mut out = Vec::new();
            rewrite.write(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
        }
    }
}
