//! `X-Request-Id`: a random UUID (RFC 9562 version 4), written straight into
//! the header list.

use ringway_codecs::header::{HeaderId, HeaderMap};

use crate::formatter::uuid;

/// Gives the request an id of its own, in place of any that it had.
pub fn set_new(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    let bits = rng.u128(..);
    headers.set_with(HeaderId::XRequestId, |out| uuid::write(out, bits));
}

/// Takes from an id what a client says of tracing in the place of the UUID's
/// version: the edge decides that.
pub fn forget_trace_reason(headers: &mut HeaderMap) {
    let Some(id) = headers.get(HeaderId::XRequestId) else {
        return;
    };
    let Ok(mut id) = <[u8; UUID_BYTES]>::try_from(id) else {
        return;
    };
    id[VERSION_AT] = b'4';
    headers.set(HeaderId::XRequestId, &id);
}

/// The length of a UUID as text.
const UUID_BYTES: usize = 36;
/// Where its version is.
const VERSION_AT: usize = 14;

/// Gives the response the request's id.
pub fn copy_to_response(request: &HeaderMap, response: &mut HeaderMap) {
    if let Some(id) = request.get(HeaderId::XRequestId) {
        response.set(HeaderId::XRequestId, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_as_long_as_a_uuid_tell_of_tracing() {
        for (before, after) in [
            (
                "12345678-1234-9234-9234-123456789012",
                "12345678-1234-4234-9234-123456789012",
            ),
            (
                "abcdefghijklmnopqrstuvwxyzabcdefghij",
                "abcdefghijklmn4pqrstuvwxyzabcdefghij",
            ),
            (
                "12345678-1234-9234-9234-1234567890123",
                "12345678-1234-9234-9234-1234567890123",
            ),
            ("abc", "abc"),
        ] {
            let mut request = HeaderMap::new();
            request.append(HeaderId::XRequestId, before.as_bytes());
            forget_trace_reason(&mut request);
            assert_eq!(request.get(HeaderId::XRequestId), Some(after.as_bytes()));
        }
        forget_trace_reason(&mut HeaderMap::new());
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
