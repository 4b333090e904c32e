//! What h2's errors mean for a message.

use std::io;

use h2::Reason;

use crate::http::http1::reader::ReadError;

/// Why a message of HTTP/2 is not complete, where its connection may well go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2Error {
    /// The peer broke the protocol.
    Protocol,
    /// The peer has reset the stream.
    Reset,
    /// The peer has reset the stream, and says that it is we who broke the
    /// protocol.
    Blamed,
    /// The peer has refused the stream and did nothing with it (`REFUSED_STREAM`).
    Refused,
    /// HTTP/2, or the peer, has no way to say what was to be sent.
    Unsendable,
    /// The peer does nothing with the stream, through no fault of the stream: it
    /// has announced the end of the connection, or there were more streams than
    /// it takes before it could say so.
    Unprocessed,
}

impl From<h2::Error> for ReadError {
    fn from(error: h2::Error) -> Self {
        let kind = if error.is_go_away() && error.is_remote() {
            Http2Error::Unprocessed
        } else if error.is_reset() {
            match (error.is_remote(), error.reason()) {
                (true, Some(Reason::REFUSED_STREAM)) => Http2Error::Refused,
                (true, Some(Reason::PROTOCOL_ERROR)) => Http2Error::Blamed,
                (true, _) => Http2Error::Reset,
                (false, _) => Http2Error::Protocol,
            }
        } else if error.is_io() {
            let error = error.into_io();
            return Self::Io(error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        } else {
            Http2Error::Protocol
        };
        Self::Http2(kind)
    }
}
