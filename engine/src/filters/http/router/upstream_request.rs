//! The request's side of a host's connection: what is sent to the host, and
//! what comes back.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Framing, HeadEnd, ResponseHead, Version};

use super::charge::Clusters;
use super::codec::{Asked, Codec};
use super::connect::poll_client;
use super::failure::Failure;
use super::flow_control::FlowControl;
use super::host_result;
use super::interim::{Interims, is_interim, is_known};
use super::sizes::begin_sizes;
use super::timeout::{poll_deadline, record_budget};
use super::{ConnectionManager, Handled};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Expired, Tunnel};
use crate::http::http1::reader::{BodyPart, ReadError};
use crate::http::http2::error::Http2Error;
use crate::http::message_sizes::MessageSizes;
use crate::reactor::{self, Chunk};
use crate::stream_info::{Protocol, TimePoint};
use crate::upstream::cluster::Cluster;
use crate::upstream::conn_pool::{ActiveRequest, Lease, Speaks};
use crate::upstream::host::Host;
use crate::upstream::outlier_detection::Outcome;

/// What the loop of the router waits for.
pub(super) enum Event {
    /// A response head, interim ones that mean something included.
    Head(ResponseHead),
    /// A part of the response.
    ResponseBody(BodyPart),
    /// A part of the request.
    RequestBody(BodyPart),
    /// The exchange cannot go on.
    Failed(Failure),
}

/// One request on a connection to a host.
pub(super) struct UpstreamRequest {
    active: ActiveRequest,
    /// The route's cluster, where it is an aggregate.
    aggregate: Option<Rc<Cluster>>,
    codec: Codec,
    /// High watermark of the host's send queue, in bytes.
    send_queue_max: usize,
    flow_control: FlowControl,
    /// The response has told of the host's load.
    load_reported: bool,
    interims: Interims,
    /// Only the end of the response tells how the host did.
    is_result_open: bool,
    /// How much is sent and received, where that is recorded. In a box: few
    /// clusters record it.
    sizes: Option<Box<MessageSizes>>,
}

/// What the head that the host gets says of the request's body.
#[must_use]
pub fn head_end(exchange: &Exchange, has_body: bool) -> HeadEnd {
    match exchange.tunnel {
        // Not that it has no body: what follows is the other protocol's.
        Tunnel::Connect | Tunnel::Upgrade | Tunnel::WebSocket if !has_body => HeadEnd::Fields,
        _ => HeadEnd::of_request(&exchange.request, has_body),
    }
}

impl UpstreamRequest {
    /// Queues the request's head on a connection, and what is kept of its
    /// body. `cluster` is the route's; `has_body` says that the request has a
    /// body or may have one.
    pub fn start(
        manager: &ConnectionManager,
        lease: Lease,
        cluster: &Rc<Cluster>,
        has_body: bool,
        downstream: &Downstream,
        exchange: &mut Exchange,
    ) -> Self {
        lease.host().note(Outcome::Connected);
        let now = reactor::now();
        let end = head_end(exchange, has_body);
        let info = &mut exchange.info;
        info.upstream_connection = Some(Rc::clone(&lease.info));
        info.mark(TimePoint::UpstreamPoolReady, now);
        info.mark(TimePoint::UpstreamTxBegin, now);
        let buffer_limit = lease.cluster().config.buffer_limit;
        info.upstream_protocol = protocol(lease.speaks());
        let asked = Asked {
            end,
            has_body: has_body && !(exchange.request_complete && exchange.replay.is_empty()),
            tunnel: exchange.tunnel,
        };
        let (codec, field_bytes) = Codec::start(&lease, &exchange.request, asked);
        info.upstream_bytes.header_sent += field_bytes;
        let of_host = Rc::ptr_eq(cluster, lease.cluster());
        let mut started = Self {
            codec,
            sizes: begin_sizes(cluster, &exchange.request),
            send_queue_max: downstream.send_queue_max.min(buffer_limit.max(1) as usize),
            flow_control: FlowControl::new(&manager.shared.stats, &lease.cluster().stats),
            load_reported: false,
            interims: Interims::default(),
            is_result_open: false,
            active: ActiveRequest::new(lease),
            aggregate: (!of_host).then(|| Rc::clone(cluster)),
        };
        if !exchange.replay.is_empty() {
            let lease = started.active.lease();
            started.codec.send_bytes(lease, &exchange.replay);
            if let Some(sizes) = &mut started.sizes {
                sizes.on_request_data(exchange.replay.len());
            }
        }
        if exchange.request_complete {
            started.send_end(exchange);
        }
        started
    }

    /// Whether what is sent and received is no message of HTTP.
    pub fn carries_bytes(&self) -> bool {
        self.active.lease().speaks() == Speaks::Bytes
    }

    /// Whether each side of a tunnel may end alone: HTTP/1 has no such ends.
    pub fn ends_by_halves(&self) -> bool {
        self.active.lease().speaks() != Speaks::Http1
    }

    /// What the end of a tunnel's stream means, where it has one of its own.
    pub fn stream_failure(&self, error: &ReadError) -> Option<Failure> {
        let is_stream = matches!(self.codec, Codec::Http2(_));
        is_stream.then(|| self.upstream_failure(true, error))
    }

    /// From here to its end, all that the host sends is the response's body.
    pub fn begin_body_of_bytes(&mut self) {
        self.codec.begin_body_of_bytes();
    }

    /// Polls for bytes of a tunnel. `None` is the host's end.
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        let read = self.codec.poll_raw(self.active.lease(), cx);
        if let (Some(sizes), Poll::Ready(Ok(Some(data)))) = (&mut self.sizes, &read) {
            sizes.on_response_data(data.len());
        }
        read
    }

    /// Queues bytes of a tunnel.
    pub fn send_raw(&mut self, data: Chunk) {
        if let Some(sizes) = &mut self.sizes {
            sizes.on_request_data(data.len());
        }
        self.flow_control.note_sent();
        self.codec.send_raw(self.active.lease(), data);
    }

    /// Polls until all that was queued for the host is on its way, or cannot be. What
    /// waits on a connection of its own goes with its end.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.codec.poll_sent(cx)
    }

    /// Ends our side of a tunnel.
    pub fn end_raw(&mut self) {
        self.codec.end_raw(self.active.lease());
    }

    /// Polls until the client takes more.
    pub fn poll_client_room(
        &mut self,
        downstream: &mut Downstream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let room = downstream.poll_room(cx);
        self.flow_control.note_client(room.is_pending());
        room
    }

    /// Polls until the host takes more of a tunnel. A failed connection has
    /// nothing to send, and would take everything for ever.
    pub fn poll_raw_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lease = self.active.lease();
        if self.codec.is_broken(lease) {
            return Poll::Pending;
        }
        let room = self.codec.poll_room(lease, self.send_queue_max, cx);
        self.flow_control.note_host(room.is_pending());
        match room {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // What is wrong is said when it is read.
            Poll::Ready(Err(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Makes the connection the one that logs tell of.
    pub fn note_connection(&self, exchange: &mut Exchange) {
        let lease = self.active.lease();
        exchange.info.upstream_connection = Some(Rc::clone(&lease.info));
        exchange.info.upstream_protocol = protocol(lease.speaks());
    }

    /// The cluster of the host.
    fn cluster(&self) -> &Cluster {
        self.active.lease().cluster()
    }

    /// The route's cluster, which counts what becomes of the request.
    pub fn route_cluster(&self) -> &Cluster {
        match &self.aggregate {
            Some(aggregate) => aggregate,
            None => self.cluster(),
        }
    }

    /// Polls both directions and the clock. A side is read only while the
    /// other one's send queue has room.
    pub fn poll_event(
        &mut self,
        manager: &ConnectionManager,
        has_head: bool,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        self.note_bytes_for_logs(exchange);
        let is_paced = has_head && exchange.pacer.is_some();
        if (!is_paced || may_read_paced(downstream, exchange, cx))
            && let Poll::Ready(event) = self.poll_response(has_head, downstream, exchange, cx)
        {
            return Poll::Ready(event);
        }
        if let Poll::Ready(event) = self.poll_request(downstream, exchange, cx) {
            return Poll::Ready(event);
        }
        poll_deadline(manager, downstream, exchange, cx).map(Event::Failed)
    }

    /// Polls for a response head alone.
    pub fn poll_head(
        &mut self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, Failure>> {
        self.poll_response(false, downstream, exchange, cx)
            .map(|event| match event {
                Event::Head(head) => Ok(head),
                Event::Failed(failure) => Err(failure),
                Event::ResponseBody(_) | Event::RequestBody(_) => {
                    unreachable!("only a head was polled")
                }
            })
    }

    fn poll_response(
        &mut self,
        has_head: bool,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if ready!(self.poll_client_room(downstream, cx)).is_err() {
            return Poll::Ready(Event::Failed(Failure::DownstreamClosed));
        }
        loop {
            let lease = self.active.lease();
            let event = if has_head {
                self.codec
                    .poll_body(lease, &mut exchange.response_trailers, cx)
                    .map_ok(Event::ResponseBody)
            } else {
                self.codec
                    .poll_response(lease, exchange.facts, &mut exchange.response, cx)
                    .map_ok(Event::Head)
            };
            let Poll::Ready(event) = event else {
                downstream.send_queued(cx);
                return Poll::Pending;
            };
            let event = match event {
                Ok(Event::Head(head)) if is_interim(head.status) => {
                    if let Err(failure) = self.interims.note() {
                        exchange.response.clear();
                        return Poll::Ready(Event::Failed(failure));
                    }
                    if !is_known(head.status) {
                        exchange.response.clear();
                        continue;
                    }
                    if let Some(sizes) = &mut self.sizes {
                        sizes.on_response(&exchange.response, false);
                    }
                    Event::Head(head)
                }
                Ok(event) => {
                    if let Some(sizes) = &mut self.sizes {
                        match &event {
                            Event::Head(head) => {
                                sizes
                                    .on_response(&exchange.response, self.codec.says_chunked(head));
                            }
                            Event::ResponseBody(BodyPart::Data(data)) => {
                                sizes.on_response_data(data.len());
                            }
                            _ => {}
                        }
                    }
                    event
                }
                Err(error) => Event::Failed(self.upstream_failure(has_head, &error)),
            };
            return Poll::Ready(event);
        }
    }

    /// Polls for the next part of the request, as far as the host takes it.
    pub fn poll_request(
        &mut self,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if exchange.request_complete {
            // Nothing to read, but a client that goes away ends the request.
            return poll_client(downstream, exchange, cx).map(Event::Failed);
        }
        let lease = self.active.lease();
        let room = self.codec.poll_room(lease, self.send_queue_max, cx);
        self.flow_control.note_host(room.is_pending());
        match room {
            Poll::Pending => {
                return downstream
                    .poll_closed(cx)
                    .map(|()| Event::Failed(Failure::DownstreamClosed));
            }
            // A connection that fails to send says so when it is read.
            Poll::Ready(Err(())) => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
        }
        downstream.poll_body(exchange, cx).map(|part| match part {
            Ok(part) => Event::RequestBody(part),
            Err(error) => Event::Failed(Failure::of_client(&error, exchange)),
        })
    }

    /// Queues a part of the request's body. With `end_stream` its end is known to
    /// follow, so that it need not be a frame of its own.
    pub fn send_data(&mut self, data: Chunk, end_stream: bool) {
        if let Some(sizes) = &mut self.sizes {
            sizes.on_request_data(data.len());
        }
        self.flow_control.note_sent();
        self.codec.send_data(self.active.lease(), data, end_stream);
    }

    /// Queues the end of the request.
    pub fn send_end(&mut self, exchange: &mut Exchange) {
        if self.carries_bytes() {
            if exchange.is_request_over() {
                self.active.lease().stream.shutdown_write();
            }
            return;
        }
        let lease = self.active.lease();
        let trailers = self.codec.send_end(lease, &mut exchange.request_trailers);
        exchange.info.upstream_bytes.header_sent += trailers;
        exchange.info.mark(TimePoint::UpstreamTxEnd, reactor::now());
    }

    /// Records the response's head.
    pub fn on_head(
        &mut self,
        head: &ResponseHead,
        manager: &ConnectionManager,
        exchange: &mut Exchange,
    ) {
        exchange
            .info
            .mark(TimePoint::UpstreamRxBegin, reactor::now());
        // Not only at the end: format strings of response headers and of pages
        // may tell of them.
        self.count_bytes(exchange);
        self.note_head(head, exchange);
        self.is_result_open = host_result::on_head(
            &self.active.lease().host().stats,
            head,
            &exchange.request,
            &exchange.response,
            manager.counts_responses(exchange),
        );
    }

    /// Tells outlier detection of a response, also of one that is not sent on.
    pub fn note_head(&mut self, head: &ResponseHead, exchange: &Exchange) {
        let lease = self.active.lease();
        let host = lease.host();
        let Some(monitor) = host.shared.monitor() else {
            return;
        };
        let status = match &lease.cluster().config.error_matcher {
            Some(matcher) => matcher.status_of(head.status, &exchange.response),
            None => head.status,
        };
        monitor.on_outcome(Outcome::Response(status), &host.shared);
        if (exchange.response).contains(HeaderId::XEnvoyImmediateHealthCheckFail) {
            monitor.on_immediate_health_check_fail(&host.shared);
        }
        if head.status < 500 && exchange.response.contains(HeaderId::XEnvoyDegraded) {
            monitor.on_degraded(&host.shared);
        }
        monitor.on_latency(|| since_sent(exchange));
        self.load_reported = monitor.on_headers(&exchange.response, &lease.cluster().load_reader);
    }

    /// Looks for a load report where headers had none.
    fn note_trailers(&self, exchange: &Exchange) {
        let lease = self.active.lease();
        if !self.load_reported
            && !exchange.response_trailers.is_empty()
            && let Some(monitor) = lease.host().shared.monitor()
        {
            monitor.on_headers(&exchange.response_trailers, &lease.cluster().load_reader);
        }
    }

    /// Ends a request whose response is complete.
    pub fn complete(
        self,
        head: Option<&ResponseHead>,
        manager: &ConnectionManager,
        exchange: &mut Exchange,
    ) {
        let now = reactor::now();
        exchange.info.mark(TimePoint::UpstreamRxEnd, now);
        self.note_trailers(exchange);
        if self.is_result_open {
            let stats = &self.active.lease().host().stats;
            host_result::on_end(stats, &exchange.response_trailers);
        }
        if let Some(took) = exchange.upstream_time(now) {
            record_budget(self.route_cluster(), took, exchange.limits.route);
            manager.charge_time(self.route_cluster(), took.as_millis() as u64, exchange);
        }
        self.give_back(head, exchange);
    }

    /// Ends a request whose response is not sent on. The connection is kept
    /// if the head was all of it.
    pub fn release(self, head: &ResponseHead, exchange: &mut Exchange) {
        if matches!(head.framing, Framing::None | Framing::Length(0)) {
            self.give_back(Some(head), exchange);
        } else {
            if !head.keep_alive {
                self.cluster().stats.upstream_cx_close_notify.inc();
            }
            self.cancel(exchange);
        }
    }

    /// Ends a request whose response nobody waits for any more.
    pub fn cancel(mut self, exchange: &mut Exchange) {
        self.count_bytes(exchange);
    }

    /// Ends a request that is sent again as if it had not been sent.
    pub fn set_aside(mut self, exchange: &mut Exchange) {
        self.forget_sizes();
        self.cancel(exchange);
    }

    /// What it came to is not recorded.
    pub fn forget_sizes(&mut self) {
        if let Some(sizes) = self.sizes.take() {
            sizes.forget();
        }
    }

    fn give_back(mut self, head: Option<&ResponseHead>, exchange: &mut Exchange) {
        let reusable = head.is_some_and(|head| head.keep_alive);
        let until_close = head.is_some_and(|head| {
            head.framing == Framing::UntilClose && head.version == Version::Http11
        });
        self.count_bytes(exchange);
        let stats = &self.cluster().stats;
        if !reusable && !until_close && !self.carries_bytes() {
            stats.upstream_cx_close_notify.inc();
        }
        if self.codec.has_unasked(self.active.lease()) {
            // Bytes behind a response are nobody's.
            stats.upstream_cx_protocol_error.inc();
        }
        if !exchange.is_request_over() {
            // A response that overtook its request leaves half a request on
            // the connection: dropping the lease closes it.
            return;
        }
        let clean = self.codec.is_clean();
        self.active.finish().give_back(reusable && clean);
    }

    /// Ends a request that has no complete response.
    pub fn fail(
        self,
        failure: Failure,
        manager: &ConnectionManager,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Handled {
        let of_host = Rc::clone(self.active.lease().cluster());
        let aggregate = self.aggregate.clone();
        let host = Rc::clone(self.active.lease().host());
        self.break_off(&failure, manager, exchange);
        host_result::on_failure(manager, &host, &failure, false, exchange);
        let clusters = Clusters {
            route: aggregate.as_deref().unwrap_or(&of_host),
            host: &of_host,
        };
        failure.answer(manager, clusters, downstream, exchange)
    }

    /// Whether a failed request may be sent again although nothing says so. It
    /// may where the host says that it did nothing with it. It may where the
    /// host closed the connection, if that was a pooled one, which a host may
    /// close at any time, no byte of an answer came, and either the method is
    /// idempotent (RFC 9110 section 9.2.2) or no byte of the request has left,
    /// so that no host can have acted on it. All of the request must still be
    /// here.
    pub fn may_be_resent(&self, failure: &Failure, exchange: &Exchange) -> bool {
        let lease = self.active.lease();
        if exchange.tunnel != Tunnel::None || exchange.response_started {
            return false;
        }
        match failure {
            // The host has said that it did nothing with it.
            Failure::UpstreamUnprocessed => true,
            Failure::UpstreamClosed => {
                lease.was_used()
                    && lease.speaks() != Speaks::Bytes
                    && self.codec.is_unanswered(lease)
                    && (is_idempotent(&exchange.request) || self.codec.is_unsent(lease))
            }
            _ => false,
        }
    }

    /// Ends a request that failed. What that says of its host depends on what
    /// follows, see [`host_result::on_failure`].
    pub fn break_off(
        mut self,
        failure: &Failure,
        manager: &ConnectionManager,
        exchange: &mut Exchange,
    ) {
        self.count_bytes(exchange);
        let host = self.active.lease().host();
        note_failure(host, failure, exchange);
        let stats = &host.stats;
        match failure {
            Failure::Expired(Expired::Route) => stats.rq_timeout.inc(),
            Failure::Expired(Expired::Try | Expired::TryIdle)
            | Failure::UpstreamClosed
            | Failure::UpstreamReset
            | Failure::UpstreamRefused
            | Failure::UpstreamUnprocessed
            | Failure::UpstreamProtocol => {
                if matches!(failure, Failure::Expired(_)) {
                    stats.rq_timeout.inc();
                }
                if self.is_result_open {
                    stats.rq_error.inc();
                    let stats = &manager.shared.router_stats;
                    stats.rq_reset_after_downstream_response_started.inc();
                }
            }
            _ => {}
        }
    }

    fn upstream_failure(&self, has_head: bool, error: &ReadError) -> Failure {
        match error {
            ReadError::Protocol(_)
            | ReadError::Http2(
                Http2Error::Protocol | Http2Error::Blamed | Http2Error::Unsendable,
            ) => Failure::UpstreamProtocol,
            ReadError::Http2(Http2Error::Reset) => Failure::UpstreamReset,
            ReadError::Http2(Http2Error::Refused)
                if self.codec.was_too_many(self.active.lease()) =>
            {
                Failure::UpstreamUnprocessed
            }
            ReadError::Http2(Http2Error::Refused) => Failure::UpstreamRefused,
            ReadError::Http2(Http2Error::Unprocessed) => Failure::UpstreamUnprocessed,
            // The connection may end at any time; that breaks no rule of HTTP/2.
            _ if matches!(self.codec, Codec::Http2(_)) => Failure::UpstreamClosed,
            ReadError::Closed if !has_head => Failure::UpstreamClosed,
            ReadError::Io(_) if !has_head && !self.codec.is_within_head() => {
                Failure::UpstreamClosed
            }
            ReadError::Closed | ReadError::Truncated | ReadError::Io(_) | ReadError::Refused => {
                Failure::UpstreamProtocol
            }
        }
    }

    /// Counts what moved, where a log may tell of it before the request is over.
    pub fn note_bytes_for_logs(&mut self, exchange: &mut Exchange) {
        if exchange.deadlines.log.is_some() {
            self.count_bytes(exchange);
        }
    }

    /// Counts what moved since the last time.
    fn count_bytes(&mut self, exchange: &mut Exchange) {
        let moved = self.codec.take_moved(self.active.lease());
        moved.add_to(&mut exchange.info.upstream_bytes);
    }
}

/// What logs call it.
fn protocol(speaks: Speaks) -> Option<Protocol> {
    match speaks {
        Speaks::Http1 => Some(Protocol::Http11),
        Speaks::Http2 | Speaks::Negotiated => Some(Protocol::Http2),
        Speaks::Bytes => None,
    }
}

/// Whether doing it twice is doing it once (RFC 9110 section 9.2.2).
fn is_idempotent(request: &HeaderMap) -> bool {
    let method = request.get(HeaderId::Method).unwrap_or_default();
    matches!(
        method,
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
    )
}

/// Tells outlier detection of a host that was sent a request and did not answer,
/// or not to the end.
pub(super) fn note_failure(host: &Host, failure: &Failure, exchange: &Exchange) {
    match failure {
        Failure::UpstreamClosed
        | Failure::UpstreamReset
        | Failure::UpstreamRefused
        | Failure::UpstreamUnprocessed
        | Failure::UpstreamProtocol => host.note(Outcome::Failed),
        Failure::Expired(Expired::Route | Expired::Try | Expired::TryIdle)
            if !exchange.response_started =>
        {
            host.note(Outcome::TimedOut(exchange.limits.timeout_status));
            if let Some(monitor) = host.shared.monitor() {
                monitor.on_no_response(|| since_sent(exchange));
            }
        }
        _ => {}
    }
}

/// How long ago the request was begun to be sent to its host.
fn since_sent(exchange: &Exchange) -> Option<Duration> {
    let since = exchange.info.start + exchange.info.elapsed(TimePoint::UpstreamTxBegin)?;
    Some(reactor::now().duration_since(since))
}

/// Tells outlier detection of a host that could not be connected to.
/// A request whose own time ends before that says nothing against the host, as
/// in Envoy.
pub(super) fn note_unconnected(host: &Host, failure: &Failure) {
    if matches!(
        failure,
        Failure::Source(_) | Failure::Connect(_) | Failure::Handshake(_) | Failure::ConnectTimeout
    ) {
        host.note(Outcome::Failed);
    }
}

/// Lets out what the pacer allows, and says whether it has room for more.
fn may_read_paced(
    downstream: &mut Downstream,
    exchange: &mut Exchange,
    cx: &mut Context<'_>,
) -> bool {
    if downstream.poll_paced(exchange, cx) {
        exchange.deadlines.progress(reactor::now());
    }
    let held = exchange.pacer.as_ref().map_or(0, |pacer| pacer.held());
    held < downstream.buffer_limit as usize
}
