//! CONNECT that ends here (`connect_config`): what follows it goes to the
//! cluster as plain TCP. With `allow_post` the body of a POST does so, too,
//! and what comes back is the body of the response. And what clients may send
//! before any CONNECT is answered.

use std::task::{Context, Poll, Waker};

use ringway_codecs::header::HeaderId;
use ringway_codecs::http1::{Framing, ResponseHead, Version};
use ringway_config::route::Forward;

use super::failure::Failure;
use super::forward::request_ended;
use super::upstream_request::{Event, UpstreamRequest};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::http1::reader::BodyPart;
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::Speaks;

/// What is spoken to a host of `cluster` for a request.
pub(super) fn speaks(forward: &Forward, cluster: &Cluster, exchange: &Exchange) -> Speaks {
    match carries_bytes(forward, exchange) {
        true => Speaks::Bytes,
        false => cluster.speaks(exchange.info.protocol),
    }
}

/// Whether what follows the request goes to its host as plain TCP.
pub fn carries_bytes(forward: &Forward, exchange: &Exchange) -> bool {
    let Some(connect) = forward.upgrades.connect else {
        return false;
    };
    let is_post = || exchange.request.get(HeaderId::Method) == Some(b"POST");
    exchange.tunnel == Tunnel::Connect || connect.allow_post && is_post()
}

/// Polls for what ends a request that has arrived in full: its client leaves,
/// or does not wait for the answer to a CONNECT where it has to.
pub(super) fn poll_client(
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Failure> {
    if exchange.rejects_early_data && !exchange.response_started {
        return downstream.poll_raw(cx).map(|part| match part {
            Ok(Some(data)) => {
                exchange.info.bytes_received += data.len() as u64;
                Failure::EarlyData
            }
            Ok(None) | Err(_) => Failure::DownstreamClosed,
        });
    }
    let closed = downstream.poll_closed(cx);
    closed.map(|()| Failure::DownstreamClosed)
}

/// The response of a host to which bytes are carried: 200, because it is
/// connected. `None` when it speaks HTTP and answers itself.
pub(super) fn head_of_bytes(
    upstream: &mut UpstreamRequest,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Option<ResponseHead> {
    if !upstream.carries_bytes() {
        return None;
    }
    let framing = match exchange.tunnel {
        Tunnel::Connect => Framing::None,
        _ => {
            send_arrived(upstream, downstream, exchange);
            upstream.begin_body_of_bytes();
            Framing::UntilClose
        }
    };
    exchange.response.set(HeaderId::Status, b"200");
    Some(ResponseHead {
        version: Version::Http11,
        status: 200,
        framing,
        keep_alive: false,
        head_bytes: 0,
    })
}

/// Sends what has arrived of a body before the response begins: a request that
/// is over by then leaves the client its connection.
fn send_arrived(
    upstream: &mut UpstreamRequest,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) {
    let mut cx = Context::from_waker(Waker::noop());
    while !exchange.request_complete {
        match upstream.poll_request(downstream, exchange, &mut cx) {
            Poll::Ready(Event::RequestBody(BodyPart::Data(data))) => {
                upstream.send_data(data, false);
            }
            Poll::Ready(Event::RequestBody(BodyPart::End)) => {
                request_ended(downstream, exchange);
                upstream.send_end(exchange);
            }
            // Whoever waits for the rest finds out what is wrong with it.
            Poll::Ready(_) | Poll::Pending => return,
        }
    }
}
