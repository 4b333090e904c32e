//! Answers that the proxy makes itself: their headers and Envoy's bodies.

use ringway_codecs::header::{HeaderId, HeaderMap};
use std::io::Write;

/// No host of the cluster may be used: 503, flag UH.
pub const NO_HEALTHY_UPSTREAM: &[u8] = b"no healthy upstream";
/// The route's timeout: 504, flag UT.
pub const UPSTREAM_REQUEST_TIMEOUT: &[u8] = b"upstream request timeout";
/// `stream_idle_timeout`: 408 or 504, flag SI.
pub const STREAM_TIMEOUT: &[u8] = b"stream timeout";
/// `request_timeout` and `request_headers_timeout`: 408.
pub const REQUEST_TIMEOUT: &[u8] = b"request timeout";
/// `max_stream_duration`: 408 or 504.
pub const MAX_STREAM_DURATION: &[u8] = b"downstream duration timeout";
/// The request's body is larger than a filter may buffer: 413.
pub const PAYLOAD_TOO_LARGE: &[u8] = b"Payload Too Large";

/// Writes the headers of a local reply over whatever the map held. `Date` and
/// `Server` are added like those of any response.
pub fn set_headers(headers: &mut HeaderMap, status: u16, body_bytes: usize) {
    headers.clear();
    headers.set_with(HeaderId::Status, |out| write_number(out, u64::from(status)));
    headers.set_with(HeaderId::ContentLength, |out| {
        write_number(out, body_bytes as u64);
    });
    if body_bytes > 0 {
        headers.set(HeaderId::ContentType, b"text/plain");
    }
}

/// Appends the body for an upstream that failed before its headers, with the
/// reason in Envoy's words and the transport's failure if it is known.
pub fn write_upstream_failure(out: &mut Vec<u8>, reason: &str, transport_failure: &str) {
    out.extend_from_slice(
        b"upstream connect error or disconnect/reset before headers. reset reason: ",
    );
    out.extend_from_slice(reason.as_bytes());
    if !transport_failure.is_empty() {
        out.extend_from_slice(b", transport failure reason: ");
        out.extend_from_slice(transport_failure.as_bytes());
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    write!(out, "{number}").expect("writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::test_headers::{headers, text};
    use super::*;

    #[test]
    fn headers_of_replies() {
        let mut map = headers("a: b");
        set_headers(&mut map, 404, 0);
        assert_eq!(text(&map), ":status: 404 | content-length: 0");
        set_headers(&mut map, 503, NO_HEALTHY_UPSTREAM.len());
        assert_eq!(
            text(&map),
            ":status: 503 | content-length: 19 | content-type: text/plain"
        );
    }
}
