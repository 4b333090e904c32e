//! The way of a request through a connection manager, step by step as a real
//! one goes it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Framing, HeadReader, Http1Error, RequestHead, RequestOptions};
use ringway_config::route::RouteMatch;

use super::context::Context;
use super::fact::Fact;
use super::question::Question;
use super::{action, filters, forward, route, upgrade};
use crate::filters::http::FilterChain;
use crate::filters::network::http_connection_manager::local_reply::LocalReply;
use crate::filters::network::http_connection_manager::request::ignore_early_upgrade;
use crate::http::conn_manager_utility::{self, Peer, Prepared, Reject};
use crate::http::exchange::{Exchange, ExchangePool};
use crate::network::address::NO_ADDRESS;
use crate::stream_info::{ConnectionInfo, Protocol, SharedRouteMetadata, details};

/// What becomes of the request that `question` asks about and of which `head` is
/// what the client sends, on a connection to the address `local`.
pub(super) fn explain(
    question: &Question,
    head: &[u8],
    local: Option<SocketAddr>,
    cx: &Context<'_>,
) -> Vec<Fact> {
    let mut exchange = exchange(question.remote, local, cx.sources.now);
    let options = &cx.manager.config.request;
    let head = match read(head, options, &mut exchange.request) {
        Ok(head) => head,
        Err(error) => {
            return action::invalid(error, &mut exchange, cx);
        }
    };
    exchange.note_head(&head, Protocol::Http11);
    exchange.request_complete = matches!(head.framing, Framing::None | Framing::Length(0));
    exchange.random = question.random;
    let prepared = match prepare(&mut exchange, &head, question.remote, local, cx) {
        Ok(prepared) => prepared,
        Err(reject) => {
            return action::rejected(reject, &mut exchange, cx);
        }
    };
    let mut facts = vec![
        Fact::new("client")
            .value(exchange.info.remote().ip().to_string())
            .note(match prepared.internal {
                true => "internal: x-envoy-* headers of the request are obeyed",
                false => "external: x-envoy-* headers of the request are removed",
            }),
        as_it_is_routed(&head, &exchange),
    ];
    if head.expect_continue && !exchange.request.contains(HeaderId::Expect) {
        facts.push(
            Fact::new("expect")
                .note("the proxy tells the client to go on (100); the host is not asked")
                .place(cx.of_manager("proxy_100_continue")),
        );
    }
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
            let reply = LocalReply::new(403, "", details::UPGRADE_FAILED);
            let note = "details upgrade_failed; the connection is closed";
            let tell = |fact: Fact| fact.note(note);
            facts.extend(action::answered(&reply, tell, &mut exchange, cx));
            return facts;
        }
    }
    FilterChain::set_overrides(&mut exchange, selected);
    facts.push(filters::explain(&exchange, selected.as_ref(), cx));
    facts.extend(action::explain(&found, cluster, &mut exchange, cx));
    facts
}

/// Reads the head as the client's connection would.
fn read(
    head: &[u8],
    options: &RequestOptions,
    request: &mut HeaderMap,
) -> Result<RequestHead, Http1Error> {
    let read = HeadReader::new().request(head, options, request)?;
    // It ends in an empty line: what has no end is no head.
    let (head, _) = read.ok_or(Http1Error::RequestLine)?;
    match head.refused {
        Some(error) => Err(error),
        None => Ok(head),
    }
}

/// Does what is done to every request before it is routed.
fn prepare(
    exchange: &mut Exchange,
    head: &RequestHead,
    remote: SocketAddr,
    local: Option<SocketAddr>,
    cx: &Context<'_>,
) -> Result<Prepared, Reject> {
    let request = &mut exchange.request;
    ignore_early_upgrade(request, head.version);
    let config = &cx.manager.config;
    let peer = Peer {
        remote: Some(remote),
        local,
        tls: None,
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
    if head.expect_continue && !config.proxy_100_continue {
        request.remove(HeaderId::Expect);
    }
    if prepared.remote != peer.remote {
        exchange.info.remote_address = prepared.remote;
    }
    exchange.internal = prepared.internal;
    exchange.set_connect_port(&prepared);
    exchange.stream_limit.time = config.timeouts.stream;
    Ok(prepared)
}

/// An exchange that no connection has.
fn exchange(
    remote: SocketAddr,
    local: Option<SocketAddr>,
    (now, wall): (Instant, SystemTime),
) -> Box<Exchange> {
    let connection = ConnectionInfo::new(0, remote, local.unwrap_or(NO_ADDRESS));
    ExchangePool::default().take(connection.into(), now, wall)
}

/// The request as routes see it.
fn as_it_is_routed(head: &RequestHead, exchange: &Exchange) -> Fact {
    let fact = headers("request as it is routed", &exchange.request);
    match head.dropped_underscore_headers {
        0 => fact,
        dropped => fact.note(format!(
            "without {dropped} headers that have an underscore in their names"
        )),
    }
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
