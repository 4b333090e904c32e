//! Decoding bodies: a length, chunks with trailers, or until the peer closes
//! (RFC 9112 sections 6 and 7).

use super::framing::BODY_BYTES_MAX;
use super::{
    CHUNK_EXTENSION_BYTES_MAX, Framing, HEADERS_MAX, Http1Error, REQUEST_HEAD_BYTES_MAX, chars,
    head,
};
use crate::header::{HeaderId, HeaderMap};
use std::ops::Range;

/// Limits on the parts of a chunked body that are not data.
#[derive(Copy, Clone, Debug)]
pub struct BodyOptions {
    /// Keep trailers; otherwise they are checked and dropped.
    pub trailers: bool,
    /// The largest trailer section in bytes.
    pub trailer_bytes_max: usize,
    /// The most bytes of chunk extensions in one message. They carry nothing
    /// that is kept, so an endless supply would only cost work.
    pub chunk_extension_bytes_max: usize,
}

impl Default for BodyOptions {
    fn default() -> BodyOptions {
        BodyOptions {
            trailers: false,
            trailer_bytes_max: REQUEST_HEAD_BYTES_MAX,
            chunk_extension_bytes_max: CHUNK_EXTENSION_BYTES_MAX,
        }
    }
}

/// What one step of [`BodyDecoder::decode`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyStep {
    /// The bytes of the input that belong to the body, its framing included.
    pub consumed: usize,
    /// The range of the input with body bytes to forward; may be empty.
    pub data: Range<usize>,
    /// The body is complete; what follows is the next message.
    pub done: bool,
}

/// Finds the body bytes of one message in what is received.
///
/// Small enough to be copied; the one thing that it remembers elsewhere is the
/// trailer line that is being received, at the end of the trailer list's
/// memory.
#[derive(Copy, Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    keep_trailers: bool,
    /// At most one more than [`HEADERS_MAX`].
    trailers: u16,
    trailer_field_bytes: u32,
    trailer_bytes_left: usize,
    extension_bytes_left: usize,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    Done,
    /// Bytes to come, at least one.
    Length(u64),
    UntilClose,
    /// A chunk size: its value and digits so far.
    Size(u64, u8),
    /// White space after the size, before an extension or the end.
    SizeSpace(u64),
    Extension(u64),
    /// The CR of a chunk line has been seen.
    SizeLf(u64),
    /// Bytes to come of a chunk, at least one.
    Data(u64),
    DataCr,
    DataLf,
    /// A trailer line; the offset in the list's memory where it begins.
    Trailer(u32),
}

impl BodyDecoder {
    /// A decoder for the body of a message with this framing.
    pub fn new(framing: Framing, o: &BodyOptions) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder {
            state,
            keep_trailers: o.trailers,
            trailers: 0,
            trailer_field_bytes: 0,
            trailer_bytes_left: o.trailer_bytes_max,
            extension_bytes_left: o.chunk_extension_bytes_max,
        }
    }

    /// True when the body is complete.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The size of the trailers of a complete body, as that of a head's fields
    /// is counted; 0 unless trailers are kept. Zero from then on.
    pub fn take_trailer_field_bytes(&mut self) -> u32 {
        match self.is_done() {
            true => std::mem::take(&mut self.trailer_field_bytes),
            false => 0,
        }
    }

    /// Takes the next received bytes, as far as the end of one run of body
    /// bytes. Call again with the rest until all is consumed or the body is
    /// done. `trailers` is the same list each time, empty at first; it has the
    /// trailers when the body is done.
    pub fn decode(
        &mut self,
        input: &[u8],
        trailers: &mut HeaderMap,
    ) -> Result<BodyStep, Http1Error> {
        let mut at = 0;
        let mut data = 0..0;
        while at < input.len() {
            let rest = &input[at..];
            match self.state {
                State::Done => break,
                State::Length(left) => {
                    let n = take(left, rest);
                    data = at..at + n;
                    at += n;
                    self.state = match left - n as u64 {
                        0 => State::Done,
                        left => State::Length(left),
                    };
                    break;
                }
                State::UntilClose => {
                    data = at..input.len();
                    at = input.len();
                }
                State::Data(left) => {
                    let n = take(left, rest);
                    data = at..at + n;
                    at += n;
                    self.state = match left - n as u64 {
                        0 => State::DataCr,
                        left => State::Data(left),
                    };
                    break;
                }
                State::Trailer(start) => at += self.trailer(start, rest, trailers)?,
                _ => {
                    self.framing_byte(rest[0], trailers)?;
                    at += 1;
                }
            }
        }
        Ok(BodyStep {
            consumed: at,
            data,
            done: self.is_done(),
        })
    }

    /// The peer has closed: that ends a body without another end and is an
    /// error in all that is not complete.
    pub fn on_eof(&mut self) -> Result<(), Http1Error> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Http1Error::UnexpectedEof),
        }
    }

    /// One byte of a chunk line, or of the line end after chunk data.
    fn framing_byte(&mut self, b: u8, trailers: &HeaderMap) -> Result<(), Http1Error> {
        self.state = match self.state {
            State::Size(size, digits) => match hex_digit(b) {
                Some(digit) if digits < SIZE_DIGITS_MAX => {
                    State::Size(size << 4 | u64::from(digit), digits + 1)
                }
                None if digits > 0 && size <= BODY_BYTES_MAX => self.after_size(b, size)?,
                _ => return Err(Http1Error::ChunkSize),
            },
            State::SizeSpace(size) => self.after_size(b, size)?,
            State::Extension(size) if b == b'\r' => State::SizeLf(size),
            State::Extension(size) if chars::is_value(b) => {
                self.count_extension_byte()?;
                State::Extension(size)
            }
            State::SizeLf(0) if b == b'\n' => State::Trailer(trailers.arena_len()),
            State::SizeLf(size) if b == b'\n' => State::Data(size),
            State::DataCr if b == b'\r' => State::DataLf,
            State::DataLf if b == b'\n' => State::Size(0, 0),
            State::DataCr | State::DataLf => return Err(Http1Error::ChunkEnd),
            _ => return Err(Http1Error::ChunkLine),
        };
        Ok(())
    }

    /// What may follow the digits: white space, an extension, or CR. Trailing
    /// white space is bad grammar that old servers pad the size with; it is
    /// the same number for everyone.
    fn after_size(&mut self, b: u8, size: u64) -> Result<State, Http1Error> {
        match b {
            b'\r' => Ok(State::SizeLf(size)),
            b' ' | b'\t' => {
                self.count_extension_byte()?;
                Ok(State::SizeSpace(size))
            }
            b';' => {
                self.count_extension_byte()?;
                Ok(State::Extension(size))
            }
            b'\n' => Err(Http1Error::ChunkLine),
            _ => Err(Http1Error::ChunkSize),
        }
    }

    fn count_extension_byte(&mut self) -> Result<(), Http1Error> {
        self.extension_bytes_left = self
            .extension_bytes_left
            .checked_sub(1)
            .ok_or(Http1Error::ChunkExtensionsTooLarge)?;
        Ok(())
    }

    /// Takes `rest` up to the end of the trailer line that begins at `start`
    /// in the list's memory; returns how many bytes that were.
    fn trailer(
        &mut self,
        start: u32,
        rest: &[u8],
        trailers: &mut HeaderMap,
    ) -> Result<usize, Http1Error> {
        let line_end = memchr::memchr(b'\n', rest).map(|at| at + 1);
        let n = line_end.unwrap_or(rest.len());
        if n > self.trailer_bytes_left {
            return Err(Http1Error::HeadersTooLarge);
        }
        self.trailer_bytes_left -= n;
        trailers.extend_arena(&rest[..n]);
        if line_end.is_none() {
            return Ok(n);
        }
        let line = trailers.arena_from(start);
        if line == b"\r\n" {
            trailers.truncate_arena(start);
            trailers.join_repeated();
            self.state = State::Done;
            return Ok(n);
        }
        let (name, value) = split_field(line)?;
        if self.keep_trailers {
            self.trailer_field_bytes += head::field_bytes(name, value.len());
        }
        let keep = self.keep_trailers && trailers.push_trailer(start, name, value, is_allowed);
        if keep {
            self.trailers += 1;
            if usize::from(self.trailers) > HEADERS_MAX {
                return Err(Http1Error::TooManyHeaders);
            }
        } else {
            trailers.truncate_arena(start);
        }
        self.state = State::Trailer(trailers.arena_len());
        Ok(n)
    }
}

/// The length of the name, and the range of the value, of a field line that
/// ends in LF.
fn split_field(line: &[u8]) -> Result<(usize, Range<usize>), Http1Error> {
    let Some(content) = line.strip_suffix(b"\r\n") else {
        return Err(Http1Error::LineEnd);
    };
    let name = content
        .iter()
        .position(|&b| !chars::is_token(b))
        .ok_or(Http1Error::FieldName)?;
    if name == 0 || content[name] != b':' {
        let bad = chars::is_forbidden_control(content[name]);
        return Err(match bad {
            true => Http1Error::InvalidCharacters,
            false => Http1Error::FieldName,
        });
    }
    let raw = &content[name + 1..];
    if !raw.iter().all(|&b| chars::is_value(b)) {
        return Err(Http1Error::InvalidCharacters);
    }
    let value = raw.trim_ascii();
    let start = name + 1 + (raw.len() - raw.trim_ascii_start().len());
    Ok((name, start..start + value.len()))
}

/// Fields that decide framing, routing, authentication or how the content is
/// read are never trailers (RFC 9110 section 6.5.1): whoever merges trailers
/// into the fields behind us must not find them.
fn is_allowed(id: HeaderId) -> bool {
    !matches!(
        id,
        HeaderId::ContentLength
            | HeaderId::TransferEncoding
            | HeaderId::Host
            | HeaderId::Authorization
            | HeaderId::ProxyAuthorization
            | HeaderId::WwwAuthenticate
            | HeaderId::ProxyAuthenticate
            | HeaderId::Connection
            | HeaderId::KeepAlive
            | HeaderId::ProxyConnection
            | HeaderId::Te
            | HeaderId::Trailer
            | HeaderId::Upgrade
            | HeaderId::Http2Settings
            | HeaderId::Expect
            | HeaderId::Range
            | HeaderId::Cookie
            | HeaderId::SetCookie
            | HeaderId::ContentEncoding
            | HeaderId::ContentType
    )
}

/// How many of the `left` bytes `rest` has.
#[inline]
fn take(left: u64, rest: &[u8]) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}

#[inline]
fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

/// The digits of a 64-bit number; more would wrap somewhere.
const SIZE_DIGITS_MAX: u8 = 16;
