//! The head of a response: one pass of httparse, then the strict checks.

use super::framing::{Coding, FramingFields};
use super::head::{self, HeadBytes, with_slots};
use super::{Framing, HEADERS_MAX, Http1Error, RESPONSE_HEAD_BYTES_MAX, Version};
use crate::header::{HeaderId, HeaderMap, PreserveCase, Range};
use httparse::{ParserConfig, Status};

/// Limits on what an upstream may send.
#[derive(Clone, Debug)]
pub struct ResponseOptions {
    /// The largest head in bytes, status line and line ends included.
    pub head_bytes_max: usize,
    /// The largest number of fields.
    pub headers_max: usize,
    /// Pass trailers on (`enable_trailers`).
    pub trailers: bool,
    /// Send names on as they are received.
    pub preserve_case: Option<PreserveCase>,
}

impl Default for ResponseOptions {
    /// Envoy's defaults for HTTP/1 upstreams.
    fn default() -> ResponseOptions {
        ResponseOptions {
            head_bytes_max: RESPONSE_HEAD_BYTES_MAX,
            headers_max: HEADERS_MAX,
            trailers: false,
            preserve_case: None,
        }
    }
}

/// What a response head says besides its fields.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// The version of the status line.
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    /// Where the body ends. `None` for 1xx, 204, 304, responses to HEAD and
    /// 2xx to CONNECT; whether a 101 or 2xx begins a tunnel is the router's to
    /// decide.
    pub framing: Framing,
    /// The connection may be used again after the body.
    pub keep_alive: bool,
    /// The size of the head in bytes.
    pub head_bytes: usize,
}

impl HeadBytes for ResponseHead {
    fn head_bytes(&self) -> usize {
        self.head_bytes
    }
}

/// The method of the request, as far as the framing depends on it.
#[derive(Copy, Clone)]
pub(super) struct Asked {
    pub(super) head: bool,
    pub(super) connect: bool,
}

/// Parses the head at the start of `bytes`, which is not empty, into `out`,
/// which is. `None` when it is not complete. The size of the fields goes to
/// `field_bytes`.
pub(super) fn parse(
    bytes: &[u8],
    o: &ResponseOptions,
    asked: Asked,
    out: &mut HeaderMap,
    field_bytes: &mut u32,
) -> Result<Option<ResponseHead>, Http1Error> {
    // httparse skips empty lines; before a status line there are none.
    if matches!(bytes[0], b'\r' | b'\n') {
        return Err(Http1Error::StatusLine);
    }
    // As for requests: errors behind the limit must not be seen.
    let window = &bytes[..bytes.len().min(o.head_bytes_max)];
    with_slots(o.headers_max, o.head_bytes_max, |slots| {
        let mut raw = httparse::Response::new(&mut []);
        match ParserConfig::default().parse_response_with_uninit_headers(&mut raw, window, slots) {
            Ok(Status::Complete(end)) => {
                interpret(&window[..end], &raw, o, asked, out, field_bytes).map(Some)
            }
            Ok(Status::Partial) if bytes.len() > window.len() => Err(Http1Error::HeadersTooLarge),
            Ok(Status::Partial) => Ok(None),
            Err(e) => Err(syntax_error(e, window)),
        }
    })
}

#[inline]
fn interpret(
    head: &[u8],
    raw: &httparse::Response<'_, '_>,
    o: &ResponseOptions,
    asked: Asked,
    out: &mut HeaderMap,
    field_bytes: &mut u32,
) -> Result<ResponseHead, Http1Error> {
    let (Some(minor), Some(status)) = (raw.version, raw.code) else {
        return Err(Http1Error::StatusLine);
    };
    if !head::head_ends_in_crlf(head) {
        return Err(Http1Error::LineEnd);
    }
    if status < 100 {
        return Err(Http1Error::StatusLine);
    }
    let version = match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let base = out.store_received(head);
    let range = |part: &[u8]| Range {
        start: base + head::offset(head, part) as u32,
        len: part.len() as u32,
    };
    // httparse accepts only `HTTP/1.x SP 3DIGIT`, so the digits are here.
    out.push_known(HeaderId::Status, range(&head[STATUS_AT]));

    if let Some(options) = o.preserve_case {
        out.keep_spelling(options);
        if options.reason_phrase {
            out.push_reason_phrase(raw.reason.unwrap_or_default().as_bytes());
        }
    }

    let mut fields = FramingFields::default();
    let mut sum = 0;
    for field in &*raw.headers {
        let name = field.name.as_bytes();
        if !head::line_before_ends_in_crlf(head, head::offset(head, name)) {
            return Err(Http1Error::LineEnd);
        }
        sum += head::field_bytes(name.len(), field.value.len());
        if o.preserve_case.is_some() {
            out.push_spelling(name);
        }
        match out.push_received(range(name), range(field.value)) {
            Some(HeaderId::ContentLength) => fields.on_content_length(field.value)?,
            Some(HeaderId::TransferEncoding) => fields.on_transfer_encoding(field.value),
            Some(HeaderId::Connection) => fields.on_connection(field.value),
            Some(HeaderId::ProxyConnection) => fields.on_proxy_connection(field.value),
            _ => {}
        }
    }
    *field_bytes = head::head_field_bytes(sum);
    let framing = framing(&fields, status, asked, out)?;
    out.join_repeated();
    // RFC 9112 section 6.1: a chunked HTTP/1.0 message is read, and not
    // trusted any further.
    let faulty = version == Version::Http10 && fields.coding != Coding::Absent;
    let asked_to_stay = version == Version::Http11 || fields.keep_alive;
    Ok(ResponseHead {
        version,
        status,
        framing,
        keep_alive: asked_to_stay && !fields.close && !faulty && framing != Framing::UntilClose,
        head_bytes: head.len(),
    })
}

/// RFC 9112 section 6.3 for responses.
fn framing(
    fields: &FramingFields,
    status: u16,
    asked: Asked,
    out: &mut HeaderMap,
) -> Result<Framing, Http1Error> {
    // RFC 9110 section 9.3.6: what these fields say in a 2xx to CONNECT must
    // be ignored.
    if asked.connect && (200..300).contains(&status) {
        out.remove(HeaderId::TransferEncoding);
        out.remove(HeaderId::ContentLength);
        return Ok(Framing::None);
    }
    let never_has_body = status < 200 || status == 204;
    if fields.coding != Coding::Absent {
        if fields.content_length.is_some() {
            return Err(Http1Error::ContentLengthAndChunked);
        }
        if never_has_body {
            return Err(Http1Error::TransferEncodingNotAllowed);
        }
        if fields.coding == Coding::Other {
            return Err(Http1Error::InvalidTransferEncoding);
        }
        out.remove(HeaderId::TransferEncoding);
    }
    if never_has_body && fields.content_length.is_some_and(|length| length > 0) {
        return Err(Http1Error::BodyDisallowed);
    }
    if let Some(length) = fields.content_length
        && fields.rewrite_length
    {
        out.set(HeaderId::ContentLength, length.to_string().as_bytes());
    }
    if asked.head || never_has_body || status == 304 {
        return Ok(Framing::None);
    }
    Ok(match (&fields.coding, fields.content_length) {
        (Coding::Absent, Some(length)) => Framing::Length(length),
        (Coding::Absent, None) => Framing::UntilClose,
        _ => Framing::Chunked,
    })
}

fn syntax_error(error: httparse::Error, head: &[u8]) -> Http1Error {
    match error {
        httparse::Error::Version | httparse::Error::Status | httparse::Error::Token => {
            Http1Error::StatusLine
        }
        e => {
            let fields = memchr::memchr(b'\n', head).map_or(head.len(), |at| at + 1);
            head::field_error(e, &head[fields..])
        }
    }
}

/// Where the status is in `HTTP/1.x SP 3DIGIT`.
const STATUS_AT: std::ops::Range<usize> = 9..12;
