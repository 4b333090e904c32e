//! Whole messages of a stream of frames.

use super::{FrameReader, Part};

/// A message, with the flags of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The flags.
    pub flags: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A message is longer than it may be. Nothing behind it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Puts messages together. What is kept are the bytes of one message.
#[derive(Debug)]
pub struct MessageReader {
    frames: FrameReader,
    flags: u8,
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl MessageReader {
    /// Reads messages of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            frames: FrameReader::default(),
            flags: 0,
            bytes: Vec::new(),
            bytes_max,
        }
    }

    /// Whether the last message is complete, or there was none.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.frames.is_between_frames()
    }

    /// Takes bytes off `input` up to the end of the next message; `None` when
    /// more must be received.
    ///
    /// # Errors
    /// The message is too long.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, TooLarge> {
        while let Some(part) = self.frames.next(input) {
            match part {
                Part::Begin { flags, length } => {
                    if length as usize > self.bytes_max {
                        return Err(TooLarge);
                    }
                    self.flags = flags;
                }
                // As it comes: nobody is sent the length that he says.
                Part::Data(data) => self.bytes.extend_from_slice(data),
                Part::End => {
                    return Ok(Some(Message {
                        flags: self.flags,
                        bytes: std::mem::take(&mut self.bytes),
                    }));
                }
            }
        }
        Ok(None)
    }
}
