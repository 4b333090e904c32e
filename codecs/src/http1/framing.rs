//! The fields that decide where a message ends and whether the connection
//! stays: Content-Length, Transfer-Encoding, Connection (RFC 9112 section 6).

use super::Http1Error;

/// Where the body of a message ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is no body, whatever the fields say.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunked coding, perhaps with trailers.
    Chunked,
    /// Everything until the peer closes. Only responses.
    UntilClose,
}

/// What the framing fields of one head say, gathered field by field.
#[derive(Default)]
pub(super) struct FramingFields {
    pub(super) content_length: Option<u64>,
    /// The received Content-Length was not in its shortest form (`010`).
    pub(super) rewrite_length: bool,
    pub(super) coding: Coding,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// What Transfer-Encoding says.
#[derive(Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Absent,
    Chunked,
    /// Another coding, a list, or the field twice.
    Other,
}

impl FramingFields {
    pub(super) fn on_content_length(&mut self, value: &[u8]) -> Result<(), Http1Error> {
        if self.content_length.is_some() {
            return Err(Http1Error::DuplicateContentLength);
        }
        self.content_length = Some(parse_length(value)?);
        self.rewrite_length = value.len() > 1 && value[0] == b'0';
        Ok(())
    }

    /// Never fails: Content-Length beside it is reported first, as by Envoy.
    pub(super) fn on_transfer_encoding(&mut self, value: &[u8]) {
        self.coding = match self.coding {
            Coding::Absent if value.eq_ignore_ascii_case(b"chunked") => Coding::Chunked,
            _ => Coding::Other,
        };
    }

    pub(super) fn on_connection(&mut self, value: &[u8]) {
        for token in tokens(value) {
            match token.len() {
                5 if token.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if token.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if token.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => {}
            }
        }
    }

    /// Envoy honours `close` in Proxy-Connection, and nothing else of it.
    pub(super) fn on_proxy_connection(&mut self, value: &[u8]) {
        if tokens(value).any(|t| t.eq_ignore_ascii_case(b"close")) {
            self.close = true;
        }
    }
}

/// The elements of a comma-separated list, without white space around them.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

/// `1*DIGIT` below 2^63: larger numbers wrap in some parsers. Leading zeros
/// are legal, a number of 20 and more digits is not worth a reading.
fn parse_length(value: &[u8]) -> Result<u64, Http1Error> {
    if value.is_empty() || value.len() > DIGITS_MAX {
        return Err(Http1Error::InvalidContentLength);
    }
    let mut length = 0u64;
    for &b in value {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Http1Error::InvalidContentLength);
        }
        // At most 19 digits: below 10^19, which fits.
        length = length * 10 + u64::from(digit);
    }
    if length > BODY_BYTES_MAX {
        return Err(Http1Error::InvalidContentLength);
    }
    Ok(length)
}

/// The digits of the largest signed 64-bit number.
const DIGITS_MAX: usize = 19;
/// The largest length of a body or a chunk that every peer can count.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let table: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"5", Some(5)),
            (b"010", Some(10)),
            (b"0000000000000000005", Some(5)),
            (b"9223372036854775807", Some(i64::MAX as u64)),
            (b"9223372036854775808", None),
            (b"18446744073709551616", None),
            (b"00000000000000000005", None),
            (b"", None),
            (b"+5", None),
            (b"-5", None),
            (b"0x5", None),
            (b"1_0", None),
            (b"1Z", None),
            (b"5 5", None),
            (b"5,5", None),
            (b"5.0", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse_length(value).ok(), *expected, "{value:?}");
        }
    }
}
