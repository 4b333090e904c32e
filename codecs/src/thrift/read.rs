//! Reading as much of an answer as says whether it is a result.

use super::{
    BINARY_VERSION, CALL, COMPACT_ID, COMPACT_VERSION, HEADER_BINARY, HEADER_COMPACT, HEADER_MAGIC,
    ONEWAY, Protocol, REPLY, Transport,
};

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// It is a result: neither an exception, of the method's own or not, nor
    /// another kind of message.
    pub is_result: bool,
    /// How many bytes the message has, if its transport says so.
    pub bytes: Option<usize>,
}

/// What came is no message of the transport and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Why reading does not go on.
enum Stop {
    /// More has to come.
    Short,
    Invalid,
}

/// Looks at what has been received since the call; `None` as long as it is too
/// little to tell.
///
/// # Errors
/// It is no message, or one that is too large.
pub fn read_reply(
    transport: Transport,
    protocol: Protocol,
    received: &[u8],
) -> Result<Option<Reply>, Invalid> {
    match reply(transport, protocol, received) {
        Ok(reply) => Ok(Some(reply)),
        Err(Stop::Short) => Ok(None),
        Err(Stop::Invalid) => Err(Invalid),
    }
}

fn reply(transport: Transport, protocol: Protocol, received: &[u8]) -> Result<Reply, Stop> {
    let mut bytes = Bytes(received);
    if transport == Transport::Unframed {
        let is_result = is_result(protocol, &mut bytes)?;
        return Ok(Reply {
            is_result,
            bytes: None,
        });
    }
    let length = bytes.u32()? as usize;
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err(Stop::Invalid);
    }
    if transport == Transport::Header && bytes.0.len() >= 2 {
        // Known for wrong before all of what looks like a length has come.
        check(Bytes(bytes.0).u16()? == HEADER_MAGIC)?;
    }
    let mut frame = Bytes(bytes.take(length)?);
    if transport == Transport::Header {
        skip_header(protocol, &mut frame)?;
    }
    Ok(Reply {
        is_result: is_result(protocol, &mut frame)?,
        bytes: Some(4 + length),
    })
}

/// Skips the header of a message, which has to be in the protocol that was asked
/// in.
fn skip_header(protocol: Protocol, frame: &mut Bytes<'_>) -> Result<(), Stop> {
    check(frame.u16()? == HEADER_MAGIC)?;
    let _flags = frame.u16()?;
    let _number = frame.u32()?;
    let words = frame.u16()?;
    let mut header = Bytes(frame.take(usize::from(words) * 4)?);
    let wanted = match protocol {
        Protocol::Compact => HEADER_COMPACT,
        Protocol::Binary | Protocol::LaxBinary => HEADER_BINARY,
    };
    check(
        header
            .varint()
            .is_ok_and(|given| given == u32::from(wanted)),
    )?;
    // Nothing is asked for compressed.
    check(header.varint().is_ok_and(|transforms| transforms == 0))
}

fn is_result(protocol: Protocol, bytes: &mut Bytes<'_>) -> Result<bool, Stop> {
    let kind = match protocol {
        Protocol::Binary => {
            check(bytes.u16()? == BINARY_VERSION)?;
            let _unused = bytes.u8()?;
            let kind = bytes.u8()?;
            bytes.skip_text()?;
            let _number = bytes.u32()?;
            kind
        }
        Protocol::LaxBinary => {
            bytes.skip_text()?;
            let kind = bytes.u8()?;
            let _number = bytes.u32()?;
            kind
        }
        Protocol::Compact => {
            check(bytes.u8()? == COMPACT_ID)?;
            let version_and_kind = bytes.u8()?;
            check(version_and_kind & 0x1f == COMPACT_VERSION)?;
            let _number = bytes.varint()?;
            let length = bytes.varint()?;
            bytes.skip_long(length)?;
            version_and_kind >> 5
        }
    };
    check((CALL..=ONEWAY).contains(&kind))?;
    if kind != REPLY {
        return Ok(false);
    }
    // What a method returns is field 0; others are its exceptions.
    let first = bytes.u8()?;
    Ok(match protocol {
        Protocol::Binary | Protocol::LaxBinary => first == 0 || bytes.u16()? == 0,
        Protocol::Compact => match (first & 0x0f, first >> 4) {
            (0, _) => true,
            (_, 0) => bytes.varint()? == 0,
            _ => false,
        },
    })
}

fn check(is_valid: bool) -> Result<(), Stop> {
    match is_valid {
        true => Ok(()),
        false => Err(Stop::Invalid),
    }
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Stop::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Stop> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Result<u16, Stop> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn varint(&mut self) -> Result<u32, Stop> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Stop::Invalid);
            }
        }
        Err(Stop::Invalid)
    }

    /// Skips a text with its length.
    fn skip_text(&mut self) -> Result<(), Stop> {
        let length = self.u32()?;
        self.skip_long(length)
    }

    fn skip_long(&mut self, length: u32) -> Result<(), Stop> {
        let length = length as usize;
        check(length <= FRAME_BYTES_MAX)?;
        self.take(length).map(drop)
    }
}

/// The largest message: what a health check returns is a word or two.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
