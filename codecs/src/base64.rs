//! Base64 of values in headers (RFC 4648 section 4). Padding may be missing or
//! be any: not all who write such headers write it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;

/// Without padding, which is taken off before.
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Appends the bytes to `out`; false when a character is none of the alphabet,
/// the length is impossible, or bits are left over that are not 0.
#[must_use]
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let unpadded = match text {
        [text @ .., b'=', b'='] | [text @ .., b'='] | text => text,
    };
    UNPADDED.decode_vec(unpadded, out).is_ok()
}

/// The same, where the padding must be what it should.
#[must_use]
pub fn decode_padded(text: &[u8], out: &mut Vec<u8>) -> bool {
    BASE64_STANDARD.decode_vec(text, out).is_ok()
}

/// Appends bytes as text, with padding.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + written.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_padded, encode};

    #[test]
    fn what_is_written_can_be_read() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(89)).collect();
            let mut text = b"before".to_vec();
            encode(&bytes, &mut text);
            let mut again = Vec::new();
            assert!(decode_padded(&text[6..], &mut again));
            assert_eq!(again, bytes);
            if length > 0 {
                assert!(!decode_padded(&text[6..text.len() - 1], &mut again));
            }
        }
        for text in ["Zg=", "Zg", "Zh==", "Zg==Zg==", "Z g="] {
            assert!(!decode_padded(text.as_bytes(), &mut Vec::new()), "{text}");
        }
    }

    #[test]
    fn the_alphabet_is_one_and_padding_is_any() {
        let table: &[(&str, Option<&[u8]>)] = &[
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zg", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm8", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("+/8=", Some(b"\xfb\xff")),
            ("-_8=", None),
            ("Z", None),
            ("Zm9vY", None),
            ("Zm 9", None),
            ("Zg=", Some(b"f")),
            ("Z===", None),
            ("Zm9v=", Some(b"foo")),
            ("Zm9v==", Some(b"foo")),
            ("Zm9v===", None),
            ("=", Some(b"")),
            ("Z=g=", None),
            ("Zh==", None),
            ("Zm9=", None),
        ];
        for (text, bytes) in table {
            let mut out = Vec::new();
            let found = decode(text.as_bytes(), &mut out).then_some(&out[..]);
            assert_eq!(found, *bytes, "{text}");
        }
    }
}
