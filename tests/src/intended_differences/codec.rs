//! What the suites about the HTTP/1 codec and its options see.

use super::{DELAYED_CLOSE, Intended, READ_AHEAD, routing};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    http10(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "header_names",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "proxy_status",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "log_flushes",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    options(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    options("pipelined*", "log[*].wire_bytes_received", READ_AHEAD),
    options(
        "body not here yet*",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    options("bad chunk*", "log[0].upstream*", SENT_ON),
    options("bad chunk*", "stats.cluster.origin.*", SENT_ON),
    options("bad chunk*", "upstream[0]*", SENT_ON),
    http10("chunked", "*", CHUNKED),
    http10("chunked in 1.2", "*", CHUNKED),
    http10("chunked with length, both allowed", "*", CHUNKED),
    http10("host with *", "response[0]*", STRICT_HOST),
    http10("host with *", "upstream[0]*", STRICT_HOST),
    http10("host with *", "client.end", STRICT_HOST),
    http10("host with *", "stats.*", STRICT_HOST),
    // Not method, path, authority and protocol, which both log.
    http10("host with *", "log[0].attempts", STRICT_HOST),
    http10("host with *", "log[0].c*", STRICT_HOST),
    http10("host with *", "log[0].details", STRICT_HOST),
    http10("host with *", "log[0].*flags", STRICT_HOST),
    http10("host with *", "log[0].host", STRICT_HOST),
    http10("host with *", "log[0].sent", STRICT_HOST),
    http10("host with *", "log[0].upstream*", STRICT_HOST),
    http10(
        "two hosts",
        "*",
        "strict: RFC 9112 section 3.2, more than one Host",
    ),
];

const CHUNKED: &str = "RFC 9112 section 6.1: a proxy of HTTP/1.0 before us knows no coding and \
     takes the request to end elsewhere, which smuggles the rest; it is refused";

const SENT_ON: &str = "what came before the bad chunk is forwarded as it comes";

const STRICT_HOST: &str = "strict: RFC 9112 section 3.2, invalid Host";

const fn http10(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("http10", case, what, reason)
}

const fn options(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("codec_options", case, what, reason)
}
