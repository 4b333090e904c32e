//! A stream of a client's HTTP/2 connection: one request and its response.
//!
//! The body is read only as somebody takes it, and only what was taken is
//! given back to the client's windows. What is to be sent waits here, in
//! memory of its own, until the windows of the client have room for it; h2
//! never holds more than they allow.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use ringway_codecs::header::{HeaderId, HeaderMap};

use super::body;
use super::headers::{read_trailers, write_response, write_trailers};
use super::observer::Observed;
use crate::http::downstream::ResponseFraming;
use crate::http::exchange::Exchange;
use crate::http::http1::reader::{BodyPart, ReadError};
use crate::reactor::Chunk;
use crate::stream_info::BytesMeter;

/// A stream whose head was read.
pub struct ServerStream {
    receive: RecvStream,
    sender: Sender,
    /// What waits for room in the client's windows.
    pending: VecDeque<Chunk>,
    pending_bytes: usize,
    /// What was given to h2: heads, interim ones among them, and bytes of the body.
    given_heads: u32,
    given_bytes: u64,
    ending: Ending,
    /// The body was read to its end.
    is_read: bool,
    /// How the stream ended before its time.
    broken: Option<Broken>,
    has_trailers: bool,
    discards_body: bool,
    field_bytes: u64,
    observed: Observed,
}

/// What the response is sent with.
enum Sender {
    /// Its head was not sent yet.
    Head(SendResponse<Chunk>),
    Body(SendStream<Chunk>),
}

/// How far the end of the response is.
enum Ending {
    /// More may follow.
    Open,
    /// It follows what is pending.
    Due,
    /// The same, with trailers.
    DueWithTrailers(Box<http::HeaderMap>),
    /// It was given to h2.
    Sent,
}

/// How a stream ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The client has reset it.
    ByPeer,
    /// We have reset it.
    ByUs,
    /// h2 has reset it, because the client broke the protocol.
    Protocol,
    /// With its connection.
    Closed,
}

impl ServerStream {
    /// A stream that h2 has accepted; the fields of its head have `field_bytes`.
    #[must_use]
    pub fn new(
        receive: RecvStream,
        respond: SendResponse<Chunk>,
        field_bytes: u64,
        observed: Observed,
    ) -> Self {
        Self {
            is_read: receive.is_end_stream(),
            receive,
            sender: Sender::Head(respond),
            pending: VecDeque::new(),
            pending_bytes: 0,
            given_heads: 0,
            given_bytes: 0,
            ending: Ending::Open,
            broken: None,
            has_trailers: false,
            discards_body: false,
            field_bytes,
            observed,
        }
    }

    /// How the stream ended before its time, if it did.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether the head of the response was sent.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.sender, Sender::Body(_))
    }

    /// Whether trailers were read.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        self.has_trailers
    }

    /// Bytes that wait for room.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.pending_bytes
    }

    /// Whether the end of the response is known.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        !matches!(self.ending, Ending::Open)
    }

    /// Whether all of the response was given to h2.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self.ending, Ending::Sent)
    }

    /// Polls until fewer than `below` bytes wait for room.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>, below: usize) -> Poll<io::Result<()>> {
        self.send_pending(Some(cx));
        if self.broken.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.pending_bytes < below.max(1) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Ready when the response is out as far as the client has room for it, to
    /// its end, or cannot go on.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send_pending(Some(cx));
        if self.is_sent() || self.broken.is_some() || self.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Ready when what there is of the response is out as far as the client has
    /// room for it, and when the stream has ended.
    pub fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send_pending(Some(cx));
        if self.broken.is_some() || self.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        // When h2 has sent all that it got, no more than that has room.
        (self.observed).poll_sent(self.given_heads, self.given_bytes, cx)
    }

    /// Ready when the stream has ended by a reset, or with its connection.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken.is_some() {
            return Poll::Ready(());
        }
        let reset = match &mut self.sender {
            Sender::Head(respond) => respond.poll_reset(cx),
            Sender::Body(stream) => stream.poll_reset(cx),
        };
        // h2 does not say which side it was.
        self.broken = Some(match ready!(reset) {
            Ok(_) if self.observed.is_reset_by_peer() => Broken::ByPeer,
            Ok(_) if self.why_closed().is_none() => Broken::Protocol,
            Ok(_) | Err(_) => Broken::Closed,
        });
        Poll::Ready(())
    }

    /// Polls for more of the request's body.
    pub fn poll_body(
        &mut self,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        if self.is_read {
            return Poll::Ready(Ok(BodyPart::End));
        }
        while let Some(part) = ready!(self.receive.poll_data(cx)) {
            let part = part.map_err(|error| self.note(&error))?;
            // Whoever reads has room for it, and reads on only with room for
            // more. A stream that is gone has no window.
            let _ = self.receive.flow_control().release_capacity(part.len());
            if !part.is_empty() {
                return Poll::Ready(Ok(BodyPart::Data(body::received(part))));
            }
        }
        let found = ready!(self.receive.poll_trailers(cx)).map_err(|error| self.note(&error))?;
        if let Some(found) = found {
            self.has_trailers = true;
            let before = trailers.byte_size();
            read_trailers(&found, trailers);
            self.field_bytes += (trailers.byte_size() - before) as u64;
        }
        self.is_read = true;
        Poll::Ready(Ok(BodyPart::End))
    }

    /// Polls for bytes of a tunnel. `None` is the client's end.
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        let mut trailers = HeaderMap::new();
        self.poll_body(&mut trailers, cx).map_ok(|part| match part {
            BodyPart::Data(data) => Some(data),
            BodyPart::End => None,
        })
    }

    fn note(&mut self, error: &h2::Error) -> ReadError {
        let broken = match (error.is_reset(), error.is_remote()) {
            (true, true) => Broken::ByPeer,
            (true, false) => Broken::Protocol,
            (false, _) => Broken::Closed,
        };
        self.broken.get_or_insert(broken);
        ReadError::Truncated
    }

    /// Whether the request was read to its end, or has no more than was read.
    #[must_use]
    pub fn is_request_read(&self) -> bool {
        self.is_read || self.receive.is_end_stream()
    }

    /// Adds what has moved since the last call: what the client has sent, and
    /// what of the response is on its way.
    pub fn add_bytes(&mut self, to: &mut BytesMeter) {
        let moved = self.observed.take_bytes();
        to.wire_received += moved.received;
        to.wire_sent += moved.sent;
        to.is_framed = true;
        to.framed_received += moved.header_received;
        to.framed_sent += moved.header_sent;
        to.header_received += std::mem::take(&mut self.field_bytes);
    }

    /// Notes that its request breaks the rules.
    pub fn note_malformed(&self) {
        self.observed.note_malformed();
    }

    /// Whether a message on it broke the rules.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        self.observed.is_malformed()
    }

    /// Why the whole connection has ended, where the client broke its rules.
    #[must_use]
    pub fn why_closed(&self) -> Option<&'static str> {
        self.observed.end_details()
    }

    /// Whether the response has no body, whatever is sent of it.
    #[must_use]
    pub fn discards_body(&self) -> bool {
        self.discards_body
    }

    /// Sends the head of an interim response.
    pub fn send_interim(&mut self, status: u16, headers: &HeaderMap) {
        if let Sender::Head(respond) = &mut self.sender
            && let Ok(head) = write_response(status, headers)
        {
            // It fails where the stream is gone, which is found out elsewhere.
            let sent = respond.send_informational(head);
            self.given_heads += u32::from(sent.is_ok());
        }
    }

    /// Sends the response's head from `exchange.response`.
    pub fn send_head(&mut self, exchange: &mut Exchange, status: u16, framing: ResponseFraming) {
        let Sender::Head(respond) = &mut self.sender else {
            return;
        };
        // RFC 8441 section 5: the answer to CONNECT, not to an upgrade.
        let told = match (framing, status) {
            (ResponseFraming::Tunnel, 101) => 200,
            _ => status,
        };
        let Ok(head) = write_response(told, &exchange.response) else {
            self.reset(Reason::INTERNAL_ERROR);
            return;
        };
        self.discards_body = exchange.facts.is_head || status == 204 || status == 304;
        let is_empty = framing == ResponseFraming::Empty
            || framing == ResponseFraming::Described
                && exchange.response.get(HeaderId::ContentLength) == Some(b"0");
        let is_end = self.discards_body || is_empty;
        match respond.send_response(head, is_end) {
            Ok(stream) => {
                self.sender = Sender::Body(stream);
                self.given_heads += 1;
                if is_end {
                    self.ending = Ending::Sent;
                }
                exchange.info.downstream_bytes.header_sent += exchange.response.byte_size() as u64;
            }
            Err(_) => self.broken = Some(Broken::Closed),
        }
    }

    /// Queues a part of the response's body. It is sent together with the end of
    /// the response if that follows in the same turn, and otherwise when the
    /// task looks for [room](Self::send_pending) again.
    pub fn send_data(&mut self, data: Chunk) {
        if self.discards_body || data.is_empty() || !matches!(self.ending, Ending::Open) {
            return;
        }
        self.pending_bytes += data.len();
        self.pending.push_back(data);
    }

    /// Sends the end of the response. Returns the size of its trailers.
    pub fn send_end(&mut self, trailers: &HeaderMap) -> u64 {
        if !matches!(self.ending, Ending::Open) {
            return 0;
        }
        let mut bytes = 0;
        self.ending = Ending::Due;
        if !trailers.is_empty()
            && let Ok(written) = write_trailers(trailers)
            && !written.is_empty()
        {
            bytes = trailers.byte_size() as u64;
            self.ending = Ending::DueWithTrailers(Box::new(written));
        }
        self.send_pending(None);
        bytes
    }

    /// Ends the stream at once.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.sender {
            Sender::Head(respond) => respond.send_reset(reason),
            Sender::Body(stream) => stream.send_reset(reason),
        }
        self.forget_pending();
        self.broken.get_or_insert(Broken::ByUs);
    }

    fn forget_pending(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Gives h2 what the client has room for. The task of `cx` is woken when it
    /// has more.
    pub fn send_pending(&mut self, cx: Option<&mut Context<'_>>) {
        if self.pending.is_empty() && matches!(self.ending, Ending::Open | Ending::Sent) {
            return;
        }
        match self.try_send(cx) {
            Poll::Ready(Ok(())) => {}
            // It may wait for long, and receive buffers are few.
            Poll::Pending => self.pending.iter_mut().for_each(Chunk::detach),
            Poll::Ready(Err(_)) => {
                self.forget_pending();
                self.broken.get_or_insert(Broken::Closed);
            }
        }
    }

    fn try_send(&mut self, mut cx: Option<&mut Context<'_>>) -> Poll<Result<(), h2::Error>> {
        let Sender::Body(stream) = &mut self.sender else {
            return Poll::Ready(Ok(()));
        };
        while let Some(first) = self.pending.front_mut() {
            stream.reserve_capacity(self.pending_bytes);
            let mut room = stream.capacity();
            if room == 0 {
                let Some(cx) = &mut cx else {
                    return Poll::Pending;
                };
                room = match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => stream.capacity(),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    // It takes no data any more.
                    None => {
                        let broken = match self.observed.is_reset_by_peer() {
                            true => Broken::ByPeer,
                            false => Broken::Closed,
                        };
                        self.broken.get_or_insert(broken);
                        self.forget_pending();
                        return Poll::Ready(Ok(()));
                    }
                };
            }
            let taken = room.min(first.len());
            if taken == 0 {
                continue;
            }
            let part = match taken == first.len() {
                true => self.pending.pop_front(),
                false => Some(first.split_to(taken)),
            };
            self.pending_bytes -= taken;
            self.given_bytes += taken as u64;
            let is_end = self.pending.is_empty() && matches!(self.ending, Ending::Due);
            if let Some(part) = part {
                stream.send_data(body::to_send(part), is_end)?;
            }
            if is_end {
                self.ending = Ending::Sent;
            }
        }
        match std::mem::replace(&mut self.ending, Ending::Sent) {
            Ending::Open => self.ending = Ending::Open,
            Ending::Due => {
                stream.send_data(Chunk::from(&[][..]), true)?;
            }
            Ending::DueWithTrailers(trailers) => stream.send_trailers(*trailers)?,
            Ending::Sent => {}
        }
        Poll::Ready(Ok(()))
    }
}
