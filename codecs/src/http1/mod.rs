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
pub mod inspect;
mod method;
mod names;
mod request;
mod response;
mod target;

pub use body::{BodyDecoder, BodyOptions, BodyStep};
pub use chars::is_authority as is_authority_byte;
pub use encode::{
    CHUNK_END, HeadEnd, encode_chunk_header, encode_last_chunk, encode_request_head,
    encode_response_head,
};
pub use error::Http1Error;
pub use framing::Framing;
pub use head::HeadReader;
pub use request::{HeadersWithUnderscores, RequestHead, RequestOptions};
pub use response::{ResponseHead, ResponseOptions};

/// Envoy's default for the head and the trailers of a request, in bytes.
pub const REQUEST_HEAD_BYTES_MAX: usize = 60 * 1024;
/// Envoy's default for the head of an HTTP/1 response, in bytes.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 80 * 1024;
/// Envoy's default for the number of fields of a head; also the number of
/// trailers that are kept.
pub const HEADERS_MAX: usize = 100;
/// For all chunks of a message together, in bytes. Extensions are never used,
/// so this only needs to be beyond what honest peers send; Envoy has no limit.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

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

/// Whether this is `host[:port]`, as Host has it: without credentials.
pub fn is_authority(authority: &[u8]) -> bool {
    target::is_authority(authority, target::Port::Optional)
}

#[cfg(test)]
mod tests;
