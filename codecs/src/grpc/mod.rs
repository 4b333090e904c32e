//! The frames that messages of gRPC come in: a byte of flags, the length in four
//! bytes, big-endian, and the message.
//!
//! [`FrameReader`] cuts received bytes where frames are, however they arrive, and
//! keeps nothing of them; [`MessageReader`] puts whole messages together.

pub mod fuzz;
mod message;

pub use message::{Message, MessageReader, TooLarge};

/// The size of what is in front of a message.
pub const HEADER_BYTES: usize = 5;

/// A message is compressed.
pub const COMPRESSED: u8 = 1;

/// The frame has the trailers, in gRPC-Web.
pub const TRAILERS: u8 = 0x80;

/// What is in front of a message.
#[must_use]
pub fn header(flags: u8, length: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [flags, a, b, c, d]
}

/// What bytes are in a stream of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A frame begins; its header is complete.
    Begin {
        /// Its flags.
        flags: u8,
        /// The length of its message.
        length: u32,
    },
    /// Some bytes of its message; never none.
    Data(&'a [u8]),
    /// Its message is complete.
    End,
}

/// Reads frames. Give it all that was received, in order, by
/// [`FrameReader::next`] until it says `None`, and then what is received next.
/// Nothing is wrong in a stream of frames; it may only be cut off.
#[derive(Debug, Clone, Default)]
pub struct FrameReader {
    header: [u8; HEADER_BYTES],
    /// How much of the header is there.
    header_bytes: u8,
    /// What is missing of the message.
    missing: u32,
    /// Frames whose first byte has been seen.
    begun: u64,
}

impl FrameReader {
    /// How many frames have begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether the last frame is complete, or there was none.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.header_bytes == 0
    }

    /// Takes the next part off `input`; `None` when more must be received.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Part<'a>> {
        let have = usize::from(self.header_bytes);
        if have < HEADER_BYTES {
            if input.is_empty() {
                return None;
            }
            self.begun += u64::from(have == 0);
            let taken = input.len().min(HEADER_BYTES - have);
            let (bytes, rest) = input.split_at(taken);
            self.header[have..have + taken].copy_from_slice(bytes);
            self.header_bytes += taken as u8;
            *input = rest;
            if have + taken < HEADER_BYTES {
                return None;
            }
            let [flags, a, b, c, d] = self.header;
            self.missing = u32::from_be_bytes([a, b, c, d]);
            let length = self.missing;
            return Some(Part::Begin { flags, length });
        }
        if self.missing == 0 {
            self.header_bytes = 0;
            return Some(Part::End);
        }
        if input.is_empty() {
            return None;
        }
        let taken = input.len().min(self.missing as usize);
        let (data, rest) = input.split_at(taken);
        *input = rest;
        self.missing -= taken as u32;
        Some(Part::Data(data))
    }
}

/// The service and the method that a path names: `/SERVICE/METHOD`, whatever
/// is asked behind it. `None` for a path of another shape.
#[must_use]
pub fn service_and_method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let query = memchr::memchr(b'?', path);
    let path = &path[..query.unwrap_or(path.len())];
    let mut parts = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    let found = (parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests;
