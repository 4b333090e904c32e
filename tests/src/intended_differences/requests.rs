//! What the suites in `differential/` see.

use super::{DELAYED_CLOSE, Intended, READ_AHEAD, Suite};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    request(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    request(
        "chunked request*",
        "log[0].upstream_wire_bytes_sent",
        "where a body is cut into chunks follows how it arrived, in both",
    ),
    request(
        "absolute form query only",
        "*",
        "an absolute URI without a path has the path `/`, with a query too",
    ),
    request(
        "bad chunk size",
        "*",
        "the body is read once there is somebody to send it to, so the head has \
         gone upstream before the error behind it is found",
    ),
    request(
        "bad chunk end",
        "*",
        "strict: Envoy takes any two bytes for the end of a chunk and goes on waiting",
    ),
    request(
        "upstream bad later chunk",
        "response[0].body",
        "what came before the bad chunk is forwarded as it comes",
    ),
    request(
        "upstream bad later chunk",
        "log[0].sent",
        "what came before the bad chunk is forwarded as it comes",
    ),
    request(
        "upstream short status",
        "*",
        "strict: a status below 100 is a protocol error; Envoy forwards it",
    ),
    request(
        "no version",
        "*",
        "strict: HTTP/0.9 is refused as bad syntax",
    ),
    request(
        "empty host",
        "*",
        "strict: RFC 9112 section 3.2, invalid Host",
    ),
    request(
        "host with user",
        "*",
        "strict: RFC 9112 section 3.2, invalid Host",
    ),
    request(
        "user and password in host",
        "*",
        "strict: RFC 9112 section 3.2, invalid Host",
    ),
    request(
        "connection nominates content-length",
        "*",
        "content-length frames the message and cannot be hop by hop",
    ),
    request(
        "tls hello",
        "log[0].details",
        "the detail says what was wrong: bytes that no request line has",
    ),
    request(
        "*too many headers",
        "log[0].*header_bytes_received",
        TOO_MANY,
    ),
    request("*pipelined*", "log[*].wire_bytes_received", READ_AHEAD),
    request(
        "route none with body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    request("early answer", "log[0].wire_bytes_received", READ_AHEAD),
    request(
        "no healthy upstream with body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    request(
        "log JSON of odd bytes",
        "log[0]",
        "the same JSON string with other escapes",
    ),
    request("connection nominates host", "log[0].*", REFUSED_AS_SENT),
    request(
        "connection nominates x-forwarded-*",
        "log[0].*",
        REFUSED_AS_SENT,
    ),
    request("path escaped * refused", "log[0].path", REFUSED_AS_SENT),
    request(
        "length and chunked allowed",
        "*",
        "RFC 9112 section 6.1: the connection is closed after such a request",
    ),
];

const TOO_MANY: &str = "a head with too many headers is refused whole; Envoy has counted those \
     before the one too many";

const REFUSED_AS_SENT: &str = "a refused request is logged as it was sent";

const fn request(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    Intended {
        suite: Suite::Requests,
        case,
        what,
        reason,
    }
}
