//! gRPC: a call of `grpc.health.v1.Health`, which a healthy host answers with
//! `SERVING`.

use std::io;
use std::time::Duration;

use ringway_codecs::header::{HeaderId, HeaderMap};
use ringway_config::health_check::GrpcCheck;

use super::http2::{Client, Response};
use super::progress::{Failure, FailureKind, Outcome};
use super::socket::Target;
use crate::filters::http::router::write_grpc_timeout;

/// The head of the call, which tells the host how long it may take.
pub(super) fn request(check: &GrpcCheck, timeout: Duration) -> HeaderMap {
    let mut request = check.request.clone();
    request.set_with(HeaderId::GrpcTimeout, |out| {
        write_grpc_timeout(timeout, out);
    });
    request
}

/// Calls once.
///
/// # Errors
/// There is no connection, or no complete response.
pub(super) async fn check(
    client: &mut Client,
    check: &GrpcCheck,
    target: &Target,
) -> io::Result<Outcome> {
    let exchanged = client.exchange(&check.message, ANSWER_BYTES_MAX, target);
    let response = exchanged.await?;
    Ok(match is_serving(&response) {
        true => Outcome::Passed { degraded: false },
        false => Outcome::Failed(Failure {
            kind: FailureKind::Active,
            retriable: false,
            status: 0,
        }),
    })
}

/// What is read of an answer. The message that is expected has two bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

fn is_serving(response: &Response) -> bool {
    let is_ok = |fields: &HeaderMap| fields.get(HeaderId::GrpcStatus) == Some(b"0");
    response.status == 200
        && is_grpc(&response.headers)
        && is_ok(&response.trailers)
        && status(&response.body) == Some(SERVING)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(HeaderId::ContentType).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

/// `HealthCheckResponse.ServingStatus.SERVING`
const SERVING: u64 = 1;

/// The status in the one message of a body. `None` where it is no such message.
fn status(body: &[u8]) -> Option<u64> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk()?;
    if compressed != 0 || u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return None;
    }
    // A field that is not there is 0; of several the last one holds.
    let (mut status, mut rest) = (0, message);
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut rest)?,
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// Takes a number in the encoding of protobuf.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_messages() {
        for (body, expected) in [
            (&[][..], None),
            (&[0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 4, 8, 1, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 3, 8, 0x81, 0], Some(1)),
            // With fields that we do not know.
            (&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 7, 0x15, 1, 2, 3, 4, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 4, 0x10, 7, 8, 1], Some(1)),
            // Compressed, cut off, too long, a second message, a group.
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 0x12, 5, 1], None),
            (&[0, 0, 0, 0, 1, 0x0b], None),
            (&[0, 0, 0, 0, 2, 0, 0], None),
        ] {
            assert_eq!(status(body), expected, "{body:?}");
        }
    }

    #[test]
    fn numbers_have_an_end() {
        let mut longest = &[0xff; 9][..];
        assert_eq!(varint(&mut longest), None);
        let mut endless = &[0xff; 30][..];
        assert_eq!(varint(&mut endless), None);
        let mut largest = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..];
        assert_eq!(varint(&mut largest), Some(u64::MAX));
    }
}
