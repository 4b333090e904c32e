//! What the suites about HTTP/2 see.

use super::{DELAYED_CLOSE, Intended, routing};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    downstream("*", "log[*].header_bytes_received", COMPRESSED),
    downstream("*", "log[*].wire_bytes_received", COMPRESSED),
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
    downstream("by h2: *", "log*", UNTOLD),
    downstream("by h2: *", "stats.http.lenient.downstream_rq_*", UNTOLD),
    downstream("by h2: *", "stats.http2.*", UNTOLD),
    downstream("headers far too large", "log*", UNTOLD),
    downstream("headers far too large", "stats.http2.*", UNTOLD),
    downstream(
        "headers far too large",
        "stats.http.small.downstream_rq_*",
        UNTOLD,
    ),
    downstream(
        "headers far too large",
        "response[0].*",
        "beyond twice what is allowed, h2 answers 431 by itself and Envoy resets the stream",
    ),
    downstream(
        "another protocol",
        "client.rest",
        "a request for a protocol that is not spoken ends nothing but its stream",
    ),
    downstream("last request", "client.*", GOING_AWAY),
    downstream("last request", "stats.http2.goaway_sent", GOING_AWAY),
    downstream(
        "last request",
        "stats.*.downstream_cx_destroy_*",
        GOING_AWAY,
    ),
];

const fn downstream(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("http2", case, what, reason)
}

const COMPRESSED: &str = "h2 does not tell how large headers were before they were \
     decompressed, nor how many frames there were: names and values are counted";

const UNTOLD: &str = "h2 refuses the request, as Envoy does, and tells nobody of it";

const GOING_AWAY: &str = "the second GOAWAY comes when the client has answered a ping behind \
     the first, and the connection ends when it is idle; Envoy waits for drain_timeout";
