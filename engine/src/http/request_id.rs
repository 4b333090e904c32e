//! `X-Request-Id`: a random UUID (RFC 9562 version 4), written straight into
//! the header list.

use ringway_codecs::header::{HeaderId, HeaderMap};

/// Gives the request an id of its own, in place of any that it had.
pub fn set_new(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    let bits = rng.u128(..);
    headers.set_with(HeaderId::XRequestId, |out| write_uuid(out, bits));
}

/// Gives the response the request's id.
pub fn copy_to_response(request: &HeaderMap, response: &mut HeaderMap) {
    if let Some(id) = request.get(HeaderId::XRequestId) {
        response.set(HeaderId::XRequestId, id);
    }
}

/// Appends random bits as a version 4 UUID.
pub fn write_uuid(out: &mut Vec<u8>, bits: u128) {
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
            write_uuid(&mut out, bits);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn ids_differ_and_replace() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut request = HeaderMap::new();
        request.append(HeaderId::XRequestId, b"old");
        set_new(&mut request, &mut rng);
        let first = request.get(HeaderId::XRequestId).unwrap().to_vec();
        set_new(&mut request, &mut rng);
        assert_eq!(request.len(), 1);
        assert_ne!(request.get(HeaderId::XRequestId), Some(&first[..]));
        let mut response = HeaderMap::new();
        response.append(HeaderId::XRequestId, b"upstream's");
        copy_to_response(&request, &mut response);
        assert_eq!(
            response.get(HeaderId::XRequestId),
            request.get(HeaderId::XRequestId)
        );
    }
}
