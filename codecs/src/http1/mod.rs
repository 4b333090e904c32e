//! HTTP/1: heads, bodies and their encoders (RFC 9110, RFC 9112).
//!
//! A reader starts with [`HeadReader`], which turns received bytes into a
//! [`RequestHead`] or [`ResponseHead`] and a filled
//! [`HeaderMap`](crate::header::HeaderMap). The head's [`Framing`] makes the
//! [`BodyDecoder`], which says which received bytes are body. The functions of
//! [`encode`] write messages.
//!
//! Framing is strict: whatever two parsers could read differently is an
//! [`Http1Error`], and every error ends the connection. There is no recovery
//! to look for the next message.

mod body;
mod chars;
pub mod encode;
mod error;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod head;
mod method;
mod request;
mod response;
mod target;

pub use body::{BodyDecoder, BodyOptions, BodyStep};
pub use encode::{
    CHUNK_END, encode_chunk_header, encode_last_chunk, encode_request_head, encode_response_head,
};
pub use error::Http1Error;
pub use framing::Framing;
pub use head::HeadReader;
pub use request::{HeadersWithUnderscores, RequestHead, RequestOptions};
pub use response::{ResponseHead, ResponseOptions};

/// The protocol version of a message. Anything else is refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, closes unless it says `keep-alive`.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As the status or request line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

#[cfg(test)]
mod tests;
