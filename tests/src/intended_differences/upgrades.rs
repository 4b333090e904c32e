//! What the suites about upgrades and CONNECT see.

use super::{DELAYED_CLOSE, Intended, NO_PATH, READ_AHEAD, routing};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    upgrade(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    upgrade("nominated headers", "*", NOMINATED),
    upgrade(
        "own filters answer",
        "*",
        "the answer does not wait for the end of a request that has none",
    ),
    upgrade(
        "switched without headers",
        "*",
        "RFC 9110 section 7.8: a 101 without Upgrade begins no protocol; Envoy hands it on \
         and closes",
    ),
    upgrade("answered 200 with upgrade", "*", NOT_SWITCHED),
    upgrade("answered 426", "*", NOT_SWITCHED),
    upgrade("answered 200, request *", "log[0].*received", WAITS_UNREAD),
    upgrade(
        "early data*, answered 400",
        "log[0].*received",
        WAITS_UNREAD,
    ),
    upgrade(
        "early data, refused",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    upgrade("pipelined before", "log[0].wire_bytes_received", READ_AHEAD),
    upgrade(
        "101 unasked",
        "*",
        "strict: what follows a 101 that nobody asked for is no protocol that both know",
    ),
    upgrade("body*", "*", BODY_BEFORE_UPGRADE),
    upgrade("expect", "*", BODY_BEFORE_UPGRADE),
    upgrade(
        "HTTP/1.0",
        "*",
        "RFC 9110 section 7.8: Upgrade of an HTTP/1.0 request is ignored",
    ),
    connect(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    connect("hop by hop", "*", NOMINATED),
    connect(
        "answered 200 with length*",
        "response[0].header.content-length",
        "RFC 9110 section 9.3.6: a 2xx to CONNECT has none",
    ),
    connect(
        "answered 20*",
        "response[0].header.connection",
        "any 2xx begins the tunnel, and says nothing of its end",
    ),
    connect("answered 204 with more length", "*", ANY_2XX),
    connect("answered 204 in chunks", "*", ANY_2XX),
    connect("prefix rewritten*", "*", NO_PATH),
    connect("path rewritten*", "*", NO_PATH),
    connect(
        "answered 101",
        "*",
        "a CONNECT asks for no other protocol: an error of the proxy",
    ),
    connect(
        "proxy *",
        "stats.cluster.origin.upstream_cx_destroy_*",
        HOST_CLOSED,
    ),
    connect(
        "terminated, origin *",
        "stats.cluster.origin.upstream_cx_destroy_*",
        HOST_CLOSED,
    ),
    connect("*early data", "log[0].*received", WAITS_UNREAD),
    connect(
        "terminated, no requests",
        "stats.*.rq_open",
        "max_requests does not limit plain TCP, in both; Envoy shows a limit of 0 as reached",
    ),
    connect(
        "post terminated, bidirectional",
        "stats.*.downstream_rq_response_before_rq_complete",
        "the request was over before the response; Envoy looks when the response begins",
    ),
    connect(
        "direct response",
        "*",
        "nothing behind a CONNECT is read as a request, so the connection ends with the answer",
    ),
];

const NOMINATED: &str = "RFC 9110 section 7.6.1: what Connection names is for this hop only; \
     Envoy hands it on with an upgrade and a CONNECT";

const ANY_2XX: &str = "RFC 9110 section 9.3.6: any 2xx begins the tunnel, and what it says of \
     content is ignored; Envoy answers 502 to a 204 with content";

const HOST_CLOSED: &str = "the host closed the connection first";

const NOT_SWITCHED: &str = "only a 101 switches: the answer is an ordinary one and the \
     connection ends with it; Envoy keeps it open for an upgrade that did not happen";

const WAITS_UNREAD: &str = "what the client sends before the answer waits unread; Envoy reads \
     it and throws it away";

const BODY_BEFORE_UPGRADE: &str = "the body of a request that asks for an upgrade is framed \
     and sent as one (RFC 9110 section 7.8); Envoy holds it back, or sends a chunked one \
     without its framing";

const fn upgrade(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("upgrades", case, what, reason)
}

const fn connect(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("connect", case, what, reason)
}
