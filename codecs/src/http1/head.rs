//! Reading a head that may arrive in any number of pieces.
//!
//! The usual head lies in one receive buffer: it is parsed there, in one pass,
//! and copied once. Only a head that is split is gathered in a carry buffer of
//! the reader, line by line: each new line is checked once when its end
//! arrives, and the whole is parsed once more when the last one is there, so
//! that the cost stays linear however the bytes are cut.

use super::request::{self, RequestHead, RequestOptions, Understood};
use super::response::{self, ResponseHead, ResponseOptions};
use super::{Http1Error, Version, chars};
use crate::header::HeaderMap;
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// Reads the heads of one direction of one connection.
///
/// Feed received bytes to [`request`](HeadReader::request) or
/// [`response`](HeadReader::response) until a head is complete, then give the
/// bytes that follow to a [`BodyDecoder`](super::BodyDecoder) until the body
/// is done. After an error the connection must be closed.
#[derive(Default, Debug)]
pub struct HeadReader {
    /// The bytes of a head that is not complete; owns no memory otherwise.
    carry: Vec<u8>,
    /// The length of the start of `carry` whose lines are known to be good.
    checked: usize,
    /// The number of fields within `checked`.
    fields: usize,
    /// See [`HeadReader::field_bytes`] and [`HeadReader::version`].
    understood: Understood,
}

impl HeadReader {
    /// A reader at a message boundary.
    pub fn new() -> HeadReader {
        HeadReader::default()
    }

    /// True when no part of a head has been received. Empty lines before a
    /// request line do not count.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.carry.is_empty()
    }

    /// The size of the fields of the last head, complete or refused, as
    /// [`field_bytes`] counts it.
    #[inline]
    pub fn field_bytes(&self) -> u32 {
        self.understood.field_bytes
    }

    /// The version of the last request head, also of one that was refused once
    /// its fields were understood; otherwise HTTP/1.1.
    #[inline]
    pub fn version(&self) -> Version {
        self.understood.version
    }

    /// Takes the next received bytes of a request head.
    ///
    /// `Ok(None)`: all of `input` was taken and more is needed.
    /// `Ok(Some((head, consumed)))`: the head is complete, `out` has its
    /// fields, and `consumed` bytes of this `input` belong to it.
    ///
    /// A head may be complete and still one that is to be refused: see
    /// [`RequestHead::refused`].
    ///
    /// `out` is cleared first. After an error for which
    /// [`tells_headers`](Http1Error::tells_headers) it holds the fields, for the
    /// access log; after any other it is empty.
    pub fn request(
        &mut self,
        input: &[u8],
        o: &RequestOptions,
        out: &mut HeaderMap,
    ) -> Result<Option<(RequestHead, usize)>, Http1Error> {
        out.clear();
        self.understood = Understood::NOTHING;
        let skipped = match self.is_empty() {
            true => empty_lines(input),
            false => 0,
        };
        let rest = &input[skipped..];
        if rest.is_empty() {
            return Ok(None);
        }
        let limits = Limits {
            bytes: o.head_bytes_max,
            fields: o.headers_max,
        };
        let mut understood = Understood::NOTHING;
        let parsed = self.advance(rest, limits, |bytes| {
            request::parse(bytes, o, out, &mut understood)
        });
        self.understood = understood;
        if matches!(parsed, Err(e) if !e.tells_headers()) {
            out.clear();
        }
        let head = parsed?;
        Ok(head.map(|(head, consumed)| (head, skipped + consumed)))
    }

    /// Takes the next received bytes of a response head, interim responses
    /// included. What the request was decides the framing: a response to HEAD
    /// has no body, a 2xx to CONNECT begins a tunnel.
    ///
    /// Results are as for [`request`](HeadReader::request).
    pub fn response(
        &mut self,
        input: &[u8],
        o: &ResponseOptions,
        request_was_head: bool,
        request_was_connect: bool,
        out: &mut HeaderMap,
    ) -> Result<Option<(ResponseHead, usize)>, Http1Error> {
        out.clear();
        self.understood = Understood::NOTHING;
        if input.is_empty() {
            return Ok(None);
        }
        let limits = Limits {
            bytes: o.head_bytes_max,
            fields: o.headers_max,
        };
        let asked = response::Asked {
            head: request_was_head,
            connect: request_was_connect,
        };
        let mut field_bytes = 0;
        let parsed = self.advance(input, limits, |bytes| {
            response::parse(bytes, o, asked, out, &mut field_bytes)
        });
        self.understood.field_bytes = field_bytes;
        if parsed.is_err() {
            out.clear();
        }
        parsed
    }

    /// Runs `parse` over what has been received of a head, when that can have
    /// a result. `input` is not empty.
    fn advance<H: HeadBytes>(
        &mut self,
        input: &[u8],
        limits: Limits,
        parse: impl FnOnce(&[u8]) -> Result<Option<H>, Http1Error>,
    ) -> Result<Option<(H, usize)>, Http1Error> {
        if self.carry.is_empty() {
            let result = parse(input);
            match &result {
                Ok(None) => {
                    self.carry.extend_from_slice(input);
                    self.note_checked(0);
                }
                Ok(Some(_)) | Err(_) => self.reset(),
            }
            return Ok(result?.map(|head| {
                let consumed = head.head_bytes();
                (head, consumed)
            }));
        }
        let before = self.carry.len();
        // One byte more than allowed shows that the head is too large.
        let taken = input
            .len()
            .min(limits.bytes.saturating_add(1).saturating_sub(before));
        self.carry.extend_from_slice(&input[..taken]);
        let result = match self.check_new_lines(before, limits) {
            Ok(true) => parse(&self.carry),
            Ok(false) => Ok(None),
            Err(e) => Err(e),
        };
        match &result {
            Ok(None) => self.note_checked(before),
            Ok(Some(_)) | Err(_) => self.reset(),
        }
        // The head ends behind `before`: what was there had no result.
        Ok(result?.map(|head| {
            let consumed = head.head_bytes() - before;
            (head, consumed)
        }))
    }

    /// Checks the lines whose ends are behind `before`. True when the whole
    /// head should be parsed: it is complete, too large, or not even its first
    /// line was complete before.
    fn check_new_lines(&self, before: usize, limits: Limits) -> Result<bool, Http1Error> {
        if self.carry.len() > limits.bytes {
            return Ok(true);
        }
        let lines = memchr::memchr_iter(b'\n', &self.carry[before..]).count();
        if lines == 0 {
            return Ok(false);
        }
        if self.checked == 0 {
            return Ok(true);
        }
        let slots = lines.min(limits.fields.saturating_sub(self.fields));
        let mut fields = vec![httparse::EMPTY_HEADER; slots];
        let rest = &self.carry[self.checked..];
        match httparse::parse_headers(rest, &mut fields) {
            Ok(Status::Partial) => Ok(false),
            Ok(Status::Complete(_)) => Ok(true),
            Err(e) => Err(field_error(e, rest)),
        }
    }

    /// Remembers that the complete lines in the carry are good, of which the
    /// bytes behind `before` are new.
    fn note_checked(&mut self, before: usize) {
        let Some(last) = memchr::memrchr(b'\n', &self.carry[before..]) else {
            return;
        };
        let end = before + last + 1;
        let lines = memchr::memchr_iter(b'\n', &self.carry[before..end]).count();
        // The first line is not a field.
        self.fields += lines - usize::from(self.checked == 0);
        self.checked = end;
    }

    fn reset(&mut self) {
        if !self.carry.is_empty() {
            self.carry = Vec::new();
        }
        self.checked = 0;
        self.fields = 0;
    }
}

#[derive(Copy, Clone)]
struct Limits {
    bytes: usize,
    fields: usize,
}

/// The size of a field as Envoy counts it, of which the white space around the
/// value is no part: the name, the value, and three bytes for the colon and the
/// line end.
#[inline]
pub(super) fn field_bytes(name: usize, value: usize) -> u32 {
    (name + value) as u32 + LINE_BYTES
}

/// The size of all fields of a head, of which `sum` is that of each one. Envoy
/// closes the books on a line even if there was none.
#[inline]
pub(super) fn head_field_bytes(sum: u32) -> u32 {
    sum.max(LINE_BYTES)
}

/// The size of all fields of a head that is refused.
#[cold]
pub(super) fn all_field_bytes(fields: &[Header<'_>]) -> u32 {
    let sizes = fields
        .iter()
        .map(|field| field_bytes(field.name.len(), field.value.len()));
    head_field_bytes(sizes.sum())
}

/// The length of a parsed head.
pub(super) trait HeadBytes {
    fn head_bytes(&self) -> usize;
}

/// Runs `f` with room for the fields of a head: on the stack, unless the
/// configuration allows more fields than nearly all do.
#[inline]
pub(super) fn with_slots<'b, R>(
    fields_max: usize,
    head_bytes_max: usize,
    f: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> R,
) -> R {
    if fields_max <= STACK_SLOTS {
        let mut slots = [const { MaybeUninit::uninit() }; STACK_SLOTS];
        return f(&mut slots[..fields_max]);
    }
    // A field has at least the four bytes of `a:\r\n`.
    let slots = fields_max.min(head_bytes_max / 4 + 1);
    let mut slots: Vec<_> = (0..slots).map(|_| MaybeUninit::uninit()).collect();
    f(&mut slots)
}

/// Where `part` begins within `whole`, of which it is a slice.
#[inline]
pub(super) fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// httparse lets lines end in LF alone; another parser on the way may not, so
/// a head with such a line is refused. A CR that the parser let through has
/// its LF, hence one look at the byte before LF is enough: `name_at` is where
/// the line after begins.
#[inline]
pub(super) fn line_before_ends_in_crlf(head: &[u8], name_at: usize) -> bool {
    name_at >= 2 && head[name_at - 2] == b'\r'
}

/// The same for the last field line and the empty line after it.
#[inline]
pub(super) fn head_ends_in_crlf(head: &[u8]) -> bool {
    head.ends_with(b"\r\n\r\n")
}

/// The reason for an error of httparse in the field lines `lines`, which begin
/// at the start of a line.
pub(super) fn field_error(error: httparse::Error, lines: &[u8]) -> Http1Error {
    match error {
        httparse::Error::TooManyHeaders => Http1Error::TooManyHeaders,
        httparse::Error::HeaderValue => Http1Error::InvalidCharacters,
        httparse::Error::HeaderName => match first_bad_name_byte(lines) {
            Some(b) if chars::is_forbidden_control(b) => Http1Error::InvalidCharacters,
            _ => Http1Error::FieldName,
        },
        _ => Http1Error::LineEnd,
    }
}

/// The byte that ends the first malformed field name.
fn first_bad_name_byte(mut lines: &[u8]) -> Option<u8> {
    loop {
        let at = lines.iter().position(|&b| !chars::is_token(b))?;
        if at == 0 || lines[at] != b':' {
            return Some(lines[at]);
        }
        let end = memchr::memchr(b'\n', lines)?;
        lines = &lines[end + 1..];
    }
}

/// The bytes of empty lines before a request line, which RFC 9112 section 2.2 wants
/// ignored because old clients sent one after a body. As in Envoy there may be any
/// number, which costs nothing: none is kept. They end in any way: no request can
/// hide in CR and LF alone.
fn empty_lines(input: &[u8]) -> usize {
    let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    input.iter().take_while(is_end).count()
}

/// A colon, CR and LF.
const LINE_BYTES: u32 = 3;
/// More fields than this on the stack would cost more than the rare allocation
/// saves; Envoy's default limit is 100.
const STACK_SLOTS: usize = 128;
