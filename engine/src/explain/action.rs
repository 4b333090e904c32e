//! What the request is answered with, unless its route sends it on.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{Action, Body, DirectResponse, RouteMatch};

use super::context::Context;
use super::fact::Fact;
use super::forward;
use crate::filters::http::router;
use crate::http::exchange::Exchange;
use crate::http::redirect::set_tls_location;

/// What becomes of a request that no filter answers. `cluster` is the one that
/// was chosen.
pub(super) fn explain(
    found: &RouteMatch<'_>,
    cluster: Option<Fact>,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let selected = match found {
        RouteMatch::NoVirtualHost | RouteMatch::NoRoute(_) => return vec![not_found()],
        RouteMatch::TlsRequired(host) => {
            let status = set_tls_location(&exchange.request, &mut exchange.response);
            let field = format!("{}.require_tls", host.source.path);
            return vec![redirect(status, exchange).place(cx.place(&field))];
        }
        RouteMatch::Route(selected) => selected,
    };
    let place = |field: &str| cx.place(&format!("{}.{field}", selected.route.source.path));
    match &selected.route.action {
        Action::Forward(to) => {
            let mut facts = Vec::from_iter(cluster);
            facts.extend(forward::explain(selected, to, exchange, cx));
            facts
        }
        Action::DirectResponse(direct) => {
            vec![direct_response(direct).place(place("direct_response"))]
        }
        Action::Redirect(target) => {
            router::set_redirect(cx.manager, target, exchange);
            vec![redirect(target.status, exchange).place(place("redirect"))]
        }
        Action::NonForwarding => vec![
            answer(503)
                .note("flag NC, unless a filter answers")
                .place(place("non_forwarding_action")),
        ],
    }
}

/// An answer that the proxy gives itself.
pub(super) fn answer(status: u16) -> Fact {
    Fact::new("answer").value(status)
}

fn not_found() -> Fact {
    answer(404).note("flag NR, details route_not_found")
}

fn direct_response(direct: &DirectResponse) -> Fact {
    let body = match &direct.body {
        Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Body::Recipe(_) => "a body that is made for the request".to_owned(),
    };
    answer(direct.status).note(format!("direct response, {body}"))
}

/// A redirect to the place that the response names.
fn redirect(status: u16, exchange: &Exchange) -> Fact {
    let location = exchange.response.get(HeaderId::Location);
    let location = String::from_utf8_lossy(location.unwrap_or_default());
    let without_host = location.split_once("://").filter(|(_, rest)| {
        // Only a request that was asked about without a host leads here.
        rest.starts_with(['/', ':'])
    });
    answer(status).note(match without_host {
        Some((scheme, rest)) => {
            format!("redirect to {scheme}://HOST{rest}, where HOST is the request's")
        }
        None => format!("redirect to {location}"),
    })
}
