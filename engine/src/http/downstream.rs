//! The client's side of a request, whatever carries it: requests in, responses
//! out.
//!
//! It frames messages and keeps the order of requests; it does not decide
//! anything about them. The connection manager does. Of an HTTP/1 connection
//! there is one [`Downstream`], which has one request after the other; of an
//! HTTP/2 connection there is one for each stream.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::Version;

use super::body_filter::Refused;
use super::exchange::Exchange;
use super::http1::reader::{BodyPart, ReadError};
use super::http1::server::ServerConnection;
use super::http2::server::{Broken, ServerStream};
use super::pacer::Pacer;
use crate::reactor::{self, Chunk, Timer};
use crate::stream_info::{BytesMeter, ConnectionInfo, Protocol, ResponseFlag, details};

/// Bytes that may wait in a send queue before the other side is no longer
/// read, whatever larger limit the configuration allows: beyond it a queue
/// holds receive buffers that active connections need, and speeds nothing up.
pub const SEND_QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Length of a head's first line, with its line end. Envoy's header byte counts
/// leave it out, and the empty line at the end.
#[must_use]
pub fn start_line_bytes(head: &[u8]) -> u64 {
    memchr::memchr(b'\n', head).map_or(0, |end| end as u64 + 1)
}

/// How the end of a response's body is told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is no body, and the head is to say so. Filters do not see it said,
    /// as in Envoy.
    Empty,
    /// The head has a Content-Length, or the status has no body.
    Described,
    /// The length is not known: chunks, or the end of the connection for
    /// HTTP/1.0 clients.
    Unknown,
    /// There is no body: bytes of another protocol follow the head.
    Tunnel,
}

/// A client's connection, or one stream of it.
pub struct Downstream {
    /// The timer of its requests.
    pub timer: Rc<Timer>,
    /// Its addresses and number.
    pub info: Rc<ConnectionInfo>,
    /// High watermark of the send queue, in bytes.
    pub send_queue_max: usize,
    /// The listener's buffer limit, which also bounds what is kept of a body
    /// that is held back, or for another try.
    pub buffer_limit: u32,
    /// How long the last response may wait for the client to read it.
    pub flush_limit: Option<Duration>,
    codec: Codec,
}

/// What speaks to the client.
enum Codec {
    Http1(ServerConnection),
    Http2(ServerStream),
}

impl Downstream {
    /// An HTTP/1 connection that was just accepted.
    #[must_use]
    pub fn http1(
        connection: ServerConnection,
        timer: Rc<Timer>,
        info: Rc<ConnectionInfo>,
        buffer_limit: u32,
    ) -> Self {
        Self::new(Codec::Http1(connection), timer, info, buffer_limit)
    }

    /// A stream whose head has arrived.
    #[must_use]
    pub fn http2(
        stream: ServerStream,
        timer: Rc<Timer>,
        info: Rc<ConnectionInfo>,
        buffer_limit: u32,
    ) -> Self {
        Self::new(Codec::Http2(stream), timer, info, buffer_limit)
    }

    fn new(codec: Codec, timer: Rc<Timer>, info: Rc<ConnectionInfo>, buffer_limit: u32) -> Self {
        Self {
            codec,
            timer,
            info,
            send_queue_max: (buffer_limit.max(1) as usize).min(SEND_QUEUE_BYTES_MAX),
            buffer_limit,
            flush_limit: None,
        }
    }

    /// Gives the HTTP/1 connection back to whoever has made it one.
    #[must_use]
    pub fn into_http1(self) -> ServerConnection {
        match self.codec {
            Codec::Http1(connection) => connection,
            Codec::Http2(_) => unreachable!("a stream is not served as a connection"),
        }
    }

    /// The HTTP/1 connection, for whoever has made it one.
    pub fn as_http1(&mut self) -> &mut ServerConnection {
        match &mut self.codec {
            Codec::Http1(connection) => connection,
            Codec::Http2(_) => unreachable!("a stream is not served as a connection"),
        }
    }

    /// The HTTP/2 stream, for whoever has made it one.
    pub fn as_http2(&mut self) -> &mut ServerStream {
        match &mut self.codec {
            Codec::Http1(_) => unreachable!("a connection is not served as a stream"),
            Codec::Http2(stream) => stream,
        }
    }

    /// What the client speaks, where its requests have this version.
    #[must_use]
    pub fn protocol(&self, version: Version) -> Protocol {
        match (&self.codec, version) {
            (Codec::Http1(_), Version::Http10) => Protocol::Http10,
            (Codec::Http1(_), Version::Http11) => Protocol::Http11,
            (Codec::Http2(_), _) => Protocol::Http2,
        }
    }

    /// How much of a request's body may be kept here; the limit's 0 is none.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        match self.buffer_limit {
            0 => usize::MAX,
            limit => limit as usize,
        }
    }

    /// Why a client that left has left, for logs.
    #[must_use]
    pub fn why_gone(&self) -> (ResponseFlag, &'static str) {
        match &self.codec {
            Codec::Http2(stream) => match stream.broken() {
                Some(Broken::ByPeer) => {
                    return (
                        ResponseFlag::DownstreamRemoteReset,
                        details::HTTP2_REMOTE_RESET,
                    );
                }
                Some(Broken::Protocol) => {
                    let details = match stream.is_malformed() {
                        true => details::HTTP2_MESSAGING_RULE,
                        // Envoy has the same details for it.
                        false => details::HTTP2_REMOTE_RESET,
                    };
                    return (ResponseFlag::DownstreamProtocolError, details);
                }
                Some(Broken::Closed) if let Some(details) = stream.why_closed() => {
                    return (ResponseFlag::DownstreamProtocolError, details);
                }
                Some(Broken::Closed | Broken::ByUs) | None => {}
            },
            Codec::Http1(_) => {}
        }
        (
            ResponseFlag::DownstreamConnectionTermination,
            details::DOWNSTREAM_REMOTE_DISCONNECT,
        )
    }

    /// Bytes that wait for the client to take them.
    #[must_use]
    pub fn queued(&self) -> usize {
        match &self.codec {
            Codec::Http1(connection) => connection.stream.queued(),
            Codec::Http2(stream) => stream.queued(),
        }
    }

    /// Polls until fewer than `below` bytes are queued.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>, below: usize) -> Poll<io::Result<()>> {
        match &mut self.codec {
            Codec::Http1(connection) => connection.stream.poll_writable(cx, below),
            Codec::Http2(stream) => stream.poll_writable(cx, below),
        }
    }

    /// Waits while there is too much to send.
    #[inline]
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.queued() > self.send_queue_max {
            return self.poll_writable(cx, self.send_queue_max / 2);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, as far as the client has room for it: called before
    /// the task waits for more, so that the last part of a body leaves together
    /// with its end.
    #[inline]
    pub fn send_queued(&mut self, cx: &mut Context<'_>) {
        if let Codec::Http2(stream) = &mut self.codec {
            stream.send_pending(Some(cx));
        }
    }

    /// Why nothing can be sent any more, if that is so.
    #[must_use]
    pub fn write_error(&self) -> Option<io::Error> {
        match &self.codec {
            Codec::Http1(connection) => connection.stream.write_error(),
            Codec::Http2(stream) => {
                let broken = stream.broken();
                broken.map(|_| io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// Ready when the client has closed the connection, or reset the stream.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.codec {
            Codec::Http1(connection) => connection.stream.poll_closed(cx),
            Codec::Http2(stream) => stream.poll_closed(cx),
        }
    }

    /// Polls for more of the request's body, as filters let it pass.
    #[inline]
    pub fn poll_body(
        &mut self,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        if exchange.bodies.is_some() {
            return self.poll_filtered_body(exchange, cx);
        }
        let part = ready!(self.poll_received(&mut exchange.request_trailers, cx));
        if let Ok(BodyPart::Data(data)) = &part {
            exchange.info.bytes_received += data.len() as u64;
        }
        Poll::Ready(part)
    }

    #[cold]
    fn poll_filtered_body(
        &mut self,
        exchange: &mut Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        loop {
            if (exchange.bodies.as_ref()).is_some_and(|bodies| bodies.is_request_over()) {
                return Poll::Ready(Ok(BodyPart::End));
            }
            let part = ready!(self.poll_received(&mut exchange.request_trailers, cx))?;
            let kept_max = self.body_bytes_max();
            let filtered = exchange.with_bodies(|bodies, exchange| match part {
                BodyPart::Data(mut data) => {
                    exchange.info.bytes_received += data.len() as u64;
                    bodies
                        .request_data((0, kept_max), &mut data, exchange)
                        .map(|()| data)
                }
                BodyPart::End => bodies.request_end(0, exchange),
            });
            match filtered {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Ok(BodyPart::Data(data))),
                Err(Refused) => return Poll::Ready(Err(ReadError::Refused)),
            }
        }
    }

    /// Polls for more of the request's body, as it was received.
    fn poll_received(
        &mut self,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        match &mut self.codec {
            Codec::Http1(connection) => connection.poll_body(trailers, cx),
            Codec::Http2(stream) => stream.poll_body(trailers, cx),
        }
    }

    /// Polls for bytes of a tunnel; see
    /// [`MessageReader::poll_raw`](super::http1::reader::MessageReader::poll_raw).
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        match &mut self.codec {
            Codec::Http1(connection) => connection.poll_raw(cx),
            Codec::Http2(stream) => stream.poll_raw(cx),
        }
    }

    /// Queues bytes of a tunnel for the client.
    pub fn send_raw(&mut self, exchange: &mut Exchange, data: Chunk) {
        exchange.info.bytes_sent += data.len() as u64;
        match &mut self.codec {
            Codec::Http1(connection) => connection.stream.write_chunk(data),
            Codec::Http2(stream) => stream.send_data(data),
        }
    }

    /// Adds what was received of requests since the last call.
    pub fn add_received(&mut self, to: &mut BytesMeter) {
        match &mut self.codec {
            Codec::Http1(connection) => {
                to.wire_received += connection.take_received();
                to.header_received += connection.take_field_bytes();
            }
            Codec::Http2(stream) => stream.add_bytes(to),
        }
    }

    /// Adds what was sent to the client since the last call.
    pub fn add_sent(&mut self, to: &mut BytesMeter) {
        match &mut self.codec {
            Codec::Http1(connection) => to.wire_sent += connection.take_sent(),
            Codec::Http2(stream) => stream.add_bytes(to),
        }
    }

    /// Whether the body of the current request has been read to its end.
    #[must_use]
    pub fn is_request_read(&self) -> bool {
        match &self.codec {
            Codec::Http1(connection) => connection.is_request_read(),
            Codec::Http2(stream) => stream.is_request_read(),
        }
    }

    /// Reads what has already arrived of the request's body and throws it
    /// away: a request that is answered in place of its host need not cost
    /// the client its connection.
    pub fn discard_received(&mut self, exchange: &mut Exchange) {
        self.read_received(exchange, |_, _| {});
    }

    /// Reads what has already arrived of the request's body, for `each` part.
    pub fn read_received(
        &mut self,
        exchange: &mut Exchange,
        mut each: impl FnMut(&mut Exchange, &[u8]),
    ) {
        let mut cx = Context::from_waker(Waker::noop());
        while !exchange.request_complete {
            match self.poll_body(exchange, &mut cx) {
                Poll::Ready(Ok(BodyPart::Data(data))) => each(exchange, &data),
                Poll::Ready(Ok(BodyPart::End)) => exchange.request_complete = true,
                // Not here yet, or broken: the connection ends with the answer.
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Queues `100 Continue`, for a client that waits for it.
    pub fn send_continue(&mut self) {
        match &mut self.codec {
            Codec::Http1(connection) => connection.send_continue(),
            Codec::Http2(stream) => stream.send_interim(100, &HeaderMap::new()),
        }
    }

    /// Queues the head of an interim response from `exchange.response`.
    pub fn send_interim(&mut self, exchange: &Exchange, status: u16) {
        match &mut self.codec {
            Codec::Http1(connection) => connection.send_interim(exchange, status),
            Codec::Http2(stream) => stream.send_interim(status, &exchange.response),
        }
    }

    /// Queues the response's head from `exchange.response`; `close` announces
    /// the end of an HTTP/1 connection.
    pub fn send_head(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
        close: bool,
    ) {
        match &mut self.codec {
            Codec::Http1(connection) => connection.send_head(exchange, status, framing, close),
            Codec::Http2(stream) => stream.send_head(exchange, status, framing),
        }
        exchange.response_started = true;
    }

    /// Queues a part of the response's body.
    pub fn send_data(&mut self, exchange: &mut Exchange, data: Chunk) {
        if let Some(pacer) = self.pacer(exchange) {
            pacer.push(&data);
            return;
        }
        exchange.info.bytes_sent += self.counted(data.len());
        match &mut self.codec {
            Codec::Http1(connection) => connection.send_data(data),
            Codec::Http2(stream) => stream.send_data(data),
        }
    }

    /// Queues a part of the response's body that is in memory of ours.
    pub fn send_bytes(&mut self, exchange: &mut Exchange, data: &[u8]) {
        if let Some(pacer) = self.pacer(exchange) {
            pacer.push(data);
            return;
        }
        exchange.info.bytes_sent += self.counted(data.len());
        self.write_bytes(data);
    }

    fn write_bytes(&mut self, data: &[u8]) {
        match &mut self.codec {
            Codec::Http1(connection) => connection.send_bytes(data),
            Codec::Http2(stream) => stream.send_data(Chunk::from(data)),
        }
    }

    /// Queues the end of the response.
    pub fn send_end(&mut self, exchange: &mut Exchange) {
        if let Some(pacer) = self.pacer(exchange)
            && pacer.held() > 0
        {
            pacer.end();
            return;
        }
        let trailers = match &mut self.codec {
            Codec::Http1(connection) => connection.send_end(&exchange.response_trailers),
            Codec::Http2(stream) => stream.send_end(&exchange.response_trailers),
        };
        exchange.info.downstream_bytes.header_sent += trailers;
        exchange.response_complete = true;
    }

    /// Queues what has become due of a paced body. Wakes the task when more
    /// may go, or when the client has taken enough of what went. Says whether
    /// anything went.
    pub fn poll_paced(&mut self, exchange: &mut Exchange, cx: &mut Context<'_>) -> bool {
        if !matches!(self.poll_room(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        self.send_queued(cx);
        let now = reactor::now();
        let Some(pacer) = &mut exchange.pacer else {
            return false;
        };
        let Some(bytes) = pacer.due(now, cx) else {
            return false;
        };
        if pacer.has_end() && pacer.held() == 0 {
            exchange.pacer = None;
            self.send_bytes(exchange, &bytes);
            self.send_end(exchange);
        } else {
            exchange.info.bytes_sent += self.counted(bytes.len());
            self.write_bytes(&bytes);
        }
        true
    }

    /// The pacer of a response that has a body.
    fn pacer<'a>(&self, exchange: &'a mut Exchange) -> Option<&'a mut Pacer> {
        if self.discards_body() {
            return None;
        }
        exchange.pacer.as_deref_mut()
    }

    fn counted(&self, bytes: usize) -> u64 {
        if self.discards_body() {
            0
        } else {
            bytes as u64
        }
    }

    /// Whether the response has no body, whatever is sent of it.
    fn discards_body(&self) -> bool {
        match &self.codec {
            Codec::Http1(connection) => connection.discards_body(),
            Codec::Http2(stream) => stream.discards_body(),
        }
    }
}
