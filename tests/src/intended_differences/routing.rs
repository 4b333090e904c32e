//! What the suites in `routing/` see, upgrades apart.

use super::{DELAYED_CLOSE, Intended, READ_AHEAD, routing};

/// The differences.
pub(super) const TABLE: &[Intended] = &[
    routing(
        "limits",
        "runtime: no connections",
        "stats.*.remaining_cx",
        REMAINING,
    ),
    routing(
        "limits",
        "*no pending requests",
        "stats.*.remaining_cx_pools",
        "a pool that has no connection and nobody who waits counts for nothing; \
         Envoy keeps one that never had any",
    ),
    routing(
        "limits",
        "runtime: more than the file",
        "stats.*.remaining_rq",
        REMAINING,
    ),
    routing(
        "fault",
        "abort of a body",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "fault",
        "delay of half a request*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "fault",
        "delay and abort of half a body",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "fault",
        "delay of broken chunks",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "fault",
        "delay of broken chunks",
        "log[0].received",
        "what has arrived in front of the error has arrived; Envoy forgets what came \
         with it",
    ),
    routing(
        "fault",
        "abort of a body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "fault",
        "slow and then another",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "matching",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it; Envoy sends none before \
         delayed_close_timeout is over",
    ),
    routing(
        "matching",
        "paths /admin%00",
        "*",
        "strict: an encoded NUL is no part of a path; Envoy takes the route of /admin",
    ),
    routing(
        "counting",
        "half an answer to gRPC",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "mirroring",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it",
    ),
    routing(
        "mirroring",
        "changed by hostile values",
        "*",
        "what a client hides in a query parameter is sent escaped; Envoy drops such a copy",
    ),
    routing(
        "mirroring",
        "changed by what matches, all",
        "*",
        "what makes a request one cannot be removed; Envoy drops a copy without it",
    ),
    routing(
        "mirroring",
        "primary refuses a body",
        "*",
        "the body is read once there is somebody to send it to, and so is its copy",
    ),
    scoped(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    scoped(
        "no scope for a post",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    scoped("redirected*", "log[1].*_bytes_received", REDIRECT_BYTES),
    scoped(
        "redirected*",
        "stats.cluster.origin.upstream_*",
        REDIRECT_REUSE,
    ),
    trees(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it; Envoy sends none before \
         delayed_close_timeout is over",
    ),
    trees(
        "tls required of a post",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "runtime",
        "status *",
        "*",
        "what is no status of a final response becomes 503; Envoy sends it, or a response \
         that no client can read",
    ),
    routing(
        "maintenance",
        "with a body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "maintenance",
        "with a body",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "maintenance",
        "after a redirect",
        "log[1].*_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "outliers",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "outliers",
        "*",
        "upstream[*].header.x-envoy-expected-rq-timeout-ms",
        "how much time was left when the request was sent again",
    ),
    routing(
        "outliers",
        "redirected",
        "log[*_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "outliers",
        "redirected",
        "stats.cluster.redirected.upstream_*",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it",
    ),
    routing(
        "resilience",
        "two requests at once",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "resilience",
        "chunked body",
        "log[0].upstream_wire_bytes_sent",
        "what is sent again is one chunk, however it came",
    ),
    routing(
        "resilience",
        "switching protocols unasked",
        "*",
        "strict: nobody asked for another protocol, so what follows would be bytes \
         that no side agreed on",
    ),
    routing(
        "resilience",
        "hedging*",
        "log[0].upstream_*_bytes_received",
        "the bytes of all tries; of several at once Envoy counts the one begun last",
    ),
    routing(
        "log_flushes",
        "start of redirected",
        "log[*]",
        REDIRECT_BYTES,
    ),
    routing(
        "log_flushes",
        "start of redirected",
        "stats.cluster.origin.upstream_*",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect*",
        "log[*].wire_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "resilience",
        "redirect*",
        "log[*].header_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "resilience",
        "redirect of a *",
        "log[1].received",
        REDIRECT_BYTES,
    ),
    routing(
        "resilience",
        "redirect*",
        "stats.cluster.origin.upstream_cx_active",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect*",
        "stats.cluster.origin.upstream_cx_http1_total",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect*",
        "stats.cluster.origin.upstream_cx_total",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect*",
        "stats.cluster.origin.upstream_rq_pending_total",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect*",
        "upstream[2].connection",
        REDIRECT_REUSE,
    ),
    routing(
        "resilience",
        "redirect with user",
        "*",
        "strict: a redirect to a URL with credentials is not followed",
    ),
    routing(
        "router",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "router",
        "strict with a body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "router",
        "redirect*",
        "log[*].wire_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "router",
        "redirect*",
        "log[*].header_bytes_received",
        REDIRECT_BYTES,
    ),
    routing(
        "router",
        "redirect*",
        "stats.cluster.origin.upstream_cx_active",
        REDIRECT_REUSE,
    ),
    routing(
        "router",
        "redirect*",
        "stats.cluster.origin.upstream_cx_http1_total",
        REDIRECT_REUSE,
    ),
    routing(
        "router",
        "redirect*",
        "stats.cluster.origin.upstream_cx_total",
        REDIRECT_REUSE,
    ),
    routing(
        "router",
        "redirect*",
        "stats.cluster.origin.upstream_rq_pending_total",
        REDIRECT_REUSE,
    ),
    routing(
        "router",
        "redirect*",
        "upstream[2].connection",
        REDIRECT_REUSE,
    ),
    routing("router", "redirect*", "log[*].remote", REDIRECT_CLIENT),
    routing(
        "headers",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it; Envoy sends none before \
         delayed_close_timeout is over",
    ),
    routing(
        "headers",
        "hop by hop",
        "response[0].header.keep-alive",
        "a route cannot promise anything about the client's connection",
    ),
    routing(
        "headers",
        "hostile *",
        "*",
        "what a client hides in a query parameter is sent escaped; Envoy refuses such \
         requests with 503, and writes such response headers with their line ends",
    ),
    routing(
        "local_replies",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it; Envoy sends none before \
         delayed_close_timeout is over",
    ),
    routing(
        "local_replies",
        "mapped pipelined",
        "log[*].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "local_replies",
        "grpc by post",
        "log[*].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "local_replies",
        "mapped *no content",
        "client.rest",
        NO_CONTENT,
    ),
    routing(
        "local_replies",
        "mapped *no content",
        "log[*].sent",
        NO_CONTENT,
    ),
    routing(
        "local_replies",
        "mapped *no content",
        "response[*].header.content-length",
        NO_CONTENT,
    ),
    routing(
        "headers",
        "redirected within",
        "stats.cluster.origin.upstream_*",
        "the connection of the response that redirects is used again",
    ),
    routing(
        "headers",
        "redirected within",
        "log[1].*_bytes_received",
        "the request was received once, and is logged with its first round",
    ),
    routing(
        "custom_response",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        "our FIN comes at once and the client answers it; Envoy sends none before \
         delayed_close_timeout is over",
    ),
    routing(
        "custom_response",
        "page*",
        "log[*].details",
        "no details are a dash, whoever took them away",
    ),
    pages("fetched*", "log[1].header_bytes_received", REDIRECT_BYTES),
    pages("fetched*", "log[1].wire_bytes_received", REDIRECT_BYTES),
    pages(
        "fetched and redirected",
        "log[2].*_bytes_received",
        REDIRECT_BYTES,
    ),
    pages("fetched after *", "log[1].received", REDIRECT_BYTES),
    pages(
        "fetched and redirected",
        "stats.cluster.origin.upstream_*",
        REDIRECT_REUSE,
    ),
    pages(
        "fetched by HEAD",
        "stats.cluster.origin.upstream_*",
        REDIRECT_REUSE,
    ),
    pages(
        "fetched for no body",
        "stats.cluster.origin.upstream_*",
        REDIRECT_REUSE,
    ),
    pages("fetched by HEAD", "log[*].method", ASKED_BY_HEAD),
    pages(
        "fetched by HEAD",
        "log[1].upstream_wire_bytes_sent",
        ASKED_BY_HEAD,
    ),
    pages("fetched not *", "log[0].authority", NOT_FETCHED),
    pages("fetched not *", "log[0].method", NOT_FETCHED),
    pages("fetched not *", "log[0].path", NOT_FETCHED),
    pages("fetched not *", "log[0].route", NOT_FETCHED),
    pages("fetched not *", "log[0].cluster", NOT_FETCHED),
    pages(
        "fetched not for half a request",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    pages(
        "fetched twice on one connection",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    pages("fetched with no content", "client.rest", NO_CONTENT),
    pages("fetched with no content", "log[1].sent", NO_CONTENT),
    pages(
        "fetched with no content",
        "response[0].header.content-length",
        NO_CONTENT,
    ),
    routing(
        "custom_response",
        "page twice*",
        "log[*].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "operators",
        "retried",
        "response[0].header.o-upstream-decompressed-header-bytes-received",
        "nothing is compressed, so the number is that of the bytes received; Envoy adds this \
         one up over the tries",
    ),
    routing(
        "operators",
        "forwarded with a body",
        "*wire*received",
        READ_AHEAD,
    ),
    routing(
        "cel",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "requests",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "requests",
        "connect, *",
        "stats.*.downstream_cx_destroy_*",
        "our FIN comes at once, before the client's own; Envoy waits for the latter and counts it",
    ),
    routing(
        "requests",
        "upgrade without route, then more",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "failed_health",
        "first of two",
        "response[0].order",
        "RFC 9110 section 5.3: the order of headers with different names means nothing",
    ),
    routing(
        "failed_health",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "answering_filters",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    redirected_grpc(
        "upstream[1].header.grpc-timeout",
        "a route takes its offset off once; Envoy does it twice for one that a redirect leads to",
    ),
    redirected_grpc("log[1].*_bytes_received", REDIRECT_BYTES),
    redirected_grpc("stats.cluster.origin.upstream_*", REDIRECT_REUSE),
    counting("*, redirected", "log[1].*_bytes_received", REDIRECT_BYTES),
    counting(
        "*, redirected",
        "stats.cluster.origin.upstream_cx_*",
        REDIRECT_REUSE,
    ),
    counting(
        "*, redirected",
        "stats.cluster.origin.upstream_rq_pending_total",
        REDIRECT_REUSE,
    ),
    counting(
        "named, redirected",
        "log[1].remote",
        "a redirect does not change who the client is; Envoy forgets what x-forwarded-for said",
    ),
    routing(
        "actions",
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    routing(
        "actions",
        "not forwarding with body",
        "log[0].wire_bytes_received",
        READ_AHEAD,
    ),
    routing(
        "actions",
        "answer * with text",
        "*",
        "RFC 9110 sections 15.3.5 and 15.4.5: a 204 and a 304 have no body; what follows their \
         heads would be taken for the next response",
    ),
    routing(
        "actions",
        "path formatted with spaces",
        "*",
        "a space in the path would end it within the request line, and the client chooses what \
         follows",
    ),
];

const REDIRECT_BYTES: &str = "what the client sent is counted once; Envoy counts it \
     again for the request that follows a redirect";

const REDIRECT_CLIENT: &str = "the request that follows a redirect is the same client's, whom \
     x-forwarded-for names; Envoy takes it for its neighbour's";

const REDIRECT_REUSE: &str = "a connection whose response is complete carries the \
     request that follows the redirect; Envoy frees it a moment later";

const ASKED_BY_HEAD: &str = "who asked for the head only is sent no more: the page is asked for \
     by HEAD, too";

const NOT_FETCHED: &str = "a request whose response stays is logged as it was";

const REMAINING: &str = "what remains is shown as it is; Envoy's gauge learns of a runtime key \
     when something is taken next";

const NO_CONTENT: &str = "a 204 has no body; the one that Envoy sends is read as the next \
     response";

const fn redirected_grpc(what: &'static str, reason: &'static str) -> Intended {
    routing("grpc_timeouts", "redirected", what, reason)
}

const fn counting(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("counting", case, what, reason)
}

const fn pages(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("custom_response", case, what, reason)
}

const fn scoped(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("scoped", case, what, reason)
}

const fn trees(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("trees", case, what, reason)
}
