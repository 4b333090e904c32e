//! CONNECT that ends here (`connect_config`): what follows it goes to the
//! cluster as plain TCP. With `allow_post` the body of a POST does so, too.

use std::future::poll_fn;
use std::task::{Context, Poll};

use ringway_codecs::header::HeaderId;
use ringway_config::route::Forward;

use super::failure::Failure;
use super::forward::tell_response;
use super::timeout::poll_deadline;
use super::tunnel::{self, HostEnd, HostFailure};
use super::upstream_request::{Event, UpstreamRequest};
use super::{ConnectionManager, Handled};
use crate::http::downstream::{Downstream, ResponseFraming};
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::http1::reader::BodyPart;
use crate::reactor::{self, Chunk};
use crate::stream_info::TimePoint;
use crate::upstream::conn_pool::{Lease, Speaks};

/// What is spoken to the host of a request.
pub(super) fn speaks(forward: &Forward, exchange: &Exchange) -> Speaks {
    let Some(connect) = forward.upgrades.connect else {
        return Speaks::Http1;
    };
    let is_post = || exchange.request.get(HeaderId::Method) == Some(b"POST");
    if exchange.tunnel == Tunnel::Connect || connect.allow_post && is_post() {
        Speaks::Bytes
    } else {
        Speaks::Http1
    }
}

/// Answers with 200, because the host is connected, and carries bytes.
pub(super) async fn run(
    manager: &ConnectionManager,
    lease: Lease,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    let upstream = UpstreamRequest::start_raw(lease, downstream, exchange);
    if exchange.tunnel == Tunnel::Connect {
        let framing = ResponseFraming::Tunnel;
        tell_connected(&upstream, framing, manager, downstream, exchange);
        tunnel::carry(upstream, HostEnd::Completes, manager, downstream, exchange).await
    } else {
        carry_post(upstream, manager, downstream, exchange).await
    }
}

fn tell_connected(
    upstream: &UpstreamRequest,
    framing: ResponseFraming,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) {
    exchange.response.set(HeaderId::Status, b"200");
    let cluster = upstream.cluster();
    tell_response(manager, cluster, 200, framing, downstream, exchange);
}

/// The body of the request goes out as it is, and what comes back is the body
/// of the response. The end of each is the end of a direction.
async fn carry_post(
    mut upstream: UpstreamRequest,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
) -> Handled {
    if exchange.request_complete {
        upstream.stream().shutdown_write();
    }
    let mut told = false;
    loop {
        let event = poll_fn(|cx| {
            if told {
                return poll_post(&mut upstream, manager, downstream, exchange, cx);
            }
            // What has arrived of the body goes first: a request that is over
            // when it is answered leaves the client its connection.
            match poll_body(&mut upstream, downstream, exchange, cx) {
                Poll::Pending => Poll::Ready(Post::Tell),
                ready => ready,
            }
        })
        .await;
        exchange.deadlines.progress(reactor::now());
        match event {
            Post::Tell => {
                told = true;
                let framing = ResponseFraming::Unknown;
                tell_connected(&upstream, framing, manager, downstream, exchange);
            }
            Post::FromHost(data) => downstream.send_data(exchange, data),
            Post::HostEnded => {
                downstream.send_end(exchange);
                upstream.finish_raw(exchange);
                return Handled::Answered;
            }
            Post::FromClient(BodyPart::Data(data)) => {
                exchange.info.bytes_received += data.len() as u64;
                upstream.send_raw(data);
            }
            Post::FromClient(BodyPart::End) => {
                let now = reactor::now();
                exchange.request_complete = true;
                exchange.info.mark(TimePoint::DownstreamRxEnd, now);
                upstream.stream().shutdown_write();
                exchange.deadlines.request = None;
                exchange.deadlines.route = exchange.route_timeout.map(|limit| now + limit);
                downstream.timer.set(exchange.deadlines.next());
            }
            Post::Failed(failure) => {
                return upstream.fail(failure, manager, downstream, exchange);
            }
        }
    }
}

enum Post {
    /// The response's head is due.
    Tell,
    FromHost(Chunk),
    HostEnded,
    FromClient(BodyPart),
    Failed(Failure),
}

fn poll_post(
    upstream: &mut UpstreamRequest,
    manager: &ConnectionManager,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Post> {
    match tunnel::poll_host(upstream, downstream, cx) {
        Poll::Ready(Ok(Some(data))) => return Poll::Ready(Post::FromHost(data)),
        Poll::Ready(Ok(None)) => return Poll::Ready(Post::HostEnded),
        Poll::Ready(Err(HostFailure::Host)) => {
            return Poll::Ready(Post::Failed(Failure::UpstreamClosed));
        }
        Poll::Ready(Err(HostFailure::Client)) => {
            return Poll::Ready(Post::Failed(Failure::DownstreamClosed));
        }
        Poll::Pending => {}
    }
    if let Poll::Ready(event) = poll_body(upstream, downstream, exchange, cx) {
        return Poll::Ready(event);
    }
    poll_deadline(manager, downstream, exchange, cx).map(Post::Failed)
}

fn poll_body(
    upstream: &mut UpstreamRequest,
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> Poll<Post> {
    match upstream.poll_request(downstream, exchange, cx) {
        Poll::Ready(Event::RequestBody(part)) => Poll::Ready(Post::FromClient(part)),
        Poll::Ready(Event::Failed(failure)) => Poll::Ready(Post::Failed(failure)),
        Poll::Ready(Event::Head(_) | Event::ResponseBody(_)) | Poll::Pending => Poll::Pending,
    }
}
