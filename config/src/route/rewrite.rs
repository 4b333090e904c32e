//! Rewriting a request's path and host on its way upstream.
//!
//! [`Forward::rewrite`] does all that the route says before a host is picked;
//! [`Forward::rewrite_host_to`] is for `auto_host_rewrite`, which needs one.

use super::host_rewrite::HostRewrite;
use super::path_match::PathMatcher;
use super::regex::Substitution;
use super::string_match::Case;
use super::uri_template::TemplateRewrite;
use super::{Forward, without_query};
use crate::context::Cx;
use crate::format_strings::{FormatId, FormatStrings};
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
    /// The path is replaced by what a format string says of the request.
    Format(FormatId),
}

/// What a rewrite needs besides the route.
pub struct Rewriting<'a> {
    /// Whether `x-envoy-original-host` and `x-envoy-original-path` are added.
    /// The router's `suppress_envoy_headers` turns them off.
    pub keep_originals: bool,
    /// A buffer that is used again and again.
    pub scratch: &'a mut Vec<u8>,
    /// Appends what a format string of the route configuration says of the
    /// request with these headers.
    pub format: &'a mut dyn FnMut(FormatId, &HeaderMap, &mut Vec<u8>),
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

    /// `path_rewrite`, a format string. What is not known leaves nothing
    /// behind, as in Envoy.
    pub(super) fn of_format(format: &str, formats: &mut FormatStrings, cx: &Cx<'_>) -> Self {
        PathRewrite::Format(formats.add_omitting_empty(format, cx))
    }

    /// Appends the rewritten path and the query string of the request to
    /// `out`; false when there would be no path, and then it stays as it is.
    fn write(
        &self,
        headers: &HeaderMap,
        format: &mut dyn FnMut(FormatId, &HeaderMap, &mut Vec<u8>),
        out: &mut Vec<u8>,
    ) -> bool {
        let path_and_query = headers.get(HeaderId::Path).unwrap_or_default();
        let path = without_query(path_and_query);
        let start = out.len();
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
            PathRewrite::Format(id) => {
                format(*id, headers, out);
                escape_path(out, start);
                path.len()
            }
        };
        let written = out.len() > start;
        out.extend_from_slice(&path_and_query[rest..]);
        written
    }

    /// Rewrites `:path`, and keeps the original in `x-envoy-original-path`.
    pub fn apply(&self, headers: &mut HeaderMap, with: &mut Rewriting<'_>) {
        let scratch = &mut *with.scratch;
        scratch.clear();
        let Some(original) = headers.get(HeaderId::Path) else {
            return;
        };
        scratch.extend_from_slice(original);
        let start = scratch.len();
        if !self.write(headers, with.format, scratch) {
            return;
        }
        let (original, rewritten) = scratch.split_at(start);
        if with.keep_originals {
            headers.set(HeaderId::XEnvoyOriginalPath, original);
        }
        headers.set(HeaderId::Path, rewritten);
    }
}

/// Escapes what ends a request line or a part of it. A format string may quote
/// a header of the client, and a space in it must not become the end of the
/// path and the start of another version.
pub fn escape_path(path: &mut Vec<u8>, start: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let breaks = |byte: u8| byte <= b' ' || byte == 0x7f;
    let mut at = start;
    while at < path.len() {
        let byte = path[at];
        if breaks(byte) {
            let digits = [
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ];
            path.splice(at..=at, digits);
        }
        at += 1;
    }
}

impl Forward {
    /// Rewrites the request's host and path.
    pub fn rewrite(&self, headers: &mut HeaderMap, with: &mut Rewriting<'_>) {
        if let Some(rewrite) = &self.host_rewrite {
            with.scratch.clear();
            rewrite.write(headers, with);
            self.replace_host(headers, with);
        }
        if let Some(rewrite) = &self.path_rewrite {
            rewrite.apply(headers, with);
        }
    }

    /// Whether the host's name takes the authority's place.
    pub fn rewrites_host_to_hostname(&self) -> bool {
        matches!(self.host_rewrite, Some(HostRewrite::Auto))
    }

    /// Puts the name of the host that was picked into the authority's place.
    pub fn rewrite_host_to(
        &self,
        hostname: &str,
        headers: &mut HeaderMap,
        with: &mut Rewriting<'_>,
    ) {
        with.scratch.clear();
        with.scratch.extend_from_slice(hostname.as_bytes());
        self.replace_host(headers, with);
    }

    /// Puts what is in the scratch buffer into the authority's place, if
    /// anything is.
    fn replace_host(&self, headers: &mut HeaderMap, with: &mut Rewriting<'_>) {
        let scratch = &mut *with.scratch;
        let host_end = scratch.len();
        if host_end == 0 {
            return;
        }
        let original = headers.get(HeaderId::Authority).unwrap_or_default();
        scratch.extend_from_slice(original);
        let original_end = scratch.len();
        if with.keep_originals {
            headers.set(HeaderId::XEnvoyOriginalHost, &scratch[host_end..]);
        }
        if self.append_x_forwarded_host && original_end > host_end {
            append_forwarded_host(headers, scratch, host_end);
        }
        headers.set(HeaderId::Authority, &scratch[..host_end]);
    }
}

/// Appends the host that begins at `start` in the scratch buffer to
/// `x-forwarded-host`, unless it is the last one there: a request that is
/// prepared again must not name it twice.
fn append_forwarded_host(headers: &mut HeaderMap, scratch: &mut Vec<u8>, start: usize) {
    let end = scratch.len();
    if let Some(list) = headers.get(HeaderId::XForwardedHost) {
        scratch.extend_from_slice(list);
        scratch.push(b',');
    }
    let (host, list) = (&scratch[start..end], &scratch[end..]);
    let mut members = list.rsplit(|byte| *byte == b',');
    if members.find(|member| !member.is_empty()) == Some(host) {
        return;
    }
    if list == b"," {
        scratch.truncate(end);
    }
    scratch.extend_from_within(start..end);
    headers.set(HeaderId::XForwardedHost, &scratch[end..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codecs::header::Lines;

    fn request(path: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(HeaderId::Path, path.as_bytes());
        headers
    }

    fn apply(rewrite: &PathRewrite, path: &str, formatted: &str) -> String {
        let mut headers = request(path);
        let mut scratch = Vec::new();
        rewrite.apply(
            &mut headers,
            &mut Rewriting {
                keep_originals: false,
                scratch: &mut scratch,
                format: &mut |_, _, out| out.extend_from_slice(formatted.as_bytes()),
            },
        );
        String::from_utf8(headers.get(HeaderId::Path).unwrap().to_vec()).unwrap()
    }

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
            assert_eq!(apply(&rewrite, path, ""), expected, "{path}");
        }
    }

    #[test]
    fn formatted_paths_stay_in_their_line() {
        let format = PathRewrite::Format(FormatId(0));
        for (formatted, path, expected) in [
            ("/new", "/old?q", "/new?q"),
            ("/new?x=1", "/old?q", "/new?x=1?q"),
            ("", "/old?q", "/old?q"),
            ("/a HTTP/1.1\r\nx: y", "/old", "/a%20HTTP/1.1%0D%0Ax:%20y"),
            ("/\t\u{7f}\u{e9}%41", "/old?a b", "/%09%7F\u{e9}%41?a b"),
        ] {
            assert_eq!(apply(&format, path, formatted), expected, "{formatted:?}");
        }
    }

    /// What the upstream of Envoy 1.40 saw of `a.com`, with these lines before.
    #[test]
    fn a_host_is_not_appended_twice_in_a_row() {
        for (list, expected) in [
            ("", "a.com"),
            ("b", "b,a.com"),
            ("a.com", "a.com"),
            ("b,a.com", "b,a.com"),
            ("b,\ta.com", "b,\ta.com,a.com"),
            ("a.com,b", "a.com,b,a.com"),
            (",", ",,a.com"),
            ("a.com,", "a.com,"),
            ("b c", "b,c,a.com"),
            ("b a.com", "b,a.com"),
        ] {
            let mut headers = HeaderMap::of(Lines::Request);
            for line in list.split(' ').filter(|line| !line.is_empty()) {
                headers.append(HeaderId::XForwardedHost, line.as_bytes());
            }
            let mut scratch = b"newa.com".to_vec();
            append_forwarded_host(&mut headers, &mut scratch, 3);
            let got: Vec<_> = headers.get_all(HeaderId::XForwardedHost).collect();
            let got = String::from_utf8(got.join(&b' ')).unwrap();
            assert_eq!(got, expected, "{list:?}");
        }
    }
}
