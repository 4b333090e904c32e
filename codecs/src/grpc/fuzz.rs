//! What must hold for any bytes whatsoever: shared by the fuzz target and the
//! table tests. Not part of the API.

use super::{FrameReader, HEADER_BYTES, Message, MessageReader, Part, TooLarge, header};

/// Longer messages are refused: a length alone must cost nothing.
const BYTES_MAX: usize = 1 << 16;

/// Reads a stream in pieces of each of some sizes. The pieces make no
/// difference, nothing is lost, and nothing is kept for a length that is only
/// said. Gives the messages, and whether the last one is complete.
pub fn stream(bytes: &[u8]) -> (Vec<Message>, Result<bool, TooLarge>) {
    let whole = read(bytes, bytes.len().max(1));
    for size in [1, 2, 3, 4, 5, 7, 64] {
        assert_eq!(read(bytes, size), whole, "in pieces of {size}");
    }
    if whole.1 == Ok(true) {
        let again: Vec<u8> = whole.0.iter().flat_map(written).collect();
        assert_eq!(again, bytes);
    }
    whole
}

fn written(message: &Message) -> Vec<u8> {
    let length = u32::try_from(message.bytes.len()).expect("it was read");
    [&header(message.flags, length)[..], &message.bytes].concat()
}

fn read(bytes: &[u8], size: usize) -> (Vec<Message>, Result<bool, TooLarge>) {
    let mut reader = MessageReader::new(BYTES_MAX);
    let mut counter = FrameReader::default();
    let mut found = Vec::new();
    let mut seen = 0;
    for piece in bytes.chunks(size) {
        let mut rest = piece;
        while let Some(part) = counter.next(&mut rest) {
            seen += match part {
                Part::Begin { .. } => HEADER_BYTES,
                Part::Data(data) => {
                    assert!(!data.is_empty());
                    data.len()
                }
                Part::End => 0,
            };
        }
        assert!(rest.is_empty());
        let mut rest = piece;
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
        assert!(rest.is_empty());
    }
    assert!(seen <= bytes.len() && bytes.len() - seen < HEADER_BYTES);
    assert_eq!(
        counter.begun(),
        found.len() as u64 + u64::from(!reader.is_between_messages())
    );
    (found, Ok(reader.is_between_messages()))
}
