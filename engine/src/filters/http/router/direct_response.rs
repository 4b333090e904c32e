//! Answers that the route itself holds: `direct_response` and `redirect`.

use ringway_codecs::header::HeaderId;
use ringway_config::route::{
    Body, DirectResponse, MutationLevels, PathRedirect, RecipeId, Redirect,
};

use super::super::super::network::http_connection_manager::Shared;
use super::request_headers::rewrite_path;
use super::{ConnectionManager, Handled, LocalReply};
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::redirect::{SAME_PLACE, set_location};
use crate::stream_info::details;

/// Answers with the route's `direct_response`.
pub(super) fn answer(
    manager: &ConnectionManager,
    direct: &DirectResponse,
    mutations: MutationLevels,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    manager.shared.router_stats.rq_direct_response.inc();
    set_direct_location(&manager.shared, direct, exchange);
    let mut reply = LocalReply::new(direct.status, "", details::DIRECT_RESPONSE);
    reply.mutations = Some(mutations);
    let recipe = match &direct.body {
        Body::Bytes(bytes) => {
            reply.body = bytes;
            manager.reply(downstream, exchange, reply);
            return Handled::Answered;
        }
        Body::Recipe(recipe) => *recipe,
    };
    let mut body = std::mem::take(&mut exchange.scratch);
    body.clear();
    reply.content_type = make_body(&manager.shared, recipe, exchange, &mut body);
    reply.body = &body;
    manager.reply(downstream, exchange, reply);
    exchange.scratch = body;
    Handled::Answered
}

/// Appends the body that a recipe makes for the request to `out`, which is
/// empty, and says what it is, if that is said.
pub fn make_body<'a>(
    shared: &'a Shared,
    recipe: RecipeId,
    exchange: &Exchange,
    out: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let recipe = shared.routes_of(exchange).body(recipe);
    recipe.write(&exchange.format_context(), out);
    recipe.content_type().filter(|_| !out.is_empty())
}

/// Puts the `Location` of a direct response into it, if it has one.
pub fn set_direct_location(shared: &Shared, direct: &DirectResponse, exchange: &mut Exchange) {
    // Envoy's rule, whatever RFC 9110 says a 304 points to.
    if direct.status == 201 || (300..400).contains(&direct.status) {
        locate(shared, &SAME_PLACE, exchange);
    }
}

/// Answers with the route's `redirect`.
pub(super) fn redirect(
    manager: &ConnectionManager,
    target: &Redirect,
    mutations: MutationLevels,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    // As Envoy counts it: `rq_redirect` stays for internal ones.
    manager.shared.router_stats.rq_direct_response.inc();
    set_redirect(&manager.shared, target, exchange);
    let mut reply = LocalReply::new(target.status, "", details::DIRECT_RESPONSE);
    reply.mutations = Some(mutations);
    manager.reply(downstream, exchange, reply);
    Handled::Answered
}

/// Puts the `Location` of a redirect into the response. The request's path is
/// rewritten on the way if the redirect says so.
pub fn set_redirect(shared: &Shared, target: &Redirect, exchange: &mut Exchange) {
    if let PathRedirect::Rewrite(rewrite) = &target.path {
        // As in Envoy, what a CONNECT does not have is rewritten as well.
        if !exchange.request.contains(HeaderId::Path) {
            exchange.request.set(HeaderId::Path, b"");
        }
        rewrite_path(shared, rewrite, exchange);
    }
    locate(shared, target, exchange);
}

/// Puts the URL of `target` for this request into the response. As in Envoy, a
/// CONNECT, which asks for no path, is told of no other place.
fn locate(shared: &Shared, target: &Redirect, exchange: &mut Exchange) {
    if !exchange.request.contains(HeaderId::Path) {
        return;
    }
    let routes = shared.routes_of(exchange);
    let mut response = std::mem::take(&mut exchange.response);
    set_location(target, &exchange.request, &mut response, |id, out| {
        routes.format(id).write(&exchange.format_context(), out);
    });
    exchange.response = response;
}
