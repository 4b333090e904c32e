//! Frames of HTTP/2 as they pass by: what each one is, not what is in it.
//!
//! [`FrameScanner`] is fed one direction of a connection, cut up however it
//! arrives, and tells of every frame as soon as its head is there. Payloads are
//! passed over, but for the few bytes that say why a stream or a connection
//! ends, and how much of a frame is padding. It checks nothing: whoever reads
//! the frames does, and what breaks the rules is scanned as it is.

pub mod fuzz;
#[cfg(test)]
mod tests;

/// The head of every frame (RFC 9113 section 4.1).
pub const HEAD_BYTES: usize = 9;

/// What a client's connection begins with, before its first frame.
pub const PREFACE_BYTES: u32 = 24;

/// Types of frames (RFC 9113 section 6).
#[expect(missing_docs, reason = "the names are the standard's")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Of DATA and HEADERS; the same bit says that SETTINGS and PING are an answer.
pub const END_STREAM: u8 = 1;
/// Of HEADERS, PUSH_PROMISE and CONTINUATION: none of the latter follows.
pub const END_HEADERS: u8 = 4;
/// Of DATA and HEADERS.
const PADDED: u8 = 8;

/// The top bit of a stream's number means nothing.
const STREAM_BITS: u32 = (1 << 31) - 1;

/// A frame that passes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Bytes of its payload, which may be on their way.
    pub length: u32,
    /// What was read of its payload.
    pub told: Told,
}

/// What the beginning of a payload says, where it is long enough to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing that is looked at.
    Nothing,
    /// DATA and HEADERS: so many bytes are padding, the one that says so among
    /// them.
    Padding(u32),
    /// RST_STREAM: why.
    Reset(u32),
    /// GOAWAY: why.
    GoAway(u32),
}

impl Frame {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.length)
    }

    /// Whether it carries nothing and ends nothing.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let padding = match self.told {
            Told::Padding(padding) => padding,
            _ => 0,
        };
        self.length <= padding && self.flags & END_STREAM == 0
    }

    fn parse(head: &[u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = *head;
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & STREAM_BITS,
            length: u32::from_be_bytes([0, a, b, c]),
            told: Told::Nothing,
        }
    }

    /// How many bytes of its payload are looked at.
    fn looked_at(&self) -> usize {
        let wanted = match self.kind {
            kind::RST_STREAM => 4,
            kind::GOAWAY => 8,
            kind::DATA | kind::HEADERS if self.flags & PADDED != 0 => 1,
            _ => 0,
        };
        match self.length as usize {
            length if length < wanted => 0,
            _ => wanted,
        }
    }

    /// Takes what it says from the beginning of its payload.
    fn read(&mut self, payload: &[u8]) {
        self.told = match (self.kind, payload) {
            (kind::RST_STREAM, &[a, b, c, d, ..]) => Told::Reset(u32::from_be_bytes([a, b, c, d])),
            (kind::GOAWAY, &[_, _, _, _, a, b, c, d, ..]) => {
                Told::GoAway(u32::from_be_bytes([a, b, c, d]))
            }
            (kind::DATA | kind::HEADERS, &[length, ..]) => Told::Padding(u32::from(length) + 1),
            _ => Told::Nothing,
        };
    }
}

/// One direction of a connection.
#[derive(Debug, Clone)]
pub struct FrameScanner {
    /// Bytes that are passed over before the next head.
    passed_over: u32,
    /// What has come of a head, and of the payload behind it that is looked at.
    begun: [u8; BEGUN_BYTES],
    begun_bytes: usize,
}

/// A head and what is looked at behind it.
const BEGUN_BYTES: usize = HEAD_BYTES + 8;

impl FrameScanner {
    /// What a client sends, from its preface on.
    #[must_use]
    pub const fn of_client() -> Self {
        Self {
            passed_over: PREFACE_BYTES,
            begun: [0; BEGUN_BYTES],
            begun_bytes: 0,
        }
    }

    /// What a server sends, from its first frame on.
    #[must_use]
    pub const fn of_server() -> Self {
        Self {
            passed_over: 0,
            ..Self::of_client()
        }
    }

    /// Whether what was taken ends where a frame ends.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.passed_over == 0 && self.begun_bytes == 0
    }

    /// Takes bytes off `input` up to the payload of the next frame; `None` when
    /// more must come, and then all of `input` was taken.
    #[inline]
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Frame> {
        let passed_over = input.len().min(self.passed_over as usize);
        self.passed_over -= passed_over as u32;
        *input = &input[passed_over..];
        if input.is_empty() {
            return None;
        }
        if self.begun_bytes == 0
            && let Some((head, payload)) = input.split_first_chunk()
        {
            let frame = Frame::parse(head);
            if frame.looked_at() == 0 {
                self.passed_over = frame.length;
                *input = payload;
                return Some(frame);
            }
        }
        self.gather(input)
    }

    /// A frame of which more is looked at than its head, or whose head comes in
    /// pieces.
    #[cold]
    fn gather(&mut self, input: &mut &[u8]) -> Option<Frame> {
        self.fill(HEAD_BYTES, input)?;
        let head = self.begun.first_chunk()?;
        let mut frame = Frame::parse(head);
        let looked_at = frame.looked_at();
        self.fill(HEAD_BYTES + looked_at, input)?;
        frame.read(&self.begun[HEAD_BYTES..HEAD_BYTES + looked_at]);
        self.begun_bytes = 0;
        self.passed_over = frame.length - looked_at as u32;
        Some(frame)
    }

    /// Keeps what there is of the first `wanted` bytes; `None` until they are
    /// all there.
    fn fill(&mut self, wanted: usize, input: &mut &[u8]) -> Option<()> {
        let missing = wanted.saturating_sub(self.begun_bytes);
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.begun[self.begun_bytes..self.begun_bytes + taken.len()].copy_from_slice(taken);
        self.begun_bytes += taken.len();
        *input = rest;
        (taken.len() == missing).then_some(())
    }
}
