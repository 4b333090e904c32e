//! Reads HTTP/1 messages from a stream: a head, then its body, then the next
//! head.
//!
//! Body bytes are handed on as the chunks that they were received in, cut to
//! the body; nothing is copied. What follows a message in the same chunk is
//! kept for the next one, and is never looked at before the message in front
//! of it is over: no byte of a body is ever parsed as a request.

use std::io;
use std::task::{Context, Poll, ready};

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::{
    BodyDecoder, BodyOptions, Framing, HeadReader, Http1Error, RequestHead, RequestOptions,
    ResponseHead, ResponseOptions, Version,
};

use crate::http::http2::error::Http2Error;
use crate::reactor::Chunk;
use crate::transport_sockets::TransportSocket;

/// Why a message could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer broke the protocol.
    Protocol(Http1Error),
    /// The peer closed the connection where a message may begin.
    Closed,
    /// The peer closed the connection within a message.
    Truncated,
    /// The connection failed.
    Io(io::Error),
    /// A message of HTTP/2 ended before it was complete.
    Http2(Http2Error),
    /// A filter does not take the body, and has an answer for it.
    Refused,
}

/// One step through a body.
#[derive(Debug)]
pub enum BodyPart {
    /// Some bytes of the body; never empty.
    Data(Chunk),
    /// The body is complete; trailers, if any, are in the caller's map.
    End,
}

/// The read side of an HTTP/1 connection.
pub struct MessageReader {
    head: HeadReader,
    body: BodyDecoder,
    /// Received and not yet looked at.
    unread: Option<Chunk>,
    /// What the peer broke the protocol with. There is no way back: what
    /// follows has no framing, and must never be taken for a message.
    broken: Option<Http1Error>,
    /// Bytes that belonged to messages, since they were last asked for.
    consumed: u64,
    /// The size of the heads' fields, since it was last asked for.
    field_bytes: u32,
}

impl Default for MessageReader {
    fn default() -> Self {
        Self {
            head: HeadReader::new(),
            body: BodyDecoder::new(Framing::None, &BodyOptions::default()),
            unread: None,
            broken: None,
            consumed: 0,
            field_bytes: 0,
        }
    }
}

impl MessageReader {
    /// Whether a head has begun to arrive: closing now cuts a request off.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        !self.head.is_empty()
    }

    /// Whether something was received behind the last message.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// The version of the last request; see [`HeadReader::version`].
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// Bytes on the wire that belonged to messages since the last call.
    pub fn take_consumed(&mut self) -> u64 {
        std::mem::take(&mut self.consumed)
    }

    /// The size of header and trailer lines since the last call, as Envoy
    /// counts it ([`HeadReader::field_bytes`]).
    pub fn take_field_bytes(&mut self) -> u64 {
        let trailers = self.body.take_trailer_field_bytes();
        u64::from(std::mem::take(&mut self.field_bytes) + trailers)
    }

    /// Whether the current body has been read to its end.
    #[must_use]
    pub fn is_body_done(&self) -> bool {
        self.broken.is_none() && self.body.is_done()
    }

    /// Polls until something is there to be read, or the peer has closed.
    pub fn poll_fill(
        &mut self,
        stream: &TransportSocket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ReadError>> {
        if self.unread.is_none() {
            match ready!(stream.poll_recv(cx)).map_err(ReadError::Io)? {
                Some(chunk) => self.unread = Some(chunk),
                None if self.head.is_empty() => return Poll::Ready(Err(ReadError::Closed)),
                None => return Poll::Ready(Err(ReadError::Truncated)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for the next request head. The body that it announces is read
    /// with [`Self::poll_body`].
    pub fn poll_request(
        &mut self,
        stream: &TransportSocket,
        options: &RequestOptions,
        body: &BodyOptions,
        headers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RequestHead, ReadError>> {
        self.poll_head(stream, cx, |reader, input| {
            let Some((head, consumed)) = reader.head.request(input, options, headers)? else {
                return Ok(None);
            };
            reader.body = BodyDecoder::new(head.framing, body);
            Ok(Some((head, consumed)))
        })
    }

    /// Polls for the next response head; interim (1xx) ones are returned too.
    pub fn poll_response(
        &mut self,
        stream: &TransportSocket,
        options: &ResponseOptions,
        body: &BodyOptions,
        request: RequestFacts,
        headers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, ReadError>> {
        self.poll_head(stream, cx, |reader, input| {
            let parsed = reader.head.response(
                input,
                options,
                request.is_head,
                request.is_connect,
                headers,
            )?;
            let Some((head, consumed)) = parsed else {
                return Ok(None);
            };
            reader.body = BodyDecoder::new(head.framing, body);
            Ok(Some((head, consumed)))
        })
    }

    /// Polls for the next part of the current message's body. After
    /// [`BodyPart::End`] it keeps answering that.
    pub fn poll_body(
        &mut self,
        stream: &TransportSocket,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        loop {
            if let Some(error) = self.broken {
                return Poll::Ready(Err(ReadError::Protocol(error)));
            }
            if self.body.is_done() {
                return Poll::Ready(Ok(BodyPart::End));
            }
            let Some(mut chunk) = ready!(self.poll_chunk(stream, cx))? else {
                let ended = self.body.on_eof().map_err(|_| ReadError::Truncated);
                return Poll::Ready(ended.map(|()| BodyPart::End));
            };
            let step = match self.body.decode(&chunk, trailers) {
                Ok(step) => step,
                Err(error) => return Poll::Ready(Err(self.break_off(error, chunk.len()))),
            };
            self.consumed += step.consumed as u64;
            let mut part = chunk.split_to(step.consumed);
            self.keep(chunk);
            part.truncate(step.data.end);
            part.advance(step.data.start);
            if !part.is_empty() {
                return Poll::Ready(Ok(BodyPart::Data(part)));
            }
        }
    }

    /// Begins a body that no head has announced.
    pub fn begin_body(&mut self, framing: Framing) {
        self.body = BodyDecoder::new(framing, &BodyOptions::default());
    }

    /// Polls for bytes behind the last message, which belong to no message:
    /// those of a tunnel. `None` is the peer's end.
    pub fn poll_raw(
        &mut self,
        stream: &TransportSocket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, ReadError>> {
        if let Some(error) = self.broken {
            return Poll::Ready(Err(ReadError::Protocol(error)));
        }
        let chunk = ready!(self.poll_chunk(stream, cx))?;
        self.consumed += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(Ok(chunk))
    }

    /// Feeds received chunks to `parse` until a head is complete.
    fn poll_head<H>(
        &mut self,
        stream: &TransportSocket,
        cx: &mut Context<'_>,
        mut parse: impl FnMut(&mut Self, &[u8]) -> Result<Option<(H, usize)>, Http1Error>,
    ) -> Poll<Result<H, ReadError>> {
        if let Some(error) = self.broken {
            return Poll::Ready(Err(ReadError::Protocol(error)));
        }
        loop {
            let Some(mut chunk) = ready!(self.poll_chunk(stream, cx))? else {
                let end = if self.head.is_empty() {
                    ReadError::Closed
                } else {
                    ReadError::Truncated
                };
                return Poll::Ready(Err(end));
            };
            let parsed = parse(self, &chunk);
            self.field_bytes += self.head.field_bytes();
            let (head, consumed) = match parsed {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    self.consumed += chunk.len() as u64;
                    continue;
                }
                Err(error) => return Poll::Ready(Err(self.break_off(error, chunk.len()))),
            };
            self.consumed += consumed as u64;
            chunk.advance(consumed);
            self.keep(chunk);
            return Poll::Ready(Ok(head));
        }
    }

    /// What was received and not read yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.unread.as_deref().unwrap_or_default()
    }

    /// Takes it, for another reader.
    pub fn take_unread(&mut self) -> Option<Chunk> {
        self.unread.take()
    }

    /// Keeps what is behind a part that was read. It may be looked at much later, when the
    /// message in front of it is over: it must not keep a buffer from others meanwhile.
    fn keep(&mut self, mut rest: Chunk) {
        if !rest.is_empty() {
            rest.detach_if_scarce();
            self.unread = Some(rest);
        }
    }

    /// Ends reading for good.
    fn break_off(&mut self, error: Http1Error, received: usize) -> ReadError {
        self.broken = Some(error);
        self.consumed += received as u64;
        ReadError::Protocol(error)
    }

    fn poll_chunk(
        &mut self,
        stream: &TransportSocket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, ReadError>> {
        if let Some(chunk) = self.unread.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        stream.poll_recv(cx).map_err(ReadError::Io)
    }
}

/// What the framing of a response depends on in its request (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFacts {
    /// The method was HEAD: no body, whatever the head says.
    pub is_head: bool,
    /// The method was CONNECT: a 2xx answer has no body.
    pub is_connect: bool,
}
