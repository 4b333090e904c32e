//! Frames HTTP/1 bodies into a stream's send queue.

use ringway_codecs::header::HeaderMap;
use ringway_codecs::http1::{CHUNK_END, encode_chunk_header, encode_last_chunk};

use crate::reactor::Chunk;
use crate::transport_sockets::TransportSocket;

/// How a body is put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyWriter {
    /// As it is: its length is known, or the connection's end delimits it.
    #[default]
    Plain,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Not at all: the answer to HEAD, a 204 or a 304.
    Discard,
}

impl BodyWriter {
    /// Queues a part of the body. Never blocks; the caller watches the queue.
    pub fn data(self, stream: &TransportSocket, data: Chunk) {
        match self {
            Self::Plain => stream.write_chunk(data),
            Self::Chunked => {
                // A chunk of length 0 would end the body.
                if data.is_empty() {
                    return;
                }
                stream.write_with(|out| encode_chunk_header(out, data.len()));
                stream.write_chunk(data);
                stream.write_static(CHUNK_END);
            }
            Self::Discard => {}
        }
    }

    /// Queues a part of the body that is not in a receive buffer.
    pub fn bytes(self, stream: &TransportSocket, data: &[u8]) {
        match self {
            Self::Plain => stream.write(data),
            Self::Chunked => {
                if data.is_empty() {
                    return;
                }
                stream.write_with(|out| {
                    encode_chunk_header(out, data.len());
                    out.extend_from_slice(data);
                    out.extend_from_slice(CHUNK_END);
                });
            }
            Self::Discard => {}
        }
    }

    /// Queues the end of the body, with trailers where the framing has room
    /// for them. Returns the bytes of their lines.
    pub fn end(self, stream: &TransportSocket, trailers: &HeaderMap) -> u64 {
        if self != Self::Chunked {
            return 0;
        }
        let mut bytes = 0;
        let trailers = (!trailers.is_empty()).then_some(trailers);
        stream.write_with(|out| {
            let before = out.len();
            encode_last_chunk(out, trailers);
            bytes = out.len() - before - LAST_CHUNK.len();
        });
        bytes as u64
    }
}

/// A last chunk without trailers.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
