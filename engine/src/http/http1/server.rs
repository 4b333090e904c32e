//! The client's side of an HTTP/1 connection.

use std::task::{Context, Poll};

use ringway_codecs::header::{HeaderId, HeaderMap, NameCase};
use ringway_codecs::http1::{
    BodyOptions, HeadEnd, RequestHead, RequestOptions, Version, encode_response_head,
};

use super::reader::{BodyPart, MessageReader, ReadError};
use super::writer::BodyWriter;
use crate::http::downstream::{ResponseFraming, start_line_bytes};
use crate::http::exchange::Exchange;
use crate::reactor::Chunk;
use crate::stream_info::Protocol;
use crate::transport_sockets::TransportSocket;

/// A connection of a client that speaks HTTP/1.
pub struct ServerConnection {
    /// The socket.
    pub stream: TransportSocket,
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

impl ServerConnection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(stream: TransportSocket, body_options: BodyOptions, case: NameCase) -> Self {
        Self {
            stream,
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

    /// Bytes for the client so far, those that are still queued included. What
    /// was queued is forgotten when the connection breaks, so they may be fewer
    /// than before.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.stream.bytes_written()
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

    /// Whether what was received first is the preface of HTTP/2, as far as it
    /// has arrived.
    #[must_use]
    pub fn begins_http2(&self) -> bool {
        let received = self.reader.unread();
        let seen = received.len().min(PREFACE.len());
        seen >= PREFACE_BYTES_MIN && received[..seen] == PREFACE[..seen]
    }

    /// The socket, with all that was received on it and not read.
    #[must_use]
    pub fn into_socket(mut self) -> TransportSocket {
        if let Some(unread) = self.reader.take_unread() {
            self.stream.unread(unread);
        }
        self.stream
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
        let (headers, version, case) = (&exchange.response, exchange.version(), self.case);
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
        let http_10 = exchange.protocol == Protocol::Http10;
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
                exchange.version(),
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
    pub fn send_data(&mut self, data: Chunk) {
        self.writer.data(&self.stream, data);
    }

    /// Queues a part of the response's body that is in memory of ours.
    pub fn send_bytes(&mut self, data: &[u8]) {
        self.writer.bytes(&self.stream, data);
    }

    /// Queues the end of the response, with its trailers where the connection
    /// has any (`enable_trailers`). Returns their size.
    pub fn send_end(&mut self, trailers: &HeaderMap) -> u64 {
        if !self.body_options.trailers {
            return self.writer.end(&self.stream, &HeaderMap::new());
        }
        self.writer.end(&self.stream, trailers)
    }

    /// Whether the response has no body, whatever is sent of it.
    #[must_use]
    pub fn discards_body(&self) -> bool {
        self.writer == BodyWriter::Discard
    }
}

/// The first line of the preface (RFC 9113 section 3.4); h2 checks the rest.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// No method of HTTP/1 begins like this: `PRI` is reserved for it.
const PREFACE_BYTES_MIN: usize = 3;
