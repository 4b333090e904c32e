//! HTTP/2 for the tests' own client: frames are built byte by byte, so that
//! they may be wrong, and what comes back is read as the same messages as
//! HTTP/1's. [`origin`] is a host that speaks it.

pub mod origin;

use crate::hpack::{self, Decoder, Field};
use crate::message::{Framing, Message};
use ringway_codecs::http2::HEAD_BYTES;
pub use ringway_codecs::http2::{END_STREAM, kind};
use std::collections::BTreeMap;

/// What a client's connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `END_HEADERS`
pub const END_HEADERS: u8 = 4;

/// A frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The preface and empty SETTINGS.
#[must_use]
pub fn preface() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat()
}

/// The preface and SETTINGS with these values.
#[must_use]
pub fn preface_with(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    [PREFACE, &frame(kind::SETTINGS, 0, 0, &payload)].concat()
}

/// A header block of lines `name: value`, in their order and as they are.
#[must_use]
pub fn block(lines: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        let colon = line[1..].find(':').expect("name: value") + 1;
        let value = &line[colon + 1..];
        let value = value.strip_prefix(' ').unwrap_or(value);
        hpack::encode(&line.as_bytes()[..colon], value.as_bytes(), &mut out);
    }
    out
}

/// A HEADERS frame that is a whole header block.
#[must_use]
pub fn headers(stream: u32, lines: &str, is_end: bool) -> Vec<u8> {
    let flags = END_HEADERS | u8::from(is_end);
    frame(kind::HEADERS, flags, stream, &block(lines))
}

/// The head of a GET, with `more` lines.
#[must_use]
pub fn get(stream: u32, path: &str, more: &str) -> Vec<u8> {
    request(stream, "GET", path, more, true)
}

/// The head of a request, with `more` lines.
#[must_use]
pub fn request(stream: u32, method: &str, path: &str, more: &str, is_end: bool) -> Vec<u8> {
    let lines = format!(":method: {method}\n:scheme: http\n:path: {path}\n:authority: a\n{more}");
    headers(stream, &lines, is_end)
}

/// A DATA frame.
#[must_use]
pub fn data(stream: u32, bytes: &[u8], is_end: bool) -> Vec<u8> {
    frame(kind::DATA, u8::from(is_end), stream, bytes)
}

/// A RST_STREAM frame.
#[must_use]
pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// A WINDOW_UPDATE frame.
#[must_use]
pub fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// See [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// The complete frames at the start of `bytes`.
#[must_use]
pub fn frames(bytes: &[u8]) -> Vec<Received> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEAD_BYTES {
        let number = |at: usize, count: usize| {
            rest[at..at + count]
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let length = number(0, 3) as usize;
        if rest.len() < HEAD_BYTES + length {
            break;
        }
        found.push(Received {
            kind: rest[3],
            flags: rest[4],
            stream: number(5, 4) & !(1 << 31),
            payload: rest[HEAD_BYTES..HEAD_BYTES + length].to_vec(),
        });
        rest = &rest[HEAD_BYTES + length..];
    }
    found
}

/// The name of an error code.
#[must_use]
pub fn reason(code: &[u8]) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let code = code
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    NAMES
        .get(code)
        .map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

/// What came back as messages: interim ones first, then by stream, and what is
/// said of the connection as text. A stream that was reset is complete: nothing
/// more comes. Its trailers say so, and without a response its first line does.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<Message>, Vec<u8>) {
    let mut decoder = Decoder::default();
    let mut streams: BTreeMap<u32, Message> = BTreeMap::new();
    let mut interim = Vec::new();
    let mut said = String::new();
    let mut block: Vec<u8> = Vec::new();
    for frame in frames(bytes) {
        match frame.kind {
            kind::HEADERS | kind::CONTINUATION => {
                block.extend_from_slice(&frame.payload);
                if frame.flags & END_HEADERS == 0 {
                    continue;
                }
                let Some(fields) = decoder.decode(&std::mem::take(&mut block)) else {
                    said.push_str("UNREADABLE HEADERS\n");
                    continue;
                };
                on_fields(frame.stream, fields, &mut streams, &mut interim);
            }
            kind::DATA => {
                if let Some(message) = streams.get_mut(&frame.stream) {
                    message.body.extend_from_slice(&frame.payload);
                    message.framing = Framing::Chunked;
                }
            }
            kind::RST_STREAM => {
                let line = format!("RST_STREAM {}", reason(&frame.payload));
                let message = streams.entry(frame.stream).or_insert_with(|| empty(line));
                // After a complete response it says only that no more is taken.
                message
                    .trailers
                    .push(("(reset)".to_owned(), reason(&frame.payload)));
                message.complete = true;
            }
            kind::GOAWAY => {
                said.push_str(&format!("GOAWAY {}\n", reason(&frame.payload[4..8])));
            }
            _ => {}
        }
        let ends = matches!(frame.kind, kind::HEADERS | kind::DATA);
        if ends
            && frame.flags & END_STREAM != 0
            && let Some(message) = streams.get_mut(&frame.stream)
        {
            message.complete = true;
        }
    }
    let messages = interim.into_iter().chain(streams.into_values());
    (messages.collect(), said.into_bytes())
}

fn on_fields(
    stream: u32,
    mut fields: Vec<Field>,
    streams: &mut BTreeMap<u32, Message>,
    interim: &mut Vec<Message>,
) {
    if let Some(message) = streams.get_mut(&stream) {
        message.trailers.extend(fields);
        return;
    }
    let place = fields.iter().position(|(name, _)| name == ":status");
    let status = place.map_or_else(String::new, |place| fields.remove(place).1);
    let is_interim = status.starts_with('1');
    let message = Message {
        headers: fields,
        complete: is_interim,
        ..empty(format!("HTTP/2 {status}"))
    };
    match is_interim {
        true => interim.push(message),
        false => drop(streams.insert(stream, message)),
    }
}

fn empty(first_line: String) -> Message {
    Message {
        first_line,
        headers: Vec::new(),
        body: Vec::new(),
        framing: Framing::None,
        trailers: Vec::new(),
        complete: false,
    }
}

/// Answers to the PINGs and SETTINGS among the frames of `bytes`, all but the
/// first `answered` of them, which are counted.
#[must_use]
pub fn answers(bytes: &[u8], answered: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let wanting = frames(bytes)
        .into_iter()
        .filter(|frame| matches!(frame.kind, kind::PING | kind::SETTINGS) && frame.flags & 1 == 0);
    for frame in wanting.skip(*answered) {
        *answered += 1;
        let payload = match frame.kind {
            kind::PING => frame.payload,
            _ => Vec::new(),
        };
        out.extend(self::frame(frame.kind, 1, 0, &payload));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_by_stream() {
        let bytes = [
            headers(3, ":status: 200\nx: 1", false),
            headers(1, ":status: 100", false),
            headers(1, ":status: 404", true),
            data(3, b"ab", false),
            headers(3, "t: 1", true),
            reset(5, 8),
            frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]),
        ]
        .concat();
        let (messages, said) = read(&bytes);
        let lines: Vec<_> = messages.iter().map(|one| one.first_line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "HTTP/2 100",
                "HTTP/2 404",
                "HTTP/2 200",
                "RST_STREAM CANCEL"
            ]
        );
        assert!(messages.iter().all(|message| message.complete));
        assert_eq!(messages[2].body, b"ab");
        assert_eq!(messages[2].trailers, [("t".to_owned(), "1".to_owned())]);
        assert_eq!(said, b"GOAWAY NO_ERROR\n");
    }

    #[test]
    fn pings_are_answered_once() {
        let ping = frame(kind::PING, 0, 0, b"12345678");
        let mut answered = 0;
        assert_eq!(
            answers(&ping, &mut answered),
            frame(kind::PING, 1, 0, b"12345678")
        );
        assert_eq!(answers(&ping, &mut answered), b"");
    }
}
