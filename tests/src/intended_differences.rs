//! Where Ringway differs from Envoy 1.40 on purpose: the one table, and the
//! ledger that makes sure that it is neither too short nor too long.

use crate::programs::say;
use std::collections::{BTreeMap, BTreeSet};

/// One difference, or a family of them.
#[derive(Clone, Copy, Debug)]
pub struct Intended {
    /// The suite that sees it.
    pub suite: Suite,
    /// The case; `*` stands for any text.
    pub case: &'static str,
    /// What differs; `*` stands for any text.
    pub what: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The suites that compare with Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `differential/`
    Requests,
    /// `admin.rs`
    Admin,
    /// `discovery/`, by the name of its file.
    Discovery(&'static str),
    /// `routing/`, by the name of its file.
    Routing(&'static str),
}

/// Every intended difference.
pub const TABLE: &[Intended] = &[
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
    request(
        "version 2.0",
        "log[0].header_bytes_received",
        "strict: what is no HTTP/1 has no headers",
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
        "HTTP/1.0 without host",
        "log[0].protocol",
        "what was asked cannot be answered in HTTP/1.0 terms; 400 comes as HTTP/1.1",
    ),
    request(
        "HTTP/1.0 without host",
        "response[0].line",
        "what was asked cannot be answered in HTTP/1.0 terms; 400 comes as HTTP/1.1",
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
    upgrade(
        "answered 200 without length",
        "stats.cluster.origin.upstream_cx_destroy_*",
        HOST_CLOSED,
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
    connect(
        "*",
        "stats.*.downstream_cx_delayed_close_timeout",
        DELAYED_CLOSE,
    ),
    connect("hop by hop", "*", NOMINATED),
    connect(
        "answered 200 with length",
        "response[0].header.content-length",
        "RFC 9110 section 9.3.6: a 2xx to CONNECT has none",
    ),
    connect(
        "answered 20*",
        "response[0].header.connection",
        "any 2xx begins the tunnel, and says nothing of its end",
    ),
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
        "matching",
        "kinds /grpc content-type: application/grpc+x, content-type: text/plain",
        "upstream[0].header.content-type",
        JOINED,
    ),
    routing(
        "matching",
        "kinds /grpc content-type: application/grpc+x, content-type: text/plain",
        "log[0].upstream_*_bytes_sent",
        JOINED,
    ),
    routing(
        "matching",
        "kinds /grpc content-type: application/grpc+x, content-type: text/plain",
        "upstream[0].order",
        JOINED,
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
    scoped("redirected*", "log[0].route", REDIRECT_LOG),
    scoped("redirected*", "log[0].cluster", REDIRECT_LOG),
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
    routing("resilience", "redirect*", "log[*].route", REDIRECT_LOG),
    routing("resilience", "redirect*", "log[*].cluster", REDIRECT_LOG),
    routing(
        "resilience",
        "redirect to no *",
        "response[0].header.x-shown-*",
        REDIRECT_LOG,
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
        "redirect to the query",
        "*",
        "an absolute URI without a path has the path `/`, with a query too",
    ),
    routing(
        "resilience",
        "redirect with user",
        "*",
        "strict: a redirect to a URL with credentials is not followed",
    ),
    admin(
        "*",
        "missing: *group",
        "loggers have levels of their own; there are no groups of them",
    ),
    admin(
        "*",
        "extra: *hidden",
        "a parameter that Envoy has and does not list",
    ),
    admin(
        "*",
        "missing: *.node.user_agent*",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.client_features []",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.listening_addresses []",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*/server_info",
        "missing: .node.dynamic_parameters {}",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*",
        "missing: *.node.extensions*",
        "nobody is told yet what this build is and can do",
    ),
    admin(
        "*",
        "extra: .command_line_options.io_driver string",
        "a flag of ours",
    ),
    admin(
        "*/contention",
        "*",
        "there is no mutex whose contention could be traced",
    ),
    admin("*/stats?filter=(", "*", "the regex library's own words"),
    admin(
        "*",
        "extra: *access_log*dropped_lines*",
        "a counter of ours",
    ),
    admin("*", "extra: *server*io_uring*", "a gauge of ours"),
    admin(
        "*",
        "extra: *cluster*upstream_cx_lent*",
        "a counter of ours: connections that came from another worker",
    ),
    admin(
        "*",
        "extra: *cluster*upstream_rq_alt_stat_name_overflow*",
        "a counter of ours: names of requests beyond the limit",
    ),
    admin(
        "*",
        "extra: *cluster*upstream_rq_resent*",
        "a counter of ours: requests sent again for their clients",
    ),
    admin(
        "*",
        "extra: *server*hot_restart_generation*",
        "Envoy lists it without --disable-hot-restart only",
    ),
    admin(
        "*usedonly*",
        "missing: server.*_unknown_fields",
        "Envoy counts an addition of nothing as use",
    ),
    admin(
        "*usedonly*",
        "missing: server.wip_protos",
        "Envoy counts an addition of nothing as use",
    ),
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
    pages("fetched*", "log[*].route", REDIRECT_LOG),
    pages("fetched*", "log[0].cluster", REDIRECT_LOG),
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
        "failed_health",
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
    admin("*", "extra: */outliers", "an endpoint that Envoy has not"),
    admin("*", "extra: */explain", EXPLAIN),
    admin("*", "extra: *  h.NAME", EXPLAIN),
    admin("*", "extra: *  host", EXPLAIN),
    admin("*", "extra: *  listener", EXPLAIN),
    admin("*", "extra: *  method", EXPLAIN),
    admin("*", "extra: *  path", EXPLAIN),
    admin("*", "extra: *  random", EXPLAIN),
    admin("*", "extra: *  remote", EXPLAIN),
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

const fn redirected_grpc(what: &'static str, reason: &'static str) -> Intended {
    routing("grpc_timeouts", "redirected", what, reason)
}

const fn counting(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("counting", case, what, reason)
}

const DELAYED_CLOSE: &str = "our FIN comes at once and the client answers it; Envoy sends none \
     before delayed_close_timeout is over";

const REDIRECT_LOG: &str = "the log and the response's headers name the route and the cluster \
     that served the request, not those that its redirect leads to, or fails to";
const REDIRECT_BYTES: &str = "what the client sent is counted once; Envoy counts it \
     again for the request that follows a redirect";
const REDIRECT_REUSE: &str = "a connection whose response is complete carries the \
     request that follows the redirect; Envoy frees it a moment later";
const ASKED_BY_HEAD: &str = "who asked for the head only is sent no more: the page is asked for \
     by HEAD, too";
const NOT_FETCHED: &str = "a request whose response stays is logged as it was";
const fn pages(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("custom_response", case, what, reason)
}
const REMAINING: &str = "what remains is shown as it is; Envoy's gauge learns of a runtime key \
     when something is taken next";
const fn scoped(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("scoped", case, what, reason)
}

const fn upgrade(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("upgrades", case, what, reason)
}

const fn connect(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("connect", case, what, reason)
}
const EXPLAIN: &str = "an endpoint of ours";

const fn trees(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    routing("trees", case, what, reason)
}

const fn admin(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    Intended {
        suite: Suite::Admin,
        case,
        what,
        reason,
    }
}

const NOMINATED: &str = "RFC 9110 section 7.6.1: what Connection names is for this hop only; \
     Envoy hands it on with an upgrade and a CONNECT";
const HOST_CLOSED: &str = "the host closed the connection first";
const NOT_SWITCHED: &str = "only a 101 switches: the answer is an ordinary one and the \
     connection ends with it; Envoy keeps it open for an upgrade that did not happen";
const WAITS_UNREAD: &str = "what the client sends before the answer waits unread; Envoy reads \
     it and throws it away";
const BODY_BEFORE_UPGRADE: &str = "the body of a request that asks for an upgrade is framed \
     and sent as one (RFC 9110 section 7.8); Envoy holds it back, or sends a chunked one \
     without its framing";
const TOO_MANY: &str = "a head with too many headers is refused whole; Envoy has counted those \
     before the one too many";
const JOINED: &str = "a repeated header is forwarded line by line; Envoy joins some with a comma";
const NO_CONTENT: &str = "a 204 has no body; the one that Envoy sends is read as the next \
     response";
const READ_AHEAD: &str = "what was read beyond the request is not the request's; Envoy \
     counts it";
const REFUSED_AS_SENT: &str = "a refused request is logged as it was sent";

const fn request(case: &'static str, what: &'static str, reason: &'static str) -> Intended {
    Intended {
        suite: Suite::Requests,
        case,
        what,
        reason,
    }
}

const fn routing(
    suite: &'static str,
    case: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Intended {
    Intended {
        suite: Suite::Routing(suite),
        case,
        what,
        reason,
    }
}

/// Collects what was seen in one suite and judges it at the end.
#[derive(Debug)]
pub struct Ledger {
    suite: Suite,
    used: BTreeSet<usize>,
    intended: BTreeMap<usize, Vec<String>>,
    unexpected: Vec<String>,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(suite: Suite) -> Ledger {
        Ledger {
            suite,
            used: BTreeSet::new(),
            intended: BTreeMap::new(),
            unexpected: Vec::new(),
        }
    }

    /// Notes that `ours` differs from `envoys` in `what`.
    pub fn note(&mut self, program: &str, case: &str, what: &str, envoys: &str, ours: &str) {
        let line = format!("{case} ({program}): {what}: envoy {envoys}; ringway {ours}");
        let place = TABLE.iter().position(|entry| {
            entry.suite == self.suite && matches(entry.case, case) && matches(entry.what, what)
        });
        match place {
            Some(place) => {
                self.used.insert(place);
                self.intended.entry(place).or_default().push(line);
            }
            None => self.unexpected.push(line),
        }
    }

    /// Prints the intended differences. `whole` says that the whole suite was
    /// played, so that an entry of the table without use is a mistake.
    ///
    /// # Panics
    /// When there was another difference, or one of the table did not occur.
    pub fn judge(self, whole: bool) {
        for (place, lines) in &self.intended {
            println!("intended: {}", TABLE[*place].reason);
            for line in lines {
                println!("    {line}");
            }
        }
        let unneeded: Vec<_> = TABLE
            .iter()
            .enumerate()
            .filter(|(place, entry)| entry.suite == self.suite && !self.used.contains(place))
            .map(|(_, entry)| format!("{} / {} ({})", entry.case, entry.what, entry.reason))
            .collect();
        assert!(
            self.unexpected.is_empty(),
            "{} differences from Envoy that are not intended:\n{}",
            self.unexpected.len(),
            self.unexpected.join("\n")
        );
        assert!(
            !whole || unneeded.is_empty(),
            "differences in the table that no longer occur:\n{}",
            unneeded.join("\n")
        );
        say(&format!(
            "{:?}: {} differences from Envoy, of {} intended kinds (--nocapture lists them)",
            self.suite,
            self.intended.values().map(Vec::len).sum::<usize>(),
            self.intended.len()
        ));
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => {
            let Some(text) = text.strip_prefix(start) else {
                return false;
            };
            let mut ends = (0..=text.len()).filter(|&at| text.is_char_boundary(at));
            ends.any(|at| matches(rest, &text[at..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*", "abcd", true),
            ("a*c", "abcd", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
