//! What the suite about hosts that speak HTTP/2 sees.

use super::{DELAYED_CLOSE, Intended, NO_PATH, routing};

const SUITE: &str = "http2_hosts";

/// An entry of the suite.
const fn of(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing(SUITE, case, what, reason)
}

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    of("*", "log[*].upstream_*_bytes_sent", FRAMES),
    of("bad: *", "log[*].upstream_*_bytes_received", REFUSED_TOO),
    of(
        "503, tried again",
        "log[*].upstream_wire_bytes_received",
        "the whole of a response is read; Envoy resets one that is tried again",
    ),
    of(
        "bad: a block that is none",
        "stats.cluster.*.http2.rx_messaging_error",
        UNSEEN,
    ),
    of("*", "stats.*.http2.nghttp2_upstream_connections", ONE_CODEC),
    of("*", "stats.http2.nghttp2_downstream_connections", ONE_CODEC),
    of(
        "two requests",
        "log[*].wire_bytes_received",
        super::READ_AHEAD,
    ),
    of(
        "one request a connection",
        "log[*].wire_bytes_received",
        super::READ_AHEAD,
    ),
    of("repeated", "upstream[0].order", ORDER),
    of("cookies of the host", "response[0].order", ORDER),
    of(
        "one request a connection",
        "stats.*.upstream_cx_protocol_error",
        CLOSED_BY_US,
    ),
    of(
        "goaway*",
        "stats.*.upstream_cx_protocol_error",
        CLOSED_BY_US,
    ),
    of("goaway once", "*", RESENT),
    of("goaway for every request", "stats.cluster.*", RESENT),
    of("goaway for every request", "upstream[*", RESENT),
    of("goaway with an error*", "stats.cluster.*", RESENT),
    of("goaway with an error*", "upstream[*", RESENT),
    of(
        "*within the body",
        "stats.*delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    of(
        "no end in time",
        "stats.*delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    of("bad: *", "stats.*delayed_close_timeout", DELAYED_CLOSE),
    of("bad: *", "stats.cluster.*.upstream_cx_active", STREAM_ONLY),
    of(
        "bad: *",
        "stats.cluster.*.upstream_cx_destroy*",
        STREAM_ONLY,
    ),
    of("bad: *", "stats.cluster.*.http2.tx_reset", STREAM_ONLY),
    of(
        "bad: * than its length",
        "stats.*.upstream_cx_protocol_error",
        UNSEEN,
    ),
    of(
        "*and we are blamed",
        "stats.*.upstream_cx_protocol_error",
        BLAMED,
    ),
    of(
        "websocket, *",
        "stats.*delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    of("connect, *", "stats.*delayed_close_timeout", DELAYED_CLOSE),
    of("connect, a path is set", "*", NO_PATH),
    of("bad: 204 with a body", "*", COMPLETE),
    of("bad: a window that is too large", "*", WINDOW),
];

const FRAMES: &str = "random ids are compressed to different lengths, bodies are cut into other \
                      frames, and a reset is sent after the request is logged";
const REFUSED_TOO: &str =
    "what was received is counted; Envoy leaves out the frame that it refuses";
const ONE_CODEC: &str = "it says which of Envoy's libraries is used";
const ORDER: &str = "values of one name stay in order, and stand together";
const CLOSED_BY_US: &str = "Envoy counts a connection that it closes itself, as it should, as the \
                            host's mistake";
const RESENT: &str = "a request that the host says it did nothing with is sent again on another \
                      connection, three times at most; Envoy answers 503";
const STREAM_ONLY: &str = "a response that breaks the rules ends its stream and not the other \
                           requests' connection (RFC 9113 section 8.1.1)";
const UNSEEN: &str = "the library does not say which rule was broken";
const BLAMED: &str = "what is answered as a protocol error is counted as one";
const COMPLETE: &str = "a response that has no content is complete without; the client has all of \
                        it, and its request is no failure";
const WINDOW: &str = "the library resets such a stream and tells nobody: the request's own time \
                      ends it";
