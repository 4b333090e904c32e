//! The gRPC status of a request, for `%GRPC_STATUS%` and local replies.

use super::Context;
use ringway_codecs::header::{HeaderId, HeaderMap};

/// The status of a request that took too long.
pub const DEADLINE_EXCEEDED: u64 = 4;

/// A status number; minus one when what was sent is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub i64);

/// The status of a gRPC request: from the trailers, else from the head, else
/// the one that stands for the HTTP status. `None` for other requests.
pub(super) fn status(cx: &Context<'_>) -> Option<Status> {
    is_grpc(cx.request).then(|| any_status(cx))?
}

/// As [`status`], of any request.
pub(super) fn any_status(cx: &Context<'_>) -> Option<Status> {
    let sent = cx
        .trailers
        .get(HeaderId::GrpcStatus)
        .or_else(|| cx.response.get(HeaderId::GrpcStatus));
    match sent {
        Some(text) => Some(Status(parse(text))),
        None if cx.info.response_code == 0 => None,
        None => Some(Status(from_http(cx.info.response_code).into())),
    }
}

/// Whether a request is one of gRPC; `application/grpc-web` is another protocol.
#[must_use]
pub fn is_grpc(request: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    match request.get(HeaderId::ContentType) {
        Some(value) => value
            .strip_prefix(TYPE)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+'))),
        None => false,
    }
}

fn parse(text: &[u8]) -> i64 {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<u32>().ok())
        .map_or(-1, i64::from)
}

/// The gRPC status in these headers or trailers, if there is one. What is no number
/// stands for 2, unknown.
#[must_use]
pub fn code(fields: &HeaderMap) -> Option<u32> {
    let status = parse(fields.get(HeaderId::GrpcStatus)?);
    Some(u32::try_from(status).unwrap_or(2))
}

/// The HTTP status that the gRPC status in these headers or trailers stands
/// for; `None` where there is none.
#[must_use]
pub fn http_status(fields: &HeaderMap) -> Option<u16> {
    let text = fields.get(HeaderId::GrpcStatus)?;
    let status = match text {
        b"" => return None,
        text => parse(text),
    };
    Some(match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    })
}

/// The mapping of the gRPC specification, "HTTP to gRPC Status Code Mapping".
#[must_use]
pub fn from_http(code: u16) -> u32 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Appends a text as `grpc-message` has it: what is not printable ASCII, and the
/// percent sign, are escaped.
pub fn write_message(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(*byte),
            _ => out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]),
        }
    }
}

/// The text that `grpc-message` stands for; what is no escape stays.
#[must_use]
pub fn read_message(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = &behind[2..];
            }
            None => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    out
}

const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Status {
    fn names(self) -> Option<&'static (&'static str, &'static str)> {
        NAMES.get(usize::try_from(self.0).ok()?)
    }

    /// `NotFound`; `None` for a number without a name.
    pub fn camel(self) -> Option<&'static str> {
        self.names().map(|names| names.0)
    }

    /// `NOT_FOUND`; `None` for a number without a name.
    pub fn snake(self) -> Option<&'static str> {
        self.names().map(|names| names.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_printable() {
        for (text, expected) in [
            (&b""[..], &b""[..]),
            (b"no route", b"no route"),
            (b"100%", b"100%25"),
            (b"a\r\nb\0~\x7f", b"a%0D%0Ab%00~%7F"),
            ("é".as_bytes(), b"%C3%A9"),
        ] {
            let mut out = Vec::new();
            write_message(text, &mut out);
            assert_eq!(out, expected);
        }
        for text in [&b"%"[..], b"%4", b"%zz", b"a%"] {
            assert_eq!(read_message(text), text);
        }
        let mut all = Vec::new();
        write_message(&(0..=255).collect::<Vec<u8>>(), &mut all);
        assert!(all.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(read_message(&all), (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn content_types() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x", false),
            ("application/grpc-web", false),
            ("Application/grpc", false),
            ("application/grp", false),
        ] {
            let mut request = HeaderMap::new();
            request.append(HeaderId::ContentType, value.as_bytes());
            assert_eq!(is_grpc(&request), expected, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
