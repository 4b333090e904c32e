//! One request and its response as a stream of HTTP/2.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use ringway_codecs::header::{HeaderId, HeaderMap, HeaderName};
use ringway_codecs::http1::{Framing, ResponseHead, Version};

use super::codec::{Asked, Moved};
use crate::http::exchange::Tunnel;
use crate::http::http1::reader::{BodyPart, ReadError, RequestFacts};
use crate::http::http2::error::Http2Error;
use crate::http::http2::observer::Observed;
use crate::http::http2::stream_bytes::StreamBytes;
use crate::http::http2::{body, headers};
use crate::reactor::Chunk;
use crate::stats::Counter;
use crate::stats::http2::Http2CodecStats;
use crate::upstream::conn_pool::Lease;

/// A stream of a connection to a host. Dropped before its end it is reset.
pub(in crate::filters) struct Http2Codec {
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    request: Option<SendStream<Chunk>>,
    /// How many streams there were with it.
    streams: u32,
    /// Bytes of the body that were given to h2.
    given_bytes: u64,
    /// The end of the request was said.
    is_ended: bool,
    /// It was said with the last part of the body, before that was known to be
    /// the last one.
    ended_ahead: bool,
    /// Why there is no stream.
    failed: Option<ReadError>,
    /// What it is to become.
    tunnel: Tunnel,
    /// The other protocol that was asked for.
    upgrade: Option<Box<[u8]>>,
    /// The response has no content, whatever it says of it.
    is_bodiless: bool,
    has_head: bool,
    /// The end of the response was read.
    is_read: bool,
    /// Of headers as they are, since it was asked last.
    header_received: u64,
    /// What of it moves on the wire, where there is a stream.
    observed: Option<Observed>,
    counts: Counts,
}

/// What becomes of streams.
#[derive(Clone, Copy)]
struct Counts {
    codec: Http2CodecStats,
    rq_rx_reset: Counter,
    rq_tx_reset: Counter,
    rq_closed: Counter,
}

impl Counts {
    fn of(lease: &Lease) -> Self {
        let cluster = lease.cluster();
        let stats = &cluster.stats;
        Self {
            codec: *lease.http2_stats().unwrap_or_else(|| cluster.http2_stats()),
            rq_rx_reset: stats.upstream_rq_rx_reset,
            rq_tx_reset: stats.upstream_rq_tx_reset,
            rq_closed: stats.upstream_rq_pending_failure_eject,
        }
    }

    /// We have reset a stream.
    fn sent_reset(&self) {
        self.codec.tx_reset.inc();
        self.rq_tx_reset.inc();
    }

    /// The headers of a message are too many.
    fn overflowed(&self) {
        self.codec.header_overflow.inc();
        self.reset_for_host();
    }

    /// The headers of a message are too large.
    fn too_large(&self) {
        self.codec.header_list_size_too_large.inc();
        self.reset_for_host();
    }

    /// As in Envoy it is as if the host had reset the stream.
    fn reset_for_host(&self) {
        self.codec.tx_reset.inc();
        self.rq_rx_reset.inc();
    }
}

impl Http2Codec {
    pub fn start(lease: &Lease, request: &HeaderMap, asked: Asked) -> (Self, u64) {
        let mut codec = Self {
            response: None,
            body: None,
            request: None,
            streams: lease.streams(),
            given_bytes: 0,
            is_ended: false,
            ended_ahead: false,
            failed: None,
            tunnel: asked.tunnel,
            upgrade: (is_upgrade(asked.tunnel))
                .then(|| request.get(HeaderId::Upgrade).unwrap_or_default().into()),
            is_bodiless: false,
            has_head: false,
            is_read: false,
            header_received: 0,
            observed: None,
            counts: Counts::of(lease),
        };
        let is_whole = !asked.has_body && asked.tunnel == Tunnel::None;
        codec.is_ended = is_whole;
        let field_bytes = size_of_fields(request);
        let Some(head) = write_head(request, asked.tunnel) else {
            codec.failed = Some(ReadError::Http2(Http2Error::Unsendable));
            return (codec, 0);
        };
        match lease.begin_stream(head, is_whole) {
            Ok((response, request)) => {
                codec.observed = lease.observe(&request);
                codec.response = Some(response);
                codec.request = Some(request);
            }
            Err(error) => codec.failed = Some(error.into()),
        }
        (codec, field_bytes)
    }

    pub fn poll_response(
        &mut self,
        lease: &Lease,
        facts: RequestFacts,
        headers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, ReadError>> {
        let head_bytes_max = lease.cluster().config.http2_response_head_bytes_max;
        let Some(response) = &mut self.response else {
            let failed = self.failed.take();
            return Poll::Ready(Err(failed.unwrap_or(ReadError::Closed)));
        };
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            let (head, ()) = interim.into_parts();
            return Poll::Ready(self.on_head(&head, false, head_bytes_max, headers));
        }
        let received = match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(received)) => received,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.on_error(error))),
            Poll::Pending => return self.poll_reset(cx).map(Err),
        };
        self.response = None;
        self.has_head = true;
        let (head, body) = received.into_parts();
        let is_end = body.is_end_stream();
        if head.headers.len() > lease.cluster().config.response_headers_max as usize {
            self.counts.overflowed();
            return Poll::Ready(Err(self.reset(Reason::INTERNAL_ERROR, Http2Error::Reset)));
        }
        self.is_bodiless = facts.is_head || matches!(head.status.as_u16(), 204 | 304);
        self.body = Some(body);
        self.is_read = is_end;
        Poll::Ready(self.on_head(&head, is_end, head_bytes_max, headers))
    }

    /// Reads a head. The framing says how a client of HTTP/1 would see it.
    fn on_head(
        &mut self,
        head: &http::response::Parts,
        is_end: bool,
        bytes_max: u32,
        out: &mut HeaderMap,
    ) -> Result<ResponseHead, ReadError> {
        let mut status = head.status.as_u16();
        // RFC 9113 section 8.6: there is no such thing in HTTP/2.
        if status == 101 {
            if let Some(observed) = &self.observed {
                observed.note_malformed();
            }
            self.counts.sent_reset();
            return Err(self.reset(Reason::PROTOCOL_ERROR, Http2Error::Protocol));
        }
        if is_upgrade(self.tunnel) && status == 200 {
            // RFC 8441 section 5, as a client of HTTP/1 knows it.
            status = 101;
            out.append(HeaderId::Status, b"101");
            headers::read_response(&head.headers, out);
            out.set(
                HeaderId::Upgrade,
                self.upgrade.as_deref().unwrap_or_default(),
            );
            out.set(HeaderId::Connection, b"upgrade");
        } else {
            out.append(HeaderId::Status, head.status.as_str().as_bytes());
            headers::read_response(&head.headers, out);
        }
        let field_bytes = size_of_fields(out);
        self.header_received += field_bytes;
        // h2 lets more pass, see `header_list_max` where connections are opened.
        if field_bytes > u64::from(bytes_max) && out.byte_size() > bytes_max as usize {
            out.clear();
            self.counts.too_large();
            return Err(self.reset(Reason::INTERNAL_ERROR, Http2Error::Reset));
        }
        let is_tunnel = self.tunnel == Tunnel::Connect && (200..300).contains(&status);
        let framing = if self.is_bodiless && is_end || status < 200 || is_tunnel {
            Framing::None
        } else if is_end {
            Framing::Length(0)
        } else {
            let length = out.get(HeaderId::ContentLength);
            let length = length.and_then(|text| std::str::from_utf8(text).ok());
            match length.and_then(|text| text.parse().ok()) {
                Some(length) => Framing::Length(length),
                None => Framing::Chunked,
            }
        };
        Ok(ResponseHead {
            version: Version::Http11,
            status,
            framing,
            keep_alive: true,
            head_bytes: 0,
        })
    }

    pub fn poll_body(
        &mut self,
        lease: &Lease,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        let Some(received) = &mut self.body else {
            return Poll::Ready(Ok(BodyPart::End));
        };
        loop {
            let data = match received.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => data,
                Poll::Ready(Some(Err(error))) if self.is_bodiless && error.is_library() => {
                    // h2 was the first to see what comes below.
                    self.counts.sent_reset();
                    self.forget();
                    return Poll::Ready(Ok(BodyPart::End));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.on_error(error))),
                Poll::Ready(None) => break,
                Poll::Pending => return self.poll_reset(cx).map(Err),
            };
            // The caller has room for it: more may come.
            let _ = received.flow_control().release_capacity(data.len());
            if data.is_empty() {
                continue;
            }
            if self.is_bodiless {
                // RFC 9110 section 6.4.1: no such response has content. It is
                // complete without.
                self.counts.sent_reset();
                let _ = self.reset(Reason::PROTOCOL_ERROR, Http2Error::Protocol);
                return Poll::Ready(Ok(BodyPart::End));
            }
            return Poll::Ready(Ok(BodyPart::Data(body::received(data))));
        }
        match ready!(received.poll_trailers(cx)) {
            Ok(Some(fields)) => {
                headers::read_trailers(&fields, trailers);
                self.header_received += size_of_fields(trailers);
                if fields.len() > lease.cluster().config.response_headers_max as usize {
                    trailers.clear();
                    self.counts.overflowed();
                    let error = self.reset(Reason::INTERNAL_ERROR, Http2Error::Reset);
                    return Poll::Ready(Err(error));
                }
            }
            Ok(None) => {}
            Err(error) => return Poll::Ready(Err(self.on_error(error))),
        }
        self.body = None;
        self.is_read = true;
        Poll::Ready(Ok(BodyPart::End))
    }

    /// A stream that h2 has reset by itself says so to its sender only.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        let Some(request) = &mut self.request else {
            return Poll::Pending;
        };
        match ready!(request.poll_reset(cx)) {
            Ok(reason) => {
                self.counts.sent_reset();
                Poll::Ready(self.reset(reason, Http2Error::Protocol))
            }
            Err(error) => Poll::Ready(self.on_error(error)),
        }
    }

    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        let Some(received) = &mut self.body else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let data = match ready!(received.poll_data(cx)) {
                Some(Ok(data)) => data,
                Some(Err(error)) => return Poll::Ready(Err(self.on_error(error))),
                None => {
                    self.is_read = true;
                    return Poll::Ready(Ok(None));
                }
            };
            let _ = received.flow_control().release_capacity(data.len());
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(body::received(data))));
            }
        }
    }

    /// Polls until the stream's window has room, and those of all streams
    /// together. What does not fit is kept by h2: one part of a body at most.
    ///
    /// A byte is asked for, however much will be sent: what h2 has assigned to a
    /// stream no other one gets, and its client may be silent for long.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let Some(request) = &mut self.request else {
            return Poll::Ready(Err(()));
        };
        if self.ended_ahead || request.capacity() > 0 {
            return Poll::Ready(Ok(()));
        }
        request.reserve_capacity(1);
        match request.poll_capacity(cx) {
            Poll::Ready(Some(Ok(_))) => Poll::Ready(Ok(())),
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Err(())),
            Poll::Pending => Poll::Pending,
        }
    }

    pub fn send_data(&mut self, data: Chunk, end_stream: bool) {
        let Some(request) = &mut self.request else {
            return;
        };
        // An empty part says nothing.
        if data.is_empty() {
            return;
        }
        let end_stream = end_stream && self.tunnel == Tunnel::None;
        self.given_bytes += data.len() as u64;
        match request.send_data(body::to_send(data), end_stream) {
            Ok(()) if end_stream => (self.is_ended, self.ended_ahead) = (true, true),
            Ok(()) => {}
            // Whoever reads the response is told why.
            Err(_) => self.is_ended = true,
        }
    }

    /// Polls until h2 has sent all that it got, which it forgets where the stream is
    /// reset, or the stream has ended.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(observed), Some(request)) = (&self.observed, &mut self.request) else {
            return Poll::Ready(());
        };
        if request.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        observed.poll_sent(1, self.given_bytes, cx)
    }

    /// Ends our side of a tunnel.
    pub fn end_raw(&mut self) {
        let Some(request) = &mut self.request else {
            return;
        };
        if !std::mem::replace(&mut self.is_ended, true) {
            // A stream that is gone needs no end.
            let _ = request.send_data(Chunk::from(&b""[..]), true);
        }
    }

    pub fn send_end(&mut self, trailers: &HeaderMap) -> u64 {
        let Some(request) = &mut self.request else {
            return 0;
        };
        // What a tunnel carries has no end but that of the stream.
        if self.tunnel != Tunnel::None || std::mem::replace(&mut self.is_ended, true) {
            return 0;
        }
        let fields = match trailers.is_empty() {
            true => None,
            false => headers::write_trailers(trailers).ok(),
        };
        let mut field_bytes = 0;
        let _ = match fields {
            Some(fields) => {
                field_bytes = size_of_fields(trailers);
                request.send_trailers(fields)
            }
            None => request.send_data(Chunk::from(&b""[..]), true),
        };
        field_bytes
    }

    /// Whether it was begun before the host could say that it takes fewer.
    pub fn was_too_many(&self, lease: &Lease) -> bool {
        self.streams > lease.streams_max()
    }

    /// Whether no head has come.
    pub fn is_unanswered(&self) -> bool {
        !self.has_head
    }

    pub fn take_moved(&mut self) -> Moved {
        let observed = self.observed.as_ref();
        let bytes = observed.map_or_else(StreamBytes::default, Observed::take_bytes);
        Moved {
            wire_received: bytes.received,
            wire_sent: bytes.sent,
            header_received: std::mem::take(&mut self.header_received),
            is_framed: true,
            framed_sent: bytes.header_sent,
            framed_received: bytes.header_received,
        }
    }

    fn on_error(&mut self, error: h2::Error) -> ReadError {
        let is_reset = error.is_reset();
        let is_head = self.response.is_some();
        let observed = self.observed.as_ref();
        let is_too_large = observed.is_some_and(Observed::has_large_head);
        let error = match ReadError::from(error) {
            // h2 takes it for a mistake, see `header_list_max` where connections are
            // opened.
            ReadError::Http2(Http2Error::Protocol) if is_reset && is_head && is_too_large => {
                self.counts.too_large();
                self.forget();
                return ReadError::Http2(Http2Error::Reset);
            }
            // It is we who have ended the connection, for what the host sent.
            ReadError::Io(_) if observed.is_some_and(|on| on.end_details().is_some()) => {
                ReadError::Http2(Http2Error::Protocol)
            }
            error => error,
        };
        let counts = &self.counts;
        match &error {
            ReadError::Io(_) => counts.rq_closed.inc(),
            ReadError::Http2(Http2Error::Reset) => {
                counts.codec.rx_reset.inc();
                counts.rq_rx_reset.inc();
            }
            // As in Envoy, which takes it for a mistake of the host's.
            ReadError::Http2(Http2Error::Blamed) => {
                counts.codec.rx_reset.inc();
                counts.rq_tx_reset.inc();
            }
            ReadError::Http2(Http2Error::Refused) => counts.codec.rx_reset.inc(),
            // What h2 finds wrong with a message ends its stream.
            ReadError::Http2(Http2Error::Protocol) if is_reset => {
                // Where both sides had ended, nobody was told of it.
                if is_head && !observed.is_some_and(Observed::is_malformed) {
                    counts.codec.rx_messaging_error.inc();
                }
                counts.sent_reset();
            }
            ReadError::Http2(Http2Error::Protocol) => counts.rq_tx_reset.inc(),
            _ => {}
        }
        self.forget();
        error
    }

    /// Ends the stream for a reason of ours.
    fn reset(&mut self, reason: Reason, error: Http2Error) -> ReadError {
        if let Some(request) = &mut self.request {
            request.send_reset(reason);
        }
        self.forget();
        ReadError::Http2(error)
    }

    /// There is no stream any more.
    fn forget(&mut self) {
        self.response = None;
        self.body = None;
        self.request = None;
    }
}

impl Drop for Http2Codec {
    /// h2 resets a stream that nobody waits for any more.
    fn drop(&mut self) {
        if self.request.is_some() && !(self.is_read && self.is_ended) {
            self.counts.sent_reset();
        }
    }
}

fn is_upgrade(tunnel: Tunnel) -> bool {
    matches!(tunnel, Tunnel::Upgrade | Tunnel::WebSocket)
}

/// The head of a request. What asks for another protocol does so with an
/// extended CONNECT (RFC 8441); as in Envoy, whether or not the host has said
/// that it takes any.
fn write_head(request: &HeaderMap, tunnel: Tunnel) -> Option<http::Request<()>> {
    let mut head = headers::write_request(request).ok()?;
    match tunnel {
        Tunnel::None | Tunnel::Connect => {}
        Tunnel::Upgrade | Tunnel::WebSocket => {
            let protocol = request.get(HeaderId::Upgrade)?;
            let protocol = std::str::from_utf8(protocol).ok()?.to_ascii_lowercase();
            let protocol = h2::ext::Protocol::from(protocol.as_str());
            head.extensions_mut().insert(protocol);
            *head.method_mut() = http::Method::CONNECT;
        }
    }
    Some(head)
}

/// The size of a list's fields as lines of HTTP/1, which is near what HTTP/2
/// says of them before it compresses.
fn size_of_fields(fields: &HeaderMap) -> u64 {
    let line = |(name, value): (HeaderName<'_>, &[u8])| name.as_bytes().len() + value.len() + 4;
    fields.iter().map(line).sum::<usize>() as u64
}
