//! What the request is answered with, unless its route sends it on.

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::Http1Error;
use ringway_config::route::{Action, Body, DirectResponse, RouteMatch};

use super::context::Context;
use super::fact::{Fact, Place};
use super::{forward, local_reply};
use crate::filters::http::router;
use crate::filters::network::http_connection_manager::local_reply::{LocalReply, speaks_grpc};
use crate::filters::network::http_connection_manager::request::{reply_to_error, reply_to_reject};
use crate::formatter::grpc;
use crate::http::conn_manager_utility::{Reject, RejectKind};
use crate::http::exchange::Exchange;
use crate::http::redirect::set_tls_location;
use crate::stream_info::{ResponseFlag, details};

/// What becomes of a request that no filter answers. `cluster` is the one that
/// was chosen.
pub(super) fn explain(
    found: &RouteMatch<'_>,
    cluster: Option<Fact>,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let selected = match found {
        RouteMatch::NoVirtualHost | RouteMatch::NoRoute(_) => {
            let reply = LocalReply::new(404, "", details::ROUTE_NOT_FOUND);
            let reply = reply.flag(ResponseFlag::NoRouteFound);
            let note = "flag NR, details route_not_found";
            return answered(&reply, |fact| fact.note(note), exchange, cx);
        }
        RouteMatch::TlsRequired(host) => {
            let status = set_tls_location(&exchange.request, &mut exchange.response);
            let place = cx.place(&format!("{}.require_tls", host.source.path));
            return redirect(status, place, exchange, cx);
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
            direct_response(direct, place("direct_response"), exchange, cx)
        }
        Action::Redirect(target) => {
            router::set_redirect(cx.manager, target, exchange);
            redirect(target.status, place("redirect"), exchange, cx)
        }
        Action::NonForwarding => {
            let reply = LocalReply::new(503, "", details::CLUSTER_NOT_FOUND);
            let reply = reply.flag(ResponseFlag::NoClusterFound);
            let place = place("non_forwarding_action");
            let tell = |fact: Fact| fact.note("flag NC, unless a filter answers").place(place);
            answered(&reply, tell, exchange, cx)
        }
    }
}

/// An answer that the proxy gives itself, of which `tell` says why, and what
/// the configuration makes of it.
pub(super) fn answered(
    reply: &LocalReply<'_>,
    tell: impl FnOnce(Fact) -> Fact,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let mut facts = vec![tell(answer(reply.status, exchange))];
    facts.extend(local_reply::explain(reply, exchange, cx));
    facts
}

/// An answer that the proxy gives itself, in the words of the client.
fn answer(status: u16, exchange: &Exchange) -> Fact {
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
pub(super) fn invalid(error: Http1Error, exchange: &mut Exchange, cx: &Context<'_>) -> Vec<Fact> {
    let (flag, end) = match error.is_protocol_error() {
        true => ("flag DPE, ", CLOSED),
        false => ("", after_bad_request(cx)),
    };
    let note = format!(
        "refused before routing: {error}; {flag}details {}{end}",
        error.details()
    );
    answered(&reply_to_error(error), |fact| fact.note(note), exchange, cx)
}

/// What becomes of the connection of a request that is understood and a bad one.
fn after_bad_request(cx: &Context<'_>) -> &'static str {
    match cx.manager.config.stays_after_bad_request {
        true => "",
        false => CLOSED,
    }
}

const CLOSED: &str = "; the connection is closed";

/// The answer to a request that is not routed.
pub(super) fn rejected(reject: Reject, exchange: &mut Exchange, cx: &Context<'_>) -> Vec<Fact> {
    let Reject {
        status,
        details,
        kind,
    } = reject;
    let reply = reply_to_reject(status, details, kind);
    let note = match kind {
        RejectKind::ProtocolError => {
            format!("refused before routing: flag DPE, details {details}{CLOSED}")
        }
        RejectKind::Close => format!(
            "refused before routing: details {details}{}",
            after_bad_request(cx)
        ),
        RejectKind::Reply => format!("refused before routing: details {details}"),
        RejectKind::RedirectToPath => {
            let path = exchange.request.get(HeaderId::Path).unwrap_or_default();
            format!("redirect to {}", String::from_utf8_lossy(path))
        }
    };
    answered(&reply, |fact| fact.note(note), exchange, cx)
}

fn direct_response(
    direct: &DirectResponse,
    place: Place,
    exchange: &mut Exchange,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let mut made = Vec::new();
    let mut content_type = None;
    let (bytes, body) = match &direct.body {
        Body::Bytes(bytes) => (&**bytes, format!("{} bytes", bytes.len())),
        Body::Recipe(recipe) => {
            content_type = router::make_body(cx.manager, *recipe, exchange, &mut made);
            (&*made, "a body that is made for the request".to_owned())
        }
    };
    let location = exchange.response.get(HeaderId::Location);
    let location = location.map(|value| format!(", location {}", String::from_utf8_lossy(value)));
    let note = format!("direct response, {body}{}", location.unwrap_or_default());
    let mut reply = LocalReply::new(direct.status, "", details::DIRECT_RESPONSE);
    reply.body = bytes;
    reply.content_type = content_type;
    answered(&reply, |fact| fact.note(note).place(place), exchange, cx)
}

/// A redirect to the place that the response names.
fn redirect(status: u16, place: Place, exchange: &mut Exchange, cx: &Context<'_>) -> Vec<Fact> {
    let location = exchange.response.get(HeaderId::Location);
    let location = String::from_utf8_lossy(location.unwrap_or_default());
    let note = format!("redirect to {location}");
    let reply = LocalReply::new(status, "", details::DIRECT_RESPONSE);
    answered(&reply, |fact| fact.note(note).place(place), exchange, cx)
}
