//! Writing messages: heads, chunk lines and trailers, appended to a vector
//! that the caller owns and reuses.
//!
//! Names are written in lower case, as they are kept, unless the connection
//! wants them in [`NameCase::Proper`] or the list knows how its peer wrote
//! them. Values are written as they are: whoever puts a value into the list has
//! made sure that it has no line ends (parsed ones cannot have any).

use super::Version;
use super::names::{LowerCase, Names, ProperCase};
use crate::header::{HeaderId, HeaderMap, HeaderName, NameCase};

/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends a request head from `h`.
///
/// `:method` and `:path` (of CONNECT, `:authority`) make the request line,
/// always of HTTP/1.1; `:authority` becomes the Host field and replaces any
/// other. A Transfer-Encoding in `h` is never written, so that only the
/// caller's framing counts.
pub fn encode_request_head(out: &mut Vec<u8>, h: &HeaderMap, end: HeadEnd, case: NameCase) {
    match (h.spelling(), case) {
        (None, NameCase::Lower) => request_head(out, h, end, LowerCase),
        (None, NameCase::Proper) => request_head(out, h, end, ProperCase),
        (Some(spelling), _) => request_head(out, h, end, spelling),
    }
}

fn request_head(out: &mut Vec<u8>, h: &HeaderMap, end: HeadEnd, names: impl Names) {
    out.reserve(h.encoded_size_hint());
    let method = h.get(HeaderId::Method).unwrap_or(b"GET");
    let authority = h.get(HeaderId::Authority);
    let target = match h.get(HeaderId::Path) {
        Some(path) => path,
        None => authority.unwrap_or(b"/"),
    };
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        names.push_start(out, b"host: ");
        out.extend_from_slice(authority);
        out.extend_from_slice(b"\r\n");
    }
    let skip_host = authority.is_some();
    encode_fields(out, h, names, |id| {
        (id == HeaderId::Host && skip_host) || is_framing(id, end != HeadEnd::Fields)
    });
    end_head(out, end, names);
}

/// What a head says of the body, behind everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadEnd {
    /// Nothing: the fields say it, or nobody does.
    Fields,
    /// `transfer-encoding: chunked`, instead of any Content-Length.
    Chunked,
    /// `content-length: 0`, instead of any other.
    Empty,
}

impl HeadEnd {
    /// How the head of a request ends. One without a body says so where its
    /// method could have one, so that no server waits for it (RFC 9110 section
    /// 8.6).
    pub fn of_request(h: &HeaderMap, has_body: bool) -> Self {
        if h.contains(HeaderId::ContentLength) {
            return Self::Fields;
        }
        if has_body {
            return Self::Chunked;
        }
        match h.get(HeaderId::Method) {
            None | Some(b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT") => Self::Fields,
            Some(_) => Self::Empty,
        }
    }
}

/// Appends a response head: `status` with its usual reason phrase, and the
/// fields of `h`, of which a Transfer-Encoding is never written.
///
/// With `close`, `connection: close` is written instead of any Connection
/// field of `h`. An HTTP/1.0 client that stays connected is told
/// `connection: keep-alive`, unless `h` has a Connection field or another head
/// follows.
pub fn encode_response_head(
    out: &mut Vec<u8>,
    status: u16,
    h: &HeaderMap,
    end: HeadEnd,
    close: bool,
    version: Version,
    case: NameCase,
) {
    match (h.spelling(), case) {
        (None, NameCase::Lower) => response_head(out, status, h, end, close, version, LowerCase),
        (None, NameCase::Proper) => response_head(out, status, h, end, close, version, ProperCase),
        (Some(spelling), _) => response_head(out, status, h, end, close, version, spelling),
    }
}

fn response_head(
    out: &mut Vec<u8>,
    status: u16,
    h: &HeaderMap,
    end: HeadEnd,
    close: bool,
    version: Version,
    names: impl Names,
) {
    out.reserve(h.encoded_size_hint());
    out.extend_from_slice(version.as_str().as_bytes());
    out.push(b' ');
    push_status(out, status);
    out.push(b' ');
    match names.reason_phrase() {
        None => out.extend_from_slice(reason_phrase(status).as_bytes()),
        Some(phrase) => out.extend_from_slice(phrase),
    }
    out.extend_from_slice(b"\r\n");
    // RFC 9110 section 8.6: 1xx and 204 have no Content-Length, not even 0.
    let reframes = end != HeadEnd::Fields || status < 200 || status == 204;
    encode_fields(out, h, names, |id| {
        (id == HeaderId::Connection && close) || is_framing(id, reframes)
    });
    if close {
        names.push_start(out, b"connection: close\r\n");
    } else if version == Version::Http10 && status >= 200 && !h.contains(HeaderId::Connection) {
        names.push_start(out, b"connection: keep-alive\r\n");
    }
    end_head(out, end, names);
}

/// Appends the line before `len` bytes of chunk data. A length of 0 would end
/// the body: it writes nothing.
pub fn encode_chunk_header(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = len;
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 0xf];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailers, whose names are in lower case
/// always, as Envoy's are.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        encode_fields(out, trailers, LowerCase, |_| false);
    }
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status, as Envoy writes it; `Unknown` for others.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        // No registry has it, but Envoy does.
        599 => "Last Unassigned Server Error Code",
        _ => "Unknown",
    }
}

/// Writes all fields but pseudo headers and those that `skip` names.
#[inline]
fn encode_fields(
    out: &mut Vec<u8>,
    h: &HeaderMap,
    names: impl Names,
    skip: impl Fn(HeaderId) -> bool,
) {
    for (name, value) in h.iter() {
        if let HeaderName::Known(id) = name
            && (id.is_pseudo() || skip(id))
        {
            continue;
        }
        debug_assert!(memchr::memchr3(b'\r', b'\n', 0, value).is_none());
        names.push(out, name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether the head's end takes the place of this field. `replaces_length` says
/// that it tells where the body ends.
#[inline]
fn is_framing(id: HeaderId, replaces_length: bool) -> bool {
    id == HeaderId::TransferEncoding || (replaces_length && id == HeaderId::ContentLength)
}

#[inline]
fn end_head(out: &mut Vec<u8>, end: HeadEnd, names: impl Names) {
    match end {
        HeadEnd::Fields => out.extend_from_slice(b"\r\n"),
        HeadEnd::Chunked => names.push_start(out, b"transfer-encoding: chunked\r\n\r\n"),
        HeadEnd::Empty => names.push_start(out, b"content-length: 0\r\n\r\n"),
    }
}

/// Statuses have three digits: the parser and the configuration see to it.
fn push_status(out: &mut Vec<u8>, status: u16) {
    debug_assert!((100..1000).contains(&status));
    let digit = |unit: u16| b'0' + (status / unit % 10) as u8;
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}
