//! The client's side of an HTTP/1 connection: requests in, responses out.
//!
//! It frames messages and keeps the order of requests; it does not decide
//! anything about them. The connection manager does.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_codecs::header::{HeaderId, HeaderMap, NameCase};
use ringway_codecs::http1::{
    BodyOptions, HeadEnd, RequestHead, RequestOptions, Version, encode_response_head,
};

use super::exchange::Exchange;
use super::http1::reader::{BodyPart, MessageReader, ReadError};
use super::http1::writer::BodyWriter;
use super::pacer::Pacer;
use crate::reactor::{self, Chunk, Timer};
use crate::stream_info::ConnectionInfo;
use crate::transport_sockets::TransportSocket;

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

/// A client's connection.
pub struct Downstream {
    /// The socket.
    pub stream: TransportSocket,
    /// The connection's one timer.
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
    /// The end of the connection is the end of the response.
    pub ends_with_connection: bool,
    reader: MessageReader,
    body_options: BodyOptions,
    /// How names of responses look.
    case: NameCase,
    writer: BodyWriter,
    received: bool,
    /// What was sent before the response that is told of next.
    sent_before: u64,
    buffered_before: u32,
}

impl Downstream {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(
        stream: TransportSocket,
        timer: Rc<Timer>,
        info: Rc<ConnectionInfo>,
        buffer_limit: u32,
        body_options: BodyOptions,
        case: NameCase,
    ) -> Self {
        Self {
            stream,
            timer,
            info,
            send_queue_max: (buffer_limit.max(1) as usize).min(SEND_QUEUE_BYTES_MAX),
            buffer_limit,
            flush_limit: None,
            ends_with_connection: false,
            reader: MessageReader::default(),
            body_options,
            case,
            writer: BodyWriter::Plain,
            received: false,
            sent_before: 0,
            buffered_before: 0,
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

    /// Bytes for the client so far, those that are still queued included. What
    /// was queued is forgotten when the connection breaks, so they may be fewer
    /// than before.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.stream.bytes_sent() + self.stream.queued() as u64
    }

    /// Bytes for the client since this was asked last.
    pub fn take_sent(&mut self) -> u64 {
        let now = self.bytes_sent();
        now.saturating_sub(std::mem::replace(&mut self.sent_before, now))
    }

    /// By how much what counts as buffered has changed since this was asked
    /// last: as in Envoy what the last receive has brought, until there is
    /// another one, or the connection `is_over`.
    pub fn take_buffered(&mut self, is_over: bool) -> i64 {
        let now = match is_over {
            true => 0,
            false => self.stream.last_received(),
        };
        i64::from(now) - i64::from(std::mem::replace(&mut self.buffered_before, now))
    }

    /// Polls until something of the next request has arrived.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        self.reader.poll_fill(&self.stream, cx)
    }

    /// Polls for the head of the next request.
    pub fn poll_request(
        &mut self,
        options: &RequestOptions,
        headers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<RequestHead, ReadError>> {
        self.reader
            .poll_request(&self.stream, options, &self.body_options, headers, cx)
    }

    /// Polls for more of the request's body.
    pub fn poll_body(
        &mut self,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        self.reader.poll_body(&self.stream, trailers, cx)
    }

    /// Polls for bytes of a tunnel; see [`MessageReader::poll_raw`].
    pub fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReadError>> {
        self.reader.poll_raw(&self.stream, cx)
    }

    /// Queues bytes of a tunnel for the client.
    pub fn send_raw(&mut self, exchange: &mut Exchange, data: Chunk) {
        exchange.info.bytes_sent += data.len() as u64;
        self.stream.write_chunk(data);
    }

    /// Notes that something was received; true the first time.
    pub fn note_received(&mut self) -> bool {
        !std::mem::replace(&mut self.received, true)
    }

    /// Whether anything was ever received.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.received
    }

    /// Bytes on the wire that belonged to requests since the last call.
    pub fn take_received(&mut self) -> u64 {
        self.reader.take_consumed()
    }

    /// The size of header and trailer lines since the last call.
    pub fn take_field_bytes(&mut self) -> u64 {
        self.reader.take_field_bytes()
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
            match self.poll_body(&mut exchange.request_trailers, &mut cx) {
                Poll::Ready(Ok(BodyPart::Data(data))) => {
                    exchange.info.bytes_received += data.len() as u64;
                    each(exchange, &data);
                }
                Poll::Ready(Ok(BodyPart::End)) => exchange.request_complete = true,
                // Not here yet, or broken: the connection ends with the answer.
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Whether a head has begun to arrive.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        self.reader.is_within_head()
    }

    /// Whether the body of the current request has been read to its end.
    #[must_use]
    pub fn is_request_read(&self) -> bool {
        self.reader.is_body_done()
    }

    /// Whether more was received than the requests so far.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.reader.has_unread() || self.stream.has_unread()
    }

    /// The version of the last request, also of one that could not be read.
    #[must_use]
    pub fn version(&self) -> Version {
        self.reader.version()
    }

    /// Queues `100 Continue`, for a client that waits for it.
    pub fn send_continue(&mut self) {
        self.stream.write_static(match self.version() {
            Version::Http10 => b"HTTP/1.0 100 Continue\r\n\r\n",
            Version::Http11 => b"HTTP/1.1 100 Continue\r\n\r\n",
        });
    }

    /// Queues the head of an interim response from `exchange.response`.
    pub fn send_interim(&mut self, exchange: &Exchange, status: u16) {
        let (headers, version, case) = (&exchange.response, exchange.version, self.case);
        self.stream.write_with(|out| {
            encode_response_head(out, status, headers, HeadEnd::Fields, false, version, case);
        });
    }

    /// Queues the response's head from `exchange.response`, and says whether
    /// the connection can carry another request after it.
    pub fn send_head(
        &mut self,
        exchange: &mut Exchange,
        status: u16,
        framing: ResponseFraming,
        close: bool,
    ) {
        let bodiless = exchange.facts.is_head || status == 204 || status == 304;
        let http_10 = exchange.version == Version::Http10;
        self.ends_with_connection = false;
        // As in Envoy, also where there is no body that its length would end.
        let unmeasured = http_10 && !exchange.response.contains(HeaderId::ContentLength);
        let close = close || unmeasured || !exchange.keep_alive;
        let close = close && framing != ResponseFraming::Tunnel;
        let end = match framing {
            ResponseFraming::Described | ResponseFraming::Tunnel => HeadEnd::Fields,
            // Behind everything else, as Envoy's codec says it.
            ResponseFraming::Empty => HeadEnd::Empty,
            ResponseFraming::Unknown if http_10 => {
                // Only the end of the connection can end the body.
                self.ends_with_connection = !bodiless;
                HeadEnd::Fields
            }
            ResponseFraming::Unknown if status == 204 || status == 304 => HeadEnd::Fields,
            ResponseFraming::Unknown => HeadEnd::Chunked,
        };
        self.writer = match (bodiless, end) {
            (true, _) => BodyWriter::Discard,
            (false, HeadEnd::Chunked) => BodyWriter::Chunked,
            (false, HeadEnd::Fields | HeadEnd::Empty) => BodyWriter::Plain,
        };
        exchange.keep_alive = !close;
        exchange.response_started = true;
        let mut fields = 0;
        let case = self.case;
        self.stream.write_with(|out| {
            let before = out.len();
            encode_response_head(
                out,
                status,
                &exchange.response,
                end,
                close,
                exchange.version,
                case,
            );
            let head = &out[before..];
            fields = head.len() as u64 - start_line_bytes(head) - 2;
        });
        // What is said of the connection is a header, for logs; how the body is
        // framed is not.
        if close {
            exchange.response.set(HeaderId::Connection, b"close");
        } else if http_10 && !exchange.response.contains(HeaderId::Connection) {
            exchange.response.set(HeaderId::Connection, b"keep-alive");
        }
        exchange.info.downstream_bytes.header_sent += fields;
    }

    /// Queues a part of the response's body.
    pub fn send_data(&mut self, exchange: &mut Exchange, data: Chunk) {
        if let Some(pacer) = self.pacer(exchange) {
            pacer.push(&data);
            return;
        }
        exchange.info.bytes_sent += self.counted(data.len());
        self.writer.data(&self.stream, data);
    }

    /// Queues a part of the response's body that is in memory of ours.
    pub fn send_bytes(&mut self, exchange: &mut Exchange, data: &[u8]) {
        if let Some(pacer) = self.pacer(exchange) {
            pacer.push(data);
            return;
        }
        exchange.info.bytes_sent += self.counted(data.len());
        self.writer.bytes(&self.stream, data);
    }

    /// Queues the end of the response.
    pub fn send_end(&mut self, exchange: &mut Exchange) {
        if let Some(pacer) = self.pacer(exchange)
            && pacer.held() > 0
        {
            pacer.end();
            return;
        }
        let trailers = self.writer.end(&self.stream, &exchange.response_trailers);
        exchange.info.downstream_bytes.header_sent += trailers;
        exchange.response_complete = true;
    }

    /// Queues what has become due of a paced body. Wakes the task when more
    /// may go, or when the client has taken enough of what went. Says whether
    /// anything went.
    pub fn poll_paced(&mut self, exchange: &mut Exchange, cx: &mut Context<'_>) -> bool {
        if self.stream.queued() > self.send_queue_max
            && !matches!(
                self.stream.poll_writable(cx, self.send_queue_max / 2),
                Poll::Ready(Ok(()))
            )
        {
            return false;
        }
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
            self.writer.bytes(&self.stream, &bytes);
        }
        true
    }

    /// The pacer of a response that has a body.
    fn pacer<'a>(&self, exchange: &'a mut Exchange) -> Option<&'a mut Pacer> {
        if self.writer == BodyWriter::Discard {
            return None;
        }
        exchange.pacer.as_deref_mut()
    }

    fn counted(&self, bytes: usize) -> u64 {
        if self.writer == BodyWriter::Discard {
            0
        } else {
            bytes as u64
        }
    }
}
