//! Base64 of values in headers (RFC 4648 section 4). Padding may be missing or
//! be any: not all who write such headers write it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

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

#[cfg(test)]
mod tests {
    use super::decode;

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
