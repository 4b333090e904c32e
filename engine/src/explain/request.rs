//! The way of a request through a connection manager, step by step as a real
//! one goes it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Framing, Version};
use ringway_config::route::RouteMatch;

use super::context::Context;
use super::fact::Fact;
use super::question::Question;
use super::{action, filters, forward, route, upgrade};
use crate::filters::http::FilterChain;
use crate::filters::network::http_connection_manager::request::{join_lists, set_length};
use crate::http::conn_manager_utility::{self, Peer, Prepared, Reject};
use crate::http::connection_header::is_upgrade;
use crate::http::exchange::{Exchange, ExchangePool};
use crate::network::address::NO_ADDRESS;
use crate::stream_info::{ConnectionInfo, SharedRouteMetadata};

/// What becomes of the request that `question` asks about, on a connection to
/// the address `local`.
pub(super) fn explain(
    question: &Question,
    local: Option<SocketAddr>,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let mut exchange = exchange(question, local, cx.sources.now);
    let prepared = match prepare(&mut exchange, question, local, cx) {
        Ok(prepared) => prepared,
        Err(reject) => {
            return vec![
                Fact::new("answer")
                    .value(reject.status)
                    .note(format!("refused before routing: {}", reject.details)),
            ];
        }
    };
    let mut facts = vec![
        Fact::new("client")
            .value(exchange.info.remote().ip().to_string())
            .note(match prepared.internal {
                true => "internal: x-envoy-* headers of the request are obeyed",
                false => "external: x-envoy-* headers of the request are removed",
            }),
        headers("request as it is routed", &exchange.request),
    ];
    let found = route::explain(&mut exchange, cx, &mut facts);
    let selected = match found {
        RouteMatch::Route(selected) => Some(selected),
        _ => None,
    };
    exchange.info.note_found(&found);
    if let Some(metadata) = found.metadata() {
        let shared = SharedRouteMetadata(metadata.clone());
        exchange.info.route_metadata = Some(Rc::new(shared));
    }
    // As in the connection manager, before any filter: what is said to filters
    // may depend on it.
    let cluster = selected.and_then(|selected| forward::choose(&selected, &mut exchange, cx));
    if prepared.upgrade || exchange.facts.is_connect {
        let (is_refused, fact) = upgrade::explain(&found, &mut exchange, cx);
        facts.push(fact);
        if is_refused {
            facts.push(
                Fact::new("answer")
                    .value(403)
                    .note("details upgrade_failed; the connection is closed"),
            );
            return facts;
        }
    }
    FilterChain::set_overrides(&mut exchange, selected);
    facts.push(filters::explain(&exchange, selected.as_ref(), cx));
    facts.extend(action::explain(&found, cluster, &mut exchange, cx));
    facts.extend(local_replies(cx));
    facts
}

/// What else decides about an answer of the proxy's own: its mappers look at the
/// response, which does not exist here.
fn local_replies(cx: &Context<'_>) -> Option<Fact> {
    cx.manager.config.local_replies.as_ref()?;
    Some(
        Fact::new("local reply config")
            .note("it may change status, headers and body of what the proxy answers itself")
            .place(cx.of_manager("local_reply_config")),
    )
}

/// Does what is done to every request before it is routed.
fn prepare(
    exchange: &mut Exchange,
    question: &Question,
    local: Option<SocketAddr>,
    cx: &Context<'_>,
) -> Result<Prepared, Reject> {
    let request = &mut exchange.request;
    let framing = match request.contains(HeaderId::TransferEncoding) {
        true => Framing::Chunked,
        false => Framing::None,
    };
    let asks_for_upgrade = is_upgrade(request);
    join_lists(request, Version::Http11, asks_for_upgrade);
    let config = &cx.manager.config;
    let peer = Peer {
        remote: Some(question.remote),
        local,
        tls: false,
    };
    let edge = config.edge(cx.sources.node, cx.sources.local_address);
    let internal_only_headers = config.routes.internal_only_headers(request);
    let prepared = conn_manager_utility::prepare_request(
        request,
        &edge,
        &peer,
        internal_only_headers,
        &mut fastrand::Rng::with_seed(0),
    )?;
    if !prepared.upgrade {
        set_length(request, framing);
    }
    if prepared.remote != peer.remote {
        exchange.info.remote_address = prepared.remote;
    }
    exchange.internal = prepared.internal;
    exchange.random = question.random;
    Ok(prepared)
}

/// An exchange that no connection has.
fn exchange(
    question: &Question,
    local: Option<SocketAddr>,
    now: (Instant, SystemTime),
) -> Box<Exchange> {
    let connection = ConnectionInfo::new(0, question.remote, local.unwrap_or(NO_ADDRESS));
    let mut exchange = ExchangePool::default().take(connection.into(), now.0, now.1);
    exchange.request = question.request();
    exchange.facts = question.facts();
    exchange.info.protocol = Some(exchange.protocol());
    exchange.request_complete = true;
    exchange
}

/// Headers, those left out whose value is new for every request.
pub(super) fn headers(name: &str, headers: &HeaderMap) -> Fact {
    let lines = headers
        .iter()
        .map(|(name, value)| {
            let value = match name.as_bytes() {
                b"x-request-id" => "(random)".into(),
                _ => String::from_utf8_lossy(value).into_owned(),
            };
            Fact::new(String::from_utf8_lossy(name.as_bytes())).value(value)
        })
        .collect();
    Fact::new(name).items(lines)
}
