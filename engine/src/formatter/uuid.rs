//! Random identifiers as text: RFC 9562, version 4.

/// Appends random bits as a version 4 UUID.
pub fn write(out: &mut Vec<u8>, bits: u128) {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    /// Where the digits of each byte are.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let bits = bits & !VERSION & !VARIANT | 0x4 << 76 | 0b10 << 62;
    let mut text = [b'-'; 36];
    for (byte, at) in bits.to_be_bytes().into_iter().zip(PLACES) {
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 0xf)];
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape() {
        for (bits, expected) in [
            (0, "00000000-0000-4000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (
                0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
                "01234567-89ab-4def-8123-456789abcdef",
            ),
        ] {
            let mut out = Vec::new();
            write(&mut out, bits);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
