//! The proxy's own responses to gRPC clients: always 200, with what is to be
//! said in `grpc-status` and `grpc-message`
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::io::Write as _;

use ringway_codecs::header::HeaderId;

use super::local_reply::LocalReply;
use crate::http::exchange::Exchange;

/// The type of gRPC messages, which may have a suffix (`application/grpc+proto`).
const TYPE: &[u8] = b"application/grpc";

/// What a gRPC client gets in place of `reply`; `None` for other clients.
pub(super) fn reply(
    reply: &LocalReply<'_>,
    exchange: &mut Exchange,
) -> Option<LocalReply<'static>> {
    let content_type = exchange.request.get(HeaderId::ContentType)?;
    if !is_grpc(content_type) {
        return None;
    }
    let response = &mut exchange.response;
    response.set(HeaderId::ContentType, TYPE);
    let status = reply.grpc_status.unwrap_or_else(|| status_of(reply.status));
    response.set_with(HeaderId::GrpcStatus, |out| {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{status}");
    });
    if !reply.body.is_empty() && !exchange.facts.is_head {
        response.set_with(HeaderId::GrpcMessage, |out| escape(reply.body, out));
    }
    Some(LocalReply::new(200, "", ""))
}

fn is_grpc(content_type: &[u8]) -> bool {
    let suffix = content_type.strip_prefix(TYPE);
    suffix.is_some_and(|suffix| suffix.first().is_none_or(|first| *first == b'+'))
}

/// gRPC's own table of HTTP statuses.
fn status_of(http: u16) -> u64 {
    const PERMISSION_DENIED: u64 = 7;
    const UNAUTHENTICATED: u64 = 16;
    const UNAVAILABLE: u64 = 14;
    const UNIMPLEMENTED: u64 = 12;
    const INTERNAL: u64 = 13;
    const UNKNOWN: u64 = 2;
    match http {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// Percent-encodes what is not printable ASCII, and the percent sign.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if matches!(byte, b' '..=b'~') && *byte != b'%' {
            out.push(*byte);
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_types_are_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpc;x", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn messages_are_escaped() {
        let mut out = Vec::new();
        escape("a b%ä\n~".as_bytes(), &mut out);
        assert_eq!(out, b"a b%25%C3%A4%0A~");
    }
}
