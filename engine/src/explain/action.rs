//! What the request is answered with, unless its route sends it on.

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::Http1Error;
use ringway_config::route::{Action, Body, DirectResponse, RouteMatch};

use super::context::Context;
use super::fact::Fact;
use super::forward;
use crate::filters::http::router;
use crate::filters::network::http_connection_manager::local_reply::speaks_grpc;
use crate::formatter::grpc;
use crate::http::conn_manager_utility::{Reject, RejectKind};
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
        RouteMatch::NoVirtualHost | RouteMatch::NoRoute(_) => return vec![not_found(exchange)],
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
            router::set_direct_location(cx.manager, direct, exchange);
            vec![direct_response(direct, exchange).place(place("direct_response"))]
        }
        Action::Redirect(target) => {
            router::set_redirect(cx.manager, target, exchange);
            vec![redirect(target.status, exchange).place(place("redirect"))]
        }
        Action::NonForwarding => vec![
            answer(503, exchange)
                .note("flag NC, unless a filter answers")
                .place(place("non_forwarding_action")),
        ],
    }
}

/// An answer that the proxy gives itself, in the words of the client.
pub(super) fn answer(status: u16, exchange: &Exchange) -> Fact {
    let fact = Fact::new("answer");
    match speaks_grpc(exchange) {
        false => fact.value(status),
        true => fact.value(200).parts(vec![
            Fact::new("grpc status")
                .value(grpc::from_http(status))
                .note(format!("stands for {status}")),
        ]),
    }
}

/// The answer to what is no request.
pub(super) fn invalid(error: Http1Error, exchange: &Exchange) -> Fact {
    let flag = match error.is_protocol_error() {
        true => "flag DPE, ",
        false => "",
    };
    answer(error.status(), exchange).note(format!(
        "refused before routing: {error}; {flag}details {}; the connection is closed",
        error.details()
    ))
}

/// The answer to a request that is not routed.
pub(super) fn rejected(reject: Reject, exchange: &Exchange) -> Fact {
    let Reject {
        status, details, ..
    } = reject;
    let fact = answer(status, exchange);
    match reject.kind {
        RejectKind::ProtocolError => fact.note(format!(
            "refused before routing: flag DPE, details {details}; the connection is closed"
        )),
        RejectKind::Close => fact.note(format!(
            "refused before routing: details {details}; the connection is closed"
        )),
        RejectKind::Reply => fact.note(format!("refused before routing: details {details}")),
        RejectKind::RedirectToPath => {
            let path = exchange.request.get(HeaderId::Path).unwrap_or_default();
            fact.note(format!("redirect to {}", String::from_utf8_lossy(path)))
        }
    }
}

fn not_found(exchange: &Exchange) -> Fact {
    answer(404, exchange).note("flag NR, details route_not_found")
}

fn direct_response(direct: &DirectResponse, exchange: &Exchange) -> Fact {
    let body = match &direct.body {
        Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Body::Recipe(_) => "a body that is made for the request".to_owned(),
    };
    let location = exchange.response.get(HeaderId::Location);
    let location = location.map(|value| format!(", location {}", String::from_utf8_lossy(value)));
    let location = location.unwrap_or_default();
    answer(direct.status, exchange).note(format!("direct response, {body}{location}"))
}

/// A redirect to the place that the response names.
fn redirect(status: u16, exchange: &Exchange) -> Fact {
    let location = exchange.response.get(HeaderId::Location);
    let location = String::from_utf8_lossy(location.unwrap_or_default());
    answer(status, exchange).note(format!("redirect to {location}"))
}
