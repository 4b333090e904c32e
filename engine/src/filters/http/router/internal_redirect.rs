//! Redirects of the host that the proxy follows itself
//! (`internal_redirect_policy`): the request becomes the one that the host
//! points to and runs through the filters again, as Envoy does it.

use std::sync::Arc;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::route::{InternalRedirectPolicy, RedirectPredicate, RouteMatch, SelectedRoute};

use super::ConnectionManager;
use crate::http::exchange::{Exchange, Redirects};
use crate::http::url::{Scheme, Url};
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
    let Some(target) = Url::parse(location) else {
        stats.passthrough_internal_redirect_bad_location.inc();
        return false;
    };
    // Plain text is all that there is below a listener. As in Envoy, no scheme
    // changes what is spoken to the host.
    if target.scheme != Scheme::Http && !policy.allow_cross_scheme {
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
    for name in &policy.headers_to_copy {
        request.remove_name(name);
        for value in exchange.response.get_all_name(name) {
            request.append_name(name, value);
        }
    }
    target.put_into(&mut request);
    // Nothing serves what is no path.
    let found = match target.path.first() {
        Some(b'?') => RouteMatch::NoVirtualHost,
        _ => manager.find_route(&request, exchange),
    };
    let accepted = name_of(&found).map(|next| {
        let mut redirects = exchange.redirects.take().unwrap_or_default();
        let names = (&selected.route.name, &next);
        let accepted = policy
            .predicates
            .iter()
            .all(|predicate| accepts(predicate, names, &target, &mut redirects));
        redirects.count += u32::from(accepted);
        exchange.redirects = Some(redirects);
        accepted
    });
    // As in Envoy, whoever asks for the route from here on is told of the next
    // one, also if the redirect is not followed in the end.
    manager.note_next_route(&found, &request, exchange);
    match accepted {
        None => stats.passthrough_internal_redirect_no_route.inc(),
        Some(false) => stats.passthrough_internal_redirect_predicate.inc(),
        Some(true) => {}
    }
    if accepted != Some(true) {
        return false;
    }
    let original = original_url(&exchange.request);
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

/// The name of the route that was found. A virtual host that wants TLS has one
/// without a name, which tells the client so.
fn name_of(found: &RouteMatch<'_>) -> Option<Arc<str>> {
    match found {
        RouteMatch::Route(next) => Some(Arc::clone(&next.route.name)),
        RouteMatch::TlsRequired(_) => Some("".into()),
        RouteMatch::NoVirtualHost | RouteMatch::NoRoute(_) => None,
    }
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
    (from, to): (&Arc<str>, &Arc<str>),
    target: &Url<'_>,
    redirects: &mut Redirects,
) -> bool {
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
