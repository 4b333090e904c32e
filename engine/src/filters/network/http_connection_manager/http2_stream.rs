//! One stream of an HTTP/2 connection: a request from its head to the end of
//! its response.

use std::rc::Rc;
use std::task::{Context, Poll};

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_codecs::http1::{Framing, HeadersWithUnderscores, RequestHead, Version, is_authority};

use super::http2_connection::StreamSlot;
use super::{ConnectionManager, Handled};
use crate::http::downstream::Downstream;
use crate::http::exchange::{Exchange, Tunnel};
use crate::http::http2::headers::read_request;
use crate::http::http2::observer::Observed;
use crate::http::http2::server::{Broken, ServerStream};
use crate::reactor::{self, Chunk};
use crate::stream_info::{BytesMeter, Protocol, ResponseFlag, TimePoint, details};

/// Why the head of a request is no request.
struct Refused {
    reason: Reason,
    flag: ResponseFlag,
    details: &'static str,
}

impl ConnectionManager {
    /// Begins a stream that h2 has accepted, as a task of its own. What h2 has
    /// made of the head is read here, so that the task need not carry it.
    pub(super) fn begin_stream(
        self: &Rc<Self>,
        slot: StreamSlot,
        request: http::Request<RecvStream>,
        respond: SendResponse<Chunk>,
        observed: Observed,
    ) {
        let connection = slot.connection();
        let mut exchange = self.worker.exchanges.borrow_mut().take(
            Rc::clone(&connection.info),
            reactor::now(),
            reactor::wall_clock(),
        );
        self.begin_log_interval(&mut exchange);
        let http2_stats = self.worker.http2_stats();
        http2_stats.streams_active.inc();
        let (head, receive) = request.into_parts();
        read_request(&head, &mut exchange.request);
        let fields = exchange.request.byte_size() as u64;
        let stream = ServerStream::new(receive, respond, fields, observed);
        let downstream = Downstream::http2(
            stream,
            slot.timer(),
            Rc::clone(&connection.info),
            connection.buffer_limit,
        );
        drop(reactor::spawn(
            Rc::clone(self).serve_stream(slot, exchange, downstream),
        ));
    }

    async fn serve_stream(
        self: Rc<Self>,
        slot: StreamSlot,
        mut exchange: Box<Exchange>,
        mut downstream: Downstream,
    ) {
        let handled = match self.request_head(&mut exchange.request, &mut downstream) {
            Ok(head) => self.handle(&mut downstream, &mut exchange, &head).await,
            Err(refused) => {
                slot.connection().has_lost.set(true);
                self.refuse_stream(&refused, &mut downstream, &mut exchange);
                Handled::Aborted
            }
        };
        let stream = downstream.as_http2();
        // A tunnel has ended: its host's side only, or all of it.
        if handled == Handled::Answered && exchange.response_complete {
            stream.send_end(&HeaderMap::new());
        }
        let handled = match handled == Handled::Answered && !stream.is_ending() {
            true => Handled::Aborted,
            false => handled,
        };
        // What is told of it has to be on its way first.
        downstream.flush_limit = exchange.flush_limit;
        if handled == Handled::Aborted {
            let reason = why_broken_off(&exchange);
            self.break_off_stream(&mut downstream, reason).await;
        } else {
            self.flush_stream(&mut downstream, &mut exchange).await;
        }
        if self.config().logs_sent_bytes && exchange.is_request_over() {
            reactor::yield_now().await;
        }
        self.finish(&mut downstream, &mut exchange);
        let begun = exchange.info.start;
        let is_request_over = exchange.is_request_over();
        let is_unanswered = exchange.info.response_code == 0;
        self.worker.exchanges.borrow_mut().put(exchange);
        self.count_stream(&mut downstream, is_request_over);
        let stream = downstream.as_http2();
        let connection = slot.connection();
        if stream.broken() == Some(Broken::Closed) && stream.why_closed().is_some() {
            connection.has_lost.set(true);
        }
        let by_reset = stream.broken() == Some(Broken::ByPeer) && is_unanswered;
        if slot.note_end(begun, by_reset, &self.worker.runtime.borrow()) && connection.close() {
            self.stats().downstream_rq_too_many_premature_resets.inc();
        }
        if self.is_draining() {
            slot.connection().drain();
        }
    }

    /// Resets a stream whose response cannot be completed. The client gets what
    /// it has room for of the part that is there, as in Envoy.
    async fn break_off_stream(&self, downstream: &mut Downstream, reason: Reason) {
        let stream = downstream.as_http2();
        if stream.broken().is_none() && stream.has_begun() {
            // h2 forgets what it has not written when the reset comes.
            self.flush_until(downstream, ServerStream::poll_out).await;
        }
        downstream.as_http2().reset(reason);
    }

    /// Waits until the client has room for all of the response, and notes where it has
    /// ended before. As in Envoy, logs do not tell of one that had no room for too long.
    async fn flush_stream(&self, downstream: &mut Downstream, exchange: &mut Exchange) {
        if downstream.as_http2().is_sent() {
            return;
        }
        let info = &mut exchange.info;
        info.mark(TimePoint::DownstreamTxEnd, reactor::now());
        self.flush_until(downstream, ServerStream::poll_sent).await;
        let stream = downstream.as_http2();
        if !stream.is_sent() && stream.broken() != Some(Broken::ByUs) {
            exchange.response_complete = false;
            let (flag, details) = downstream.why_gone();
            exchange.info.flags.set(flag);
            exchange.info.details.set(details);
        }
    }

    /// Waits until the response is as far as `poll` says, or resets it for the time
    /// that this takes.
    async fn flush_until(
        &self,
        downstream: &mut Downstream,
        poll: fn(&mut ServerStream, &mut Context<'_>) -> Poll<()>,
    ) {
        let mut queued = downstream.queued();
        let deadline = |limit: Option<_>| limit.map(|limit| reactor::now() + limit);
        downstream.timer.set(deadline(downstream.flush_limit));
        let timer = Rc::clone(&downstream.timer);
        let sent = std::future::poll_fn(|cx| {
            if poll(downstream.as_http2(), cx).is_ready() {
                return Poll::Ready(true);
            }
            // Any progress is enough, as with HTTP/1.
            let now_queued = downstream.queued();
            if now_queued < queued {
                queued = now_queued;
                timer.set(deadline(downstream.flush_limit));
            }
            timer.poll_expired(cx).map(|()| false)
        })
        .await;
        if !sent {
            if !self.worker.is_stopping() {
                self.worker.http2_stats().tx_flush_timeout.inc();
            }
            downstream.as_http2().reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Checks what h2 leaves to be checked, and says what the head of an HTTP/1
    /// request would say besides its fields.
    fn request_head(
        &self,
        request: &mut HeaderMap,
        downstream: &mut Downstream,
    ) -> Result<RequestHead, Refused> {
        let options = &self.config().request;
        let stats = self.worker.http2_stats();
        if request.byte_size() > options.head_bytes_max {
            stats.header_list_size_too_large.inc();
            return Err(refused_for(details::HTTP2_HEADER_LIST_SIZE_TOO_LARGE));
        }
        if request.len() > options.headers_max {
            stats.header_overflow.inc();
            return Err(refused_for(details::HTTP2_TOO_MANY_HEADERS));
        }
        let authority = request.get(HeaderId::Authority);
        match authority {
            None => return Err(malformed(details::HTTP2_MESSAGING_RULE)),
            Some(authority) if !is_authority(authority) => {
                return Err(malformed(details::HTTP2_INVALID_HEADER_FIELD));
            }
            Some(_) => {}
        }
        let upgrade = to_upgrade(request);
        let method = request.get(HeaderId::Method).unwrap_or_default();
        let (is_head, is_connect) = (method == b"HEAD", method == b"CONNECT");
        let path = request.get(HeaderId::Path).unwrap_or_default();
        let is_asterisk = path == b"*" && method == b"OPTIONS";
        if !is_connect && !path.starts_with(b"/") && !is_asterisk {
            return Err(malformed(details::HTTP2_MESSAGING_RULE));
        }
        let dropped = self.judge_underscores(options.underscores, request)?;
        let expects = request.get(HeaderId::Expect).unwrap_or_default();
        Ok(RequestHead {
            version: Version::Http11,
            framing: match downstream.is_request_read() {
                true => Framing::None,
                false => Framing::Chunked,
            },
            keep_alive: true,
            expect_continue: expects.eq_ignore_ascii_case(b"100-continue"),
            upgrade,
            is_head,
            is_connect,
            head_bytes: 0,
            dropped_underscore_headers: dropped,
            refused: None,
        })
    }

    /// Does what the configuration says with names that have an underscore, and
    /// says how many are dropped.
    fn judge_underscores(
        &self,
        underscores: HeadersWithUnderscores,
        request: &mut HeaderMap,
    ) -> Result<u32, Refused> {
        let has_one = |name: &[u8]| memchr::memchr(b'_', name).is_some();
        match underscores {
            HeadersWithUnderscores::Allow => Ok(0),
            HeadersWithUnderscores::DropHeader => {
                let before = request.len();
                request.retain(|name, _| !has_one(name.as_bytes()));
                Ok((before - request.len()) as u32)
            }
            HeadersWithUnderscores::RejectRequest => {
                if !request.iter().any(|(name, _)| has_one(name.as_bytes())) {
                    return Ok(0);
                }
                let stats = self.worker.http2_stats();
                stats.requests_rejected_with_underscores_in_headers.inc();
                Err(refused_for(details::HTTP2_UNEXPECTED_UNDERSCORE))
            }
        }
    }

    /// Counts a stream that is reset for its head. As in Envoy, logs see nothing
    /// of such a request.
    fn refuse_stream(
        &self,
        refused: &Refused,
        downstream: &mut Downstream,
        exchange: &mut Exchange,
    ) {
        self.count_request(Protocol::Http2);
        exchange.request.clear();
        let info = &mut exchange.info;
        info.protocol = Some(Protocol::Http2);
        info.flags.set(refused.flag);
        info.details.set(refused.details);
        let stream = downstream.as_http2();
        stream.add_bytes(&mut BytesMeter::default());
        if refused.reason == Reason::PROTOCOL_ERROR {
            stream.note_malformed();
        }
        stream.reset(refused.reason);
    }

    /// Counts how a stream has ended.
    fn count_stream(&self, downstream: &mut Downstream, is_request_over: bool) {
        let stats = self.worker.http2_stats();
        stats.streams_active.dec();
        let stream = downstream.as_http2();
        match stream.broken() {
            Some(Broken::ByPeer) => stats.rx_reset.inc(),
            Some(Broken::ByUs | Broken::Protocol) => stats.tx_reset.inc(),
            // h2 does it, because we take no more of the request.
            None if !is_request_over => stats.tx_reset.inc(),
            None | Some(Broken::Closed) => {}
        }
        if stream.has_trailers() {
            stats.trailers.inc();
        }
    }
}

/// What the client of a stream that cannot go on is told. RFC 9113 section 8.5 has a
/// code for a tunnel whose connection to its host fails.
fn why_broken_off(exchange: &Exchange) -> Reason {
    let flags = exchange.info.flags;
    let is_tunnel = exchange.tunnel != Tunnel::None;
    if is_tunnel && flags.has(ResponseFlag::UpstreamConnectionTermination) {
        Reason::CONNECT_ERROR
    } else {
        Reason::INTERNAL_ERROR
    }
}

/// Makes the request for another protocol of RFC 8441 what it is in HTTP/1, as
/// Envoy does; says whether it is one.
fn to_upgrade(request: &mut HeaderMap) -> bool {
    let Some(protocol) = request.get(HeaderId::Protocol) else {
        return false;
    };
    let protocol = protocol.to_vec();
    request.remove(HeaderId::Protocol);
    request.set(HeaderId::Method, b"GET");
    request.set(HeaderId::Upgrade, &protocol);
    request.set(HeaderId::Connection, b"upgrade");
    true
}

fn malformed(details: &'static str) -> Refused {
    Refused {
        reason: Reason::PROTOCOL_ERROR,
        flag: ResponseFlag::DownstreamProtocolError,
        details,
    }
}

fn refused_for(details: &'static str) -> Refused {
    Refused {
        reason: Reason::INTERNAL_ERROR,
        flag: ResponseFlag::DownstreamRemoteReset,
        details,
    }
}
