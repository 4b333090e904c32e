//! `X-Request-Id`: a random UUID (RFC 9562 version 4), written straight into
//! the header list.

use ringway_codecs::header::{HeaderId, HeaderMap};

use crate::formatter::uuid;

/// Gives the request an id of its own, in place of any that it had.
pub fn set_new(headers: &mut HeaderMap, rng: &mut fastrand::Rng) {
    let bits = rng.u128(..);
    headers.set_with(HeaderId::XRequestId, |out| uuid::write(out, bits));
}

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
