//! What the suites about HTTP/2 see.

use super::{DELAYED_CLOSE, Intended, routing};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    downstream(
        "*",
        "stats.http2.nghttp2_downstream_connections",
        "it tells Envoy's libraries apart, and there is one of them here",
    ),
    downstream(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    downstream("by h2: *", "log[0].details", WHICH_RULE),
    downstream("closed by h2: no method", "log[0].details", WHICH_RULE),
    downstream("closed*", "response[0].*", TOLD),
    downstream("closed*", "client.rest", TOLD),
    downstream("closed*", "stats.http2.tx_reset", TOLD),
    downstream(
        "closed by h2: headers for trailers",
        "log[0].*_bytes_received",
        REFUSED_TOO,
    ),
    downstream(
        "closed by h2: headers for trailers",
        "stats.http2.trailers",
        "h2 refuses them before they are trailers",
    ),
    downstream("*er than said*", "log[0].wire_bytes_received", REFUSED_TOO),
    downstream(
        "headers far too large",
        "stats.http2.tx_reset",
        "it is answered and not reset",
    ),
    downstream(
        "headers far too large",
        "response[0].*",
        "beyond twice what is allowed, h2 answers 431 by itself and Envoy resets the stream",
    ),
    downstream("even number*", "client.rest", TOLD),
    downstream(
        "number behind another*",
        "*",
        "it is an error of the connection (RFC 9113 section 5.1.1); Envoy drops the frame",
    ),
    downstream(
        "another protocol",
        "client.rest",
        "a request for a protocol that is not spoken ends nothing but its stream",
    ),
    downstream(
        "connect passed on, the client ends*",
        "*",
        "what the host sends behind the client's end is delivered; Envoy closes its connection",
    ),
    downstream(
        "drained",
        "client.rest",
        "h2 says once more, with a ping behind it, that the connection ends",
    ),
];

const fn downstream(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("http2", case, what, reason)
}

const WHICH_RULE: &str = "h2 does not tell which rule a request breaks";

const TOLD: &str = "the client is told what was wrong before its connection ends";

const REFUSED_TOO: &str =
    "what was received is counted; Envoy leaves out the frame that it refuses";
