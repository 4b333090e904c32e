//! The path part of `envoy.config.route.v3.RouteMatch`.

use super::regex::CompiledRegex;
use super::string_match::Case;
use crate::context::Cx;
use envoy_types::pb::envoy::config::route::v3 as proto;

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
    /// There is no path: the request is a CONNECT.
    Connect,
}

impl PathMatcher {
    /// Whether `path`, without its query string, passes.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathMatcher::Prefix(prefix, case) => case.starts_with(path, prefix),
            PathMatcher::Exact(exact, case) => case.equal(path, exact),
            PathMatcher::SeparatedPrefix(prefix, case) => {
                case.starts_with(path, prefix)
                    && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
            PathMatcher::Regex(regex) => regex.is_full_match(path),
            PathMatcher::Connect => false,
        }
    }

    /// How many leading bytes of a matching path a `prefix_rewrite` replaces;
    /// `None` for the whole path.
    pub(super) fn rewritten_prefix(&self) -> Option<usize> {
        match self {
            PathMatcher::Prefix(prefix, _) | PathMatcher::SeparatedPrefix(prefix, _) => {
                Some(prefix.len())
            }
            PathMatcher::Exact(..) | PathMatcher::Regex(_) | PathMatcher::Connect => None,
        }
    }

    /// Compiles the message, or reports why not.
    pub(super) fn lower(message: &proto::RouteMatch, cx: &mut Cx<'_>) -> Option<Self> {
        use proto::route_match::PathSpecifier;
        let case = match &message.case_sensitive {
            Some(sensitive) if !sensitive.value => Case::Insensitive,
            _ => Case::Sensitive,
        };
        let bytes = |text: &str| text.as_bytes().into();
        match &message.path_specifier {
            Some(PathSpecifier::Prefix(prefix)) => Some(Self::Prefix(bytes(prefix), case)),
            Some(PathSpecifier::Path(path)) => Some(Self::Exact(bytes(path), case)),
            Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
                if prefix.ends_with('/') || prefix.contains(['?', '#']) || prefix.is_empty() {
                    cx.error_at(
                        "path_separated_prefix",
                        "must not be empty, end with a slash, or contain '?' or '#'",
                    );
                    return None;
                }
                Some(Self::SeparatedPrefix(bytes(prefix), case))
            }
            Some(PathSpecifier::SafeRegex(regex)) => cx
                .field("safe_regex", |cx| CompiledRegex::lower(regex, cx))
                .map(Self::Regex),
            Some(PathSpecifier::ConnectMatcher(_)) => Some(Self::Connect),
            Some(PathSpecifier::PathMatchPolicy(_)) => {
                cx.error_at("path_match_policy", "not supported yet");
                None
            }
            None => {
                cx.error("one of prefix, path, path_separated_prefix or safe_regex is needed");
                None
            }
        }
    }
}
