//! Tunnels: a connection whose protocol has changed carries bytes both ways.
//!
//! Nothing is carried before the host has agreed, with 101 to an upgrade and
//! with 2xx to a CONNECT. What the client sends until then waits unread, and
//! is never sent to a host that refuses. Afterwards the bytes go from the
//! receive queue of one side to the send queue of the other; a side is read
//! only while the other has little to send, and an idle tunnel owns no buffer.
//!
//! The host's end is the end of both, and so is that of a client of HTTP/1, which has no
//! half-open tunnels. A client of HTTP/2 may end alone, and what the host still sends is
//! carried: its stream ends, too, or its side of a CONNECT; of another protocol over HTTP/1
//! it hears nothing, as in Envoy.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::ResponseHead;

use super::failure::Failure;
use super::forward::{Relayed, send_head};
use super::timeout::poll_deadline;
use super::upstream_request::UpstreamRequest;
use super::{ConnectionManager, LocalReply, shadow};
use crate::http::connection_header;
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Tunnel};
use crate::reactor::{self, Chunk};
use crate::stream_info::{Protocol, ResponseFlag, details};

/// Whether a response head in `exchange.response` begins the tunnel that the
/// request asked for. A 101 that does not say so begins nothing: what follows
/// it would be bytes that no side agreed on.
pub(super) fn begins(head: &ResponseHead, exchange: &Exchange) -> bool {
    match exchange.tunnel {
        Tunnel::None => false,
        Tunnel::Connect => (200..300).contains(&head.status),
        Tunnel::Upgrade | Tunnel::WebSocket => {
            head.status == 101
                && exchange.request_complete
                && connection_header::is_upgrade(&exchange.response)
        }
    }
}

/// Whether a host took a WebSocket handshake for an ordinary request. Errors
/// are handed on as they are.
pub(super) fn is_unsuccessful_handshake(head: &ResponseHead, exchange: &Exchange) -> bool {
    exchange.tunnel == Tunnel::WebSocket && head.status < 400 && head.status != 101
}

/// Answers for such a host: its content is not what was asked for. What its
/// headers say (where to go, what to remember) is still told.
pub(super) fn refuse_handshake(
    manager: &ConnectionManager,
    head: &ResponseHead,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) {
    exchange.response.remove(HeaderId::TransferEncoding);
    let details = details::WEBSOCKET_HANDSHAKE_UNSUCCESSFUL;
    let reply = LocalReply::new(head.status, "", details);
    manager.reply(downstream, exchange, reply);
}

/// Tells the client that the host has agreed, and carries bytes both ways
/// until one side ends or a deadline passes.
pub(super) async fn run(
    manager: &ConnectionManager,
    upstream: &mut UpstreamRequest,
    head: ResponseHead,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Relayed {
    upstream.on_head(&head, manager, exchange);
    // RFC 9110 sections 9.3.6 and 15.2: there is no content.
    exchange.response.remove(HeaderId::ContentLength);
    if !send_head(
        manager,
        upstream.route_cluster(),
        &head,
        downstream,
        exchange,
    ) {
        return Relayed::Closed;
    }
    // The request was answered, and the try is over: only how long the whole may
    // take, and how long nothing may move, still counts.
    exchange.deadlines.request = None;
    exchange.deadlines.route = None;
    exchange.deadlines.try_idle = None;
    downstream.timer.set(exchange.deadlines.next());
    let mut client = Client::Open;
    loop {
        let event =
            poll_fn(|cx| poll_event(client, upstream, manager, downstream, exchange, cx)).await;
        let now = reactor::now();
        exchange.deadlines.progress(now);
        match event {
            Event::FromHost(data) => {
                downstream.send_raw(exchange, data);
            }
            Event::ClientLeft => client = Client::Gone,
            Event::ClientEnded => {
                client = Client::Ended;
                exchange.client_ended = true;
                if exchange.tunnel == Tunnel::Connect || upstream.ends_by_halves() {
                    upstream.end_raw();
                }
            }
            Event::FromClient(data) => {
                exchange.info.bytes_received += data.len() as u64;
                shadow::data(upstream.route_cluster(), exchange, &data);
                upstream.send_raw(data);
            }
            // The end of a stream or of plain TCP is all that there is; of HTTP/1
            // it is the end of a connection in use. What was queued for the client
            // is sent before its connection ends.
            Event::HostEnded(orderly) => {
                if !orderly || !upstream.ends_by_halves() {
                    note_broken_off(manager, exchange);
                    return Relayed::Closed;
                }
                exchange.response_complete = true;
                return match exchange.client_ended {
                    true => Relayed::Complete(Some(head)),
                    false => Relayed::Closed,
                };
            }
            Event::Failed(failure) => return Relayed::Failed(failure),
        }
    }
}

fn note_broken_off(manager: &ConnectionManager, exchange: &mut Exchange) {
    manager.shared.stats.downstream_rq_tx_reset.inc();
    let info = &mut exchange.info;
    info.flags.set(ResponseFlag::UpstreamConnectionTermination);
    info.details
        .set("upstream_reset_after_response_started{connection_termination}");
}

/// Where the client's side is.
#[derive(Clone, Copy)]
enum Client {
    Open,
    /// It has ended alone.
    Ended,
    /// It is over, when the host has what came of it.
    Gone,
}

enum Event {
    FromHost(Chunk),
    FromClient(Chunk),
    /// The client's side ended, and the host's goes on.
    ClientEnded,
    /// The client's side ended, or broke off, and so does the tunnel.
    ClientLeft,
    /// The host's side ended; true after an orderly end.
    HostEnded(bool),
    Failed(Failure),
}

fn poll_event(
    client: Client,
    upstream: &mut UpstreamRequest,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    upstream.note_bytes_for_logs(exchange);
    if let Poll::Ready(event) = poll_host(upstream, downstream, cx) {
        return Poll::Ready(event);
    }
    if let Poll::Ready(event) = poll_client(client, upstream, downstream, exchange, cx) {
        return Poll::Ready(event);
    }
    poll_deadline(manager, downstream, exchange, cx).map(Event::Failed)
}

/// Polls for bytes of the host, while the client takes them.
fn poll_host(
    upstream: &mut UpstreamRequest,
    downstream: &mut Downstream,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    match upstream.poll_client_room(downstream, cx) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(())) if downstream.write_error().is_none() => {}
        Poll::Ready(Ok(())) => return Poll::Ready(Event::Failed(Failure::DownstreamClosed)),
        Poll::Ready(Err(_)) => return Poll::Ready(Event::Failed(Failure::DownstreamClosed)),
    }
    downstream.send_queued(cx);
    upstream.poll_raw(cx).map(|part| match part {
        Ok(Some(data)) => Event::FromHost(data),
        Ok(None) => Event::HostEnded(true),
        Err(error) => match upstream.stream_failure(&error) {
            Some(failure) => Event::Failed(failure),
            None => Event::HostEnded(false),
        },
    })
}

/// Polls for bytes of the client, while the host takes them. The client's end
/// comes behind all that it has sent.
fn poll_client(
    client: Client,
    upstream: &mut UpstreamRequest,
    downstream: &mut Downstream,
    exchange: &Exchange,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    let is_over = match client {
        Client::Open => None,
        Client::Ended => Some(downstream.poll_closed(cx)),
        Client::Gone => Some(upstream.poll_sent(cx)),
    };
    if let Some(is_over) = is_over {
        return is_over.map(|()| Event::Failed(Failure::DownstreamClosed));
    }
    ready!(upstream.poll_raw_room(cx));
    downstream.poll_raw(cx).map(|part| match part {
        Ok(Some(data)) => Event::FromClient(data),
        Ok(None) if exchange.info.protocol == Some(Protocol::Http2) => Event::ClientEnded,
        Ok(None) | Err(_) => Event::ClientLeft,
    })
}
