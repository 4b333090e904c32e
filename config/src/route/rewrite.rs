//! Rewriting a request's path and host on its way upstream.

use super::path_match::PathMatcher;
use super::regex::Substitution;
use super::string_match::Case;
use super::uri_template::TemplateRewrite;
use super::{Forward, Route, without_query};
use ringway_codecs::header::{HeaderId, HeaderMap};

/// How a path is rewritten; the query string always stays.
#[derive(Debug)]
pub enum PathRewrite {
    /// The text that the route matches is replaced where the path begins with
    /// it. It need not: a route may match beside the parameters of segments.
    Prefix {
        /// What the route matches.
        matched: Box<[u8]>,
        /// How the two are compared.
        case: Case,
        /// What takes its place.
        replacement: Box<[u8]>,
    },
    /// The path is replaced.
    Whole(Box<[u8]>),
    /// Every match of a pattern is replaced.
    Regex(Substitution),
    /// The path is made of the variables of the template that the route matches.
    Template(TemplateRewrite),
}

impl PathRewrite {
    /// `prefix_rewrite` of a route that matches with `matcher`.
    pub(super) fn of_prefix(matcher: Option<&PathMatcher>, replacement: &str) -> Self {
        let replacement = replacement.as_bytes().into();
        match matcher.and_then(PathMatcher::literal) {
            Some((matched, case)) => PathRewrite::Prefix {
                matched: matched.into(),
                case,
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
                matched,
                case,
                replacement,
            } if case.starts_with(path, matched) => {
                out.extend_from_slice(replacement);
                matched.len()
            }
            PathRewrite::Prefix { .. } => 0,
            PathRewrite::Whole(replacement) => {
                out.extend_from_slice(replacement);
                path.len()
            }
            PathRewrite::Regex(substitution) => {
                substitution.write(path, out);
                path.len()
            }
            PathRewrite::Template(template) => {
                template.write(path, out);
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
        let prefix = |matched: &str, with: &str| PathRewrite::Prefix {
            matched: matched.as_bytes().into(),
            case: Case::Insensitive,
            replacement: with.as_bytes().into(),
        };
        for (rewrite, path, expected) in [
            (prefix("/OLD", "/new"), "/old/x?q=/old", "/new/x?q=/old"),
            (prefix("/OLD", "/new"), "/old?q", "/new?q"),
            (prefix("/old", "/"), "/old/x", "//x"),
            (prefix("/", "/a/"), "/", "/a/"),
            (prefix("/old/x", "/a"), "/old;v/x?q", "/old;v/x?q"),
            (prefix("/x", "/a"), "/x;v?q", "/a;v?q"),
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
