//! Redirects of the host that the proxy follows itself
//! (`internal_redirect_policy`): the request becomes the one that the host
//! points to and runs through the filters again, as Envoy does it.

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{
    InternalRedirectPolicy, RedirectPredicate, RouteMatch, SelectedRoute, without_query,
};

use super::ConnectionManager;
use crate::http::exchange::{Exchange, Redirects};
use crate::stream_info::details;

/// Whether a response of this status is followed at all.
pub(super) fn applies(policy: &InternalRedirectPolicy, status: u16) -> bool {
    policy.codes.contains(&status)
}

/// Turns the request into the one that the response in `exchange.response`
/// points to, or leaves both as they are and says so.
pub(super) fn set_up(
    policy: &InternalRedirectPolicy,
    manager: &ConnectionManager,
    selected: &SelectedRoute<'_>,
    status: u16,
    exchange: &mut Exchange,
) -> bool {
    let stats = &manager.shared.router_stats;
    let Some(location) = exchange.response.get(HeaderId::Location) else {
        return false;
    };
    let Some(target) = Target::parse(location) else {
        stats.passthrough_internal_redirect_bad_location.inc();
        return false;
    };
    // Plain text is all that there is below a listener.
    let allowed = match target.scheme {
        Scheme::Http => true,
        Scheme::Https => policy.allow_cross_scheme,
        Scheme::Other => false,
    };
    if !allowed {
        stats.passthrough_internal_redirect_unsafe_scheme.inc();
        return false;
    }
    let followed = exchange
        .redirects
        .as_ref()
        .map_or(0, |redirects| redirects.count);
    if followed >= policy.redirects_max {
        stats.passthrough_internal_redirect_too_many_redirects.inc();
        return false;
    }
    let mut request = exchange.request.clone();
    target.put_into(policy, &exchange.response, &mut request);
    let found = manager.find_route(&request, exchange);
    let RouteMatch::Route(next) = found else {
        stats.passthrough_internal_redirect_no_route.inc();
        return false;
    };
    let mut redirects = exchange.redirects.take().unwrap_or_default();
    let accepted = policy
        .predicates
        .iter()
        .all(|predicate| accepts(predicate, selected, &next, &target, &mut redirects));
    redirects.count += u32::from(accepted);
    let original = original_url(&exchange.request);
    exchange.redirects = Some(redirects);
    if !accepted {
        stats.passthrough_internal_redirect_predicate.inc();
        return false;
    }
    let method = request.get(HeaderId::Method);
    if status == 303 && !matches!(method, Some(b"GET" | b"HEAD")) {
        request.set(HeaderId::Method, b"GET");
        request.remove(HeaderId::ContentLength);
        exchange.forget_body();
        exchange.request_trailers.clear();
    }
    request.set(HeaderId::XEnvoyOriginalUrl, &original);
    exchange.request = request;
    exchange.info.response_code = status;
    exchange.info.details.set(details::INTERNAL_REDIRECT);
    true
}

/// Where the client wanted to go.
fn original_url(request: &HeaderMap) -> Vec<u8> {
    let part = |id| request.get(id).unwrap_or_default();
    let mut url = b"http://".to_vec();
    url.extend_from_slice(part(HeaderId::Authority));
    url.extend_from_slice(part(HeaderId::Path));
    url
}

fn accepts(
    predicate: &RedirectPredicate,
    from: &SelectedRoute<'_>,
    to: &SelectedRoute<'_>,
    target: &Target<'_>,
    redirects: &mut Redirects,
) -> bool {
    let (from, to) = (&from.route.name, &to.route.name);
    match predicate {
        RedirectPredicate::PreviousRoutes => {
            let step = (from.clone(), to.clone());
            let new = !redirects.steps.contains(&step);
            if new {
                redirects.steps.push(step);
            }
            new
        }
        RedirectPredicate::AllowListedRoutes(names) => names.contains(to),
        RedirectPredicate::SafeCrossScheme => target.scheme == Scheme::Http,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// One that no upstream speaks.
    Other,
}

/// An absolute URL.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    scheme: Scheme,
    authority: &'a [u8],
    /// From the slash, without the fragment; empty for none.
    path: &'a [u8],
}

impl<'a> Target<'a> {
    fn parse(url: &'a [u8]) -> Option<Self> {
        let colon = memchr::memchr(b':', url)?;
        let (name, rest) = url.split_at(colon);
        let rest = rest.strip_prefix(b"://")?;
        let scheme = match name {
            _ if name.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ if name.eq_ignore_ascii_case(b"https") => Scheme::Https,
            _ if !name.is_empty() && name.iter().all(u8::is_ascii_alphabetic) => Scheme::Other,
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
        if authority.is_empty() || authority.contains(&b'@') || hostile(authority) || hostile(path)
        {
            return None;
        }
        Some(Self {
            scheme,
            authority,
            path,
        })
    }

    fn put_into(
        &self,
        policy: &InternalRedirectPolicy,
        response: &HeaderMap,
        request: &mut HeaderMap,
    ) {
        for name in &policy.headers_to_copy {
            request.remove_name(name);
            for value in response.get_all_name(name) {
                request.append_name(name, value);
            }
        }
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http | Scheme::Other => "http",
        };
        request.set(HeaderId::Scheme, scheme.as_bytes());
        request.set(HeaderId::Authority, self.authority);
        request.set_with(HeaderId::Path, |out| {
            if without_query(self.path).is_empty() {
                out.push(b'/');
            }
            out.extend_from_slice(self.path);
        });
    }
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
            ("http://a#x", Some((Scheme::Http, "a", ""))),
            ("http://", None),
            ("http:///x", None),
            ("http://u@a/", None),
            ("/relative", None),
            ("//a/b", None),
            ("ftp://a/", Some((Scheme::Other, "a", "/"))),
            ("f+p://a/", None),
            ("", None),
            ("http://a b/", None),
            ("http://a/b c", None),
            ("http://a/\u{e4}", None),
        ] {
            let target = Target::parse(url.as_bytes());
            let expected = found.map(|(scheme, authority, path)| Target {
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
            if let Some(target) = Target::parse(&url[..end]) {
                assert!(!target.authority.contains(&b'@'));
            }
        }
    }
}
