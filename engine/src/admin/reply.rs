//! What an endpoint answers, and how it goes out.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Status, type and body of an answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

pub(super) const TEXT: &str = "text/plain; charset=UTF-8";
pub(super) const PLAIN: &str = "text/plain";
pub(super) const HTML: &str = "text/html; charset=UTF-8";
pub(super) const JSON: &str = "application/json";

impl Reply {
    /// 200 with text.
    pub(super) fn text(body: impl Into<String>) -> Self {
        Self::error(StatusCode::OK, body)
    }

    /// The answer to an action that was taken.
    pub(super) fn ok() -> Self {
        Self::text("OK\n")
    }

    /// Another status with text.
    pub(super) fn error(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: body.into().into_bytes(),
        }
    }

    /// 400 with text.
    pub(super) fn bad_request(body: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, body)
    }

    /// 200 with JSON that is already written.
    pub(super) fn json_text(body: String) -> Self {
        Self {
            content_type: JSON,
            ..Self::text(body)
        }
    }

    /// 200 with JSON, laid out as protobuf does: one space a level.
    pub(super) fn json(value: &Value) -> Self {
        let mut body = Vec::new();
        let layout = PrettyFormatter::with_indent(b" ");
        let written = value.serialize(&mut Serializer::with_formatter(&mut body, layout));
        debug_assert!(written.is_ok(), "a value always serializes into memory");
        body.push(b'\n');
        Self {
            status: StatusCode::OK,
            content_type: JSON,
            body,
        }
    }
}

/// A body that goes out in pieces, without a length: chunked, as Envoy's.
#[derive(Debug)]
pub(super) struct Pieces(Bytes);

impl Pieces {
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self(body.into())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.0.len().min(PIECE_BYTES_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.0.split_to(len)))))
    }
}

/// Small enough that other admin requests get their turn during a long answer.
const PIECE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_laid_out_as_protobuf_does() {
        let reply = Reply::json(&json!({ "a": { "b": [1, "x"] }, "c": [], "d": {} }));
        let text = String::from_utf8(reply.body).expect("JSON is UTF-8");
        let expected =
            "{\n \"a\": {\n  \"b\": [\n   1,\n   \"x\"\n  ]\n },\n \"c\": [],\n \"d\": {}\n}\n";
        assert_eq!(text, expected);
    }
}
