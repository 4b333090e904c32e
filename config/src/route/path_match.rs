//! The path part of `envoy.config.route.v3.RouteMatch`.

use super::regex::CompiledRegex;
use super::request_path::RequestPath;
use super::string_match::Case;
use super::uri_template::PathTemplate;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// A test of the path without its query string.
#[derive(Debug)]
pub enum PathMatcher {
    /// The path begins with this: `/a` also takes `/ab`.
    Prefix(Box<[u8]>, Case),
    /// The path is this.
    Exact(Box<[u8]>, Case),
    /// The path is this or continues it with a slash: `/a` takes `/a/b` but
    /// not `/ab`.
    SeparatedPrefix(Box<[u8]>, Case),
    /// The whole path matches.
    Regex(CompiledRegex),
    /// The whole path, with its parameters, fits.
    Template(PathTemplate),
    /// The request is a CONNECT or an upgrade to `connect-udp`, with or
    /// without a path.
    Connect,
}

impl PathMatcher {
    /// Whether the request passes. One without a path, a plain CONNECT, passes
    /// `connect_matcher` only.
    pub(super) fn matches(&self, request: &RequestPath<'_>, headers: &HeaderMap) -> bool {
        let Some(path) = request.path else {
            return matches!(self, PathMatcher::Connect) && is_connect(headers);
        };
        match self {
            PathMatcher::Prefix(prefix, case) => case.starts_with(path, prefix),
            PathMatcher::Exact(exact, case) => case.equal(path, exact),
            PathMatcher::SeparatedPrefix(prefix, case) => {
                case.starts_with(path, prefix)
                    && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
            PathMatcher::Regex(regex) => regex.is_full_match(path),
            PathMatcher::Template(template) => template.matches(request.with_parameters),
            PathMatcher::Connect => is_connect(headers),
        }
    }

    /// The text that it matches and that a `prefix_rewrite` replaces; `None`
    /// when that is the whole path, whatever it is.
    pub(super) fn literal(&self) -> Option<(&[u8], Case)> {
        match self {
            PathMatcher::Prefix(text, case)
            | PathMatcher::SeparatedPrefix(text, case)
            | PathMatcher::Exact(text, case) => Some((text, *case)),
            PathMatcher::Regex(_) | PathMatcher::Template(_) | PathMatcher::Connect => None,
        }
    }

    /// The template, if it is one.
    pub(super) fn template(&self) -> Option<&PathTemplate> {
        match self {
            PathMatcher::Template(template) => Some(template),
            _ => None,
        }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(
        message: &proto::RouteMatch,
        ignore_parameters: bool,
        cx: &mut Cx<'_>,
    ) -> Option<Self> {
        use proto::route_match::PathSpecifier;
        let case = match &message.case_sensitive {
            Some(sensitive) if !sensitive.value => Case::Insensitive,
            _ => Case::Sensitive,
        };
        let literal = |text: &str, field: &str, cx: &mut Cx<'_>| -> Option<Box<[u8]>> {
            check_possible(text, field, ignore_parameters, cx)?;
            Some(text.as_bytes().into())
        };
        match &message.path_specifier {
            Some(PathSpecifier::Prefix(prefix)) => {
                literal(prefix, "prefix", cx).map(|prefix| Self::Prefix(prefix, case))
            }
            Some(PathSpecifier::Path(path)) => {
                literal(path, "path", cx).map(|path| Self::Exact(path, case))
            }
            Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
                if prefix.ends_with('/') || prefix.contains(['?', '#']) || prefix.is_empty() {
                    cx.error_at(
                        "path_separated_prefix",
                        "must not be empty, end with a slash, or contain '?' or '#'",
                    );
                    return None;
                }
                literal(prefix, "path_separated_prefix", cx)
                    .map(|prefix| Self::SeparatedPrefix(prefix, case))
            }
            Some(PathSpecifier::SafeRegex(regex)) => cx
                .field("safe_regex", |cx| CompiledRegex::lower(regex, cx))
                .map(Self::Regex),
            Some(PathSpecifier::ConnectMatcher(_)) => Some(Self::Connect),
            Some(PathSpecifier::PathMatchPolicy(policy)) => cx
                .field("path_match_policy", |cx| PathTemplate::lower(policy, cx))
                .map(Self::Template),
            None => {
                cx.error(
                    "one of prefix, path, path_separated_prefix, safe_regex, connect_matcher or \
                     path_match_policy is needed",
                );
                None
            }
        }
    }
}

/// Reports a literal that no path can have, which Envoy accepts: the route
/// would never be taken.
fn check_possible(text: &str, field: &str, ignore_parameters: bool, cx: &mut Cx<'_>) -> Option<()> {
    let reason = if text.contains(['?', '#']) {
        "no request matches this: paths are compared without '?', '#' and what follows"
    } else if ignore_parameters && text.contains(';') {
        "no request matches this: paths are compared without parameters \
         (ignore_path_parameters_in_path_matching)"
    } else {
        return Some(());
    };
    cx.error_at(field, reason);
    None
}

/// Whether the request asks for a tunnel.
fn is_connect(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(HeaderId::Upgrade);
    headers.get(HeaderId::Method) == Some(b"CONNECT")
        || upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"connect-udp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_matched_by_method_or_upgrade() {
        for (method, path, upgrade, expected) in [
            ("CONNECT", None, None, true),
            ("CONNECT", Some("/a"), None, true),
            ("GET", Some("/a"), None, false),
            ("GET", None, None, false),
            ("GET", Some("/a"), Some("Connect-UDP"), true),
            ("GET", Some("/a"), Some("websocket"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(HeaderId::Method, method.as_bytes());
            if let Some(path) = path {
                headers.append(HeaderId::Path, path.as_bytes());
            }
            if let Some(protocol) = upgrade {
                headers.append(HeaderId::Upgrade, protocol.as_bytes());
            }
            let request = RequestPath::of(&headers);
            let found = PathMatcher::Connect.matches(&request, &headers);
            assert_eq!(found, expected, "{method} {path:?} {upgrade:?}");
            let any = PathMatcher::Prefix(Box::default(), Case::Sensitive);
            assert_eq!(any.matches(&request, &headers), path.is_some(), "{path:?}");
        }
    }
}
