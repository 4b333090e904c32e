//! How a request is said to its host and the response is read: in HTTP/1 on a
//! connection of its own, or in HTTP/2 on a stream of one that others use, too.

use std::task::{Context, Poll};

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::{
    BodyOptions, Framing, HeadEnd, ResponseHead, ResponseOptions, encode_request_head,
};
use ringway_config::cluster::Cluster as ClusterConfig;

use super::http2_codec::Http2Codec;
use crate::http::downstream::start_line_bytes;
use crate::http::exchange::Tunnel;
use crate::http::http1::reader::{BodyPart, MessageReader, ReadError, RequestFacts};
use crate::http::http1::writer::BodyWriter;
use crate::reactor::Chunk;
use crate::stream_info::BytesMeter;
use crate::upstream::conn_pool::{Lease, Speaks};

/// One request on a connection to a host.
pub(in crate::filters) enum Codec {
    /// HTTP/1, or no HTTP at all.
    Http1(Http1Codec),
    /// In a box: it is larger, and what it stands for costs far more.
    Http2(Box<Http2Codec>),
}

/// The two messages on a connection of HTTP/1.
pub(in crate::filters) struct Http1Codec {
    reader: MessageReader,
    writer: BodyWriter,
    /// Bytes of the connection that were counted, as received, or were there
    /// before the request.
    received: u64,
    sent: u64,
    /// Received before the request began.
    received_before: u64,
    /// What the kernel had taken of the connection's bytes when it began.
    taken_before: u64,
}

/// What a request says of itself besides its headers.
#[derive(Clone, Copy)]
pub(in crate::filters) struct Asked {
    /// How its body is announced.
    pub end: HeadEnd,
    /// There is a body, or may be one.
    pub has_body: bool,
    /// What the connection is to become.
    pub tunnel: Tunnel,
}

/// What moved since it was asked last.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::filters) struct Moved {
    pub wire_received: u64,
    pub wire_sent: u64,
    pub header_received: u64,
    /// The protocol is HTTP/2.
    pub is_framed: bool,
    /// What its header blocks took on the wire.
    pub framed_sent: u64,
    pub framed_received: u64,
}

impl Moved {
    /// Adds it to what has moved for a request.
    pub fn add_to(self, bytes: &mut BytesMeter) {
        bytes.wire_received += self.wire_received;
        bytes.wire_sent += self.wire_sent;
        bytes.header_received += self.header_received;
        bytes.is_framed |= self.is_framed;
        bytes.framed_sent += self.framed_sent;
        bytes.framed_received += self.framed_received;
    }
}

impl Codec {
    /// Queues a request's head. The second is the size of its fields.
    pub fn start(lease: &Lease, request: &HeaderMap, asked: Asked) -> (Self, u64) {
        let speaks = lease.speaks();
        if matches!(speaks, Speaks::Http2 | Speaks::Negotiated) {
            let (codec, field_bytes) = Http2Codec::start(lease, request, asked);
            return (Self::Http2(Box::new(codec)), field_bytes);
        }
        let taken_before = lease.stream.bytes_sent();
        let received_before = lease.stream.bytes_received();
        let sent = taken_before + lease.stream.queued() as u64;
        let is_message = speaks == Speaks::Http1;
        let mut field_bytes = 0;
        if is_message {
            let case = lease.cluster().config.header_names.case;
            lease.stream.write_with(|out| {
                let before = out.len();
                encode_request_head(out, request, asked.end, case);
                let head = &out[before..];
                field_bytes = head.len() as u64 - start_line_bytes(head) - 2;
            });
        }
        let codec = Http1Codec {
            reader: MessageReader::default(),
            writer: match is_message && asked.end == HeadEnd::Chunked {
                true => BodyWriter::Chunked,
                false => BodyWriter::Plain,
            },
            received: received_before,
            sent,
            received_before,
            taken_before,
        };
        (Self::Http1(codec), field_bytes)
    }

    /// Polls for a response head; interim ones are returned too.
    pub fn poll_response(
        &mut self,
        lease: &Lease,
        facts: RequestFacts,
        headers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, ReadError>> {
        match self {
            Self::Http1(http1) => {
                let config = &lease.cluster().config;
                http1.reader.poll_response(
                    &lease.stream,
                    &response_options(config),
                    &body_options(config),
                    facts,
                    headers,
                    cx,
                )
            }
            Self::Http2(http2) => http2.poll_response(lease, facts, headers, cx),
        }
    }

    /// Whether a response has said in its headers that its body is in chunks.
    pub fn says_chunked(&self, head: &ResponseHead) -> bool {
        matches!(self, Self::Http1(_)) && head.framing == Framing::Chunked
    }

    /// Polls for the next part of the response's body.
    pub fn poll_body(
        &mut self,
        lease: &Lease,
        trailers: &mut HeaderMap,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, ReadError>> {
        match self {
            Self::Http1(http1) => http1.reader.poll_body(&lease.stream, trailers, cx),
            Self::Http2(http2) => http2.poll_body(lease, trailers, cx),
        }
    }

    /// Polls for bytes of a tunnel; see [`MessageReader::poll_raw`].
    pub fn poll_raw(
        &mut self,
        lease: &Lease,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, ReadError>> {
        match self {
            Self::Http1(http1) => http1.reader.poll_raw(&lease.stream, cx),
            Self::Http2(http2) => http2.poll_raw(cx),
        }
    }

    /// From here to its end, all that the host sends is the response's body.
    pub fn begin_body_of_bytes(&mut self) {
        if let Self::Http1(http1) = self {
            http1.reader.begin_body(Framing::UntilClose);
        }
    }

    /// Polls until the host takes more of the request. An error says that it
    /// takes nothing any more; why is said to whoever reads the response.
    pub fn poll_room(
        &mut self,
        lease: &Lease,
        queued_max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        match self {
            Self::Http1(_) => {
                let stream = &lease.stream;
                if stream.queued() <= queued_max {
                    return Poll::Ready(Ok(()));
                }
                stream.poll_writable(cx, queued_max / 2).map_err(|_| ())
            }
            Self::Http2(http2) => http2.poll_room(cx),
        }
    }

    /// Queues a part of the request's body. With `end_stream` its end follows,
    /// and there are no trailers.
    pub fn send_data(&mut self, lease: &Lease, data: Chunk, end_stream: bool) {
        match self {
            Self::Http1(http1) => http1.writer.data(&lease.stream, data),
            Self::Http2(http2) => http2.send_data(data, end_stream),
        }
    }

    /// Queues a part of the body that is not in a receive buffer.
    pub fn send_bytes(&mut self, lease: &Lease, data: &[u8]) {
        match self {
            Self::Http1(http1) => http1.writer.bytes(&lease.stream, data),
            Self::Http2(http2) => http2.send_data(Chunk::from(data), false),
        }
    }

    /// Queues the end of the request with its trailers, as far as they can be
    /// said. Returns the size of their fields.
    pub fn send_end(&mut self, lease: &Lease, trailers: &mut HeaderMap) -> u64 {
        match self {
            Self::Http1(http1) => {
                if !lease.cluster().config.trailers {
                    trailers.clear();
                }
                http1.writer.end(&lease.stream, trailers)
            }
            Self::Http2(http2) => http2.send_end(trailers),
        }
    }

    /// Queues bytes of a tunnel.
    pub fn send_raw(&mut self, lease: &Lease, data: Chunk) {
        match self {
            Self::Http1(_) => lease.stream.write_chunk(data),
            Self::Http2(http2) => http2.send_data(data, false),
        }
    }

    /// Polls until nothing is left that is lost where the request is given up.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(_) => Poll::Ready(()),
            Self::Http2(http2) => http2.poll_sent(cx),
        }
    }

    /// Ends our side of a tunnel, behind what is queued.
    pub fn end_raw(&mut self, lease: &Lease) {
        match self {
            Self::Http1(_) => lease.stream.shutdown_write(),
            Self::Http2(http2) => http2.end_raw(),
        }
    }

    /// What can be seen of a host that takes nothing more.
    pub fn is_broken(&self, lease: &Lease) -> bool {
        match self {
            Self::Http1(_) => lease.stream.write_error().is_some(),
            Self::Http2(_) => false,
        }
    }

    /// Whether a response head has begun to arrive.
    pub fn is_within_head(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.reader.is_within_head(),
            Self::Http2(_) => false,
        }
    }

    /// Whether bytes came that belong to no response.
    pub fn has_unasked(&self, lease: &Lease) -> bool {
        match self {
            Self::Http1(http1) => http1.reader.has_unread() || lease.stream.has_unread(),
            Self::Http2(_) => false,
        }
    }

    /// Whether the reader is where a response ends.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Http1(http1) => !http1.reader.has_unread(),
            Self::Http2(_) => true,
        }
    }

    /// Whether nothing of a response has arrived.
    pub fn is_unanswered(&self, lease: &Lease) -> bool {
        match self {
            Self::Http1(http1) => lease.stream.bytes_received() == http1.received_before,
            Self::Http2(http2) => http2.is_unanswered(),
        }
    }

    /// Whether the host has refused a stream only because there were more than
    /// it could say that it takes.
    pub fn was_too_many(&self, lease: &Lease) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(http2) => http2.was_too_many(lease),
        }
    }

    /// Whether no byte of the request has left.
    pub fn is_unsent(&self, lease: &Lease) -> bool {
        match self {
            Self::Http1(http1) => lease.stream.bytes_sent() == http1.taken_before,
            Self::Http2(_) => false,
        }
    }

    /// What moved since the last time.
    pub fn take_moved(&mut self, lease: &Lease) -> Moved {
        match self {
            Self::Http1(http1) => {
                let stream = &lease.stream;
                let received = stream.bytes_received();
                let sent = stream.bytes_written();
                let moved = Moved {
                    wire_received: received - http1.received,
                    // What was queued is forgotten when the connection breaks.
                    wire_sent: sent.saturating_sub(http1.sent),
                    header_received: http1.reader.take_field_bytes(),
                    ..Moved::default()
                };
                (http1.received, http1.sent) = (received, sent);
                moved
            }
            Self::Http2(http2) => http2.take_moved(),
        }
    }
}

fn response_options(config: &ClusterConfig) -> ResponseOptions {
    ResponseOptions {
        head_bytes_max: config.response_head_bytes_max,
        headers_max: config.response_headers_max as usize,
        trailers: config.trailers,
        preserve_case: config.header_names.preserved,
    }
}

fn body_options(config: &ClusterConfig) -> BodyOptions {
    BodyOptions {
        trailers: config.trailers,
        ..BodyOptions::default()
    }
}
